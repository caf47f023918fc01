//! What a redundancy set has outside the dataplane, and what of it should be there in a role. Pure.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::kernel::{SignalRoute, VirtualAddress};

pub use tandem_redundancy::signal::When;

/// A signal route of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedRoute {
    /// The route. Without a metric, one of a primary gets that of the epoch, and any other the kernel's usual one.
    pub route: SignalRoute,
    /// When it is there.
    pub when: Presence,
}

/// When a signal route is in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// By the role of its set, or while an event is active.
    While(When),
    /// While no event of this policy is active, whatever the role; not before the monitors have looked.
    NoEvent(String),
}

/// What the monitors have said of policies, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Policies {
    /// Those with an active event.
    pub active: BTreeSet<String>,
    /// Those that were looked at: that none of their events is active is known, and not just unknown.
    pub watched: BTreeSet<String>,
}

impl Presence {
    /// As [`When::wants`].
    fn wants(&self, role: Option<(bool, u64)>, policies: &Policies) -> Option<Option<u32>> {
        match self {
            Self::While(when) => when.wants(role, &policies.active),
            Self::NoEvent(policy) => {
                (policies.watched.contains(policy) && !policies.active.contains(policy)).then_some(None)
            }
        }
    }
}

/// A virtual address of a set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlannedAddress {
    /// Name of the interface's tap.
    pub device: String,
    /// The address on it.
    pub address: VirtualAddress,
}

/// A tap whose port shows as down to the kernel while its set is not primary here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedPort {
    /// Name of the interface.
    pub interface: String,
    /// The tap's number in the kernel.
    pub ifindex: u32,
}

/// A redundancy set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetPlan {
    /// Its number.
    pub set: u8,
    /// Its virtual addresses.
    pub addresses: Vec<PlannedAddress>,
    /// Its policies' signal routes.
    pub routes: Vec<PlannedRoute>,
    /// Its ports that show as down while it is not primary here.
    pub ports: Vec<PlannedPort>,
    /// How often a virtual address is announced when it comes, 1 to 64.
    pub announcements: u8,
    /// The file by which VRRP follows the role, from the root.
    pub track_file: Option<PathBuf>,
}

impl SetPlan {
    /// The routes that should be there with this role (whether it is primary, and the epoch). `None`: none is known yet, and then
    /// no route is there that goes by the role.
    pub(super) fn wanted_routes(&self, role: Option<(bool, u64)>, policies: &Policies) -> Vec<SignalRoute> {
        let mut wanted: Vec<SignalRoute> = Vec::new();
        for planned in &self.routes {
            let Some(usual) = planned.when.wants(role, policies) else {
                continue;
            };
            let route = SignalRoute {
                metric: planned.route.metric.or(usual),
                ..planned.route.clone()
            };
            if !wanted.contains(&route) {
                wanted.push(route);
            }
        }
        wanted
    }

    /// The addresses that should be there.
    pub(super) fn wanted_addresses(&self, is_primary: Option<bool>) -> Vec<PlannedAddress> {
        if is_primary == Some(true) {
            self.addresses.clone()
        } else {
            Vec::new()
        }
    }
}
