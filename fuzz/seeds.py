#!/usr/bin/python3
"""Writes the seed corpora: a few valid inputs per target, from scapy, which knows none of our code.

The seeds are in the repository; run this again after changing it.
"""

import pathlib

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

for target, seeds in (
    ("wire_ipv4", ipv4),
    ("wire_icmp_error", icmp_error),
    ("wire_ipv6", ipv6),
    ("wire_icmp6_error", icmp6_error),
    ("wire_ethernet", ethernet),
    ("engine_napt44", engine_napt44),
):
    folder = HERE / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, packet in seeds.items():
        (folder / name).write_bytes(packet if isinstance(packet, bytes) else raw(packet))
