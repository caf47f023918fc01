//! A packet from parts, with right lengths and checksums.
//!
//! ```
//! use tandem_wire::build::PacketBuilder;
//! let mut buf = [0u8; 128];
//! let len = PacketBuilder::udp(0x0a000001, 1000, 0xc0000201, 53).data(b"query").write(&mut buf).unwrap();
//! assert!(tandem_wire::l4::parse_ipv4_verified(&buf[..len]).is_ok());
//! ```

use super::payload::{Addresses, Payload};
use crate::ethernet::{self, Mac, Tag};
use crate::field::copy;
use crate::icmp;
use crate::ipv4::{self, Ipv4Mut};

/// Describes a packet; [`PacketBuilder::write`] writes it. Defaults: TTL 64, id 0, DF set, no options, no data,
/// no Ethernet header.
#[derive(Debug, Clone, Copy)]
pub struct PacketBuilder<'a> {
    src: u32,
    dst: u32,
    payload: Payload<'a>,
    data: &'a [u8],
    ip_options: &'a [u8],
    ethernet: Option<(Mac, Mac)>,
    tags: &'a [Tag],
    ttl: u8,
    tos: u8,
    id: u16,
    dont_fragment: bool,
    more_fragments: bool,
    offset: u16,
}

impl<'a> PacketBuilder<'a> {
    /// A packet with any payload.
    #[must_use]
    pub const fn new(src: u32, dst: u32, payload: Payload<'a>) -> Self {
        Self {
            src,
            dst,
            payload,
            data: &[],
            ip_options: &[],
            ethernet: None,
            tags: &[],
            ttl: 64,
            tos: 0,
            id: 0,
            dont_fragment: true,
            more_fragments: false,
            offset: 0,
        }
    }

    /// A UDP datagram with checksum.
    #[must_use]
    pub const fn udp(src: u32, sport: u16, dst: u32, dport: u16) -> Self {
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

    /// A TCP segment with these flags, window 65535.
    #[must_use]
    pub const fn tcp(src: u32, sport: u16, dst: u32, dport: u16, flags: u8) -> Self {
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

    /// An ICMP echo request.
    #[must_use]
    pub const fn echo(src: u32, dst: u32, id: u16, seq: u16) -> Self {
        Self::icmp(src, dst, icmp::ECHO, 0, (id as u32) << 16 | seq as u32)
    }

    /// An ICMP echo reply.
    #[must_use]
    pub const fn echo_reply(src: u32, dst: u32, id: u16, seq: u16) -> Self {
        Self::icmp(src, dst, icmp::ECHO_REPLY, 0, (id as u32) << 16 | seq as u32)
    }

    /// Any ICMP message; of an error, [`PacketBuilder::data`] is the embedded packet.
    #[must_use]
    pub const fn icmp(src: u32, dst: u32, icmp_type: u8, code: u8, word: u32) -> Self {
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

    /// Sets IPv4 options: a multiple of 4 octets, at most 40.
    #[must_use]
    pub const fn ip_options(mut self, options: &'a [u8]) -> Self {
        self.ip_options = options;
        self
    }

    /// Puts an Ethernet header in front.
    #[must_use]
    pub const fn ethernet(mut self, dst: Mac, src: Mac) -> Self {
        self.ethernet = Some((dst, src));
        self
    }

    /// Sets VLAN tags, outer first. They need [`PacketBuilder::ethernet`].
    #[must_use]
    pub const fn tags(mut self, tags: &'a [Tag]) -> Self {
        self.tags = tags;
        self
    }

    /// Sets the time to live.
    #[must_use]
    pub const fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets the type of service.
    #[must_use]
    pub const fn tos(mut self, tos: u8) -> Self {
        self.tos = tos;
        self
    }

    /// Sets the identification.
    #[must_use]
    pub const fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// Sets or clears DF.
    #[must_use]
    pub const fn dont_fragment(mut self, dont_fragment: bool) -> Self {
        self.dont_fragment = dont_fragment;
        self
    }

    /// Makes it a fragment: clears DF, sets MF and the offset in octets (a multiple of 8).
    #[must_use]
    pub const fn fragment(mut self, more_fragments: bool, offset: u16) -> Self {
        self.dont_fragment = false;
        self.more_fragments = more_fragments;
        self.offset = offset;
        self
    }

    /// Sequence and acknowledgment numbers; only a TCP segment has them.
    #[must_use]
    pub const fn seq_ack(mut self, new_seq: u32, new_ack: u32) -> Self {
        if let Payload::Tcp {
            sport,
            dport,
            flags,
            window,
            options,
            ..
        } = self.payload
        {
            self.payload = Payload::Tcp {
                sport,
                dport,
                seq: new_seq,
                ack: new_ack,
                flags,
                window,
                options,
            };
        }
        self
    }

    /// TCP options: a multiple of 4 octets, at most 40; only a TCP segment has them.
    #[must_use]
    pub const fn tcp_options(mut self, new_options: &'a [u8]) -> Self {
        if let Payload::Tcp {
            sport,
            dport,
            seq,
            ack,
            flags,
            window,
            ..
        } = self.payload
        {
            self.payload = Payload::Tcp {
                sport,
                dport,
                seq,
                ack,
                flags,
                window,
                options: new_options,
            };
        }
        self
    }

    /// Octets `write` needs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ether_len() + self.ip_len()
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

    fn ip_len(&self) -> usize {
        ipv4::HEADER_LEN + self.ip_options.len() + self.payload.header_len() + self.data.len()
    }

    /// Writes the packet and returns its length. `None` when `buf` is too short, options are too long or no
    /// multiple of 4, or the packet would exceed 65535 octets.
    #[must_use]
    pub fn write(&self, buf: &mut [u8]) -> Option<usize> {
        let options = self.ip_options.len();
        if options > 40 || !options.is_multiple_of(4) {
            return None;
        }
        if let Some((dst, src)) = self.ethernet {
            ethernet::write_header(buf, dst, src, self.tags, ethernet::IPV4)?;
        }
        let total_len = u16::try_from(self.ip_len()).ok()?;
        let l3 = buf
            .get_mut(self.ether_len()..)?
            .get_mut(..usize::from(total_len))?;
        let header_len = ipv4::HEADER_LEN + options;
        copy(l3.get_mut(..4)?, &[0x40 | (header_len / 4) as u8, self.tos, 0, 0])?;
        copy(l3.get_mut(2..4)?, &total_len.to_be_bytes())?;
        copy(l3.get_mut(ipv4::HEADER_LEN..header_len)?, self.ip_options)?;
        let mut ip = Ipv4Mut::new_checked(l3).ok()?;
        ip.set_id(self.id);
        ip.set_fragment(self.dont_fragment, self.more_fragments, self.offset);
        ip.set_ttl(self.ttl);
        ip.set_protocol(self.payload.proto(ipv4::ICMP));
        ip.set_src(self.src);
        ip.set_dst(self.dst);
        ip.fill_checksum();
        let addresses = Addresses::V4(self.src, self.dst);
        self.payload.write(ip.payload_mut(), self.data, addresses)?;
        Some(self.len())
    }
}

#[cfg(test)]
mod tests;
