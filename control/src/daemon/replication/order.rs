//! What the replication thread is told, and what it needs to know of a configuration.

use std::sync::{Arc, mpsc};

use ha_sync::bridge::RedundancySet;
use ha_sync::heartbeat::HeartbeatEvent;
use ha_sync::wire::{Dictionary, Part};
use tandem_engine::program::Program;
use tandem_engine::replica::ObjectTypes;
use tandem_redundancy::WantedRole;
use tandem_redundancy::machine::Settings;
use tandem_redundancy::roles::{Answer, Configured};
use tokio::sync::oneshot;

use super::heartbeats;
use crate::api::BackendError;
use crate::api::model::SetRequest;
use crate::config::{self, Config, NameRegistry};
use crate::daemon::pair::{Asked, PeerAnswer};
use crate::monitor::{DueAction, SetMonitored};

/// An order.
pub(super) enum Order {
    /// Take up a role.
    Role {
        set: u8,
        role: WantedRole,
        forced: bool,
        answer: Answer,
    },
    /// Something else is asked of a set.
    Ask {
        set: u8,
        wanted: SetRequest,
        answer: Answer,
    },
    /// Tell everything of these types anew, or have it told.
    Resync {
        to_peer: bool,
        types: ObjectTypes,
        answer: oneshot::Sender<Result<(), BackendError>>,
    },
    /// A program with these redundancy sets is about to come; answered when the workers know what they are of the service sets
    /// it brings into them.
    Announce {
        sets: Vec<RedundancySet>,
        answer: mpsc::Sender<()>,
    },
    /// A question to the peer.
    AskPeer {
        content: Vec<u8>,
        answer: mpsc::SyncSender<PeerAnswer>,
    },
    /// An answer to one of its.
    AnswerPeer(Asked),
    /// Heartbeats say something.
    Heartbeat(HeartbeatEvent),
    /// Monitors say something.
    Monitored(Box<Report>),
    /// The daemon is about to stop: hand over. Answered when that is done, or cannot be.
    Leave { answer: mpsc::Sender<()> },
    /// It does not come after all.
    TakeBack,
    /// The workers have another program.
    Commit(Box<Commit>),
}

/// What monitors say: all that is so now, and what has become so.
pub(in crate::daemon) struct Report {
    /// Each set.
    pub sets: Vec<SetMonitored>,
    /// Sum of the weights of all that has failed on the chassis.
    pub chassis_failed_weight: u32,
    /// What policies want done, in this order.
    pub actions: Vec<DueAction>,
    /// What became active or inactive, for the history: the set, and in words.
    pub told: Vec<(u8, String)>,
}

/// A configuration as the replication sees it.
pub(super) struct Commit {
    pub program: Arc<Program>,
    pub dictionary: Dictionary,
    pub digest: [u8; 32],
    /// Its parts, to name those that differ.
    pub parts: Vec<Part>,
    /// Redundancy sets with the ids of their service sets.
    pub sets: Vec<RedundancySet>,
    /// The role each starts with.
    pub roles: Vec<(u8, Configured)>,
    /// Those whose roles are automatic.
    pub automatic: Vec<(u8, Settings)>,
    /// How long each drains after a handover, milliseconds.
    pub drains: Vec<(u8, u64)>,
}

/// The redundancy sets of a group with the ids of their service sets.
pub(super) fn sets(group: u8, config: &Config, registry: &NameRegistry) -> Vec<RedundancySet> {
    let numbered = |set: &config::RedundancySet| RedundancySet {
        number: set.id,
        service_sets: set.service_set_ids(registry),
    };
    config.redundancy.sets_of(group).map(numbered).collect()
}

impl Commit {
    /// Of the redundancy group `group`.
    pub(super) fn of(group: u8, config: &Config, program: &Arc<Program>, registry: &NameRegistry) -> Self {
        let configured = config.redundancy.sets_of(group);
        Self {
            program: Arc::clone(program),
            dictionary: Dictionary::of(program),
            digest: config::group_digest(config, group),
            parts: config::group_parts(config, group, program, registry),
            sets: sets(group, config, registry),
            roles: configured
                .map(|set| (set.id, heartbeats::role(config, set)))
                .collect(),
            automatic: heartbeats::automatic(config, group),
            drains: config
                .redundancy
                .sets_of(group)
                .map(|set| (set.id, u64::from(set.drain_ms)))
                .collect(),
        }
    }
}
