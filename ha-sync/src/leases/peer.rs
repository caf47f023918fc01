//! Leases of the peer's: marks on extents that are not ours to give out, and what becomes of them when it begins anew.

use std::collections::HashSet;

use tandem_engine::program::Program;
use tandem_engine::public_space::{OWNER_GRANTED, OWNER_LEASE_PENDING, OWNER_PEER};
use tandem_engine::replica::LeaseChange;

use super::rests::rest_ms;
use super::{Keeper, lease};
use crate::bridge::BridgeStats;

impl Keeper {
    /// The peer begins to tell everything, its leases among it.
    pub fn hears_all(&mut self, program: &Program) {
        self.rests.forget(program, &self.plan);
        (self.heard, self.reconcile_at) = (Some(HashSet::new()), None);
        self.contested.clear();
    }

    /// The peer has told everything. What it had leased before it began anew it may have given out: that rests first.
    pub fn heard_all(&mut self, now: u64, program: &Program) {
        let rest = rest_ms(program.pools.iter().map(|p| p.quarantine).max());
        self.reconcile_at = self.heard.is_some().then_some(now + rest);
    }

    /// Takes off the marks that the peer has not renewed, in pools that it gives out.
    pub(super) fn reconcile(&mut self, now: u64, program: &Program, stats: &mut BridgeStats) {
        if self.reconcile_at.is_none_or(|at| at > now) {
            return;
        }
        self.reconcile_at = None;
        let Some(heard) = self.heard.take() else { return };
        for states in program.public_space.lease_states(0) {
            if self.plan.of(states.pool).is_none_or(|kept| kept.primary) {
                continue;
            }
            for extent in states.extents(OWNER_PEER) {
                if !heard.contains(&lease(&states, extent)) {
                    stats.leases_freed += u64::from(program.public_space.unmark_peer(states.index, extent));
                }
            }
        }
    }

    /// The peer's.
    pub fn told(&mut self, change: LeaseChange, program: &Program, stats: &mut BridgeStats) {
        let (lease, offers) = match change {
            LeaseChange::Offer(lease) | LeaseChange::Resting(lease, _) => (lease, true),
            LeaseChange::Withdraw(lease) => (lease, false),
        };
        let space = &program.public_space;
        // Of what is not there nothing is kept, so that memory is bounded whatever the peer names.
        let Some(index) = space.index_of(lease.public) else {
            return;
        };
        self.rests.told(change);
        if let Some(heard) = &mut self.heard {
            if offers {
                heard.insert(lease);
            } else {
                heard.remove(&lease);
            }
        }
        let extent = usize::from(lease.extent);
        if !offers {
            self.contested.remove(&lease);
            space.unmark_peer(index, extent);
            return;
        }
        stats.leases_told += 1;
        let ours = |owner| matches!(owner, OWNER_GRANTED | OWNER_LEASE_PENDING);
        if !space.mark_peer(index, extent) && ours(space.owner(index, extent)) {
            stats.lease_conflicts += 1;
            self.contested.insert(lease);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_engine::replica::Lease;
    use tandem_engine::ticks::Ticks;
    use tandem_engine_testkit::POOL;
    use tandem_engine_testkit::plan::Plan;

    #[test]
    fn of_an_address_that_is_nowhere_nothing_is_kept() {
        let program = Plan::new().compile(None);
        let mut keeper = Keeper::new(0);
        let mut stats = BridgeStats::default();
        keeper.hears_all(&program);
        let (known, strange) = [POOL, POOL ^ 1 << 31]
            .map(|public| Lease { public, extent: 1 })
            .into();
        for lease in [known, strange] {
            keeper.told(LeaseChange::Resting(lease, Ticks(9)), &program, &mut stats);
        }
        assert_eq!(keeper.rests.end(1, known), Some(Ticks(9)));
        assert_eq!(keeper.rests.end(1, strange), None);
        assert_eq!(keeper.heard, Some(HashSet::from([known])));
    }
}
