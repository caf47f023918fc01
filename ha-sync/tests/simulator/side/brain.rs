//! Who decides about a chassis' roles in an automatic pair: the real machines and roles over the real link and bridge, told by real
//! heartbeats and monitors, by a clock of its own. Put together as the daemon's thread does it.

use ha_sync::bridge::{Bridge, BridgeEvent};
use ha_sync::chassis::{PeerEvent, SetRole};
use ha_sync::heartbeat::{
    BeatTiming, Codec, Datagram, Detector, FileKey, HeartbeatEvent, LostWhy, Now, PathId, SetBeat, SetState,
    gone_datagram,
};
use ha_sync::link::{Link, LinkState, Mirror};
use tandem_engine::replica::Role;
use tandem_redundancy::machine::{Command, PeerSet, Settings};
use tandem_redundancy::roles::Configured;
use tandem_redundancy::{Automatic, Hands, Heartbeat, Lack, Peer, RoleState, Roles};

use crate::clock::Clock;
use crate::monitors::{LINKS, Monitors, Plan};

/// The paths of heartbeats; the channel goes over the first two.
pub const PATHS: [PathId; 3] = [PathId::Control, PathId::Data, PathId::Secondary1];
/// Heartbeats, and how many may be lost.
pub const TIMING: BeatTiming = BeatTiming {
    interval_ms: 500,
    lost_threshold: 3,
};

/// What both chassis of an automatic pair are configured with.
#[derive(Clone, Debug)]
pub struct Terms {
    pub settings: [Vec<(u8, Settings)>; 2],
    pub plan: Plan,
    pub clocks: [Clock; 2],
}

impl Terms {
    /// Random terms for so many sets.
    pub fn draw(seed: u64, sets: u8) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let sets: Vec<u8> = (1..=sets).collect();
        let acts = rng.bool();
        let plan = Plan::draw(&mut rng, &sets, acts);
        let (always, preempt, same) = (rng.bool(), rng.bool(), rng.bool());
        let settings = [0, 1].map(|at| {
            let of = |set: &u8| {
                let settings = Settings {
                    priority: if same { 100 } else { rng.u8(1..=254) },
                    is_gateway_1: at == 0,
                    preempt,
                    preempt_hold_ms: 1000,
                    recovery_hold_ms: 2000,
                    initial_hold_ms: 2500,
                    primary_always_exists: always,
                    set_threshold: plan.set_threshold,
                    chassis_threshold: plan.chassis_threshold,
                };
                (*set, settings)
            };
            sets.iter().map(of).collect()
        });
        Self {
            settings,
            clocks: [Clock::draw(&mut rng), Clock::draw(&mut rng)],
            plan,
        }
    }
}

/// What was done with a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    /// Workers were told to be primary.
    Primary(u16),
    /// Workers were told to be standby.
    Standby(u16),
    /// The peer is told that all of it has been told.
    Released(u16),
    /// The peer has said so, and all before it is here.
    HeardReleased(u16),
}

/// See the module.
pub struct Brain {
    roles: Roles,
    automatic: Automatic,
    detector: Detector,
    codec: Codec,
    incarnation: u64,
    monitors: Monitors,
    clock: Clock,
    told: Vec<SetBeat>,
    pub(super) events: Vec<BridgeEvent>,
    is_complete: bool,
    is_buried: bool,
    /// The connection outlived its peer.
    pub(super) is_stale: bool,
    /// The peer lives, its heartbeats say.
    pub(super) hears: bool,
    did: Vec<Did>,
}

/// Link and bridge, as the roles see them.
struct Line<'a> {
    link: &'a mut Link,
    bridge: &'a mut Bridge,
    now: u64,
    is_complete: bool,
    did: &'a mut Vec<Did>,
}

impl Hands for Line<'_> {
    fn role(&self, set: u8) -> Option<SetRole> {
        self.bridge.roles().into_iter().find(|role| role.set == set)
    }
    fn peer(&self) -> Peer {
        match self.link.state() {
            LinkState::Disconnected | LinkState::Refused(_) | LinkState::Lost => Peer::Gone,
            LinkState::Greeting => Peer::Greeting,
            LinkState::Suspended(_) => Peer::Suspended,
            LinkState::Connected { sending, .. } => Peer::There {
                knows_all: *sending == Mirror::Active && !self.bridge.is_renewing(),
            },
        }
    }
    fn lack(&self) -> Option<Lack> {
        if !self.is_complete || self.bridge.is_lacking() {
            Some(Lack::Untold)
        } else {
            self.bridge.lacks().then_some(Lack::Refused)
        }
    }
    fn peer_role(&self, set: u8) -> Option<SetRole> {
        let mut roles = self.link.peer_roles().iter();
        roles.find(|role| role.set == set).copied()
    }
    fn take_up(&mut self, set: u8, role: Role, epoch: u64) {
        let did = if role == Role::Primary {
            Did::Primary
        } else {
            Did::Standby
        };
        self.did.push(did(set.into()));
        let _there = self.bridge.set_role(set, role, epoch);
        self.link.announce_roles(&self.bridge.roles());
    }
    fn adopt(&mut self, set: u8, epoch: u64) {
        self.bridge.adopt_epoch(set, epoch);
        self.link.announce_roles(&self.bridge.roles());
    }
    fn yield_to(&mut self, set: u8, epoch: u64) {
        self.did.push(Did::Standby(set.into()));
        self.bridge.yields(set, epoch);
        self.link.announce_roles(&self.bridge.roles());
    }
    fn ask(&mut self, set: u8) -> bool {
        self.link.request_release(set, self.now)
    }
    fn released(&mut self, set: u8, epoch: u64) -> bool {
        let told = self.peer().is_there() && self.link.released(set, epoch, self.now);
        if told {
            self.did.push(Did::Released(set.into()));
        }
        told
    }
    fn refuse(&mut self, set: u8) {
        let _told = self.link.refuse_release(set, self.now);
    }
}

impl Brain {
    pub fn new(terms: &Terms, at: usize, incarnation: u64, link: &mut Link, bridge: &mut Bridge) -> Self {
        let (low, high) = ("192.0.2.1", "192.0.2.2");
        let address = |text: &str| text.parse().expect("an address");
        let (local, peer) = if at == 0 { (low, high) } else { (high, low) };
        let codec = || Codec::new(&FileKey::known_to_all(), address(local), address(peer));
        let settings = &terms.settings[at];
        let mut brain = Self {
            roles: Roles::new(settings[0].1.initial_hold_ms),
            automatic: Automatic::default(),
            detector: Detector::new(codec(), incarnation, TIMING, PATHS),
            codec: codec(),
            incarnation,
            monitors: Monitors::new(&terms.plan),
            clock: terms.clocks[at],
            told: Vec::new(),
            events: Vec::new(),
            is_complete: false,
            is_buried: false,
            is_stale: false,
            hears: false,
            did: Vec::new(),
        };
        let sets: Vec<_> = settings
            .iter()
            .map(|(set, _)| (*set, Configured::Automatic))
            .collect();
        let mut line = Line {
            link,
            bridge,
            now: 0,
            is_complete: false,
            did: &mut brain.did,
        };
        brain.roles.follow(&sets, &mut line);
        brain.automatic.follow(settings);
        // It was primary of nothing.
        brain.did.clear();
        brain
    }

    fn at(&self, now: u64) -> Now {
        let mono_us = self.clock.local(now) * 1000 + 1;
        Now {
            mono_us,
            wall_us: mono_us,
        }
    }

    /// The last word about this life, one for each path: its guard has it.
    pub fn last_words(&self) -> Vec<Datagram> {
        let word = |path: &PathId| Datagram {
            path: *path,
            octets: gone_datagram(&self.codec, *path, self.incarnation),
        };
        PATHS.iter().map(word).collect()
    }

    /// A connection is there; or it is gone.
    pub fn channel(&mut self, is_there: bool) {
        if is_there {
            (self.is_buried, self.is_stale) = (false, false);
        } else {
            self.automatic.channel(false);
        }
    }

    /// Something came over it.
    pub fn received(&mut self, link: &Link) {
        if matches!(
            link.state(),
            LinkState::Connected { .. } | LinkState::Suspended(_)
        ) {
            self.automatic.channel(true);
        }
    }

    /// A datagram came.
    pub fn hear(&mut self, now: u64, datagram: &Datagram, link: &mut Link, bridge: &mut Bridge) {
        let mut events = Vec::new();
        let at = self.at(now);
        self.detector
            .received(at, datagram.path, &datagram.octets, &mut events);
        self.heartbeats(now, events, link, bridge);
    }

    /// What is to be sent now.
    pub fn beat(&mut self, now: u64, link: &mut Link, bridge: &mut Bridge) -> Vec<Datagram> {
        let (mut out, mut events) = (Vec::new(), Vec::new());
        let at = self.at(now);
        if at.mono_us >= self.detector.next_timer() {
            self.detector.poll(at, &mut out, &mut events);
            self.heartbeats(now, events, link, bridge);
        }
        out
    }

    fn heartbeats(&mut self, now: u64, events: Vec<HeartbeatEvent>, link: &mut Link, bridge: &mut Bridge) {
        let here = self.clock.local(now);
        for event in events {
            self.is_stale |= self.is_buried && matches!(event, HeartbeatEvent::Sets(_));
            if matches!(event, HeartbeatEvent::Lost { .. } | HeartbeatEvent::Gone) {
                self.is_buried = true;
                bridge.peer_died();
            }
            match event {
                HeartbeatEvent::Alive { .. } => self.hears = true,
                HeartbeatEvent::Lost { .. } | HeartbeatEvent::Gone | HeartbeatEvent::Leaving => {
                    self.hears = false;
                }
                _ => {}
            }
            let Some(said) = meaning(event) else { continue };
            let mut line = Line {
                link: &mut *link,
                bridge: &mut *bridge,
                now,
                is_complete: self.is_complete,
                did: &mut self.did,
            };
            self.automatic.heartbeat(said, here, &mut self.roles, &mut line);
        }
    }

    /// What follows from what link, workers and monitors did; what was done with roles.
    pub fn follow(
        &mut self,
        now: u64,
        down: &[bool; LINKS],
        link: &mut Link,
        bridge: &mut Bridge,
    ) -> Vec<Did> {
        let here = self.clock.local(now);
        match link.state() {
            LinkState::Connected { receiving, .. } => self.is_complete = *receiving == Mirror::Active,
            LinkState::Suspended(_) => self.is_complete = false,
            _ => {}
        }
        let actions = self.monitors.look(here, down);
        self.monitors.check().unwrap_or_else(|what| panic!("{what}"));
        for set in self.automatic.numbers() {
            self.automatic.monitored(set, self.monitors.of_set(set));
        }
        self.automatic.chassis_failed_weight(self.monitors.of_chassis());
        for (set, action) in actions {
            self.command(now, set, action.command(), link, bridge);
        }
        let mut line = Line {
            link,
            bridge,
            now,
            is_complete: self.is_complete,
            did: &mut self.did,
        };
        for event in std::mem::take(&mut self.events) {
            bridge_says(event, here, &mut self.roles, &self.automatic, &mut line);
        }
        self.roles.tick(here, &mut self.automatic.over(&mut line));
        self.automatic.tick(here, &mut self.roles, &mut line);
        while self.roles.next_event().is_some() {}
        for set in self.automatic.numbers() {
            let rests = self.automatic.shown(set, &line).is_some_and(|view| {
                matches!(
                    view.state,
                    RoleState::Standby | RoleState::StandbyWarned | RoleState::Wait
                )
            });
            assert!(
                !rests || !self.monitors.has_failed(set),
                "set {set} has failed and rests"
            );
        }
        self.tell(link, bridge);
        std::mem::take(&mut self.did)
    }

    fn tell(&mut self, link: &mut Link, bridge: &mut Bridge) {
        let mut sets = Vec::new();
        for set in self.automatic.numbers() {
            if let Some(yields) = self.automatic.yields_equal(set) {
                bridge.yield_equal_epoch_of(set, yields);
            }
            let line = Line {
                link: &mut *link,
                bridge: &mut *bridge,
                now: 0,
                is_complete: self.is_complete,
                did: &mut self.did,
            };
            let told = self.automatic.told(set, &self.roles, &line);
            sets.extend(told.map(|told| beaten(set, &told)));
        }
        if self.told != sets {
            self.detector.tell(&sets);
            self.told = sets;
        }
        link.announce_roles(&bridge.roles());
    }

    /// Somebody asks for something; whether it is refused at once.
    pub fn command(
        &mut self,
        now: u64,
        set: u8,
        command: Command,
        link: &mut Link,
        bridge: &mut Bridge,
    ) -> bool {
        let here = self.clock.local(now);
        let (sender, answered) = std::sync::mpsc::channel();
        let answer = Box::new(move |answer| drop(sender.send(answer)));
        let mut line = Line {
            link,
            bridge,
            now,
            is_complete: self.is_complete,
            did: &mut self.did,
        };
        let is_wish = !matches!(command, Command::Stop | Command::TakeOut(_));
        let before = (line.bridge.roles(), format!("{:?}", self.automatic));
        self.automatic
            .command(set, command, answer, here, &mut self.roles, &mut line);
        let is_refused = matches!(answered.try_recv(), Ok(Err(_)));
        if is_refused && is_wish {
            let after = (line.bridge.roles(), format!("{:?}", self.automatic));
            assert_eq!(before, after, "what was refused has changed something");
        }
        is_refused
    }

    /// Its sets, their holds and what was heard of them, in words.
    pub fn shown(&self, link: &mut Link, bridge: &mut Bridge) -> String {
        let line = Line {
            link,
            bridge,
            now: 0,
            is_complete: self.is_complete,
            did: &mut Vec::new(),
        };
        let shown = |set: u8| {
            let view = self.automatic.shown(set, &line)?;
            let (role, roles) = (line.role(set)?, self.roles.shown(set)?);
            let (state, reason) = (view.state.as_str(), view.reason);
            Some(format!(
                "set {set} {role:?} {roles:?} {state} because {reason}; {:?}",
                view.peer
            ))
        };
        let sets = self.automatic.numbers();
        sets.into_iter().filter_map(shown).collect::<Vec<_>>().join("; ")
    }

    /// What a set is called.
    pub fn state(&self, set: u8, link: &mut Link, bridge: &mut Bridge) -> Option<RoleState> {
        let line = Line {
            link,
            bridge,
            now: 0,
            is_complete: self.is_complete,
            did: &mut Vec::new(),
        };
        self.automatic.shown(set, &line).map(|view| view.state)
    }
}

fn bridge_says(event: BridgeEvent, here: u64, roles: &mut Roles, automatic: &Automatic, line: &mut Line<'_>) {
    match &event {
        BridgeEvent::Yielded(role) => line.did.push(Did::Standby(role.set.into())),
        BridgeEvent::Peer(PeerEvent::Released { set, .. }) => {
            line.did.push(Did::HeardReleased((*set).into()));
        }
        _ => {}
    }
    let hands = &mut automatic.over(line);
    match event {
        BridgeEvent::RoleDone(role) => roles.taken_up(&role, here, hands),
        BridgeEvent::Yielded(role) => roles.yielded(&role, hands),
        BridgeEvent::Peer(event) => match event {
            PeerEvent::Disconnected | PeerEvent::Refused(_) => roles.disconnected(here, hands),
            PeerEvent::Roles(_) => roles.peer_said(here, hands),
            PeerEvent::ReleaseAsked { set } => roles.asked(set, here, hands),
            PeerEvent::Released { set, epoch } => roles.released(set, epoch, here, hands),
            PeerEvent::ReleaseRefused { set } => roles.release_refused(set, hands),
            PeerEvent::Connected { .. }
            | PeerEvent::Bulk(..)
            | PeerEvent::Suspended(_)
            | PeerEvent::Forgotten => {}
        },
    }
}

/// What heartbeats mean for roles.
fn meaning(event: HeartbeatEvent) -> Option<Heartbeat> {
    match event {
        HeartbeatEvent::Lost { why: LostWhy::Silent } => Some(Heartbeat::Lost),
        HeartbeatEvent::Lost { .. } | HeartbeatEvent::Gone => Some(Heartbeat::Gone),
        HeartbeatEvent::Leaving => Some(Heartbeat::Leaving),
        HeartbeatEvent::Sets(sets) => Some(Heartbeat::Sets(sets.iter().map(heard).collect())),
        _ => None,
    }
}

/// Both have the states of the specification, in its order.
fn heard(beat: &SetBeat) -> (u8, PeerSet) {
    let at = SetState::ALL.iter().position(|state| *state == beat.state);
    let set = PeerSet {
        state: RoleState::ALL[at.expect("one of all")],
        is_primary: beat.primary,
        epoch: beat.epoch,
        priority: beat.priority,
        failed_weight: beat.failed_weight,
        is_complete: beat.complete,
        is_eligible: beat.eligible,
        is_warned: beat.warned,
    };
    (beat.set, set)
}

fn beaten(number: u8, set: &PeerSet) -> SetBeat {
    let at = RoleState::ALL.iter().position(|state| *state == set.state);
    let state = SetState::ALL[at.expect("one of all")];
    assert_eq!(state.name(), set.state.as_str());
    SetBeat {
        set: number,
        state,
        primary: set.is_primary,
        complete: set.is_complete,
        warned: set.is_warned,
        eligible: set.is_eligible,
        epoch: set.epoch,
        priority: set.priority,
        failed_weight: set.failed_weight,
    }
}
