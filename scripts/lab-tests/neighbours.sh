#!/usr/bin/env bash
# Routes and next hops are the kernel's: `ip route` and `ip nexthop` move traffic, an unresolved next hop makes packets wait,
# one that never answers is a counted drop with an ICMP error.
source "$(dirname "$0")/../lib/labtest.sh"
lab_test_tandem
dut_ip() { ip -n "$(ns dut)" "$@"; }

run_tool routes.py moves-to srv
dut_ip route replace 198.51.100.0/24 via 192.0.2.3
run_tool routes.py moves-to srv2
dut_ip route replace 198.51.100.0/24 via 192.0.2.1
run_tool routes.py moves-to srv
dut_ip nexthop add id 7 via 192.0.2.3 dev outside0
dut_ip route replace 198.51.100.0/24 nhid 7
run_tool routes.py moves-to srv2
dut_ip nexthop replace id 7 via 192.0.2.1 dev outside0
run_tool routes.py moves-to srv
dut_ip route replace 198.51.100.0/24 nexthop via 192.0.2.1 nexthop via 192.0.2.3
run_tool routes.py spreads srv srv2
route_shown() { tandem show routes | grep -F 198.51.100.0/24; }
check "tandem show routes has it" route_shown
dut_ip route del 198.51.100.0/24
run_tool routes.py moves-to srv

# The first packet to a next hop that must be resolved first is queued, not lost.
dut_ip neigh flush dev outside0
check "first packet after a neighbour flush arrives" ping_all sub1 192.0.2.1 1
dut_ip neigh flush dev inside0
check "first packet back after a neighbour flush arrives" ping_all sub2 192.0.2.1 1

dut_ip route replace 198.51.100.99/32 via 192.0.2.99
run_tool routes.py nobody-there 198.51.100.99
ip -n "$(ns srv2)" addr add 192.0.2.99/24 dev eth0
ip -n "$(ns srv2)" addr add 198.51.100.99/32 dev lo
check "the next hop comes up: traffic flows" wait_until 60 ping_all sub1 198.51.100.99 1

dut_ip route replace blackhole 198.51.100.66/32
run_tool routes.py counted 198.51.100.66 route-blackhole
dut_ip route replace unreachable 198.51.100.67/32
run_tool routes.py counted 198.51.100.67 route-unreachable
dut_ip route replace prohibit 198.51.100.68/32
run_tool routes.py counted 198.51.100.68 route-prohibited
finish
