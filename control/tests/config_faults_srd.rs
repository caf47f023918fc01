//! Limits and exclusivity rules of the redundancy daemon's configuration (redundancy spec, sections 1, 2 and 4): each is refused with
//! an error that names both ends of the conflict, and what is just within it is taken.

use ha_sync::net::Bind;
use tandem_control::config::{self, Config, Fault, RouteWhen, RoutingProcess, SocketProtocol};

/// Two interfaces with addresses, one without; a group with heartbeats, a set.
const BASE: &str = r#"[workers]
count = 1
[interfaces.in]
device = "net_ring0"
addresses = ["10.0.0.1/24", "2001:db8:1::1/64"]
[interfaces.out]
device = "net_ring1"
addresses = ["192.0.2.1/24"]
[interfaces.spare]
device = "net_ring2"
[redundancy-groups.1]
redundancy-local = "5.5.5.1"
redundancy-peer = "5.5.5.2"
security = "none"
[redundancy-sets.1]
redundancy-group = 1
"#;

fn with(more: &str) -> String {
    format!("{BASE}{more}")
}

fn parse(text: &str) -> Config {
    config::parse(text, "t.toml").unwrap_or_else(|faults| panic!("{faults:#?}"))
}

/// The one fault of a text, as it is told.
fn told(text: &str) -> String {
    let found: Vec<Fault> = config::parse(text, "t.toml").map_or_else(|faults| faults, |_| Vec::new());
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines.concat()
}

/// The one fault of a text begins with its place and key path, and has `part` in it.
fn refused(text: &str, place: &str, part: &str) {
    let told = told(text);
    let begins = told.starts_with(&format!("t.toml:{place}: "));
    assert!(begins && told.contains(part), "{place} ... {part}: {told}");
}

/// The number of the last line that has `part`, and the column of its value.
fn value_at(text: &str, line_with: &str, value: &str) -> String {
    let found = text
        .lines()
        .enumerate()
        .filter(|(_, line)| line.contains(line_with))
        .last();
    let (line, content) = found.unwrap_or_else(|| panic!("no line with {line_with}"));
    let column = content
        .find(value)
        .unwrap_or_else(|| panic!("no {value} in {content}"));
    format!("{}:{}", line + 1, column + 1)
}

fn policies(count: usize) -> String {
    let one = |n: usize| {
        format!(
            "[redundancy-policies.p{n}]\nsignal-routes = [{{ prefix = \"10.{}.{}.0/24\", discard = true }}]\n",
            n / 256,
            n % 256
        )
    };
    (1..=count).map(one).collect()
}

#[test]
fn policies_are_256_at_most() {
    assert_eq!(parse(&with(&policies(256))).redundancy.policies.len(), 256);
    let text = with(&policies(257));
    refused(
        &text,
        &format!("{}: redundancy-policies.p257", value_at(&text, "p257", "p257")),
        "is redundancy policy 257, counted from redundancy-policies.p1 (line 17); use at most 256",
    );
}

#[test]
fn link_down_monitors_of_one_policy_are_256_at_most() {
    let text = |links: usize| {
        let interfaces: String = (0..links)
            .map(|n| format!("[interfaces.i{n}]\nparent = \"in\"\nvlan = {}\n", n + 1))
            .collect();
        let names = |from: usize, to: usize| {
            (from..to)
                .map(|n| format!("\"i{n}\""))
                .collect::<Vec<_>>()
                .join(", ")
        };
        with(&format!(
            "[redundancy-policies.p]\nevents = [\"a\", \"b\"]\naction = \"broadcast-warning\"\n\
             [redundancy-events.a]\nlinks = [{}]\n[redundancy-events.b]\nlinks = [{}]\n{interfaces}",
            names(0, 200),
            names(200, links)
        ))
    };
    assert_eq!(parse(&text(256)).redundancy.events[1].links.len(), 56);
    let over = text(257);
    refused(
        &over,
        &format!(
            "{}: redundancy-events.b.links[56]",
            value_at(&over, "\"i256\"", "\"i256\"")
        ),
        "is link-down monitor 257 of redundancy-policies.p (line 17); use at most 256",
    );
    // The interfaces of a zone are monitored, too.
    let zone = "zones = [\"z\"]\n[zones.z]\ninterfaces = [\"in\", \"out\"]\n[interfaces.i0]";
    let zoned = |links| text(links).replacen("[interfaces.i0]", zone, 1);
    assert_eq!(parse(&zoned(254)).redundancy.events[1].zones.len(), 1);
    let zoned = zoned(255);
    refused(
        &zoned,
        &format!(
            "{}: zones.z.interfaces[1]",
            value_at(&zoned, "interfaces = [", "\"out\"")
        ),
        "is link-down monitor 257 of redundancy-policies.p (line 17); use at most 256",
    );
}

#[test]
fn the_channel_goes_by_the_control_link_and_gateway_1_is_told_by_the_redundancy_address() {
    let group = |text: &str| parse(text).redundancy.groups[0].clone();
    let way = |group: &config::RedundancyGroup| {
        let end = group.endpoint();
        (end.local.to_string(), end.peer.to_string(), end.bind)
    };
    let told = |local: &str, peer: &str, bind| (local.to_owned(), peer.to_owned(), bind);
    assert_eq!(way(&group(BASE)), told("5.5.5.1", "5.5.5.2", Bind::None));
    // This chassis has the higher address there.
    let link = "[[redundancy-groups.1.links]]\nkind = \"control\"\nlocal = \"10.9.0.2\"\npeer = \"10.9.0.1\"\ninterface = \"ha0\"\n";
    let other = "[[redundancy-groups.1.links]]\nkind = \"data\"\nlocal = \"10.9.1.2\"\npeer = \"10.9.1.1\"\n";
    let group = group(&with(&format!("{link}{other}")));
    assert_eq!(
        way(&group),
        told("10.9.0.2", "10.9.0.1", Bind::Interface("ha0".into()))
    );
    assert_eq!(
        group.endpoint().other.map(|way| way.peer.to_string()),
        Some("10.9.1.1".into())
    );
    assert!(group.is_gateway_1(), "5.5.5.1 is lower than 5.5.5.2");
}

#[test]
fn heartbeats_by_one_way_are_warned_about() {
    let warned = |text: &str| -> Vec<String> {
        let told = parse(text).warnings;
        let told = told.iter().filter(|told| told.path == "redundancy-groups.1");
        told.map(ToString::to_string).collect()
    };
    let found = warned(BASE).concat();
    assert!(
        found.contains("one way for them") && found.contains("add [[redundancy-groups.1.links]]"),
        "{found}"
    );
    let link = |kind: &str| {
        with(&format!(
            "[[redundancy-groups.1.links]]\nkind = \"{kind}\"\nlocal = \"10.9.0.1\"\npeer = \"10.9.0.2\"\n"
        ))
    };
    assert_eq!(warned(&link("control")).len(), 1, "that is the way");
    assert_eq!(warned(&link("secondary")), [""; 0]);
    let by_hand = BASE.replace("security", "heartbeat-interval-ms = 0\nsecurity");
    assert_eq!(warned(&by_hand), [""; 0], "there are none");
}

#[test]
fn a_tracking_file_is_of_one_set_and_of_nothing_else() {
    let text =
        with("track-file = \"run/a\"\n[redundancy-sets.2]\nredundancy-group = 1\ntrack-file = \"run/b\"\n");
    let sets = parse(&text).redundancy.sets;
    let files: Vec<_> = sets.iter().filter_map(|set| set.track_file.as_deref()).collect();
    assert_eq!(files, ["run/a", "run/b"].map(std::path::Path::new));
    let same = text.replace("run/b", "run/a");
    refused(
        &same,
        &format!(
            "{}: redundancy-sets.2.track-file",
            value_at(&same, "track-file", "\"run/a\"")
        ),
        "run/a is redundancy-sets.1.track-file (line 17), too; use a file of its own",
    );
    let key = with("track-file = \"pair.key\"\n").replace(
        "security = \"none\"\n",
        "security = \"none\"\nheartbeat-key = \"pair.key\"\n",
    );
    refused(
        &key,
        &format!(
            "{}: redundancy-sets.1.track-file",
            value_at(&key, "track-file", "\"pair.key\"")
        ),
        "pair.key is redundancy-groups.1.heartbeat-key (line 15), too; use a file of its own",
    );
    refused(
        &with("track-file = \"\"\n"),
        "17:14: redundancy-sets.1.track-file",
        "is not a path",
    );
}

#[test]
fn policies_of_one_set_are_16_at_most() {
    let text = |count: usize| {
        let names: Vec<String> = (1..=count).map(|n| format!("\"p{n}\"")).collect();
        with(&format!("policies = [{}]\n{}", names.join(", "), policies(count)))
    };
    assert_eq!(parse(&text(16)).redundancy.sets[0].policies.len(), 16);
    refused(
        &text(17),
        "17:116: redundancy-sets.1.policies[16]",
        "is policy 17 of redundancy-sets.1 (line 15); use at most 16",
    );
}

#[test]
fn sets_are_numbered_up_to_128() {
    assert_eq!(
        parse(&BASE.replace("sets.1]", "sets.128]")).redundancy.sets[0].id,
        128
    );
    refused(
        &BASE.replace("sets.1]", "sets.129]"),
        "15:18: redundancy-sets.129",
        "\"129\" is no number that [redundancy-sets] may have: there are 128 at most; use 1..=128",
    );
}

#[test]
fn groups_are_numbered_up_to_16() {
    let text = BASE
        .replace("groups.1]", "groups.16]")
        .replace("group = 1", "group = 16");
    assert_eq!(parse(&text).redundancy.groups[0].id, 16);
    let text = format!(
        "{BASE}[redundancy-groups.17]\nredundancy-local = \"5.5.5.1\"\nredundancy-peer = \"5.5.5.9\"\nsecurity = \"none\"\n"
    );
    refused(
        &text,
        "17:20: redundancy-groups.17",
        "\"17\" is no number that [redundancy-groups] may have: there are 16 at most; use 1..=16",
    );
}

#[test]
fn sets_of_one_group_are_16_at_most() {
    let sets = |count: usize| -> String {
        (2..=count)
            .map(|n| format!("[redundancy-sets.{n}]\nredundancy-group = 1\n"))
            .collect()
    };
    assert_eq!(parse(&with(&sets(16))).redundancy.sets.len(), 16);
    let text = with(&sets(17));
    refused(
        &text,
        "48:20: redundancy-sets.17.redundancy-group",
        "is set 17 of redundancy-groups.1 (line 11); use at most 16",
    );
}

#[test]
fn an_interface_is_monitored_by_one_event_only() {
    let text = with(
        "[redundancy-events.a]\nlinks = [\"in\", \"out\"]\n[redundancy-events.b]\nlinks = [\"spare\", \"out\"]\n",
    );
    refused(
        &text,
        "20:19: redundancy-events.b.links[1]",
        "interfaces.out is of redundancy-events.a already, redundancy-events.a.links[1] (line 18), and so not of redundancy-events.b",
    );
}

#[test]
fn an_interface_is_monitored_by_one_event_only_also_through_a_zone() {
    let text = with(
        "[redundancy-events.a]\nlinks = [\"in\"]\n[redundancy-events.b]\nzones = [\"z\"]\n[zones.z]\ninterfaces = [\"in\", \"out\"]\n",
    );
    refused(
        &text,
        "22:15: zones.z.interfaces[0]",
        "interfaces.in is of redundancy-events.a already, redundancy-events.a.links[0] (line 18), and so not of redundancy-events.b",
    );
    let both_in_one = text.replace("[redundancy-events.b]\n", "");
    assert_eq!(parse(&both_in_one).redundancy.events.len(), 1);
}

#[test]
fn an_interface_is_of_one_zone_only() {
    let text = with("[zones.y]\ninterfaces = [\"in\"]\n[zones.z]\ninterfaces = [\"in\"]\n");
    refused(
        &text,
        "20:15: zones.z.interfaces[0]",
        "interfaces.in is of zones.y already, zones.y.interfaces[0] (line 18)",
    );
}

#[test]
fn a_zone_and_a_tracked_ip_object_are_of_one_event_only() {
    let events = "[redundancy-events.a]\nKEY = [\"x\"]\n[redundancy-events.b]\nKEY = [\"x\"]\n";
    let zone = with(&format!("{}[zones.x]\n", events.replace("KEY", "zones")));
    refused(
        &zone,
        "20:10: redundancy-events.b.zones[0]",
        "zones.x is of redundancy-events.a already, redundancy-events.a.zones[0] (line 18)",
    );
    let object = with(&format!(
        "{}[tracked-ips.x]\naddresses = [{{ address = \"192.0.2.7\" }}]\n",
        events.replace("KEY", "tracked")
    ));
    refused(
        &object,
        "20:12: redundancy-events.b.tracked[0]",
        "tracked-ips.x is of redundancy-events.a already, redundancy-events.a.tracked[0] (line 18)",
    );
}

const TWO_POLICIES: &str = "[redundancy-events.e]\nlinks = [\"in\"]\n[redundancy-policies.p]\nevents = [\"e\"]\naction = \"broadcast-warning\"\n\
                            [redundancy-policies.q]\nevents = [\"e\"]\naction = \"broadcast-warning\"\n";

#[test]
fn an_event_is_of_one_policy_only() {
    refused(
        &with(TWO_POLICIES),
        "23:11: redundancy-policies.q.events[0]",
        "redundancy-events.e is of redundancy-policies.p already, redundancy-policies.p.events[0] (line 20), and so not of redundancy-policies.q",
    );
}

#[test]
fn a_policy_is_of_one_set_only() {
    let text = with("policies = [\"p1\"]\n[redundancy-sets.2]\nredundancy-group = 1\npolicies = [\"p1\"]\n")
        + &policies(1);
    refused(
        &text,
        "20:13: redundancy-sets.2.policies[0]",
        "redundancy-policies.p1 is of redundancy-sets.1 already, redundancy-sets.1.policies[0] (line 17), and so not of redundancy-sets.2",
    );
}

#[test]
fn a_set_is_of_one_group_only() {
    let second = "[redundancy-groups.2]\nredundancy-local = \"5.5.5.1\"\nredundancy-peer = \"5.5.5.9\"\nsecurity = \"none\"\n";
    let text = with(second).replace("redundancy-group = 1", "redundancy-group = [1, 2]");
    refused(
        &text,
        "16:20: redundancy-sets.1.redundancy-group",
        "names redundancy-groups.1 (line 11) and redundancy-groups.2 (line 17); keep one number: a redundancy set is of one group",
    );
    let twice = with(second).replace(
        "redundancy-group = 1",
        "redundancy-group = 1\nredundancy-group = 2",
    );
    refused(
        &twice,
        "17:1",
        "\"redundancy-group\" is already set in the same table (line 16); keep one of the two",
    );
}

#[test]
fn a_service_set_is_of_one_redundancy_set_at_most() {
    let sets = "[redundancy-sets.2]\nredundancy-group = 1\n[nat-rules.r]\n[[nat-rules.r.terms]]\nname = \"t\"\nthen = { no-translation = true }\n\
                [service-sets.s]\ninside-interfaces = [\"in\"]\noutside-interfaces = [\"out\"]\nnat-rules = [\"r\"]\n";
    let text = with(&format!("{sets}redundancy-set = [1, 2]\n"));
    refused(
        &text,
        "27:18: service-sets.s.redundancy-set",
        "names redundancy-sets.1 (line 15) and redundancy-sets.2 (line 17); keep one number: a service set is of one redundancy set at most",
    );
    let twice = with(&format!("{sets}redundancy-set = 1\nredundancy-set = 2\n"));
    refused(
        &twice,
        "28:1",
        "\"redundancy-set\" is already set in the same table (line 27)",
    );
}

#[test]
fn a_name_is_in_a_list_once() {
    refused(
        &with("[zones.z]\ninterfaces = [\"in\", \"in\"]\n"),
        "18:21: zones.z.interfaces[1]",
        "in is zones.z.interfaces[0] (line 18), too",
    );
}

#[test]
fn a_policy_has_an_action_or_signal_routes() {
    refused(
        &with("[redundancy-events.e]\nlinks = [\"in\"]\n[redundancy-policies.p]\nevents = [\"e\"]\n"),
        "19:22: redundancy-policies.p",
        "neither an action nor signal routes",
    );
    refused(
        &with("[redundancy-policies.p]\naction = \"broadcast-warning\"\n"),
        "18:10: redundancy-policies.p.action",
        "the policy has no event, and so its action would never be done",
    );
    refused(
        &with(TWO_POLICIES).replacen("action = \"broadcast-warning\"", "action = [\"broadcast-warning\", \"release-primary-role\"]", 2).replace(
            "[redundancy-policies.q]\nevents = [\"e\"]\naction = [\"broadcast-warning\", \"release-primary-role\"]\n",
            "",
        ),
        "21:10: redundancy-policies.p.action",
        "is a list; use one of \"acquire-primary-role\"",
    );
}

#[test]
fn nobody_warns_because_the_peer_does() {
    let text = |action: &str, peer: &str| {
        with(&format!(
            "[redundancy-events.e]\npeer = [\"lost\", \"{peer}\"]\n[redundancy-policies.p]\nevents = [\"e\"]\naction = \"{action}\"\n"
        ))
    };
    refused(
        &text("broadcast-warning", "warned"),
        "21:10: redundancy-policies.p.action",
        "while redundancy-events.e.peer (line 18) says that the peer warns",
    );
    parse(&text("broadcast-warning", "acquire"));
    parse(&text("acquire-primary-role", "warned"));
}

#[test]
fn an_event_has_a_condition() {
    refused(
        &with("[redundancy-events.e]\nhold-s = 3\nservice-failure = false\n"),
        "17:20: redundancy-events.e",
        "the event has no condition, and so would never be active",
    );
}

#[test]
fn a_role_in_the_file_is_refused_beside_heartbeats() {
    let text = BASE.replace("redundancy-group = 1", "redundancy-group = 1\nrole = \"primary\"");
    refused(
        &text,
        "17:8: redundancy-sets.1.role",
        "stands beside heartbeats, redundancy-groups.1.heartbeat-interval-ms (line 11)",
    );
    let by_hand = text.replace(
        "security = \"none\"",
        "security = \"none\"\nheartbeat-interval-ms = 0",
    );
    let redundancy = parse(&by_hand).redundancy;
    assert_eq!(redundancy.groups[0].heartbeats, None);
    assert_eq!(redundancy.initial_hold_ms(&redundancy.groups[0]), 5000);
}

#[test]
fn heartbeats_need_a_key_and_an_interval_in_range() {
    let with_group = |keys: &str| BASE.replace("security = \"none\"", keys);
    let tls = format!(
        "certificate = \"a.crt\"\nkey = \"a.key\"\npeer-fingerprints = [\"{}\"]",
        "ab".repeat(32)
    );
    refused(
        &with_group(&tls),
        "11:20: redundancy-groups.1",
        "heartbeats need a key that both chassis have",
    );
    assert_eq!(
        parse(&with_group(&format!("{tls}\nheartbeat-interval-ms = 0")))
            .redundancy
            .groups[0]
            .heartbeats,
        None
    );
    for interval in [1, 9] {
        refused(
            &with_group(&format!(
                "security = \"none\"\nheartbeat-interval-ms = {interval}"
            )),
            "15:25: redundancy-groups.1.heartbeat-interval-ms",
            "use 10..=10000, or 0 for none",
        );
    }
    let redundancy = parse(&with_group(
        "security = \"none\"\nheartbeat-interval-ms = 10\nheartbeat-lost-threshold = 3",
    ))
    .redundancy;
    let beats = redundancy.groups[0].heartbeats.clone().expect("heartbeats");
    assert_eq!((beats.lost_after_ms(), beats.key), (30, None));
    assert_eq!(
        redundancy.initial_hold_ms(&redundancy.groups[0]),
        1000,
        "at least"
    );
    refused(
        &with_group("security = \"none\"\nheartbeat-lost-threshold = 2"),
        "15:28: redundancy-groups.1.heartbeat-lost-threshold",
        "2 is out of range; use an integer 3..=255",
    );
}

/// Links of the kinds given, at lines 17 to 20, 21 to 24 and so on.
fn links(kinds: &[&str]) -> String {
    let one = |(n, kind): (usize, &&str)| {
        format!(
            "[[redundancy-groups.1.links]]\nkind = \"{kind}\"\nlocal = \"10.9.{n}.1\"\npeer = \"10.9.{n}.2\"\n"
        )
    };
    with(&kinds.iter().enumerate().map(one).collect::<String>())
}

#[test]
fn a_group_has_one_link_of_a_kind_and_two_secondary_paths() {
    let kinds = |text: &str| -> Vec<String> {
        let links = &parse(text).redundancy.groups[0].links;
        links
            .iter()
            .map(|link| format!("{:?} {}", link.kind, link.peer))
            .collect()
    };
    assert_eq!(kinds(BASE), ["Control 5.5.5.2"], "none given");
    assert_eq!(
        kinds(&links(&["secondary", "data", "secondary"])),
        [
            "Control 5.5.5.2",
            "Data 10.9.1.2",
            "Secondary 10.9.0.2",
            "Secondary 10.9.2.2"
        ]
    );
    assert_eq!(
        kinds(&links(&["data", "control"])),
        ["Control 10.9.1.2", "Data 10.9.0.2"]
    );
    refused(
        &links(&["control", "data", "control"]),
        "26:8: redundancy-groups.1.links[2].kind",
        "is a control link beside redundancy-groups.1.links[0] (line 17); use at most 1",
    );
    refused(
        &links(&["data", "data"]),
        "22:8: redundancy-groups.1.links[1].kind",
        "is a data link beside redundancy-groups.1.links[0] (line 17); use at most 1",
    );
    refused(
        &links(&["secondary", "secondary", "secondary"]),
        "26:8: redundancy-groups.1.links[2].kind",
        "is a secondary link beside redundancy-groups.1.links[0] (line 17); use at most 2",
    );
}

#[test]
fn the_two_addresses_of_a_link_are_of_one_family_and_no_two_links_go_the_same_way() {
    refused(
        &links(&["data"]).replace("10.9.0.2", "2001:db8::2"),
        "20:8: redundancy-groups.1.links[0].peer",
        "2001:db8::2 and 10.9.0.1, redundancy-groups.1.links[0].local (line 19), are of two families",
    );
    refused(
        &links(&["data"]).replace("10.9.0.2", "10.9.0.1"),
        "20:8: redundancy-groups.1.links[0].peer",
        "10.9.0.1 is this chassis' own address, redundancy-groups.1.links[0].local (line 19)",
    );
    refused(
        &links(&["data", "secondary"]).replace("10.9.1.", "10.9.0."),
        "21:1: redundancy-groups.1.links[1]",
        "goes the same way as redundancy-groups.1.links[0] (line 17)",
    );
    refused(
        &links(&["data"]).replace("peer = \"10.9.0.2\"\n", ""),
        "17:1: redundancy-groups.1.links[0]",
        "the link has no peer",
    );
}

/// Virtual addresses of the set: interface and address.
fn virtuals(list: &[(&str, &str)]) -> String {
    let one = |(interface, address): &(&str, &str)| {
        format!(
            "[[redundancy-sets.1.virtual-addresses]]\ninterface = \"{interface}\"\naddress = \"{address}\"\n"
        )
    };
    with(&list.iter().map(one).collect::<String>())
}

#[test]
fn a_virtual_address_is_in_a_subnet_of_its_interface() {
    let right = virtuals(&[
        ("in", "10.0.0.9/24"),
        ("in", "2001:db8:1::9/64"),
        ("in", "fe80::9/64"),
        ("out", "192.0.2.9/32"),
    ]);
    assert_eq!(parse(&right).redundancy.sets[0].virtual_addresses.len(), 4);
    for (interface, address, line) in [
        ("in", "192.0.2.9/24", 5),
        ("in", "2001:db8:2::9/64", 5),
        ("out", "fe80::9/64", 8),
        ("spare", "10.0.0.9/24", 9),
    ] {
        let (shown, _) = address.split_once('/').expect("a prefix length");
        refused(
            &virtuals(&[(interface, address)]),
            "19:11: redundancy-sets.1.virtual-addresses[0].address",
            &format!("{shown} is in no subnet of interfaces.{interface}.addresses (line {line})"),
        );
    }
    refused(
        &virtuals(&[("inn", "10.0.0.9/24")]),
        "18:13: redundancy-sets.1.virtual-addresses[0].interface",
        "there is no interfaces.inn; did you mean \"in\"?",
    );
}

#[test]
fn a_virtual_address_is_no_interfaces_own() {
    refused(
        &virtuals(&[("in", "10.0.0.1/24")]),
        "19:11: redundancy-sets.1.virtual-addresses[0].address",
        "10.0.0.1 is this chassis' own, interfaces.in.addresses[0] (line 5)",
    );
}

#[test]
fn a_virtual_address_is_used_once() {
    refused(
        &virtuals(&[("in", "10.0.0.9/24"), ("in", "10.0.0.9/32")]),
        "22:11: redundancy-sets.1.virtual-addresses[1].address",
        "10.0.0.9 is redundancy-sets.1.virtual-addresses[0] (line 17), too",
    );
}

#[test]
fn a_virtual_address_is_given_out_by_no_pool() {
    let pool = "[pools.p]\nranges = [\"192.0.2.8-192.0.2.9\"]\n";
    refused(
        &(virtuals(&[("out", "192.0.2.9/24")]) + pool),
        "19:11: redundancy-sets.1.virtual-addresses[0].address",
        "192.0.2.9 is an address of pools.p (line 20)",
    );
    assert_eq!(
        parse(&(virtuals(&[("out", "192.0.2.10/24")]) + pool))
            .redundancy
            .sets[0]
            .virtual_addresses
            .len(),
        1
    );
}

#[test]
fn what_finds_the_other_chassis_or_is_tracked_does_not_move() {
    let link =
        "[[redundancy-groups.1.links]]\nkind = \"secondary\"\nlocal = \"10.0.0.9\"\npeer = \"10.0.0.2\"\n";
    refused(
        &(virtuals(&[("in", "10.0.0.9/24")]) + link),
        "11:20: redundancy-groups.1",
        "10.0.0.9 is virtual, redundancy-sets.1.virtual-addresses[0] (line 17)",
    );
    let tracked = "[tracked-ips.t]\naddresses = [{ address = \"10.0.0.9\" }]\n";
    refused(
        &(virtuals(&[("in", "10.0.0.9/24")]) + tracked),
        "20:14: tracked-ips.t",
        "10.0.0.9 is virtual, redundancy-sets.1.virtual-addresses[0] (line 17)",
    );
}

/// A tracked-IP object of so many addresses.
fn object(name: &str, first: usize, count: usize) -> String {
    let addresses: Vec<String> = (first..first + count)
        .map(|n| format!("{{ address = \"10.0.0.{n}\" }}"))
        .collect();
    format!("[tracked-ips.{name}]\naddresses = [{}]\n", addresses.join(", "))
}

#[test]
fn addresses_of_one_tracked_ip_object_are_16_at_most() {
    assert_eq!(
        parse(&with(&object("t", 2, 16))).redundancy.tracked_ips[0]
            .addresses
            .len(),
        16
    );
    let text = with(&object("t", 2, 17));
    let place = value_at(&text, "10.0.0.18", "{ address = \"10.0.0.18\"");
    refused(
        &text,
        &format!("{place}: tracked-ips.t.addresses[16]"),
        "is address 17 of tracked-ips.t (line 17); use at most 16",
    );
}

#[test]
fn tracked_addresses_are_64_at_most() {
    let text = |last: usize| {
        let full: String = (0..4).map(|n| object(&format!("t{n}"), 2 + 16 * n, 16)).collect();
        with(&full)
            + &if last > 0 {
                object("last", 100, last)
            } else {
                String::new()
            }
    };
    let sum: usize = parse(&text(0))
        .redundancy
        .tracked_ips
        .iter()
        .map(|object| object.addresses.len())
        .sum();
    assert_eq!(sum, 64);
    refused(
        &text(1),
        "26:14: tracked-ips.last.addresses[0]",
        "is tracked address 65, counted from tracked-ips.t0 (line 17); use at most 64",
    );
}

#[test]
fn tracked_ip_objects_are_32_at_most() {
    let text = |count: usize| {
        with(
            &(0..count)
                .map(|n| object(&format!("t{n}"), 2 + n, 1))
                .collect::<String>(),
        )
    };
    assert_eq!(parse(&text(32)).redundancy.tracked_ips.len(), 32);
    refused(
        &text(33),
        "81:14: tracked-ips.t32",
        "is tracked-IP object 33, counted from tracked-ips.t0 (line 17); use at most 32",
    );
}

#[test]
fn a_tracked_address_is_another_systems_and_there_is_one_to_probe_it_from() {
    let text = |address: &str, more: &str| {
        with(&format!(
            "[tracked-ips.t]\naddresses = [{{ address = \"{address}\" }}]\n{more}"
        ))
    };
    let place = "18:26: tracked-ips.t.addresses[0].address";
    refused(
        &text("192.0.2.1", ""),
        place,
        "192.0.2.1 is this chassis' own, interfaces.out.addresses[0] (line 8)",
    );
    refused(
        &text("198.51.100.1", ""),
        place,
        "so there is no address to probe it from; add interface",
    );
    refused(
        &text("198.51.100.1", "interface = \"out\"\nmethod = \"neighbour\"\n"),
        place,
        "198.51.100.1 is in no subnet of interfaces.out (line 6); use method = \"ping\"",
    );
    refused(
        &text("2001:db8:9::1", "interface = \"out\"\n"),
        place,
        "interfaces.out (line 6) has no address of 2001:db8:9::1's family to probe from",
    );
    refused(
        &text("10.0.0.7", "interface = \"outt\"\n"),
        "19:13: tracked-ips.t.interface",
        "there is no interfaces.outt; did you mean \"out\"?",
    );
    refused(
        &with("[tracked-ips.t]\naddresses = [{ address = \"10.0.0.7\" }, { address = \"10.0.0.7\" }]\n"),
        "18:52: tracked-ips.t.addresses[1].address",
        "10.0.0.7 is tracked-ips.t.addresses[0].address (line 18), too",
    );
    let from = |address: &str, more: &str| {
        let config = parse(&text(address, more));
        let one = config.redundancy.tracked_ips[0].addresses[0].clone();
        format!(
            "{} {:?}",
            one.interface,
            one.source.map(|source| source.to_string())
        )
    };
    assert_eq!(from("10.0.0.7", ""), "in Some(\"10.0.0.1\")");
    assert_eq!(
        from("198.51.100.1", "interface = \"out\"\n"),
        "out Some(\"192.0.2.1\")"
    );
    assert_eq!(
        from("2001:db8:9::1", "interface = \"in\"\n"),
        "in Some(\"2001:db8:1::1\")"
    );
    assert_eq!(
        from("fe80::7", "interface = \"spare\"\nmethod = \"neighbour\"\n"),
        "spare None"
    );
}

#[test]
fn a_tracked_ip_object_that_never_fails_is_warned_about() {
    let warned = |object: &str| -> Vec<String> {
        let found = parse(&with(object)).warnings;
        found
            .iter()
            .filter(|one| one.path.ends_with("threshold"))
            .map(ToString::to_string)
            .collect()
    };
    let found = warned("[tracked-ips.t]\naddresses = [{ address = \"10.0.0.7\" }]\n");
    assert!(
        found.len() == 1 && found[0].contains("the weights of the addresses are 1 together"),
        "{found:?}"
    );
    assert_eq!(
        warned("[tracked-ips.t]\naddresses = [{ address = \"10.0.0.7\" }]\nthreshold = 1\n"),
        [""; 0]
    );
}

#[test]
fn a_zone_has_interfaces_that_are_there() {
    refused(
        &with("[zones.z]\ninterfaces = [\"in\", \"dmz\"]\n"),
        "18:21: zones.z.interfaces[1]",
        "there is no interfaces.dmz; use one of \"in\", \"out\", \"spare\"",
    );
    assert_eq!(
        parse(&with("[zones.z]\n")).redundancy.zones[0].interfaces,
        [""; 0],
        "it cannot fail"
    );
}

#[test]
fn events_policies_and_sets_refer_to_what_is_there() {
    refused(
        &with("[redundancy-events.e]\nlinks = [\"in\"]\ntracked = [\"t\"]\n"),
        "19:12: redundancy-events.e.tracked[0]",
        "there is no tracked-ips.t; there is none yet",
    );
    refused(
        &with("[redundancy-events.e]\nzones = [\"z\"]\n"),
        "18:10: redundancy-events.e.zones[0]",
        "there is no zones.z",
    );
    refused(
        &with("[redundancy-policies.p]\nevents = [\"e\"]\naction = \"broadcast-warning\"\n"),
        "18:11: redundancy-policies.p.events[0]",
        "there is no redundancy-events.e",
    );
    refused(
        &with("policies = [\"p\"]\n"),
        "17:13: redundancy-sets.1.policies[0]",
        "there is no redundancy-policies.p",
    );
    refused(
        &with("[redundancy-events.e]\nrouting-process = [\"quagga\"]\n"),
        "18:20: redundancy-events.e.routing-process[0]",
        "use \"frr\", \"bird\", or { name",
    );
    refused(
        &with("[redundancy-events.e]\nrouting-process = [{ name = \"x\" }]\n"),
        "18:20: redundancy-events.e.routing-process[0]",
        "nothing to watch the routing process by",
    );
}

#[test]
fn a_routing_process_may_say_what_it_speaks_at_its_socket() {
    let process = |keys: &str| {
        with(&format!(
            "[[redundancy-events.e.routing-process]]\nname = \"x\"\n{keys}"
        ))
    };
    refused(
        &process("pid-file = \"/run/x.pid\"\nprotocol = \"vty\"\n"),
        "20:12: redundancy-events.e.routing-process[0].protocol",
        "there is no socket to speak it at; add socket = \"/PATH\", or remove it",
    );
    refused(
        &process("socket = \"/run/x.ctl\"\nprotocol = \"brid\"\n"),
        "20:12: redundancy-events.e.routing-process[0].protocol",
        "\"brid\" is not a choice; did you mean \"bird\"? use one of \"vty\", \"bird\"",
    );
    let spoken = |keys: &str| {
        let config = parse(&process(&format!("socket = \"/run/x.ctl\"\n{keys}")));
        match &config.redundancy.events[0].routing_processes[..] {
            [RoutingProcess::Other { protocol, .. }] => *protocol,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(spoken(""), None);
    assert_eq!(spoken("protocol = \"vty\"\n"), Some(SocketProtocol::Vty));
    assert_eq!(spoken("protocol = \"bird\"\n"), Some(SocketProtocol::Bird));
}

#[test]
fn an_external_check_ends_before_its_next_run_and_has_a_program() {
    let check = |keys: &str| with(&format!("[redundancy-events.e.check]\n{keys}"));
    refused(
        &check("command = [\"/bin/true\"]\ninterval-s = 3\n"),
        "17:22: redundancy-events.e.check.timeout-s",
        "5 is more than redundancy-events.e.check.interval-s = 3 (line 19)",
    );
    refused(
        &check("command = [\"true\", \"-x\"]\n"),
        "18:12: redundancy-events.e.check.command[0]",
        "\"true\" is not an absolute path",
    );
    refused(
        &check("command = []\n"),
        "17:22: redundancy-events.e.check",
        "the check has no command",
    );
}

/// Signal routes of policy `p`, and one of policy `q`.
fn routes(p: &str, q: &str) -> String {
    with(&format!(
        "[redundancy-policies.p]\nsignal-routes = [{p}]\n[redundancy-policies.q]\nsignal-routes = [{q}]\n"
    ))
}

#[test]
fn two_signal_routes_never_meet() {
    let discard = |prefix: &str, more: &str| format!("{{ prefix = \"{prefix}\", discard = true{more} }}");
    let (a, b) = (discard("10.1.0.0/24", ""), discard("10.2.0.0/24", ""));
    refused(
        &routes(&a, &a),
        "20:18: redundancy-policies.q.signal-routes[0]",
        "10.1.0.0/24 in table 254 is redundancy-policies.p.signal-routes[0] (line 18), too",
    );
    let standby = discard("10.1.0.0/24", ", when = \"standby\"");
    refused(
        &routes(&a, &standby),
        "20:18: redundancy-policies.q.signal-routes[0]",
        "both may be wanted at once",
    );
    let event = discard("10.1.0.0/24", ", when = \"event\"");
    let no_event = discard("10.1.0.0/24", ", when = \"no-event\"");
    let by_event = |p: &str| {
        routes(p, &b).replace(
            "[redundancy-policies.p]\n",
            "[redundancy-events.e]\nlinks = [\"in\"]\n[redundancy-policies.p]\nevents = [\"e\"]\n",
        )
    };
    refused(
        &by_event(&format!("{a}, {no_event}")),
        &format!("21:{}: redundancy-policies.p.signal-routes[1]", 20 + a.len()),
        "both may be wanted at once",
    );
    let both = by_event(&format!("{event}, {no_event}"));
    let policies = parse(&both).redundancy.policies;
    let whens: Vec<RouteWhen> = policies[0].signal_routes.iter().map(|route| route.when).collect();
    assert_eq!(whens, [RouteWhen::Event, RouteWhen::NoEvent]);
    for (p, q) in [
        (format!("{a}, {standby}"), b.clone()),
        (a.clone(), discard("10.1.0.0/24", ", table = 100")),
        (a.clone(), discard("10.1.0.0/24", ", vrf = \"OUT\"")),
        (a.clone(), discard("10.1.0.0/25", "")),
    ] {
        assert_eq!(parse(&routes(&p, &q)).redundancy.policies.len(), 2);
    }
}

#[test]
fn a_signal_route_goes_one_way_in_one_table() {
    let one = |keys: &str| {
        with(&format!(
            "[redundancy-policies.p]\nsignal-routes = [{{ {keys} }}]\n"
        ))
    };
    let route = "redundancy-policies.p.signal-routes[0]";
    for (keys, key, part) in [
        (
            "prefix = \"10.1.0.0/24\"",
            "",
            "the signal route goes nowhere; add next-hop",
        ),
        ("discard = true", "", "the signal route has no prefix"),
        (
            "prefix = \"10.1.0.0/24\", discard = true, receive = true",
            ".receive",
            "stands beside redundancy-policies.p.signal-routes[0].discard (line 18)",
        ),
        (
            "prefix = \"10.1.0.0/24\", next-hop = \"10.0.0.2\", discard = true",
            ".discard",
            "stands beside redundancy-policies.p.signal-routes[0].next-hop (line 18)",
        ),
        (
            "prefix = \"10.1.0.0/24\", discard = true, table = 9, vrf = \"OUT\"",
            ".vrf",
            "stands beside redundancy-policies.p.signal-routes[0].table (line 18)",
        ),
        (
            "prefix = \"10.1.0.0/24\", next-hop = \"2001:db8::1\"",
            ".next-hop",
            "2001:db8::1 and 10.1.0.0/24, redundancy-policies.p.signal-routes[0].prefix (line 18), are of two families",
        ),
        (
            "prefix = \"10.1.0.1/24\", discard = true",
            ".prefix",
            "has host bits set; use \"10.1.0.0/24\"",
        ),
        (
            "prefix = \"10.1.0.0/24\", discard = true, when = \"event\"",
            ".when",
            "is \"event\", and redundancy-policies.p (line 17) has no event",
        ),
        (
            "prefix = \"10.1.0.0/24\", discard = true, when = \"no-event\"",
            ".when",
            "is \"no-event\", and redundancy-policies.p (line 17) has no event",
        ),
    ] {
        let text = one(keys);
        let at = match key.strip_prefix('.') {
            Some(name) => {
                let line = text.lines().last().expect("a line");
                let key = format!("{name} = ");
                let at = line.find(&key).expect("the key") + key.len();
                format!("18:{}", at + 1)
            }
            None => "18:18".into(),
        };
        refused(&text, &format!("{at}: {route}{key}"), part);
    }
}
