#!/usr/bin/python3
"""Reload by SIGHUP while connections run: a good file, files that must be refused, and a good one again.

TANDEMD_PID and LAB_DIR come from the environment. Held throughout: TCP connections with data flowing in a thread of their
own, and UDP mappings whose public tuples are known.
"""

import os
import pathlib
import signal
import threading
import urllib.error

from labnet import ECHO_PORT, SRV, Report, api, public_tuple, tcp, udp, wait_for

CONFIG = pathlib.Path(os.environ["LAB_DIR"], "tandem.toml")
LOG = pathlib.Path(os.environ["LAB_DIR"], "logs", "tandemd.log")
CONNECTIONS = 20
MAPPINGS = 100

BAD_FILES = [
    ("an unknown key", lambda text: text.replace("prefixes = [", "prefixess = [", 1), "prefixess"),
    ("a rule that names a missing pool", lambda text: text.replace('pool = "cgn"', 'pool = "nowhere"', 1), "nowhere"),
    ("a file that is no TOML", lambda text: text + "\n[[[ what\n", "tandem.toml"),
    ("overlapping pools", lambda text: text + '\n[pools.second]\nprefixes = ["203.0.113.8/29"]\n', "203.0.113.8"),
]


class Talk(threading.Thread):
    """Keeps TCP connections busy: each sends and gets back numbered messages, one after the other."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socks = []
        for at in range(CONNECTIONS):
            sock = tcp(("sub1", "sub2")[at % 2], timeout=20)
            sock.connect((SRV, ECHO_PORT))
            self.socks.append(sock)
        self.rounds = 0
        self.fault = None
        self.over = threading.Event()

    def run(self):
        try:
            while not self.over.is_set():
                for at, sock in enumerate(self.socks):
                    message = f"{at} round {self.rounds};".encode()
                    sock.sendall(message)
                    got = b""
                    while len(got) < len(message):
                        part = sock.recv(len(message) - len(got))
                        if not part:
                            raise ConnectionError(f"connection {at} ended")
                        got += part
                    if got != message:
                        raise ConnectionError(f"connection {at}: sent {message}, got {got}")
                self.rounds += 1
        except OSError as error:
            self.fault = error

    def goes_on(self):
        """Two more whole rounds from now on."""
        goal = self.rounds + 2
        return wait_for(lambda: self.fault or self.rounds >= goal, 30) and self.fault is None


def pool_addresses():
    try:
        return sum(pool["addresses"] for pool in api("/v1/pools"))
    except (OSError, urllib.error.URLError):
        return None


def generation():
    try:
        return api("/v1/config")["generation"]
    except (OSError, urllib.error.URLError):
        return None


def reload_with(text):
    # In one step: a reload that an earlier signal asked for never reads half a file.
    new = CONFIG.with_suffix(".new")
    new.write_text(text)
    new.replace(CONFIG)
    os.kill(int(os.environ["TANDEMD_PID"]), signal.SIGHUP)


def main():
    report = Report()
    good = CONFIG.read_text()
    talk = Talk()
    talk.start()
    held = [udp(("sub1", "sub2")[at % 2]) for at in range(MAPPINGS)]
    tuples = [public_tuple(sock) for sock in held]
    report.check("mappings before", None not in tuples and len(set(tuples)) == MAPPINGS, len(set(tuples)))
    start = pool_addresses()
    report.check("the pool has its addresses", start == 16, start)

    def untouched(label):
        report.check(f"{label}: TCP connections go on", talk.goes_on(), talk.fault or "")
        now = [public_tuple(sock) for sock in held]
        report.check(f"{label}: mappings keep their public tuples", now == tuples)
        fresh = [udp(("sub1", "sub2")[at % 2]) for at in range(MAPPINGS)]
        new = [public_tuple(sock) for sock in fresh]
        report.check(f"{label}: new flows work", None not in new)
        report.check(f"{label}: no public tuple twice", len(set(new) | set(tuples)) == 2 * MAPPINGS)

    more = good.replace('prefixes = ["203.0.113.0/28"]', 'prefixes = ["203.0.113.0/28", "203.0.113.64/28"]', 1)
    reload_with(more)
    grown = wait_for(lambda: pool_addresses() == 32)
    report.check("a good file is applied: the pool grows", grown, pool_addresses())
    untouched("after a good file")

    for label, spoil, named in BAD_FILES:
        said, before = LOG.stat().st_size, generation()
        reload_with(spoil(more))

        def complained():
            with LOG.open("rb") as log:
                log.seek(said)
                return named in log.read().decode(errors="replace")

        report.check(f"{label}: the log says what is wrong", wait_for(complained), f"looked for {named!r}")
        report.check(f"{label}: nothing changed", pool_addresses() == 32, pool_addresses())
        report.check(f"{label}: the program in force stays", before is not None and generation() == before, generation())
        untouched(label)

    # The file is the same each time, so only the generation tells that it was applied.
    for number in range(5):
        before = generation()
        reload_with(more)
        again = before is not None and wait_for(lambda: (generation() or 0) > before)
        report.check(f"reload {number + 1} of several in a row", again, f"generation {before}, then {generation()}")
    # Signals faster than reloads: some of them merge, but the last one counts.
    before = generation()
    for _ in range(5):
        reload_with(more)
    reload_with(good)
    final = wait_for(lambda: pool_addresses() == 16)
    report.check("many at once: the last file is in force", final and generation() > before, generation())
    untouched("after several")
    talk.over.set()
    talk.join(30)
    report.check("every byte of the TCP connections came back", talk.fault is None and talk.rounds > 10, talk.rounds)
    report.exit()


if __name__ == "__main__":
    main()
