#!/usr/bin/env bash
# The pair with routers that learn the way by BGP, and BFD beside it: FRR on each chassis and on both routers, with the files of
# configs/pair-bgp and the lab's addresses. The primary is killed, and the routers hear by BFD that it is gone, not by the hold time of BGP: its ways
# do not stay. In a lab of its own, as each BFD session that comes up
# starts the BGP session anew, which is no help where FRR is stopped and started again and again.
# shellcheck disable=SC2034 # lib/bgp.sh looks at it
BGP_EXAMPLES=yes
source "$(dirname "$0")/../lib/labtest.sh"
source "$SCRIPTS/lib/lab6.sh"
source "$SCRIPTS/lib/pair.sh"
source "$SCRIPTS/lib/bgp.sh"

HEARTBEAT_MS=200
PAIR_MORE=$(bgp_policy; pair_virtual_addresses)
pair_up
pair_start
bgp_up
check "both routers learn the way by chassis 1" bgp_moves 1
for n in 1 2; do
    check "BFD of chassis $n with both routers is up" wait_until 60 bgp_bfd_is_up "$n"
    check "so is BGP" bgp_comes_up "$n"
done
check "packets pass" wait_until 30 pair_passes

step "the primary dies"
chassis_stop 1 KILL
check "both routers send by chassis 2" bgp_moves 2
check "the router outside has heard by BFD that chassis 1 is gone" wait_until 20 bgp_ended_by_bfd srv "${OUT4[1]}"
check "so has the router inside" wait_until 20 bgp_ended_by_bfd sub1 "${IN4[1]}"
check "packets pass" wait_until 30 pair_passes

step "it comes back"
chassis_start 1 || exit 1
check "it is filled by bulk and is the standby" pair_wait_ready 1
check "its BFD with both routers is up again" wait_until 60 bgp_bfd_is_up 1
check "both routers send by chassis 2 still" bgp_moves 2
pair_finish
