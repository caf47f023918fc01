//! Two chassis: what one tells, the other installs, and after a takeover packets pass as if nothing had happened.

mod blocks;
mod bulk;
mod drain;
mod extents;
mod flips;
mod merged;
mod merging;
mod others;
mod random;
mod refused;
mod roles;
mod settled;
mod types;

use std::collections::BTreeSet;
use std::fmt::Debug;

use rtrb::{Consumer, RingBuffer};
use tandem_engine::engine::{Engine, EngineConfig};
use tandem_engine::packet::Verdict;
use tandem_engine::program::{InterfaceId, Replication};
use tandem_engine::replica::{ObjectTypes, Op, Role};
use tandem_engine::session::{FLAG_REPLICATED, Hot};
use tandem_engine::steer::Split;
use tandem_engine::ticks::Ticks;
use tandem_engine::view::{Ask, Filter};

use crate::common::plan::Plan;
use crate::common::world::{Got, World};

/// Rounds in which two chassis that nobody sends to have told each other all.
const ROUNDS: usize = 10_000;

/// Two chassis of as many workers, joined by their workers' rings.
struct Pair {
    worlds: [World; 2],
    links: [Vec<Consumer<Op>>; 2],
    /// What each chassis' workers said to their own bridge since it was last looked at.
    words: [Vec<Op>; 2],
    epoch: u32,
}

impl Pair {
    /// A pair with the standard plan as `change` leaves it, all service sets replicated at once; the first chassis is
    /// primary. The rings have room for `room` operations.
    fn new(workers: u8, room: usize, change: impl FnOnce(&mut Plan)) -> Self {
        let first = World::new(workers, |plan| {
            change(plan);
            replicate_at(plan, Ticks::ZERO);
        });
        let mut second = World::new(workers, |plan| *plan = first.plan.clone());
        // The same plan, but other random choices.
        second.engines = (0..workers).map(|worker| other_engine(&second, worker)).collect();
        let mut pair = Self {
            worlds: [first, second],
            links: Default::default(),
            words: Default::default(),
            epoch: 0,
        };
        for (world, link) in pair.worlds.iter_mut().zip(&mut pair.links) {
            for engine in &mut world.engines {
                let (outbox, inbox) = RingBuffer::new(room);
                engine.connect(outbox);
                link.push(inbox);
            }
        }
        pair.command_both(Op::Listen(true));
        pair.role(1, Role::Standby);
        pair
    }

    /// A command to all workers of a chassis.
    fn command(&mut self, chassis: usize, op: Op) {
        let world = &mut self.worlds[chassis];
        for engine in &mut world.engines {
            engine.install(&op, world.now).expect("a command is taken");
        }
    }

    fn command_both(&mut self, op: Op) {
        self.command(0, op);
        self.command(1, op);
    }

    /// A role for all service sets, also those a reload brings.
    fn role(&mut self, chassis: usize, role: Role) {
        self.epoch += 1;
        for service_set in [1, 2] {
            let epoch = self.epoch;
            self.command(
                chassis,
                Op::Role {
                    service_set,
                    role,
                    epoch,
                },
            );
        }
    }

    /// Carries operations, at most `most` of each worker, without any time for the engines. How many there were.
    fn carry_some(&mut self, most: usize) -> usize {
        let mut carried = 0;
        for from in 0..2 {
            for worker in 0..self.links[from].len() {
                let mut told = Vec::new();
                for _ in 0..most {
                    let Ok(op) = self.links[from][worker].pop() else {
                        break;
                    };
                    carried += 1;
                    if matches!(
                        op,
                        Op::RoleDone { .. }
                            | Op::Lost
                            | Op::Refused
                            | Op::Lacks(_)
                            | Op::Merged { .. }
                            | Op::MergeEnd(_)
                    ) {
                        self.words[from].push(op);
                        continue;
                    }
                    told.push(op);
                }
                let is_mark = |op: &Op| matches!(op, Op::Mark(_));
                let marks: Vec<Op> = told.extract_if(.., |op| is_mark(op)).collect();
                let world = &mut self.worlds[1 - from];
                // What is refused is counted, and tests look at the counters.
                world.engines[worker].install_all(&told, world.now);
                let world = &mut self.worlds[from];
                world.engines[worker].install_all(&marks, world.now);
            }
        }
        carried
    }

    /// Carries operations, and gives the engines time, until both have told all.
    fn carry(&mut self) {
        for _ in 0..ROUNDS {
            for world in &mut self.worlds {
                for engine in &mut world.engines {
                    engine.maintain(world.now, 64);
                }
            }
            let carried = self.carry_some(usize::MAX);
            let told = self
                .worlds
                .iter()
                .flat_map(|w| &w.engines)
                .all(Engine::has_told_all);
            if carried == 0 && told {
                return;
            }
        }
        panic!("there is no end to what they tell");
    }

    /// Time passes on both, and what it brings is carried.
    fn pass(&mut self, time: Ticks) {
        for world in &mut self.worlds {
            world.pass(time);
        }
        self.carry();
    }

    /// A bulk from one to the other.
    fn bulk(&mut self, from: usize, number: u16) {
        self.bulk_of(ObjectTypes::ALL, from, number);
    }

    /// A bulk of some types of objects.
    fn bulk_of(&mut self, types: ObjectTypes, from: usize, number: u16) {
        self.command(1 - from, Op::BulkBegin(number, types));
        let sets: Vec<_> = self.worlds[from]
            .program
            .service_sets
            .iter()
            .map(|s| s.id)
            .collect();
        for set in sets {
            self.command(1 - from, Op::Covers(set));
        }
        self.command(from, Op::Bulk(number, types));
        self.carry();
    }

    /// A planned change of roles: the other chassis is told all first.
    fn switch_over(&mut self, to: usize) {
        self.role(1 - to, Role::Standby);
        self.carry();
        let epoch = self.epoch;
        let done = |op: &Op| matches!(op, Op::RoleDone { epoch: e, .. } if *e == epoch);
        assert!(self.words[1 - to].iter().any(done), "the role was not taken up");
        self.role(to, Role::Primary);
        self.carry();
    }

    /// Nothing was refused, lost or contradicted, and no port was freed that nobody had.
    #[track_caller]
    fn assert_no_trouble(&self) {
        for engine in self.worlds.iter().flat_map(|w| &w.engines) {
            let c = engine.counters();
            let trouble = (
                c.replica_refused_role,
                c.replica_refused_room,
                c.replica_refused_ground,
                c.replica_conflicts,
                c.replica_lost,
                c.port_release_mismatch,
            );
            assert_eq!(trouble, (0, 0, 0, 0, 0, 0), "{c:?}");
        }
    }

    /// Both have the same sessions, mappings, blocks and extents. Only what the other chassis was told of counts.
    #[track_caller]
    fn assert_same(&mut self) {
        let [a, b] = self.worlds.each_mut().map(known_sessions);
        assert_sets("sessions", &a, &b);
        let [a, b] = self.worlds.each_mut().map(|w| {
            w.mappings()
                .into_iter()
                .map(|m| format!("{m:?}"))
                .collect::<BTreeSet<_>>()
        });
        assert_sets("mappings", &a, &b);
        let [a, b] = self.worlds.each_mut().map(blocks);
        assert_sets("blocks", &a, &b);
        let [a, b] = self.worlds.each_mut().map(extents);
        assert_sets("extents", &a, &b);
        let [a, b] = self.worlds.each_mut().map(|w| {
            let all = w.subscribers().into_iter();
            // The address it is paired with depends on which of its sessions was told first.
            all.map(|s| {
                let ports = (s.tcp_ports, s.udp_ports, s.icmp_ids);
                format!(
                    "{} {} {} {ports:?} {}",
                    s.service_set, s.address, s.sessions, s.blocks
                )
            })
            .collect::<BTreeSet<_>>()
        });
        assert_sets("subscribers", &a, &b);
    }
}

/// An engine of a world as it has them, with other random numbers.
fn other_engine(world: &World, worker: u8) -> Engine {
    let workers = world.engines.len() as u8;
    let shards = workers * world.plan.shards_each;
    let config = EngineConfig {
        worker,
        split: Split::new(workers, shards).expect("an even split"),
        sizes: world.plan.sizes,
        max_extents: world.plan.max_extents,
        seed: world.plan.seed << 8 | 0x80 | u64::from(worker),
        claims: std::sync::Arc::clone(&world.claims),
    };
    Engine::new(config, std::sync::Arc::clone(&world.program)).expect("memory for a small engine")
}

/// All service sets are replicated at this age.
fn replicate_at(plan: &mut Plan, threshold: Ticks) {
    for set in &mut plan.program.service_sets {
        set.replication = Replication {
            threshold: Some(threshold),
            ..set.replication.clone()
        };
    }
}

#[track_caller]
fn assert_sets<T: Ord + Debug>(what: &str, a: &BTreeSet<T>, b: &BTreeSet<T>) {
    let (only_a, only_b): (Vec<_>, Vec<_>) = (a.difference(b).collect(), b.difference(a).collect());
    assert!(
        only_a.is_empty() && only_b.is_empty(),
        "{what} differ: only first {only_a:#?}, only second {only_b:#?}"
    );
}

/// Sessions the other chassis knows, as text: all but what is told coarsely.
fn known_sessions(world: &mut World) -> BTreeSet<String> {
    let known: Vec<bool> = world
        .engines
        .iter()
        .flat_map(|e| {
            let table = e.tables().sessions;
            let hot = (0..table.high_water()).filter_map(|n| table.hot(n));
            hot.filter(|h| h.is_session())
                .map(|h: &Hot| h.flags & FLAG_REPLICATED != 0)
                .collect::<Vec<_>>()
        })
        .collect();
    let sessions = world.sessions().into_iter().zip(known);
    sessions
        .filter(|(_, known)| *known)
        .map(|(s, _)| {
            let ends = (s.inside, s.inside_port, s.public, s.public_port);
            let seen = (s.outside, s.outside_port, s.remote, s.initiated_outside);
            let rest = (s.service_set, s.protocol, s.state, s.pool, s.term, s.policy);
            format!("{} {ends:?} {seen:?} {rest:?}", s.worker)
        })
        .collect()
}

fn blocks(world: &mut World) -> BTreeSet<String> {
    let queries = world.ask(Ask::Blocks, Filter::default());
    let blocks = queries.into_iter().flat_map(|q| q.rows.blocks);
    blocks.map(|b| format!("{b:?}")).collect()
}

fn extents(world: &mut World) -> BTreeSet<String> {
    let space = &world.program.public_space;
    let all = world
        .engines
        .iter()
        .flat_map(|e| e.tables().ports.all())
        .flat_map(|ports| ports.owned_extents(space, 0));
    // After a reload an extent has its former pool until somebody uses it again.
    all.map(|(_, r)| format!("{:x} {} {}", r.public, r.extent, r.shard))
        .collect()
}

/// Verdict, interface and packet.
type Outcome = (Verdict, Option<InterfaceId>, Vec<u8>);

/// What became of a packet, where it does not depend on counters of the chassis: the IPv4 identification of packets that were
/// IPv6 is one.
fn outcome(got: &Got) -> Outcome {
    let mut packet = got.packet.clone();
    if packet.first().is_some_and(|b| b >> 4 == 4) {
        packet[4..6].fill(0);
        packet[10..12].fill(0);
    }
    (got.verdict, got.interface, packet)
}
