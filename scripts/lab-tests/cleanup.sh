#!/usr/bin/env bash
# Kill and restart: a killed tandemd starts again by itself on the same ports, a stopped one detaches its XDP programs and
# takes its taps along, and after the lab nothing is left: no interface, namespace, XDP program, hugepage file or process.
# Alone: it counts the huge pages of the host.
source "$(dirname "$0")/../lib/labtest.sh"

# Everything on this host that a lab could leave behind. Other labs may run beside this one: only ours is looked at, and of
# the XDP programs those that were not there before and hang on no other lab's ports.
xdp_programs() { bpftool -j prog list 2>/dev/null | /usr/bin/python3 -c 'import json, sys; print(*sorted(p["id"] for p in json.load(sys.stdin) if p["type"] == "xdp"), sep="\n")'; }
attached() { ip -n "$(ns dut)" -d link show "$1" | sed -n 's/.*prog\/xdp id \([0-9]*\).*/\1/p'; }
has_program() { [[ -n $(attached "$1") ]]; }
has_no_program() { [[ -z $(attached "$1") ]]; }
has_no_taps() { ! ip -n "$(ns dut)" -o link show | grep -E ' (inside0|outside0)[:@]'; }
nothing_left() { [[ -z $(lab_leftovers) ]] || { lab_leftovers; return 1; }; }
programs_are_gone() {
    local id
    for id in $1; do ! xdp_programs | grep -qx "$id" || { echo "program $id is still loaded"; return 1; }; done
}

lab_test_tandem
check "traffic before" ping_all sub1 192.0.2.1 5
check "an XDP program is attached" has_program dut-in

tandem_stop KILL
check "after kill -9 its taps are gone" wait_until 10 has_no_taps
tandem_start || exit 1
check "after kill -9 and a restart traffic flows" ping_all sub1 192.0.2.1 5
check "and DNS" dns_query sub2

check "stops on SIGTERM" tandem_stop
check "after SIGTERM no XDP program is attached, inside" has_no_program dut-in
check "after SIGTERM no XDP program is attached, outside" has_no_program dut-out
check "after SIGTERM its taps are gone" has_no_taps
tandem_start || exit 1
check "starts again, traffic flows" ping_all sub2 192.0.2.1 5

# On hugepages: whatever ends tandemd, the pages are free again and no file holds one. Fewer pages than `auto` wants
# (memory-mb), so that no other lab takes them, and a mount of our own, so that there is a place for a file to be left.
huge_pages() { awk -v name="HugePages_$1:" '$1 == name { print $2 }' /proc/meminfo; }
all_huge_pages_free() { (($(huge_pages Free) >= huge_free)) || { grep ^HugePages_ /proc/meminfo; return 1; }; }
uses_huge_pages() { awk '$1 == "HugetlbPages:" { print $2, "kB"; used = $2 } END { exit used == 0 }' "/proc/$TANDEMD_PID/status"; }
no_huge_file() {
    local files
    files=$(awk '$3 == "hugetlbfs" { print $2 }' /proc/mounts | while read -r at; do find "$at" -name "${LAB_PREFIX}map_*"; done
        find "$huge_mount" -type f)
    [[ -z $files ]] || { echo "$files"; return 1; }
}
huge_restore() {
    umount "$huge_mount" 2>/dev/null || true
    rmdir "$huge_mount" 2>/dev/null || true
    sysctl -qw "vm.nr_hugepages=$huge_before" || true
}
huge_on_exit() {
    huge_restore
    lab_on_exit "$1"
}
check "stops before the run on hugepages" tandem_stop
huge_before=$(sysctl -n vm.nr_hugepages)
huge_mount=$(mktemp -d)
trap 'huge_on_exit $?' EXIT
mount -t hugetlbfs none "$huge_mount"
sysctl -qw vm.compact_memory=1 || true
huge_pages_are() { sysctl -qw "vm.nr_hugepages=$1" && [[ $(sysctl -n vm.nr_hugepages) == "$1" ]]; }
check "the kernel reserves 240 more hugepages" wait_until 20 huge_pages_are $((huge_before + 240))
huge_free=$(huge_pages Free)
HUGEPAGES=required write_config
for signal in KILL TERM; do
    tandem_start || exit 1
    check "SIG$signal on hugepages: it uses them" uses_huge_pages
    check "SIG$signal on hugepages: traffic flows before" ping_all sub1 192.0.2.1 5
    check "SIG$signal on hugepages: it ends" tandem_stop "$signal"
    check "SIG$signal on hugepages: no file in a hugetlbfs" no_huge_file
    check "SIG$signal on hugepages: the pages are free again" wait_until 20 all_huge_pages_free
done
huge_restore
lab_trap
write_config
tandem_start || exit 1

# A crash and then the end of the lab.
programs="$(attached dut-in) $(attached dut-out)"
tandem_stop KILL
mapfile -t ours < <(awk '{ print $1, $2 }' "$LAB_DIR/pids")
inodes=$(for host in "${LAB_HOSTS[@]}"; do stat -L -c 'net:[%i]' "/run/netns/$(ns "$host")"; done)
lab_down
check "after the lab nothing is left" nothing_left
check "its XDP programs are unloaded" wait_until 20 programs_are_gone "$programs"
processes_are_gone() { local p; for p in "${ours[@]}"; do ! process_alive "${p% *}" "${p#* }" || return 1; done; }
check "its processes are gone" processes_are_gone
# A namespace without a name, and the interfaces in it, live as long as a process is inside.
nobody_inside() { ! readlink /proc/[0-9]*/ns/net 2>/dev/null | grep -F "$inodes"; }
check "nothing holds its namespaces" wait_until 10 nobody_inside
check "taking it down again is fine" lab_down

# A lab that is told to end while it waits for what a tool says, and that has no config to keep.
kept=$(mktemp -d)
LAB_KEEP_LOGS="$kept" bash -c 'source "$0/lib/common.sh"; source "$0/lib/lab.sh"; set -e; lab_name "$1"; lab_trap
    lab_up; mkfifo "$LAB_DIR/never"; exec {never}<>"$LAB_DIR/never"; echo up >"$LAB_DIR/is-up"
    waits() { local line; while IFS= read -r -t 300 -u "$never" line; do :; done; }; waits' "$SCRIPTS" "$LAB_NAME" &
owner=$!
check "another lab is up" wait_until 120 test -e "$LAB_DIR/is-up"
mapfile -t ours < <(awk '{ print $1, $2 }' "$LAB_DIR/pids")
kill -TERM "$owner"
wait "$owner" || true
check "its logs are kept" test -e "$kept/nginx.log"
rm -rf "$kept"
check "ended, nothing is left of it" nothing_left
check "its processes are gone, too" processes_are_gone

# A lab whose owner is killed without a word: its watchdog takes it down.
bash -c 'source "$0/lib/common.sh"; source "$0/lib/lab.sh"; source "$0/lib/tandem.sh"; set -e; find_tandem; lab_name "$1"
    lab_up; write_config; tandem_start; echo up >"$LAB_DIR/is-up"; exec sleep 300' "$SCRIPTS" "$LAB_NAME" &
owner=$!
disown
check "one more is up" wait_until 120 test -e "$LAB_DIR/is-up"
kill -KILL "$owner"
check "its owner killed, nothing is left either" wait_until 60 nothing_left
((CHECKS_FAILED == 0))
