# shellcheck shell=bash
# What Tandem is measured against: a pair of Linux routers that translate with nftables, replicate their sessions with conntrackd
# and move their addresses with keepalived. It stands in the lab of pair.sh, in the place of the two chassis, and has the
# functions a contender of lib/failover has. Sourced, after pair.sh and bgp.sh.
#
#   100.64.0.11 [ dut  ] 192.0.2.11    conntrackd over ha0, VRRP inside and outside as one group; the primary has
#   100.64.0.12 [ dut2 ] 192.0.2.12    100.64.0.1 and 192.0.2.2, to which subscribers and servers send
#
# Set up as the manuals of both say for an active/backup pair, and beyond that as one would who wants the best of it:
# - conntrackd: FTFW with the external cache, committed by the notify script; no filter but for its own addresses, no state is
#   left out; buffers so large that no event is lost; a short PurgeTimeout, so that the former primary soon is a clean backup.
#   CommitTimeout is not set: entries keep the time that is left to them.
# - keepalived: VRRPv3 (2.), equal in all but the priority by which it is settled who begins, no preemption; priorities so high that the
#   skew adds less than 1 % of an interval to the 3 intervals of silence; real-time scheduling above conntrackd's, which is
#   busiest just when the role is taken, and with a bound on its time that a busy machine does not reach (by default keepalived is
#   killed after 10 ms at once on the CPU); gratuitous ARP again each second.
# - kernel: one public address for a subscriber (`persistent`), the timeouts Tandem has, no window check after a takeover,
#   sessions begun in the middle are taken up (tcp_loose, the default), which can only keep more of them alive.

source "$SCRIPTS/lib/keepalived.sh"

# shellcheck disable=SC2034 # lib/failover looks at it
CONTENDER_PATHS=(vsi)
# shellcheck disable=SC2034 # lib/failover looks at it
CONTENDER_ADDRESS=100.64.0.1
KERNEL_IN=('' 100.64.0.11 100.64.0.12)
KERNEL_OUT=('' 192.0.2.11 192.0.2.12)
KERNEL_PRIORITY=('' 254 253)
# Sessions one chassis has to hold.
KERNEL_SESSIONS=${KERNEL_SESSIONS:-131072}
# The ports of this chassis are the lab's cables themselves.
export LAB_PORTS="dut-in dut-out"

# contender_up PATH INTERVAL_MS: both chassis, 1 primary and carrying the traffic.
contender_up() {
    local n max
    (($2 % 10 == 0)) || die "VRRP counts its interval in hundredths of a second: $2 ms is none"
    # Neither is a namespace's own: the kernel has one limit for all (each counts for itself) and one hash table.
    max=$(sysctl -n net.netfilter.nf_conntrack_max)
    ((max >= KERNEL_SESSIONS)) || die "net.netfilter.nf_conntrack_max is $max, this needs $KERNEL_SESSIONS: raise it on this host"
    lab_up
    pair_topology
    for n in 1 2; do
        kernel_chassis "$n"
        kernel_conntrackd_conf "$n" >"$LAB_DIR/conntrackd-$n.conf"
        kernel_notify "$n" >"$LAB_DIR/notify-$n"
        chmod 700 "$LAB_DIR/notify-$n"
        kernel_keepalived_conf "$n" "$2" >"$LAB_DIR/keepalived-$n.conf"
        spawn "conntrackd$n" "${DUT[n]}" conntrackd -C "$LAB_DIR/conntrackd-$n.conf"
        wait_until 20 kernel_ctl "$n" -s || die "conntrackd $n: $(tail -n 5 "$LAB_DIR/logs/conntrackd$n.log")"
        # Says when an address came, to the microsecond.
        spawn "addresses$n" "${DUT[n]}" stdbuf -oL ip -ts monitor address
    done
    for n in 1 2; do
        keepalived_start "$n"
        wait_until 30 kernel_role_is "$n" "$([[ $n == 1 ]] && echo primary || echo backup)" ||
            die "keepalived $n: $(tail -n 20 "$LAB_DIR/logs/keepalived$n.log")"
    done
    wait_until 20 pair_passes || die "no packet passes the pair"
}

# kernel_chassis N: addresses, routes and rules of its kernel.
kernel_chassis() {
    local n=$1 dut=${DUT[$1]}
    set_sysctl "$dut" net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0 \
        net.ipv4.conf.dut-in.send_redirects=0 net.ipv4.conf.dut-out.send_redirects=0 \
        net.netfilter.nf_conntrack_events=1 net.netfilter.nf_conntrack_tcp_be_liberal=1 net.netfilter.nf_conntrack_tcp_loose=1 \
        net.netfilter.nf_conntrack_udp_timeout=300 net.netfilter.nf_conntrack_udp_timeout_stream=300 \
        net.netfilter.nf_conntrack_icmp_timeout=600 net.netfilter.nf_conntrack_tcp_timeout_established=7440
    ip -n "$(ns "$dut")" addr add "${KERNEL_IN[n]}/16" dev dut-in
    ip -n "$(ns "$dut")" addr add "${KERNEL_OUT[n]}/24" dev dut-out
    ip -n "$(ns "$dut")" route replace default via 192.0.2.1
    # What comes for the pool without a session ends here.
    ip -n "$(ns "$dut")" route replace blackhole 203.0.113.0/24
    # The tool at ref, as in chassis_start.
    ip -n "$(ns "$dut")" neigh replace 100.64.0.9 dev dut-in nud permanent lladdr "$(in_ns ref cat /sys/class/net/in0/address)"
    ip -n "$(ns "$dut")" neigh replace 192.0.2.9 dev dut-out nud permanent lladdr "$(in_ns ref cat /sys/class/net/out0/address)"
    ip -n "$(ns "$dut")" route replace 10.0.0.0/8 via 100.64.0.9
    ip -n "$(ns "$dut")" route replace 198.18.0.0/24 via 192.0.2.9
    in_ns "$dut" nft -f - <<'NFT'
table ip cgn {
    chain untracked_in { type filter hook prerouting priority raw; iifname "ha0" notrack; ip protocol vrrp notrack; }
    chain untracked_out { type filter hook output priority raw; oifname "ha0" notrack; ip protocol vrrp notrack; }
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state invalid drop
        ct state established,related accept
        iifname "dut-in" oifname "dut-out" accept
    }
    chain translate {
        type nat hook postrouting priority srcnat;
        iifname "dut-in" oifname "dut-out" snat to 203.0.113.0-203.0.113.127 persistent
    }
}
NFT
}

kernel_conntrackd_conf() {
    local n=$1 other=$((3 - $1)) max
    max=$(sysctl -n net.netfilter.nf_conntrack_max)
    cat <<CONF
Sync {
    Mode FTFW {
        ResendQueueSize $max
        PurgeTimeout 5
        ACKWindowSize 300
        DisableExternalCache no
    }
    UDP {
        IPv4_address ${HA4[n]}
        IPv4_Destination_Address ${HA4[other]}
        Port 3780
        Interface ha0
        SndSocketBuffer 33554432
        RcvSocketBuffer 33554432
        Checksum yes
    }
}
General {
    Systemd no
    HashSize $max
    HashLimit $((2 * max))
    LogFile $LAB_DIR/logs/conntrackd$n-file.log
    LockFile $LAB_DIR/conntrackd-$n.lock
    UNIX {
        Path $LAB_DIR/conntrackd-$n.ctl
    }
    NetlinkBufferSize 67108864
    NetlinkBufferSizeMaxGrowth 134217728
    NetlinkOverrunResync yes
    Scheduler {
        Type RR
        Priority 10
    }
    Filter From Kernelspace {
        Protocol Accept {
            TCP
            UDP
            ICMP
        }
        Address Ignore {
            IPv4_address 127.0.0.1
            IPv4_address 100.64.0.1
            IPv4_address 192.0.2.2
            IPv4_address ${KERNEL_IN[n]}
            IPv4_address ${KERNEL_OUT[n]}
            IPv4_address ${HA4[n]}
        }
    }
}
CONF
}
# kernel_ctl N OPTION: a command to the running conntrackd.
kernel_ctl() { in_ns "${DUT[$1]}" conntrackd -C "$LAB_DIR/conntrackd-$1.conf" "$2"; }

# What conntrackd's primary-backup script does, and a note of the role when it is taken: after the commit.
kernel_notify() {
    cat <<SH
#!/bin/sh
now() { date +%s.%N; }
control() { conntrackd -C "$LAB_DIR/conntrackd-$1.conf" "\$1" || echo "\$(now) conntrackd \$1 failed"; }
role() { echo "\$1" >"$LAB_DIR/role-$1.new" && mv "$LAB_DIR/role-$1.new" "$LAB_DIR/role-$1"; }
exec >>"$LAB_DIR/logs/notify$1.log" 2>&1
echo "\$(now) \$1"
case \$1 in
    primary) control -c; role primary; echo "\$(now) committed"; control -f; control -R; control -B ;;
    backup) role backup; control -t; control -n ;;
    fault) role fault; control -t ;;
esac
echo "\$(now) \$1: done"
SH
}

kernel_keepalived_conf() {
    local n=$1 interval
    interval=$(printf '%d.%03d' $(($2 / 1000)) $(($2 % 1000)))
    cat <<CONF
global_defs {
    router_id chassis-$n
    vrrp_version 3
    vrrp_garp_master_refresh 1
    vrrp_rt_priority 50
    vrrp_rlimit_rttime 2000000
    vrrp_no_swap
    script_user root
    enable_script_security
}
vrrp_sync_group cgn {
    group {
        inside
        outside
    }
    notify_master "$LAB_DIR/notify-$n primary"
    notify_backup "$LAB_DIR/notify-$n backup"
    notify_fault "$LAB_DIR/notify-$n fault"
}
vrrp_instance inside {
    state BACKUP
    nopreempt
    interface dut-in
    virtual_router_id 61
    priority ${KERNEL_PRIORITY[n]}
    advert_int $interval
    virtual_ipaddress {
        100.64.0.1/16 dev dut-in
    }
}
vrrp_instance outside {
    state BACKUP
    nopreempt
    interface dut-out
    virtual_router_id 62
    priority ${KERNEL_PRIORITY[n]}
    advert_int $interval
    virtual_ipaddress {
        192.0.2.2/24 dev dut-out
    }
}
CONF
}

kernel_role_is() { [[ $(cat "$LAB_DIR/role-$1" 2>/dev/null) == "$2" ]]; }
# kernel_cache N WHICH: how many sessions the cache `internal` or `external` of its conntrackd has.
kernel_cache() { kernel_ctl "$1" -s | awk -v which="$2:" '$1 == "cache" { here = $2 == which } here && /^current active/ { print $NF; exit }'; }

# contender_is_primary N: it has the role, and what the other one told is in its kernel.
contender_is_primary() { kernel_role_is "$1" primary; }
# contender_synced N SESSIONS: as the backup it was told all of that many, and has no session of its own in the way.
contender_synced() {
    kernel_role_is "$1" backup && (($(kernel_cache "$1" external) >= $2)) &&
        (($(in_ns "${DUT[$1]}" sysctl -n net.netfilter.nf_conntrack_count) < 100))
}
# Its VRRP advertisements.
contender_beats() { echo "${DUT[$1]} dut-in ${KERNEL_IN[$1]} 112"; }
# contender_kill N: the nearest thing to the death of a process: all of keepalived at once, the child first, which would release its addresses
# in peace when the parent dies.
contender_kill() {
    local parent vrrp
    read -r parent <"$LAB_DIR/keepalived-$1.pid"
    read -r vrrp <"$LAB_DIR/vrrp-$1.pid"
    AT=$EPOCHREALTIME
    kill -KILL "$vrrp" "$parent"
    stop_spawned "keepalived$1" KILL || true
}
# contender_restore N CASE: it is a backup again; when it knows all, contender_synced says.
contender_restore() {
    [[ $2 != process-death ]] || { rm -f "$LAB_DIR/role-$1" && keepalived_start "$1"; }
    wait_until 60 kernel_role_is "$1" backup
}
# contender_changes: a number that grows with each change of a role.
contender_changes() { cat "$LAB_DIR"/logs/notify[12].log | grep -cE ' (primary|backup|fault)$'; }
contender_logs() { tail -n 15 "$LAB_DIR"/logs/{keepalived,notify,conntrackd}[12]*.log; }
