//! Extents in the hands of a primary's shards, and what the other chassis knows of them: while leases are required none is taken that
//! the other has not marked first.

use tandem_engine::program::{PoolId, Program};
use tandem_engine::public_space::{MAX_WORKERS, OWNER_FREE, PublicSpace};

use crate::views::{Public, Set};

/// A public address and the number of an extent.
type Extent = (u32, usize);

/// Extents a chassis took while the other could not know.
#[derive(Debug, Default)]
pub struct Leases {
    /// Extents shards had at the last look.
    had: Set<Extent>,
    /// Of these, those the other chassis did not know when they were taken.
    unknown: Set<Extent>,
    /// The last look was strict.
    strict: bool,
}

fn knows(space: &PublicSpace, (address, extent): Extent) -> bool {
    space
        .index_of(address)
        .is_some_and(|index| space.owner(index, extent) != OWNER_FREE)
}

impl Leases {
    /// Looks at a primary's space. `other`: the space of the other chassis, if that is up. `strict`: leases are required and
    /// the other chassis is complete. `leads`: whether it is primary of what a pool is for.
    pub fn look(
        &mut self,
        program: &Program,
        other: Option<&PublicSpace>,
        strict: bool,
        leads: impl Fn(PoolId) -> bool,
    ) {
        let strict = std::mem::replace(&mut self.strict, strict) && strict;
        let mut has = Set::default();
        for states in program.public_space.lease_states(0) {
            for (extent, owner) in states.owners.iter().enumerate() {
                if *owner >= MAX_WORKERS {
                    continue;
                }
                let at = (states.address, extent);
                // What it had as standby it has not taken now, if nobody could tell the other.
                has.insert(at);
                if !leads(states.pool) {
                    continue;
                }
                if other.is_some_and(|o| knows(o, at)) {
                    self.unknown.remove(&at);
                } else if !self.had.contains(&at) {
                    assert!(!strict, "extent {at:x?} was taken before the other chassis knew");
                    self.unknown.insert(at);
                }
            }
        }
        self.unknown.retain(|at| has.contains(at));
        self.had = has;
    }

    /// Whether a public end lies in an extent the other chassis could not know of.
    pub fn is_unknown(&self, public: Public) -> bool {
        self.unknown.contains(&(public.0, usize::from(public.1 >> 12)))
    }
}
