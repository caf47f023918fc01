//! One worker's engine: its tables, and the way of a burst through them.
//!
//! ```text
//!   hash, ask for the index line      }
//!   find the candidate, ask for it    }  for all packets of the burst, then the next line: the memory's latency overlaps
//!   compare, translate                }
//!   the rest: new sessions, ICMP errors, translation without sessions                        (first_packet.rs and others)
//! ```
//!
//! IPv6 packets come in bursts of their own (six.rs) and pass through the same tables.

mod apply;
mod claim;
mod classify;
mod expiry;
mod first_packet;
mod flow;
mod icmp;
mod icmp6;
mod inbound;
mod leaving;
mod plain;
mod plain6;
mod query;
mod replica;
mod six;
mod sort;
mod stateless;
mod translate;
mod translate6;
mod write;

use std::sync::Arc;

use tandem_wire::l4::L4;
use tandem_wire::npt::Nptv6;
use tandem_wire::rfc6052::Prefix64;

pub use expiry::EndReason;
pub use replica::{BACKLOG, HeldBack, NotInstalled};

use self::apply::SetPlan;
use self::first_packet::Draft;
use self::plain::Pass;
use self::replica::Replica;
use crate::claims::Claims;
use crate::event_ring::EventRing;
use crate::hash::{HashKeys, Rng};
use crate::mapping::MappingTable;
use crate::mem::OutOfMemory;
use crate::packet::{Desc, Packet, Router, Side, Verdict};
use crate::ports::{BlockEvent, Shards};
use crate::program::{NONE, PolicyId, Pool, PoolId, Program, ServiceSet, ServiceSetId, TableSizes};
use crate::session::{Direction, NO_RECORD, SessionTable};
use crate::steer::Split;
use crate::subscriber::SubscriberTable;
use crate::ticks::Ticks;
use crate::view::{PolicyEvent, PoolUse};
use crate::wheel::Wheel;

/// Packets in one burst, at most.
pub const MAX_BURST: usize = 64;

/// Policy events that can wait to be fetched.
const POLICY_EVENTS: usize = 1024;

/// What an engine is made from.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Its number, 0..workers.
    pub worker: u8,
    /// How many there are, and into how many shards what they have is split.
    pub split: Split,
    /// Sizes for the chassis; this worker takes its share.
    pub sizes: TableSizes,
    /// Extents of 4096 ports each shard of this worker may own at once. Only those once owned are in memory.
    pub max_extents: u32,
    /// Randomness from the system.
    pub seed: u64,
    /// Shared by all workers.
    pub claims: Arc<Claims>,
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $field:ident = $name:literal,)+) => {
        /// What the engine did, in numbers that only grow.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters { $($(#[doc = $doc])+ pub $field: u64,)+ }

        impl Counters {
            /// Counter names, in the order of [`Counters::values`].
            pub const NAMES: &'static [&'static str] = &[$($name,)+];
            /// What they mean, in the same order.
            pub const HELP: &'static [&'static str] = &[$(concat!($($doc,)+),)+];
            /// Their values.
            #[must_use]
            pub fn values(&self) -> [u64; Self::NAMES.len()] {
                [$(self.$field,)+]
            }
        }
    };
}

counters! {
    /// Packets of sessions forwarded on their way out, translated or not.
    translated_out = "translated-out",
    /// Packets of sessions forwarded on their way in, translated or not.
    translated_in = "translated-in",
    /// ICMP errors translated, either way.
    translated_icmp_errors = "translated-icmp-errors",
    /// Packets sent round by hairpinning.
    hairpinned = "hairpinned",
    /// Sessions made by packets from inside.
    sessions_created_out = "sessions-created-out",
    /// Sessions made by packets from outside.
    sessions_created_in = "sessions-created-in",
    /// Sessions that timed out.
    sessions_expired = "sessions-expired",
    /// Sessions ended by an operator.
    sessions_cleared = "sessions-cleared",
    /// Sessions ended because a reload took their public address or service set away.
    sessions_purged = "sessions-purged",
    /// Endpoint-independent mappings made.
    mappings_created = "mappings-created",
    /// Endpoint-independent mappings ended.
    mappings_ended = "mappings-ended",
    /// Packets translated without a session.
    translated_stateless = "translated-stateless",
    /// Sessions ended because the policies of a later commit refuse them.
    sessions_refused = "sessions-refused",
    /// Times a session's totals found no room in a full session table: its packet and byte counts stand still.
    totals_stopped = "totals-stopped",
    /// TCP segments whose connection's windows found no room in a full session table: they pass unchecked.
    windows_unknown = "windows-unknown",
    /// MSS options clamped.
    mss_clamped = "mss-clamped",
    /// Operations put out for the other chassis.
    replica_emitted = "replica-emitted",
    /// Sessions that could not be told at once for want of room, and were marked for later.
    replica_dirty = "replica-dirty",
    /// Sessions marked for later that were told by now.
    replica_walked = "replica-walked",
    /// Endings, and other operations that must keep their order, that waited for room.
    replica_backlogged = "replica-backlogged",
    /// Operations that found no room even to wait: a new bulk makes up for them.
    replica_lost = "replica-lost",
    /// Sessions installed for the other chassis.
    replica_installed = "replica-installed",
    /// Sessions of the other chassis that were known, and are now as it says.
    replica_updated = "replica-updated",
    /// Sessions ended because the other chassis said so, has others in their place, or no longer has them.
    replica_ended = "replica-ended",
    /// Things of the other chassis not installed because this chassis is not standby of their service set.
    replica_refused_role = "replica-refused-role",
    /// Things of the other chassis not installed because a table is full.
    replica_refused_room = "replica-refused-room",
    /// Things of the other chassis not installed because their port or address could not be had here.
    replica_refused_ground = "replica-refused-ground",
    /// Sessions, mappings and blocks of this chassis that made way for what the other chassis has.
    replica_conflicts = "replica-conflicts",
    /// Things of the other chassis not taken: before what this one had as primary beside it was offered, or because they were offered to
    /// a primary, which this one was last and is no more. What there is of them comes again when one of both is primary.
    replica_unoffered = "replica-unoffered",
    /// Sessions of a chassis that was primary beside this one, taken over from it.
    replica_merged_sessions = "replica-merged-sessions",
    /// Public ends that both chassis had given, to two: the other chassis' was refused.
    replica_merge_public_ends = "replica-merge-public-ends",
    /// Inside ends that both chassis had translated, otherwise: the other chassis' session or mapping was refused.
    replica_merge_inside_ends = "replica-merge-inside-ends",
    /// Port blocks of the other chassis of which somebody else has ports here: refused.
    replica_merge_blocks = "replica-merge-blocks",
    /// Extents of the other chassis that another shard has here: refused.
    replica_merge_extents_of_others = "replica-merge-extents-of-others",
    /// Sessions of the other chassis refused for what they stand on there, or for want of room.
    replica_merge_refused = "replica-merge-refused",
    /// Packets of known sessions passed while their service set was handed over (ICMP errors and stateless translation not counted).
    drained = "drained",
    /// Sessions, mappings, blocks and extents that a complete bulk of the other chassis did not confirm.
    replica_swept = "replica-swept",
    /// Allocator and table disagreed about a port: a defect, please report it.
    port_release_mismatch = "port-release-mismatch",
}

/// An engine's tables, read-only.
#[derive(Clone, Copy, Debug)]
pub struct Tables<'a> {
    /// Sessions.
    pub sessions: &'a SessionTable,
    /// Endpoint-independent mappings.
    pub mappings: &'a MappingTable,
    /// Subscribers.
    pub subscribers: &'a SubscriberTable,
    /// Ports, extents, blocks.
    pub ports: &'a Shards,
}

/// One worker's engine.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    program: Arc<Program>,
    /// Plans by service set id.
    sets: Vec<Option<SetPlan>>,
    /// Position of a pool in the program by pool id, `NONE` when it has none.
    pools: Vec<u16>,
    sessions: SessionTable,
    mappings: MappingTable,
    subscribers: SubscriberTable,
    ports: Shards,
    wheel: Wheel,
    now: Ticks,
    counters: Counters,
    /// Slot the purge after a reload has come to; `NO_RECORD` when there is none.
    purge: u32,
    /// Another purge comes after the one that runs.
    purge_again: bool,
    /// Moves far with every program, so that no count of route changes leads back.
    program_salt: u32,
    /// The purge moves sessions to where the new program's timeouts want them in the wheel.
    rearm: bool,
    /// What of the program is the same for all service sets, laid out for the packet way.
    hold_syns: bool,
    has_firewall: bool,
    /// There may be sessions that outside look as they do inside.
    has_untranslated: bool,
    has_stateless: bool,
    /// IPv6 packets from outside may be some service set's.
    six_outside: bool,
    /// A service set that takes from a pool, by pool id.
    set_of_pool: Vec<ServiceSetId>,
    /// Service set whose inside an interface is, by interface id.
    inside_of: Vec<ServiceSetId>,
    /// NAT64 prefixes by id.
    prefixes: Vec<Option<Prefix64>>,
    /// IPv6 prefix translation with sessions, by service set.
    prefix_pairs: Vec<(ServiceSetId, Nptv6)>,
    /// First packets each policy decided about, by policy id.
    policy_hits: Vec<u64>,
    /// First packets that no policy and nothing else decided about, by service set id and direction.
    default_hits: Vec<[u64; 2]>,
    policy_events: EventRing<PolicyEvent>,
    /// Replication was set up, or a role was given.
    replicates: bool,
    /// This chassis is standby of a service set.
    has_standby: bool,
    /// It is so since a moment ago, and drains.
    has_draining: bool,
    replica: Replica,
    /// Room for the drafts of a burst.
    drafts: Box<[Draft]>,
    /// IPv4 identification of the next packet that needs one. RFC 7915 section 5.1.
    ip_id: u16,
}

/// Looks ahead for packets of one side of a service set.
#[derive(Debug)]
pub struct Ahead<'a> {
    sessions: &'a SessionTable,
    direction: Direction,
    realm: ServiceSetId,
}

impl Ahead<'_> {
    /// Computes where the session of a packet of the side would be, and asks for that line. Not for ICMP errors, which have none.
    #[inline(always)]
    pub fn look(&self, desc: &mut Desc) {
        let place = self
            .sessions
            .place(&desc.tuple(), desc.meta.proto, self.direction, self.realm);
        self.sessions.prefetch_place(place);
        desc.place = place;
    }
}

impl Engine {
    /// Takes all memory the engine will ever use.
    ///
    /// # Errors
    /// [`OutOfMemory`] when the kernel refuses it.
    pub fn new(config: EngineConfig, program: Arc<Program>) -> Result<Self, OutOfMemory> {
        let share = |total: u32| total.div_ceil(u32::from(config.split.workers()));
        let mut rng = Rng::new(config.seed);
        let mut engine = Self {
            sessions: SessionTable::new(share(config.sizes.max_sessions), HashKeys::new(rng.draw()))?,
            mappings: MappingTable::new(share(config.sizes.max_mappings), HashKeys::new(rng.draw()))?,
            subscribers: SubscriberTable::new(
                share(config.sizes.max_subscribers),
                HashKeys::new(rng.draw()),
            )?,
            ports: Shards::new(
                config.worker,
                config.split,
                config.max_extents,
                share(config.sizes.max_blocks),
                &mut rng,
            )?,
            wheel: Wheel::new(Ticks::ZERO),
            sets: Vec::new(),
            pools: Vec::new(),
            now: Ticks::ZERO,
            counters: Counters::default(),
            purge: NO_RECORD,
            purge_again: false,
            program_salt: 0,
            rearm: false,
            hold_syns: false,
            has_firewall: false,
            has_untranslated: false,
            has_stateless: false,
            six_outside: false,
            set_of_pool: Vec::new(),
            inside_of: Vec::new(),
            prefixes: Vec::new(),
            prefix_pairs: Vec::new(),
            policy_hits: Vec::new(),
            default_hits: Vec::new(),
            policy_events: EventRing::new(POLICY_EVENTS),
            replicates: false,
            has_standby: false,
            has_draining: false,
            replica: Replica::default(),
            drafts: first_packet::drafts(),
            ip_id: rng.draw() as u16,
            program: Arc::clone(&program),
            config,
        };
        engine.apply(program);
        Ok(engine)
    }

    /// Generation of what sessions keep of routes: the router's, and a new one with every program, because pools decide what
    /// hairpins.
    #[inline(always)]
    fn route_generation<R: Router>(&self, router: &R) -> u32 {
        router.generation().wrapping_add(self.program_salt)
    }

    /// The program in force.
    #[must_use]
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Passes a burst through: every description that came in [`Verdict::Pending`] leaves with a verdict, and the packets
    /// to be forwarded are translated in place. `now` never goes back. Bursts longer than [`MAX_BURST`] go in parts.
    pub fn process<P: Packet, R: Router>(
        &mut self,
        now: Ticks,
        router: &R,
        packets: &mut [P],
        descs: &mut [Desc],
    ) {
        self.now = self.now.max(now);
        for (packets, descs) in packets.chunks_mut(MAX_BURST).zip(descs.chunks_mut(MAX_BURST)) {
            self.process_part(router, packets, descs);
        }
        if self.has_draining {
            self.count_drained(descs.iter().map(|d| (d.verdict, d.candidate)));
        }
    }

    #[inline(never)]
    fn process_part<P: Packet, R: Router>(&mut self, router: &R, packets: &mut [P], descs: &mut [Desc]) {
        // All lines are asked for before the first is touched. Asking for one while another packet is translated was tried:
        // it costs a fifth more per packet.
        for desc in descs.iter_mut() {
            if !desc.place.is_known() {
                self.look_ahead(desc);
            }
            desc.candidate = self.sessions.prefetch_candidate(desc.place);
        }
        let mut pass = Pass::new(self.route_generation(router));
        let mut misses = [0u8; MAX_BURST];
        let mut missed = 0;
        for (i, (desc, packet)) in descs.iter_mut().zip(packets.iter_mut()).enumerate() {
            if desc.verdict != Verdict::Pending || self.translate_plain(desc, packet, router, &mut pass) {
                continue;
            }
            if self.is_candidate(desc) {
                self.translate(desc.candidate, desc, packet, router);
            } else if let Some(slot) = misses.get_mut(missed) {
                *slot = i as u8;
                missed += 1;
            }
        }
        if missed > 0 {
            self.first_packets(router, packets, descs, misses.get(..missed).unwrap_or(&[]));
        }
    }

    /// Computes where a packet's session would be, and asks for that line. [`Engine::process`] does it for descriptions that
    /// come without; a caller that does it as soon as it has parsed a packet gives the memory more time.
    #[inline(always)]
    pub fn look_ahead(&self, desc: &mut Desc) {
        if desc.verdict != Verdict::Pending {
            return;
        }
        let realm = match desc.side {
            Side::Neither => {
                desc.verdict = Verdict::Route;
                return;
            }
            Side::Inside(set) => set,
            Side::Outside => 0,
        };
        // By value: a description whose address is taken is built in memory and copied.
        if self.has_stateless && self.is_stateless(desc.side, desc.meta.dst) {
            desc.stateless = true;
            return;
        }
        if matches!(desc.meta.l4, L4::IcmpError { .. } | L4::IcmpOther { .. }) {
            return;
        }
        let ahead = Ahead {
            sessions: &self.sessions,
            direction: desc.direction(),
            realm,
        };
        ahead.look(desc);
    }

    /// [`Engine::look_ahead`] for the plain packets of a side, if it comes to the same for all of them.
    #[inline(always)]
    #[must_use]
    pub fn ahead(&self, side: Side) -> Option<Ahead<'_>> {
        let (direction, realm) = match side {
            Side::Inside(set) => (Direction::Out, set),
            Side::Outside => (Direction::In, 0),
            Side::Neither => return None,
        };
        (!self.has_stateless).then_some(Ahead {
            sessions: &self.sessions,
            direction,
            realm,
        })
    }

    /// Whether the record asked for ahead is the packet's session.
    fn is_candidate(&self, desc: &Desc) -> bool {
        let service_set = if let Side::Inside(set) = desc.side {
            set
        } else {
            NONE
        };
        self.sessions.is(
            desc.candidate,
            &desc.tuple(),
            desc.meta.proto,
            desc.direction(),
            service_set,
        )
    }

    fn set_plan(&self, id: ServiceSetId) -> Option<&SetPlan> {
        self.sets.get(usize::from(id))?.as_ref()
    }

    fn service_set(&self, id: ServiceSetId) -> Option<&ServiceSet> {
        self.program.service_sets.get(self.set_plan(id)?.position)
    }

    fn pool(&self, id: PoolId) -> Option<&Pool> {
        self.program
            .pools
            .get(usize::from(*self.pools.get(usize::from(id))?))
    }

    /// Counters so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Live and possible: sessions, mappings, subscribers, port blocks.
    #[must_use]
    pub fn table_use(&self) -> [(u32, u32); 4] {
        [
            (self.sessions.live(), self.sessions.capacity()),
            (self.mappings.live(), self.mappings.capacity()),
            (self.subscribers.live(), self.subscribers.capacity()),
            self.ports.block_use(),
        ]
    }

    /// The tables, to look at: what the books are checked against.
    #[must_use]
    pub fn tables(&self) -> Tables<'_> {
        Tables {
            sessions: &self.sessions,
            mappings: &self.mappings,
            subscribers: &self.subscribers,
            ports: &self.ports,
        }
    }

    /// How many workers and shards there are.
    #[must_use]
    pub fn split(&self) -> Split {
        self.config.split
    }

    /// Use of every pool on this worker.
    pub fn pool_use(&self) -> impl Iterator<Item = PoolUse> + '_ {
        self.ports.pool_use()
    }

    /// Hands out policy events, oldest first, until `sink` has no room and says so.
    pub fn drain_policy_events(&mut self, sink: impl FnMut(&PolicyEvent) -> bool) {
        self.policy_events.drain(sink);
    }

    /// Policy events lost because nobody fetched them in time.
    #[must_use]
    pub fn policy_events_lost(&self) -> u64 {
        self.policy_events.lost()
    }

    /// First packets a policy decided about so far.
    #[must_use]
    pub fn policy_hits(&self, policy: PolicyId) -> u64 {
        self.policy_hits.get(usize::from(policy)).copied().unwrap_or(0)
    }

    /// First packets of a service set's direction that its firewall's default decided about so far.
    #[must_use]
    pub fn default_hits(&self, set: ServiceSetId, direction: Direction) -> u64 {
        self.default_hits
            .get(usize::from(set))
            .map_or(0, |hits| hits[direction as usize])
    }

    /// Hands out port block events; see [`Shards::drain_events`].
    pub fn drain_block_events(&mut self, sink: impl FnMut(BlockEvent) -> bool) {
        self.ports.drain_events(sink);
    }

    /// Port block events lost because nobody fetched them in time.
    #[must_use]
    pub fn block_events_lost(&self) -> u64 {
        self.ports.events_lost()
    }
}
