#!/usr/bin/env bash
# The firewall's verdicts are those of nftables with conntrack: the cases of lab-tools/agreement.txt, each packet sent to
# both. Here are the policies, once in each language.
source "$(dirname "$0")/../lib/labtest.sh"
source "$SCRIPTS/lib/lab6.sh"
source "$SCRIPTS/lib/twin.sh"

lab_up
twin_topology
twin_routes ref
twin_neighbours ref to-ref to-ref
# Sessions begin with a SYN, as by default in Tandem.
set_sysctl ref net.netfilter.nf_conntrack_tcp_loose=0 net.netfilter.nf_conntrack_checksum=1
in_ns ref nft -f - <<'NFT'
table inet firewall {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state invalid drop
        ct state established,related accept
        iifname inside0 oifname outside0 jump outbound
        iifname outside0 oifname inside0 jump inbound
    }
    chain outbound {
        tcp dport 25 reject with tcp reset
        udp dport 161 reject with icmpx admin-prohibited
        meta l4proto 99 reject with icmpx admin-prohibited
        ip daddr 198.19.0.0/16 drop
        ip6 daddr 2001:db8:19::/48 drop
        tcp dport { 53, 80, 443, 9000-9010 } accept
        udp dport 53 accept
        udp sport 3000-3999 udp dport 2000-2999 accept
        icmp type echo-request accept
        icmpv6 type echo-request accept
        meta l4proto 47 accept
    }
    chain inbound {
        tcp dport 113 reject with tcp reset
        udp dport 33434-33534 reject with icmpx admin-prohibited
        ip saddr 198.20.0.0/16 drop
        ip6 saddr 2001:db8:20::/48 drop
        ip daddr 10.2.0.0/16 jump servers
        ip6 daddr 2001:db8:1002::/48 jump servers
    }
    chain servers {
        tcp dport { 80, 443 } accept
        udp dport 5000-5009 accept
        icmp type echo-request accept
        icmpv6 type echo-request accept
        meta l4proto 50 accept
    }
}
NFT
{
    config_head
    cat <<'CONF'
[applications.high]
protocol = "tcp"
destination-ports = ["9000-9010"]
[applications.by-source]
protocol = "udp"
source-ports = ["3000-3999"]
destination-ports = ["2000-2999"]
[applications.proto-99]
protocol = 99
[applications.ident]
protocol = "tcp"
destination-ports = [113]
[applications.game]
protocol = "udp"
destination-ports = ["5000-5009"]

[address-books.servers]
prefixes = ["10.2.0.0/16", "2001:db8:1002::/48"]
[address-books.blocked]
prefixes = ["198.19.0.0/16", "2001:db8:19::/48"]
[address-books.hostile]
prefixes = ["198.20.0.0/16", "2001:db8:20::/48"]

[firewall-policies.outbound]
[[firewall-policies.outbound.policies]]
name = "refused"
from = { applications = ["smtp", "snmp", "proto-99"] }
then = "reject"
[[firewall-policies.outbound.policies]]
name = "blocked"
from = { destination-addresses = ["blocked"] }
then = "deny"
[[firewall-policies.outbound.policies]]
name = "permitted"
from = { applications = ["dns", "http", "https", "high", "by-source", "ping", "ping6", "gre"] }
then = "permit"

[firewall-policies.inbound]
[[firewall-policies.inbound.policies]]
name = "refused"
from = { applications = ["ident", "traceroute"] }
then = "reject"
[[firewall-policies.inbound.policies]]
name = "hostile"
from = { source-addresses = ["hostile"] }
then = "deny"
[[firewall-policies.inbound.policies]]
name = "servers"
from = { destination-addresses = ["servers"], applications = ["http", "https", "game", "ping", "ping6", "esp"] }
then = "permit"

[service-sets.office]
inside-interfaces = ["inside0"]
outside-interfaces = ["outside0"]

[service-sets.office.firewall]
outbound = ["outbound"]
outbound-default = "deny"
inbound = ["inbound"]
inbound-default = "deny"

[service-sets.office.tcp]
window-tracking = true
CONF
} >"$LAB_DIR/tandem.toml"
check "tandem check accepts the config" "$TANDEM" check "$LAB_DIR/tandem.toml"
tandem_start || exit 1
run_tool agreement.py
finish
