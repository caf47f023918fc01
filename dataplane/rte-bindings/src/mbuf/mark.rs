//! A mark on a packet that stays with it, by whatever queue or ring it goes, until it is freed or the mark is taken off.
//!
//! It is one of DPDK's dynamic flags: ports set all flags of what they receive, and buffers begin without any, so a packet has
//! it only when somebody here set it.

use dpdk_sys as sys;

use super::Mbuf;
use crate::errno::Errno;

/// The last of the flags that DPDK leaves to applications.
const MARK: u64 = sys::SYS_MBUF_F_LAST_FREE;

/// Takes the flag, so that no driver does. Once, when DPDK has started.
pub(crate) fn reserve() -> Result<(), Errno> {
    let mut flag = sys::rte_mbuf_dynflag {
        name: [0; 64],
        flags: 0,
    };
    for (to, from) in flag.name.iter_mut().zip(b"tandem_mark") {
        *to = *from as std::ffi::c_char;
    }
    // SAFETY: the name ends within its array, which was zeros, and the function reads no more than this struct, now.
    let got = unsafe { sys::rte_mbuf_dynflag_register_bitnum(&flag, MARK.trailing_zeros()) };
    if got < 0 { Err(Errno::last()) } else { Ok(()) }
}

impl Mbuf {
    /// Whether the packet has the mark.
    #[inline]
    pub fn is_marked(&self) -> bool {
        self.raw_ol_flags() & MARK != 0
    }

    /// Sets the mark, or takes it off.
    #[inline]
    pub fn set_marked(&mut self, marked: bool) {
        let others = self.raw_ol_flags() & !MARK;
        self.set_raw_ol_flags(others | if marked { MARK } else { 0 });
    }

    /// Forgets what the NIC found out about the packet: it looked at headers that are gone.
    #[inline]
    pub fn forget_rx(&mut self) {
        let said = sys::SYS_MBUF_F_RX_IP_CKSUM_MASK
            | sys::SYS_MBUF_F_RX_L4_CKSUM_MASK
            | sys::SYS_MBUF_F_RX_RSS_HASH
            | sys::SYS_MBUF_F_RX_VLAN
            | sys::SYS_MBUF_F_RX_VLAN_STRIPPED;
        self.set_raw_ol_flags(self.raw_ol_flags() & !said);
    }
}
