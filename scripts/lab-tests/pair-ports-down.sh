#!/usr/bin/env bash
# standby-ports-down: the taps of the chassis that is not primary have no carrier, so that nobody learns of a neighbour there; at a
# takeover they have, and the old primary's have none when it comes back. Traffic goes by the virtual addresses.
source "$(dirname "$0")/../lib/labtest.sh"
source "$SCRIPTS/lib/lab6.sh"
source "$SCRIPTS/lib/pair.sh"

HEARTBEAT_MS=200
PAIR_MORE="standby-ports-down = true
$(pair_virtual_addresses)"
pair_up
echo_servers6
for n in 1 2; do check "tandem check accepts the config of chassis $n" "$TANDEM" check "$LAB_DIR/chassis-$n.toml"; done
# carrier N TAP 0|1
carrier() { [[ $(in_ns "${DUT[$1]}" cat "/sys/class/net/$2/carrier") == "$3" ]]; }
ports() {
    local tap what=up
    [[ $2 == 1 ]] || what=down
    for tap in inside0 outside0; do check "$tap of chassis $1 shows as $what" wait_until 10 carrier "$1" "$tap" "$2"; done
}
# shown N STATE: what the CLI has of it.
shown() { [[ $(chassis "$1" show redundancy set 1 | grep -c 'shows as down: not primary') == "$2" ]]; }
answers() { in_ns sub1 ping -c 1 -W 1 "${IN4[$1]}"; }
silent() { ! answers "$1"; }

pair_start
gap_start
step "chassis 1 is primary"
ports 1 1
ports 2 0
check "the CLI shows both ports of chassis 2 as down" wait_until 10 shown 2 2
check "and none of chassis 1" shown 1 0
check "chassis 2 answers nobody inside" silent 2
check "chassis 1 does" answers 1
step "chassis 1 dies"
gap begin
chassis_stop 1 KILL
check "chassis 2 is primary" pair_role 2 primary
ports 2 1
gap gap "${KILL_GAP_MS:-2000}"
step "chassis 1 comes back"
chassis_start 1 || exit 1
check "it is the standby" pair_wait_ready 1
ports 1 0
check "packets pass by chassis 2" wait_until 10 pair_passes
step "the role by command"
check "chassis 1 takes it" chassis 1 request redundancy switchover 1
check "chassis 1 is primary" pair_role 1 primary
ports 1 1
ports 2 0
check "packets pass by chassis 1" wait_until 10 pair_passes
step "the key is taken back"
sed -i '/^standby-ports-down/d' "$LAB_DIR/chassis-2.toml"
kill -HUP "${CHASSIS_PID[2]}"
ports 2 1
pair_finish
