#!/usr/bin/python3
"""Opens many TCP connections from both subscribers to the echo server, all alive at once, and verifies every byte.

One process per subscriber. Each connection sends its own text and gets it back; when all of both subscribers stand, every
one is used a second time: only then is it proved that none was lost or crossed while the others came.

usage: many_connections.py PER_SUBSCRIBER [--hold | --count-sessions]
With --hold it says `standing` once all stand and closes them when standard input ends. With --count-sessions it asks
Tandem's API how many established TCP sessions each subscriber has.
"""

import argparse
import multiprocessing
import resource
import select
import socket
import sys
import time
import urllib.parse

from labnet import ECHO_PORT, SRV, Report, api, host

# How many handshakes may be under way at once: the test is about many standing connections, not about a SYN burst.
OPENING_MAX = 256
BOUND_SECONDS = 180


def one_round(socks, texts, poll, deadline):
    """Sends each connection its text and waits until each has it back; returns how many answered rightly."""
    got = {fd: b"" for fd in socks}
    good = 0
    waiting = set(socks)
    for fd, sock in socks.items():
        sock.sendall(texts[fd])
    while waiting and time.monotonic() < deadline:
        for fd, _ in poll.poll(1.0):
            if fd not in waiting:
                continue
            try:
                data = socks[fd].recv(4096)
            except OSError:
                data = b""
            got[fd] += data
            if not data or len(got[fd]) >= len(texts[fd]):
                waiting.discard(fd)
                good += got[fd] == texts[fd]
                if not data:
                    poll.unregister(fd)  # ended: level-triggered, it would be reported for ever
    return good


def subscriber(name, count, results, barrier, hold):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    deadline = time.monotonic() + BOUND_SECONDS
    poll = select.epoll()
    opening, socks, failed, started = {}, {}, [], 0
    while (started < count or opening) and time.monotonic() < deadline:
        with host(name):
            while started < count and len(opening) < OPENING_MAX:
                sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                sock.setblocking(False)
                started += 1
                try:
                    sock.connect((SRV, ECHO_PORT))
                except BlockingIOError:
                    pass
                except OSError as error:
                    failed.append(str(error))
                    continue
                opening[sock.fileno()] = sock
                poll.register(sock, select.EPOLLOUT)
        for fd, _ in poll.poll(1.0):
            sock = opening.pop(fd)
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                failed.append(f"connect: errno {error}")
                poll.unregister(fd)
                sock.close()
            else:
                poll.modify(fd, select.EPOLLIN)
                socks[fd] = sock
    failed += ["connect: no answer"] * (len(opening) + count - started)
    for fd in opening:
        poll.unregister(fd)

    first = one_round(socks, {fd: f"{name} {fd} first".encode() * 8 for fd in socks}, poll, deadline)
    barrier.wait(BOUND_SECONDS)  # both subscribers hold all they have
    again = one_round(socks, {fd: f"{name} {fd} again".encode() * 8 for fd in socks}, poll, deadline)
    results.put((name, len(socks), first, again, failed[:3]))
    if hold:
        hold.wait()
    barrier.wait(BOUND_SECONDS)  # nobody closes before both have counted
    for sock in socks.values():
        sock.close()


def established_sessions(inside_address):
    """All established TCP sessions of a subscriber with the echo server, page by page."""
    query = f"/v1/sessions?protocol=tcp&inside-address={inside_address}&outside-address={SRV}&outside-port={ECHO_PORT}&limit=10000"
    rows, page = [], ""
    while page is not None:
        answer = api(query + page)
        got = answer if isinstance(answer, list) else answer["rows"]
        rows += [row for row in got if row["state"] == "established"]
        following = None if isinstance(answer, list) else answer.get("next")
        page = f"&page={urllib.parse.quote(following)}" if following else None
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("per_subscriber", type=int)
    parser.add_argument("--hold", action="store_true")
    parser.add_argument("--count-sessions", action="store_true")
    options = parser.parse_args()
    count = options.per_subscriber
    need = count + 64
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 2 * need:
        raise SystemExit(f"the hard limit of open files is {hard}, the server needs {2 * need}: ulimit -Hn")
    results = multiprocessing.Queue()
    barrier = multiprocessing.Barrier(2)
    hold = multiprocessing.Event() if options.hold or options.count_sessions else None
    report = Report()
    workers = [
        multiprocessing.Process(target=subscriber, args=(name, count, results, barrier, hold), daemon=True)
        for name in ("sub1", "sub2")
    ]
    for worker in workers:
        worker.start()
    for _ in workers:
        name, opened, first, again, failed = results.get(timeout=2 * BOUND_SECONDS)
        report.check(f"{name}: {count} connections opened", opened == count, f"{opened} {' '.join(failed)}".strip())
        report.check(f"{name}: each echoed its own bytes", first == count, first)
        report.check(f"{name}: each still did when all stood", again == count, again)
    if options.count_sessions:
        for name, address in (("sub1", "100.64.0.2"), ("sub2", "100.64.0.3")):
            rows = established_sessions(address)
            report.check(f"{name}: Tandem has its {count} sessions", len(rows) == count, len(rows))
            public = {(row["public-address"], row["public-port"]) for row in rows}
            report.check(f"{name}: each with its own public port", len(public) == len(rows), len(public))
            report.check(f"{name}: on one public address", len({address for address, _ in public}) == 1)
    if options.hold:
        print("standing", flush=True)
        sys.stdin.read()
    if hold:
        hold.set()
    for worker in workers:
        worker.join(60)
    report.exit()


if __name__ == "__main__":
    main()
