//! The configuration as the daemon uses it: the examples load, compile to the program they describe, and reload with ids and
//! owners kept.

use std::path::{Path, PathBuf};

use tandem_control::config::{
    self, Attachment, Config, Effect, Extras, FaultKind, Idle, NameRegistry, Placement, check_reload, compile,
};
use tandem_engine::program::{AddressPooling, FilteringType, MappingType, NONE, NatAction, PortRange};
use tandem_engine::ticks::Ticks;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../configs")
        .join(name)
}

fn load(name: &str) -> Config {
    config::load(&example(name)).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn parse(text: &str) -> Config {
    config::parse(text, "t.toml").unwrap_or_else(|faults| panic!("{faults:#?}"))
}

#[test]
fn every_example_loads_without_faults_and_compiles() {
    let mut seen = 0;
    let folders = ["", "pair", "pair-active-active", "pair-nsrp-lite"].map(example);
    let entries = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).expect("configs/"));
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let config = config::load(&path).unwrap_or_else(|faults| panic!("{}: {faults:#?}", path.display()));
        assert!(
            config.warnings.is_empty(),
            "{}: {:#?}",
            path.display(),
            config.warnings
        );
        compile(&config, &mut NameRegistry::new(), None, &Extras::default()).expect("compiles");
        seen += 1;
    }
    assert!(seen >= 13, "configs/ has {seen} examples");
}

#[test]
fn the_napt44_example_becomes_the_program_it_describes() {
    let config = load("napt44.toml");
    assert_eq!(config.workers.placement, Placement::Count(1));
    assert_eq!(config.workers.idle, Idle::Adaptive);
    let Attachment::Port(port) = &config.interfaces[0].attachment else {
        panic!("a port")
    };
    assert_eq!(port.device.devargs(), "net_af_xdp0,iface=veth-in");
    assert_eq!(port.netdev.as_deref(), Some("veth-in"));
    assert_eq!(config.interfaces[1].tap, "outside");

    let mut registry = NameRegistry::new();
    let program = compile(&config, &mut registry, None, &Extras::default()).expect("compiles");
    assert_eq!(program.generation, 1);
    let pool = registry.pool("public").expect("an id");
    let set = registry.service_set("cgn").expect("an id");
    assert_eq!(program.interfaces[0].inside_of, set);
    assert_eq!(program.interfaces[1].outside_of, [set]);
    assert_eq!(program.interfaces[1].inside_of, NONE);
    let terms = &program.service_sets[0].terms;
    assert_eq!(
        terms.iter().map(|term| term.name.as_str()).collect::<Vec<_>>(),
        ["subscribers/local-services", "subscribers/internet"]
    );
    assert_eq!((terms[0].number, terms[1].number), (0, 1));
    assert_eq!(terms[0].action, NatAction::NoTranslation);
    assert_eq!(terms[0].matches.protocols, [6, 17]);
    let ports = [
        PortRange { first: 53, last: 53 },
        PortRange {
            first: 8000,
            last: 8999,
        },
    ];
    assert_eq!(terms[0].matches.destination_ports, ports);
    let (mapping, filtering) = (
        MappingType::EndpointIndependent,
        FilteringType::EndpointIndependent,
    );
    assert_eq!(
        terms[1].action,
        NatAction::Napt44 {
            pool,
            mapping,
            filtering
        }
    );
    assert_eq!(
        program.service_sets[0].timeouts.tcp_established,
        Ticks::from_seconds(7440)
    );
    assert_eq!(program.service_sets[0].limits.max_ports, 2000);
    let found = program
        .public_space
        .find(u32::from_be_bytes([203, 0, 113, 33]))
        .expect("in the second range");
    assert_eq!(found.pool, pool);
    assert!(
        program
            .public_space
            .find(u32::from_be_bytes([203, 0, 113, 16]))
            .is_none()
    );
    assert_eq!(program.pools[0].quarantine, Ticks::from_seconds(120));
}

#[test]
fn the_port_block_example_has_vlans_and_blocks() {
    let config = load("cgnat-pba.toml");
    assert_eq!(config.workers.count(), 4);
    let vlan = Attachment::Vlan {
        parent: "access".into(),
        vlan: 200,
    };
    assert_eq!(config.interfaces[2].attachment, vlan);
    let program = compile(&config, &mut NameRegistry::new(), None, &Extras::default()).expect("compiles");
    let blocks = program.pools[0].port_blocks.expect("blocks");
    assert_eq!((blocks.block_size, blocks.max_blocks_per_subscriber), (512, 4));
    assert_eq!(blocks.interim_logging_interval, Ticks::from_seconds(1800));
    assert!(program.pools[1].drain);
    assert_eq!(program.pools[0].address_pooling, AddressPooling::Paired);
}

const SMALL: &str = r#"
[interfaces.in]
device = "net_ring0"
addresses = ["10.0.0.1/24"]
[interfaces.out]
device = "net_ring1"
addresses = ["192.0.2.1/24", "2001:db8::1/64"]
[pools.a]
prefixes = ["203.0.113.0/28"]
[nat-rules.r]
terms = [{ name = "t", then = { translation-type = "napt-44", pool = "a" } }]
[service-sets.s]
inside-interfaces = ["in"]
outside-interfaces = ["out"]
nat-rules = ["r"]
"#;

#[test]
fn a_small_file_gets_the_documented_defaults() {
    let config = parse(SMALL);
    assert_eq!(config.system.name, "tandem");
    assert_eq!(config.workers.count(), 1);
    assert_eq!(config.api.listen.to_string(), "127.0.0.1:8480");
    assert_eq!(config.interfaces[0].mtu, 1500);
    assert_eq!(config.interfaces[0].tap, "in");
    assert_eq!(
        config.pools[0].ports,
        PortRange {
            first: 1024,
            last: 65_535
        }
    );
    assert_eq!(config.pools[0].address_pooling, AddressPooling::Paired);
    assert_eq!(config.service_sets[0].timeouts.udp, Ticks::from_seconds(300));
    assert_eq!(config.service_sets[0].limits, Default::default());
    assert!(config.warnings.is_empty(), "{:#?}", config.warnings);
}

#[test]
fn table_sizes_that_are_left_out_fit_those_that_are_set() {
    let sizes = |text: &str| {
        let sizes = parse(&format!("{SMALL}[table-sizes]\n{text}")).table_sizes;
        (
            sizes.max_sessions,
            sizes.max_mappings,
            sizes.max_subscribers,
            sizes.max_blocks,
        )
    };
    assert_eq!(sizes(""), (1 << 20, 1 << 20, 65_536, 131_072));
    assert_eq!(sizes("max-sessions = 2048"), (2048, 2048, 2048, 4096));
    assert_eq!(
        sizes("max-sessions = 8388608\nmax-mappings = 4096"),
        (8_388_608, 4096, 4096, 8192)
    );
    assert_eq!(
        sizes("max-sessions = 67108864\nmax-subscribers = 16777216").3,
        16_777_216
    );
}

#[test]
fn a_pool_on_an_interface_takes_its_ipv4_addresses_and_leaves_the_kernel_its_ports() {
    let config = parse(&SMALL.replace("prefixes = [\"203.0.113.0/28\"]", "interface = \"out\""));
    assert_eq!(
        config.pools[0].ports,
        PortRange {
            first: 61_000,
            last: 65_535
        }
    );
    let program = compile(&config, &mut NameRegistry::new(), None, &Extras::default()).expect("compiles");
    assert!(program.pools[0].interface_address);
    let address = u32::from_be_bytes([192, 0, 2, 1]);
    assert_eq!(
        program.pools[0].addresses,
        [tandem_engine::program::AddressRange {
            first: address,
            last: address
        }]
    );
    let low = SMALL.replace(
        "prefixes = [\"203.0.113.0/28\"]",
        "interface = \"out\"\nport-range = \"40000-50000\"",
    );
    assert!(
        parse(&low)
            .warnings
            .iter()
            .any(|warning| warning.path == "pools.a.port-range")
    );
}

#[test]
fn ids_stay_with_their_names_across_reloads_and_are_never_given_to_another() {
    let mut registry = NameRegistry::new();
    let first = compile(&parse(SMALL), &mut registry, None, &Extras::default()).expect("compiles");
    let a = registry.pool("a").expect("an id");
    let address = u32::from_be_bytes([203, 0, 113, 3]);
    let index = first.public_space.find(address).expect("found").index;
    assert!(first.public_space.acquire(index, 5, 2));

    let other = SMALL
        .replace("pools.a", "pools.b")
        .replace("pool = \"a\"", "pool = \"b\"")
        .replace("203.0.113", "203.0.114");
    let second = compile(&parse(&other), &mut registry, Some(&first), &Extras::default()).expect("compiles");
    assert_eq!(second.generation, 2);
    assert_ne!(registry.pool("b"), Some(a));
    assert_eq!(
        registry.pool_name(a),
        Some("a"),
        "the name of a removed pool can still be shown"
    );
    assert_eq!(second.public_space.find(address), None);
    assert_eq!(second.interfaces[0].id, first.interfaces[0].id);

    let both = format!("{SMALL}[pools.b]\nprefixes = [\"203.0.114.0/28\"]\n");
    let third = compile(&parse(&both), &mut registry, Some(&second), &Extras::default()).expect("compiles");
    assert_eq!(
        third.pools.iter().map(|pool| pool.id).collect::<Vec<_>>(),
        [a, registry.pool("b").expect("an id")]
    );
    let found = third.public_space.find(address).expect("found again");
    assert_eq!((found.index, found.pool), (index, a));
    assert_eq!(third.public_space.owner(index, 5), 2, "its owner was kept");
}

#[test]
fn ids_run_out_with_a_clear_error_instead_of_being_reused() {
    let mut registry = NameRegistry::new();
    let mut error = None;
    for number in 0..5000 {
        let renamed = SMALL
            .replace("pools.a", &format!("pools.p{number}"))
            .replace("pool = \"a\"", &format!("pool = \"p{number}\""));
        if let Err(refused) = compile(&parse(&renamed), &mut registry, None, &Extras::default()) {
            error = Some((number, refused.to_string()));
            break;
        }
    }
    let (number, text) = error.expect("4096 ids");
    assert_eq!(number, 4096);
    assert!(text.contains("p4096") && text.contains("restart"), "{text}");
}

#[test]
fn a_reload_of_live_keys_says_what_changes() {
    let old = parse(SMALL);
    let new = parse(
        &SMALL
            .replace("/28", "/29")
            .replace("[pools.a]", "[pools.a]\nquarantine-s = 60"),
    );
    let changes = check_reload(&old, &new).expect("live");
    let told: Vec<_> = changes
        .iter()
        .map(|c| (c.path.as_str(), c.from.as_deref(), c.to.as_deref(), c.effect))
        .collect();
    assert_eq!(
        told,
        [
            (
                "pools.a.prefixes",
                Some("[\"203.0.113.0/28\"]"),
                Some("[\"203.0.113.0/29\"]"),
                Effect::Live
            ),
            ("pools.a.quarantine-s", Some("120"), Some("60"), Effect::Live),
        ]
    );
    let addresses = parse(&SMALL.replace("10.0.0.1/24", "10.0.0.2/24"));
    assert_eq!(check_reload(&old, &addresses).expect("live").len(), 1);
    // Writing a default down is no change.
    let same = parse(&SMALL.replace(
        "[pools.a]",
        "[workers]\ncount = 1\n[pools.a]\nport-range = \"1024-65535\"",
    ));
    assert_eq!(check_reload(&old, &same), Ok(vec![]));
}

#[test]
fn a_reload_of_fixed_keys_is_refused_whole() {
    let old = parse(SMALL);
    let new = SMALL.replace("net_ring0", "net_ring7").replace("/28", "/29");
    let new = parse(&format!(
        "{new}[dpdk]\nmemory-mb = 1024\n[workers]\ncount = 2\n[table-sizes]\nmax-sessions = 2097152\n[api]\nlisten = \"127.0.0.1:9000\"\n"
    ));
    let faults = check_reload(&old, &new).expect_err("fixed keys");
    let paths: Vec<_> = faults
        .iter()
        .map(|fault| (fault.line, fault.path.as_str()))
        .collect();
    let wanted = [
        (3, "interfaces.in.device"),
        (17, "dpdk.memory-mb"),
        (19, "workers.count"),
        (21, "table-sizes.max-sessions"),
        (23, "api.listen"),
    ];
    assert_eq!(paths, wanted, "{faults:#?}");
    assert!(
        faults
            .iter()
            .all(|fault| fault.kind == FaultKind::NeedsRestart
                && fault.to_string().contains("needs a restart"))
    );
    let removed = parse(&format!("{SMALL}[interfaces.third]\ndevice = \"net_ring2\"\n"));
    assert!(check_reload(&old, &removed).is_err(), "an interface more");
    assert!(check_reload(&removed, &old).is_err(), "an interface less");
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let text = format!(
        "{SMALL}[pools.unused]\nprefixes = [\"192.0.2.16/28\"]\n[nat-rules.idle]\nterms = [{{ name = \"a\", then = {{ no-translation = true }} }}, {{ name = \"b\", then = {{ no-translation = true }} }}]\n"
    );
    let config = parse(&text);
    let told: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    for wanted in [
        "pools.unused: no rule uses",
        "pools.unused.prefixes[0]: is on the link of interfaces.out.addresses (line 7)",
        "nat-rules.idle: no service set",
        "nat-rules.idle.terms[1]: is never reached",
    ] {
        assert!(
            told.iter().any(|warning| warning.contains(wanted)),
            "{wanted} not in {told:#?}"
        );
    }
    assert_eq!(told.len(), 4, "{told:#?}");
}
