#!/usr/bin/env bash
# How a NAT behaves is for others to say: coturn's client asks a STUN server with two addresses and two ports (RFC 5780), and must
# find the mapping and filtering (RFC 4787) that are configured, one after the other by reload.
#
# Its hairpin check (-H) is left out: it sends from a socket to that same socket's public end. Such a packet would arrive with
# equal ends, which is a LAND attack, and is dropped. Hairpinning between two sockets is in napt44-basics.
source "$(dirname "$0")/../lib/labtest.sh"

lab_up
ip -n "$(ns srv)" addr add 192.0.2.4/24 dev eth0
spawn turnserver srv turnserver -n --no-auth --stun-only --listening-ip 192.0.2.1 --listening-ip 192.0.2.4 --listening-port 3478 \
    --no-tls --no-dtls --no-tcp --no-cli --log-file stdout --simple-log --pidfile "$LAB_DIR/turnserver.pid" --db "$LAB_DIR/turndb"
stun_up() { listening srv u 3478 && listening srv u 3479; }
wait_until 30 stun_up || die "turnserver did not come up"

# write_nat MAPPING FILTERING
write_nat() {
    write_config
    sed -i "s/pool = \"cgn\" }/pool = \"cgn\", mapping-type = \"$1\", filtering-type = \"$2\" }/" "$LAB_DIR/tandem.toml"
}
generation() { in_ns dut curl -sf -m 5 "$API/v1/config" | /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["generation"])'; }
reload_to() {
    local before
    before=$(generation)
    write_nat "$1" "$2"
    tandem_reload
    newer() { (($(generation) > before)); }
    wait_until 30 newer
}
# finds MAPPING FILTERING: in the client's words. Each test asks from a new port.
finds() {
    local out mapping filtering
    out=$(in_ns sub1 turnutils_natdiscovery -m -f -L 100.64.0.2 192.0.2.1 2>&1) || { echo "$out"; return 1; }
    mapping=$(grep -o 'NAT with .* Mapping!' <<<"$out" | tail -n 1)
    filtering=$(grep -o 'NAT with .* Filtering!' <<<"$out" | tail -n 1)
    [[ $mapping == "NAT with $1 Mapping!" && $filtering == "NAT with $2 Filtering!" ]] || { echo "$out"; return 1; }
    echo "$mapping $filtering"
}
write_nat endpoint-independent endpoint-independent
tandem_start || exit 1
EI="Endpoint Independent" AD="Address Dependent" APD="Address and Port Dependent"
check "mapping and filtering endpoint-independent" finds "$EI" "$EI"
check "reload: address-dependent filtering" reload_to endpoint-independent address-dependent
check "mapping endpoint-independent, filtering address-dependent" finds "$EI" "$AD"
check "reload: address-and-port-dependent filtering" reload_to endpoint-independent address-and-port-dependent
check "mapping endpoint-independent, filtering address-and-port-dependent" finds "$EI" "$APD"
check "reload: address-and-port-dependent mapping" reload_to address-and-port-dependent address-and-port-dependent
check "mapping and filtering address-and-port-dependent" finds "$APD" "$APD"
check "reload: back" reload_to endpoint-independent endpoint-independent
check "mapping and filtering endpoint-independent again" finds "$EI" "$EI"
finish
