#!/usr/bin/env bash
# The paths between the two chassis, one after the other: a cut HA link, both of them, all links of the primary at once, and all paths
# of heartbeats while both go on: two primaries, which are one again when they hear each other. Each time a download older than
# the threshold goes on to its checksum, and the roles and the routes at the neighbours are what docs/redundancy.md says.
source "$(dirname "$0")/../lib/labtest.sh"
source "$SCRIPTS/lib/lab6.sh"
source "$SCRIPTS/lib/pair.sh"
source "$SCRIPTS/lib/bgp.sh"
source "$SCRIPTS/lib/roles.sh"

THRESHOLD=2
HEARTBEAT_MS=200
# A silent channel ends after 3 s, as it does for who cannot wait a minute for replication to go on.
PAIR_GROUP='keepalive-interval-s = 1
keepalive-lost-threshold = 3
[[redundancy-groups.1.links]]
kind = "data"
local = "5.5.6.@N@"
peer = "5.5.6.@O@"
[[redundancy-groups.1.links]]
kind = "secondary"
local = "@IN@"
peer = "@PEER-IN@"'
PAIR_MORE="recovery-hold-s = 0
primary-always-exists = false
policies = [\"ways\", \"failures\"]
$(bgp_policy | tail -n +2)
[redundancy-policies.failures]
events = [\"links\"]
action = \"broadcast-warning\"
[redundancy-events.links]
links = [\"inside0\", \"outside0\"]
$(pair_virtual_addresses)"
pair_up
cable dut ha1 dut2 ha1
for n in 1 2; do ip -n "$(ns "${DUT[n]}")" addr add "5.5.6.$n/24" dev ha1; done
# by N: what sub2 and srv2 say to each other goes by this chassis.
by() {
    ip -n "$(ns sub2)" route replace 192.0.2.3/32 via "${IN4[$1]}"
    ip -n "$(ns srv2)" route replace 203.0.113.0/32 via "${OUT4[$1]}"
}
by_none() {
    ip -n "$(ns sub2)" route del 192.0.2.3/32
    ip -n "$(ns srv2)" route del 203.0.113.0/32
}
# merge_count N FIELD: what chassis N has counted of a merge.
merge_count() {
    chassis "$1" show replication --json | /usr/bin/python3 -c '
import json, sys
print(json.load(sys.stdin)["workers"]["merge"][sys.argv[1]])' "$2"
}
has_yielded() { ! pair_is 1 redundancy role primary; }
has_come() { [[ -s $LAB_DIR/by1.sha256 ]]; }
same_file() { diff <(cut -d' ' -f1 "$LAB_DIR/by1.sha256") "$LAB_DIR/100m.sha256"; }

# Few ports: two primaries that do not hear each other give out the same ones.
sed -i 's|^prefixes = \["203.0.113.0/25"\]|prefixes = ["203.0.113.0/32"]|' "$LAB_DIR"/chassis-[12].toml
roles_up
aside_start pair_many.py

# heard N PATH...: the paths of heartbeats that are up there are these.
heard() {
    local want
    want=$(printf '%s\n' "${@:2}" | sort | paste -sd' ')
    [[ $(chassis "$1" show redundancy --json | /usr/bin/python3 -c '
import json, sys
paths = json.load(sys.stdin)["heartbeats"][0]["paths"]
print(*sorted(one["path"] for one in paths if one["up"]))') == "$want" ]]
}
# paths PATH...: those that are up on both.
paths() {
    local n
    for n in 1 2; do check "chassis $n hears the other by ${*:-nothing}" wait_until 20 heard "$n" "$@"; done
}
ha() { ip -n "$(ns dut)" link set "$1" "$2"; }

# Chassis 1 is primary still, by the epoch that it has had, and alone.
goes_on() {
    check "chassis 1 is primary still, nothing has changed" same_role "$1"
    check "chassis 2 is not" not_primary 2
    check "packets go by it" bgp_goes_by 1
}
not_primary() { ! pair_is "$1" redundancy role primary; }
same_role() { pair_is 1 redundancy role primary && [[ $(epoch) == "$1" ]]; }
epoch() { pair_field 1 redundancy epoch; }

# over NET: the channel is over this link, and all is told both ways.
over() {
    local n
    for n in 1 2; do
        pair_is "$n" replication state active && [[ $(pair_field "$n" replication channel.connected-to) == *"$1."* ]] || return 1
    done
}
channel() { check "the channel goes over $1" wait_until 20 over "$2"; }

# What both give out must meet: first, while next to nothing is held after a takeover.
case_begin "a split brain, and its end"
ha ha0 down
ha ha1 down
path p-in p-in2 off
paths
roles primary primary
check "chassis 2 because the peer was lost" pair_cause 2 peer-lost
check "both routers send by chassis 2, which has the higher epoch" bgp_moves 2
step "sessions of each, while both are primary"
spawn http-srv2 srv2 /usr/bin/python3 -m http.server 80 --bind 192.0.2.3 --directory "$LAB_DIR/www"
by 1
check "chassis 1 serves sub2 and srv2" wait_until 20 in_ns sub2 curl -sf -m 2 -o /dev/null -r 0-99 http://192.0.2.3/100m.bin
spawn by1 sub2 bash -o pipefail -c "curl -sSf --limit-rate 2M -m 200 http://192.0.2.3/100m.bin | sha256sum >$LAB_DIR/by1.sha256"
traffic open split
traffic download split
aside claim "${CLAIMS:-20000}"
aside killed
# What chassis 2 says to its neighbours of addresses of its own (RFC 5227 section 3).
spawn announced net tcpdump -l -n -Q in -i p-in2 'arp and arp[14:4] = arp[24:4]'
wait_until 20 grep -q "listening on" "$LAB_DIR/logs/announced.log" || exit 1
has_announced() { grep "ARP, " "$LAB_DIR/logs/announced.log"; }
check "nobody has to announce anything" test -z "$(has_announced)"
ha ha0 up
ha ha1 up
path p-in p-in2 on
healed=$SECONDS
check "chassis 1 yields" wait_until 20 has_yielded
check "chassis 2, which stays primary, announces its addresses once more" wait_until 20 has_announced
stop_spawned announced
by 2
check "chassis 1 yields and is told all, soon" pair_wait_ready 1 20
echo "     $((SECONDS - healed)) s after the paths were back"
aside conflicts "$(merge_count 2 public-ends)"
chassis 2 show redundancy events --limit 5
check "chassis 2 says what it has taken over" event_told 2 "sessions were taken over"
check "none had nothing to stand on" test "$(merge_count 2 extents-of-others)" == 0
paths control data secondary-1
case_end standby primary 2
check "because of the epoch" pair_cause 1 epoch
traffic alive old
traffic finish split
traffic alive split
check "a download begun on chassis 1 meanwhile ends by chassis 2" wait_until 120 has_come
check "and is whole" same_file
by_none
# What chassis 1 gave and chassis 2 did not goes on; what both gave is chassis 2's.
aside verify 0
check "the role goes back" asked 1 switchover 1
roles primary standby
# Chassis 1 knows all of it, too.
aside use 1
aside killed
aside verify 0

case_begin "the control link is cut, the data link carries heartbeats and channel"
before=$(epoch)
ha ha0 down
paths data secondary-1
goes_on "$before"
channel "the data link" 5.5.6
check "the role is handed over all the same" asked 1 switchover 1
roles standby primary
check "both routers send by chassis 2" bgp_moves 2
check "and back" asked 1 switchover 1
roles primary standby
check "both routers send by chassis 1" bgp_moves 1
case_end primary standby 1

case_begin "both are cut, the secondary path carries heartbeats"
before=$(epoch)
ha ha1 down
paths secondary-1
goes_on "$before"
check "there is no channel" wait_until 30 pair_is 2 replication channel.connected-to ""
check "the role is not to be had while nothing can be told" refused 2 "not connected" switchover 1 --force
check "nor is it released" refused 1 "not connected" set 1 standby
reload 1 "s|^primary-always-exists = .*|primary-always-exists = true|"
check "nor by force, where somebody has to be primary" refused 1 "not connected" set 1 standby --force
reload 1 "s|^primary-always-exists = .*|primary-always-exists = false|"
goes_on "$before"
ha ha0 up
ha ha1 up
paths control data secondary-1
case_end primary standby 1
goes_on "$before"
channel "one of both" 5.5

case_begin "both are cut, and the role is released by force to who cannot be told"
ha ha0 down
ha ha1 down
paths secondary-1
check "there is no channel" wait_until 30 pair_is 1 replication channel.connected-to ""
check "it is done" asked 1 set 1 standby --force
check "chassis 2 takes it" wait_until 30 pair_is 2 redundancy role primary
check "because nobody had it" pair_cause 2 election peer-lost
check "chassis 1 is not" not_primary 1
check "both routers send by chassis 2" bgp_moves 2
ha ha0 up
ha ha1 up
paths control data secondary-1
case_end standby primary 2
check "and back" asked 1 switchover 1
roles primary standby
check "both routers send by chassis 1" bgp_moves 1
before=$(epoch)

case_begin "the data link is cut"
ha ha1 down
paths control secondary-1
goes_on "$before"
channel "the control link" 5.5.5
ha ha1 up
paths control data secondary-1
case_end primary standby 1
goes_on "$before"

case_begin "all links of chassis 1 are removed at once"
for cable in ha0 ha1; do ha "$cable" down; done
for cable in p-in p-out; do leg "$cable" down; done
# Chassis 1 has nobody, and need not carry on.
roles inoperable primary
check "chassis 2 took over because the peer was lost" pair_cause 2 peer-lost
case_end inoperable primary 2
for cable in p-in p-out; do leg "$cable" up; done
for cable in ha0 ha1; do ha "$cable" up; done
check "chassis 1 is its complete standby" pair_wait_ready 1
roles standby primary
check "both routers send by chassis 2" bgp_moves 2
traffic alive old
pair_finish
