#!/usr/bin/env bash
# The pair with keepalived: VRRP moves the IPv4 addresses to which subscribers and servers send, and follows tandemd by its tracking file.
# keepalived runs over tandemd's taps with the files of configs/pair-vrrp, and is there before them. The primary is killed; it comes
# back; a switchover; then tandemd and guard die together, so that the file goes on saying that the set is primary, until the next start; a clean
# stop. Each time both addresses are at the primary and nowhere else, and the sessions older than the threshold go on.
source "$(dirname "$0")/../lib/labtest.sh"
source "$SCRIPTS/lib/lab6.sh"
source "$SCRIPTS/lib/pair.sh"
source "$SCRIPTS/lib/keepalived.sh"

HEARTBEAT_MS=200
# IPv4 goes by VRRP, IPv6 by the virtual addresses.
PAIR_MORE="track-file = \"track-@N@\"
$(pair_virtual_addresses | awk '/^\[\[/ { head = $0; next } /^interface/ { interface = $0; next } /:/ { print head; print interface; print }')"
pair_up
echo_servers6
spawn echo-sub2 sub2 /usr/bin/python3 "$SCRIPTS/lab-tools/echo_server.py" --name sub2 0.0.0.0 7
for n in 1 2; do
    sed -i "s|@N@|$n|" "$LAB_DIR/chassis-$n.toml"
    check "tandem check accepts the config of chassis $n" "$TANDEM" check "$LAB_DIR/chassis-$n.toml"
    # The example, with the lab's addresses, interfaces and files.
    sed "s|/run/tandem/set-1|$LAB_DIR/track-$n|; s|20.3.3.10/24|${VIRTUAL_IN[0]}/16|; s|20.2.2.10/24|${VIRTUAL_OUT[0]}/24|
        s/ interface inside\$/&0/; s/ interface outside\$/&0/; s/ dev inside\$/&0/; s/ dev outside\$/&0/" \
        "$SCRIPTS/../configs/pair-vrrp/chassis-$n.keepalived.conf" >"$LAB_DIR/keepalived-$n.conf"
    keepalived_start "$n"
done

has() { [[ -n $(ip -n "$(ns "${DUT[$1]}")" -o address show to "$2") ]]; }
# vrrp_is_at N: both addresses, and neither at the other one.
vrrp_is_at() {
    has "$1" "${VIRTUAL_IN[0]}" && has "$1" "${VIRTUAL_OUT[0]}" &&
        ! has $((3 - $1)) "${VIRTUAL_IN[0]}" && ! has $((3 - $1)) "${VIRTUAL_OUT[0]}"
}
vrrp_moves() {
    wait_until 20 vrrp_is_at "$1" || { tail -n 15 "$LAB_DIR"/logs/keepalived[12].log; return 1; }
}
# says N NUMBER: its tracking file. 0 is primary.
says() { [[ $(<"$LAB_DIR/track-$1") == "$2" ]]; }

check "keepalived has made the files" wait_until 20 says 2 1
pair_start
check "the addresses are at chassis 1" vrrp_moves 1
check "its file says 0, the other 1" eval 'says 1 0 && says 2 1'
traffic_start pair_sessions.py
gap_start

step "chassis 1 dies"
traffic open old
traffic download old
traffic ripen old $((THRESHOLD + 2))
gap begin
chassis_stop 1 KILL
gap gap "${KILL_GAP_MS:-2000}"
gap json case=kill heartbeat_ms="$HEARTBEAT_MS"
check "chassis 2 is primary" pair_role 2 primary
check "of its own accord, because the peer was lost" pair_cause 2 peer-lost peer-gone
check "the addresses are at chassis 2" vrrp_moves 2
check "the guard of chassis 1 has changed its file" wait_until 20 says 1 1
traffic alive old
traffic finish old

step "chassis 1 comes back"
gap begin
chassis_start 1 || exit 1
check "it is filled by bulk and is the standby" pair_wait_ready 1
check "the addresses are at chassis 2 still" vrrp_is_at 2
gap gap 1000 5

step "a switchover"
gap begin
check "chassis 1 is asked to take the set" chassis 1 request redundancy set 1 primary
gap gap 1000
gap json case=switchover
check "the addresses are at chassis 1" vrrp_moves 1
check "its file says 0, the other 1" wait_until 20 eval 'says 1 0 && says 2 1'
traffic alive old
check "chassis 2 is its complete standby" pair_wait_ready 2

step "tandemd and the guard of chassis 1 die together"
guard=$(chassis 1 show redundancy --json | /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["guard"]["pid"])')
kill -KILL "$guard" "${CHASSIS_PID[1]}"
chassis_stop 1 KILL
check "its file says what is true no more" says 1 0
check "chassis 2 is primary" pair_role 2 primary
check "the addresses are at chassis 2" vrrp_moves 2
chassis_start 1 || exit 1
check "as it starts again its file is put right" says 1 1
check "it is filled by bulk and is the standby" pair_wait_ready 1
check "the addresses are at chassis 2 still" vrrp_is_at 2

step "a clean stop of the primary hands over"
gap begin
chassis_stop 2 TERM
gap gap 1000
gap json case=stop
check "chassis 1 is primary" pair_role 1 primary
check "the addresses are at chassis 1" vrrp_moves 1
check "the file of chassis 2 says 1" says 2 1
traffic alive old
chassis_start 2 || exit 1
check "chassis 2 is filled by bulk and is the standby" pair_wait_ready 2
pair_finish
