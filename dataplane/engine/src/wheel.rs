//! The timing wheel: which records may have timed out this second.
//!
//! One slot per second, 4096 of them, each a doubly linked list through the records themselves. Packets never touch the
//! wheel; they only store a coarse time in the record. When a record's slot comes up, the owner looks at that time
//! and either ends the record or puts it into a later slot (lazy re-arm). Deadlines beyond the wheel wait in its
//! farthest slot and come round again. An earlier deadline (TCP close) moves the record at once.

use crate::ticks::Ticks;

/// Seconds the wheel spans.
pub const SLOTS: usize = 4096;
/// End of a list.
const END: u32 = u32::MAX;
/// Set in `prev` when the rest of it is a slot number: the record is the first of its list.
const HEAD: u32 = 0x8000_0000;

/// Links of a record in the wheel. `0, 0` (zeroed memory) is not a valid pair: records are linked before they are used.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    zerocopy::FromZeros,
    zerocopy::KnownLayout,
    zerocopy::Immutable,
)]
#[repr(C)]
pub struct Links {
    next: u32,
    prev: u32,
}

/// A table whose records hang in a wheel.
pub trait Linked {
    /// The links of record `number`.
    fn links(&mut self, number: u32) -> &mut Links;
}

/// A timing wheel of record numbers below 2^31.
#[derive(Debug)]
pub struct Wheel {
    heads: Box<[u32; SLOTS]>,
    /// The second that was last drained.
    second: u32,
}

impl Wheel {
    /// An empty wheel that starts at `now`.
    #[must_use]
    pub fn new(now: Ticks) -> Self {
        Self {
            heads: Box::new([END; SLOTS]),
            second: now.seconds(),
        }
    }

    /// Links a record so that it comes up when `deadline` has passed (or earlier, when that is farther than the wheel).
    #[inline]
    pub fn insert(&mut self, table: &mut impl Linked, number: u32, deadline: Ticks) {
        // Rounded up: a record never comes up before its deadline by rounding alone.
        let wanted = deadline.seconds().saturating_add(1);
        let second = wanted.clamp(self.second + 1, self.second + SLOTS as u32 - 1);
        let slot = second as usize % SLOTS;
        let first = self.heads[slot];
        *table.links(number) = Links {
            next: first,
            prev: HEAD | slot as u32,
        };
        if first != END {
            table.links(first).prev = number;
        }
        self.heads[slot] = number;
    }

    /// Unlinks a record that is linked.
    pub fn remove(&mut self, table: &mut impl Linked, number: u32) {
        let Links { next, prev } = *table.links(number);
        if next != END {
            table.links(next).prev = prev;
        }
        if prev & HEAD != 0 {
            self.heads[(prev & !HEAD) as usize % SLOTS] = next;
        } else {
            table.links(prev).next = next;
        }
    }

    /// Unlinks and returns the next record whose second has passed, or `None` when the wheel has caught up with `now`.
    /// The caller bounds how many it takes per burst; what is left comes next time.
    #[inline]
    pub fn expire_one(&mut self, table: &mut impl Linked, now: Ticks) -> Option<u32> {
        loop {
            let slot = self.second as usize % SLOTS;
            let first = self.heads[slot];
            if first != END {
                self.remove(table, first);
                return Some(first);
            }
            if self.second >= now.seconds() {
                return None;
            }
            self.second += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Rng;

    struct Records(Vec<Links>);
    impl Linked for Records {
        fn links(&mut self, number: u32) -> &mut Links {
            &mut self.0[number as usize]
        }
    }

    #[test]
    fn random_deadlines_come_up_in_their_second() {
        let mut rng = Rng::new(9);
        let count = 2000;
        let mut records = Records(vec![Links::default(); count]);
        let mut wheel = Wheel::new(Ticks(0));
        let mut deadline: Vec<Option<u32>> = vec![None; count];
        let mut now = 0u32;
        let mut ended = 0;
        for _ in 0..60_000 {
            let n = rng.below(count as u32);
            match deadline[n as usize] {
                None => {
                    let d = now + rng.below(60_000);
                    deadline[n as usize] = Some(d);
                    wheel.insert(&mut records, n, Ticks(d));
                }
                Some(_) if rng.below(3) == 0 => {
                    wheel.remove(&mut records, n);
                    deadline[n as usize] = None;
                }
                Some(_) => {}
            }
            now += rng.below(20);
            while let Some(n) = wheel.expire_one(&mut records, Ticks(now)) {
                let d = deadline[n as usize].expect("linked");
                if d <= now {
                    deadline[n as usize] = None;
                    ended += 1;
                } else {
                    assert!(
                        d / 10 + 1 > now / 10 || d > now,
                        "came up early only because the wheel is short"
                    );
                    wheel.insert(&mut records, n, Ticks(d));
                }
            }
            assert!(
                deadline.iter().flatten().all(|d| d + 20 > now),
                "nothing is overdue by more than two seconds"
            );
        }
        assert!(ended > 1000);
    }
}
