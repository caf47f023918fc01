//! An ICMP error put together in a buffer: room for the IP header, the ICMP header, the embedded packet, padding, extensions.
//!
//! ```text
//!   IP header | ICMP 8 | embedded header | L4 as far as it fits | padding | extensions, or nothing
//!             ^ start  ^ start + 8       ^ l4                   ^ l4_end
//! ```

use crate::field::copy;
use crate::icmp;

use super::Kind;
use crate::xlat::XlatError;

/// The embedded packet has at least so many octets when extensions follow, padded with zeros. RFC 4884 section 4.
const QUOTE_MIN: usize = 128;

/// What stands behind the ICMP header, in three parts.
pub(super) struct Quote<'a> {
    /// The embedded packet's IP header, translated.
    pub header: &'a [u8],
    /// Its upper layer, as far as it was quoted.
    pub data: &'a [u8],
    /// RFC 4884 extensions, or nothing.
    pub extensions: &'a [u8],
}

/// An ICMP error in a buffer.
pub(super) struct Message<'a> {
    buffer: &'a mut [u8],
    start: usize,
    l4: usize,
    l4_end: usize,
    end: usize,
    /// Octets of the embedded packet before extensions; `None` when there are none.
    pub length_octets: Option<usize>,
}

impl<'a> Message<'a> {
    /// Writes all but the IP header and the checksum. The buffer is zero and its length the limit; the embedded packet is cut
    /// to fit. With extensions it is padded to a multiple of `align` octets and cut to no less than 128; when that does not
    /// fit, or `align` is `None` because the type knows no length, the extensions are left out.
    pub(super) fn compose(
        buffer: &'a mut [u8],
        start: usize,
        kind: &Kind,
        quote: &Quote<'_>,
        align: Option<usize>,
    ) -> Result<Self, XlatError> {
        let at = start + icmp::HEADER_LEN;
        let room = buffer.len().checked_sub(at).ok_or(XlatError::NoRoom)?;
        let all = quote.header.len() + quote.data.len();
        let with_extensions = match align {
            Some(align) if !quote.extensions.is_empty() => room
                .checked_sub(quote.extensions.len())
                .map(|most| most - most % align)
                .filter(|most| *most >= QUOTE_MIN)
                .map(|most| {
                    (
                        all.min(most),
                        all.next_multiple_of(align).max(QUOTE_MIN).min(most),
                    )
                }),
            _ => None,
        };
        let (quoted, padded) = with_extensions.unwrap_or((all.min(room), all.min(room)));
        let data_len = quoted.checked_sub(quote.header.len()).ok_or(XlatError::NoRoom)?;
        let l4 = at + quote.header.len();
        let data = quote.data.get(..data_len).ok_or(XlatError::NoRoom)?;
        let put = |buffer: &mut [u8], from: usize, octets: &[u8]| {
            copy(buffer.get_mut(from..from + octets.len())?, octets)
        };
        put(buffer, start, &[kind.icmp_type, kind.code]).ok_or(XlatError::NoRoom)?;
        put(buffer, start + 4, &kind.word.to_be_bytes()).ok_or(XlatError::NoRoom)?;
        put(buffer, at, quote.header).ok_or(XlatError::NoRoom)?;
        put(buffer, l4, data).ok_or(XlatError::NoRoom)?;
        let mut end = at + padded;
        if with_extensions.is_some() {
            put(buffer, end, quote.extensions).ok_or(XlatError::NoRoom)?;
            end += quote.extensions.len();
        }
        Ok(Self {
            buffer,
            start,
            l4,
            l4_end: at + quoted,
            end,
            length_octets: with_extensions.map(|_| padded),
        })
    }

    /// Writes the length attribute into an octet of the ICMP header.
    pub(super) fn put_length(&mut self, at: usize, words: usize) -> Result<(), XlatError> {
        let octet = self.buffer.get_mut(self.start + at).ok_or(XlatError::NoRoom)?;
        *octet = u8::try_from(words).map_err(|_| XlatError::NoRoom)?;
        Ok(())
    }

    /// The embedded packet's upper layer, to change.
    pub(super) fn quoted_l4(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.l4..self.l4_end).unwrap_or_default()
    }

    /// The ICMP message.
    pub(super) fn upper(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Octets of the ICMP message.
    pub(super) fn upper_len(&self) -> u16 {
        u16::try_from(self.upper().len()).unwrap_or(u16::MAX)
    }

    /// Writes the checksum and the IP header.
    pub(super) fn finish(&mut self, checksum: u16, header: &[u8]) -> Result<(), XlatError> {
        crate::field::put_u16(self.buffer, self.start + 2, checksum).ok_or(XlatError::NoRoom)?;
        let to = self.buffer.get_mut(..self.start).ok_or(XlatError::NoRoom)?;
        copy(to, header).ok_or(XlatError::NoRoom)
    }

    /// The packet.
    pub(super) fn octets(&self) -> &[u8] {
        self.buffer.get(..self.end).unwrap_or_default()
    }
}
