#!/usr/bin/python3
"""Hairpin: sub1 reaches sub2 at sub2's public address and port, over UDP and TCP (RFC 4787 REQ-9, RFC 5382 REQ-8).

sub2 opens a mapping by talking to the server, which tells it how it looks from outside. sub1 sends there. Right is:
sub2 hears it, from sub1's public tuple (not its inside one), and sub2's answer reaches sub1 from the tuple it sent to.
"""

from labnet import ECHO_PORT, SRV, Report, hears, public_tuple, tcp, udp


def over_udp(report):
    one, two = udp("sub1"), udp("sub2")
    public_one, public_two = public_tuple(one), public_tuple(two)
    if not report.check("both subscribers have UDP mappings", public_one and public_two, f"{public_one} {public_two}"):
        return
    one.sendto(b"over the hairpin", public_two)
    source = hears(two, b"over the hairpin")
    report.check("UDP from sub1 reaches sub2's public tuple", source is not None)
    if source is None:
        return
    report.check("sub2 sees sub1's public tuple", source == public_one, f"saw {source}, sub1 is {public_one}")
    two.sendto(b"and back", source)
    back = hears(one, b"and back")
    report.check("sub2's answer comes from the tuple sub1 sent to", back == public_two, f"came from {back}")


def over_tcp(report):
    # sub2 opens its mapping with an outgoing connection and listens on the same port beside it.
    outgoing = tcp("sub2")
    port = outgoing.getsockname()[1]
    listener = tcp("sub2", port)
    outgoing.connect((SRV, ECHO_PORT))
    outgoing.sendall(b"who?\n")
    _, address, public_port = outgoing.recv(200).decode().split()
    listener.listen()
    client = tcp("sub1")
    try:
        client.connect((address, int(public_port)))
        accepted, source = listener.accept()
    except OSError as error:
        report.check("TCP from sub1 connects to sub2's public tuple", False, error)
        return
    report.check("TCP from sub1 connects to sub2's public tuple", True)
    report.check("sub2 sees a public source", source[0].startswith("203.0.113."), source)
    client.sendall(b"hello")
    accepted.settimeout(5)
    data = accepted.recv(100)
    accepted.sendall(data + b" yourself")
    report.check("data flows both ways", client.recv(100) == b"hello yourself")


if __name__ == "__main__":
    report = Report()
    over_udp(report)
    over_tcp(report)
    report.exit()
