#!/usr/bin/env bash
# What must not hurt a pair: a peer with a wrong key, another configuration, another version of the wire format, garbage on the
# port: each changes nothing and has its name in the status. And a peer that stops reading: the primary forwards without loss,
# its memory stays bounded, and when the peer goes on, it catches up.
source "$(dirname "$0")/../lib/labtest.sh"
source "$SCRIPTS/lib/lab6.sh"
source "$SCRIPTS/lib/pair.sh"
MAX_SESSIONS=262144
THRESHOLD=1
# Read by pair_config: little enough that the sessions of a stalled peer do not fit.
PAIR_GROUP='replay-window-mb = 1'
lab_servers() { :; }
pair_up
pair_keys 0 stranger
count() { chassis "$1" show sessions --count | grep -oE '[0-9]+' | tail -n 1; }
role_is() { pair_is "$1" redundancy role "$2"; }
# failures N KIND: how often it was counted.
failures() {
    chassis "$1" show replication --json | /usr/bin/python3 -c '
import json, sys
rows = json.load(sys.stdin)["rows"][0]["channel"]["failures"]
print(next(row["count"] for row in rows if row["kind"] == sys.argv[1]))' "$2"
}
failed_more() { (($(failures "$1" "$2") > $3)) && pair_field "$1" replication channel.last-failure.text; }
state_is() { pair_is "$1" replication state "$2" && pair_is "$1" replication reason "$3" && pair_field "$1" replication detail; }
# eventually COMMAND...: holds within half a minute; prints what it printed.
eventually() { wait_until 30 "$@" || { chassis 1 show replication; return 1; }; "$@"; }
nothing_at_2() { [[ $(count 2) == 0 ]] || { count 2; return 1; }; }
# unchanged: chassis 1 forwards all it has, as primary.
unchanged() {
    check "chassis 1 is primary" role_is 1 primary
    traffic pace 1
}

chassis_start 1 || exit 1
traffic_start pair_many.py
traffic open 5000
traffic ripen $((THRESHOLD + 2))

cp "$LAB_DIR/chassis-2.toml" "$LAB_DIR/good.toml"

step "another configuration"
sed 's/icmp-s = 600/icmp-s = 601/' "$LAB_DIR/good.toml" >"$LAB_DIR/chassis-2.toml"
chassis_start 2 || exit 1
for n in 1 2; do check "chassis $n names it" eventually state_is "$n" suspended digest; done
check "it knows no session" nothing_at_2
unchanged
check "it stops" chassis_stop 2

step "other shards"
sed 's/^shards = 2/shards = 4/' "$LAB_DIR/good.toml" >"$LAB_DIR/chassis-2.toml"
chassis_start 2 || exit 1
for n in 1 2; do check "chassis $n names it" eventually failed_more "$n" conversation 1; done
check "chassis 1 shows it" eventually state_is 1 refused shards
no_mere_end() { (($(failures 2 closed) + $(failures 2 broken) == 0)) || { chassis 2 show replication --json; return 1; }; }
check "chassis 2 sees by itself what it is, each time" no_mere_end
check "it knows no session" nothing_at_2
unchanged
check "it stops" chassis_stop 2

step "a wrong key"
sed 's/"chassis-2\.\(crt\|key\)"/"stranger.\1"/' "$LAB_DIR/good.toml" >"$LAB_DIR/chassis-2.toml"
chassis_start 2 || exit 1
check "chassis 1 names it" eventually failed_more 1 wrong-fingerprint 0
check "chassis 1 shows it" eventually state_is 1 listening wrong-fingerprint
check "chassis 2 is told" eventually failed_more 2 refused-by-peer 0
check "it knows no session" nothing_at_2
unchanged
check "it stops" chassis_stop 2

cp "$LAB_DIR/good.toml" "$LAB_DIR/chassis-2.toml"

step "peers that are none"
# wrong SOURCE WHAT KIND: says WHAT to chassis 1 and is counted as KIND.
wrong() {
    local before
    before=$(failures 1 "$3")
    in_ns dut2 /usr/bin/python3 "$SCRIPTS/lab-tools/pair_peer.py" "$1" "${HA4[1]}" "$LAB_DIR/chassis-2.crt" "$LAB_DIR/chassis-2.key" "$2" || return 1
    eventually failed_more 1 "$3" "$before"
}
ip -n "$(ns dut2)" addr add 5.5.5.3/24 dev ha0
for one in http:garbage noise:garbage plain:plain-peer silent:handshake-timeout untrusted:unproven-certificate version:channel-version \
    frame:conversation damaged:conversation huge:conversation unknown:conversation; do
    check "${one%:*}: ${one#*:}" wrong "${HA4[2]}" "${one%:*}" "${one#*:}"
done
check "from another address: stranger" wrong 5.5.5.3 version stranger
unchanged
chassis_start 2 || exit 1
check "and is the complete standby" pair_wait_ready 2
# The same while the right peer is connected: it stays.
connections() { pair_field 1 replication channel.connections; }
before=$(connections)
for one in http:garbage version:channel-version; do check "${one%:*} beside the peer: ${one#*:}" wrong "${HA4[2]}" "${one%:*}" "${one#*:}"; done
same_connection() { [[ $(connections) == "$before" ]] && pair_ready 2; }
check "the peer's connection is the same" same_connection

step "a peer that stops reading"
rss() { awk '$1 == "VmRSS:" { print $2 }' "/proc/${CHASSIS_PID[1]}/status"; }
queue() { pair_field 1 replication "queues.$1"; }
rss_before=$(rss)
kill -STOP "${CHASSIS_PID[2]}"
# More news than the window takes: 60,000 sessions and what becomes of them.
traffic open 60000
traffic pace 10
rss_after=$(rss)
full() { (($(queue window-peak-bytes) > 900000)) || { queue window-peak-bytes; return 1; }; }
bounded() {
    echo "resident memory $rss_before kB before, $rss_after kB after; window peak $(queue window-peak-bytes) bytes," \
        "$(queue pending-peak) changes waited beside it, $(queue outbox.used) in the workers' rings"
    ((rss_after - rss_before < 128 * 1024 && $(queue window-peak-bytes) <= 1100000))
}
check "the window is full" full
check "memory stays bounded" bounded
unchanged
kill -CONT "${CHASSIS_PID[2]}"
check "it goes on and catches up" pair_wait_ready 2
equal() { [[ $(count 1) == "$(count 2)" ]] && count 2; }
check "both have the same number of sessions" eventually equal
chassis_stop 1 KILL
traffic killed
check "and it can take over" pair_take 2
traffic use 2
traffic verify $((THRESHOLD + 2))
chassis_start 1 || exit 1
check "and is filled" pair_wait_ready 1
pair_finish
