#!/usr/bin/env bash
# A redundant interface: outside0 of chassis 1 has two members on two ports of one switch. The primary's link goes, and the secondary
# carries on; it comes back, and takes back after its hold-down; a command forces and reverts; a port that is up and leads nowhere is
# found by a tracked IP. All of that without a change of roles: these follow when both members are down.
source "$(dirname "$0")/../lib/labtest.sh"
source "$SCRIPTS/lib/lab6.sh"
source "$SCRIPTS/lib/pair.sh"

HEARTBEAT_MS=200
PAIR_MORE="recovery-hold-s = 1
policies = [\"failures\"]
$(pair_virtual_addresses)
[redundancy-policies.failures]
events = [\"outside\"]
action = \"broadcast-warning\"
[redundancy-events.outside]
links = [\"outside0\"]"
pair_up
echo_servers6
cable dut dut-out-b net p-out-b
ip -n "$(ns net)" link set p-out-b master br-out
sed -i 's/^\[interfaces\.outside0\]$/[interfaces.out-a]\
hold-down-ms = 1000/; s/^tap = "outside0"$/\
[interfaces.out-b]\
device = "net_af_xdp2,iface=dut-out-b"\
\
[interfaces.outside0]\
members = ["out-a", "out-b"]\
track = "servers"/' "$LAB_DIR/chassis-1.toml"
cat >>"$LAB_DIR/chassis-1.toml" <<'CONF'
[tracked-ips.servers]
addresses = [{ address = "192.0.2.1" }]
threshold = 1
lost-threshold = 2
CONF
check "tandem check accepts the config" "$TANDEM" check "$LAB_DIR/chassis-1.toml"

# member FIELD: of outside0's members one field, of the last switch `last.FIELD`.
member() {
    chassis 1 show interfaces --json | /usr/bin/python3 -c '
import json, sys
body = json.load(sys.stdin)
rows = body["rows"] if isinstance(body, dict) else body
both = next(row["redundant"] for row in rows if row["name"] == "outside0")
field = sys.argv[1]
print(both["switches"][0][field[5:]] if field.startswith("last.") else both.get(field, ""))' "$1"
}
is_member() { [[ $(member "$1") == "$2" ]]; }
# carries MEMBER CAUSE: it is active now, for this cause, and nothing else has changed.
carries() {
    check "$1 is active" wait_until 15 is_member active "$1"
    check "because $2" is_member last.cause "$2"
    check "roles and epoch are as before" same_roles
}
same_roles() { [[ $(pair_field 1 redundancy role) == primary && $(pair_field 1 redundancy epoch) == "$EPOCH" ]]; }
leg() { ip -n "$(ns net)" link set "$1" "$2"; }
request() { chassis 1 request redundancy interface outside0 "$@"; }

pair_start
gap_start
EPOCH=$(pair_field 1 redundancy epoch)
check "the primary member is active" wait_until 15 is_member active out-a
# One at the start, where the link of the first member comes up a moment later than that of the other.
BEFORE=$(member failovers)

step "the link of the primary member is down"
gap begin
leg p-out down
carries out-b "the link of out-a is down"
gap gap "${MEMBER_GAP_MS:-1000}"
step "it is back"
gap begin
leg p-out up
check "the secondary carries on during the hold-down" is_member active out-b
carries out-a "out-a is well again"
gap gap "${MEMBER_GAP_MS:-1000}"

step "by command"
gap begin
check "out-b is forced" request force out-b
carries out-b "forced by command"
check "reverted" request revert
carries out-a "reverted by command"
gap gap "${MEMBER_GAP_MS:-1000}"

step "the port of the primary member is up and leads nowhere"
leg p-out nomaster
carries out-b "tracked IP servers: 192.0.2.1 does not answer (1 of 1 lost)"
check "packets pass" wait_until 10 pair_passes
ip -n "$(ns net)" link set p-out master br-out
check "reverted" request revert
carries out-a "reverted by command"
# As JSON: a table breaks its long lines.
told() { chassis 1 show redundancy events --json | grep -c "out-b carries on for out-a: the link of out-a is down"; }
check "the history of the set has it" told
dropped() { chassis 1 show drops | grep -q member-not-active; }
check "what the other member received is counted" dropped

step "both are down"
leg p-out-b down
refused() { ! request force out-b; }
check "a member without a link is not forced" wait_until 10 refused
gap begin
leg p-out down
check "chassis 2 is primary" pair_role 2 primary
gap gap "${LINK_GAP_MS:-2000}"
check "chassis 1 gave it up by its monitors" pair_cause 1 monitor
check "failovers are counted" is_member failovers $((BEFORE + 3))
chassis 1 show interfaces
pair_finish
