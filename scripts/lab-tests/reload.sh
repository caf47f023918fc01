#!/usr/bin/env bash
# A reload by SIGHUP, with a good file and with bad ones, while connections run: nothing established is touched, no public
# tuple gets a second owner, and a bad file changes nothing and says so.
source "$(dirname "$0")/../lib/labtest.sh"
lab_test_tandem
run_tool reload.py
finish
