//! What one chassis tells the other of sessions, mappings and ports, in the engine's own terms: what a primary's engine puts
//! out ([`Op`]s on its outbox ring) and a standby's engine installs (from its inbox ring).
//!
//! ```text
//!   primary's worker --outbox ring--> link ==> link --inbox ring--> standby's worker with the same shards
//!        ^                              |
//!        '------- inbox ring: roles, "begin a bulk", "somebody listens" (commands are operations, too, so that they
//!                                       come in order with what they are about)
//! ```
//!
//! Ids are this chassis' own and times its own ticks; the link turns them into what both chassis understand. Public addresses
//! stand for themselves, because indices of the public space are private to a process.
//!
//! A *shard* is what extents of public ports and subscribers belong to: a subscriber's shard is
//! [`crate::steer::subscriber_worker`] with the number of shards in place of the number of workers, and worker
//! `shard * workers / shards` has it. The number of shards is the same on both chassis, so whatever their workers, an extent's ports
//! are all of one worker's subscribers.

mod merge;

pub use self::merge::Merge;

use crate::program::{NONE, PolicyId, PoolId, PrefixId, ServiceSetId};
use crate::session::{Key66, Tuple4};
use crate::ticks::Ticks;

/// Part a chassis plays for a service set. Redundancy spec, section 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Role {
    /// Translates, allocates, expires, and tells the other.
    #[default]
    Primary = 0,
    /// Holds what it is told, and forwards nothing.
    Standby = 1,
}

/// A redundancy set's role on one chassis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SetRole {
    /// The set, 1..=128.
    pub set: u8,
    /// Whether the chassis is primary for it.
    pub primary: bool,
    /// The number of the role change that made it so. The higher one wins where both say primary. Redundancy spec, section 1.
    pub epoch: u64,
}

impl SetRole {
    /// The role in the engine's terms.
    #[must_use]
    pub const fn role(&self) -> Role {
        if self.primary {
            Role::Primary
        } else {
            Role::Standby
        }
    }
}

/// What of a service set is replicated. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replication {
    /// Age at which a session is replicated; zero at once; `None`: the service set is not replicated.
    pub threshold: Option<Ticks>,
    /// Numbers of the NAT terms whose sessions are not (`no-session-backup`), sorted.
    pub excluded_terms: Vec<u16>,
    /// Ids of the policies whose sessions are not, sorted.
    pub excluded_policies: Vec<PolicyId>,
}

impl Replication {
    /// Whether sessions of this term and policy ([`NONE`] where there is none) are replicated.
    #[must_use]
    pub fn includes(&self, term: u16, policy: PolicyId) -> bool {
        self.threshold.is_some()
            && (term == NONE || self.excluded_terms.binary_search(&term).is_err())
            && (policy == NONE || self.excluded_policies.binary_search(&policy).is_err())
    }
}

/// How a session is found, and what it looks like from both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionKey {
    /// IPv4 on both sides.
    V4 {
        /// Its packets from inside.
        out: Tuple4,
        /// Its packets from outside.
        back: Tuple4,
    },
    /// NAT64.
    Nat64 {
        /// Inside address.
        inside: u128,
        /// Inside port.
        inside_port: u16,
        /// Outside port as seen inside.
        outside_port: u16,
        /// Id of the NAT64 prefix the subscriber used.
        prefix: PrefixId,
        /// Its packets from outside.
        back: Tuple4,
    },
    /// IPv6 on both sides.
    V6(Key66),
}

/// A session, with what a takeover needs of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its ends.
    pub key: SessionKey,
    /// Service set.
    pub service_set: ServiceSetId,
    /// IP protocol (of NAT64 the one outside).
    pub protocol: u8,
    /// TCP state, [`crate::tcp_state::State`].
    pub state: u8,
    /// Idle timeout class, [`crate::tcp_state::TimerClass`].
    pub timer: u8,
    /// Filtering type of its mapping, as [`crate::program::FilteringType`] counts; nothing without one.
    pub filtering: u8,
    /// The `FLAG_` bits of [`crate::session`] that mean something to the other chassis: see [`CARRIED_FLAGS`].
    pub flags: u16,
    /// Number of its NAT term or static mapping, or [`NONE`].
    pub term: u16,
    /// Id of the policy that let it begin, or [`NONE`].
    pub policy: PolicyId,
    /// Pool of its public address, or [`NONE`].
    pub pool: PoolId,
    /// Position of the NAT64 prefix of its mapping among those of its service set.
    pub mapping_prefix: u8,
    /// When it began.
    pub created: Ticks,
    /// When a packet last refreshed it.
    pub last_seen: Ticks,
    /// Packets by direction, coarse.
    pub packets: [u64; 2],
    /// Bytes by direction, coarse.
    pub bytes: [u64; 2],
}

/// Flags a session record carries.
pub const CARRIED_FLAGS: u16 = crate::session::FLAG_INITIATED_OUTSIDE
    | crate::session::FLAG_OWNS_PORT
    | crate::session::FLAG_ADDRESS_ENTRY
    | crate::session::FLAG_ADDRESS_ONLY
    | crate::session::FLAG_UNANSWERED
    | crate::session::FLAG_SHARED_PORT
    | crate::session::FLAG_FREE_STANDING
    | crate::session::FLAG_TRACKED;

/// An endpoint-independent mapping that the other chassis was told of with its first replicated session, and that outlives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappingRecord {
    /// Inside address; IPv4 under `::ffff:0:0/96`.
    pub inside: u128,
    /// Inside port or ICMP identifier.
    pub inside_port: u16,
    /// Public port or ICMP identifier.
    pub public_port: u16,
    /// Public address.
    pub public: u32,
    /// Service set.
    pub service_set: ServiceSetId,
    /// Pool of the public address.
    pub pool: PoolId,
    /// Protocol; [`crate::mapping::WHOLE_ADDRESS`] for a whole address.
    pub protocol: u8,
    /// Filtering type, as [`crate::program::FilteringType`] counts.
    pub filtering: u8,
    /// Position of the NAT64 prefix of its first session among those of its service set.
    pub prefix: u8,
}

/// A port block in a subscriber's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRecord {
    /// The subscriber: inside address or first address of its prefix; IPv4 under `::ffff:0:0/96`.
    pub subscriber: u128,
    /// Public address.
    pub public: u32,
    /// First port.
    pub first_port: u16,
    /// Ports.
    pub size: u16,
    /// Service set of the subscriber.
    pub service_set: ServiceSetId,
    /// Pool.
    pub pool: PoolId,
    /// When it was given out.
    pub created: Ticks,
}

/// An extent of public ports that a shard has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtentRecord {
    /// Public address.
    pub public: u32,
    /// Its pool.
    pub pool: PoolId,
    /// Number of the extent, 0..16: ports `extent * 4096` and on.
    pub extent: u8,
    /// The shard.
    pub shard: u8,
    /// Until then it gives no port but of blocks, and after that not before the other chassis has heard so; zero: it gives ports.
    pub held_until: Ticks,
}

/// Leave for the other chassis' workers to take an extent: asked of the standby, given by its acknowledgment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lease {
    /// Public address.
    pub public: u32,
    /// Number of the extent, 0..16.
    pub extent: u8,
}

/// What a primary tells of leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseChange {
    /// It wants the lease; with the acknowledgment it has it.
    Offer(Lease),
    /// It has what a chassis before it may have given out of the extent rest until then, and gives nothing of it itself: that takes
    /// an offer first, and its acknowledgment.
    Resting(Lease, Ticks),
    /// It gives the lease back, unused.
    Withdraw(Lease),
}

/// A place in what a worker tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The worker.
    pub worker: u8,
    /// What ended before this time was told before this place.
    pub at: Ticks,
}

/// Some of the types of objects that a bulk can tell of. Redundancy spec, section 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ObjectTypes(u8);

impl ObjectTypes {
    /// None.
    pub const NONE: Self = Self(0);
    /// Sessions. The other chassis makes what they stand on where it does not know it: mappings, and extents.
    pub const SESSIONS: Self = Self(1);
    /// Endpoint-independent mappings.
    pub const MAPPINGS: Self = Self(2);
    /// Port blocks, and extents of public ports.
    pub const BLOCKS: Self = Self(4);
    /// All there are.
    pub const ALL: Self = Self(7);

    /// As bits, in the order above from the lowest.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// From such bits; others are ignored.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// Those in one of both.
    #[must_use]
    pub const fn union(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether all of these are among them.
    #[must_use]
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

/// One operation. Out of a primary's engine: what happened. Into an engine: what shall be so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// This session is there, and in this state.
    Session(SessionRecord),
    /// This session ended.
    Close {
        /// Its ends.
        key: SessionKey,
        /// Its service set.
        service_set: ServiceSetId,
        /// Its protocol.
        protocol: u8,
    },
    /// This mapping is there.
    Mapping(MappingRecord),
    /// This mapping ended.
    MappingClose(MappingRecord),
    /// This block was given out.
    Block(BlockRecord),
    /// This block was given back.
    BlockClose(BlockRecord),
    /// A shard has this extent.
    Extent(ExtentRecord),
    /// It has it no more.
    ExtentClose(ExtentRecord),
    /// Into a standby: a bulk of these types begins; what of them it does not confirm until its end is gone at the primary.
    BulkBegin(u16, ObjectTypes),
    /// Out of a primary: this worker's part of the bulk is told. Into a standby: the bulk is complete; what it did not confirm of
    /// the service sets it covers is swept.
    BulkEnd(u16),
    /// Into a standby: the bulk that is about to end covers this service set, because the other chassis was its primary all along.
    Covers(ServiceSetId),
    /// Out of a primary: an ending found no room and cannot be told; only a new bulk makes the other chassis right again.
    Lost,
    /// Out of a standby: something was refused for want of room or ground, and there may be some now; only a bulk makes this
    /// chassis right again.
    Refused,
    /// Out of an engine: everything that ended before this mark's time was told before it. It goes to nobody; when the other
    /// chassis has taken all that was told before it, it comes back into the engine, and what ended is anybody's.
    Mark(Mark),
    /// Out of a standby: something that it was told was refused, or waits for another worker of this chassis, so that it lacks what the
    /// other chassis has (true); or a bulk has begun that tells it again, or it waits no more (false). It may be refused again.
    Lacks(bool),
    /// Into a standby: the other chassis was silent for so long that what it said of held extents may be so no more.
    HoldsUnknown,
    /// Into a primary: tell everything there is of these types, with this bulk's number.
    Bulk(u16, ObjectTypes),
    /// Into an engine: whether somebody takes what it puts out. While nobody does, nothing is put out and nothing kept.
    Listen(bool),
    /// Into an engine: its role for a service set from now on.
    Role {
        /// The service set.
        service_set: ServiceSetId,
        /// The role.
        role: Role,
        /// The role change's number; comes back with [`Op::RoleDone`].
        epoch: u32,
    },
    /// Into a primary: when it is made standby next, it *drains*, that is, it goes on passing the packets of sessions that it has,
    /// for this long from now at most. Into one that drains: for so long from now; nothing ends it.
    Drain {
        /// The service set.
        service_set: ServiceSetId,
        /// How long.
        time: Ticks,
    },
    /// Into a standby that was primary beside the other chassis until now: what it has of this service set is offered. The next bulk of
    /// everything tells it, and those after it, until there is no offer any more; before the first has, nothing is taken of what the
    /// other chassis tells of the service set.
    Offer {
        /// The service set.
        service_set: ServiceSetId,
        /// Whether there is an offer.
        offers: bool,
    },
    /// Into a standby: whether what the other chassis tells of this service set is left alone. It is when this chassis was primary last:
    /// then it is what that offers a primary, which there is none of. Ends with the role.
    PassOver {
        /// The service set.
        service_set: ServiceSetId,
        /// Whether it is.
        passes_over: bool,
    },
    /// Into a primary: the bulk that has begun tells what the other chassis had of this service set when it was primary beside this
    /// one; what is lacking here is taken.
    Merges(ServiceSetId),
    /// Out of a primary: what came of that for a service set, when the bulk is complete or another one begins. Nothing is said of one
    /// that had nothing.
    Merged {
        /// The service set.
        service_set: ServiceSetId,
        /// What this worker made of it.
        merge: Merge,
    },
    /// Out of a primary: that was all of the bulk with this number.
    MergeEnd(u16),
    /// Out of an engine: it has taken up the role, and everything it did before under the old one has been put out.
    RoleDone {
        /// The service set.
        service_set: ServiceSetId,
        /// The role change's number.
        epoch: u32,
    },
}

const _: () = assert!(
    size_of::<Op>() <= 144,
    "an operation is copied onto a ring for each session"
);
