#!/usr/bin/python3
"""The judgements a NAT makes, one line each, in words that do not depend on ports drawn at random: two runs that judge alike
print alike. 34 subscribers: 100.64.0.2 and 100.64.1.1-16 on sub1, 100.64.0.3 and 100.64.2.1-16 on sub2.
"""

import contextlib
import random
import socket
import subprocess

from labnet import ECHO_PORT, FAR, SRV, SRV2, Report, ask, hears, host, public_tuple, raw_icmp, tcp, udp
from packets import ipv4, raw, tcp_segment, udp_datagram

SUBSCRIBERS = [("sub1", "100.64.0.2"), ("sub2", "100.64.0.3")]
SUBSCRIBERS += [(f"sub{n}", f"100.64.{n}.{i}") for n in (1, 2) for i in range(1, 17)]


def mappings(report):
    """Endpoint-independent mapping, paired pooling, no public tuple twice: RFC 4787 REQ-1, REQ-2, REQ-3."""
    same = paired = 0
    owners = {}
    held = []
    for name, address in SUBSCRIBERS:
        mine = set()
        for _ in range(20):
            sock = udp(name, address=address)
            held.append(sock)
            seen = {public_tuple(sock, server) for server in (SRV, SRV2, FAR)}
            if seen == {None}:
                break  # this subscriber gets no answer at all: no need to wait for 20 time-outs
            same += len(seen) == 1 and None not in seen
            mine |= {public for public in seen if public}
        paired += len({public[0] for public in mine}) == 1
        for public in mine:
            owners.setdefault(public, set()).add(address)
    count = len(SUBSCRIBERS)
    report.check("one mapping for all destinations", same == 20 * count, f"{same} of {20 * count} sockets")
    report.check("a subscriber keeps one public address", paired == count, f"{paired} of {count} subscribers")
    report.check("no public tuple has two owners", len(owners) == 20 * count, f"{len(owners)} tuples")
    report.check("all public addresses are the pool's", all(a.startswith("203.0.113.") for a, _ in owners))


def same_port_everywhere(report):
    """All subscribers use the same inside port at once: each still hears its own answers."""
    socks = [(address, udp(name, 5555, address)) for name, address in SUBSCRIBERS]
    for address, sock in socks:
        sock.sendto(address.encode(), (SRV, ECHO_PORT))
    right = 0
    for address, sock in socks:
        with contextlib.suppress(TimeoutError):
            right += sock.recvfrom(100)[0] == address.encode()
    report.check("equal inside ports do not mix", right == len(socks), f"{right} of {len(socks)}")


def hairpins(report):
    """Every subscriber talks to the next one's public tuple: across owners when there are several workers."""
    socks = [udp(name, address=address) for name, address in SUBSCRIBERS]
    public = [public_tuple(sock) for sock in socks]
    if not report.check("all have mappings", None not in public):
        return
    there = back = 0
    for at, sock in enumerate(socks):
        following = (at + 1) % len(socks)
        message = f"hairpin {at}".encode()
        sock.sendto(message, public[following])
        source = hears(socks[following], message)
        there += source == public[at]
        if source:
            socks[following].sendto(message, source)
            back += hears(sock, message) == public[following]
    report.check("hairpin reaches, source is public", there == len(socks), there)
    report.check("hairpin answers return", back == len(socks), back)


def filtering(report):
    """Who may answer to a mapping: recorded, not judged; the policy is the config's."""
    sock = udp("sub1")
    public = public_tuple(sock)
    for label, name in (("another port of the same host", "srv"), ("a host never contacted", "srv2")):
        udp(name).sendto(label.encode(), public)
        print(f"note filtering, from {label}: {'passes' if hears(sock, label.encode(), 1.0) else 'refused'}")
    nobody = (public[0], 1024 + (public[1] + 30000) % 60000)
    udp("srv").sendto(b"unsolicited", nobody)
    report.check("a port nobody mapped reaches nobody", hears(sock, b"unsolicited", 0.5) is None)


def tcp_cases(report):
    right = 0
    for name, address in SUBSCRIBERS:
        sock = tcp(name, address=address)
        with contextlib.suppress(OSError):
            sock.connect((SRV, ECHO_PORT))
            sock.sendall(b"before the half-close")
            sock.shutdown(socket.SHUT_WR)
            right += sock.recv(100) == b"before the half-close" and sock.recv(100) == b""
        sock.close()
    report.check("TCP: data and an orderly end", right == len(SUBSCRIBERS), right)
    refused = 0
    for name, address in SUBSCRIBERS:
        sock = tcp(name, address=address)
        try:
            sock.connect((SRV, 81))
        except ConnectionRefusedError:
            refused += 1
        except OSError:
            pass
        sock.close()
    report.check("TCP: a closed port refuses at once", refused == len(SUBSCRIBERS), refused)
    # A stray segment from outside at a mapped UDP port's number: nothing comes through as TCP.
    public = public_tuple(udp("sub1"))
    raw("srv").sendto(ipv4(SRV, public[0], 6, tcp_segment((SRV, 99), public, 16)), (public[0], 0))


def icmp_cases(report):
    refused = 0
    for name, address in SUBSCRIBERS:
        sock = udp(name, address=address)
        sock.connect((SRV, 9999))
        sock.send(b"closed")
        try:
            sock.recv(10)
        except ConnectionRefusedError:
            refused += 1
        except TimeoutError:
            pass
    report.check("ICMP port unreachable comes back", refused == len(SUBSCRIBERS), refused)
    pings = []
    for name, address in SUBSCRIBERS:
        with host(name):
            pings.append(subprocess.Popen(["ping", "-qnc", "5", "-i", "0.1", "-W", "2", "-I", address, SRV],
                                          stdout=subprocess.PIPE, text=True))
    good = sum("5 received" in ping.communicate(timeout=60)[0] for ping in pings)
    report.check("all ping at once", good == len(SUBSCRIBERS), good)
    icmp = raw_icmp("sub1", timeout=2.0)
    sender = raw("sub1")
    dying = ipv4("100.64.0.2", SRV, 17, udp_datagram(("100.64.0.2", 7777), (SRV, ECHO_PORT), b"x"), ttl=1)
    kind = None
    for _ in range(3):  # a router may ration its ICMP errors (RFC 1812 4.3.2.8): ask again
        sender.sendto(dying, (SRV, 0))
        with contextlib.suppress(TimeoutError):
            packet = icmp.recv(2000)
            kind = (socket.inet_ntoa(packet[12:16]), *packet[20:22])
            break
    report.check("TTL 1 ends at the box", kind == ("100.64.0.1", 11, 0), kind)


def many_flows(report):
    socks = [udp(name, address=address) for name, address in SUBSCRIBERS for _ in range(30)]
    order = list(range(len(socks)))
    random.shuffle(order)
    good = 0
    for at in order:
        message = f"flow {at}".encode()
        answer = ask(socks[at], message, (SRV, ECHO_PORT))
        good += answer is not None and answer[0] == message
    report.check("flows in any order answered", good == len(socks), f"{good} of {len(socks)}")


if __name__ == "__main__":
    report = Report()
    for part in (mappings, same_port_everywhere, hairpins, filtering, tcp_cases, icmp_cases, many_flows):
        part(report)
    report.exit()
