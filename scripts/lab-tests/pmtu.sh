#!/usr/bin/env bash
# Path MTU: the box's own egress MTU, and that of a router behind it, reach the subscriber as ICMP 3/4 with the right MTU and
# the subscriber's own header quoted; without DF the box fragments.
source "$(dirname "$0")/../lib/labtest.sh"
OUTSIDE_MTU=1400
lab_up
# All stations of the outside segment agree on its MTU; behind srv the way narrows to 1300.
for end in "net p-out" "net p-srv" "net p-srv2" "net br-out" "srv eth0" "srv2 eth0"; do
    ip -n "$(ns "${end% *}")" link set "${end#* }" mtu 1400
done
ip -n "$(ns srv)" link set to-far mtu 1300
ip -n "$(ns far)" link set from-srv mtu 1300
write_config
tandem_start || exit 1
run_tool pmtu.py 1400 1300
check "100 MiB by TCP across the smaller MTU" curl_100m sub1
check "upload across the smaller MTU" iperf sub1 5201 2
finish
