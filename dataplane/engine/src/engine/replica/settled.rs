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
    /// The same, in spite of what ended with a connection: the other chassis may go by what it was told of holds before.
    known: Ticks,
    /// The last mark was put out then.
    marked: Ticks,
    /// When the other chassis was last there, if it ever was.
    there: Option<Ticks>,
}

/// So long after the other chassis was last there it may still go by what it was told of held extents: for half of that it does.
const GONE: Ticks = Ticks::from_seconds(120);

impl Settled {
    /// Nothing that ends from now on is known yet.
    pub const fn begin(&mut self, now: Ticks, listening: bool) {
        (self.heard, self.marked) = (now, now);
        if listening {
            self.there = Some(now);
        }
    }

    /// Before when the end of a hold has to be told to be known; `None`: there is nobody to know it.
    fn holds(&self, now: Ticks) -> Option<Ticks> {
        let there = self.there?;
        (now.since(there) < GONE).then_some(self.known)
    }
}

impl Engine {
    /// The other chassis has taken all that was told of ends before `at`.
    pub(super) fn heard_of(&mut self, at: Ticks) {
        let settled = &mut self.replica.settled;
        settled.heard = at.max(settled.heard);
        settled.known = at.max(settled.known);
        settled.there = Some(self.now);
    }

    /// Says what waits for the other chassis, and marks how far it is told when something ended since the last mark: ten times a
    /// second at most.
    pub(super) fn mark(&mut self) {
        let waits = self.program.public_space.leases_required();
        if waits {
            self.replica.settled.there = Some(self.now);
        }
        let settled = self.replica.settled;
        let holds = settled.holds(self.now);
        if !self.replica.listening {
            self.ports.set_wait(Wait::NONE.holding(holds));
            return;
        }
        let wait = Wait::told(waits.then_some(settled.heard));
        self.ports.set_wait(wait.holding(holds));
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
