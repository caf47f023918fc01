"""The packets that siit.py sends through two translators.

SERVER has IPv6 and an explicit mapping, CLIENT has IPv4 and stands in the prefix. A case is (name, end it enters at, packets);
names begin with the way: "6 to 4" enters inside, "4 to 6" outside.
"""

import os

from rfc6052 import embed
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_LSRR, IPOption_NOP
from scapy.layers.inet6 import (
    ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6Unknown, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting, PadN,
)
from scapy.packet import Raw

PREFIX = os.environ.get("SIIT_PREFIX", "2001:db8:64::/96")
SERVER4, SERVER6 = "203.0.113.80", "2001:db8:1000:80::80"
CLIENT4 = "198.18.0.1"
CLIENT6 = embed(PREFIX, CLIENT4)
ROUTER4 = "198.18.99.1"
ROUTER6 = embed(PREFIX, ROUTER4)
TCP_OPTIONS = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (7, 0)), ("NOP", None), ("WScale", 7)]


def six(source=SERVER6, to=CLIENT6, **fields):
    return IPv6(src=source, dst=to, hlim=fields.pop("hlim", 64), **fields)


def four(source=CLIENT4, to=SERVER4, **fields):
    return IP(src=source, dst=to, ttl=fields.pop("ttl", 64), id=fields.pop("id", 4711), flags=fields.pop("flags", "DF"), **fields)


def marker(end, payload):
    datagram = UDP(sport=9, dport=9) / Raw(payload)
    return bytes((six() if end == "in" else four()) / datagram)


def data(length):
    return Raw(bytes(at % 251 for at in range(length)))


def _both_ways():
    """What both families have, from both sides."""
    for way, end, ip in (("6 to 4", "in", six), ("4 to 6", "out", four)):
        yield f"{way}: UDP", end, [ip() / UDP(sport=1000, dport=2000) / data(100)]
        yield f"{way}: UDP, odd length", end, [ip() / UDP(sport=1000, dport=2000) / data(33)]
        yield f"{way}: UDP, empty", end, [ip() / UDP(sport=1000, dport=2000)]
        yield f"{way}: UDP of 1280 bytes", end, [ip() / UDP(sport=1000, dport=2000) / data(1280 - 48)]
        yield f"{way}: SYN with options", end, [ip() / TCP(sport=1000, dport=80, flags="S", seq=5, options=TCP_OPTIONS)]
        yield f"{way}: TCP data, urgent", end, [ip() / TCP(sport=1000, dport=80, flags="PAU", seq=5, ack=9, urgptr=3) / data(500)]
        yield f"{way}: RST", end, [ip() / TCP(sport=1000, dport=80, flags="R", seq=5)]
        for value in (0x00, 0xB8, 0xFF, 0x03):
            field = {"tc": value} if ip is six else {"tos": value}
            yield f"{way}: traffic class {value:#04x}", end, [ip(**field) / UDP(sport=1000, dport=2000) / data(10)]
        for protocol in (47, 50, 132, 99):
            field = {"nh": protocol} if ip is six else {"proto": protocol}
            yield f"{way}: protocol {protocol}", end, [ip(**field) / data(40)]
        # 4 is the smallest that both let through: Tandem is one router, tayga with Linux around it three.
        for limit in (255, 4, 1, 0):
            field = {"hlim": limit} if ip is six else {"ttl": limit}
            yield f"{way}: hop limit {limit}", end, [ip(**field) / UDP(sport=1000, dport=2000) / data(64)]
    for kind in (ICMPv6EchoRequest, ICMPv6EchoReply):
        yield f"6 to 4: {kind.__name__}", "in", [six() / kind(id=77, seq=3, data=bytes(range(56)))]
    for kind in (8, 0):
        yield f"4 to 6: echo, type {kind}", "out", [four() / ICMP(type=kind, id=77, seq=3) / data(56)]


def _queries():
    """ICMP that is neither echo nor error has no counterpart: RFC 7915 sections 4.2 and 5.2."""
    for kind in (10, 13, 15, 17, 200):
        yield f"4 to 6: ICMP type {kind}", "out", [four() / ICMP(type=kind) / data(12)]
    for kind in (139, 200, 255):
        yield f"6 to 4: ICMPv6 type {kind}", "in", [six() / ICMPv6Unknown(type=kind, msgbody=bytes(12))]


def _errors():
    """ICMP errors, which quote a packet of the other way, translated too."""
    quoted4 = bytes(four(SERVER4, CLIENT4, ttl=9) / UDP(sport=2000, dport=1000) / data(60))
    quoted6 = bytes(six(CLIENT6, SERVER6, hlim=9) / UDP(sport=1000, dport=2000) / data(60))
    for code in range(16):
        error = ICMP(type=3, code=code, nexthopmtu=1400) if code == 4 else ICMP(type=3, code=code)
        yield f"4 to 6: unreachable {code}", "out", [four(ROUTER4) / error / Raw(quoted4)]
    for mtu in (0, 68, 576, 1280, 1480, 9000):
        yield f"4 to 6: fragmentation needed, MTU {mtu}", "out", [four(ROUTER4) / ICMP(type=3, code=4, nexthopmtu=mtu) / Raw(quoted4)]
    for kind, code in ((11, 0), (11, 1), (4, 0), (5, 1), (12, 1), (12, 2)):
        yield f"4 to 6: ICMP {kind}/{code}", "out", [four(ROUTER4) / ICMP(type=kind, code=code) / Raw(quoted4)]
    for pointer in (0, 1, 2, 3, 4, 6, 8, 9, 10, 12, 15, 16, 19, 20):
        yield f"4 to 6: parameter problem at {pointer}", "out", [four(ROUTER4) / ICMP(type=12, ptr=pointer) / Raw(quoted4)]
    tcp4 = bytes(four(SERVER4, CLIENT4) / TCP(sport=80, dport=1000, flags="A", seq=1, ack=2) / data(400))
    yield "4 to 6: time exceeded about TCP", "out", [four(ROUTER4) / ICMP(type=11) / Raw(tcp4)]
    yield "4 to 6: time exceeded quoting 28 bytes", "out", [four(ROUTER4) / ICMP(type=11) / Raw(tcp4[:28])]
    echo4 = bytes(four(SERVER4, CLIENT4) / ICMP(type=8, id=77, seq=3) / data(56))
    yield "4 to 6: time exceeded about an echo", "out", [four(ROUTER4) / ICMP(type=11) / Raw(echo4)]
    yield "4 to 6: an error about an error", "out", [four(ROUTER4) / ICMP(type=11) / Raw(bytes(four(SERVER4, CLIENT4) / ICMP(type=3, code=1) / Raw(quoted6[:48])))]

    for code in range(8):
        yield f"6 to 4: unreachable {code}", "in", [six() / ICMPv6Unknown(type=1, code=code, msgbody=bytes(4) + quoted6)]
    for mtu in (1280, 1400, 1500, 9000):
        yield f"6 to 4: packet too big, MTU {mtu}", "in", [six() / ICMPv6Unknown(type=2, msgbody=mtu.to_bytes(4, "big") + quoted6)]
    for code in (0, 1):
        yield f"6 to 4: time exceeded {code}", "in", [six() / ICMPv6Unknown(type=3, code=code, msgbody=bytes(4) + quoted6)]
    for pointer in (0, 1, 2, 4, 5, 6, 7, 8, 23, 24, 39, 40):
        yield f"6 to 4: parameter problem at {pointer}", "in", [six() / ICMPv6Unknown(type=4, msgbody=pointer.to_bytes(4, "big") + quoted6)]
    for code in (1, 2, 3):
        yield f"6 to 4: parameter problem {code}", "in", [six() / ICMPv6Unknown(type=4, code=code, msgbody=bytes(4) + quoted6)]
    tcp6 = bytes(six(CLIENT6, SERVER6) / TCP(sport=1000, dport=80, flags="A", seq=1, ack=2) / data(400))
    yield "6 to 4: time exceeded about TCP", "in", [six() / ICMPv6Unknown(type=3, msgbody=bytes(4) + tcp6)]
    echo6 = bytes(six(CLIENT6, SERVER6) / ICMPv6EchoRequest(id=77, seq=3, data=bytes(56)))
    yield "6 to 4: time exceeded about an echo", "in", [six() / ICMPv6Unknown(type=3, msgbody=bytes(4) + echo6)]
    yield "6 to 4: from a router without mapping", "in", [six("2001:db8:1000:99::1") / ICMPv6Unknown(type=3, msgbody=bytes(4) + quoted6)]


def _fragments():
    datagram4 = bytes(four() / UDP(sport=1000, dport=2000) / data(2000))[20:]
    datagram6 = bytes(six() / UDP(sport=1000, dport=2000) / data(2000))[40:]
    for at in (0, 800, 1600):
        more = at + 800 < len(datagram4)
        yield f"4 to 6: fragment at {at}", "out", [four(flags="MF" if more else 0, frag=at // 8, proto=17, id=0xABCD) / Raw(datagram4[at : at + 800])]
        fragment = IPv6ExtHdrFragment(nh=17, offset=at // 8, m=more, id=0x1234ABCD)
        yield f"6 to 4: fragment at {at}", "in", [six() / fragment / Raw(datagram6[at : at + 800])]
    yield "4 to 6: whole, without DF", "out", [four(flags=0, id=0xABCD) / UDP(sport=1000, dport=2000) / data(100)]
    yield "6 to 4: whole in a fragment header", "in", [six() / IPv6ExtHdrFragment(nh=17, id=0x1234ABCD) / UDP(sport=1000, dport=2000) / data(100)]
    yield "6 to 4: echo in a fragment header", "in", [six() / IPv6ExtHdrFragment(nh=58, id=5) / ICMPv6EchoRequest(id=77, data=bytes(20))]
    yield "6 to 4: 1500 bytes", "in", [six() / UDP(sport=1000, dport=2000) / data(1452)]
    yield "6 to 4: 1281 bytes", "in", [six() / UDP(sport=1000, dport=2000) / data(1281 - 48)]
    yield "4 to 6: 1480 bytes with DF", "out", [four() / UDP(sport=1000, dport=2000) / data(1452)]
    yield "4 to 6: 1481 bytes with DF", "out", [four() / UDP(sport=1000, dport=2000) / data(1453)]
    yield "4 to 6: 1500 bytes with DF", "out", [four() / UDP(sport=1000, dport=2000) / data(1472)]
    yield "4 to 6: 1260 bytes without DF", "out", [four(flags=0) / UDP(sport=1000, dport=2000) / data(1232)]
    yield "4 to 6: 1500 bytes without DF", "out", [four(flags=0) / UDP(sport=1000, dport=2000) / data(1472)]


def _headers():
    yield "4 to 6: UDP without checksum", "out", [four() / UDP(sport=1000, dport=2000, chksum=0) / data(100)]
    yield "4 to 6: fragment without checksum", "out", [four(flags="MF", proto=17) / UDP(sport=1000, dport=2000, chksum=0, len=1508) / data(792)]
    yield "6 to 4: UDP whose checksum becomes zero", "in", [_checksum_zero()]
    yield "4 to 6: options", "out", [four(options=[IPOption_NOP()] * 4) / UDP(sport=1000, dport=2000) / data(20)]
    yield "4 to 6: a source route", "out", [four(options=[IPOption_LSRR(routers=["198.18.1.1"], pointer=4), IPOption_NOP()]) / UDP(sport=1000, dport=2000) / data(20)]
    yield "6 to 4: flow label", "in", [six(fl=0xABCDE) / UDP(sport=1000, dport=2000) / data(20)]
    yield "6 to 4: hop-by-hop options", "in", [six() / IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)]) / UDP(sport=1000, dport=2000) / data(20)]
    yield "6 to 4: destination options", "in", [six() / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)]) / UDP(sport=1000, dport=2000) / data(20)]
    for left in (0, 1):
        route = IPv6ExtHdrRouting(type=253, addresses=["2001:db8::9"], segleft=left)
        yield f"6 to 4: routing header, {left} segments left", "in", [six() / route / UDP(sport=1000, dport=2000) / data(20)]
    yield "6 to 4: source without mapping", "in", [six("2001:db8:1000:99::1") / UDP(sport=1000, dport=2000) / data(20)]
    yield "4 to 6: destination without mapping", "out", [four(to="203.0.113.99") / UDP(sport=1000, dport=2000) / data(20)]


def _checksum_zero():
    """A datagram whose sum over the IPv4 pseudo header is all ones: its checksum would be 0, which means none."""
    with_zero = IP(bytes(IP(src=SERVER4, dst=CLIENT4) / UDP(sport=1000, dport=2000) / Raw(b"\0\0")))
    odd = with_zero[UDP].chksum
    return six() / UDP(sport=1000, dport=2000) / Raw(odd.to_bytes(2, "big"))


CASES = [case for part in (_both_ways, _queries, _errors, _fragments, _headers) for case in part()]
