//! Replication: the thread that speaks with the other chassis of the pair, and how the rest of the daemon speaks with it.
//!
//! ```text
//!   workers' rings <--> bridge <--> link <--> channel ==TLS==> the other chassis          thread "ha-N"
//!                          ^  roles  ^
//!   API, commits -- orders-'---------'--> status, sets, history --> API
//! ```
//!
//! The workers' rings are one pair each, so one redundancy group at a time has them; the configuration sees to it.

mod beats;
mod cluster;
mod forwarding;
mod guard;
mod heartbeats;
mod history;
mod order;
mod pulse;
mod setup;
mod shown;
mod talk;
mod terms;

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ha_sync::heartbeat::{HeartbeatView, PeerLife};
use ha_sync::link::LinkState;
use ha_sync::net::{ChannelState, Command, Status};
use tandem_engine::program::Program;
use tandem_redundancy::roles::{Answer, DRAIN_MS_MAX};
use tokio::sync::{mpsc, oneshot, watch};

use crate::api::BackendError;
use crate::api::model::{
    HeartbeatGroup, ObjectType, RedundancyEvent, RedundancySet, ReplicationGroup, ReplicationState, Resync,
    ResyncDirection, ResyncRequest, RoleChange, RoleCount, RoleRequest, SetRequest,
};
use crate::config::{Config, NameRegistry};
use crate::daemon::clock::Clock;
use crate::daemon::pair::{Asked, PeerAnswer, PeerError, wait_for_answer};
use guard::Failure;
use history::History;
use order::{Commit, Order};
use pulse::Feeler;
use shown::SetShown;
use talk::TalkState;

pub(super) use cluster::cluster;
pub(super) use order::Report;
pub(super) use setup::{Replicator, SetupError, channel, ring};

/// Changes beside the link's window, at most.
const PENDING_MAX: usize = 131_072;

/// How long workers may take to learn their roles before a program comes.
const ANNOUNCE_MAX: Duration = Duration::from_secs(3);

/// How long a peer may take to take over what a stopping chassis is primary of.
const LEAVE_MAX: Duration = Duration::from_secs(3);

/// How late the word may be that it is done.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// A running replication.
struct Pair {
    group: u8,
    orders: mpsc::UnboundedSender<Command<Order>>,
    status: watch::Receiver<Status<TalkState>>,
    sets: Arc<Mutex<Vec<SetShown>>>,
    history: Arc<History>,
    failure: Failure,
    /// Where roles are automatic.
    feeler: Option<Feeler>,
    beats: Arc<OnceLock<HeartbeatView>>,
    clock: Clock,
    /// What the peer asks, until somebody answers it.
    questions: Mutex<Option<Receiver<Asked>>>,
}

/// Takes what monitors say to the thread.
pub(super) struct Reports(mpsc::UnboundedSender<Command<Order>>);

impl Reports {
    /// Without waiting. A thread that has ended changes no role.
    pub(super) fn give(&self, report: Report) {
        let _ended = self.0.send(Command::Say(Order::Monitored(Box::new(report))));
    }
}

/// The replication, if the configuration has one.
#[derive(Default)]
pub(super) struct Replication(Option<Pair>);

impl Replication {
    /// Whether the thread runs at all.
    pub(super) const fn is_there(&self) -> bool {
        self.0.is_some()
    }

    fn say(&self, order: Order) -> Result<(), BackendError> {
        let pair = self.0.as_ref().ok_or(BackendError::Stopping)?;
        let said = pair.orders.send(Command::Say(order));
        said.map_err(|_| self.ended())
    }

    /// Asks the peer and waits for its answer, at most so long, and neither when it `is_lost`.
    pub(super) fn ask(&self, content: Vec<u8>, patience: Duration, is_lost: impl Fn() -> bool) -> PeerAnswer {
        if self.0.is_none() {
            return Err(PeerError::Alone);
        }
        if is_lost() {
            return Err(PeerError::Lost);
        }
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        let said = self.say(Order::AskPeer { content, answer });
        said.map_err(|_| PeerError::NotThere)?;
        wait_for_answer(&answered, patience, is_lost)
    }

    /// Whether heartbeats, if the group has them, say that the peer is dead.
    pub(super) fn peer_is_lost(&self) -> bool {
        let pair = self.0.as_ref().filter(|pair| pair.failure.get().is_none());
        let beats = pair.and_then(|pair| pair.beats.get());
        beats
            .is_some_and(|beats| matches!(beats.status().detector.peer.life, PeerLife::Lost | PeerLife::Gone))
    }

    /// Answers a question of the peer.
    pub(super) fn answer(&self, asked: Asked) {
        // A thread that has ended has no peer either.
        let _ended = self.say(Order::AnswerPeer(asked));
    }

    /// What the peer asks: for whoever answers it, once.
    pub(super) fn questions(&self) -> Option<Receiver<Asked>> {
        let questions = &self.0.as_ref()?.questions;
        questions.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// For monitors: where their reports go.
    pub(super) fn reports(&self) -> Option<Reports> {
        self.0.as_ref().map(|pair| Reports(pair.orders.clone()))
    }

    /// Why the thread hears no orders any more.
    fn ended(&self) -> BackendError {
        self.failure()
            .map_or(BackendError::Stopping, |why| BackendError::Failed(why.to_owned()))
    }

    /// Why replication has failed, if it has. Translation goes on.
    pub(super) fn failure(&self) -> Option<&str> {
        self.0.as_ref()?.failure.get().map(String::as_str)
    }

    /// Whether the thread hangs, where roles are automatic. To be asked ten times a second.
    pub(super) fn stands_still(&self) -> bool {
        let feeler = self.0.as_ref().and_then(|pair| pair.feeler.as_ref());
        feeler.is_some_and(Feeler::stands_still)
    }

    /// Workers are about to get a program with this configuration. When this returns, they are standby already of the service sets
    /// that it brings into redundancy sets which are standby here.
    ///
    /// # Errors
    /// Who does not take it up within some seconds.
    pub(super) fn announce(&self, config: &Config, registry: &NameRegistry) -> Result<(), String> {
        let Some(pair) = &self.0 else { return Ok(()) };
        let sets = order::sets(pair.group, config, registry);
        let (answer, answered) = std::sync::mpsc::channel();
        // A thread that has ended changes no roles and takes no commit either.
        let said = self.say(Order::Announce { sets, answer });
        match said.map(|()| answered.recv_timeout(ANNOUNCE_MAX)) {
            Err(_) | Ok(Ok(()) | Err(RecvTimeoutError::Disconnected)) => Ok(()),
            Ok(Err(RecvTimeoutError::Timeout)) => Err("a worker, of its roles in redundancy sets,".into()),
        }
    }

    /// The program that was announced does not come.
    pub(super) fn take_back(&self) {
        // Nobody is left to hear it while the daemon stops.
        let _stopping = self.say(Order::TakeBack);
    }

    /// The workers have this program from now on.
    pub(super) fn committed(&self, config: &Config, program: &Arc<Program>, registry: &NameRegistry) {
        let Some(pair) = &self.0 else { return };
        let commit = Commit::of(pair.group, config, program, registry);
        // Nobody is left to hear it while the daemon stops.
        let _stopping = self.say(Order::Commit(Box::new(commit)));
    }

    /// Hands over the redundancy sets that this chassis is primary of, if the peer takes them, within [`LEAVE_MAX`], and lets those
    /// drain. To be called while the workers still run.
    pub(super) fn leave(&self) {
        let (answer, answered) = std::sync::mpsc::channel();
        if self.say(Order::Leave { answer }).is_ok() {
            // Whoever does not take it in time does not hinder the stop.
            let _in_time =
                answered.recv_timeout(LEAVE_MAX + Duration::from_millis(DRAIN_MS_MAX) + ANSWER_MAX);
        }
    }

    /// Sends what there is to send, within a second, and ends the thread. To be called when the workers have ended.
    pub(super) fn stop(&self) {
        if let Some(pair) = &self.0 {
            // It has ended by itself, which is known already.
            let _ended = pair.orders.send(Command::Stop);
        }
    }

    /// See [`crate::api::Backend::request_role`].
    pub(super) async fn request_role(
        &self,
        set: u8,
        wanted: RoleRequest,
    ) -> Result<RoleChange, BackendError> {
        if self.0.is_none() {
            return Err(BackendError::Unknown(format!("no redundancy set {set} runs")));
        }
        self.answered(|answer| Order::Role {
            set,
            role: wanted.role.into(),
            forced: wanted.force,
            answer,
        })
        .await
    }

    /// Gives an order, and waits for what comes of it.
    async fn answered(&self, order: impl FnOnce(Answer) -> Order) -> Result<RoleChange, BackendError> {
        let (answer, answered) = oneshot::channel();
        // Whoever asked may be gone; what was asked for is done all the same.
        self.say(order(Box::new(move |result| drop(answer.send(result)))))?;
        match answered.await {
            Ok(result) => result.map(RoleChange::from).map_err(BackendError::from),
            Err(_) => Err(self.ended()),
        }
    }

    /// See [`crate::api::Backend::request_set`].
    pub(super) async fn request_set(&self, set: u8, wanted: SetRequest) -> Result<RoleChange, BackendError> {
        if self.0.is_none() {
            return Err(BackendError::Unknown(format!("no redundancy set {set} runs")));
        }
        self.answered(|answer| Order::Ask { set, wanted, answer }).await
    }

    /// See [`crate::api::Backend::resync`].
    pub(super) async fn resync(&self, group: u8, wanted: &ResyncRequest) -> Result<Resync, BackendError> {
        if self.0.as_ref().is_none_or(|pair| pair.group != group) {
            return Err(BackendError::Unknown(format!("no redundancy group {group} runs")));
        }
        let (answer, answered) = oneshot::channel();
        let to_peer = wanted.direction == ResyncDirection::ToPeer;
        let types = wanted.types();
        self.say(Order::Resync {
            to_peer,
            types,
            answer,
        })?;
        answered.await.unwrap_or_else(|_| Err(self.ended()))?;
        Ok(Resync {
            redundancy_group: group,
            direction: wanted.direction,
            objects: ObjectType::all_of(types),
        })
    }

    /// The redundancy group, as the API shows it.
    pub(super) fn group(&self, config: &Config, expected_objects: Option<u64>) -> Option<ReplicationGroup> {
        let pair = self.0.as_ref()?;
        let mut status = pair.status.borrow().clone();
        if pair.failure.get().is_some() {
            // What it published last is not so any more.
            (status.channel.state, status.conversation.link) =
                (ChannelState::Stopped, LinkState::Disconnected);
        }
        Some(shown::group(pair.group, config, &status, expected_objects))
    }

    /// What is wrong with it, if something is.
    pub(super) fn trouble(&self, config: &Config) -> Option<String> {
        if let Some(why) = self.failure() {
            return Some(why.to_owned());
        }
        let mut troubles: Vec<String> = self.connection_trouble(config).into_iter().collect();
        if let Some(pair) = &self.0 {
            let sets = pair.sets.lock().unwrap_or_else(PoisonError::into_inner);
            troubles.extend(sets.iter().filter_map(SetShown::trouble));
        }
        (!troubles.is_empty()).then(|| troubles.join("; "))
    }

    fn connection_trouble(&self, config: &Config) -> Option<String> {
        let group = self.group(config, None)?;
        if matches!(
            group.state,
            ReplicationState::Active | ReplicationState::Synchronizing
        ) {
            return differing(&group);
        }
        let why = if group.detail.is_empty() {
            String::new()
        } else {
            format!(": {}", group.detail)
        };
        Some(format!(
            "the connection with the peer of redundancy group {} is {}{why}",
            group.id,
            group.state.as_str()
        ))
    }

    /// Redundancy sets, by number.
    pub(super) fn sets(&self, config: &Config) -> Vec<RedundancySet> {
        let Some(pair) = &self.0 else { return Vec::new() };
        let beats = self.heartbeats();
        let paths = beats.iter().flat_map(|group| &group.paths).filter(|path| path.up);
        let paths: Vec<String> = paths.map(|path| path.path.clone()).collect();
        let now_ms = pair.clock.uptime().as_millis() as u64;
        let sets = pair.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = sets.iter().filter_map(|set| set.row(config, now_ms, &paths));
        let mut rows: Vec<RedundancySet> = rows.collect();
        drop(sets);
        for row in &mut rows {
            row.last_event = pair.history.latest(row.id);
        }
        rows
    }

    /// Heartbeats, if the group has them and their thread runs.
    pub(super) fn heartbeats(&self) -> Option<HeartbeatGroup> {
        let pair = self.0.as_ref().filter(|pair| pair.failure.get().is_none())?;
        Some(beats::shown(pair.group, &pair.beats.get()?.status()))
    }

    /// What was counted of these sets.
    pub(super) fn counts(&self, sets: &[RedundancySet]) -> Vec<RoleCount> {
        let pair = self.0.as_ref();
        pair.map(|pair| pair.history.counts(sets.iter().map(|set| set.id)))
            .unwrap_or_default()
    }

    /// What became of their roles, the latest first.
    pub(super) fn events(&self) -> Vec<RedundancyEvent> {
        self.0
            .as_ref()
            .map(|pair| pair.history.events())
            .unwrap_or_default()
    }
}

/// What replication goes on with and has to be put right all the same: static mappings that only one chassis has, another cluster.
fn differing(group: &ReplicationGroup) -> Option<String> {
    const NAMED: usize = 3;
    let parts: Vec<_> = group
        .differences
        .iter()
        .take(NAMED)
        .map(|one| format!("{} ({})", one.part, one.differs.as_str()))
        .collect();
    let more = group.differences.len().saturating_sub(NAMED);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    (!parts.is_empty()).then(|| {
        format!(
            "this chassis and the peer of redundancy group {} differ in {}{more}",
            group.id,
            parts.join(", ")
        )
    })
}
