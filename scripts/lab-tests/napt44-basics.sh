#!/usr/bin/env bash
# The internet of one subscriber: ping, DNS, curl, traceroute, and the other subscriber by hairpin; the CLI beside it.
source "$(dirname "$0")/../lib/labtest.sh"
lab_test_tandem

both_ping() {
    local other
    ping_all sub1 192.0.2.1 40 >/dev/null &
    other=$!
    ping_all sub2 192.0.2.1 40 && wait "$other"
}

check "tandem check accepts the config" "$TANDEM" check "$LAB_DIR/tandem.toml"
check "ping the box itself, inside" ping_all sub1 100.64.0.1 5
check "ping the box itself, outside" ping_all srv 192.0.2.2 5
check "ping through the NAT" ping_all sub1 192.0.2.1 20
check "ping 1472 bytes" ping_all sub2 192.0.2.1 5 -s 1472
check "both subscribers ping at once" both_ping
check "DNS over UDP" dns_query sub1
check "DNS over TCP" dns_query sub2 +tcp
check "the server sees a pool address" seen_as_pool_address sub1
check "curl of 100 MiB arrives intact" curl_100m sub2
check "traceroute over UDP" traceroute_hops sub1
check "traceroute over ICMP" traceroute_hops sub1 -I
check "traceroute over TCP" traceroute_hops sub1 -T -p 7
check "parallel downloads" parallel_curl 200
run_tool hairpin.py

table() { tandem show "$@" | grep .; }
# cut reads to the end, where head would break the pipe of a long answer.
json() { tandem show "$@" --json | /usr/bin/python3 -m json.tool --compact | cut -c 1-100; }
for topic in interfaces workers routes "subscriber 100.64.0.2" sessions mappings pools blocks counters drops; do
    # This pool gives out no blocks: that table is empty.
    [[ $topic == blocks ]] && show=(tandem show) || show=(table)
    # shellcheck disable=SC2086 # the topic may have an argument
    check "tandem show $topic" "${show[@]}" $topic
    # shellcheck disable=SC2086
    check "tandem show $topic --json" json $topic
done
metrics() { in_ns dut curl -sSf "$API/metrics" | grep '^# HELP' | tail -n 1; }
check "metrics" metrics
finish
