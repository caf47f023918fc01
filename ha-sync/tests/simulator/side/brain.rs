//! Who decides about a chassis' roles in an automatic pair: the real machines and roles over the real link and bridge, told by real
//! heartbeats and monitors, by a clock of its own. Put together as the daemon's thread does it.

mod line;
mod terms;
mod words;

use ha_sync::bridge::{Bridge, BridgeEvent};
use ha_sync::heartbeat::{
    BeatTiming, Codec, Datagram, Detector, FileKey, HeartbeatEvent, Now, PathId, SetBeat, gone_datagram,
};
use ha_sync::link::{Link, LinkState, Mirror};
use tandem_redundancy::machine::Command;
use tandem_redundancy::roles::Configured;
use tandem_redundancy::{Automatic, Hands, RoleState, Roles};

use crate::clock::Clock;
use crate::monitors::{LINKS, Monitors};
use line::{Line, bridge_says};
pub use terms::Terms;
use words::{beaten, meaning};

/// The paths of heartbeats; the channel goes over the first two.
pub const PATHS: [PathId; 3] = [PathId::Control, PathId::Data, PathId::Secondary1];
/// Heartbeats, and how many may be lost.
pub const TIMING: BeatTiming = BeatTiming {
    interval_ms: 500,
    lost_threshold: 3,
};

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
    /// Workers were told to drain when they are standby next.
    Drains(u16),
    /// What sends packets here is gone.
    Withdrawn(u16),
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
        brain.roles.set_drains(&terms.drains);
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

    /// The process is to stop: nothing is taken any more, and everything handed over that somebody can take.
    pub fn stop(&mut self, now: u64, link: &mut Link, bridge: &mut Bridge) {
        let here = self.clock.local(now);
        let mut line = Line {
            link,
            bridge,
            now,
            is_complete: self.is_complete,
            did: &mut self.did,
        };
        self.automatic.stop(here, &mut self.roles, &mut line);
    }

    /// Whether nothing is handed over any more.
    pub fn has_stopped(&mut self, now: u64, link: &mut Link, bridge: &mut Bridge) -> bool {
        let line = Line {
            link,
            bridge,
            now,
            is_complete: self.is_complete,
            did: &mut self.did,
        };
        let here = self.clock.local(now);
        self.automatic.has_stopped(here, &self.roles, &line)
    }

    /// What a process says last that stops cleanly.
    pub fn leave(&mut self, now: u64) -> Vec<Datagram> {
        let (at, mut out) = (self.at(now), Vec::new());
        self.detector.leave(at, &mut out);
        out
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

    /// Whether a set that was handed over drains, as far as the workers were told.
    pub fn drains(&self, set: u8) -> bool {
        self.roles.drains_until(set).is_some()
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
