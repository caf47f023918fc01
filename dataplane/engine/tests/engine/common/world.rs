//! A world: one or several workers that share a public space, a router, and a clock that tests move.

use std::sync::Arc;

use tandem_engine::claims::Claims;
use tandem_engine::drop_reason::{DropCounts, DropReason};
use tandem_engine::engine::{Engine, EngineConfig};
use tandem_engine::hash::Rng;
use tandem_engine::packet::{Answer, Desc, RouteKind, Router, Sides, Verdict};
use tandem_engine::ports::BlockEvent;
use tandem_engine::program::{InterfaceId, Program};
use tandem_engine::steer::{Split, Steering};
use tandem_engine::ticks::Ticks;
use tandem_engine::view::{Ask, Filter, MappingView, Query, SessionView, SubscriberView};
use tandem_wire::ParseError;
use tandem_wire::l4::parse_ipv4;

use super::batch::{AnyDesc, Batch, Work};
use super::packets::{End, checksums_are_right, ends};
use super::packets6::{End6, checksums_are_right6, ends6, is_six};
use super::plan::{INSIDE, OUTSIDE, Plan};
use super::router::Net;
use super::translated::assert_translated;

/// What became of a packet.
#[derive(Clone, Debug)]
pub struct Got {
    /// The last verdict.
    pub verdict: Verdict,
    /// The packet as it is now.
    pub packet: Vec<u8>,
    /// It went round by hairpinning.
    pub hairpinned: bool,
    /// Interface it leaves by, if it is forwarded there.
    pub interface: Option<InterfaceId>,
}

impl Got {
    /// The forwarded packet.
    #[track_caller]
    pub fn forwarded(&self) -> &[u8] {
        let head = &self.packet[..self.packet.len().min(120)];
        assert_eq!(self.verdict, Verdict::Forward, "{head:02x?}");
        &self.packet
    }

    /// The ends of the forwarded packet.
    #[track_caller]
    pub fn ends(&self) -> (End, End) {
        ends(self.forwarded())
    }

    /// The ends of the forwarded packet, which is IPv6.
    #[track_caller]
    pub fn ends6(&self) -> (End6, End6) {
        ends6(self.forwarded())
    }

    /// The source of the forwarded packet: the public end, when it came from inside.
    #[track_caller]
    pub fn public(&self) -> End {
        self.ends().0
    }

    /// Why it was dropped.
    #[track_caller]
    pub fn dropped(&self) -> DropReason {
        self.drop_answer().0
    }

    /// Why it was dropped and what its sender is told.
    #[track_caller]
    pub fn drop_answer(&self) -> (DropReason, Answer) {
        match self.verdict {
            Verdict::Drop(reason, answer) => (reason, answer),
            other => panic!("not dropped but {other:?}"),
        }
    }
}

/// Workers, a router and a clock.
pub struct World {
    /// One engine per worker.
    pub engines: Vec<Engine>,
    /// The plan in force.
    pub plan: Plan,
    /// The program in force.
    pub program: Arc<Program>,
    /// Shared claims of address-only sessions.
    pub claims: Arc<Claims>,
    /// The routes.
    pub router: Net,
    /// Now.
    pub now: Ticks,
    /// Drops so far.
    pub drops: DropCounts,
    sides: Sides,
    steering: Steering,
    split: Split,
    ways: Rng,
}

impl World {
    /// A world of `workers` with the standard plan as `change` leaves it.
    pub fn new(workers: u8, change: impl FnOnce(&mut Plan)) -> Self {
        let mut plan = Plan::new();
        change(&mut plan);
        let program = plan.compile(None);
        let claims = Arc::new(Claims::default());
        let split = Split::new(workers, workers * plan.shards_each).expect("an even split");
        let engine = |worker| {
            let config = EngineConfig {
                worker,
                split,
                sizes: plan.sizes,
                max_extents: plan.max_extents,
                seed: plan.seed << 8 | u64::from(worker),
                claims: Arc::clone(&claims),
            };
            Engine::new(config, Arc::clone(&program)).expect("memory for a small engine")
        };
        Self {
            engines: (0..workers).map(engine).collect(),
            sides: Sides::of(&program),
            steering: Steering::of(&program),
            split,
            ways: Rng::new(plan.seed),
            program,
            plan,
            claims,
            router: Net::new(),
            now: Ticks(1000),
            drops: DropCounts::default(),
        }
    }

    /// A world with NAT64 in place of NAPT44; see [`Plan::nat64`].
    pub fn nat64(workers: u8, change: impl FnOnce(&mut Plan)) -> Self {
        Self::new(workers, |plan| {
            plan.nat64();
            change(plan);
        })
    }

    /// A reload: the plan changes, every worker takes it up.
    pub fn reload(&mut self, change: impl FnOnce(&mut Plan)) {
        change(&mut self.plan);
        self.program = self.plan.compile(Some(&self.program));
        self.sides = Sides::of(&self.program);
        self.steering = Steering::of(&self.program);
        for engine in &mut self.engines {
            engine.apply(Arc::clone(&self.program));
        }
    }

    /// The side of an interface in the program in force.
    pub fn side(&self, interface: InterfaceId) -> tandem_engine::packet::Side {
        self.sides.side(interface)
    }

    /// Passes packets that arrive together on one interface, of either family, through their workers, as the worker crate
    /// does.
    pub fn burst(&mut self, interface: InterfaceId, packets: Vec<Vec<u8>>) -> Vec<Got> {
        let side = self.sides.side(interface);
        let mut describe = |p: &Vec<u8>| {
            // Either way through the engine has to come to the same result; which one a packet takes is random.
            AnyDesc::of(p, interface, side, self.ways.below(2) == 0)
        };
        let descs = packets.iter().map(&mut describe).collect();
        self.run_any(packets, descs)
    }

    /// The same for descriptions of IPv4 packets a test made itself.
    pub fn run(&mut self, packets: Vec<Vec<u8>>, descs: Vec<Desc>) -> Vec<Got> {
        self.run_any(packets, descs.into_iter().map(AnyDesc::Four).collect())
    }

    /// The same for descriptions of either family.
    pub fn run_any(&mut self, packets: Vec<Vec<u8>>, descs: Vec<AnyDesc>) -> Vec<Got> {
        let mut done: Vec<Option<Got>> = vec![None; packets.len()];
        let mut work: Vec<Work> = packets
            .into_iter()
            .zip(descs)
            .enumerate()
            .map(|(i, (p, d))| (i, p, d))
            .collect();
        let workers = self.engines.len() as u8;
        while !work.is_empty() {
            let mut round = std::mem::take(&mut work);
            for worker in 0..workers {
                let (mine, rest): (Vec<_>, Vec<_>) = round.into_iter().partition(|(i, packet, desc)| {
                    self.worker(packet, desc).unwrap_or(*i as u8 % workers) == worker
                });
                round = rest;
                for (i, packet, desc) in self.process(worker, mine) {
                    match self.settle(&packet, &desc) {
                        Some(again) => work.push((i, packet, again)),
                        None => done[i] = Some(self.got(packet, &desc)),
                    }
                }
            }
            assert!(round.is_empty(), "steering names workers that exist");
        }
        done.into_iter()
            .map(|g| g.expect("every packet has a verdict"))
            .collect()
    }

    /// The worker of a packet.
    fn worker(&self, packet: &[u8], desc: &AnyDesc) -> Option<u8> {
        match desc {
            AnyDesc::Four(desc) => self.steering.worker(desc, packet, &self.claims, self.split),
            AnyDesc::Six(desc) => self.steering.worker6(desc, packet, self.split),
        }
    }

    /// Passes packets through a worker: those of each family together.
    fn process(&mut self, worker: u8, work: Vec<Work>) -> Vec<Work> {
        let (mut four, mut six) = (Batch::default(), Batch::default());
        for (i, packet, desc) in work {
            match desc {
                AnyDesc::Four(desc) => four.push(i, packet, desc),
                AnyDesc::Six(desc) => six.push(i, packet, desc),
            }
        }
        let engine = &mut self.engines[usize::from(worker)];
        engine.process(self.now, &self.router, &mut four.packets, &mut four.descs);
        engine.process6(self.now, &self.router, &mut six.packets, &mut six.descs);
        let mut work = four.done(AnyDesc::Four);
        work.extend(six.done(AnyDesc::Six));
        work
    }

    /// A hairpinned packet's second description: it is IPv4 then. One from a mapping to itself has none: its ends are the
    /// same, and the parser refuses it (LAND), as the worker's does.
    fn settle(&self, packet: &[u8], desc: &AnyDesc) -> Option<AnyDesc> {
        if desc.verdict() != Verdict::Hairpin {
            return None;
        }
        assert!(!desc.is_hairpinned(), "round and round");
        let (sport, dport) = desc.ports();
        match parse_ipv4(packet) {
            Ok(meta) => Some(AnyDesc::Four(Desc::hairpin(meta, sport, dport))),
            Err(ParseError::Land) => None,
            Err(error) => panic!("the engine leaves packets well-formed: {error:?}"),
        }
    }

    fn got(&mut self, packet: Vec<u8>, desc: &AnyDesc) -> Got {
        let mut interface = None;
        match desc.verdict() {
            Verdict::Pending => panic!("no verdict"),
            Verdict::Forward | Verdict::ForwardFragmented(_) => {
                if let RouteKind::Forward { interface: i, .. } = self.router.next_hop(desc.next_hop()) {
                    interface = Some(i);
                }
            }
            Verdict::Drop(reason, _) => self.drops.count(reason),
            Verdict::NotPrimary(_) => self.drops.count(DropReason::NotPrimary),
            Verdict::Route | Verdict::Kernel | Verdict::HoldSyn | Verdict::Hairpin => {}
        }
        Got {
            verdict: desc.verdict(),
            packet,
            hairpinned: desc.is_hairpinned(),
            interface,
        }
    }

    /// One packet from inside of service set 1; checksums that were right stay right.
    #[track_caller]
    pub fn inside(&mut self, packet: Vec<u8>) -> Got {
        self.one(INSIDE, packet)
    }

    /// One packet from outside.
    #[track_caller]
    pub fn outside(&mut self, packet: Vec<u8>) -> Got {
        self.one(OUTSIDE, packet)
    }

    /// One packet on any interface. What it becomes keeps the checksums it has; when it changes its family, all of it is
    /// checked, see [`assert_translated`].
    #[track_caller]
    pub fn one(&mut self, interface: InterfaceId, packet: Vec<u8>) -> Got {
        let are_right = |packet: &[u8]| {
            if is_six(packet) {
                checksums_are_right6(packet)
            } else {
                checksums_are_right(packet)
            }
        };
        let before = packet.clone();
        let got = self.burst(interface, vec![packet]).remove(0);
        match got.verdict {
            Verdict::Forward | Verdict::ForwardFragmented(_) if changed_family(&before, &got) => {
                let copied = self.program.service_sets[0].ipv6.copy_traffic_class;
                assert_translated(&before, &got.packet, 1 + u8::from(got.hairpinned), copied);
            }
            Verdict::Forward => assert_eq!(
                are_right(&got.packet),
                are_right(&before),
                "checksums of {:?}",
                got.packet
            ),
            Verdict::Drop(..) if !got.hairpinned => {
                assert_eq!(got.packet, before, "what is dropped is quoted as it came");
            }
            Verdict::NotPrimary(_) => assert_eq!(got.packet, before, "the other chassis gets it as it came"),
            _ => {}
        }
        got
    }

    /// Moves the clock and lets every worker do what time asks for, until nothing is left to do.
    pub fn pass(&mut self, time: Ticks) {
        self.now = self.now.plus(time);
        self.settle_time();
    }

    /// Moves the clock by whole seconds.
    pub fn pass_seconds(&mut self, seconds: u32) {
        self.pass(Ticks::from_seconds(seconds));
    }

    /// Maintenance at this time until it changes nothing any more.
    pub fn settle_time(&mut self) {
        for engine in &mut self.engines {
            let mut quiet = 0;
            while quiet < 3 {
                let before = (*engine.counters(), engine.table_use());
                engine.maintain(self.now, 4096);
                let same = before == (*engine.counters(), engine.table_use()) && !engine.is_purging();
                quiet = if same { quiet + 1 } else { 0 };
            }
        }
    }

    /// Asks all workers; the query of each, finished.
    pub fn ask(&mut self, ask: Ask, filter: Filter) -> Vec<Query> {
        self.engines
            .iter_mut()
            .map(|engine| {
                let mut query = Query::new(ask, filter, 0, 100_000);
                while !query.done {
                    engine.answer(&mut query, 1000);
                }
                query
            })
            .collect()
    }

    /// All sessions.
    pub fn sessions(&mut self) -> Vec<SessionView> {
        self.ask(Ask::Sessions, Filter::default())
            .into_iter()
            .flat_map(|q| q.rows.sessions)
            .collect()
    }

    /// All mappings.
    pub fn mappings(&mut self) -> Vec<MappingView> {
        self.ask(Ask::Mappings, Filter::default())
            .into_iter()
            .flat_map(|q| q.rows.mappings)
            .collect()
    }

    /// All subscribers.
    pub fn subscribers(&mut self) -> Vec<SubscriberView> {
        self.ask(Ask::Subscribers, Filter::default())
            .into_iter()
            .flat_map(|q| q.rows.subscribers)
            .collect()
    }

    /// Port block events so far, of all workers.
    pub fn block_events(&mut self) -> Vec<BlockEvent> {
        let mut events = Vec::new();
        for engine in &mut self.engines {
            engine.drain_block_events(|event| {
                events.push(event);
                true
            });
        }
        events
    }
}

/// Runs a test with 1, 2 and 4 workers.
pub fn with_workers(mut test: impl FnMut(u8)) {
    for workers in [1, 2, 4] {
        test(workers);
    }
}

/// Whether a packet left as another family, or was one on its way round.
fn changed_family(before: &[u8], got: &Got) -> bool {
    is_six(before) != is_six(&got.packet) || is_six(before) && got.hairpinned
}

/// Runs a test of NAT64 with one worker and several, and with different draws of the ways packets take.
pub fn with_nat64(change: impl Fn(&mut Plan), mut test: impl FnMut(&mut World)) {
    for (workers, seed) in [(1, 1), (1, 2), (2, 3), (4, 4)] {
        let mut world = World::nat64(workers, |plan| {
            plan.seed = seed;
            change(plan);
        });
        test(&mut world);
    }
}
