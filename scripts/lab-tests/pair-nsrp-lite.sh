#!/usr/bin/env bash
# A pair without session replication: the standby is ready without any bulk, and takes over by itself when the primary is killed. No
# session is known then; what begins afterwards goes through at once.
source "$(dirname "$0")/../lib/labtest.sh"
source "$SCRIPTS/lib/lab6.sh"
source "$SCRIPTS/lib/pair.sh"

HEARTBEAT_MS=200
PAIR_GROUP="session-replication = false"
PAIR_MORE=$(pair_virtual_addresses)
pair_up
echo_servers6
spawn echo-sub2 sub2 /usr/bin/python3 "$SCRIPTS/lab-tools/echo_server.py" --name sub2 0.0.0.0 7
for n in 1 2; do check "tandem check accepts the config of chassis $n" "$TANDEM" check "$LAB_DIR/chassis-$n.toml"; done
pair_start
# sessions N: how many a chassis knows.
sessions() { chassis "$1" show sessions --json | /usr/bin/python3 -c '
import json, sys
body = json.load(sys.stdin)
print(len(body["rows"] if isinstance(body, dict) else body))'; }
some_sessions() { (($(sessions "$1") > 0)); }
check "it says that it has roles alone" pair_is 2 replication reason roles-only
traffic_start pair_sessions.py

step "chassis 1 dies"
traffic open old
traffic ripen old $((THRESHOLD + 2))
check "chassis 1 has their sessions" some_sessions 1
check "chassis 2 was told of none" test "$(sessions 2)" == 0
chassis_stop 1 KILL
check "chassis 2 is primary" pair_role 2 primary
check "of its own accord, because the peer was lost" pair_cause 2 peer-lost peer-gone
traffic gone old
traffic open new
traffic alive new

step "chassis 1 comes back"
chassis_start 1 || exit 1
check "it is the standby, without a bulk" pair_wait_ready 1
check "and knows of no session" test "$(sessions 1)" == 0
check "the role changes by command" chassis 1 request redundancy switchover 1
check "chassis 1 is primary" pair_role 1 primary
check "chassis 2 is its standby" pair_role 2 standby
check "packets pass by chassis 1" wait_until 30 pair_passes
pair_finish
