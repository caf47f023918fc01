//! What the mock daemon is half of: a redundancy group that synchronizes, one whose peer has another configuration, two sets.

use std::time::{Duration, SystemTime};

use ha_sync::bridge::BridgeStats;
use ha_sync::link::{
    BulkProgress, Difference, Differs, LinkState, LinkStats, Mirror, Mismatch, Objects, Poison,
};
use ha_sync::net::{
    ChannelState, ChannelStatus, Counters, FailureKind, Identity, LastFailure, Secured, Side,
};
use ha_sync::wire::WireError;
use tandem_control::api::BackendError;
use tandem_control::api::model::{
    Cluster, ConfigComparison, FileState, GroupView, GuardProcess, HeartbeatCounters, HeartbeatGroup,
    HeartbeatPath, Hold, Outside, PeerOfSet, PeerReload, Redundancy, RedundancyEvent, RedundancySet,
    ReplicatedConfig, ReplicationGroup, RoleCause, RoleChange, RoleCount, RoleRequest, RoleState, SetRequest,
    SharedFileRow, SharedFiles, SignalRouteOfSet, TrackFileOfSet, Use, VirtualAddressOfSet, WantedRole,
    Weights, hexadecimal,
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
        bridge: &BridgeStats {
            offers: 71,
            offers_in_vain: 72,
            merges: 73,
            ..BridgeStats::default()
        },
        wire_version: Some(2),
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
        replicates: true,
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
            epoch: 4,
            peer_epoch: Some(4),
            since_unix_s: 1_790_000_000,
            role_age_s: 90,
            // Set 7 changes its role by command alone.
            automatic: id == 1,
            peer: PeerOfSet {
                life: "heard".to_owned(),
                heard_on: vec!["control".to_owned(), "channel".to_owned()],
                ..PeerOfSet::default()
            },
            ..RedundancySet::of(id)
        };
        let first = RedundancySet {
            reason: Some("it has the role".to_owned()),
            preempt: true,
            holds: vec![Hold {
                hold: "recovery".to_owned(),
                left_ms: 12_345,
            }],
            weights: Some(Weights {
                failed: 60,
                threshold: 100,
                chassis_failed: 80,
                chassis_threshold: 255,
            }),
            outside: outside(),
            ..set(1, RoleState::Primary, Some(RoleState::Standby))
        };
        Self {
            sets: vec![first, set(7, RoleState::Wait, Some(RoleState::Primary))],
            events: Vec::new(),
        }
    }
}

/// An address that is in place, one that is not, and a signal route.
fn outside() -> Outside {
    let address = |interface: &str, text: &str, in_place| VirtualAddressOfSet {
        interface: interface.to_owned(),
        address: ip(text),
        in_place,
    };
    Outside {
        virtual_addresses: vec![
            address("lan", "10.0.0.1", true),
            address("wan", "192.0.2.9", false),
        ],
        signal_routes: vec![SignalRouteOfSet {
            prefix: "203.0.113.0/24".parse().expect("a prefix"),
            table: 100,
            target: "discard".to_owned(),
        }],
        track_file: Some(TrackFileOfSet {
            path: "/run/tandem/set-7".to_owned(),
            number: 0,
        }),
        ports_down: Vec::new(),
        failures: vec!["192.0.2.9 on wan: no such device".to_owned()],
        took_ms: 3,
    }
}

/// Heartbeats on two paths, one of which is down, a guard, and what was counted of set 1.
pub fn redundancy(sets: Vec<RedundancySet>) -> Redundancy {
    let path = |name: &str, up: bool| HeartbeatPath {
        path: name.to_owned(),
        local_address: ip("5.5.5.1"),
        peer_address: ip("5.5.5.2"),
        port: 4794,
        up,
        heard_by_peer: up,
        heard_ms_ago: up.then_some(20),
        round_trip_us: up.then_some(250),
        fault: (!up).then(|| "no such device".to_owned()),
        counters: HeartbeatCounters {
            sent: 500,
            received: if up { 490 } else { 0 },
            bad_mac: 2,
            ..HeartbeatCounters::default()
        },
    };
    let counts = RoleCause::ALL.map(|cause| RoleCount {
        redundancy_set: 1,
        cause,
        transitions: u64::from(cause == RoleCause::PeerLost) * 3,
        refusals: u64::from(cause == RoleCause::Operator),
    });
    let all = Redundancy {
        cluster: Cluster {
            id: Some(3),
            name: Some("north".to_owned()),
            unit: Some(2),
        },
        sets,
        heartbeats: vec![HeartbeatGroup {
            redundancy_group: GROUP,
            peer: "alive".to_owned(),
            since_ms: 60_000,
            interval_ms: 200,
            lost_threshold: 3,
            clock_ahead_us: Some(-1500),
            no_real_time: None,
            late_max_us: 800,
            paths: vec![path("control", true), path("secondary-1", false)],
        }],
        guard: Some(GuardProcess {
            pid: Some(77),
            restarts: 1,
            last_end: Some("signal 9".to_owned()),
        }),
        counts: counts.to_vec(),
        ..Redundancy::default()
    };
    all.judged()
}

impl Sets {
    /// As the API has them.
    pub fn rows(&self) -> Vec<RedundancySet> {
        let row = |set: &RedundancySet| RedundancySet {
            last_event: self
                .events
                .iter()
                .find(|event| event.redundancy_set == set.id)
                .cloned(),
            ..set.clone()
        };
        self.sets.iter().map(row).map(RedundancySet::judged).collect()
    }

    /// As a daemon: set 7 has no heartbeats.
    pub fn ask(&mut self, id: u8, wanted: SetRequest) -> Result<RoleChange, BackendError> {
        let set = self.sets.iter_mut().find(|set| set.id == id);
        let set = set.ok_or_else(|| BackendError::Unknown(format!("no redundancy set {id} runs")))?;
        let (was_out, was_warned) = (set.taken_out, set.warning.clone());
        match wanted {
            SetRequest::Switchover(how) => {
                let role = if set.role == RoleState::Primary {
                    WantedRole::Standby
                } else {
                    WantedRole::Primary
                };
                return self.request(
                    id,
                    RoleRequest {
                        role,
                        force: how.force,
                    },
                );
            }
            _ if !set.automatic => {
                let why = format!("the role of redundancy set {id} changes by command alone");
                return Err(BackendError::Refused(why));
            }
            SetRequest::Eligibility(wanted) => set.taken_out = !wanted.eligible,
            SetRequest::Warning(warning) => set.warning = warning.text,
        }
        Ok(RoleChange {
            redundancy_set: id,
            role: set.role,
            epoch: set.epoch,
            changed: set.taken_out != was_out || set.warning != was_warned,
            note: None,
        })
    }

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
                note: (changed && wanted.force).then(|| "what it lacks is lost".to_owned()),
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

/// Both configurations beside each other: they differ in one key.
pub fn comparison() -> ConfigComparison {
    ConfigComparison {
        alike: false,
        digest: "11".repeat(32),
        peer_digest: "22".repeat(32),
        diff: "--- this chassis\n+++ the peer\n@@ -1 +1 @@\n-fragments.timeout-s = 10\n+fragments.timeout-s = 20\n".to_owned(),
        file_changed: false,
        peer_file_changed: true,
    }
}

/// The shared files: the key of heartbeats is another one, or was until it was taken.
pub fn files(taken: bool) -> SharedFiles {
    let digest = |digit: &str| Some(digit.repeat(64));
    SharedFiles {
        rows: vec![SharedFileRow {
            key: "heartbeat-key".to_owned(),
            path: "pair.key".to_owned(),
            state: if taken {
                FileState::Taken
            } else {
                FileState::Differs
            },
            digest: digest(if taken { "2" } else { "1" }),
            peer_digest: digest("2"),
            detail: String::new(),
        }],
    }
}

/// What became of a reload at the peer.
pub fn reload(alone: bool) -> PeerReload {
    PeerReload {
        applied: !alone,
        generation: (!alone).then_some(9),
        detail: if alone {
            "the peer is not connected".to_owned()
        } else {
            String::new()
        },
    }
}
