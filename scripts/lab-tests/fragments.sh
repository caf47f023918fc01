#!/usr/bin/env bash
# Fragments both ways and in any order, over AF_XDP (AF_PACKET would reassemble them before we see them).
source "$(dirname "$0")/../lib/labtest.sh"
lab_test_tandem
check "ping of 3000 bytes, out and back" ping_all sub1 192.0.2.1 10 -s 3000
check "ping of 8000 bytes, out and back" ping_all sub2 192.0.2.1 10 -s 8000
check "ping of 3000 bytes to the box" ping_all sub1 100.64.0.1 5 -s 3000
run_tool fragments.py
finish
