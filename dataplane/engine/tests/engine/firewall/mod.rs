//! The stateful firewall, for IPv4 and IPv6 alike: policies, sessions, ICMP errors, and policies together with translation.
//!
//! Addresses are 128 bits here, as in policies, so that a test says once what holds for both families.

mod beside;
mod errors;
mod nat64;
mod policies;
mod reevaluate;
mod sessions;
mod together;
mod windows;

use tandem_engine::address;
use tandem_engine::program::policy::{Application, PolicyMatch};
use tandem_engine::program::{Firewall, Policy, PolicyAction, PolicyList};

use crate::common::any::*;
use crate::common::plan::Plan;
use crate::common::world::{Got, World};
use crate::common::{IN1, IN2, OUT1, OUT2, in6, out6, packets, packets6};

/// Hosts of one family.
#[derive(Clone, Copy, Debug)]
struct Hosts {
    in1: u128,
    in2: u128,
    out1: u128,
    out2: u128,
}

impl Hosts {
    fn is_six(&self) -> bool {
        !address::is_v4(self.in1)
    }

    /// The protocol of its ICMP.
    fn icmp(&self) -> u8 {
        if self.is_six() { 58 } else { 1 }
    }
}

const FOUR: Hosts = Hosts {
    in1: address::of_v4(IN1),
    in2: address::of_v4(IN2),
    out1: address::of_v4(OUT1),
    out2: address::of_v4(OUT2),
};

const SIX: Hosts = Hosts {
    in1: in6(1, 5),
    in2: in6(2, 6),
    out1: out6(7),
    out2: out6(8),
};

/// Runs a test for either family.
fn for_both(test: impl Fn(Hosts)) {
    test(FOUR);
    test(SIX);
}

/// A policy.
fn policy(id: u16, action: PolicyAction, matches: Vec<PolicyMatch>) -> Policy {
    Policy {
        id,
        name: format!("policy{id}"),
        action,
        log: false,
        matches,
    }
}

/// A policy that matches everything.
fn any(id: u16, action: PolicyAction) -> Policy {
    policy(id, action, Vec::new())
}

/// The policy, logged.
fn logged(policy: Policy) -> Policy {
    Policy { log: true, ..policy }
}

/// Packets to one address.
fn to(destination: u128) -> PolicyMatch {
    PolicyMatch {
        destinations: vec![(destination, destination)],
        ..PolicyMatch::default()
    }
}

/// Packets from one address.
fn from(source: u128) -> PolicyMatch {
    PolicyMatch {
        sources: vec![(source, source)],
        ..PolicyMatch::default()
    }
}

/// Packets of a protocol to some ports.
fn application(protocol: u8, destination_ports: (u16, u16)) -> Application {
    Application {
        protocol: Some(protocol),
        destination_ports,
        ..Application::ANY
    }
}

/// Packets of one application.
fn only(application: Application) -> PolicyMatch {
    PolicyMatch {
        applications: vec![application],
        ..PolicyMatch::default()
    }
}

/// Policies with the defaults: inside may begin sessions, outside may not.
fn firewall(outbound: Vec<Policy>, inbound: Vec<Policy>) -> Firewall {
    Firewall {
        outbound: PolicyList::plain(outbound, PolicyAction::Permit),
        inbound: PolicyList::plain(inbound, PolicyAction::Deny),
    }
}

/// A plan's service set is a firewall and translates nothing.
fn no_translation(plan: &mut Plan) {
    plan.set().terms.clear();
    plan.program.pools.clear();
}

/// A world whose only service set is a firewall.
fn world(outbound: Vec<Policy>, inbound: Vec<Policy>) -> World {
    World::new(1, |plan| {
        no_translation(plan);
        plan.set().firewall = Some(firewall(outbound, inbound));
    })
}

/// A forwarded packet is the one sent but for its TTL (and the header checksum that has it).
#[track_caller]
fn assert_untouched(got: &Got, sent: &[u8]) {
    let mut expected = sent.to_vec();
    if packets6::is_six(sent) {
        expected[7] -= 1;
    } else {
        expected[8] -= 1;
        packets::fix_header_checksum(&mut expected);
    }
    assert_eq!(got.forwarded(), expected);
}
