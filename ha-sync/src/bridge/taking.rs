//! Before what a chassis took over is given out: what the old primary told has to be in the workers' tables.
//!
//! ```text
//!   told by the peer --inbox--> worker 0: installed, then its role; first packets, new extents
//!                    --inbox--> worker 1: stands still, and a session of its on an extent that nobody here knows yet
//! ```
//!
//! Each worker takes up its role behind all that it was told, and known sessions go on there at once. But the public space is common to
//! all: an extent that only an operation in some inbox speaks of looks free. So none is taken or leased before all inboxes are read up
//! to the takeover. A worker that never reads does not keep the others from new extents for ever: those that have the role wait for
//! [`WAIT_MAX_MS`]. Where all stand still, nobody needs any.

use super::Bridge;

/// So long those workers that have the role wait for the others, milliseconds.
const WAIT_MAX_MS: u64 = 1000;

/// A takeover whose last word some worker has not read.
#[derive(Debug)]
pub(super) struct Taking {
    /// Where each worker will be in its inbox when it has, and when it has its role, too.
    told: Vec<u64>,
    roles: Vec<u64>,
    /// Since when some worker has its role, milliseconds.
    since: Option<u64>,
}

impl Bridge {
    /// A set is taken over, and the workers are about to be told: what is to be read before that is in their inboxes.
    pub(super) fn take_over_from_here(&mut self) {
        let told = self.rings.mark();
        self.taking = (!self.rings.have_read(&told)).then_some(Taking {
            roles: told.clone(),
            told,
            since: None,
        });
        self.keeper.waits_for_workers(self.taking.is_some());
    }

    /// They were told.
    pub(super) fn roles_are_told(&mut self) {
        if let Some(taking) = &mut self.taking {
            taking.roles = self.rings.mark();
        }
    }

    /// Looks whether the workers have read what was told before the last takeover.
    pub(super) fn look_at_taking(&mut self) {
        let (rings, now) = (&self.rings, self.now);
        let is_over = |taking: &mut Taking| {
            if taking.since.is_none() && rings.any_has_read(&taking.roles) {
                taking.since = Some(now);
            }
            let is_late = |since: u64| now.saturating_sub(since) >= WAIT_MAX_MS;
            rings.have_read(&taking.told) || taking.since.is_some_and(is_late)
        };
        if self.taking.take_if(is_over).is_some() {
            self.keeper.waits_for_workers(false);
        }
    }
}
