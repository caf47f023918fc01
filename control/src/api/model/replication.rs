//! Replication: what is told the other chassis and what it tells, one row for each redundancy group.
//!
//! ```text
//!   workers --outbox rings--> pending --> window --channel--> the peer      sending
//!   workers <--inbox rings--------------------------channel-- the peer      receiving
//! ```
//!
//! The numbers of the link and the channel are made from theirs in `group`; what the workers count they count for all groups
//! together.

mod channel;
mod counters;
mod group;
mod trouble;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use tandem_engine::replica::ObjectTypes;

use super::Use;

pub use channel::{Certificate, Channel, FailureCount, LastFailure};
pub use counters::{LinkCounters, RefusedInstalls, WorkerReplication};
pub use group::GroupView;
pub use trouble::{ConfigDifference, PartDiffers, PoisonBatch};

/// State of the connection with the peer of a redundancy group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReplicationState {
    /// The channel was stopped.
    Stopped,
    /// Waits for the peer to connect.
    Listening,
    /// Tries to connect to the peer, or waits before it tries again.
    Connecting,
    /// Connected, and no word of the peer yet.
    Greeting,
    /// What came was refused: not a peer, or one that this chassis cannot work with.
    Refused,
    /// The peer was not heard for too long; the connection is being closed.
    Lost,
    /// The peer is there, roles are exchanged, and sessions are not replicated.
    Suspended,
    /// Replicating; a bulk synchronization is under way in at least one direction.
    Synchronizing,
    /// Replicating, and each chassis knows all there is to know.
    Active,
}

impl ReplicationState {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Stopped,
        Self::Listening,
        Self::Connecting,
        Self::Greeting,
        Self::Refused,
        Self::Lost,
        Self::Suspended,
        Self::Synchronizing,
        Self::Active,
    ];

    /// Its name in views.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Listening => "listening",
            Self::Connecting => "connecting",
            Self::Greeting => "greeting",
            Self::Refused => "refused",
            Self::Lost => "lost",
            Self::Suspended => "suspended",
            Self::Synchronizing => "synchronizing",
            Self::Active => "active",
        }
    }
}

/// How far one direction is. Redundancy spec, section 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MirrorState {
    /// Set up; the bulk synchronization is under way.
    Set,
    /// The bulk is complete, and only what changes is told.
    Active,
}

impl MirrorState {
    /// Its name in views.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Active => "active",
        }
    }
}

/// Objects by type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Objects {
    /// Sessions.
    pub sessions: u64,
    /// Endpoint-independent mappings told without a session of theirs.
    pub mappings: u64,
    /// Port blocks.
    pub blocks: u64,
    /// Extents of public ports.
    pub extents: u64,
}

impl Objects {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.sessions + self.mappings + self.blocks + self.extents
    }
}

/// The latest bulk synchronization of one direction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct BulkSync {
    /// Its number; 0 before the first.
    pub number: u16,
    /// The types of objects it is of; none before the first.
    pub types: Vec<ObjectType>,
    /// It is under way.
    pub running: bool,
    /// Until it goes on, milliseconds: one that begins by itself rests after the one before it. Only of one that this chassis
    /// sends; 0 when it does not rest.
    pub rests_ms: u64,
    /// How long it took, or has taken so far, milliseconds.
    pub took_ms: u64,
    /// Objects told since it began, those among them that changed meanwhile or afterwards.
    pub objects: Objects,
    /// Objects it will tell, as estimated; only of one of all types that this chassis sends, while it is under way.
    pub expected_objects: Option<u64>,
    /// How far it is, 0..=100; nothing before the first, and while nobody knows how much is to come.
    pub percent: Option<f64>,
}

/// How far the peer is behind, milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Lag {
    /// Age of the oldest change that the peer has not acknowledged; 0 when it knows all. Nothing while nothing is replicated: there
    /// is nobody to be behind.
    pub now_ms: Option<u64>,
    /// Median of the times from taking a change to its acknowledgment, since start.
    pub p50_ms: u64,
    /// What 99 % of these did not exceed.
    pub p99_ms: u64,
    /// The longest.
    pub max_ms: u64,
}

/// What waits on its way to the peer and from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Queues {
    /// Bytes sent and not acknowledged, kept for sending them again.
    pub window_bytes: Use,
    /// The most there were.
    pub window_peak_bytes: u64,
    /// Changes beside the window while it is full; several of one session become one.
    pub pending: Use,
    /// The most there were.
    pub pending_peak: u64,
    /// Changes that workers have put out and nobody has taken yet, of all workers' rings.
    pub outbox: Use,
    /// Changes of the peer that workers have not installed yet, of all workers' rings.
    pub inbox: Use,
    /// Changes that workers hold back because there was no room in their rings: marked sessions, and the backlog.
    pub held_back: u64,
    /// How long a change of the peer has found no room at a worker, milliseconds.
    pub install_wait_ms: u64,
}

/// Digests of the configuration that both chassis must have alike, hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Digests {
    /// This chassis'.
    pub ours: String,
    /// The peer's, as far as it said.
    pub theirs: Option<String>,
}

/// Replication with the peer of one redundancy group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ReplicationGroup {
    /// Number of the redundancy group.
    pub id: u8,
    /// Its name.
    pub name: Option<String>,
    /// State of the connection.
    pub state: ReplicationState,
    /// Why it is not active, in one word: of `refused` `not-a-peer`, `version`, `damaged`, `wire`, `shards`, `myself`; of
    /// `suspended` `digest`, `dictionary`, `disabled`; without a connection the kind of the latest failure, if there was one.
    pub reason: Option<String>,
    /// The same for people; empty when there is nothing to say.
    pub detail: String,
    /// The connection.
    pub channel: Channel,
    /// The wire version that both speak; none without a peer.
    pub wire_version: Option<u16>,
    /// How far the peer is with what it is told; none while nothing is replicated.
    pub sending: Option<MirrorState>,
    /// How far this chassis is with what the peer tells; none while nothing is replicated.
    pub receiving: Option<MirrorState>,
    /// The bulk that this chassis tells, or told last.
    pub bulk_sent: BulkSync,
    /// The bulk that this chassis is told, or was told last.
    pub bulk_received: BulkSync,
    /// How far the peer is behind.
    pub lag: Lag,
    /// What waits.
    pub queues: Queues,
    /// Digests of what both must have alike.
    pub digest: Digests,
    /// Parts of what both must have alike that are not, by name.
    pub differences: Vec<ConfigDifference>,
    /// The last batch of the peer that this chassis did not understand.
    pub poison: Option<PoisonBatch>,
    /// What the link counted, over all connections since start.
    pub counters: LinkCounters,
}

/// All redundancy groups that run, and what the workers count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Replication {
    /// Redundancy groups by number. None: nothing is replicated.
    pub rows: Vec<ReplicationGroup>,
    /// What the workers count, for all groups together.
    pub workers: WorkerReplication,
}

/// Which way a resynchronization goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ResyncDirection {
    /// This chassis tells the peer anew.
    ToPeer,
    /// The peer tells this chassis anew.
    FromPeer,
}

/// A type of objects that can be resynchronized. Redundancy spec, section 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectType {
    /// Sessions.
    Session,
    /// Endpoint-independent mappings.
    Mapping,
    /// Port blocks, and extents of public ports.
    Block,
}

impl ObjectType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Session, Self::Mapping, Self::Block];

    /// Its name in views.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Mapping => "mapping",
            Self::Block => "block",
        }
    }

    /// As the link names it.
    #[must_use]
    pub const fn of_link(self) -> ObjectTypes {
        match self {
            Self::Session => ObjectTypes::SESSIONS,
            Self::Mapping => ObjectTypes::MAPPINGS,
            Self::Block => ObjectTypes::BLOCKS,
        }
    }

    /// Those among the link's.
    #[must_use]
    pub fn all_of(types: ObjectTypes) -> Vec<Self> {
        let all = Self::ALL.into_iter();
        all.filter(|one| types.contains(one.of_link())).collect()
    }

    /// Their names, with commas between them.
    #[must_use]
    pub fn names(types: ObjectTypes) -> String {
        let names: Vec<&str> = Self::all_of(types).into_iter().map(Self::as_str).collect();
        names.join(", ")
    }
}

/// A resynchronization that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ResyncRequest {
    /// Which way.
    pub direction: ResyncDirection,
    /// Types of objects; all when there is none.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub objects: Vec<ObjectType>,
}

impl ResyncRequest {
    /// The types of objects it is about.
    #[must_use]
    pub fn types(&self) -> ObjectTypes {
        if self.objects.is_empty() {
            return ObjectTypes::ALL;
        }
        let named = self.objects.iter().map(|one| one.of_link());
        named.fold(ObjectTypes::NONE, ObjectTypes::union)
    }
}

/// A resynchronization that has begun. It goes on by itself: `bulk-sent` or `bulk-received` of the group shows how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Resync {
    /// The redundancy group.
    pub redundancy_group: u8,
    /// Which way.
    pub direction: ResyncDirection,
    /// Types of objects that are told. A bulk that was under way already is of its own types beside.
    pub objects: Vec<ObjectType>,
}

/// What of the configuration both chassis of a group must have alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ReplicatedConfig {
    /// The redundancy group.
    pub redundancy_group: u8,
    /// SHA-256 of the text, hexadecimal.
    pub digest: String,
    /// One line for each key, with the values in force, in the order of the keys.
    pub text: String,
}

/// A digest as views show it.
#[must_use]
pub fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_views_are_those_in_json() {
        let json = |value: serde_json::Value| value.as_str().map(str::to_owned);
        for state in ReplicationState::ALL {
            let written = serde_json::to_value(state).expect("it can be written");
            assert_eq!(json(written).as_deref(), Some(state.as_str()));
        }
        for object in ObjectType::ALL {
            let written = serde_json::to_value(object).expect("it can be written");
            assert_eq!(json(written).as_deref(), Some(object.as_str()));
        }
        for mirror in [MirrorState::Set, MirrorState::Active] {
            let written = serde_json::to_value(mirror).expect("it can be written");
            assert_eq!(json(written).as_deref(), Some(mirror.as_str()));
        }
    }
}
