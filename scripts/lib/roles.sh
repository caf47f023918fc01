# shellcheck shell=bash
# What a test of roles expects and breaks: the roles on both chassis, the routes at the real FRR neighbours, a download that goes on,
# requests that are refused; cables and paths. Sourced, after pair.sh and bgp.sh.

# FRR is up before the chassis are, so that its pid files can be watched; IPv4 goes by BGP, IPv6 by the virtual addresses.
# roles_up: a lab that pair_up has made, both chassis in it, 1 primary, and the sessions `old`, as old as what is replicated.
roles_up() {
    local n
    echo_servers6
    spawn echo-sub2 sub2 /usr/bin/python3 "$SCRIPTS/lab-tools/echo_server.py" --name sub2 0.0.0.0 7
    for n in 1 2; do
        pair_fill "$n"
        check "tandem check accepts the config of chassis $n" "$TANDEM" check "$LAB_DIR/chassis-$n.toml"
    done
    bgp_start
    pair_start
    bgp_alone
    check "both routers send by chassis 1" bgp_moves 1
    traffic_start pair_sessions.py
    traffic open old
    traffic ripen old $((THRESHOLD + 2))
}
# pair_fill N: in its config @LAB@ becomes the lab's folder, @DUT@ its host there, @N@ its number and @O@ the other's, @IN@ and @PEER-IN@
# their addresses inside.
pair_fill() {
    local other=$((3 - $1))
    sed -i "s|@LAB@|$LAB_DIR|g; s|@DUT@|${DUT[$1]}|g; s|@N@|$1|g; s|@O@|$other|g; s|@IN@|${IN4[$1]}|g; s|@PEER-IN@|${IN4[other]}|g" "$LAB_DIR/chassis-$1.toml"
}

# pair_shown N: what decides about roles there, for whom it interests why.
pair_shown() { chassis "$1" show redundancy set 1 || true; chassis "$1" show redundancy events --limit 6 || true; }
roles_are() { pair_is 1 redundancy role "$1" && pair_is 2 redundancy role "$2"; }
roles_come() { wait_until 30 roles_are "$1" "$2" || { pair_shown 1; pair_shown 2; return 1; }; }
# roles ROLE ROLE: what chassis 1 and 2 come to.
roles() { check "chassis 1 is $1, chassis 2 $2" roles_come "$1" "$2"; }

# The case that runs: begins with a download, ends with roles, routes and the checksum.
case_begin() {
    step "$1"
    traffic download old
}
# case_end ROLE ROLE WAY: roles of 1 and 2, and the chassis that both routers send by.
case_end() {
    roles "$1" "$2"
    check "both routers send by chassis $3" bgp_moves "$3"
    traffic finish old
}
bgp_goes_nowhere() {
    [[ -z $(ip -n "$(ns srv)" route show "$BGP_POOL") && -z $(ip -n "$(ns sub1)" route show "$BGP_SERVERS") ]]
}

# standing: role, epoch and change under way on each chassis, nothing of one that is not there; and the ways of the two routers.
standing() {
    local n
    for n in 1 2; do
        chassis "$n" show redundancy --json 2>/dev/null | /usr/bin/python3 -c '
import json, sys
text = sys.stdin.read()
for row in json.loads(text)["rows"] if text else []:
    print(row["role"], row["epoch"], row["changing-to"])' || true
    done
    ip -n "$(ns srv)" route show "$BGP_POOL"
    ip -n "$(ns sub1)" route show "$BGP_SERVERS"
}
# events_with N OK TEXT...: how many lines of the history of chassis N are done (1), refused (0) or either (-), with all of these in what they say.
events_with() {
    chassis "$1" show redundancy events --limit 1000 --json | /usr/bin/python3 -c '
import json, sys
body, ok = json.load(sys.stdin), sys.argv[1]
rows = body["rows"] if isinstance(body, dict) else body
rows = [row for row in rows if ok == "-" or row["ok"] == (ok == "1")]
print(sum(all(text in (row.get("reason") or "") + (row.get("note") or "") for text in sys.argv[2:]) for row in rows))' "${@:2}"
}
# told_again N BEFORE TEXT...: the history of chassis N has more than BEFORE lines with all of these. event_told N TEXT...: it has one.
told_again() { (($(events_with "$1" - "${@:3}") > $2)); }
event_told() { told_again "$1" 0 "${@:2}"; }

# refused N TEXT REQUEST...: chassis N refuses the request because of TEXT; nobody changes, nor do the routers, and it is an event there.
refused() {
    local n=$1 text=$2 before after events out rc=0
    shift 2
    before=$(standing) events=$(events_with "$n" 0)
    out=$(chassis "$n" request redundancy "$@" 2>&1) || rc=$?
    after=$(standing)
    ((rc == 1)) && [[ $out == *"$text"* ]] || { echo "exit status $rc: $out"; return 1; }
    [[ $after == "$before" ]] || { echo "before: $before"; echo "after: $after"; return 1; }
    (($(events_with "$n" 0) == events + 1)) || { chassis "$n" show redundancy events --limit 5; return 1; }
    echo "$out" | tail -n 1
}
# asked N REQUEST...: it is done.
asked() { chassis "$1" request redundancy "${@:2}"; }

# leg CABLE up|down: the far end of a cable of a chassis.
leg() { ip -n "$(ns net)" link set "$1" "$2"; }
# path CABLE CABLE on|off: whether frames pass between the two on their bridge; the links stay up.
path() {
    local isolated=on cable
    [[ $3 == off ]] || isolated=off
    for cable in "$1" "$2"; do in_ns net bridge link set dev "$cable" isolated "$isolated"; done
}
# reload N SED...: chassis N takes over its config, changed so.
reload() {
    local n=$1 before
    shift
    before=$(reloads "$n")
    sed -i "$@" "$LAB_DIR/chassis-$n.toml"
    kill -HUP "${CHASSIS_PID[n]}"
    check "chassis $n takes over another configuration" wait_until 20 reloaded "$n" "$before"
}
reloads() { grep -c "reload applied" "$LAB_DIR/logs/tandemd$1.log" || true; }
reloaded() { (($(reloads "$1") > $2)); }
