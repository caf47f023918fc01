#!/usr/bin/python3
"""IPv4 addresses inside IPv6 ones (RFC 6052 section 2.2), reckoned here independently of the product.

usage: rfc6052.py PREFIX/LENGTH IPV4
"""

import ipaddress
import sys


def embed(prefix, v4):
    """The IPv6 address that stands for `v4` in `prefix`: the IPv4 bytes follow the prefix, and byte 8 is passed over."""
    network = ipaddress.IPv6Network(prefix)
    whole = bytearray(network.network_address.packed)
    at = network.prefixlen // 8
    for byte in ipaddress.IPv4Address(v4).packed:
        at += at == 8
        whole[at] = byte
        at += 1
    return str(ipaddress.IPv6Address(bytes(whole)))


if __name__ == "__main__":
    print(embed(*sys.argv[1:3]))
