//! What is classified: keys in the byte order and grouping that the tries are walked in.
//!
//! ```text
//!   Key4:  protocol  0 0 0 | source (4)  | destination (4)  | source port (2) destination port (2)      16 bytes
//!   Key6:  protocol  0 0 0 | source (16) | destination (16) | source port (2) destination port (2)      40 bytes
//! ```
//!
//! DPDK takes one byte first, then four at a time. Everything is in network byte order.

/// IPv4, as a parameter of [`super::Acl`].
#[derive(Clone, Copy, Debug)]
pub enum V4 {}

/// IPv6, as a parameter of [`super::Acl`].
#[derive(Clone, Copy, Debug)]
pub enum V6 {}

/// Addresses, ports and protocol of an IPv4 packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Key4 {
    protocol: [u8; 4],
    source: [u8; 4],
    destination: [u8; 4],
    source_port: [u8; 2],
    destination_port: [u8; 2],
}

/// Addresses, ports and protocol of an IPv6 packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Key6 {
    protocol: [u8; 4],
    source: [u8; 16],
    destination: [u8; 16],
    source_port: [u8; 2],
    destination_port: [u8; 2],
}

impl Key4 {
    /// Of values in host order.
    #[inline]
    #[must_use]
    pub const fn new(
        source: u32,
        destination: u32,
        source_port: u16,
        destination_port: u16,
        protocol: u8,
    ) -> Self {
        Self {
            protocol: [protocol, 0, 0, 0],
            source: source.to_be_bytes(),
            destination: destination.to_be_bytes(),
            source_port: source_port.to_be_bytes(),
            destination_port: destination_port.to_be_bytes(),
        }
    }

    pub(super) const OFFSETS: Offsets = Offsets {
        source: std::mem::offset_of!(Key4, source) as u32,
        destination: std::mem::offset_of!(Key4, destination) as u32,
        source_port: std::mem::offset_of!(Key4, source_port) as u32,
        destination_port: std::mem::offset_of!(Key4, destination_port) as u32,
    };
}

impl Key6 {
    /// Of values in host order.
    #[inline]
    #[must_use]
    pub const fn new(
        source: u128,
        destination: u128,
        source_port: u16,
        destination_port: u16,
        protocol: u8,
    ) -> Self {
        Self {
            protocol: [protocol, 0, 0, 0],
            source: source.to_be_bytes(),
            destination: destination.to_be_bytes(),
            source_port: source_port.to_be_bytes(),
            destination_port: destination_port.to_be_bytes(),
        }
    }

    pub(super) const OFFSETS: Offsets = Offsets {
        source: std::mem::offset_of!(Key6, source) as u32,
        destination: std::mem::offset_of!(Key6, destination) as u32,
        source_port: std::mem::offset_of!(Key6, source_port) as u32,
        destination_port: std::mem::offset_of!(Key6, destination_port) as u32,
    };
}

/// Where the fields of a key are, in bytes; the protocol is at 0.
#[derive(Clone, Copy)]
pub(super) struct Offsets {
    pub(super) source: u32,
    pub(super) destination: u32,
    pub(super) source_port: u32,
    pub(super) destination_port: u32,
}

// What the safety of `Acl::classify` rests on: no padding, and four bytes to read at the protocol.
const _: () = assert!(size_of::<Key4>() == 16 && size_of::<Key6>() == 40);
// Both ports are in the same four bytes.
const _: () = assert!(Key4::OFFSETS.destination_port == Key4::OFFSETS.source_port + 2);
const _: () = assert!(Key6::OFFSETS.destination_port == Key6::OFFSETS.source_port + 2);
