"""Where Tandem and tayga 0.9.2 translate differently, and what Tandem's result is to be there.

tayga is of 2011: it follows RFC 6145, in parts RFC 2765, and leaves some ICMP out. A line that has become wrong, because
nothing differs any more, fails the test.
"""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Difference:
    """The field `field` of the packets of that name (with `*`: whose name begins so) may differ; `want` are Tandem's fields
    then: values, or functions of the packet's fields."""

    names: str
    field: str
    why: str
    want: tuple[tuple[str, Any], ...] = ()

    def is_about(self, name):
        return name.startswith(self.names[:-1]) if self.names.endswith("*") else name == self.names

    def faults(self, packets):
        """What in Tandem's packets is not as wanted."""
        found = []
        for name, want in self.want:
            for packet in packets or [{}]:
                value = want(packet) if callable(want) else want
                if packet.get(name) != value:
                    found.append(f"{name}: {packet.get(name)}, want {value}")
        return found


def _dont_fragment(length):
    """RFC 7915 section 5.1: packets above 1260 octets may not be fragmented on the way, smaller ones may."""
    return lambda packet: ("DF" if packet[length] > 1260 else "")


# RFC 7915, figures 4 and 6: where an octet of one header is in the other.
_POINTER_TO_SIX = {0: 0, 1: 1, 2: 4, 3: 4, 8: 7, 9: 6, 12: 8, 15: 8, 16: 24, 19: 24}
_POINTER_TO_FOUR = {0: 0, 1: 1, 4: 2, 5: 2, 6: 9, 7: 8, 8: 12, 23: 12, 24: 16, 39: 16}

_OWN = "a message of the box's own: each says who it is in its way"
_NO_PARAMETER_PROBLEM = "tayga translates no parameter problems; RFC 7915 does, pointer by pointer"

DIFFERENCES = (
    Difference("6 to 4:*", "flags", "RFC 7915 lets routers fragment what is at most 1260 octets, RFC 2765 forbade it", (("flags", _dont_fragment("len")),)),
    Difference("6 to 4:*", ">flags", "the same in quoted packets", ((">flags", _dont_fragment(">len")),)),
    Difference("6 to 4:*", "id", "each counts its own identifications, tayga only for packets that may be fragmented"),
    Difference("6 to 4: hop limit*", "tc", _OWN, (("tc", 0xC0),)),
    Difference("6 to 4: hop limit*", "fl", _OWN, (("fl", 0),)),
    Difference("4 to 6: hop limit*", "id", _OWN),
    Difference("4 to 6: 1481 bytes with DF", "src", _OWN, (("src", "192.0.2.2"), ("icmp", "3/4"), ("icmp rest", "000005c8"))),
    Difference("4 to 6: 1500 bytes with DF", "src", _OWN, (("src", "192.0.2.2"), ("icmp", "3/4"), ("icmp rest", "000005c8"))),
    *(Difference(f"4 to 6: {length} bytes with DF", field, _OWN) for length in (1481, 1500) for field in ("id", "tos", "ttl", ">ttl")),
    Difference("4 to 6: ICMP 12/2", "packets in", _NO_PARAMETER_PROBLEM, (("icmp", "4/0"), ("icmp rest", "00000000"))),
    *(Difference(f"4 to 6: parameter problem at {four}", "packets in", _NO_PARAMETER_PROBLEM,
                 (("icmp", "4/0"), ("icmp rest", f"{six:08x}"))) for four, six in _POINTER_TO_SIX.items()),
    *(Difference(f"6 to 4: parameter problem at {six}", "packets out", _NO_PARAMETER_PROBLEM,
                 (("icmp", "12/0"), ("icmp rest", f"{four:02x}000000"))) for six, four in _POINTER_TO_FOUR.items()),
    Difference("4 to 6: time exceeded quoting 28 bytes", "packets in", "tayga wants more of the quoted packet than RFC 792 does", (("icmp", "3/0"),)),
    Difference("6 to 4: unreachable 3", "packets out", "tayga leaves out address unreachable", (("icmp", "3/1"),)),
    Difference("4 to 6: UDP without checksum", "packets in", "tayga drops what RFC 7915 section 4.5 lets compute", (("checksum", "right"),)),
    Difference("6 to 4: UDP whose checksum becomes zero", "checksum", "tayga writes 0, which means none; RFC 768 has 0xffff for it", (("checksum", "right"),)),
    Difference("4 to 6: a source route", "packets out", "Linux before tayga drops it; RFC 7915 section 4.1 tells the sender", (("icmp", "3/5"),)),
    Difference("6 to 4: routing header, 1 segments left", "packets out", "tayga translates it; RFC 7915 section 5.1 forbids that"),
    Difference("6 to 4: routing header, 1 segments left", "packets in", "and has the sender told where the fault is", (("icmp", "4/0"), ("icmp rest", "0000002b"))),
    Difference("4 to 6: destination without mapping", "icmp", "tayga sends it in a circle, Tandem has a route that says no", (("icmp", "3/1"),)),
    *(Difference("4 to 6: destination without mapping", field, _OWN) for field in ("src", "id", "tos", "ttl", "flags", ">id", ">ttl")),
    Difference("6 to 4: source without mapping", "packets in", "tayga tells the sender; RFC 7915 has nothing to say, Tandem counts a drop"),
)
