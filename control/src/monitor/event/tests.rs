//! Edges with a virtual clock: hold times both ways, weights once each, pulses, reloads.

use super::*;
use crate::config::{self, PeerEvent};

const BASE: &str = "[interfaces.in]\ndevice = \"net_ring0\"\naddresses = [\"10.0.0.1/24\"]\n[interfaces.out]\ndevice = \"net_ring1\"\n";

fn redundancy(more: &str) -> Redundancy {
    let text = format!("{BASE}{more}");
    config::parse(&text, "t.toml")
        .unwrap_or_else(|faults| panic!("{faults:#?}"))
        .redundancy
}

fn link(name: &str) -> Condition {
    Condition::Link(name.into())
}

fn failed(condition: Condition) -> Observation {
    Observation::Failed(condition, "cut".into())
}

fn well(condition: Condition) -> Observation {
    Observation::Well(condition, "back".into())
}

/// Name, whether active, weight.
fn shown(edges: &mut Vec<Edge>) -> Vec<String> {
    let sign = |active| if active { '+' } else { '-' };
    let shown = |edge: Edge| {
        format!(
            "{}{} {} {}",
            sign(edge.active),
            edge.event,
            edge.weight,
            edge.cause
        )
    };
    edges.drain(..).map(shown).collect()
}

/// A set with a policy that has this event.
fn set(number: u8, event: &str) -> String {
    let group = "[redundancy-groups.1]\nredundancy-local = \"5.5.5.1\"\nredundancy-peer = \"5.5.5.2\"\nsecurity = \"none\"\n";
    format!(
        "{group}[redundancy-policies.q]\nevents = [\"{event}\"]\naction = \"acquire-primary-role\"\n\
         [redundancy-sets.{number}]\nredundancy-group = 1\npolicies = [\"q\"]\n"
    )
}

const LINKS: &str = "[redundancy-events.e]\nlinks = [\"in\", \"out\"]\nlink-weight = 100\n";

#[test]
fn an_event_is_active_while_any_of_its_conditions_is_and_each_weighs_once() {
    let mut events = Events::new(&redundancy(LINKS));
    let mut edges = Vec::new();
    for _ in 0..2 {
        events.observe(0, &failed(link("in")), &mut edges);
    }
    assert_eq!(shown(&mut edges), ["+e 100 cut"], "told once");
    events.observe(1, &failed(link("out")), &mut edges);
    events.observe(2, &well(link("in")), &mut edges);
    events.observe(3, &well(link("out")), &mut edges);
    assert_eq!(shown(&mut edges), ["+e 200 cut", "+e 100 back", "-e 0 back"]);
    events.observe(4, &failed(link("spare")), &mut edges);
    assert_eq!((shown(&mut edges).len(), events.due_ms()), (0, None), "nobody's");
}

#[test]
fn an_edge_waits_for_the_hold_time_both_ways_and_what_is_shorter_is_not_told() {
    let mut events = Events::new(&redundancy(&format!("{LINKS}hold-s = 2\n")));
    let mut edges = Vec::new();
    events.observe(0, &failed(link("in")), &mut edges);
    events.observe(1500, &failed(link("in")), &mut edges);
    assert_eq!(events.due_ms(), Some(2000), "from when it began");
    events.poll(1999, &mut edges);
    assert_eq!(shown(&mut edges), [""; 0]);
    events.poll(2000, &mut edges);
    assert_eq!(shown(&mut edges), ["+e 100 cut"]);
    // Well for 1.9 s: not for long enough, and the next one starts anew.
    events.observe(3000, &well(link("in")), &mut edges);
    events.observe(4900, &failed(link("in")), &mut edges);
    assert_eq!(events.due_ms(), None);
    events.observe(5000, &well(link("in")), &mut edges);
    events.poll(6999, &mut edges);
    assert_eq!(shown(&mut edges), [""; 0]);
    events.poll(7000, &mut edges);
    assert_eq!(shown(&mut edges), ["-e 0 back"]);
}

#[test]
fn flaps_shorter_than_the_hold_time_never_make_an_edge() {
    let mut events = Events::new(&redundancy(&format!("{LINKS}hold-s = 1\n")));
    let mut edges = Vec::new();
    for n in 0..1000 {
        let seen = if n % 2 == 0 {
            failed(link("in"))
        } else {
            well(link("in"))
        };
        events.poll(n * 999, &mut edges);
        events.observe(n * 999, &seen, &mut edges);
    }
    assert_eq!(shown(&mut edges), [""; 0]);
}

#[test]
fn what_happens_and_is_over_makes_both_edges() {
    let more = "[redundancy-events.e]\nrouting-process = [\"frr\"]\n[redundancy-events.p]\npeer = [\"acquire\"]\nhold-s = 3\n";
    let mut events = Events::new(&redundancy(&format!("{more}{}", set(1, "p"))));
    let mut edges = Vec::new();
    let restarted = Observation::Happened(Condition::Routing("frr".into()), "restarted".into());
    events.observe(5, &restarted, &mut edges);
    assert_eq!(shown(&mut edges), ["+e 0 restarted", "-e 0 restarted"]);
    let asks = Observation::Happened(Condition::Peer(PeerEvent::Acquire, Some(1)), "asks".into());
    events.observe(10, &asks, &mut edges);
    assert_eq!(shown(&mut edges), ["+p 0 asks"], "at once");
    events.poll(3009, &mut edges);
    assert_eq!(shown(&mut edges), [""; 0]);
    events.poll(3010, &mut edges);
    assert_eq!(shown(&mut edges), ["-p 0 asks"], "and held up");
}

#[test]
fn every_sort_of_condition_has_its_weight() {
    let more = "[redundancy-events.e]\nlinks = [\"in\"]\nzones = [\"z\"]\ntracked = [\"t\"]\nservice-failure = true\nrouting-process = [\"bird\"]\n\
                peer = [\"lost\"]\ncheck = { command = [\"/bin/true\"], weight = 3 }\n[zones.z]\ninterfaces = [\"out\"]\nweight = 5\n\
                [tracked-ips.t]\naddresses = [{ address = \"10.0.0.7\" }]\nweight = 7\n";
    let mut events = Events::new(&redundancy(more));
    let mut edges = Vec::new();
    let mut sum = 0;
    for (condition, weight) in [
        (Condition::Service, 0),
        (link("in"), 255),
        (Condition::Zone("z".into()), 5),
        (Condition::Tracked("t".into()), 7),
        (Condition::Routing("bird".into()), 0),
        (Condition::Check("e".into()), 3),
        (Condition::Peer(PeerEvent::Lost, None), 0),
    ] {
        sum += weight;
        events.observe(0, &failed(condition.clone()), &mut edges);
        assert_eq!(events.active().collect::<Vec<_>>(), [("e", sum)], "{condition}");
    }
}

#[test]
fn a_reload_keeps_what_was_seen_and_ends_what_is_gone() {
    let mut events = Events::new(&redundancy(LINKS));
    let mut edges = Vec::new();
    events.observe(0, &failed(link("in")), &mut edges);
    edges.clear();
    let other = redundancy("[redundancy-events.e]\nlinks = [\"in\"]\nlink-weight = 7\n");
    events.reload(1, &other, &mut edges);
    assert_eq!(shown(&mut edges), ["+e 7 another configuration"]);
    let moved = redundancy("[redundancy-events.f]\nlinks = [\"in\"]\nlink-weight = 7\n");
    events.reload(2, &moved, &mut edges);
    assert_eq!(
        shown(&mut edges),
        [
            "+f 7 another configuration",
            "-e 0 the configuration has it no more"
        ]
    );
    events.observe(3, &well(link("in")), &mut edges);
    assert_eq!(shown(&mut edges), ["-f 0 back"]);
}

#[test]
fn what_the_peer_does_about_another_set_is_nothing_and_its_loss_is_of_all() {
    let more = "[redundancy-events.e]\npeer = [\"acquire\", \"release\", \"warned\", \"lost\"]\n";
    let of = |set: &str| Events::new(&redundancy(&format!("{more}{set}")));
    let edges_of = |events: &mut Events, what, of| {
        let (condition, mut edges) = (Condition::Peer(what, of), Vec::new());
        events.observe(0, &failed(condition.clone()), &mut edges);
        events.observe(0, &well(condition), &mut edges);
        edges.len()
    };
    let (mut first, mut second, mut none) = (of(&set(1, "e")), of(&set(2, "e")), of(""));
    for what in [PeerEvent::Acquire, PeerEvent::Release, PeerEvent::Warned] {
        for (about, expected) in [(1, [2, 0, 0]), (2, [0, 2, 0]), (3, [0, 0, 0])] {
            let edges = [&mut first, &mut second, &mut none].map(|of| edges_of(of, what, Some(about)));
            assert_eq!(edges, expected, "{what:?} about {about}");
        }
    }
    let edges = [&mut first, &mut second, &mut none].map(|of| edges_of(of, PeerEvent::Lost, None));
    assert_eq!(edges, [2, 2, 2]);
}

#[test]
fn an_event_that_a_reload_gives_to_another_set_hears_what_the_peer_does_about_that_one() {
    let of = |number| {
        redundancy(&format!(
            "[redundancy-events.e]\npeer = [\"warned\"]\n{}",
            set(number, "e")
        ))
    };
    let warns = |number| Condition::Peer(PeerEvent::Warned, Some(number));
    let (mut events, mut edges) = (Events::new(&of(1)), Vec::new());
    events.observe(0, &failed(warns(1)), &mut edges);
    events.reload(1, &of(2), &mut edges);
    assert_eq!(shown(&mut edges), ["+e 0 cut", "-e 0 another configuration"]);
    events.observe(2, &failed(warns(2)), &mut edges);
    assert_eq!(shown(&mut edges), ["+e 0 cut"]);
}
