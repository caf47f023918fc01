//! Changing a packet's length: at the front, at the end, whole.
//!
//! Lengths stay consistent: `data_off + data_len <= buf_len` in each segment, and `pkt_len` the sum of all
//! `data_len`. The rest of the crate's `unsafe` rests on that.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use dpdk_sys as sys;
use thiserror::Error;

use super::Mbuf;
use crate::mempool::HEADROOM;

/// The buffer has fewer bytes than asked for; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no room in the packet buffer")]
pub struct NoRoom;

/// The chain does not fit into its first segment; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("packet does not fit into one segment")]
pub struct LinearizeError;

impl Mbuf {
    /// Grows the packet by `n` bytes at the front, whose content is whatever was there, and returns them.
    ///
    /// # Errors
    /// [`NoRoom`] when the headroom is smaller.
    #[inline]
    pub fn prepend(&mut self, n: u16) -> Result<&mut [u8], NoRoom> {
        let offset = self.raw_data_off().checked_sub(n).ok_or(NoRoom)?;
        // Neither sum overflows: the bytes exist in the buffer, whose length is a u16.
        let data_len = self.raw_data_len().checked_add(n).ok_or(NoRoom)?;
        let pkt_len = self.raw_pkt_len().checked_add(u32::from(n)).ok_or(NoRoom)?;
        self.set_raw_data_off(offset);
        self.set_raw_data_len(data_len);
        self.set_raw_pkt_len(pkt_len);
        self.data_mut().get_mut(..n as usize).ok_or(NoRoom)
    }

    /// Removes `n` bytes at the front. They must lie in the first segment.
    ///
    /// # Errors
    /// [`NoRoom`] when the first segment is shorter.
    #[inline]
    pub fn adj(&mut self, n: u16) -> Result<(), NoRoom> {
        let data_len = self.raw_data_len().checked_sub(n).ok_or(NoRoom)?;
        let pkt_len = self.raw_pkt_len().checked_sub(u32::from(n)).ok_or(NoRoom)?;
        self.set_raw_data_off(self.raw_data_off() + n);
        self.set_raw_data_len(data_len);
        self.set_raw_pkt_len(pkt_len);
        Ok(())
    }

    /// Grows the packet by `n` bytes at the end of its last segment, whose content is whatever was there, and
    /// returns them.
    ///
    /// # Errors
    /// [`NoRoom`] when the last segment's tailroom is smaller.
    #[inline]
    pub fn append(&mut self, n: u16) -> Result<&mut [u8], NoRoom> {
        let pkt_len = self.raw_pkt_len().checked_add(u32::from(n)).ok_or(NoRoom)?;
        let mut last = self.last_segment();
        if last.tailroom() < n {
            return Err(NoRoom);
        }
        let old = last.raw_data_len();
        last.set_raw_data_len(old + n);
        // SAFETY: the tailroom just checked; the bytes belong to this packet, borrowed mutably.
        let added = unsafe { std::slice::from_raw_parts_mut(last.data_ptr().add(old as usize), n as usize) };
        self.set_raw_pkt_len(pkt_len);
        Ok(added)
    }

    /// Removes `n` bytes at the end. They must lie in the last segment.
    ///
    /// # Errors
    /// [`NoRoom`] when the last segment is shorter.
    #[inline]
    pub fn trim(&mut self, n: u16) -> Result<(), NoRoom> {
        let pkt_len = self.raw_pkt_len().checked_sub(u32::from(n)).ok_or(NoRoom)?;
        let mut last = self.last_segment();
        let data_len = last.raw_data_len().checked_sub(n).ok_or(NoRoom)?;
        last.set_raw_data_len(data_len);
        self.set_raw_pkt_len(pkt_len);
        Ok(())
    }

    /// Keeps `len` bytes behind the first `front` of a packet in one segment: [`Mbuf::adj`] and [`Mbuf::trim`] in one step.
    ///
    /// # Errors
    /// [`NoRoom`], and nothing changed, when it has several segments or is shorter than that.
    #[inline(always)]
    pub fn narrow(&mut self, front: u16, len: u16) -> Result<(), NoRoom> {
        let enough = u32::from(front) + u32::from(len) <= u32::from(self.raw_data_len());
        if !enough || !self.is_contiguous() {
            return Err(NoRoom);
        }
        self.set_raw_data_off(self.raw_data_off() + front);
        self.set_raw_data_len(len);
        self.set_raw_pkt_len(u32::from(len));
        Ok(())
    }

    /// A view of the last segment that does not free it.
    #[inline]
    fn last_segment(&mut self) -> ManuallyDrop<Mbuf> {
        let mut last = ManuallyDrop::new(Mbuf(self.0));
        if !self.is_contiguous() {
            while let Some(next) = last.raw_next() {
                last = ManuallyDrop::new(Mbuf(next));
            }
        }
        last
    }

    /// Makes the packet one segment, copying the others behind the first.
    ///
    /// # Errors
    /// [`LinearizeError`] when the first segment's tailroom is too small.
    pub fn linearize(&mut self) -> Result<(), LinearizeError> {
        if self.is_contiguous() {
            return Ok(());
        }
        // SAFETY: we own the chain; DPDK copies, frees the later segments and fixes the lengths, or fails
        // before changing anything.
        match unsafe { sys::rte_pktmbuf_linearize(self.as_ptr()) } {
            0 => Ok(()),
            _ => Err(LinearizeError),
        }
    }

    /// Makes it as it was when taken from the pool: empty, one segment, default headroom, no flags. The
    /// private area stays.
    pub fn reset(&mut self) {
        self.free_tail();
        // SAFETY: we own it, and it is a single segment.
        unsafe { sys::rte_pktmbuf_reset(self.as_ptr()) };
    }

    /// Makes the packet `bytes`, in one segment behind the default headroom, with no flags.
    ///
    /// # Errors
    /// [`NoRoom`] when the buffer is smaller; the packet is then as it was.
    pub fn copy_from_slice(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        let len = u16::try_from(bytes.len()).map_err(|_| NoRoom)?;
        if self.raw_buf_len().saturating_sub(HEADROOM) < len {
            return Err(NoRoom);
        }
        self.reset();
        self.append(len)?.copy_from_slice(bytes);
        Ok(())
    }

    /// Adds `tail`'s segments to the end of this packet.
    ///
    /// # Errors
    /// Gives `tail` back when the chain would have more segments, or bytes, than the header can say.
    pub fn chain(&mut self, tail: Mbuf) -> Result<(), Mbuf> {
        let segments = self.raw_nb_segs().checked_add(tail.raw_nb_segs());
        let bytes = self.raw_pkt_len().checked_add(tail.raw_pkt_len());
        let (Some(segments), Some(bytes)) = (segments, bytes) else {
            return Err(tail);
        };
        let mut tail = ManuallyDrop::new(tail);
        // Only the first segment's packet-wide fields count, but linearize and free expect 1 in the others.
        let first_len = u32::from(tail.raw_data_len());
        tail.set_raw_pkt_len(first_len);
        tail.set_raw_nb_segs(1);
        self.last_segment().set_raw_next(Some(tail.0));
        self.set_raw_nb_segs(segments);
        self.set_raw_pkt_len(bytes);
        Ok(())
    }

    fn free_tail(&mut self) {
        if self.is_contiguous() {
            return;
        }
        let tail: Option<NonNull<sys::rte_mbuf>> = self.raw_next();
        self.set_raw_next(None);
        self.set_raw_nb_segs(1);
        self.set_raw_pkt_len(u32::from(self.raw_data_len()));
        if let Some(tail) = tail {
            // SAFETY: the later segments were ours, and nothing points to them any more.
            drop(unsafe { Mbuf::from_raw(tail) });
        }
    }
}
