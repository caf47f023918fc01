//! IPv4 options (RFC 791, 3.1): the bounded walk, what fragments copy, and the search for source routes.

use crate::error::ParseError;

/// Option number of "end of option list".
pub const OPT_END: u8 = 0;
/// Option number of "no operation".
pub const OPT_NOP: u8 = 1;
/// Option number of "loose source and record route".
pub const OPT_LSRR: u8 = 131;
/// Option number of "strict source and record route".
pub const OPT_SSRR: u8 = 137;

/// Whether an option is copied into every fragment (RFC 791, 3.1: the copied flag).
#[inline(always)]
#[must_use]
pub const fn option_is_copied(kind: u8) -> bool {
    kind & 0x80 != 0
}

/// Walks the options: yields (option number, the option with its number and length octets).
///
/// It ends at "end of option list", at the end of the slice, or behind a malformed option, which it yields as
/// [`ParseError::Ipv4BadOption`]. At most 40 steps for a checked header.
#[derive(Debug, Clone)]
pub struct Options<'a>(&'a [u8]);

impl<'a> Options<'a> {
    /// A walk over the options of a header, as [`super::Ipv4::options`] gives them.
    #[inline(always)]
    #[must_use]
    pub const fn new(options: &'a [u8]) -> Self {
        Self(options)
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<(u8, &'a [u8]), ParseError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let kind = *self.0.first()?;
        let len = match kind {
            OPT_END => {
                self.0 = &[];
                return None;
            }
            OPT_NOP => 1,
            _ => self.0.get(1).copied().map_or(0, usize::from),
        };
        if kind != OPT_NOP && len < 2 || len > self.0.len() {
            self.0 = &[];
            return Some(Err(ParseError::Ipv4BadOption));
        }
        let (option, rest) = self.0.split_at(len);
        self.0 = rest;
        Some(Ok((kind, option)))
    }
}

/// Whether the options hold a source route (loose or strict) that has not reached its end: the pointer is not
/// beyond the length (RFC 791, 3.1; RFC 7915, 4.1 wants such packets refused).
///
/// # Errors
/// [`ParseError::Ipv4BadOption`] when an option is malformed before one is found.
#[inline]
pub fn has_unexpired_source_route(options: &[u8]) -> Result<bool, ParseError> {
    for option in Options::new(options) {
        let (kind, bytes) = option?;
        if matches!(kind, OPT_LSRR | OPT_SSRR) {
            let pointer = bytes.get(2).copied().ok_or(ParseError::Ipv4BadOption)?;
            if usize::from(pointer) <= bytes.len() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_walk() {
        // nop, lsrr with pointer 4 of length 7, end.
        let live = [OPT_NOP, OPT_LSRR, 7, 4, 10, 0, 0, 1, OPT_END, 99, 99, 99];
        let kinds: Vec<_> = Options::new(&live).map(|o| o.unwrap().0).collect();
        assert_eq!(kinds, [OPT_NOP, OPT_LSRR]);
        assert_eq!(has_unexpired_source_route(&live), Ok(true));
        let mut spent = live;
        spent[3] = 8;
        assert_eq!(has_unexpired_source_route(&spent), Ok(false));
        spent[1] = OPT_SSRR;
        spent[3] = 7;
        assert_eq!(has_unexpired_source_route(&spent), Ok(true));
        for bad in [&[7u8, 0][..], &[7, 1], &[7], &[7, 3], &[OPT_LSRR, 2]] {
            assert_eq!(
                has_unexpired_source_route(bad),
                Err(ParseError::Ipv4BadOption),
                "{bad:?}"
            );
        }
        assert!(option_is_copied(OPT_LSRR) && !option_is_copied(7));
    }
}
