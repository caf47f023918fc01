#!/usr/bin/env bash
# scripts/bind-nic against a made-up machine: a sysfs tree in a temporary folder, and a driver core that is a loop of this script,
# because writing to a plain file binds nothing. Touches no real device.
set -euo pipefail
source "$(dirname "$0")/../lib/common.sh"
source "$SCRIPTS/lib/checks.sh"

root=$(mktemp -d)
core=''
stop() { [[ -z $core ]] || kill "$core" 2>/dev/null || true; rm -rf "$root"; }
trap stop EXIT
trap 'exit 143' INT TERM HUP
export SYSFS_ROOT=$root IP_COMMAND=$root/ip

# A card: ADDRESS CLASS DRIVER GROUP INTERFACE; `-` for none.
card() {
    local dir=$root/bus/pci/devices/$1
    mkdir -p "$dir" "$root/class/net"
    echo "$2" >"$dir/class"
    echo 0x8086 >"$dir/vendor"
    echo 0x1572 >"$dir/device"
    : >"$dir/driver_override"
    echo "$3" >"$dir/native-driver"
    if [[ $3 != - ]]; then ln -s "../../drivers/$3" "$dir/driver"; fi
    if [[ $4 != - ]]; then
        mkdir -p "$root/kernel/iommu_groups/$4/devices"
        ln -s "../../../../kernel/iommu_groups/$4" "$dir/iommu_group"
        ln -s "$dir" "$root/kernel/iommu_groups/$4/devices/$1"
    fi
    if [[ $5 != - ]]; then mkdir -p "$dir/net/$5" "$root/class/net/$5"; fi
}
for driver in i40e ixgbe vfio-pci pcieport; do
    mkdir -p "$root/bus/pci/drivers/$driver"
    mkfifo "$root/bus/pci/drivers/$driver/unbind"
done
mkfifo "$root/bus/pci/drivers_probe"
mkdir -p "$root/module/vfio/parameters"
echo N >"$root/module/vfio/parameters/enable_unsafe_noiommu_mode"
card 0000:3b:00.0 0x020000 i40e 10 ens1
card 0000:3b:00.1 0x020000 i40e 11 ens2
card 0000:5e:00.0 0x020000 ixgbe 12 ens3
card 0000:5e:00.1 0x020000 ixgbe 12 ens4
card 0000:00:05.0 0x020000 ixgbe - ens5
card 0000:00:1f.2 0x010601 ixgbe 13 -
card 0000:af:00.0 0x020000 i40e 14 ens6
card 0000:00:06.0 0x020000 ixgbe 15 -
mkdir -p "$root/bus/pci/devices/0000:00:06.0/virtio0/net/ens1"
mkdir -p "$root/class/net/br0"
ln -s ../br0 "$root/class/net/ens6/master"

# `ip` of that machine: ens1 has the default route and an address.
cat >"$root/ip" <<'IP'
#!/bin/sh
case "$*" in
    "-o route show default") echo "default via 10.0.0.1 dev ens1 proto static" ;;
    "-o addr show dev ens1 scope global") echo "2: ens1    inet 10.0.0.5/24 scope global ens1" ;;
esac
IP
chmod +x "$root/ip"

# The driver core: what the kernel does on a write to `unbind` and `drivers_probe`, told by the pipes those are here. The pipes
# are opened for reading and writing, so a writer does not wait.
cd "$root/bus/pci"
(
    exec 3<>drivers_probe 4<>drivers/i40e/unbind 5<>drivers/ixgbe/unbind 6<>drivers/vfio-pci/unbind
    while :; do
        # Looked at first, and then read without a bound: a bound that ends in the middle of an address would lose it.
        for fd in 4 5 6; do
            if read -t 0 -u "$fd"; then
                read -r -N 12 -u "$fd" address
                rm -f "devices/$address/driver"
            fi
        done
        if ! read -t 0 -u 3; then
            sleep 0.01
        else
            read -r -N 12 -u 3 address
            driver=$(tr -d '\n' <"devices/$address/driver_override")
            ln -sfn "../../drivers/${driver:-$(<"devices/$address/native-driver")}" "devices/$address/driver"
        fi
    done
) &
core=$!
cd "$REPO"

bind_nic() { "$SCRIPTS/bind-nic" "$@"; }
driver_is() { [[ $(basename "$(readlink "$root/bus/pci/devices/$1/driver")") == "$2" ]]; }
refuses() { # refuses WORDS ARGS...: fails, and says why
    local words=$1 out
    shift
    if out=$(bind_nic "$@" 2>&1); then echo "accepted: $out"; return 1; fi
    grep -qF -- "$words" <<<"$out" || { echo "said: $out"; return 1; }
}
lists() { bind_nic list | grep -F -- "$1" | grep -F -- "$2"; }
does_not_list() { ! bind_nic list | grep -F -- "$1"; }

check "lists a free card" lists 0000:3b:00.1 "ens2 (free)"
check "lists why a card is in use" lists 0000:3b:00.0 "default route"
check "lists no disk controller" does_not_list 0000:00:1f.2
check "refuses the card with the default route" refuses "ens1 carries the default route" bind 0000:3b:00.0
check "names its address too" refuses "10.0.0.5/24" bind 0000:3b:00.0
check "leaves it alone" driver_is 0000:3b:00.0 i40e
check "refuses a bridge's port" refuses "part of br0" bind af:00.0
check "refuses a disk controller" refuses "no network card" bind 0000:00:1f.2
check "refuses what is no address" refuses "no PCI address" bind ens2
check "refuses an unknown address" refuses "no PCI device" bind 0000:ff:00.0
check "refuses a shared IOMMU group" refuses "0000:5e:00.1 (ixgbe)" bind 5e:00.0
check "refuses without an IOMMU, saying what to do" refuses "enable_unsafe_noiommu_mode" bind 00:05.0

check "binds a free card" bind_nic bind 3b:00.1
check "it is with vfio-pci" driver_is 0000:3b:00.1 vfio-pci
check "binding again is fine" bind_nic bind 3b:00.1
check "gives it back to its own driver" bind_nic unbind 3b:00.1
check "it is with i40e" driver_is 0000:3b:00.1 i40e
check "gives a card to a named driver" bind_nic unbind 3b:00.1 ixgbe
check "it is with ixgbe" driver_is 0000:3b:00.1 ixgbe
check "binds the card in use when forced" bind_nic bind --force 0000:3b:00.0
check "it is with vfio-pci, too" driver_is 0000:3b:00.0 vfio-pci
echo Y >"$root/module/vfio/parameters/enable_unsafe_noiommu_mode"
check "binds without an IOMMU when the kernel was told to" bind_nic bind 00:05.0
check "refuses the virtio card with the default route" refuses "carries the default route" bind 00:06.0
((CHECKS_FAILED == 0))
