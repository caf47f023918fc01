//! What a chassis that was primary beside the other one, and has yielded, offers it: all that it has of the service set, whatever
//! its age, since the other one knows nothing of what began meanwhile.
//!
//! ```text
//!   primary --Role(standby), Offer--> untold --the bulk that begins next has told it--> told --Offer(false)--> standby
//! ```
//!
//! Until it is taken, nothing is taken of what the other chassis says of the service set: an ending, or what is in the way of
//! something here, would keep that from being offered; and what comes before may be the word of a chassis that has yielded, too, and
//! offers. So a bulk that has told it is not enough. The other chassis says all of it again afterwards, in a bulk that is asked
//! for. What it refuses, it says to be ended (merge.rs): that is taken while the bulk that offers it runs, and what is refused later is
//! not in the one that is asked for.
//!
//! A primary to which something is on its way takes none of it once it is standby, until the other one is primary: what is offered is
//! no primary's word. It is offered again to whoever is primary next.

use super::Engine;
use super::ground::pools_of;
use crate::program::{PoolId, ServiceSetId};
use crate::replica::{ObjectTypes, Op, Role};

/// How far an offer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Offer {
    /// There is none.
    #[default]
    None,
    /// No bulk has told it yet, nor does the one that is told, if there is one: it began before.
    Untold,
    /// The bulk that began last tells it, or another one will.
    Telling,
    /// One has; others tell it again.
    Told,
}

impl Engine {
    /// [`Op::Offer`].
    pub(super) fn offer(&mut self, set: ServiceSetId, offers: bool) {
        let part = self.replica.role_mut(set);
        part.offer = match offers {
            true if part.role == Role::Standby => Offer::Untold,
            _ => Offer::None,
        };
        if offers {
            self.log_drops_of(set, true);
        }
    }

    /// [`Op::PassOver`].
    pub(super) fn pass_over(&mut self, set: ServiceSetId, passes_over: bool) {
        let part = self.replica.role_mut(set);
        part.passes_over = passes_over && part.role == Role::Standby;
    }

    /// Whether what the other chassis tells of a service set is left alone.
    pub(super) fn passes_over(&self, set: ServiceSetId) -> bool {
        let part = self.replica.roles.get(usize::from(set));
        part.is_some_and(|part| part.passes_over)
    }

    /// Whether the ends of blocks are logged that the other chassis does not have, because they began here.
    fn log_drops_of(&mut self, set: ServiceSetId, logs: bool) {
        let pools = self.service_set(set).map(|set| pools_of(set).collect::<Vec<_>>());
        for pool in pools.unwrap_or_default() {
            self.ports.log_drops(pool, logs);
        }
    }

    /// A sweep is over: what was offered, and the other chassis does not have, is gone.
    pub(super) fn has_swept_offers(&mut self) {
        for set in 0..self.replica.roles.len() {
            let part = self.replica.roles.get(set);
            if part.is_some_and(|part| part.is_covered && part.offer == Offer::None) {
                self.log_drops_of(set as ServiceSetId, false);
            }
        }
    }

    fn offer_of(&self, set: ServiceSetId) -> Offer {
        let part = self.replica.roles.get(usize::from(set));
        part.map_or(Offer::None, |part| part.offer)
    }

    /// Whether what is here of a service set has still to be offered, and taken.
    pub(super) fn is_unoffered(&self, set: ServiceSetId) -> bool {
        self.offer_of(set) != Offer::None
    }

    /// The same of the service sets that use a pool.
    pub(in crate::engine) fn is_unoffered_of(&self, pool: PoolId) -> bool {
        self.has_standby && self.is_used_by(pool, |set| self.is_unoffered(set))
    }

    /// Whether a bulk that begins now tells what is offered.
    pub(super) fn has_offer(&self) -> bool {
        self.replica.roles.iter().any(|part| part.offer != Offer::None)
    }

    /// Whether the bulk that is told tells of a service set because that is offered.
    pub(super) fn is_offered(&self, set: ServiceSetId) -> bool {
        let tells = self.replica.bulk.is_some_and(|bulk| bulk.offers);
        tells && self.is_standby(set) && matches!(self.offer_of(set), Offer::Telling | Offer::Told)
    }

    /// The same of an extent or block.
    pub(super) fn is_offered_op(&self, op: &Op) -> bool {
        let of = |set: ServiceSetId| {
            let replicated = |set| self.service_set(set)?.replication.threshold;
            self.is_offered(set) && replicated(set).is_some()
        };
        match op {
            Op::Block(record) => of(record.service_set),
            Op::Extent(record) => self.is_used_by(record.pool, of),
            _ => false,
        }
    }

    /// What a bulk tells of a session that is offered, if it is to be told at all.
    pub(super) fn offered_session(&self, number: u32) -> Option<Op> {
        let (hot, cold) = (self.sessions.hot(number)?, self.sessions.cold(number)?);
        let replication = &self.service_set(hot.service_set)?.replication;
        let is_told = self.is_offered(hot.service_set)
            && replication.includes(cold.term, cold.policy)
            && !self.stands_on_lost_mapping(number);
        is_told.then(|| self.record_of(number).map(Op::Session)).flatten()
    }

    /// A bulk of these types begins: it tells what is offered by now. What a service set offers later is not of it, since it has
    /// passed some of that.
    pub(super) fn begin_offers(&mut self, types: ObjectTypes) {
        if types == ObjectTypes::ALL {
            self.move_offers(Offer::Untold, Offer::Telling);
        }
    }

    /// A bulk has told what was offered when it began.
    pub(super) fn has_offered(&mut self) {
        self.move_offers(Offer::Telling, Offer::Told);
    }

    fn move_offers(&mut self, from: Offer, to: Offer) {
        for part in &mut self.replica.roles {
            if part.offer == from {
                part.offer = to;
            }
        }
    }
}
