#!/usr/bin/env bash
# Planned handovers lose next to nothing: the operator's switchover and a clean stop of the primary, ROUNDS times each, first with
# traffic by the virtual addresses, then by BGP. A stream of datagrams, one each millisecond, goes on all the while; in each handover at most 5
# of 20,000 are lost, because the old primary goes on with what it knows until packets come to the new one. The sessions of
# before go on through all of them.
source "$(dirname "$0")/../lib/labtest.sh"
source "$SCRIPTS/lib/lab6.sh"
source "$SCRIPTS/lib/pair.sh"
source "$SCRIPTS/lib/bgp.sh"

HEARTBEAT_MS=200
PAIR_MORE=$(bgp_policy; pair_virtual_addresses)
PRIMARY=1

# planned NAME: ROUNDS switchovers and as many stops of whoever is primary, in turn; the sessions opened as NAME live through them.
planned() {
    local round how standby
    traffic open "$1"
    traffic ripen "$1" $((THRESHOLD + 2))
    gap begin
    # What is younger is not known to the other chassis.
    gap flow $((THRESHOLD + 2))
    for ((round = 1; round <= ${ROUNDS:-1}; round++)); do
        for how in switchover stop; do
            standby=$((3 - PRIMARY))
            step "$1: chassis $PRIMARY hands over by a $how ($round of ${ROUNDS:-1})"
            gap mark
            if [[ $how == switchover ]]; then
                check "chassis $PRIMARY is asked to" chassis "$PRIMARY" request redundancy switchover 1
            else
                chassis_stop "$PRIMARY" TERM
            fi
            gap planned 5 20000
            gap json path="$1" case="$how"
            check "chassis $standby is primary" pair_role "$standby" primary
            [[ $how == switchover ]] || chassis_start "$PRIMARY" || exit 1
            check "chassis $PRIMARY is its complete standby" pair_wait_ready "$PRIMARY"
            # Its routers have to hear of it before it takes the set back.
            [[ $1 != bgp ]] || check "chassis $PRIMARY has its sessions with both routers" wait_until 60 bgp_is_up "$PRIMARY"
            traffic alive "$1"
            PRIMARY=$standby
        done
    done
    gap end
}

pair_up
echo_servers6
spawn echo-sub2 sub2 /usr/bin/python3 "$SCRIPTS/lab-tools/echo_server.py" --name sub2 0.0.0.0 7
pair_start
traffic_start pair_sessions.py
gap_start
planned addresses

step "routers learn the way by BGP"
bgp_up
check "both routers send by chassis $PRIMARY" bgp_moves "$PRIMARY"
for n in 1 2; do check "chassis $n has its sessions with both routers" wait_until 60 bgp_is_up "$n"; done
planned bgp
check "both routers send by chassis $PRIMARY" bgp_moves "$PRIMARY"
pair_finish
