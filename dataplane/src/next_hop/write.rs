//! What the one writer calls: numbers get their meaning, MACs come and go, caches are told to look again.

use std::sync::atomic::Ordering;

use tandem_engine::address;
use tandem_engine::program::InterfaceId;

use super::{GROUP_BUCKETS, KIND_GROUP, KIND_ON_LINK, KIND_VIA, NextHops, RESOLVED};

impl NextHops {
    pub(super) fn write(&self, number: u16, kind: u64, interface: u16, mtu: u16, extra: u64) {
        let head = kind | u64::from(interface) << 8 | u64::from(mtu) << 24 | extra << 40;
        self.entries[usize::from(number)]
            .head
            .store(head, Ordering::Release);
    }

    /// Makes caches look again.
    pub(crate) fn bump(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn set_on_link(&self, number: u16, interface: InterfaceId, mtu: u16) {
        self.write(number, KIND_ON_LINK, interface, mtu, 0);
    }

    pub(crate) fn set_via(&self, number: u16, interface: InterfaceId, mtu: u16, gateway: u128) {
        self.entries[usize::from(number)].mac.store(0, Ordering::Release);
        self.gateways[usize::from(number)].store(gateway);
        self.write(number, KIND_VIA, interface, mtu, 0);
    }

    pub(crate) fn set_mac(&self, number: u16, mac: Option<[u8; 6]>) {
        let value = mac.map_or(0, |m| {
            RESOLVED | m.iter().fold(0, |all, b| all << 8 | u64::from(*b))
        });
        self.entries[usize::from(number)]
            .mac
            .store(value, Ordering::Release);
    }

    pub(crate) fn set_group(&self, number: u16, group: usize, buckets: &[u16; GROUP_BUCKETS]) {
        for (cell, value) in self.groups[group].iter().zip(buckets) {
            cell.store(*value, Ordering::Release);
        }
        self.write(number, KIND_GROUP, 0, 0, group as u64);
    }

    /// Enters a neighbour that is not there, whose number is made; false when its family's table is full.
    pub(crate) fn enter_neighbour(&self, interface: InterfaceId, address: u128, number: u16) -> bool {
        match address::v4(address) {
            Some(address) => self.neighbours.set(interface, address, Some(number)),
            None => self.neighbours6.insert(interface, address, number),
        }
    }

    /// Removes a neighbour.
    pub(crate) fn remove_neighbour(&self, interface: InterfaceId, address: u128, number: u16) {
        match address::v4(address) {
            Some(address) => {
                self.neighbours.set(interface, address, None);
            }
            None => self.neighbours6.remove(interface, address, number),
        }
    }

    /// Whether packets went to this next hop since the last call.
    pub(crate) fn take_used(&self, number: u16) -> bool {
        self.entries[usize::from(number)]
            .used
            .swap(false, Ordering::Relaxed)
    }

    /// The MAC of a next hop, if resolved.
    pub(crate) fn mac(&self, number: u16) -> Option<[u8; 6]> {
        let mac = self.entries[usize::from(number)].mac.load(Ordering::Acquire);
        (mac & RESOLVED != 0).then(|| {
            let [_, _, m @ ..] = (mac & !RESOLVED).to_be_bytes();
            m
        })
    }
}
