#!/usr/bin/python3
"""A hundred thousand sessions across the crash of a chassis, each known by its number and judged by its public tuple. Run by
lab-tests/pair-many.sh; commands on standard input (commands.py):

    open COUNT            sessions of new subscribers: 60 % UDP, 30 % TCP, 10 % ICMP queries
    ripen SECONDS         waits until the youngest has that age
    killed                a chassis died at this moment
    use N                 frames go to chassis N from now on
    verify SECONDS [all]  of the sessions with that age at the kill none is lost or has another public tuple; those that are
                          younger may be, and are opened anew. A packet from outside says first whether half of them are there, or all
    tuples                no public tuple was seen of two subscribers within the quarantine
    claim COUNT           sessions of new subscribers by each chassis, both of which are primary, so that many a public tuple is given by
                          both; those by chassis 2 are live from then on, and those by chassis 1 whose tuples chassis 2 has not given
    conflicts COUNT       so many public tuples both have given, by who counts them
    pace SECONDS          packets of all sessions, in a loop, for that long: none is lost but by a named number
"""

import socket
import struct
import time
from collections import Counter

from commands import serve
from pair_flows import ICMP, TCP, TRIES, UDP, Wire

# RFC 6888 REQ-8, across a takeover: redundancy spec, section 6.
QUARANTINE = 120.0
SESSIONS_EACH = 100


class Many:
    def __init__(self):
        self.wire = Wire()
        self.live = []
        self.kill = None
        self.subscribers = 0
        # What `verify` found last.
        self.last = {}
        # Public tuples that both chassis have given.
        self.both = set()

    def new(self, count):
        flows = []
        for at in range(count):
            if at % SESSIONS_EACH == 0:
                self.subscribers += 1
            address = struct.pack("!I", (10 << 24) + self.subscribers)
            kind = at % 10
            protocol = UDP if kind < 6 else TCP if kind < 9 else ICMP
            flows.append(self.wire.add(protocol, address, 10_000 + at % SESSIONS_EACH))
        return flows

    def begin(self, flows):
        """Those of them that now have a session, established if TCP."""
        good = self.wire.exchange(flows, syn=True, quarantine=QUARANTINE)
        for flow in good:
            flow.public, flow.back = flow.seen, None
        connections = [flow for flow in good if flow.protocol == TCP]
        established = set(map(id, self.wire.exchange(connections, quarantine=QUARANTINE)))
        good = [flow for flow in good if flow.protocol != TCP or id(flow) in established]
        now = time.monotonic()
        for flow in good:
            flow.opened = now
        return good

    def open(self, report, count):
        began, resent = time.monotonic(), self.wire.resent
        flows = self.new(int(count))
        good = self.begin(flows)
        self.live += good
        took = time.monotonic() - began
        detail = f"{len(good)} in {took:.1f} s, {self.wire.resent - resent} packets sent again"
        report.check(f"{count} sessions of new subscribers opened", len(good) == len(flows), detail)
        self.tuples(report)

    def ripen(self, _report, seconds):
        youngest = max(flow.opened for flow in self.live)
        time.sleep(max(0.0, youngest + float(seconds) - time.monotonic()))

    def killed(self, _report):
        self.kill = time.monotonic()

    def use(self, _report, number):
        self.wire.use(int(number))

    def verify(self, report, seconds, spoken_to="half"):
        began, resent = time.monotonic(), self.wire.resent
        aged = [flow for flow in self.live if self.kill - flow.opened >= float(seconds)]
        young = [flow for flow in self.live if self.kill - flow.opened < float(seconds)]
        # From outside first: a packet from inside could make a session that is not there. Half as often when all are asked, of
        # which very many may be lost.
        asked = [flow for flow in aged if spoken_to == "all" or flow.number % 2]
        heard = set(map(id, self.wire.exchange(asked, inward=True, tries=3 if spoken_to == "all" else TRIES)))
        unheard = [flow for flow in asked if id(flow) not in heard]
        answered = self.wire.exchange(aged, quarantine=QUARANTINE)
        moved = [flow for flow in answered if flow.seen != flow.public]
        there = set(map(id, answered))
        silent = [flow for flow in aged if id(flow) not in there]
        lost = set(map(id, unheard + moved + silent))
        kinds = Counter({ICMP: "icmp", TCP: "tcp", UDP: "udp"}[flow.protocol] for flow in aged if id(flow) in lost)
        self.last = {"sessions": len(self.live), "aged": len(aged), "sessions_lost": len(lost), "lost_by_protocol": kinds}
        detail = f"{len(lost)} of {len(aged)} lost (from outside {len(unheard)}, another tuple {len(moved)}, silent {len(silent)})"
        report.check(f"sessions aged {seconds} s or more at the kill are all there", aged and not lost, detail)
        for flow in [flow for flow in aged if id(flow) in lost][:5]:
            print(f"     lost: {shown(flow)}, seen as {shown_tuple(flow.seen)}, {self.kill - flow.opened:.1f} s old at the kill")
        # What was lost goes on with the tuple it has now, or anew: a later takeover does not lose it for this one.
        now = time.monotonic()
        for flow in [flow for flow in answered if id(flow) in lost]:
            flow.public, flow.back, flow.opened = flow.seen, None, now
        # The younger ones: as they are, or anew. Either way on nobody else's tuple, which own_tuple watches.
        kept = {id(flow) for flow in self.wire.exchange(young, tries=2, quarantine=QUARANTINE) if flow.seen == flow.public}
        again = self.begin(silent + [flow for flow in young if id(flow) not in kept])
        self.live = answered + [flow for flow in young if id(flow) in kept] + again
        print(f"     younger: {len(young)}, of them {len(kept)} still there, {len(again)} begun anew", flush=True)
        print(f"     {time.monotonic() - began:.1f} s, {self.wire.resent - resent} packets sent again", flush=True)
        self.tuples(report)

    def tuples(self, report):
        taken, self.wire.taken = self.wire.taken, []
        report.check("no public tuple was given to a second subscriber", not taken, f"{len(taken)} of {len(self.wire.owners)}")
        for public, before, after, ago in taken[:5]:
            print(f"     {shown_tuple(public)} was {before}'s {ago:.1f} s ago and is {after}'s")

    def claim(self, report, count):
        claimed, given = [], []
        for chassis in (1, 2):
            self.wire.use(chassis)
            flows = self.new(int(count))
            good = self.begin(flows)
            claimed.append(good)
            given.append({flow.public for flow in good})
            both = f", {len(given[0] & given[1])} ends given by both" if chassis == 2 else ""
            report.check(f"chassis {chassis} gives public ends to new subscribers", len(good) == len(flows), f"{len(good)} of {len(flows)}{both}")
        self.both = given[0] & given[1]
        self.live += claimed[1] + [flow for flow in claimed[0] if flow.public not in self.both]
        # They were given to two on purpose.
        self.wire.taken.clear()

    def conflicts(self, report, count):
        report.check("each public tuple that both have given is counted once", int(count) == len(self.both), f"{count} counted, {len(self.both)} given")

    def pace(self, report, seconds):
        rounds = sent = good = 0
        began = time.monotonic()
        while rounds == 0 or time.monotonic() - began < float(seconds):
            sample = self.live[rounds * 1000 % len(self.live) :][:1000]
            sent += len(sample)
            good += len(self.wire.exchange(sample, tries=1))
            rounds += 1
        rate = sent / (time.monotonic() - began)
        report.check("every packet of theirs comes through, both ways", good == sent, f"{good} of {sent}, {rate:.0f} a second each way")


def shown_tuple(public):
    return f"{public[0]} {socket.inet_ntoa(public[1])} {public[2]}" if public else "nothing"


def shown(flow):
    return f"{socket.inet_ntoa(flow.address)} {flow.port} as {shown_tuple(flow.public)}"


if __name__ == "__main__":
    many = Many()
    serve({name: getattr(many, name) for name in ("open", "ripen", "killed", "use", "verify", "tuples", "claim", "conflicts", "pace")})
