//! A redundancy group's row, made from what its channel and its link show.

use ha_sync::bridge::BridgeStats;
use ha_sync::frame::FrameError;
use ha_sync::link::{self, BulkProgress, LinkState, LinkStats, Mirror, Mismatch, Refusal};
use ha_sync::net::{ChannelState, ChannelStatus, FailureKind, LastFailure};
use tandem_engine::replica::ObjectTypes;

use super::super::Use;
use super::{
    BulkSync, Channel, ConfigDifference, Digests, Lag, LinkCounters, MirrorState, ObjectType, Objects,
    PartDiffers, PoisonBatch, Queues, ReplicationGroup, ReplicationState, hexadecimal,
};

/// What a row is made of.
#[derive(Clone, Debug)]
pub struct GroupView<'a> {
    /// Number of the redundancy group.
    pub id: u8,
    /// Its name.
    pub name: Option<&'a str>,
    /// The channel.
    pub channel: &'a ChannelStatus,
    /// The link's state.
    pub state: LinkState,
    /// What the link counted.
    pub stats: &'a LinkStats,
    /// What the bridge to the workers counted.
    pub bridge: &'a BridgeStats,
    /// The wire version that is spoken with the peer.
    pub wire_version: Option<u16>,
    /// Digest of what both must have alike.
    pub digest: [u8; 32],
    /// Bytes the window may hold.
    pub window_limit_bytes: u64,
    /// Changes there may be beside it.
    pub pending_max: u64,
    /// The workers' rings to the peer.
    pub outbox: Use,
    /// The workers' rings from the peer.
    pub inbox: Use,
    /// Objects that the bulk under way will tell, as estimated from the workers' tables.
    pub expected_objects: Option<u64>,
    /// Changes that workers hold back because there was no room to put them out.
    pub held_back: u64,
    /// Sessions are replicated (`session-replication`).
    pub replicates: bool,
    /// Parts of the configuration that differ.
    pub differences: &'a [link::Difference],
}

impl GroupView<'_> {
    /// The row.
    #[must_use]
    pub fn row(&self) -> ReplicationGroup {
        let stats = self.stats;
        let (reason, detail) = self.why();
        let (sending, receiving) = match self.state {
            // What workers hold back the peer does not know.
            LinkState::Connected { receiving, .. } if self.held_back > 0 => {
                (Some(MirrorState::Set), Some(receiving.into()))
            }
            LinkState::Connected { sending, receiving } => (Some(sending.into()), Some(receiving.into())),
            _ => (None, None),
        };
        let use_of = |used, total| Use { used, total };
        ReplicationGroup {
            id: self.id,
            name: self.name.map(str::to_owned),
            state: self.state(),
            reason: reason.map(str::to_owned),
            detail,
            channel: Channel::from(self.channel),
            wire_version: self.wire_version,
            sending,
            receiving,
            bulk_sent: BulkSync {
                rests_ms: stats.bulk_wait_ms,
                ..bulk(&stats.bulk_sent, self.expected_objects)
            },
            bulk_received: bulk(&stats.bulk_received, None),
            lag: Lag {
                now_ms: sending.is_some().then_some(stats.lag_ms),
                p50_ms: stats.acknowledgment_ms.quantile(500),
                p99_ms: stats.acknowledgment_ms.quantile(990),
                max_ms: stats.acknowledgment_ms.max(),
            },
            queues: Queues {
                window_bytes: use_of(stats.window_bytes, self.window_limit_bytes),
                window_peak_bytes: stats.window_peak,
                pending: use_of(stats.pending, self.pending_max),
                pending_peak: stats.pending_peak,
                outbox: self.outbox,
                inbox: self.inbox,
                held_back: self.held_back,
                install_wait_ms: stats.install_wait_ms,
            },
            poison: stats.poison.map(PoisonBatch::from),
            differences: self.differences.iter().map(ConfigDifference::from).collect(),
            digest: Digests {
                ours: hexadecimal(&self.digest),
                theirs: self.theirs().map(|digest| hexadecimal(&digest)),
            },
            counters: LinkCounters::of(stats, self.bridge),
        }
    }

    /// The link's state, as far as it is about now: it stays refused or lost until the next peer greets, and what kept others
    /// from doing so meanwhile is the news.
    fn link_state(&self) -> LinkState {
        let is_news = |last: &LastFailure| last.kind != FailureKind::Conversation;
        let over = self.channel.state != ChannelState::Connected;
        match self.state {
            LinkState::Refused(_) | LinkState::Lost
                if over && self.channel.last_failure.as_ref().is_some_and(is_news) =>
            {
                LinkState::Disconnected
            }
            state => state,
        }
    }

    fn state(&self) -> ReplicationState {
        if self.channel.state == ChannelState::Stopped {
            return ReplicationState::Stopped;
        }
        match self.link_state() {
            LinkState::Disconnected => match self.channel.state {
                ChannelState::Listening => ReplicationState::Listening,
                // The channel shows a connection a moment before the link knows of it.
                ChannelState::Connected => ReplicationState::Greeting,
                ChannelState::Connecting | ChannelState::Stopped => ReplicationState::Connecting,
            },
            LinkState::Greeting => ReplicationState::Greeting,
            LinkState::Refused(_) => ReplicationState::Refused,
            LinkState::Lost => ReplicationState::Lost,
            LinkState::Suspended(_) => ReplicationState::Suspended,
            LinkState::Connected { .. } if self.state.is_active() && self.held_back == 0 => {
                ReplicationState::Active
            }
            LinkState::Connected { .. } => ReplicationState::Synchronizing,
        }
    }

    fn why(&self) -> (Option<&'static str>, String) {
        match self.link_state() {
            LinkState::Refused(refusal) => (Some(refusal_name(refusal)), refusal.to_string()),
            LinkState::Suspended(mismatch) => {
                let name = match mismatch {
                    Mismatch::Digest { .. } => "digest",
                    Mismatch::Dictionary { .. } => "dictionary",
                    Mismatch::Disabled { .. } => "disabled",
                };
                (Some(name), mismatch.to_string())
            }
            LinkState::Lost => (None, "the peer was not heard for too long".to_owned()),
            LinkState::Disconnected => match &self.channel.last_failure {
                Some(last) => (Some(last.kind.name()), last.text.clone()),
                None => (None, String::new()),
            },
            LinkState::Connected { .. } if !self.replicates => {
                let detail =
                    "session-replication = false: the chassis have roles alone, and no session is told";
                (Some("roles-only"), detail.to_owned())
            }
            LinkState::Greeting | LinkState::Connected { .. } => (None, String::new()),
        }
    }

    /// The link compares the peer's digest with ours before anything else.
    const fn theirs(&self) -> Option<[u8; 32]> {
        match self.state {
            LinkState::Suspended(Mismatch::Digest { theirs, .. }) => Some(theirs),
            LinkState::Suspended(Mismatch::Dictionary { .. }) | LinkState::Connected { .. } => {
                Some(self.digest)
            }
            _ => None,
        }
    }
}

const fn refusal_name(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Frame(FrameError::Magic(_)) => "not-a-peer",
        Refusal::Frame(FrameError::Version { .. }) | Refusal::Versions { .. } => "version",
        Refusal::Frame(_) => "damaged",
        Refusal::Wire(_) => "wire",
        Refusal::Shards { .. } => "shards",
        Refusal::Myself => "myself",
    }
}

impl From<link::Poison> for PoisonBatch {
    fn from(poison: link::Poison) -> Self {
        Self {
            sequence: poison.sequence,
            times: poison.times,
            skipped: poison.skipped,
            error: poison.error.to_string(),
        }
    }
}

impl From<&link::Difference> for ConfigDifference {
    fn from(difference: &link::Difference) -> Self {
        Self {
            part: difference.name.clone(),
            differs: match difference.differs {
                link::Differs::OnlyHere => PartDiffers::OnlyHere,
                link::Differs::OnlyThere => PartDiffers::OnlyThere,
                link::Differs::Otherwise => PartDiffers::Otherwise,
            },
            suspends: !difference.beside,
        }
    }
}

impl From<Mirror> for MirrorState {
    fn from(mirror: Mirror) -> Self {
        match mirror {
            Mirror::Set => Self::Set,
            Mirror::Active => Self::Active,
        }
    }
}

impl From<link::Objects> for Objects {
    fn from(objects: link::Objects) -> Self {
        Self {
            sessions: objects.sessions,
            mappings: objects.mappings,
            blocks: objects.blocks,
            extents: objects.extents,
        }
    }
}

fn bulk(progress: &BulkProgress, expected: Option<u64>) -> BulkSync {
    let expected_objects = expected.filter(|_| progress.running && progress.types == ObjectTypes::ALL);
    let percent = match (progress.number, expected_objects) {
        (0, _) => None,
        _ if !progress.running => Some(100.0),
        (_, None) => None,
        // What changes meanwhile is told, too: there can be more objects than were expected, and it is not over yet.
        (_, Some(expected)) => {
            let share = progress.objects.total() as f64 * 100.0 / expected.max(1) as f64;
            Some(share.min(99.0))
        }
    };
    BulkSync {
        number: progress.number,
        types: ObjectType::all_of(progress.types),
        rests_ms: 0,
        running: progress.running,
        took_ms: progress.took_ms,
        objects: progress.objects.into(),
        expected_objects,
        percent,
    }
}
