#!/usr/bin/env bash
# One, two and four workers give the same verdicts and keep the same invariants, with 32 subscribers spread over them, and a long
# download stays whole and does not stall, alone and with another beside it.
source "$(dirname "$0")/../lib/labtest.sh"
lab_up
# 16 more subscribers behind each of the two hosts.
for i in {1..16}; do
    ip -n "$(ns sub1)" addr add "100.64.1.$i/16" dev eth0
    ip -n "$(ns sub2)" addr add "100.64.2.$i/16" dev eth0
done
both_curl() {
    local other rc=0
    curl_100m sub1 >/dev/null &
    other=$!
    curl_100m sub2 || rc=1
    wait "$other" || { echo "the other one failed"; rc=1; }
    return "$rc"
}
for n in 1 2 4; do
    WORKERS=$n write_config
    tandem_start || exit 1
    workers_are() { [[ $(in_ns dut curl -sf "$API/v1/workers" | /usr/bin/python3 -c 'import json, sys; print(len(json.load(sys.stdin)["rows"]))') == "$1" ]]; }
    check "$n workers run" workers_are "$n"
    tool verdicts.py >"$LAB_DIR/verdicts.$n" || CHECKS_FAILED=$((CHECKS_FAILED + 1))
    sed "s/^/     [$n] /" "$LAB_DIR/verdicts.$n"
    check "$n workers: curl of 100 MiB arrives intact" curl_100m sub1
    check "$n workers: two at once, too" both_curl
    if [[ $n != 4 ]]; then check "stops on SIGTERM" tandem_stop; fi
done
for n in 2 4; do
    check "$n workers judge as one" diff "$LAB_DIR/verdicts.1" "$LAB_DIR/verdicts.$n"
done
finish
