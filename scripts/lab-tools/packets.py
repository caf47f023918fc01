"""Raw IPv4 packets, for what a socket will not send: fragments in any order, TCP segments of no connection."""

import socket
import struct

from labnet import host


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pseudo_header(source, destination, protocol, length):
    return socket.inet_aton(source) + socket.inet_aton(destination) + struct.pack("!BBH", 0, protocol, length)


def udp_datagram(source, destination, payload):
    """UDP header and payload; source and destination are (address, port)."""
    length = 8 + len(payload)
    header = struct.pack("!HHHH", source[1], destination[1], length, 0)
    value = checksum(pseudo_header(source[0], destination[0], 17, length) + header + payload) or 0xFFFF
    return header[:6] + struct.pack("!H", value) + payload


def tcp_segment(source, destination, flags, sequence=1, acknowledgement=1, payload=b""):
    """TCP segment without options; flags as in the header (SYN 2, RST 4, ACK 16)."""
    header = struct.pack(
        "!HHIIBBHHH", source[1], destination[1], sequence, acknowledgement, 5 << 4, flags, 65535, 0, 0
    )
    value = checksum(pseudo_header(source[0], destination[0], 6, len(header) + len(payload)) + header + payload)
    return header[:16] + struct.pack("!H", value) + header[18:] + payload


def ipv4(source, destination, protocol, body, ident=0, offset=0, more=False, ttl=64):
    """One IPv4 packet; `offset` in bytes, a multiple of 8. The kernel fills in the header checksum."""
    flags_offset = (0x2000 if more else 0) | offset // 8
    return (
        struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), ident, flags_offset, ttl, protocol, 0)
        + socket.inet_aton(source)
        + socket.inet_aton(destination)
        + body
    )


def fragments(source, destination, protocol, body, ident, size=1480):
    """The packets that carry `body`, in order; `size` bytes of it each, a multiple of 8."""
    return [
        ipv4(source, destination, protocol, body[at : at + size], ident, at, at + size < len(body))
        for at in range(0, len(body), size)
    ]


def raw(name):
    """A socket on a host of the lab that sends whole IPv4 packets: sendto(packet, (destination, 0))."""
    with host(name):
        return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
