//! From a configuration to a replication that can start: the channel's end, the link, the bridge, and the first roles.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, mpsc};

use ha_sync::bridge::{Bridge, BridgeConfig, BridgeError};
use ha_sync::heartbeat::{self, HeartbeatConfig, KeyFileError};
use ha_sync::link::{Link, LinkConfig};
use ha_sync::net::{self, Channel, Command};
use ha_sync::wire::Versions;
use ring::rand::{SecureRandom, SystemRandom};
use tandem_dataplane::dataplane::ReplicaRings;
use tandem_dataplane::interfaces::Interfaces;
use tandem_engine::program::Program;
use tandem_engine::public_space::PublicSpace;
use tandem_redundancy::{Automatic, Roles};
use tokio::sync::mpsc::unbounded_channel;
use tracing::info;

use super::forwarding::Forwarding;
use super::guard::{Failure, Guard};
use super::heartbeats;
use super::history::History;
use super::order::{Commit, Order};
use super::pulse::{Feeler, Pulse};
use super::talk::{Desk, Line, Published, Talk};
use super::{PENDING_MAX, Pair, Replication};
use crate::config::{Config, NameRegistry};
use crate::daemon::clock::Clock;
use crate::daemon::life::Life;
use crate::daemon::monitors::Feed;
use crate::daemon::outward::last_words;
use crate::daemon::pair::ASKED_MAX;
use crate::guard::end_as_killed;
use crate::srd::{self, Orders};

/// Operations that can wait between a worker and the replication, each way: 144 octets each, so 4.5 MiB for a worker.
const RING: usize = 16_384;

/// Why there is no replication.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum SetupError {
    /// The channel.
    #[error("redundancy group {group}: {error}")]
    Channel {
        /// The redundancy group.
        group: u8,
        /// What is wrong.
        #[source]
        error: net::SetupError,
    },
    /// The key of heartbeats.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The workers' rings.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
    /// Every start needs a number that no other had.
    #[error("the system gives no random numbers")]
    Random,
    /// The thread.
    #[error("the replication did not start; the log says why")]
    NotStarted,
}

/// The rings a configuration needs.
pub(in super::super) fn ring(config: &Config) -> Option<usize> {
    (!config.redundancy.groups.is_empty()).then_some(RING)
}

/// This chassis' end of the channel, if the configuration has one: its keys are read here.
pub(in super::super) fn channel(config: &Config) -> Result<Option<Channel>, SetupError> {
    let Some(group) = config.redundancy.groups.first() else {
        return Ok(None);
    };
    let channel = Channel::new(group.endpoint());
    let failed = |error| SetupError::Channel {
        group: group.id,
        error,
    };
    channel.map(Some).map_err(failed)
}

/// A number that no other start had.
fn incarnation() -> Result<u64, SetupError> {
    let mut octets = [0; 8];
    let filled = SystemRandom::new().fill(&mut octets);
    filled.map_err(|_| SetupError::Random)?;
    Ok(u64::from_ne_bytes(octets).max(1))
}

/// A replication that can start.
pub(in super::super) struct Replicator {
    group: u8,
    channel: Channel,
    line: Line,
    roles: Roles,
    automatic: Automatic,
    heartbeats: Option<HeartbeatConfig>,
    public_space: Arc<PublicSpace>,
    forwarding: Forwarding,
}

impl Replicator {
    /// Over the rings of workers that have not started: the first roles are on their way to them before any packet.
    pub(in super::super) fn new(
        channel: Channel,
        config: &Config,
        program: &Arc<Program>,
        registry: &NameRegistry,
        (rings, interfaces): (Vec<ReplicaRings>, Arc<Interfaces>),
        outward: Option<Orders>,
    ) -> Result<Option<Self>, SetupError> {
        let Some(group) = config.redundancy.groups.first() else {
            return Ok(None);
        };
        let commit = Commit::of(group.id, config, program, registry);
        let shards = config.workers.shards;
        let incarnation = incarnation()?;
        let mut link = Link::new(LinkConfig {
            window_bytes: (group.replay_window_mb as usize) << 20,
            pending_max: PENDING_MAX,
            keepalive_ms: u64::from(group.keepalive_interval_s) * 1000,
            keepalive_lost: group.keepalive_lost_threshold,
            versions: Versions {
                highest: group.wire_version,
                ..Versions::ALL
            },
            ..LinkConfig::new(incarnation, shards, commit.digest, commit.dictionary)
        });
        link.set_parts(commit.parts);
        let held_back = rings.iter().map(|ring| Arc::clone(&ring.held_back)).collect();
        let (outboxes, inboxes) = rings.into_iter().map(|ring| (ring.outbox, ring.inbox)).unzip();
        let bridge_config = BridgeConfig {
            shards,
            sets: commit.sets,
            // The link is given the workers' time.
            tick_zero_ms: 0,
        };
        let mut bridge = Bridge::new(bridge_config, commit.program, outboxes, inboxes)?;
        // Where both are primary with the same epoch, the chassis with the lower redundancy address stays it.
        bridge.yield_equal_epochs(!group.is_gateway_1());
        bridge.watch(held_back);
        let mut line = Line {
            link,
            bridge,
            now_ms: 0,
            is_complete: false,
            replicates: group.session_replication,
            outward,
            draining: BTreeSet::new(),
            apart: BTreeSet::new(),
        };
        let hold_ms = config.redundancy.initial_hold_ms(group);
        let mut roles = Roles::new(hold_ms);
        roles.follow(&commit.roles, &mut line);
        roles.set_drains(&commit.drains);
        let mut automatic = Automatic::default();
        automatic.follow(&commit.automatic);
        let heartbeats = heartbeats::configured(group, incarnation)?;
        if let (Some(outward), Some(heartbeats)) = (&line.outward, &heartbeats) {
            outward.give(srd::Order::Gone(last_words(heartbeats)));
        }
        Ok(Some(Self {
            group: group.id,
            channel,
            line,
            roles,
            automatic,
            heartbeats,
            public_space: Arc::clone(&program.public_space),
            forwarding: Forwarding::new(interfaces, program),
        }))
    }

    /// The thread's name and work, and the replication once it runs. `beating`: ends with the heartbeats' thread.
    pub(in super::super) fn start(
        self,
        clock: Clock,
        feed: Feed,
        beating: &Life,
    ) -> (
        String,
        impl FnOnce() + Send + 'static,
        impl FnOnce() -> Result<Replication, SetupError>,
    ) {
        let name = format!("ha-{}", self.group);
        let (orders, mut commands) = unbounded_channel();
        let (started, status) = mpsc::channel();
        let sets = Arc::new(Mutex::new(Vec::new()));
        let (group, history) = (self.group, Arc::new(History::default()));
        let beats = Arc::new(OnceLock::new());
        let shown = Published {
            sets: Arc::clone(&sets),
            history: Arc::clone(&history),
            beats: Arc::clone(&beats),
        };
        let failure = Failure::default();
        let pulse = Pulse::default();
        let feeler = self.heartbeats.is_some().then(|| Feeler::new(pulse.clone()));
        let breath = self.heartbeats.is_some().then(|| beating.breath());
        let guard = Guard {
            failure: Arc::clone(&failure),
            public_space: self.public_space,
            sets: Arc::clone(&sets),
            history: Arc::clone(&history),
            end: self.heartbeats.is_some().then_some(|why| end_as_killed(why)),
        };
        let mut talk = Talk::new(self.line, self.roles, self.automatic, clock, shown, Some(feed));
        talk.goes_round(pulse);
        talk.forwards_by(self.forwarding);
        let (asked, questions) = mpsc::sync_channel(ASKED_MAX);
        talk.has_desk(Desk::new(asked));
        let (channel, heartbeats, events) = (self.channel, self.heartbeats, orders.clone());
        let work = move || {
            info!(group, "replication starts");
            // Whoever waits for it may have given up.
            let published = |status| drop(started.send(status));
            guard.run(move || {
                // A thread that has ended is known by other ways.
                let on_event = move |event| {
                    let _held = &breath;
                    drop(events.send(Command::Say(Order::Heartbeat(event))));
                };
                let beats = heartbeats.map(|config| heartbeat::run(config, on_event));
                talk.beats(beats.transpose().map_err(std::io::Error::other)?);
                net::run(&channel, &mut talk, &mut commands, published)?;
                talk.leave();
                Ok(())
            });
        };
        let ready = move || {
            let status = status.recv().map_err(|_| SetupError::NotStarted)?;
            Ok(Replication(Some(Pair {
                group,
                orders,
                status,
                sets,
                history,
                failure,
                feeler,
                beats,
                clock,
                questions: Mutex::new(Some(questions)),
            })))
        };
        (name, work, ready)
    }
}
