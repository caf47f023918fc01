#!/usr/bin/env bash
# Ten thousand TCP connections from two subscribers, all alive at once, every byte checked, and Tandem's table agrees.
# Alone: a burst of so many connections takes all the machine has.
source "$(dirname "$0")/../lib/labtest.sh"
MAX_SESSIONS=131072
lab_test_tandem
run_tool many_connections.py 5000 --count-sessions
finish
