#!/usr/bin/env bash
# The bench of takeovers, briefly: both contenders stand up, take over in both cases, and the records have what docs/performance.md
# tells of. No time is judged, since this machine may be busy, but that the death of a process is seen long before heartbeats would be
# lost. Tandem loses no session; the other one may.
set -euo pipefail
SCRIPTS=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

said=$(mktemp) bench=''
trap 'rm -f "$said"' EXIT
# In the background, so that a signal ends it and is not put off until it is done.
trap '[[ -z $bench ]] || { kill -TERM "$bench" 2>/dev/null && wait "$bench"; }; exit 143' TERM INT HUP
"$SCRIPTS/lib/failover" --versus keepalived-conntrackd --case links-cut,process-death --interval-ms 1000 --sessions 500 \
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


contenders = ["tandem", "keepalived-conntrackd"]
want = [(contender, case) for contender in contenders for case in ("links-cut", "process-death")]
hold([(record["contender"], record["case"]) for record in records] == want, "a record for each contender and case")
for record in records:
    is_tandem = record["contender"] == "tandem"
    case = f"{record['contender']}, {record['case']}"
    same = {"path": "vsi", "interval_ms": 1000, "repetitions": 1, "sessions": 500}
    hold(all(record[key] == value for key, value in same.items()), f"{case}: what was asked for is what was measured")
    hold(0 < record["gap_ms_median"] <= record["gap_ms_max"] < 60_000, f"{case}: a gap, {record['gap_ms_median']} ms")
    if is_tandem and record["case"] == "process-death":
        hold(record["gap_ms_max"] < 2000, f"{case}: seen at once, and not when beats of 1000 ms are missed for three intervals")
    hold(0 < record["detection_ms"] < 60_000, f"{case}: a detection, {record['detection_ms']} ms")
    most = 0 if is_tandem else 500
    hold(record["sessions_aged"] == 500 and 0 <= record["sessions_lost"] <= most, f"{case}: {record['sessions_lost']} of 500 lost")
    if record["case"] == "links-cut":
        hold(record["gap_ms_max"] > 150, f"{case}: traffic stands still until three intervals are missed")
        beat_to_cut = record["runs"][0]["beat_to_cut_ms"]
        hold(beat_to_cut >= 500, f"{case}: cut half an interval after a heartbeat, {beat_to_cut} ms")
sys.exit(bool(faults))
PYTHON
