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

# write_tayga PREFIX and write_siit PREFIX: the same mappings for both.
write_tayga() {
    cat >"$LAB_DIR/tayga/tayga.conf" <<CONF
tun-device nat64
ipv4-addr 192.168.255.1
ipv6-addr 2001:db8:ffff::1
prefix $1
map 203.0.113.80 2001:db8:1000:80::80
data-dir $LAB_DIR/tayga
CONF
}
write_siit() {
    {
        config_head
        cat <<CONF
[service-sets.siit]
inside-interfaces = ["inside0"]
outside-interfaces = ["outside0"]

[service-sets.siit.siit]
prefix = "$1"

[[service-sets.siit.siit.explicit-mappings]]
ipv4 = "203.0.113.80/32"
ipv6 = "2001:db8:1000:80::80/128"
CONF
    } >"$LAB_DIR/tandem.toml"
}
tandem_routes() {
    twin_routes dut
    twin_neighbours dut eth0 eth0
    # What has no mapping shall not go back where it came from.
    ip -n "$(ns dut)" route replace unreachable 203.0.113.0/24
}

# In a /40 the octets of an IPv4 address lie on both sides of octet 8.
for SIIT_PREFIX in 2001:db8:64::/96 2001:db8:4600::/40; do
    export SIIT_PREFIX
    echo "with the prefix $SIIT_PREFIX"
    write_tayga "$SIIT_PREFIX"
    in_ns ref tayga --config "$LAB_DIR/tayga/tayga.conf" --mktun >"$LAB_DIR/logs/tayga.log"
    ip -n "$(ns ref)" link set nat64 up
    for route in 203.0.113.0/24 192.168.255.1/32 2001:db8:ffff::1/128 "$SIIT_PREFIX"; do
        ip -n "$(ns ref)" route replace "$route" dev nat64
    done
    spawn tayga ref tayga --config "$LAB_DIR/tayga/tayga.conf" --nodetach
    write_siit "$SIIT_PREFIX"
    check "tandem check accepts the config" "$TANDEM" check "$LAB_DIR/tandem.toml"
    tandem_start || exit 1
    run_tool siit.py
    [[ $SIIT_PREFIX == */40 ]] || { tandem_stop && stop_spawned tayga; }
done
finish
