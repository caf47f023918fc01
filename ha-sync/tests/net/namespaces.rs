//! Binding: to a named namespace, and to an interface. Needs root, as the lab does.

use std::process::Command;
use std::time::Duration;

use ha_sync::net::{Bind, ChannelState, Endpoint, FailureKind, Security, Timing};

use crate::node::{Node, endpoint, talk};

pub fn ip(arguments: &str) {
    let done = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .expect("ip runs");
    assert!(
        done.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// Does not wait long for a host that is gone.
fn impatient() -> Timing {
    let second = Duration::from_secs(1);
    Timing {
        connect: second,
        unacknowledged: second,
        backoff_max: second,
        ..Timing::default()
    }
}

/// Two namespaces with a veth pair between them, gone at the end.
pub struct Pair {
    pub one: String,
    pub two: String,
}

impl Pair {
    pub fn new(tag: &str) -> Self {
        let name = |end: char| format!("tdha{}{tag}{end}", std::process::id());
        let pair = Self {
            one: name('1'),
            two: name('2'),
        };
        for namespace in [&pair.one, &pair.two] {
            ip(&format!("netns add {namespace}"));
            ip(&format!("-n {namespace} link set lo up"));
        }
        pair.veth();
        pair
    }

    pub fn veth(&self) {
        let Self { one, two } = self;
        ip(&format!(
            "-n {one} link add ha0 type veth peer name ha0 netns {two}"
        ));
        for (namespace, last) in [(one, 1), (two, 2)] {
            ip(&format!("-n {namespace} address add 192.0.2.{last}/24 dev ha0"));
            ip(&format!(
                "-n {namespace} address add fe80::{last}/64 dev ha0 nodad"
            ));
            ip(&format!("-n {namespace} link set ha0 up"));
        }
    }

    fn endpoints(&self, one: Bind, two: Bind) -> (Endpoint, Endpoint) {
        let (low, high) = (
            "192.0.2.1".parse().expect("address"),
            "192.0.2.2".parse().expect("address"),
        );
        (
            Endpoint {
                bind: one,
                timing: impatient(),
                ..endpoint(low, high, Security::None)
            },
            Endpoint {
                bind: two,
                timing: impatient(),
                ..endpoint(high, low, Security::None)
            },
        )
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for namespace in [&self.one, &self.two] {
            let _gone = Command::new("ip").args(["netns", "del", namespace]).output();
        }
    }
}

#[test]
fn sockets_are_made_in_the_named_namespace() {
    let pair = Pair::new("n");
    let named = |name: &String| Bind::Namespace(name.clone());
    let (low, high) = pair.endpoints(named(&pair.one), named(&pair.two));
    let (listener, connector) = (Node::start(low.clone()), Node::start(high));
    talk(&listener, &connector);
    drop((listener, connector));
    // In this process' own namespace the address is not there.
    let elsewhere = Node::start(Endpoint {
        bind: Bind::None,
        ..low
    });
    let failure = elsewhere
        .until_failed(FailureKind::Socket)
        .channel
        .last_failure
        .expect("failure");
    assert!(failure.text.contains("192.0.2.1"), "{}", failure.text);
}

#[test]
fn a_namespace_that_is_not_there_is_named_and_waited_for() {
    let pair = Pair::new("w");
    let late = format!("{}x", pair.two);
    let (low, high) = pair.endpoints(Bind::Namespace(pair.one.clone()), Bind::Namespace(late.clone()));
    let (listener, connector) = (Node::start(low), Node::start(high));
    let failure = connector
        .until_failed(FailureKind::Socket)
        .channel
        .last_failure
        .expect("failure");
    assert!(failure.text.contains(&late), "{}", failure.text);
    ip(&format!("netns add {late}"));
    let Pair { one, .. } = &pair;
    ip(&format!("-n {one} link del ha0"));
    let whole = Pair {
        one: one.clone(),
        two: late,
    };
    whole.veth();
    talk(&listener, &connector);
}

#[test]
fn an_interface_is_kept_to_also_after_it_was_made_anew() {
    let pair = Pair::new("i");
    let bound = |name: &str| Bind::Interface(name.to_owned());
    let (low, high) = pair.endpoints(bound("ha0"), bound("ha0"));
    let wrong = Endpoint {
        bind: bound("lo"),
        ..high.clone()
    };
    let missing = Endpoint {
        bind: bound("ha7"),
        ..high.clone()
    };
    let listener = Node::start_in(Some(&pair.one), low);
    let connector = Node::start_in(Some(&pair.two), missing);
    let failure = connector
        .until_failed(FailureKind::Socket)
        .channel
        .last_failure
        .expect("failure");
    assert!(failure.text.contains("ha7"), "{}", failure.text);
    drop(connector);
    // The peer is reachable, but not through this one.
    let connector = Node::start_in(Some(&pair.two), wrong);
    connector.until("no way", |status| {
        let counters = &status.channel.counters;
        counters.failures(FailureKind::Unreachable) + counters.failures(FailureKind::ConnectTimeout) > 0
    });
    assert_eq!(connector.status().conversation.connects, 0);
    drop(connector);
    let connector = Node::start_in(Some(&pair.two), high);
    talk(&listener, &connector);
    ip(&format!("-n {} link del ha0", pair.one));
    connector.until("lost", |status| status.channel.state != ChannelState::Connected);
    pair.veth();
    listener.until("again", |status| status.conversation.connects == 2);
    talk(&listener, &connector);
}

#[test]
fn link_local_addresses_belong_to_the_interface_they_are_bound_to() {
    let pair = Pair::new("l");
    let (low, high) = (
        "fe80::1".parse().expect("address"),
        "fe80::2".parse().expect("address"),
    );
    let bind = Bind::Interface("ha0".to_owned());
    let low_end = Endpoint {
        bind: bind.clone(),
        ..endpoint(low, high, Security::None)
    };
    let high_end = Endpoint {
        bind,
        ..endpoint(high, low, Security::None)
    };
    let listener = Node::start_in(Some(&pair.one), low_end);
    let connector = Node::start_in(Some(&pair.two), high_end);
    talk(&listener, &connector);
}
