//! Which bulks of the peer may end what they did not confirm: only those of a primary.
//!
//! A chassis tells only what it is primary for. Where both are standby (one of them was started anew, and nobody has decided
//! yet which goes on), its bulk says nothing about what this one holds. Such a bulk's end is kept from the workers, and when the
//! peer has become primary it is asked to tell everything again.
//!
//! Of a bulk that ends, the peer names the sets it covers, and workers sweep those alone: roles are heard beside the stream, which a
//! bulk of an earlier role may still be in.

use tandem_engine::replica::{Op, Role};

use super::Bridge;
use crate::chassis::SetRole;

/// What is known of the peer's bulk.
#[derive(Debug, Default)]
pub(super) struct Sweeps {
    /// The peer's roles, as last heard.
    heard: Vec<SetRole>,
    /// The peer was not primary all the time since its bulk began.
    doubtful: bool,
    /// A bulk's end was kept from the workers.
    withheld: bool,
}

impl Bridge {
    pub(super) fn heard_roles(&mut self, roles: &[SetRole]) {
        self.sweeps.heard = roles.to_vec();
        self.judge();
    }

    /// To be called after roles have changed, here or there.
    pub(super) fn judge(&mut self) {
        self.sweeps.doubtful |= !self.peer_is_primary();
    }

    /// Brings the beginning or the end of a peer's bulk to the workers. False: no room.
    pub(super) fn install_bulk(&mut self, op: &Op) -> bool {
        let (begins, ends) = (matches!(op, Op::BulkBegin(_)), matches!(op, Op::BulkEnd(_)));
        if ends && self.sweeps.doubtful {
            self.sweeps.withheld = true;
            return true;
        }
        let taken = if ends {
            self.end_of_bulk(*op)
        } else {
            self.heard = self.sets_that_are(Role::Standby);
            self.rings.push_all(&[*op])
        };
        if begins && taken {
            (self.sweeps.doubtful, self.sweeps.withheld) = (!self.peer_is_primary(), false);
        }
        taken
    }

    /// Whether a bulk's end was withheld, and the peer's next bulk would count. True once.
    pub(super) fn take_wish_for_bulk(&mut self) -> bool {
        let wishes = self.sweeps.withheld && self.peer_is_primary();
        self.sweeps.withheld &= !wishes;
        wishes
    }

    /// Whether the peer is primary for everything that is standby here.
    fn peer_is_primary(&self) -> bool {
        let heard = |set: u8| {
            self.sweeps
                .heard
                .iter()
                .any(|role| role.set == set && role.primary)
        };
        let mut standby = self.sets.iter().filter(|set| set.role == Role::Standby);
        standby.all(|set| heard(set.number))
    }
}
