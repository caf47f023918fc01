//! IPv4 fragmentation (RFC 791, 3.2) into buffers of the caller; in `fragmenter6` the same for IPv6, and in `coverage` the
//! checks of reassembly.
//!
//! ```text
//!  packet:  [header + options][ payload ........................................ ]
//!  pieces:  [header + options][ 0..a ]  [header + copied options][ a..b ]  ...  MF on all but the last
//! ```
//! Every piece but the last carries a multiple of 8 octets. A packet that is a fragment itself can be split again:
//! offsets go on from its own, and its MF stays on the last piece.

mod coverage;
mod fragmenter6;

pub use coverage::{Coverage, Progress, ReassemblyError};
pub use fragmenter6::{Fragmenter6, MTU_MIN6};

use crate::error::ParseError;
use crate::field::copy;
use crate::ipv4::{self, Ipv4, Ipv4Mut};

/// Octets of the smallest MTU an IPv4 link may have (RFC 791).
pub const MTU_MIN: u16 = 68;

/// Why a packet cannot be fragmented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FragmentError {
    /// DF is set: answer with ICMP 3/4.
    DontFragment,
    /// The MTU is below [`MTU_MIN`], or over IPv6 [`MTU_MIN6`].
    MtuTooSmall,
    /// The first fragment cannot hold all headers of an IPv6 packet (RFC 7112).
    HeadersTooLong,
    /// The packet does not parse.
    Malformed(ParseError),
}

impl core::fmt::Display for FragmentError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::DontFragment => f.write_str("the packet must not be fragmented"),
            Self::MtuTooSmall => {
                write!(f, "the MTU is below {MTU_MIN} octets, or {MTU_MIN6} over IPv6")
            }
            Self::HeadersTooLong => f.write_str("the first fragment cannot hold all headers"),
            Self::Malformed(why) => write!(f, "the packet is malformed: {why}"),
        }
    }
}

impl core::error::Error for FragmentError {}

/// One fragment to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The part of the packet's payload it carries, as offsets from the start of the packet.
    pub range: core::ops::Range<usize>,
    /// Its fragment offset in octets, a multiple of 8.
    pub offset: u16,
    /// Whether MF is set.
    pub more: bool,
    /// Whether it gets the whole header with all options; the others get the copied ones.
    pub first: bool,
}

/// Splits a packet: yields the pieces; [`Fragmenter::write`] writes one.
#[derive(Debug, Clone)]
pub struct Fragmenter<'a> {
    ip: Ipv4<'a>,
    mtu: usize,
    /// Options of the pieces behind the first, padded to a multiple of 4.
    copied: [u8; 40],
    copied_len: usize,
    /// Where the next piece starts in the packet; `None` when all were given.
    next: Option<usize>,
}

impl<'a> Fragmenter<'a> {
    /// Prepares to split `l3` for a link with this MTU. A packet that fits comes as one piece.
    ///
    /// # Errors
    /// Malformed packets (options included), DF (only when the packet does not fit), an MTU below [`MTU_MIN`].
    pub fn new(l3: &'a [u8], mtu: u16) -> Result<Self, FragmentError> {
        let ip = Ipv4::new_checked(l3).map_err(FragmentError::Malformed)?;
        if mtu < MTU_MIN {
            return Err(FragmentError::MtuTooSmall);
        }
        if ip.dont_fragment() && ip.total_len() > mtu {
            return Err(FragmentError::DontFragment);
        }
        if u32::from(ip.fragment_offset()) + u32::from(ip.total_len()) > 65535 {
            return Err(FragmentError::Malformed(ParseError::Ipv4BadFragment));
        }
        let mut copied = [ipv4::OPT_END; 40];
        let mut copied_len = 0;
        for option in ipv4::Options::new(ip.options()) {
            let (kind, bytes) = option.map_err(FragmentError::Malformed)?;
            if ipv4::option_is_copied(kind)
                && let Some(to) = copied.get_mut(copied_len..copied_len + bytes.len())
            {
                to.copy_from_slice(bytes);
                copied_len += bytes.len();
            }
        }
        let copied_len = copied_len.next_multiple_of(4);
        Ok(Self {
            ip,
            mtu: usize::from(mtu),
            copied,
            copied_len,
            next: Some(ip.header_len()),
        })
    }

    /// Octets a piece takes when written.
    #[must_use]
    pub fn piece_len(&self, piece: &Piece) -> usize {
        self.header_len(piece.first) + piece.range.len()
    }

    fn header_len(&self, first: bool) -> usize {
        if first {
            self.ip.header_len()
        } else {
            ipv4::HEADER_LEN + self.copied_len
        }
    }

    /// Writes a piece, with its header and checksum, and returns its length; `None` when `out` is too short or the
    /// piece is none of this packet.
    #[must_use]
    pub fn write(&self, piece: &Piece, out: &mut [u8]) -> Option<usize> {
        let header_len = self.header_len(piece.first);
        let len = header_len + piece.range.len();
        let data = self.ip.packet().get(piece.range.clone())?;
        let out = out.get_mut(..len)?;
        let total_len = u16::try_from(len).ok()?;
        copy(out.get_mut(header_len..)?, data)?;
        if piece.first {
            copy(out.get_mut(..header_len)?, self.ip.header())?;
        } else {
            copy(
                out.get_mut(..ipv4::HEADER_LEN)?,
                self.ip.header().get(..ipv4::HEADER_LEN)?,
            )?;
            let options = self.copied.get(..self.copied_len)?;
            copy(out.get_mut(ipv4::HEADER_LEN..header_len)?, options)?;
            *out.first_mut()? = 0x40 | (header_len / 4) as u8;
        }
        copy(out.get_mut(2..4)?, &total_len.to_be_bytes())?;
        let mut ip = Ipv4Mut::new_checked(out).ok()?;
        ip.set_fragment(self.ip.dont_fragment(), piece.more, piece.offset);
        ip.fill_checksum();
        Some(len)
    }
}

impl Iterator for Fragmenter<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let at = self.next?;
        let start = self.ip.header_len();
        let first = at == start;
        let left = self.ip.packet().len().saturating_sub(at);
        // At least 8: the MTU is 68 or more and a header 60 or less.
        let room = self.mtu.saturating_sub(self.header_len(first));
        let take = if left <= room { left } else { room & !7 };
        self.next = (take < left && take > 0).then_some(at + take);
        Some(Piece {
            range: at..at + take,
            // Checked in `new`: offset and length together stay within 65535.
            offset: self.ip.fragment_offset() + (at - start) as u16,
            more: take < left || self.ip.more_fragments(),
            first,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::{PacketBuilder, Payload};
    use proptest::prelude::*;

    fn packet(options: &[u8], data: &[u8], more: bool, offset: u16) -> Vec<u8> {
        let builder = PacketBuilder::new(0x0a00_0001, 0x0a00_0002, Payload::Raw { proto: ipv4::UDP });
        let builder = builder
            .ip_options(options)
            .data(data)
            .id(4711)
            .fragment(more, offset);
        let mut buf = vec![0; builder.len()];
        assert_eq!(builder.write(&mut buf), Some(buf.len()));
        buf
    }

    fn split(l3: &[u8], mtu: u16) -> Vec<Vec<u8>> {
        let fragmenter = Fragmenter::new(l3, mtu).unwrap();
        let pieces: Vec<_> = fragmenter.clone().collect();
        pieces
            .iter()
            .map(|piece| {
                let mut out = vec![0xee; fragmenter.piece_len(piece)];
                assert_eq!(fragmenter.write(piece, &mut out), Some(out.len()));
                assert!(fragmenter.write(piece, &mut vec![0; out.len() - 1]).is_none());
                out
            })
            .collect()
    }

    #[test]
    fn three_pieces() {
        let l3 = packet(&[], &[5; 3000], false, 0);
        let pieces = split(&l3, 1500);
        let seen: Vec<_> = pieces
            .iter()
            .map(|p| {
                let ip = Ipv4::new_checked(p).unwrap();
                (ip.total_len(), ip.fragment_offset(), ip.more_fragments())
            })
            .collect();
        assert_eq!(seen, [(1500, 0, true), (1500, 1480, true), (60, 2960, false)]);
    }

    #[test]
    fn only_copied_options_are_copied() {
        // Record route (7, not copied), then LSRR (131, copied), nop and end.
        let options = [7, 7, 4, 0, 0, 0, 0, 131, 7, 8, 10, 0, 0, 1, 1, 0];
        let pieces = split(&packet(&options, &[1; 200], false, 0), 100);
        assert_eq!(Ipv4::new_checked(&pieces[0]).unwrap().options(), options);
        for piece in &pieces[1..] {
            let ip = Ipv4::new_checked(piece).unwrap();
            assert_eq!(ip.options(), [131, 7, 8, 10, 0, 0, 1, 0]);
            assert!(ip.verify_checksum());
        }
    }

    #[test]
    fn refusals() {
        let mut l3 = packet(&[], &[0; 100], false, 0);
        assert_eq!(
            Fragmenter::new(&l3, 67).map(|_| ()),
            Err(FragmentError::MtuTooSmall)
        );
        l3[6] = 0x40;
        assert_eq!(
            Fragmenter::new(&l3, 119).map(|_| ()),
            Err(FragmentError::DontFragment)
        );
        assert_eq!(split(&l3, 120).len(), 1);
        let bad = packet(&[9, 9, 0, 0], &[0; 100], false, 0);
        assert_eq!(
            Fragmenter::new(&bad, 100).map(|_| ()),
            Err(FragmentError::Malformed(ParseError::Ipv4BadOption))
        );
        assert_eq!(
            Fragmenter::new(&packet(&[], &[0; 100], false, 65528), 100).map(|_| ()),
            Err(FragmentError::Malformed(ParseError::Ipv4BadFragment))
        );
        assert_eq!(split(&packet(&[], &[], false, 0), 68).len(), 1, "a header alone");
    }

    proptest! {
        #[test]
        fn pieces_make_the_packet(
            len in 0usize..5000, mtu in 68u16..1600, more in any::<bool>(), base in 0u16..1000,
            words in 0usize..=10, order in any::<u64>(), again in 68u16..1600,
        ) {
            let len = if more { (len & !7).max(8) } else { len.max(1) };
            let data: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut options = vec![ipv4::OPT_NOP; words * 4];
            if words >= 3 {
                options[..8].copy_from_slice(&[131, 7, 4, 1, 2, 3, 4, 1]);
            }
            let l3 = packet(&options, &data, more, base * 8);
            // Split once, and what came out once more.
            let pieces: Vec<_> = split(&l3, mtu).iter().flat_map(|p| split(p, again)).collect();
            let mut rebuilt = vec![0u8; len];
            let mut coverage = Coverage::<256>::new();
            let mut shuffled: Vec<_> = pieces.iter().enumerate().collect();
            shuffled.sort_by_key(|(i, _)| (*i as u64 + 1).wrapping_mul(order | 1));
            let mut complete = None;
            for (_, piece) in shuffled {
                let ip = Ipv4::new_checked(piece).unwrap();
                prop_assert!(ip.total_len() <= mtu && ip.total_len() <= again && ip.verify_checksum());
                prop_assert_eq!(ip.id(), 4711);
                let at = usize::from(ip.fragment_offset() - base * 8);
                rebuilt[at..at + ip.payload().len()].copy_from_slice(ip.payload());
                let progress = coverage.insert(at as u16, ip.payload().len() as u16, ip.more_fragments());
                if let Ok(Progress::Complete(all)) = progress {
                    complete = Some(all);
                }
                prop_assert!(progress.is_ok());
            }
            prop_assert_eq!(rebuilt, data);
            prop_assert_eq!(complete, if more { None } else { Some(len as u16) });
        }
    }
}
