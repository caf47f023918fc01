# shellcheck shell=bash
# FRR in namespaces of the lab: zebra and bgpd, one pair a router, with sockets, pids and logs in the lab's folder. Sourced, after lab.sh.
#
# The taps of a chassis go with its `tandemd`, and its BGP sessions with them: its neighbours keep what it said until their hold
# time is over. So a new primary does not wait for a withdrawal, its path is better: the metric of its signal routes falls with
# the epoch, and is sent as MED. Signal routes lie in a table of their own (SIGNAL_TABLE), which zebra imports and bgpd redistributes.

SIGNAL_TABLE=100
FRR=/usr/lib/frr
# With BGP_BFD set bfdd runs as well, and each BGP session has a BFD session beside it: a neighbour that is silent for 300 ms x 5 is gone,
# and its ways with it, long before the BGP hold time.
BGP_BFD=${BGP_BFD:-}
# FRR's daemons give up root and want their folder.
frr_folder() { printf '%s' "$LAB_DIR/frr-$1"; }

# With BGP_EXAMPLES set all of them run the files of configs/pair-bgp, with the addresses of the lab. They have BFD.
BGP_EXAMPLES=${BGP_EXAMPLES:-}
[[ -z $BGP_EXAMPLES ]] || BGP_BFD=yes

# frr_daemons: what runs, in the order in which it has to start.
frr_daemons() { echo zebra ${BGP_EXAMPLES:+staticd} ${BGP_BFD:+bfdd} bgpd; }
# frr_start HOST: each with the .conf file of its name in the host's folder, then frr.conf for all of them, if there is one.
frr_start() {
    local host=$1 dir daemon more
    dir=$(frr_folder "$host")
    for daemon in $(frr_daemons); do
        more=()
        [[ $daemon != bfdd ]] || more=(--bfdctl "$dir/bfdd.sock")
        # Those of one that was killed are there still: who takes them for the new one's asks zebra in vain, and again only after 10 s.
        rm -f "$dir/$daemon.vty"
        [[ $daemon != zebra ]] || rm -f "$dir/zserv.api"
        spawn "frr-$daemon-$host" "$host" "$FRR/$daemon" -f "$dir/$daemon.conf" -z "$dir/zserv.api" -i "$dir/$daemon.pid" \
            --vty_socket "$dir" --log stdout "${more[@]}"
        wait_until 20 test -S "$dir/$daemon.vty" -a -S "$dir/zserv.api" || die "$daemon of $host did not start: $(tail -n 3 "$LAB_DIR/logs/frr-$daemon-$host.log")"
    done
    [[ ! -e $dir/frr.conf ]] || frr_takes "$host" "$dir/frr.conf" || die "FRR of $host does not take $dir/frr.conf"
}
# frr_stop HOST [SIGNAL]
frr_stop() {
    local daemon
    for daemon in $(frr_daemons | tr ' ' '\n' | tac); do stop_spawned "frr-$daemon-$1" "${2:-TERM}" || true; done
}
# frr_takes HOST FILE: the configuration of all daemons, whole.
frr_takes() {
    local said rc=0
    said=$(in_ns "$1" vtysh --vty_socket "$(frr_folder "$1")" -f "$2" 2>&1) || rc=$?
    ((rc == 0)) && [[ $said != *%* ]] || { echo "$said" >&2; return 1; }
}
# bgp HOST COMMAND: of vtysh.
bgp() { in_ns "$1" vtysh --vty_socket "$(frr_folder "$1")" -c "$2"; }

# frr_conf HOST ZEBRA BGPD: its two files.
frr_conf() {
    local dir
    dir=$(frr_folder "$1")
    mkdir -p "$dir"
    # zebra gathers changes for 10 ms before it acts, unless it is told otherwise.
    printf 'zebra work-queue 0\n%s\n' "$2" >"$dir/zebra.conf"
    printf '%s\n' "$3" >"$dir/bgpd.conf"
    printf 'bfd\n profile pair\n  transmit-interval 300\n  receive-interval 300\n  detect-multiplier 5\n' >"$dir/bfdd.conf"
    # The lab's folder is root's alone: what is above it has to be passable.
    chown -R frr:frr "$dir"
    chmod o+x "$LAB_ROOT" "$LAB_DIR"
}

# bgp_neighbour ADDRESS AS: what all sessions of the lab have in common.
bgp_neighbour() {
    cat <<CONF
 neighbor $1 remote-as $2
 neighbor $1 timers 3 9
 neighbor $1 timers connect 1
 neighbor $1 advertisement-interval 0
CONF
    [[ -z $BGP_BFD ]] || printf ' neighbor %s bfd\n neighbor %s bfd profile pair\n' "$1" "$1"
}

# What the pair is the way to: for the router outside the subscribers' public addresses, for the router inside the servers. The
# latter covers more than the chassis' own routes, which it does not hide so.
BGP_POOL=203.0.113.0/24
BGP_SERVERS=128.0.0.0/1
# bgp_policy: signal routes while primary, for PAIR_MORE. zebra hands the ways on with their metric, by the epoch of the role.
bgp_policy() {
    cat <<CONF
policies = ["ways"]
[redundancy-policies.ways]
[[redundancy-policies.ways.signal-routes]]
prefix = "$BGP_POOL"
table = $SIGNAL_TABLE
discard = true
[[redundancy-policies.ways.signal-routes]]
prefix = "$BGP_SERVERS"
table = $SIGNAL_TABLE
next-hop = "192.0.2.1"
CONF
}

# bgp_chassis N: a chassis says its signal routes to the routers on both sides, as AS 64512 with its twin.
bgp_chassis() {
    frr_conf "${DUT[$1]}" "ip import-table $SIGNAL_TABLE" "ip prefix-list pool seq 5 permit $BGP_POOL
ip prefix-list servers seq 5 permit $BGP_SERVERS
ip prefix-list nothing seq 5 deny any
router bgp 64512
 bgp router-id ${OUT4[$1]}
 bgp graceful-restart-disable
$(bgp_neighbour 192.0.2.1 65001)
$(bgp_neighbour 100.64.0.2 65002)
 address-family ipv4 unicast
  redistribute table $SIGNAL_TABLE
  neighbor 192.0.2.1 prefix-list pool out
  neighbor 192.0.2.1 prefix-list nothing in
  neighbor 100.64.0.2 prefix-list servers out
  neighbor 100.64.0.2 prefix-list nothing in
 exit-address-family"
}
# bgp_router HOST AS ADDRESS PEER...: a router that is told the ways through the pair by both chassis, and says nothing itself.
bgp_router() {
    local host=$1 as=$2 address=$3 peer peers=''
    shift 3
    # The chassis connect: two that do so in step, once a second, may close each other's connections as collisions for minutes.
    for peer in "$@"; do peers+=$(bgp_neighbour "$peer" 64512)$'\n'" neighbor $peer passive"$'\n'; done
    frr_conf "$host" "" "router bgp $as
 bgp router-id $address
 no bgp ebgp-requires-policy
 bgp graceful-restart-disable
$peers"
}

# bgp_example HOST NAME: it runs configs/pair-bgp/NAME.frr.conf, with the addresses of the lab, and slower BFD: two chassis and two routers
# are on this machine.
bgp_example() {
    local dir
    dir=$(frr_folder "$1")
    frr_conf "$1" "" ""
    : >"$dir/staticd.conf"
    : >"$dir/bfdd.conf"
    sed "s|20\.2\.2\.254|192.0.2.1|g; s|20\.2\.2\.1\>|${OUT4[1]}|g; s|20\.2\.2\.2\>|${OUT4[2]}|g
        s|20\.3\.3\.254|100.64.0.2|g; s|20\.3\.3\.1\>|${IN4[1]}|g; s|20\.3\.3\.2\>|${IN4[2]}|g
        s|32\.0\.0\.0/24|$BGP_POOL|; s|detect-multiplier 3|detect-multiplier 5|" "$SCRIPTS/../configs/pair-bgp/$2.frr.conf" >"$dir/frr.conf"
}

# bgp_start: FRR on both chassis, on srv (the router outside) and on sub1 (the router inside).
bgp_start() {
    local n
    if [[ -n $BGP_EXAMPLES ]]; then
        for n in 1 2; do bgp_example "${DUT[n]}" "chassis-$n"; done
        bgp_example srv router-outside
        bgp_example sub1 router-inside
    else
        for n in 1 2; do bgp_chassis "$n"; done
        bgp_router srv 65001 192.0.2.1 "${OUT4[1]}" "${OUT4[2]}"
        bgp_router sub1 65002 100.64.0.2 "${IN4[1]}" "${IN4[2]}"
    fi
    for n in "${DUT[1]}" "${DUT[2]}" srv sub1; do frr_start "$n"; done
}
# bgp_alone: the static routes of the two routers go.
bgp_alone() {
    ip -n "$(ns srv)" route del "$BGP_POOL" || true
    ip -n "$(ns sub1)" route del default || true
}
bgp_up() {
    bgp_start
    bgp_alone
}

# goes_by HOST PREFIX ADDRESS: the kernel of HOST sends to PREFIX by ADDRESS, and by nobody else.
goes_by() { [[ $(ip -n "$(ns "$1")" route show "$2" | grep -c via) == 1 ]] && ip -n "$(ns "$1")" route show "$2" | grep -q " via $3 "; }
# bgp_goes_by N: both routers send by this chassis, and by nobody else.
bgp_goes_by() { goes_by srv "$BGP_POOL" "${OUT4[$1]}" && goes_by sub1 "$BGP_SERVERS" "${IN4[$1]}"; }
# bgp_moves N: they will.
bgp_moves() {
    wait_until "${2:-20}" bgp_goes_by "$1" || {
        local host
        for host in srv sub1; do ip -n "$(ns "$host")" route show; bgp "$host" "show ip bgp"; done
        return 1
    }
}
# bgp_unsignalled N: a chassis has no signal routes, whatever its neighbours have.
bgp_unsignalled() { [[ -z $(ip -n "$(ns "${DUT[$1]}")" route show table "$SIGNAL_TABLE" 2>/dev/null) ]]; }
# bgp_bfd_is_up N: a chassis has its BFD sessions with both routers. bgp_ended_by_bfd HOST ADDRESS: so the last BGP session with it ended.
bgp_bfd_is_up() { [[ $(bgp "${DUT[$1]}" "show bfd peers json" | grep -c '"status":"up"') == 2 ]]; }
bgp_ended_by_bfd() { bgp "$1" "show bgp neighbors $2 json" | grep -q '"lastNotificationReason":"Cease.*BFD Down"'; }
# bgp_is_up N: a chassis has its sessions with both routers.
bgp_is_up() { [[ $(bgp "${DUT[$1]}" "show bgp summary json" | grep -c '"state":"Established"') == 2 ]]; }
# bgp_comes_up N: it will. A router refuses the new connection while it has the old one, until its hold time is over, and bgpd doubles
# what it waits with each refusal, to 120 s at most; a connection that comes up begins anew.
bgp_comes_up() {
    wait_until 180 bgp_is_up "$1" || {
        local peer
        for peer in 192.0.2.1 100.64.0.2; do bgp "${DUT[$1]}" "show bgp neighbors $peer"; done
        bgp "${DUT[$1]}" "show ip nht"
        return 1
    }
}
