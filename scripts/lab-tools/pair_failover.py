#!/usr/bin/python3
"""One takeover, measured: how long the numbered datagrams of pair_gap.py stand still, and which of the sessions of pair_many.py
are lost. Run by lib/failover; commands on standard input (commands.py): `begin` and `gap` of the one, `open`, `ripen`, `killed`,
`use` and `verify` of the other, and

    flow SECONDS          the stream goes on for that long. A kernel that has just learnt a neighbour believes no gratuitous ARP of it
                          for a second, and no takeover in real life comes so soon after
    record NAME=VALUE...  what both found last, as one line of JSON with these numbers beside
"""

import gc
import json

from commands import serve
from pair_gap import Gap
from pair_many import Many


class Failover:
    def __init__(self):
        # The stream is of a session as old as the others: what is measured is how long those stand still.
        self.stream, self.many = Gap(keeps=True), Many()

    def begin(self, report):
        # A collection among so many flows stops all threads for longer than some takeovers last.
        gc.disable()
        self.stream.begin(report)

    def gap(self, report, *bounds):
        self.stream.gap(report, *bounds)
        gc.enable()

    def record(self, _report, *beside):
        numbers = {name: float(value) for name, value in (one.split("=", 1) for one in beside)}
        print(json.dumps(self.stream.last | self.many.last | numbers), flush=True)


if __name__ == "__main__":
    failover = Failover()
    handlers = {name: getattr(failover.many, name) for name in ("open", "ripen", "killed", "use", "verify")}
    serve(handlers | {"flow": failover.stream.flow} | {name: getattr(failover, name) for name in ("begin", "gap", "record")})
