# shellcheck shell=bash
# The lab: network namespaces around one Tandem, and their total removal. Sourced, after common.sh.
#
#   sub1 100.64.0.2 ─┐                                          ┌─ srv  192.0.2.1 ── 10.255.1.2 ─┐
#                    br-in ── dut-in [ dut: tandemd ] dut-out ── br-out                           far 198.51.100.10
#   sub2 100.64.0.3 ─┘   100.64.0.1               192.0.2.2     └─ srv2 192.0.2.3 ── 10.255.2.2 ─┘
#
# Each name is a namespace tnd-NAME-<that name>; both bridges live in the namespace `net`, so that a capture there
# sees a segment as a cable would. srv runs the servers (web, DNS, iperf3, echo); far is a host behind two
# routers, for traceroute, path MTU, route changes and ECMP. Pool 203.0.113.0/24 is routed to 192.0.2.2.
# ref has no cable: a test that needs another router, or a second system to compare with, connects it.
# The lab is IPv4 only; lab_ipv6 (lib/lab6.sh) gives it IPv6 beside that.
#
# What the topology has to respect (found by measuring on Debian 12, DPDK 22.11, kernels 6.1 and 6.18):
# - net_af_xdp on veth needs neither hugepages nor a mounted bpffs ("No bpffs found" from libxdp is harmless: it loads
#   one program without its dispatcher), nor a raised memlock limit for root.
# - It serves one queue here. Each veth is made with one queue on each side: by default a veth has as many as the host
#   has CPUs, and frames that land on a queue without a socket go to the kernel instead.
# - The program stays attached after kill -9 and a restarted process reuses it; a clean stop detaches it. Deleting
#   the veth frees it for good.
# - veth hands over partial checksums and segments larger than the MTU until the offloads are off at both ends.
# - dut-in and dut-out carry no address and no IPv6, so that the kernel says nothing of its own on the wire.

LAB_MINUTES=${LAB_MINUTES:-30}
LAB_ROOT=${LAB_ROOT:-/run/tandem-lab}
LAB_HOSTS=(net sub1 sub2 dut srv srv2 far ref)

# lab_name NAME: chooses which lab the functions below mean. Exported names are what the helper programs read.
lab_name() {
    [[ $1 =~ ^[a-z0-9][a-z0-9-]{0,31}$ ]] || die "lab name '$1': want up to 32 of a-z, 0-9 and -"
    LAB_NAME=$1
    LAB_PREFIX="tnd-$1"
    LAB_DIR="$LAB_ROOT/$1"
    export LAB_NAME LAB_PREFIX LAB_DIR
}

ns() { printf '%s-%s' "$LAB_PREFIX" "$1"; }

# in_ns HOST COMMAND...: runs a command in a namespace of the lab, in the foreground.
in_ns() {
    local host=$1
    shift
    ip netns exec "$(ns "$host")" "$@"
}

# spawn LABEL HOST COMMAND...: starts a program in a namespace, recorded by pid and start time so that the teardown
# ends it and nothing else. Its own session keeps a Ctrl-C at the terminal for the teardown. Sets SPAWNED to the pid.
spawn() {
    local label=$1 host=$2
    shift 2
    setsid ip netns exec "$(ns "$host")" "$@" </dev/null >>"$LAB_DIR/logs/$label.log" 2>&1 &
    SPAWNED=$!
    disown # or bash would report its end in the middle of the output
    printf '%s %s %s\n' "$SPAWNED" "$(process_start_time "$SPAWNED")" "$label" >>"$LAB_DIR/pids"
}

# stop_spawned LABEL [SIGNAL]: ends a recorded program and waits until it is gone; 1 when it took KILL to do so.
stop_spawned() {
    local pid start label rc=0
    while read -r pid start label; do
        [[ $label == "$1" ]] || continue
        end_process "$pid" "$start" "${2:-TERM}" || rc=1
    done <"$LAB_DIR/pids"
    sed -i "/^[0-9]* [0-9]* $1\$/d" "$LAB_DIR/pids"
    return "$rc"
}
# end_process PID START SIGNAL: 1 when the process did not end by the signal and had to be killed.
end_process() {
    process_alive "$1" "$2" || return 0
    kill "-$3" "$1" 2>/dev/null || return 0
    # A killed child of this shell may stay a zombie for a while; process_alive counts that as gone.
    wait_until 20 process_gone "$1" "$2" && return 0
    kill -KILL "$1" 2>/dev/null || true
    wait_until 20 process_gone "$1" "$2" || true
    return 1
}
process_gone() { ! process_alive "$1" "$2"; }

# Two ends of a cable: veth A:IFA = B:IFB, offloads off, up.
cable() {
    ip -n "$(ns "$1")" link add "$2" numtxqueues 1 numrxqueues 1 type veth \
        peer name "$4" netns "$(ns "$3")" numtxqueues 1 numrxqueues 1
    local host dev
    for host in "$1 $2" "$3 $4"; do
        dev=${host#* } host=${host% *}
        in_ns "$host" ethtool -K "$dev" tx off rx off tso off gso off gro off >/dev/null 2>&1
        ip -n "$(ns "$host")" link set "$dev" up
    done
}
set_sysctl() {
    local host=$1
    shift
    in_ns "$host" sysctl -qw "$@"
}

lab_topology() {
    local h
    for h in "${LAB_HOSTS[@]}"; do
        ip netns add "$(ns "$h")"
        # No IPv6 chatter; no reverse path filter, asymmetric paths are part of the tests; nobody forwards unless said.
        set_sysctl "$h" net.ipv6.conf.default.disable_ipv6=1 net.ipv6.conf.all.disable_ipv6=1 \
            net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.ip_forward=0
        ip -n "$(ns "$h")" link set lo up
    done
    # Bridges of the two segments. Frames stay on them: no netfilter, no spanning tree.
    for h in br-in br-out; do
        ip -n "$(ns net)" link add "$h" type bridge stp_state 0 mcast_snooping 0
        ip -n "$(ns net)" link set "$h" up
    done
    cable sub1 eth0 net p-sub1
    cable sub2 eth0 net p-sub2
    cable dut dut-in net p-in
    cable dut dut-out net p-out
    cable srv eth0 net p-srv
    cable srv2 eth0 net p-srv2
    for h in p-sub1 p-sub2 p-in; do ip -n "$(ns net)" link set "$h" master br-in; done
    for h in p-out p-srv p-srv2; do ip -n "$(ns net)" link set "$h" master br-out; done
    cable srv to-far far from-srv
    cable srv2 to-far far from-srv2

    ip -n "$(ns sub1)" addr add 100.64.0.2/16 dev eth0
    ip -n "$(ns sub2)" addr add 100.64.0.3/16 dev eth0
    ip -n "$(ns sub1)" route add default via 100.64.0.1
    ip -n "$(ns sub2)" route add default via 100.64.0.1

    ip -n "$(ns srv)" addr add 192.0.2.1/24 dev eth0
    ip -n "$(ns srv2)" addr add 192.0.2.3/24 dev eth0
    ip -n "$(ns srv)" addr add 10.255.1.1/30 dev to-far
    ip -n "$(ns srv2)" addr add 10.255.2.1/30 dev to-far
    ip -n "$(ns far)" addr add 10.255.1.2/30 dev from-srv
    ip -n "$(ns far)" addr add 10.255.2.2/30 dev from-srv2
    ip -n "$(ns far)" addr add 198.51.100.10/32 dev lo
    ip -n "$(ns far)" route add default via 10.255.1.1
    for h in srv srv2; do
        set_sysctl "$h" net.ipv4.ip_forward=1
        ip -n "$(ns "$h")" route add 203.0.113.0/24 via 192.0.2.2
    done
    ip -n "$(ns srv)" route add 198.51.100.0/24 via 10.255.1.2
    ip -n "$(ns srv2)" route add 198.51.100.0/24 via 10.255.2.2

    # Tests count the frames on the two links to far: no ARP on them.
    for h in srv:1 srv2:2; do
        ip -n "$(ns "${h%:*}")" neigh replace "10.255.${h#*:}.2" dev to-far nud permanent \
            lladdr "$(in_ns far cat "/sys/class/net/from-${h%:*}/address")"
        ip -n "$(ns far)" neigh replace "10.255.${h#*:}.1" dev "from-${h%:*}" nud permanent \
            lladdr "$(in_ns "${h%:*}" cat /sys/class/net/to-far/address)"
    done

    # The DUT's kernel: an address answers only on the tap that has it. Multipath hashes on ports as a router's does.
    set_sysctl dut net.ipv4.conf.all.arp_ignore=1 net.ipv4.fib_multipath_hash_policy=1
    # Servers for many connections at once, and subscribers with enough source ports.
    for h in srv far; do
        set_sysctl "$h" net.core.somaxconn=16384 net.ipv4.tcp_max_syn_backlog=16384
    done
    for h in sub1 sub2; do
        set_sysctl "$h" net.ipv4.ip_local_port_range="10240 65000"
    done
    # ICMP errors of the routers are part of the tests: do not let the kernel ration them.
    for h in srv srv2 far sub1 sub2; do
        set_sysctl "$h" net.ipv4.icmp_ratelimit=0
    done
    # Names for the subscribers' programs; `ip netns exec` mounts these over /etc for its command.
    for h in sub1 sub2; do
        mkdir -p "/etc/netns/$(ns "$h")"
        printf 'nameserver 192.0.2.1\noptions timeout:2 attempts:3\n' >"/etc/netns/$(ns "$h")/resolv.conf"
    done
}

lab_servers() {
    local tools="$SCRIPTS/lab-tools"
    mkdir -p "$LAB_DIR/www" "$LAB_DIR/nginx"
    head -c 104857600 /dev/urandom >"$LAB_DIR/www/100m.bin"
    printf 'hello from the server side\n' >"$LAB_DIR/www/index.html"
    sha256sum <"$LAB_DIR/www/100m.bin" | cut -d' ' -f1 >"$LAB_DIR/100m.sha256"
    cat >"$LAB_DIR/nginx/nginx.conf" <<CONF
daemon off;
user root;
worker_processes 1;
pid $LAB_DIR/nginx/pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
    access_log off;
    sendfile on;
    client_body_temp_path $LAB_DIR/nginx/body;
    proxy_temp_path $LAB_DIR/nginx/proxy;
    fastcgi_temp_path $LAB_DIR/nginx/fastcgi;
    uwsgi_temp_path $LAB_DIR/nginx/uwsgi;
    scgi_temp_path $LAB_DIR/nginx/scgi;
    server {
        listen 80 backlog=4096;
        listen [::]:80 backlog=4096 ipv6only=on;
        root $LAB_DIR/www;
        # Says who the server thinks is asking: the subscriber's public address and port.
        location = /whoami { default_type text/plain; return 200 "\$remote_addr \$remote_port\n"; }
    }
}
CONF
    spawn nginx srv nginx -e stderr -c "$LAB_DIR/nginx/nginx.conf"
    spawn dnsmasq srv dnsmasq --keep-in-foreground --no-daemon --conf-file=/dev/null --user=root --pid-file= \
        --no-resolv --no-hosts --bind-interfaces --listen-address=192.0.2.1 --log-facility=- \
        --host-record=www.tandem.test,192.0.2.1 --host-record=far.tandem.test,198.51.100.10 --local=/tandem.test/ \
        --host-record=ipv4only.arpa,192.0.0.170 --host-record=ipv4only.arpa,192.0.0.171 --local=/ipv4only.arpa/
    spawn iperf3-a srv iperf3 --server --port 5201
    spawn iperf3-b srv iperf3 --server --port 5202
    spawn echo-srv srv /usr/bin/python3 "$tools/echo_server.py" --name srv 0.0.0.0 7
    spawn echo-far far /usr/bin/python3 "$tools/echo_server.py" --name far 0.0.0.0 7
    spawn echo-srv2 srv2 /usr/bin/python3 "$tools/echo_server.py" --name srv2 0.0.0.0 7
    local want
    for want in "srv t 80" "srv u 53" "srv t 5201" "srv t 5202" "srv t 7" "srv u 7" "srv2 t 7" "far t 7" "far u 7"; do
        # shellcheck disable=SC2086 # three words on purpose
        wait_until 30 listening $want ||
            { tail -n 20 "$LAB_DIR"/logs/*.log >&2; die "the lab's server on ($want) did not come up"; }
    done
}
listening() { in_ns "$1" ss -H -ln -"$2" "sport = :$3" | grep -q .; }

# The watchdog ends a lab whose owner died without saying goodbye (kill -9), or that outlived its time.
# It holds nothing of the caller: own session, own lab name, output to its log.
lab_watchdog() {
    local with_owner=()
    [[ $1 == keep ]] || with_owner=(--owner "$$")
    setsid "$SCRIPTS/lab" watch --name "$LAB_NAME" --minutes "$LAB_MINUTES" "${with_owner[@]}" </dev/null >>"$LAB_DIR/logs/watchdog.log" 2>&1 &
    printf '%s %s\n' "$!" "$(process_start_time $!)" >"$LAB_DIR/watchdog"
    disown
}
lab_watch_loop() {
    local minutes=$1 parent=$2 start='' deadline
    deadline=$((SECONDS + minutes * 60))
    [[ -z $parent ]] || start=$(process_start_time "$parent")
    while [[ -d $LAB_DIR ]] && ((SECONDS < deadline)); do
        [[ -z $parent ]] || process_alive "$parent" "$start" || break
        sleep 2
    done
    [[ -d $LAB_DIR ]] || return 0
    echo "watchdog: owner gone or $minutes minutes over: taking the lab down"
    lab_down
}

# lab_up [keep]: builds the lab. Without `keep` it belongs to this process and goes with it.
lab_up() {
    need_root "the lab"
    if [[ -d $LAB_DIR ]] && lab_owned; then
        die "a lab '$LAB_NAME' is running; scripts/lab down --name $LAB_NAME stops it"
    fi
    lab_down
    mkdir -p "$LAB_DIR/logs"
    : >"$LAB_DIR/pids"
    # For a watchdog, which does not know what the script that made the lab added.
    printf '%s\n' "${LAB_HOSTS[@]}" >"$LAB_DIR/hosts"
    lab_watchdog "${1:-}"
    lab_topology
    lab_servers
}
lab_owned() {
    local pid start
    [[ -r $LAB_DIR/watchdog ]] && read -r pid start <"$LAB_DIR/watchdog" && process_alive "$pid" "$start"
}

# lab_down: removes everything a lab of this name may have left, in whatever state it is. Never fails, may be repeated.
lab_down() {
    # A trap that interrupts `IFS= read` in a function has that IFS, and would find no pid in a line.
    local pid start label h n hosts=("${LAB_HOSTS[@]}") IFS=$' \t\n'
    [[ ! -r $LAB_DIR/hosts ]] || mapfile -t -O "${#hosts[@]}" hosts <"$LAB_DIR/hosts"
    if [[ -r $LAB_DIR/pids ]]; then
        # tandemd (of a pair both) first, by itself, so that it can close its ports cleanly; then the rest together.
        while read -r pid start label; do
            [[ $label != tandemd* ]] || end_process "$pid" "$start" TERM || true
        done <"$LAB_DIR/pids"
        while read -r pid start label; do
            ! process_alive "$pid" "$start" || kill -TERM "$pid" 2>/dev/null || true
        done <"$LAB_DIR/pids"
        while read -r pid start label; do
            end_process "$pid" "$start" TERM || true
        done <"$LAB_DIR/pids"
    fi
    if [[ -r $LAB_DIR/watchdog ]]; then
        read -r pid start <"$LAB_DIR/watchdog" || true
        # With its `sleep`, of which it is the session's first process; unless the watchdog itself is calling.
        if [[ $pid != "$$" ]] && process_alive "$pid" "$start"; then kill -TERM -- "-$pid" 2>/dev/null || true; fi
    fi
    for h in "${hosts[@]}"; do
        n=$(ns "$h")
        [[ -e /run/netns/$n ]] || continue
        # What is still in our own namespaces was started there by us or by someone poking at the lab.
        for pid in $(ip netns pids "$n" 2>/dev/null); do kill -KILL "$pid" 2>/dev/null || true; done
        # A namespace that a process still holds lives on without its name, and its cables with it: remove them by hand.
        for label in $(ip -n "$n" -o link show 2>/dev/null | awk -F': ' '$2 != "lo" { sub(/@.*/, "", $2); print $2 }'); do
            ip -n "$n" link del "$label" 2>/dev/null || true
        done
        ip netns del "$n" 2>/dev/null || true
    done
    for h in "${hosts[@]}"; do rm -rf "/etc/netns/$(ns "$h")"; done
    rmdir /etc/netns 2>/dev/null || true
    lab_scrub_dpdk
    rm -rf "$LAB_DIR"
    rmdir "$LAB_ROOT" 2>/dev/null || true
}

# What a DPDK process that was killed leaves in files: its runtime folder and its hugepages. The second chassis of a pair
# (lib/pair.sh) has the prefix with `_2` behind it, which no other lab can have.
lab_scrub_dpdk() {
    local prefix=$LAB_PREFIX mount
    rm -rf "/run/dpdk/$prefix" "/run/dpdk/${prefix}_2"
    rmdir /run/dpdk 2>/dev/null || true
    while read -r mount; do
        rm -f "$mount/${prefix}map_"* "$mount/${prefix}_2map_"*
    done < <(awk '$3 == "hugetlbfs" { print $2 }' /proc/mounts)
}

# lab_leftovers: prints whatever of this lab still exists; nothing when it is gone. Interfaces live in its namespaces and XDP
# programs on its interfaces, so what could keep those alive is looked at by the cleanup test: a process still inside.
lab_leftovers() {
    ip netns list 2>/dev/null | awk -v p="$LAB_PREFIX-" 'index($1, p) == 1 { print "namespace " $1 }'
    [[ ! -e $LAB_DIR ]] || echo "folder $LAB_DIR"
    local f mount
    for f in "/run/dpdk/$LAB_PREFIX" "/run/dpdk/${LAB_PREFIX}_2"; do [[ ! -e $f ]] || echo "folder $f"; done
    for f in /etc/netns/"$LAB_PREFIX"-*; do [[ ! -e $f ]] || echo "folder $f"; done
    while read -r mount; do
        for f in "$mount/${LAB_PREFIX}map_"* "$mount/${LAB_PREFIX}_2map_"*; do [[ ! -e $f ]] || echo "hugepage file $f"; done
    done < <(awk '$3 == "hugetlbfs" { print $2 }' /proc/mounts)
}

# lab_trap: takes the lab down whatever ends this script. Bash runs the EXIT trap after the others.
lab_trap() {
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    trap 'lab_on_exit $?' EXIT
}
lab_on_exit() {
    trap '' INT TERM HUP
    if [[ $1 -ne 0 && -n ${LAB_KEEP_LOGS:-} && -d ${LAB_DIR:-/nonexistent}/logs ]]; then
        # A lab may have none of it yet, and with `set -e` a copy that fails would be the end of this.
        { mkdir -p "$LAB_KEEP_LOGS" && cp -r "$LAB_DIR"/logs/. "$LAB_KEEP_LOGS/" && cp "$LAB_DIR"/*.toml "$LAB_KEEP_LOGS/"; } 2>/dev/null || true
    fi
    lab_down
    exit "$1"
}
