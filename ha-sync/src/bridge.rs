//! The chassis' side of a link over the workers' rings: gathers what they put out, and brings them what the peer told.
//!
//! ```text
//!   worker 0 --outbox--+                                  +--inbox--> worker of the subscriber's shard
//!   worker 1 --outbox--+--> next() --> link ==> link --> install()
//!   worker n --outbox--+                                  +--inbox--> all workers: begin and end of a bulk
//!
//!   commands (roles, bulks, listening) --inbox--> all workers; their answers come back on the outboxes, in order
//!   marks of a worker --outbox--> link; when the peer has taken all before them: --inbox--> the same worker
//! ```
//!
//! Whoever drives it calls [`Bridge::service`] before each poll of the link, reads [`Bridge::next_event`] after it, and gives the
//! link what [`Bridge::roles`] says. Whenever a set becomes primary here, the peer is told everything anew. A graceful switch by hand goes so:
//!
//! ```text
//!   asker                                           primary
//!   link.request_release(set) ------------------->  ReleaseAsked: set_role(standby), or link.refuse_release
//!                                                   RoleDone: everything was told; link.released(set, epoch)
//!   Released: set_role(primary, epoch + 1)  <-----
//! ```

mod bulks;
mod chassis;
mod joining;
mod merging;
mod rings;
mod roles;
mod shown;
mod taking;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use rtrb::{Consumer, Producer};
use tandem_engine::engine::HeldBack;
use tandem_engine::program::{Program, ServiceSetId};
use tandem_engine::replica::{Op, Role};
use tandem_engine::steer::Split;
use tandem_engine::ticks::Ticks;

use crate::chassis::SetRole;
use crate::leases::Keeper;
use bulks::Bulks;
use merging::Merging;
use rings::{Outboxes, Rings};
use roles::SetState;
use taking::Taking;

pub use joining::Joining;
pub use shown::{BridgeError, BridgeEvent, BridgeStats, RingUse};

/// What a bridge is made with.
#[derive(Clone, Debug)]
pub struct BridgeConfig {
    /// Shards of the engines: a multiple of the workers; 0 is as many as workers.
    pub shards: u8,
    /// The redundancy sets.
    pub sets: Vec<RedundancySet>,
    /// The link's time at which the engines' ticks were zero, milliseconds.
    pub tick_zero_ms: u64,
}

/// A redundancy set and what moves with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedundancySet {
    /// Its number, 1..=128.
    pub number: u8,
    /// Its service sets.
    pub service_sets: Vec<ServiceSetId>,
}

/// Whether workers put out operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listening {
    Off,
    /// They were told to stop, and may not have read it yet.
    Stopping,
    On,
}

/// A bridge. See the module.
#[derive(Debug)]
pub struct Bridge {
    config: BridgeConfig,
    program: Arc<Program>,
    rings: Rings,
    outboxes: Outboxes,
    /// What each worker holds back.
    held_back: Vec<Arc<HeldBack>>,
    listening: Listening,
    /// Where each worker will be in its inbox when it has read that nobody listens.
    stopped: Vec<u64>,
    bulks: Bulks,
    merging: Merging,
    sets: Vec<SetState>,
    /// Redundancy set of each service set, as a position in `sets`.
    of_service_set: HashMap<ServiceSetId, usize>,
    /// Where both are primary with the same epoch, the peer stays it.
    yields_equal: bool,
    /// The peer's roles, as it says them on this connection.
    peer_roles: Vec<SetRole>,
    /// The peer is dead by its heartbeats, and nothing of it has come since.
    peer_is_dead: bool,
    changes: u32,
    keeper: Keeper,
    /// A takeover before which some worker has still to read what it was told.
    taking: Option<Taking>,
    events: VecDeque<BridgeEvent>,
    stats: BridgeStats,
    now: u64,
    /// Workers that lack something they were told.
    lacks: Vec<bool>,
}

impl Bridge {
    /// A bridge over one outbox and one inbox of each worker, in their order. Every set is taken for primary, as engines begin.
    ///
    /// # Errors
    /// [`BridgeError`].
    pub fn new(
        config: BridgeConfig,
        program: Arc<Program>,
        outboxes: Vec<Consumer<Op>>,
        inboxes: Vec<Producer<Op>>,
    ) -> Result<Self, BridgeError> {
        let workers = inboxes.len();
        if outboxes.len() != workers {
            return Err(BridgeError::Rings {
                outboxes: outboxes.len(),
                inboxes: workers,
            });
        }
        let split = Split::new(u8::try_from(workers).unwrap_or(u8::MAX), config.shards)?;
        let mut bridge = Self {
            rings: Rings::new(inboxes, split),
            outboxes: Outboxes::new(outboxes),
            held_back: Vec::new(),
            listening: Listening::Off,
            stopped: Vec::new(),
            bulks: Bulks::default(),
            merging: Merging::default(),
            sets: Vec::new(),
            of_service_set: HashMap::new(),
            yields_equal: false,
            peer_roles: Vec::new(),
            peer_is_dead: false,
            changes: 0,
            keeper: Keeper::new(config.tick_zero_ms),
            taking: None,
            events: VecDeque::new(),
            stats: BridgeStats::default(),
            now: 0,
            lacks: vec![false; workers],
            program,
            config,
        };
        bridge.number_sets();
        Ok(bridge)
    }

    /// The program is this from now on, and these are the redundancy sets. New ones are taken for primary, as engines begin.
    /// Where addresses moved between pools, or a service set is replicated otherwise, the peer is told everything anew, unless
    /// the link does so by itself.
    pub fn set_program(&mut self, program: Arc<Program>, sets: Vec<RedundancySet>) {
        self.bulks.renew |= bulks::moves_ground(&self.program, &program);
        self.program = program;
        self.config.sets = sets;
        self.number_sets();
    }

    /// Brings waiting commands to the workers, keeps leases ahead, frees what a lost peer had. Call it before each poll of the
    /// link; milliseconds of the link's clock.
    pub fn service(&mut self, now: u64) {
        self.now = now;
        self.rings.flush();
        if self.listening == Listening::Stopping && self.rings.have_read(&self.stopped) {
            self.listening = Listening::Off;
        }
        if self.listening != Listening::On {
            self.drop_outboxes();
            self.start_if_asked();
        }
        self.outboxes.look(now);
        self.look_at_taking();
        let primary = self.primary_service_sets();
        self.keeper.service(now, &self.program, &primary, &mut self.stats);
    }

    /// When [`Bridge::service`] should be called next at the latest, milliseconds.
    #[must_use]
    pub const fn next_timer(&self) -> u64 {
        self.now + 100
    }

    /// What happened.
    pub fn next_event(&mut self) -> Option<BridgeEvent> {
        self.events.pop_front()
    }

    /// Whether the peer is about to be told everything anew, so that what it has is not all, whatever the link says.
    #[must_use]
    pub const fn is_renewing(&self) -> bool {
        self.bulks.renew
    }

    /// Whether this chassis lacks what its peer told of a set while that was primary here, too, so that it has not all, whatever
    /// the link says. It asks for it, when it has offered what it has of its own; this ends when the peer begins to tell everything.
    #[must_use]
    pub fn is_lacking(&self) -> bool {
        self.bulks.lacks || self.is_offering()
    }

    /// Whether a worker had to refuse something of what the peer told since its last bulk began. As standby this chassis lacks it.
    #[must_use]
    pub fn lacks(&self) -> bool {
        self.lacks.contains(&true)
    }

    fn note_lack(&mut self, worker: usize, lacks: bool) {
        if let Some(noted) = self.lacks.get_mut(worker) {
            *noted = lacks;
        }
    }

    /// What was counted.
    #[must_use]
    pub const fn stats(&self) -> &BridgeStats {
        &self.stats
    }

    /// How full the rings are.
    #[must_use]
    pub fn ring_use(&self) -> RingUse {
        RingUse {
            outboxes: self.outboxes.filled(),
            inboxes: self.rings.filled(),
            held_back: self.held().map(|(count, _)| u64::from(count)).sum(),
        }
    }

    fn stop(&mut self) {
        self.bulks.stop();
        self.offers_are_lost();
        if self.listening == Listening::On {
            self.rings.command(Op::Listen(false));
            // Not all that will ever be in their inboxes: a peer that tells everything may keep these from running empty.
            self.stopped = self.rings.mark();
            self.listening = Listening::Stopping;
        }
    }

    /// Empties the outboxes when nobody wants what is in them; answers to commands count all the same.
    fn drop_outboxes(&mut self) {
        while let Some((worker, op)) = self.outboxes.pop() {
            match op {
                Op::RoleDone { service_set, epoch } => self.role_done(service_set, epoch),
                Op::Lacks(lacks) => self.note_lack(worker, lacks),
                Op::Merged { service_set, merge } => self.merged(service_set, merge),
                Op::MergeEnd(bulk) => self.merge_ended(worker, bulk),
                _ => self.stats.dropped += 1,
            }
        }
    }

    /// Where to read what the workers hold back; without it nothing counts as held back.
    pub fn watch(&mut self, held_back: Vec<Arc<HeldBack>>) {
        self.held_back = held_back;
    }

    /// What workers hold back, and since when.
    fn held(&self) -> impl Iterator<Item = (u32, Ticks)> {
        self.held_back.iter().filter_map(|held| held.get())
    }

    /// Service sets of the redundancy sets that are primary here.
    fn primary_service_sets(&self) -> Vec<ServiceSetId> {
        let primary = self.sets.iter().filter(|set| set.role == Role::Primary);
        primary.flat_map(|set| &set.service_sets).copied().collect()
    }
}
