"""Flows of very many subscribers as frames of our own, for pair_many.py: one inside and one outside end, in one process.

A flow is a UDP, TCP or ICMP query session of a subscriber in 10.0.0.0/8 with the server 198.18.0.1; its number is in every
packet, so that whoever receives one knows whose it is, whatever the translation made of the rest. Ends of the pair's cables are
in `ref`, which has no address: the kernel says nothing of its own, and which chassis a frame goes to is its destination MAC.
"""

import os
import select
import socket
import struct
import subprocess
import time

from labnet import host
from packets import checksum

SOL_PACKET = 263
PACKET_IGNORE_OUTGOING = 23
SO_RCVBUFFORCE = 33

SERVER = socket.inet_aton("198.18.0.1")
PORT = 9000
ICMP, TCP, UDP = 1, 6, 17
SYN, SYN_ACK, ACK = 2, 18, 24
# At once under way; a port of the lab takes bursts of 2048 frames. Whose answer has not come for so long is probably lost and no part of a
# burst: others go meanwhile, or thousands that are lost would be waited for one window after the other.
WINDOW = 512
BURST_SECONDS = 0.2
WAITING = 16 * WINDOW
# A lost packet is no lost session: so often it is tried, so long is each tried.
TRIES = 6
TRY_SECONDS = 1.0
# How often is looked for what is overdue.
LOOK_SECONDS = 0.05
# When nothing at all comes for so long, the rest is not tried.
DEAD_SECONDS = 20.0
MARK = b"TdPr"


def mac(namespace, device):
    path = f"/sys/class/net/{device}/address"
    command = ["ip", "netns", "exec", f"{os.environ['LAB_PREFIX']}-{namespace}", "cat", path]
    return bytes.fromhex(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().replace(":", ""))


def port(device):
    with host("ref"):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    sock.bind((device, 0x0800))
    sock.setblocking(False)
    return sock


class Flow:
    """`public` is (protocol, address, port or query id) as the server sees it; `opened` when it first did."""

    __slots__ = ("number", "protocol", "address", "port", "public", "opened", "out", "back", "seen", "done", "tried", "deadline")

    def __init__(self, number, protocol, address, port):
        self.number, self.protocol, self.address, self.port = number, protocol, address, port
        self.public = self.opened = self.out = self.back = None


def packet(flow_number, protocol, source, source_port, destination, destination_port, flags=0):
    """An IPv4 packet with its checksums. ICMP: a request to the server, a reply from it."""
    payload = MARK + struct.pack("!I", flow_number) + MARK
    if protocol == ICMP:
        ident = destination_port if source == SERVER else source_port
        head = struct.pack("!BBHHH", 0 if source == SERVER else 8, 0, 0, ident, 1)
        body = head[:2] + struct.pack("!H", checksum(head + payload)) + head[4:] + payload
    elif protocol == UDP:
        length = 8 + len(payload)
        head = struct.pack("!HHHH", source_port, destination_port, length, 0)
        pseudo = source + destination + struct.pack("!BBH", 0, UDP, length)
        body = head[:6] + struct.pack("!H", checksum(pseudo + head + payload) or 0xFFFF) + payload
    else:
        # The initial sequence number of either end is the flow's number.
        payload = b"" if flags & SYN else payload
        sequence = flow_number if flags & SYN else flow_number + 1
        head = struct.pack("!HHIIBBHHH", source_port, destination_port, sequence, 0 if flags == SYN else flow_number + 1, 5 << 4, flags, 65535, 0, 0)
        pseudo = source + destination + struct.pack("!BBH", 0, TCP, len(head) + len(payload))
        body = head[:16] + struct.pack("!H", checksum(pseudo + head + payload)) + head[18:] + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0) + source + destination
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def number_of(data):
    """The flow a frame is of and its TCP flags; None for what is not ours."""
    if data[23] == TCP:
        flags = data[47]
        if flags & SYN:
            return int.from_bytes(data[38:42]), flags
        return (int.from_bytes(data[58:62]), flags) if data[54:58] == MARK else (None, 0)
    return (int.from_bytes(data[46:50]), 0) if data[42:46] == MARK else (None, 0)


class Wire:
    """Both ends, and what the server has seen of public tuples."""

    def __init__(self):
        self.inside, self.outside = port("in0"), port("out0")
        self.own = mac("ref", "in0"), mac("ref", "out0")
        self.poll = select.epoll()
        for sock in (self.inside, self.outside):
            self.poll.register(sock, select.EPOLLIN)
        self.use(1)
        self.flows = {}
        self.resent = 0
        # Public tuple -> (subscriber, when it was seen last), and those that two subscribers had within the quarantine.
        self.owners = {}
        self.taken = []

    def use(self, number):
        """Both ends send to this chassis from now on."""
        # A port has its tap's address, and that is there while tandemd is. LAB_PORTS names the devices of a chassis without taps.
        dut = {1: "dut", 2: "dut2"}[number]
        macs = [mac(dut, device) for device in os.environ.get("LAB_PORTS", "inside0 outside0").split()]
        self.head_in, self.head_out = (macs[i] + self.own[i] + b"\x08\x00" for i in (0, 1))

    def add(self, protocol, address, port):
        number = len(self.flows) + 1
        flow = self.flows[number] = Flow(number, protocol, address, port)
        return flow

    def own_tuple(self, flow, public, now, quarantine):
        before = self.owners.get(public)
        if before and before[0] != flow.address and now - before[1] < quarantine:
            self.taken.append((public, socket.inet_ntoa(before[0]), socket.inet_ntoa(flow.address), now - before[1]))
        self.owners[public] = (flow.address, now)

    def send_out(self, flow, flags):
        if flags:
            frame = packet(flow.number, TCP, flow.address, flow.port, SERVER, PORT, flags)
        else:
            if flow.out is None:
                flow.out = packet(flow.number, flow.protocol, flow.address, flow.port, SERVER, PORT, ACK)
            frame = flow.out
        self.inside.send(self.head_in + frame)

    def send_back(self, flow, public, flags):
        if flags or public != flow.public:
            frame = packet(flow.number, public[0], SERVER, PORT, public[1], public[2], flags or ACK)
        else:
            if flow.back is None:
                flow.back = packet(flow.number, public[0], SERVER, PORT, public[1], public[2], ACK)
            frame = flow.back
        self.outside.send(self.head_out + frame)

    def exchange(self, flows, syn=False, inward=False, tries=TRIES, quarantine=120.0):
        """One packet out and one back for each flow (`inward`: only one in, to the public tuple that is known), again when
        nothing comes. Returns those that got through; `seen` is the public tuple each was seen with."""
        waiting = iter(flows)
        under_way, good = {}, []
        more, through, last = True, 0, time.monotonic()
        look, silent = last + LOOK_SECONDS, 0
        while more or under_way:
            now = time.monotonic()
            while more and len(under_way) < min(silent + WINDOW, WAITING):
                flow = next(waiting, None)
                if flow is None:
                    more = False
                    break
                flow.seen, flow.done, flow.tried = None, False, 0
                under_way[flow.number] = flow
                self.attempt(flow, syn, inward, now)
            if self.poll.poll(LOOK_SECONDS):
                self.hear_outside(under_way, syn, quarantine)
                self.hear_inside(under_way, good)
            # By the clock, not when nothing comes: heartbeats and advertisements of the chassis come here all the time.
            now = time.monotonic()
            if len(good) > through:
                through, last = len(good), now
            if now < look:
                continue
            look = now + LOOK_SECONDS
            if now - last > DEAD_SECONDS:
                break
            resent = 0
            for flow in [flow for flow in under_way.values() if flow.deadline < now]:
                if flow.tried >= tries:
                    del under_way[flow.number]
                elif resent < WINDOW:
                    resent += 1
                    self.attempt(flow, syn, inward, now)
            self.resent += resent
            silent = sum(flow.deadline - now < TRY_SECONDS - BURST_SECONDS for flow in under_way.values())
        return good

    def attempt(self, flow, syn, inward, now):
        flow.tried += 1
        flow.deadline = now + TRY_SECONDS
        if inward:
            self.send_back(flow, flow.public, 0)
        else:
            self.send_out(flow, SYN if syn and flow.protocol == TCP else 0)

    def hear_outside(self, under_way, syn, quarantine):
        now = time.monotonic()
        for data in frames(self.outside):
            if data[30:34] != SERVER:
                continue
            number, flags = number_of(data)
            flow = self.flows.get(number)
            if flow is None:
                continue
            at = 38 if data[23] == ICMP else 34
            public = (data[23], data[26:30], int.from_bytes(data[at : at + 2]))
            self.own_tuple(flow, public, now, quarantine)
            if number in under_way:
                flow.seen = public
                self.send_back(flow, public, SYN_ACK if flags & SYN else 0)

    def hear_inside(self, under_way, good):
        for data in frames(self.inside):
            if data[26:30] != SERVER:
                continue
            number, _ = number_of(data)
            flow = under_way.get(number)
            at = 38 if data[23] == ICMP else 36
            if flow and data[30:34] == flow.address and int.from_bytes(data[at : at + 2]) == flow.port:
                del under_way[number]
                good.append(flow)


def frames(sock):
    """What has come, at most as much as a window at once."""
    for _ in range(WINDOW):
        try:
            yield sock.recv(2048)
        except BlockingIOError:
            return
