#!/usr/bin/env bash
# No packet is lost that no counter names: what entered the box by wire and by tap is what left it plus every named drop,
# with the cables' own counters as witnesses.
# Alone: it sends as fast as it can, and counts.
source "$(dirname "$0")/../lib/labtest.sh"
lab_test_tandem
run_tool accounting.py
finish
