#!/usr/bin/python3
"""Echo over TCP and UDP on one port, for tens of thousands of connections at once (epoll, one process).

A UDP datagram `who?`, or a TCP connection's first bytes `who?\\n`, is answered with `NAME ADDRESS PORT`: who this server is and
what the client looks like from here. Everything else comes back unchanged.

usage: echo_server.py [--name NAME] ADDRESS PORT     (an IPv6 address serves IPv6; `::` both families)
"""

import argparse
import resource
import select
import socket


def answer(name, data, peer):
    if data in (b"who?", b"who?\n"):
        return f"{name} {peer[0]} {peer[1]}\n".encode()
    return data


class Connection:
    """One TCP client: what was read and not yet written back."""

    def __init__(self, sock, peer):
        self.sock = sock
        self.peer = peer
        self.pending = b""


def serve(name, address, port):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(16384)
    listener.setblocking(False)
    datagrams = socket.socket(family, socket.SOCK_DGRAM)
    datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    datagrams.bind((address, port))
    datagrams.setblocking(False)

    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    poll.register(datagrams, select.EPOLLIN)
    connections = {}

    def close(fd):
        poll.unregister(fd)
        connections.pop(fd).sock.close()

    def flush(fd, connection):
        try:
            sent = connection.sock.send(connection.pending)
            connection.pending = connection.pending[sent:]
        except BlockingIOError:
            pass
        # With data waiting, stop reading until it is out: the sender's window does the rest.
        poll.modify(fd, select.EPOLLOUT if connection.pending else select.EPOLLIN)

    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                try:
                    while True:
                        sock, peer = listener.accept()
                        sock.setblocking(False)
                        connections[sock.fileno()] = Connection(sock, peer)
                        poll.register(sock, select.EPOLLIN)
                except BlockingIOError:
                    continue
            elif fd == datagrams.fileno():
                try:
                    while True:
                        data, peer = datagrams.recvfrom(65535)
                        try:
                            datagrams.sendto(answer(name, data, peer), peer)
                        except OSError:
                            pass  # no route back, or an ICMP error of an earlier datagram
                except OSError:
                    continue
            else:
                connection = connections[fd]
                try:
                    if not connection.pending:
                        data = connection.sock.recv(65536)
                        if not data:
                            close(fd)
                            continue
                        connection.pending = answer(name, data, connection.peer)
                    flush(fd, connection)
                except BlockingIOError:
                    continue
                except OSError:
                    close(fd)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="echo")
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    serve(options.name, options.address, options.port)
