//! One life of a simulated chassis: the real roles and machines over workers, a link and heartbeats that are played.

use std::collections::VecDeque;

use tandem_engine::replica::{Role, SetRole};
use tandem_redundancy::machine::{PeerSet, Settings};
use tandem_redundancy::roles::Configured;
use tandem_redundancy::{Automatic, Event, Hands, Heartbeat, Lack, Monitored, Peer, Roles};

pub const SET: u8 = 1;
/// Heartbeats are lost when none came for this long: 200 ms x 3.
pub const LOST_MS: u64 = 600;

/// What goes over the channel, in order.
#[derive(Clone, Copy, Debug)]
pub enum Message {
    Keepalive,
    Roles(SetRole),
    Ask,
    Released(u64),
    Refuse,
    /// Everything is told anew, and was told at this time.
    Bulk(u64),
}

/// What goes by heartbeats, unless it is lost.
#[derive(Clone, Copy, Debug)]
pub enum Beat {
    Life { life: u64, echo: u64, set: PeerSet },
    Gone { life: u64 },
    Leaving { life: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Gone,
    Greeting,
    There,
}

/// Workers, and the way to the peer.
#[derive(Debug)]
pub struct Body {
    pub ours: SetRole,
    /// When the workers have taken up what they were told.
    taking_ms: Option<u64>,
    take_up_ms: u64,
    pub link: Link,
    theirs: Option<SetRole>,
    /// When the peer has been told everything, and this chassis.
    pub told_ms: u64,
    pub received_ms: u64,
    is_complete: bool,
    pub out: VecDeque<Message>,
    now_ms: u64,
}

impl Hands for Body {
    fn role(&self, set: u8) -> Option<SetRole> {
        (set == SET).then_some(self.ours)
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
    fn peer_role(&self, _: u8) -> Option<SetRole> {
        self.theirs
    }
    fn take_up(&mut self, set: u8, role: Role, epoch: u64) {
        let takes_over = role == Role::Primary && !self.ours.primary;
        self.ours = SetRole {
            set,
            primary: role == Role::Primary,
            epoch,
        };
        self.taking_ms = Some(self.now_ms + self.take_up_ms);
        if takes_over && self.link == Link::There {
            self.told_ms = self.now_ms + 500;
            self.out.push_back(Message::Bulk(self.told_ms));
        }
        self.announce();
    }
    fn adopt(&mut self, _: u8, epoch: u64) {
        self.ours.epoch = epoch;
        self.announce();
    }
    fn yield_to(&mut self, set: u8, epoch: u64) {
        self.take_up(set, Role::Standby, epoch);
    }
    fn ask(&mut self, _: u8) -> bool {
        self.say(Message::Ask)
    }
    fn released(&mut self, _: u8, epoch: u64) -> bool {
        self.say(Message::Released(epoch))
    }
    fn refuse(&mut self, _: u8) {
        self.say(Message::Refuse);
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
        let ours = self.ours;
        self.say(Message::Roles(ours));
    }
}

/// A life.
pub struct Chassis {
    pub life: u64,
    pub roles: Roles,
    pub automatic: Automatic,
    pub body: Body,
    pub monitored: Monitored,
    /// The peer's life as last heard, and when; no time: it is not alive.
    peer_life: u64,
    heard_ms: Option<u64>,
    pub events: Vec<(u64, Event)>,
}

impl Chassis {
    pub fn start(life: u64, settings: Settings, take_up_ms: u64, now_ms: u64) -> Self {
        let body = Body {
            ours: SetRole {
                set: SET,
                primary: true,
                epoch: 0,
            },
            taking_ms: None,
            take_up_ms,
            link: Link::Gone,
            theirs: None,
            told_ms: 0,
            received_ms: 0,
            is_complete: false,
            out: VecDeque::new(),
            now_ms,
        };
        let mut chassis = Self {
            life,
            roles: Roles::new(settings.initial_hold_ms),
            automatic: Automatic::default(),
            body,
            monitored: Monitored::default(),
            peer_life: 0,
            heard_ms: None,
            events: Vec::new(),
        };
        chassis
            .roles
            .follow(&[(SET, Configured::Automatic)], &mut chassis.body);
        chassis.automatic.follow(&[(SET, settings)]);
        chassis
    }

    /// Whether heartbeats bring the peer's life.
    pub const fn hears_the_peer(&self) -> bool {
        self.heard_ms.is_some()
    }

    pub fn connected(&mut self) {
        (self.body.link, self.body.theirs) = (Link::Greeting, None);
        self.body.announce();
    }

    pub fn disconnected(&mut self, now_ms: u64) {
        self.body.now_ms = now_ms;
        (self.body.link, self.body.out) = (Link::Gone, VecDeque::new());
        self.automatic.channel(false);
        self.roles
            .disconnected(now_ms, &mut self.automatic.over(&mut self.body));
    }

    pub fn receive(&mut self, message: Message, now_ms: u64) {
        self.body.now_ms = now_ms;
        if let Message::Roles(theirs) = message {
            (self.body.link, self.body.theirs) = (Link::There, Some(theirs));
            let ours = self.body.ours;
            let yields = self.automatic.yields_equal(SET).unwrap_or(false);
            let equal = ours.epoch == theirs.epoch && yields;
            if theirs.primary && ours.primary && (ours.epoch < theirs.epoch || equal) {
                self.body.yield_to(SET, theirs.epoch);
                self.roles.yielded(&theirs, &self.automatic.over(&mut self.body));
            }
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
            Message::Roles(_) => roles.peer_said(now_ms, hands),
            Message::Ask => roles.asked(SET, now_ms, hands),
            Message::Released(epoch) => roles.released(SET, epoch, now_ms, hands),
            Message::Refuse => roles.release_refused(SET, hands),
        }
    }

    pub fn hear(&mut self, beat: Beat, now_ms: u64) {
        self.body.now_ms = now_ms;
        match beat {
            Beat::Life { life, echo, set } => {
                if self.peer_life != life {
                    if self.heard_ms.take().is_some() {
                        self.heartbeat(Heartbeat::Gone, now_ms);
                    }
                    self.peer_life = life;
                }
                if echo == self.life {
                    self.heard_ms = Some(now_ms);
                    self.heartbeat(Heartbeat::Sets(vec![(SET, set)]), now_ms);
                }
            }
            Beat::Gone { life } | Beat::Leaving { life } if life != self.peer_life => {}
            Beat::Gone { .. } => self.silent(Heartbeat::Gone, now_ms),
            Beat::Leaving { .. } => self.silent(Heartbeat::Leaving, now_ms),
        }
    }

    fn silent(&mut self, how: Heartbeat, now_ms: u64) {
        if self.heard_ms.take().is_some() {
            self.heartbeat(how, now_ms);
        }
    }

    fn heartbeat(&mut self, heartbeat: Heartbeat, now_ms: u64) {
        self.automatic
            .heartbeat(heartbeat, now_ms, &mut self.roles, &mut self.body);
    }

    pub fn beat(&self) -> Option<Beat> {
        let set = self.automatic.told(SET, &self.roles, &self.body)?;
        Some(Beat::Life {
            life: self.life,
            echo: self.peer_life,
            set,
        })
    }

    /// Time passes.
    pub fn tick(&mut self, now_ms: u64) {
        self.body.now_ms = now_ms;
        if self.heard_ms.is_some_and(|heard| now_ms - heard > LOST_MS) {
            self.silent(Heartbeat::Lost, now_ms);
        }
        if self.body.link == Link::There {
            self.body.is_complete = now_ms >= self.body.received_ms;
        }
        if self.body.taking_ms.is_some_and(|done| done <= now_ms) {
            self.body.taking_ms = None;
            let ours = self.body.ours;
            self.roles
                .taken_up(&ours, now_ms, &mut self.automatic.over(&mut self.body));
        }
        self.automatic.monitored(SET, self.monitored);
        self.roles.tick(now_ms, &mut self.automatic.over(&mut self.body));
        self.automatic.tick(now_ms, &mut self.roles, &mut self.body);
        self.events
            .extend(std::iter::from_fn(|| self.roles.next_event()).map(|event| (now_ms, event)));
    }
}
