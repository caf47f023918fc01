//! What a redundancy set has outside the dataplane, and what of it should be there in a role. Pure.

use std::collections::BTreeSet;

use crate::kernel::{SignalRoute, VirtualAddress};

/// Metric of a primary's signal routes at epoch 0. FRR reads 24 bits of a kernel route's metric, and the others as its distance.
const METRIC_AT_EPOCH_0: u32 = 0xff_ffff;

/// The metric of a primary's signal routes: 16777215 less the epoch of its role, at least 1. A routing daemon that hands it on as a
/// preference (BGP: MED) makes the path by a new primary better than what is left of the old one's.
pub(super) fn metric_of(epoch: u64) -> u32 {
    let epoch = u32::try_from(epoch).unwrap_or(u32::MAX);
    METRIC_AT_EPOCH_0.saturating_sub(epoch).max(1)
}

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
    /// The route. Without a metric, one of a primary gets that of the epoch, and any other the kernel's usual one.
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
    /// The routes that should be there with this role (whether it is primary, and the epoch). `None`: none is known yet, and then
    /// no route is there that goes by the role.
    pub(super) fn wanted_routes(
        &self,
        role: Option<(bool, u64)>,
        active: &BTreeSet<String>,
    ) -> Vec<SignalRoute> {
        let mut wanted: Vec<SignalRoute> = Vec::new();
        for planned in &self.routes {
            let usual = match (&planned.when, role) {
                (When::Primary, Some((true, epoch))) => Some(metric_of(epoch)),
                (When::Standby, Some((false, _))) => None,
                (When::Event(policy), _) if active.contains(policy) => None,
                _ => continue,
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

#[cfg(test)]
mod tests {
    use super::metric_of;

    #[test]
    fn a_later_epoch_has_the_lower_metric_and_none_has_zero() {
        assert_eq!((metric_of(0), metric_of(1)), (16_777_215, 16_777_214));
        assert_eq!(metric_of(0xff_fffe), 1);
        for epoch in [0xff_ffff, u64::from(u32::MAX), 1 << 32, u64::MAX] {
            assert_eq!(metric_of(epoch), 1, "{epoch}");
        }
    }
}
