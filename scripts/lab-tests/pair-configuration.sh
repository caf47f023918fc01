#!/usr/bin/env bash
# One configuration for two chassis, each with its own file in its own directory. What is committed here is in force there, and what
# one of both cannot take neither has; the peer's shared part is compared and pulled, and the local-only part of the file and its
# comments stay; the key of heartbeats is taken from the peer; sessions are cleared on both; and an operator whose other
# chassis is dead, or only not heard, reloads all the same.
source "$(dirname "$0")/../lib/labtest.sh"
source "$SCRIPTS/lib/lab6.sh"
source "$SCRIPTS/lib/pair.sh"

HEARTBEAT_MS=200
THRESHOLD=1
PAIR_MORE=$(pair_virtual_addresses)
lab_servers() { :; }
pair_up
for n in 1 2; do
    mkdir "$LAB_DIR/$n"
    mv "$LAB_DIR/chassis-$n".{toml,crt,key} "$LAB_DIR/$n/"
    cp "$LAB_DIR/pair.key" "$LAB_DIR/$n/"
    PAIR_FILE[n]=$LAB_DIR/$n/chassis-$n.toml
    sed -i 's/^\[redundancy\]$/# of chassis '"$n"'\n[redundancy]\npropagate-configuration = true/' "${PAIR_FILE[n]}"
    check "tandem check accepts the config of chassis $n" "$TANDEM" check "${PAIR_FILE[n]}"
done
rm "$LAB_DIR/pair.key"
pair_start

alike() { chassis "$1" show configuration compare; }
timeout_is() { grep -q "icmp-s = $2 " <(sed 's/}/ }/' "${PAIR_FILE[$1]}") || { grep icmp-s "${PAIR_FILE[$1]}"; return 1; }; }
# of N KEY: of its configuration in force.
of() { chassis "$1" show config --json | /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$2"; }
generation_is() { [[ $(of "$1" generation) == "$2" ]] || { of "$1" generation; return 1; }; }
# set_timeout N SECONDS: in its file.
set_timeout() { sed -i "s/icmp-s = [0-9]*/icmp-s = $2/" "${PAIR_FILE[$1]}"; }
# refused PATTERN COMMAND...: it ends with a failure and says so.
refused() {
    local out
    if out=$("${@:2}" 2>&1); then echo "not refused: $out"; return 1; fi
    grep -E -- "$1" <<<"$out" || { echo "$out"; return 1; }
}
says() { local out; out=$("${@:2}" 2>&1) && grep -E -- "$1" <<<"$out" || { echo "$out"; return 1; }; }

step "both are compared"
for n in 1 2; do check "chassis $n: alike" alike "$n"; done

step "a reload here is one there"
set_timeout 1 500
check "a file that is not loaded yet is named" says "This chassis' file has been changed" chassis 1 show configuration compare
check "it is applied on both" says "^at the peer, generation 2" chassis 1 reload
for n in 1 2; do check "chassis $n has it, in its file and in force" timeout_is "$n" 500; done
check "chassis 2 runs generation 2" generation_is 2 2
for own in '^# of chassis 2$' '^redundancy-local = "5.5.5.2"$' '^priority = 200$' '^certificate = "chassis-2.crt"$'; do
    check "of chassis 2 stays: $own" grep -n "$own" "${PAIR_FILE[2]}"
done
check "the file before is kept" grep -n "icmp-s = 600" "${PAIR_FILE[2]}.previous"
check "they are alike" alike 1
check "chassis 2 is the complete standby again" pair_wait_ready 2

step "what one cannot take, neither has"
# Chassis 2 has an interface of its own where chassis 1 is about to have a pool.
sed -i 's|^addresses = \["192.0.2.4/24"|addresses = ["203.0.113.129/32", "192.0.2.4/24"|' "${PAIR_FILE[2]}"
check "chassis 2 has it by itself" says "^applied" chassis 2 reload --local
cp "${PAIR_FILE[1]}" "$LAB_DIR/before.toml"
sed -i 's|prefixes = \["203.0.113.0/25"\]|prefixes = ["203.0.113.0/25", "203.0.113.128/30"]|' "${PAIR_FILE[1]}"
before=$(of 2 generation)
check "refused, and the fault is the peer's" refused "the peer's .*203\.0\.113" chassis 1 reload
check "chassis 1 runs what it ran" generation_is 1 2
check "so does chassis 2" generation_is 2 "$before"
check "its file is as it was" bash -c "! grep -n 203.0.113.128 '${PAIR_FILE[2]}'"
cp "$LAB_DIR/before.toml" "${PAIR_FILE[1]}"
sed -i 's/pool = "cgn"/pool = "nowhere"/' "${PAIR_FILE[1]}"
check "a fault of the file here is told here" refused "nowhere" chassis 1 reload
check "chassis 2 has not heard of it" generation_is 2 "$before"
cp "$LAB_DIR/before.toml" "${PAIR_FILE[1]}"

step "the peer's is pulled"
set_timeout 2 400
check "chassis 2 alone" says "^applied" chassis 2 reload --local
check "the difference is shown on chassis 1" refused "^\+service-sets.cgn.timeouts.icmp-s = 400" chassis 1 show configuration compare
check "what would be" says "It can be taken over" chassis 1 request configuration pull --dry-run
check "and nothing is changed" timeout_is 1 500
check "it is taken over" says "^taken over" chassis 1 request configuration pull
check "it is in the file" timeout_is 1 400
check "they are alike" alike 2
set_timeout 1 300
check "a file that was changed is not written over" refused "has been changed" chassis 1 request configuration pull
set_timeout 1 400

step "what the peer has already, and what it does not want"
check "it has it already, and nothing came of it there" says "^at the peer: it had the shared part already" chassis 1 reload
sed -i 's/^propagate-configuration = true$/propagate-configuration = false/' "${PAIR_FILE[2]}"
check "chassis 2 takes nothing from now on" says "^applied" chassis 2 reload --local
before=$(of 2 generation)
set_timeout 1 450
check "it refuses, and says why" refused "does not have propagate-configuration = true" chassis 1 reload
check "and runs what it ran" generation_is 2 "$before"
set_timeout 1 400
sed -i 's/^propagate-configuration = false$/propagate-configuration = true/' "${PAIR_FILE[2]}"
check "it takes again" says "^applied" chassis 2 reload --local
check "they are alike" alike 1

step "files"
check "alike" says "heartbeat-key +pair.key +alike" chassis 1 show configuration files
cp "$LAB_DIR/1/pair.key" "$LAB_DIR/old.key"
"$TANDEM" ha keygen --directory "$LAB_DIR" --name other >/dev/null
install -m 600 "$LAB_DIR/pair.key" "$LAB_DIR/2/pair.key"
check "another one there" refused "heartbeat-key +pair.key +differs" chassis 1 show configuration files
check "it is taken" says "heartbeat-key +pair.key +taken" chassis 1 request files synchronize
check "it is the same" cmp "$LAB_DIR/1/pair.key" "$LAB_DIR/2/pair.key"
mode_is_0600() { [[ $(stat -c %a:%U "$LAB_DIR/1/pair.key") == 600:root ]]; }
check "mode 0600" mode_is_0600
# Both run with the one they started with.
for n in 1 2; do install -m 600 "$LAB_DIR/old.key" "$LAB_DIR/$n/pair.key"; done
check "no private key went over" bash -c "[[ ! -e '$LAB_DIR/1/chassis-2.key' && ! -e '$LAB_DIR/2/chassis-1.key' ]]"

step "sessions are cleared on both"
count() { chassis "$1" show sessions --count | grep -oE '[0-9]+' | tail -n 1; }
for id in 1 2 3; do in_ns sub1 ping -c 1 -W 1 -e $((id + 100)) 192.0.2.1 >/dev/null || true; done
both_have() { (($(count 1) >= 3 && $(count 2) >= 3)) || { count 1; count 2; return 1; }; }
check "both have some" wait_until 20 both_have
check "each says what it did" says "sessions cleared at the peer" chassis 1 clear sessions --protocol icmp --cluster
none() { [[ $(chassis "$1" show sessions --protocol icmp --count | tail -n 1) == 0 ]]; }
for n in 1 2; do check "chassis $n has none" wait_until 10 none "$n"; done

step "clocks"
clock_is_shown() { chassis 1 show redundancy --json | /usr/bin/python3 -c 'import json, sys; ahead = json.load(sys.stdin)["heartbeats"][0]["clock-ahead-us"]; print(ahead); sys.exit(abs(ahead) > 1000000)'; }
check "the peer's is measured" clock_is_shown

step "the other chassis is not heard any more, as when its host has no power"
ip -n "$(ns dut2)" link set ha0 down
lost() { chassis 1 show redundancy --json | /usr/bin/python3 -c 'import json, sys; peer = json.load(sys.stdin)["heartbeats"][0]["peer"]; print(peer); sys.exit(peer != "lost")'; }
check "it is lost" wait_until 20 lost
set_timeout 1 360
check "a reload does not wait for what its connection looks like" says "not at the peer: the peer is lost" chassis 1 reload

step "the other chassis is dead"
chassis_stop 2 KILL
ip -n "$(ns dut2)" link set ha0 up
check "chassis 1 is primary" pair_role 1 primary
gone() { refused "not connected" chassis 1 show configuration compare; }
check "nobody is there to compare with" wait_until 20 gone
set_timeout 1 350
check "a reload is applied here, and says that it is nowhere else" says "not at the peer: the peer is " chassis 1 reload
check "a clear of both says that it was one" refused "on this chassis only" chassis 1 clear sessions --all --cluster
chassis_start 2 || exit 1
check "it comes back with what it had" wait_until 30 refused "icmp-s = 350" chassis 2 show configuration compare
check "and pulls what it missed" says "^taken over" chassis 2 request configuration pull
check "they are alike" alike 1
check "chassis 2 is the complete standby" pair_wait_ready 2
pair_finish
