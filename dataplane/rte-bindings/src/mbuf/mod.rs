//! Packet buffers.
//!
//! ```text
//!   rte_mbuf header      private     headroom        data          tailroom
//!   +-----------+-----------+-------+-----------+---------------+-----------+
//!   | 2 lines   | (2nd)     | priv  |           | packet bytes  |           |
//!   +-----------+-----------+-------+-----------+---------------+-----------+
//!   ^ Mbuf                          ^ buf_addr  ^ +data_off     ^ +data_len ^ +buf_len
//! ```
//!
//! A packet longer than one buffer is a chain of such segments. Methods that give bytes give those of the
//! **first** segment, and say so; [`Mbuf::is_contiguous`] tells whether that is all, [`Mbuf::linearize`]
//! makes it so where it fits.
//!
//! This file has the handle and its fields; `edit` what changes length, `offload` what talks to the NIC.

mod edit;
pub(crate) mod mark;
mod offload;

use std::mem::{align_of, size_of};
use std::ptr::NonNull;

use dpdk_sys as sys;
use tandem_wire::packet::Packet;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use edit::{LinearizeError, NoRoom};
pub use offload::{Checksum, L3Checksum, L4Checksum, TxChecksum};

use crate::mempool::Mempool;

/// An owned packet buffer, or chain of them. Dropping it puts it back into its pool.
///
/// The size of a pointer: bursts of these go to the driver as they are.
#[repr(transparent)]
pub struct Mbuf(NonNull<sys::rte_mbuf>);

// SAFETY: an mbuf may be used and freed by any thread; the handle is its only owner.
unsafe impl Send for Mbuf {}
// SAFETY: shared references only read.
unsafe impl Sync for Mbuf {}

/// Reads and writes fields by the offsets that the C compiler computed, with the types it checked.
macro_rules! fields {
    ($(get $get:ident $(, set $set:ident)?: $type:ty = $offset:ident;)*) => {
        $(
            #[inline(always)]
            fn $get(&self) -> $type {
                // SAFETY: the offset and type are those of a field of a live rte_mbuf that we own.
                unsafe { self.0.byte_add(sys::$offset as usize).cast::<$type>().read() }
            }
            $(
                #[inline(always)]
                fn $set(&mut self, value: $type) {
                    // SAFETY: as above, borrowed mutably.
                    unsafe { self.0.byte_add(sys::$offset as usize).cast::<$type>().write(value) }
                }
            )?
        )*
    };
}

impl Mbuf {
    fields! {
        get raw_buf_addr: *mut u8 = DPDK_SYS_MBUF_BUF_ADDR;
        get raw_data_off, set set_raw_data_off: u16 = DPDK_SYS_MBUF_DATA_OFF;
        get raw_nb_segs, set set_raw_nb_segs: u16 = DPDK_SYS_MBUF_NB_SEGS;
        get raw_port: u16 = DPDK_SYS_MBUF_PORT;
        get raw_ol_flags, set set_raw_ol_flags: u64 = DPDK_SYS_MBUF_OL_FLAGS;
        get raw_packet_type: u32 = DPDK_SYS_MBUF_PACKET_TYPE;
        get raw_pkt_len, set set_raw_pkt_len: u32 = DPDK_SYS_MBUF_PKT_LEN;
        get raw_data_len, set set_raw_data_len: u16 = DPDK_SYS_MBUF_DATA_LEN;
        get raw_vlan_tci, set set_raw_vlan_tci: u16 = DPDK_SYS_MBUF_VLAN_TCI;
        get raw_rss: u32 = DPDK_SYS_MBUF_RSS;
        get raw_buf_len: u16 = DPDK_SYS_MBUF_BUF_LEN;
        get raw_next, set set_raw_next: Option<NonNull<sys::rte_mbuf>> = DPDK_SYS_MBUF_NEXT;
        get raw_tx_offload, set set_raw_tx_offload: u64 = DPDK_SYS_MBUF_TX_OFFLOAD;
        get raw_priv_size: u16 = DPDK_SYS_MBUF_PRIV_SIZE;
    }

    /// Takes ownership.
    ///
    /// # Safety
    /// `raw` is a live mbuf, the first of its chain, with consistent lengths, that nobody else refers to.
    #[inline]
    pub(crate) unsafe fn from_raw(raw: NonNull<sys::rte_mbuf>) -> Self {
        Self(raw)
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::rte_mbuf {
        self.0.as_ptr()
    }

    #[inline(always)]
    fn data_ptr(&self) -> *mut u8 {
        // SAFETY: data_off <= buf_len holds for every mbuf from a pool or driver, and is kept by `edit`.
        unsafe { self.raw_buf_addr().add(self.raw_data_off() as usize) }
    }

    /// The bytes of the first segment.
    #[inline]
    pub fn data(&self) -> &[u8] {
        // SAFETY: data_off + data_len <= buf_len: the bytes lie in the buffer, which is initialised memory
        // and ours while `self` is borrowed.
        unsafe { std::slice::from_raw_parts(self.data_ptr(), self.raw_data_len() as usize) }
    }

    /// The bytes of the first segment, to change.
    #[inline]
    pub fn data_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.data_ptr(), self.raw_data_len() as usize) }
    }

    /// Bytes in the whole packet, all segments.
    #[inline]
    pub fn pkt_len(&self) -> u32 {
        self.raw_pkt_len()
    }

    /// Bytes in the first segment.
    #[inline]
    pub fn data_len(&self) -> u16 {
        self.raw_data_len()
    }

    /// Segments in the chain, at least 1.
    #[inline]
    pub fn nb_segs(&self) -> u16 {
        self.raw_nb_segs()
    }

    /// Whether the packet is one segment, so that [`Mbuf::data`] is all of it.
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        self.raw_nb_segs() == 1
    }

    /// The bytes of each segment in turn.
    pub fn segments(&self) -> Segments<'_> {
        Segments {
            next: Some(self.0),
            _mbuf: std::marker::PhantomData,
        }
    }

    /// Copies the packet, all segments, to the front of `out`, as much as fits. Returns the bytes copied.
    pub fn copy_to_slice(&self, out: &mut [u8]) -> usize {
        let mut done = 0;
        for segment in self.segments() {
            let n = segment.len().min(out.len() - done);
            out[done..done + n].copy_from_slice(&segment[..n]);
            done += n;
        }
        done
    }

    /// A copy of the packet in mbufs of `pool`, with flags and metadata but not the private area. `None` when
    /// the pool is exhausted.
    pub fn copy(&self, pool: &Mempool) -> Option<Mbuf> {
        // SAFETY: both are alive; the source is only read.
        let raw = unsafe { sys::rte_pktmbuf_copy(self.as_ptr(), pool.as_ptr(), 0, u32::MAX) };
        // SAFETY: a non-null result is a new chain that is ours alone.
        NonNull::new(raw).map(|raw| unsafe { Mbuf::from_raw(raw) })
    }

    /// The port it was received on; 65535 for one taken from a pool.
    #[inline]
    pub fn port(&self) -> u16 {
        self.raw_port()
    }

    /// Free bytes in front of the data.
    #[inline]
    pub fn headroom(&self) -> u16 {
        self.raw_data_off()
    }

    /// Free bytes behind the data of the first segment.
    #[inline]
    pub fn tailroom(&self) -> u16 {
        self.raw_buf_len()
            .saturating_sub(self.raw_data_off())
            .saturating_sub(self.raw_data_len())
    }

    /// The private area as a `T`, or `None` where the pool's `priv_size` is smaller than `T`, or `T` is
    /// aligned to more than 8. Holds what the last user of the buffer left there: nothing clears it.
    #[inline]
    pub fn priv_ref<T: FromBytes + IntoBytes + KnownLayout + Immutable>(&self) -> Option<&T> {
        // SAFETY: as in priv_mut; shared.
        self.priv_fits::<T>()
            .then(|| unsafe { self.priv_ptr().cast::<T>().as_ref() })
    }

    /// The private area as a `T`, to change; `None` as in [`Mbuf::priv_ref`]. It stays with the mbuf through
    /// rings and bursts.
    #[inline]
    pub fn priv_mut<T: FromBytes + IntoBytes + KnownLayout>(&mut self) -> Option<&mut T> {
        // SAFETY: the area of priv_size bytes directly behind the header belongs to the mbuf's owner. It is
        // initialised memory, large enough and aligned for T (priv_fits), and T takes any bytes.
        self.priv_fits::<T>()
            .then(|| unsafe { self.priv_ptr().cast::<T>().as_mut() })
    }

    #[inline(always)]
    fn priv_fits<T>(&self) -> bool {
        // Headers are cache-line aligned and a multiple of lines long.
        align_of::<T>() <= 8 && size_of::<T>() <= self.raw_priv_size() as usize
    }

    #[inline(always)]
    fn priv_ptr(&self) -> NonNull<u8> {
        // SAFETY: one past the header is inside, or at the end of, the pool's element.
        unsafe { self.0.cast::<u8>().add(sys::DPDK_SYS_MBUF_SIZE as usize) }
    }

    /// Starts loading the header line, which has lengths, flags and the data's address.
    #[inline(always)]
    pub fn prefetch(&self) {
        prefetch(self.0.as_ptr().cast());
    }

    /// Starts loading the second header line: chain, TX request, size of the private area.
    #[inline(always)]
    pub fn prefetch_second_line(&self) {
        prefetch(self.0.as_ptr().cast::<u8>().wrapping_add(64));
    }

    /// Starts loading the private area's first line.
    #[inline(always)]
    pub fn prefetch_priv(&self) {
        prefetch(
            self.0
                .as_ptr()
                .cast::<u8>()
                .wrapping_add(sys::DPDK_SYS_MBUF_SIZE as usize),
        );
    }

    /// Starts loading the first line of the packet. Reads the header line.
    #[inline(always)]
    pub fn prefetch_data(&self) {
        prefetch(self.data_ptr());
    }
}

/// The first segment's bytes: what a packet engine that knows no DPDK works on.
impl AsRef<[u8]> for Mbuf {
    #[inline(always)]
    fn as_ref(&self) -> &[u8] {
        self.data()
    }
}

/// The first segment's bytes, to rewrite.
impl AsMut<[u8]> for Mbuf {
    #[inline(always)]
    fn as_mut(&mut self) -> &mut [u8] {
        self.data_mut()
    }
}

/// The first segment, as code that translates sees it; [`Packet::truncate`] needs a packet of one segment.
impl Packet for Mbuf {
    #[inline(always)]
    fn l3(&self) -> &[u8] {
        self.data()
    }

    #[inline(always)]
    fn l3_mut(&mut self) -> &mut [u8] {
        self.data_mut()
    }

    #[inline(always)]
    fn grow_front(&mut self, octets: u16) -> bool {
        self.prepend(octets).is_ok()
    }

    #[inline(always)]
    fn shrink_front(&mut self, octets: u16) -> bool {
        self.adj(octets).is_ok()
    }

    fn truncate(&mut self, octets: u16) -> bool {
        let surplus = self.data_len().checked_sub(octets);
        self.is_contiguous() && surplus.is_some_and(|n| self.trim(n).is_ok())
    }
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: we own it and nobody will look at it again.
        unsafe { sys::rte_pktmbuf_free(self.0.as_ptr()) };
    }
}

impl std::fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mbuf")
            .field("port", &self.port())
            .field("pkt_len", &self.pkt_len())
            .field("data_len", &self.data_len())
            .field("nb_segs", &self.nb_segs())
            .field("ol_flags", &format_args!("{:#x}", self.raw_ol_flags()))
            .finish()
    }
}

/// Iterator over the segments of a packet; see [`Mbuf::segments`].
pub struct Segments<'a> {
    next: Option<NonNull<sys::rte_mbuf>>,
    _mbuf: std::marker::PhantomData<&'a Mbuf>,
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        // A view of the segment that must not free it.
        let segment = std::mem::ManuallyDrop::new(Mbuf(self.next?));
        self.next = segment.raw_next();
        // SAFETY: segments live as long as the packet, borrowed for 'a; lengths are consistent in each.
        Some(unsafe { std::slice::from_raw_parts(segment.data_ptr(), segment.raw_data_len() as usize) })
    }
}

#[inline(always)]
fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is a hint: it faults on no address.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: as above.
    unsafe {
        sys::rte_prefetch0(address.cast());
    }
}
