# shellcheck shell=bash
# Two systems side by side: Tandem in `dut`, and in `ref` one that others made, to hold its verdicts against. Sourced, after
# lab6.sh, by a test that then runs a tool built on lab-tools/twin.py.
#
#   sub1 ── eth0 ──── br-in ── dut-in  [ dut: tandemd ]     dut-out ── br-out ──── eth0 ── srv
#        └─ to-ref ───────────── inside0 [ ref: Linux ] outside0 ───────────── to-ref ─┘
#
# sub1 and srv are the tool's hands: they have no address and say nothing by themselves; whatever address the tool writes
# into a packet is theirs, because both systems have routes for all of them and fixed neighbours.

# One gateway on each side for every address behind it.
TWIN_INSIDE=(100.64.0.2 2001:db8:0:1::2)
TWIN_OUTSIDE=(192.0.2.1 2001:db8:0:2::1)

lab_servers() { :; }

twin_topology() {
    local h
    cable sub1 to-ref ref inside0
    cable srv to-ref ref outside0
    for h in sub1 srv; do
        ip -n "$(ns "$h")" -4 addr flush dev eth0
        ip -n "$(ns "$h")" -4 addr flush dev lo
        set_sysctl "$h" net.ipv4.ip_forward=0 net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.all.forwarding=0
    done
    # In dut, whose addresses tandemd puts on its taps, and in ref, where we do.
    set_sysctl dut net.ipv6.conf.default.disable_ipv6=0 net.ipv6.conf.default.accept_dad=0
    set_sysctl ref net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
        net.ipv6.conf.inside0.accept_dad=0 net.ipv6.conf.outside0.accept_dad=0 \
        net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0 \
        net.ipv4.conf.all.send_redirects=0
    ip -n "$(ns ref)" addr add 100.64.0.1/16 dev inside0
    ip -n "$(ns ref)" addr add 192.0.2.2/24 dev outside0
    ip -n "$(ns ref)" addr add 2001:db8:0:1::1/64 dev inside0 nodad
    ip -n "$(ns ref)" addr add 2001:db8:0:2::2/64 dev outside0 nodad
}

# twin_neighbours HOST SUB1_DEV SRV_DEV: the fixed neighbours of dut or ref.
twin_neighbours() {
    local address
    for address in "${TWIN_INSIDE[@]}"; do
        ip -n "$(ns "$1")" neigh replace "$address" dev inside0 nud permanent lladdr "$(in_ns sub1 cat "/sys/class/net/$2/address")"
    done
    for address in "${TWIN_OUTSIDE[@]}"; do
        ip -n "$(ns "$1")" neigh replace "$address" dev outside0 nud permanent lladdr "$(in_ns srv cat "/sys/class/net/$3/address")"
    done
}

# twin_routes HOST: the same routes in both; a test adds to it what else lies inside.
twin_routes() {
    ip -n "$(ns "$1")" route replace default via 192.0.2.1
    ip -n "$(ns "$1")" route replace ::/0 via 2001:db8:0:2::1
    ip -n "$(ns "$1")" route replace 10.0.0.0/8 via 100.64.0.2
    ip -n "$(ns "$1")" route replace 2001:db8:1000::/36 via 2001:db8:0:1::2
}
tandem_routes() {
    twin_routes dut
    twin_neighbours dut eth0 eth0
}
# Nobody here answers a ping: the tool itself waits until packets pass.
tandem_passes() { true; }
