//! A fixed-capacity vector of mbufs, the unit in which packets move.
//!
//! It is an array of pointers and a length, nothing else, handed to the driver as it is. It never allocates.
//!
//! ```text
//!   slots  [ m0 | m1 | m2 | .. | uninitialised ]      rx_burst, alloc_burst, dequeue_burst: append at len
//!                            ^ len                    tx_burst, enqueue_burst: take from the front
//! ```

use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::ptr;

use dpdk_sys as sys;

use crate::mbuf::Mbuf;

/// Up to `N` mbufs (`N` at most 65535), owned: what is in it when it is dropped is freed.
///
/// Dereferences to a slice of [`Mbuf`].
pub struct MbufBurst<const N: usize> {
    len: usize,
    slots: [MaybeUninit<Mbuf>; N],
}

impl<const N: usize> MbufBurst<N> {
    const CAPACITY_FITS: () = assert!(N > 0 && N <= u16::MAX as usize);

    /// An empty burst.
    #[inline]
    pub const fn new() -> Self {
        () = Self::CAPACITY_FITS;
        Self {
            len: 0,
            slots: [const { MaybeUninit::uninit() }; N],
        }
    }

    /// Room for how many more.
    #[inline]
    pub const fn free(&self) -> usize {
        N - self.len
    }

    /// Whether there is room for no more.
    #[inline]
    pub const fn is_full(&self) -> bool {
        self.len == N
    }

    /// The mbufs as a slice.
    #[inline]
    pub fn as_slice(&self) -> &[Mbuf] {
        // SAFETY: the first `len` slots are initialised.
        unsafe { std::slice::from_raw_parts(self.slots.as_ptr().cast(), self.len) }
    }

    /// The mbufs as a mutable slice.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [Mbuf] {
        // SAFETY: as above, borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.slots.as_mut_ptr().cast(), self.len) }
    }

    /// Adds one at the end, or gives it back when there is no room.
    ///
    /// # Errors
    /// The mbuf itself, when the burst is full.
    #[inline]
    pub fn push(&mut self, mbuf: Mbuf) -> Result<(), Mbuf> {
        match self.slots.get_mut(self.len) {
            Some(slot) => {
                slot.write(mbuf);
                self.len += 1;
                Ok(())
            }
            None => Err(mbuf),
        }
    }

    /// Takes the last one.
    #[inline]
    pub fn pop(&mut self) -> Option<Mbuf> {
        self.len = self.len.checked_sub(1)?;
        // SAFETY: the slot was initialised, and is now past the end, so nobody else will read it.
        Some(unsafe { self.slots[self.len].assume_init_read() })
    }

    /// Takes the one at `index`; the last one takes its place, so the order changes.
    #[inline]
    pub fn swap_remove(&mut self, index: usize) -> Option<Mbuf> {
        if index >= self.len {
            return None;
        }
        let last = self.len - 1;
        self.as_mut_slice().swap(index, last);
        self.pop()
    }

    /// Takes all, in order. What the iterator has not given out when it is dropped is freed.
    #[inline]
    pub fn drain(&mut self) -> Drain<'_> {
        let end = self.len;
        self.len = 0;
        Drain {
            slots: &mut self.slots,
            next: 0,
            end,
        }
    }

    /// Moves those `pick` returns true for to the end of `other`, in order; the rest stay, in order. Stops
    /// asking when `other` is full. Returns how many moved.
    #[inline]
    pub fn move_if<const M: usize>(
        &mut self,
        other: &mut MbufBurst<M>,
        mut pick: impl FnMut(&mut Mbuf) -> bool,
    ) -> usize {
        let len = self.len;
        // Should `pick` panic, the mbufs are leaked, not freed twice.
        self.len = 0;
        let (mut kept, mut read) = (0, 0);
        while read < len && !other.is_full() {
            // SAFETY: read < len, and slots below len are initialised until moved from, which happens once
            // below.
            let mbuf = unsafe { self.slots[read].assume_init_mut() };
            let moves = pick(mbuf);
            // SAFETY: as above; this moves the slot's value out, and `read` never comes back to it.
            let mbuf = unsafe { self.slots[read].assume_init_read() };
            if moves {
                other.slots[other.len].write(mbuf);
                other.len += 1;
            } else {
                self.slots[kept].write(mbuf);
                kept += 1;
            }
            read += 1;
        }
        self.close_gap(kept, read, len);
        read - kept
    }

    /// Keeps those `keep` returns true for, in order, and frees the rest.
    #[inline]
    pub fn retain(&mut self, mut keep: impl FnMut(&mut Mbuf) -> bool) {
        let mut freed = Self::new();
        self.move_if(&mut freed, |mbuf| !keep(mbuf));
    }

    /// Moves as many as there is room for from the front of `other` to the end of this. Returns how many.
    #[inline]
    pub fn append<const M: usize>(&mut self, other: &mut MbufBurst<M>) -> usize {
        let n = self.free().min(other.len);
        // SAFETY: n slots are initialised in `other` and n are free here; two bursts do not overlap. The
        // moved ones are given up by consume_front below.
        unsafe { ptr::copy_nonoverlapping(other.slots.as_ptr(), self.slots.as_mut_ptr().add(self.len), n) };
        self.len += n;
        other.consume_front(n);
        n
    }

    /// Frees all, in one call per pool.
    #[inline]
    pub fn clear(&mut self) {
        let len = self.len;
        self.len = 0;
        if len != 0 {
            // SAFETY: `len` initialised, owned mbufs, given up by the line above; Mbuf has a pointer's
            // layout.
            unsafe { sys::rte_pktmbuf_free_bulk(self.slots.as_mut_ptr().cast(), len as u32) };
        }
    }

    /// Lets `fill` write mbufs behind the last one: it gets the place and how many fit, and returns how many
    /// it wrote, which is the result. Not called on a full burst.
    #[inline]
    pub(crate) fn fill_with(&mut self, fill: impl FnOnce(*mut *mut sys::rte_mbuf, usize) -> usize) -> usize {
        let free = self.free();
        if free == 0 {
            return 0;
        }
        // SAFETY: len < N, so the place is inside the array.
        let place = unsafe { self.slots.as_mut_ptr().add(self.len) };
        let n = fill(place.cast(), free).min(free);
        self.len += n;
        n
    }

    /// Lets `take` have the mbufs from the front: it gets them and their number, and returns how many it now
    /// owns, which is the result. The rest move to the front. Not called on an empty burst.
    #[inline]
    pub(crate) fn take_with(&mut self, take: impl FnOnce(*mut *mut sys::rte_mbuf, usize) -> usize) -> usize {
        if self.len == 0 {
            return 0;
        }
        let n = take(self.slots.as_mut_ptr().cast(), self.len).min(self.len);
        self.consume_front(n);
        n
    }

    /// Gives up the first `n` without freeing them.
    #[inline]
    fn consume_front(&mut self, n: usize) {
        self.close_gap(0, n, self.len);
    }

    /// Moves slots `from..len` down to `to` and sets the length to match.
    #[inline]
    fn close_gap(&mut self, to: usize, from: usize, len: usize) {
        debug_assert!(to <= from && from <= len && len <= N);
        let rest = len - from;
        if to != from && rest != 0 {
            let base = self.slots.as_mut_ptr();
            // SAFETY: both ranges lie inside the array; `copy` allows overlap.
            unsafe { ptr::copy(base.add(from), base.add(to), rest) };
        }
        self.len = to + rest;
    }
}

impl<const N: usize> Default for MbufBurst<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Deref for MbufBurst<N> {
    type Target = [Mbuf];
    #[inline]
    fn deref(&self) -> &[Mbuf] {
        self.as_slice()
    }
}

impl<const N: usize> DerefMut for MbufBurst<N> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [Mbuf] {
        self.as_mut_slice()
    }
}

impl<const N: usize> Drop for MbufBurst<N> {
    #[inline]
    fn drop(&mut self) {
        self.clear();
    }
}

/// Iterator over the mbufs taken out of a burst; see [`MbufBurst::drain`].
pub struct Drain<'a> {
    slots: &'a mut [MaybeUninit<Mbuf>],
    next: usize,
    end: usize,
}

impl Iterator for Drain<'_> {
    type Item = Mbuf;

    #[inline]
    fn next(&mut self) -> Option<Mbuf> {
        if self.next == self.end {
            return None;
        }
        // SAFETY: slots next..end were initialised when the burst was drained, and each is read once.
        let mbuf = unsafe { self.slots[self.next].assume_init_read() };
        self.next += 1;
        Some(mbuf)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.next, Some(self.end - self.next))
    }
}

impl ExactSizeIterator for Drain<'_> {}

impl Drop for Drain<'_> {
    #[inline]
    fn drop(&mut self) {
        self.for_each(drop);
    }
}
