#!/usr/bin/python3
"""The books of the box: every packet that entered it left it or is named by a drop counter.

Witnesses beside Tandem's own numbers are the kernel's counters at the far ends of its cables (namespace `net`, ports p-in
and p-out) and of its taps. In between, traffic is chosen so that the box makes no packet of its own and each drop is known.

    cables in + taps in  =  cables out + taps out + drops
"""

import contextlib
import os
import socket
import subprocess
import sys
import time

from labnet import ECHO_PORT, SRV, Report, api, counters, drops, host, public_tuple, tcp, udp, wait_for
from packets import ipv4, raw, tcp_segment, udp_datagram

CABLES = ("p-in", "p-out")
TAPS = ("inside0", "outside0")
# Sent into the box to be refused there, each kind with the reason it must be counted under.
REFUSED = 500


def device_counters(name, devices):
    """{device: (received packets, sent packets, drops on sending)} of a host's devices."""
    found = {}
    with host(name), open("/proc/thread-self/net/dev") as table:
        for line in table:
            device, _, numbers = line.partition(":")
            if device.strip() in devices:
                fields = [int(n) for n in numbers.split()]
                found[device.strip()] = (fields[1], fields[9], fields[11])
    if len(found) != len(devices):
        raise SystemExit(f"{name}: expected {devices}, found {sorted(found)}")
    return found


def books():
    """Everything counted, at one moment that is not quite one moment: compare only when traffic rests."""
    cables = device_counters("net", CABLES)
    taps = device_counters("dut", TAPS)
    ports = [row["counters"] for row in api("/v1/interfaces")]
    workers = api("/v1/workers")
    return {
        # What the cable's far end sent, the box received; a veth counts what did not fit its ring as a drop of the sender.
        "cables in": sum(sent for _, sent, _ in cables.values()),
        "cables out": sum(received for received, _, _ in cables.values()),
        "cable drops": sum(lost for _, _, lost in cables.values()),
        "taps in": sum(sent for _, sent, _ in taps.values()),
        "taps out": sum(received for received, _, _ in taps.values()),
        "ports received": sum(port["rx-packets"] for port in ports),
        "ports sent": sum(port["tx-packets"] for port in ports),
        "port losses": sum(port[key] for port in ports for key in ("rx-missed", "rx-no-buffer", "rx-errors", "tx-errors")),
        "workers received": sum(worker["rx-packets"] for worker in workers),
        "workers sent": sum(worker["tx-packets"] for worker in workers),
        "drops": sum(drops().values()),
    }


def settled():
    """The books once two looks half a second apart agree: nothing is under way and the counters are published."""
    last = books()
    for _ in range(60):
        time.sleep(0.5)
        now = books()
        if now == last:
            break
        last = now
    return last


def echo_datagrams(report, name, count):
    """Numbered datagrams, a window of 32 at a time; each must come back."""
    sock = udp(name, timeout=3.0)
    missing = set(range(count))
    for start in range(0, count, 32):
        numbers = range(start, min(start + 32, count))
        for number in numbers:
            sock.sendto(number.to_bytes(4, "big") + b"." * 500, (SRV, ECHO_PORT))
        with contextlib.suppress(TimeoutError):
            for _ in numbers:
                missing.discard(int.from_bytes(sock.recv(2000)[:4], "big"))
    report.check(f"{name}: {count} datagrams, none lost", not missing, f"{len(missing)} missing")


def echo_stream(report, name, size):
    sock = tcp(name, timeout=30)
    sock.connect((SRV, ECHO_PORT))
    message = os.urandom(65536)
    good = 0
    for _ in range(size // len(message)):
        sock.sendall(message)
        got = b""
        while len(got) < len(message) and (part := sock.recv(65536)):
            got += part
        good += got == message
    sock.shutdown(socket.SHUT_WR)
    report.check(f"{name}: {size} bytes by TCP and back", good == size // len(message), good)


def refused_packets(public_address):
    """Packets from outside that the box must refuse, by the reason it must give. None of them is answered by ICMP."""
    outside = raw("srv")
    # A port far from the ones in use: nobody has mapped it.
    target = (public_address, 65001)
    datagram = ipv4(SRV, public_address, 17, udp_datagram((SRV, 4711), target, b"unsolicited"))
    segment = ipv4(SRV, public_address, 6, tcp_segment((SRV, 4711), target, flags=16))
    for _ in range(REFUSED):
        outside.sendto(datagram, (public_address, 0))
    # A pure ACK from inside belongs to no session: it must not make one.
    stray = ipv4("100.64.0.2", SRV, 6, tcp_segment(("100.64.0.2", 4712), (SRV, 4711), flags=16))
    inside = raw("sub1")
    for _ in range(REFUSED):
        inside.sendto(stray, (SRV, 0))
    for _ in range(REFUSED):
        outside.sendto(segment, (public_address, 0))


def main():
    report = Report()
    holder = udp("sub1")
    public = public_tuple(holder)
    if not report.check("a mapping stands", public is not None):
        report.exit()
    before, drops_before, counters_before = settled(), drops(), counters()

    for name in ("sub1", "sub2"):
        echo_datagrams(report, name, 20_000)
        echo_stream(report, name, 20 << 20)
        with host(name):
            ping = subprocess.run(["ping", "-qnc", "100", "-i", "0.01", SRV], capture_output=True, text=True)
        report.check(f"{name}: 100 pings answered", "100 received" in ping.stdout, ping.stdout.splitlines()[-2:])
    refused_packets(public[0])
    wait_for(lambda: drops()["no-mapping"] - drops_before["no-mapping"] >= REFUSED)

    after = settled()
    delta = {key: after[key] - before[key] for key in after}
    named = {name: total - drops_before[name] for name, total in drops().items() if total != drops_before[name]}
    for key, value in delta.items():
        print(f"     {key:18} {value}")
    print(f"     drops by name      {named}")

    # The stray TCP segments from outside may be told apart (no mapping) or not (no SYN): either names them.
    report.check("unsolicited datagrams counted, each", named.get("no-mapping", 0) in (REFUSED, 2 * REFUSED), named)
    report.check("all that was refused is counted by name", sum(named.values()) == 3 * REFUSED, sum(named.values()))
    report.check("the cables lost nothing", delta["cable drops"] == 0, delta["cable drops"])
    report.check("the ports lost nothing", delta["port losses"] == 0, delta["port losses"])
    report.check("the ports received what the cables brought", delta["ports received"] == delta["cables in"])
    report.check("the workers received what the ports did", delta["workers received"] == delta["ports received"])
    report.check("what the ports sent left by the cables", delta["ports sent"] == delta["cables out"])
    into = delta["cables in"] + delta["taps in"]
    out = delta["cables out"] + delta["taps out"] + delta["drops"]
    good = report.check("in = out + drops", into == out, f"{into} in, {out} accounted for")
    if not good:
        now = counters()
        moved = {f"{g}/{n}": now[g, n] - was for (g, n), was in counters_before.items() if now[g, n] != was}
        print(f"     counters that moved: {moved}")
        with host("dut"):
            for device in ("dut-in", "dut-out"):
                print(subprocess.run(["ethtool", "-S", device], capture_output=True, text=True).stdout)
    sys.stdout.flush()
    report.exit()


if __name__ == "__main__":
    main()
