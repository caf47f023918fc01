#!/usr/bin/env bash
# One, two and four workers give the same verdicts and keep the same invariants, with 32 subscribers spread over them.
source "$(dirname "$0")/../lib/labtest.sh"
lab_up
# 16 more subscribers behind each of the two hosts.
for i in {1..16}; do
    ip -n "$(ns sub1)" addr add "100.64.1.$i/16" dev eth0
    ip -n "$(ns sub2)" addr add "100.64.2.$i/16" dev eth0
done
for n in 1 2 4; do
    WORKERS=$n write_config
    tandem_start || exit 1
    workers_are() { [[ $(in_ns dut curl -sf "$API/v1/workers" | /usr/bin/python3 -c 'import json, sys; print(len(json.load(sys.stdin)["rows"]))') == "$1" ]]; }
    check "$n workers run" workers_are "$n"
    tool verdicts.py >"$LAB_DIR/verdicts.$n" || CHECKS_FAILED=$((CHECKS_FAILED + 1))
    sed "s/^/     [$n] /" "$LAB_DIR/verdicts.$n"
    if [[ $n != 4 ]]; then check "stops on SIGTERM" tandem_stop; fi
done
for n in 2 4; do
    check "$n workers judge as one" diff "$LAB_DIR/verdicts.1" "$LAB_DIR/verdicts.$n"
done
finish
