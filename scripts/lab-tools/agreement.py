#!/usr/bin/python3
"""The verdicts of agreement.txt, held against Tandem and against nftables with the same policies (lab-tests/agreement.sh).

usage: agreement.py [FAMILY/NUMBER ...]     all cases, or only these, with what was seen
agreement.txt says how a case is written.
"""

import pathlib
import re
import sys

from labnet import Report
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6PacketTooBig, ICMPv6ParamProblem, ICMPv6TimeExceeded,
    ICMPv6Unknown, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, PadN,
)
from scapy.packet import Raw
from twin import OTHER, SYSTEMS, Twin

LIST = pathlib.Path(__file__).with_name("agreement.txt")
VERDICTS = ("pass", "drop", "rst", "admin", "ttl")

# Letters of the list: inside are i and j, and the servers s; outside are o and p, the blocked b, and the hostile h. Each case has
# its own, so that no session of one meets another.
ADDRESSES = {
    4: {"i": "10.1.{}.1", "j": "10.1.{}.2", "s": "10.2.{}.1", "o": "198.18.{}.1", "p": "198.18.{}.2", "b": "198.19.{}.1", "h": "198.20.{}.1"},
    6: {"i": "2001:db8:1001:{}::1", "j": "2001:db8:1001:{}::2", "s": "2001:db8:1002:{}::1", "o": "2001:db8:18:{}::1",
        "p": "2001:db8:18:{}::2", "b": "2001:db8:19:{}::1", "h": "2001:db8:20:{}::1"},
}
INSIDE = "ijs"
ERRORS = {  # name: (IPv4 type, code), IPv6 layer
    "unreach": ((3, 1), ICMPv6DestUnreach(code=3)),
    "port": ((3, 3), ICMPv6DestUnreach(code=4)),
    "admin": ((3, 13), ICMPv6DestUnreach(code=1)),
    "big": ((3, 4), ICMPv6PacketTooBig(mtu=1280)),
    "ttl": ((11, 0), ICMPv6TimeExceeded()),
    "param": ((12, 0), ICMPv6ParamProblem()),
}


def marker(end, payload):
    """UDP of a session to port 53, which the policies permit from inside."""
    client, server = ("10.1.255.1", 53535), ("198.18.255.1", 53)
    source, to = (client, server) if end == "in" else (server, client)
    return bytes(IP(src=source[0], dst=to[0]) / UDP(sport=source[1], dport=to[1]) / Raw(payload))


class Case:
    """One line of the list in one family: its steps in order, the state its packets need."""

    def __init__(self, family, number, name, steps, why):
        self.family, self.number, self.name, self.why = family, number, name, why
        self.steps = [Step(self, text) for text in steps]
        self.next_sequence = {}
        self.sent = []

    def address(self, letter):
        return ADDRESSES[self.family][letter].format(self.number)

    def port(self, text):
        return {"c": 20000, "d": 30000}[text] + self.number if text in "cd" else int(text)

    def ip(self, source, to, protocol=None, options=()):
        """The header, and the extension headers or options asked for."""
        ttl = int(option(options, "ttl", 64))
        if self.family == 4:
            # The identification counts up: fragments of two packets must not mix.
            header = IP(src=source, dst=to, ttl=ttl, id=len(self.sent) + 1, options=[IPOption_NOP()] * 4 if "opt" in options else [])
            if protocol is not None:
                header.proto = protocol
            return header
        header = IPv6(src=source, dst=to, hlim=ttl)
        last = header
        for name, layer in (("opt", IPv6ExtHdrHopByHop), ("dstopt", IPv6ExtHdrDestOpt)):
            if name in options:
                last = layer(options=[PadN(optdata=b"\0" * 4)])
                header = header / last
        if protocol is not None:
            last.nh = protocol
        return header


class Step:
    """`ADDRESSES KIND ARGUMENTS VERDICT`: one packet, or the fragments of one, and what becomes of it."""

    def __init__(self, case, text):
        self.case, self.text = case, text
        words = text.split()
        self.source, self.to = words[0].split(">")
        self.kind, self.args = words[1], words[2:-1]
        # `drop!pass`: Tandem drops what the other lets pass.
        tandem, _, ref = words[-1].partition("!")
        self.want = {"tandem": tandem, "ref": ref or tandem}
        for verdict in self.want.values():
            if verdict not in VERDICTS:
                raise SystemExit(f"{LIST.name}: no verdict '{verdict}' in: {text}")
        if ref and not case.why:
            raise SystemExit(f"{LIST.name}: a difference needs its reason behind '#': {text}")
        self.end = "in" if self.source in INSIDE else "out"

    def packet(self):
        case = self.case
        source, to = case.address(self.source), case.address(self.to)
        build = {"tcp": self.tcp, "udp": self.udp, "ping": self.echo, "pong": self.echo, "icmp": self.icmp, "err": self.error, "proto": self.other}
        return build[self.kind](source, to)

    def tcp(self, source, to):
        sport, dport = (self.case.port(text) for text in self.args[0].split(">"))
        flags = self.args[1].replace("-", "")
        state = self.case.next_sequence
        mine, theirs = (source, sport, to, dport), (to, dport, source, sport)
        payload = b"x" * int(option(self.args, "len", 0))
        sequence = state.setdefault(mine, 1000 if self.source in INSIDE else 500_000)
        ack = state.get(theirs, 0) if "A" in flags else 0
        segment = TCP(sport=sport, dport=dport, flags=flags, seq=sequence + int(option(self.args, "seq", 0)),
                      ack=ack + int(option(self.args, "ack", 0)), window=8192)
        if option(self.args, "seq", 0) == 0 and "stray" not in self.args:
            state[mine] = sequence + len(payload) + ("S" in flags) + ("F" in flags)
        if "bad" in self.args:
            segment.chksum = 0x1234
        return self.case.ip(source, to, 6, self.args) / segment / Raw(payload)

    def udp(self, source, to):
        sport, dport = (self.case.port(text) for text in self.args[0].split(">"))
        datagram = UDP(sport=sport, dport=dport)
        if "bad" in self.args:
            datagram.chksum = 0x1234
        if "zero" in self.args:
            datagram.chksum = 0
        return self.case.ip(source, to, 17, self.args) / datagram / Raw(b"u" * int(option(self.args, "len", 20)))

    def echo(self, source, to):
        ident = 1000 + self.case.number * 4 + int(self.args[0])
        data = Raw(b"e" * int(option(self.args, "len", 32)))
        if self.case.family == 4:
            return self.case.ip(source, to, 1, self.args) / ICMP(type=8 if self.kind == "ping" else 0, id=ident, seq=1) / data
        layer = ICMPv6EchoRequest if self.kind == "ping" else ICMPv6EchoReply
        return self.case.ip(source, to, 58, self.args) / layer(id=ident, seq=1, data=data.load)

    def icmp(self, source, to):
        kind, code = map(int, self.args[0].split("/"))
        if self.case.family == 4:
            return self.case.ip(source, to, 1) / ICMP(type=kind, code=code) / Raw(bytes(8))
        return self.case.ip(source, to, 58) / ICMPv6Unknown(type=kind, code=code, msgbody=bytes(12))

    def error(self, source, to):
        quoted = self.case.sent[int(option(self.args, "of", len(self.case.sent))) - 1]
        if self.case.family == 4:
            kind = ERRORS[self.args[0]][0] if self.args[0] in ERRORS else tuple(map(int, self.args[0].split("/")))
            message = ICMP(type=kind[0], code=kind[1], nexthopmtu=1280) if kind == (3, 4) else ICMP(type=kind[0], code=kind[1])
            return self.case.ip(source, to, 1) / message / Raw(quoted[: int(option(self.args, "quote", 128))])
        return self.case.ip(source, to, 58) / ERRORS[self.args[0]][1].copy() / Raw(quoted[: int(option(self.args, "quote", 128))])

    def other(self, source, to):
        return self.case.ip(source, to, int(self.args[0]), self.args[1:]) / Raw(b"p" * 32)

    def build(self):
        """What is sent: one packet, or its fragments."""
        whole = bytes(self.packet())
        self.case.sent.append(whole)
        size = int(option(self.args, "frag", 0))
        parts = split(whole, size, len(self.case.sent) + self.case.number * 16) if size else [whole]
        return whole, parts[::-1] if "rev" in self.args else parts


def option(args, name, default):
    """The value of `name=VALUE` among the arguments."""
    for arg in args:
        if arg.startswith(name + "="):
            return arg.partition("=")[2]
    return default


def split(packet, size, ident):
    """The fragments of an IP packet without extension headers or options; `size` bytes each, a multiple of 8."""
    if packet[0] >> 4 == 4:
        header, body = IP(packet[:20]), packet[20:]
        parts = []
        for at in range(0, len(body), size):
            more = at + size < len(body)
            head = IP(src=header.src, dst=header.dst, ttl=header.ttl, proto=header.proto, id=ident, flags="MF" if more else 0, frag=at // 8)
            parts.append(bytes(head / Raw(body[at : at + size])))
        return parts
    header, body = IPv6(packet[:40]), packet[40:]
    return [
        bytes(IPv6(src=header.src, dst=header.dst, hlim=header.hlim) / IPv6ExtHdrFragment(nh=header.nh, offset=at // 8, m=at + size < len(body), id=ident)
              / Raw(body[at : at + size]))
        for at in range(0, len(body), size)
    ]


def essence(packets):
    """(source, destination, TTL, protocol, body) of one packet or of its fragments in any order; None when they make no whole."""
    first, parts, end = None, {}, None
    for packet in packets:
        if packet[0] >> 4 == 4:
            header = IP(packet)
            at = header.ihl * 4
            offset, more, body = header.frag * 8, header.flags.MF, packet[at:]
            what = (header.src, header.dst, header.ttl, header.proto, packet[20:at])
        else:
            header = IPv6(packet)
            offset, more, body, protocol = 0, 0, packet[40:], header.nh
            if header.nh == 44:
                fragment = IPv6ExtHdrFragment(packet[40:48])
                offset, more, body, protocol = fragment.offset * 8, fragment.m, packet[48:], fragment.nh
            what = (header.src, header.dst, header.hlim, protocol, b"")
        if offset == 0:
            first = what
        if not more:
            end = offset + len(body)
        parts[offset] = body
    body = b"".join(parts[offset] for offset in sorted(parts))
    return (*first, body) if first and end == len(body) else None


def judged(step, whole, sent_as, out):
    """The verdict that the packets which came out make."""
    far, near = out[OTHER[step.end]], out[step.end]
    if far:
        sent, came = essence([whole]), essence(far)
        passed = came is not None and (*came[:2], came[2] + 1, *came[3:]) == sent
        return ("pass" if passed else "ALTERED") + ("+answer" if near else "")
    if not near:
        return "drop"
    return "+".join(answer(packet, whole, sent_as) for packet in near)


def answer(packet, whole, sent_as):
    """What kind of refusal an answer is, checked against the packet it refuses, or the fragments it was sent as."""
    ours, theirs = (IP, IP) if packet[0] >> 4 == 4 else (IPv6, IPv6)
    packet, sent = ours(packet), theirs(whole)
    if packet.dst != sent.src:
        return "ANSWER-TO-OTHER"
    if TCP in packet and TCP in sent:
        got, had = packet[TCP], sent[TCP]
        # RFC 9293 section 3.10.7.1: the sequence number the other expects.
        if had.flags.A:
            good = got.flags == "R" and got.seq == had.ack
        else:
            good = got.flags == "RA" and got.seq == 0 and got.ack == had.seq + len(had.payload) + had.flags.S + had.flags.F
        ends = (packet.src, got.sport, got.dport) == (sent.dst, had.dport, had.sport)
        return "rst" if good and ends else f"BAD-RST({packet.summary()} {got.flags} {got.seq} {got.ack})"
    raw = bytes(packet)
    if packet.version == 4 and packet.proto == 1:
        kind, quoted = tuple(raw[20:22]), raw[28:]
        names = {(3, 13): "admin", (11, 0): "ttl"}
        # Source, destination and what follows the header: TTL and checksum may be as they arrived or not.
        right = any(quoted[12:28] == packet[12:28] for packet in [whole, *sent_as])
    elif packet.version == 6 and packet.nh == 58:
        kind, quoted = tuple(raw[40:42]), raw[48:]
        names = {(1, 1): "admin", (3, 0): "ttl"}
        right = any(quoted[8:48] == packet[8:48] for packet in [whole, *sent_as])
    else:
        return "OTHER-ANSWER"
    name = names.get(kind, f"icmp-{kind[0]}/{kind[1]}")
    return name if right else f"BAD-QUOTE-{name}"


def cases():
    number = 0
    for line in LIST.read_text().splitlines():
        match = re.fullmatch(r"(4|6|46) +([^:]+): *([^#]+?)\s*(?:#\s*(.*))?", line)
        if match is None:
            if line.strip() and not line.lstrip().startswith("#"):
                raise SystemExit(f"{LIST.name}: cannot read: {line}")
            continue
        number += 1
        for family in match[1]:
            yield Case(int(family), number, match[2], [text.strip() for text in match[3].split(";")], match[4])


def main():
    only = set(sys.argv[1:])
    report = Report()
    twin = Twin(marker)
    for system in SYSTEMS:
        twin.ready(system)
    count = differ = 0
    for case in cases():
        if only and f"{case.family}/{case.number}" not in only:
            continue
        count += 1
        wrong = []
        for index, step in enumerate(case.steps, 1):
            whole, packets = step.build()
            out = twin.both(step.end, packets)
            for system in SYSTEMS:
                got = judged(step, whole, packets, out[system])
                if got != step.want[system]:
                    wrong.append(f"step {index} `{step.text}`: {system} says {got}")
                    for end, seen in out[system].items():
                        for packet in seen:
                            print("     ", system, end, (IP if packet[0] >> 4 == 4 else IPv6)(packet).summary())
            differ += step.want["tandem"] != step.want["ref"]
        report.check(f"IPv{case.family} {case.number} {case.name}", not wrong, "; ".join(wrong))
    report.check("cases", count >= 100 or only, f"{count}, in which {differ} verdicts differ and say why")
    report.exit()


if __name__ == "__main__":
    main()
