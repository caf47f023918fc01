#!/usr/bin/env bash
# A stateful firewall for both families without translation, with the programs of its users: what policies permit works whole,
# a reject is an error at once, a deny is silence, nobody comes in uninvited, and the counters say what was refused.
source "$(dirname "$0")/../lib/labtest.sh"
source "$SCRIPTS/lib/lab6.sh"
# Read by config_head: what crosses families or directions crosses workers, too.
export WORKERS=${WORKERS:-2}

lab_up
lab_ipv6
echo_servers6
# No NAT: the outside routes the inside addresses to the box.
for h in srv srv2; do ip -n "$(ns "$h")" route add 100.64.0.0/16 via 192.0.2.2; done
# Servers that policies keep apart: mail outside; web, SSH's port and ident inside, on sub2 and on sub1.
tools="$SCRIPTS/lab-tools"
for port in 22 25; do spawn "out-$port" srv /usr/bin/python3 "$tools/echo_server.py" --name srv :: "$port"; done
for h in sub1 sub2; do
    for port in 22 80 113; do spawn "$h-$port" "$h" /usr/bin/python3 "$tools/echo_server.py" --name "$h" :: "$port"; done
done
for want in "srv t 22" "srv t 25" "sub1 t 22" "sub1 t 80" "sub2 t 80" "sub2 t 113"; do
    # shellcheck disable=SC2086 # three words on purpose
    wait_until 30 listening $want || die "no server on ($want)"
done

# write_firewall FILE OUTBOUND-APPLICATIONS: the config, in which the list of what may go out changes.
write_firewall() {
    {
        config_head
        cat <<CONF
[applications.echo]
protocol = "tcp"
destination-ports = [7]
[applications.echo-udp]
protocol = "udp"
destination-ports = [7]
[applications.iperf]
protocol = "tcp"
destination-ports = ["5201-5202"]
[applications.ident]
protocol = "tcp"
destination-ports = [113]

[address-books.servers]
prefixes = ["100.64.0.3/32", "2001:db8:0:1::3/128"]

[firewall-policies.from-inside]
[[firewall-policies.from-inside.policies]]
name = "no-mail"
from = { applications = ["smtp", "snmp"] }
then = "reject"
[[firewall-policies.from-inside.policies]]
name = "permitted"
from = { applications = [$2] }
then = "permit"

[firewall-policies.from-outside]
[[firewall-policies.from-outside.policies]]
name = "ident"
from = { applications = ["ident"] }
then = "reject"
[[firewall-policies.from-outside.policies]]
name = "web"
from = { destination-addresses = ["servers"], applications = ["http", "ping", "ping6"] }
then = "permit"

[service-sets.office]
inside-interfaces = ["inside0"]
outside-interfaces = ["outside0"]

[service-sets.office.firewall]
outbound = ["from-inside"]
outbound-default = "deny"
inbound = ["from-outside"]
inbound-default = "deny"

[service-sets.office.tcp]
window-tracking = true
CONF
    } >"$1"
}
write_firewall "$LAB_DIR/tandem.toml" '"http", "dns", "ping", "ping6", "traceroute", "echo", "echo-udp", "iperf"'
check "tandem check accepts the config" "$TANDEM" check "$LAB_DIR/tandem.toml"
tandem_start || exit 1
check "IPv6 passes" wait_until 30 ping_all sub1 2001:db8:0:2::1 1

# whole FAMILY ADDRESS: a long download.
whole() {
    local got
    got=$(in_ns sub1 bash -o pipefail -c "curl -sSf -m 60 -Y 100000 -y 5 'http://$1/100m.bin' | sha256sum") || { echo "$got"; return 1; }
    [[ ${got%% *} == "$(<"$LAB_DIR/100m.sha256")" ]] || { echo "sha256 ${got%% *}"; return 1; }
    echo "104857600 bytes, sha256 equal"
}
untranslated() {
    local who
    who=$(in_ns sub1 curl -sSf -m 20 "http://$1/whoami") || return 1
    [[ $who == "$2 "* ]] || { echo "the server sees $who"; return 1; }
    echo "the server sees ${who/ / port }"
}
# connects HOST ADDRESS PORT: and hears the echo server there say who asks.
connects() {
    local answer
    answer=$(printf 'who?\n' | in_ns "$1" nc -n -q 1 -w 10 "$2" "$3") || { echo "no connection"; return 1; }
    [[ -n $answer ]] || { echo "no answer"; return 1; }
    echo "$answer"
}
# refused HOST ADDRESS PORT: at once, by a RST, though there is a server.
refused() {
    local out rc=0 from=$EPOCHREALTIME ms
    out=$(in_ns "$1" nc -n -v -z -w 10 "$2" "$3" 2>&1) || rc=$?
    ms=$(((${EPOCHREALTIME//[.,]/} - ${from//[.,]/}) / 1000))
    ((rc != 0 && ms < 2000)) && grep -qi refused <<<"$out" || { echo "status $rc after $ms ms: $out"; return 1; }
    echo "after $ms ms"
}
# silent HOST ADDRESS PORT: nothing comes back, no error either.
silent() {
    local out rc=0
    out=$(in_ns "$1" nc -n -v -z -w 1 "$2" "$3" 2>&1) || rc=$?
    ((rc != 0)) && grep -qi "timed out" <<<"$out" || { echo "status $rc: $out"; return 1; }
}
no_ping() { ! in_ns "$1" ping -n -c 2 -i 0.2 -W 1 "$2"; }
udp_prohibited() { # the kernel tells a connected UDP socket of ICMP administratively prohibited
    local out
    out=$(in_ns "$1" /usr/bin/python3 -c '
import socket, sys
sock = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(5)
sock.connect((sys.argv[1], 161))
sock.send(b"public")
try:
    sock.recv(10)
except TimeoutError:
    print("no error came")
except OSError as error:
    print(error.strerror)' "$2")
    [[ $out == "No route to host" || $out == "Permission denied" ]] || { echo "$out"; return 1; }
    echo "the sender hears: $out"
}

for family in 4 6; do
    if ((family == 4)); then
        srv=192.0.2.1 url=192.0.2.1 sub1=100.64.0.2 sub2=100.64.0.3 far=198.51.100.10
        way="100.64.0.1 > 192.0.2.1 > 198.51.100.10"
    else
        srv=2001:db8:0:2::1 url="[2001:db8:0:2::1]" sub1=2001:db8:0:1::2 sub2=2001:db8:0:1::3 far=2001:db8:0:f::10
        way="2001:db8:0:1::1 > 2001:db8:0:2::1 > 2001:db8:0:f::10"
    fi
    check "IPv$family: ping out" ping_all sub1 $srv 10
    check "IPv$family: ping of 3000 bytes out" ping_all sub1 $srv 3 -s 3000
    check "IPv$family: curl of 100 MiB arrives intact" whole $url
    check "IPv$family: addresses stay as they are" untranslated $url $sub1
    check "IPv$family: iperf3 up" in_ns sub1 iperf3 -c $srv -p 5201 -t 1
    check "IPv$family: traceroute over UDP" hops_are sub1 "$way" -$family $far
    check "IPv$family: traceroute over ICMP" hops_are sub1 "$way" -$family -I $far
    check "IPv$family: reject is refused at once" refused sub1 $srv 25
    check "IPv$family: reject of UDP is prohibited at once" udp_prohibited sub1 $srv
    check "IPv$family: no policy is silence" silent sub1 $srv 22
    check "IPv$family: in to the web server" connects srv $sub2 80
    check "IPv$family: in to another host's web server" silent srv $sub1 80
    check "IPv$family: in to another port" silent srv $sub2 22
    check "IPv$family: ident is refused at once" refused srv $sub1 113
    check "IPv$family: ping in to the server" ping_all srv $sub2 5
    check "IPv$family: no ping in to another host" no_ping srv $sub1
done

counted() { # counted NAME MINIMUM
    local total
    total=$(tandem show drops --json | /usr/bin/python3 -c '
import json, sys
body = json.load(sys.stdin)
rows = body["rows"] if isinstance(body, dict) else body
print(sum(row["total"] for row in rows if row["name"] == sys.argv[1]))' "$1") || return 1
    ((total >= $2)) || { echo "$total, want at least $2"; return 1; }
    echo "$total"
}
check "drops by reject are counted" counted firewall-rejected 6
check "drops by default are counted" counted firewall-default 10
hits() { # hits POLICY MINIMUM
    local row
    row=$(tandem show policies | grep -F "$1") || { echo "no such policy is shown"; return 1; }
    tandem show policies --json | /usr/bin/python3 -c '
import json, sys
hits = [row["hits"] for row in json.load(sys.stdin)["rows"] if row["policy"] == sys.argv[1]]
sys.exit(None if hits and hits[0] >= int(sys.argv[2]) else f"hits {hits}")' "$1" "$2" || return 1
    echo "$row"
}
check "hits of a rejecting policy" hits from-inside/no-mail 4
check "hits of a permitting policy" hits from-inside/permitted 10
check "hits of a policy inbound" hits from-outside/web 4
# default_hits DIRECTION: as the table for people has them, of the one service set.
default_hits() { tandem show policies | awk -v d="$1" '$2 == d && $NF == "(default)" { print $6 }'; }
# default_rises DIRECTION FROM ADDRESS PORT: nobody answers there, and the default's hits say so.
default_rises() {
    local before after
    before=$(default_hits "$1") && silent "$2" "$3" "$4" && after=$(default_hits "$1") || return 1
    [[ $before =~ ^[0-9]+$ && $after =~ ^[0-9]+$ ]] || { echo "hits '$before', then '$after'"; return 1; }
    ((after > before)) || { echo "$before, then still $after"; return 1; }
    echo "$before, then $after"
}
check "hits of a default outbound rise" default_rises outbound sub1 192.0.2.1 22
check "hits of a default inbound rise" default_rises inbound srv 2001:db8:0:1::3 22

write_firewall "$LAB_DIR/narrow.toml" '"http", "ping", "ping6"'
run_tool firewall.py "$TANDEM" "$LAB_DIR/narrow.toml"
finish
