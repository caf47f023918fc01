#!/usr/bin/env bash
# Two redundancy sets, each primary on another chassis: sub1 is a subscriber of set 1, sub2 of set 2. Whichever chassis their packets and
# the answers are sent to, they go through: what comes to the wrong one crosses the HA data link. That link is cut, where both ports
# keep their carrier and where one loses it: what crosses goes by the other HA link, until the first is mended. Then chassis 1 is
# killed, and chassis 2 has both sets; chassis 1 comes back, and forwards what is sent to it for either.
source "$(dirname "$0")/../lib/labtest.sh"
source "$SCRIPTS/lib/lab6.sh"
source "$SCRIPTS/lib/pair.sh"

HEARTBEAT_MS=200
MEMORY_MB=768
# Inside addresses of each set, by chassis.
SET_IN=('' "100.64.0.1 100.64.0.4" "100.65.0.1 100.65.0.4")
SET_POOL=('' 203.0.113.0/26 203.0.113.64/26)
SET_SUB=('' sub1 sub2)
# set_in SET CHASSIS
set_in() { cut -d' ' -f"$2" <<<"${SET_IN[$1]}"; }

# pair_config N: in the place of the library's, which has one set.
pair_config() {
    local n=$1 other=$((3 - $1)) prefix=$LAB_PREFIX set
    # The control link is a port of the chassis, too.
    local HA4=('' 10.98.0.1 10.98.0.2)
    [[ $n == 1 ]] || prefix=${LAB_PREFIX}_2
    WORKERS=${PAIR_WORKERS[n]} SHARDS=2 FILE_PREFIX=$prefix INSIDE4="$(set_in 1 "$n")/16" OUTSIDE4="${OUT4[n]}/24" \
        INSIDE6=", \"${IN6[n]}/64\"" OUTSIDE6=", \"${OUT6[n]}/64\"" config_head
    cat <<CONF
[interfaces.inside1]
device = "net_af_xdp2,iface=dut-in2"
tap = "inside1"
addresses = ["$(set_in 2 "$n")/16"]

[interfaces.ha-data]
device = "net_af_xdp3,iface=dut-ha"
tap = "ha-data"
mtu = 1600
addresses = ["10.99.0.$n/24"]

[interfaces.ha-control]
device = "net_af_xdp4,iface=dut-hc"
tap = "ha-control"
mtu = 1600
addresses = ["10.98.0.$n/24"]

$(pair_group "$n")
data-forwarding = { interface = "ha-data", peer = "10.99.0.$other", other = { interface = "ha-control", peer = "10.98.0.$other" } }
links = [{ kind = "data", local = "10.99.0.$n", peer = "10.99.0.$other" }]
CONF
    for set in 1 2; do
        cat <<CONF

[redundancy-sets.$set]
redundancy-group = 1
priority = $((set == n ? 100 : 200))
preempt = true

[pools.p$set]
prefixes = ["${SET_POOL[set]}"]

[nat-rules.r$set]
[[nat-rules.r$set.terms]]
name = "all"
from = { source-addresses = ["100.6$((set + 3)).0.0/16"] }
then = { translation-type = "napt-44", pool = "p$set" }

[service-sets.s$set]
inside-interfaces = ["inside$((set - 1))"]
outside-interfaces = ["outside0"]
nat-rules = ["r$set"]
redundancy-set = $set
timeouts = { icmp-s = 600 }
CONF
    done
}

# A second segment inside, for sub2, and the HA links: data over a switch.
more_cables() {
    local n d
    ip -n "$(ns net)" link add br-ha type bridge stp_state 0 mcast_snooping 0
    ip -n "$(ns net)" link set br-ha mtu 1600 up
    ip -n "$(ns net)" link add br-in2 type bridge stp_state 0 mcast_snooping 0
    ip -n "$(ns net)" link set br-in2 up
    for n in 1 2; do
        cable "${DUT[n]}" dut-in2 net "p-in2-$n"
        ip -n "$(ns net)" link set "p-in2-$n" master br-in2
        cable "${DUT[n]}" dut-ha net "p-ha-$n"
        ip -n "$(ns net)" link set "p-ha-$n" mtu 1600 master br-ha
    done
    ip -n "$(ns net)" link set p-sub2 master br-in2
    ip -n "$(ns sub2)" addr flush dev eth0
    ip -n "$(ns sub2)" addr add 100.65.0.3/16 dev eth0
    cable dut dut-hc dut2 dut-hc
    for d in dut-ha dut-hc; do
        for n in 1 2; do ip -n "$(ns "${DUT[n]}")" link set "$d" mtu 1600; done
    done
}
# data_port WORDS...: of chassis 1's port of that switch.
data_port() { ip -n "$(ns net)" link set p-ha-1 "$@"; }

# by SET INSIDE OUTSIDE: the set's subscriber sends by one chassis, and the servers answer by another.
by() {
    local h
    ip -n "$(ns "${SET_SUB[$1]}")" route replace default via "$(set_in "$1" "$2")"
    for h in srv srv2; do ip -n "$(ns "$h")" route replace "${SET_POOL[$1]}" via "${OUT4[$3]}"; done
}
# role N SET ROLE
role_of() {
    chassis "$1" show redundancy --json | /usr/bin/python3 -c '
import json, sys
body = json.load(sys.stdin)
rows = body["rows"] if isinstance(body, dict) else body
sys.exit(not any(row["id"] == int(sys.argv[1]) and row["role"] == sys.argv[2] for row in rows))' "$2" "$3"
}
is_role() { wait_until "${4:-30}" role_of "$1" "$2" "$3"; }
# counted N NAME: a counter of a chassis.
counted() {
    chassis "$1" show counters --json | /usr/bin/python3 -c '
import json, sys
body = json.load(sys.stdin)
rows = body["rows"] if isinstance(body, dict) else body
print(next(row["total"] for row in rows if row["name"] == sys.argv[1]))' "$2"
}
more_than() { (($(counted "$1" "$2") > $3)); }
pings() { in_ns "${SET_SUB[$1]}" ping -c 1 -W 2 192.0.2.1; }
# whole SET [CURL ARGS...]: a download of 20 MB, with its checksum.
whole() {
    [[ $(in_ns "${SET_SUB[$1]}" curl -sf -m 60 -r 0-19999999 "${@:2}" http://192.0.2.1/100m.bin | sha256sum) == "$WANT"* ]]
}
# crosses SET COUNTER: a download of a set by the wrong chassis, which counts it so.
crosses() {
    local n=$((3 - $1)) before
    before=$(counted "$n" "$2")
    whole "$1" && wait_until 5 more_than "$n" "$2" $((before + 1000))
}
# crosses_by_first SET: and nothing of it by the other HA link.
crosses_by_first() {
    local n=$((3 - $1)) before
    before=$(counted "$n" forwarded-by-other)
    crosses "$1" forwarded-to-peer && [[ $(counted "$n" forwarded-by-other) == "$before" ]]
}

pair_up
more_cables
WANT=$(head -c 20000000 "$LAB_DIR/www/100m.bin" | sha256sum | cut -d' ' -f1)
for n in 1 2; do check "tandem check accepts the config of chassis $n" "$TANDEM" check "$LAB_DIR/chassis-$n.toml"; done
chassis_start 1 && chassis_start 2 || exit 1
for set in 1 2; do
    check "chassis $set is primary of set $set" is_role "$set" "$set" primary
    check "chassis $((3 - set)) is its standby" is_role "$((3 - set))" "$set" standby
done

for ways in "1 1" "2 1" "1 2" "2 2"; do
    read -r inside outside <<<"$ways"
    step "subscribers send by chassis $inside, servers by chassis $outside"
    for set in 1 2; do
        by "$set" "$inside" "$outside"
        sent=$(counted $((3 - set)) forwarded-to-peer) taken=$(counted "$set" forwarded-by-peer)
        check "a packet of set $set goes through" wait_until 20 pings "$set"
        check "a download of set $set comes whole" whole "$set"
        check "a fragmented packet of set $set goes through" in_ns "${SET_SUB[set]}" ping -c 1 -W 3 -s 4000 192.0.2.1
        if [[ $inside != "$set" || $outside != "$set" ]]; then
            check "chassis $((3 - set)) forwarded it" wait_until 10 more_than $((3 - set)) forwarded-to-peer "$sent"
            check "chassis $set took it" wait_until 10 more_than "$set" forwarded-by-peer "$taken"
        fi
    done
done

for set in 1 2; do
    by "$set" $((3 - set)) $((3 - set))
    check "what crosses for set $set goes by the HA data link" crosses_by_first "$set"
done
for cut in nomaster down; do
    if [[ $cut == down ]]; then
        step "chassis 1 loses the carrier of the HA data link, chassis 2 does not"
        mend=up
    else
        step "the HA data link is cut, and no port notices"
        mend="master br-ha"
    fi
    # shellcheck disable=SC2086
    data_port $cut
    for set in 1 2; do
        check "a packet of set $set goes through" wait_until 20 pings "$set"
        check "what crosses for set $set goes by the other HA link" crosses "$set" forwarded-by-other
        check "a fragmented packet of set $set goes through" in_ns "${SET_SUB[set]}" ping -c 1 -W 3 -s 4000 192.0.2.1
        check "chassis $set is primary of set $set" role_of "$set" "$set" primary
    done
    # shellcheck disable=SC2086
    data_port $mend
    for set in 1 2; do
        check "what crosses for set $set goes by the HA data link again" wait_until 30 crosses_by_first "$set"
        check "chassis $set is primary of set $set" role_of "$set" "$set" primary
    done
done
for set in 1 2; do by "$set" 2 2; done

step "chassis 1 is killed while both sets download by chassis 2"
for set in 1 2; do
    whole "$set" --limit-rate 1800k &
    DOWNLOAD[set]=$!
done
# Older than the threshold by then, and still under way.
are_old() { ((SECONDS >= OLD_AT)); }
OLD_AT=$((SECONDS + THRESHOLD + 3))
wait_until 30 are_old
chassis_stop 1 KILL
for set in 1 2; do check "chassis 2 is primary of set $set" is_role 2 "$set" primary; done
for set in 1 2; do
    result=0
    wait "${DOWNLOAD[set]}" || result=$?
    check "the download of set $set comes whole" test "$result" == 0
done

step "chassis 1 comes back, and takes its set again"
chassis_start 1 || exit 1
check "chassis 1 is primary of set 1" is_role 1 1 primary 60
check "chassis 2 is primary of set 2" is_role 2 2 primary
for set in 1 2; do
    check "a packet of set $set goes through by chassis 2" wait_until 20 pings "$set"
    check "a download of set $set comes whole" whole "$set"
done

step "both die, and come back: the channel may be there before the first heartbeat, which tells whose a set is"
chassis_stop 1 KILL
chassis_stop 2 KILL
chassis_start 2 && chassis_start 1 || exit 1
for set in 1 2; do
    check "chassis $set is primary of set $set" is_role "$set" "$set" primary 60
    check "chassis $((3 - set)) is its standby" is_role "$((3 - set))" "$set" standby 60
    check "a packet of set $set goes through by chassis 2" wait_until 20 pings "$set"
done
pair_finish
