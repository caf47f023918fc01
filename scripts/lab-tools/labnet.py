"""Sockets in any namespace of the lab from one process.

A socket stays in the network namespace it was made in, so a test that needs three hosts does not need three
programs: it enters each namespace for the moment of making a socket. Python 3.11 has no os.setns, hence ctypes.
The namespaces' common prefix comes from the environment (LAB_PREFIX), as scripts/lib/lab.sh exports it.
"""

import contextlib
import ctypes
import json
import os
import select
import socket
import time
import urllib.request

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000

# Socket options Python's socket module does not name on Linux.
IP_MTU_DISCOVER = 10
IP_PMTUDISC_DONT = 0
IP_PMTUDISC_PROBE = 3

SRV = "192.0.2.1"
SRV2 = "192.0.2.3"
FAR = "198.51.100.10"
ECHO_PORT = 7


def _enter(path):
    with open(path) as namespace:
        if _libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns", path)


@contextlib.contextmanager
def host(name):
    """Within this block, new sockets belong to the lab's host of that name."""
    home = "/proc/self/ns/net"
    with open(home) as before:
        _enter(f"/run/netns/{os.environ['LAB_PREFIX']}-{name}")
        try:
            yield
        finally:
            if _libc.setns(before.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns back")


def _family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def udp(name, port=0, address="0.0.0.0", timeout=3.0):
    """A UDP socket on a host of the lab; of the family of `address` ("::" for IPv6)."""
    with host(name):
        sock = socket.socket(_family(address), socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind((address, port))
    sock.settimeout(timeout)
    return sock


def tcp(name, port=0, address="0.0.0.0", timeout=10.0):
    """A TCP socket, bound but neither connected nor listening; of the family of `address`."""
    with host(name):
        sock = socket.socket(_family(address), socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    sock.settimeout(timeout)
    return sock


def raw_icmp(name, timeout=3.0):
    """Receives every ICMP message that arrives at a host, with its IP header."""
    with host(name):
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    sock.settimeout(timeout)
    return sock


def raw_icmp6(name, timeout=3.0):
    """Receives every ICMPv6 message that arrives at a host, without its IPv6 header; the source is recvfrom's address."""
    with host(name):
        sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    sock.settimeout(timeout)
    return sock


def ask(sock, message, to, tries=1):
    """Sends a datagram and returns (answer, address), or None when nothing came within the socket's timeout.

    One try by default: a lost packet is a finding, not something to paper over.
    """
    for _ in range(tries):
        sock.sendto(message, to)
        with contextlib.suppress(TimeoutError, ConnectionError):
            return sock.recvfrom(65535)
    return None


def public_tuple(sock, server=SRV):
    """The (address, port) a UDP socket is seen as by the echo server of that address; None without an answer."""
    answer = ask(sock, b"who?", (server, ECHO_PORT))
    if answer is None:
        return None
    _, address, port = answer[0].decode().split()
    return address, int(port)


def talks(sock, message, seconds=30.0):
    """Sends `message` to an echo server by a connected TCP socket while reading what comes back: the bytes that came."""
    got = bytearray()
    sent = 0
    sock.setblocking(False)
    deadline = time.monotonic() + seconds
    while len(got) < len(message) and (left := deadline - time.monotonic()) > 0:
        readable, writable, _ = select.select([sock], [sock] if sent < len(message) else [], [], left)
        if writable:
            with contextlib.suppress(BlockingIOError):
                sent += sock.send(message[sent : sent + 65536])
        if readable:
            data = sock.recv(65536)
            if not data:
                break
            got += data
    return bytes(got)


def hears(sock, message, seconds=2.0):
    """The source address of the first datagram equal to `message`, or None when it does not come in time."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([sock], [], [], left)[0]:
            data, source = sock.recvfrom(65535)
            if data == message:
                return source
    return None


def api(path):
    """What the daemon's API answers, parsed; of a list only its rows."""
    with host("dut"), urllib.request.urlopen(f"http://127.0.0.1:8480{path}", timeout=10) as answer:
        body = json.load(answer)
    return body["rows"] if isinstance(body, dict) and set(body) == {"rows"} else body


def counters():
    """Every named counter: {(group, name): total}."""
    return {(row["group"], row["name"]): row["total"] for row in api("/v1/counters")}


def drops():
    """Counters at which a packet ended: {name: total}."""
    return {name: total for (group, name), total in counters().items() if group in ("drop", "parse")}


def wait_for(condition, seconds=20.0):
    """Calls `condition` until what it returns is true, and returns that; the last answer when time is over."""
    deadline = time.monotonic() + seconds
    while not (result := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return result


class Report:
    """Collects checks; prints each as `ok` or `FAIL`; the exit status says whether all held."""

    def __init__(self):
        self.failed = 0

    def check(self, name, good, detail=""):
        self.failed += not good
        print(f"{'ok  ' if good else 'FAIL'} {name}{f': {detail}' if detail != '' else ''}", flush=True)
        return good

    def exit(self):
        raise SystemExit(1 if self.failed else 0)
