"""Tandem and another system side by side: a packet is sent to both, and what each lets out is collected, at both ends.

When is a packet that did not come out surely dropped? After it a marker goes the same way, and when that has come out another
one goes back: both systems keep the order of packets, so what the first packet caused, also an answer to its sender, has come
before the second marker. No clock decides a verdict; a bound only ends a broken run.

The wiring is that of scripts/lib/twin.sh.
"""

import contextlib
import itertools
import os
import select
import socket
import struct
import time

from labnet import host

SYSTEMS = ("tandem", "ref")
_DEVICES = {"tandem": "eth0", "ref": "to-ref"}
_ENDS = {"in": "sub1", "out": "srv"}
# The interface of each system whose MAC neighbours learn; in dut the tap.
_HOSTS = {"tandem": "dut", "ref": "ref"}
_INTERFACES = {"in": "inside0", "out": "outside0"}
_ETHERTYPE = {4: b"\x08\x00", 6: b"\x86\xdd"}
_ETH_P_ALL = 3
_SOL_PACKET = 263
_PACKET_IGNORE_OUTGOING = 23
_MARK = b"MARKER-OF-TWIN-"
OTHER = {"in": "out", "out": "in"}


def _mac(name, device):
    with host(name), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((device, 0))
        return sock.getsockname()[4]


class Twin:
    """`marker(end, payload)` makes an IP packet that enters at `end` and passes both systems with its payload whole."""

    def __init__(self, marker):
        # One CPU, so that the kernel delivers what we send in the order we send it.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        self._marker = marker
        self._numbers = itertools.count()
        self._socks = {}
        self._macs = {}
        self._seen = {}
        for system in SYSTEMS:
            for end, name in _ENDS.items():
                with host(name):
                    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
                sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
                sock.bind((_DEVICES[system], _ETH_P_ALL))
                self._socks[system, end] = sock
                self._macs[system, end] = _mac(_HOSTS[system], _INTERFACES[end]) + sock.getsockname()[4]
                self._seen[system, end] = []

    def send(self, system, end, packet):
        """An IP packet, as bytes, enters `system` at `end`."""
        self._socks[system, end].send(self._macs[system, end] + _ETHERTYPE[packet[0] >> 4] + packet)

    def _read(self, system, end):
        """What has arrived at an end goes to its list; the numbers of markers are returned."""
        marks = set()
        sock = self._socks[system, end]
        with contextlib.suppress(BlockingIOError):
            while True:
                frame = sock.recv(65535, socket.MSG_DONTWAIT)
                if frame[12:14] not in _ETHERTYPE.values():
                    continue
                packet = _without_padding(frame[14:])
                at = packet.find(_MARK)
                if at >= 0:
                    marks.add(int(packet[at + len(_MARK) :][:10]))
                elif not _is_chatter(packet):
                    self._seen[system, end].append(packet)
        return marks

    def _mark(self, system, end, seconds):
        number = next(self._numbers)
        payload = _MARK + b"%010d" % number
        self.send(system, end, self._marker(end, payload))
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            select.select([self._socks[system, OTHER[end]]], [], [], left)
            if number in self._read(system, OTHER[end]):
                return True
        return False

    def ready(self, system, seconds=30.0):
        """Waits until packets pass both ways: routes and neighbours of a system that just started may take a moment."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._mark(system, "in", 0.5) and self._mark(system, "out", 0.5):
                self.settle(system, "in")
                return
        raise SystemExit(f"FAIL no packet passes {system}")

    def settle(self, system, end):
        """What has come out since the last time, after all that was sent at `end` before has been dealt with:
        {"in": packets, "out": packets}."""
        for way in (end, OTHER[end]):
            if not self._mark(system, way, 10.0):
                raise SystemExit(f"FAIL {system} lost a marker sent at {way!r}, which nothing may stop")
        self._read(system, "in")
        self._read(system, "out")
        taken = {way: self._seen[system, way] for way in OTHER}
        for way in OTHER:
            self._seen[system, way] = []
        return taken

    def both(self, end, packets):
        """Sends packets to both systems at `end`: {system: {"in": packets, "out": packets}}."""
        for system in SYSTEMS:
            for packet in packets:
                self.send(system, end, packet)
        return {system: self.settle(system, end) for system in SYSTEMS}


def _without_padding(packet):
    """A frame may be padded to 60 bytes: as much as the IP header says."""
    if packet[0] >> 4 == 4:
        return packet[: struct.unpack("!H", packet[2:4])[0]]
    return packet[: 40 + struct.unpack("!H", packet[4:6])[0]]


def _is_chatter(packet):
    """Neighbour and router discovery and multicast membership of the systems themselves."""
    if packet[0] >> 4 == 4:
        return packet[16] >= 224
    return packet[24] == 0xFF or (packet[6] == 58 and 130 <= packet[40] <= 137)
