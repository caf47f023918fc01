#!/usr/bin/env bash
# The bench of takeovers, briefly: the contender stands up, takes over in both cases, and the records have what
# docs/performance.md tells of. No time is judged: this machine may be busy, and what loses sessions here is not Tandem.
set -euo pipefail
SCRIPTS=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

said=$(mktemp) bench=''
trap 'rm -f "$said"' EXIT
# In the background, so that a signal ends it and is not put off until it is done.
trap '[[ -z $bench ]] || { kill -TERM "$bench" 2>/dev/null && wait "$bench"; }; exit 143' TERM INT HUP
"$SCRIPTS/lib/failover" --contender keepalived-conntrackd --case links-cut,process-death --interval-ms 1000 --sessions 500 \
    --repetitions 1 --json >"$said" &
bench=$!
wait "$bench"
/usr/bin/python3 - "$said" <<'PYTHON'
import json, sys

with open(sys.argv[1]) as said:
    records = json.load(said)
faults = []


def hold(good, fault):
    print(f"{'ok  ' if good else 'FAIL'} {fault}")
    faults.extend([fault] * (not good))


hold([record["case"] for record in records] == ["links-cut", "process-death"], "a record for each case")
for record in records:
    case = record["case"]
    same = {"contender": "keepalived-conntrackd", "path": "vsi", "interval_ms": 1000, "repetitions": 1, "sessions": 500}
    hold(all(record[key] == value for key, value in same.items()), f"{case}: what was asked for is what was measured")
    hold(0 < record["gap_ms_median"] <= record["gap_ms_max"] < 60_000, f"{case}: a gap, {record['gap_ms_median']} ms")
    hold(0 < record["detection_ms"] < 60_000, f"{case}: a detection, {record['detection_ms']} ms")
    hold(record["sessions_aged"] == 500 and 0 <= record["sessions_lost"] <= 500, f"{case}: {record['sessions_lost']} of 500 lost")
cut = records[0]
hold(cut["gap_ms_max"] > 150, "a cut stops traffic until the advertisements are missed")
sys.exit(bool(faults))
PYTHON
