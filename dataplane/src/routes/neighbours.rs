//! Neighbours as the kernel has them: each has a next-hop number, so that what is on a link needs no route of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tandem_engine::address;
use tandem_engine::program::InterfaceId;

use super::RouteWriter;
use crate::neighbours::{NEIGHBOURS_MAX, NEIGHBOURS6_MAX};
use crate::numbers::Key;

impl RouteWriter {
    /// An IPv4 neighbour's MAC, or `None` while it has none. `gone` forgets it.
    pub fn neighbour(&mut self, interface: InterfaceId, address: Ipv4Addr, mac: Option<[u8; 6]>, gone: bool) {
        self.neighbour_of(interface, address::of_v4(address.to_bits()), mac, gone);
    }

    /// An IPv6 neighbour's, likewise.
    pub fn neighbour6(
        &mut self,
        interface: InterfaceId,
        address: Ipv6Addr,
        mac: Option<[u8; 6]>,
        gone: bool,
    ) {
        // Nobody on a link has such an address, and here it would be an IPv4 one.
        if address::v4(address.to_bits()).is_none() {
            self.neighbour_of(interface, address.to_bits(), mac, gone);
        }
    }

    fn neighbour_of(&mut self, interface: InterfaceId, address: u128, mac: Option<[u8; 6]>, gone: bool) {
        let known = self.neighbours.get(&(interface, address)).copied();
        let number = match (known, gone) {
            (Some(number), true) => return self.forget_neighbour(interface, address, number),
            (None, true) => return,
            (Some(number), false) => number,
            (None, false) => match self.new_neighbour(interface, address) {
                Some(number) => number,
                None => return,
            },
        };
        self.table.set_mac(number, mac);
    }

    fn forget_neighbour(&mut self, interface: InterfaceId, address: u128, number: u16) {
        self.table.set_mac(number, None);
        self.table.remove_neighbour(interface, address, number);
        self.neighbours.remove(&(interface, address));
        self.neighbours6 -= usize::from(address::v4(address).is_none());
        self.numbers.unref(number);
        self.changed = true;
    }

    /// Its number; `None` when there are too many.
    fn new_neighbour(&mut self, interface: InterfaceId, address: u128) -> Option<u16> {
        let is_ipv6 = address::v4(address).is_none();
        let full = if is_ipv6 {
            self.neighbours6 >= NEIGHBOURS6_MAX
        } else {
            self.neighbours.len() - self.neighbours6 >= NEIGHBOURS_MAX
        };
        if full {
            return None;
        }
        let number = self.numbers.take(Key::Via(interface, address)).ok()?;
        if !self.table.enter_neighbour(interface, address, number) {
            self.numbers.unref(number);
            return None;
        }
        self.neighbours.insert((interface, address), number);
        self.neighbours6 += usize::from(is_ipv6);
        // Sessions that know only "on this link" may now know the neighbour.
        self.changed = true;
        Some(number)
    }

    /// Neighbours that packets went to since the last call: the kernel does not see that traffic and has to be told that
    /// they are in use.
    pub fn used_neighbours(&self) -> Vec<(InterfaceId, IpAddr)> {
        self.numbers
            .iter()
            .filter_map(|(number, key)| match key {
                Key::Via(interface, gateway) if self.table.take_used(number) => {
                    Some((*interface, address::show(*gateway)))
                }
                _ => None,
            })
            .collect()
    }

    /// Neighbours with their MAC, if resolved.
    #[must_use]
    pub fn neighbours(&self) -> Vec<(InterfaceId, IpAddr, Option<[u8; 6]>)> {
        let mut rows: Vec<_> = self
            .neighbours
            .iter()
            .map(|((interface, address), number)| {
                (*interface, address::show(*address), self.table.mac(*number))
            })
            .collect();
        rows.sort_unstable();
        rows
    }
}
