# shellcheck shell=bash
# Traffic checks that the demo and the lab tests share, each with the programs a user would take. Sourced, after tandem.sh.
#
# `check NAME COMMAND...` runs one and notes the result; `summary` prints the table and fails when one failed; `summary REGEX` leaves
# out those that passed and have other names.
# What a check prints on its last line becomes its detail in the table.

CHECK_NAMES=() CHECK_RESULTS=() CHECK_DETAILS=()
CHECKS_FAILED=0

check() {
    local name=$1 out rc=0
    shift
    out=$("$@" 2>&1) || rc=$?
    local detail
    detail=$(tail -n 1 <<<"$out")
    detail=${detail#ok   }
    CHECK_NAMES+=("$name") CHECK_DETAILS+=("$detail")
    if ((rc == 0)); then
        CHECK_RESULTS+=(PASS)
        printf '%sok%s   %s%s\n' "$C_GREEN" "$C_OFF" "$name" "${detail:+: $detail}"
    else
        CHECK_RESULTS+=(FAIL)
        CHECKS_FAILED=$((CHECKS_FAILED + 1))
        printf '%sFAIL%s %s\n' "$C_RED" "$C_OFF" "$name"
        sed 's/^/       /' <<<"$out"
    fi
}

summary() {
    local i colour
    for i in "${!CHECK_NAMES[@]}"; do
        [[ ${CHECK_RESULTS[i]} == FAIL || ${CHECK_NAMES[i]} =~ ${1:-} ]] || continue
        [[ ${CHECK_RESULTS[i]} == PASS ]] && colour=$C_GREEN || colour=$C_RED
        printf '  %s%s%s  %-44s %s\n' "$colour" "${CHECK_RESULTS[i]}" "$C_OFF" "${CHECK_NAMES[i]}" "${CHECK_DETAILS[i]}"
    done
    printf '  %d checks, %d failed\n' "${#CHECK_NAMES[@]}" "$CHECKS_FAILED"
    ((CHECKS_FAILED == 0))
}

# Python helpers find the lab by the environment that lab_name exported.
tool() { /usr/bin/python3 "$SCRIPTS/lab-tools/$1" "${@:2}"; }

# ping_all HOST ADDRESS COUNT [OPTIONS]: every echo must be answered.
ping_all() {
    local out
    out=$(in_ns "$1" ping -n -i 0.1 -W 2 -c "$3" "${@:4}" "$2") || { echo "$out"; return 1; }
    grep -q "$3 received" <<<"$out" || { echo "$out"; return 1; }
    tail -n 2 <<<"$out" | paste -sd' ' | sed 's/.*transmitted, //; s/, time.*rtt/, rtt/'
}

dns_query() {
    local answer
    answer=$(in_ns "$1" dig +tries=1 +time=5 +short "${@:2}" @192.0.2.1 www.tandem.test A) || return 1
    [[ $answer == 192.0.2.1 ]] || { echo "answer: '$answer'"; return 1; }
    echo "www.tandem.test is $answer"
}

# The server sees a pool address, never the subscriber's own.
seen_as_pool_address() {
    local who
    who=$(in_ns "$1" curl -sSf -m 20 http://www.tandem.test/whoami) || { echo "$who"; return 1; }
    [[ $who == 203.0.113.* ]] || { echo "the server sees $who"; return 1; }
    echo "the server sees ${who/ / port }"
}

# Below 100 kB/s for five seconds is a stall.
curl_100m() {
    local want got from=$EPOCHREALTIME
    want=$(<"$LAB_DIR/100m.sha256")
    got=$(in_ns "$1" bash -o pipefail -c "curl -sSf -m 60 -Y 100000 -y 5 http://www.tandem.test/100m.bin | sha256sum") || { echo "$got"; return 1; }
    got=${got%% *}
    [[ $got == "$want" ]] || { echo "sha256 $got, want $want"; return 1; }
    echo "104857600 bytes in $(((${EPOCHREALTIME//[.,]/} - ${from//[.,]/}) / 1000)) ms, sha256 equal (${got:0:16}...)"
}

# iperf HOST PORT SECONDS [OPTIONS]: rate, and loss for UDP. TCP must get 10 Mbit/s through, UDP lose less than 5 % of its
# datagrams: far below what a busy two-core machine does, and far above what a stalled or broken forwarding does.
iperf() {
    local out
    out=$(in_ns "$1" iperf3 --json -c 192.0.2.1 -p "$2" -t "$3" "${@:4}") || { echo "$out"; return 1; }
    /usr/bin/python3 -c '
import json, sys
end = json.load(sys.stdin)["end"]
if "sum_received" in end and "retransmits" in end.get("sum_sent", {}):
    rate, sent = end["sum_received"]["bits_per_second"] / 1e6, end["sum_sent"]
    print("%.0f Mbit/s, %d retransmits" % (rate, sent["retransmits"]))
    sys.exit(None if rate > 10 else "want more than 10 Mbit/s, got %.3f" % rate)
total = end["sum"]
print("%.0f Mbit/s, %d of %d datagrams lost (%.3f %%)" %
      (total["bits_per_second"] / 1e6, total["lost_packets"], total["packets"], total["lost_percent"]))
good = total["packets"] > 100 and total["lost_packets"] * 20 < total["packets"]
sys.exit(None if good else "want more than 100 datagrams and less than 5 % of them lost")' <<<"$out"
}

# hops_are HOST WANT ARGUMENT...: traceroute from a host sees these hops, wanted as "a > b > c". It is run again when it spun
# instead of waiting: with -I and -T it takes errors and answers from one raw socket. The kernel first queues an error and then
# marks the socket; where traceroute reads the queue between the two, the mark stays, and it asks an empty queue for ever,
# beside the answers. Such a run spends its waiting time on the processor, a sound one next to nothing.
hops_are() {
    local out hops try TIMEFORMAT='spent %U %S'
    for ((try = 1; try <= 5; try++)); do
        out=$({ time in_ns "$1" traceroute -n -q 1 -w 3 -m 6 -N 1 "${@:3}"; } 2>&1) || { echo "$out"; return 1; }
        hops=$(awk '$1 ~ /^[0-9]+$/ { printf "%s%s", sep, $2; sep = " > " }' <<<"$out")
        [[ $hops == "$2" ]] && { echo "$hops"; return; }
        echo "run $try: $out"
        awk '$1 == "spent" { spun = $2 + $3 > 0.5 } END { exit !spun }' <<<"$out" || return 1
    done
    return 1
}

# The box, the router behind it and the far host, each as a hop.
traceroute_hops() {
    hops_are "$1" "100.64.0.1 > 192.0.2.1 > 198.51.100.10" "${@:2}" 198.51.100.10
}

# Many short downloads from both subscribers at once.
parallel_curl() {
    local h failed=0 pids=()
    for h in sub1 sub2; do
        in_ns "$h" bash -c "seq $1 | xargs -P 32 -I{} curl -sSf -m 60 -o /dev/null http://192.0.2.1/index.html" &
        pids+=($!)
    done
    for h in "${pids[@]}"; do wait "$h" || failed=1; done
    ((failed == 0)) || return 1
    echo "2 x $1 downloads, 32 at a time each"
}
