#!/usr/bin/python3
"""Sessions of every kind that a takeover has to carry, held by ordinary sockets: downloads, an idle TCP connection, UDP and ICMP
queries, NAT64, the firewall alone, a port forward. Commands on standard input (commands.py), NAME is a group of sessions:

    open NAME           opens one of each kind
    ripen NAME SECONDS  waits until the youngest of them has that age
    age NAME SECONDS    checks that the oldest of them is younger than that
    alive NAME          each works in both directions and has its public end still
    gone NAME           none works any more, and none reaches anybody else's: what the standby was not told
    download NAME       starts a download of 100 MiB over the connection of the group's download session, slowly
    finish NAME         checks that it is under way still, lets it go, and checks that it arrived whole and on the same public end
"""

import contextlib
import hashlib
import os
import socket
import struct
import threading
import time

from commands import serve
from labnet import ECHO_PORT, SRV, hears, raw_icmp, talks, tcp, udp, wait_for
from packets import checksum
from rfc6052 import embed

PREFIX64 = "2001:db8:64::/96"
SRV6 = "2001:db8:0:2::1"
FORWARD = ("203.0.113.200", 8080)
# How long something that should come may take; retransmissions across the move of the traffic are part of it.
PATIENCE = 20.0
# How long something that should not come is waited for.
SILENCE = 1.5


class Session:
    """`public` is what the far end sees; `opened` a moment when the session was there already."""

    def __init__(self, name):
        self.name = name
        self.public = self.open()
        self.opened = time.monotonic()


class Stream(Session):
    """A TCP connection with an echo server; idle between checks, as an ssh session is."""

    def __init__(self, name, client, to, address="0.0.0.0"):
        self.client, self.to, self.address = client, to, address
        super().__init__(name)

    def open(self):
        self.sock = tcp(self.client, address=self.address)
        self.sock.connect(self.to)
        self.sock.sendall(b"who?\n")
        return tuple(self.sock.recv(200).decode().split()[1:])

    def works(self, seconds):
        message = os.urandom(3000)
        with contextlib.suppress(OSError):
            return talks(self.sock, message, seconds) == message
        return False


class Query(Session):
    """UDP with a server of our own, which can speak first: no packet from inside helps the chassis to a session then."""

    def __init__(self, name, client, server, to, address):
        self.client, self.server_address, self.to, self.address = client, server, to, address
        super().__init__(name)

    def open(self):
        self.server = udp("srv", address=self.server_address)
        self.sock = udp(self.client, address=self.address)
        self.sock.connect((self.to, self.server.getsockname()[1]))
        return self.out(PATIENCE)

    def out(self, seconds):
        """The public end a datagram from inside has outside."""
        message = os.urandom(32)

        def once():
            self.sock.send(message)
            return hears(self.server, message, 0.5)

        source = wait_for(once, seconds)
        return source and source[:2]

    def comes_in(self, seconds):
        message = os.urandom(32)

        def once():
            self.server.sendto(message, self.public)
            return hears(self.sock, message, 0.5)

        return bool(wait_for(once, seconds))

    def works(self, seconds):
        return self.comes_in(seconds) and self.out(seconds) == self.public


class Ping(Session):
    """An ICMP query session: the server's kernel answers, and a raw socket beside it tells the public end."""

    def open(self):
        self.sock = raw_icmp("sub1", 0.5)
        self.watch = raw_icmp("srv", 0.5)
        self.id = os.getpid() + id(self) // 64 & 0xFFFF
        self.count = 0
        return wait_for(self.echo, PATIENCE)

    def echo(self):
        """One echo request and its reply: (public address, public id), or None."""
        self.count += 1
        message = os.urandom(16)
        head = struct.pack("!BBHHH", 8, 0, 0, self.id, self.count)
        head = head[:2] + struct.pack("!H", checksum(head + message)) + head[4:]
        self.sock.sendto(head + message, (SRV, 0))
        seen = answered = None
        with contextlib.suppress(TimeoutError):
            while not seen:
                data = self.watch.recv(2000)
                if data[20] == 8 and data[28:] == message:
                    seen = (socket.inet_ntoa(data[12:16]), *struct.unpack("!H", data[24:26]))
            while not answered:
                data = self.sock.recv(2000)
                answered = data[20] == 0 and data[24:26] == struct.pack("!H", self.id) and data[28:] == message
        return seen if answered else None

    def works(self, seconds):
        return wait_for(self.echo, seconds) == self.public


class Download(Session):
    """An HTTP connection that is asked who it is, then for a file, then who it is again."""

    def open(self):
        self.sock = tcp("sub1", timeout=PATIENCE)
        self.sock.connect((SRV, 80))
        self.file = self.sock.makefile("rb")
        self.reader = None
        return self.whoami()

    def get(self, path):
        self.sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {SRV}\r\n\r\n".encode())
        head = iter(lambda: self.file.readline().strip(), b"")
        fields = [line.lower() for line in head]
        return next(int(field.split(b":")[1]) for field in fields if field.startswith(b"content-length:"))

    def whoami(self):
        return tuple(self.file.read(self.get("/whoami")).decode().split())

    def start(self):
        self.hurry = threading.Event()
        self.result = None
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        """Slowly until there is a hurry, and so that the last third does not come to an end before: the file is on its way while the
        chassis change, however long that takes."""
        try:
            size = left = self.get("/100m.bin")
            digest = hashlib.sha256()
            while left and (data := self.file.read(min(left, 200_000))):
                digest.update(data)
                left -= len(data)
                self.hurry.wait(0.05 if left > size / 3 else 5)
            self.result = digest.hexdigest()
        except OSError as error:
            self.result = f"{error}"

    def works(self, seconds):
        """Is told by its checksum, while a download runs."""
        self.sock.settimeout(seconds)
        with contextlib.suppress(OSError, StopIteration):
            return bool(self.reader) or self.whoami() == self.public
        return False


class Group:
    def __init__(self):
        self.begun = time.monotonic()
        at_srv = (SRV, ECHO_PORT)
        srv64 = embed(PREFIX64, SRV)
        self.download = Download("HTTP connection")
        self.sessions = [
            self.download,
            Stream("idle TCP connection", "sub1", at_srv),
            Query("UDP query", "sub1", SRV, SRV, "0.0.0.0"),
            Ping("ICMP query"),
            Stream("NAT64 TCP connection", "sub1", (srv64, ECHO_PORT), "::"),
            Query("NAT64 UDP query", "sub2", SRV, srv64, "::"),
            Stream("firewall only, TCP connection", "sub1", (SRV6, ECHO_PORT), "::"),
            Query("firewall only, UDP query", "sub2", SRV6, SRV6, "::"),
            Stream("TCP connection by a port forward", "srv", FORWARD),
        ]


groups = {}


def open_(report, name):
    group = groups[name] = Group()
    for session in group.sessions:
        report.check(f"{session.name} ({name})", session.public is not None, session.public or "no answer")
    # The same number may be a port of one protocol and of another, or an identifier.
    protocol = [next((one for one in ("ICMP", "UDP") if one in session.name), "TCP") for session in group.sessions]
    public = [(of, session.public) for of, session in zip(protocol, group.sessions)]
    report.check(f"each with an end of its own ({name})", len(set(public)) == len(public))


def ripen(report, name, seconds):
    youngest = max(session.opened for session in groups[name].sessions)
    time.sleep(max(0.0, youngest + float(seconds) - time.monotonic()))
    report.check(f"the youngest ({name}) is {seconds} s old", True)


def age(report, name, seconds):
    oldest = time.monotonic() - groups[name].begun
    report.check(f"the oldest ({name}) is younger than {seconds} s", oldest < float(seconds), f"{oldest:.2f} s")


def alive(report, name):
    for session in groups[name].sessions:
        report.check(f"{session.name} ({name}) works, both ways, as {session.public[0]} {session.public[1]}", session.works(PATIENCE))


# What needs no session to get through: a static mapping and the permission to go out make a new one at once.
def gone(report, name):
    owned = {other.public for key, group in groups.items() if key != name for other in group.sessions}
    for session in groups[name].sessions:
        if isinstance(session, Query):
            report.check(f"{session.name} ({name}) is not known from outside", not session.comes_in(SILENCE))
            public = session.out(PATIENCE)
            report.check(f"{session.name} ({name}) begins anew, on nobody's end", public and public not in owned, public)
        elif isinstance(session, Ping):
            public = wait_for(session.echo, PATIENCE)
            report.check(f"{session.name} ({name}) begins anew, on nobody's end", public and public not in owned, public)
        else:
            report.check(f"{session.name} ({name}) is gone", not session.works(SILENCE))


def download(_report, name):
    groups[name].download.start()


def finish(report, name):
    one = groups[name].download
    report.check(f"a download is under way ({name})", one.result is None, (one.result or "")[:16])
    one.hurry.set()
    one.reader.join(120)
    with open(f"{os.environ['LAB_DIR']}/100m.sha256") as file:
        want = file.read().strip()
    report.check(f"100 MiB arrived whole ({name})", one.result == want, (one.result or "still under way")[:16])
    one.reader = None
    report.check(f"over the same connection ({name})", one.works(PATIENCE), one.public)


if __name__ == "__main__":
    serve({"open": open_, "ripen": ripen, "age": age, "alive": alive, "gone": gone, "download": download, "finish": finish})
