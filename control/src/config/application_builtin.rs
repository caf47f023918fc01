//! The applications that every configuration has: well-known services by the names of the field.
//!
//! Ports are those of the IANA service name registry, except where a comment says what is usual instead.

/// ICMP, ICMPv6 and the protocols with ports.
pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMP6: u8 = 58;
pub(super) const SCTP: u8 = 132;

/// What a built-in application matches: a protocol, and destination ports or ICMP types, first and last.
pub(super) enum Part {
    /// Everything.
    Any,
    /// A protocol without more.
    Protocol(u8),
    /// Destination ports.
    Ports(u8, u16, u16),
    /// An ICMP type with all its codes.
    Icmp(u8, u8),
}

use Part::{Any, Icmp, Ports, Protocol};

/// Name and parts of each built-in application; more parts than one match any.
pub(super) const BUILT_IN: &[(&str, &[Part])] = &[
    ("any", &[Any]),
    ("any-tcp", &[Protocol(TCP)]),
    ("any-udp", &[Protocol(UDP)]),
    ("any-sctp", &[Protocol(SCTP)]),
    ("any-icmp", &[Protocol(ICMP)]),
    ("any-icmp6", &[Protocol(ICMP6)]),
    ("ah", &[Protocol(51)]),
    ("bgp", &[Ports(TCP, 179, 179)]),
    ("dhcp-client", &[Ports(UDP, 68, 68)]),
    ("dhcp-server", &[Ports(UDP, 67, 67)]),
    ("dhcpv6-server", &[Ports(UDP, 547, 547)]),
    ("dns", &[Ports(UDP, 53, 53), Ports(TCP, 53, 53)]),
    ("dns-tcp", &[Ports(TCP, 53, 53)]),
    ("dns-udp", &[Ports(UDP, 53, 53)]),
    ("dns-over-tls", &[Ports(TCP, 853, 853)]),
    ("esp", &[Protocol(50)]),
    ("ftp", &[Ports(TCP, 21, 21)]),
    ("gre", &[Protocol(47)]),
    ("http", &[Ports(TCP, 80, 80)]),
    ("http-alt", &[Ports(TCP, 8080, 8080)]),
    ("https", &[Ports(TCP, 443, 443)]),
    ("ike", &[Ports(UDP, 500, 500)]),
    ("ike-nat-t", &[Ports(UDP, 4500, 4500)]),
    ("imap", &[Ports(TCP, 143, 143)]),
    ("imaps", &[Ports(TCP, 993, 993)]),
    ("kerberos", &[Ports(TCP, 88, 88), Ports(UDP, 88, 88)]),
    ("ldap", &[Ports(TCP, 389, 389)]),
    ("ldaps", &[Ports(TCP, 636, 636)]),
    ("mqtt", &[Ports(TCP, 1883, 1883)]),
    ("mqtts", &[Ports(TCP, 8883, 8883)]),
    ("mysql", &[Ports(TCP, 3306, 3306)]),
    ("netconf-ssh", &[Ports(TCP, 830, 830)]),
    ("ntp", &[Ports(UDP, 123, 123)]),
    ("ping", &[Icmp(ICMP, 8)]),
    ("ping6", &[Icmp(ICMP6, 128)]),
    ("pop3", &[Ports(TCP, 110, 110)]),
    ("pop3s", &[Ports(TCP, 995, 995)]),
    ("postgresql", &[Ports(TCP, 5432, 5432)]),
    ("pptp", &[Ports(TCP, 1723, 1723)]),
    ("quic", &[Ports(UDP, 443, 443)]),
    ("radius", &[Ports(UDP, 1812, 1813)]),
    ("rdp", &[Ports(TCP, 3389, 3389), Ports(UDP, 3389, 3389)]),
    ("rtsp", &[Ports(TCP, 554, 554)]),
    ("sip", &[Ports(UDP, 5060, 5060), Ports(TCP, 5060, 5060)]),
    ("sips", &[Ports(TCP, 5061, 5061)]),
    ("smb", &[Ports(TCP, 445, 445)]),
    ("smtp", &[Ports(TCP, 25, 25)]),
    ("smtps", &[Ports(TCP, 465, 465)]),
    ("snmp", &[Ports(UDP, 161, 161)]),
    ("snmp-trap", &[Ports(UDP, 162, 162)]),
    ("ssh", &[Ports(TCP, 22, 22)]),
    ("stun", &[Ports(UDP, 3478, 3478), Ports(TCP, 3478, 3478)]),
    ("submission", &[Ports(TCP, 587, 587)]),
    ("syslog", &[Ports(UDP, 514, 514)]),
    ("tacacs", &[Ports(TCP, 49, 49)]),
    ("telnet", &[Ports(TCP, 23, 23)]),
    ("tftp", &[Ports(UDP, 69, 69)]),
    // The classic implementation begins at 33434 and takes one port more with each probe.
    ("traceroute", &[Ports(UDP, 33_434, 33_534)]),
    ("vnc", &[Ports(TCP, 5900, 5999)]),
    ("whois", &[Ports(TCP, 43, 43)]),
    ("wireguard", &[Ports(UDP, 51_820, 51_820)]),
];

/// Names of ICMP types. IANA ICMP parameters.
pub(super) const ICMP_TYPES: &[(&str, u8)] = &[
    ("echo-reply", 0),
    ("destination-unreachable", 3),
    ("redirect", 5),
    ("echo-request", 8),
    ("router-advertisement", 9),
    ("router-solicitation", 10),
    ("time-exceeded", 11),
    ("parameter-problem", 12),
    ("timestamp-request", 13),
    ("timestamp-reply", 14),
];

/// Names of ICMPv6 types. IANA ICMPv6 parameters.
pub(super) const ICMP6_TYPES: &[(&str, u8)] = &[
    ("destination-unreachable", 1),
    ("packet-too-big", 2),
    ("time-exceeded", 3),
    ("parameter-problem", 4),
    ("echo-request", 128),
    ("echo-reply", 129),
    ("router-solicitation", 133),
    ("router-advertisement", 134),
    ("neighbor-solicitation", 135),
    ("neighbor-advertisement", 136),
    ("redirect", 137),
];
