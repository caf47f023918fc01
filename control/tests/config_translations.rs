//! What each translation type becomes in the program.

use std::net::Ipv6Addr;
use std::path::Path;

use tandem_control::config::{
    self, CompileError, Config, Extras, NameRegistry, RuntimeStatic, StaticMapping, StaticText, compile,
};
use tandem_engine::program::{
    AddressRange, DestinationMap, FilteringType, MappingType, NatAction, NatTerm, PoolMode, Program,
    Stateless,
};

fn example(name: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../configs")
        .join(name);
    config::load(&path).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn parse(text: &str) -> Config {
    config::parse(text, "t.toml").unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn compiled(config: &Config) -> (Program, NameRegistry) {
    let mut registry = NameRegistry::new();
    let program = compile(config, &mut registry, None, &Extras::default()).expect("compiles");
    (program, registry)
}

fn v4(text: &str) -> u32 {
    text.parse::<std::net::Ipv4Addr>().expect("an address").to_bits()
}

fn v6(text: &str) -> u128 {
    text.parse::<Ipv6Addr>().expect("an address").to_bits()
}

fn mapped(text: &str) -> u128 {
    0xffff << 32 | u128::from(v4(text))
}

fn range(first: &str, last: &str) -> AddressRange {
    AddressRange {
        first: v4(first),
        last: v4(last),
    }
}

fn term<'p>(program: &'p Program, name: &str) -> &'p NatTerm {
    let mut terms = program.service_sets.iter().flat_map(|set| &set.terms);
    terms
        .find(|term| term.name == name)
        .unwrap_or_else(|| panic!("no term {name}"))
}

#[test]
fn nat64_and_napt44_share_a_pool() {
    let (program, registry) = compiled(&example("nat64.toml"));
    let pool = registry.pool("public").expect("an id");
    let (mapping, filtering) = (
        MappingType::EndpointIndependent,
        FilteringType::EndpointIndependent,
    );
    let nat64 = term(&program, "subscribers/nat64");
    assert_eq!(
        nat64.action,
        NatAction::Nat64 {
            pool,
            mapping,
            filtering
        }
    );
    assert_eq!(nat64.matches.sources6[0].first, v6("2001:db8:1000::"));
    assert_eq!(
        nat64.matches.sources6[0].last,
        v6("2001:db8:1fff:ffff:ffff:ffff:ffff:ffff")
    );
    assert_eq!(nat64.matches.sources, []);
    let nat44 = term(&program, "subscribers/nat44");
    assert_eq!(
        nat44.action,
        NatAction::Napt44 {
            pool,
            mapping,
            filtering
        }
    );
    assert_eq!(nat44.matches.sources6, []);

    let set = &program.service_sets[0];
    let prefixes: Vec<String> = program
        .prefixes
        .iter()
        .map(|one| one.prefix.to_string())
        .collect();
    assert_eq!(prefixes, ["64:ff9b::/96", "2001:db8:64::/96"]);
    assert_eq!(
        set.ipv6.nat64_prefixes,
        [program.prefixes[0].id, program.prefixes[1].id]
    );
    assert_eq!((set.ipv6.subscriber_prefix, program.steering_prefix), (56, 56));
    assert!(set.ipv6.compute_udp_checksum && set.ipv6.copy_traffic_class && !set.ipv6.well_known_for_private);
    assert_eq!(set.ipv6.lowest_mtu, 1280);

    let web = program
        .statics
        .by_public(v4("203.0.113.80"), 6, 443)
        .expect("the static mapping");
    assert_eq!((web.address, web.port), (v6("2001:db8:1000:80::80"), 443));
    let out = program
        .statics
        .by_inside(set.id, v6("2001:db8:1000:80::80"), 6, 443)
        .expect("both ways");
    assert_eq!(out.address, v4("203.0.113.80"));
    assert_eq!(web.mapping.number, 2, "after both terms");
    let found = program
        .public_space
        .find(v4("203.0.113.80"))
        .expect("its address is public");
    let owner = program
        .pools
        .iter()
        .find(|one| one.id == found.pool)
        .expect("a pool");
    assert_eq!(
        (owner.name.as_str(), &owner.mode),
        ("static:residential", &PoolMode::Static)
    );
}

#[test]
fn deterministic_pools_have_a_formula() {
    let (program, registry) = compiled(&example("deterministic.toml"));
    let four = registry.pool("v4").expect("an id");
    let six = registry.pool("v6").expect("an id");
    assert!(
        matches!(term(&program, "subscribers/v4").action, NatAction::Napt44 { pool, .. } if pool == four)
    );
    assert!(matches!(term(&program, "subscribers/v6").action, NatAction::Nat64 { pool, .. } if pool == six));
    let formulas: Vec<_> = program
        .pools
        .iter()
        .map(|pool| match &pool.mode {
            PoolMode::Deterministic(formula) => formula.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(formulas[0].subscribers, [(mapped("100.64.0.0"), 4096)]);
    assert_eq!((formulas[0].prefix, formulas[0].ports_each), (128, 1008));
    assert_eq!(formulas[1].subscribers, [(v6("2001:db8:1000::"), 256)]);
    assert_eq!((formulas[1].prefix, formulas[1].ports_each), (56, 2048));
    for (pool, formula) in program.pools.iter().zip(&formulas) {
        assert_eq!(formula.fits(&pool.addresses, pool.ports), Ok(()));
    }
}

#[test]
fn terms_become_static_mappings_destination_maps_and_pool_modes() {
    let (program, registry) = compiled(&example("translations.toml"));
    let set = registry.service_set("all").expect("an id");
    let pool = |name: &str| registry.pool(name).expect("an id");
    let map = |from: AddressRange, to: &str| DestinationMap {
        from,
        to_first: v4(to),
    };
    let partner = map(range("10.99.0.0", "10.99.255.255"), "10.0.0.0");
    let (mapping, filtering) = (
        MappingType::EndpointIndependent,
        FilteringType::EndpointIndependent,
    );

    let resolver = term(&program, "all/resolver");
    assert_eq!(resolver.action, NatAction::DestinationOnly);
    assert_eq!(
        resolver.destination,
        Some(map(range("198.51.100.53", "198.51.100.53"), "192.0.2.53"))
    );
    let games = term(&program, "all/games");
    let (whole, strict) = (pool("addresses"), FilteringType::AddressAndPortDependent);
    assert_eq!(
        games.action,
        NatAction::Dynamic44 {
            pool: whole,
            filtering: strict
        }
    );
    assert_eq!(games.destination, None);
    let twice = term(&program, "all/partner");
    assert_eq!(
        twice.action,
        NatAction::Napt44 {
            pool: pool("ports"),
            mapping,
            filtering
        }
    );
    assert_eq!(twice.destination, Some(partner));
    let twice = term(&program, "all/partner-games");
    assert_eq!(
        twice.action,
        NatAction::Dynamic44 {
            pool: whole,
            filtering
        }
    );
    assert_eq!(
        twice.destination,
        Some(map(range("10.98.0.0", "10.98.255.255"), "10.0.0.0"))
    );
    let sensors = term(&program, "all/sensors");
    let dependent = MappingType::AddressAndPortDependent;
    assert_eq!(
        sensors.action,
        NatAction::Napt44 {
            pool: pool("overloaded"),
            mapping: dependent,
            filtering
        }
    );

    let modes: Vec<(&str, &PoolMode)> = program
        .pools
        .iter()
        .map(|one| (one.name.as_str(), &one.mode))
        .collect();
    assert_eq!(
        modes,
        [
            ("ports", &PoolMode::Ports),
            ("addresses", &PoolMode::Addresses),
            ("overloaded", &PoolMode::OverloadedPorts),
            ("static:all", &PoolMode::Static),
        ]
    );
    let owned = [
        range("198.51.100.0", "198.51.100.31"),
        range("198.51.100.32", "198.51.100.39"),
    ];
    assert_eq!(
        program.pools[3].addresses,
        [AddressRange {
            first: owned[0].first,
            last: owned[1].last
        }]
    );

    // basic-nat44, both ways.
    let statics = &program.statics;
    let basic = statics
        .by_inside(set, mapped("10.0.1.5"), 17, 999)
        .expect("from inside");
    assert_eq!(
        (basic.address, basic.port, basic.mapping.name.as_str()),
        (v4("198.51.100.5"), 999, "all/servers")
    );
    assert_eq!(
        statics
            .by_public(v4("198.51.100.5"), 17, 7)
            .expect("from outside")
            .address,
        mapped("10.0.1.5")
    );
    // dnat-44: the port changes, and sessions from inside know nothing of it.
    let web = statics.by_public(v4("203.0.113.3"), 6, 80).expect("from outside");
    assert_eq!((web.address, web.port), (mapped("10.0.2.80"), 8080));
    assert!(web.mapping.inbound_only && statics.by_inside(set, mapped("10.0.2.80"), 6, 8080).is_none());
    assert!(statics.by_public(v4("203.0.113.3"), 17, 80).is_none(), "TCP only");
    // twice-basic-nat-44.
    let twice = statics
        .by_inside(set, mapped("10.0.4.1"), 6, 5)
        .expect("from inside");
    assert_eq!(
        (twice.address, twice.mapping.destination),
        (v4("198.51.100.17"), Some(partner))
    );
    // Static mappings.
    let camera = statics
        .by_public(v4("203.0.113.2"), 6, 503)
        .expect("a port forward");
    assert_eq!((camera.address, camera.port), (mapped("10.0.2.90"), 8003));
    assert_eq!(
        statics
            .by_inside(set, mapped("10.0.7.3"), 1, 1)
            .expect("a branch")
            .address,
        v4("198.51.100.35")
    );

    let mut numbers: Vec<u16> = program.service_sets[0]
        .terms
        .iter()
        .map(|term| term.number)
        .collect();
    numbers.extend(statics.iter().map(|one| one.number));
    numbers.sort_unstable();
    assert_eq!(
        numbers,
        (0..11).collect::<Vec<u16>>(),
        "each number once, without gaps"
    );
}

#[test]
fn a_destination_without_protocols_is_one_mapping_and_with_ports_two() {
    let text = format!(
        "{SMALL}[[nat-rules.r.terms]]\nname = \"all\"\nfrom = {{ destination-addresses = [\"198.51.100.0/30\"] }}\nthen = {{ translation-type = \"dnat-44\", destination-prefix = \"10.0.0.9/32\" }}\n\
         [[nat-rules.r.terms]]\nname = \"ports\"\nfrom = {{ destination-addresses = [\"198.51.100.4/32\"], destination-ports = [80, \"443-444\"] }}\nthen = {{ translation-type = \"dnat-44\", destination-prefix = \"10.0.0.9/32\" }}\n"
    );
    let (program, _) = compiled(&parse(&text));
    let shown: Vec<_> = program
        .statics
        .iter()
        .map(|one| {
            (
                one.protocol,
                one.public_port,
                one.inside_port,
                one.ports,
                one.to_one,
                one.number,
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (0, 0, 0, 0, true, 1),
            (6, 80, 80, 1, false, 2),
            (6, 443, 443, 2, false, 3),
            (17, 80, 80, 1, false, 4),
            (17, 443, 443, 2, false, 5),
        ]
    );
    assert_eq!(
        program
            .statics
            .by_public(v4("198.51.100.3"), 47, 0)
            .expect("any protocol")
            .address,
        mapped("10.0.0.9")
    );
}

#[test]
fn stateless_translation_is_in_its_service_set() {
    let (program, _) = compiled(&example("stateless.toml"));
    let [Stateless::Siit(siit)] = program.service_sets[0].stateless.as_slice() else {
        panic!("{:?}", program.service_sets[0].stateless)
    };
    assert_eq!(siit.to_v6(v4("203.0.113.5")), Some(v6("2001:db8:46::5")));
    assert_eq!(siit.to_v6(v4("203.0.113.80")), Some(v6("2001:db8:46:80::80")));
    assert_eq!(siit.to_v6(v4("8.8.8.8")), Some(v6("64:ff9b:1::808:808")));
    let [Stateless::Nptv6(npt)] = program.service_sets[1].stateless.as_slice() else {
        panic!("{:?}", program.service_sets[1].stateless)
    };
    assert_eq!(npt.outside().to_string(), "2001:db8:1::/48");
    assert!(program.service_sets[1].firewall.is_some() && program.service_sets[0].firewall.is_none());
}

const SMALL: &str = r#"
[interfaces.in]
device = "net_ring0"
addresses = ["10.0.0.1/24"]
[interfaces.out]
device = "net_ring1"
addresses = ["192.0.2.1/24"]
[pools.a]
prefixes = ["203.0.113.0/28"]
[service-sets.s]
inside-interfaces = ["in"]
outside-interfaces = ["out"]
nat-rules = ["r"]
[[nat-rules.r.terms]]
name = "t"
then = { translation-type = "napt-44", pool = "a" }
"#;

#[test]
fn ports_of_an_interfaces_own_address_may_be_forwarded() {
    let forward = "[[service-sets.s.static-mappings]]\nname = \"web\"\ninside = \"10.0.0.8\"\npublic = \"192.0.2.1\"\nprotocol = \"tcp\"\npublic-ports = 80\ninside-ports = 8080\n";
    let (program, _) = compiled(&parse(&format!("{SMALL}{forward}")));
    let pool = program.pools.last().expect("a pool");
    assert_eq!(
        (pool.name.as_str(), pool.interface_address),
        ("static-interface:s", true)
    );
    assert!(!pool.ports.contains(22), "what is not mapped goes to the kernel");
    // The interface's pool has the address already, and ports from 61000 on.
    let masquerade = SMALL.replace("prefixes = [\"203.0.113.0/28\"]", "interface = \"out\"");
    let (program, _) = compiled(&parse(&format!("{masquerade}{forward}")));
    assert_eq!(program.pools.len(), 1);
    assert_eq!(
        program
            .statics
            .by_public(v4("192.0.2.1"), 6, 80)
            .expect("forwarded")
            .port,
        8080
    );
}

#[test]
fn terms_and_static_mappings_keep_their_numbers_through_reloads() {
    let mapping = |name: &str, last: u8| {
        format!(
            "[[service-sets.s.static-mappings]]\nname = \"{name}\"\ninside = \"10.0.0.{last}\"\npublic = \"198.51.100.{last}\"\n"
        )
    };
    let numbers = |program: &Program| -> Vec<(String, u16)> {
        let terms = program.service_sets[0].terms.iter();
        let terms = terms.map(|term| (term.name.clone(), term.number));
        let statics = program.statics.iter().map(|one| (one.name.clone(), one.number));
        terms.chain(statics).collect()
    };
    let named = |list: &[(&str, u16)]| -> Vec<(String, u16)> {
        list.iter()
            .map(|(name, number)| ((*name).to_owned(), *number))
            .collect()
    };
    let mut registry = NameRegistry::new();
    let text = format!("{SMALL}{}{}", mapping("a", 8), mapping("b", 9));
    let first = compile(&parse(&text), &mut registry, None, &Extras::default()).expect("compiles");
    assert_eq!(numbers(&first), named(&[("r/t", 0), ("a", 1), ("b", 2)]));
    let text = SMALL.replace(
        "[[nat-rules.r.terms]]",
        "[[nat-rules.r.terms]]\nname = \"new\"\nfrom = { protocols = [\"gre\"] }\nthen = { no-translation = true }\n[[nat-rules.r.terms]]",
    );
    let text = format!("{text}{}{}", mapping("c", 7), mapping("b", 9));
    let second = compile(&parse(&text), &mut registry, Some(&first), &Extras::default()).expect("compiles");
    let wanted = [("r/new", 3), ("r/t", 0), ("c", 4), ("b", 2)];
    assert_eq!(numbers(&second), named(&wanted), "number 1 rests");
}

fn runtime(set: &str, name: &str, text: &StaticText<'_>) -> RuntimeStatic {
    RuntimeStatic {
        service_set: set.into(),
        mapping: StaticMapping::parse(name, text).expect("right by itself"),
    }
}

#[test]
fn static_mappings_of_run_time_join_those_of_the_file() {
    let config = parse(&format!(
        "{SMALL}[[service-sets.s.static-mappings]]\nname = \"file\"\ninside = \"10.0.0.8\"\npublic = \"198.51.100.8\"\n"
    ));
    let web = StaticText {
        inside: "10.0.0.9",
        public: "203.0.113.1",
        protocol: Some("tcp"),
        public_ports: Some("80"),
        inside_ports: Some("8080"),
        inbound_only: false,
    };
    let mut registry = NameRegistry::new();
    let mut with = |statics: &[RuntimeStatic]| {
        let extras = Extras {
            runtime_statics: statics,
            ..Extras::default()
        };
        compile(&config, &mut registry, None, &extras)
    };
    let program = with(&[runtime("s", "web", &web)]).expect("compiles");
    let found = program
        .statics
        .by_public(v4("203.0.113.1"), 6, 80)
        .expect("there");
    assert_eq!(
        (found.address, found.port, found.mapping.number),
        (mapped("10.0.0.9"), 8080, 2)
    );

    // Of a pool's address ports may be mapped, also those it would give out, but not all.
    let high = StaticText {
        public_ports: Some("2000"),
        inside_ports: None,
        ..web
    };
    with(&[runtime("s", "high", &high)]).expect("compiles");
    let whole = StaticText {
        protocol: None,
        public_ports: None,
        ..high
    };
    let mut refused = |one: RuntimeStatic| match with(&[one]) {
        Err(CompileError::RuntimeStatic { fault, .. }) => (fault.key, fault.to_string()),
        other => panic!("{:?}", other.map(|_| "compiles")),
    };
    let six = StaticText {
        inside: "2001:db8::1",
        public: "198.51.100.9",
        ..StaticText::default()
    };
    let taken = StaticText {
        inside: "10.0.0.7",
        public: "198.51.100.8",
        ..StaticText::default()
    };
    let inside = StaticText {
        inside: "10.0.0.8",
        public: "198.51.100.9",
        ..StaticText::default()
    };
    for (one, key, part) in [
        (
            runtime("s", "web", &whole),
            "public",
            "the mapping takes all of its ports",
        ),
        (runtime("t", "web", &web), "service-set", "no such service set"),
        (runtime("s", "file", &web), "name", "of this name"),
        (runtime("s", "six", &six), "inside", "no NAT64 prefix"),
        (
            runtime("s", "x", &taken),
            "public",
            "\"file\" maps 198.51.100.8 already",
        ),
        (
            runtime("s", "x", &inside),
            "inside",
            "\"file\" maps 10.0.0.8 already",
        ),
    ] {
        let (found, text) = refused(one);
        assert!(
            found == key && text.contains(part),
            "{part} is not in {found}: {text}"
        );
    }
    let faults = [
        (
            StaticText {
                inside: "10.0.0.300",
                ..web
            },
            "inside",
        ),
        (
            StaticText {
                public: "10.0.0.0/33",
                ..web
            },
            "public",
        ),
        (
            StaticText {
                protocol: None,
                ..web
            },
            "public-ports",
        ),
        (
            StaticText {
                public_ports: None,
                ..web
            },
            "inside-ports",
        ),
        (
            StaticText {
                public_ports: Some("80-81"),
                ..web
            },
            "inside-ports",
        ),
        (
            StaticText {
                protocol: Some("tpc"),
                ..web
            },
            "protocol",
        ),
        (
            StaticText {
                inside: "10.0.0.0/30",
                ..web
            },
            "inside",
        ),
    ];
    for (text, key) in faults {
        assert_eq!(
            StaticMapping::parse("x", &text).map_err(|fault| fault.key),
            Err(key)
        );
    }
}
