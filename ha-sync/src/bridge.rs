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

mod joining;
mod rings;
mod roles;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use rtrb::{Consumer, Producer};
use tandem_engine::program::{Program, ServiceSetId};
use tandem_engine::replica::{Lease, LeaseChange, Mark, Op, Role};
use tandem_engine::steer::{Split, UnevenSplit};
use tandem_engine::ticks::Ticks;

use crate::chassis::{Chassis, PeerEvent, SetRole, Sets};
use crate::leases::Keeper;
pub use joining::Joining;
use rings::{Outboxes, Rings};
use roles::SetState;

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

/// What the bridge tells whoever drives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeEvent {
    /// From the link.
    Peer(PeerEvent),
    /// All workers have taken up a redundancy set's role, and what they put out before was given to the link.
    RoleDone(SetRole),
    /// The peer is primary with a higher epoch, so this chassis yields: its workers are taking up the standby role.
    Yielded(SetRole),
}

/// What a bridge counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgeStats {
    /// Operations taken from the workers for the peer.
    pub taken: u64,
    /// Operations brought to the workers.
    pub installed: u64,
    /// Times a worker's inbox was full.
    pub inbox_full: u64,
    /// Operations dropped because nobody listened any more.
    pub dropped: u64,
    /// Bulks the workers were asked for.
    pub bulks: u64,
    /// Leases offered to the peer, and again after a connect.
    pub leases_offered: u64,
    /// Leases acknowledged.
    pub leases_granted: u64,
    /// Leases given back to the peer.
    pub leases_withdrawn: u64,
    /// Leases of the peer taken note of.
    pub leases_told: u64,
    /// Leases the peer offered of extents that this chassis leases or uses itself.
    pub lease_conflicts: u64,
    /// Extents of a lost peer's, or of one that began anew, that were freed after their rest.
    pub leases_freed: u64,
    /// Only granted extents may be taken; otherwise a peer does not know of what is given out.
    pub leases_required: bool,
}

/// Operations in all workers' rings, and how many fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingUse {
    /// Put out by the workers, and not taken yet.
    pub outboxes: (usize, usize),
    /// Brought to the workers, and not done yet.
    pub inboxes: (usize, usize),
}

/// Whether workers put out operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listening {
    Off,
    /// They were told to stop, and may not have read it yet.
    Stopping,
    On,
}

/// A bulk under way, by worker.
#[derive(Debug)]
struct Bulk {
    number: u16,
    /// Workers that have told their part.
    done: Vec<bool>,
}

/// A bridge. See the module.
#[derive(Debug)]
pub struct Bridge {
    config: BridgeConfig,
    program: Arc<Program>,
    rings: Rings,
    outboxes: Outboxes,
    listening: Listening,
    /// A bulk to begin as soon as the workers are known to have stopped.
    begin: Option<u16>,
    bulk: Option<Bulk>,
    /// The peer has to be told everything anew: the program changed so, or of a set that became primary here it may have what
    /// is here no more.
    renew: bool,
    /// Sets that were primary here since the last bulk began.
    told: Sets,
    /// Sets that were standby here since the peer's last bulk began, and those of them that it covers.
    heard: Sets,
    covered: Sets,
    sets: Vec<SetState>,
    /// Redundancy set of each service set, as a position in `sets`.
    of_service_set: HashMap<ServiceSetId, usize>,
    changes: u32,
    keeper: Keeper,
    events: VecDeque<BridgeEvent>,
    stats: BridgeStats,
    now: u64,
}

/// The rings do not go together, or the workers not with the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BridgeError {
    /// There is one outbox and one inbox for every worker.
    #[error("{outboxes} outboxes and {inboxes} inboxes are not one of each for every worker")]
    Rings {
        /// Outboxes.
        outboxes: usize,
        /// Inboxes.
        inboxes: usize,
    },
    /// Shards.
    #[error(transparent)]
    Split(#[from] UnevenSplit),
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
            listening: Listening::Off,
            begin: None,
            bulk: None,
            renew: false,
            told: Sets::default(),
            heard: Sets::default(),
            covered: Sets::default(),
            sets: Vec::new(),
            of_service_set: HashMap::new(),
            changes: 0,
            keeper: Keeper::default(),
            events: VecDeque::new(),
            stats: BridgeStats::default(),
            now: 0,
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
        self.renew |= moves_ground(&self.program, &program);
        self.program = program;
        self.config.sets = sets;
        self.number_sets();
    }

    /// Brings waiting commands to the workers, keeps leases ahead, frees what a lost peer had. Call it before each poll of the
    /// link; milliseconds of the link's clock.
    pub fn service(&mut self, now: u64) {
        self.now = now;
        self.rings.flush();
        if self.listening == Listening::Stopping && self.rings.all_read() {
            self.listening = Listening::Off;
        }
        if self.listening != Listening::On {
            self.drop_outboxes();
            self.start_if_asked();
        }
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
        self.renew
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
        }
    }

    fn start_if_asked(&mut self) {
        if self.listening != Listening::Off {
            return;
        }
        let Some(number) = self.begin.take() else { return };
        // The workers have read that nobody listens, and what they had put out before was dropped above.
        self.rings.command(Op::Listen(true));
        self.listening = Listening::On;
        self.begin_bulk(number);
    }

    fn begin_bulk(&mut self, number: u16) {
        self.stats.bulks += 1;
        self.renew = false;
        self.told = self.sets_that_are(Role::Primary);
        self.bulk = Some(Bulk {
            number,
            done: vec![false; self.rings.workers()],
        });
        self.rings.command(Op::Bulk(number));
    }

    /// The end of a bulk that all workers and the keeper of leases have told their parts of.
    fn bulk_end(&mut self) -> Option<Op> {
        let keeper = &self.keeper;
        let ended = |bulk: &mut Bulk| bulk.done.iter().all(|done| *done) && keeper.has_told_again();
        self.bulk.take_if(ended).map(|bulk| Op::BulkEnd(bulk.number))
    }

    fn stop(&mut self) {
        (self.begin, self.bulk) = (None, None);
        if self.listening == Listening::On {
            self.rings.command(Op::Listen(false));
            self.listening = Listening::Stopping;
        }
    }

    /// Empties the outboxes when nobody wants what is in them; answers to commands count all the same.
    fn drop_outboxes(&mut self) {
        while let Some((_, op)) = self.outboxes.pop() {
            match op {
                Op::RoleDone { service_set, epoch } => self.role_done(service_set, epoch),
                _ => self.stats.dropped += 1,
            }
        }
    }
}

/// Whether what was told under one program may be wrong under another: addresses are in other pools, or service sets gone or
/// replicated otherwise.
fn moves_ground(old: &Program, new: &Program) -> bool {
    let pools = old.pools.iter().any(|before| {
        let now = new.pools.iter().find(|pool| pool.id == before.id);
        now.is_none_or(|now| now.addresses != before.addresses || now.mode != before.mode)
    });
    let sets = old.service_sets.iter().any(|before| {
        let now = new.service_sets.iter().find(|set| set.id == before.id);
        now.is_none_or(|now| now.replication != before.replication)
    });
    pools || sets
}

impl Chassis for Bridge {
    fn next(&mut self) -> Option<Op> {
        if self.listening != Listening::On {
            return None;
        }
        if std::mem::take(&mut self.renew) {
            return Some(Op::Lost);
        }
        if let Some(end) = self.bulk_end() {
            return Some(end);
        }
        while let Some((worker, op)) = self.outboxes.pop() {
            match op {
                Op::RoleDone { service_set, epoch } => self.role_done(service_set, epoch),
                Op::BulkEnd(number) => {
                    let Some(bulk) = self.bulk.as_mut().filter(|bulk| bulk.number == number) else {
                        continue;
                    };
                    if let Some(done) = bulk.done.get_mut(worker) {
                        *done = true;
                    }
                    if let Some(end) = self.bulk_end() {
                        return Some(end);
                    }
                }
                Op::Mark(_) => return Some(op),
                op => {
                    self.stats.taken += 1;
                    return Some(op);
                }
            }
        }
        None
    }

    fn install(&mut self, op: &Op) -> bool {
        let taken = match rings::subscriber(op) {
            Some(subscriber) => {
                let prefix = self.program.steering_prefix;
                self.rings.push_for(subscriber, prefix, *op)
            }
            None => match op {
                Op::Extent(extent) | Op::ExtentClose(extent) => self.rings.push_shard(extent.shard, *op),
                Op::BulkBegin(_) => {
                    self.heard = self.sets_that_are(Role::Standby);
                    self.rings.push_all(&[*op])
                }
                Op::BulkEnd(_) => self.end_of_bulk(*op),
                // Nothing else comes from a peer.
                _ => true,
            },
        };
        if taken {
            match op {
                Op::BulkBegin(_) => self.keeper.hears_all(),
                Op::BulkEnd(_) => self.keeper.heard_all(self.now, &self.program),
                _ => {}
            }
            self.stats.installed += 1;
        } else {
            self.stats.inbox_full += 1;
        }
        taken
    }

    fn covers(&self) -> Sets {
        self.told
    }

    fn covered(&mut self, sets: Sets) {
        self.covered = sets;
    }

    fn next_lease(&mut self) -> Option<LeaseChange> {
        self.keeper.next_change()
    }

    fn lease_acknowledged(&mut self, lease: Lease) {
        self.keeper.acknowledged(lease, &self.program, &mut self.stats);
    }

    fn mark_acknowledged(&mut self, mark: Mark) {
        self.rings.give_back(mark);
    }

    fn lease_told(&mut self, change: LeaseChange) {
        self.keeper.told(change, &self.program, &mut self.stats);
    }

    fn peer(&mut self, event: PeerEvent) {
        match &event {
            PeerEvent::Connected {
                new_bulk: Some(number),
            } => {
                self.stop();
                self.keeper.connected();
                self.keeper.tell_again(&self.program);
                self.begin = Some(*number);
                self.start_if_asked();
            }
            PeerEvent::Connected { new_bulk: None } => self.keeper.connected(),
            PeerEvent::Bulk(number) => {
                self.keeper.tell_again(&self.program);
                if self.begin.is_some() {
                    self.begin = Some(*number);
                } else {
                    self.begin_bulk(*number);
                }
            }
            PeerEvent::Suspended(_) | PeerEvent::Disconnected | PeerEvent::Refused(_) => {
                self.keeper.disconnected(&self.program, &mut self.stats);
            }
            PeerEvent::Forgotten => self.stop(),
            PeerEvent::Roles(roles) => self.yield_to(roles),
            PeerEvent::ReleaseAsked { .. }
            | PeerEvent::Released { .. }
            | PeerEvent::ReleaseRefused { .. } => {}
        }
        self.events.push_back(BridgeEvent::Peer(event));
    }

    fn ticks(&self, now: u64) -> Ticks {
        Ticks((now.saturating_sub(self.config.tick_zero_ms) / 100) as u32)
    }
}

impl Bridge {
    /// The peer's bulk ends: workers sweep what it covers of the sets that are standby here, and were when it began.
    fn end_of_bulk(&mut self, end: Op) -> bool {
        let swept = self.covered.and(self.heard);
        let sets = self.sets.iter().filter(|set| swept.has(set.number));
        let service_sets = sets.flat_map(|set| &set.service_sets);
        let mut all: Vec<Op> = service_sets.map(|id| Op::Covers(*id)).collect();
        all.push(end);
        self.rings.push_all(&all)
    }

    /// Service sets of the redundancy sets that are primary here.
    fn primary_service_sets(&self) -> Vec<ServiceSetId> {
        let primary = self.sets.iter().filter(|set| set.role == Role::Primary);
        primary.flat_map(|set| &set.service_sets).copied().collect()
    }
}
