//! What chassis of a pair share of their configurations: the table that says whose a key is, and what is taken from one into another.

use std::collections::BTreeSet;

use tandem_control::config::{
    self, MergeError, SHARES, Share, known_keys, merged, share_of, shared_diff, shared_lines, shared_part,
};

const ONE: &str = include_str!("../../configs/pair/chassis-1.toml");
const TWO: &str = include_str!("../../configs/pair/chassis-2.toml");
const PAGE: &str = include_str!("../../docs/config.md");

fn lines(text: &str) -> String {
    shared_lines(text).expect("TOML")
}

fn is_right(text: &str) {
    config::parse(text, "t.toml").unwrap_or_else(|faults| panic!("{faults:#?}\n{text}"));
}

#[test]
fn every_table_is_somebodys_and_the_page_says_whose() {
    let tables: BTreeSet<String> = known_keys()
        .into_iter()
        .filter_map(|key| {
            key.path
                .split('.')
                .next()
                .map(|table| table.trim_end_matches("[]").to_owned())
        })
        .collect();
    for table in &tables {
        assert!(
            SHARES.iter().any(|(path, _)| path == table),
            "nothing is said of [{table}]"
        );
    }
    let known: BTreeSet<String> = known_keys().into_iter().map(|key| key.path).collect();
    for (path, share) in SHARES {
        let shown = path
            .replace("redundancy-sets.*", "redundancy-sets.N")
            .replace('*', "NAME");
        let is_there = known
            .iter()
            .any(|key| *key == shown || key.starts_with(&format!("{shown}.")));
        assert!(is_there, "{path} is no key");
        let word = match share {
            Share::Shared => "shared",
            Share::Kept => "kept",
            Share::Local => "local-only",
        };
        let row = PAGE
            .lines()
            .find(|line| line.starts_with(&format!("| {word} |")))
            .unwrap_or_else(|| panic!("no row of {word}"));
        assert!(
            row.contains(&format!("`{shown}`")),
            "`{shown}` is not among what is {word}"
        );
    }
    assert_eq!(share_of(&["pools", "p", "prefixes"]), Share::Shared);
    assert_eq!(share_of(&["pools", "p", "interface"]), Share::Kept);
    assert_eq!(share_of(&["redundancy-sets", "1", "priority"]), Share::Local);
    assert_eq!(
        share_of(&["a-later-table", "x"]),
        Share::Local,
        "nothing leaves by mistake"
    );
}

#[test]
fn the_examples_of_a_pair_share_all_they_have_to() {
    assert_eq!(shared_diff(&lines(ONE), &lines(TWO)), "");
    for (ours, theirs) in [(ONE, TWO), (TWO, ONE)] {
        let shared = shared_part(theirs).expect("TOML");
        for local in [
            "redundancy-peer",
            "redundancy-local",
            "chassis-1.key",
            "chassis-2.key",
            "priority",
            "0000:",
        ] {
            assert!(
                !shared
                    .lines()
                    .any(|line| !line.starts_with('#') && line.contains(local)),
                "{local}: {shared}"
            );
        }
        assert_eq!(
            merged(ours, &shared).expect("they fit"),
            ours,
            "what is alike stays as it is written"
        );
    }
}

#[test]
fn a_change_there_comes_and_all_else_of_the_file_here_stays() {
    let changed = ONE.replacen("replication-threshold-s = 180", "replication-threshold-s = 60", 1)
        + "\n[pools.fresh]\nprefixes = [\"198.51.100.0/28\"]\n[nat-rules.fresh]\n[[nat-rules.fresh.terms]]\nname = \"a\"\nthen = { translation-type = \"napt-44\", pool = \"fresh\" }\n";
    let merged = merged(TWO, &shared_part(&changed).expect("TOML")).expect("they fit");
    is_right(&merged);
    assert_eq!(lines(&merged), lines(&changed));
    let comment = TWO
        .lines()
        .find(|line| line.starts_with("# "))
        .expect("a comment");
    assert!(
        merged.contains(comment) && merged.contains("replication-threshold-s = 60 "),
        "{merged}"
    );
    let local = |text: &str| -> Vec<String> {
        let keys = [
            "redundancy-local",
            "redundancy-peer",
            "certificate",
            "priority",
            "device",
            "addresses",
            "name = \"chassis",
        ];
        let is_local = |line: &&str| keys.iter().any(|key| line.starts_with(key));
        text.lines().filter(is_local).map(str::to_owned).collect()
    };
    assert_eq!(local(&merged), local(TWO));
    // And back: what the peer does not have any more goes.
    let back = config::merged(&merged, &shared_part(ONE).expect("TOML")).expect("they fit");
    is_right(&back);
    assert_eq!(lines(&back), lines(TWO));
    assert!(!back.contains("fresh"), "{back}");
}

const BASE: &str = r#"
# Ours.
[interfaces.in0]
device = "net_ring0"
[interfaces.out0]
device = "net_ring1"
[interfaces.in1]
device = "net_ring2"
[pools.p]
prefixes = ["203.0.113.0/28"]   # the shared one
[pools.own]
prefixes = ["203.0.113.16/28"]
[nat-rules.r]
[[nat-rules.r.terms]]
name = "a"
from = { source-addresses = ["10.0.0.0/8"] }
then = { translation-type = "napt-44", pool = "p" }
[[nat-rules.r.terms]]
name = "b"
then = { translation-type = "napt-44", pool = "p" }
[nat-rules.own]
[[nat-rules.own.terms]]
name = "t"
then = { translation-type = "napt-44", pool = "own" }
[service-sets.s]
inside-interfaces = ["in0"]
outside-interfaces = ["out0"]
nat-rules = ["r"]
redundancy-set = 1
[service-sets.own]
inside-interfaces = ["in1"]
outside-interfaces = ["out0"]
nat-rules = ["own"]
[redundancy]
redundancy-local = "5.5.5.1"
[redundancy-groups.1]
redundancy-peer = "5.5.5.2"
security = "none"
heartbeat-interval-ms = 0
[redundancy-sets.1]
redundancy-group = 1
role = "primary"
"#;

#[test]
fn what_only_an_own_service_set_uses_stays_and_does_not_leave() {
    is_right(BASE);
    let shared = shared_part(BASE).expect("TOML");
    assert!(
        !shared.contains("own") && shared.contains("[pools.p]"),
        "{shared}"
    );
    let without = r#"
        pools = { p = { prefixes = ["203.0.113.0/28"] } }
        nat-rules = { r = { terms = [ { name = "b", then = { translation-type = "napt-44", pool = "p" } } ] } }
        service-sets.s = { inside-interfaces = ["lan"], outside-interfaces = ["wan"], nat-rules = ["r"], redundancy-set = 1 }
        redundancy-sets.1.redundancy-group = 9
    "#;
    let text = merged(BASE, without).expect("they fit");
    is_right(&text);
    assert!(
        text.contains("[pools.own]") && text.contains("[nat-rules.own]") && text.contains("# the shared one")
    );
    assert!(!text.contains("10.0.0.0/8"), "a term went: {text}");
    assert!(
        text.contains("\"in0\"") && !text.contains("lan") && text.contains("redundancy-group = 1"),
        "{text}"
    );
    assert_eq!(lines(&text), lines(without));
    // The same name for something that is shared there.
    let clash = without.replace("pools = {", "pools = { own = { prefixes = [\"192.0.2.0/28\"] },");
    assert_eq!(merged(BASE, &clash), Err(MergeError::Own("pools.own".to_owned())));
}

#[test]
fn a_service_set_that_is_new_brings_its_interfaces() {
    let theirs = BASE.to_owned()
        + "[service-sets.z]\ninside-interfaces = [\"in2\"]\noutside-interfaces = [\"out0\"]\nnat-rules = [\"r\"]\nredundancy-set = 1\n";
    let text = merged(BASE, &theirs).expect("they fit");
    assert!(
        text.contains("[service-sets.z]\ninside-interfaces = [\"in2\"]"),
        "{text}"
    );
    let faults = config::parse(&text, "t.toml").expect_err("there is no such interface here");
    assert!(
        faults.iter().any(|fault| fault.to_string().contains("in2")),
        "{faults:?}"
    );
}

#[test]
fn the_way_a_thing_is_written_is_no_difference_and_order_is_where_it_counts() {
    let other = "service-sets = { s = { redundancy-set = 1 } }\npools.p.prefixes = [ '10.0.0.0/8' ]  # x\nnat-rules.r.terms = [{ name = \"a\" }, { name = \"b\" }]";
    let one = "[pools.p]\nprefixes = [\n  \"10.0.0.0/8\",\n]\n[[nat-rules.r.terms]]\nname = \"a\"\n[[nat-rules.r.terms]]\nname = \"b\"\n[service-sets.s]\nredundancy-set = 1\n";
    assert_eq!(lines(one), lines(other));
    let swapped = other
        .replace("\"a\"", "\"x\"")
        .replace("\"b\"", "\"a\"")
        .replace("\"x\"", "\"b\"");
    assert_ne!(lines(other), lines(&swapped));
    let diff = shared_diff(&lines(other), &lines(&one.replace("10.", "11.")));
    assert!(
        diff.contains("-pools.p.prefixes = [\"10.0.0.0/8\"]\n+pools.p.prefixes = [\"11.0.0.0/8\"]\n"),
        "{diff}"
    );
    // Either way of writing takes what the other one has.
    let more = one.to_owned()
        + "[[nat-rules.r.terms]]\nname = \"c\"\n[nat-rules.r.terms.then]\nno-translation = true\n[pools.q]\ndrain = true\n[pools.q.port-block-allocation]\n";
    let inline = "service-sets = { s = { redundancy-set = 1 } }\npools = { p = { prefixes = ['10.0.0.0/8'] } }\nnat-rules = { r = { terms = [{ name = \"a\" }, { name = \"b\" }] } }\n";
    for (ours, theirs) in [
        (inline, more.as_str()),
        (&more, inline),
        (other, &more),
        (&more, other),
    ] {
        let text = merged(ours, theirs).expect("they fit");
        assert_eq!(lines(&text), lines(theirs), "{text}");
    }
    assert!(shared_lines("a = ").is_err() && merged("a = 1", "b = ").is_err());
}
