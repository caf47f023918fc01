//! What the other chassis says of something that another worker has here still: an extent of ports, a whole address, or what a session
//! of a protocol without ports claims.
//!
//! ```text
//!   told by the peer --inbox--> worker 0: ExtentClose, Role       (reads at its own pace, and gives the extent up when it comes to that)
//!                    --inbox--> worker 1: Extent, Session, Role   (is ahead: both wait here until the extent is nobody's)
//! ```
//!
//! It waits until that worker has ended its own, or swept it, in a bounded list, and is refused after [`OTHERS_WAIT`]. A takeover
//! changes nothing of that, since the other workers have still to read what was told before it: what waited is taken as in a merge then
//! (merge.rs), so that its extent rests. One that becomes standby again drops it: the word is of a primary of before. While a bulk
//! comes in, what was told before it waits for its end: of the service sets that it covers it is gone then, unless the bulk told it
//! again, and of others it goes on as it was. What waited for its port alone (contest.rs) waits here as long. Extents that such workers
//! give up are the other chassis' until they have rested, so nobody else takes them meanwhile.

use std::collections::VecDeque;

use super::contest::{ends, overlap};
use super::install::{NotInstalled, record_like};
use super::{Engine, Op};
use crate::program::ServiceSetId;
use crate::public_space::{EXTENT_PORTS, MAX_WORKERS};
use crate::replica::ExtentRecord;
use crate::session::{FLAG_ADDRESS_ONLY, FLAG_FREE_STANDING};
use crate::ticks::Ticks;

/// Operations that can wait; what is beyond is refused.
/// (As many as for ports. All of them are looked at for each operation that comes meanwhile.)
const WAITING: usize = 256;
/// Those looked at per step.
const STEP: usize = 64;
/// So long an operation waits: the other worker may have by right what it needs, or sweep a large table.
const OTHERS_WAIT: Ticks = Ticks::from_seconds(2);

/// What has waited for so long is lacking as long as it waits. Workers are milliseconds apart, and a set that was in `wait` for so
/// short would be an event about nothing.
const LACKING: Ticks = Ticks(2);

/// An operation that waits.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    op: Op,
    since: Ticks,
    /// It is of a bulk, so what is in its way may be what no bulk confirms, and is swept if that is before a takeover: until then it
    /// is lacking.
    is_of_bulk: bool,
    /// It was told before the bulk that comes in began.
    is_of_before: bool,
}

/// What waits for other workers.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    waiting: VecDeque<Waiting>,
}

impl Awaited {
    pub fn reserve(&mut self) {
        self.waiting.reserve_exact(WAITING);
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes out what is about the same as a newer word. Since when it waited, if something did.
    fn forget(&mut self, newer: &Op) -> Option<Ticks> {
        let mut since = None;
        let is_old = |waiting: &Waiting| is_about_same(&waiting.op, newer);
        while let Some(at) = self.waiting.iter().position(is_old) {
            since = since.or(self.waiting.remove(at).map(|waiting| waiting.since));
        }
        since
    }

    /// No bulk decides whether what waits is still so.
    pub fn is_as_before(&mut self) {
        for waiting in &mut self.waiting {
            waiting.is_of_before = false;
        }
    }

    /// Whether something of it is lacking here.
    pub fn is_lacking(&self, now: Ticks) -> bool {
        let is_lacking = |waiting: &Waiting| waiting.is_of_bulk || now.since(waiting.since) >= LACKING;
        self.waiting.iter().any(is_lacking)
    }
}

/// Whether a newer operation makes one that waits old.
fn is_about_same(op: &Op, newer: &Op) -> bool {
    match (op, newer) {
        (Op::Session(a), Op::Session(b)) => (a.key, a.protocol) == (b.key, b.protocol),
        (Op::Session(a), Op::Close { key, protocol, .. }) => (a.key, a.protocol) == (*key, *protocol),
        (Op::Mapping(a), Op::Mapping(b) | Op::MappingClose(b)) => ends(a) == ends(b),
        (Op::Block(a), Op::Block(b) | Op::BlockClose(b)) => overlap(a, b),
        (Op::Extent(a), Op::Extent(b) | Op::ExtentClose(b)) => {
            (a.public, a.extent, a.shard) == (b.public, b.extent, b.shard)
        }
        _ => false,
    }
}

impl Engine {
    /// Whether something that was told waits until another worker has given up what is in its way.
    #[must_use]
    pub fn waits_for_workers(&self) -> bool {
        !self.replica.awaited.is_empty()
    }

    /// A word came about something that may wait: what it said before is old. Since when it waited, if it did.
    pub(super) fn forget_awaited(&mut self, newer: &Op) -> Option<Ticks> {
        if self.replica.awaited.is_empty() || !self.is_followed(newer) {
            return None;
        }
        self.replica.awaited.forget(newer)
    }

    /// Keeps an operation until another worker has given up what is in its way.
    pub(super) fn wait_for_others(&mut self, op: &Op, since: Ticks) -> Result<(), NotInstalled> {
        let is_of_bulk = self.replica.sweep.is_some() || self.replica.missing.is_incoming();
        let waiting = &mut self.replica.awaited.waiting;
        if waiting.len() >= WAITING {
            return Err(NotInstalled::NoGround);
        }
        waiting.push_back(Waiting {
            op: *op,
            since,
            is_of_bulk,
            is_of_before: false,
        });
        Ok(())
    }

    /// A bulk of everything begins to come in: until it is complete, nobody knows whether it says what waits here again.
    pub(super) fn set_awaited_aside(&mut self) {
        while let Some(op) = self.replica.contested.pop() {
            let result = self.wait_for_others(&op, self.now);
            self.count_install(&op, result);
        }
        for waiting in &mut self.replica.awaited.waiting {
            waiting.is_of_before = true;
        }
    }

    /// That bulk is complete: what it did not tell again of the service sets it covers is gone at the primary.
    pub(super) fn forget_covered(&mut self) {
        let mut all = std::mem::take(&mut self.replica.awaited.waiting);
        all.retain_mut(|waiting| {
            let is_gone = waiting.is_of_before && self.is_of(&waiting.op, |set| self.is_swept(set));
            waiting.is_of_before = false;
            !is_gone
        });
        self.replica.awaited.waiting = all;
    }

    /// This chassis becomes standby of a service set: what was told before its time as primary is nobody's word now. It may be there
    /// at the new primary, so it is missing here.
    pub(super) fn drop_awaited(&mut self, set: ServiceSetId) {
        let mut all = std::mem::take(&mut self.replica.awaited.waiting);
        all.retain(|waiting| {
            let is_dropped = self.is_of(&waiting.op, |of| of == set);
            if is_dropped {
                self.count_install(&waiting.op, Err(NotInstalled::NoGround));
            }
            !is_dropped
        });
        self.replica.awaited.waiting = all;
    }

    /// Looks at what waits, and installs what can be by now.
    pub(super) fn settle_awaited(&mut self) {
        for _ in 0..STEP.min(self.replica.awaited.waiting.len()) {
            let Some(waiting) = self.replica.awaited.waiting.pop_front() else {
                return;
            };
            let Waiting { op, since, .. } = waiting;
            let is_of_before = waiting.is_of_before && self.replica.missing.is_incoming();
            let is_open = is_of_before && self.is_followed(&op);
            if is_open || self.is_anothers(&op) && self.now.since(since) < OTHERS_WAIT {
                self.replica.awaited.waiting.push_back(waiting);
            } else if self.is_followed(&op) {
                let result = match self.install_once(&op) {
                    Err(NotInstalled::Contested) if !self.is_anothers(&op) => self.contest(&op),
                    result => result,
                };
                self.count_install(&op, result);
            } else {
                self.merge_late(&op);
            }
        }
    }

    /// Whether the other chassis says what becomes of what an operation is about.
    fn is_followed(&self, op: &Op) -> bool {
        self.is_of(op, |set| self.is_standby(set))
    }

    /// Whether what an operation is about is of such a service set.
    fn is_of(&self, op: &Op, is_such: impl Fn(ServiceSetId) -> bool) -> bool {
        match op {
            Op::Session(record) => is_such(record.service_set),
            Op::Mapping(record) | Op::MappingClose(record) => is_such(record.service_set),
            Op::Block(record) | Op::BlockClose(record) => is_such(record.service_set),
            Op::Extent(record) | Op::ExtentClose(record) => self.is_used_by(record.pool, is_such),
            Op::Close { service_set, .. } => is_such(*service_set),
            _ => false,
        }
    }

    /// Whether what an operation needs is another worker's here, or another shard's.
    pub(super) fn is_anothers(&self, op: &Op) -> bool {
        if let Op::Session(record) = op
            && record.flags & (FLAG_ADDRESS_ONLY | FLAG_FREE_STANDING) == FLAG_ADDRESS_ONLY
        {
            let hot = record_like(&record.key, record.service_set, record.protocol, record.last_seen);
            let back = hot.from_outside();
            let owner = self.config.claims.owner(back.dst, back.src, record.protocol);
            return owner.is_some_and(|owner| owner != self.config.worker);
        }
        self.extent_of(op).is_some_and(|needed| {
            let owner = self.shard_of(&needed);
            owner.is_some_and(|owner| owner < MAX_WORKERS && owner != needed.shard)
        })
    }

    /// The shard that has an extent here, or one of the other states of an owner.
    pub(super) fn shard_of(&self, extent: &ExtentRecord) -> Option<u8> {
        let space = &self.program.public_space;
        let index = space.index_of(extent.public)?;
        Some(space.owner(index, usize::from(extent.extent)))
    }

    /// The extent that an operation needs, as its shard has it. (Of a whole address: the first.)
    pub(super) fn extent_of(&self, op: &Op) -> Option<ExtentRecord> {
        let (public, port, pool, inside) = match op {
            Op::Extent(record) => return Some(*record),
            Op::Session(record) if record.flags & (FLAG_ADDRESS_ONLY | FLAG_FREE_STANDING) != 0 => {
                return None;
            }
            Op::Session(record) => {
                let hot = record_like(&record.key, record.service_set, record.protocol, record.last_seen);
                let back = hot.from_outside();
                (back.dst, back.dport, record.pool, self.ends_of(&hot).inside.0)
            }
            Op::Mapping(record) => (record.public, record.public_port, record.pool, record.inside),
            Op::Block(record) => (record.public, record.first_port, record.pool, record.subscriber),
            _ => return None,
        };
        Some(ExtentRecord {
            public,
            pool,
            extent: (u32::from(port) / EXTENT_PORTS) as u8,
            shard: self.ports.shard(inside),
            held_until: Ticks::ZERO,
        })
    }
}
