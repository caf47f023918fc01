//! What goes over the channel, on its thread: the link, the bridge to the workers, and the roles, kept going together.
//!
//! Its clock is the workers' (milliseconds since tick 0), not the channel's: sessions' ages are told by it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};

use ha_sync::bridge::{Bridge, BridgeEvent, BridgeStats, Joining, RingUse};
use ha_sync::chassis::{PeerEvent, SetRole};
use ha_sync::heartbeat::{HeartbeatView, Heartbeats, PeerLife, SetBeat};
use ha_sync::link::{Difference, Link, LinkState, LinkStats, Mirror, Refusal};
use ha_sync::net::{Conversation, Objection};
use tandem_engine::replica::{ObjectTypes, Role};
use tandem_engine::ticks::Ticks;
use tandem_redundancy::machine::Command;
use tandem_redundancy::roles::Drain;
use tandem_redundancy::{Automatic, Hands, Lack, Peer, RoleCause, Roles, WantedRole};
use tracing::{info, warn};

use super::LEAVE_MAX;
use super::forwarding::Forwarding;
use super::heartbeats;
use super::history::{Entry, History};
use super::order::Order;
use super::pulse::Pulse;
use super::shown::{SetShown, Since};
use crate::api::BackendError;
use crate::api::model::ObjectType;
use crate::daemon::clock::Clock;
use crate::daemon::monitors::Feed;
use crate::srd::{self, Orders};

mod clocks;
mod desk;
mod heard;
mod merged;
mod monitored;
mod watched;

pub(super) use desk::Desk;
use watched::Watched;

/// The conversation.
pub(super) struct Talk {
    line: Line,
    roles: Roles,
    automatic: Automatic,
    /// The heartbeats, and what they were told last.
    beats: Option<Heartbeats>,
    told: Vec<SetBeat>,
    /// Who waits for everything to be handed over.
    leaving: Option<mpsc::Sender<()>>,
    /// Until when sets may be handed over then.
    leave_until_ms: u64,
    clock: Clock,
    shown: Published,
    /// Since when each set has its role.
    since: BTreeMap<u8, Since>,
    /// The peer was lost or gone by its heartbeats since this connection began.
    is_buried: bool,
    /// It is back, over the same connection, which is to be made anew from then on.
    stale_from_ms: Option<u64>,
    /// The peer's address that this connection is with, and whether that HA link brings no heartbeats while the other one does.
    over: Option<IpAddr>,
    is_cut: bool,
    /// That link has brought heartbeats since the connection began. One that never did has lost nothing: something on the way lets
    /// no heartbeats through, and the next connection over it would be no better.
    has_beaten: bool,
    /// What is looked at again of the heartbeats.
    again: heard::Again,
    /// The ways of forwarded packets.
    forwarding: Forwarding,
    /// Why the last connection was refused; the log has it.
    refused: Option<Refusal>,
    /// Service sets of a program that is about to come, and who waits for them.
    joining: Option<(Joining, Option<mpsc::Sender<()>>)>,
    /// What monitors are told of the peer.
    watched: Watched,
    pulse: Pulse,
    /// Questions beside all that, if somebody answers them.
    desk: Option<Desk>,
    clocks: clocks::Clocks,
}

/// What others see of the sets.
pub(super) struct Published {
    /// The sets as of the last change.
    pub sets: Arc<Mutex<Vec<SetShown>>>,
    /// What became of their roles.
    pub history: Arc<History>,
    /// A look at the heartbeats, once there are some.
    pub beats: Arc<OnceLock<HeartbeatView>>,
}

/// Link and bridge, as the roles see them.
pub(super) struct Line {
    pub link: Link,
    pub bridge: Bridge,
    pub now_ms: u64,
    /// The peer has told everything, and nothing was missed since, as far as is known.
    pub is_complete: bool,
    /// Sessions are replicated at all; otherwise nothing is told, and nobody lacks anything.
    pub replicates: bool,
    /// Who moves virtual addresses and signal routes.
    pub outward: Option<Orders>,
    /// Sets that were handed over, and whose signal routes stay until the peer's are there.
    pub draining: BTreeSet<u8>,
    /// Sets that are primary here, and for all that is known on the other chassis, too.
    pub apart: BTreeSet<u8>,
}

/// What is published of the conversation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TalkState {
    pub link: LinkState,
    pub stats: LinkStats,
    pub bridge: BridgeStats,
    pub rings: RingUse,
    pub differences: Arc<[Difference]>,
    pub wire_version: Option<u16>,
}

impl Line {
    /// A set is primary here from now on, or is not any more: addresses and routes follow.
    fn moves(&self, set: u8, is_primary: bool, epoch: u64) {
        let Some(outward) = &self.outward else { return };
        outward.give(if !is_primary && self.draining.contains(&set) {
            srd::Order::Leaving { set }
        } else {
            srd::Order::Role {
                set,
                is_primary,
                epoch,
            }
        });
    }

    /// Where both were primary, or may have been, and this chassis still is, it says so to the neighbours: they may know the other one
    /// by now. A peer that hears this chassis first has yielded before it is heard itself.
    fn look_apart(&mut self, set: u8, may_be_primary: bool) {
        let is_ours = self.role(set).is_some_and(|role| role.primary);
        if is_ours && may_be_primary {
            self.apart.insert(set);
        } else if self.apart.remove(&set)
            && is_ours
            && let Some(outward) = &self.outward
        {
            outward.give(srd::Order::Announce { set });
        }
    }

    fn knows_of(&mut self) {
        match self.link.state() {
            LinkState::Connected { receiving, .. } => self.is_complete = *receiving == Mirror::Active,
            LinkState::Suspended(_) => self.is_complete = false,
            // What it had told until then is still here.
            LinkState::Disconnected | LinkState::Greeting | LinkState::Refused(_) | LinkState::Lost => {}
        }
    }
}

impl Hands for Line {
    fn role(&self, set: u8) -> Option<SetRole> {
        self.bridge.role(set)
    }

    fn peer(&self) -> Peer {
        match self.link.state() {
            // Nobody tells anything, so everybody knows all there is to know.
            LinkState::Suspended(_) | LinkState::Connected { .. } if !self.replicates => {
                Peer::There { knows_all: true }
            }
            LinkState::Disconnected | LinkState::Refused(_) | LinkState::Lost => Peer::Gone,
            LinkState::Greeting => Peer::Greeting,
            LinkState::Suspended(_) => Peer::Suspended,
            LinkState::Connected { sending, .. } => Peer::There {
                knows_all: *sending == Mirror::Active && !self.bridge.is_renewing(),
            },
        }
    }

    fn lack(&self) -> Option<Lack> {
        if !self.replicates {
            return None;
        }
        if !self.is_complete || self.bridge.is_lacking() {
            Some(Lack::Untold)
        } else {
            self.bridge.lacks().then_some(Lack::Refused)
        }
    }

    fn peer_role(&self, set: u8) -> Option<SetRole> {
        self.link
            .peer_roles()
            .iter()
            .find(|role| role.set == set)
            .copied()
    }

    fn drain(&mut self, set: u8, step: Drain) {
        match step {
            Drain::Begin { most_ms } => {
                self.draining.insert(set);
                // The machine ends it in time; this is for when it does not.
                self.bridge.drain(set, Ticks((most_ms / 100 + 1) as u32));
            }
            Drain::Withdraw => {
                self.draining.remove(&set);
                if let Some(role) = self.role(set).filter(|role| !role.primary) {
                    self.moves(set, false, role.epoch);
                }
            }
            Drain::End => self.bridge.drain(set, Ticks::ZERO),
        }
    }

    fn take_up(&mut self, set: u8, role: Role, epoch: u64) {
        if role == Role::Standby {
            // The loser withdraws first, at least its addresses. Who becomes primary answers for addresses when the workers are.
            self.moves(set, false, epoch);
        } else {
            self.draining.remove(&set);
        }
        // A set that is gone meanwhile has no role.
        let _there = self.bridge.set_role(set, role, epoch);
        self.link.announce_roles(&self.bridge.roles());
    }

    fn adopt(&mut self, set: u8, epoch: u64) {
        self.bridge.adopt_epoch(set, epoch);
        self.link.announce_roles(&self.bridge.roles());
    }

    fn yield_to(&mut self, set: u8, epoch: u64) {
        self.moves(set, false, epoch);
        self.bridge.yields(set, epoch);
        self.link.announce_roles(&self.bridge.roles());
    }

    fn ask(&mut self, set: u8) -> bool {
        self.link.request_release(set, self.now_ms)
    }

    fn released(&mut self, set: u8, epoch: u64) -> bool {
        self.peer().is_there() && self.link.released(set, epoch, self.now_ms)
    }

    fn refuse(&mut self, set: u8) {
        // A peer that is gone does not wait.
        let _told = self.link.refuse_release(set, self.now_ms);
    }
}

impl Talk {
    pub(super) fn new(
        line: Line,
        roles: Roles,
        automatic: Automatic,
        clock: Clock,
        shown: Published,
        feed: Option<Feed>,
    ) -> Self {
        let mut talk = Self {
            line,
            roles,
            automatic,
            beats: None,
            told: Vec::new(),
            leaving: None,
            leave_until_ms: 0,
            clock,
            shown,
            since: BTreeMap::new(),
            is_buried: false,
            stale_from_ms: None,
            over: None,
            is_cut: false,
            has_beaten: false,
            again: heard::Again::default(),
            forwarding: Forwarding::default(),
            refused: None,
            joining: None,
            watched: Watched::over(feed),
            pulse: Pulse::default(),
            desk: None,
            clocks: clocks::Clocks::default(),
        };
        talk.show();
        talk
    }

    fn now(&mut self) -> u64 {
        self.pulse.beat();
        // The clock of a machine that has been moved to another one may go back.
        let now = (self.clock.uptime().as_millis() as u64).max(self.line.now_ms);
        self.line.now_ms = now;
        now
    }

    /// What follows from what the link and the workers did.
    fn follow(&mut self) {
        let now = self.line.now_ms;
        self.line.knows_of();
        while let Some(event) = self.line.bridge.next_event() {
            match event {
                BridgeEvent::Peer(event) => self.peer(event),
                BridgeEvent::RoleDone(role) => {
                    self.line.moves(role.set, role.primary, role.epoch);
                    let hands = &mut self.automatic.over(&mut self.line);
                    self.roles.taken_up(&role, now, hands);
                }
                BridgeEvent::Offered { set, told } => self.offered(set, told),
                BridgeEvent::Merged { set, merge } => self.merged(set, &merge),
                BridgeEvent::Yielded(role) => {
                    self.line.moves(role.set, false, role.epoch);
                    let hands = &self.automatic.over(&mut self.line);
                    self.roles.yielded(&role, hands);
                }
            }
        }
        self.roles.tick(now, &mut self.automatic.over(&mut self.line));
        self.automatic.tick(now, &mut self.roles, &mut self.line);
        self.watched
            .hands_over(self.roles.waits_to_hand_over() && self.is_missed());
        self.tell();
        if let Some(desk) = &mut self.desk {
            desk.carry(&mut self.line.link);
        }
        self.look_at_joining();
        self.look_at_peer();
        self.look_at_clocks();
        self.line.link.announce_roles(&self.line.bridge.roles());
        self.show();
    }

    /// Whether somebody takes over from this process if it ends: a peer that lives, by its heartbeats and by the channel.
    fn is_missed(&self) -> bool {
        let lives = |beats: &Heartbeats| beats.status().detector.peer.life == PeerLife::Alive;
        self.line.peer().is_there() && self.beats.as_ref().is_some_and(lives)
    }

    /// Tells whoever brings a program when workers have the roles it needs.
    fn look_at_joining(&mut self) {
        if let Some((joining, waits)) = &mut self.joining
            && waits.is_some()
            && self.line.bridge.has_joined(joining)
            && let Some(answer) = waits.take()
        {
            // It may have given up.
            let _gone = answer.send(());
        }
    }

    fn peer(&mut self, event: PeerEvent) {
        let now = self.line.now_ms;
        let line = &mut self.automatic.over(&mut self.line);
        match event {
            PeerEvent::Connected { new_bulk: Some(bulk) } => {
                info!(bulk, "replication: connected, everything is told anew")
            }
            PeerEvent::Connected { new_bulk: None } => {
                info!("replication: connected, it goes on where it stopped")
            }
            PeerEvent::Bulk(bulk, types) if types == ObjectTypes::ALL => {
                info!(bulk, "replication: everything is told anew");
            }
            PeerEvent::Bulk(bulk, types) => {
                let types = ObjectType::names(types);
                info!(bulk, types, "replication: some types of objects are told anew");
            }
            PeerEvent::Suspended(mismatch) => warn!(%mismatch, "replication: suspended"),
            PeerEvent::Disconnected => {
                warn!("replication: the peer is gone");
                self.roles.disconnected(now, line);
            }
            PeerEvent::Forgotten => info!("replication: nothing is kept for the peer any more"),
            PeerEvent::Refused(refusal) => {
                // It comes again with each of its attempts.
                if self.refused.replace(refusal) != Some(refusal) {
                    warn!(%refusal, "replication: the connection was refused");
                }
                self.roles.disconnected(now, line);
            }
            PeerEvent::Roles(_) => {
                self.refused = None;
                self.roles.peer_said(now, line);
            }
            PeerEvent::ReleaseAsked { set } => {
                self.watched.asks_to_acquire(set);
                self.roles.asked(set, now, line);
            }
            PeerEvent::Released { set, epoch } => {
                self.watched.asks_to_release(set);
                self.roles.released(set, epoch, now, line);
            }
            PeerEvent::ReleaseRefused { set } => self.roles.release_refused(set, line),
        }
    }

    /// Says by heartbeats what the sets are, and to whom waits for it that they are handed over.
    fn tell(&mut self) {
        let now = self.line.now_ms;
        for set in self.automatic.numbers() {
            if let Some(yields) = self.automatic.yields_equal(set) {
                self.line.bridge.yield_equal_epoch_of(set, yields);
            }
        }
        if let Some(beats) = &self.beats {
            let told = |set: u8| {
                let told = self.automatic.told(set, &self.roles, &self.line)?;
                Some(heartbeats::told(set, &told))
            };
            let sets: Vec<_> = self.automatic.numbers().into_iter().filter_map(told).collect();
            if self.told != sets {
                self.told.clone_from(&sets);
                beats.tell(sets);
            }
        }
        // What the peer has taken over drains to its end.
        let is_too_long = now >= self.leave_until_ms && !self.roles.is_draining();
        if (is_too_long || self.automatic.has_stopped(now, &self.roles, &self.line))
            && let Some(answer) = self.leaving.take()
        {
            // It may have given up.
            let _gone = answer.send(());
        }
    }

    /// Packets are forwarded by these ways.
    pub(super) fn forwards_by(&mut self, forwarding: Forwarding) {
        self.forwarding = forwarding;
    }

    /// By this others see that the thread goes round.
    pub(super) fn goes_round(&mut self, pulse: Pulse) {
        self.pulse = pulse;
    }

    /// Questions beside replication go by this.
    pub(super) fn has_desk(&mut self, desk: Desk) {
        self.desk = Some(desk);
    }

    /// These are the heartbeats, which have just begun.
    pub(super) fn beats(&mut self, beats: Option<Heartbeats>) {
        if let Some(beats) = &beats {
            // They begin once.
            let _first = self.shown.beats.set(beats.view());
        }
        self.beats = beats;
        self.tell();
    }

    /// The peer hears that this process stops.
    pub(super) fn leave(mut self) {
        // What the workers do from now on holds nobody up.
        self.watched.hands_over(false);
        if let Some(beats) = self.beats {
            beats.leave();
        }
    }

    /// Shows the sets, if something about them has changed, and what became of them.
    fn show(&mut self) {
        while let Some(event) = self.roles.next_event() {
            if event.reason.is_none() {
                self.since.insert(event.set, Since::now(self.line.now_ms));
            }
            if let Some(note) = &event.note {
                warn!(set = event.set, "{note}");
            }
            self.shown.history.add(Entry::from(event));
        }
        let line = &self.line;
        let sets: Vec<SetShown> = line
            .bridge
            .roles()
            .into_iter()
            .filter_map(|ours| {
                let peer = line.peer_role(ours.set).filter(|_| line.peer().is_there());
                let knows_all = matches!(line.peer(), Peer::There { knows_all: true });
                let change = self.roles.shown(ours.set)?;
                let automatic = self.automatic.shown(ours.set, line);
                let is_there = line.peer().is_there();
                let since = *self.since.get(&ours.set)?;
                let shown = SetShown::of(ours, line.lack(), peer, knows_all, is_there, change, since);
                let drains_until_ms = self.roles.drains_until(ours.set);
                Some(shown.with(automatic).draining(drains_until_ms))
            })
            .collect();
        let mut shown = self.shown.sets.lock().unwrap_or_else(PoisonError::into_inner);
        if *shown != sets {
            *shown = sets;
        }
    }
}

impl Conversation for Talk {
    type Command = Order;
    type State = TalkState;

    fn over(&mut self, peer: IpAddr) {
        self.over = Some(peer);
    }

    fn connected(&mut self, _: u64) {
        (self.is_buried, self.stale_from_ms, self.is_cut) = (false, None, false);
        self.has_beaten = false;
        if let Some(status) = self.beats.as_ref().map(Heartbeats::status) {
            self.look_at_paths(&status);
        }
        let now = self.now();
        self.line.link.connected(now);
        self.follow();
    }

    fn disconnected(&mut self, _: u64) {
        let now = self.now();
        self.line.link.disconnected(now);
        if let Some(desk) = &mut self.desk {
            desk.disconnected();
        }
        // The bridge hears of it with the next look at the link.
        self.line.link.absorb(now, &mut self.line.bridge);
        self.automatic.channel(false);
        if let Some(beats) = &self.beats {
            // Its kernel lives when the process does not, and says so.
            beats.probe();
        }
        self.follow();
    }

    fn receive(&mut self, bytes: &[u8], _: u64) -> Result<usize, Objection> {
        let now = self.now();
        let taken = self.line.link.received(now, bytes, &mut self.line.bridge);
        if self.line.peer().is_there() {
            self.automatic.channel(true);
        }
        self.follow();
        taken.map_err(|error| Objection(error.to_string()))
    }

    fn is_busy(&self) -> bool {
        self.line.link.is_installing()
    }

    fn is_urgent(&self) -> bool {
        let waits = self.joining.as_ref().is_some_and(|(_, waits)| waits.is_some());
        waits || self.line.bridge.is_changing_roles() || self.roles.is_changing(self.line.now_ms)
    }

    fn send(&mut self, out: &mut Vec<u8>, room: usize, _: u64) {
        let (now, end) = (self.now(), out.len().saturating_add(room));
        loop {
            let before = out.len();
            self.line.bridge.service(now);
            self.line.link.poll(now, &mut self.line.bridge, out);
            self.follow();
            if out.len() == before || out.len() >= end {
                return;
            }
        }
    }

    fn tick(&mut self, _: u64) {
        let now = self.now();
        self.line.bridge.service(now);
        self.line.link.absorb(now, &mut self.line.bridge);
        self.look_at_heartbeats(now);
        self.follow();
    }

    fn objection(&self) -> Option<Objection> {
        match self.line.link.state() {
            LinkState::Lost => Some(Objection("the peer was not heard for too long".to_owned())),
            LinkState::Refused(refusal) => Some(Objection(refusal.to_string())),
            // What was given out meanwhile did not wait for it.
            _ if self.stale_from_ms.is_some_and(|from| self.line.now_ms >= from) => Some(Objection(
                "the peer was lost by its heartbeats meanwhile".to_owned(),
            )),
            // It would be noticed by its own silence as well, a minute later.
            _ if self.is_cut => Some(Objection(
                "its HA link brings no heartbeats, and the other one does".to_owned(),
            )),
            LinkState::Disconnected
            | LinkState::Greeting
            | LinkState::Suspended(_)
            | LinkState::Connected { .. } => None,
        }
    }

    fn command(&mut self, order: Order, _: u64) {
        let (now, line) = (self.now(), &mut self.line);
        match order {
            Order::Role {
                set,
                role,
                forced,
                answer,
            } => {
                let cause = RoleCause::Operator;
                let command = match role {
                    WantedRole::Primary => Command::Acquire { force: forced, cause },
                    WantedRole::Standby => Command::Release { force: forced, cause },
                };
                if self.automatic.has(set) {
                    self.automatic
                        .command(set, command, answer, now, &mut self.roles, line);
                } else {
                    self.roles.request(set, role, forced, answer, now, line);
                }
            }
            Order::Ask { set, wanted, answer } => self.ask(set, wanted, answer),
            Order::Heartbeat(event) => self.heard(event, now),
            Order::Monitored(report) => self.monitored(*report),
            Order::Leave { answer } => {
                self.leave_until_ms = now + LEAVE_MAX.as_millis() as u64;
                self.automatic.stop(now, &mut self.roles, line);
                self.leaving = Some(answer);
            }
            Order::Resync {
                to_peer,
                types,
                answer,
            } => {
                let begun = if to_peer {
                    line.link.resync_to_peer(types)
                } else {
                    line.link.resync_from_peer(types, now)
                };
                let refused = || {
                    BackendError::Refused(
                        "nothing is replicated with the peer now (show replication says why)".into(),
                    )
                };
                // Whoever asked may be gone.
                let _gone = answer.send(begun.then_some(()).ok_or_else(refused));
            }
            Order::AskPeer { content, answer } => {
                if let Some(desk) = &mut self.desk {
                    desk.ask(content, answer, &mut line.link);
                }
            }
            Order::AnswerPeer(asked) => {
                if let Some(desk) = &self.desk {
                    desk.answer(asked, &mut line.link);
                }
            }
            Order::Announce { sets, answer } => {
                self.joining = Some((line.bridge.join(&sets), Some(answer)));
            }
            Order::TakeBack => {
                if let Some((joining, _)) = self.joining.take() {
                    line.bridge.leave(&joining);
                }
            }
            Order::Commit(commit) => {
                self.joining = None;
                self.forwarding.follow(&commit.program);
                if let Some(beats) = &self.beats {
                    self.forwarding.look(&beats.status());
                }
                line.bridge.set_program(commit.program, commit.sets);
                line.link.set_digest(commit.digest);
                line.link.set_parts(commit.parts);
                line.link.set_dictionary(commit.dictionary);
                self.roles.follow(&commit.roles, line);
                self.roles.set_drains(&commit.drains);
                self.automatic.follow(&commit.automatic);
            }
        }
        self.follow();
    }

    fn state(&self) -> TalkState {
        TalkState {
            link: *self.line.link.state(),
            stats: self.line.link.stats().clone(),
            bridge: *self.line.bridge.stats(),
            rings: self.line.bridge.ring_use(),
            differences: self.line.link.differences(),
            wire_version: self.line.link.version(),
        }
    }
}

mod ask;
#[cfg(test)]
mod tests;
