#!/usr/bin/python3
"""Fragmented UDP through the NAT (RFC 4787 REQ-14): both directions, in order, last first, first one last, and a flood of
fragments that never become whole, which must not stop the traffic of others."""

import os
import random

from labnet import ECHO_PORT, IP_MTU_DISCOVER, IP_PMTUDISC_DONT, SRV, Report, ask, hears, public_tuple, udp
from packets import fragments, ipv4, raw, udp_datagram

INSIDE = {"sub1": "100.64.0.2", "sub2": "100.64.0.3"}


def echoed(report, name, size, count):
    sock = udp(name)
    sock.setsockopt(0, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
    good = 0
    for _ in range(count):
        message = os.urandom(size)
        answer = ask(sock, message, (SRV, ECHO_PORT))
        good += answer is not None and answer[0] == message
    report.check(f"{name}: {count} datagrams of {size} bytes out and back", good == count, good)


def orders(whole):
    middle_first = whole[1:] + whole[:1]
    yield "last fragment first", whole[::-1]
    yield "first fragment last", middle_first
    yield "shuffled", random.sample(whole, len(whole))


def outbound_any_order(report, name):
    sock = udp(name)
    source = (INSIDE[name], sock.getsockname()[1])
    sender = raw(name)
    for label, order in orders(list(range(6))):
        message = os.urandom(8000)
        packets = fragments(source[0], SRV, 17, udp_datagram(source, (SRV, ECHO_PORT), message), random.randrange(1, 65536))
        for index in order:
            sender.sendto(packets[index], (SRV, 0))
        report.check(f"{name}: 8000 bytes out, {label}", hears(sock, message, 5) is not None)


def inbound_any_order(report, name):
    sock = udp(name)
    public = public_tuple(sock)
    if not report.check(f"{name}: has a mapping", public is not None):
        return
    sender = raw("srv")
    for label, order in orders(list(range(3))):
        message = os.urandom(4000)
        packets = fragments(SRV, public[0], 17, udp_datagram((SRV, ECHO_PORT), public, message), random.randrange(1, 65536))
        for index in order:
            sender.sendto(packets[index], (public[0], 0))
        source = hears(sock, message, 5)
        report.check(f"{name}: 4000 bytes in, {label}", source == (SRV, ECHO_PORT), source)


def flood_of_unfinished(report):
    """20,000 fragments without a first one, and as many first ones without the rest; others go on meanwhile."""
    public = public_tuple(udp("sub1"))
    inside, outside = raw("sub2"), raw("srv")
    sock = udp("sub1")
    good = 0
    for turn in range(100):
        for number in range(100):
            ident = turn * 100 + number
            inside.sendto(ipv4(INSIDE["sub2"], SRV, 17, b"x" * 64, ident, 1480), (SRV, 0))
            outside.sendto(ipv4(SRV, public[0], 17, b"x" * 64, ident, 1480), (public[0], 0))
            if number % 2:
                first = udp_datagram((INSIDE["sub2"], 4000), (SRV, 9), b"y" * 56)
                inside.sendto(ipv4(INSIDE["sub2"], SRV, 17, first, ident ^ 0x8000, 0, True), (SRV, 0))
        answer = ask(sock, b"still there?", (SRV, ECHO_PORT))
        good += answer is not None
    report.check("a flood of unfinished fragments does not stop whole packets", good == 100, f"{good} of 100 answered")


if __name__ == "__main__":
    report = Report()
    for name in INSIDE:
        echoed(report, name, 1472, 20)
        echoed(report, name, 1473, 20)
        echoed(report, name, 4000, 50)
        echoed(report, name, 8000, 50)
        outbound_any_order(report, name)
        inbound_any_order(report, name)
    flood_of_unfinished(report)
    for name in INSIDE:
        echoed(report, name, 1400, 20)
    report.exit()
