#!/usr/bin/python3
"""A peer that is none: connects to a chassis' channel from the namespace it is run in, and says something wrong. It then reads until
the chassis closes the connection, and fails when that does not happen.

usage: pair_peer.py SOURCE CHASSIS CERTIFICATE KEY WHAT
    http      a request for a web page                 noise     64 KiB of random octets
    plain     the channel's preamble without TLS       silent    nothing at all
    stranger  (any of these from another SOURCE)       untrusted TLS without a certificate
    version   TLS, and a preamble of version 9         frame     TLS, preamble, a frame of version 9
    damaged   TLS, preamble, a frame whose checksums are wrong
    huge      TLS, preamble, the header of a frame longer than any may be
    unknown   TLS, preamble, a message of a type nobody knows, then noise
"""

import contextlib
import os
import socket
import ssl
import struct
import sys
import zlib

PORT = 4793
# A handshake may take 10 s to time out.
SECONDS = 30.0


def preamble(version=1):
    return b"TdCh" + struct.pack("!HBB", version, 0, 1)


def frame(kind, payload, version=1, length=None):
    head = b"TdHA" + struct.pack("!HHII", version, kind, len(payload) if length is None else length, zlib.crc32(payload))
    return head + struct.pack("!I", zlib.crc32(head)) + payload


NOISE = os.urandom(65536)
PLAIN = {"http": b"GET / HTTP/1.1\r\nHost: chassis\r\n\r\n", "noise": b"\x00" + NOISE, "plain": preamble(), "silent": b""}
SECURED = {
    "version": preamble(9),
    "untrusted": preamble(),
    "frame": preamble() + frame(1, b"", 9),
    "damaged": preamble() + frame(1, b"x" * 90)[:-1] + b"y",
    "huge": preamble() + frame(1, b"", length=1 << 31),
    "unknown": preamble() + frame(999, b"whatever") + NOISE,
}


def main():
    source, chassis, certificate, key, what = sys.argv[1:]
    sock = socket.socket()
    sock.settimeout(SECONDS)
    sock.bind((source, 0))
    # A chassis that refuses may close or reset at any point of this.
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        sock.connect((chassis, PORT))
        if what in SECURED:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if what != "untrusted":
                context.load_cert_chain(certificate, key)
            sock = context.wrap_socket(sock)
        sock.sendall(SECURED[what] if what in SECURED else PLAIN[what])
        while sock.recv(65536):
            pass


if __name__ == "__main__":
    try:
        main()
    except TimeoutError:
        raise SystemExit("the chassis keeps the connection") from None
