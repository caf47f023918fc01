#!/usr/bin/env bash
# What the primary monitors fails, and the other chassis takes over: the link inside, the link outside, and a server outside that
# does not answer although the link is up; then, by the action of a policy, a routing process that dies, an external check, and a
# worker that stands still. For what weighs, each time the roles on both are as the weights say, a stream by the virtual addresses
# stands still for a moment only, the sessions older than the threshold go on, and what is back is standby after its hold.
source "$(dirname "$0")/../lib/labtest.sh"
source "$SCRIPTS/lib/lab6.sh"
source "$SCRIPTS/lib/pair.sh"

HEARTBEAT_MS=200
HOLD_S=2
PAIR_MORE="recovery-hold-s = $HOLD_S
policies = [\"failures\", \"helpers\", \"workers\"]
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

[redundancy-events.routers]
tracked = [\"server\"]

[tracked-ips.server]
interface = \"outside0\"
addresses = [{ address = \"192.0.2.1\", weight = 255 }]
weight = 255

[redundancy-policies.helpers]
events = [\"routing\", \"checked\"]
action = \"release-primary-role\"
[redundancy-events.routing]
routing-process = [{ name = \"router\", pid-file = \"@LAB@/router-@N@.pid\" }]
[redundancy-events.checked]
check = { command = [\"/usr/bin/test\", \"-e\", \"@LAB@/well-@N@\"], interval-s = 1, timeout-s = 1, weight = 1 }

[redundancy-policies.workers]
events = [\"service\"]
action = \"release-primary-role-force\"
[redundancy-events.service]
service-failure = true"
pair_up
# router N: something that is there for as long as chassis N has a routing process.
router() {
    spawn "router$1" "${DUT[$1]}" /usr/bin/sleep 3600
    echo "$SPAWNED" >"$LAB_DIR/router-$1.pid"
}
for n in 1 2; do
    sed -i "s|@LAB@|$LAB_DIR|g; s|@N@|$n|g" "$LAB_DIR/chassis-$n.toml"
    router "$n"
    touch "$LAB_DIR/well-$n"
done
echo_servers6
spawn echo-sub2 sub2 /usr/bin/python3 "$SCRIPTS/lab-tools/echo_server.py" --name sub2 0.0.0.0 7
for n in 1 2; do check "tandem check accepts the config of chassis $n" "$TANDEM" check "$LAB_DIR/chassis-$n.toml"; done
pair_start
traffic_start pair_sessions.py
gap_start

# leg CABLE up|down: the far end of a cable of a chassis.
leg() { ip -n "$(ns net)" link set "$1" "$2"; }
# path CHASSIS_CABLE on|off: whether frames pass between it and the server; the links stay up.
path() {
    local isolated=on cable
    [[ $2 == off ]] || isolated=off
    for cable in "$1" p-srv; do in_ns net bridge link set dev "$cable" isolated "$isolated"; done
}
# event_told N TEXT...: the history of chassis N has a line with all of these.
event_told() {
    chassis "$1" show redundancy events --json | /usr/bin/python3 -c '
import json, sys
body = json.load(sys.stdin)
rows = body["rows"] if isinstance(body, dict) else body
sys.exit(not any(all(text in (row.get("reason") or "") for text in sys.argv[1:]) for row in rows))' "${@:2}"
}
signal_route() { ip -n "$(ns "${DUT[$1]}")" route show table 777 2>/dev/null | grep -q 198.51.100.77; }
no_signal_route() { ! signal_route "$1"; }

# fails WHAT EVENT COMMAND...: chassis 1, which is primary, sees EVENT after COMMAND; chassis 2 takes over.
fails() {
    local what=$1 event=$2 most=$3
    shift 3
    step "$what"
    traffic open "$event"
    traffic ripen "$event" $((THRESHOLD + 2))
    gap begin
    "$@"
    check "chassis 2 is primary" pair_role 2 primary
    check "chassis 1 is inoperable" pair_role 1 inoperable
    gap gap "$most"
    check "chassis 1 tells which event it was" event_told 1 "event $event is active"
    check "its signal route says so" wait_until 10 signal_route 1
    traffic alive "$event"
}
# recovers EVENT COMMAND...: after COMMAND chassis 1 is well again, and gets the role back by hand.
recovers() {
    local event=$1
    shift
    "$@"
    check "chassis 1 is standby after its hold" pair_wait_ready 1
    check "it tells that the event is over" event_told 1 "event $event is over"
    check "its signal route is gone" wait_until 10 no_signal_route 1
    check "chassis 2 is primary still" pair_role 2 primary
    check "chassis 1 gets the role back" chassis 1 request redundancy set 1 primary
    check "chassis 1 is primary" pair_role 1 primary
    check "chassis 2 is its standby" pair_wait_ready 2
    traffic alive "$event"
}

fails "the link inside is down" links "${LINK_GAP_MS:-2000}" leg p-in down
recovers links leg p-in up
fails "the link outside is down" links "${LINK_GAP_MS:-2000}" leg p-out down
recovers links leg p-out up
# 3 probes of 1 s, and what a slow machine adds.
fails "the server outside does not answer chassis 1" routers "${TRACK_GAP_MS:-8000}" path p-out off
recovers routers path p-out on
# acts EVENT: by the action of a policy chassis 2 is primary, and chassis 1 its warned standby.
acts() {
    check "chassis 2 is primary" pair_role 2 primary
    check "chassis 1 did it by policy" pair_cause 1 policy
    check "chassis 1 is warned" pair_role 1 standby-warned
    check "chassis 1 tells which event it was" event_told 1 "event $1 is active"
}
back() {
    check "chassis 1 is standby, and not warned any more" pair_wait_ready 1
    check "chassis 1 gets the role back" chassis 1 request redundancy set 1 primary
    check "chassis 1 is primary" pair_role 1 primary
    check "chassis 2 is its standby" pair_wait_ready 2
}
step "the routing process of chassis 1 dies"
stop_spawned router1 KILL
acts routing
router 1
back
step "the external check of chassis 1 fails"
rm "$LAB_DIR/well-1"
acts checked
touch "$LAB_DIR/well-1"
back

step "another configuration: a link weighs 10"
sed -i 's/^links = .*/&\nlink-weight = 10/' "$LAB_DIR/chassis-1.toml"
kill -HUP "${CHASSIS_PID[1]}"
weighs_10() { event_told 1 "event links is active, weight 10"; }
applied() { grep -q "reload applied" "$LAB_DIR/logs/tandemd1.log"; }
check "it is taken over" wait_until 10 applied
leg p-in down
check "the event has that weight" wait_until 10 weighs_10
check "chassis 1 is primary still" pair_is 1 redundancy role primary
leg p-in up
check "chassis 2 is its standby" pair_wait_ready 2

step "a worker of chassis 1 stands still"
tid=$(grep -l '^worker-0$' /proc/"${CHASSIS_PID[1]}"/task/*/comm | cut -d/ -f5)
spawn freeze net /usr/bin/python3 "$SCRIPTS/lab-tools/freeze_thread.py" "$tid"
check "chassis 2 is primary" pair_role 2 primary
check "chassis 1 tells which event it was" event_told 1 "event service is active" "worker 0"
stop_spawned freeze TERM
check "chassis 1 is its standby when the worker is back" pair_wait_ready 1
check "packets pass by chassis 2" wait_until 10 pair_passes

check "counters say how often" bash -c '[[ $1 -ge 3 ]]' - "$(chassis 1 show counters --json | /usr/bin/python3 -c '
import json, sys
body = json.load(sys.stdin)
rows = body["rows"] if isinstance(body, dict) else body
print(next(row["total"] for row in rows if row["name"] == "redundancy-events-activated"))')"
pair_finish
