//! Stateless translation of addresses between IPv4 and IPv6: explicit mappings (RFC 7757), else a prefix (RFC 6052).
//!
//! ```text
//!   IPv4     | prefix   | suffix |
//!   IPv6     | prefix                      | suffix | zeros |
//! ```
//! Mappings may overlap: the longest prefix of the side that is asked decides (RFC 7757 section 3.3), so that the way back may
//! be another. For the lookup each side's prefixes are flattened into sorted intervals once; then it is a binary search.

use core::fmt;

use crate::prefix::{Ipv4Prefix, Ipv6Prefix};
use crate::rfc6052::Prefix64;

/// One explicit address mapping: what follows the one prefix follows the other. The IPv6 side has at least as many bits
/// behind its prefix; what they are longer is zero when we write and ignored when we read. RFC 7757 section 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eam {
    /// IPv4 side.
    pub v4: Ipv4Prefix,
    /// IPv6 side.
    pub v6: Ipv6Prefix,
}

impl Eam {
    /// Bits behind the copied suffix of an IPv6 address; `None` when the suffix does not fit.
    const fn padding(&self) -> Option<u32> {
        let (v4, v6) = (32 - self.v4.len() as u32, 128 - self.v6.len() as u32);
        v6.checked_sub(v4)
    }

    /// The IPv6 address of an IPv4 one of the prefix.
    fn to_v6(self, v4: u32) -> u128 {
        let suffix = u128::from(v4 & !self.v4.mask());
        let shifted = self.padding().and_then(|bits| suffix.checked_shl(bits));
        self.v6.first() | shifted.unwrap_or(0)
    }

    /// The IPv4 address of an IPv6 one of the prefix.
    fn to_v4(self, v6: u128) -> u32 {
        let suffix = v6 & !self.v6.mask();
        let shifted = self.padding().and_then(|bits| suffix.checked_shr(bits));
        self.v4.first() | shifted.unwrap_or(0) as u32
    }
}

/// Why explicit mappings do not make a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SiitError {
    /// The IPv4 prefix has more bits behind it than the IPv6 prefix.
    Suffix(Eam),
    /// Two mappings have this IPv4 prefix.
    DuplicateV4(Ipv4Prefix),
    /// Two mappings have this IPv6 prefix.
    DuplicateV6(Ipv6Prefix),
    /// More than [`EAMS_MAX`].
    TooMany,
}

/// Mappings a table may have.
pub const EAMS_MAX: usize = 1 << 20;

impl fmt::Display for SiitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Suffix(eam) => write!(f, "{} has more bits behind it than {}", eam.v4, eam.v6),
            Self::DuplicateV4(prefix) => write!(f, "{prefix} is mapped twice"),
            Self::DuplicateV6(prefix) => write!(f, "{prefix} is mapped twice"),
            Self::TooMany => write!(f, "more than {EAMS_MAX} mappings"),
        }
    }
}

impl core::error::Error for SiitError {}

/// No mapping.
const NONE: u32 = u32::MAX;

/// From `first` to where the next interval starts, mapping number `eam` is the longest match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Interval<A> {
    first: A,
    eam: u32,
}

/// A stateless translator's addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Siit {
    eams: Vec<Eam>,
    prefix: Option<Prefix64>,
    v4: Vec<Interval<u32>>,
    v6: Vec<Interval<u128>>,
}

impl Siit {
    /// Of explicit mappings, which go first, and a prefix for all other addresses.
    ///
    /// # Errors
    /// [`SiitError`].
    pub fn new(eams: Vec<Eam>, prefix: Option<Prefix64>) -> Result<Self, SiitError> {
        if eams.len() > EAMS_MAX {
            return Err(SiitError::TooMany);
        }
        if let Some(eam) = eams.iter().find(|eam| eam.padding().is_none()) {
            return Err(SiitError::Suffix(*eam));
        }
        let mut v4: Vec<_> = eams.iter().map(|eam| eam.v4).collect();
        v4.sort_unstable();
        if let Some(twice) = v4.windows(2).find(|w| w[0] == w[1]) {
            return Err(SiitError::DuplicateV4(twice[0]));
        }
        let mut v6: Vec<_> = eams.iter().map(|eam| eam.v6).collect();
        v6.sort_unstable();
        if let Some(twice) = v6.windows(2).find(|w| w[0] == w[1]) {
            return Err(SiitError::DuplicateV6(twice[0]));
        }
        let wide = |eam: &Eam| (u128::from(eam.v4.first()), u128::from(eam.v4.last()));
        let v4 = flatten(eams.iter().map(wide))
            .into_iter()
            // Behind the last address there is none.
            .filter_map(|i| {
                let first = u32::try_from(i.first).ok()?;
                Some(Interval { first, eam: i.eam })
            })
            .collect();
        let v6 = flatten(eams.iter().map(|eam| (eam.v6.first(), eam.v6.last())));
        Ok(Self { eams, prefix, v4, v6 })
    }

    /// The explicit mappings, in the order they were given.
    pub fn eams(&self) -> impl ExactSizeIterator<Item = &Eam> {
        self.eams.iter()
    }

    /// The prefix for all other addresses.
    #[must_use]
    pub const fn prefix(&self) -> Option<Prefix64> {
        self.prefix
    }

    /// The mapping an interval table has for an address.
    #[inline]
    fn find<A: Copy + Ord>(&self, intervals: &[Interval<A>], address: A) -> Option<Eam> {
        let behind = intervals.partition_point(|i| i.first <= address);
        let interval = intervals.get(behind.checked_sub(1)?)?;
        self.eams.get(interval.eam as usize).copied()
    }

    /// The IPv6 address of an IPv4 one. `None`: it cannot be translated.
    #[inline]
    #[must_use]
    pub fn to_v6(&self, v4: u32) -> Option<u128> {
        match self.find(&self.v4, v4) {
            Some(eam) => Some(eam.to_v6(v4)),
            None => self.prefix.map(|prefix| prefix.embed(v4)),
        }
    }

    /// Whether an explicit mapping has an IPv4 address: then it stands for an IPv6 host, whatever the prefix says.
    #[inline]
    #[must_use]
    pub fn maps_v4(&self, v4: u32) -> bool {
        self.find(&self.v4, v4).is_some()
    }

    /// The IPv4 address of an IPv6 one. `None`: it cannot be translated.
    #[inline]
    #[must_use]
    pub fn to_v4(&self, v6: u128) -> Option<u32> {
        match self.find(&self.v6, v6) {
            Some(eam) => Some(eam.to_v4(v6)),
            None => self.prefix.and_then(|prefix| prefix.extract(v6)),
        }
    }
}

/// Nested ranges, each (first, last), as the sorted intervals in which one of them is the narrowest.
fn flatten(ranges: impl Iterator<Item = (u128, u128)>) -> Vec<Interval<u128>> {
    let mut sorted: Vec<_> = ranges.zip(0u32..).collect();
    // Of those that start together the widest first: the narrower lie in it.
    sorted.sort_unstable_by_key(|((first, last), _)| (*first, !*last));
    let mut intervals: Vec<Interval<u128>> = Vec::new();
    let mut open: Vec<(u128, u32)> = Vec::new();
    for ((first, last), eam) in sorted {
        while let Some(&(end, _)) = open.last()
            && end < first
        {
            close(&mut intervals, &mut open);
        }
        begin(&mut intervals, first, eam);
        open.push((last, eam));
    }
    while !open.is_empty() {
        close(&mut intervals, &mut open);
    }
    intervals
}

/// The innermost open range ends: behind it the one around it counts again.
fn close(intervals: &mut Vec<Interval<u128>>, open: &mut Vec<(u128, u32)>) {
    if let Some((end, _)) = open.pop()
        && let Some(next) = end.checked_add(1)
    {
        begin(intervals, next, open.last().map_or(NONE, |(_, eam)| *eam));
    }
}

/// From `first` on `eam` counts.
fn begin(intervals: &mut Vec<Interval<u128>>, first: u128, eam: u32) {
    if let Some(last) = intervals.last_mut()
        && last.first == first
    {
        last.eam = eam;
        return;
    }
    intervals.push(Interval { first, eam });
}

#[cfg(test)]
mod tests;
