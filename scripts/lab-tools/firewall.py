#!/usr/bin/python3
"""What a reload of policies does to sessions that are there: nothing, unless they are put to the new policies.

usage: firewall.py TANDEM NEW_CONFIG     the CLI's program; a config whose policies no longer permit port 7, but still port 80
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys

from labnet import ECHO_PORT, SRV, Report, host, talks, tcp, wait_for

SRV6 = "2001:db8:0:2::1"
CONFIG = pathlib.Path(os.environ["LAB_DIR"]) / "tandem.toml"


def tandem(program, *words):
    with host("dut"):
        return subprocess.run([program, "--api", "http://127.0.0.1:8480", *words], capture_output=True, text=True, timeout=60)


def connection(server, port, timeout=10.0):
    """A connection from sub1, or None when it does not come about in time."""
    sock = tcp("sub1", address="::" if ":" in server else "0.0.0.0", timeout=timeout)
    try:
        sock.connect((server, port))
    except OSError:
        return None
    return sock


def alive(sock, seconds=3.0):
    """Whether what is said still comes back."""
    with contextlib.suppress(OSError):
        return talks(sock, b"still there?", seconds) == b"still there?"
    return False


def web_alive(sock):
    """The same for a web server's connection, which stays open after an answer."""
    sock.settimeout(5.0)
    with contextlib.suppress(OSError):
        sock.sendall(b"GET /index.html HTTP/1.1\r\nHost: x\r\n\r\n")
        got = b""
        while data := sock.recv(4096):
            got += data
            if b"hello from the server side" in got:
                return True
    return False


def main(program, new_config):
    report = Report()
    servers = (SRV, SRV6)
    echo = {server: connection(server, ECHO_PORT) for server in servers}
    web = {server: connection(server, 80) for server in servers}
    good = None not in (*echo.values(), *web.values()) and all(map(alive, echo.values())) and all(map(web_alive, web.values()))
    if not report.check("connections of both families", good):
        return report
    CONFIG.with_suffix(".new").write_text(pathlib.Path(new_config).read_text())
    CONFIG.with_suffix(".new").replace(CONFIG)
    answer = tandem(program, "reload")
    report.check("tandem reload: policies that permit less", answer.returncode == 0, (answer.stdout + answer.stderr).strip())
    closed = wait_for(lambda: not connection(SRV, ECHO_PORT, 1.0))
    report.check("new connections are judged by them", closed and not connection(SRV6, ECHO_PORT, 1.0))
    report.check("what was begun before goes on", all(map(alive, echo.values())) and all(map(web_alive, web.values())))
    answer = tandem(program, "reload", "--reevaluate")
    report.check("tandem reload --reevaluate", answer.returncode == 0, (answer.stdout + answer.stderr).strip())
    report.check("ends what the new policies forbid", wait_for(lambda: not any(alive(sock, 1.0) for sock in echo.values())))
    report.check("and nothing else", all(map(web_alive, web.values())))
    answer = tandem(program, "show", "sessions", "--json", "--limit", "0")
    rows = json.loads(answer.stdout)["rows"]
    left = sum(row["protocol"] == "tcp" and row["outside-port"] == ECHO_PORT for row in rows)
    report.check("no such session is shown any more", left == 0, left)
    return report


if __name__ == "__main__":
    main(*sys.argv[1:3]).exit()
