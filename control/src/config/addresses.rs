//! Addresses of either family as the configuration writes them: prefixes, ranges, single addresses, NAT64 prefixes.
//!
//! What both families share is kept as `u128` with IPv4 under `::ffff:0:0/96`, as in the program.

use std::net::{Ipv4Addr, Ipv6Addr};

use tandem_engine::program::{AddressRange, AddressRange6};
use tandem_wire::Ipv6Prefix;
use tandem_wire::prefix::PrefixError;
use tandem_wire::rfc6052::{Prefix64, Prefix64Error};

use super::fault::{Bad, quoted};
use super::values;

/// The first address that stands for an IPv4 one.
const MAPPED_FIRST: u128 = 0xffff << 32;
/// The last one.
const MAPPED_LAST: u128 = MAPPED_FIRST | u32::MAX as u128;
/// The end of 0000::/16. Nothing in it is routed (RFC 4291 section 2.5: unspecified, loopback, IPv4-mapped).
const RESERVED_LAST: u128 = (1 << 112) - 1;

/// An inclusive range of addresses of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Addresses {
    /// IPv4.
    V4(AddressRange),
    /// IPv6.
    V6(AddressRange6),
}

impl Addresses {
    /// First and last address, IPv4 under `::ffff:0:0/96`. An IPv6 range never has IPv4 addresses in it: 0000::/16, where
    /// these are, is left out.
    #[must_use]
    pub fn neutral(self) -> (u128, u128) {
        match self {
            Self::V4(range) => (neutral(range.first), neutral(range.last)),
            Self::V6(range) if range.first <= RESERVED_LAST => (RESERVED_LAST + 1, range.last),
            Self::V6(range) => (range.first, range.last),
        }
    }

    /// How many addresses it has, less one.
    #[must_use]
    pub fn span(self) -> u128 {
        match self {
            Self::V4(range) => u128::from(range.last - range.first),
            Self::V6(range) => range.last - range.first,
        }
    }
}

/// An IPv4 address as a program has it beside IPv6 ones.
#[must_use]
pub const fn neutral(address: u32) -> u128 {
    MAPPED_FIRST | address as u128
}

impl std::fmt::Display for Addresses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::V4(range) => f.write_str(&values::show_range(*range)),
            Self::V6(range) if range.first == range.last => Ipv6Addr::from(range.first).fmt(f),
            Self::V6(range) => write!(
                f,
                "{}-{}",
                Ipv6Addr::from(range.first),
                Ipv6Addr::from(range.last)
            ),
        }
    }
}

fn is_ipv6(text: &str) -> bool {
    text.contains(':')
}

fn ipv6(text: &str) -> Result<u128, Bad> {
    text.trim().parse::<Ipv6Addr>().map(u128::from).map_err(|_| {
        Bad::new(
            format!("{} is not an IPv6 address", quoted(text)),
            "use one like \"2001:db8::1\"",
        )
    })
}

/// Refuses IPv6 ranges that are IPv4 in disguise, or end among addresses that nobody has.
fn usable6(range: AddressRange6) -> Result<AddressRange6, Bad> {
    let inside = range.first >= MAPPED_FIRST && range.last <= MAPPED_LAST;
    if range.last <= RESERVED_LAST {
        let shown = Addresses::V6(range);
        let remedy = if inside {
            let v4 = AddressRange {
                first: range.first as u32,
                last: range.last as u32,
            };
            format!("write IPv4 addresses as such: \"{}\"", values::show_range(v4))
        } else {
            "use addresses that are routed (RFC 4291 section 2.5)".into()
        };
        return Err(Bad::new(
            format!("{shown} lies in the reserved 0000::/16"),
            remedy,
        ));
    }
    Ok(range)
}

/// An IPv6 prefix without host bits.
pub(super) fn ipv6_prefix(text: &str) -> Result<Ipv6Prefix, Bad> {
    if !text.contains('/') {
        let remedy = match text.parse::<Ipv6Addr>() {
            Ok(_) => format!("use \"{text}/128\" for the address alone"),
            Err(_) => "use a prefix like \"2001:db8::/32\"".into(),
        };
        return Err(Bad::new(format!("{} has no prefix length", quoted(text)), remedy));
    }
    text.parse::<Ipv6Prefix>().map_err(|error| {
        let (address, bits) = text.split_once('/').unwrap_or((text, ""));
        let remedy = match (error, address.parse::<Ipv6Addr>(), bits.parse()) {
            (PrefixError::HostBits, Ok(address), Ok(bits)) => {
                let right = Ipv6Prefix::containing(u128::from(address), bits);
                return Bad::new(
                    format!("{} has host bits set", quoted(text)),
                    format!("use \"{right}\", or \"{address}/128\" for the address alone"),
                );
            }
            (PrefixError::Length, ..) => "use 0..=128 after the slash",
            _ if address.parse::<Ipv4Addr>().is_ok() => "use an IPv6 prefix like \"2001:db8::/32\"",
            _ => "use a prefix like \"2001:db8::/32\"",
        };
        Bad::new(format!("{} is not an IPv6 prefix", quoted(text)), remedy)
    })
}

/// The addresses of an IPv6 prefix.
pub(super) fn range_of(prefix: Ipv6Prefix) -> AddressRange6 {
    AddressRange6 {
        first: prefix.first(),
        last: prefix.last(),
    }
}

/// A NAT64 prefix. RFC 6052 section 2.2.
pub(super) fn nat64_prefix(text: &str) -> Result<Prefix64, Bad> {
    let prefix = ipv6_prefix(text)?;
    if prefix.last() <= RESERVED_LAST {
        let problem = format!("{} lies in the reserved 0000::/16", quoted(text));
        return Err(Bad::new(problem, "use \"64:ff9b::/96\", or a prefix of your own"));
    }
    Prefix64::new(prefix).map_err(|error| match error {
        Prefix64Error::Length => Bad::new(
            format!(
                "{} cannot carry IPv4 addresses (RFC 6052 section 2.2)",
                quoted(text)
            ),
            "use a prefix length of 32, 40, 48, 56, 64 or 96",
        ),
        Prefix64Error::OctetU => Bad::new(
            format!("{} has bits 64 to 71 set (RFC 6052 section 2.2)", quoted(text)),
            "use a prefix whose bits 64 to 71 are zero",
        ),
    })
}

/// A prefix of either family.
pub(super) fn prefix(text: &str) -> Result<Addresses, Bad> {
    if is_ipv6(text) {
        usable6(range_of(ipv6_prefix(text)?)).map(Addresses::V6)
    } else {
        values::ipv4_prefix(text).map(Addresses::V4)
    }
}

/// An inclusive range of either family, `first-last`.
pub(super) fn range(text: &str) -> Result<Addresses, Bad> {
    if !is_ipv6(text) {
        return values::ipv4_range(text).map(Addresses::V4);
    }
    let Some((first, last)) = text.split_once('-') else {
        return Err(Bad::new(
            format!("{} is not a range", quoted(text)),
            "use \"first-last\", like \"2001:db8::10-2001:db8::1f\"",
        ));
    };
    let (first, last) = (ipv6(first)?, ipv6(last)?);
    if first > last {
        let right = Addresses::V6(AddressRange6 {
            first: last,
            last: first,
        });
        return Err(Bad::new(
            format!("{} is inverted", quoted(text)),
            format!("use \"{right}\""),
        ));
    }
    usable6(AddressRange6 { first, last }).map(Addresses::V6)
}

/// An address, a prefix or a range of either family.
pub(super) fn any_form(text: &str) -> Result<Addresses, Bad> {
    if text.contains('/') {
        prefix(text)
    } else if text.contains('-') {
        range(text)
    } else if is_ipv6(text) {
        let address = ipv6(text)?;
        usable6(AddressRange6 {
            first: address,
            last: address,
        })
        .map(Addresses::V6)
    } else {
        let address = values::ipv4(text)?.to_bits();
        Ok(Addresses::V4(AddressRange {
            first: address,
            last: address,
        }))
    }
}

/// Whether a text is meant as addresses and not as a name.
pub(super) fn looks_like_addresses(text: &str) -> bool {
    let address = |text: &str| text.trim().parse::<Ipv4Addr>().is_ok();
    text.contains(['/', ':'])
        || address(text)
        || text
            .split_once('-')
            .is_some_and(|(first, last)| address(first) && address(last))
}

/// Prefixes that a range falls into: what it costs a classifier that knows prefixes only.
pub(super) fn prefixes_in((first, last): (u128, u128)) -> u32 {
    let (mut at, mut count) = (first, 0);
    loop {
        let aligned = at.trailing_zeros();
        let left = last - at;
        // The largest power of two that is not beyond what is left; 128 bits only when everything is.
        let fits = match left.checked_add(1) {
            Some(size) => 127 - size.leading_zeros(),
            None => 128,
        };
        count += 1;
        let bits = aligned.min(fits);
        let next = 1u128.checked_shl(bits).and_then(|size| at.checked_add(size));
        match next {
            Some(next) if next <= last => at = next,
            _ => return count,
        }
    }
}

/// Sorted, with neighbours joined.
pub(super) fn joined(mut ranges: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    ranges.sort_unstable();
    let mut out: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match out.last_mut() {
            Some(last) if range.0 <= last.1.saturating_add(1) => last.1 = last.1.max(range.1),
            _ => out.push(range),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        any_form(text).map_or_else(
            |bad| format!("{}; {}", bad.problem, bad.remedy),
            |a| a.to_string(),
        )
    }

    #[test]
    fn both_families_in_every_form() {
        assert_eq!(shown("10.0.0.0/30"), "10.0.0.0-10.0.0.3");
        assert_eq!(shown("10.0.0.1"), "10.0.0.1");
        assert_eq!(shown("2001:db8::/127"), "2001:db8::-2001:db8::1");
        assert_eq!(shown("2001:db8::5"), "2001:db8::5");
        assert_eq!(shown("2001:db8::1-2001:db8::9"), "2001:db8::1-2001:db8::9");
        for (wrong, remedy) in [
            ("2001:db8::1/64", "use \"2001:db8::/64\""),
            ("2001:db8::/129", "0..=128"),
            ("2001:db8::9-2001:db8::1", "use \"2001:db8::1-2001:db8::9\""),
            ("::ffff:10.0.0.0/104", "\"10.0.0.0-10.255.255.255\""),
            ("::1/128", "are routed"),
            ("1.2.3.4.5", "four numbers"),
            ("2001:db8:::/32", "like \"2001:db8::/32\""),
        ] {
            assert!(shown(wrong).contains(remedy), "{wrong}: {}", shown(wrong));
        }
    }

    #[test]
    fn all_of_ipv6_has_no_ipv4_in_it() {
        let (first, last) = prefix("::/0").unwrap().neutral();
        assert!(first > MAPPED_LAST && last == u128::MAX);
        assert_eq!(prefixes_in((first, last)), 16);
        assert_eq!(
            prefix("0.0.0.0/0").unwrap().neutral(),
            (MAPPED_FIRST, MAPPED_LAST)
        );
    }

    #[test]
    fn ranges_fall_into_prefixes() {
        assert_eq!(prefixes_in((0, u128::MAX)), 1);
        assert_eq!(prefixes_in((5, 5)), 1);
        assert_eq!(prefixes_in((0, 6)), 3);
        assert_eq!(prefixes_in((1, 6)), 4);
        assert_eq!(prefixes_in((1, u128::MAX)), 128);
        assert_eq!(prefixes_in((MAPPED_FIRST, MAPPED_LAST)), 1);
    }

    #[test]
    fn nat64_prefixes_have_one_of_six_lengths() {
        for right in [
            "64:ff9b::/96",
            "2001:db8::/32",
            "2001:db8:1::/48",
            "2001:db8:1:2::/64",
        ] {
            assert!(nat64_prefix(right).is_ok(), "{right}");
        }
        for wrong in ["2001:db8::/33", "2001:db8:0:0:100::/96", "::/96", "10.0.0.0/8"] {
            assert!(nat64_prefix(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_told_from_addresses() {
        for addresses in ["10.0.0.1", "10.0.0.1-10.0.0.2", "::1", "x/8"] {
            assert!(looks_like_addresses(addresses), "{addresses}");
        }
        for name in ["lan", "10.0.0", "site-1", "any"] {
            assert!(!looks_like_addresses(name), "{name}");
        }
    }
}
