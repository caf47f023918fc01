//! Free numbers of a preallocated table: fresh ones in order first, then the ones given back, last in first out.

/// End of the free list.
const END: u32 = u32::MAX;

/// Hands out record numbers. The free list runs through the free records themselves: the table stores one word.
#[derive(Debug)]
pub struct Slab {
    fresh: u32,
    capacity: u32,
    head: u32,
    live: u32,
}

impl Slab {
    /// Numbers 0..capacity, all free.
    #[must_use]
    pub fn new(capacity: u32) -> Self {
        Self {
            fresh: 0,
            capacity,
            head: END,
            live: 0,
        }
    }

    /// The number that [`Slab::take`] would give out now, for prefetching its record.
    #[inline]
    #[must_use]
    pub fn peek(&self) -> Option<u32> {
        if self.head != END {
            Some(self.head)
        } else {
            (self.fresh < self.capacity).then_some(self.fresh)
        }
    }

    /// Takes a number; `next` reads the word a freed record stored.
    #[inline]
    pub fn take(&mut self, next: impl FnOnce(u32) -> u32) -> Option<u32> {
        let number = self.peek()?;
        if self.head != END {
            self.head = next(number);
        } else {
            self.fresh += 1;
        }
        self.live += 1;
        Some(number)
    }

    /// Gives a number back; returns the word its record has to store.
    #[inline]
    #[must_use = "the freed record has to store the link"]
    pub fn give_back(&mut self, number: u32) -> u32 {
        self.live -= 1;
        std::mem::replace(&mut self.head, number)
    }

    /// Numbers in use.
    #[inline]
    #[must_use]
    pub fn live(&self) -> u32 {
        self.live
    }

    /// All numbers there are.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// One more than the largest number ever taken: where a walk over the table may stop.
    #[inline]
    #[must_use]
    pub fn high_water(&self) -> u32 {
        self.fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_every_number_once_and_recycles() {
        let mut slab = Slab::new(3);
        let mut links = [0u32; 3];
        let all: Vec<_> = std::iter::from_fn(|| slab.take(|n| links[n as usize])).collect();
        assert_eq!(all, [0, 1, 2]);
        links[1] = slab.give_back(1);
        links[0] = slab.give_back(0);
        assert_eq!(slab.live(), 1);
        assert_eq!(slab.peek(), Some(0));
        assert_eq!(slab.take(|n| links[n as usize]), Some(0));
        assert_eq!(slab.take(|n| links[n as usize]), Some(1));
        assert_eq!(slab.take(|n| links[n as usize]), None);
        assert_eq!((slab.live(), slab.high_water(), slab.capacity()), (3, 3, 3));
    }
}
