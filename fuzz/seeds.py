#!/usr/bin/python3
"""Writes the seed corpora: a few valid inputs per target, from scapy, which knows none of our code.

The seeds are in the repository; run this again after changing it.
"""

import pathlib
import struct

from scapy.all import (
    ICMP, IP, TCP, UDP, Dot1AD, Dot1Q, Ether, ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6ND_NS, ICMPv6PacketTooBig,
    ICMPv6ParamProblem, ICMPv6TimeExceeded, IPOption_LSRR, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, Raw, raw,
)

HERE = pathlib.Path(__file__).parent / "corpus"
A, B, X = "10.0.0.1", "192.0.2.1", "203.0.113.5"

dns = IP(src=A, dst=B, id=7) / UDP(sport=1000, dport=53) / Raw(b"query")
syn = IP(src=A, dst=B, flags="DF") / TCP(
    sport=1000, dport=80, flags="S", options=[("NOP", None), ("MSS", 1460), ("WScale", 7), ("EOL", None)]
)
ping = IP(src=A, dst=B) / ICMP(id=5, seq=1) / Raw(b"p" * 40)
routed = IP(src=A, dst=B, options=IPOption_LSRR(routers=["1.2.3.4"])) / UDP(sport=1, dport=2)

ipv4 = {
    "udp": dns,
    "tcp_syn": syn,
    "echo": ping,
    "options": routed,
    "first_fragment": IP(src=A, dst=B, flags="MF") / UDP(sport=1, dport=2, len=80) / Raw(b"x" * 40),
    "later_fragment": IP(src=A, dst=B, frag=6, proto=17) / Raw(b"x" * 24),
    "long": IP(src=A, dst=B) / UDP(sport=1, dport=2) / Raw(b"x" * 300),
}


def error(packet, quoted, **fields):
    return raw(ICMP(type=3, code=1, **fields) / Raw(raw(packet)[:quoted]))


# Translate the source (bit 0), right checksum (bit 2): see the target.
CHOICE = bytes([7]) + bytes([10, 0, 0, 9]) + b"\x04\xd2" + bytes([198, 51, 100, 1]) + b"\x00\x50"
icmp_error = {
    "udp": CHOICE + error(dns, 28),
    "tcp_truncated": CHOICE + error(syn, 28),
    "tcp_whole": CHOICE + error(syn, 99),
    "echo": CHOICE + error(ping, 99),
    "options": CHOICE + error(routed, 99),
    "fragment": CHOICE + error(ipv4["later_fragment"], 28),
    "extensions": CHOICE
    + raw(ICMP(type=11, code=0, length=32) / Raw(raw(syn).ljust(128, b"\0") + bytes.fromhex("2000dfff0008010100010101"))),
}

ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
v6 = IPv6(src="2001:db8::1", dst="2001:db8::2")
ethernet = {
    "ipv4": ether / dns,
    "vlan": ether / Dot1Q(vlan=100) / syn,
    "qinq": ether / Dot1AD(vlan=100) / Dot1Q(vlan=200) / ping,
    "ipv6": ether / v6 / ICMPv6EchoRequest(id=1),
    "ipv6_chain": ether / v6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt()
    / IPv6ExtHdrRouting(addresses=["2001:db8::3"]) / IPv6ExtHdrFragment(m=1, id=9) / UDP(sport=1, dport=2),
}

dns6 = v6 / UDP(sport=1000, dport=53) / Raw(b"query")
syn6 = v6 / TCP(sport=1000, dport=80, flags="S", options=[("NOP", None), ("MSS", 1460), ("WScale", 7), ("EOL", None)])
ping6 = v6 / ICMPv6EchoRequest(id=5, seq=1) / Raw(b"p" * 40)
chain6 = v6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting(addresses=["2001:db8::3"], segleft=0)
first6 = v6 / IPv6ExtHdrFragment(m=1, id=9) / UDP(sport=1, dport=2, len=80) / Raw(b"x" * 40)
later6 = v6 / IPv6ExtHdrFragment(offset=6, id=9, nh=17) / Raw(b"x" * 24)
ipv6 = {
    "udp": dns6,
    "tcp_syn": syn6,
    "echo": ping6,
    "neighbour_solicitation": v6 / ICMPv6ND_NS(tgt="2001:db8::2"),
    "chain": chain6 / syn6[TCP],
    "segments_left": v6 / IPv6ExtHdrRouting(addresses=["2001:db8::3"]) / dns6[UDP],
    "first_fragment": first6,
    "later_fragment": later6,
    "atomic_fragment": v6 / IPv6ExtHdrFragment(id=9) / dns6[UDP],
    "long": v6 / UDP(sport=1, dport=2) / Raw(b"x" * 1400),
    "long_chain": chain6 / UDP(sport=1, dport=2) / Raw(b"x" * 1400),
    "long_fragment": v6 / IPv6ExtHdrFragment(m=1, offset=5, id=9, nh=17) / Raw(b"x" * 1600),
    "error": v6 / ICMPv6TimeExceeded() / Raw(raw(dns6)),
}


def error6(packet, quoted, kind=None):
    kind = kind or ICMPv6DestUnreach(code=1)
    return raw(v6 / kind / Raw(raw(packet)[:quoted]))[40:]


# As CHOICE.
CHOICE6 = bytes([7]) + bytes.fromhex("fd" + "00" * 14 + "09" + "04d2") + bytes.fromhex("20010db8" + "00" * 11 + "01" + "0050")
icmp6_error = {
    "udp": CHOICE6 + error6(dns6, 48),
    "tcp_truncated": CHOICE6 + error6(syn6, 48, ICMPv6PacketTooBig(mtu=1280)),
    "tcp_whole": CHOICE6 + error6(syn6, 99, ICMPv6ParamProblem(ptr=6)),
    "echo": CHOICE6 + error6(ping6, 99),
    "chain": CHOICE6 + error6(ipv6["chain"], 200),
    "chain_truncated": CHOICE6 + error6(ipv6["chain"], 60),
    "segments_left": CHOICE6 + error6(ipv6["segments_left"], 200),
    "first_fragment": CHOICE6 + error6(first6, 99),
    "later_fragment": CHOICE6 + error6(later6, 56),
    "extensions": CHOICE6
    + error6(Raw(raw(syn6).ljust(128, b"\0") + bytes.fromhex("2000dfff0008010100010101")), 999, ICMPv6TimeExceeded(length=16)),
}

# Options, ports, MTUs, identification, IPv4 and IPv6 addresses, room: see the target. Bit 2: right checksums.
CHOICE_XLAT = (
    bytes([0x47]) + b"\x9c\x40\x00\x35" + b"\x05\xdc\x05\xdc" + b"\x12\x34" + bytes([198, 51, 100, 1, 203, 0, 113, 5])
    + bytes.fromhex("20010db8" + "00" * 11 + "01" + "0064ff9b" + "00" * 8 + "cb007105") + bytes([60, 80])
)
xlat = {f"four_{name}": CHOICE_XLAT + raw(packet) for name, packet in ipv4.items()}
xlat |= {f"six_{name}": CHOICE_XLAT + raw(packet) for name, packet in ipv6.items()}
xlat |= {
    f"four_error_{name}": CHOICE_XLAT + raw(IP(src=A, dst=B, proto=1) / Raw(message[13:])) for name, message in icmp_error.items()
}
xlat |= {
    f"six_error_{name}": CHOICE_XLAT + raw(v6 / Raw(message[37:])).replace(b"\x3b\x40", b"\x3a\x40", 1)
    for name, message in icmp6_error.items()
}
xlat |= {
    "four_no_checksum": CHOICE_XLAT + raw(IP(src=A, dst=B) / UDP(sport=1, dport=2, chksum=0) / Raw(b"x" * 9)),
    "chained": bytes([CHOICE_XLAT[0] | 16]) + CHOICE_XLAT[1:] + raw(dns6 / Raw(b"x" * 90)),
    "no_room": bytes([CHOICE_XLAT[0] | 8]) + CHOICE_XLAT[1:-2] + b"\x08\x00" + raw(ipv4["udp"]),
}
# Parts chosen by their first octet: a prefix with an IPv4 address, a pair of prefixes, explicit mappings (see the target).
xlat_maps = {
    "embed": bytes([0, 96, 0, 0, 0, 33, 0, 7, 0, 64, 0, 1, 0, 33, 2, 9, 200]),
    "pairs": bytes([1, 48, 1, 0, 0, 1, 0, 2, 1, 77, 1, 64, 1, 0, 0, 1, 0, 2, 2, 140, 9]),
    "explicit": bytes([2, 96, 0, 0, 0, 33, 0, 7, 3, 24, 1, 0, 2, 0, 9, 32, 1, 0, 4, 0, 9, 16, 1, 0, 5, 0, 7]) + bytes(range(40)),
}

# A program in 8 octets (see the target), then operations of 3: code, a, b; code 8 is followed by a program, 10 by a packet.
PLAIN = bytes([0, 64, 0, 0, 0, 10, 0, 0xF0])
BLOCKS = bytes([0, 64, 2, 1, 20, 5, 1, 0xF0])
OWN_PORTS = bytes([1, 64, 16, 0, 0, 5, 2, 0xFF])
FLOWS = bytes([0, 9, 3, 1, 10, 7, 2, 11, 9, 5, 0, 0, 6, 1, 0])
TIME = bytes([7, 200, 15, 7, 255, 14])
engine_napt44 = {
    "flows": PLAIN + FLOWS + TIME,
    "hairpin": PLAIN + FLOWS + bytes([3, 12, 0, 3, 13, 16, 4, 0, 16]) + TIME,
    "blocks_reload": BLOCKS + FLOWS + bytes([8]) * 1 + b"\0\0" + PLAIN + FLOWS + TIME,
    "own_ports_clear": OWN_PORTS + FLOWS + bytes([9, 1, 0]) + FLOWS + TIME,
    "packet": PLAIN + bytes([10, len(raw(dns)), 0]) + raw(dns) + TIME,
}

# How it ends, the first program, then operations of four octets (see the target).
TALK = bytes([0, 0x10, 0, 0, 2, 0x20, 1, 0, 5, 0x34, 2, 0, 14, 0, 0, 0, 14, 1, 0, 0])
WIDE = bytes([1, 0x10, 0x20, 0, 1, 0x33, 0x31, 0, 3, 0x23, 0x41, 2, 5, 0x10, 6, 0, 14, 0, 2, 0, 20, 0, 0x20, 0])
OTHERS = bytes([0, 1, 1, 0, 0, 0x31, 2, 0, 0, 0x71, 3, 0, 7, 0x91, 0, 0, 10, 0x10, 9, 0, 11, 0x20, 0xA8, 0x60, 0, 2, 0, 0, 1, 2, 10, 0])
LATER = bytes([24, 255, 2, 9, 26, 7, 0, 0, 24, 60, 1, 39])
engine_all = {
    f"{name}_{program}": bytes([end, program]) + operations
    for program, (name, operations) in enumerate([
        ("talk", TALK + LATER + TALK), ("wide", WIDE + LATER + WIDE), ("others", OTHERS + LATER + OTHERS),
        ("errors", TALK + bytes([20, 0, 0x20, 0, 20, 1, 0x60, 1, 20, 2, 0x81, 12]) + WIDE + bytes([21, 1, 0x41, 4, 21, 0, 0x80, 9])),
        ("fragments", bytes([0, 0x10, 0, 5, 22, 0, 9, 0, 22, 0, 3, 1, 1, 0x10, 0x20, 6, 22, 0, 20, 0, 22, 0, 7, 1])),
        ("burst", bytes(octet | 0x80 if at % 4 == 0 else octet for at, octet in enumerate(TALK + WIDE + OTHERS))),
        ("questions", TALK + WIDE + bytes([28, 0, 0, 0, 28, 1, 0, 0, 28, 3, 0, 0, 29, 2, 1, 1, 30, 0, 0, 0, 31, 0, 1, 0])),
        ("hairpin", bytes([0, 0x10, 0x14, 0, 0, 0x20, 0x34, 0, 3, 0x20, 0x35, 0, 10, 0, 1, 0, 1, 0x10, 0x14, 0, 14, 0, 0, 0]) + TALK),
        ("own", bytes([23, 60, 0, 1]) + raw(syn)[:60] + bytes([23, 61, 0, 1]) + raw(dns6) + bytes([14, 0, 0, 0])),
    ])
    for end in [program & 1]
}

# Room for datagrams and fragments, then operations of four octets (see the target): pieces in order, backwards, of both
# families, too long, given up.
ROOM = bytes([23, 47])
pieces = {
    family: [bytes([0, first, 0, at]) for at in range(8)] for family, first in (("four", 0), ("six", 0x80))
}
fragments = {
    **{f"{family}_in_order": ROOM + b"".join(all) for family, all in pieces.items()},
    **{f"{family}_backwards": ROOM + b"".join(all[::-1]) + bytes([11, 7, 0, 0]) for family, all in pieces.items()},
    **{f"{family}_given_up": ROOM + b"".join(all[3:]) + bytes([14, 25, 0, 0, 13, 0, 0, 0]) for family, all in pieces.items()},
    **{f"{family}_overlap": ROOM + b"".join(all[:3]) + bytes([0, all[0][1], 0, 0xE9, 13, 0, 0, 0]) for family, all in pieces.items()},
    "full": bytes([3, 7]) + b"".join(bytes([0, a, 0, c]) for a in range(0, 256, 9) for c in (3, 4)),
    "icmp": ROOM + bytes([0, 0, 4, 1, 0, 0, 4, 0, 0, 0x80, 4, 0, 0, 8, 5, 0, 0, 0x88, 5, 0, 0, 0x90, 0x47, 2, 0, 0x90, 0x47, 0]),
}


def number(value):
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


def record(kind, body):
    return bytes([len(body), kind]) + body


def message(kind, payload):
    return bytes([2, kind]) + struct.pack(">H", len(payload)) + payload


def batch(sequence, *records, stream=1, identity=0xFFFFFFFF):
    return message(2, struct.pack(">IQIIH", stream, sequence, identity, 0, len(records)) + b"".join(records))[1:]


V4 = bytes([10, 0, 0, 1, 198, 51, 100, 1]) + struct.pack(">HH", 50123, 443)
REST = bytes([3]) + struct.pack(">HHHH", 0, 0, 0xFFFF, 0) + bytes([0]) + b"".join(map(number, (300, 20, 12, 34, 5678, 91011)))
NAMED = struct.pack(">HB", 0, 6)
V6 = bytes.fromhex("20010db8000000010000000000000001")
session_v4 = NAMED + bytes([0x21]) + V4 + bytes([203, 0, 113, 5]) + struct.pack(">H", 33333) + REST
session_64 = NAMED + bytes([1]) + V6 + struct.pack(">HHH", 5, 443, 0) + V4 + REST
session_66 = NAMED + bytes([1]) + V6 * 2 + struct.pack(">HH", 5, 443) + REST
close_v4 = NAMED + bytes([0]) + V4 * 2
mapping = struct.pack(">HHB", 0, 0, 4) + bytes([10, 0, 0, 1]) + struct.pack(">HIH", 5, 0xCB007105, 6) + bytes([17, 0, 0])
block = struct.pack(">HHB", 0, 0, 6) + V6 + struct.pack(">IHH", 0xCB007105, 1024, 64) + number(99)
extent = struct.pack(">HIBB", 0, 0xCB007105, 3, 1)
bulk_end = struct.pack(">H", 9) + b"".join(map(number, (3, 1, 1, 1)))
acknowledgment = struct.pack(">IQI", 1, 1, 0)
records = {
    "session_v4": (1, session_v4), "session_64": (2, session_64), "session_66": (3, session_66), "close_v4": (4, close_v4),
    "mapping": (7, mapping), "block_close": (10, block), "extent": (11, extent), "bulk_end": (14, bulk_end),
    "lease": (15, bytes([203, 0, 113, 5, 3])), "released": (129, bytes([1]) + bytes(8)),
}
bulk = batch(1, record(13, struct.pack(">H", 9)), record(1, session_v4), record(2, session_64), record(3, session_66),
             record(7, mapping), record(9, block), record(11, extent), record(14, bulk_end))
ha_sync_wire = {name: bytes([0, kind]) + body for name, (kind, body) in records.items()} | {
    "bulk": bytes([2]) + bulk + batch(2, record(4, close_v4), record(15, bytes([203, 0, 113, 5, 3]))),
    "gap": bytes([2]) + bulk + batch(3, record(8, mapping)) + batch(2, record(12, extent)),
    "control": bytes([2]) + batch(1, record(128, bytes([1])), record(130, bytes([2])), stream=2, identity=0),
    "answers": bytes([2]) + message(3, acknowledgment)[1:] + message(4, acknowledgment)[1:]
    + message(5, acknowledgment + bytes([1, 1, 1]) + bytes(8))[1:] + message(99, b"later")[1:],
    "octets": bytes([3]) + b"TdHA\x00\x01\x00\x01\x00\x00\x00\x00",
}



def beat(kind=1, incarnation=0x2001, echo=0x1001, sequence=1, sent=5, echoed=1_000_000, sets=b"", path=0, later=1):
    said = b"TdHb" + bytes([1, kind, path, 0]) + struct.pack(">QQQQQ", incarnation, echo, sequence, sent, echoed)
    said += struct.pack(">IQHBB", 7, 1_700_000_000_000_000, 200, 3, len(sets) // 14) + sets
    return bytes([path | 4 | later << 3]) + struct.pack(">H", len(said)) + said


primary = struct.pack(">BBQBHB", 1, 1, 5, 100, 0, 0b1011)
wait = struct.pack(">BBQBHB", 128, 4, 6, 254, 300, 0b0100)
heartbeat = {
    "greeting": beat(echo=0, echoed=0) + beat(sequence=2) + beat(sequence=3, path=1, sent=6, sets=primary),
    "lives": beat(sets=primary) + beat(sequence=2, sets=primary + wait) + beat(sequence=2) + beat(sequence=1, later=31),
    "lost": beat() + beat(sequence=1, later=31) * 4 + beat(sequence=9, echoed=1_000_000, later=31),
    "gone": beat() + beat(kind=2, sequence=0, sent=0, echo=0, echoed=0) + beat(sequence=2) + beat(incarnation=0x2002),
    "leaving": beat(path=2) + beat(kind=3, sequence=2, path=3) + beat(sequence=3, path=2),
    "restarted": beat() + beat(incarnation=0x2002) + beat(incarnation=0x2003, path=1) + beat(incarnation=0x2001),
    "no_code": bytes([0]) + beat()[1:],
}

for target, seeds in (
    ("engine_all", engine_all),
    ("heartbeat", heartbeat),
    ("fragments", fragments),
    ("ha_sync_wire", ha_sync_wire),
    ("wire_ipv4", ipv4),
    ("wire_icmp_error", icmp_error),
    ("wire_ipv6", ipv6),
    ("wire_icmp6_error", icmp6_error),
    ("wire_ethernet", ethernet),
    ("xlat", xlat),
    ("xlat_maps", xlat_maps),
    ("engine_napt44", engine_napt44),
):
    folder = HERE / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, packet in seeds.items():
        (folder / name).write_bytes(packet if isinstance(packet, bytes) else raw(packet))
