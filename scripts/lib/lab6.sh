# shellcheck shell=bash
# IPv6 for the lab of lab.sh, beside its IPv4. Sourced, after labtest.sh.
#
#   sub1 2001:db8:0:1::2 ─┐                                            ┌─ srv  2001:db8:0:2::1 ── far 2001:db8:0:f::10
#                         ├─ 2001:db8:0:1::1 [ dut ] 2001:db8:0:2::2 ──┤
#   sub2 2001:db8:0:1::3 ─┘                                            └─ srv2 2001:db8:0:2::3
#
# dut-in and dut-out stay without IPv6: what the kernel says there it says on the taps.

# Read by config_head.
INSIDE6=', "2001:db8:0:1::1/64"'
OUTSIDE6=', "2001:db8:0:2::2/64"'

lab_ipv6() {
    local h
    for h in sub1 sub2 srv srv2 far dut; do
        # Addresses are ours alone: no duplicate detection, which would make them wait; nobody sends router advertisements.
        set_sysctl "$h" net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0 \
            net.ipv6.conf.default.router_solicitations=0 net.ipv6.conf.all.router_solicitations=0 \
            net.ipv6.conf.default.disable_ipv6=0 net.ipv6.icmp.ratelimit=0
        [[ $h == dut ]] || set_sysctl "$h" net.ipv6.conf.all.disable_ipv6=0
    done
    # Switched on for all of dut would make dut-in and dut-out announce themselves for a moment.
    set_sysctl dut net.ipv6.conf.lo.disable_ipv6=0
    set_sysctl srv net.ipv6.conf.all.forwarding=1
    ip -n "$(ns sub1)" addr add 2001:db8:0:1::2/64 dev eth0 nodad
    ip -n "$(ns sub2)" addr add 2001:db8:0:1::3/64 dev eth0 nodad
    ip -n "$(ns srv)" addr add 2001:db8:0:2::1/64 dev eth0 nodad
    ip -n "$(ns srv2)" addr add 2001:db8:0:2::3/64 dev eth0 nodad
    ip -n "$(ns srv)" addr add 2001:db8:0:e1::1/64 dev to-far nodad
    ip -n "$(ns far)" addr add 2001:db8:0:e1::2/64 dev from-srv nodad
    ip -n "$(ns far)" addr add 2001:db8:0:f::10/128 dev lo
    for h in sub1 sub2; do ip -n "$(ns "$h")" route add ::/0 via 2001:db8:0:1::1; done
    for h in srv srv2; do ip -n "$(ns "$h")" route add ::/0 via 2001:db8:0:2::2; done
    ip -n "$(ns srv)" route add 2001:db8:0:f::/64 via 2001:db8:0:e1::2
    ip -n "$(ns far)" route add ::/0 via 2001:db8:0:e1::1
}

tandem_routes() {
    ip -n "$(ns dut)" route replace default via 192.0.2.1
    ip -n "$(ns dut)" route replace ::/0 via 2001:db8:0:2::1
}

# echo_servers6: the echo server of lab.sh, for IPv6, on srv, srv2 and far.
echo_servers6() {
    local h
    for h in srv:2001:db8:0:2::1 srv2:2001:db8:0:2::3 far:2001:db8:0:f::10; do
        spawn "echo6-${h%%:*}" "${h%%:*}" /usr/bin/python3 "$SCRIPTS/lab-tools/echo_server.py" --name "${h%%:*}" "${h#*:}" 7
    done
    for h in srv srv2 far; do
        wait_until 30 listening6 "$h" 7 || die "the lab's IPv6 echo server on $h did not come up"
    done
}
listening6() { in_ns "$1" ss -6 -H -ln -u "sport = :$2" | grep -q .; }
