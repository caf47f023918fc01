# shellcheck shell=bash
# Tandem as a contender of lib/failover: the pair of pair.sh with heartbeats, which decides by itself. Path vsi: subscribers and servers
# send to virtual addresses. Path bgp: routers on both sides learn the way from FRR on each chassis. Sourced, after pair.sh and
# bgp.sh. Binaries as for a lab test: what `cargo build --release` made, or TANDEMD and TANDEM.

# shellcheck disable=SC2034 # lib/failover looks at it
CONTENDER_PATHS=(vsi bgp)
# Seconds after which a session is told. Those younger than --age-s at the failure may be lost.
THRESHOLD=2
MAX_SESSIONS=${MAX_SESSIONS:-524288}

# contender_up PATH INTERVAL_MS: both chassis, 1 primary and carrying the traffic.
contender_up() {
    local n
    CONTENDER_PATH=$1
    CONTENDER_ADDRESS=${VIRTUAL_IN[0]}
    HEARTBEAT_MS=$2
    # With BGP the virtual addresses say when the role came, and carry IPv6.
    PAIR_MORE=$([[ $1 != bgp ]] || bgp_policy; pair_virtual_addresses)
    pair_up
    # Says when an address came, to the microsecond.
    for n in 1 2; do spawn "addresses$n" "${DUT[n]}" stdbuf -oL ip -ts monitor address; done
    pair_start
    [[ $1 == bgp ]] || return 0
    bgp_up
    bgp_moves 1 || die "the routers did not learn the way by chassis 1"
    wait_until 30 pair_passes || die "no packet passes the pair"
}
contender_is_primary() { pair_is "$1" redundancy role primary; }
contender_synced() { pair_ready "$1" && (($(chassis "$1" show sessions --count | grep -oE '[0-9]+' | tail -n 1) >= $2)); }
# Its heartbeats on the HA link, which are UDP to the port of the redundancy group.
contender_beats() { echo "$(pair_ha_host "$1") ha0 ${HA4[$1]} 17 4793"; }
contender_kill() {
    AT=$EPOCHREALTIME
    kill -KILL "${CHASSIS_PID[$1]}"
    stop_spawned "tandemd$1" KILL || true
}
one_is_ready() { pair_ready 1 || pair_ready 2; }
contender_restore() {
    [[ $2 != process-death ]] || chassis_start "$1" || return 1
    # Should it take the role by mistake, the other one is standby.
    wait_until 120 one_is_ready || { pair_wait_ready "$1" 1 >&2; return 1; }
    [[ $CONTENDER_PATH != bgp ]] || bgp_comes_up "$1"
}
# contender_changes: a number that grows with each change of a role.
contender_changes() { echo $(($(pair_field 1 redundancy epoch) + $(pair_field 2 redundancy epoch))); }
contender_logs() { tail -n 20 "$LAB_DIR"/logs/tandemd[12].log; }
