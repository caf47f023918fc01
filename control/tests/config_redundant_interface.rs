//! Redundant interfaces in the configuration: what is taken, and what is refused with both ends of the conflict.

use tandem_control::config::{self, Attachment, Config, MEMBER_HOLD_DOWN_MS_MAX, RedundantInterface};

/// Two members and what they make, a port beside them; lines 1 to 10.
const BASE: &str = r#"[interfaces.in]
device = "net_ring0"
[interfaces.a]
device = "net_ring1"
[interfaces.b]
device = "net_ring2"
hold-down-ms = 700
[interfaces.red]
members = ["a", "b"]
addresses = ["192.0.2.2/24"]
"#;

fn parse(text: &str) -> Config {
    config::parse(text, "t.toml").unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn redundant(config: &Config) -> &RedundantInterface {
    let found = config
        .interfaces
        .iter()
        .find_map(|interface| match &interface.attachment {
            Attachment::Redundant(redundant) => Some(redundant),
            Attachment::Port(_) | Attachment::Vlan { .. } => None,
        });
    found.expect("a redundant interface")
}

/// The one fault of a text begins with its place and key path, and has `part` in it.
#[track_caller]
fn refused(text: &str, place: &str, part: &str) {
    let faults = config::parse(text, "t.toml").map_or_else(|faults| faults, |_| Vec::new());
    let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(
        told[0].starts_with(&format!("t.toml:{place}: ")) && told[0].contains(part),
        "{place} ... {part}: {}",
        told[0]
    );
}

fn with(more: &str) -> String {
    format!("{BASE}{more}")
}

#[test]
fn a_redundant_interface_stands_for_its_members_everywhere() {
    let more = "track = \"up\"\ntrack-retry-s = 60\n[interfaces.red7]\nparent = \"red\"\nvlan = 7\n\
                [pools.p]\ninterface = \"red\"\n[zones.z]\ninterfaces = [\"red\", \"red7\"]\n\
                [tracked-ips.up]\naddresses = [{ address = \"192.0.2.1\" }]\nthreshold = 1\n\
                [redundancy-events.e]\nlinks = [\"in\"]\n\
                [service-sets.s]\ninside-interfaces = [\"in\"]\noutside-interfaces = [\"red\", \"red7\"]\n[service-sets.s.firewall]\n";
    let config = parse(&with(more));
    let names: Vec<&str> = config.interfaces.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["in", "red", "red7"], "members are no interfaces");
    let red = redundant(&config);
    let members: Vec<_> = red
        .members
        .iter()
        .map(|one| (one.name.as_str(), one.hold_down_ms))
        .collect();
    assert_eq!(members, [("a", 0), ("b", 700)]);
    assert_eq!((red.track.as_deref(), red.track_retry_s), (Some("up"), 60));
    let effective = config.effective();
    let value = |key: &str| effective.get(key).map(String::as_str);
    assert_eq!(value("interfaces.red.members"), Some("[\"a\", \"b\"]"));
    assert_eq!(value("interfaces.red.primary"), Some("\"a\""));
    assert_eq!(value("interfaces.a.hold-down-ms"), Some("0"));
    let other = parse(&with("primary = \"b\"\n"));
    assert_eq!(
        redundant(&other).members.each_ref().map(|one| one.name.as_str()),
        ["b", "a"]
    );
}

#[test]
fn two_ports_that_nothing_else_has_are_members() {
    let members = |list: &str| {
        BASE.replace("[\"a\", \"b\"]", list)
            .replace("hold-down-ms = 700\n", "")
    };
    refused(
        &members("[\"a\"]"),
        "8:11: interfaces.red.members",
        "names 1 interfaces; name two ports",
    );
    refused(
        &members("[\"a\", \"b\", \"in\"]"),
        "8:11: interfaces.red.members",
        "names 3 interfaces",
    );
    refused(
        &members("[]"),
        "8:11: interfaces.red.members",
        "names 0 interfaces",
    );
    refused(
        &members("[\"a\", \"a\"]"),
        "8:17: interfaces.red.members[1]",
        "a is interfaces.red.members[0] (line 8), too",
    );
    refused(
        &members("[\"a\", \"bb\"]"),
        "8:17: interfaces.red.members[1]",
        "there is no interfaces.bb; did you mean \"b\"?",
    );
    refused(
        &members("[\"a\", \"red\"]"),
        "8:17: interfaces.red.members[1]",
        "interfaces.red (line 7) has no device itself",
    );
    refused(
        &with(
            "[interfaces.v]\nparent = \"in\"\nvlan = 7\n[interfaces.c]\ndevice = \"net_ring3\"\n[interfaces.blue]\nmembers = [\"c\", \"v\"]\n",
        ),
        "17:17: interfaces.blue.members[1]",
        "interfaces.v (line 11) has no device itself",
    );
    refused(
        &with("[interfaces.blue]\nmembers = [\"b\", \"in\"]\n"),
        "12:12: interfaces.blue.members[0]",
        "b is a member of interfaces.red (line 9), too",
    );
    refused(
        &with("primary = \"in\"\n"),
        "11:11: interfaces.red.primary",
        "\"in\" is no member",
    );
}

#[test]
fn a_member_is_named_by_its_redundant_interface_alone() {
    for (more, place) in [
        (
            "[interfaces.v]\nparent = \"a\"\nvlan = 7\n",
            "12:10: interfaces.v.parent",
        ),
        (
            "[zones.z]\ninterfaces = [\"a\"]\n",
            "12:15: zones.z.interfaces[0]",
        ),
        (
            "[redundancy-events.e]\nlinks = [\"a\"]\n",
            "12:10: redundancy-events.e.links[0]",
        ),
        ("[pools.p]\ninterface = \"a\"\n", "12:13: pools.p.interface"),
        (
            "[tracked-ips.t]\ninterface = \"a\"\nthreshold = 1\naddresses = [{ address = \"203.0.113.1\" }]\n",
            "12:13: tracked-ips.t.interface",
        ),
        (
            "[service-sets.s]\ninside-interfaces = [\"in\"]\noutside-interfaces = [\"a\"]\n[service-sets.s.firewall]\n",
            "13:23: service-sets.s.outside-interfaces[0]",
        ),
    ] {
        refused(&with(more), place, "\"a\" is a member of interfaces.red (line 8)");
    }
}

#[test]
fn each_key_stands_where_it_belongs() {
    let member = |key: &str| {
        BASE.replace(
            "device = \"net_ring1\"\n",
            &format!("device = \"net_ring1\"\n{key}\n"),
        )
    };
    for (key, name) in [
        ("mtu = 1400", "mtu"),
        ("mac = \"02:00:00:00:00:01\"", "mac"),
        ("tap = \"t\"", "tap"),
        ("addresses = [\"10.9.9.9/24\"]", "addresses"),
    ] {
        let place = format!(
            "5:{}: interfaces.a.{name}",
            key.find(" = ").map_or(0, |at| at + 4)
        );
        refused(
            &member(key),
            &place,
            "belongs to the redundant interface, and this is a member: interfaces.red.members (line 10); set it in interfaces.red",
        );
    }
    for key in [
        "netdev = \"e\"",
        "promiscuous = true",
        "rx-queues = 2",
        "rx-descriptors = 512",
        "tx-descriptors = 512",
        "hold-down-ms = 5",
    ] {
        let name = key.split(' ').next().unwrap_or_default();
        let place = format!("11:{}: interfaces.red.{name}", name.len() + 4);
        refused(
            &with(&format!("{key}\n")),
            &place,
            "belongs to a member, and this is a redundant interface",
        );
    }
    refused(
        &with("device = \"net_ring3\"\n"),
        "11:10: interfaces.red.device",
        "stands beside interfaces.red.members (line 9)",
    );
    refused(
        &with("[interfaces.x]\ndevice = \"net_ring3\"\nhold-down-ms = 5\n"),
        "13:16: interfaces.x.hold-down-ms",
        "is of a member of a redundant interface, and this is none",
    );
    refused(
        &with("[interfaces.x]\ndevice = \"net_ring3\"\nprimary = \"a\"\n"),
        "13:11: interfaces.x.primary",
        "this has no members",
    );
    refused(
        &member("rx-queues = 2"),
        "6:13: interfaces.b.rx-queues",
        "is another number than in interfaces.a (line 3)",
    );
    let most = MEMBER_HOLD_DOWN_MS_MAX.to_string();
    parse(&BASE.replace("700", &most));
    refused(
        &BASE.replace("700", "600001"),
        "7:16: interfaces.b.hold-down-ms",
        "0..=600000",
    );
}

#[test]
fn what_is_tracked_is_probed_by_the_interface() {
    let object = "[tracked-ips.up]\nthreshold = 1\naddresses = [{ address = \"192.0.2.1\" }, { address = \"10.0.0.7\" }]\n";
    refused(
        &with(
            "track = \"upp\"\n[tracked-ips.up]\nthreshold = 1\naddresses = [{ address = \"192.0.2.1\" }]\n",
        ),
        "11:9: interfaces.red.track",
        "there is no tracked-ips.upp; did you mean \"up\"?",
    );
    let text = BASE.replace(
        "device = \"net_ring0\"",
        "device = \"net_ring0\"\naddresses = [\"10.0.0.1/24\"]",
    );
    refused(
        &format!("{text}track = \"up\"\n{object}"),
        "12:9: interfaces.red.track",
        "tracked-ips.up (line 13) has 10.0.0.7, which is probed by interfaces.in",
    );
    refused(
        &with("track-retry-s = 5\n"),
        "11:17: interfaces.red.track-retry-s",
        "there is no track",
    );
}

#[test]
fn what_a_redundant_interface_stands_on_needs_a_restart() {
    let (old, new) = (parse(BASE), parse(&with("primary = \"b\"\n")));
    let faults = config::check_reload(&old, &new).expect_err("a change of what is fixed");
    assert!(
        faults.iter().any(|fault| fault.path == "interfaces.red.primary"),
        "{faults:#?}"
    );
}
