#!/usr/bin/env bash
# What the primary monitors fails, and the other chassis takes over: the link inside, the link outside; servers that do not answer although
# the links are up, by the thresholds of tracked-IP objects and of the set; a zone, once both its links are down; then, by the action of a
# policy, a routing process that dies or whose control socket is gone, an external check, and a worker that stands still. For what weighs,
# each time the roles on both are as the weights say, the routers send by the primary, a stream stands still for a moment only, a download
# that is older than the threshold goes on to its checksum, and what is back is standby after its hold.
source "$(dirname "$0")/../lib/labtest.sh"
source "$SCRIPTS/lib/lab6.sh"
source "$SCRIPTS/lib/pair.sh"
source "$SCRIPTS/lib/bgp.sh"
source "$SCRIPTS/lib/roles.sh"

THRESHOLD=2
HEARTBEAT_MS=200
HOLD_S=2
PAIR_MORE="recovery-hold-s = $HOLD_S
policies = [\"ways\", \"failures\", \"helpers\", \"workers\", \"warned\"]
$(bgp_policy | tail -n +2)
$(pair_virtual_addresses)
[redundancy-policies.failures]
events = [\"links\", \"routers\"]
action = \"broadcast-warning\"
[[redundancy-policies.failures.signal-routes]]
prefix = \"198.51.100.77/32\"
table = 777
discard = true
when = \"event\"

[redundancy-events.links]
links = [\"inside0\", \"outside0\"]

[redundancy-policies.warned]
events = [\"peer-warns\"]
[[redundancy-policies.warned.signal-routes]]
prefix = \"198.51.100.78/32\"
table = 778
discard = true
when = \"event\"
[redundancy-events.peer-warns]
peer = [\"warned\"]

# One lost address is a failed object each by ARP and neighbour discovery, which together are too little for the set; two by ping are
# another one, and all objects together enough.
[redundancy-events.routers]
tracked = [\"one\", \"one6\", \"all\"]

[tracked-ips.one]
method = \"neighbour\"
addresses = [{ address = \"192.0.2.3\", weight = 1 }]
threshold = 1
weight = 60

[tracked-ips.one6]
method = \"neighbour\"
addresses = [{ address = \"2001:db8:0:2::3\", weight = 1 }]
threshold = 1
weight = 40

[tracked-ips.all]
addresses = [{ address = \"192.0.2.3\", weight = 128 }, { address = \"100.64.0.3\", weight = 127 }]
weight = 155

[redundancy-policies.helpers]
events = [\"routing\", \"checked\"]
action = \"release-primary-role\"
[redundancy-events.routing]
routing-process = [{ name = \"bird\", pid-file = \"@LAB@/bird-@N@.pid\", socket = \"@LAB@/bird-@N@.ctl\" }]
[redundancy-events.checked]
check = { command = [\"/usr/bin/test\", \"-e\", \"@LAB@/well-@N@\"], interval-s = 1, timeout-s = 1, weight = 1 }

[redundancy-policies.workers]
events = [\"service\"]
action = \"release-primary-role-force\"
[redundancy-events.service]
service-failure = true"
pair_up
# router N: BIRD on chassis N, with nothing to do. (FRR says the ways; lab pair-bgp watches that.)
router() {
    spawn "router$1" "${DUT[$1]}" bird -f -c "$LAB_DIR/bird-$1.conf" -s "$LAB_DIR/bird-$1.ctl" -P "$LAB_DIR/bird-$1.pid"
    wait_until 20 test -S "$LAB_DIR/bird-$1.ctl" -a -s "$LAB_DIR/bird-$1.pid" || die "bird did not start: $(tail -n 3 "$LAB_DIR/logs/router$1.log")"
}
for n in 1 2; do
    printf 'router id %s;\nprotocol device {}\n' "${OUT4[n]}" >"$LAB_DIR/bird-$n.conf"
    router "$n"
    touch "$LAB_DIR/well-$n"
done
roles_up
gap_start

# Whether the peer of a chassis warns, by the route that says so.
warned_by_peer() { [[ -n $(ip -n "$(ns "${DUT[$1]}")" route show table 778 2>/dev/null) ]]; }
not_warned_by_peer() { ! warned_by_peer "$1"; }
times_warned() { events_with 2 - "event peer-warns is active"; }
signal_route() { ip -n "$(ns "${DUT[$1]}")" route show table 777 2>/dev/null | grep -q 198.51.100.77; }
no_signal_route() { ! signal_route "$1"; }
link_is_down() {
    chassis 1 show interfaces --json | /usr/bin/python3 -c '
import json, sys
body = json.load(sys.stdin)
rows = body["rows"] if isinstance(body, dict) else body
sys.exit(next(row["state"] for row in rows if row["name"] == sys.argv[1]) != "down")' "$1"
}

# fails EVENT MOST_MS COMMAND...: chassis 1, which is primary, sees EVENT after COMMAND; chassis 2 takes over. `-`: traffic stands still already.
fails() {
    local event=$1 most=$2 before
    shift 2
    before=$(events_with 1 - "event $event is active")
    [[ $most == - ]] || gap begin
    "$@"
    roles inoperable primary
    [[ $most == - ]] || gap gap "$most"
    check "chassis 1 tells which event it was" told_again 1 "$before" "event $event is active"
    check "chassis 1 gave it up by its monitors" pair_cause 1 monitor
    check "its signal route says so" wait_until 10 signal_route 1
    case_end inoperable primary 2
}
# recovers EVENT COMMAND...: after COMMAND chassis 1 is well again, and gets the role back by hand.
recovers() {
    local event=$1 before
    shift
    before=$(events_with 1 - "event $event is over")
    "$@"
    check "chassis 1 is standby after its hold" pair_wait_ready 1
    check "it tells that the event is over" told_again 1 "$before" "event $event is over"
    check "its signal route is gone" wait_until 10 no_signal_route 1
    check "chassis 2 is primary still" pair_role 2 primary
    # Else the routers have nothing of it but what it said before, until their hold time is over.
    check "its FRR has sessions with both routers again" bgp_comes_up 1
    check "chassis 1 gets the role back" chassis 1 request redundancy set 1 primary
    check "chassis 1 is primary" pair_role 1 primary
    check "chassis 2 is its standby" pair_wait_ready 2
    check "both routers send by chassis 1" bgp_moves 1
}

case_begin "the link inside is down"
fails links "${LINK_GAP_MS:-2000}" leg p-in down
recovers links leg p-in up
case_begin "the link outside is down"
fails links "${LINK_GAP_MS:-2000}" leg p-out down
recovers links leg p-out up

case_begin "a host outside does not answer chassis 1: objects of weight 100 have failed"
# Both may have failed before, while the link outside was down.
failed() { events_with 1 - "event routers is active" "tracked IP $1: " "does not answer"; }
one=$(failed one) one6=$(failed one6) both=$(events_with 1 - "event routers is active, weight 100")
path p-out p-srv2 off
check "it is told" wait_until 20 told_again 1 "$both" "event routers is active, weight 100"
check "object one has failed" test "$(failed one)" -gt "$one"
check "object one6 has failed" test "$(failed one6)" -gt "$one6"
roles primary standby
check "both routers send by chassis 1" bgp_goes_by 1
step "nor does one inside: the weights of both reach the other object's threshold, and those of the objects the set's"
# 3 probes of 1 s, and what a slow machine adds.
fails routers "${TRACK_GAP_MS:-8000}" path p-in p-sub2 off
check "the other object has failed as well" event_told 1 "tracked IP all"
well() { path p-out p-srv2 on; path p-in p-sub2 on; }
recovers routers well

# acts EVENT COMMAND...: after COMMAND chassis 2 is primary by the action of a policy, and chassis 1 its warned standby.
acts() {
    local before
    before=$(events_with 1 - "event $1 is active")
    "${@:2}"
    check "chassis 2 is primary" pair_role 2 primary
    check "chassis 1 did it by policy" pair_cause 1 policy
    check "chassis 1 is warned" pair_role 1 standby-warned
    check "chassis 1 tells which event it was" told_again 1 "$before" "event $1 is active"
}
back() {
    check "chassis 1 is standby, and not warned any more" pair_wait_ready 1
    check "chassis 1 gets the role back" chassis 1 request redundancy set 1 primary
    check "chassis 1 is primary" pair_role 1 primary
    check "chassis 2 is its standby" pair_wait_ready 2
}
warned=$(times_warned)
case_begin "the routing process of chassis 1 dies"
acts routing stop_spawned router1 KILL
case_end standby-warned primary 2
router 1
back
case_begin "the routing process of chassis 1 is there, and its control socket is not"
acts routing mv "$LAB_DIR/bird-1.ctl" "$LAB_DIR/bird-1.hidden"
case_end standby-warned primary 2
mv "$LAB_DIR/bird-1.hidden" "$LAB_DIR/bird-1.ctl"
back
case_begin "the external check of chassis 1 fails"
acts checked rm "$LAB_DIR/well-1"
case_end standby-warned primary 2
touch "$LAB_DIR/well-1"
back
check "of what only releases the role nobody is warned" [ "$(times_warned)" = "$warned" ]

case_begin "another configuration: a link weighs 10"
reload 1 's/^links = .*/&\nlink-weight = 10/'
leg p-in down
check "the event has that weight" wait_until 10 event_told 1 "event links is active, weight 10"
check "chassis 1 is primary still" pair_is 1 redundancy role primary
check "its policy warns chassis 2" wait_until 10 warned_by_peer 2
leg p-in up
check "which is warned no more" wait_until 10 not_warned_by_peer 2
check "chassis 2 is its standby" pair_wait_ready 2
case_end primary standby 1

case_begin "a zone: one of its links is down, then both"
reload 1 -e '/^link-weight = 10/d; s/^links = .*/zones = ["edge"]/' -e '$a [zones.edge]\ninterfaces = ["inside0", "outside0"]'
leg p-out down
check "chassis 1 sees the first" wait_until 10 link_is_down outside0
roles primary standby
fails links - leg p-in down
both_up() { leg p-in up; leg p-out up; }
recovers links both_up

check "counters say how often" bash -c '[[ $1 -ge 3 ]]' - "$(chassis 1 show counters --json | /usr/bin/python3 -c '
import json, sys
body = json.load(sys.stdin)
rows = body["rows"] if isinstance(body, dict) else body
print(next(row["total"] for row in rows if row["name"] == "redundancy-events-activated"))')"

case_begin "a worker of chassis 1 stands still"
tid=$(grep -l '^worker-0$' /proc/"${CHASSIS_PID[1]}"/task/*/comm | cut -d/ -f5)
gap begin
spawn freeze net /usr/bin/python3 "$SCRIPTS/lab-tools/freeze_thread.py" "$tid"
check "chassis 2 is primary" pair_role 2 primary
check "because chassis 1, whose worker does not give up its role, has ended" pair_cause 2 peer-lost peer-gone
# The stall threshold, half a second for the worker to give up the role, and the looks.
gap gap "${STALL_GAP_MS:-3000}"
says_why() { grep -q "a worker stands still and cannot give up its role" "$LAB_DIR/logs/tandemd1.log"; }
check "it said why" says_why
check "both routers send by chassis 2" bgp_moves 2
stop_spawned freeze TERM
stop_spawned tandemd1 KILL
chassis_start 1 || exit 1
check "chassis 1 is its standby when it is back" pair_wait_ready 1
case_end standby primary 2
traffic alive old
pair_finish
