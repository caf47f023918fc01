//! Routes: the FIB's one writer, and the reader every worker has.
//!
//! The control side tells what the kernel's tables say; this file turns actions into next-hop numbers, equal actions into
//! the same number, and numbers nobody uses back into free ones (after a rest, so that no burst still holds them).

use std::collections::{HashMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rte_bindings::{Eal, Fib4, Fib4Reader, FibConfig, FibError};
use tandem_engine::packet::{Route, Router};
use tandem_engine::program::InterfaceId;

use crate::next_hop::{
    GROUP_BUCKETS, MAX_GROUPS, NEIGHBOUR_SLOTS, NEXT_HOP_BLACKHOLE, NEXT_HOP_END, NEXT_HOP_FIRST,
    NEXT_HOP_KERNEL, NEXT_HOP_NO_ROUTE, NEXT_HOP_PROHIBITED, NEXT_HOP_UNREACHABLE, NextHops,
};

/// Neighbours there can be: half of the hash's slots, so that look-ups stay short.
const NEIGHBOURS_MAX: usize = NEIGHBOUR_SLOTS / 2;
/// How long a freed number rests.
const REST: Duration = Duration::from_secs(5);

/// One way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Way {
    /// Egress interface.
    pub interface: InterfaceId,
    /// The router; `None` when destinations are on the link.
    pub gateway: Option<Ipv4Addr>,
    /// Share among its siblings.
    pub weight: u16,
}

/// What a route does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The kernel's: local, or over a device that is not ours.
    Kernel,
    /// Drop silently.
    Blackhole,
    /// Drop, host unreachable.
    Unreachable,
    /// Drop, prohibited.
    Prohibited,
    /// Out of one of these; without any, as [`Action::Unreachable`].
    Ways(Vec<Way>),
}

/// A route could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// The FIB is full or refused.
    #[error("the FIB refused {0}/{1}: {2}")]
    Fib(Ipv4Addr, u8, FibError),
    /// No next-hop number is left.
    #[error("no next-hop number is left: {0} are in use")]
    NumbersUsedUp(usize),
    /// No group is left.
    #[error("no ECMP group is left: {MAX_GROUPS} are in use")]
    GroupsUsedUp,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    OnLink(InterfaceId),
    Via(InterfaceId, u32),
    Group(Vec<(u16, u16)>),
}

/// A row for the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRow {
    /// Network.
    pub network: Ipv4Addr,
    /// Prefix length.
    pub length: u8,
    /// What it does.
    pub action: Arc<Action>,
}

/// The FIB's writer.
pub struct RouteWriter {
    fib: Fib4,
    table: Arc<NextHops>,
    mtus: HashMap<InterfaceId, u16>,
    numbers: HashMap<Key, (u16, u32)>,
    keys: HashMap<u16, Key>,
    group_of: HashMap<u16, usize>,
    free_groups: Vec<usize>,
    next: u16,
    resting: VecDeque<(Instant, u16)>,
    routes: std::collections::BTreeMap<(u32, u8), (Arc<Action>, u16)>,
    neighbours: HashMap<(InterfaceId, u32), u16>,
    changed: bool,
}

/// What a worker routes by.
#[derive(Clone)]
pub struct WorkerRouter {
    fib: Fib4Reader,
    table: Arc<NextHops>,
}

impl WorkerRouter {
    /// The next-hop table.
    #[inline(always)]
    #[must_use]
    pub fn table(&self) -> &NextHops {
        &self.table
    }
}

impl Router for WorkerRouter {
    #[inline(always)]
    fn generation(&self) -> u32 {
        self.table.generation()
    }

    #[inline]
    fn route(&self, destination: u32, hash: u32) -> Route {
        let number = self
            .table
            .settle(self.fib.lookup(destination) as u16, destination, hash);
        Route {
            next_hop: number,
            kind: self.table.kind(number),
        }
    }

    fn route6(&self, _destination: u128, _hash: u32) -> Route {
        Route {
            next_hop: NEXT_HOP_NO_ROUTE,
            kind: self.table.kind(NEXT_HOP_NO_ROUTE),
        }
    }

    #[inline(always)]
    fn next_hop(&self, number: u16) -> tandem_engine::packet::RouteKind {
        self.table.kind(number)
    }
}

impl RouteWriter {
    /// An empty FIB for up to `max_routes` routes; `mtus` are the interfaces'.
    ///
    /// # Errors
    /// [`FibError`] when DPDK has no memory for it: 64 MiB and about 0.4 KiB a route.
    pub fn new(eal: &Eal, max_routes: u32, mtus: HashMap<InterfaceId, u16>) -> Result<Self, FibError> {
        let config = FibConfig {
            name: "tandem4".into(),
            max_routes,
            num_tbl8: (max_routes / 16).clamp(256, 1 << 16),
            default_next_hop: u32::from(NEXT_HOP_NO_ROUTE),
            socket: None,
        };
        Ok(Self {
            fib: Fib4::create(eal, &config)?,
            table: Arc::new(NextHops::default()),
            mtus,
            numbers: HashMap::new(),
            keys: HashMap::new(),
            group_of: HashMap::new(),
            free_groups: (0..MAX_GROUPS).rev().collect(),
            next: NEXT_HOP_FIRST,
            resting: VecDeque::new(),
            routes: std::collections::BTreeMap::new(),
            neighbours: HashMap::new(),
            changed: false,
        })
    }

    /// A reader for a worker.
    #[must_use]
    pub fn reader(&self) -> WorkerRouter {
        WorkerRouter {
            fib: self.fib.reader(),
            table: Arc::clone(&self.table),
        }
    }

    /// Enters or replaces a route.
    ///
    /// # Errors
    /// [`RouteError`]; the prefix then keeps what it had.
    pub fn set(&mut self, network: u32, length: u8, action: Arc<Action>) -> Result<(), RouteError> {
        let number = self.number_of(&action)?;
        if let Err(error) = self.fib.add(network, length, u32::from(number)) {
            self.unref(number);
            return Err(RouteError::Fib(network.into(), length, error));
        }
        if let Some((_, old)) = self.routes.insert((network, length), (action, number)) {
            self.unref(old);
        }
        self.changed = true;
        Ok(())
    }

    /// Takes a route out.
    pub fn remove(&mut self, network: u32, length: u8) {
        if let Some((_, number)) = self.routes.remove(&(network, length)) {
            // What was added can be deleted.
            if self.fib.delete(network, length).is_ok() {
                self.changed = true;
            }
            self.unref(number);
        }
    }

    /// A neighbour's MAC, or `None` while it has none. `gone` forgets it.
    pub fn neighbour(&mut self, interface: InterfaceId, address: Ipv4Addr, mac: Option<[u8; 6]>, gone: bool) {
        let bits = u32::from(address);
        let known = self.neighbours.get(&(interface, bits)).copied();
        if gone {
            if let Some(number) = known {
                self.table.set_mac(number, None);
                self.table.set_neighbour(interface, bits, None);
                self.neighbours.remove(&(interface, bits));
                self.unref(number);
                self.changed = true;
            }
            return;
        }
        let number = match known {
            Some(number) => number,
            None => {
                if self.neighbours.len() >= NEIGHBOURS_MAX {
                    return;
                }
                let Ok(number) = self.take(Key::Via(interface, bits)) else {
                    return;
                };
                if !self.table.set_neighbour(interface, bits, Some(number)) {
                    self.unref(number);
                    return;
                }
                self.neighbours.insert((interface, bits), number);
                // Sessions that know only "on this link" may now know the neighbour.
                self.changed = true;
                number
            }
        };
        self.table.set_mac(number, mac);
    }

    /// Makes what changed since the last call count.
    pub fn publish(&mut self) {
        if std::mem::take(&mut self.changed) {
            self.table.bump();
        }
    }

    /// Neighbours that packets went to since the last call: the kernel does not see that traffic and has to be told that
    /// they are in use.
    pub fn used_neighbours(&self) -> Vec<(InterfaceId, Ipv4Addr)> {
        self.keys
            .iter()
            .filter_map(|(number, key)| match key {
                Key::Via(interface, gateway) if self.table.take_used(*number) => {
                    Some((*interface, Ipv4Addr::from(*gateway)))
                }
                _ => None,
            })
            .collect()
    }

    /// Neighbours with their MAC, if resolved.
    #[must_use]
    pub fn neighbours(&self) -> Vec<(InterfaceId, Ipv4Addr, Option<[u8; 6]>)> {
        let mut rows: Vec<_> = self
            .neighbours
            .iter()
            .map(|((interface, address), number)| {
                (*interface, Ipv4Addr::from(*address), self.table.mac(*number))
            })
            .collect();
        rows.sort_unstable();
        rows
    }

    /// Routes behind `after`, in order of network and length.
    pub fn routes(&self, after: Option<(u32, u8)>) -> impl Iterator<Item = RouteRow> + '_ {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.routes
            .range((from, Bound::Unbounded))
            .map(|((network, length), (action, _))| RouteRow {
                network: Ipv4Addr::from(*network),
                length: *length,
                action: Arc::clone(action),
            })
    }

    /// Routes there are.
    #[must_use]
    pub fn route_count(&self) -> usize {
        self.routes.len()
    }

    fn number_of(&mut self, action: &Action) -> Result<u16, RouteError> {
        match action {
            Action::Kernel => Ok(NEXT_HOP_KERNEL),
            Action::Blackhole => Ok(NEXT_HOP_BLACKHOLE),
            Action::Unreachable => Ok(NEXT_HOP_UNREACHABLE),
            Action::Prohibited => Ok(NEXT_HOP_PROHIBITED),
            Action::Ways(ways) => match ways.as_slice() {
                [] => Ok(NEXT_HOP_UNREACHABLE),
                [way] => self.way(way),
                ways => self.group(ways),
            },
        }
    }

    fn way(&mut self, way: &Way) -> Result<u16, RouteError> {
        self.take(
            way.gateway
                .map_or(Key::OnLink(way.interface), |g| Key::Via(way.interface, g.into())),
        )
    }

    fn group(&mut self, ways: &[Way]) -> Result<u16, RouteError> {
        let mut members = Vec::with_capacity(ways.len());
        for way in ways.iter().take(GROUP_BUCKETS) {
            match self.way(way) {
                Ok(number) => members.push((number, way.weight.max(1))),
                Err(error) => {
                    members.iter().for_each(|(n, _)| self.unref(*n));
                    return Err(error);
                }
            }
        }
        let key = Key::Group(members.clone());
        if let Some((number, references)) = self.numbers.get_mut(&key) {
            *references += 1;
            let number = *number;
            members.iter().for_each(|(n, _)| self.unref(*n));
            return Ok(number);
        }
        // The members' references now belong to the group; `unref` gives them back with it.
        match self.take(key) {
            Ok(number) => Ok(number),
            Err(error) => {
                members.iter().for_each(|(n, _)| self.unref(*n));
                Err(error)
            }
        }
    }

    /// One more reference to a key's number, which is made if there is none.
    fn take(&mut self, key: Key) -> Result<u16, RouteError> {
        if let Some((number, references)) = self.numbers.get_mut(&key) {
            *references += 1;
            return Ok(*number);
        }
        let number = self.fresh()?;
        match &key {
            Key::OnLink(interface) => self.table.set_on_link(number, *interface, self.mtu(*interface)),
            Key::Via(interface, gateway) => {
                self.table
                    .set_via(number, *interface, self.mtu(*interface), *gateway)
            }
            Key::Group(members) => {
                let Some(group) = self.free_groups.pop() else {
                    self.resting.push_back((Instant::now(), number));
                    return Err(RouteError::GroupsUsedUp);
                };
                self.table.set_group(number, group, &buckets(members));
                self.group_of.insert(number, group);
            }
        }
        self.numbers.insert(key.clone(), (number, 1));
        self.keys.insert(number, key);
        Ok(number)
    }

    fn mtu(&self, interface: InterfaceId) -> u16 {
        self.mtus.get(&interface).copied().unwrap_or(1500)
    }

    fn fresh(&mut self) -> Result<u16, RouteError> {
        if self.next < NEXT_HOP_END {
            self.next += 1;
            return Ok(self.next - 1);
        }
        match self.resting.front() {
            Some((since, _)) if since.elapsed() >= REST => self
                .resting
                .pop_front()
                .map(|(_, n)| n)
                .ok_or(RouteError::NumbersUsedUp(self.keys.len())),
            _ => Err(RouteError::NumbersUsedUp(self.keys.len())),
        }
    }

    fn unref(&mut self, number: u16) {
        let Some(key) = self.keys.get(&number) else { return };
        let Some((_, references)) = self.numbers.get_mut(key) else {
            return;
        };
        *references -= 1;
        if *references > 0 {
            return;
        }
        self.numbers.remove(key);
        if let Some(Key::Group(members)) = self.keys.remove(&number) {
            if let Some(group) = self.group_of.remove(&number) {
                self.free_groups.push(group);
            }
            members.iter().for_each(|(n, _)| self.unref(*n));
        }
        // It keeps saying what it said: packets that look it up before the change is published still go somewhere.
        self.changed = true;
        self.resting.push_back((Instant::now(), number));
    }
}

/// Shares buckets out by weight; every member has at least one.
fn buckets(members: &[(u16, u16)]) -> [u16; GROUP_BUCKETS] {
    let total: u64 = members.iter().map(|(_, w)| u64::from(*w)).sum::<u64>().max(1);
    let mut all = [NEXT_HOP_NO_ROUTE; GROUP_BUCKETS];
    let (mut at, mut before) = (0, 0);
    for (i, (number, weight)) in members.iter().enumerate() {
        before += u64::from(*weight);
        let left = members.len() - i - 1;
        let end =
            ((before * GROUP_BUCKETS as u64).div_ceil(total) as usize).clamp(at + 1, GROUP_BUCKETS - left);
        all[at..end].fill(*number);
        at = end;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_weights_and_forget_nobody() {
        let count = |all: &[u16; GROUP_BUCKETS], n: u16| all.iter().filter(|m| **m == n).count();
        let even = buckets(&[(1, 1), (2, 1)]);
        assert_eq!((count(&even, 1), count(&even, 2)), (32, 32));
        let skewed = buckets(&[(1, 60_000), (2, 1), (3, 1)]);
        assert_eq!(
            (count(&skewed, 1), count(&skewed, 2), count(&skewed, 3)),
            (62, 1, 1)
        );
        let three = buckets(&[(1, 1), (2, 1), (3, 1)]);
        assert!([1, 2, 3].iter().all(|n| (21..=22).contains(&count(&three, *n))));
    }
}
