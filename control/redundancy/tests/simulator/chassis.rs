//! One life of a simulated chassis: the real roles, machines, events and weights over workers, a link and heartbeats that are played.

use std::collections::{BTreeMap, VecDeque};

use tandem_engine::replica::{Role, SetRole};
use tandem_redundancy::machine::{Command, PeerSet, Settings};
use tandem_redundancy::roles::{Answer, Configured};
use tandem_redundancy::{Automatic, Event, Hands, Heartbeat, Lack, Peer, Roles};

use super::clock::Clock;
use super::monitors::{Action, LINKS, Monitors, Plan};
use super::routes::Routes;

/// Heartbeats are lost when none came for this long: 200 ms x 3.
pub const LOST_MS: u64 = 600;
/// How long a primary that has just taken over takes to tell the peer everything anew.
const RENEWAL_MS: u64 = 500;

/// What goes over the channel, in order.
#[derive(Clone, Debug)]
pub enum Message {
    Keepalive,
    Roles(Vec<SetRole>),
    Ask(u8),
    Released(u8, u64),
    Refuse(u8),
    /// Everything is told anew, and was told at this time.
    Bulk(u64),
}

/// What goes by heartbeats, unless it is lost.
#[derive(Clone, Debug)]
pub enum Beat {
    Life {
        life: u64,
        echo: u64,
        sets: Vec<(u8, PeerSet)>,
    },
    Gone {
        life: u64,
    },
    Leaving {
        life: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Gone,
    Greeting,
    There,
}

/// A set on the workers.
#[derive(Debug)]
pub struct OneSet {
    pub ours: SetRole,
    /// When the workers take up what they were told, in the world's time.
    pub taking_ms: Option<u64>,
    theirs: Option<SetRole>,
}

/// Workers, and the way to the peer. Times are the world's.
#[derive(Debug)]
pub struct Body {
    pub sets: BTreeMap<u8, OneSet>,
    take_up_ms: u64,
    /// Workers stand still until then.
    pub stalled_ms: u64,
    pub link: Link,
    /// When the peer has been told everything, and this chassis.
    pub told_ms: u64,
    pub received_ms: u64,
    pub is_complete: bool,
    pub out: VecDeque<Message>,
    pub routes: Routes,
    now_ms: u64,
}

impl Hands for Body {
    fn role(&self, set: u8) -> Option<SetRole> {
        self.sets.get(&set).map(|one| one.ours)
    }
    fn peer(&self) -> Peer {
        match self.link {
            Link::Gone => Peer::Gone,
            Link::Greeting => Peer::Greeting,
            Link::There => Peer::There {
                knows_all: self.now_ms >= self.told_ms,
            },
        }
    }
    fn lack(&self) -> Option<Lack> {
        (!self.is_complete).then_some(Lack::Untold)
    }
    fn peer_role(&self, set: u8) -> Option<SetRole> {
        self.sets.get(&set)?.theirs
    }
    fn take_up(&mut self, set: u8, role: Role, epoch: u64) {
        let primary = role == Role::Primary;
        if !primary {
            // The loser withdraws first.
            self.routes.order(set, false, epoch);
        }
        let at_ms = self.now_ms + self.take_up_ms;
        let Some(one) = self.sets.get_mut(&set) else {
            return;
        };
        let takes_over = primary && !one.ours.primary;
        one.ours = SetRole { set, primary, epoch };
        one.taking_ms = Some(at_ms);
        if takes_over && self.link == Link::There {
            self.told_ms = self.now_ms + RENEWAL_MS;
            self.out.push_back(Message::Bulk(self.told_ms));
        }
        self.announce();
    }
    fn adopt(&mut self, set: u8, epoch: u64) {
        if let Some(one) = self.sets.get_mut(&set) {
            one.ours.epoch = epoch;
        }
        self.announce();
    }
    fn yield_to(&mut self, set: u8, epoch: u64) {
        self.take_up(set, Role::Standby, epoch);
    }
    fn ask(&mut self, set: u8) -> bool {
        self.say(Message::Ask(set))
    }
    fn released(&mut self, set: u8, epoch: u64) -> bool {
        self.say(Message::Released(set, epoch))
    }
    fn refuse(&mut self, set: u8) {
        self.say(Message::Refuse(set));
    }
}

impl Body {
    fn say(&mut self, message: Message) -> bool {
        let there = self.link != Link::Gone;
        if there {
            self.out.push_back(message);
        }
        there
    }

    pub fn announce(&mut self) {
        let roles = self.sets.values().map(|one| one.ours).collect();
        self.say(Message::Roles(roles));
    }

    /// Whether workers have the role they were told.
    pub fn has_taken(&self, set: u8) -> bool {
        self.sets.get(&set).is_some_and(|one| one.taking_ms.is_none())
    }

    pub fn is_primary(&self, set: u8) -> bool {
        self.sets.get(&set).is_some_and(|one| one.ours.primary)
    }
}

/// A life.
pub struct Chassis {
    pub life: u64,
    pub clock: Clock,
    pub roles: Roles,
    pub automatic: Automatic,
    pub body: Body,
    pub monitors: Monitors,
    /// When what is monitored of a set had failed last, by this chassis' clock.
    pub failed_ms: BTreeMap<u8, u64>,
    /// The peer's life as last heard, and when by this chassis' clock; no time: it is not alive.
    peer_life: u64,
    heard_ms: Option<u64>,
    pub is_stopping: bool,
    pub events: Vec<(u64, Event)>,
}

impl Chassis {
    pub fn start(
        life: u64,
        settings: &[(u8, Settings)],
        plan: &Plan,
        clock: Clock,
        take_up_ms: u64,
        now_ms: u64,
    ) -> Self {
        let set = |set: u8| OneSet {
            ours: SetRole {
                set,
                primary: true,
                epoch: 0,
            },
            taking_ms: None,
            theirs: None,
        };
        let body = Body {
            sets: settings.iter().map(|(one, _)| (*one, set(*one))).collect(),
            take_up_ms,
            stalled_ms: 0,
            link: Link::Gone,
            told_ms: 0,
            received_ms: 0,
            is_complete: false,
            out: VecDeque::new(),
            routes: Routes::default(),
            now_ms,
        };
        let mut chassis = Self {
            life,
            clock,
            roles: Roles::new(settings[0].1.initial_hold_ms),
            automatic: Automatic::default(),
            body,
            monitors: Monitors::new(plan),
            failed_ms: BTreeMap::new(),
            peer_life: 0,
            heard_ms: None,
            is_stopping: false,
            events: Vec::new(),
        };
        let sets: Vec<_> = settings
            .iter()
            .map(|(set, _)| (*set, Configured::Automatic))
            .collect();
        chassis.roles.follow(&sets, &mut chassis.body);
        chassis.automatic.follow(settings);
        chassis
    }

    /// The time here; the body has the world's.
    pub fn at(&mut self, now_ms: u64) -> u64 {
        self.body.now_ms = now_ms;
        self.clock.local(now_ms)
    }

    /// Whether heartbeats bring the peer's life.
    pub const fn hears_the_peer(&self) -> bool {
        self.heard_ms.is_some()
    }

    pub fn connected(&mut self) {
        self.body.link = Link::Greeting;
        self.body.sets.values_mut().for_each(|one| one.theirs = None);
        self.body.announce();
    }

    pub fn disconnected(&mut self, now_ms: u64) {
        let here_ms = self.at(now_ms);
        (self.body.link, self.body.out) = (Link::Gone, VecDeque::new());
        self.automatic.channel(false);
        self.roles
            .disconnected(here_ms, &mut self.automatic.over(&mut self.body));
    }

    /// What the bridge does with the peer's roles, and what the link makes of the connection.
    fn hear_roles(&mut self, roles: &[SetRole]) {
        self.body.link = Link::There;
        for theirs in roles {
            let Some(one) = self.body.sets.get_mut(&theirs.set) else {
                continue;
            };
            one.theirs = Some(*theirs);
            let ours = one.ours;
            let yields = self.automatic.yields_equal(theirs.set).unwrap_or(false);
            let equal = ours.epoch == theirs.epoch && yields;
            if theirs.primary && ours.primary && (ours.epoch < theirs.epoch || equal) {
                self.body.yield_to(theirs.set, theirs.epoch);
                self.roles.yielded(theirs, &self.automatic.over(&mut self.body));
            }
        }
    }

    pub fn receive(&mut self, message: Message, now_ms: u64) {
        let here_ms = self.at(now_ms);
        if let Message::Roles(theirs) = &message {
            self.hear_roles(theirs);
        }
        if self.body.link == Link::There {
            self.automatic.channel(true);
        }
        if let Message::Bulk(until_ms) = message {
            self.body.received_ms = until_ms;
        }
        let (roles, hands) = (&mut self.roles, &mut self.automatic.over(&mut self.body));
        match message {
            Message::Keepalive | Message::Bulk(_) => {}
            Message::Roles(_) => roles.peer_said(here_ms, hands),
            Message::Ask(set) => roles.asked(set, here_ms, hands),
            Message::Released(set, epoch) => roles.released(set, epoch, here_ms, hands),
            Message::Refuse(set) => roles.release_refused(set, hands),
        }
    }

    pub fn hear(&mut self, beat: Beat, now_ms: u64) {
        let here_ms = self.at(now_ms);
        match beat {
            Beat::Life { life, echo, sets } => {
                if self.peer_life != life {
                    if self.heard_ms.take().is_some() {
                        self.heartbeat(Heartbeat::Gone, here_ms);
                    }
                    self.peer_life = life;
                }
                if echo == self.life {
                    self.heard_ms = Some(here_ms);
                    self.heartbeat(Heartbeat::Sets(sets), here_ms);
                }
            }
            Beat::Gone { life } | Beat::Leaving { life } if life != self.peer_life => {}
            Beat::Gone { .. } => self.silent(Heartbeat::Gone, here_ms),
            Beat::Leaving { .. } => self.silent(Heartbeat::Leaving, here_ms),
        }
    }

    fn silent(&mut self, how: Heartbeat, here_ms: u64) {
        if self.heard_ms.take().is_some() {
            self.heartbeat(how, here_ms);
        }
    }

    fn heartbeat(&mut self, heartbeat: Heartbeat, here_ms: u64) {
        self.automatic
            .heartbeat(heartbeat, here_ms, &mut self.roles, &mut self.body);
    }

    pub fn beat(&self) -> Beat {
        let told = |set: u8| Some((set, self.automatic.told(set, &self.roles, &self.body)?));
        Beat::Life {
            life: self.life,
            echo: self.peer_life,
            sets: self.automatic.numbers().into_iter().filter_map(told).collect(),
        }
    }

    pub fn command(&mut self, set: u8, command: Command, answer: Answer, now_ms: u64) {
        let here_ms = self.at(now_ms);
        self.automatic
            .command(set, command, answer, here_ms, &mut self.roles, &mut self.body);
    }

    /// Looks at what is monitored; what policies want done.
    pub fn look(&mut self, down: &[bool; LINKS], now_ms: u64) -> Vec<(u8, Action)> {
        let here_ms = self.at(now_ms);
        let actions = self.monitors.look(here_ms, down);
        for set in self.automatic.numbers() {
            self.automatic.monitored(set, self.monitors.of_set(set));
            if self.monitors.has_failed(set) {
                self.failed_ms.insert(set, here_ms);
            }
        }
        self.automatic.chassis_failed_weight(self.monitors.of_chassis());
        actions
    }

    /// Time passes.
    pub fn tick(&mut self, now_ms: u64) {
        let here_ms = self.at(now_ms);
        if self.heard_ms.is_some_and(|heard| here_ms - heard > LOST_MS) {
            self.silent(Heartbeat::Lost, here_ms);
        }
        if self.body.link == Link::There {
            self.body.is_complete = now_ms >= self.body.received_ms;
        }
        for set in self.automatic.numbers() {
            let Some(one) = self.body.sets.get_mut(&set) else {
                continue;
            };
            let is_done = |at_ms: &u64| (*at_ms).max(self.body.stalled_ms) <= now_ms;
            if one.taking_ms.take_if(|at_ms| is_done(at_ms)).is_some() {
                let ours = one.ours;
                self.body.routes.order(set, ours.primary, ours.epoch);
                self.roles
                    .taken_up(&ours, here_ms, &mut self.automatic.over(&mut self.body));
            }
        }
        self.roles.tick(here_ms, &mut self.automatic.over(&mut self.body));
        self.automatic.tick(here_ms, &mut self.roles, &mut self.body);
        self.events
            .extend(std::iter::from_fn(|| self.roles.next_event()).map(|event| (now_ms, event)));
    }
}
