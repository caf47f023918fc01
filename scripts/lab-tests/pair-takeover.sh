#!/usr/bin/env bash
# The pair decides by itself. Subscribers and servers send to the virtual addresses, which whichever chassis is primary answers
# for. The primary is killed: the other one takes over, the sessions older than the threshold go on, and a stream of datagrams
# stands still for a moment only. The killed one comes back, is filled, and stays standby. Then a clean stop: the set is handed
# over first, and next to nothing is lost.
source "$(dirname "$0")/../lib/labtest.sh"
source "$SCRIPTS/lib/lab6.sh"
source "$SCRIPTS/lib/pair.sh"

HEARTBEAT_MS=200
PAIR_MORE=$(pair_virtual_addresses)
pair_up
echo_servers6
spawn echo-sub2 sub2 /usr/bin/python3 "$SCRIPTS/lab-tools/echo_server.py" --name sub2 0.0.0.0 7
for n in 1 2; do check "tandem check accepts the config of chassis $n" "$TANDEM" check "$LAB_DIR/chassis-$n.toml"; done
pair_start
traffic_start pair_sessions.py
gap_start

step "chassis 1 dies"
traffic open old
traffic download old
traffic ripen old $((THRESHOLD + 2))
gap begin
chassis_stop 1 KILL
gap gap "${KILL_GAP_MS:-2000}"
check "chassis 2 is primary" pair_role 2 primary
check "of its own accord, because the peer was lost" pair_cause 2 peer-lost peer-gone
traffic alive old
traffic finish old

step "chassis 1 comes back"
chassis_start 1 || exit 1
check "it is filled by bulk and is the standby" pair_wait_ready 1
check "chassis 2 is primary still: there is no preempt" pair_role 2 primary
traffic alive old

step "a clean stop of the primary hands over"
traffic open later
traffic ripen later $((THRESHOLD + 2))
gap begin
chassis_stop 2 TERM
gap gap 1000
check "chassis 1 is primary" pair_role 1 primary
traffic alive later
chassis_start 2 || exit 1
check "chassis 2 is filled by bulk and is the standby" pair_wait_ready 2

step "a stop of the standby changes nothing"
gap begin
chassis_stop 2 TERM
check "chassis 1 is primary" pair_role 1 primary
gap gap 1000 5
traffic alive later
chassis_start 2 || exit 1
check "chassis 2 is filled by bulk and is the standby" pair_wait_ready 2
pair_finish
