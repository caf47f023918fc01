#!/usr/bin/python3
"""What only sockets and raw packets can show of NAT64: path MTU learned across the families (RFC 7915 sections 4.2 and 5.2, RFC
6146 section 3.5.3), fragments in any order, one mapping for all prefixes. Run by lab-tests/nat64.sh, whose addresses these are."""

import os
import random
import socket
import struct

from labnet import ECHO_PORT, FAR, SRV, SRV2, Report, ask, hears, host, public_tuple, raw_icmp, raw_icmp6, talks, tcp, udp, wait_for
from packets import fragments, raw, udp_datagram
from rfc6052 import embed
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.packet import Raw

PREFIXES = ("2001:db8:64::/96", "64:ff9b::/96", "2001:db8:6464::/64", "2001:db8:4000::/40", "3fff:32::/32")
CLIENT = "2001:db8:0:1::2"
SRV64, SRV264, FAR64 = (embed(PREFIXES[0], v4) for v4 in (SRV, SRV2, FAR))
IPV6_MTU_DISCOVER = 23
IPV6_PMTUDISC_PROBE = 3
IPV6_DONTFRAG = 62


def unfragmented(name):
    """A UDP socket whose datagrams leave whole or not at all, whatever the kernel has learned of the path."""
    sock = udp(name, address="::")
    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE)
    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_DONTFRAG, 1)
    return sock


def packet_too_big(report):
    """IPv6 packets of 1320 bytes are IPv4 packets of 1300, which is what the link to the far host takes."""
    sock = unfragmented("sub1")
    message = os.urandom(1320 - 48)
    answer = ask(sock, message, (FAR64, ECHO_PORT))
    report.check("1320 bytes pass an IPv4 link of 1300", answer is not None and answer[0] == message)
    icmp = raw_icmp6("sub1", 0.5)
    port = sock.getsockname()[1]
    for size, to, mtu, router in ((1321, FAR64, 1320, SRV64), (1500, FAR64, 1320, SRV64)):
        sock.sendto(os.urandom(size - 48), (to, ECHO_PORT))

        def error():
            try:
                data, source = icmp.recvfrom(2000)
            except TimeoutError:
                return None
            if data[0] != 2 or data[8 + 40 : 8 + 42] != struct.pack("!H", port):
                return None
            quoted = (socket.inet_ntop(socket.AF_INET6, data[16:32]), socket.inet_ntop(socket.AF_INET6, data[32:48]))
            return source[0], struct.unpack("!I", data[4:8])[0], quoted

        got = wait_for(error, 5.0)
        report.check(f"{size} bytes: packet too big from the IPv4 router, MTU {mtu}", got == (router, mtu, (CLIENT, to)), got)


def fragmentation_needed(report):
    """A client behind an IPv6 link of 1300: the IPv4 server learns 1280 from the IPv6 router's packet too big."""
    icmp = raw_icmp("srv", 0.5)
    sock = udp("ref", address="::")
    public = public_tuple(sock, SRV64)
    if not report.check("the client behind an IPv6 router has a mapping", public is not None and public[0].startswith("203.0.113.")):
        return
    server = udp("srv", address=SRV)
    server.setsockopt(0, 10, 3)  # IP_MTU_DISCOVER, IP_PMTUDISC_PROBE: DF, whatever was learned
    fits, large = os.urandom(1280 - 28), os.urandom(1281 - 28)
    server.sendto(fits, public)
    report.check("1280 bytes of IPv4 with DF pass an IPv6 link of 1300", hears(sock, fits) is not None)
    server.sendto(large, public)

    def error():
        try:
            data = icmp.recv(2000)[20:]
        except TimeoutError:
            return None
        if data[:2] != b"\x03\x04":
            return None
        address = socket.inet_ntoa
        return struct.unpack("!H", data[6:8])[0], address(data[20:24]), (address(data[24:28]), *struct.unpack("!H", data[30:32]))

    got = wait_for(error, 5.0)
    report.check("1281 bytes: fragmentation needed, MTU 1280, in IPv4 terms", got == (1280, SRV, public), got)


def tcp_across(report):
    for label, name, to in (
        ("over an IPv4 link of 1300", "sub1", FAR64),
        ("the IPv6 side of the box is the narrowest", "sub1", SRV64),
        ("over an IPv6 link of 1300", "ref", SRV64),
        ("over both", "ref", FAR64),
    ):
        sock = tcp(name, address="::")
        sock.connect((to, ECHO_PORT))
        message = os.urandom(200_000)
        got = talks(sock, message)
        report.check(f"200 kB by TCP and back, {label}", got == message, len(got))


def fragments_both_ways(report):
    sock = udp("sub1", address="::")
    for size in (1500, 4000, 8000):
        good = 0
        for _ in range(20):
            message = os.urandom(size)
            answer = ask(sock, message, (FAR64, ECHO_PORT))
            good += answer is not None and answer[0] == message
        report.check(f"20 datagrams of {size} bytes out and back", good == 20, good)
    port = sock.getsockname()[1]
    with host("sub1"):
        out = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
    for label, order in (("last first", (2, 1, 0)), ("first last", (1, 2, 0))):
        message = os.urandom(3000)
        whole = IPv6(src=CLIENT, dst=SRV64) / UDP(sport=port, dport=ECHO_PORT) / Raw(message)
        body = bytes(IPv6(bytes(whole)).payload)
        ident = random.randrange(1 << 32)
        parts = [
            bytes(IPv6(src=CLIENT, dst=SRV64, hlim=64) / IPv6ExtHdrFragment(nh=17, offset=at // 8, m=at + 1400 < len(body), id=ident)
                  / Raw(body[at : at + 1400]))
            for at in range(0, len(body), 1400)
        ]
        for index in order:
            out.sendto(parts[index], (SRV64, 0))
        report.check(f"3000 bytes out, {label}", hears(sock, message, 5) is not None)
    public = public_tuple(sock, SRV64)
    sender = raw("srv")
    for label, order in (("last first", (2, 1, 0)), ("first last", (1, 2, 0))):
        message = os.urandom(4000)
        packets = fragments(SRV, public[0], 17, udp_datagram((SRV, ECHO_PORT), public, message), random.randrange(1, 65536))
        for index in order:
            sender.sendto(packets[index], (public[0], 0))
        source = hears(sock, message, 5)
        report.check(f"4000 bytes in, {label}", source is not None and source[:2] == (SRV64, ECHO_PORT), source)


def one_mapping(report):
    sock = udp("sub1", address="::")
    # Each server by another prefix: two prefixes to one server would look the same from outside.
    seen = {public_tuple(sock, embed(prefix, v4)) for prefix, v4 in zip(PREFIXES, (SRV, SRV2, FAR))}
    report.check("one public end for all prefixes and servers", len(seen) == 1 and None not in seen, seen)
    good = 0
    for name in ("sub1", "ref"):
        for _ in range(50):
            other = udp(name, address="::")
            good += public_tuple(other, SRV264) is not None
    report.check("100 more flows answered", good == 100, good)


if __name__ == "__main__":
    report = Report()
    for part in (packet_too_big, fragmentation_needed, tcp_across, fragments_both_ways, one_mapping):
        part(report)
    report.exit()
