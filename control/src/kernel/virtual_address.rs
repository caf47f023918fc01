//! Virtual addresses (VSI): addresses that move between the two chassis with a redundancy set's primary role.
//!
//! On the primary they are ordinary addresses of the interface's tap, so the kernel answers ARP and neighbour solicitations for
//! them, and its local routes make the dataplane hand it what is sent to them. On the standby they are not there at all. They
//! come without duplicate address detection: it would hold an IPv6 address back for a second, and the other chassis may still
//! have it. And they are deprecated from the start (RFC 4862, 5.5.4): connections that this chassis makes by itself have an
//! address that stays with it, as far as it has one. IPv4 has no such mark; there the first address of a subnet is the source.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::codec::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, Request};
use super::message::RTM_NEWADDR;
use super::rtnl::{Rtnl, address_request};
use super::socket::KernelError;

const IFA_CACHEINFO: u16 = 6;
/// In `ifa_flags`: no duplicate address detection.
const IFA_F_NODAD: u8 = 0x02;

/// A virtual address on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VirtualAddress {
    /// The number of the interface's tap in the kernel.
    pub ifindex: u32,
    /// The address.
    pub address: IpAddr,
    /// Length of its prefix: 0 to 32 or 128. The prefix becomes a connected network.
    pub length: u8,
}

impl VirtualAddress {
    /// Puts it on. `Ok(false)`: it was there already.
    ///
    /// # Errors
    /// When the kernel refuses, for example because the device is gone.
    pub fn put(&self, rtnl: &mut Rtnl) -> Result<bool, KernelError> {
        rtnl.add_address_by(self.addition(), self.ifindex, self.address, self.length)
    }

    /// Takes it off, whoever put it on. `Ok(false)`: it was not there, or its device is gone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn take(&self, rtnl: &mut Rtnl) -> Result<bool, KernelError> {
        rtnl.remove_address(self.ifindex, self.address, self.length)
    }

    fn addition(&self) -> Request {
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        let is_v6 = self.address.is_ipv6();
        let marks = if is_v6 { IFA_F_NODAD } else { 0 };
        let request = address_request(RTM_NEWADDR, flags, marks, self.ifindex, self.address, self.length);
        if !is_v6 {
            return request;
        }
        // `struct ifa_cacheinfo`: preferred (not at all), valid (for ever), and two time stamps.
        let mut lifetimes = [0u8; 16];
        lifetimes[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
        request.attribute(IFA_CACHEINFO, &lifetimes)
    }
}
