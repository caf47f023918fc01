#!/usr/bin/env bash
# What a scanner outside learns: nothing. nmap scans the pool's addresses, and with a firewall the hosts inside, with every kind of
# probe; tcpdump on the scanner's own cable sees not one packet come back. A static mapping shows that the scans do work.
source "$(dirname "$0")/../lib/labtest.sh"
source "$SCRIPTS/lib/lab6.sh"

lab_up
lab_ipv6
for h in srv srv2; do ip -n "$(ns "$h")" route add 100.64.0.0/16 via 192.0.2.2; done
for h in sub1 sub2; do
    for port in 22 80; do spawn "$h-$port" "$h" /usr/bin/python3 "$SCRIPTS/lab-tools/echo_server.py" --name "$h" :: "$port"; done
done
for want in "sub1 t 22" "sub1 t 80" "sub2 t 22" "sub2 t 80"; do
    # shellcheck disable=SC2086 # three words on purpose
    wait_until 30 listening $want || die "no server on ($want)"
done

# scan LABEL FAMILY PROBES TARGETS: runs nmap on srv2 and says what came back to it: `filtered` for nothing at all.
# The capture is of what arrives on the scanner's cable, neighbour discovery apart; it ends only after a packet that the
# scanner gets from its neighbour srv when nmap is done, so nothing that came before is missed.
scan() {
    local label=$1 family=$2 probes=$3 got rc=0
    shift 3
    local file="$LAB_DIR/$label.pcap"
    spawn "tcpdump-$label" srv2 tcpdump -i eth0 -Q in -U -n -w "$file" \
        'not arp and not (icmp6 and ip6[40] >= 130 and ip6[40] <= 137) and not ip6 multicast'
    wait_until 20 test -s "$file" || { echo "tcpdump did not start"; return 1; }
    # shellcheck disable=SC2086 # several options
    in_ns srv2 nmap "-$family" -n --disable-arp-ping --max-retries 0 --host-timeout 20s --min-rate 400 -T5 $probes "$@" >"$LAB_DIR/$label.nmap" 2>&1 ||
        { cat "$LAB_DIR/$label.nmap"; return 1; }
    in_ns srv2 ping -c 1 -W 5 192.0.2.1 >/dev/null
    wait_until 20 last_seen "$file" || { echo "the capture lost the last packet"; return 1; }
    stop_spawned "tcpdump-$label" INT
    got=$(in_ns srv2 tcpdump -n -r "$file" 'not src host 192.0.2.1' 2>/dev/null) || rc=$?
    ((rc == 0)) || { echo "tcpdump: $rc"; return 1; }
    printf '%s' "$got" >"$LAB_DIR/$label.came"
}
last_seen() { [[ -n $(in_ns srv2 tcpdump -n -r "$1" 'src host 192.0.2.1 and icmp[0] == 0' 2>/dev/null) ]]; }
nothing() {
    local label
    label=$(tr -c 'a-z0-9\n' - <<<"${*,,}" | cut -c 1-60)
    scan "$label" "$@" || return 1
    if [[ -s $LAB_DIR/$label.came ]]; then echo "$(wc -l <"$LAB_DIR/$label.came") packets came back:"; tail -n 5 "$LAB_DIR/$label.came"; return 1; fi
    if grep -E '^[0-9]+/(tcp|udp|sctp) +(open|closed|unfiltered) ' "$LAB_DIR/$label.nmap"; then return 1; fi
    grep -E 'Nmap done' "$LAB_DIR/$label.nmap" || { cat "$LAB_DIR/$label.nmap"; return 1; }
}
finds() { # finds PORT/PROTOCOL FAMILY PROBES TARGETS
    local label=control want=$1
    shift
    scan "$label" "$@" || return 1
    [[ -s $LAB_DIR/$label.came ]] && grep -E "^$want +open " "$LAB_DIR/$label.nmap" || { cat "$LAB_DIR/$label.nmap"; return 1; }
}

# Ports that are interesting, some high ones, and with -F nmap's own hundred.
TCP_PORTS='-p 1-30,53,80,443,1024-1100,8080,40000-40050,65535'
UDP_PORTS='-p 53,123,161,500,1024-1060,40000-40030'

# A NAT: its pool, with a subscriber's sessions in it, and one static mapping.
EXTRA_TOML='[[service-sets.cgn.static-mappings]]
name = "web"
inside = "100.64.0.3"
public = "203.0.113.40"
protocol = "tcp"
public-ports = 80
inside-ports = 80'
write_config
# Address- and port-dependent filtering: a mapping is open only to whom it talks.
sed -i 's/pool = "cgn" }/pool = "cgn", filtering-type = "address-and-port-dependent" }/' "$LAB_DIR/tandem.toml"
check "tandem check accepts the config" "$TANDEM" check "$LAB_DIR/tandem.toml"
tandem_start || exit 1
check "subscribers have sessions" curl_100m sub1
check "the scan of a static mapping finds its port" finds 80/tcp 4 "-Pn -sS -p 79-81" 203.0.113.40
check "NAT: SYN scan of the pool" nothing 4 "-Pn -sS $TCP_PORTS" 203.0.113.0/30
check "NAT: connect scan" nothing 4 "-Pn -sT -F" 203.0.113.1
check "NAT: UDP scan" nothing 4 "-Pn -sU $UDP_PORTS" 203.0.113.0/30
check "NAT: ACK scan" nothing 4 "-Pn -sA $TCP_PORTS" 203.0.113.0/30
check "NAT: FIN scan" nothing 4 "-Pn -sF -F" 203.0.113.1
check "NAT: Xmas scan" nothing 4 "-Pn -sX -F" 203.0.113.1
check "NAT: null scan" nothing 4 "-Pn -sN -F" 203.0.113.1
check "NAT: fragmented SYN scan" nothing 4 "-Pn -sS -f -F" 203.0.113.1
check "NAT: IP protocol scan" nothing 4 "-Pn -sO -p 0-255" 203.0.113.1
check "NAT: ping scan of the whole pool, every kind" nothing 4 "-sn -PE -PP -PM -PS22,80,443 -PA80 -PU40125" 203.0.113.0/28
check "NAT: the static mapping's other ports" nothing 4 "-Pn -sS -p 1-79,81-100" 203.0.113.40
check "stops on SIGTERM" tandem_stop

# A firewall without translation: hosts with servers on them.
{
    config_head
    cat <<'CONF'
[firewall-policies.from-outside]
[[firewall-policies.from-outside.policies]]
name = "web"
from = { destination-addresses = ["100.64.0.3/32", "2001:db8:0:1::3/128"], applications = ["http"] }
then = "permit"

[service-sets.office]
inside-interfaces = ["inside0"]
outside-interfaces = ["outside0"]

[service-sets.office.firewall]
inbound = ["from-outside"]
CONF
} >"$LAB_DIR/tandem.toml"
tandem_start || exit 1
check "IPv6 passes" wait_until 30 ping_all sub1 2001:db8:0:2::1 1
for family in 4 6; do
    ((family == 4)) && host1=100.64.0.2 host2=100.64.0.3 || { host1=2001:db8:0:1::2 host2=2001:db8:0:1::3; }
    check "firewall, IPv$family: the scan of a permitted port finds it" finds 80/tcp $family "-Pn -sS -p 79-81" "$host2"
    check "firewall, IPv$family: SYN scan" nothing $family "-Pn -sS $TCP_PORTS" "$host1"
    check "firewall, IPv$family: SYN scan of the server's other ports" nothing $family "-Pn -sS -p 1-79,81-100" "$host2"
    check "firewall, IPv$family: UDP scan" nothing $family "-Pn -sU $UDP_PORTS" "$host1"
    check "firewall, IPv$family: ACK scan" nothing $family "-Pn -sA $TCP_PORTS" "$host1"
    check "firewall, IPv$family: FIN scan" nothing $family "-Pn -sF -F" "$host1"
    check "firewall, IPv$family: ping scan" nothing $family "-sn -PE -PS22,80 -PA80 -PU40125" "$host1"
done
check "and traffic from inside flows" ping_all sub1 192.0.2.1 5
finish
