//! Interfaces as the workers see them: a port, or one VLAN of a port. A redundant interface stands on two ports, of which one is
//! active: frames leave by that one, and what the other receives is dropped.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use tandem_engine::program::InterfaceId;

/// One interface. What can change at run time is atomic; the rest is fixed at start.
#[derive(Debug)]
pub struct InterfaceState {
    /// Its id.
    pub id: InterfaceId,
    /// Its name.
    pub name: String,
    /// Position of its port, of a redundant interface of the active member.
    port: AtomicU8,
    /// Positions of the members' ports; `None` for an interface with one port.
    members: Option<[u8; 2]>,
    /// Its VLAN; `None` for untagged frames.
    pub vlan: Option<u16>,
    /// Its MAC address, which is the mirror's too.
    pub mac: [u8; 6],
    /// Its MTU, IP header included.
    pub mtu: u16,
    up: AtomicBool,
    /// It is an HA link whose heartbeats are lost while those of the other one come.
    cut: AtomicBool,
    ipv4: AtomicU32,
    /// Upper and lower half.
    ipv6: [AtomicU64; 2],
}

impl InterfaceState {
    /// An interface, down and without an address.
    #[must_use]
    pub fn new(id: InterfaceId, name: String, port: u8, vlan: Option<u16>, mac: [u8; 6], mtu: u16) -> Self {
        Self {
            id,
            name,
            port: AtomicU8::new(port),
            members: None,
            vlan,
            mac,
            mtu,
            up: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            ipv4: AtomicU32::new(0),
            ipv6: Default::default(),
        }
    }

    /// The same interface with `other` as second member; the first is active.
    #[must_use]
    pub fn with_member(mut self, other: u8) -> Self {
        self.members = Some([self.port(), other]);
        self
    }

    /// Whether it stands on two ports.
    #[must_use]
    pub const fn is_redundant(&self) -> bool {
        self.members.is_some()
    }

    /// Position of the port that frames leave by.
    #[inline]
    #[must_use]
    pub fn port(&self) -> u8 {
        self.port.load(Ordering::Relaxed)
    }

    /// Whether frames may leave.
    #[inline]
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Says whether frames may leave; true when that is new.
    pub fn set_up(&self, up: bool) -> bool {
        self.up.swap(up, Ordering::Relaxed) != up
    }

    /// Whether it is an HA link that is cut somewhere on the way, by the heartbeats of both.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Says so; true when that is new.
    pub fn set_cut(&self, cut: bool) -> bool {
        self.cut.swap(cut, Ordering::Relaxed) != cut
    }

    /// The address ICMP errors are sent from; 0 while it has none.
    #[inline]
    #[must_use]
    pub fn ipv4(&self) -> u32 {
        self.ipv4.load(Ordering::Relaxed)
    }

    /// Sets that address.
    pub fn set_ipv4(&self, address: u32) {
        self.ipv4.store(address, Ordering::Relaxed);
    }

    /// The global address ICMPv6 errors are sent from; 0 while it has none, and while it changes.
    #[must_use]
    pub fn ipv6(&self) -> u128 {
        let [upper, lower] = &self.ipv6;
        let before = upper.load(Ordering::Acquire);
        let address = u128::from(before) << 64 | u128::from(lower.load(Ordering::Acquire));
        if upper.load(Ordering::Acquire) == before && before != 0 {
            address
        } else {
            0
        }
    }

    /// Sets that address; one whose upper half is 0 is none.
    pub fn set_ipv6(&self, address: u128) {
        let [upper, lower] = &self.ipv6;
        upper.store(0, Ordering::Release);
        lower.store(address as u64, Ordering::Release);
        upper.store((address >> 64) as u64, Ordering::Release);
    }
}

/// All interfaces.
#[derive(Debug, Default)]
pub struct Interfaces {
    /// By position, in config order.
    pub all: Vec<InterfaceState>,
    by_id: Vec<Option<usize>>,
    /// Untagged interface and VLANs of each port.
    ports: Vec<PortInterfaces>,
}

#[derive(Debug, Default)]
struct PortInterfaces {
    untagged: Option<InterfaceId>,
    vlans: Vec<(u16, InterfaceId)>,
}

impl Interfaces {
    /// Indexes a list of interfaces.
    #[must_use]
    pub fn new(all: Vec<InterfaceState>) -> Self {
        let mut table = Self {
            all,
            by_id: Vec::new(),
            ports: Vec::new(),
        };
        for (position, interface) in table.all.iter().enumerate() {
            let id = usize::from(interface.id);
            if table.by_id.len() <= id {
                table.by_id.resize(id + 1, None);
            }
            table.by_id[id] = Some(position);
            let alone = [interface.port()];
            let ports = interface.members.as_ref().map_or(&alone[..], |both| &both[..]);
            for port in ports.iter().map(|port| usize::from(*port)) {
                if table.ports.len() <= port {
                    table.ports.resize_with(port + 1, PortInterfaces::default);
                }
                match interface.vlan {
                    None => table.ports[port].untagged = Some(interface.id),
                    Some(vlan) => table.ports[port].vlans.push((vlan, interface.id)),
                }
            }
        }
        table
    }

    /// An interface by id.
    #[inline]
    #[must_use]
    pub fn get(&self, id: InterfaceId) -> Option<&InterfaceState> {
        self.all.get((*self.by_id.get(usize::from(id))?)?)
    }

    /// The interface of a frame that came in on `port` with this tag (0: none or priority only).
    #[inline]
    #[must_use]
    pub fn find(&self, port: u8, vlan: u16) -> Option<InterfaceId> {
        let port = self.ports.get(usize::from(port))?;
        if vlan == 0 {
            return port.untagged;
        }
        port.vlans.iter().find(|(v, _)| *v == vlan).map(|(_, id)| *id)
    }

    /// Makes the port at this position the active member of its redundant interface, VLANs included. Workers follow with their
    /// next burst.
    pub fn activate(&self, port: u8) {
        let of_port = |i: &&InterfaceState| i.members.is_some_and(|members| members.contains(&port));
        for interface in self.all.iter().filter(of_port) {
            interface.port.store(port, Ordering::Relaxed);
        }
    }

    /// Whether the port at this position is a member that is not active: nothing it receives is taken.
    #[must_use]
    pub fn is_standby(&self, port: u8) -> bool {
        // All interfaces of a port have the same members.
        let interfaces = self.ports.get(usize::from(port));
        let any = interfaces.and_then(|i| i.untagged.or_else(|| i.vlans.first().map(|(_, id)| *id)));
        let state = any.and_then(|id| self.get(id));
        state.is_some_and(|state| state.is_redundant() && state.port() != port)
    }

    /// How many ports there are.
    #[must_use]
    pub fn port_count(&self) -> usize {
        self.ports.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redundant_interface_is_found_by_both_members_and_leaves_by_the_active_one() {
        let of = |id, port, vlan| InterfaceState::new(id, format!("i{id}"), port, vlan, [2; 6], 1500);
        let all = vec![
            of(7, 0, None).with_member(2),
            of(8, 0, Some(5)).with_member(2),
            of(9, 1, None),
        ];
        let interfaces = Interfaces::new(all);
        assert_eq!(interfaces.port_count(), 3);
        let leave = || {
            interfaces
                .all
                .iter()
                .map(InterfaceState::port)
                .collect::<Vec<_>>()
        };
        let standby = || (0..4).map(|port| interfaces.is_standby(port)).collect::<Vec<_>>();
        for port in [0, 2] {
            assert_eq!(
                (interfaces.find(port, 0), interfaces.find(port, 5)),
                (Some(7), Some(8))
            );
        }
        assert_eq!(
            (leave(), standby()),
            (vec![0, 0, 1], vec![false, false, true, false])
        );
        interfaces.activate(2);
        assert_eq!(
            (leave(), standby()),
            (vec![2, 2, 1], vec![true, false, false, false])
        );
        interfaces.activate(1);
        assert_eq!(leave(), [2, 2, 1], "a port that is no member changes nothing");
        interfaces.activate(0);
        assert_eq!(
            (leave(), standby()),
            (vec![0, 0, 1], vec![false, false, true, false])
        );
    }
}
