# shellcheck shell=bash
# What every script in lab-tests/ begins with. Sourcing it makes a lab of that test's name that goes when the script ends;
# `lab_test_tandem` starts Tandem in it. Checks print `ok` or `FAIL`; the exit status says whether all held.

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
source "$SCRIPTS/lib/lab.sh"
source "$SCRIPTS/lib/tandem.sh"
source "$SCRIPTS/lib/checks.sh"

need_root "a lab test"
find_tandem
LAB_MINUTES=${LAB_TEST_MINUTES:-15}
test_name=$(basename "$0" .sh)
lab_name "${test_name:0:20}-$$"
lab_trap

# lab_test_tandem: the lab with its servers, and Tandem with the config of the moment (see write_config).
lab_test_tandem() {
    lab_up
    write_config
    tandem_start || exit 1
}

# run_tool TOOL ARGS...: a helper program that prints its own checks.
run_tool() { tool "$@" || CHECKS_FAILED=$((CHECKS_FAILED + 1)); }

# The last line of a test.
finish() {
    tandem_alive || { echo "FAIL tandemd is gone; the end of its log:"; tail -n 40 "$LAB_DIR/logs/tandemd.log"; exit 1; }
    if grep -n "panicked at" "$LAB_DIR/logs/tandemd.log"; then echo "FAIL a thread of tandemd panicked"; exit 1; fi
    ((CHECKS_FAILED == 0))
}
