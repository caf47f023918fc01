//! A redundancy pair's configuration: what it becomes, what is wrong with it and where, and what a reload may change.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ha_sync::net::{Bind, Security, Trust};
use tandem_control::config::{
    self, Config, Effect, Extras, FaultKind, LinkKind, NameRegistry, RouteTable, RouteWhen, check_reload,
    compile,
};
use tandem_engine::program::{AddressAllocation, AddressPooling, NatAction, PortAllocation};
use tandem_engine::replica::{Replication, Role};
use tandem_engine::ticks::Ticks;

fn load(name: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../configs/pair")
        .join(name);
    config::load(&path).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn parse(text: &str) -> Config {
    config::parse(text, "t.toml").unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn the_pair_of_the_example_has_one_set_and_two_priorities() {
    for (name, local, peer, priority) in [
        ("chassis-1.toml", "5.5.5.1", "5.5.5.2", 100),
        ("chassis-2.toml", "5.5.5.2", "5.5.5.1", 200),
    ] {
        let config = load(name);
        assert_eq!((config.workers.count(), config.workers.shards), (2, 12));
        let redundancy = &config.redundancy;
        assert_eq!(redundancy.replication_threshold_s, 180);
        let group = redundancy.group(1).expect("the group");
        assert_eq!(
            (group.local, group.peer, group.port),
            (address(local), address(peer), 4793)
        );
        assert_eq!(group.bind, Bind::Vrf("HA".into()));
        assert_eq!(
            redundancy.initial_hold_ms(group),
            1000,
            "five heartbeats of 200 ms"
        );
        let beats = group.heartbeats.as_ref().expect("heartbeats");
        assert_eq!(
            (beats.interval_ms, beats.lost_threshold, beats.lost_after_ms()),
            (200, 3, 600)
        );
        let key = Path::new(&config.file).with_file_name("pair.key");
        assert_eq!(beats.key.as_ref(), Some(&key));
        let [control, secondary] = group.links.as_slice() else {
            panic!("two paths: {:?}", group.links)
        };
        assert_eq!(
            (control.kind, control.local, control.port),
            (LinkKind::Control, group.local, 4793)
        );
        assert_eq!(control.bind, group.bind);
        assert_eq!((secondary.kind, secondary.port), (LinkKind::Secondary, 4793));
        assert_eq!(secondary.bind, Bind::None, "an ordinary interface");
        let Security::Tls(tls) = &group.security else {
            panic!("TLS")
        };
        assert_eq!(tls.key.file_name().unwrap(), name.replace("toml", "key").as_str());
        assert_eq!(tls.certificate.parent(), Path::new(&config.file).parent());
        assert_eq!(
            tls.trust,
            Trust::Fingerprints(vec!["00".repeat(32).parse().expect("64 digits")])
        );
        assert_eq!(group.endpoint().check(), Ok(()));
        let set = redundancy.set(1).expect("the set");
        assert_eq!(
            (set.group, set.priority, set.service_sets.as_slice()),
            (1, priority, &["ss2".to_owned()][..])
        );
        assert_eq!(redundancy.sets_of(1).count(), 1);
        assert_eq!(redundancy.sets_of(2).count(), 0);

        let mut registry = NameRegistry::new();
        let program = compile(&config, &mut registry, None, &Extras::default()).expect("compiles");
        assert_eq!(set.service_set_ids(&registry), [program.service_sets[0].id]);
        let wanted = Replication {
            threshold: Some(Ticks::from_seconds(180)),
            ..Replication::default()
        };
        assert_eq!(program.service_sets[0].replication, wanted);
        let pool = &config.pools[0];
        let [public] = pool.addresses.as_slice() else {
            panic!("one prefix: {:?}", pool.addresses)
        };
        let network = u32::from_be_bytes([32, 0, 0, 0]);
        assert_eq!(
            (public.first, public.last),
            (network, network + 255),
            "32.0.0.0/24"
        );
        let pool = &program.pools[0];
        assert_eq!(pool.address_pooling, AddressPooling::Paired);
        assert_eq!(pool.port_allocation, PortAllocation::Random);
        assert_eq!(pool.address_allocation, AddressAllocation::RoundRobin);
        let [term] = program.service_sets[0].terms.as_slice() else {
            panic!("one term")
        };
        let prefix = |first: u32| (first << 24, (first << 24) + 0x00ff_ffff);
        let mut sources: Vec<(u32, u32)> = term.matches.sources.iter().map(|r| (r.first, r.last)).collect();
        sources.sort_unstable();
        assert_eq!(sources, [prefix(128), prefix(129)], "128.0.0.0/8 and 129.0.0.0/8");
        assert!(
            matches!(&term.action, NatAction::Napt44 { .. }),
            "{:?}",
            term.action
        );
        // A destination is steered into the service by a route; it is no network of this box.
        let addresses = config
            .interfaces
            .iter()
            .flat_map(|interface| &interface.addresses);
        for address in addresses {
            assert!(!address.to_string().starts_with("100.100.100."), "{address}");
        }
    }
}

/// Two service sets of one redundancy set, and one of none.
const BASE: &str = include_str!("config/redundancy.toml");

#[test]
fn thresholds_and_exclusions_reach_the_program() {
    let text = BASE
        .replace(
            "nat-rules = [\"r\"]\nredundancy-set = 1\n[service-sets.x]",
            "nat-rules = [\"r\", \"more\"]\nredundancy-set = 1\nreplication-threshold-s = 0\n\
             firewall = { outbound = [\"p\"], inbound = [\"p\"] }\n[service-sets.x]",
        )
        .replace(
            "[nat-rules.q]",
            r#"[nat-rules.more]
[[nat-rules.more.terms]]
name = "one-to-one"
no-session-backup = true
from = { source-addresses = ["10.9.0.0/24"] }
then = { translation-type = "basic-nat44", public-prefix = "203.0.115.0/24" }
[[nat-rules.more.terms]]
name = "plain"
no-session-backup = true
from = { source-addresses = ["10.8.0.0/24"] }
then = { no-translation = true }
[[nat-rules.more.terms]]
name = "kept"
then = { translation-type = "napt-44", pool = "a" }
[firewall-policies.p]
[[firewall-policies.p.policies]]
name = "dns"
from = { applications = ["dns"] }
then = "permit"
no-session-backup = true
[[firewall-policies.p.policies]]
name = "rest"
then = "permit"
[nat-rules.q]"#,
        )
        .replacen(
            "name = \"t\"",
            "name = \"t\"\nfrom = { source-addresses = [\"10.7.0.0/24\"] }",
            1,
        );
    let config = parse(&text);
    let thresholds: Vec<_> = config
        .service_sets
        .iter()
        .map(|set| set.replication_threshold_s)
        .collect();
    assert_eq!(thresholds, [Some(0), Some(100), None]);
    let mut registry = NameRegistry::new();
    let program = compile(&config, &mut registry, None, &Extras::default()).expect("compiles");
    let [s, x, z] = program.service_sets.as_slice() else {
        panic!("three sets")
    };
    assert_eq!(s.replication.threshold, Some(Ticks::from_seconds(0)));
    assert_eq!(x.replication.threshold, Some(Ticks::from_seconds(100)));
    assert_eq!(z.replication, Replication::default());
    let number = |name: &str| {
        let terms = s.terms.iter().map(|term| (&term.name, term.number));
        let statics = program.statics.iter().map(|one| (&one.name, one.number));
        let found = terms.chain(statics).find(|(found, _)| *found == name);
        found.unwrap_or_else(|| panic!("no {name}")).1
    };
    let mut excluded = vec![number("more/one-to-one"), number("more/plain")];
    excluded.sort_unstable();
    assert_eq!(s.replication.excluded_terms, excluded);
    let firewall = s.firewall.as_ref().expect("a firewall");
    let mut policies = vec![firewall.outbound.policies[0].id, firewall.inbound.policies[0].id];
    policies.sort_unstable();
    assert_eq!(s.replication.excluded_policies, policies);
    assert!(!s.replication.includes(number("more/plain"), policies[0]));
    assert!(
        s.replication
            .includes(number("more/kept"), firewall.outbound.policies[1].id)
    );
    // Numbers stay with their names over a reload, and exclusion follows them.
    let again = compile(&config, &mut registry, Some(&program), &Extras::default()).expect("compiles");
    assert_eq!(again.service_sets[0].replication, s.replication);
    let disabled = parse(&BASE.replacen(
        "redundancy-set = 1",
        "redundancy-set = 1\ndisable-replication-capability = true",
        1,
    ));
    assert_eq!(disabled.service_sets[0].replication_threshold_s, None);
    assert_eq!(
        disabled.redundancy.sets[0].service_sets,
        ["s", "x"],
        "it changes its role all the same"
    );
    assert_eq!(disabled.redundancy.sets[0].role, Role::Standby, "the default");
}

#[test]
fn paths_of_certificates_start_at_the_file() {
    let text = BASE.replace(
        "security = \"none\"",
        "certificate = \"tls/a.crt\"\nkey = \"/etc/tandem/a.key\"\nca = \"ca.crt\"\nheartbeat-key = \"pair.key\"",
    );
    let config = config::parse(&text, "/etc/tandem/conf/x.toml").expect("right");
    let Security::Tls(tls) = &config.redundancy.groups[0].security else {
        panic!("TLS is the default")
    };
    assert_eq!(tls.certificate, PathBuf::from("/etc/tandem/conf/tls/a.crt"));
    let beats = config.redundancy.groups[0]
        .heartbeats
        .as_ref()
        .expect("heartbeats");
    assert_eq!(beats.key, Some(PathBuf::from("/etc/tandem/conf/pair.key")));
    assert_eq!(tls.key, PathBuf::from("/etc/tandem/a.key"));
    let trust = Trust::Authority {
        file: "/etc/tandem/conf/ca.crt".into(),
        peer_name: "5.5.5.2".into(),
    };
    assert_eq!(tls.trust, trust, "for its address, where nothing is said");
    let here = config::parse(&text, "x.toml").expect("right");
    let Security::Tls(tls) = &here.redundancy.groups[0].security else {
        panic!("TLS")
    };
    assert_eq!(tls.certificate, PathBuf::from("tls/a.crt"));
}

#[test]
fn a_reload_changes_thresholds_and_exclusions_but_no_channel_and_no_membership() {
    const EVENT: &str = "[redundancy-events.e]\nlinks = [\"in\"]\n[redundancy-policies.p]\nevents = [\"e\"]\n\
                         action = \"broadcast-warning\"\n[tracked-ips.t]\naddresses = [{ address = \"192.0.2.7\" }]\n\
                         [zones.z]\ninterfaces = [\"out\"]\n[pools.a]";
    let base = BASE.replace("net_ring3\"", "net_ring3\"\naddresses = [\"192.0.2.1/24\"]");
    let old = parse(&base);
    let live = [
        ("replication-threshold-s = 100", "replication-threshold-s = 0"),
        (
            "redundancy-set = 1",
            "redundancy-set = 1\nreplication-threshold-s = 7",
        ),
        (
            "redundancy-set = 1",
            "redundancy-set = 1\ndisable-replication-capability = true",
        ),
        ("name = \"t\"", "name = \"t\"\nno-session-backup = true"),
        (
            "redundancy-group = 1",
            "redundancy-group = 1\npriority = 7\npreempt = true",
        ),
        (
            "redundancy-group = 1",
            "redundancy-group = 1\nvirtual-addresses = [{ interface = \"out\", address = \"192.0.2.9/24\" }]",
        ),
        ("[pools.a]", EVENT),
        (
            "replication-threshold-s = 100",
            "replication-threshold-s = 100\nfailover-threshold = 9",
        ),
        ("redundancy-group = 1", "redundancy-group = 1\nname = \"cgn\""),
        ("security = \"none\"", "security = \"none\"\nname = \"pair\""),
        ("service-sets.x", "service-sets.new"),
    ];
    for (from, to) in live {
        let changes = check_reload(&old, &parse(&base.replacen(from, to, 1)));
        let changes = changes.unwrap_or_else(|faults| panic!("{from} -> {to}: {faults:#?}"));
        assert!(
            !changes.is_empty() && changes.iter().all(|change| change.effect == Effect::Live),
            "{changes:#?}"
        );
    }
    let restart = [
        ("5.5.5.2", "5.5.5.3", "redundancy-groups.1.redundancy-peer"),
        (
            "security = \"none\"",
            "security = \"none\"\nport = 1",
            "redundancy-groups.1.port",
        ),
        (
            "security = \"none\"",
            "security = \"none\"\ninterface = \"eth0\"",
            "redundancy-groups.1.interface",
        ),
        (
            "security = \"none\"",
            "security = \"none\"\nheartbeat-interval-ms = 20",
            "redundancy-groups.1.heartbeat-interval-ms",
        ),
        ("count = 2", "count = 2\nshards = 4", "workers.shards"),
        (
            "nat-rules = [\"q\"]",
            "nat-rules = [\"q\"]\nredundancy-set = 1",
            "service-sets.z.redundancy-set",
        ),
        (
            "[pools.a]",
            "[redundancy-sets.2]\nredundancy-group = 1\n[pools.a]",
            "redundancy-sets.2.redundancy-group",
        ),
    ];
    for (from, to, path) in restart {
        let (before, after) = (parse(BASE), parse(&BASE.replacen(from, to, 1)));
        for (old, new) in [(&before, &after), (&after, &before)] {
            let found = check_reload(old, new).expect_err("needs a restart");
            let told: Vec<(&str, FaultKind)> = found.iter().map(|f| (f.path.as_str(), f.kind)).collect();
            assert_eq!(told, [(path, FaultKind::NeedsRestart)]);
        }
    }
}

/// The pair whose addresses VRRP moves: both files, and what keepalived has of them.
#[test]
fn the_pair_with_vrrp_has_keepalived_follow_its_set() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/pair-vrrp");
    let [first, second] = [1, 2].map(|n| {
        let path = directory.join(format!("chassis-{n}.toml"));
        let config = config::load(&path).unwrap_or_else(|faults| panic!("{faults:#?}"));
        assert!(config.warnings.is_empty(), "{:#?}", config.warnings);
        let set = config.redundancy.set(1).expect("the set");
        assert!(set.virtual_addresses.is_empty(), "keepalived has them");
        let keepalived = std::fs::read_to_string(directory.join(format!("chassis-{n}.keepalived.conf")))
            .expect("keepalived's file");
        let lines: Vec<&str> = keepalived.lines().map(str::trim).collect();
        let file = set.track_file.as_ref().expect("a tracking file");
        let tracked = format!("file \"{}\"", file.display());
        for line in [
            &tracked,
            "weight 0",
            "init_file 1",
            "dynamic_interfaces allow_if_changes",
        ] {
            assert!(lines.contains(&line), "{line} of chassis {n}");
        }
        for interface in &config.interfaces {
            let own = interface.addresses.first().expect("an address");
            let moved = lines.iter().find_map(|line| {
                let (address, device) = line.split_once(" dev ")?;
                (device == interface.tap).then_some(address)
            });
            let (address, length) = moved
                .expect("an address that moves")
                .split_once('/')
                .expect("a length");
            let address: std::net::IpAddr = address.parse().expect("an address");
            assert_eq!(length, own.prefix_length.to_string());
            let subnet = ipnet::IpNet::new(own.address, own.prefix_length).expect("a prefix");
            assert!(
                subnet.contains(&address) && address != own.address,
                "{address} of chassis {n}"
            );
            assert!(lines.contains(&format!("interface {}", interface.tap).as_str()));
        }
        config
    });
    assert_eq!(config::digest(&first), config::digest(&second));
}

/// The pair between two routers: both files, and what FRR is told of their signal routes.
#[test]
fn the_pair_with_bgp_hands_its_signal_routes_on_and_nothing_else() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/pair-bgp");
    let [first, second] = [1, 2].map(|n| {
        let path = directory.join(format!("chassis-{n}.toml"));
        let config = config::load(&path).unwrap_or_else(|faults| panic!("{faults:#?}"));
        let frr =
            std::fs::read_to_string(directory.join(format!("chassis-{n}.frr.conf"))).expect("FRR's file");
        let set = config.redundancy.set(1).expect("the set");
        let mut told: Vec<String> = Vec::new();
        for policy in config.redundancy.policies_of(set) {
            for route in &policy.signal_routes {
                assert_eq!(
                    (&route.table, route.metric),
                    (&RouteTable::Number(100), None),
                    "by the epoch"
                );
                assert_eq!(route.when, RouteWhen::Primary);
                told.push(route.prefix.to_string());
            }
        }
        let mut permitted: Vec<String> = frr
            .lines()
            .filter_map(|line| Some(line.split_once(" permit ")?.1.to_owned()))
            .collect();
        permitted.sort_unstable();
        told.sort_unstable();
        assert_eq!(told, permitted, "chassis {n}");
        for line in [
            "ip import-table 100",
            "  redistribute table 100",
            " bgp graceful-restart-disable",
        ] {
            assert!(frr.lines().any(|one| one == line), "{line} of chassis {n}");
        }
        config
    });
    assert_eq!(config::digest(&first), config::digest(&second));
    // A router that helps a graceful restart keeps the ways by a dead chassis.
    for side in ["inside", "outside"] {
        let path = directory.join(format!("router-{side}.frr.conf"));
        let frr = std::fs::read_to_string(path).expect("the router's file");
        let routers = frr.lines().filter(|line| line.starts_with("router bgp")).count();
        let off = frr
            .lines()
            .filter(|line| *line == " bgp graceful-restart-disable");
        assert!(routers == 1 && off.count() == routers, "router {side}");
        let says = |line: &str| line.contains("graceful-restart") && !line.starts_with('!');
        assert_eq!(
            frr.lines().filter(|line| says(line)).count(),
            routers,
            "router {side}"
        );
    }
}
