#!/usr/bin/env bash
# Planned handovers lose next to nothing: the operator's switchover and a clean stop of the primary, ROUNDS times each, and a reload by which
# the other chassis is preferred and preempts. Two streams of datagrams, one each millisecond, go on all the while: sub1 and srv send by what BGP tells them, sub2 and srv2 by the virtual addresses. In
# each handover at most 5 of 20,000 are lost of either, because the old primary goes on with what it knows until packets come to the
# new one. The sessions of before go on through all of them.
# Alone: who is not scheduled for a moment loses datagrams.
source "$(dirname "$0")/../lib/labtest.sh"
source "$SCRIPTS/lib/lab6.sh"
source "$SCRIPTS/lib/pair.sh"
source "$SCRIPTS/lib/bgp.sh"
source "$SCRIPTS/lib/roles.sh"

HEARTBEAT_MS=200
PAIR_MORE="preempt = false
$(bgp_policy; pair_virtual_addresses)"

pair_up
echo_servers6
spawn echo-sub2 sub2 /usr/bin/python3 "$SCRIPTS/lab-tools/echo_server.py" --name sub2 0.0.0.0 7
bgp_start
pair_start
bgp_alone
check "both routers send by chassis 1" bgp_moves 1
for n in 1 2; do check "chassis $n has its sessions with both routers" bgp_comes_up "$n"; done
traffic_start pair_sessions.py
# A stream for each path.
helper_start bgp pair_gap.py sub1 srv 192.0.2.1
helper_start addresses pair_gap.py sub2 srv2 192.0.2.3
traffic open old
for path in bgp addresses; do helper "$path" begin; done
# What is younger is not known to the other chassis.
helper bgp flow $((THRESHOLD + 2))
traffic ripen old $((THRESHOLD + 2))

primary=1
last=${ROUNDS:-1}
for ((round = 1; round <= last; round++)); do
    # The one that preempts would take the role back from then on.
    for how in switchover stop $( ((round < last)) || echo reload); do
        standby=$((3 - primary))
        step "chassis $primary hands over by a $how ($round of $last)"
        for path in bgp addresses; do helper "$path" mark; done
        case $how in
            switchover) check "chassis $primary is asked to" chassis "$primary" request redundancy switchover 1 ;;
            stop) chassis_stop "$primary" TERM ;;
            reload) reload "$standby" -e 's/^preempt = .*/preempt = true/; s/^priority = .*/priority = 50/' ;;
        esac
        for path in bgp addresses; do
            step "by $path"
            helper "$path" planned 5 20000
            helper "$path" json path="$path" case="$how"
        done
        check "chassis $standby is primary" pair_role "$standby" primary
        [[ $how != reload ]] || check "because it is preferred now" pair_cause "$standby" preempt
        check "both routers send by it" bgp_moves "$standby"
        [[ $how != stop ]] || chassis_start "$primary" || exit 1
        check "chassis $primary is its complete standby" pair_wait_ready "$primary"
        # Its routers have to hear of it before it takes the set back.
        check "chassis $primary has its sessions with both routers" bgp_comes_up "$primary"
        traffic alive old
        primary=$standby
    done
done
for path in bgp addresses; do helper "$path" end; done
pair_finish
