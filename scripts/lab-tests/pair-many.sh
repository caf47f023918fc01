#!/usr/bin/env bash
# A hundred thousand live sessions across kill -9 of the primary, the role taken by hand, and the traffic moved: of those aged
# threshold + 2 s or more at the kill none is lost, and no public tuple is given to a second subscriber.
#
#   PAIR_REPETITIONS=20   kills, each chassis in turn (1)
#   PAIR_SESSIONS=100000  sessions that are live throughout; some more come with each kill
source "$(dirname "$0")/../lib/labtest.sh"
source "$SCRIPTS/lib/lab6.sh"
source "$SCRIPTS/lib/pair.sh"
repetitions=${PAIR_REPETITIONS:-1} sessions=${PAIR_SESSIONS:-100000}
LAB_MINUTES=$((15 + 3 * repetitions))
MAX_SESSIONS=524288
THRESHOLD=2
lab_servers() { :; }
pair_passes() { in_ns sub1 ping -c 1 -W 1 192.0.2.1; }

pair_up
pair_start
traffic_start pair_many.py
count() { chassis "$1" show sessions --count | grep -oE '[0-9]+' | tail -n 1; }
traffic open "$sessions"
# After a takeover what the other chassis had leased, two of the 16 extents of each address, rests for 120 s, and takeovers within
# that time add up: the eighth in a row finds nothing for new subscribers. So there is a pause after some.
PAUSE=125
primary=1
for ((round = 1; round <= repetitions; round++)); do
    standby=$((3 - primary))
    ((round % 6 != 1 || round == 1)) || sleep "$PAUSE"
    step "kill $round of $repetitions: chassis $primary dies"
    traffic ripen $((THRESHOLD + 2))
    # So many whose age at the kill lies on either side of the threshold.
    traffic open 2000
    note "chassis $primary has $(count "$primary") sessions, chassis $standby $(count "$standby")"
    chassis_stop "$primary" KILL
    traffic killed
    check "chassis $standby takes the role" pair_take "$standby"
    traffic use "$standby"
    # New subscribers first: now the ports of those that were not told are most at risk.
    traffic open 1000
    note "dropped at chassis $standby: $(chassis "$standby" show drops | awk '/nat-|not-primary/ { printf "%s %s  ", $1, $2 }')"
    traffic verify $((THRESHOLD + 2))
    chassis_start "$primary" || exit 1
    check "and is filled" pair_wait_ready "$primary" 120
    note "chassis $primary has $(count "$primary") sessions, chassis $standby $(count "$standby")"
    primary=$standby
done
pair_finish
