//! What the mock daemon is half of: a redundancy group that synchronizes, one whose peer has another configuration, two sets.

use std::time::{Duration, SystemTime};

use ha_sync::link::{
    BulkProgress, Difference, Differs, LinkState, LinkStats, Mirror, Mismatch, Objects, Poison,
};
use ha_sync::net::{
    ChannelState, ChannelStatus, Counters, FailureKind, Identity, LastFailure, Secured, Side,
};
use ha_sync::wire::WireError;
use tandem_control::api::BackendError;
use tandem_control::api::model::{
    GroupView, RedundancyEvent, RedundancySet, ReplicatedConfig, ReplicationGroup, RoleCause, RoleChange,
    RoleRequest, RoleState, Use, WantedRole, hexadecimal,
};
use tandem_engine::replica::ObjectTypes;

use super::samples::ip;

/// The group that synchronizes.
pub const GROUP: u8 = 1;
/// The group whose peer has another configuration.
pub const SUSPENDED: u8 = 2;

fn at(unix_s: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(unix_s)
}

fn channel() -> ChannelStatus {
    let identity = |octet: u8| Identity {
        fingerprint: hexadecimal(&[octet; 32]).parse().expect("a fingerprint"),
        expires: Some(at(2_100_000_000)),
    };
    let mut counters = Counters::default();
    counters.connections = 2;
    ChannelStatus {
        state: ChannelState::Connected,
        side: Side::Listens,
        local: ip("5.5.5.1"),
        peer: ip("5.5.5.2"),
        port: 4793,
        tls: true,
        identity: Some(identity(0xaa)),
        connected_to: Some("5.5.5.2:40112".parse().expect("an address")),
        connected_since: Some(at(1_790_000_000)),
        secured: Some(Secured {
            protocol: "TLSv1.3",
            cipher: "TLS13_AES_256_GCM_SHA384".to_owned(),
            peer: Some(identity(0xbb)),
        }),
        last_failure: Some(LastFailure {
            kind: FailureKind::Closed,
            text: "closed by the peer".to_owned(),
            at: at(1_789_999_990),
        }),
        counters,
    }
}

fn stats() -> LinkStats {
    let mut stats = LinkStats {
        connects: 2,
        resumes: 1,
        updates_sent: 9000,
        batches_sent: 90,
        bytes_sent: 700_000,
        retransmits: 3,
        collapsed: 12,
        pending: 7,
        window_bytes: 16_384,
        lag_ms: 40,
        bulks_sent: 2,
        bulks_rested: 1,
        bulk_wait_ms: 300,
        poison: Some(Poison {
            stream: 1,
            sequence: 9,
            times: 3,
            skipped: true,
            error: WireError::RecordType(250),
        }),
        bulks_received: 1,
        bulk_sent: BulkProgress {
            number: 2,
            types: ObjectTypes::ALL,
            running: true,
            began_ms: 1000,
            took_ms: 2500,
            objects: Objects {
                sessions: 200,
                mappings: 30,
                blocks: 15,
                extents: 5,
            },
        },
        bulk_received: BulkProgress {
            number: 1,
            ..BulkProgress::default()
        },
        ..LinkStats::default()
    };
    stats.acknowledgment_ms.add(2, 990);
    stats.acknowledgment_ms.add(40, 10);
    stats
}

fn differences(state: &LinkState) -> Vec<Difference> {
    let difference = |name: &str, differs, beside| Difference {
        name: name.to_owned(),
        differs,
        beside,
    };
    match state {
        LinkState::Suspended(_) => vec![
            difference("pools.p1", Differs::Otherwise, false),
            difference("static mapping web of residential", Differs::OnlyHere, true),
        ],
        _ => Vec::new(),
    }
}

fn group(id: u8, name: &str, state: LinkState) -> ReplicationGroup {
    GroupView {
        id,
        name: Some(name),
        channel: &channel(),
        state,
        stats: &stats(),
        digest: [0x11; 32],
        window_limit_bytes: 64 << 20,
        pending_max: 131_072,
        outbox: Use {
            used: 64,
            total: 131_072,
        },
        inbox: Use {
            used: 0,
            total: 131_072,
        },
        expected_objects: Some(1000),
        held_back: 3,
        differences: &differences(&state),
    }
    .row()
}

/// Both groups.
pub fn groups() -> Vec<ReplicationGroup> {
    let synchronizing = LinkState::Connected {
        sending: Mirror::Set,
        receiving: Mirror::Active,
    };
    let suspended = LinkState::Suspended(Mismatch::Digest {
        ours: [0x11; 32],
        theirs: [0x22; 32],
    });
    vec![
        group(GROUP, "rack-2", synchronizing),
        group(SUSPENDED, "rack-3", suspended),
    ]
}

/// What is compared for a group.
pub fn config(group: u8) -> ReplicatedConfig {
    ReplicatedConfig {
        redundancy_group: group,
        digest: hexadecimal(&[0x11; 32]),
        text: "canonical-configuration = 1\npools.p2.port-allocation = \"random\"\n".to_owned(),
    }
}

/// Redundancy sets, the roles that were asked for, and what became of that.
#[derive(Debug)]
pub struct Sets {
    /// The sets.
    pub sets: Vec<RedundancySet>,
    /// The latest first.
    pub events: Vec<RedundancyEvent>,
}

impl Default for Sets {
    fn default() -> Self {
        let set = |id, role, peer_role| RedundancySet {
            id,
            name: (id == 1).then(|| "residential".to_owned()),
            redundancy_group: GROUP,
            service_sets: vec!["subscribers-a".to_owned()],
            role,
            peer_role,
            changing_to: None,
            epoch: 4,
            peer_epoch: Some(4),
            since_unix_s: 1_790_000_000,
            last_cause: RoleCause::Start,
        };
        Self {
            sets: vec![
                set(1, RoleState::Primary, Some(RoleState::Standby)),
                set(7, RoleState::Wait, Some(RoleState::Primary)),
            ],
            events: Vec::new(),
        }
    }
}

impl Sets {
    /// As a daemon: what waits becomes primary by force only.
    pub fn request(&mut self, id: u8, wanted: RoleRequest) -> Result<RoleChange, BackendError> {
        let set = self.sets.iter_mut().find(|set| set.id == id);
        let set = set.ok_or_else(|| BackendError::Unknown(format!("no redundancy set {id} runs")))?;
        let to = match wanted.role {
            WantedRole::Primary => RoleState::Primary,
            WantedRole::Standby => RoleState::Standby,
        };
        let refused = set.role == RoleState::Wait && !wanted.force;
        let changed = set.role != to && !refused;
        let from = set.role;
        if changed {
            (set.role, set.epoch, set.last_cause) = (to, set.epoch + 1, RoleCause::Operator);
        }
        let reason = refused.then(|| "the bulk synchronization is not complete; force takes over".to_owned());
        if changed || refused {
            let event = RedundancyEvent {
                id: self.events.len() as u64 + 1,
                at_unix_s: 1_790_000_100,
                redundancy_set: id,
                from,
                to,
                epoch: set.epoch,
                cause: RoleCause::Operator,
                forced: wanted.force,
                ok: changed,
                reason: reason.clone(),
            };
            self.events.insert(0, event);
        }
        match reason {
            Some(reason) => Err(BackendError::Refused(reason)),
            None => Ok(RoleChange {
                redundancy_set: id,
                role: set.role,
                epoch: set.epoch,
                changed,
                note: None,
            }),
        }
    }
}
