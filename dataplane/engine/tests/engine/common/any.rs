//! Packets of either family by 128-bit addresses (IPv4 under `::ffff:0:0/96`), for tests that hold for both.

use tandem_engine::address;

use super::{packets, packets6};

/// An address and a port.
pub type End = (u128, u16);

/// The IPv4 address, if it is one.
pub fn of4(address: u128) -> Option<u32> {
    address::v4(address)
}

/// A UDP datagram.
pub fn udp(src: End, dst: End) -> Vec<u8> {
    match (of4(src.0), of4(dst.0)) {
        (Some(s), Some(d)) => packets::udp((s, src.1), (d, dst.1)),
        _ => packets6::udp6(src, dst),
    }
}

/// A TCP segment.
pub fn tcp(src: End, dst: End, flags: u8) -> Vec<u8> {
    match (of4(src.0), of4(dst.0)) {
        (Some(s), Some(d)) => packets::tcp((s, src.1), (d, dst.1), flags),
        _ => packets6::tcp6(src, dst, flags),
    }
}

/// A SYN.
pub fn syn(src: End, dst: End) -> Vec<u8> {
    tcp(src, dst, tandem_wire::tcp::SYN)
}

/// An echo request.
pub fn echo(src: End, dst: u128) -> Vec<u8> {
    match (of4(src.0), of4(dst)) {
        (Some(s), Some(d)) => packets::echo((s, src.1), d),
        _ => packets6::echo6(src, dst),
    }
}

/// An echo reply.
pub fn echo_reply(src: u128, dst: End) -> Vec<u8> {
    match (of4(src), of4(dst.0)) {
        (Some(s), Some(d)) => packets::echo_reply(s, (d, dst.1)),
        _ => packets6::echo_reply6(src, dst),
    }
}

/// A packet of a protocol without ports.
pub fn raw(proto: u8, src: u128, dst: u128) -> Vec<u8> {
    match (of4(src), of4(dst)) {
        (Some(s), Some(d)) => packets::raw(proto, s, d),
        _ => packets6::raw6(proto, src, dst),
    }
}

/// Port unreachable, about a packet.
pub fn unreachable(from: u128, about: &[u8]) -> Vec<u8> {
    match of4(from) {
        Some(from) => packets::error(from, 3, 3, about),
        None => packets6::error6(from, 1, 4, about),
    }
}
