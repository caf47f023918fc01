//! Greeting: who the peer is, whether the stream goes on or begins anew, and what follows when a configuration changes. Also
//! the end of a stream, and time.

use super::{Link, LinkState, Mismatch, Refusal};
use crate::chassis::{Chassis, PeerEvent, SetRole};
use crate::wire::{CONTROL_ONLY, Hello, VERSION_OBJECT_TYPES};

impl Link {
    pub(super) fn hello(&self) -> Hello {
        Hello {
            versions: self.config.versions,
            revision: self.revision,
            incarnation: self.config.incarnation,
            peer_incarnation: self.receiver.incarnation,
            stream: self.receiver.place.stream,
            received: self.receiver.place.sequence,
            shards: self.config.shards,
            replicate: self.config.replicate,
            exchanges: true,
            merges: true,
            digest: self.config.digest,
            dictionary: self.config.dictionary.checksum(),
            roles: self.roles.clone(),
        }
    }

    /// A hello came.
    pub(super) fn greeted(
        &mut self,
        hello: Hello,
        now: u64,
        chassis: &mut impl Chassis,
    ) -> Result<(), Refusal> {
        // It may not have heard ours, or that we heard: any answer tells it.
        self.due.acknowledgment = true;
        let first = match &self.peer {
            Some(known) if known.incarnation == hello.incarnation => {
                if hello.revision.wrapping_sub(known.revision) as i32 <= 0 {
                    return Ok(());
                }
                false
            }
            _ => true,
        };
        if hello.incarnation == self.config.incarnation {
            return Err(Refusal::Myself);
        }
        if hello.shards != self.config.shards {
            return Err(Refusal::Shards {
                ours: self.config.shards,
                theirs: hello.shards,
            });
        }
        let (ours, theirs) = (self.config.versions, hello.versions);
        let version = ours.common(theirs).ok_or(Refusal::Versions { ours, theirs })?;
        if mismatch(&self.config, &hello).is_none() {
            // Before anything that may follow it at once.
            chassis.heard(now);
        }
        chassis.peer_merges(hello.merges);
        self.peer_said_roles(hello.incarnation, &hello.roles, first, chassis);
        self.unsettled = true;
        if first {
            self.stats.connects += 1;
            self.receiver.greet(hello.incarnation);
            // What takes offers answers, too.
            self.receiver.peer_answers = hello.merges && version >= VERSION_OBJECT_TYPES;
            self.version = version;
            self.sender.greet(version);
            self.resume(&hello, now, chassis);
        }
        self.peer = Some(hello);
        self.settle(now, chassis);
        Ok(())
    }

    /// Goes on with the stream where the peer lost it, if it can be.
    fn resume(&mut self, hello: &Hello, now: u64, chassis: &mut impl Chassis) {
        let sender = &mut self.sender;
        let kept = sender.peer == Some(hello.incarnation)
            && sender.replicates()
            && sender.identity == identity(&self.config)
            && mismatch(&self.config, hello).is_none();
        let (first, last) = (sender.window.acknowledged(), sender.window.last());
        let follows = hello.peer_incarnation == self.config.incarnation && hello.stream == sender.stream;
        if kept && follows && (first..=last).contains(&hello.received) {
            sender.acknowledged(hello.received, now, chassis, &mut self.stats);
        } else if !(kept && first == 0 && hello.stream < sender.stream) {
            // In the latter case it has seen nothing of this stream, and all of that is still here.
            self.renew = true;
            return;
        }
        self.sender.window.go_back();
        self.stats.resumes += 1;
        chassis.peer(PeerEvent::Connected { new_bulk: None });
    }

    /// Begins a new stream if the one there is is not what it has to be.
    pub(super) fn settle(&mut self, now: u64, chassis: &mut impl Chassis) {
        if !std::mem::take(&mut self.unsettled) {
            return;
        }
        let Some(peer) = &self.peer else { return };
        self.due.parts = Some(0);
        let (differs, incarnation) = (mismatch(&self.config, peer), peer.incarnation);
        let wanted = match differs {
            None => identity(&self.config),
            Some(_) => CONTROL_ONLY,
        };
        let renew = std::mem::take(&mut self.renew);
        if renew || self.sender.identity != wanted || self.sender.peer != Some(incarnation) {
            if differs.is_some() && self.sender.replicates() {
                chassis.peer(PeerEvent::Forgotten);
            }
            self.sender.begin(incarnation, wanted, now);
            match differs {
                None => {
                    let number = self.sender.begin_first_bulk(now, &mut self.stats);
                    chassis.peer(PeerEvent::Connected {
                        new_bulk: Some(number),
                    });
                }
                Some(mismatch) => chassis.peer(PeerEvent::Suspended(mismatch)),
            }
        }
        if differs.is_none() && std::mem::take(&mut self.receiver.left_aside) {
            self.due.resend = true;
        }
        self.compare();
    }

    /// The identity batches of ours and the peer's have, if we understand each other.
    pub(super) fn agreed(&self) -> Option<u32> {
        let peer = self.peer.as_ref()?;
        mismatch(&self.config, peer)
            .is_none()
            .then(|| identity(&self.config))
    }

    /// The peer said its roles. Of those it said before only newer ones count, should messages have overtaken each other.
    pub(super) fn peer_said_roles(
        &mut self,
        incarnation: u64,
        roles: &[SetRole],
        always: bool,
        chassis: &mut impl Chassis,
    ) {
        let (of, known) = &mut self.peer_roles;
        let mut now = roles.to_vec();
        if *of == incarnation {
            for role in &mut now {
                if let Some(old) = known
                    .iter()
                    .find(|old| old.set == role.set && old.epoch > role.epoch)
                {
                    *role = *old;
                }
            }
        }
        let news = always || *known != now || *of != incarnation;
        (*of, *known) = (incarnation, now);
        if news {
            chassis.peer(PeerEvent::Roles(known.clone()));
        }
    }

    /// The stream is of no use any more.
    pub(super) fn broke(&mut self, now: u64) {
        self.receiver.broke();
        self.forget_parts();
        self.forget_exchanges();
        self.sender.broke();
        self.heard_of = None;
        self.due = super::Due::default();
        if self.peer.take().is_none() {
            return;
        }
        self.broke_ms = now;
        self.events.push(PeerEvent::Disconnected);
        if !self.sender.replicates() || self.config.resume_ms == 0 {
            self.forget();
        }
    }

    /// Keeps nothing for the peer's return any more.
    pub(super) fn forget(&mut self) {
        if self.sender.peer.is_some() {
            self.sender.forget();
            self.events.push(PeerEvent::Forgotten);
        }
    }

    pub(super) fn lost_at(&self) -> u64 {
        let span = self
            .config
            .keepalive_ms
            .saturating_mul(self.config.keepalive_lost.into());
        self.heard_ms.saturating_add(span)
    }

    pub(super) fn look_at_clock(&mut self, now: u64) {
        if self.receiver.waits() {
            // It is us who do not listen.
            self.heard_ms = now;
        }
        if self.open && !self.state.wants_close() && now >= self.lost_at() {
            self.stats.lost += 1;
            self.broke(now);
            self.state = LinkState::Lost;
        }
        let gone = self.peer.is_none() && self.sender.peer.is_some();
        if gone && now.saturating_sub(self.broke_ms) >= self.config.resume_ms {
            self.forget();
        }
    }

    pub(super) fn show_state(&mut self) {
        if !self.open || self.state.wants_close() {
            return;
        }
        let Some(peer) = &self.peer else { return };
        self.state = match mismatch(&self.config, peer) {
            Some(mismatch) => LinkState::Suspended(mismatch),
            None => LinkState::Connected {
                sending: self.sender.mirror,
                receiving: self.receiver.mirror,
            },
        };
    }
}

/// What stands between us and the peer.
pub(super) fn mismatch(ours: &super::LinkConfig, theirs: &Hello) -> Option<Mismatch> {
    if !ours.replicate || !theirs.replicate {
        return Some(Mismatch::Disabled { ours: ours.replicate });
    }
    if ours.digest != theirs.digest {
        return Some(Mismatch::Digest {
            ours: ours.digest,
            theirs: theirs.digest,
        });
    }
    let checksum = ours.dictionary.checksum();
    (checksum != theirs.dictionary).then_some(Mismatch::Dictionary {
        ours: checksum,
        theirs: theirs.dictionary,
    })
}

/// What batches made with a configuration are marked with.
fn identity(config: &super::LinkConfig) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&config.digest);
    sum.update(&config.dictionary.checksum().to_be_bytes());
    match sum.finalize() {
        CONTROL_ONLY => 1,
        other => other,
    }
}
