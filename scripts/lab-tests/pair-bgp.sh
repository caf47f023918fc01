#!/usr/bin/env bash
# The pair with routers on both sides that learn the way by BGP, from FRR on each chassis. The primary is killed: its BGP sessions
# die with its taps, and what it said stays with its neighbours until their hold time is over. The path by the new primary is the
# better one, so traffic moves all the same, and the sessions older than the threshold go on. The killed one comes back and
# attracts nothing. A switchover and a clean stop move the routes as well, and so does the end of FRR on the primary, which a policy
# releases the role for; the death of FRR on the standby and a stop of the standby move nothing.
# KILLS=N repeats the kill, of one chassis and the other in turn, for a median. N is 4 at most: each takeover holds the extents that
# may be in use for 120 s (docs/replication.md), and the pool of the lab is small.
source "$(dirname "$0")/../lib/labtest.sh"
source "$SCRIPTS/lib/lab6.sh"
source "$SCRIPTS/lib/pair.sh"
source "$SCRIPTS/lib/bgp.sh"
source "$SCRIPTS/lib/roles.sh"

HEARTBEAT_MS=${HEARTBEAT_MS:-200}
# IPv4 goes by BGP, IPv6 by the virtual addresses.
PAIR_MORE="policies = [\"ways\", \"routing\"]
$(bgp_policy | tail -n +2)
[redundancy-policies.routing]
events = [\"routing\"]
action = \"release-primary-role\"
[redundancy-events.routing]
routing-process = [{ name = \"bgpd\", pid-file = \"@LAB@/frr-@DUT@/bgpd.pid\", socket = \"@LAB@/frr-@DUT@/bgpd.vty\" }]
$(pair_virtual_addresses)"
pair_up
for n in 1 2; do pair_fill "$n"; done
echo_servers6
spawn echo-sub2 sub2 /usr/bin/python3 "$SCRIPTS/lab-tools/echo_server.py" --name sub2 0.0.0.0 7
for n in 1 2; do check "tandem check accepts the config of chassis $n" "$TANDEM" check "$LAB_DIR/chassis-$n.toml"; done
# The example, with the keys that its files name.
for n in 1 2; do
    cp "$SCRIPTS/../configs/pair-bgp/chassis-$n.toml" "$LAB_DIR/example-$n.toml"
    check "tandem check accepts the example of chassis $n" "$TANDEM" check "$LAB_DIR/example-$n.toml"
done
for file in "$SCRIPTS"/../configs/pair-bgp/*.frr.conf; do check "vtysh accepts $(basename "$file") of the example" vtysh -C -f "$file"; done
bgp_start
pair_start
bgp_alone
check "both routers learn the way by chassis 1" bgp_moves 1
check "packets pass by it" wait_until 30 pair_passes
traffic_start pair_sessions.py
gap_start

# die FROM TO: the primary FROM is killed, TO takes over, FROM comes back.
die() {
    step "chassis $1 dies"
    traffic open "$3"
    traffic download "$3"
    traffic ripen "$3" $((THRESHOLD + 2))
    gap begin
    chassis_stop "$1" KILL
    gap gap "${KILL_GAP_MS:-2000}"
    gap json case=kill heartbeat_ms="$HEARTBEAT_MS"
    check "its guard has taken its signal routes out" wait_until 20 bgp_unsignalled "$1"
    check "chassis $2 is primary" pair_role "$2" primary
    check "of its own accord, because the peer was lost" pair_cause "$2" peer-lost peer-gone
    check "both routers send by chassis $2" bgp_moves "$2"
    traffic alive "$3"
    traffic finish "$3"

    step "chassis $1 comes back"
    gap begin
    chassis_start "$1" || exit 1
    check "it is filled by bulk and is the standby" pair_wait_ready "$1"
    check "its FRR has sessions with both routers again" bgp_comes_up "$1"
    check "both routers send by chassis $2" bgp_goes_by "$2"
    gap gap 1000 5
    traffic alive "$3"
}

primary=1
for ((kill = 1; kill <= ${KILLS:-1}; kill++)); do
    die "$primary" $((3 - primary)) "kill-$kill"
    primary=$((3 - primary))
done
standby=$((3 - primary))

traffic open old
traffic ripen old $((THRESHOLD + 2))
# turn: the other one is primary. ends: what a case ends with then.
ends() { if [[ $primary == 1 ]]; then case_end primary standby 1; else case_end standby primary 2; fi; }
turn() { primary=$standby standby=$((3 - standby)); }

case_begin "FRR of the standby dies and comes back"
gap begin
frr_stop "${DUT[standby]}" KILL
check "it is warned" pair_role "$standby" standby-warned
check "both routers send by chassis $primary" bgp_goes_by "$primary"
frr_start "${DUT[standby]}"
check "it has sessions with both routers again" bgp_comes_up "$standby"
check "both routers send by chassis $primary still" bgp_goes_by "$primary"
check "chassis $primary is primary still" pair_role "$primary" primary
gap gap 1000 5
ends

case_begin "FRR of the primary dies"
gap begin
frr_stop "${DUT[primary]}" KILL
gap gap 3000
check "chassis $standby is primary" pair_role "$standby" primary
check "chassis $primary released it by its policy" pair_cause "$primary" policy
check "chassis $primary is warned" pair_role "$primary" standby-warned
check "both routers send by chassis $standby" bgp_moves "$standby"
frr_start "${DUT[primary]}"
check "its FRR has sessions with both routers again" bgp_comes_up "$primary"
turn
ends

case_begin "FRR of the primary is restarted"
gap begin
frr_stop "${DUT[primary]}"
frr_start "${DUT[primary]}"
gap gap 3000
check "chassis $standby is primary" pair_role "$standby" primary
check "chassis $primary released it by its policy" pair_cause "$primary" policy
check "its FRR has sessions with both routers again" bgp_comes_up "$primary"
turn
ends

case_begin "a switchover"
gap begin
check "chassis $standby is asked to take the set" chassis "$standby" request redundancy set 1 primary
gap gap 1000
gap json case=switchover
turn
ends

case_begin "a clean stop of the primary hands over"
gap begin
chassis_stop "$primary" TERM
gap gap 1000
gap json case=stop
check "chassis $standby is primary" pair_role "$standby" primary
check "both routers send by chassis $standby" bgp_moves "$standby"
chassis_start "$primary" || exit 1
turn
ends
check "chassis $standby is filled by bulk" pair_wait_ready "$standby"

case_begin "a stop of the standby changes nothing"
gap begin
chassis_stop "$standby" TERM
check "chassis $primary is primary" pair_role "$primary" primary
check "both routers send by it" bgp_goes_by "$primary"
gap gap 1000 5
chassis_start "$standby" || exit 1
ends
traffic alive old
pair_finish
