//! The taps of all interfaces: made, addressed, and handed to the dataplane's mirror.

use std::collections::BTreeMap;
use std::net::IpAddr;

use tandem_dataplane::interfaces::Interfaces;
use tandem_dataplane::mirror::KernelDevice;
use tandem_engine::program::InterfaceId;

use super::life::{Breath, Life};
use crate::config::{Config, Interface};
use crate::kernel::{KernelError, OwnedAddresses, Rtnl, Tap, TapConfig, TapError};

/// A tap as the dataplane's mirror sees it. The mirror's thread owns it: it goes when the thread ends, however that is.
struct TapDevice {
    tap: Tap,
    _breath: Breath,
}

impl KernelDevice for TapDevice {
    fn send(&self, frame: &[u8]) -> std::io::Result<bool> {
        self.tap.send(frame)
    }

    fn receive(&self, buffer: &mut [u8]) -> std::io::Result<Option<usize>> {
        self.tap.recv(buffer)
    }
}

/// What stays with the control side of a tap that the mirror has.
struct TapRecord {
    ifindex: u32,
    addresses: OwnedAddresses,
}

/// The taps, by interface. The devices themselves belong to the mirror and go with it.
#[derive(Default)]
pub(super) struct Taps {
    records: BTreeMap<InterfaceId, TapRecord>,
}

/// Devices for the dataplane, by interface.
pub(super) type Devices = Vec<(InterfaceId, Box<dyn KernelDevice>)>;

impl Taps {
    /// Makes a tap for every interface, with its MAC address and MTU. `mirror` is the life of the thread that will own them.
    pub(super) fn create(
        config: &Config,
        interfaces: &Interfaces,
        mirror: &Life,
    ) -> Result<(Self, Devices), TapError> {
        let (mut taps, mut devices) = (Self::default(), Devices::new());
        for state in &interfaces.all {
            let Some(interface) = config.interfaces.iter().find(|i| i.name == state.name) else {
                continue;
            };
            let tap = Tap::create(&TapConfig {
                name: interface.tap.clone(),
                mac: state.mac,
                mtu: u32::from(interface.mtu),
            })?;
            let record = TapRecord {
                ifindex: tap.ifindex(),
                addresses: OwnedAddresses::default(),
            };
            taps.records.insert(state.id, record);
            let _breath = mirror.breath();
            devices.push((state.id, Box::new(TapDevice { tap, _breath })));
        }
        Ok((taps, devices))
    }

    /// The kernel's number of an interface's tap.
    pub(super) fn ifindex(&self, id: InterfaceId) -> Option<u32> {
        self.records.get(&id).map(|record| record.ifindex)
    }

    /// Makes taps and dataplane carry the configured addresses; goes on after a refusal.
    pub(super) fn set_addresses(
        &mut self,
        rtnl: &mut Rtnl,
        config: &Config,
        interfaces: &Interfaces,
    ) -> Vec<(String, KernelError)> {
        let mut refused = Vec::new();
        for state in &interfaces.all {
            let Some(interface) = config.interfaces.iter().find(|i| i.name == state.name) else {
                continue;
            };
            state.set_ipv4(first_ipv4(interface));
            state.set_ipv6(first_ipv6(interface));
            if let Some(record) = self.records.get_mut(&state.id) {
                let wanted: Vec<(IpAddr, u8)> = interface
                    .addresses
                    .iter()
                    .map(|a| (a.address, a.prefix_length))
                    .collect();
                if let Err(error) = record.addresses.apply(rtnl, record.ifindex, &wanted) {
                    refused.push((interface.name.clone(), error));
                }
            }
        }
        refused
    }

    /// Has the kernel tell of the addresses once more: a routing daemon that hears of an address before it has heard of the tap forgets
    /// it, and has no connected route from then on (FRR issue 13288, seen with 8.4).
    pub(super) fn repeat_addresses(&self, rtnl: &mut Rtnl) -> Result<(), KernelError> {
        let all = self.records.values();
        let done = all.map(|record| record.addresses.repeat(rtnl, record.ifindex));
        done.fold(Ok(()), Result::and)
    }
}

/// The address that ICMP errors come from; 0 without one.
fn first_ipv4(interface: &Interface) -> u32 {
    interface
        .addresses
        .iter()
        .find_map(|a| match a.address {
            IpAddr::V4(v4) => Some(v4.to_bits()),
            IpAddr::V6(_) => None,
        })
        .unwrap_or(0)
}

/// The address that ICMPv6 errors come from: the first that is not link-local; 0 without one.
fn first_ipv6(interface: &Interface) -> u128 {
    interface
        .addresses
        .iter()
        .find_map(|a| match a.address {
            IpAddr::V6(v6) if !v6.is_unicast_link_local() => Some(v6.to_bits()),
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        })
        .unwrap_or(0)
}
