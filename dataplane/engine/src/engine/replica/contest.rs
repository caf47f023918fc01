//! Ports that another session has here than the other chassis says.
//!
//! Who owns a port is found by both its ends only, so whose it is towards another outside end takes a walk over the table, in
//! slices. What it stands in the way of waits meanwhile, in a bounded list; the walk ends the contrary sessions, and what waited is
//! installed. Of a block all sessions of other subscribers that own a port in it are contrary.
//! (What another worker has here no walk finds: others.rs.)

use std::collections::VecDeque;

use super::{Engine, WALK_STEP};
use crate::engine::replica::NotInstalled;
use crate::ports::PortClass;
use crate::replica::{BlockRecord, MappingRecord, Op, SessionKey, SessionRecord};
use crate::session::{FLAG_OWNS_PORT, FLAG_SHARED_PORT, Hot};

/// Operations that can wait for a port; what is beyond is refused.
const WAITING: usize = 256;
/// Operations installed per step when a walk is over.
const INSTALL_STEP: usize = 64;

/// A public end of a protocol with ports.
type End = (u32, u16, u8);

/// What waits for ports that others have.
#[derive(Debug, Default)]
pub(super) struct Contested {
    /// The walk is for the first `of_walk`.
    waiting: VecDeque<Op>,
    of_walk: usize,
    /// The ends the walk looks for, sorted.
    ends: Vec<End>,
    /// The blocks it clears of others, sorted; none overlaps another.
    blocks: Vec<BlockRecord>,
    at: u32,
}

impl Contested {
    pub fn reserve(&mut self) {
        self.waiting.reserve_exact(WAITING);
        self.ends.reserve_exact(WAITING);
        self.blocks.reserve_exact(WAITING);
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes out what waits, one after the other; the walk for it begins anew.
    pub fn pop(&mut self) -> Option<Op> {
        (self.of_walk, self.at) = (0, 0);
        self.waiting.pop_front()
    }

    /// Whether one was there.
    fn remove(&mut self, is_it: impl FnMut(&Op) -> bool) -> bool {
        let Some(at) = self.waiting.iter().position(is_it) else {
            return false;
        };
        self.of_walk -= usize::from(at < self.of_walk);
        self.waiting.remove(at).is_some()
    }

    /// A session ended before it was here, or there is a newer word about it.
    pub fn forget_session(&mut self, key: &SessionKey, protocol: u8) {
        if !self.waiting.is_empty() {
            let is_it = |record: &SessionRecord| record.key == *key && record.protocol == protocol;
            self.remove(|op| matches!(op, Op::Session(record) if is_it(record)));
        }
    }

    /// A mapping ended before it was here.
    pub fn forget_mapping(&mut self, ended: &MappingRecord) {
        if !self.waiting.is_empty() {
            self.remove(|op| matches!(op, Op::Mapping(record) if ends(record) == ends(ended)));
        }
    }

    /// There is a newer word about some ports of a block.
    pub fn forget_block(&mut self, newer: &BlockRecord) {
        if self.waiting.is_empty() {
            return;
        }
        let is_it = |op: &Op| matches!(op, Op::Block(record) if overlap(record, newer));
        while self.remove(is_it) {}
        self.blocks.retain(|block| !overlap(block, newer));
    }

    /// The block a port is in that the walk clears of others.
    fn block_of(&self, (public, port, _): End) -> Option<&BlockRecord> {
        let behind = self
            .blocks
            .partition_point(|b| (b.public, b.first_port) <= (public, port));
        let block = self.blocks.get(behind.checked_sub(1)?)?;
        (block.public == public && port - block.first_port < block.size).then_some(block)
    }
}

/// The public end an operation is about.
fn end_of(op: &Op) -> Option<End> {
    let (public, port, protocol) = match op {
        Op::Session(record) => match &record.key {
            SessionKey::V4 { back, .. } | SessionKey::Nat64 { back, .. } => {
                (back.dst, back.dport, record.protocol)
            }
            SessionKey::V6(_) => return None,
        },
        Op::Mapping(record) => (record.public, record.public_port, record.protocol),
        _ => return None,
    };
    PortClass::of_protocol(protocol).map(|class| (public, port, class as u8))
}

/// What makes a mapping another.
pub(super) const fn ends(m: &MappingRecord) -> (u128, u16, u32, u16, u8) {
    (m.inside, m.inside_port, m.public, m.public_port, m.protocol)
}

/// Whether two blocks have ports in common.
pub(super) fn overlap(one: &BlockRecord, other: &BlockRecord) -> bool {
    let (a, b) = (u32::from(one.first_port), u32::from(other.first_port));
    one.public == other.public && a < b + u32::from(other.size) && b < a + u32::from(one.size)
}

/// The public end a session owns for itself.
fn owned(hot: &Hot) -> Option<End> {
    if !hot.is_session() || hot.flags & (FLAG_OWNS_PORT | FLAG_SHARED_PORT) != FLAG_OWNS_PORT {
        return None;
    }
    let back = hot.from_outside();
    PortClass::of_protocol(hot.protocol).map(|class| (back.dst, back.dport, class as u8))
}

impl Engine {
    /// Keeps an operation until its port is free. A newer word about the same takes the older one's place.
    pub(super) fn contest(&mut self, op: &Op) -> Result<(), NotInstalled> {
        let contested = &mut self.replica.contested;
        match op {
            Op::Session(record) => contested.forget_session(&record.key, record.protocol),
            Op::Mapping(record) => contested.forget_mapping(record),
            Op::Block(record) => contested.forget_block(record),
            _ => return Err(NotInstalled::NoGround),
        }
        if contested.waiting.len() >= WAITING {
            return Err(NotInstalled::NoGround);
        }
        contested.waiting.push_back(*op);
        Ok(())
    }

    /// Ends the contrary sessions and installs what waited, all at once: this chassis is about to take over, and what it was told
    /// must not be forgotten. Two walks at most, as installing makes nothing wait for a walk again.
    pub(super) fn settle_all_contested(&mut self) {
        while !self.replica.contested.is_empty() {
            self.settle_contested();
        }
    }

    /// Goes on with the walk that ends contrary sessions, and installs what waited for it.
    pub(super) fn settle_contested(&mut self) {
        let contested = &mut self.replica.contested;
        if contested.waiting.is_empty() {
            return;
        }
        if contested.of_walk == 0 {
            (contested.of_walk, contested.at) = (contested.waiting.len(), 0);
            contested.ends.clear();
            contested.ends.extend(contested.waiting.iter().filter_map(end_of));
            contested.ends.sort_unstable();
            let blocks = contested.waiting.iter().filter_map(|op| match op {
                Op::Block(record) => Some(*record),
                _ => None,
            });
            contested.blocks.clear();
            contested.blocks.extend(blocks);
            contested
                .blocks
                .sort_unstable_by_key(|b| (b.public, b.first_port));
        }
        let high_water = self.sessions.high_water();
        let from = contested.at.min(high_water);
        let end = high_water.min(from.saturating_add(WALK_STEP));
        contested.at = end;
        for number in from..end {
            let contrary = self.sessions.hot(number).is_some_and(|hot| {
                owned(hot).is_some_and(|end| self.is_contrary(number, end))
                    && self.is_standby(hot.service_set)
            });
            if contrary {
                self.end_contrary(number);
            }
        }
        if end < high_water {
            return;
        }
        for _ in 0..INSTALL_STEP.min(self.replica.contested.of_walk) {
            let Some(op) = self.replica.contested.waiting.pop_front() else {
                return;
            };
            self.replica.contested.of_walk -= 1;
            let result = match &op {
                Op::Block(record) => self.install_block(record, true),
                _ => self.install_once(&op),
            };
            let result = match result {
                Err(NotInstalled::Contested | NotInstalled::NoGround) if self.is_anothers(&op) => {
                    self.wait_for_others(&op, self.now)
                }
                // Somebody took it meanwhile, or it is in another subscriber's block: a bulk sees to that.
                Err(NotInstalled::Contested) => Err(NotInstalled::NoGround),
                result => result,
            };
            self.count_install(&op, result);
        }
    }

    /// Whether a session owns an end that something waits for, or has it in a block that is another's.
    fn is_contrary(&self, number: u32, end: End) -> bool {
        let contested = &self.replica.contested;
        let of = self.sessions.cold(number).map(|cold| cold.subscriber);
        contested.ends.binary_search(&end).is_ok()
            || contested
                .block_of(end)
                .is_some_and(|block| of.is_some_and(|of| !self.is_block_of(block, of)))
    }
}
