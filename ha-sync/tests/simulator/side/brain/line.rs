//! Link and bridge of a chassis, as the hands of its roles.

use ha_sync::bridge::{Bridge, BridgeEvent};
use ha_sync::chassis::{PeerEvent, SetRole};
use ha_sync::link::{Link, LinkState, Mirror};
use tandem_engine::replica::Role;
use tandem_engine::ticks::Ticks;
use tandem_redundancy::roles::Drain;
use tandem_redundancy::{Automatic, Hands, Lack, Peer, Roles};

use super::Did;

/// Link and bridge, as the roles see them.
pub(super) struct Line<'a> {
    pub link: &'a mut Link,
    pub bridge: &'a mut Bridge,
    pub now: u64,
    pub is_complete: bool,
    pub did: &'a mut Vec<Did>,
}

impl Hands for Line<'_> {
    fn role(&self, set: u8) -> Option<SetRole> {
        self.bridge.role(set)
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
    fn drain(&mut self, set: u8, step: Drain) {
        match step {
            Drain::Begin { most_ms } => {
                self.did.push(Did::Drains(set.into()));
                self.bridge.drain(set, Ticks((most_ms / 100 + 1) as u32));
            }
            Drain::Withdraw => self.did.push(Did::Withdrawn(set.into())),
            Drain::End => self.bridge.drain(set, Ticks::ZERO),
        }
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

/// The bridge says something that roles are to hear.
pub(super) fn bridge_says(
    event: BridgeEvent,
    here: u64,
    roles: &mut Roles,
    automatic: &Automatic,
    line: &mut Line<'_>,
) {
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
        BridgeEvent::Offered { .. } | BridgeEvent::Merged { .. } => {}
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
