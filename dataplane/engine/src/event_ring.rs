//! Events that wait to be fetched by the worker's mailbox: bounded, and what finds no room is counted, never waited for.

use std::collections::VecDeque;

/// A bounded queue of events.
#[derive(Debug)]
pub struct EventRing<T> {
    events: VecDeque<T>,
    bound: usize,
    lost: u64,
}

impl<T> EventRing<T> {
    /// Room for `bound` events, taken now.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self {
            events: VecDeque::with_capacity(bound),
            bound,
            lost: 0,
        }
    }

    /// Puts an event in, or counts it as lost.
    #[inline]
    pub fn push(&mut self, event: T) {
        if self.events.len() < self.bound {
            self.events.push_back(event);
        } else {
            self.lost += 1;
        }
    }

    /// Hands events out, oldest first, until `sink` has no room (says false); the event it refused stays.
    pub fn drain(&mut self, mut sink: impl FnMut(&T) -> bool) {
        while let Some(event) = self.events.front() {
            if !sink(event) {
                return;
            }
            self.events.pop_front();
        }
    }

    /// Events that found no room.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_counts_what_it_loses() {
        let mut ring = EventRing::new(2);
        (1..=3).for_each(|n| ring.push(n));
        let mut got = Vec::new();
        ring.drain(|n| {
            let room = got.is_empty();
            if room {
                got.push(*n);
            }
            room
        });
        ring.push(4);
        ring.drain(|n| {
            got.push(*n);
            true
        });
        assert_eq!((got, ring.lost()), (vec![1, 2, 4], 1));
    }
}
