//! What a link needs of its own chassis: operations to tell, a place for those it is told, leases, and an ear for what
//! becomes of the peer. [`crate::bridge`] is the one over the workers' rings; tests have plainer ones.

pub use tandem_engine::replica::SetRole;
use tandem_engine::replica::{Lease, LeaseChange, Mark, ObjectTypes, Op};
use tandem_engine::ticks::Ticks;

use crate::link::{Mismatch, Refusal};

/// Redundancy sets are numbered 1..=this. Redundancy spec, section 5.
pub const REDUNDANCY_SETS_MAX: u8 = 128;

/// Whether the peer has to be told everything anew for a reason of the chassis' own that is none of the workers'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It has not.
    Not,
    /// It has, but not yet. No other bulk begins before: its begin would have been said too early.
    Later,
    /// Now. Asked once, said once.
    Now,
}

/// The side of a link that is its own chassis. All calls come from within the link's methods and must return at once.
pub trait Chassis {
    /// The next operation of the workers for the peer, in the order each worker put them out: `Session`, `Close`, `Mapping`,
    /// `Block`, `Extent` and their endings, `Mark`, `Lost`, and `BulkEnd` once, when all workers have told their part of the bulk.
    /// Others are not for a peer and are dropped.
    fn next(&mut self) -> Option<Op>;

    /// Whether everything has to be told anew.
    fn renews(&mut self) -> Renewal {
        Renewal::Not
    }

    /// Takes an operation of the peer: `Session` to `ExtentClose`, `BulkBegin` and `BulkEnd`. False: no room now; the link stops
    /// reading and brings the same operation again. What it took counts as received, and is acknowledged.
    fn install(&mut self, op: &Op) -> bool;

    /// The redundancy sets that the bulk whose `BulkEnd` was given out last told all of: those this chassis was primary of from its
    /// begin to its end. Of others the peer sweeps nothing. One that has no such sets tells all there is.
    fn covers(&self) -> Sets {
        Sets::ALL
    }

    /// The bulk of the peer that is about to end (`BulkEnd` follows, perhaps more than once) covers these redundancy sets.
    fn covered(&mut self, sets: Sets) {
        let _all = sets;
    }

    /// The next lease to ask the peer for or to give back to it.
    fn next_lease(&mut self) -> Option<LeaseChange>;

    /// The peer has taken note of a lease that was offered: the extent may be used.
    fn lease_acknowledged(&mut self, lease: Lease);

    /// The peer has taken everything the worker put out before this mark.
    fn mark_acknowledged(&mut self, mark: Mark);

    /// The peer offers or withdraws a lease of its own: its extents are not ours to give out.
    fn lease_told(&mut self, change: LeaseChange);

    /// Since when something has waited that [`Chassis::next`] has not given out, in the link's milliseconds: for what is shown.
    fn waiting_since(&self) -> Option<u64> {
        None
    }

    /// Whether the peer takes what it is offered by a chassis that was primary beside it and has yielded: its release knows how, or
    /// not. Said at each connect, before its roles.
    fn peer_merges(&mut self, merges: bool) {
        let _knows = merges;
    }

    /// Where what is asked for now is a bulk whose begin the peer says after it has read that request (one that is on its way does not
    /// do): a number that is another one when what is waited for is.
    fn awaits_answer(&self) -> Option<u64> {
        None
    }

    /// Whether the bulk of the peer's that begins next is such an answer. Any is, of a peer whose release does not say so.
    fn bulk_answers(&mut self, answers: bool) {
        let _does = answers;
    }

    /// Something of the peer's came while it replicates with us (not while the link is suspended), and is read next; milliseconds.
    fn heard(&mut self, now: u64) {
        let _when = now;
    }

    /// What became of the peer.
    fn peer(&mut self, event: PeerEvent);

    /// The engines' time at the link's time `now` (milliseconds): ages are told, not times.
    fn ticks(&self, now: u64) -> Ticks {
        Ticks((now / 100) as u32)
    }
}

/// Some of the redundancy sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sets(u128);

impl Sets {
    /// All there can be.
    pub const ALL: Self = Self(u128::MAX);

    /// As bits, the lowest for set 1.
    #[must_use]
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// From such bits.
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    const fn bit(set: u8) -> u128 {
        match set {
            1..=REDUNDANCY_SETS_MAX => 1 << (set - 1),
            _ => 0,
        }
    }

    /// Whether a set is among them.
    #[must_use]
    pub const fn has(self, set: u8) -> bool {
        self.0 & Self::bit(set) != 0
    }

    /// And one more.
    #[must_use]
    pub const fn with(self, set: u8) -> Self {
        Self(self.0 | Self::bit(set))
    }

    /// Without one.
    #[must_use]
    pub const fn without(self, set: u8) -> Self {
        Self(self.0 & !Self::bit(set))
    }

    /// Those in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl FromIterator<u8> for Sets {
    fn from_iter<T: IntoIterator<Item = u8>>(sets: T) -> Self {
        Self(sets.into_iter().fold(0, |bits, set| bits | Self::bit(set)))
    }
}

/// What a link tells its chassis of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// Replication runs from now on. With a number, everything is to be told anew (`Listen(true)`, then `Bulk(number)` to all
    /// workers); without one it goes on where it stopped, and nothing was missed.
    Connected {
        /// The bulk to begin.
        new_bulk: Option<u16>,
    },
    /// Everything of these types is to be told anew with this number, in the midst of it: after `Lost`, or because the operator or
    /// the peer asked for it.
    Bulk(u16, ObjectTypes),
    /// The peer is connected and its roles are known, but its configuration differs: nothing is replicated.
    Suspended(Mismatch),
    /// The peer is gone, or was not heard for too long. Operations are still kept for its return ([`PeerEvent::Forgotten`] says
    /// when no longer), but no lease will be acknowledged.
    Disconnected,
    /// Nothing is kept for the peer's return any more: workers may stop telling (`Listen(false)`).
    Forgotten,
    /// The stream was refused, by us; it is to be closed.
    Refused(Refusal),
    /// The peer's roles, all of them, whenever one has changed and after each connect.
    Roles(Vec<SetRole>),
    /// The peer asks us to release a set: become standby, and when everything is told, [`crate::link::Link::released`]; or
    /// [`crate::link::Link::refuse_release`].
    ReleaseAsked {
        /// The set.
        set: u8,
    },
    /// The peer has released a set, and everything it did as its primary has been installed here.
    Released {
        /// The set.
        set: u8,
        /// The epoch of its role change; ours must be higher.
        epoch: u64,
    },
    /// The peer does not release the set.
    ReleaseRefused {
        /// The set.
        set: u8,
    },
}
