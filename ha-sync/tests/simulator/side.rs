//! One chassis: engines, rings, bridge and link, put together as the daemon does it.

mod automatic;
mod brain;
mod drive;
mod views_of;

use std::collections::HashMap;

use ha_sync::bridge::{Bridge, BridgeConfig, RedundancySet};
use ha_sync::link::{Link, LinkConfig};
use ha_sync::wire::Dictionary;
use rtrb::{Consumer, RingBuffer};
use tandem_engine::hash::Rng;
use tandem_engine::replica::Op;
use tandem_engine::ticks::Ticks;
use tandem_engine_testkit::world::World;

use crate::program::{self, Kind, pick};
use crate::recorder::Told;
use crate::views::{self, Ends, Set};

use automatic::Stall;
use brain::Brain;
pub use brain::{Did, PATHS, TIMING, Terms};

/// What a pair is made with, beside its program.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Seed of the run.
    pub seed: u64,
    /// Workers of each chassis.
    pub workers: [u8; 2],
    /// Shards of both.
    pub shards: u8,
    /// Age at which sessions are replicated.
    pub threshold: Ticks,
    /// Operations on a ring at most.
    pub ring: usize,
    /// Records a worker's maintenance looks at.
    pub budget: usize,
    /// Operations beside a full window at most.
    pub pending_max: usize,
    batch_bytes: usize,
    poll_bytes: usize,
    /// Each operation that a worker installs is told, and each role that is given to workers.
    pub loud: bool,
    /// The first service set has the whole of one address, and its quarantine is short.
    pub wide: bool,
    keepalive_ms: u64,
    retransmit_ms: u64,
    resume_ms: u64,
    /// The pair decides about its roles by itself, on these terms.
    pub terms: Option<Terms>,
}

impl Tuning {
    /// Random tuning.
    pub fn draw(seed: u64, datagrams: bool, rng: &mut Rng) -> Self {
        let (shards, choices): (u8, &[u8]) = match rng.below(3) {
            0 => (1, &[1]),
            1 => (2, &[1, 2]),
            _ => (6, &[1, 2, 3]),
        };
        Self {
            seed,
            workers: [pick(rng, choices), pick(rng, choices)],
            shards,
            threshold: program::threshold(seed),
            ring: pick(rng, &[8, 64, 1024]),
            budget: pick(rng, &[32, 64]),
            pending_max: pick(rng, &[16, 1024]),
            batch_bytes: pick(rng, &[512, 4096]),
            poll_bytes: pick(rng, &[1024, 16_384]),
            loud: std::env::var_os("TANDEM_OPERATIONS").is_some(),
            wide: false,
            keepalive_ms: pick(rng, &[500, 4000]),
            retransmit_ms: if datagrams { pick(rng, &[300, 1000]) } else { 0 },
            resume_ms: pick(rng, &[1000, 10_000, 60_000]),
            terms: None,
        }
    }

    fn link(&self, start: u64, dictionary: Dictionary) -> LinkConfig {
        LinkConfig {
            window_bytes: 64 << 10,
            pending_max: self.pending_max,
            batch_bytes: self.batch_bytes,
            poll_bytes: self.poll_bytes,
            keepalive_ms: self.keepalive_ms,
            keepalive_lost: 4,
            retransmit_ms: self.retransmit_ms,
            resume_ms: self.resume_ms,
            ..LinkConfig::new(start, self.shards, [7; 32], dictionary)
        }
    }
}

/// What the other chassis knows of public ends that one has given away, beside short sessions: it has what those are from. Time before
/// which all is known that was given away, milliseconds. No end when it is told everything, leases are required, and what was given
/// away without its leave has been told: then nothing is given away that it would give to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known(u64);

impl Known {
    /// Its mirror is not complete.
    pub const NOTHING: Self = Self(0);
    /// Whatever is on its way.
    pub const ALL: Self = Self(u64::MAX);

    /// Whether it knows what was given away at a time.
    pub const fn at(self, since: u64) -> bool {
        since < self.0
    }
}

/// One chassis.
pub struct Side {
    /// Its engines.
    pub world: World,
    /// What its service sets do.
    pub kinds: Vec<Kind>,
    /// What it told.
    pub told: Told,
    /// The other has, or had when it was last heard of, all that this one is primary of, save what is on its way.
    pub covered: bool,
    /// The last bulk it was told is complete.
    filled: bool,
    /// Since when all is given away with the other's leave, milliseconds; `u64::MAX`: it is not.
    strict_since: u64,
    tuning: Tuning,
    at: usize,
    bridge: Bridge,
    link: Link,
    inboxes: Vec<Consumer<Op>>,
    /// Sets the peer asked to be released, and sets it released, with the number of the role change.
    asked: Set<u16>,
    released: HashMap<u16, u64>,
    /// Sets it yielded.
    yielded: Set<u16>,
    /// What each worker had refused when its last bulk began.
    refused_before: Vec<u64>,
    /// When it last took a session that the other one had of its own; 0: never.
    merged_ms: u64,
    /// Sessions it had of its own when it became standby.
    own: Set<Ends>,
    /// Who decides about its roles, in an automatic pair.
    brain: Option<Box<Brain>>,
    /// When workers stood still, the oldest first.
    stalls: Vec<Stall>,
    out: Vec<u8>,
}

impl Side {
    /// A chassis that has just started: standby of everything.
    pub fn new(tuning: &Tuning, at: usize, start: u64, now: u64) -> Self {
        let workers = tuning.workers[at];
        let mut kinds = Vec::new();
        let mut world = World::new(workers, |plan| {
            plan.seed = tuning.seed << 8 | start;
            plan.shards_each = tuning.shards / workers;
            kinds = program::plan(plan, tuning.seed, workers);
            if tuning.wide {
                kinds = program::widen(plan);
            }
        });
        world.now = ticks(now);
        let (mut outboxes, mut inboxes, mut producers) = (Vec::new(), Vec::new(), Vec::new());
        for engine in &mut world.engines {
            let (producer, consumer) = RingBuffer::new(tuning.ring);
            engine.connect(producer);
            outboxes.push(consumer);
            let (producer, consumer) = RingBuffer::new(tuning.ring);
            producers.push(producer);
            inboxes.push(consumer);
        }
        let sets = world.program.service_sets.len() as u8;
        let config = BridgeConfig {
            shards: tuning.shards,
            // Redundancy sets of the same numbers as service sets.
            sets: (1..=sets)
                .map(|number| RedundancySet {
                    number,
                    service_sets: vec![number.into()],
                })
                .collect(),
            tick_zero_ms: 0,
        };
        let program = world.program.clone();
        let mut bridge =
            Bridge::new(config, program, outboxes, producers).expect("rings and shards go together");
        let mut link = Link::new(tuning.link(start, Dictionary::of(&world.program)));
        let terms = tuning.terms.as_ref();
        let brain = terms.map(|terms| Box::new(Brain::new(terms, at, start, &mut link, &mut bridge)));
        let mut side = Self {
            kinds,
            told: Told::default(),
            covered: false,
            filled: true,
            strict_since: u64::MAX,
            tuning: tuning.clone(),
            at,
            bridge,
            link,
            inboxes,
            asked: Set::default(),
            released: HashMap::new(),
            yielded: Set::default(),
            refused_before: vec![0; usize::from(workers)],
            merged_ms: 0,
            own: Set::default(),
            brain,
            stalls: Vec::new(),
            out: Vec::new(),
            world,
        };
        if side.brain.is_none() {
            for set in 1..=u16::from(sets) {
                side.take_role(set, false, 0);
            }
        }
        side.work(now);
        side
    }

    /// The state in a few words.
    pub fn summary(&self) -> String {
        let stats = self.link.stats();
        let sessions: usize = self
            .world
            .engines
            .iter()
            .map(|e| views::sessions(e).count())
            .sum();
        format!(
            "{sessions} sessions, {:?}, lag {} ms, pending {}, sequence {}/{}, received {}",
            self.link.state(),
            stats.lag_ms,
            stats.pending,
            stats.sequence_acknowledged,
            stats.sequence_sent,
            stats.sequence_received
        )
    }
}

/// The engines' time.
fn ticks(now: u64) -> Ticks {
    Ticks((now / 100) as u32)
}
