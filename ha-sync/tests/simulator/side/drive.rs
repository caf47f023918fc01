//! What the daemon's threads do for a chassis: workers look after their tables and rings, the bridge goes round, the link talks and
//! listens, roles change.

use super::views_of::refused;
use super::{Side, ticks};
use ha_sync::bridge::BridgeEvent;
use ha_sync::chassis::PeerEvent;
use ha_sync::link::{LinkState, Mirror};
use tandem_engine::replica::{ObjectTypes, Op, Role};

use crate::network::Network;
use crate::recorder::{Recorder, Told};
use crate::views;

impl Side {
    /// Workers take what is on their inboxes and look after their tables; the bridge goes round.
    pub fn work(&mut self, now: u64) {
        self.world.now = ticks(now);
        let stands_still = self.is_stalled(now);
        let workers = self.world.engines.iter_mut().zip(&mut self.inboxes);
        for ((engine, inbox), refused_before) in workers.zip(&mut self.refused_before) {
            if stands_still {
                break;
            }
            for _ in 0..self.tuning.ring {
                let Ok(op) = inbox.pop() else { break };
                if matches!(op, Op::BulkBegin(..)) {
                    *refused_before = refused(engine);
                }
                if matches!(op, Op::Role { .. }) {
                    // What it has of its own until the next bulk, nobody told it.
                    self.own.extend(views::sessions(engine).map(|s| s.ends));
                }
                // What is refused is counted by the engine; the checks look at what comes of it.
                let merged = engine.counters().replica_merged_sessions;
                let done = engine.install(&op, self.world.now);
                if engine.counters().replica_merged_sessions != merged {
                    self.merged_ms = now;
                }
                if self.tuning.loud {
                    eprintln!("    chassis {}: {op:x?}: {done:?}", self.at);
                }
            }
            engine.maintain(self.world.now, self.tuning.budget);
        }
        self.bridge.service(now);
        self.strict_since = match self.is_strict() {
            true => self.strict_since.min(now),
            false => u64::MAX,
        };
    }

    /// The link writes as much as the network takes. Whether it did write.
    pub fn talk(&mut self, now: u64, at: usize, network: &mut Network) -> bool {
        let mut chassis = Recorder {
            chassis: &mut self.bridge,
            told: &mut self.told,
            program: &self.world.program,
        };
        let mut wrote = false;
        loop {
            self.out.clear();
            if network.room(at) == 0 {
                self.link.absorb(now, &mut chassis);
                break;
            }
            self.link.poll(now, &mut chassis, &mut self.out);
            if self.out.is_empty() {
                break;
            }
            network.write(at, now, &self.out);
            wrote = true;
        }
        self.heed();
        wrote
    }

    /// The link reads octets; how many it took.
    pub fn hear(&mut self, now: u64, octets: &[u8]) -> usize {
        let mut chassis = Recorder {
            chassis: &mut self.bridge,
            told: &mut self.told,
            program: &self.world.program,
        };
        let taken = self.link.received(now, octets, &mut chassis);
        self.heed();
        if let Some(brain) = &mut self.brain {
            brain.received(&self.link);
        }
        // An error closes the stream: see `wants_close`.
        taken.unwrap_or(octets.len())
    }

    /// A connection is there.
    pub fn connected(&mut self, now: u64) {
        if let Some(brain) = &mut self.brain {
            brain.channel(true);
        }
        self.link.connected(now);
    }

    /// It is gone.
    pub fn disconnected(&mut self, now: u64) {
        self.link.disconnected(now);
        if let Some(brain) = &mut self.brain {
            brain.channel(false);
        }
        self.heed();
    }

    /// The stream is of no use any more.
    pub fn wants_close(&self) -> bool {
        if let LinkState::Refused(refusal) = self.link.state() {
            panic!("two chassis of one kind refuse each other: {refusal}");
        }
        self.link.state().wants_close()
    }

    /// The other is gone, and its word stays.
    pub fn inherit(&mut self, told: Told) {
        self.own.extend(told.sessions);
    }

    /// Looks at what the link said, and how far it is.
    fn heed(&mut self) {
        while let Some(event) = self.bridge.next_event() {
            if let Some(brain) = &mut self.brain {
                self.covered &= !matches!(event, BridgeEvent::Peer(PeerEvent::Forgotten));
                brain.events.push(event);
                continue;
            }
            match event {
                BridgeEvent::Peer(PeerEvent::ReleaseAsked { set }) => {
                    self.asked.insert(u16::from(set));
                }
                BridgeEvent::Peer(PeerEvent::Released { set, epoch }) => {
                    self.released.insert(u16::from(set), epoch);
                }
                BridgeEvent::Peer(PeerEvent::Forgotten) => self.covered = false,
                BridgeEvent::Yielded(role) => {
                    self.yielded.insert(u16::from(role.set));
                    self.link.announce_roles(&self.bridge.roles());
                }
                _ => {}
            }
        }
        match self.link.state() {
            LinkState::Connected { sending, receiving } => {
                self.covered = *sending == Mirror::Active && !self.bridge.is_renewing();
                self.filled = *receiving == Mirror::Active;
            }
            LinkState::Suspended(mismatch) => panic!("equal configurations differ: {mismatch}"),
            _ => {}
        }
    }

    /// All is told anew: to the other, or by it.
    pub fn resynchronize(&mut self, now: u64, to_peer: bool) {
        if to_peer {
            self.link.resync_to_peer(ObjectTypes::ALL);
        } else {
            self.link.resync_from_peer(ObjectTypes::ALL, now);
        }
    }

    /// Takes up a role, as far as the bridge is concerned; workers follow.
    pub fn take_role(&mut self, set: u16, primary: bool, epoch: u32) {
        let role = if primary { Role::Primary } else { Role::Standby };
        self.bridge.set_role(set as u8, role, epoch.into());
        self.link.announce_roles(&self.bridge.roles());
        self.covered &= !self.bridge.is_renewing();
    }

    /// Whether all workers have taken up the last role of a set, and what they told before is in the link.
    pub fn is_settled(&self, set: u16) -> bool {
        self.bridge.role_is_done(set as u8)
    }

    /// Asks the other chassis to release a set.
    pub fn request_release(&mut self, set: u16, now: u64) -> bool {
        let connected = matches!(self.link.state(), LinkState::Connected { .. });
        connected && self.link.request_release(set as u8, now)
    }

    /// The other asked for it.
    pub fn take_release_asked(&mut self, set: u16) -> bool {
        self.asked.remove(&set)
    }

    /// A set is released; false when there is nobody to tell.
    pub fn released(&mut self, set: u16, epoch: u64, now: u64) -> bool {
        self.link.released(set as u8, epoch, now)
    }

    /// It yielded to the other, which is primary, too, and later.
    pub fn take_yielded(&mut self, set: u16) -> bool {
        self.yielded.remove(&set)
    }

    /// The other has released it, not before it took up the role of this number: a release that came when nobody waited for
    /// it any more says nothing of the next one.
    pub fn take_released(&mut self, set: u16, since: u64) -> bool {
        self.released.remove(&set).is_some_and(|epoch| epoch >= since)
    }
}
