# shellcheck shell=bash
# What every script here shares: where things are, how progress looks, how to wait for a condition.
# Sourced, never run.

SCRIPTS=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
REPO=$(cd "$SCRIPTS/.." && pwd)

# Colours only when a person is looking.
if [[ -t 1 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
    C_BOLD=$'\e[1m' C_DIM=$'\e[2m' C_GREEN=$'\e[32m' C_RED=$'\e[31m' C_YELLOW=$'\e[33m' C_OFF=$'\e[0m'
else
    C_BOLD='' C_DIM='' C_GREEN='' C_RED='' C_YELLOW='' C_OFF=''
fi

step() { printf '%s==>%s %s%s%s\n' "$C_GREEN" "$C_OFF" "$C_BOLD" "$*" "$C_OFF"; }
note() { printf '    %s%s%s\n' "$C_DIM" "$*" "$C_OFF"; }
warn() { printf '%swarning:%s %s\n' "$C_YELLOW" "$C_OFF" "$*" >&2; }
die() { printf '%serror:%s %s\n' "$C_RED" "$C_OFF" "$*" >&2; exit 1; }

need_root() {
    [[ $(id -u) -eq 0 ]] || die "$1 needs root (network namespaces, AF_XDP, taps): run it with sudo"
}

# wait_until SECONDS COMMAND...: runs COMMAND until it succeeds; fails when the bound has passed.
# Bounds are generous: they only decide how long a broken run takes, a good one goes on at once.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

# The start time of a process in clock ticks, empty when there is none. A pid alone names a process only
# until the number is used again; pid and start time name it for good.
process_start_time() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
    # The command name may hold spaces and brackets: cut behind the last one. Field 22 is then the 20th.
    # shellcheck disable=SC2086 # split into words on purpose
    set -- ${stat##*) }
    printf '%s' "${20:-}"
}

# process_alive PID START: true while that very process runs (a zombie does not).
process_alive() {
    [[ -n $2 && $(process_start_time "$1") == "$2" ]] || return 1
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    stat=${stat##*) }
    [[ ${stat%% *} != Z ]]
}

# cargo puts its output where the user says; ask it instead of guessing.
cargo_target_dir() {
    if [[ -n ${CARGO_TARGET_DIR:-} ]]; then
        printf '%s' "$CARGO_TARGET_DIR"
    else
        (cd "$REPO" && cargo metadata --no-deps --format-version 1 2>/dev/null) |
            python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"], end="")' 2>/dev/null ||
            printf '%s' "$REPO/target"
    fi
}
