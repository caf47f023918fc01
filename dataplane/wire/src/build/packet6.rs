//! An IPv6 packet from parts, with right lengths and checksums.
//!
//! ```text
//!  ethernet? | fixed 40 | extensions? | fragment? | inner extensions? | L4 header | data
//! ```

use super::payload::{Addresses, Payload};
use crate::ethernet::{self, Mac, Tag};
use crate::field::copy;
use crate::ipv6::{self, Ipv6Mut};
use crate::{icmp6, ipv4};

/// Octets of an extension header before its body: next header and length.
const EXTENSION_HEAD: usize = 2;

/// Describes a packet; [`PacketBuilder6::write`] writes it. Defaults: hop limit 64, traffic class and flow label 0, no
/// extension headers, no data, no Ethernet header.
///
/// ```
/// use tandem_wire::build::PacketBuilder6;
/// let mut buf = [0u8; 128];
/// let len = PacketBuilder6::udp(1, 1000, 2, 53).data(b"query").write(&mut buf).unwrap();
/// assert!(tandem_wire::parse_ipv6(&buf[..len]).is_ok());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct PacketBuilder6<'a> {
    src: u128,
    dst: u128,
    payload: Payload<'a>,
    data: &'a [u8],
    extensions: &'a [(u8, &'a [u8])],
    inner_extensions: &'a [(u8, &'a [u8])],
    /// Of the fragment header: offset and M flag as one word, and the identification.
    fragment: Option<(u16, u32)>,
    ethernet: Option<(Mac, Mac)>,
    tags: &'a [Tag],
    hop_limit: u8,
    traffic_class: u8,
    flow_label: u32,
}

impl<'a> PacketBuilder6<'a> {
    /// A packet with any payload; [`Payload::Icmp`] is an ICMPv6 message.
    #[must_use]
    pub const fn new(src: u128, dst: u128, payload: Payload<'a>) -> Self {
        Self {
            src,
            dst,
            payload,
            data: &[],
            extensions: &[],
            inner_extensions: &[],
            fragment: None,
            ethernet: None,
            tags: &[],
            hop_limit: 64,
            traffic_class: 0,
            flow_label: 0,
        }
    }

    /// A UDP datagram with checksum.
    #[must_use]
    pub const fn udp(src: u128, sport: u16, dst: u128, dport: u16) -> Self {
        Self::new(
            src,
            dst,
            Payload::Udp {
                sport,
                dport,
                checksum: true,
            },
        )
    }

    /// A TCP segment with these flags, sequence numbers 0, window 65535.
    #[must_use]
    pub const fn tcp(src: u128, sport: u16, dst: u128, dport: u16, flags: u8) -> Self {
        Self::new(
            src,
            dst,
            Payload::Tcp {
                sport,
                dport,
                seq: 0,
                ack: 0,
                flags,
                window: 65535,
                options: &[],
            },
        )
    }

    /// An ICMPv6 echo request.
    #[must_use]
    pub const fn echo(src: u128, dst: u128, id: u16, seq: u16) -> Self {
        Self::icmp(src, dst, icmp6::ECHO, 0, (id as u32) << 16 | seq as u32)
    }

    /// An ICMPv6 echo reply.
    #[must_use]
    pub const fn echo_reply(src: u128, dst: u128, id: u16, seq: u16) -> Self {
        Self::icmp(src, dst, icmp6::ECHO_REPLY, 0, (id as u32) << 16 | seq as u32)
    }

    /// Any ICMPv6 message; of an error, [`PacketBuilder6::data`] is the embedded packet.
    #[must_use]
    pub const fn icmp(src: u128, dst: u128, icmp_type: u8, code: u8, word: u32) -> Self {
        Self::new(
            src,
            dst,
            Payload::Icmp {
                icmp_type,
                code,
                word,
            },
        )
    }

    /// Sets the data behind the L4 header.
    #[must_use]
    pub const fn data(mut self, data: &'a [u8]) -> Self {
        self.data = data;
        self
    }

    /// Sets extension headers before the fragment header, in order: the number of each and what follows its first two
    /// octets, which are filled in. A body has 6 octets more than a multiple of 8, at most 2046.
    #[must_use]
    pub const fn extensions(mut self, extensions: &'a [(u8, &'a [u8])]) -> Self {
        self.extensions = extensions;
        self
    }

    /// Sets extension headers behind the fragment header, as [`PacketBuilder6::extensions`].
    #[must_use]
    pub const fn inner_extensions(mut self, extensions: &'a [(u8, &'a [u8])]) -> Self {
        self.inner_extensions = extensions;
        self
    }

    /// Adds a fragment header: M flag, offset in octets (a multiple of 8), identification. `(false, 0, id)` is an atomic
    /// fragment (RFC 6946).
    #[must_use]
    pub const fn fragment(mut self, more_fragments: bool, offset: u16, id: u32) -> Self {
        self.fragment = Some((offset & 0xfff8 | more_fragments as u16, id));
        self
    }

    /// Puts an Ethernet header in front.
    #[must_use]
    pub const fn ethernet(mut self, dst: Mac, src: Mac) -> Self {
        self.ethernet = Some((dst, src));
        self
    }

    /// Sets VLAN tags, outer first. They need [`PacketBuilder6::ethernet`].
    #[must_use]
    pub const fn tags(mut self, tags: &'a [Tag]) -> Self {
        self.tags = tags;
        self
    }

    /// Sets the hop limit.
    #[must_use]
    pub const fn hop_limit(mut self, hop_limit: u8) -> Self {
        self.hop_limit = hop_limit;
        self
    }

    /// Sets the traffic class.
    #[must_use]
    pub const fn traffic_class(mut self, traffic_class: u8) -> Self {
        self.traffic_class = traffic_class;
        self
    }

    /// Sets the flow label, 20 bits.
    #[must_use]
    pub const fn flow_label(mut self, flow_label: u32) -> Self {
        self.flow_label = flow_label;
        self
    }

    /// Sequence and acknowledgment numbers; only a TCP segment has them.
    #[must_use]
    pub const fn seq_ack(mut self, new_seq: u32, new_ack: u32) -> Self {
        if let Payload::Tcp { seq, ack, .. } = &mut self.payload {
            *seq = new_seq;
            *ack = new_ack;
        }
        self
    }

    /// TCP options: a multiple of 4 octets, at most 40; only a TCP segment has them.
    #[must_use]
    pub const fn tcp_options(mut self, new_options: &'a [u8]) -> Self {
        if let Payload::Tcp { options, .. } = &mut self.payload {
            *options = new_options;
        }
        self
    }

    /// Octets `write` needs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ether_len() + ipv6::HEADER_LEN + self.payload_len()
    }

    /// A packet is never empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    fn ether_len(&self) -> usize {
        self.ethernet
            .map_or(0, |_| ethernet::HEADER_LEN + self.tags.len() * ethernet::TAG_LEN)
    }

    /// Octets behind the fixed header.
    fn payload_len(&self) -> usize {
        let extensions = self.extensions.iter().chain(self.inner_extensions);
        extensions
            .map(|(_, body)| EXTENSION_HEAD + body.len())
            .sum::<usize>()
            + self.fragment.map_or(0, |_| ipv6::FRAGMENT_LEN)
            + self.payload.header_len()
            + self.data.len()
    }

    /// Writes the packet and returns its length. `None` when `buf` is too short, an extension header or TCP options have a
    /// length they cannot have, or the payload would exceed 65535 octets.
    #[must_use]
    pub fn write(&self, buf: &mut [u8]) -> Option<usize> {
        if let Some((dst, src)) = self.ethernet {
            ethernet::write_header(buf, dst, src, self.tags, ethernet::IPV6)?;
        }
        let payload_len = u16::try_from(self.payload_len()).ok()?;
        let l3 = buf
            .get_mut(self.ether_len()..)?
            .get_mut(..ipv6::HEADER_LEN + usize::from(payload_len))?;
        let upper = self.payload.proto(ipv4::ICMPV6);
        let inner = self.inner_extensions.first().map_or(upper, |e| e.0);
        let behind = self.fragment.map_or(inner, |_| ipv6::FRAGMENT);
        let first = self.extensions.first().map_or(behind, |e| e.0);

        let (head, rest) = l3.split_first_chunk_mut::<{ ipv6::HEADER_LEN }>()?;
        *head = [0; ipv6::HEADER_LEN];
        head[0] = 0x60;
        let mut ip = Ipv6Mut::new_checked(head).ok()?;
        ip.set_header(
            self.traffic_class,
            self.flow_label,
            payload_len,
            first,
            self.hop_limit,
        );
        ip.set_src(self.src);
        ip.set_dst(self.dst);
        let mut rest = write_extensions(rest, self.extensions, behind)?;
        if let Some((word, id)) = self.fragment {
            let (head, behind) = rest.split_first_chunk_mut::<{ ipv6::FRAGMENT_LEN }>()?;
            [head[0], head[1]] = [inner, 0];
            [head[2], head[3]] = word.to_be_bytes();
            [head[4], head[5], head[6], head[7]] = id.to_be_bytes();
            rest = behind;
        }
        let l4 = write_extensions(rest, self.inner_extensions, upper)?;
        self.payload
            .write(l4, self.data, Addresses::V6(self.src, self.dst))?;
        Some(self.len())
    }
}

/// Writes extension headers, of which the last is followed by `next`; returns what is behind them.
fn write_extensions<'b>(mut to: &'b mut [u8], list: &[(u8, &[u8])], next: u8) -> Option<&'b mut [u8]> {
    for (i, (_, body)) in list.iter().enumerate() {
        let len = EXTENSION_HEAD + body.len();
        if !len.is_multiple_of(8) {
            return None;
        }
        let (header, rest) = to.split_at_mut_checked(len)?;
        let (head, room) = header.split_first_chunk_mut::<EXTENSION_HEAD>()?;
        *head = [
            list.get(i + 1).map_or(next, |e| e.0),
            u8::try_from(len / 8 - 1).ok()?,
        ];
        copy(room, body)?;
        to = rest;
    }
    Some(to)
}

#[cfg(test)]
mod tests;
