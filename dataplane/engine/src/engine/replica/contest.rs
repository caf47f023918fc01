//! Ports that another session has here than the other chassis says.
//!
//! Who owns a port is found by both its ends only, so whose it is towards another outside end takes a walk over the table, in
//! slices. What it stands in the way of waits meanwhile, in a bounded list; the walk ends the contrary sessions, and what waited is
//! installed. Of a block all sessions of other subscribers that own a port in it are contrary.
//!
//! What a session of a protocol without ports claims may be another worker's here: that one reads the same words of the other chassis,
//! but at its own pace. So it waits until that worker has ended its own, or swept it, and for no longer than [`CLAIM_WAIT`].

use std::collections::VecDeque;

use super::{Engine, WALK_STEP};
use crate::engine::replica::NotInstalled;
use crate::ports::PortClass;
use crate::replica::{BlockRecord, MappingRecord, Op, SessionKey};
use crate::session::{FLAG_ADDRESS_ONLY, FLAG_OWNS_PORT, FLAG_SHARED_PORT, Hot};
use crate::ticks::Ticks;

/// Operations that can wait for a port; what is beyond is refused.
const WAITING: usize = 256;
/// Operations installed per step when a walk is over.
const INSTALL_STEP: usize = 64;
/// What waits for another worker's claim is refused after so long: that worker may have it by right, or sweep a large table.
const CLAIM_WAIT: Ticks = Ticks::from_seconds(2);

/// A public end of a protocol with ports.
type End = (u32, u16, u8);

/// What waits for ports that others have.
#[derive(Debug, Default)]
pub(super) struct Contested {
    /// With the time since when they wait; the walk is for the first `of_walk`.
    waiting: VecDeque<(Op, Ticks)>,
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

    pub fn clear(&mut self) {
        self.waiting.clear();
        (self.of_walk, self.at) = (0, 0);
    }

    /// Since when it waited, if one did.
    fn remove(&mut self, mut is_it: impl FnMut(&Op) -> bool) -> Option<Ticks> {
        let at = self.waiting.iter().position(|(op, _)| is_it(op))?;
        self.of_walk -= usize::from(at < self.of_walk);
        self.waiting.remove(at).map(|(_, since)| since)
    }

    /// A session ended before it was here, or there is a newer word about it. Since when it waited, if it did.
    pub fn forget_session(&mut self, key: &SessionKey) -> Option<Ticks> {
        if self.waiting.is_empty() {
            return None;
        }
        self.remove(|op| matches!(op, Op::Session(record) if record.key == *key))
    }

    /// A mapping ended before it was here.
    pub fn forget_mapping(&mut self, ended: &MappingRecord) {
        let ends = |m: &MappingRecord| (m.inside, m.inside_port, m.public, m.public_port, m.protocol);
        if !self.waiting.is_empty() {
            self.remove(|op| matches!(op, Op::Mapping(record) if ends(record) == ends(ended)));
        }
    }

    /// There is a newer word about some ports of a block.
    pub fn forget_block(&mut self, newer: &BlockRecord) {
        if self.waiting.is_empty() {
            return;
        }
        let overlaps = |block: &BlockRecord| {
            let (a, b) = (u32::from(block.first_port), u32::from(newer.first_port));
            block.public == newer.public && a < b + u32::from(newer.size) && b < a + u32::from(block.size)
        };
        let is_it = |op: &Op| matches!(op, Op::Block(record) if overlaps(record));
        while self.remove(is_it).is_some() {}
        self.blocks.retain(|block| !overlaps(block));
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

/// Whether an operation is about a session that claims an address towards an outside end.
const fn claims(op: &Op) -> bool {
    matches!(op, Op::Session(record) if record.flags & FLAG_ADDRESS_ONLY != 0)
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
        let mut since = None;
        match op {
            Op::Session(record) => since = contested.forget_session(&record.key),
            Op::Mapping(record) => contested.forget_mapping(record),
            Op::Block(record) => contested.forget_block(record),
            _ => return Err(NotInstalled::NoGround),
        }
        if contested.waiting.len() >= WAITING {
            return Err(NotInstalled::NoGround);
        }
        contested.waiting.push_back((*op, since.unwrap_or(self.now)));
        Ok(())
    }

    /// Ends the contrary sessions and installs what waited, all at once: this chassis is about to take over, and what it was told
    /// must not be forgotten. Two walks at most, as installing makes nothing wait again: what another worker still claims is refused.
    pub(super) fn settle_all_contested(&mut self) {
        while !self.replica.contested.is_empty() {
            self.settle(Ticks::ZERO);
        }
    }

    /// Goes on with the walk that ends contrary sessions, and installs what waited for it.
    pub(super) fn settle_contested(&mut self) {
        self.settle(CLAIM_WAIT);
    }

    /// The same; another worker's claim is waited for so long.
    fn settle(&mut self, claim_wait: Ticks) {
        let contested = &mut self.replica.contested;
        if contested.waiting.is_empty() {
            return;
        }
        if contested.of_walk == 0 {
            (contested.of_walk, contested.at) = (contested.waiting.len(), 0);
            contested.ends.clear();
            contested
                .ends
                .extend(contested.waiting.iter().filter_map(|(op, _)| end_of(op)));
            contested.ends.sort_unstable();
            let blocks = contested.waiting.iter().filter_map(|(op, _)| match op {
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
            let Some((op, since)) = self.replica.contested.waiting.pop_front() else {
                return;
            };
            self.replica.contested.of_walk -= 1;
            let result = match &op {
                Op::Block(record) => self.install_block(record, true),
                _ => self.install_once(&op),
            };
            if result == Err(NotInstalled::Contested) && claims(&op) && self.now.since(since) < claim_wait {
                self.replica.contested.waiting.push_back((op, since));
                continue;
            }
            // Somebody took it meanwhile, or it is in another subscriber's block: a bulk sees to that.
            let result = result.map_err(|e| match e {
                NotInstalled::Contested => NotInstalled::NoGround,
                other => other,
            });
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
