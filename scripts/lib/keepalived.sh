# shellcheck shell=bash
# keepalived in a namespace of the lab, VRRP alone. Sourced, after pair.sh.

# keepalived_start N: starts it on chassis N with keepalived-N.conf of the lab's folder. Its child, which does VRRP, has a pid file, too.
keepalived_start() {
    spawn "keepalived$1" "${DUT[$1]}" keepalived --dont-fork --log-console --log-detail --vrrp --use-file "$LAB_DIR/keepalived-$1.conf" \
        --pid "$LAB_DIR/keepalived-$1.pid" --vrrp_pid "$LAB_DIR/vrrp-$1.pid"
}
