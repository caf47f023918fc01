//! Address prefixes and ranges: the vocabulary of configuration and lookup, for both address families.
//!
//! A prefix is stored with its host bits zero; a text or pair with host bits set is refused rather than masked,
//! since it is usually a mistake (use `containing` to mask on purpose).

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// Why a text is no prefix or range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrefixError {
    /// The address part is no address of this family.
    Address,
    /// The length part is no number in 0..=32 (0..=128).
    Length,
    /// Bits behind the prefix length are set.
    HostBits,
    /// A range whose first address is above its last.
    Order,
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "not an address of this family",
            Self::Length => "the prefix length is not a number within the address size",
            Self::HostBits => "bits behind the prefix length are set",
            Self::Order => "the first address of the range is above the last",
        })
    }
}

impl core::error::Error for PrefixError {}

/// Writes the type of one family; they differ in the width of an address only.
macro_rules! prefix {
    ($name:ident, $int:ty, $addr:ty, $bits:literal, $example:literal) => {
        #[doc = concat!("A prefix, such as `", $example, "`. Ordered by address, then shorter first.")]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name {
            addr: $int,
            len: u8,
        }

        impl $name {
            /// Every address.
            pub const ALL: Self = Self { addr: 0, len: 0 };

            /// The mask of a length; lengths above the address size count as it.
            #[inline(always)]
            #[must_use]
            pub const fn mask_of(len: u8) -> $int {
                if len == 0 {
                    0
                } else if len >= $bits {
                    <$int>::MAX
                } else {
                    <$int>::MAX << ($bits - len)
                }
            }

            /// The prefix of `len` bits that starts at `addr`.
            ///
            /// # Errors
            /// `Length` beyond the address size, `HostBits` when bits behind the length are set.
            #[inline]
            pub const fn new(addr: $int, len: u8) -> Result<Self, PrefixError> {
                if len > $bits {
                    return Err(PrefixError::Length);
                }
                if addr & !Self::mask_of(len) != 0 {
                    return Err(PrefixError::HostBits);
                }
                Ok(Self { addr, len })
            }

            /// The prefix of `len` bits (at most the address size) that `addr` lies in.
            #[inline(always)]
            #[must_use]
            pub const fn containing(addr: $int, len: u8) -> Self {
                let len = if len > $bits { $bits } else { len };
                Self {
                    addr: addr & Self::mask_of(len),
                    len,
                }
            }

            /// One address.
            #[inline(always)]
            #[must_use]
            pub const fn host(addr: $int) -> Self {
                Self { addr, len: $bits }
            }

            /// Prefix length in bits.
            #[inline(always)]
            #[must_use]
            #[allow(clippy::len_without_is_empty)] // a length in bits, not of a container
            pub const fn len(&self) -> u8 {
                self.len
            }

            /// The mask.
            #[inline(always)]
            #[must_use]
            pub const fn mask(&self) -> $int {
                Self::mask_of(self.len)
            }

            /// Lowest address (the network's own).
            #[inline(always)]
            #[must_use]
            pub const fn first(&self) -> $int {
                self.addr
            }

            /// Highest address.
            #[inline(always)]
            #[must_use]
            pub const fn last(&self) -> $int {
                self.addr | !self.mask()
            }

            /// Whether an address lies in it.
            #[inline(always)]
            #[must_use]
            pub const fn contains(&self, addr: $int) -> bool {
                addr & self.mask() == self.addr
            }

            /// Whether all of another prefix lies in it.
            #[inline(always)]
            #[must_use]
            pub const fn covers(&self, other: &Self) -> bool {
                self.len <= other.len && self.contains(other.addr)
            }

            /// Whether they share an address (then one covers the other).
            #[inline(always)]
            #[must_use]
            pub const fn overlaps(&self, other: &Self) -> bool {
                self.covers(other) || other.covers(self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}/{}", <$addr>::from_bits(self.addr), self.len)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = PrefixError;

            /// `address/length`, or an address alone for the prefix of all its bits.
            fn from_str(text: &str) -> Result<Self, PrefixError> {
                let (addr, len) = match text.split_once('/') {
                    Some((addr, len)) => (addr, parse_len(len)?),
                    None => (text, $bits),
                };
                let addr: $addr = addr.parse().map_err(|_| PrefixError::Address)?;
                Self::new(addr.to_bits(), len)
            }
        }
    };
}

/// A decimal number without sign.
fn parse_len(text: &str) -> Result<u8, PrefixError> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(PrefixError::Length);
    }
    text.parse().map_err(|_| PrefixError::Length)
}

prefix!(Ipv4Prefix, u32, Ipv4Addr, 32, "192.0.2.0/24");
prefix!(Ipv6Prefix, u128, Ipv6Addr, 128, "2001:db8::/32");

impl Ipv4Prefix {
    /// How many addresses it holds: 1..=2^32.
    #[inline(always)]
    #[must_use]
    pub const fn size(&self) -> u64 {
        1 << (32 - self.len)
    }
}

impl Ipv6Prefix {
    /// How many addresses it holds; `None` for `::/0`, whose 2^128 do not fit.
    #[inline(always)]
    #[must_use]
    pub const fn size(&self) -> Option<u128> {
        1u128.checked_shl(128 - self.len as u32)
    }
}

/// Addresses from `first` to `last`, both included: a pool need not be a prefix.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ipv4Range {
    first: u32,
    last: u32,
}

impl Ipv4Range {
    /// The range from `first` to `last`, both included.
    ///
    /// # Errors
    /// `Order` when `first` is above `last`.
    #[inline]
    pub const fn new(first: u32, last: u32) -> Result<Self, PrefixError> {
        if first > last {
            Err(PrefixError::Order)
        } else {
            Ok(Self { first, last })
        }
    }

    /// Lowest address.
    #[inline(always)]
    #[must_use]
    pub const fn first(&self) -> u32 {
        self.first
    }

    /// Highest address.
    #[inline(always)]
    #[must_use]
    pub const fn last(&self) -> u32 {
        self.last
    }

    /// How many addresses it holds: 1..=2^32.
    #[inline(always)]
    #[must_use]
    pub const fn size(&self) -> u64 {
        (self.last - self.first) as u64 + 1
    }

    /// Whether an address lies in it.
    #[inline(always)]
    #[must_use]
    pub const fn contains(&self, addr: u32) -> bool {
        self.first <= addr && addr <= self.last
    }

    /// Whether they share an address.
    #[inline(always)]
    #[must_use]
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// The address at a place, counted from 0; `None` beyond the end.
    #[inline(always)]
    #[must_use]
    pub const fn nth(&self, index: u64) -> Option<u32> {
        if index < self.size() {
            Some(self.first + index as u32)
        } else {
            None
        }
    }
}

impl From<Ipv4Prefix> for Ipv4Range {
    fn from(prefix: Ipv4Prefix) -> Self {
        Self {
            first: prefix.first(),
            last: prefix.last(),
        }
    }
}

impl fmt::Display for Ipv4Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}-{}",
            Ipv4Addr::from_bits(self.first),
            Ipv4Addr::from_bits(self.last)
        )
    }
}

impl fmt::Debug for Ipv4Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Ipv4Range {
    type Err = PrefixError;

    /// `first-last`, a prefix, or one address.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let Some((first, last)) = text.split_once('-') else {
            return text.parse::<Ipv4Prefix>().map(Self::from);
        };
        let address = |t: &str| t.trim().parse::<Ipv4Addr>().map(Ipv4Addr::to_bits);
        let first = address(first).map_err(|_| PrefixError::Address)?;
        Self::new(first, address(last).map_err(|_| PrefixError::Address)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v4(text: &str) -> Ipv4Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn text_of_both_families() {
        for ok in ["0.0.0.0/0", "10.0.0.0/8", "192.0.2.1/32", "128.0.0.0/1"] {
            assert_eq!(v4(ok).to_string(), ok);
        }
        for ok in ["::/0", "2001:db8::/32", "2001:db8::1/128", "64:ff9b::/96"] {
            assert_eq!(ok.parse::<Ipv6Prefix>().unwrap().to_string(), ok);
        }
        assert_eq!(v4("192.0.2.1"), Ipv4Prefix::host(0xc000_0201));
        for (bad, why) in [
            ("10.0.0.1/8", PrefixError::HostBits),
            ("10.0.0.0/33", PrefixError::Length),
            ("10.0.0.0/+8", PrefixError::Length),
            ("10.0.0.0/", PrefixError::Length),
            ("10.0.0/8", PrefixError::Address),
            ("::/8", PrefixError::Address),
            ("", PrefixError::Address),
        ] {
            assert_eq!(bad.parse::<Ipv4Prefix>(), Err(why), "{bad}");
        }
        assert_eq!("2001:db8::1/64".parse::<Ipv6Prefix>(), Err(PrefixError::HostBits));
        assert_eq!("::/129".parse::<Ipv6Prefix>(), Err(PrefixError::Length));
    }

    #[test]
    fn bounds_and_relations() {
        let net = v4("10.1.0.0/16");
        assert_eq!(
            (net.first(), net.last(), net.size()),
            (0x0a01_0000, 0x0a01_ffff, 65536)
        );
        assert!(net.contains(0x0a01_8000) && !net.contains(0x0a02_0000));
        assert!(net.covers(&v4("10.1.2.0/24")) && !v4("10.1.2.0/24").covers(&net));
        assert!(v4("10.1.2.0/24").overlaps(&net) && !net.overlaps(&v4("10.2.0.0/16")));
        assert!(Ipv4Prefix::ALL.contains(u32::MAX) && Ipv4Prefix::ALL.size() == 1 << 32);
        assert_eq!(Ipv6Prefix::ALL.size(), None);
        assert_eq!("2001:db8::/127".parse::<Ipv6Prefix>().unwrap().size(), Some(2));
    }

    #[test]
    fn ranges() {
        let range: Ipv4Range = "198.51.100.10-198.51.100.20".parse().unwrap();
        assert_eq!(
            (range.size(), range.nth(10), range.nth(11)),
            (11, Some(range.last()), None)
        );
        assert!(range.contains(range.first()) && range.contains(range.last()));
        assert!(!range.contains(range.first() - 1) && !range.contains(range.last() + 1));
        assert_eq!(range.to_string(), "198.51.100.10-198.51.100.20");
        assert!("198.51.100.20/32".parse::<Ipv4Range>().unwrap().overlaps(&range));
        assert!(!"198.51.100.21".parse::<Ipv4Range>().unwrap().overlaps(&range));
        assert_eq!("10.0.0.2-10.0.0.1".parse::<Ipv4Range>(), Err(PrefixError::Order));
        assert_eq!(Ipv4Range::from(Ipv4Prefix::ALL).size(), 1 << 32);
    }

    proptest! {
        #[test]
        fn prefix_is_its_range(addr in any::<u32>(), len in 0u8..=32, probe in any::<u32>()) {
            let prefix = Ipv4Prefix::containing(addr, len);
            let range = Ipv4Range::from(prefix);
            prop_assert!(prefix.contains(addr));
            prop_assert_eq!(prefix.contains(probe), range.contains(probe));
            prop_assert_eq!(prefix.size(), range.size());
            prop_assert_eq!(prefix.to_string().parse(), Ok(prefix));
            prop_assert_eq!(range.to_string().parse(), Ok(range));
        }

        #[test]
        fn v6_round_trip(addr in any::<u128>(), len in 0u8..=128, probe in any::<u128>()) {
            let prefix = Ipv6Prefix::containing(addr, len);
            prop_assert_eq!(prefix.to_string().parse(), Ok(prefix));
            prop_assert_eq!(prefix.contains(probe), prefix.first() <= probe && probe <= prefix.last());
        }
    }
}
