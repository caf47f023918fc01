//! Ends that the other chassis has heard of: before that, no port, block or address goes from one subscriber to another.
//!
//! ```text
//!   a port, block or address is given back --> its end is told --> Mark(now) --> outbox ==> the other chassis has taken it
//!        '- rests: allocators wait for `settled` <--------------- Mark comes back on the inbox <-----------'
//! ```
//!
//! A chassis that takes over has what it last heard of. Had its primary given away what it takes for somebody's, two would have
//! it. While no leases are required, nobody hears in time (the stated degraded mode), and nothing waits.

use super::{BACKLOG, Engine};
use crate::ports::Wait;
use crate::replica::{Mark, Op};
use crate::ticks::Ticks;

/// How far the other chassis has heard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settled {
    /// It knows of what ended before this.
    heard: Ticks,
    /// The last mark was put out then.
    marked: Ticks,
}

impl Settled {
    /// Nothing that ends from now on is known yet.
    pub const fn new(now: Ticks) -> Self {
        Self {
            heard: now,
            marked: now,
        }
    }
}

impl Engine {
    /// The other chassis has taken all that was told of ends before `at`.
    pub(super) fn heard_of(&mut self, at: Ticks) {
        let heard = &mut self.replica.settled.heard;
        *heard = at.max(*heard);
    }

    /// Says what waits for the other chassis, and marks how far it is told when something ended since the last mark: ten times a
    /// second at most.
    pub(super) fn mark(&mut self) {
        if !self.replica.listening {
            return;
        }
        let settled = self.replica.settled;
        let waits = self.program.public_space.leases_required();
        self.ports.set_wait(Wait::told(waits.then_some(settled.heard)));
        // Something that ended was not told: the peer has heard of it when the bulk is through.
        if self.replica.lost || self.now <= settled.marked || self.ports.last_end() < settled.marked {
            return;
        }
        let mark = Op::Mark(Mark {
            worker: self.config.worker,
            at: self.now,
        });
        if !(self.replica.backlog.is_empty() && self.push(mark)) {
            if self.replica.backlog.len() >= BACKLOG {
                return;
            }
            self.replica.backlog.push_back(mark);
        }
        self.replica.settled.marked = self.now;
    }
}
