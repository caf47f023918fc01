//! IPv6 fragmentation (RFC 8200, 4.5) into buffers of the caller.
//!
//! ```text
//!  packet:  [fixed | per-hop headers][ other extension headers, upper layer ...................... ]
//!  pieces:  [fixed | per-hop headers | fragment header][ 0..a ]   [ same | fragment header][ a..b ]  ...
//! ```
//! Routers do not fragment IPv6; translators do, which must carry IPv4 packets without DF (RFC 7915, 4). A packet that is
//! a fragment itself can be split again: offsets go on from its own, its M flag stays on the last piece, and so does its
//! identification, which its siblings have too.

use super::{FragmentError, Piece};
use crate::error::ParseError;
use crate::field::copy;
use crate::ipv6::{self, Ipv6};
use crate::{icmp6, ipv4, tcp, udp};

/// Octets of the smallest MTU an IPv6 link may have (RFC 8200, 5).
pub const MTU_MIN6: u16 = 1280;

/// Splits an IPv6 packet: yields the pieces; [`Fragmenter6::write`] writes one.
#[derive(Debug, Clone)]
pub struct Fragmenter6<'a> {
    /// Without trailing padding.
    packet: &'a [u8],
    mtu: usize,
    /// Octets of the headers that every piece has, without the fragment header.
    per_hop: usize,
    /// Where in the packet the payload of the pieces starts.
    data_at: usize,
    /// Which of the per-hop octets names the fragment header, and the header it named before; `None` when the packet has a
    /// fragment header, which stays, or fits and needs none.
    insert: Option<(usize, u8)>,
    id: u32,
    offset: u16,
    more: bool,
    /// Where the next piece starts in the packet; `None` when all were given.
    next: Option<usize>,
}

impl<'a> Fragmenter6<'a> {
    /// Prepares to split `l3` for a link with this MTU. A packet that fits comes as one piece, as it is. `id` is the
    /// identification for a packet without a fragment header; one that has a fragment header keeps its own.
    ///
    /// # Errors
    /// Malformed packets (the chain of headers and the lengths of a fragment included), an MTU below [`MTU_MIN6`], and
    /// headers too long for the first piece, which must hold them all (RFC 7112).
    pub fn new(l3: &'a [u8], mtu: u16, id: u32) -> Result<Self, FragmentError> {
        let ip = Ipv6::new_checked(l3).map_err(FragmentError::Malformed)?;
        let upper = ip.upper().map_err(FragmentError::Malformed)?;
        let packet = ip.packet();
        ipv6::check_fragment(packet.len(), &upper).map_err(FragmentError::Malformed)?;
        if mtu < MTU_MIN6 {
            return Err(FragmentError::MtuTooSmall);
        }
        let mtu = usize::from(mtu);
        let fits = packet.len() <= mtu;
        let (per_hop, data_at, insert) = match upper.fragment {
            Some(info) => {
                let at = usize::from(info.header_offset);
                (at, at + ipv6::FRAGMENT_LEN, None)
            }
            None => {
                let (end, named_at) = per_hop_headers(packet, ip.next_header());
                let named = *packet
                    .get(named_at)
                    .ok_or(FragmentError::Malformed(ParseError::Ipv6BadExtension))?;
                (end, end, (!fits).then_some((named_at, named)))
            }
        };
        let offset = upper.fragment.map_or(0, |f| f.offset);
        if !fits {
            let room = mtu.saturating_sub(per_hop + ipv6::FRAGMENT_LEN) & !7;
            // The chain ends with the upper layer's header, which a later fragment does not have.
            let chain_end = if offset == 0 {
                usize::from(upper.offset) + upper_header_len(packet, upper.proto, upper.offset)
            } else {
                data_at
            };
            if room < 8 || chain_end.saturating_sub(data_at) > room {
                return Err(FragmentError::HeadersTooLong);
            }
        }
        Ok(Self {
            packet,
            mtu,
            per_hop,
            data_at,
            insert,
            id: upper.fragment.map_or(id, |f| f.id),
            offset,
            more: upper.fragment.is_some_and(|f| f.more),
            next: Some(data_at),
        })
    }

    /// Octets a piece takes when written.
    #[must_use]
    pub fn piece_len(&self, piece: &Piece) -> usize {
        self.header_len() + piece.range.len()
    }

    /// Octets before the payload of each piece.
    fn header_len(&self) -> usize {
        self.data_at + self.insert.map_or(0, |_| ipv6::FRAGMENT_LEN)
    }

    /// Writes a piece and returns its length; `None` when `out` is too short or the piece is none of this packet.
    #[must_use]
    pub fn write(&self, piece: &Piece, out: &mut [u8]) -> Option<usize> {
        let header_len = self.header_len();
        let len = header_len + piece.range.len();
        let data = self.packet.get(piece.range.clone())?;
        let out = out.get_mut(..len)?;
        copy(out.get_mut(header_len..)?, data)?;
        copy(out.get_mut(..self.data_at)?, self.packet.get(..self.data_at)?)?;
        if len == self.packet.len() && self.insert.is_none() {
            // The whole of a packet that fits: reserved bits stay, too.
            return Some(len);
        }
        let payload_len = u16::try_from(len.checked_sub(ipv6::HEADER_LEN)?).ok()?;
        copy(out.get_mut(4..6)?, &payload_len.to_be_bytes())?;
        if let Some((named_at, _)) = self.insert {
            *out.get_mut(named_at)? = ipv6::FRAGMENT;
        }
        if header_len > self.per_hop {
            let head = out
                .get_mut(self.per_hop..)?
                .first_chunk_mut::<{ ipv6::FRAGMENT_LEN }>()?;
            if let Some((_, named)) = self.insert {
                [head[0], head[1]] = [named, 0];
            }
            let word = piece.offset & 0xfff8 | u16::from(piece.more);
            [head[2], head[3]] = word.to_be_bytes();
            [head[4], head[5], head[6], head[7]] = self.id.to_be_bytes();
        }
        Some(len)
    }
}

impl Iterator for Fragmenter6<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let at = self.next?;
        let left = self.packet.len().saturating_sub(at);
        // At least 8 when the packet does not fit: seen in `new`.
        let room = self.mtu.saturating_sub(self.header_len());
        let take = if left <= room { left } else { room & !7 };
        self.next = (take < left && take > 0).then_some(at + take);
        Some(Piece {
            range: at..at + take,
            // Checked in `new`: offset and length together stay within 65535.
            offset: self.offset.saturating_add(at.saturating_sub(self.data_at) as u16),
            more: take < left || self.more,
            first: at == self.data_at,
        })
    }
}

/// Where the headers end that every hop or every router on the way looks at (hop-by-hop, routing, and destination options
/// before a routing header), and where the octet is that names the header behind them. The chain was walked before.
fn per_hop_headers(packet: &[u8], next: u8) -> (usize, usize) {
    let (mut end, mut named_at) = (ipv6::HEADER_LEN, 6);
    let (mut at, mut number) = (ipv6::HEADER_LEN, next);
    for _ in 0..ipv6::EXTENSIONS_MAX {
        if !matches!(number, ipv6::HOP_BY_HOP | ipv6::ROUTING | ipv6::DESTINATION) {
            break;
        }
        let Some(&[named, len]) = packet.get(at..).and_then(|b| b.first_chunk::<2>()) else {
            break;
        };
        let behind = at + (usize::from(len) + 1) * 8;
        if number != ipv6::DESTINATION {
            (end, named_at) = (behind, at);
        }
        (at, number) = (behind, named);
    }
    (end, named_at)
}

/// Octets of the upper layer's header that a first fragment must hold.
fn upper_header_len(packet: &[u8], proto: u8, at: u16) -> usize {
    match proto {
        ipv4::TCP => packet
            .get(usize::from(at) + 12)
            .map_or(tcp::HEADER_LEN, |b| usize::from(b >> 4) * 4),
        ipv4::UDP => udp::HEADER_LEN,
        ipv4::ICMPV6 => icmp6::HEADER_LEN,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
