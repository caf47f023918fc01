#!/usr/bin/python3
"""Where traffic to a destination goes, seen by the routers' own packet counters.

usage: routes.py moves-to ROUTER           the far host answers, through that router; waits (bounded) for a route change to arrive
       routes.py spreads ROUTER ROUTER     many flows use both
       routes.py nobody-there ADDRESS      packets to it become neighbour drops and an ICMP host unreachable
       routes.py counted ADDRESS REASON    packets to it are counted under that drop reason, each one
"""

import contextlib
import sys

from labnet import ECHO_PORT, FAR, Report, ask, drops, host, raw_icmp, udp, wait_for


def forwarded(router):
    """Packets a router has sent to the far host."""
    with host(router), open("/proc/thread-self/net/dev") as table:
        for line in table:
            if line.strip().startswith("to-far:"):
                return int(line.split(":")[1].split()[9])
    raise SystemExit(f"{router} has no to-far")


def flows_by(routers, count):
    """Sends `count` flows of one packet each to the far host: (answered, packets each router forwarded)."""
    before = [forwarded(router) for router in routers]
    answered = sum(ask(udp("sub1"), b"ping", (FAR, ECHO_PORT)) is not None for _ in range(count))
    return answered, [forwarded(router) - start for router, start in zip(routers, before)]


def moves_to(report, router):
    other = {"srv": "srv2", "srv2": "srv"}[router]

    def all_on_it():
        answered, (here, there) = flows_by((router, other), 5)
        return answered == 5 and here == 5 and there == 0

    report.check(f"traffic to {FAR} goes through {router}", wait_for(all_on_it, 20.0))
    answered, (here, there) = flows_by((router, other), 50)
    report.check(f"all of it: 50 of 50 flows by {router}", (answered, here, there) == (50, 50, 0), f"{answered} {here} {there}")


def spreads(report, routers):
    wait_for(lambda: all(flows_by(routers, 20)[1]), 20.0)
    answered, each = flows_by(routers, 200)
    report.check("200 flows over two next hops all answered", answered == 200, answered)
    report.check("each flow takes one of them", sum(each) == 200, each)
    report.check("both carry a fair share", min(each) >= 40, each)


def nobody_there(report, address):
    names = ("neighbour-unresolved", "neighbour-queue-full")
    before = drops()
    icmp = raw_icmp("sub1", 15)
    sock = udp("sub1")
    # A connected socket would hand the ICMP error to the next send; this one only sends.
    for _ in range(5):
        sock.sendto(b"anyone?", (address, ECHO_PORT))
    kind = None
    with contextlib.suppress(TimeoutError):
        packet = icmp.recv(2000)
        kind = tuple(packet[(packet[0] & 15) * 4 :][:2])
    report.check("an unresolved next hop answers ICMP host unreachable", kind == (3, 1), kind)

    def lost():
        now = drops()
        return sum(now[name] - before[name] for name in names)

    wait_for(lambda: lost() == 5)
    report.check("its five packets are counted as neighbour drops", lost() == 5, lost())


def counted(report, address, reason):
    before = drops()[reason]
    sock = udp("sub1")
    sent = 0

    # The route arrives by netlink: send until the first is counted, then exactly ten more.
    def first():
        nonlocal sent
        sent += 1
        with contextlib.suppress(OSError):
            sock.sendto(b"x", (address, ECHO_PORT))
        return wait_for(lambda: drops()[reason] > before, 0.5)

    if not report.check(f"{address} is counted as {reason}", wait_for(first)):
        return
    start = drops()[reason]
    for _ in range(10):
        with contextlib.suppress(OSError):
            sock.sendto(b"x", (address, ECHO_PORT))
    wait_for(lambda: drops()[reason] - start == 10, 5.0)
    report.check(f"ten packets, ten times {reason}", drops()[reason] - start == 10, drops()[reason] - start)


if __name__ == "__main__":
    report = Report()
    match sys.argv[1:]:
        case ["moves-to", router]:
            moves_to(report, router)
        case ["spreads", *routers]:
            spreads(report, routers)
        case ["nobody-there", address]:
            nobody_there(report, address)
        case ["counted", address, reason]:
            counted(report, address, reason)
        case _:
            raise SystemExit(__doc__)
    report.exit()
