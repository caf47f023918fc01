#!/usr/bin/python3
"""Path MTU (RFC 4787 REQ-13, RFC 5508): who sends too large a packet with DF learns so, in its own terms.

usage: pmtu.py EGRESS_MTU MTU_BEHIND
The box's outside port has EGRESS_MTU; behind the next router the way to `far` narrows to MTU_BEHIND.
"""

import os
import socket
import struct
import sys
import time

from labnet import (
    ECHO_PORT, FAR, IP_MTU_DISCOVER, IP_PMTUDISC_DONT, IP_PMTUDISC_PROBE, SRV, Report, ask, raw_icmp, talks, tcp, udp,
)

INSIDE = "100.64.0.2"


def fragmentation_needed(icmp, about_port, seconds=5.0):
    """The first ICMP 3/4 about a UDP packet from our port: (outer source, mtu, embedded source, embedded destination)."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        icmp.settimeout(left)
        try:
            packet = icmp.recv(65535)
        except TimeoutError:
            return None
        body = packet[(packet[0] & 15) * 4 :]
        if body[:2] != b"\x03\x04":
            continue
        embedded = body[8:]
        ports = embedded[(embedded[0] & 15) * 4 :][:4]
        if embedded[9] != 17 or len(ports) < 4:
            continue
        source, destination = struct.unpack("!HH", ports)
        if source == about_port:
            address = socket.inet_ntoa
            return (
                address(packet[12:16]),
                struct.unpack("!H", body[6:8])[0],
                (address(embedded[12:16]), source),
                (address(embedded[16:20]), destination),
            )
    return None


def too_big(report, label, size, to, mtu, routers):
    sock = udp("sub1")
    sock.setsockopt(0, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)  # DF set, whatever the kernel has learned
    icmp = raw_icmp("sub1")
    sock.sendto(os.urandom(size - 28), (to, ECHO_PORT))
    port = sock.getsockname()[1]
    error = fragmentation_needed(icmp, port)
    if not report.check(f"{label}: ICMP fragmentation needed arrives", error is not None):
        return
    report.check(f"{label}: from the router that could not send on", error[0] in routers, error[0])
    report.check(f"{label}: with that link's MTU", error[1] == mtu, error[1])
    report.check(f"{label}: quotes the subscriber's own packet", error[2:] == ((INSIDE, port), (to, ECHO_PORT)), error[2:])


def fits(report, label, size, to, discover):
    sock = udp("sub1")
    sock.setsockopt(0, IP_MTU_DISCOVER, discover)
    message = os.urandom(size - 28)
    answer = ask(sock, message, (to, ECHO_PORT))
    report.check(label, answer is not None and answer[0] == message)


def tcp_both_ways(report, to):
    """A fresh connection: the kernel sends full segments with DF until the ICMP error tells it better."""
    sock = tcp("sub1")
    sock.connect((to, ECHO_PORT))
    message = os.urandom(1_000_000)
    got = talks(sock, message)
    report.check(f"1 MB by TCP to {to} and back", got == message, len(got))


if __name__ == "__main__":
    egress, behind = int(sys.argv[1]), int(sys.argv[2])
    report = Report()
    fits(report, f"{egress} bytes with DF pass the egress", egress, SRV, IP_PMTUDISC_PROBE)
    too_big(report, "one byte more", egress + 1, SRV, egress, ["100.64.0.1"])
    too_big(report, "1500 bytes", 1500, SRV, egress, ["100.64.0.1"])
    fits(report, "1500 bytes without DF are fragmented", 1500, SRV, IP_PMTUDISC_DONT)
    fits(report, f"{behind} bytes with DF reach the far host", behind, FAR, IP_PMTUDISC_PROBE)
    # The router's error comes in from outside and is translated: RFC 5508 REQ-4.
    too_big(report, "narrow link behind", egress, FAR, behind, [SRV, "10.255.1.1"])
    fits(report, "without DF the router behind fragments", egress, FAR, IP_PMTUDISC_DONT)
    tcp_both_ways(report, SRV)
    tcp_both_ways(report, FAR)
    report.exit()
