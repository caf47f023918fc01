//! What the channel is for: a [`Link`] and its [`Chassis`] as the conversation.
//!
//! A command is a function of both: whatever the control side wants of link and chassis (roles, a new digest with its dictionary, a
//! resynchronization) is done on the channel's thread, between two pieces of what they do anyway, and needs no lock.

use crate::chassis::{Chassis, SetRole};
use crate::link::{Link, LinkError, LinkState, LinkStats};

use super::conversation::{Conversation, Objection};

/// Something to do with a link and its chassis, at a time of the link's clock. It must not block.
pub type LinkCommand<C> = Box<dyn FnOnce(&mut Link, &mut C, u64) + Send>;

/// What is shown of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkView<S> {
    /// Its state.
    pub state: LinkState,
    /// What it counted.
    pub stats: LinkStats,
    /// The peer's roles, as last heard.
    pub peer_roles: Vec<SetRole>,
    /// What is shown of the chassis.
    pub chassis: S,
}

/// A link, its chassis, and what is shown of the latter.
#[derive(Debug)]
pub struct Linked<C, S> {
    link: Link,
    chassis: C,
    show: fn(&C) -> S,
}

impl<C: Chassis, S> Linked<C, S> {
    /// A link with its chassis. `show` is called every 100 ms for the status.
    pub fn new(link: Link, chassis: C, show: fn(&C) -> S) -> Self {
        Self { link, chassis, show }
    }

    /// Both back, when the channel has ended.
    pub fn into_parts(self) -> (Link, C) {
        (self.link, self.chassis)
    }
}

impl<C: Chassis, S: Clone + Send + Sync> Conversation for Linked<C, S> {
    type Command = LinkCommand<C>;
    type State = LinkView<S>;

    fn connected(&mut self, now_ms: u64) {
        self.link.connected(now_ms);
    }

    fn disconnected(&mut self, now_ms: u64) {
        self.link.disconnected(now_ms);
    }

    fn receive(&mut self, bytes: &[u8], now_ms: u64) -> Result<usize, Objection> {
        let taken = self.link.received(now_ms, bytes, &mut self.chassis);
        taken.map_err(|error: LinkError| Objection(error.to_string()))
    }

    fn is_busy(&self) -> bool {
        self.link.is_installing()
    }

    fn send(&mut self, out: &mut Vec<u8>, room: usize, now_ms: u64) {
        let end = out.len().saturating_add(room);
        loop {
            let before = out.len();
            self.link.poll(now_ms, &mut self.chassis, out);
            if out.len() == before || out.len() >= end {
                return;
            }
        }
    }

    fn tick(&mut self, now_ms: u64) {
        self.link.absorb(now_ms, &mut self.chassis);
    }

    fn objection(&self) -> Option<Objection> {
        match self.link.state() {
            LinkState::Lost => Some(Objection("the peer was not heard for too long".to_owned())),
            LinkState::Refused(refusal) => Some(Objection(refusal.to_string())),
            LinkState::Disconnected
            | LinkState::Greeting
            | LinkState::Suspended(_)
            | LinkState::Connected { .. } => None,
        }
    }

    fn command(&mut self, command: LinkCommand<C>, now_ms: u64) {
        command(&mut self.link, &mut self.chassis, now_ms);
    }

    fn state(&self) -> LinkView<S> {
        LinkView {
            state: *self.link.state(),
            stats: self.link.stats().clone(),
            peer_roles: self.link.peer_roles().to_vec(),
            chassis: (self.show)(&self.chassis),
        }
    }
}
