//! The kernel's devices: which are taps of ours, which are watched by name, and what changed. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::routes::LinkState;
use super::types::{InterfaceId, LinkUpdate, MacAddress};

/// A device as RTM_NEWLINK tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkRecord {
    /// The kernel's number.
    pub ifindex: u32,
    /// The kernel's name.
    pub name: String,
    /// IFF_UP.
    pub up: bool,
    /// IFF_LOWER_UP.
    pub carrier: bool,
    /// Octets.
    pub mtu: u32,
    /// Ethernet address, if it has one.
    pub mac: Option<MacAddress>,
}

/// Why a device's name matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// It is the tap of this interface of the dataplane.
    Tap(InterfaceId),
    /// Its state is wanted, e.g. the device under an AF_XDP port.
    Watched,
}

/// All devices of the namespace, and the names that matter.
#[derive(Default)]
pub struct LinkTable {
    links: HashMap<u32, LinkRecord>,
    bindings: BTreeMap<String, Binding>,
    /// By name: what was last reported.
    reported: HashMap<String, LinkUpdate>,
    touched: Option<HashSet<u32>>,
    seen: HashSet<u32>,
}

impl LinkTable {
    /// Gives a name its meaning; an earlier one is replaced. A device of that name is reported at once.
    pub fn bind(&mut self, name: &str, binding: Binding, out: &mut Vec<LinkUpdate>) {
        self.bindings.insert(name.to_owned(), binding);
        self.reported.remove(name);
        self.report(name, out);
    }

    /// Takes a name's meaning away. Nothing is reported.
    pub fn unbind(&mut self, name: &str) {
        self.bindings.remove(name);
        self.reported.remove(name);
    }

    /// A device came or changed, notified.
    pub fn set(&mut self, link: LinkRecord, out: &mut Vec<LinkUpdate>) {
        if let Some(touched) = &mut self.touched {
            touched.insert(link.ifindex);
            self.seen.insert(link.ifindex);
        }
        self.store(link, out);
    }

    /// A device went, notified.
    pub fn remove(&mut self, ifindex: u32, out: &mut Vec<LinkUpdate>) {
        if let Some(touched) = &mut self.touched {
            touched.insert(ifindex);
            self.seen.remove(&ifindex);
        }
        if let Some(link) = self.links.remove(&ifindex) {
            self.report(&link.name, out);
        }
    }

    /// A dump begins.
    pub fn resync_begin(&mut self) {
        self.touched = Some(HashSet::new());
        self.seen.clear();
    }

    /// A device of the dump; `false`: left out, a notification knows better.
    pub fn dumped(&mut self, link: LinkRecord, out: &mut Vec<LinkUpdate>) -> bool {
        if self
            .touched
            .as_ref()
            .is_some_and(|touched| touched.contains(&link.ifindex))
        {
            return false;
        }
        self.seen.insert(link.ifindex);
        self.store(link, out);
        true
    }

    /// The dump of links is complete: forgets the devices it did not name, and returns their numbers. Bound names
    /// without a device are reported as absent.
    pub fn resync_end(&mut self, out: &mut Vec<LinkUpdate>) -> Vec<u32> {
        self.touched = None;
        let gone: Vec<u32> = self
            .links
            .keys()
            .filter(|ifindex| !self.seen.contains(ifindex))
            .copied()
            .collect();
        for ifindex in &gone {
            self.remove(*ifindex, out);
        }
        self.seen.clear();
        let names: Vec<String> = self.bindings.keys().cloned().collect();
        for name in names {
            self.report(&name, out);
        }
        gone
    }

    /// What routes need to know of a device.
    pub fn state(&self, ifindex: u32) -> Option<LinkState> {
        let link = self.links.get(&ifindex)?;
        Some(LinkState {
            up: link.up,
            carrier: link.carrier,
            interface: self.interface(ifindex),
        })
    }

    /// The dataplane's interface whose tap this device is.
    pub fn interface(&self, ifindex: u32) -> Option<InterfaceId> {
        match self.bindings.get(&self.links.get(&ifindex)?.name)? {
            Binding::Tap(interface) => Some(*interface),
            Binding::Watched => None,
        }
    }

    /// The device that is the tap of an interface.
    pub fn tap_of(&self, interface: InterfaceId) -> Option<u32> {
        let (name, _) = self
            .bindings
            .iter()
            .find(|(_, binding)| **binding == Binding::Tap(interface))?;
        self.find(name)
    }

    /// The number of the device of a name.
    pub fn find(&self, name: &str) -> Option<u32> {
        self.links
            .values()
            .find(|link| link.name == name)
            .map(|link| link.ifindex)
    }

    fn store(&mut self, link: LinkRecord, out: &mut Vec<LinkUpdate>) {
        let name = link.name.clone();
        let before = self.links.insert(link.ifindex, link);
        if let Some(before) = before.filter(|before| before.name != name) {
            self.report(&before.name, out);
        }
        self.report(&name, out);
    }

    /// Reports a bound name if its device is not as last reported.
    fn report(&mut self, name: &str, out: &mut Vec<LinkUpdate>) {
        let Some(binding) = self.bindings.get(name) else {
            return;
        };
        let interface = match binding {
            Binding::Tap(interface) => Some(*interface),
            Binding::Watched => None,
        };
        let device = self.links.values().find(|link| link.name == name);
        let update = LinkUpdate {
            name: name.to_owned(),
            ifindex: device.map_or(0, |link| link.ifindex),
            interface,
            present: device.is_some(),
            up: device.is_some_and(|link| link.up),
            carrier: device.is_some_and(|link| link.carrier),
            mtu: device.map_or(0, |link| link.mtu),
        };
        if self.reported.get(name) != Some(&update) && (update.present || self.touched.is_none()) {
            self.reported.insert(name.to_owned(), update.clone());
            out.push(update);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(ifindex: u32, name: &str, carrier: bool) -> LinkRecord {
        LinkRecord {
            ifindex,
            name: name.into(),
            up: true,
            carrier,
            mtu: 1500,
            mac: None,
        }
    }

    fn taken(out: &mut Vec<LinkUpdate>) -> Vec<(String, bool, bool)> {
        out.drain(..).map(|u| (u.name, u.present, u.carrier)).collect()
    }

    #[test]
    fn only_bound_names_are_reported_and_only_when_they_change() {
        let (mut table, mut out) = (LinkTable::default(), Vec::new());
        table.bind("p0", Binding::Tap(3), &mut out);
        assert_eq!(taken(&mut out), vec![("p0".into(), false, false)]);
        table.set(link(5, "p0", true), &mut out);
        table.set(link(5, "p0", true), &mut out);
        table.set(link(6, "other", true), &mut out);
        assert_eq!(taken(&mut out), vec![("p0".into(), true, true)]);
        assert_eq!(
            (table.interface(5), table.interface(6), table.tap_of(3)),
            (Some(3), None, Some(5))
        );
        table.set(link(5, "renamed", true), &mut out);
        assert_eq!(taken(&mut out), vec![("p0".into(), false, false)]);
        assert_eq!(table.interface(5), None);
    }

    #[test]
    fn a_dump_finds_the_missing_and_yields_to_notifications() {
        let (mut table, mut out) = (LinkTable::default(), Vec::new());
        table.set(link(5, "a", true), &mut out);
        table.set(link(6, "b", true), &mut out);
        table.bind("a", Binding::Watched, &mut out);
        table.bind("b", Binding::Watched, &mut out);
        out.clear();
        table.resync_begin();
        table.set(link(5, "a", false), &mut out);
        assert!(!table.dumped(link(5, "a", true), &mut out));
        assert_eq!(table.resync_end(&mut out), vec![6]);
        assert_eq!(
            taken(&mut out),
            vec![("a".into(), true, false), ("b".into(), false, false)]
        );
    }
}
