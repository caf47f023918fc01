#!/usr/bin/env bash
# What is asked of the roles, and what is not done: switchover; a release, plain and forced, beside a peer in each of its states; an acquire,
# plain and forced, in each state of this chassis; preemption with its hold; a policy that acquires, and one that releases to who is clear;
# and both chassis failed, with and without a primary that there always has to be. What is refused changes nothing and is an event. All
# with the roles on both chassis, the routes at the neighbours, and a download that is older than the threshold and goes on to its checksum.
source "$(dirname "$0")/../lib/labtest.sh"
source "$SCRIPTS/lib/lab6.sh"
source "$SCRIPTS/lib/pair.sh"
source "$SCRIPTS/lib/bgp.sh"
source "$SCRIPTS/lib/roles.sh"

THRESHOLD=2
HEARTBEAT_MS=200
# Long enough for what is asked in `wait`.
HOLD_S=10
PAIR_MORE="recovery-hold-s = $HOLD_S
primary-always-exists = false
preempt = false
preempt-hold-s = 2
policies = [\"ways\", \"failures\", \"calls\"]
$(bgp_policy | tail -n +2)
[redundancy-policies.failures]
events = [\"broken\", \"unwell\"]
action = \"broadcast-warning\"
[redundancy-events.broken]
check = { command = [\"/usr/bin/test\", \"-e\", \"@LAB@/whole-@N@\"], interval-s = 1, timeout-s = 1, weight = 255 }
[redundancy-events.unwell]
check = { command = [\"/usr/bin/test\", \"-e\", \"@LAB@/well-@N@\"], interval-s = 1, timeout-s = 1, weight = 1 }
[redundancy-policies.calls]
events = [\"called\"]
action = \"acquire-primary-role\"
[redundancy-events.called]
hold-s = 1
check = { command = [\"/usr/bin/test\", \"!\", \"-e\", \"@LAB@/call-@N@\"], interval-s = 2, timeout-s = 2, weight = 1 }
$(pair_virtual_addresses)"
pair_up
for n in 1 2; do touch "$LAB_DIR/whole-$n" "$LAB_DIR/well-$n"; done
roles_up

breaks() { rm "$LAB_DIR/whole-$1"; }
heals() { touch "$LAB_DIR/whole-$1"; }
# set_both KEY=VALUE...: of the redundancy set, on both chassis.
set_both() {
    local n one change=()
    for one in "$@"; do change+=(-e "s|^${one%=*} = .*|${one%=*} = ${one#*=}|"); done
    for n in 1 2; do reload "$n" "${change[@]}"; done
}
# held_for MS: chassis 1 was standby for so long before it preempted.
held_for() {
    local at ms
    at=$(grep -E 'to="standby"|cause="preempt"' "$LAB_DIR/logs/tandemd1.log" | tail -n 2 | cut -d' ' -f1 | while read -r one; do date -d "$one" +%s%3N; done | paste -sd' ')
    ms=$((${at#* } - ${at% *}))
    echo "$ms ms"
    ((ms >= $1))
}

case_begin "a switchover, asked of the primary"
check "it is done" asked 1 switchover 1
case_end standby primary 2
case_begin "a switchover, asked of the standby"
check "it is done" asked 1 switchover 1
case_end primary standby 1
case_begin "a release to a standby"
check "it is done" asked 1 set 1 standby
case_end standby primary 2
case_begin "an acquire by a standby"
check "it is done" asked 1 set 1 primary
case_end primary standby 1

case_begin "release to, and acquire by, a warned standby"
rm "$LAB_DIR/well-2"
roles primary standby-warned
check "a release is refused" refused 1 "the peer is not \`standby\` but standby-warned" set 1 standby
check "a forced one is done" asked 1 set 1 standby --force
roles standby primary
check "both routers send by chassis 2" bgp_moves 2
rm "$LAB_DIR/well-1"
roles standby-warned primary
check "a warned standby may acquire" asked 1 set 1 primary
touch "$LAB_DIR/well-1" "$LAB_DIR/well-2"
case_end primary standby 1

case_begin "a standby that has failed"
breaks 2
roles primary inoperable
check "a release is refused" refused 1 "the peer is not \`standby\` but inoperable" set 1 standby
check "a forced one, too" refused 1 "the peer is inoperable" set 1 standby --force
check "an acquire is refused" refused 2 "this chassis is inoperable" set 1 primary
check "a forced one, too" refused 2 "this chassis is inoperable" set 1 primary --force
heals 2
step "the same one in wait, after it has recovered"
roles primary wait
check "a release is refused" refused 1 "the peer is not \`standby\` but wait" set 1 standby
check "an acquire is refused" refused 2 "this chassis is wait" set 1 primary
check "a forced acquire is done" asked 2 set 1 primary --force
case_end standby primary 2

case_begin "a forced release to a standby in wait"
breaks 1
roles inoperable primary
heals 1
roles wait primary
check "it is done" asked 2 set 1 standby --force
case_end primary standby 1

case_begin "a standby that was taken out"
check "chassis 2 is taken out" asked 2 set 1 ineligible
roles primary ineligible
check "a release is refused" refused 1 "the peer is not \`standby\` but ineligible" set 1 standby
check "a forced one, too" refused 1 "the peer is ineligible" set 1 standby --force
check "an acquire is refused" refused 2 "this chassis is ineligible" set 1 primary
check "a forced one, too" refused 2 "this chassis is ineligible" set 1 primary --force
check "chassis 2 is put back" asked 2 set 1 eligible
case_end primary standby 1

case_begin "a peer that is not there, and there must be a primary"
set_both primary-always-exists=true recovery-hold-s=2
chassis_stop 2 KILL
gone() { pair_is "$1" redundancy peer.life gone || pair_is "$1" redundancy peer.life lost; }
check "chassis 1 knows that it is gone" wait_until 20 gone 1
check "a release is refused" refused 1 "the peer is not there" set 1 standby
check "a forced one, too" refused 1 "primary-always-exists" set 1 standby --force
check "both routers send by chassis 1" bgp_moves 1
step "the same, and there need be none"
reload 1 "s|^primary-always-exists = .*|primary-always-exists = false|"
check "a release is refused" refused 1 "the peer is not there" set 1 standby
check "a forced one is done" asked 1 set 1 standby --force
released() { ! pair_is 1 redundancy role primary && bgp_goes_nowhere; }
check "nobody is primary, and the routers have no way" wait_until 20 released
sed -i "s|^primary-always-exists = .*|primary-always-exists = false|" "$LAB_DIR/chassis-2.toml"
chassis_start 2 || exit 1
roles primary standby
check "chassis 2 has its sessions with both routers" bgp_comes_up 2
case_end primary standby 1

case_begin "both have failed, and there need be no primary"
breaks 1
roles inoperable primary
check "chassis 1 gave it up by its monitors" pair_cause 1 monitor
check "both routers send by chassis 2" bgp_moves 2
breaks 2
roles inoperable inoperable
check "the routers have no way" wait_until 20 bgp_goes_nowhere
heals 1
check "chassis 1 is back and takes it" pair_role 1 primary
heals 2
case_end primary standby 1

case_begin "both have failed, and there must be a primary"
set_both primary-always-exists=true
breaks 1
roles inoperable primary
breaks 2
# Chassis 2 has to have had the role for the recovery hold before it hands over to one that is no better off.
roles primary inoperable
check "both routers send by the preferred one" bgp_moves 1
heals 1
heals 2
case_end primary standby 1

case_begin "a policy acquires the role"
touch "$LAB_DIR/call-2"
roles standby primary
check "chassis 2 did it by policy" pair_cause 2 policy
over=$(events_with 2 - "event called is over")
rm "$LAB_DIR/call-2"
check "the event is over" wait_until 20 told_again 2 "$over" "event called is over"
case_end standby primary 2
case_begin "a policy releases it if the standby is clear: it is not"
reload 2 's|^action = "acquire-primary-role"|action = "release-primary-role-if-standby-clear"|'
rm "$LAB_DIR/well-1"
roles standby-warned primary
called=$(events_with 2 - "event called is active")
touch "$LAB_DIR/call-2"
check "chassis 2 is asked to" wait_until 20 told_again 2 "$called" "event called is active"
step "nor is it later, when the standby is clear and the event lasts"
touch "$LAB_DIR/well-1"
roles standby primary
sleep 3
over=$(events_with 2 - "event called is over")
rm "$LAB_DIR/call-2"
check "the event is over" wait_until 20 told_again 2 "$over" "event called is over"
case_end standby primary 2
case_begin "it is, when the standby is clear"
touch "$LAB_DIR/call-2"
check "chassis 1 is primary" pair_role 1 primary
check "chassis 2 released it by policy" pair_cause 2 policy
rm "$LAB_DIR/call-2"
case_end primary standby 1

case_begin "preemption after its hold"
set_both preempt=true
breaks 1
roles inoperable primary
check "both routers send by chassis 2" bgp_moves 2
heals 1
holding() { pair_is 1 redundancy role standby && pair_field 1 redundancy holds | grep -q preempt; }
check "chassis 1 is standby again, and waits for its hold" wait_until 30 holding
check "then it takes the role back" pair_role 1 primary
check "of its own accord" pair_cause 1 preempt
check "after the hold of 2 s" held_for 2000
case_end primary standby 1
traffic alive old

# Neither has anything now, and chassis 2 would wait a minute for word of the other.
step "a chassis that starts alone, and asks before it has waited"
for n in 1 2; do
    chassis_stop "$n" KILL
    sed -i "s|^preempt = .*|preempt = false|" "$LAB_DIR/chassis-$n.toml"
done
sed -i "s|^\[redundancy\]$|&\ninitial-hold-ms = 60000|" "$LAB_DIR/chassis-2.toml"
chassis_start 2 || exit 1
check "chassis 2 is initializing" pair_role 2 initializing
check "the routers have no way" wait_until 30 bgp_goes_nowhere
check "an acquire is refused" refused 2 "this chassis is initializing" set 1 primary
check "a forced one is done" asked 2 set 1 primary --force
check "chassis 2 is primary" pair_role 2 primary
check "it has its sessions with both routers" bgp_comes_up 2
check "both routers send by chassis 2" bgp_moves 2
chassis_start 1 || exit 1
roles standby primary
check "both routers send by chassis 2" bgp_moves 2

# A chassis leaves `initializing` when it hears the other: one whose peer stays in it is not heard by that, nor hears it.
step "a release, while the peer is initializing"
chassis_stop 1 KILL
check "chassis 2 knows that it is gone" wait_until 20 gone 2
ip -n "$(ns dut)" link set ha0 down
sed -i "s|^\[redundancy\]$|&\ninitial-hold-ms = 60000|" "$LAB_DIR/chassis-1.toml"
chassis_start 1 || exit 1
roles initializing primary
check "a release is refused" refused 2 "the peer is not there" set 1 standby
check "a forced one, too, where there must be a primary" refused 2 "primary-always-exists" set 1 standby --force
reload 2 "s|^primary-always-exists = .*|primary-always-exists = false|"
check "where there need be none it is done" asked 2 set 1 standby --force
nobody() { roles_are initializing standby && bgp_goes_nowhere; }
check "nobody is primary, and the routers have no way" wait_until 20 nobody
ip -n "$(ns dut)" link set ha0 up
step "the two hear each other: chassis 2 has all the sessions that there are"
roles standby primary
check "both routers send by chassis 2" bgp_moves 2
pair_finish
