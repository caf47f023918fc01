#!/usr/bin/python3
"""How long traffic through the pair stands still: numbered datagrams, one each millisecond, from a subscriber to a server, each sent
back at once. Run by tests and benches of takeovers; commands on standard input (commands.py):

    begin                 the stream starts, and has been answered
    gap MOST_MS [LOST]    waits until it flows again after an interruption that has begun, ends it, and judges it: the longest silence in each
                          direction at most MOST_MS, and at most LOST of the datagrams not answered. `-` judges nothing
    flow SECONDS          the stream goes on for that long
    mark                  what is sent from now on is judged by the next `planned`
    planned LOST SENT     waits until so many datagrams have been sent since then, and judges them: at most LOST not answered. The stream
                          goes on
    end                   ends the stream
    json NAME=VALUE...    a line `{"gap_ms": ...}` of what was judged last, with these beside

Arguments: the subscriber and the server, as HOST HOST ADDRESS (sub1 srv 192.0.2.1).

A silence is the time between the sending of the last datagram that arrived before it and the first that arrived after it, so a
sender that was not scheduled counts as silence, and one that waited in a queue does not.
"""

import json
import struct
import sys
import threading
import time

import labnet
from commands import serve

INTERVAL_S = 0.001
PORT = 4001
# So long without an interruption means that it flows again.
QUIET_S = 1.0


class Gap:
    def __init__(self, inside="sub1", outside="srv", address=labnet.SRV, keeps=False):
        self.inside, self.outside, self.address = inside, outside, address
        # Whether every stream is of the same ends, so that the session of the first one goes on.
        self.keeps = keeps
        self.server = self.client = None
        self.running = False
        self.last = {}

    def begin(self, report):
        if self.client is None:
            self.server = labnet.udp(self.outside, PORT, timeout=0.2)
            self.client = labnet.udp(self.inside, timeout=0.2)
        for late in (self.server, self.client):
            self.drain(late)
        self.sent, self.there, self.back = [], set(), set()
        self.running = True
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self.echo, self.hear, self.send)]
        for thread in self.threads:
            thread.start()
        answered = labnet.wait_for(lambda: len(self.back) > 200, 30)
        report.check("datagrams pass by the pair, one each millisecond", answered, f"{len(self.back)} of {len(self.sent)}")
        # What was lost until the first answer is none of a takeover's doing.
        self.first = min(self.back, default=0)

    @staticmethod
    def drain(sock):
        try:
            while True:
                sock.recv(64)
        except (TimeoutError, OSError):
            pass

    def send(self):
        at = time.monotonic()
        while self.running:
            number = len(self.sent)
            self.sent.append(time.monotonic())
            try:
                self.client.sendto(struct.pack("!Q", number), (self.address, PORT))
            except OSError:
                pass  # no route at the moment, or an ICMP error of an earlier one: it is lost
            at += INTERVAL_S
            time.sleep(max(0.0, at - time.monotonic()))

    def echo(self):
        while self.running:
            try:
                data, source = self.server.recvfrom(64)
                self.there.add(struct.unpack("!Q", data)[0])
                self.server.sendto(data, source)
            except (TimeoutError, OSError):
                continue

    def hear(self):
        while self.running:
            try:
                self.back.add(struct.unpack("!Q", self.client.recv(64))[0])
            except (TimeoutError, OSError):
                continue

    def flows(self, since):
        """Whether all datagrams of the last second but the very latest came back; none of them was sent before number `since`."""
        end = len(self.sent) - 100
        begin = end - int(QUIET_S / INTERVAL_S)
        return begin > since and all(number in self.back for number in range(begin, end))

    def gap(self, report, most_ms, lost_most="-"):
        since = len(self.sent)
        flows = labnet.wait_for(lambda: self.flows(since), 90)
        self.end(report)
        # One that does not flow again stands still until now.
        detail, lost = self.judge(self.first, max(self.back, default=0) if flows else len(self.sent) - 1)
        good = flows and (most_ms == "-" or self.last["gap_ms"] <= float(most_ms)) and (lost_most == "-" or lost <= int(lost_most))
        bound = "" if most_ms == "-" else f" after at most {most_ms} ms"
        report.check(f"the stream flows again{bound}", good, detail)

    def end(self, _report):
        self.running = False
        for thread in self.threads:
            thread.join()
        if not self.keeps:
            self.server.close(), self.client.close()
            self.client = None

    def flow(self, _report, seconds):
        time.sleep(float(seconds))

    def mark(self, _report):
        self.first = len(self.sent)

    def planned(self, report, lost_most, count):
        end = self.first + int(count)
        # What is on its way is not lost: it has a second.
        sent = labnet.wait_for(lambda: len(self.sent) > end + 1000, int(count) / 1000 + 90)
        detail, lost = self.judge(self.first, end)
        report.check(f"at most {lost_most} of {count} datagrams are lost", sent and lost <= int(lost_most), detail)

    def judge(self, first, end):
        """What became of the datagrams from one number to another, in words, and how many of them were lost."""
        end = min(end, len(self.sent) - 1)
        # Threads add to them.
        arrived, answered = self.there.copy(), self.back.copy()
        there, back = self.silence(arrived, first, end), self.silence(answered, first, end)
        lost = sum(number not in answered for number in range(first, end))
        self.last = {
            "gap_ms": round(max(there, back), 1),
            "gap_out_ms": round(there, 1),
            "gap_back_ms": round(back, 1),
            "lost": lost,
            "lost_out": sum(number not in arrived for number in range(first, end)),
            "sent": end - first,
        }
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.last.items()), lost

    def silence(self, arrived, first, end):
        """The longest, in milliseconds."""
        numbers = sorted({number for number in arrived if first <= number <= end} | {end})
        return max((self.sent[b] - self.sent[a] for a, b in zip(numbers, numbers[1:])), default=0.0) * 1000

    def json(self, _report, *beside):
        print(json.dumps(self.last | dict(one.split("=", 1) for one in beside)), flush=True)


if __name__ == "__main__":
    gap = Gap(*sys.argv[1:])
    serve({name: getattr(gap, name) for name in ("begin", "gap", "flow", "mark", "planned", "end", "json")})
