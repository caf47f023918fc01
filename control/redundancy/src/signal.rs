//! Signal routes: when one is in the kernel, with which metric, and which word about a role is the latest. Redundancy spec, sections 1
//! and 6.

use std::collections::BTreeSet;

/// Metric of a primary's signal routes at epoch 0. FRR reads 24 bits of a kernel route's metric, and the others as its distance.
const METRIC_AT_EPOCH_0: u32 = 0xff_ffff;

/// The metric of a primary's signal routes: 16777215 less the epoch of its role, at least 1. A routing daemon that hands it on as a
/// preference (BGP: MED) makes the path by a new primary better than what is left of the old one's.
#[must_use]
pub fn metric_of(epoch: u64) -> u32 {
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

impl When {
    /// Whether it is to be there with this role (whether it is primary, and the epoch), these policies having an active event; and with
    /// which metric, if that depends on the role. Without a role yet no route is there that goes by it.
    #[must_use]
    pub fn wants(&self, role: Option<(bool, u64)>, active: &BTreeSet<String>) -> Option<Option<u32>> {
        match (self, role) {
            (Self::Primary, Some((true, epoch))) => Some(Some(metric_of(epoch))),
            (Self::Standby, Some((false, _))) => Some(None),
            (Self::Event(policy), _) if active.contains(policy) => Some(None),
            _ => None,
        }
    }
}

/// Whether a word about a set's role with this epoch is not older than the last one. A role is given up with the epoch it had where the
/// peer has the same one and the better claim.
#[must_use]
pub const fn is_latest(last: Option<u64>, epoch: u64) -> bool {
    match last {
        Some(last) if cfg!(feature = "plant-stale-signal-route") => last < epoch,
        Some(last) => last <= epoch,
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::{is_latest, metric_of};

    #[test]
    fn a_later_epoch_has_the_lower_metric_and_none_has_zero() {
        assert_eq!((metric_of(0), metric_of(1)), (16_777_215, 16_777_214));
        assert_eq!(metric_of(0xff_fffe), 1);
        for epoch in [0xff_ffff, u64::from(u32::MAX), 1 << 32, u64::MAX] {
            assert_eq!(metric_of(epoch), 1, "{epoch}");
        }
    }

    #[test]
    fn a_word_of_the_same_epoch_counts_and_an_older_one_does_not() {
        assert!(is_latest(None, 0) && is_latest(Some(3), 4) && is_latest(Some(3), 3));
        assert!(!is_latest(Some(3), 2));
    }
}
