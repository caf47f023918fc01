//! What the keeper of leases needs of a program and of the roles, by pool.

use std::collections::{BTreeSet, HashMap};

use tandem_engine::program::{PoolId, PoolMode, PortRange, Program, ServiceSetId};
use tandem_engine::public_space::EXTENT_PORTS;

/// A pool.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub mode: PoolMode,
    pub drain: bool,
    ports: PortRange,
    /// A replicated service set takes from it.
    pub replicated: bool,
    /// And is primary here.
    pub primary: bool,
}

impl Kept {
    /// Whether the pool has ports in an extent; pools of whole addresses have all.
    pub fn has(&self, extent: usize) -> bool {
        if matches!(self.mode, PoolMode::Addresses) {
            return true;
        }
        let first = extent as u32 * EXTENT_PORTS;
        first <= u32::from(self.ports.last) && first + EXTENT_PORTS > u32::from(self.ports.first)
    }
}

/// All pools of a program.
#[derive(Debug, Default)]
pub(super) struct Plan {
    made_of: Option<(u32, Vec<ServiceSetId>)>,
    pools: HashMap<PoolId, Kept>,
}

impl Plan {
    pub fn of(&self, pool: PoolId) -> Option<&Kept> {
        self.pools.get(&pool)
    }

    /// Whether a pool here is one the peer has to know about.
    pub fn any_primary(&self) -> bool {
        self.pools.values().any(|kept| kept.primary)
    }

    /// Follows a new program, or a change of roles.
    pub fn follow(&mut self, program: &Program, primary: &[ServiceSetId]) {
        let same = |(generation, sets): &(u32, Vec<ServiceSetId>)| {
            *generation == program.generation && sets == primary
        };
        if self.made_of.as_ref().is_some_and(same) {
            return;
        }
        self.made_of = Some((program.generation, primary.to_vec()));
        let sets = program.service_sets.iter();
        let replicated: Vec<ServiceSetId> = sets
            .filter(|set| set.replication.threshold.is_some())
            .map(|set| set.id)
            .collect();
        let ours: Vec<ServiceSetId> = replicated
            .iter()
            .filter(|id| primary.contains(id))
            .copied()
            .collect();
        let (replicated, ours) = (pools_of(program, &replicated), pools_of(program, &ours));
        let kept = program.pools.iter().map(|pool| {
            let kept = Kept {
                mode: pool.mode.clone(),
                drain: pool.drain,
                ports: pool.ports,
                replicated: replicated.contains(&pool.id),
                primary: ours.contains(&pool.id),
            };
            (pool.id, kept)
        });
        self.pools = kept.collect();
    }
}

/// The pools that terms of these service sets take from.
pub(super) fn pools_of(program: &Program, service_sets: &[ServiceSetId]) -> BTreeSet<PoolId> {
    let sets = program
        .service_sets
        .iter()
        .filter(|set| service_sets.contains(&set.id));
    sets.flat_map(|set| &set.terms)
        .filter_map(|term| term.action.pool())
        .collect()
}
