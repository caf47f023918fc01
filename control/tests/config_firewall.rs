//! What firewall policies become in the program, and what a reload keeps of them.

use std::path::Path;
use std::sync::{Arc, Mutex};

use tandem_control::config::{
    self, CompileError, Config, Effect, Extras, FaultKind, NameRegistry, check_reload, compile,
};
use tandem_engine::program::policy::{
    Classifier, ClassifierBuilder, NO_POLICY, Policy, PolicyKey, ReferenceBuilder,
};
use tandem_engine::program::{PolicyAction, PolicyList, Program};

fn example() -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/firewall.toml");
    config::load(&path).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn parse(text: &str) -> Config {
    config::parse(text, "t.toml").unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn key(src: &str, dst: &str, protocol: u8, sport: u16, dport: u16) -> PolicyKey {
    let neutral = |text: &str| match text.parse::<std::net::IpAddr>().expect("an address") {
        std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        std::net::IpAddr::V6(v6) => v6.to_bits(),
    };
    PolicyKey {
        src: neutral(src),
        dst: neutral(dst),
        sport,
        dport,
        protocol,
    }
}

/// Name of the policy that decides, or none.
fn decides(list: &PolicyList, key: PolicyKey) -> Option<&str> {
    let mut found = [0];
    list.classifier.classify(&[key], &mut found);
    (found[0] != NO_POLICY).then(|| list.policies[usize::from(found[0])].name.as_str())
}

#[test]
fn the_example_decides_as_it_says() {
    let mut registry = NameRegistry::new();
    let program = compile(&example(), &mut registry, None, &Extras::default()).expect("compiles");
    let set = &program.service_sets[0];
    assert!(set.tcp.track_window && set.terms.is_empty());
    let firewall = set.firewall.as_ref().expect("a firewall");
    assert_eq!(
        (firewall.outbound.default, firewall.inbound.default),
        (PolicyAction::Deny, PolicyAction::Deny)
    );
    assert_eq!(firewall.outbound.policies[0].action, PolicyAction::Reject);
    assert!(firewall.outbound.policies[0].log && !firewall.outbound.policies[1].log);

    let out = |src, dst, protocol, dport| decides(&firewall.outbound, key(src, dst, protocol, 40_000, dport));
    assert_eq!(out("10.0.0.5", "8.8.8.8", 6, 25), Some("from-lan/no-mail"));
    assert_eq!(
        out("2001:db8:9::5", "2001:db8:8::8", 6, 25),
        Some("from-lan/no-mail"),
        "any address"
    );
    assert_eq!(
        out("10.0.0.5", "8.8.8.8", 17, 443),
        Some("from-lan/browsing"),
        "QUIC of the set"
    );
    assert_eq!(
        out("2001:db8:0:1::7", "2001:db8:8::8", 6, 80),
        Some("from-lan/browsing")
    );
    assert_eq!(
        out("2001:db8:0:1::7", "8.8.8.8", 6, 80),
        Some("from-lan/browsing"),
        "NAT64: the real destination"
    );
    assert_eq!(out("10.0.1.5", "8.8.8.8", 6, 80), None, "not of the LAN");
    assert_eq!(out("10.0.0.5", "8.8.8.8", 6, 22), None);
    // ICMP: type and code are the destination port.
    let ping =
        |src, dst, protocol, kind: u16| decides(&firewall.outbound, key(src, dst, protocol, 0, kind << 8));
    assert_eq!(ping("10.0.0.5", "8.8.8.8", 1, 8), Some("from-lan/browsing"));
    assert_eq!(ping("10.0.0.5", "8.8.8.8", 1, 13), None);
    assert_eq!(
        ping("2001:db8:0:1::7", "2001:db8:8::8", 58, 128),
        Some("from-lan/browsing")
    );

    let inward = |dst, protocol, dport| {
        decides(
            &firewall.inbound,
            key("198.51.100.1", dst, protocol, 40_000, dport),
        )
    };
    assert_eq!(
        inward("10.0.0.17", 6, 443),
        Some("from-internet/web"),
        "a prefix of the book"
    );
    assert_eq!(
        inward("10.0.0.203", 6, 9005),
        Some("from-internet/web"),
        "a range of the book"
    );
    assert_eq!(inward("10.0.0.208", 6, 443), None);
    assert_eq!(inward("10.0.0.17", 17, 443), None);
    let echo = |dst, code: u16| {
        decides(
            &firewall.inbound,
            key("2001:db8:8::8", dst, 58, 0, 128 << 8 | code),
        )
    };
    assert_eq!(
        echo("2001:db8:0:1:5::7", 0),
        Some("from-internet/echo6"),
        "a type by number, a code"
    );
    assert_eq!(echo("2001:db8:0:1:5::7", 1), None, "another code");
    assert_eq!(echo("2001:db8:0:1::7", 0), None, "no server");
}

const SMALL: &str = r#"[interfaces.in]
device = "net_ring0"
[interfaces.out]
device = "net_ring1"
[[firewall-policies.a.policies]]
name = "one"
from = { source-addresses = ["any-ipv6"] }
then = "permit"
[[firewall-policies.a.policies]]
name = "two"
from = { source-addresses = ["any-ipv4"], destination-addresses = ["::/0"] }
then = "deny"
[service-sets.s]
inside-interfaces = ["in"]
outside-interfaces = ["out"]
[service-sets.s.firewall]
outbound = ["a"]
inbound = ["a"]
"#;

#[test]
fn families_do_not_match_each_other() {
    let program =
        compile(&parse(SMALL), &mut NameRegistry::new(), None, &Extras::default()).expect("compiles");
    let list = &program.service_sets[0]
        .firewall
        .as_ref()
        .expect("a firewall")
        .outbound;
    assert_eq!(
        decides(list, key("2001:db8::1", "10.0.0.1", 6, 1, 2)),
        Some("a/one")
    );
    assert_eq!(
        decides(list, key("64:ff9b::1", "10.0.0.1", 6, 1, 2)),
        Some("a/one")
    );
    assert_eq!(decides(list, key("10.0.0.1", "10.0.0.2", 6, 1, 2)), None);
    assert_eq!(
        decides(list, key("10.0.0.1", "2001:db8::1", 6, 1, 2)),
        Some("a/two")
    );
}

#[test]
fn policies_keep_their_ids_and_each_direction_counts_for_itself() {
    let ids = |program: &Program| -> Vec<(String, u16)> {
        let firewall = program.service_sets[0].firewall.as_ref().expect("a firewall");
        let lists = [("out", &firewall.outbound), ("in", &firewall.inbound)];
        let shown = |(direction, list): (&'static str, &PolicyList)| {
            let one = move |policy: &Policy| (format!("{direction} {}", policy.name), policy.id);
            list.policies.iter().map(one).collect::<Vec<_>>()
        };
        lists.into_iter().flat_map(shown).collect()
    };
    let mut registry = NameRegistry::new();
    let first = compile(&parse(SMALL), &mut registry, None, &Extras::default()).expect("compiles");
    let before = ids(&first);
    let mut different: Vec<u16> = before.iter().map(|(_, id)| *id).collect();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), 4, "{before:?}");
    assert_eq!(registry.policy_name(before[0].1), Some("s/outbound/a/one"));
    assert_eq!(registry.policy("s/inbound/a/two"), Some(before[3].1));

    // A policy in front, and one less: the others keep their ids.
    let text = SMALL
        .replace(
            "name = \"one\"",
            "name = \"new\"\nthen = \"deny\"\n[[firewall-policies.a.policies]]\nname = \"one\"",
        )
        .replace("inbound = [\"a\"]\n", "");
    let second = compile(&parse(&text), &mut registry, Some(&first), &Extras::default()).expect("compiles");
    let after = ids(&second);
    assert_eq!(after.len(), 3);
    assert_eq!(after[1], before[0]);
    assert_eq!(after[2], before[1]);
    assert!(before.iter().all(|(_, id)| *id != after[0].1), "a new id");
}

#[test]
fn the_builder_that_is_given_builds_every_list() {
    #[derive(Default)]
    struct Counts(Mutex<Vec<usize>>);
    impl ClassifierBuilder for Counts {
        fn build(&self, policies: &[Policy]) -> Result<Arc<dyn Classifier>, String> {
            self.0.lock().expect("one thread").push(policies.len());
            ReferenceBuilder.build(policies)
        }
    }
    struct Refuses;
    impl ClassifierBuilder for Refuses {
        fn build(&self, _: &[Policy]) -> Result<Arc<dyn Classifier>, String> {
            Err("no memory".into())
        }
    }
    let counts = Counts::default();
    let with = |classifiers| Extras {
        classifiers,
        runtime_statics: &[],
    };
    compile(&parse(SMALL), &mut NameRegistry::new(), None, &with(&counts)).expect("compiles");
    assert_eq!(*counts.0.lock().expect("one thread"), [2, 2]);
    let error = compile(&parse(SMALL), &mut NameRegistry::new(), None, &with(&Refuses)).expect_err("refused");
    assert!(matches!(error, CompileError::Classifier { .. }));
    assert_eq!(
        error.to_string(),
        "the outbound policies of service set \"s\" cannot be compiled: no memory"
    );
}

const SIX: &str = r#"[interfaces.in]
device = "net_ring0"
[interfaces.out]
device = "net_ring1"
[pools.a]
prefixes = ["203.0.113.0/28"]
[pools.d]
prefixes = ["203.0.113.16/28"]
deterministic = { subscribers = ["100.64.0.0/24"], ports-per-subscriber = 1024 }
[nat-rules.r]
terms = [
    { name = "d", from = { source-addresses = ["100.64.0.0/16"] }, then = { translation-type = "deterministic-napt44", pool = "d" } },
    { name = "t", then = { translation-type = "napt-44", pool = "a" } },
]
[service-sets.s]
inside-interfaces = ["in"]
outside-interfaces = ["out"]
nat-rules = ["r"]
[service-sets.s.ipv6]
subscriber-prefix-length = 56
"#;

#[test]
fn what_sessions_were_begun_by_does_not_change_under_them() {
    let old = parse(SIX);
    let cases = [
        (
            "= 56",
            "= 48",
            20,
            "service-sets.s.ipv6.subscriber-prefix-length",
            "workers choose IPv6 subscribers by 56 bits",
        ),
        (
            "translation-type = \"napt-44\"",
            "translation-type = \"dynamic-nat44\"",
            5,
            "pools.a",
            "whole addresses instead of ports",
        ),
        (
            "[pools.a]",
            "[pools.b]",
            5,
            "pools.b",
            "whole addresses instead of ports, and sessions of pools.a",
        ),
        (
            "ports-per-subscriber = 1024",
            "ports-per-subscriber = 512",
            7,
            "pools.d",
            "512 instead of 1024",
        ),
        (
            "\"100.64.0.0/24\"",
            "\"100.64.1.0/24\", \"100.64.0.0/24\"",
            7,
            "pools.d",
            "ports of one subscriber to another",
        ),
        (
            "203.0.113.16/28",
            "203.0.113.20/30\", \"203.0.113.24/29",
            7,
            "pools.d",
            "ports of one subscriber to another",
        ),
    ];
    for (from, to, line, path, part) in cases {
        let mut text = SIX.replace(from, to);
        if from == "[pools.a]" {
            text = text
                .replace(
                    "translation-type = \"napt-44\"",
                    "translation-type = \"dynamic-nat44\"",
                )
                .replace("pool = \"a\"", "pool = \"b\"");
        }
        if from == "203.0.113.16/28" {
            text = text.replace("100.64.0.0/24", "100.64.0.0/25");
        }
        let faults = check_reload(&old, &parse(&text)).expect_err(part);
        assert_eq!(faults.len(), 1, "{faults:#?}");
        assert_eq!(
            (faults[0].line, faults[0].path.as_str()),
            (line, path),
            "{faults:#?}"
        );
        assert_eq!(faults[0].kind, FaultKind::NeedsRestart);
        assert!(faults[0].to_string().contains(part), "{}", faults[0]);
    }
    // Longer subscriber prefixes, and subscribers and addresses after those there are, are live.
    let grown = SIX
        .replace("= 56", "= 60")
        .replace("\"100.64.0.0/24\"", "\"100.64.0.0/24\", \"100.64.1.0/24\"")
        .replace("\"203.0.113.16/28\"", "\"203.0.113.16/28\", \"203.0.113.32/28\"");
    let changes = check_reload(&old, &parse(&grown)).expect("live");
    assert!(
        changes.iter().all(|change| change.effect == Effect::Live),
        "{changes:#?}"
    );
    // Workers still choose by as many bits as at start.
    let mut registry = NameRegistry::new();
    let first = compile(&old, &mut registry, None, &Extras::default()).expect("compiles");
    let second = compile(&parse(&grown), &mut registry, Some(&first), &Extras::default()).expect("compiles");
    assert_eq!((first.steering_prefix, second.steering_prefix), (56, 56));
    let back = compile(&old, &mut registry, Some(&second), &Extras::default()).expect("56 bits are enough");
    assert_eq!(back.steering_prefix, 56);
    let short = parse(&SIX.replace("= 56", "= 48"));
    let error = compile(&short, &mut registry, Some(&second), &Extras::default()).expect_err("too short");
    assert_eq!(error, CompileError::SteeringPrefix { now: 56, wanted: 48 });
}
