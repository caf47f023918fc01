#!/usr/bin/python3
"""Stateless translation (RFC 7915, RFC 7757), held against tayga: the same packets to both, what comes out compared field by field.

usage: siit.py [NAME ...]     all packets, or only those whose names contain one of these, with what was seen
siit_packets.py has the packets; siit_differences.py is the table of what differs, why, and what Tandem's is to be then.
Everything else is equal, and every checksum that comes out of Tandem is right.
"""

import sys

from labnet import Report
from packets import checksum
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from siit_differences import DIFFERENCES
from siit_packets import CASES, marker
from twin import SYSTEMS, Twin

EXTENSIONS = (0, 43, 44, 60)
# tayga's way has two more routers than Tandem's: Linux before and behind its tun device.
EXTRA_HOPS = 2


def fields(packet, depth=0):
    """A packet as a flat dictionary of named fields; what an ICMP error quotes is named with a `>` before."""
    found = {}
    pre = ">" * depth
    if not packet:
        return found
    if packet[0] >> 4 == 4 and len(packet) >= 20:
        at = (packet[0] & 15) * 4
        header = IP(packet[:20])
        found[pre + "version"] = 4
        for name in ("tos", "len", "id", "frag", "ttl", "proto", "src", "dst"):
            found[pre + name] = getattr(header, name)
        found[pre + "flags"] = str(header.flags)
        found[pre + "options"] = packet[20:at].hex()
        found[pre + "header checksum"] = "right" if checksum(packet[:at]) == 0 else "WRONG"
        protocol, first = header.proto, header.frag == 0
        pseudo = packet[12:20]
        whole = header.frag == 0 and not header.flags.MF
    elif packet[0] >> 4 == 6 and len(packet) >= 40:
        header = IPv6(packet[:40])
        found[pre + "version"] = 6
        for name in ("tc", "fl", "plen", "src", "dst"):
            found[pre + name] = getattr(header, name)
        found[pre + "ttl"] = header.hlim
        at, protocol, first, whole = 40, header.nh, True, True
        pseudo = packet[8:40]
        while protocol in EXTENSIONS and len(packet) >= at + 8:
            found[f"{pre}extension {protocol}"] = packet[at : at + 8].hex()
            if protocol == 44:
                offset = int.from_bytes(packet[at + 2 : at + 4], "big")
                first, whole = offset >> 3 == 0, offset >> 3 == 0 and not offset & 1
                protocol, at = packet[at], at + 8
            else:
                protocol, at = packet[at], at + 8 + packet[at + 1] * 8
        found[pre + "proto"] = protocol
    else:
        found[pre + "bytes"] = packet.hex()
        return found
    body = packet[at:]
    if not first or len(body) < 8:
        found[pre + "body"] = body.hex()
        return found
    if whole and depth == 0 and (place := {6: 16, 17: 6, 1: 2, 58: 2}.get(protocol)) is not None:
        over = b"" if protocol == 1 else pseudo + len(body).to_bytes(4, "big") + bytes(3) + bytes([protocol])
        none = protocol == 17 and body[place : place + 2] == b"\0\0"
        found["checksum"] = "none" if none else "right" if checksum(over + body) == 0 else "WRONG"
        body = body[:place] + b"\0\0" + body[place + 2 :]
    if protocol in (1, 58) and depth == 0:
        found["icmp"] = f"{body[0]}/{body[1]}"
        found["icmp rest"] = body[4:8].hex()
        error = body[0] in (3, 4, 5, 11, 12) if protocol == 1 else body[0] < 128
        if error:
            # RFC 4884: what follows the quoted packet is its own field.
            quoted_length = (body[5] * 4 if protocol == 1 else body[4] * 8) if body[0] in ((3, 11, 12) if protocol == 1 else (1, 3)) else 0
            quote = body[8 : 8 + quoted_length] if quoted_length else body[8:]
            found |= fields(quote, depth + 1)
            found["behind the quote"] = body[8 + len(quote) :].hex()
            return found
        found["body"] = body[8:].hex()
        return found
    found[pre + "body"] = body.hex()
    return found


def came_out(out, hops):
    """What came out at both ends, in words that compare."""
    lists = {}
    for end, packets in out.items():
        lists[end] = []
        for packet in packets:
            found = fields(packet)
            # The systems' own messages are the first of their way and have not crossed the others.
            if found["src"] not in OWN:
                found["ttl"] += hops
            lists[end].append(found)
    return lists


OWN = ("100.64.0.1", "192.0.2.2", "2001:db8:0:1::1", "2001:db8:0:2::2")


def compare(tandem, ref):
    """The names of fields that differ: {name: (Tandem's, the other's)}."""
    differ = {}
    for end in ("in", "out"):
        mine, theirs = tandem[end], ref[end]
        if len(mine) != len(theirs):
            differ["packets " + end] = (len(mine), len(theirs))
            continue
        for ours, others in zip(mine, theirs):
            for name in sorted(ours.keys() | others.keys()):
                if ours.get(name) != others.get(name):
                    differ[name] = (ours.get(name), others.get(name))
    return differ


def main():
    only = sys.argv[1:]
    report = Report()
    twin = Twin(marker)
    for system in SYSTEMS:
        twin.ready(system)
    used = set()
    for name, end, packets in CASES:
        if only and not any(word in name for word in only):
            continue
        out = twin.both(end, [bytes(packet) for packet in packets])
        tandem, ref = came_out(out["tandem"], 0), came_out(out["ref"], EXTRA_HOPS)
        differ = compare(tandem, ref)
        allowed = set()
        ours = tandem["in"] + tandem["out"]
        wrong = [f"{field}: {value}" for found in ours for field, value in found.items() if value == "WRONG"]
        for difference in DIFFERENCES:
            if difference.is_about(name) and difference.field in differ:
                used.add(difference)
                allowed.add(difference.field)
                wrong += difference.faults(ours)
        bad = {field: values for field, values in differ.items() if field not in allowed}
        count = len(tandem["in"]), len(tandem["out"])
        report.check(f"{name} ({count[0]} in, {count[1]} out)", not bad and not wrong, "; ".join(
            wrong + [f"{field}: tandem {mine}, tayga {theirs}" for field, (mine, theirs) in bad.items()]) if bad or wrong
            else f"differs in {', '.join(sorted(allowed))}" if allowed else "")
        if only:
            for label, lists in (("tandem", tandem), ("tayga", ref)):
                for where, packets in lists.items():
                    for found in packets:
                        print("     ", label, where, found)
    if not only:
        for difference in DIFFERENCES:
            report.check(f"still differs: '{difference.field}' of '{difference.names}'", difference in used, difference.why)
    report.exit()


if __name__ == "__main__":
    main()
