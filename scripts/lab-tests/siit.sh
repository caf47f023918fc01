#!/usr/bin/env bash
# Stateless translation against tayga: the same packets through both, what comes out compared field by field; what differs is
# in a table with its reason (lab-tools/siit_differences.py).
source "$(dirname "$0")/../lib/labtest.sh"
source "$SCRIPTS/lib/lab6.sh"
source "$SCRIPTS/lib/twin.sh"

lab_up
twin_topology
twin_routes ref
twin_neighbours ref to-ref to-ref
mkdir -p "$LAB_DIR/tayga"
cat >"$LAB_DIR/tayga/tayga.conf" <<CONF
tun-device nat64
ipv4-addr 192.168.255.1
ipv6-addr 2001:db8:ffff::1
prefix 2001:db8:64::/96
map 203.0.113.80 2001:db8:1000:80::80
data-dir $LAB_DIR/tayga
CONF
in_ns ref tayga --config "$LAB_DIR/tayga/tayga.conf" --mktun >"$LAB_DIR/logs/tayga.log"
ip -n "$(ns ref)" link set nat64 up
ip -n "$(ns ref)" route add 203.0.113.0/24 dev nat64
ip -n "$(ns ref)" route add 2001:db8:64::/96 dev nat64
ip -n "$(ns ref)" route add 192.168.255.1/32 dev nat64
ip -n "$(ns ref)" route add 2001:db8:ffff::1/128 dev nat64
spawn tayga ref tayga --config "$LAB_DIR/tayga/tayga.conf" --nodetach
{
    config_head
    cat <<'CONF'
[service-sets.siit]
inside-interfaces = ["inside0"]
outside-interfaces = ["outside0"]

[service-sets.siit.siit]
prefix = "2001:db8:64::/96"

[[service-sets.siit.siit.explicit-mappings]]
ipv4 = "203.0.113.80/32"
ipv6 = "2001:db8:1000:80::80/128"
CONF
} >"$LAB_DIR/tandem.toml"
check "tandem check accepts the config" "$TANDEM" check "$LAB_DIR/tandem.toml"
tandem_start || exit 1
# What has no mapping shall not go back where it came from.
ip -n "$(ns dut)" route add unreachable 203.0.113.0/24
run_tool siit.py
finish
