#!/usr/bin/env bash
# A pair of chassis carries what its subscribers do across the crash of one: a session of each kind that is older than the
# threshold lives on, on the same public end, when the primary is killed, the other one takes the role by hand and the traffic
# is moved; what is younger begins anew, on nobody's end. The killed one comes back, is filled in bulk, and takes it all back.
# One worker on chassis 1, two on chassis 2. The channel has its own routing instance.
source "$(dirname "$0")/../lib/labtest.sh"
source "$SCRIPTS/lib/lab6.sh"
source "$SCRIPTS/lib/pair.sh"

HA_NAMESPACE=yes
pair_up
echo_servers6
spawn echo-sub2 sub2 /usr/bin/python3 "$SCRIPTS/lab-tools/echo_server.py" --name sub2 0.0.0.0 7
wait_until 30 listening sub2 t 7 || die "no echo server on sub2"
for n in 1 2; do check "tandem check accepts the config of chassis $n" "$TANDEM" check "$LAB_DIR/chassis-$n.toml"; done
pair_start
traffic_start pair_sessions.py

role_is() { pair_is "$1" redundancy role "$2"; }
step "chassis 1 dies"
traffic open old
traffic download old
traffic ripen old $((THRESHOLD + 2))
traffic open young
chassis_stop 1 KILL
traffic age young "$THRESHOLD"
check "chassis 2 takes the role by hand, and the traffic" pair_take 2
check "chassis 2 is primary" role_is 2 primary
traffic alive old
traffic finish old
traffic gone young

step "chassis 1 comes back"
chassis_start 1 || exit 1
check "it is filled by bulk and is the standby" pair_wait_ready 1
check "chassis 2 is primary still" role_is 2 primary
traffic alive old

step "the way back"
traffic open later
traffic download old
traffic ripen later $((THRESHOLD + 2))
check "chassis 1 takes the role by hand, chassis 2 agrees" pair_take 1
check "chassis 1 is primary" role_is 1 primary
check "chassis 2 is standby" wait_until 20 role_is 2 standby
traffic alive old
traffic alive later
traffic finish old
check "chassis 2 is complete again" pair_wait_ready 2
pair_finish
