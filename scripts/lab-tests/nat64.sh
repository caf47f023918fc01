#!/usr/bin/env bash
# The IPv4 internet of an IPv6-only client: DNS64 (unbound) and NAT64, with the programs a user has, NAT64 prefixes of every
# length, path MTU and fragments across the families. The servers have IPv4 only; unbound stands beside the client and asks
# the IPv4 DNS server through NAPT44 of the same service set.
#
#   sub1 (IPv6 only) ─┐                             ┌─ srv (IPv4 only) ── 1300 ── far (IPv4 only)
#                     ├─ [ dut: NAT64 and NAPT44 ] ─┘
#   sub2 (both) ──────┘
#     └─ 1300 ── ref 2001:db8:0:3::2: a client behind an IPv6 router
source "$(dirname "$0")/../lib/labtest.sh"
source "$SCRIPTS/lib/lab6.sh"
# Read by config_head: what crosses families or directions crosses workers, too.
export WORKERS=${WORKERS:-2}

PREFIXES=(2001:db8:64::/96 64:ff9b::/96 2001:db8:6464::/64 2001:db8:6456::/56 2001:db8:6448::/48 2001:db8:4000::/40 3fff:32::/32)
# Read by config_head.
export OUTSIDE6=''

lab_up
lab_ipv6
# IPv6 only, and IPv4 only.
ip -n "$(ns sub1)" -4 addr flush dev eth0
for h in srv srv2 far; do set_sysctl "$h" net.ipv6.conf.all.disable_ipv6=1; done
ip -n "$(ns srv)" link set to-far mtu 1300
ip -n "$(ns far)" link set from-srv mtu 1300
# The client behind an IPv6 router and its narrow link.
cable sub2 to-ref ref eth0
set_sysctl ref net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.all.disable_ipv6=0
set_sysctl sub2 net.ipv6.conf.all.forwarding=1
ip -n "$(ns sub2)" link set to-ref mtu 1300
ip -n "$(ns ref)" link set eth0 mtu 1300
ip -n "$(ns sub2)" addr add 2001:db8:0:3::1/64 dev to-ref nodad
ip -n "$(ns ref)" addr add 2001:db8:0:3::2/64 dev eth0 nodad
ip -n "$(ns ref)" route add ::/0 via 2001:db8:0:3::1
printf 'nameserver 2001:db8:0:1::3\noptions timeout:2 attempts:3\n' >"/etc/netns/$(ns sub1)/resolv.conf"

{
    config_head
    cat <<CONF
[pools.public]
prefixes = ["203.0.113.0/28"]

[nat-rules.subscribers]
[[nat-rules.subscribers.terms]]
name = "nat64"
from = { source-addresses = ["2001:db8:0:1::/64", "2001:db8:0:3::/64"] }
then = { translation-type = "stateful-nat64", pool = "public" }
[[nat-rules.subscribers.terms]]
name = "nat44"
from = { source-addresses = ["100.64.0.0/16"] }
then = { translation-type = "napt-44", pool = "public" }

[service-sets.residential]
inside-interfaces = ["inside0"]
outside-interfaces = ["outside0"]
nat-rules = ["subscribers"]

[service-sets.residential.ipv6]
nat64-prefixes = [$(printf '"%s", ' "${PREFIXES[@]}")]
# The lab's servers have documentation addresses, which are not global.
allow-well-known-prefix-for-private = true
CONF
} >"$LAB_DIR/tandem.toml"

tandem_routes() {
    ip -n "$(ns dut)" route replace default via 192.0.2.1
    ip -n "$(ns dut)" route replace 2001:db8:0:3::/64 via 2001:db8:0:1::3
}
SRV64=2001:db8:64::c000:201
FAR64=2001:db8:64::c633:640a
tandem_passes() { in_ns sub1 ping -c 1 -W 1 "$SRV64"; }
tandem_start || exit 1

mkdir -p "$LAB_DIR/unbound"
cat >"$LAB_DIR/unbound/unbound.conf" <<CONF
server:
  username: ""
  chroot: ""
  directory: "$LAB_DIR/unbound"
  pidfile: ""
  use-syslog: no
  logfile: ""
  num-threads: 1
  interface: 2001:db8:0:1::3
  access-control: ::/0 allow
  module-config: "dns64 iterator"
  dns64-prefix: 2001:db8:64::/96
  local-zone: "test." nodefault
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: 192.0.2.1
CONF
spawn unbound sub2 unbound -d -c "$LAB_DIR/unbound/unbound.conf"

resolves() {
    local answer
    answer=$(in_ns sub1 dig +tries=1 +time=5 +short "$1" "$2" | sort | paste -sd' ') || return 1
    [[ $answer == "$3" ]] || { echo "answer: '$answer'"; return 1; }
    echo "$1 $2 is $answer"
}
whoami_by() {
    local who
    who=$(in_ns sub1 curl -sSf -m 20 "http://[$1]/whoami") || { echo "$who"; return 1; }
    [[ $who == 203.0.113.* ]] || { echo "the server sees $who"; return 1; }
    echo "as $1 the server sees ${who/ / port }"
}
refused() {
    local out rc=0 from=$EPOCHREALTIME
    out=$(in_ns sub1 nc -n -v -z -w 10 "$1" 81 2>&1) || rc=$?
    ((rc != 0)) && grep -qi refused <<<"$out" || { echo "status $rc: $out"; return 1; }
    echo "after $(((${EPOCHREALTIME//[.,]/} - ${from//[.,]/}) / 1000)) ms"
}
traceroute6_hops() {
    hops_are sub1 "2001:db8:0:1::1 > $SRV64 > $FAR64" -6 "$@" "$FAR64"
}
embed() {
    /usr/bin/python3 "$SCRIPTS/lab-tools/rfc6052.py" "$1" "$2"
}

check "the DNS64 resolver is up" wait_until 30 resolves www.tandem.test A 192.0.2.1
check "DNS64 makes an AAAA of an A" resolves www.tandem.test AAAA "$SRV64"
check "and lets a client find the prefix (RFC 7050)" resolves ipv4only.arpa AAAA "2001:db8:64::c000:aa 2001:db8:64::c000:ab"
check "DNS64 over TCP" in_ns sub1 dig +tcp +short www.tandem.test AAAA
check "ping a name" ping_all sub1 www.tandem.test 20 -6
# Fragments of ICMP cannot be translated (RFC 7915 section 1.2): its checksum needs the length of the whole.
large_ping_is_counted() {
    local before after
    before=$(dropped)
    ! in_ns sub1 ping -6 -n -c 1 -W 1 -s 3000 "$SRV64" || return 1
    after=$(dropped)
    ((after > before)) || { echo "not counted"; return 1; }
}
dropped() {
    tandem show drops --json | /usr/bin/python3 -c '
import json, sys
body = json.load(sys.stdin)
print(sum(row["total"] for row in (body["rows"] if isinstance(body, dict) else body)))'
}
check "a fragmented ping is a counted drop" large_ping_is_counted
check "curl of 100 MiB by name arrives intact" curl_100m sub1
check "the server sees a pool address" seen_as_pool_address sub1
check "a closed port refuses at once" refused "$SRV64"
check "traceroute over UDP, an IPv4 router on the way" traceroute6_hops
check "traceroute over ICMP" traceroute6_hops -I
check "traceroute over TCP" traceroute6_hops -T -p 7
iperf64() {
    local out
    out=$(in_ns sub1 iperf3 -6 --json -c www.tandem.test -p 5201 "$@") || { echo "$out"; return 1; }
    /usr/bin/python3 -c '
import json, sys
rate = json.load(sys.stdin)["end"]["sum_received"]["bits_per_second"] / 1e6
print("%.0f Mbit/s" % rate)
sys.exit(None if rate > 10 else 1)' <<<"$out"
}
check "iperf3 up" iperf64 -t 2
check "iperf3 down" iperf64 -t 2 -R
check "the other subscriber's NAPT44 beside it" ping_all sub2 192.0.2.1 10

for prefix in "${PREFIXES[@]}"; do
    address=$(embed "$prefix" 192.0.2.1)
    check "prefix $prefix: ping" ping_all sub1 "$address" 3
    check "prefix $prefix: curl" whoami_by "$address"
done
run_tool nat64.py
shown() { tandem show "${@:2}" 2>&1 | grep -m 1 -F "$1"; }
check "tandem show sessions" shown 2001:db8:0:1::2 sessions --limit 0
check "tandem show subscriber" shown 203.0.113. subscriber 2001:db8:0:1::2
finish
