//! Next hops and neighbours: what the control thread writes and every worker reads without a lock.
//!
//! ```text
//!   FIB -> next-hop number -> entry: kind, interface, MTU | MAC      a few words, each an atomic
//!                               |-> group: 64 buckets of numbers (ECMP, weighted)
//!                               '-> on-link: (interface, destination) -> neighbour hash -> number
//! ```
//!
//! Sessions keep numbers, not addresses: a neighbour's new MAC is one store. Whenever a number a session may hold can have
//! become wrong, the generation changes and sessions look their route up again.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::RouteKind;
use tandem_engine::program::InterfaceId;

/// No route: also what an empty FIB says.
pub const NEXT_HOP_NO_ROUTE: u16 = 0;
/// The kernel's.
pub const NEXT_HOP_KERNEL: u16 = 1;
/// Drop silently.
pub const NEXT_HOP_BLACKHOLE: u16 = 2;
/// Drop, host unreachable.
pub const NEXT_HOP_UNREACHABLE: u16 = 3;
/// Drop, prohibited.
pub const NEXT_HOP_PROHIBITED: u16 = 4;
/// First number for everything else.
pub const NEXT_HOP_FIRST: u16 = 5;
/// Numbers end here; the two above have a meaning of their own in session records.
pub const NEXT_HOP_END: u16 = 0xfffe;

/// Buckets of a group: the resolution of ECMP weights.
pub const GROUP_BUCKETS: usize = 64;
/// Groups there can be.
pub const MAX_GROUPS: usize = 2048;
/// Slots of the neighbour hash.
pub(crate) const NEIGHBOUR_SLOTS: usize = 1 << 16;

// 0: never written.
const KIND_KERNEL: u64 = 1;
const KIND_DROP: u64 = 2;
const KIND_ON_LINK: u64 = 3;
const KIND_VIA: u64 = 4;
const KIND_GROUP: u64 = 5;
const RESOLVED: u64 = 1 << 63;

#[derive(Debug, Default)]
struct Entry {
    /// kind 0..8, interface 8..24, MTU 24..40, drop reason or group 40..56.
    head: AtomicU64,
    /// MAC in the lower 48 bits, [`RESOLVED`].
    mac: AtomicU64,
    gateway: AtomicU32,
    used: AtomicBool,
}

/// How a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Out of `interface` to this MAC.
    Neighbour {
        /// Egress interface.
        interface: InterfaceId,
        /// Destination MAC, most significant octet first in the lower 48 bits.
        mac: u64,
    },
    /// The neighbour has to be resolved first: `gateway`, or the destination itself.
    Unresolved {
        /// Egress interface.
        interface: InterfaceId,
        /// The router, if the route names one.
        gateway: Option<u32>,
    },
    /// The kernel's.
    Kernel,
    /// Nowhere.
    Drop(DropReason),
}

/// The shared table.
#[derive(Debug)]
pub struct NextHops {
    entries: Box<[Entry]>,
    groups: Box<[[AtomicU16; GROUP_BUCKETS]]>,
    neighbour_keys: Box<[AtomicU64]>,
    neighbour_values: Box<[AtomicU16]>,
    generation: AtomicU32,
}

fn key(interface: InterfaceId, address: u32) -> u64 {
    1 << 63 | u64::from(interface) << 32 | u64::from(address)
}

fn slot(key: u64) -> usize {
    (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as usize % NEIGHBOUR_SLOTS
}

impl Default for NextHops {
    fn default() -> Self {
        let table = Self {
            entries: (0..=u16::MAX).map(|_| Entry::default()).collect(),
            groups: (0..MAX_GROUPS)
                .map(|_| std::array::from_fn(|_| AtomicU16::new(0)))
                .collect(),
            neighbour_keys: (0..NEIGHBOUR_SLOTS).map(|_| AtomicU64::new(0)).collect(),
            neighbour_values: (0..NEIGHBOUR_SLOTS).map(|_| AtomicU16::new(0)).collect(),
            generation: AtomicU32::new(1),
        };
        table.write(NEXT_HOP_NO_ROUTE, KIND_DROP, 0, 0, DropReason::NoRoute as u64);
        table.write(NEXT_HOP_KERNEL, KIND_KERNEL, 0, 0, 0);
        table.write(
            NEXT_HOP_BLACKHOLE,
            KIND_DROP,
            0,
            0,
            DropReason::RouteBlackhole as u64,
        );
        table.write(
            NEXT_HOP_UNREACHABLE,
            KIND_DROP,
            0,
            0,
            DropReason::RouteUnreachable as u64,
        );
        table.write(
            NEXT_HOP_PROHIBITED,
            KIND_DROP,
            0,
            0,
            DropReason::RouteProhibited as u64,
        );
        table
    }
}

impl NextHops {
    fn write(&self, number: u16, kind: u64, interface: u16, mtu: u16, extra: u64) {
        let head = kind | u64::from(interface) << 8 | u64::from(mtu) << 24 | extra << 40;
        self.entries[usize::from(number)]
            .head
            .store(head, Ordering::Release);
    }

    // ---- what workers call ------------------------------------------------------------------------------------------

    /// Changes when cached numbers may be wrong.
    #[inline(always)]
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    #[inline(always)]
    fn head(&self, number: u16) -> u64 {
        self.entries
            .get(usize::from(number))
            .map_or(0, |e| e.head.load(Ordering::Acquire))
    }

    /// From what the FIB said to the number to keep: the group's member, the on-link destination's neighbour.
    #[inline]
    #[must_use]
    pub fn settle(&self, number: u16, destination: u32, hash: u32) -> u16 {
        let mut number = number;
        let mut head = self.head(number);
        if head & 0xff == KIND_GROUP {
            let mixed = hash.wrapping_mul(0x9E37_79B1) ^ destination.wrapping_mul(0x85EB_CA77);
            let bucket = (mixed.wrapping_mul(0xC2B2_AE3D) >> 26) as usize % GROUP_BUCKETS;
            let group = (head >> 40 & 0xffff) as usize;
            number = self
                .groups
                .get(group)
                .map_or(0, |g| g[bucket].load(Ordering::Acquire));
            head = self.head(number);
        }
        if head & 0xff == KIND_ON_LINK
            && let Some(neighbour) = self.neighbour((head >> 8) as u16, destination)
        {
            return neighbour;
        }
        number
    }

    /// What a settled number says.
    #[inline(always)]
    #[must_use]
    pub fn kind(&self, number: u16) -> RouteKind {
        let head = self.head(number);
        match head & 0xff {
            KIND_VIA | KIND_ON_LINK => RouteKind::Forward {
                interface: (head >> 8) as u16,
                mtu: (head >> 24) as u16,
            },
            KIND_KERNEL => RouteKind::Kernel,
            _ => RouteKind::Drop(drop_reason(head)),
        }
    }

    /// Where a packet for `destination` with this number goes now.
    #[inline]
    #[must_use]
    pub fn exit(&self, number: u16, destination: u32) -> Exit {
        let head = self.head(number);
        let interface = (head >> 8) as u16;
        match head & 0xff {
            KIND_VIA => self.exit_via(number, interface),
            KIND_ON_LINK => match self.neighbour(interface, destination) {
                Some(neighbour) => self.exit_via(neighbour, interface),
                None => Exit::Unresolved {
                    interface,
                    gateway: None,
                },
            },
            KIND_KERNEL => Exit::Kernel,
            _ => Exit::Drop(drop_reason(head)),
        }
    }

    /// Where packets with this number go now, whatever their destination; `Unresolved` when that depends on it.
    #[must_use]
    pub fn exit_of(&self, number: u16) -> Exit {
        let head = self.head(number);
        let interface = (head >> 8) as u16;
        match head & 0xff {
            KIND_VIA => self.exit_via(number, interface),
            KIND_ON_LINK => Exit::Unresolved {
                interface,
                gateway: None,
            },
            KIND_KERNEL => Exit::Kernel,
            _ => Exit::Drop(drop_reason(head)),
        }
    }

    #[inline(always)]
    fn exit_via(&self, number: u16, interface: InterfaceId) -> Exit {
        let Some(entry) = self.entries.get(usize::from(number)) else {
            return Exit::Drop(DropReason::NoRoute);
        };
        let mac = entry.mac.load(Ordering::Acquire);
        // Marks are read before they are written: the line stays shared between workers.
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        if mac & RESOLVED != 0 {
            Exit::Neighbour {
                interface,
                mac: mac & !RESOLVED,
            }
        } else {
            Exit::Unresolved {
                interface,
                gateway: Some(entry.gateway.load(Ordering::Acquire)),
            }
        }
    }

    /// Where a packet for this neighbour goes now.
    #[must_use]
    pub fn neighbour_exit(&self, interface: InterfaceId, address: u32) -> Exit {
        match self.neighbour(interface, address) {
            Some(number) => self.exit_via(number, interface),
            None => Exit::Unresolved {
                interface,
                gateway: Some(address),
            },
        }
    }

    fn neighbour(&self, interface: InterfaceId, address: u32) -> Option<u16> {
        let key = key(interface, address);
        let mut at = slot(key);
        for _ in 0..NEIGHBOUR_SLOTS {
            match self.neighbour_keys[at].load(Ordering::Acquire) {
                0 => return None,
                k if k == key => {
                    let value = self.neighbour_values[at].load(Ordering::Acquire);
                    // The slot may have become another neighbour's meanwhile: its key is written before its value.
                    let same = self.neighbour_keys[at].load(Ordering::Acquire) == key;
                    return (same && value != 0).then_some(value);
                }
                _ => at = (at + 1) % NEIGHBOUR_SLOTS,
            }
        }
        None
    }

    // ---- what the one writer calls ----------------------------------------------------------------------------------

    /// Makes caches look again.
    pub(crate) fn bump(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn set_on_link(&self, number: u16, interface: InterfaceId, mtu: u16) {
        self.write(number, KIND_ON_LINK, interface, mtu, 0);
    }

    pub(crate) fn set_via(&self, number: u16, interface: InterfaceId, mtu: u16, gateway: u32) {
        let entry = &self.entries[usize::from(number)];
        entry.mac.store(0, Ordering::Release);
        entry.gateway.store(gateway, Ordering::Release);
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

    /// Enters or removes (`None`) a neighbour; false when the hash is full. Slots of removed ones are used again, and freed
    /// where a chain ends with them: a link on which hosts come and go for years must not make look-ups long.
    pub(crate) fn set_neighbour(&self, interface: InterfaceId, address: u32, number: Option<u16>) -> bool {
        let key = key(interface, address);
        let mut at = slot(key);
        let mut free = None;
        for _ in 0..NEIGHBOUR_SLOTS {
            let found = self.neighbour_keys[at].load(Ordering::Acquire);
            if found == key {
                self.neighbour_values[at].store(number.unwrap_or(0), Ordering::Release);
                if number.is_none() {
                    self.free_slots_before(at);
                }
                return true;
            }
            if free.is_none() && (found == 0 || self.neighbour_values[at].load(Ordering::Acquire) == 0) {
                free = Some(at);
            }
            if found == 0 {
                break;
            }
            at = (at + 1) % NEIGHBOUR_SLOTS;
        }
        let Some(number) = number else { return true };
        let Some(at) = free else { return false };
        self.neighbour_keys[at].store(key, Ordering::Release);
        self.neighbour_values[at].store(number, Ordering::Release);
        true
    }

    /// Frees unused slots from `at` backwards when the chain ends behind it: no look-up goes further than there.
    fn free_slots_before(&self, mut at: usize) {
        let key = |at: usize| self.neighbour_keys[at].load(Ordering::Acquire);
        if key((at + 1) % NEIGHBOUR_SLOTS) != 0 {
            return;
        }
        while key(at) != 0 && self.neighbour_values[at].load(Ordering::Acquire) == 0 {
            self.neighbour_keys[at].store(0, Ordering::Release);
            at = (at + NEIGHBOUR_SLOTS - 1) % NEIGHBOUR_SLOTS;
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

#[inline]
fn drop_reason(head: u64) -> DropReason {
    DropReason::ALL
        .get((head >> 40 & 0xff) as usize)
        .copied()
        .unwrap_or(DropReason::NoRoute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_numbers_say_what_they_are() {
        let table = NextHops::default();
        assert_eq!(
            table.kind(NEXT_HOP_NO_ROUTE),
            RouteKind::Drop(DropReason::NoRoute)
        );
        assert_eq!(table.kind(NEXT_HOP_KERNEL), RouteKind::Kernel);
        assert_eq!(
            table.exit(NEXT_HOP_PROHIBITED, 9),
            Exit::Drop(DropReason::RouteProhibited)
        );
        assert!(
            matches!(table.kind(77), RouteKind::Drop(_)),
            "an entry never written drops"
        );
    }

    #[test]
    fn on_link_destinations_find_their_neighbour() {
        let table = NextHops::default();
        table.set_on_link(5, 3, 1500);
        table.set_via(6, 3, 1500, 0x0a00_0001);
        assert_eq!(table.settle(5, 0x0a00_0001, 1), 5);
        assert_eq!(
            table.exit(5, 0x0a00_0001),
            Exit::Unresolved {
                interface: 3,
                gateway: None
            }
        );
        assert!(table.set_neighbour(3, 0x0a00_0001, Some(6)));
        assert_eq!(table.settle(5, 0x0a00_0001, 1), 6);
        assert_eq!(
            table.exit(5, 0x0a00_0001),
            Exit::Unresolved {
                interface: 3,
                gateway: Some(0x0a00_0001)
            }
        );
        table.set_mac(6, Some([2, 0, 0, 0, 0, 1]));
        assert_eq!(
            table.exit(5, 0x0a00_0001),
            Exit::Neighbour {
                interface: 3,
                mac: 0x0200_0000_0001
            }
        );
        assert!(table.take_used(6) && !table.take_used(6));
        assert!(table.set_neighbour(3, 0x0a00_0001, None));
        assert_eq!(table.settle(5, 0x0a00_0001, 1), 5);
    }

    #[test]
    fn neighbours_come_and_go_without_filling_the_hash() {
        let table = NextHops::default();
        let mut known = std::collections::VecDeque::new();
        for i in 0..300_000u32 {
            let address = i.wrapping_mul(0x9E37_79B1);
            let number = NEXT_HOP_FIRST + (i % 1000) as u16;
            assert!(table.set_neighbour(3, address, Some(number)));
            known.push_back((address, number));
            if known.len() > 500 {
                // Not in the order they came: the oldest, or one from the middle.
                let gone = known.remove(i as usize % 2 * 250).expect("one of them");
                assert!(table.set_neighbour(3, gone.0, None));
                assert_eq!(table.neighbour(3, gone.0), None);
            }
            if i % 10_000 == 0 {
                assert!(known.iter().all(|(a, n)| table.neighbour(3, *a) == Some(*n)));
            }
        }
        let taken = table
            .neighbour_keys
            .iter()
            .filter(|k| k.load(Ordering::Relaxed) != 0);
        let taken = taken.count();
        assert!((500..1000).contains(&taken), "{taken} slots for 500 neighbours");
    }

    #[test]
    fn groups_spread_by_hash_and_stay_by_flow() {
        let table = NextHops::default();
        table.set_via(6, 1, 1500, 1);
        table.set_via(7, 2, 1500, 2);
        table.set_group(8, 0, &std::array::from_fn(|i| if i % 2 == 0 { 6 } else { 7 }));
        let picks: Vec<u16> = (0..1000).map(|h| table.settle(8, 0x0808_0808, h)).collect();
        let six = picks.iter().filter(|p| **p == 6).count();
        assert!((350..650).contains(&six), "{six} of 1000");
        assert_eq!(
            picks,
            (0..1000)
                .map(|h| table.settle(8, 0x0808_0808, h))
                .collect::<Vec<u16>>()
        );
    }
}
