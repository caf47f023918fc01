# shellcheck shell=bash
# A redundancy pair in the lab of lab.sh: a second chassis beside the first, the channel between them, and the moves that are
# made by hand. Sourced, after labtest.sh and lab6.sh.
#
#   sub1 ─┐         ┌─ 100.64.0.1 [ dut:  chassis 1 ] 192.0.2.2 ─┐          ┌─ srv
#         ├─ br-in ─┤                5.5.5.1                      ├─ br-out ─┤
#   sub2 ─┤         │                   | ha0                     │          ├─ srv2
#         │         │                5.5.5.2                      │          │
#   ref ──┘         └─ 100.64.0.4 [ dut2: chassis 2 ] 192.0.2.4 ─┘          └─ ref
#
# Chassis 1 has one worker and chassis 2 two, of two shards each. Traffic goes by whichever chassis the routes of subscribers and
# servers name (pair_move). With HA_NAMESPACE set the channel has its own routing instance: ha0 lies in the namespaces ha1 and
# ha2, and the chassis know it by their names. ref has a foot on both sides and no address, for a tool that makes its own frames.

LAB_HOSTS+=(dut2 ha1 ha2)

# By number of the chassis; what does not depend on it has index 0.
DUT=('' dut dut2)
IN4=('' 100.64.0.1 100.64.0.4)
OUT4=('' 192.0.2.2 192.0.2.4)
IN6=('' 2001:db8:0:1::1 2001:db8:0:1::4)
OUT6=('' 2001:db8:0:2::2 2001:db8:0:2::4)
HA4=('' 5.5.5.1 5.5.5.2)
PAIR_WORKERS=('' 1 2)
CHASSIS_PID=('' '' '')
CHASSIS_START=('' '' '')
FINGERPRINT=('' '' '')
# Where a chassis has its config, unless that is chassis-N.toml in the lab's directory.
PAIR_FILE=('' '' '')
# Seconds after which a session is told the other chassis.
THRESHOLD=${THRESHOLD:-3}

# pair_up [keep]: the lab with both chassis cabled, their keys and their configs; none of them started. `keep` as for lab_up.
pair_up() {
    local n
    lab_up "${1:-}"
    lab_ipv6
    pair_topology
    for n in 1 2; do pair_keys "$n" "chassis-$n"; done
    for n in 1 2; do pair_config "$n" >"$LAB_DIR/chassis-$n.toml"; done
}

pair_topology() {
    local h n
    cable dut2 dut-in net p-in2
    cable dut2 dut-out net p-out2
    cable ref in0 net p-ref-in
    cable ref out0 net p-ref-out
    for h in p-in2 p-ref-in; do ip -n "$(ns net)" link set "$h" master br-in; done
    for h in p-out2 p-ref-out; do ip -n "$(ns net)" link set "$h" master br-out; done
    set_sysctl dut2 net.ipv4.conf.all.arp_ignore=1 net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0 \
        net.ipv6.conf.default.disable_ipv6=0 net.ipv6.conf.lo.disable_ipv6=0
    if [[ -n ${HA_NAMESPACE:-} ]]; then
        cable ha1 ha0 ha2 ha0
    else
        cable dut ha0 dut2 ha0
    fi
    for n in 1 2; do ip -n "$(ns "$(pair_ha_host "$n")")" addr add "${HA4[n]}/24" dev ha0; done
}
# Where the channel's address of a chassis is.
pair_ha_host() { if [[ -n ${HA_NAMESPACE:-} ]]; then echo "ha$1"; else echo "${DUT[$1]}"; fi; }

# pair_keys N NAME: key and certificate of a chassis, as its operator makes them.
pair_keys() {
    local out
    out=$("$TANDEM" ha keygen --directory "$LAB_DIR" --name "$2") || die "tandem ha keygen failed"
    FINGERPRINT[$1]=$(sed -n 's/^peer-fingerprints = \["\(.*\)"\]$/\1/p' <<<"$out")
    [[ -n ${FINGERPRINT[$1]} ]] || die "tandem ha keygen named no fingerprint: $out"
}

# pair_group N: its [redundancy] and the group of both, to which the caller adds.
pair_group() {
    local n=$1 other=$((3 - $1)) beats=${HEARTBEAT_MS:-0}
    cat <<CONF
[redundancy]
replication-threshold-s = $THRESHOLD
redundancy-local = "${HA4[n]}"

[redundancy-groups.1]
redundancy-peer = "${HA4[other]}"
certificate = "chassis-$n.crt"
key = "chassis-$n.key"
peer-fingerprints = ["${FINGERPRINT[other]}"]
heartbeat-interval-ms = $beats
$([[ $beats == 0 ]] || echo 'heartbeat-key = "pair.key"')
CONF
}

# pair_config N: its config. PAIR_GROUP is more of its redundancy group, PAIR_MORE more of its set and more tables. Roles are changed by hand, unless
# HEARTBEAT_MS is set: then chassis 1 is the preferred one.
pair_config() {
    local n=$1 role=standby prefix=$LAB_PREFIX instance='' beats=${HEARTBEAT_MS:-0}
    [[ -z ${HA_NAMESPACE:-} ]] || instance="routing-instance = { namespace = \"$(ns "ha$n")\" }"
    [[ $n == 2 ]] || role=primary
    [[ $n == 1 ]] || prefix=${LAB_PREFIX}_2
    WORKERS=${PAIR_WORKERS[n]} SHARDS=2 FILE_PREFIX=$prefix INSIDE4="${IN4[n]}/16" OUTSIDE4="${OUT4[n]}/24" \
        INSIDE6=", \"${IN6[n]}/64\"" OUTSIDE6=", \"${OUT6[n]}/64\"" config_head
    cat <<CONF
[pools.cgn]
prefixes = ["203.0.113.0/25"]

[nat-rules.all]
[[nat-rules.all.terms]]
name = "nat64"
from = { source-addresses = ["2001:db8:0:1::/64"] }
then = { translation-type = "stateful-nat64", pool = "cgn" }
[[nat-rules.all.terms]]
name = "subscribers"
from = { source-addresses = ["100.64.0.0/10", "10.0.0.0/8"] }
then = { translation-type = "napt-44", pool = "cgn" }

[service-sets.cgn]
inside-interfaces = ["inside0"]
outside-interfaces = ["outside0"]
nat-rules = ["all"]
redundancy-set = 1
timeouts = { icmp-s = 600 }

[service-sets.cgn.ipv6]
nat64-prefixes = ["2001:db8:64::/96"]

# What is not translated (IPv6 to IPv6) is a session of the firewall.
[service-sets.cgn.firewall]

[[service-sets.cgn.static-mappings]]
name = "forward"
inside = "100.64.0.3"
public = "203.0.113.200"
protocol = "tcp"
public-ports = 8080
inside-ports = 7

$(pair_group "$n")
$instance
${PAIR_GROUP:-}

[redundancy-sets.1]
name = "cgn"
redundancy-group = 1
$(if [[ $beats == 0 ]]; then echo "role = \"$role\""; else echo "priority = $((100 * n))"; fi)
${PAIR_MORE:-}
CONF
}

# chassis_start N (not in a subshell, as `check` would): starts its tandemd, waits until it is healthy and gives its kernel the lab's routes.
chassis_start() {
    local n=$1 dut=${DUT[$1]}
    spawn "tandemd$n" "$dut" env RUST_BACKTRACE=1 "$TANDEMD" --config "${PAIR_FILE[n]:-$LAB_DIR/chassis-$n.toml}"
    CHASSIS_PID[n]=$SPAWNED
    CHASSIS_START[n]=$(process_start_time "$SPAWNED")
    if ! wait_until 60 chassis_healthy_or_dead "$n" || ! chassis_healthy "$n"; then
        warn "chassis $n did not become healthy; the end of its log:"
        tail -n 40 "$LAB_DIR/logs/tandemd$n.log" >&2
        return 1
    fi
    ip -n "$(ns "$dut")" route replace default via 192.0.2.1
    ip -n "$(ns "$dut")" route replace ::/0 via 2001:db8:0:2::1
    # The tool at ref: subscribers 10.0.0.0/8 behind a router inside, servers behind another outside.
    ip -n "$(ns "$dut")" neigh replace 100.64.0.9 dev inside0 nud permanent lladdr "$(in_ns ref cat /sys/class/net/in0/address)"
    ip -n "$(ns "$dut")" neigh replace 192.0.2.9 dev outside0 nud permanent lladdr "$(in_ns ref cat /sys/class/net/out0/address)"
    ip -n "$(ns "$dut")" route replace 10.0.0.0/8 via 100.64.0.9
    ip -n "$(ns "$dut")" route replace 198.18.0.0/24 via 192.0.2.9
}
chassis_healthy() { in_ns "${DUT[$1]}" curl -sf -m 2 -o /dev/null "$API/v1/health"; }
chassis_healthy_or_dead() { chassis_healthy "$1" || process_gone "${CHASSIS_PID[$1]}" "${CHASSIS_START[$1]}"; }
chassis_alive() { process_alive "${CHASSIS_PID[$1]}" "${CHASSIS_START[$1]}"; }
# chassis_stop N [SIGNAL]: ends it and waits until it is gone.
chassis_stop() { stop_spawned "tandemd$1" "${2:-TERM}"; }

# chassis N ARGS...: the CLI against its daemon.
chassis() { in_ns "${DUT[$1]}" "$TANDEM" --api "$API" "${@:2}"; }

# pair_field N TOPIC FIELD: of the first redundancy group or set one field, by its path.
pair_field() {
    chassis "$1" show "$2" --json | /usr/bin/python3 -c '
import json, sys
body = json.load(sys.stdin)
value = (body["rows"] if isinstance(body, dict) else body)[0]
for key in sys.argv[1].split("."):
    value = value[key] if isinstance(value, dict) else None
print("" if value is None else value)' "$3"
}
pair_is() { [[ $(pair_field "$1" "$2" "$3") == "$4" ]]; }
# pair_ready N: it is standby, knows all its peer knows, and is told what changes.
pair_ready() { pair_is "$1" redundancy role standby && pair_is "$1" replication state active; }
pair_wait_ready() {
    wait_until "${2:-60}" pair_ready "$1" || {
        chassis "$1" show redundancy
        chassis "$1" show replication extensive
        chassis "$1" show health
        return 1
    }
    echo "$(pair_field "$1" replication bulk-received.objects.sessions) sessions by bulk in $(pair_field "$1" replication bulk-received.took-ms) ms"
}

# pair_move N: subscribers and servers send by this chassis from now on.
pair_move() {
    local h
    for h in sub1 sub2; do
        ip -n "$(ns "$h")" route replace default via "${IN4[$1]}"
        ip -n "$(ns "$h")" route replace ::/0 via "${IN6[$1]}"
    done
    for h in srv srv2; do
        ip -n "$(ns "$h")" route replace 203.0.113.0/24 via "${OUT4[$1]}"
        ip -n "$(ns "$h")" route replace ::/0 via "${OUT6[$1]}"
    done
}
pair_passes() { in_ns sub1 ping -c 1 -W 1 192.0.2.1; }

# Addresses that go with the primary role: who sends to them need not know which chassis that is.
VIRTUAL_IN=(100.64.0.254 2001:db8:0:1::fe)
VIRTUAL_OUT=(192.0.2.254 2001:db8:0:2::fe)
# pair_virtual_addresses: for PAIR_MORE.
pair_virtual_addresses() {
    local at
    for at in "inside0 ${VIRTUAL_IN[0]}/16" "inside0 ${VIRTUAL_IN[1]}/64" "outside0 ${VIRTUAL_OUT[0]}/24" "outside0 ${VIRTUAL_OUT[1]}/64"; do
        printf '[[redundancy-sets.1.virtual-addresses]]\ninterface = "%s"\naddress = "%s"\n' "${at% *}" "${at#* }"
    done
}
# pair_by_virtual: subscribers and servers send to the virtual addresses.
pair_by_virtual() {
    local h
    for h in sub1 sub2; do
        ip -n "$(ns "$h")" route replace default via "${VIRTUAL_IN[0]}"
        ip -n "$(ns "$h")" route replace ::/0 via "${VIRTUAL_IN[1]}"
    done
    for h in srv srv2; do
        ip -n "$(ns "$h")" route replace 203.0.113.0/24 via "${VIRTUAL_OUT[0]}"
        ip -n "$(ns "$h")" route replace ::/0 via "${VIRTUAL_OUT[1]}"
    done
}
# pair_role N ROLE; pair_cause N CAUSE...: why it has it, one of these.
pair_role() { wait_until 20 pair_is "$1" redundancy role "$2"; }
pair_cause() {
    local cause
    cause=$(pair_field "$1" redundancy last-cause)
    [[ " ${*:2} " == *" $cause "* ]] || { echo "its cause is $cause"; return 1; }
}

# pair_take N: the role by hand, then the traffic. A request that is under way when the other's process dies is decided then.
pair_take() {
    chassis "$1" request redundancy set 1 primary || return 1
    pair_move "$1"
}

# pair_start: both, 1 primary with the traffic, 2 standby and complete.
pair_start() {
    chassis_start 1 && chassis_start 2 || exit 1
    if [[ ${HEARTBEAT_MS:-0} == 0 ]]; then pair_move 1; else pair_by_virtual; fi
    check "packets pass by chassis 1" wait_until 30 pair_passes
    check "chassis 2 is its complete standby" pair_wait_ready 2
}

# traffic_start TOOL: a tool of lab-tools that takes commands (lab-tools/commands.py) and goes with this script.
traffic_start() {
    coproc TRAFFIC { exec /usr/bin/python3 "$SCRIPTS/lab-tools/$1" 2>"$LAB_DIR/logs/${1%.py}.log"; }
    # Recorded as what `spawn` starts is: it may be in the middle of a wait when the lab goes.
    printf '%s %s traffic\n' "$TRAFFIC_PID" "$(process_start_time "$TRAFFIC_PID")" >>"$LAB_DIR/pids"
    traffic_tool=$1
}
# traffic COMMAND...: one command; prints its checks and counts those that failed. 300 s without a line are its end.
traffic() { tool_command "$traffic_tool" "${TRAFFIC[0]}" "${TRAFFIC[1]}" "$@"; }
tool_command() {
    local line tool=$1 from=$2 to=$3
    shift 3
    echo "$*" >&"$to"
    while IFS= read -r -t 300 -u "$from" line; do
        case $line in
            .done\ *)
                CHECKS_FAILED=$((CHECKS_FAILED + ${line#.done }))
                return 0
                ;;
            *) echo "$line" ;;
        esac
    done
    echo "FAIL $tool ended in '$*':"
    tail -n 20 "$LAB_DIR/logs/${tool%.py}.log"
    exit 1
}

# helper_start NAME TOOL ARGS...: another such tool, beside `traffic`; helper NAME COMMAND...: one command.
declare -A HELPER_TO=() HELPER_FROM=()
helper_start() {
    local name=$1 to from
    # A shell has one coprocess, which `traffic` is.
    mkfifo "$LAB_DIR/$name.in" "$LAB_DIR/$name.out"
    /usr/bin/python3 "$SCRIPTS/lab-tools/$2" "${@:3}" <"$LAB_DIR/$name.in" >"$LAB_DIR/$name.out" 2>"$LAB_DIR/logs/$name.log" &
    printf '%s %s %s\n' "$!" "$(process_start_time "$!")" "$name" >>"$LAB_DIR/pids"
    exec {to}>"$LAB_DIR/$name.in" {from}<"$LAB_DIR/$name.out"
    HELPER_TO[$name]=$to HELPER_FROM[$name]=$from
}
helper() { tool_command "$1" "${HELPER_FROM[$1]}" "${HELPER_TO[$1]}" "${@:2}"; }
# aside_start TOOL, aside COMMAND...: one that has no other name.
aside_start() { helper_start aside "$1"; }
aside() { helper aside "$@"; }
# gap_start: the tool that measures how long traffic stands still; gap COMMAND...: see lab-tools/pair_gap.py.
gap_start() { helper_start gap pair_gap.py; }
gap() { helper gap "$@"; }

# The last line of a test of the pair.
pair_finish() {
    local n
    for n in 1 2; do
        chassis_alive "$n" || { echo "FAIL chassis $n is gone; the end of its log:"; tail -n 40 "$LAB_DIR/logs/tandemd$n.log"; exit 1; }
        if grep -n "panicked at" "$LAB_DIR/logs/tandemd$n.log"; then echo "FAIL a thread of chassis $n panicked"; exit 1; fi
    done
    ((CHECKS_FAILED == 0))
}
