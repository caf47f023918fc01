//! IPv4 addresses inside IPv6 ones (RFC 6052 section 2.2).
//!
//! ```text
//!   length  0        32       40       48       56       64       72       80       88       96      104     128
//!     32    | prefix | v4 (32)                           |   u    | suffix                                    |
//!     40    | prefix          | v4 (24)                  |   u    | (8)    | suffix                           |
//!     48    | prefix                   | v4 (16)         |   u    | (16)            | suffix                  |
//!     56    | prefix                            | (8)    |   u    | v4 (24)                  | suffix         |
//!     64    | prefix                                     |   u    | v4 (32)                           | suffix|
//!     96    | prefix                                                               | v4 (32)                 |
//! ```
//! Octet `u` (bits 64 to 71) is zero, and so is the suffix when we send; on reception both are ignored.

use core::fmt;

use crate::prefix::Ipv6Prefix;

/// A prefix of one of the six lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix64 {
    base: u128,
    mask: u128,
    len: u8,
}

/// Why a prefix cannot carry IPv4 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix64Error {
    /// Its length is none of 32, 40, 48, 56, 64, 96.
    Length,
    /// Bits 64 to 71 of a /96 are not zero.
    OctetU,
}

impl fmt::Display for Prefix64Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "the length of a NAT64 prefix is 32, 40, 48, 56, 64 or 96",
            Self::OctetU => "bits 64 to 71 of a NAT64 prefix are zero",
        })
    }
}

impl core::error::Error for Prefix64Error {}

/// Bits behind octet u, and octet u itself.
const BEHIND_U: u32 = 56;

impl Prefix64 {
    /// The well-known prefix, `64:ff9b::/96`. RFC 6052 section 2.1.
    pub const WELL_KNOWN: Self = Self {
        base: 0x0064_ff9b << 96,
        mask: Ipv6Prefix::mask_of(96),
        len: 96,
    };

    /// Of a prefix.
    ///
    /// # Errors
    /// [`Prefix64Error`].
    pub const fn new(prefix: Ipv6Prefix) -> Result<Self, Prefix64Error> {
        let (base, len) = (prefix.first(), prefix.len());
        if !matches!(len, 32 | 40 | 48 | 56 | 64 | 96) {
            return Err(Prefix64Error::Length);
        }
        if len == 96 && (base >> BEHIND_U) & 0xff != 0 {
            return Err(Prefix64Error::OctetU);
        }
        Ok(Self {
            base,
            mask: Ipv6Prefix::mask_of(len),
            len,
        })
    }

    /// The prefix itself.
    #[must_use]
    pub const fn prefix(&self) -> Ipv6Prefix {
        Ipv6Prefix::containing(self.base, self.len)
    }

    /// Length in bits.
    #[must_use]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// Never: a prefix of length 0 carries no IPv4 address.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Whether an address lies in the prefix.
    #[inline(always)]
    #[must_use]
    pub const fn contains(&self, address: u128) -> bool {
        address & self.mask == self.base
    }

    /// Whether this is the well-known prefix.
    #[inline(always)]
    #[must_use]
    pub const fn is_well_known(&self) -> bool {
        self.base == Self::WELL_KNOWN.base && self.len == Self::WELL_KNOWN.len
    }

    /// Whether it may stand for an IPv4 address: the well-known prefix must not for one that is not global. RFC 6052
    /// section 3.1.
    #[inline]
    #[must_use]
    pub const fn may_carry(&self, v4: u32) -> bool {
        !self.is_well_known() || is_global(v4)
    }

    /// The IPv6 address of an IPv4 one.
    #[inline(always)]
    #[must_use]
    pub const fn embed(&self, v4: u32) -> u128 {
        if self.len == 96 {
            return self.base | v4 as u128;
        }
        // As if octet u were not there, then what lies behind it moves by one octet.
        let placed = (v4 as u128) << (96 - self.len as u32);
        let (before, behind) = (placed >> 64 << 64, placed & u64::MAX as u128);
        self.base | before | behind >> 8
    }

    /// The IPv4 address of an IPv6 one, if that lies in the prefix.
    #[inline(always)]
    #[must_use]
    pub const fn extract(&self, address: u128) -> Option<u32> {
        if !self.contains(address) {
            return None;
        }
        if self.len == 96 {
            return Some(address as u32);
        }
        let (before, behind) = (address >> 64 << 64, (address << 8) & u64::MAX as u128);
        Some(((before | behind) >> (96 - self.len as u32)) as u32)
    }
}

/// Whether an IPv4 address is a global unicast one: not of the blocks of RFC 5735 section 3, as RFC 6890 has extended them
/// (among them the documentation prefixes), nor multicast.
#[must_use]
pub const fn is_global(v4: u32) -> bool {
    let [a, b, c, _] = v4.to_be_bytes();
    !matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

impl fmt::Display for Prefix64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", core::net::Ipv6Addr::from(self.base), self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The table of RFC 6052 section 2.4, and the well-known prefix.
    #[test]
    fn the_examples_of_the_rfc() {
        let v4 = u32::from(core::net::Ipv4Addr::new(192, 0, 2, 33));
        for (prefix, address) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
            ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
        ] {
            let prefix = Prefix64::new(prefix.parse().unwrap()).unwrap();
            let address = u128::from(address.parse::<core::net::Ipv6Addr>().unwrap());
            assert_eq!(prefix.embed(v4), address, "{prefix}");
            assert_eq!(prefix.extract(address), Some(v4), "{prefix}");
        }
        assert_eq!(
            Prefix64::new("64:ff9b::/96".parse().unwrap()),
            Ok(Prefix64::WELL_KNOWN)
        );
    }

    #[test]
    fn the_well_known_prefix_carries_global_addresses_only() {
        let own = Prefix64::new("2001:db8::/96".parse().unwrap()).unwrap();
        assert!(Prefix64::WELL_KNOWN.is_well_known() && !own.is_well_known());
        // The first and last address of every block, and their neighbours.
        let blocks = [
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",
        ];
        for block in blocks {
            let block: crate::Ipv4Prefix = block.parse().unwrap();
            for inside in [block.first(), block.last()] {
                assert!(!Prefix64::WELL_KNOWN.may_carry(inside), "{block}");
                assert!(own.may_carry(inside), "{block}");
            }
            for outside in [block.first().checked_sub(1), block.last().checked_add(1)] {
                assert!(
                    outside.is_none_or(|a| Prefix64::WELL_KNOWN.may_carry(a)),
                    "{block}"
                );
            }
        }
    }

    #[test]
    fn other_lengths_and_a_set_octet_u_are_refused() {
        for len in (0..=128u8).filter(|l| !matches!(l, 32 | 40 | 48 | 56 | 64 | 96)) {
            let prefix = Ipv6Prefix::containing(0x2001 << 112, len);
            assert_eq!(Prefix64::new(prefix), Err(Prefix64Error::Length));
        }
        let u = "2001:db8:0:0:100::/96".parse().unwrap();
        assert_eq!(Prefix64::new(u), Err(Prefix64Error::OctetU));
    }

    proptest! {
        #[test]
        fn what_is_embedded_comes_out(base: u128, v4: u32, noise: u128, at in 0usize..6) {
            let len = [32u8, 40, 48, 56, 64, 96][at];
            let base = base & !(0xff << BEHIND_U);
            let prefix = Prefix64::new(Ipv6Prefix::containing(base, len)).unwrap();
            let address = prefix.embed(v4);
            prop_assert_eq!(prefix.extract(address), Some(v4));
            // Octet u is zero on send; it and the suffix are ignored on receive.
            if len < 96 {
                prop_assert_eq!((address >> BEHIND_U) & 0xff, 0);
                let bits_used = if len == 64 { 104 } else { u32::from(len) + 40 };
                let suffix = u128::MAX.checked_shr(bits_used).unwrap_or(0);
                let dirty = address | noise & (suffix | 0xff << BEHIND_U);
                prop_assert_eq!(prefix.extract(dirty), Some(v4));
            }
            prop_assert_eq!(prefix.extract(address ^ 1 << 127), None);
        }
    }
}
