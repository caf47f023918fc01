//! What reassembly reads of a fragment: the one place where the two families differ.
//!
//! ```text
//!               IPv4 (RFC 791)                       IPv6 (RFC 8200 section 4.5)
//!   key         source, destination, id, protocol    source, destination, identification
//!   protocol    that of every header                 that of the first fragment; the others' says nothing reliable
//!   counted in  octets behind the IPv4 header        octets behind the fragment header, extension headers included
//!   sender      source address                       source /64: a host owns all of it
//! ```

use tandem_wire::ipv6::FRAGMENT_LEN;
use tandem_wire::{Fragment, Ipv4Meta, Ipv6Meta, L4};

use crate::drop_reason::DropReason;

use super::sources::Sender;
use super::table::Key;

/// What was parsed of a packet of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meta {
    /// Of an IPv4 packet.
    V4(Ipv4Meta),
    /// Of an IPv6 packet.
    V6(Ipv6Meta),
}

impl Meta {
    /// Fragment offset in octets.
    pub(super) const fn fragment_offset(&self) -> u16 {
        match self {
            Self::V4(meta) => meta.fragment_offset,
            Self::V6(meta) => meta.fragment_offset,
        }
    }
}

/// What the first fragment of a datagram says for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Protocol number. Of an IPv6 datagram this is the upper layer's, which a later fragment does not know: what its own
    /// fragment header says may be an extension header or anything else (RFC 8200 section 4.5).
    pub proto: u8,
    /// Source port, identifier of an ICMP query, or 0 for protocols without ports.
    pub sport: u16,
    /// Destination port likewise.
    pub dport: u16,
}

impl Transport {
    /// Of a packet that has an upper-layer header.
    #[inline(always)]
    pub(super) const fn of4(meta: &Ipv4Meta) -> Self {
        Self {
            proto: meta.proto,
            sport: meta.sport(),
            dport: meta.dport(),
        }
    }

    /// As [`Transport::of4`].
    #[inline(always)]
    pub(super) const fn of6(meta: &Ipv6Meta) -> Self {
        Self {
            proto: meta.proto,
            sport: meta.sport(),
            dport: meta.dport(),
        }
    }
}

/// A fragment, as reassembly sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) key: Key,
    pub(super) sender: Sender,
    /// What a first fragment says, or why its datagram is refused; `None` of a later one.
    pub(super) first: Option<Result<Transport, DropReason>>,
    /// Its octets of the datagram.
    pub(super) offset: u16,
    pub(super) len: u16,
    pub(super) more: bool,
}

impl Piece {
    /// An IPv4 fragment of a protocol with ports.
    pub(super) fn of4(meta: &Ipv4Meta, realm: u16) -> Self {
        Self {
            key: Key::v4(meta.src, meta.dst, meta.id, meta.proto, realm),
            sender: Sender::v4(meta.src, realm),
            first: first(meta.fragment, meta.l4, Transport::of4(meta)),
            offset: meta.fragment_offset,
            len: meta.payload_len(),
            more: meta.more_fragments,
        }
    }

    /// An IPv6 fragment.
    pub(super) fn of6(meta: &Ipv6Meta, realm: u16) -> Self {
        // Extension headers behind the fragment header are part of the datagram's octets, and only of the first piece.
        let start = meta.fragment_header.saturating_add(FRAGMENT_LEN as u16);
        Self {
            key: Key::v6(meta.src, meta.dst, meta.fragment_id, realm),
            sender: Sender::v6(meta.src, realm),
            first: first(meta.fragment, meta.l4, Transport::of6(meta)),
            offset: meta.fragment_offset,
            len: meta.total_len.saturating_sub(start),
            more: meta.more_fragments,
        }
    }
}

fn first(fragment: Fragment, l4: L4, transport: Transport) -> Option<Result<Transport, DropReason>> {
    if fragment == Fragment::Later {
        return None;
    }
    Some(match l4 {
        L4::IcmpError { .. } => Err(DropReason::FragmentOfIcmpError),
        L4::IcmpOther { .. } => Err(DropReason::IcmpUnsupported),
        L4::Tcp { .. } | L4::Udp { .. } | L4::IcmpQuery { .. } | L4::Other | L4::LaterFragment => {
            Ok(transport)
        }
    })
}
