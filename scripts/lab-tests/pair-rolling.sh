#!/usr/bin/env bash
# Both chassis are restarted again and again, under load, as for an upgrade: the standby first, then the role is moved to it, then the
# other one. Each time the sessions older than the threshold go on, new subscribers get ports, and a download arrives whole. Every
# second round speaks the wire version before the newest, so that each round has a pair of two versions in between, either way. The load
# is one TCP connection of iperf3 through all of it, and a datagram each millisecond and back.
#
#   ROLLS=10              rounds (3)
#   ROLL_SESSIONS=20000   sessions that are live throughout (5000); some more come with each round
source "$(dirname "$0")/../lib/labtest.sh"
source "$SCRIPTS/lib/lab6.sh"
source "$SCRIPTS/lib/pair.sh"
rolls=${ROLLS:-3} sessions=${ROLL_SESSIONS:-5000}
LAB_MINUTES=$((10 + 3 * rolls))
MAX_SESSIONS=131072
THRESHOLD=2
HEARTBEAT_MS=200
OLD_VERSION=1
PAIR_MORE="recovery-hold-s = 1
$(pair_virtual_addresses)"
pair_up
# wire_version N VERSION: what chassis N speaks at most from its next start on; nothing: the newest.
wire_version() {
    local file="$LAB_DIR/chassis-$1.toml"
    sed -i '/^wire-version = /d' "$file"
    [[ -z $2 ]] || sed -i "/^\[redundancy-groups.1\]/a wire-version = $2" "$file"
}
# What the peer of N speaks, as N sees it.
speaks() { pair_is "$1" replication wire-version "$2"; }
# restart N: a clean one, of a chassis that is standby; it is filled, and its peer stays what it is.
restart() {
    local n=$1 peer=$((3 - $1))
    chassis_stop "$n" TERM
    check "chassis $peer is primary meanwhile" pair_role "$peer" primary
    chassis_start "$n" || exit 1
    check "chassis $n is filled and is the standby" pair_wait_ready "$n" 120
    check "and chassis $peer is primary" pair_role "$peer" primary
}

echo_servers6
spawn echo-sub2 sub2 /usr/bin/python3 "$SCRIPTS/lab-tools/echo_server.py" --name sub2 0.0.0.0 7
for n in 1 2; do wire_version "$n" "$OLD_VERSION"; done
pair_start
traffic_start pair_many.py
aside_start pair_sessions.py
traffic open "$sessions"
spawn load sub1 iperf3 --client 192.0.2.1 --port 5201 --bitrate 50M --time $((60 * LAB_MINUTES)) --interval 1 --forceflush
load_has() { grep -c "[1-9][0-9.]* [KMG]bits/sec" "$LAB_DIR/logs/load.log"; }
load_more() { (($(load_has) > $1)); }
# Each second in which something was acknowledged is a line.
load_goes_on() {
    wait_until 30 load_more "$(load_has)" || { tail -n 5 "$LAB_DIR/logs/load.log"; return 1; }
    tail -n 1 "$LAB_DIR/logs/load.log"
}
gap_start
gap begin
primary=1 version=$OLD_VERSION
for ((roll = 1; roll <= rolls; roll++)); do
    standby=$((3 - primary)) before=$version
    if ((roll % 2)); then version=''; else version=$OLD_VERSION; fi
    step "round $roll of $rolls: to ${version:-the newest wire version}; chassis $standby first"
    aside open "round$roll"
    aside download "round$roll"
    traffic open 500
    wire_version "$standby" "$version"
    restart "$standby"
    # A pair of two versions speaks the older one.
    check "they speak wire version $OLD_VERSION" wait_until 20 speaks "$standby" "$OLD_VERSION"
    aside ripen "round$roll" $((THRESHOLD + 2))
    traffic ripen $((THRESHOLD + 2))
    traffic killed
    check "the role is moved to chassis $standby" chassis "$primary" request redundancy switchover 1
    check "chassis $standby is primary" pair_role "$standby" primary
    check "chassis $primary is its complete standby" pair_wait_ready "$primary" 120
    traffic use "$standby"
    traffic open 500
    traffic verify $((THRESHOLD + 2))
    aside alive "round$roll"
    step "round $roll of $rolls: chassis $primary next"
    wire_version "$primary" "$version"
    traffic killed
    restart "$primary"
    traffic verify $((THRESHOLD + 2))
    aside alive "round$roll"
    aside finish "round$roll"
    check "the load of the first second goes on" load_goes_on
    primary=$standby
done
# How many of the datagrams were lost is for pair-planned.sh to judge, in which nothing else is done.
gap flow 1
gap end
note "rounds: $rolls; last: from ${before:-the newest} to ${version:-the newest}"
pair_finish
