//! The kernel's neighbour entries on our taps, and what the dataplane hears of them. Pure.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::types::{MacAddress, NeighbourState};

/// The kernel's state of a neighbour entry (NUD_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NudState {
    /// Just made, nothing done yet (NUD_NONE).
    None,
    /// Being resolved.
    Incomplete,
    /// Confirmed of late.
    Reachable,
    /// Known, not confirmed of late.
    Stale,
    /// Known and used; a probe follows if nothing confirms it.
    Delay,
    /// Known; being probed.
    Probe,
    /// Resolution failed.
    Failed,
    /// Needs no resolution, or set by hand (NUD_NOARP, NUD_PERMANENT).
    Fixed,
}

impl NudState {
    /// From the bits of `ndm_state`.
    pub fn from_bits(bits: u16) -> Self {
        match bits {
            0x01 => Self::Incomplete,
            0x02 => Self::Reachable,
            0x04 => Self::Stale,
            0x08 => Self::Delay,
            0x10 => Self::Probe,
            0x20 => Self::Failed,
            0x40 | 0x80 => Self::Fixed,
            _ => Self::None,
        }
    }
}

/// A neighbour as RTM_NEWNEIGH tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighbourRecord {
    /// The device.
    pub ifindex: u32,
    /// The neighbour's address.
    pub address: IpAddr,
    /// The kernel's state.
    pub state: NudState,
    /// Its Ethernet address, when known.
    pub mac: Option<MacAddress>,
}

impl NeighbourRecord {
    /// What the dataplane is to make of it.
    fn effective(&self) -> NeighbourState {
        match (self.state, self.mac) {
            (NudState::Failed, _) => NeighbourState::Failed,
            (NudState::None | NudState::Incomplete, _) | (_, None) => NeighbourState::Unresolved,
            (_, Some(mac)) => NeighbourState::Reachable(mac),
        }
    }
}

/// A change: device, neighbour, new state.
pub type NeighbourChange = (u32, IpAddr, NeighbourState);

type Key = (u32, IpAddr);

/// The neighbours of the devices that matter.
#[derive(Default)]
pub struct NeighbourTable {
    entries: HashMap<Key, NeighbourRecord>,
    touched: Option<HashSet<Key>>,
    seen: HashSet<Key>,
}

impl NeighbourTable {
    /// An entry came or changed, notified.
    pub fn set(&mut self, entry: NeighbourRecord, out: &mut Vec<NeighbourChange>) {
        let key = (entry.ifindex, entry.address);
        if let Some(touched) = &mut self.touched {
            touched.insert(key);
            self.seen.insert(key);
        }
        self.store(entry, out);
    }

    /// An entry went, notified.
    pub fn remove(&mut self, ifindex: u32, address: IpAddr, out: &mut Vec<NeighbourChange>) {
        let key = (ifindex, address);
        if let Some(touched) = &mut self.touched {
            touched.insert(key);
            self.seen.remove(&key);
        }
        self.forget(key, out);
    }

    /// A device went, or matters no more: so do its neighbours.
    pub fn remove_device(&mut self, ifindex: u32, out: &mut Vec<NeighbourChange>) {
        let keys: Vec<Key> = self
            .entries
            .keys()
            .filter(|key| key.0 == ifindex)
            .copied()
            .collect();
        for key in keys {
            self.forget(key, out);
        }
    }

    /// All that is known of a device's neighbours, for whoever has just learnt what the device is.
    pub fn tell_again(&self, ifindex: u32, out: &mut Vec<NeighbourChange>) {
        let of_device = self.entries.iter().filter(|(key, _)| key.0 == ifindex);
        out.extend(of_device.map(|(key, entry)| (key.0, key.1, entry.effective())));
    }

    /// A dump begins.
    pub fn resync_begin(&mut self) {
        self.touched = Some(HashSet::new());
        self.seen.clear();
    }

    /// An entry of the dump.
    pub fn dumped(&mut self, entry: NeighbourRecord, out: &mut Vec<NeighbourChange>) {
        let key = (entry.ifindex, entry.address);
        if self
            .touched
            .as_ref()
            .is_some_and(|touched| touched.contains(&key))
        {
            return;
        }
        self.seen.insert(key);
        self.store(entry, out);
    }

    /// The dump is complete: forgets what it did not name.
    pub fn resync_end(&mut self, out: &mut Vec<NeighbourChange>) {
        self.touched = None;
        let gone: Vec<Key> = self
            .entries
            .keys()
            .filter(|key| !self.seen.contains(key))
            .copied()
            .collect();
        for key in gone {
            self.forget(key, out);
        }
        self.seen.clear();
    }

    /// The kernel's state of an entry.
    pub fn state(&self, ifindex: u32, address: IpAddr) -> Option<NudState> {
        self.entries.get(&(ifindex, address)).map(|entry| entry.state)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// No entry at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn store(&mut self, entry: NeighbourRecord, out: &mut Vec<NeighbourChange>) {
        let key = (entry.ifindex, entry.address);
        let news = entry.effective();
        let before = self.entries.insert(key, entry);
        if before.map(|before| before.effective()) != Some(news) {
            out.push((key.0, key.1, news));
        }
    }

    fn forget(&mut self, key: Key, out: &mut Vec<NeighbourChange>) {
        if self.entries.remove(&key).is_some() {
            out.push((key.0, key.1, NeighbourState::Gone));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddress = [2, 0, 0, 0, 0, 1];

    fn entry(last: u8, state: NudState, mac: Option<MacAddress>) -> NeighbourRecord {
        NeighbourRecord {
            ifindex: 4,
            address: [10, 0, 0, last].into(),
            state,
            mac,
        }
    }

    #[test]
    fn states_that_mean_the_same_are_told_once() {
        let (mut table, mut out) = (NeighbourTable::default(), Vec::new());
        table.set(entry(1, NudState::Incomplete, None), &mut out);
        for state in [
            NudState::Reachable,
            NudState::Stale,
            NudState::Delay,
            NudState::Probe,
        ] {
            table.set(entry(1, state, Some(MAC)), &mut out);
        }
        table.set(entry(1, NudState::Failed, None), &mut out);
        table.remove(4, [10, 0, 0, 1].into(), &mut out);
        table.remove(4, [10, 0, 0, 1].into(), &mut out);
        let states: Vec<_> = out.iter().map(|change| change.2).collect();
        use NeighbourState::{Failed, Gone, Reachable, Unresolved};
        assert_eq!(states, vec![Unresolved, Reachable(MAC), Failed, Gone]);
    }

    #[test]
    fn a_dump_replaces_all_but_what_was_notified_meanwhile() {
        let (mut table, mut out) = (NeighbourTable::default(), Vec::new());
        table.set(entry(1, NudState::Stale, Some(MAC)), &mut out);
        table.set(entry(2, NudState::Stale, Some(MAC)), &mut out);
        out.clear();
        table.resync_begin();
        table.set(entry(1, NudState::Failed, None), &mut out);
        table.dumped(entry(1, NudState::Stale, Some(MAC)), &mut out);
        table.dumped(entry(3, NudState::Reachable, Some(MAC)), &mut out);
        table.resync_end(&mut out);
        let told: Vec<_> = out.iter().map(|c| (c.1.to_string(), c.2)).collect();
        assert_eq!(
            told,
            vec![
                ("10.0.0.1".into(), NeighbourState::Failed),
                ("10.0.0.3".into(), NeighbourState::Reachable(MAC)),
                ("10.0.0.2".into(), NeighbourState::Gone),
            ]
        );
        assert_eq!(table.len(), 2);
    }
}
