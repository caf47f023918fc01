#!/usr/bin/env bash
# Two redundancy sets, each primary on another chassis: sub1 is a subscriber of set 1, sub2 of set 2. Whichever chassis their packets and
# the answers are sent to, they go through: what comes to the wrong one crosses the HA data link. Then chassis 1 is killed, and
# chassis 2 has both sets; chassis 1 comes back, and forwards what is sent to it for either.
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

$(pair_group "$n")
data-forwarding = { interface = "ha-data", peer = "10.99.0.$other" }
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

# A second segment inside, for sub2, and the HA data link.
more_cables() {
    local n d
    ip -n "$(ns net)" link add br-in2 type bridge stp_state 0 mcast_snooping 0
    ip -n "$(ns net)" link set br-in2 up
    for n in 1 2; do
        cable "${DUT[n]}" dut-in2 net "p-in2-$n"
        ip -n "$(ns net)" link set "p-in2-$n" master br-in2
    done
    ip -n "$(ns net)" link set p-sub2 master br-in2
    ip -n "$(ns sub2)" addr flush dev eth0
    ip -n "$(ns sub2)" addr add 100.65.0.3/16 dev eth0
    cable dut dut-ha dut2 dut-ha
    for d in dut dut2; do ip -n "$(ns "$d")" link set dut-ha mtu 1600; done
}

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
pair_finish
