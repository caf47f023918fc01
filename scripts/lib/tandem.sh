# shellcheck shell=bash
# Tandem inside the lab: its config, its start and stop, and the questions a script asks it. Sourced, after lab.sh.

# Which programs to run. The default is what `cargo build --release` made.
find_tandem() {
    local dir
    dir="$(cargo_target_dir)/release"
    TANDEMD=${TANDEMD:-$dir/tandemd}
    TANDEM=${TANDEM:-$dir/tandem}
    [[ -x $TANDEMD && -x $TANDEM ]] || die "no $TANDEMD and $TANDEM: cargo build --release first"
}

API=http://127.0.0.1:8480

# write_config: the lab's config. Variables change what a test wants changed:
#   WORKERS       number of workers (1)
#   OUTSIDE_MTU   MTU of the outside port (1500)
#   MAX_SESSIONS  size of the session table (65536)
#   POOL          prefixes of the pool, as TOML ("203.0.113.0/28")
#   MEMORY_MB     memory for DPDK (512)
#   HUGEPAGES     auto, required or never (auto)
#   EXTRA_*       TOML text put into the pool and the service set, or at the end (EXTRA_TOML)
#   INSIDE6, OUTSIDE6  IPv6 addresses of the interfaces, as TOML after a comma (none; lib/lab6.sh sets them)
#   INSIDE4, OUTSIDE4, SHARDS, FILE_PREFIX  what the second chassis of a pair has otherwise (lib/pair.sh)
# A test with other service sets writes config_head and its own text instead.
write_config() { { config_head && config_napt44; } >"$LAB_DIR/tandem.toml"; }
config_head() {
    cat <<CONF
[system]
name = "$LAB_NAME"

[dpdk]
hugepages = "${HUGEPAGES:-auto}"
memory-mb = ${MEMORY_MB:-512}
file-prefix = "${FILE_PREFIX:-$LAB_PREFIX}"

[workers]
count = ${WORKERS:-1}
${SHARDS:+shards = $SHARDS}
idle = "adaptive"

[api]
listen = "127.0.0.1:8480"

[interfaces.inside0]
device = "net_af_xdp0,iface=dut-in"
tap = "inside0"
addresses = ["${INSIDE4:-100.64.0.1/16}"${INSIDE6:-}]

[interfaces.outside0]
device = "net_af_xdp1,iface=dut-out"
tap = "outside0"
addresses = ["${OUTSIDE4:-192.0.2.2/24}"${OUTSIDE6:-}]
${OUTSIDE_MTU:+mtu = $OUTSIDE_MTU}

[table-sizes]
max-sessions = ${MAX_SESSIONS:-65536}

CONF
}
config_napt44() {
    cat <<CONF
[pools.cgn]
prefixes = [${POOL:-\"203.0.113.0/28\"}]
${EXTRA_POOL:-}

[nat-rules.all]
[[nat-rules.all.terms]]
name = "subscribers"
from = { source-addresses = ["100.64.0.0/10"] }
then = { translation-type = "napt-44", pool = "cgn" }

[service-sets.cgn]
inside-interfaces = ["inside0"]
outside-interfaces = ["outside0"]
nat-rules = ["all"]
${EXTRA_SERVICE_SET:-}

${EXTRA_TOML:-}
CONF
}

# tandem_start: starts tandemd in the lab and waits until it forwards; on failure shows its log and returns 1.
tandem_start() {
    [[ -e $LAB_DIR/tandem.toml ]] || write_config
    spawn tandemd dut env RUST_BACKTRACE=1 "$TANDEMD" --config "$LAB_DIR/tandem.toml"
    TANDEMD_PID=$SPAWNED
    TANDEMD_START=$(process_start_time "$TANDEMD_PID")
    export TANDEMD_PID TANDEMD_START
    if ! wait_until 60 tandem_healthy_or_dead || ! tandem_healthy; then
        warn "tandemd did not become healthy; the end of its log:"
        tail -n 40 "$LAB_DIR/logs/tandemd.log" >&2
        return 1
    fi
    tandem_routes
    wait_until 30 tandem_passes || {
        warn "no packet passes; the end of tandemd's log:"
        tail -n 40 "$LAB_DIR/logs/tandemd.log" >&2
        return 1
    }
}
# The routes of the lab are ordinary kernel routes on the taps that tandemd made.
tandem_routes() { ip -n "$(ns dut)" route replace default via 192.0.2.1; }
# What tells that packets go through: a test whose policies or addresses are others says what.
tandem_passes() { in_ns sub1 ping -c 1 -W 1 192.0.2.1; }
tandem_healthy() { in_ns dut curl -sf -m 2 -o /dev/null "$API/v1/health"; }
tandem_healthy_or_dead() { tandem_healthy || process_gone "$TANDEMD_PID" "$TANDEMD_START"; }
tandem_alive() { process_alive "$TANDEMD_PID" "$TANDEMD_START"; }

# tandem_stop [SIGNAL]: ends it; 1 when it took KILL.
tandem_stop() { stop_spawned tandemd "${1:-TERM}"; }

# tandem ARGS...: the CLI, against the daemon in the lab.
tandem() { in_ns dut "$TANDEM" --api "$API" "$@"; }

# tandem_reload: SIGHUP, as `systemctl reload` does.
tandem_reload() { kill -HUP "$TANDEMD_PID"; }
