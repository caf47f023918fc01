//! What a redundancy set has outside the dataplane, and what of it should be there in a role. Pure.

use std::collections::BTreeSet;

use crate::kernel::{SignalRoute, VirtualAddress};

/// When a signal route is in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// While the set is primary here.
    Primary,
    /// While it is not.
    Standby,
    /// While an event of this policy is active, whatever the role.
    Event(String),
}

/// A signal route of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedRoute {
    /// The route.
    pub route: SignalRoute,
    /// When it is there.
    pub when: When,
}

/// A virtual address of a set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlannedAddress {
    /// Name of the interface's tap.
    pub device: String,
    /// The address on it.
    pub address: VirtualAddress,
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
    /// How often a virtual address is announced when it comes, 1 to 64.
    pub announcements: u8,
}

impl SetPlan {
    /// The routes that should be there. `None` as role: none is known yet, and then no route is there that goes by the role.
    pub(super) fn wanted_routes(
        &self,
        is_primary: Option<bool>,
        active: &BTreeSet<String>,
    ) -> Vec<SignalRoute> {
        let mut wanted: Vec<SignalRoute> = Vec::new();
        for planned in &self.routes {
            let is_wanted = match &planned.when {
                When::Primary => is_primary == Some(true),
                When::Standby => is_primary == Some(false),
                When::Event(policy) => active.contains(policy),
            };
            if is_wanted && !wanted.contains(&planned.route) {
                wanted.push(planned.route.clone());
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
