# shellcheck shell=bash
# The demo of a pair: two tandemd between two routers that learn by BGP which of them is primary. While a download, iperf3, two pings
# and two idle sessions run, the primary is killed, comes back, is filled, and takes the role back by policy. What is printed is
# read back from these programs, from the routers' kernels, and from `tandem show redundancy`. Sourced by scripts/demo.
#
#   sub1, router inside ─┬── chassis 1: tandemd, FRR ──┬─ srv, router outside     IPv4: by BGP, which signal routes steer
#                        └── chassis 2: tandemd, FRR ──┘                          IPv6: by a virtual address, which the primary has

source "$SCRIPTS/lib/lab6.sh"
source "$SCRIPTS/lib/pair.sh"
source "$SCRIPTS/lib/bgp.sh"
source "$SCRIPTS/lib/roles.sh"

HEARTBEAT_MS=200
THRESHOLD=3
# So long the better chassis is standby before it takes the role back. FRR has its sessions again by then.
PREEMPT_HOLD_S=12
PAIR_MORE="preempt = true
preempt-hold-s = $PREEMPT_HOLD_S
$(bgp_policy; pair_virtual_addresses)"
# A takeover is one of a second at most even on a machine that does a lot beside, a broken one of many.
DEMO_SILENCE_MS=${DEMO_SILENCE_MS:-3000}
SRV_64=2001:db8:64::c000:201
FILE_BYTES=104857600

demo() {
    step "building the lab: a subscriber, a server, and two chassis between them"
    pair_up "$KEEP"
    step "starting both, and FRR on them and on the routers"
    pair_start
    bgp_up
    check "both routers have learned by BGP to send by chassis 1" bgp_moves 1
    demo_show 1 2

    BEGUN=$EPOCHREALTIME
    chapter "traffic through chassis 1"
    demo_traffic
    check "chassis 2 knows all of it, and would go on with it" wait_until 60 demo_is_replicated
    check "every stream runs" demo_runs

    chapter "chassis 1 is killed"
    demo_kill 1
    check "chassis 2 is primary" demo_is_primary 2 peer-gone peer-lost
    check "both routers send by chassis 2" demo_routes 2
    check "the guard process of chassis 1 has outlived it, and undone what it had" demo_guard 1
    demo_judge kill
    demo_show 2

    chapter "chassis 1 comes back"
    SINCE=$EPOCHREALTIME
    chassis_start 1 || exit 1
    check "it is filled by bulk, and the standby" demo_filled 1
    check "its FRR has sessions with both routers again" bgp_comes_up 1
    demo_show 1 2

    chapter "chassis 1 has the better priority, and may preempt: after $PREEMPT_HOLD_S s as standby it takes the role back"
    wait_until $((PREEMPT_HOLD_S + 60)) pair_is 1 redundancy role primary || true
    check "chassis 1 is primary" demo_is_primary 1 preempt
    check "chassis 2 is its standby" pair_role 2 standby
    check "both routers send by chassis 1" demo_routes 1
    demo_judge return
    demo_show 1 2
    demo_history 1

    chapter "the programs end"
    demo_end
    local n
    for n in 1 2; do check "chassis $n is well" demo_is_well "$n"; done
}

elapsed() { /usr/bin/python3 -c 'import sys; print("%.1f" % (float(sys.argv[2]) - float(sys.argv[1])))' "$BEGUN" "$EPOCHREALTIME"; }
chapter() {
    printf '\n'
    step "[$(elapsed) s] $*"
}
# demo_show N...: who is primary, as these chassis see it.
demo_show() {
    local n
    for n in "$@"; do
        printf '    %schassis %s $ tandem show redundancy brief%s\n' "$C_BOLD" "$n" "$C_OFF"
        chassis "$n" show redundancy brief | sed '/^$/d; s/^/    /' || CHECKS_FAILED=$((CHECKS_FAILED + 1))
    done
}
demo_history() {
    printf '    %schassis %s $ tandem show redundancy events%s\n' "$C_BOLD" "$1" "$C_OFF"
    chassis "$1" show redundancy events | sed 's/^/    /'
}

# demo_traffic: starts the programs, all at sub1, and prints what they are.
demo_traffic() {
    note "curl of 100 MiB, at about 1 MB/s until the end"
    # curl waits for who reads its output, and the server for curl.
    # shellcheck disable=SC2016 # for the other shell
    spawn download sub1 bash -o pipefail -c 'curl -sSf -m 300 http://192.0.2.1/100m.bin |
        { while [[ ! -e $0/hurry ]]; do head -c 50000; sleep 0.05; done; cat; } >"$0/download"' "$LAB_DIR"
    DOWNLOAD_PID=$SPAWNED
    DOWNLOAD_START=$(process_start_time "$SPAWNED")
    note "iperf3, 20 Mbit/s"
    spawn iperf sub1 iperf3 --json --interval 0.1 --bitrate 20M --time 600 --client 192.0.2.1 --port 5201
    note "ping -i 0.01 through the NAT44, by BGP; another through the NAT64, by the virtual address"
    spawn ping4 sub1 stdbuf -oL ping -n -D -i 0.01 192.0.2.1
    spawn ping6 sub1 stdbuf -oL ping -n -D -i 0.01 "$SRV_64"
    note "a TCP and a UDP session (nc) that ask the server once who they are, and then are idle"
    mkfifo "$LAB_DIR/idle-tcp" "$LAB_DIR/idle-udp"
    exec {IDLE_TCP}<>"$LAB_DIR/idle-tcp" {IDLE_UDP}<>"$LAB_DIR/idle-udp"
    spawn idle-tcp sub1 bash -c "exec nc 192.0.2.1 7 <'$LAB_DIR/idle-tcp'"
    spawn idle-udp sub1 bash -c "exec nc -u 192.0.2.1 7 <'$LAB_DIR/idle-udp'"
    check "the server sees the idle TCP session" idle_asks tcp "$IDLE_TCP"
    check "the server sees the idle UDP session" idle_asks udp "$IDLE_UDP"
}

# idle_asks PROTOCOL FD: the session asks who it is; the answer is that of the first time, and a public one.
idle_asks() {
    local answers="$LAB_DIR/logs/idle-$1.log" before
    before=$(wc -l <"$answers")
    if [[ $1 == tcp ]]; then
        echo 'who?' >&"$2"
        wait_until 30 idle_answered "$answers" "$before"
    else
        # A datagram may be lost.
        idle_retries() { echo 'who?' >&"$2" && wait_until 1 idle_answered "$answers" "$before"; }
        wait_until 30 idle_retries "$@"
    fi || { echo "no answer"; return 1; }
    [[ $(sort -u "$answers" | wc -l) == 1 && $(head -n 1 "$answers") == "srv 203.0.113."* ]] || { cat "$answers"; return 1; }
    awk 'NR == 1 { print "it comes from " $2 " port " $3 }' "$answers"
}
idle_answered() { (($(wc -l <"$1") > $2)); }

# demo_is_replicated: chassis 2 has a session of each program. They are told when they are THRESHOLD seconds old.
demo_is_replicated() {
    at_least 1 tcp 80 && at_least 2 tcp 5201 && at_least 1 tcp 7 && at_least 1 udp 7 &&
        (($(sessions_of --inside-address 100.64.0.2 --protocol icmp) >= 1 && $(sessions_of --inside-address 2001:db8:0:1::2) >= 1))
}
at_least() { (($(sessions_of --inside-address 100.64.0.2 --protocol "$2" --outside-port "$3") >= $1)); }
sessions_of() { chassis 2 show sessions --count "$@" | grep -oE '[0-9]+' | tail -n 1; }

downloaded() { stat -c %s "$LAB_DIR/download"; }
# Of the connections of iperf3, what the server's kernel has received on the busiest.
iperf_received() { in_ns srv ss -tinH 'sport = :5201' | grep -oE 'bytes_received:[0-9]+' | cut -d: -f2 | sort -n | tail -n 1; }
last_answer() { tac "$LAB_DIR/logs/$1.log" | sed -n 's/^\[\([0-9.]*\)\] [0-9]* bytes from.*/\1/p;T;q'; }
more() { (($2 < $($1))); }
later() { [[ $(printf '%s\n%s\n' "$2" "$(last_answer "$1")" | sort -n | tail -n 1) != "$2" ]]; }
# demo_runs: from now on each of them still gets data.
demo_runs() {
    local file iperf now=$EPOCHREALTIME ping
    file=$(downloaded) iperf=$(iperf_received)
    process_alive "$DOWNLOAD_PID" "$DOWNLOAD_START" && ((file < FILE_BYTES)) || { echo "the download is over"; return 1; }
    wait_until 30 more downloaded "$file" || { echo "the download stands still"; return 1; }
    wait_until 30 more iperf_received "$iperf" || { echo "iperf3 stands still"; return 1; }
    for ping in ping4 ping6; do wait_until 30 later "$ping" "$now" || { echo "$ping has no answers"; return 1; }; done
    echo "the server has sent $((file >> 20)) of 100 MiB, and received $((iperf >> 20)) MiB of iperf3's"
}

# demo_kill N: kill -9 of its tandemd. SINCE is the moment.
demo_kill() {
    note "\$ kill -9 ${CHASSIS_PID[$1]}"
    SINCE=$EPOCHREALTIME
    chassis_stop "$1" KILL
}
demo_is_primary() {
    pair_role "$1" primary && pair_cause "$@" || return 1
    echo "$(pair_field "$1" redundancy last-cause), epoch $(pair_field "$1" redundancy epoch)"
}
# demo_filled N: since it has started it has been a complete standby. By its history: on a busy machine it may be more by now.
demo_filled() {
    local complete="it has all the peer's sessions"
    wait_until 60 event_told "$1" "$complete" || { chassis "$1" show redundancy events; return 1; }
    echo "$complete: $(pair_field "$1" replication bulk-received.objects.sessions) by bulk in $(pair_field "$1" replication bulk-received.took-ms) ms"
}
demo_routes() {
    bgp_moves "$1" || return 1
    echo "the servers by ${IN4[$1]}, the pool by ${OUT4[$1]}"
}
# demo_guard N: the last line of its log is the guard's.
demo_guard() {
    local log="$LAB_DIR/logs/tandemd$1.log"
    wait_until 20 grep -q ' guard: tandemd ended without a word' "$log" || { tail -n 3 "$log"; return 1; }
    sed -n 's/.* guard: tandemd ended without a word: //p' "$log" | tail -n 1
    # Something of each, and nothing failed, which would stand behind.
    sed -n 's/.* guard: tandemd ended without a word: //p' "$log" | tail -n 1 |
        grep -qE '^removed [1-9][0-9]* signal routes and [1-9][0-9]* virtual addresses, .* told the peer by [1-9][0-9]* of [0-9]+ ways"?$'
}

# demo_judge CHANGE: what the change of role, which was after SINCE, has done to each program.
demo_judge() {
    check "$1: ping by BGP goes on" ping_silence ping4
    check "$1: ping by the virtual address goes on" ping_silence ping6
    check "$1: download and iperf3 go on" demo_runs
    check "$1: idle TCP session answers, same end" idle_asks tcp "$IDLE_TCP"
    check "$1: idle UDP session answers, same end" idle_asks udp "$IDLE_UDP"
}
# ping_silence LABEL: the longest time between two answers since SINCE, once they come for half a second.
ping_silence() {
    wait_until 30 later "$1" "$(printf '%s\n' "$EPOCHREALTIME" | awk '{ printf "%.6f", $1 + 0.5 }')" || { echo "no answers"; return 1; }
    awk -v since="$SINCE" -v most="$DEMO_SILENCE_MS" '
        / bytes from .*icmp_seq=/ {
            at = substr($1, 2) + 0
            number = $0; sub(/.*icmp_seq=/, "", number); number += 0
            if (number <= last) next
            if (at >= since) { if (at - before > gap) gap = at - before; lost += number - last - 1 }
            before = at; last = number
        }
        END { printf "stood still for %d ms at most, %d echoes lost\n", gap * 1000, lost; exit gap * 1000 > most }' "$LAB_DIR/logs/$1.log"
}

# demo_end: the programs end, and say what they saw from the first moment to the last.
demo_end() {
    check "end: iperf3 through all of it" iperf_ends
    check "end: ping by BGP" ping_ends ping4
    check "end: ping by the virtual address" ping_ends ping6
    touch "$LAB_DIR/hurry"
    check "end: download is whole, by one connection" download_ends
}
download_ends() {
    local want got
    want=$(<"$LAB_DIR/100m.sha256")
    wait_until 120 process_gone "$DOWNLOAD_PID" "$DOWNLOAD_START" || { echo "it is not over: $(downloaded) bytes"; return 1; }
    got=$(sha256sum <"$LAB_DIR/download")
    got=${got%% *}
    [[ $got == "$want" && ! -s $LAB_DIR/logs/download.log ]] || { echo "$(downloaded) bytes, sha256 $got, want $want"; cat "$LAB_DIR/logs/download.log"; return 1; }
    echo "$FILE_BYTES bytes, sha256 equal (${got:0:16}...)"
}
# iperf_ends: SIGINT makes it sum up. What the server's kernel has received of it was looked up before.
iperf_ends() {
    local received
    received=$(iperf_received)
    stop_spawned iperf INT
    /usr/bin/python3 -c '
import json, sys
sent, received = json.load(sys.stdin)["end"]["sum_sent"], int(sys.argv[1])
print("%d MiB sent in %.0f s, %d received, %d retransmits" % (sent["bytes"] >> 20, sent["seconds"], received >> 20, sent["retransmits"]))
# 20 Mbit/s were to be sent. What is still on its way is a second of it at most.
sys.exit(received * 8 < 10e6 * sent["seconds"] or sent["bytes"] - received > 2.5e6)' "$received" <"$LAB_DIR/logs/iperf.log"
}
# ping_ends LABEL: both changes together lose no more than they may stand still.
ping_ends() {
    stop_spawned "$1" INT
    awk -v most="$((2 * DEMO_SILENCE_MS / 10))" '
        /packets transmitted/ { print $1 " sent, " $4 " answered"; exit $1 - $4 > most || $4 == 0 }' "$LAB_DIR/logs/$1.log"
}
demo_is_well() {
    chassis_alive "$1" || { tail -n 40 "$LAB_DIR/logs/tandemd$1.log"; return 1; }
    ! grep -n "panicked at" "$LAB_DIR/logs/tandemd$1.log" || return 1
    chassis "$1" show redundancy --json | /usr/bin/python3 -c '
import json, sys
light = json.load(sys.stdin)["light"]
print(light)
sys.exit(light != "green")'
}

demo_hints() {
    cat <<TEXT
  $SCRIPTS/lab exec --name $LAB_NAME sub1 ping 192.0.2.1      through the primary
  $SCRIPTS/lab exec --name $LAB_NAME dut $TANDEM show redundancy     chassis 1; dut2: chassis 2
  $SCRIPTS/lab exec --name $LAB_NAME dut $TANDEM request redundancy switchover 1
  kill -9 ${CHASSIS_PID[1]}                                   the primary
  $SCRIPTS/lab exec --name $LAB_NAME sub1 bash                a shell on the subscriber (srv, dut, dut2 likewise)
  $SCRIPTS/lab exec --name $LAB_NAME sub1 vtysh --vty_socket $(frr_folder sub1) -c 'show ip bgp'
  $LAB_DIR/chassis-1.toml and chassis-2.toml are their configs, $LAB_DIR/logs has every program's log
TEXT
}

# demo_summary: the figures; all the rest is above.
demo_summary() { summary '^(kill|return|end): '; }
