//! IPv6-to-IPv6 network prefix translation (RFC 6296): one prefix becomes another, and no checksum changes.
//!
//! ```text
//!   /48 or shorter     | prefix | subnet    | word 3 adjusted | interface identifier                |
//!   /49 to /64         | prefix             | word 3          | first word that is not 0xffff adjusted |
//! ```
//! What the sum over an address loses with its prefix, one of its 16-bit words takes up, in one's complement arithmetic: so
//! nothing behind the IPv6 header needs to be touched, and any number of translators can share the work without state.

use core::fmt;

use crate::prefix::Ipv6Prefix;

/// A pair of prefixes of the same length, at most 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nptv6 {
    inside: Ipv6Prefix,
    outside: Ipv6Prefix,
    /// What a word takes up on its way outside and inside.
    to_outside: u16,
    to_inside: u16,
}

/// Why two prefixes cannot be translated into each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NptError {
    /// Their lengths differ.
    Lengths,
    /// They are longer than 64 bits, or empty.
    Length,
}

impl fmt::Display for NptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lengths => "both prefixes have the same length",
            Self::Length => "a prefix has 1 to 64 bits",
        })
    }
}

impl core::error::Error for NptError {}

/// Sum of the words of an address in one's complement arithmetic, 0 to 0xfffe: 0xffff counts as 0.
const fn sum(address: u128) -> u16 {
    // 2^16 is 1 modulo 0xffff, so the address is as good as its words.
    (address % 0xffff) as u16
}

/// `word + change` in one's complement arithmetic; 0xffff is written as 0. RFC 6296 section 3.1.
const fn add(word: u16, change: u16) -> u16 {
    ((word as u32 + change as u32) % 0xffff) as u16
}

impl Nptv6 {
    /// Of an inside and an outside prefix.
    ///
    /// # Errors
    /// [`NptError`].
    pub const fn new(inside: Ipv6Prefix, outside: Ipv6Prefix) -> Result<Self, NptError> {
        if inside.len() != outside.len() {
            return Err(NptError::Lengths);
        }
        if inside.len() == 0 || inside.len() > 64 {
            return Err(NptError::Length);
        }
        let (a, b) = (sum(inside.first()), sum(outside.first()));
        Ok(Self {
            inside,
            outside,
            to_outside: add(a, 0xffff - b),
            to_inside: add(b, 0xffff - a),
        })
    }

    /// The inside prefix.
    #[must_use]
    pub const fn inside(&self) -> Ipv6Prefix {
        self.inside
    }

    /// The outside prefix.
    #[must_use]
    pub const fn outside(&self) -> Ipv6Prefix {
        self.outside
    }

    /// The outside address of an inside one. `None` when it is not of the inside prefix, when its subnet (of a /48 or
    /// shorter) is 0xffff, or its interface identifier (of a longer prefix) all ones: these cannot be translated back.
    /// RFC 6296 sections 3.2, 3.4 and 3.5 with its erratum.
    #[inline]
    #[must_use]
    pub const fn to_outside(&self, address: u128) -> Option<u128> {
        if !self.inside.contains(address) {
            return None;
        }
        exchange(address, self.outside, self.to_outside)
    }

    /// The inside address of an outside one; `None` likewise. RFC 6296 section 3.3.
    #[inline]
    #[must_use]
    pub const fn to_inside(&self, address: u128) -> Option<u128> {
        if !self.outside.contains(address) {
            return None;
        }
        exchange(address, self.inside, self.to_inside)
    }
}

/// Puts a prefix on an address and lets one of its words take up the change.
#[inline]
const fn exchange(address: u128, to: Ipv6Prefix, change: u16) -> Option<u128> {
    // The subnet (bits 48 to 63) of a short prefix; else the words of the interface identifier in their order.
    let (mut shift, last) = if to.len() <= 48 { (64, 64) } else { (48, 0) };
    while (address >> shift) as u16 == 0xffff {
        if shift == last {
            return None;
        }
        shift -= 16;
    }
    let word = (address >> shift) as u16;
    let changed = (word ^ add(word, change)) as u128;
    // In this order: of a short prefix and a long one alike the word is behind the prefix.
    Some((address ^ changed << shift) & !to.mask() | to.first())
}

impl fmt::Display for Nptv6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <-> {}", self.inside, self.outside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::Sum;
    use core::net::Ipv6Addr;
    use proptest::prelude::*;

    fn address(text: &str) -> u128 {
        text.parse::<Ipv6Addr>().unwrap().into()
    }

    fn pair(inside: &str, outside: &str) -> Nptv6 {
        Nptv6::new(inside.parse().unwrap(), outside.parse().unwrap()).unwrap()
    }

    #[test]
    fn the_example_of_the_rfc() {
        // Section 3.6 of RFC 6296.
        let npt = pair("fd01:203:405::/48", "2001:db8:1::/48");
        assert_eq!((npt.to_outside, npt.to_inside), (0xd54f, 0x2ab0));
        let (inside, outside) = (address("fd01:203:405:1::1234"), address("2001:db8:1:d550::1234"));
        assert_eq!(npt.to_outside(inside), Some(outside));
        assert_eq!(npt.to_inside(outside), Some(inside));
        assert_eq!(npt.to_outside(outside), None);
        assert_eq!(npt.to_inside(inside), None);
    }

    #[test]
    fn all_ones_cannot_be_translated() {
        let npt = pair("fd01:203:405::/48", "2001:db8:1::/48");
        assert_eq!(npt.to_outside(address("fd01:203:405:ffff::1")), None);
        assert_eq!(npt.to_inside(address("2001:db8:1:ffff::1")), None);
        // 0x2ab0 + 0xd54f is 0xffff, which is written as 0.
        let zero = address("2001:db8:1::1");
        assert_eq!(npt.to_outside(address("fd01:203:405:2ab0::1")), Some(zero));
        assert_eq!(npt.to_inside(zero), Some(address("fd01:203:405:2ab0::1")));

        let npt = pair("fd01:203:405:1::/64", "2001:db8:1:2::/64");
        assert_eq!(
            npt.to_outside(address("fd01:203:405:1:ffff:ffff:ffff:ffff")),
            None
        );
        assert_eq!(npt.to_inside(address("2001:db8:1:2:ffff:ffff:ffff:ffff")), None);
    }

    #[test]
    fn a_longer_prefix_adjusts_the_first_word_that_is_not_all_ones() {
        let npt = pair("fd01:203:405:1::/64", "2001:db8:1:1::/64");
        for (inside, outside) in [
            ("fd01:203:405:1:1::1234", "2001:db8:1:1:d550::1234"),
            ("fd01:203:405:1:ffff:1:0:1234", "2001:db8:1:1:ffff:d550:0:1234"),
            (
                "fd01:203:405:1:ffff:ffff:ffff:1",
                "2001:db8:1:1:ffff:ffff:ffff:d550",
            ),
            ("fd01:203:405:1::", "2001:db8:1:1:d54f::"),
        ] {
            assert_eq!(
                npt.to_outside(address(inside)),
                Some(address(outside)),
                "{inside}"
            );
            assert_eq!(npt.to_inside(address(outside)), Some(address(inside)), "{inside}");
        }
    }

    #[test]
    fn lengths() {
        let new = |a: &str, b: &str| Nptv6::new(a.parse().unwrap(), b.parse().unwrap());
        assert_eq!(new("fd00::/48", "2001:db8::/56"), Err(NptError::Lengths));
        assert_eq!(new("fd00::/65", "2001:db8::/65"), Err(NptError::Length));
        assert_eq!(new("::/0", "::/0"), Err(NptError::Length));
    }

    proptest! {
        #[test]
        fn there_and_back_without_a_change_of_the_sum(
            len in 1u8..=64, inside: u128, outside: u128, host: u128, ones in 0u32..5,
        ) {
            let inside = Ipv6Prefix::containing(inside, len);
            let outside = Ipv6Prefix::containing(outside, len);
            let npt = Nptv6::new(inside, outside).unwrap();
            // Some words behind the prefix are all ones.
            let host = host | ((1u128 << (16 * ones)) - 1) << (64 - 16 * ones.min(4));
            let from = inside.first() | host & !inside.mask();
            let word = (from >> 64) as u16;
            let fixed = if len <= 48 { word == 0xffff } else { from as u64 == u64::MAX };
            match npt.to_outside(from) {
                None => prop_assert!(fixed),
                Some(to) => {
                    prop_assert!(!fixed && outside.contains(to));
                    prop_assert_eq!(npt.to_inside(to), Some(from));
                    // Both forms of zero are one here: a sum has the pseudo header's other fields in it.
                    prop_assert_eq!(Sum::new().u128(to).u16(6).finish(), Sum::new().u128(from).u16(6).finish());
                }
            }
        }
    }
}
