#!/usr/bin/python3
"""One takeover, measured: how long the numbered datagrams of pair_gap.py stand still, and which of the sessions of pair_many.py
are lost. Run by lib/failover; commands on standard input (commands.py): `begin` and `gap` of the one, `open`, `ripen`, `killed`,
`use` and `verify` of the other, and

    flow SECONDS          the stream goes on for that long. A kernel that has just learnt a neighbour believes no gratuitous ARP of it
                          for a second, and no takeover in real life comes so soon after
    after MS HOST DEVICE SOURCE PROTOCOL [PORT]
                          waits until so long after the next packet that this host sends by this device, from this address and of this IP protocol
                          (and to this port)
    record NAME=VALUE...  what both found last, as one line of JSON with these numbers beside; of `cut=` (seconds since the epoch) how long
                          that was after what `after` saw last
"""

import gc
import json
import socket
import struct
import time

import labnet
from commands import serve
from pair_gap import Gap
from pair_many import Many


ETH_P_ALL, ETH_P_IP = 3, 0x0800


class Failover:
    def __init__(self):
        # When the primary last said that it is there, in seconds since the epoch.
        self.beat = None
        # The stream is of a session as old as the others: what is measured is how long those stand still.
        self.stream, self.many = Gap(keeps=True), Many()

    def begin(self, report):
        # A collection among so many flows stops all threads for longer than some takeovers last.
        gc.disable()
        self.stream.begin(report)

    def gap(self, report, *bounds):
        self.stream.gap(report, *bounds)
        gc.enable()

    def after(self, report, ms, host, device, source, protocol, port="0"):
        with labnet.host(host):
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        # Of this device alone, and nothing before; that protocol also has what goes out.
        sock.bind((device, ETH_P_ALL))
        sock.settimeout(1.0)
        self.beat, until = None, time.monotonic() + 30
        with sock:
            while self.beat is None and time.monotonic() < until:
                try:
                    data, (_, ethertype, direction, _, _) = sock.recvfrom(64)
                except TimeoutError:
                    continue
                at = time.time()
                if ethertype != ETH_P_IP or direction != socket.PACKET_OUTGOING or len(data) < 28:
                    continue
                to_port = struct.unpack_from("!H", data, 4 * (data[0] & 15) + 2)[0]
                if data[9] == int(protocol) and data[12:16] == socket.inet_aton(source) and int(port) in (0, to_port):
                    self.beat = at
        report.check(f"{host} says by {device} that it is there", self.beat is not None)
        time.sleep(max(0.0, (self.beat or 0) + float(ms) / 1000 - time.time()))

    def record(self, _report, *beside):
        numbers = {name: float(value) for name, value in (one.split("=", 1) for one in beside)}
        cut = numbers.pop("cut", None)
        if cut is not None and self.beat is not None:
            numbers["beat_to_cut_ms"] = round((cut - self.beat) * 1000, 1)
        print(json.dumps(self.stream.last | self.many.last | numbers), flush=True)


if __name__ == "__main__":
    failover = Failover()
    handlers = {name: getattr(failover.many, name) for name in ("open", "ripen", "killed", "use", "verify")}
    serve(handlers | {"flow": failover.stream.flow} | {name: getattr(failover, name) for name in ("begin", "gap", "after", "record")})
