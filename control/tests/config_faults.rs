//! Every fault is told, with line, key path and what would be right, in one run.

use std::path::Path;

use tandem_control::config::{self, Fault, FaultKind};

fn faults(text: &str) -> Vec<Fault> {
    match config::parse(text, "t.toml") {
        Ok(_) => Vec::new(),
        Err(faults) => faults,
    }
}

/// The lines of `text` that say `# N ...` with their numbers.
fn marked(text: &str) -> Vec<u32> {
    let marks = |line: &str| {
        line.rsplit_once("# ").is_some_and(|(before, mark)| {
            !before.trim().is_empty()
                && mark
                    .split(' ')
                    .next()
                    .is_some_and(|word| word.parse::<u32>().is_ok())
        })
    };
    (1..)
        .zip(text.lines())
        .filter(|(_, line)| marks(line))
        .map(|(number, _)| number)
        .collect()
}

#[test]
fn twenty_faults_are_twenty_clear_errors_in_one_run() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/twenty_faults.toml");
    let text = std::fs::read_to_string(&path).expect("readable");
    let found = config::load(&path).expect_err("it has faults");
    let wanted = [
        ("system.name", "cannot be a name"),
        ("dpdk.hugepages", "use one of \"auto\", \"required\", \"never\""),
        ("dpdk.memory-mb", "use an integer 64..=1048576"),
        ("dpdk.memory-gb", "did you mean \"memory-mb\"?"),
        ("workers.cores[1]", "CPU 1 is listed twice"),
        ("api.listen", "add token-file"),
        ("interfaces.inside.mtu", "576..=9000"),
        ("interfaces.outside.device", "interfaces.inside.device (line 18)"),
        ("interfaces.outside.tap", "interfaces.inside (line 17)"),
        ("interfaces.lost.parent", "did you mean \"outside\"?"),
        ("pools.a.prefixes[1]", "use \"203.0.113.64/26\""),
        ("pools.a.port-range", "use \"1024-65535\""),
        ("pools.b.ranges[0]", "pools.a.prefixes[0] (line 32)"),
        ("pools.b.port-block-allocation.block-size", "use 64 or 128"),
        ("pools.c", "the pool is empty"),
        (
            "nat-rules.subscribers.terms[0].from.source-addresses[0]",
            "use 0..=32",
        ),
        (
            "nat-rules.subscribers.terms[0].then.pool",
            "there is no pool \"aa\"",
        ),
        (
            "service-sets.cgn.outside-interfaces[1]",
            "service-sets.cgn.inside-interfaces[0] (line 50)",
        ),
        ("service-sets.cgn.nat-rules[0]", "did you mean \"subscribers\"?"),
        ("service-sets.cgn.timeouts.udp-s", "RFC 4787 REQ-5"),
    ];
    let lines = marked(&text);
    assert_eq!(lines.len(), 20);
    let told: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 20, "{told:#?}");
    for ((fault, line), (path, part)) in found.iter().zip(lines).zip(wanted) {
        assert_eq!((fault.line, fault.path.as_str()), (line, path), "{told:#?}");
        let text = fault.to_string();
        assert!(text.contains(part), "{part} is not in {text}");
        assert!(
            text.contains(&format!("twenty_faults.toml:{line}:{}: {path}: ", fault.column)),
            "{text}"
        );
        assert!(fault.column > 0 && !fault.remedy.is_empty());
    }
}

const BASE: &str = r#"[interfaces.in]
device = "net_ring0"
addresses = ["10.0.0.1/24"]
[interfaces.out]
device = "net_ring1"
addresses = ["192.0.2.1/24"]
[pools.a]
prefixes = ["203.0.113.0/28"]
[nat-rules.r]
[[nat-rules.r.terms]]
name = "t"
then = { translation-type = "napt-44", pool = "a" }
[service-sets.s]
inside-interfaces = ["in"]
outside-interfaces = ["out"]
nat-rules = ["r"]
"#;

#[test]
fn each_contradiction_is_told_where_it_stands() {
    assert_eq!(faults(BASE), []);
    // What is replaced in BASE, by what, and the line, path and text of the one fault that comes of it.
    let cases: &[(&str, &str, u32, &str, &str)] = &[
        (
            "net_ring1\"",
            "net_ring1\"\n[interfaces.card]\ndevice = \"3b:00.0\"\n[interfaces.bond]\ndevice = \"net_bonding0,mode=4,slave=3b:00.0\"",
            9,
            "interfaces.bond.device",
            "0000:3b:00.0 is used twice: also by interfaces.card.device (line 7)",
        ),
        (
            "[pools.a]",
            "[pools.a]\ninterface = \"out\"",
            8,
            "pools.a.interface",
            "stands beside",
        ),
        (
            "prefixes = [\"203.0.113.0/28\"]",
            "interface = \"outt\"",
            8,
            "pools.a.interface",
            "did you mean \"out\"?",
        ),
        (
            "203.0.113.0/28",
            "192.0.2.0/28",
            8,
            "pools.a.prefixes[0]",
            "192.0.2.1, which is the address in interfaces.out.addresses (line 6)",
        ),
        (
            "203.0.113.0/28",
            "2001:db8::/64",
            8,
            "pools.a.prefixes[0]",
            "only IPv4 stands here",
        ),
        (
            "203.0.113.0/28",
            "203.0.113.7",
            8,
            "pools.a.prefixes[0]",
            "use \"203.0.113.7/32\"",
        ),
        (
            "203.0.113.0/28",
            "239.0.0.0/8",
            8,
            "pools.a.prefixes[0]",
            "multicast",
        ),
        (
            "203.0.113.0/28",
            "16.0.0.0/8",
            7,
            "pools",
            "16777216 addresses together",
        ),
        (
            "[\"203.0.113.0/28\"]",
            "\"203.0.113.0/28\"",
            8,
            "pools.a.prefixes",
            "is a string",
        ),
        (
            "[\"203.0.113.0/28\"]",
            "[\"203.0.113.0/28\"]\nport-range = \"0-100\"",
            9,
            "pools.a.port-range",
            "\"0\" is not a port",
        ),
        (
            "[\"203.0.113.0/28\"]",
            "[\"203.0.113.0/28\"]\nport-range = \"2000-2100\"\nport-block-allocation = { block-size = 128 }",
            10,
            "pools.a.port-block-allocation.block-size",
            "pools.a.port-range 2000-2100 (line 9)",
        ),
        (
            "[\"203.0.113.0/28\"]",
            "[\"203.0.113.0/28\"]\nport-block-allocation = { block-size = 8192 }",
            9,
            "pools.a.port-block-allocation.block-size",
            "64..=4096",
        ),
        (
            "net_ring1",
            "net_af_packet0",
            5,
            "interfaces.out.device",
            "use \"net_af_packet0,iface=NETDEV\"",
        ),
        (
            "net_ring1",
            "0000:3b:00.9",
            5,
            "interfaces.out.device",
            "is not a device",
        ),
        (
            "device = \"net_ring1\"",
            "mtu = 1500",
            4,
            "interfaces.out",
            "has no device",
        ),
        (
            "device = \"net_ring1\"",
            "device = \"net_ring1\"\nvlan = 7",
            5,
            "interfaces.out.device",
            "interfaces.out.vlan (line 6)",
        ),
        (
            "device = \"net_ring1\"",
            "parent = \"in\"\nvlan = 4095",
            6,
            "interfaces.out.vlan",
            "1..=4094",
        ),
        (
            "device = \"net_ring1\"",
            "parent = \"in\"\nvlan = 7\nmac = \"02:00:00:00:00:01\"",
            7,
            "interfaces.out.mac",
            "belongs to a port",
        ),
        (
            "device = \"net_ring1\"",
            "parent = \"in\"\nvlan = 7\nmtu = 9000",
            7,
            "interfaces.out.mtu",
            "1500 of interfaces.in.mtu",
        ),
        (
            "device = \"net_ring1\"",
            "device = \"net_ring1\"\nmac = \"03:00:00:00:00:01\"",
            6,
            "interfaces.out.mac",
            "not a unicast address",
        ),
        (
            "device = \"net_ring1\"",
            "device = \"net_ring1\"\ntap = \"a/b\"",
            6,
            "interfaces.out.tap",
            "kernel interface",
        ),
        (
            "device = \"net_ring1\"",
            "device = \"net_af_packet0,iface=out\"",
            4,
            "interfaces.out",
            "name of the netdev of interfaces.out.device",
        ),
        (
            "10.0.0.1/24",
            "192.0.2.1/25",
            6,
            "interfaces.out.addresses[0]",
            "interfaces.in.addresses[0] (line 3)",
        ),
        (
            "10.0.0.1/24",
            "10.0.0.255/24",
            3,
            "interfaces.in.addresses[0]",
            "use one of 10.0.0.1-10.0.0.254",
        ),
        ("name = \"t\"", "", 10, "nat-rules.r.terms[0]", "has no name"),
        (
            "pool = \"a\"",
            "no-translation = true",
            12,
            "nat-rules.r.terms[0].then.translation-type",
            "beside no-translation",
        ),
        (
            ", pool = \"a\"",
            "",
            12,
            "nat-rules.r.terms[0].then",
            "none is named",
        ),
        (
            "napt-44",
            "napt-4",
            12,
            "nat-rules.r.terms[0].then.translation-type",
            "did you mean \"napt-44\"?",
        ),
        (
            "name = \"t\"",
            "name = \"t\"\nfrom = { destination-ports = [80], protocols = [\"icmp\"] }",
            12,
            "nat-rules.r.terms[0].from.destination-ports",
            "(line 12) has neither",
        ),
        (
            "inside-interfaces = [\"in\"]",
            "inside-interfaces = [\"in\", \"in\"]",
            14,
            "service-sets.s.inside-interfaces[1]",
            "stands here twice",
        ),
        (
            "outside-interfaces = [\"out\"]\n",
            "",
            13,
            "service-sets.s.outside-interfaces",
            "no outside interface",
        ),
        (
            "nat-rules = [\"r\"]",
            "nat-rules = []",
            16,
            "service-sets.s.nat-rules",
            "has no rule",
        ),
        (
            "nat-rules = [\"r\"]",
            "nat-rules = [\"r\"]\ntcp = { mss-clamp = 100 }",
            17,
            "service-sets.s.tcp.mss-clamp",
            "536..=9000",
        ),
        (
            "nat-rules = [\"r\"]",
            "nat-rules = [\"r\"]\n[firewall]",
            17,
            "firewall",
            "unknown key",
        ),
        (
            "nat-rules = [\"r\"]",
            "nat-rules = [\"r\"]\n[table-sizes]\nmax-sessions = 1048575\nmax-mappings = 1048576",
            19,
            "table-sizes.max-mappings",
            "table-sizes.max-sessions = 1048575 (line 18)",
        ),
        (
            "nat-rules = [\"r\"]",
            "nat-rules = [\"r\"]\n[table-sizes]\nmax-blocks = 16\n[pools.b]\nprefixes = [\"203.0.114.0/28\"]\nport-block-allocation = {}",
            18,
            "table-sizes.max-blocks",
            "pools.b.port-block-allocation (line 21)",
        ),
        (
            "nat-rules = [\"r\"]",
            "nat-rules = [\"r\"]\n[dpdk]\nmbufs = 1024",
            18,
            "dpdk.mbufs",
            "2048 receive descriptors",
        ),
        (
            "nat-rules = [\"r\"]",
            "nat-rules = [\"r\"]\n[dpdk]\nextra-eal-args = [\"--vdev=net_null\"]",
            18,
            "dpdk.extra-eal-args[0]",
            "interfaces.NAME.device",
        ),
        (
            "nat-rules = [\"r\"]",
            "nat-rules = [\"r\"]\n[workers]\ncount = 2\ncores = [1]",
            19,
            "workers.cores",
            "workers.count (line 18)",
        ),
        (
            "nat-rules = [\"r\"]",
            "nat-rules = [\"r\"]\n[service-sets.x]\ninside-interfaces = [\"in\"]\noutside-interfaces = [\"out\"]\nnat-rules = [\"r\"]",
            18,
            "service-sets.x.inside-interfaces[0]",
            "service-sets.s.inside-interfaces[0] (line 14)",
        ),
        (
            "nat-rules = [\"r\"]",
            "nat-rules = [\"r\"]\n[interfaces.wan]\ndevice = \"net_ring2\"\n[service-sets.x]\ninside-interfaces = [\"out\"]\noutside-interfaces = [\"wan\"]\nnat-rules = [\"r\"]",
            15,
            "service-sets.s.outside-interfaces[0]",
            "service-sets.x.inside-interfaces[0] (line 20); what comes in by it would not find this set's sessions",
        ),
        (
            "nat-rules = [\"r\"]",
            "nat-rules = [\"r\"]\n[interfaces.v1]\nparent = \"in\"\nvlan = 9\n[interfaces.v2]\nparent = \"in\"\nvlan = 9",
            22,
            "interfaces.v2.vlan",
            "also by interfaces.v1 (line 19)",
        ),
    ];
    for (from, to, line, path, part) in cases {
        assert!(BASE.contains(from), "{from}");
        let found = faults(&BASE.replacen(from, to, 1));
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 1, "{from} -> {to}: {told:#?}");
        assert_eq!(
            (found[0].line, found[0].path.as_str()),
            (*line, *path),
            "{told:#?}"
        );
        assert!(told[0].contains(part), "{part} is not in {told:#?}");
    }
}

#[test]
fn short_timeouts_are_for_those_who_ask_for_them() {
    let short = format!("{BASE}[service-sets.s.timeouts]\ntcp-established-s = 60\nicmp-s = 1\n");
    let found = faults(&short);
    assert_eq!(found.iter().map(|fault| fault.line).collect::<Vec<_>>(), [18, 19]);
    assert!(
        found[0].to_string().contains("RFC 5382 REQ-5") && found[1].to_string().contains("RFC 5508 REQ-2")
    );
    assert_eq!(
        faults(&short.replace(
            "[service-sets.s.timeouts]",
            "allow-short-timeouts = true\n[service-sets.s.timeouts]"
        )),
        []
    );
}

#[test]
fn a_token_opens_the_api_to_others() {
    let open = format!("{BASE}[api]\nlisten = \"[::]:8480\"\n");
    assert_eq!(faults(&open).len(), 1);
    assert_eq!(faults(&format!("{open}token-file = \"/etc/tandem/token\"\n")), []);
    assert_eq!(
        faults(&format!("{open}token-file = \"token\"\n"))[0].path,
        "api.token-file"
    );
}

#[test]
fn syntax_errors_do_not_hide_the_rest() {
    let text = BASE
        .replace("addresses = [\"10.0.0.1/24\"]", "addresses \"10.0.0.1/24\"")
        .replace("pool = \"a\"", "poll = \"a\"");
    let found = faults(&format!(
        "{text}nat-rules = [\"r\"]\n[dpdk]\nmemory-mb = 1\nfile-prefix = \"a\n"
    ));
    let told: Vec<(u32, FaultKind)> = found.iter().map(|fault| (fault.line, fault.kind)).collect();
    let wanted = [
        (3, FaultKind::Syntax),
        (12, FaultKind::UnknownKey),
        (17, FaultKind::Syntax),
        (19, FaultKind::BadValue),
        (20, FaultKind::Syntax),
    ];
    assert_eq!(told, wanted, "{found:#?}");
    assert!(
        found[0].to_string().starts_with("t.toml:3:11: not TOML: "),
        "{}",
        found[0]
    );
    assert!(
        found[2].to_string().contains("\"nat-rules\" is already set"),
        "{}",
        found[2]
    );
}

#[test]
fn an_empty_file_and_one_that_is_not_there_are_refused() {
    assert_eq!(faults("")[0].path, "interfaces");
    let missing = config::load(Path::new("/nonexistent/tandem.toml")).expect_err("no such file");
    assert_eq!(
        (missing.len(), missing[0].kind, missing[0].line),
        (1, FaultKind::Unreadable, 0)
    );
    assert!(
        missing[0]
            .to_string()
            .starts_with("/nonexistent/tandem.toml: the file cannot be read")
    );
}

#[test]
fn bytes_that_are_not_utf8_are_placed() {
    let path = std::env::temp_dir().join(format!("tandem-config-utf8-{}.toml", std::process::id()));
    std::fs::write(&path, b"[system]\nname = \"\xff\"\n").expect("writable");
    let found = config::load(&path).expect_err("not UTF-8");
    std::fs::remove_file(&path).expect("removable");
    assert_eq!(
        (found[0].kind, found[0].line, found[0].column),
        (FaultKind::Unreadable, 2, 9)
    );
}

#[test]
fn names_with_dots_are_quoted_in_key_paths() {
    let found = faults(
        &BASE
            .replace("interfaces.out]", "interfaces.\"out.7\"]")
            .replace("[\"out\"]", "[\"out.7\"]")
            .replace("net_ring1\"", "net_ring1\"\nmtu = 1"),
    );
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(
        (found[0].line, found[0].path.as_str()),
        (6, "interfaces.\"out.7\".mtu")
    );
}
