//! The addresses that the configuration puts on a tap: added when missing, removed when the configuration drops them.
//!
//! Addresses that somebody else put there (an operator, keepalived) are not ours and stay.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::rtnl::Rtnl;
use super::socket::KernelError;

/// What we added to one device.
#[derive(Debug, Default)]
pub struct OwnedAddresses {
    owned: BTreeSet<(IpAddr, u8)>,
}

impl OwnedAddresses {
    /// Makes the device carry the wanted addresses (with prefix lengths), and no other of ours. Repeating it changes
    /// nothing. Goes on after a refusal, so that one bad address does not take the others away.
    ///
    /// # Errors
    /// The first refusal; what it was about is tried again by the next call.
    pub fn apply(
        &mut self,
        rtnl: &mut Rtnl,
        ifindex: u32,
        wanted: &[(IpAddr, u8)],
    ) -> Result<(), KernelError> {
        let wanted: BTreeSet<(IpAddr, u8)> = wanted.iter().copied().collect();
        let mut first_error = None;
        // New ones first: a device that changes its address keeps connected routes where the prefixes overlap.
        for &(address, length) in &wanted {
            match rtnl.add_address(ifindex, address, length) {
                Ok(added) => {
                    if added {
                        self.owned.insert((address, length));
                    }
                }
                Err(e) => first_error = first_error.or(Some(e)),
            }
        }
        let unwanted: Vec<(IpAddr, u8)> = self.owned.difference(&wanted).copied().collect();
        for (address, length) in unwanted {
            match rtnl.remove_address(ifindex, address, length) {
                Ok(_) => {
                    self.owned.remove(&(address, length));
                }
                Err(e) => first_error = first_error.or(Some(e)),
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    /// Has the kernel tell of the addresses added by us once more. Goes on after a refusal.
    ///
    /// # Errors
    /// The first refusal.
    pub fn repeat(&self, rtnl: &mut Rtnl, ifindex: u32) -> Result<(), KernelError> {
        let all = self.owned.iter();
        let done = all.map(|&(address, length)| rtnl.repeat_address(ifindex, address, length));
        done.fold(Ok(()), Result::and)
    }

    /// The addresses added by us, in order.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, u8)> + '_ {
        self.owned.iter().copied()
    }
}
