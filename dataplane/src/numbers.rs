//! Next-hop numbers: equal actions get the same one, and numbers nobody uses become free again, after a rest, so that no burst
//! still holds them. One space for both families.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tandem_engine::program::InterfaceId;

use crate::next_hop::{
    GROUP_BUCKETS, MAX_GROUPS, NEXT_HOP_BLACKHOLE, NEXT_HOP_END, NEXT_HOP_FIRST, NEXT_HOP_KERNEL,
    NEXT_HOP_NO_ROUTE, NEXT_HOP_PROHIBITED, NEXT_HOP_UNREACHABLE, NextHops,
};
use crate::routes::{Action, Way};
use tandem_engine::address;

/// How long a freed number rests.
const REST: Duration = Duration::from_secs(5);

/// No number could be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoNumber {
    /// No next-hop number is left.
    #[error("no next-hop number is left: {0} are in use")]
    Numbers(usize),
    /// No group is left.
    #[error("no ECMP group is left: {MAX_GROUPS} are in use")]
    Groups,
}

/// What a number stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// On the link, each destination for itself.
    OnLink(InterfaceId),
    /// This neighbour.
    Via(InterfaceId, u128),
    /// Members with their weights.
    Group(Vec<(u16, u16)>),
}

/// The numbers in use, and the table they point into.
pub(crate) struct Numbers {
    table: Arc<NextHops>,
    mtus: HashMap<InterfaceId, u16>,
    numbers: HashMap<Key, (u16, u32)>,
    keys: HashMap<u16, Key>,
    group_of: HashMap<u16, usize>,
    free_groups: Vec<usize>,
    next: u16,
    resting: VecDeque<(Instant, u16)>,
    /// A number was freed since this was last reset.
    pub(crate) freed: bool,
}

impl Numbers {
    pub(crate) fn new(table: Arc<NextHops>, mtus: HashMap<InterfaceId, u16>) -> Self {
        Self {
            table,
            mtus,
            numbers: HashMap::new(),
            keys: HashMap::new(),
            group_of: HashMap::new(),
            free_groups: (0..MAX_GROUPS).rev().collect(),
            next: NEXT_HOP_FIRST,
            resting: VecDeque::new(),
            freed: false,
        }
    }

    /// Numbers in use and what they stand for.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, &Key)> {
        self.keys.iter().map(|(number, key)| (*number, key))
    }

    /// One more reference to the number of an action.
    pub(crate) fn of(&mut self, action: &Action) -> Result<u16, NoNumber> {
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

    fn way(&mut self, way: &Way) -> Result<u16, NoNumber> {
        self.take(way.gateway.map_or(Key::OnLink(way.interface), |g| {
            Key::Via(way.interface, address::from_ip(g))
        }))
    }

    fn group(&mut self, ways: &[Way]) -> Result<u16, NoNumber> {
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
    pub(crate) fn take(&mut self, key: Key) -> Result<u16, NoNumber> {
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
                    return Err(NoNumber::Groups);
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

    fn fresh(&mut self) -> Result<u16, NoNumber> {
        if self.next < NEXT_HOP_END {
            self.next += 1;
            return Ok(self.next - 1);
        }
        match self.resting.front() {
            Some((since, _)) if since.elapsed() >= REST => self
                .resting
                .pop_front()
                .map(|(_, n)| n)
                .ok_or(NoNumber::Numbers(self.keys.len())),
            _ => Err(NoNumber::Numbers(self.keys.len())),
        }
    }

    /// One reference less; the last one frees the number.
    pub(crate) fn unref(&mut self, number: u16) {
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
        self.freed = true;
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
