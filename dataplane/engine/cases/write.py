#!/usr/bin/python3
"""Writes the packet cases: what is sent, and by hand what is expected. See README.md."""

from pathlib import Path

from scapy.all import ICMP, IP, TCP, UDP, Ether, Raw, wrpcap

HERE = Path(__file__).parent
INSIDE, OUTSIDE = "02:00:00:00:00:01", "02:00:00:00:00:02"
IN1, IN2, OUT, OTHER, ROUTER = "10.0.0.1", "10.0.0.2", "198.51.100.1", "198.51.100.2", "198.51.100.254"
X = "203.0.113.1"


class Case:
    """One folder: add packets in order, each with what becomes of it."""

    def __init__(self, name, *conf):
        self.folder, self.conf, self.sent, self.expected = HERE / name, conf, [], []

    def packet(self, interface, send, leaves=None, expect=None, at=0.0):
        frame = Ether(dst=interface, src="02:00:00:00:00:99") / send
        frame.time = at
        self.sent.append(frame)
        if expect is not None:
            self.leaves(leaves, expect, at)

    def leaves(self, interface, packet, at):
        frame = Ether(dst=interface, src="02:00:00:00:00:99") / packet
        frame.time = at
        self.expected.append(frame)

    def write(self):
        self.folder.mkdir(exist_ok=True)
        conf = ["pool = 203.0.113.1-203.0.113.1", *self.conf]
        (self.folder / "case.conf").write_text("\n".join(conf) + "\n")
        wrpcap(str(self.folder / "send.pcap"), self.sent)
        wrpcap(str(self.folder / "expect.pcap"), self.expected)


def ip(src, dst, ttl=64, **more):
    return IP(src=src, dst=dst, ttl=ttl, **more)


def udp_out_and_in():
    c = Case("udp-out-and-in", "drop = no-mapping 1")
    c.packet(INSIDE, ip(IN1, OUT) / UDP(sport=5000, dport=53) / b"query",
             OUTSIDE, ip(X, OUT, 63) / UDP(sport=1024, dport=53) / b"query")
    c.packet(OUTSIDE, ip(OUT, X) / UDP(sport=53, dport=1024) / b"answer",
             INSIDE, ip(OUT, IN1, 63) / UDP(sport=53, dport=5000) / b"answer", at=1.0)
    # Another destination, the same public end.
    c.packet(INSIDE, ip(IN1, OTHER) / UDP(sport=5000, dport=123) / b"time",
             OUTSIDE, ip(X, OTHER, 63) / UDP(sport=1024, dport=123) / b"time", at=2.0)
    # A checksum of zero stays zero.
    c.packet(INSIDE, ip(IN1, OUT) / UDP(sport=5000, dport=53, chksum=0) / b"bare",
             OUTSIDE, ip(X, OUT, 63) / UDP(sport=1024, dport=53, chksum=0) / b"bare", at=3.0)
    # After the timeout (300 s) nobody is there.
    c.packet(OUTSIDE, ip(OUT, X) / UDP(sport=53, dport=1024) / b"late", at=400.0)
    return c


def tcp_connection():
    c = Case("tcp-connection", "mss-clamp = 1300", "drop = tcp-non-syn 1")
    a, b, p = dict(sport=40000, dport=80), dict(sport=80, dport=40000), dict(sport=1024, dport=80)
    q = dict(sport=80, dport=1024)
    c.packet(INSIDE, ip(IN1, OUT) / TCP(**a, flags="S", seq=100, options=[("MSS", 1460)]),
             OUTSIDE, ip(X, OUT, 63) / TCP(**p, flags="S", seq=100, options=[("MSS", 1300)]))
    c.packet(OUTSIDE, ip(OUT, X) / TCP(**q, flags="SA", seq=500, ack=101, options=[("MSS", 1200)]),
             INSIDE, ip(OUT, IN1, 63) / TCP(**b, flags="SA", seq=500, ack=101, options=[("MSS", 1200)]), at=0.1)
    c.packet(INSIDE, ip(IN1, OUT) / TCP(**a, flags="PA", seq=101, ack=501) / b"GET / HTTP/1.0\r\n\r\n",
             OUTSIDE, ip(X, OUT, 63) / TCP(**p, flags="PA", seq=101, ack=501) / b"GET / HTTP/1.0\r\n\r\n", at=0.2)
    c.packet(OUTSIDE, ip(OUT, X) / TCP(**q, flags="FPA", seq=501, ack=119) / b"hello",
             INSIDE, ip(OUT, IN1, 63) / TCP(**b, flags="FPA", seq=501, ack=119) / b"hello", at=0.3)
    c.packet(INSIDE, ip(IN1, OUT) / TCP(**a, flags="FA", seq=119, ack=507),
             OUTSIDE, ip(X, OUT, 63) / TCP(**p, flags="FA", seq=119, ack=507), at=0.4)
    c.packet(INSIDE, ip(IN2, OUT) / TCP(sport=1, dport=80, flags="A", seq=9, ack=9), at=0.5)
    return c


def icmp_echo():
    c = Case("icmp-echo")
    c.packet(INSIDE, ip(IN1, OUT) / ICMP(type=8, id=7, seq=1) / b"ping",
             OUTSIDE, ip(X, OUT, 63) / ICMP(type=8, id=1024, seq=1) / b"ping")
    c.packet(OUTSIDE, ip(OUT, X) / ICMP(type=0, id=1024, seq=1) / b"ping",
             INSIDE, ip(OUT, IN1, 63) / ICMP(type=0, id=7, seq=1) / b"ping", at=0.1)
    c.packet(INSIDE, ip(IN2, OUT) / ICMP(type=8, id=7, seq=1) / b"pong",
             OUTSIDE, ip(X, OUT, 63) / ICMP(type=8, id=1025, seq=1) / b"pong", at=0.2)
    return c


def icmp_error():
    c = Case("icmp-error", "drop = icmp-error-no-session 1", "drop = icmp-error-bad-checksum 1")
    c.packet(INSIDE, ip(IN1, OUT, id=77) / UDP(sport=5000, dport=53) / b"query",
             OUTSIDE, ip(X, OUT, 63, id=77) / UDP(sport=1024, dport=53) / b"query")
    outside = ip(X, OUT, 63, id=77) / UDP(sport=1024, dport=53) / b"query"
    inside = ip(IN1, OUT, 63, id=77) / UDP(sport=5000, dport=53) / b"query"
    quote = lambda packet: Raw(bytes(packet))
    c.packet(OUTSIDE, ip(ROUTER, X) / ICMP(type=11, code=0) / quote(outside),
             INSIDE, ip(ROUTER, IN1, 63) / ICMP(type=11, code=0) / quote(inside), at=0.1)
    # From inside, about what came in: seen from the public address.
    c.packet(OUTSIDE, ip(OUT, X, id=5) / UDP(sport=53, dport=1024) / b"answer",
             INSIDE, ip(OUT, IN1, 63, id=5) / UDP(sport=53, dport=5000) / b"answer", at=0.2)
    c.packet(INSIDE, ip(IN1, OUT) / ICMP(type=3, code=3)
             / quote(ip(OUT, IN1, 63, id=5) / UDP(sport=53, dport=5000) / b"answer"),
             OUTSIDE, ip(X, OUT, 63) / ICMP(type=3, code=3)
             / quote(ip(OUT, X, 63, id=5) / UDP(sport=53, dport=1024) / b"answer"), at=0.3)
    c.packet(OUTSIDE, ip(ROUTER, X) / ICMP(type=3, code=3)
             / quote(ip(X, OUT, 60) / UDP(sport=2000, dport=53) / b"stray"), at=0.4)
    c.packet(OUTSIDE, ip(ROUTER, X) / ICMP(type=3, code=3, chksum=1) / quote(outside), at=0.5)
    return c


def hairpin():
    c = Case("hairpin")
    c.packet(INSIDE, ip(IN2, OUT) / UDP(sport=6000, dport=53) / b"hello",
             OUTSIDE, ip(X, OUT, 63) / UDP(sport=1024, dport=53) / b"hello")
    # Twice through the box: two hops; the source is the public one.
    c.packet(INSIDE, ip(IN1, X) / UDP(sport=5000, dport=1024) / b"neighbour",
             INSIDE, ip(X, IN2, 62) / UDP(sport=1025, dport=6000) / b"neighbour", at=0.1)
    c.packet(INSIDE, ip(IN2, X) / UDP(sport=6000, dport=1025) / b"reply",
             INSIDE, ip(X, IN1, 62) / UDP(sport=1024, dport=5000) / b"reply", at=0.2)
    return c


def filtered():
    c = Case("filtered-inbound", "filtering = address-dependent", "drop = filtered 1", "drop = no-mapping 1")
    c.packet(INSIDE, ip(IN1, OUT) / UDP(sport=5000, dport=53) / b"hello",
             OUTSIDE, ip(X, OUT, 63) / UDP(sport=1024, dport=53) / b"hello")
    c.packet(OUTSIDE, ip(OUT, X) / UDP(sport=9999, dport=1024) / b"same address",
             INSIDE, ip(OUT, IN1, 63) / UDP(sport=9999, dport=5000) / b"same address", at=0.1)
    c.packet(OUTSIDE, ip(OTHER, X) / UDP(sport=53, dport=1024) / b"stranger", at=0.2)
    c.packet(OUTSIDE, ip(OUT, X) / UDP(sport=53, dport=1025) / b"nobody there", at=0.3)
    return c


def own_port_each():
    c = Case("address-and-port-dependent", "mapping = address-and-port-dependent",
             "filtering = address-and-port-dependent", "ports = 2000-2001", "drop = nat-out-of-ports 1")
    for port, public in ((53, 2000), (54, 2001), (55, None)):
        out = None if public is None else ip(X, OUT, 63) / UDP(sport=public, dport=port) / b"x"
        c.packet(INSIDE, ip(IN1, OUT) / UDP(sport=5000, dport=port) / b"x", OUTSIDE, out, at=port / 100)
    return c


def fragments():
    c = Case("fragments")
    whole = lambda src, dst, sport, dport: ip(src, dst, id=9) / UDP(sport=sport, dport=dport) / (b"0123456789abcdef" * 4)
    def pieces(packet, ttl):
        # 72 octets of UDP: 24 each.
        data = bytes(packet[UDP])
        return [ip(packet.src, packet.dst, ttl, id=9, proto=17, flags="MF" if n < 2 else 0, frag=n * 3)
                / Raw(data[n * 24:(n + 1) * 24]) for n in range(3)]
    # The L4 checksum of the whole is in the first piece; it moves with the addresses and ports.
    sent = pieces(IP(bytes(whole(IN1, OUT, 5000, 53))), 64)
    left = pieces(IP(bytes(whole(X, OUT, 1024, 53))), 63)
    for at, (a, b) in enumerate(zip(sent, left)):
        c.packet(INSIDE, a, OUTSIDE, b, at=at / 10)
    # The first one last: the others wait for it, and follow it.
    sent = pieces(IP(bytes(whole(OUT, X, 53, 1024))), 64)
    left = pieces(IP(bytes(whole(OUT, IN1, 53, 5000))), 63)
    c.packet(OUTSIDE, sent[1], at=1.0)
    c.packet(OUTSIDE, sent[2], at=1.1)
    c.packet(OUTSIDE, sent[0], INSIDE, left[0], at=1.2)
    for piece in left[1:]:
        c.leaves(INSIDE, piece, at=1.2)
    return c


if __name__ == "__main__":
    for case in (udp_out_and_in(), tcp_connection(), icmp_echo(), icmp_error(), hairpin(), filtered(), own_port_each(),
                 fragments()):
        case.write()
