# shellcheck shell=bash
# The demo of one chassis: two subscribers and a server side around a running tandemd, and ordinary programs that prove ping, DNS, curl, iperf3,
# traceroute, thousands of connections and hairpinning. Sourced by scripts/demo, after lab.sh, tandem.sh and checks.sh.

demo() {
    local many_pid many_out line topic
    # Ten thousand connections each way and all that came before them.
    MAX_SESSIONS=131072

    step "building the lab: two subscribers, a server side, and Tandem between them"
    lab_up "$KEEP"
    write_config
    step "starting $TANDEMD"
    note "$TANDEM check: $("$TANDEM" check "$LAB_DIR/tandem.toml" 2>&1 | tail -n 1)"
    tandem_start || exit 1

    step "traffic"
    check "ping the box itself" ping_all sub1 100.64.0.1 5
    check "ping through the NAT" ping_all sub1 192.0.2.1 10
    check "ping from the other subscriber" ping_all sub2 192.0.2.1 10
    check "DNS query over UDP" dns_query sub1
    check "DNS query over TCP" dns_query sub2 +tcp
    check "the server sees a pool address" seen_as_pool_address sub1
    check "curl of 100 MiB arrives intact" curl_100m sub1
    check "iperf3 TCP, up" iperf sub1 5201 3
    check "iperf3 TCP, down" iperf sub1 5201 3 -R
    check "iperf3 UDP 20 Mbit/s" iperf sub2 5202 3 -u -b 20M -l 1400
    check "traceroute shows the box and the hops behind" traceroute_hops sub1
    check "parallel downloads from both subscribers" parallel_curl 300
    check "hairpin between the subscribers" tool hairpin.py
    note "opening 10,000 connections ..."
    coproc MANY { tool many_connections.py 5000 --hold 2>&1; }
    many_pid=$MANY_PID
    many_out='' line=''
    while read -r -t 240 -u "${MANY[0]}" line; do
        [[ $line != standing ]] || break
        many_out+="$line"$'\n'
    done
    many_stand() {
        printf '%s' "$many_out"
        [[ $line == standing ]] && ! grep -q '^FAIL' <<<"$many_out" && echo "2 x 5000 stand at once, each echoed its own bytes twice"
    }
    check "10,000 parallel TCP connections" many_stand

    step "what Tandem says while they stand"
    for topic in interfaces workers pools drops; do
        printf '\n%s$ tandem show %s%s\n' "$C_BOLD" "$topic" "$C_OFF"
        tandem show "$topic" || CHECKS_FAILED=$((CHECKS_FAILED + 1))
    done
    printf '\n%s$ tandem show sessions | head -20%s\n' "$C_BOLD" "$C_OFF"
    tandem show sessions >"$LAB_DIR/sessions.txt" || CHECKS_FAILED=$((CHECKS_FAILED + 1))
    head -n 20 "$LAB_DIR/sessions.txt"
    eval "exec ${MANY[1]}>&-" 2>/dev/null || true
    wait "$many_pid" 2>/dev/null || true
}

# demo_hints: what to do with one that was left up.
demo_hints() {
    cat <<TEXT
  $SCRIPTS/lab exec --name $LAB_NAME sub1 ping 192.0.2.1
  $SCRIPTS/lab exec --name $LAB_NAME sub2 curl http://www.tandem.test/whoami
  $SCRIPTS/lab exec --name $LAB_NAME sub1 bash                a shell on a subscriber (sub2, srv, srv2, far, dut likewise)
  $SCRIPTS/lab exec --name $LAB_NAME net tcpdump -ni br-out   what passes outside; br-in: inside
  $SCRIPTS/lab tandem --name $LAB_NAME show sessions          (or interfaces, workers, routes, subscriber, pools, drops ...)
  $SCRIPTS/lab exec --name $LAB_NAME dut curl -s $API/v1/health
  $LAB_DIR/tandem.toml is its config; after a change: kill -HUP $TANDEMD_PID
  $LAB_DIR/logs has every program's log
TEXT
}

demo_summary() { summary; }
