//! How much an engine holds back that the other chassis is not told yet, for others to read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Engine;
use crate::ticks::Ticks;

/// What an engine found no room for on its outbox: sessions marked to be told later, and what waits in the backlog. Without
/// whatever is on the outbox. As of the engine's last step between bursts.
#[derive(Debug, Default)]
pub struct HeldBack(AtomicU64);

impl HeldBack {
    /// How many, and since when there have been some without a break; `None`: nothing is held back.
    #[must_use]
    pub fn get(&self) -> Option<(u32, Ticks)> {
        let both = self.0.load(Ordering::Relaxed);
        let count = both as u32;
        (count > 0).then_some((count, Ticks((both >> 32) as u32)))
    }

    fn set(&self, count: u32, since: Ticks) {
        self.0
            .store(u64::from(since.0) << 32 | u64::from(count), Ordering::Relaxed);
    }
}

/// The same, at the engine.
#[derive(Debug, Default)]
pub(super) struct Held {
    count: u32,
    since: Ticks,
    shown: Arc<HeldBack>,
}

impl Engine {
    /// Where to read what it holds back.
    #[must_use]
    pub fn held_back(&self) -> Arc<HeldBack> {
        Arc::clone(&self.replica.held.shown)
    }

    /// Shows what is held back, if that has changed.
    pub(super) fn show_held(&mut self) {
        let replica = &mut self.replica;
        let marked = if replica.listening { replica.marked } else { 0 };
        // A backlog has no more than can be counted; an ending that is lost is made up for by a bulk that is still to come.
        let count = marked
            .saturating_add(replica.backlog.len() as u32)
            .saturating_add(u32::from(replica.lost));
        let held = &mut replica.held;
        if count == held.count {
            return;
        }
        if held.count == 0 {
            held.since = self.now;
        }
        held.count = count;
        held.shown.set(count, held.since);
    }
}
