//! A link to the peer chassis, without I/O: octets and milliseconds go in, octets and calls of the [`Chassis`] come out.
//!
//! ```text
//!   Chassis --next, next_lease--> sender --> pending --> window --> batches ==> stream ==> receiver --install--> Chassis
//!                                              (collapses)  ^                                  |
//!           <--lease_acknowledged-------------------------- '------- acknowledgments <==-------'
//! ```
//!
//! Both directions are alike and independent. What the chassis tells goes into numbered batches, which stay in the window
//! until the peer has acknowledged them: after a break the stream goes on behind the last one taken, if neither process was
//! restarted and the window still has what is missing; otherwise a new stream begins, with a bulk. When the window is full,
//! operations wait beside it, only the last about each session; when there are too many of those, nothing more is taken, and
//! the workers' rings fill up, which the engine can live with. So the memory is bounded whatever the peer does.
//!
//! Sessions are replicated only between equal configurations; roles are exchanged in any case.
//!
//! Whoever drives it calls [`Link::poll`] after everything that happened and whenever [`Link::next_timer`] has come, writes what
//! it put out, and goes on calling while it puts something out and there is room to write it; while there is none (a peer that
//! does not read), [`Link::absorb`]. When [`LinkState::wants_close`], or an error comes back: close the stream, and say so with
//! [`Link::disconnected`].

mod bulks;
mod compare;
mod config;
mod damping;
mod exchanges;
mod greet;
mod histogram;
mod pending;
mod read;
mod receiver;
mod sender;
mod state;
mod stats;
mod window;
mod write;

use tandem_engine::replica::ObjectTypes;

use crate::chassis::{Chassis, PeerEvent, SetRole};
use crate::frame::Decoder;
use crate::wire::{Dictionary, Hello, Record};

pub use compare::{Difference, Differs};
pub use config::{BATCH_BYTES_MAX, LinkConfig};
pub use exchanges::ExchangeError;
pub use histogram::Histogram;
pub use state::{LinkError, LinkState, Mirror, Mismatch, Refusal};
pub use stats::{BulkProgress, LinkStats, Objects, Poison};

use compare::Compared;
use exchanges::Exchanges;
use receiver::Receiver;
use sender::Sender;

/// Octets of a payload this end accepts.
const PAYLOAD_ACCEPTED: u32 = (BATCH_BYTES_MAX + 4096) as u32;

/// What is to be said with the next poll.
#[derive(Clone, Copy, Debug, Default)]
struct Due {
    hello: bool,
    acknowledgment: bool,
    keepalive: bool,
    resend: bool,
    /// Parts of the configuration, from this one on.
    parts: Option<usize>,
}

/// A link. See the module.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    compared: Compared,
    exchanges: Exchanges,
    state: LinkState,
    stats: LinkStats,
    sender: Sender,
    receiver: Receiver,
    decoder: Decoder,
    /// There is a stream of octets.
    open: bool,
    due: Due,
    /// The peer's last hello on this stream.
    peer: Option<Hello>,
    /// The wire version that is spoken with it.
    version: u16,
    /// The revision of our hello that the peer has heard.
    heard_of: Option<u32>,
    revision: u32,
    /// Digest, dictionary or replication may have changed on either side.
    unsettled: bool,
    /// The stream of batches cannot go on.
    renew: bool,
    hello_ms: u64,
    heard_ms: u64,
    said_ms: u64,
    broke_ms: u64,
    roles: Vec<SetRole>,
    /// The peer's, and its incarnation when it said so.
    peer_roles: (u64, Vec<SetRole>),
    events: Vec<PeerEvent>,
}

impl Link {
    /// A link without a stream.
    #[must_use]
    pub fn new(config: LinkConfig) -> Self {
        let config = LinkConfig {
            window_bytes: config.window_bytes.max(64 << 10),
            pending_max: config.pending_max.max(1),
            batch_bytes: config.batch_bytes.clamp(512, BATCH_BYTES_MAX - 512),
            keepalive_ms: config.keepalive_ms.max(1),
            keepalive_lost: config.keepalive_lost.max(1),
            ..config
        };
        Self {
            sender: Sender::new(&config),
            receiver: Receiver::default(),
            decoder: Decoder::new(PAYLOAD_ACCEPTED),
            config,
            compared: Compared::default(),
            exchanges: Exchanges::default(),
            state: LinkState::Disconnected,
            stats: LinkStats::default(),
            open: false,
            due: Due::default(),
            peer: None,
            version: 0,
            heard_of: None,
            revision: 0,
            unsettled: false,
            renew: false,
            hello_ms: 0,
            heard_ms: 0,
            said_ms: 0,
            broke_ms: 0,
            roles: Vec::new(),
            peer_roles: (0, Vec::new()),
            events: Vec::new(),
        }
    }

    /// A fresh stream is there; the hello goes out with the next poll.
    pub fn connected(&mut self, now: u64) {
        if self.open {
            self.disconnected(now);
        }
        self.open = true;
        self.decoder = Decoder::new(PAYLOAD_ACCEPTED);
        self.due = Due {
            hello: true,
            ..Due::default()
        };
        self.heard_of = None;
        (self.heard_ms, self.said_ms) = (now, now);
        self.state = LinkState::Greeting;
    }

    /// The stream is gone.
    pub fn disconnected(&mut self, now: u64) {
        if !self.open {
            return;
        }
        self.broke(now);
        self.open = false;
        if !matches!(self.state, LinkState::Refused(_)) {
            self.state = LinkState::Disconnected;
        }
    }

    /// Takes octets that came; how many were used. Fewer than there are: the chassis has no room now; bring the rest again a
    /// little later ([`Link::next_timer`] says when).
    ///
    /// # Errors
    /// [`LinkError`]: close the stream.
    pub fn received(
        &mut self,
        now: u64,
        octets: &[u8],
        chassis: &mut impl Chassis,
    ) -> Result<usize, LinkError> {
        if !self.open || self.state.wants_close() {
            return Err(LinkError::NotConnected);
        }
        self.tell_events(chassis);
        // While the link is suspended, the peer goes by nothing that it was told: so must we by what it said.
        if !octets.is_empty() && self.agreed().is_some() {
            chassis.heard(now);
        }
        self.settle(now, chassis);
        let read = self.read(now, octets, chassis);
        match read {
            Ok(used) => {
                self.stats.bytes_received += used as u64;
                if !octets.is_empty() {
                    self.heard_ms = now;
                }
                self.settle(now, chassis);
                self.show_state();
                Ok(used)
            }
            Err(refusal) => {
                self.refuse(refusal, now, chassis);
                Err(refusal.into())
            }
        }
    }

    /// Whether something that was received waits for room in the chassis. If the stream has ended, go on with [`Link::absorb`] for
    /// a while before saying so: [`Link::disconnected`] throws it away, and the peer may not come back to tell it again.
    #[must_use]
    pub fn is_installing(&self) -> bool {
        self.receiver.waits()
    }

    /// Takes what the chassis has to tell, looks after timers, and appends what is to be written to `out`, at most about
    /// [`LinkConfig::poll_bytes`]: call it again while it appends something. Without a stream nothing is appended, but
    /// operations are kept for a while: call it all the same.
    pub fn poll(&mut self, now: u64, chassis: &mut impl Chassis, out: &mut Vec<u8>) {
        self.absorb(now, chassis);
        self.write(now, out);
    }

    /// As [`Link::poll`] when nothing can be written just now. True: there may be more to absorb.
    pub fn absorb(&mut self, now: u64, chassis: &mut impl Chassis) -> bool {
        self.tell_events(chassis);
        self.settle(now, chassis);
        self.look_at_clock(now);
        self.tell_events(chassis);
        if self.receiver.waits()
            && let Err(refusal) = self.batch(now, chassis)
        {
            self.refuse(refusal, now, chassis);
        }
        let more = self.sender.take(now, &self.config, chassis, &mut self.stats);
        if !self.open && self.sender.pending() >= self.config.pending_max {
            self.forget();
            self.tell_events(chassis);
        }
        let waiting = chassis.waiting_since().filter(|_| self.sender.replicates());
        let oldest = waiting.into_iter().chain(self.sender.oldest()).min();
        self.stats.lag_ms = oldest.map_or(0, |at| now.saturating_sub(at));
        self.stats.install_wait_ms = self.receiver.waiting_ms(now);
        if self.receiver.lacks && self.open && self.sender.replicates() && !self.stats.bulk_received.running {
            self.sender.ask_for_bulk(None, now);
        }
        self.show_state();
        more
    }

    /// When [`Link::poll`] is to be called next at the latest, if nothing happens before: milliseconds.
    #[must_use]
    pub fn next_timer(&self) -> Option<u64> {
        if !self.open {
            let kept = self.sender.peer.is_some();
            return kept.then(|| self.broke_ms.saturating_add(self.config.resume_ms));
        }
        if let Some(at) = self.receiver.waits_since() {
            return Some(at.saturating_add(1));
        }
        let patience = self.config.retransmit_ms;
        let mut next = self
            .lost_at()
            .min(self.said_ms.saturating_add(self.config.keepalive_ms))
            .min(self.sender.bulks.waits_until().unwrap_or(u64::MAX));
        if patience > 0 {
            if self.heard_of != Some(self.revision) {
                next = next.min(self.hello_ms.saturating_add(patience));
            }
            if let Some(since) = self.sender.window.waiting_since() {
                next = next.min(since.saturating_add(patience));
            }
        }
        Some(next)
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> &LinkState {
        &self.state
    }

    /// What was counted.
    #[must_use]
    pub const fn stats(&self) -> &LinkStats {
        &self.stats
    }

    /// What the peer said of itself on this stream.
    #[must_use]
    pub const fn peer(&self) -> Option<&Hello> {
        self.peer.as_ref()
    }

    /// The wire version that is spoken with the peer on this stream.
    #[must_use]
    pub fn version(&self) -> Option<u16> {
        self.peer.as_ref().map(|_| self.version)
    }

    /// The peer's roles, as last heard.
    #[must_use]
    pub fn peer_roles(&self) -> &[SetRole] {
        &self.peer_roles.1
    }

    /// The digest of the configuration is this from now on. Call it together with [`Link::set_dictionary`] at a commit.
    pub fn set_digest(&mut self, digest: [u8; 32]) {
        if self.config.digest != digest {
            self.config.digest = digest;
            self.changed();
        }
    }

    /// Ids are called so from now on.
    pub fn set_dictionary(&mut self, dictionary: Dictionary) {
        if self.config.dictionary.checksum() != dictionary.checksum() {
            self.changed();
        }
        self.config.dictionary = dictionary;
    }

    /// Sessions are replicated, or only roles exchanged, from now on.
    pub fn set_replicate(&mut self, replicate: bool) {
        if self.config.replicate != replicate {
            self.config.replicate = replicate;
            self.changed();
        }
    }

    /// Tells the peer everything of these types anew with the next poll, beside what changes; what a bulk under way is of, too.
    /// False: nothing is replicated now.
    pub fn resync_to_peer(&mut self, types: ObjectTypes) -> bool {
        let replicating = self.sender.replicates();
        if replicating {
            self.sender.bulks.want(types, true);
        }
        replicating
    }

    /// Asks the peer to tell everything of these types anew. False: nothing is replicated now, or the peer takes nothing of what it
    /// is told.
    pub fn resync_from_peer(&mut self, types: ObjectTypes, now: u64) -> bool {
        let replicating = self.sender.replicates() && !self.sender.is_stuck(&self.config);
        if replicating {
            self.sender.say(Record::ResyncAsked(types, false), now);
        }
        replicating
    }

    /// Our roles, all of them, from now on; they go to the peer at once, with each keepalive, and with each connect.
    pub fn announce_roles(&mut self, roles: &[SetRole]) {
        if self.roles != roles {
            self.roles = roles.to_vec();
            self.due.keepalive = true;
            if self.config.retransmit_ms > 0 {
                // A keepalive may get lost, and the next one waits for silence. A hello is said until it was heard.
                self.revision = self.revision.wrapping_add(1);
                self.due.hello = self.open;
            }
        }
    }

    /// Asks the peer to release a redundancy set: it becomes standby, tells all there is to tell, and then answers, which is
    /// [`PeerEvent::Released`] or [`PeerEvent::ReleaseRefused`] here. False: there is no peer to ask, or it reads nothing. This,
    /// as what follows, ends with the connection: on the next one it is not said.
    pub fn request_release(&mut self, set: u8, now: u64) -> bool {
        self.say_control(Record::ReleaseAsked(set), now)
    }

    /// Tells the peer that a set is released, behind all that was taken from the chassis so far: call it when all workers have
    /// taken up the standby role, and what they put out before was taken. False: there is no peer to tell. It is never said without
    /// what it stands behind: should the stream begin anew before the peer has heard it (a configuration changes), it is not said
    /// any more, and the peer's roles do not change.
    pub fn released(&mut self, set: u8, epoch: u64, now: u64) -> bool {
        self.say_control(Record::Released { set, epoch }, now)
    }

    /// Tells the peer that a set will not be released. False: there is no peer to tell.
    pub fn refuse_release(&mut self, set: u8, now: u64) -> bool {
        self.say_control(Record::ReleaseRefused(set), now)
    }

    fn refuse(&mut self, refusal: Refusal, now: u64, chassis: &mut impl Chassis) {
        self.stats.refused += 1;
        self.broke(now);
        self.state = LinkState::Refused(refusal);
        self.tell_events(chassis);
        chassis.peer(PeerEvent::Refused(refusal));
    }

    fn say_control(&mut self, record: Record, now: u64) -> bool {
        // A stream may be kept for a peer that is gone.
        let there = self.peer.is_some() && self.sender.peer.is_some() && !self.sender.is_stuck(&self.config);
        if there {
            self.sender.say(record, now);
        }
        there
    }

    fn changed(&mut self) {
        self.unsettled = true;
        self.revision = self.revision.wrapping_add(1);
        self.due.hello = self.open;
    }

    fn tell_events(&mut self, chassis: &mut impl Chassis) {
        for event in self.events.drain(..) {
            chassis.peer(event);
        }
    }
}
