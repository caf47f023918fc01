//! Deterministic NAT (RFC 7422): each subscriber's ports follow from its address by a formula, and back.
//!
//! ```text
//!   subscriber n (ranges in order) --> block n % b of address n / b        b = ports of the pool / ports of a subscriber
//!   public address and port        --> the same backwards: no table, no log
//! ```
//!
//! What the division leaves over at the end of an address' ports is nobody's.

use crate::program::{AddressRange, Pool, PoolMode, PortRange};

/// The formula of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deterministic {
    /// Subscribers in order: first address of each range (IPv4 under `::ffff:0:0/96`) and how many subscribers it has.
    pub subscribers: Vec<(u128, u64)>,
    /// Bits of an address that make a subscriber: 128 for IPv4, 48..=64 or 128 for IPv6.
    pub prefix: u8,
    /// Ports of each subscriber.
    pub ports_each: u16,
}

/// A formula that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeterministicError {
    /// A subscriber would have no ports.
    #[error("a subscriber needs at least one port")]
    NoPorts,
    /// The prefix is neither 48..=64 nor 128.
    #[error("a subscriber is an address or a prefix of 48 to 64 bits, not of {0}")]
    Prefix(u8),
    /// A range does not begin where a subscriber does, or goes beyond the last address.
    #[error("the subscribers from {} on are not whole prefixes", std::net::Ipv6Addr::from_bits(*.0))]
    Range(u128),
    /// Two ranges have subscribers in common.
    #[error(
        "the subscribers from {} on are also among those from {} on",
        std::net::Ipv6Addr::from_bits(*.0),
        std::net::Ipv6Addr::from_bits(*.1)
    )]
    Overlap(u128, u128),
    /// More subscribers than the pool has blocks for.
    #[error("the pool has port blocks for {capacity} subscribers, not for {subscribers}")]
    DoNotFit {
        /// Subscribers of all ranges.
        subscribers: u64,
        /// Subscribers the pool has ports for.
        capacity: u64,
    },
}

/// The ports of a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortsOf {
    /// Public address.
    pub address: u32,
    /// First port.
    pub first: u16,
    /// Last port, inclusive.
    pub last: u16,
}

fn port_count(ports: PortRange) -> u32 {
    (u32::from(ports.last) + 1).saturating_sub(u32::from(ports.first))
}

fn address_count(range: &AddressRange) -> u64 {
    (u64::from(range.last) + 1).saturating_sub(u64::from(range.first))
}

impl Deterministic {
    /// A formula for these subscribers.
    ///
    /// # Errors
    /// [`DeterministicError`], all but [`DeterministicError::DoNotFit`].
    pub fn new(
        subscribers: Vec<(u128, u64)>,
        prefix: u8,
        ports_each: u16,
    ) -> Result<Self, DeterministicError> {
        if ports_each == 0 {
            return Err(DeterministicError::NoPorts);
        }
        if !matches!(prefix, 48..=64 | 128) {
            return Err(DeterministicError::Prefix(prefix));
        }
        let host_bits = u32::from(128 - prefix);
        let mut ranges: Vec<(u128, u128)> = Vec::with_capacity(subscribers.len());
        for (first, count) in subscribers.iter().copied().filter(|(_, count)| *count != 0) {
            let number = first >> host_bits;
            let end = number.saturating_add(u128::from(count) - 1);
            if number << host_bits != first
                || end - number != u128::from(count) - 1
                || end > u128::MAX >> host_bits
            {
                return Err(DeterministicError::Range(first));
            }
            ranges.push((number, end));
        }
        ranges.sort_unstable();
        for pair in ranges.windows(2) {
            if let [(before, end), (first, _)] = pair
                && first <= end
            {
                return Err(DeterministicError::Overlap(
                    first << host_bits,
                    before << host_bits,
                ));
            }
        }
        Ok(Self {
            subscribers,
            prefix,
            ports_each,
        })
    }

    /// Subscribers of all ranges.
    #[must_use]
    pub fn subscriber_count(&self) -> u64 {
        self.subscribers
            .iter()
            .fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Subscribers that so many addresses and ports serve.
    #[must_use]
    pub fn capacity(&self, addresses: &[AddressRange], ports: PortRange) -> u64 {
        addresses.iter().map(address_count).sum::<u64>() * self.blocks_per_address(ports)
    }

    /// Whether every subscriber has ports.
    ///
    /// # Errors
    /// [`DeterministicError::DoNotFit`].
    pub fn fits(&self, addresses: &[AddressRange], ports: PortRange) -> Result<(), DeterministicError> {
        let (subscribers, capacity) = (self.subscriber_count(), self.capacity(addresses, ports));
        if subscribers <= capacity {
            Ok(())
        } else {
            Err(DeterministicError::DoNotFit {
                subscribers,
                capacity,
            })
        }
    }

    fn blocks_per_address(&self, ports: PortRange) -> u64 {
        u64::from(
            port_count(ports)
                .checked_div(u32::from(self.ports_each))
                .unwrap_or(0),
        )
    }

    fn host_bits(&self) -> u32 {
        u32::from(128 - self.prefix.clamp(1, 128))
    }

    /// The ports of the subscriber that has this inside address; `None` when it is nobody's or does not fit. RFC 7422
    /// section 2.
    #[must_use]
    pub fn block_of(&self, addresses: &[AddressRange], ports: PortRange, inside: u128) -> Option<PortsOf> {
        let number = inside >> self.host_bits();
        let mut before = 0u64;
        let rank = self.subscribers.iter().find_map(|(first, count)| {
            let offset = number.wrapping_sub(first >> self.host_bits());
            if offset < u128::from(*count) {
                return before.checked_add(offset as u64);
            }
            before = before.saturating_add(*count);
            None
        })?;
        let blocks = self.blocks_per_address(ports);
        let (mut at, block) = (rank.checked_div(blocks)?, rank.checked_rem(blocks)?);
        let address = addresses.iter().find_map(|range| {
            let count = address_count(range);
            if at < count {
                return Some(range.first + at as u32);
            }
            at -= count;
            None
        })?;
        let first = ports.first + block as u16 * self.ports_each;
        Some(PortsOf {
            address,
            first,
            last: first + (self.ports_each - 1),
        })
    }

    /// The first address of the subscriber that a public address and port belong to. RFC 7422 section 4.
    #[must_use]
    pub fn subscriber_of(
        &self,
        addresses: &[AddressRange],
        ports: PortRange,
        public: u32,
        port: u16,
    ) -> Option<u128> {
        let mut before = 0u64;
        let address = addresses.iter().find_map(|range| {
            if range.contains(public) {
                return Some(before + u64::from(public - range.first));
            }
            before += address_count(range);
            None
        })?;
        let blocks = self.blocks_per_address(ports);
        let block = u64::from(port.checked_sub(ports.first)?.checked_div(self.ports_each)?);
        if block >= blocks {
            return None;
        }
        let mut rank = address * blocks + block;
        self.subscribers.iter().find_map(|(first, count)| {
            if rank < *count {
                let number = (first >> self.host_bits()).checked_add(u128::from(rank))?;
                return Some(number << self.host_bits());
            }
            rank -= count;
            None
        })
    }
}

impl Pool {
    /// The ports of a subscriber by the pool's formula; `None` when the pool has none or the subscriber is not in it.
    #[must_use]
    pub fn ports_of(&self, inside: u128) -> Option<PortsOf> {
        match &self.mode {
            PoolMode::Deterministic(formula) => formula.block_of(&self.addresses, self.ports, inside),
            _ => None,
        }
    }

    /// The first address of the subscriber that a public address and port of the pool belong to by its formula; `None`
    /// when the pool has none or the port is nobody's.
    #[must_use]
    pub fn subscriber_of(&self, public: u32, port: u16) -> Option<u128> {
        match &self.mode {
            PoolMode::Deterministic(formula) => {
                formula.subscriber_of(&self.addresses, self.ports, public, port)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V4: u128 = 0xffff << 32;

    fn range(first: u32, count: u32) -> AddressRange {
        AddressRange {
            first,
            last: first + (count - 1),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        /// Every subscriber that fits has a block of its own inside the pool, in order, and each of its ports leads back
        /// to it; every other port of the pool is nobody's.
        #[test]
        fn there_and_back(
            pools in prop::collection::vec(1u32..5, 1..4), groups in prop::collection::vec(0u64..9, 1..4),
            first_port in 1u16..60_000, port_count in 1u16..60, ports_each in 1u16..25, v6: bool,
        ) {
            let addresses: Vec<_> = (0u32..).zip(&pools).map(|(i, n)| range(1000 + i * 100, *n)).collect();
            let ports = PortRange { first: first_port, last: first_port + (port_count - 1) };
            let (base, prefix) = if v6 { (0x2001_0db8 << 96, 56) } else { (V4 | 0x6440_0000, 128) };
            let host_bits = 128 - u32::from(prefix);
            let subscribers: Vec<_> =
                (0u128..).zip(&groups).map(|(i, n)| (base + ((i * 50) << host_bits), *n)).collect();
            let all: Vec<u128> = subscribers
                .iter()
                .flat_map(|(first, n)| (0..u128::from(*n)).map(move |i| first + (i << host_bits)))
                .collect();
            let formula = Deterministic::new(subscribers, prefix, ports_each).unwrap();
            let capacity = formula.capacity(&addresses, ports);
            prop_assert_eq!(capacity, u64::from(port_count / ports_each) * u64::from(pools.iter().sum::<u32>()));
            prop_assert_eq!(formula.fits(&addresses, ports).is_ok(), all.len() as u64 <= capacity);

            let mut theirs = std::collections::BTreeMap::new();
            let mut before = None;
            for (n, subscriber) in (0u64..).zip(&all) {
                let inside = subscriber | ((1 << host_bits) - 1);
                let block = formula.block_of(&addresses, ports, inside);
                prop_assert_eq!(block.is_some(), n < capacity);
                let Some(block) = block else { continue };
                prop_assert!(before < Some((block.address, block.first)));
                before = Some((block.address, block.first));
                prop_assert!(addresses.iter().any(|r| r.contains(block.address)));
                prop_assert_eq!(block.last - block.first + 1, ports_each);
                for port in block.first..=block.last {
                    prop_assert!(ports.contains(port));
                    prop_assert!(theirs.insert((block.address, port), *subscriber).is_none());
                }
            }
            for public in 990..1320 {
                for port in first_port - 1..=first_port.saturating_add(port_count) {
                    let found = formula.subscriber_of(&addresses, ports, public, port);
                    prop_assert_eq!(found, theirs.get(&(public, port)).copied());
                }
            }
            prop_assert_eq!(formula.block_of(&addresses, ports, base - 1), None);
            prop_assert_eq!(formula.block_of(&addresses, ports, base + (49 << host_bits)), None);
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        use DeterministicError::{DoNotFit, NoPorts, Overlap, Prefix, Range};
        let new = |ranges: &[(u128, u64)], prefix, ports| Deterministic::new(ranges.to_vec(), prefix, ports);
        assert_eq!(new(&[], 128, 0), Err(NoPorts));
        assert_eq!(new(&[], 96, 1), Err(Prefix(96)));
        assert_eq!(new(&[(1 << 71, 1)], 56, 1), Err(Range(1 << 71)));
        assert_eq!(new(&[(u128::MAX, 2)], 128, 1), Err(Range(u128::MAX)));
        assert_eq!(new(&[(V4 + 10, 5), (V4, 11)], 128, 1), Err(Overlap(V4 + 10, V4)));
        assert!(new(&[(V4 + 10, 5), (V4, 10), (V4 + 3, 0)], 128, 1).is_ok());
        let ports = PortRange {
            first: 1024,
            last: 65535,
        };
        let full = new(&[(V4, 65)], 128, 2016).unwrap();
        assert_eq!(
            full.fits(&[range(1, 2)], ports),
            Err(DoNotFit {
                subscribers: 65,
                capacity: 64
            })
        );
        assert_eq!(full.fits(&[range(1, 1), range(7, 2)], ports), Ok(()));
        let last = full.block_of(&[range(1, 2)], ports, V4 + 63).unwrap();
        assert_eq!((last.address, last.first, last.last), (2, 63_520, 65_535));
    }
}
