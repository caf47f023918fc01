//! What the channel shows of itself: state, who is at the other end, what went wrong last, and counters.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use super::endpoint::{Security, Side};
use super::failure::{Failure, FailureKind};
use super::keys::Fingerprint;
use super::tls::Channel;

/// State of the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelState {
    /// Waits for the peer to connect.
    Listening,
    /// Tries to connect, or waits before it tries again.
    Connecting,
    /// The connection is there, and both ends have shown who they are.
    Connected,
    /// Ended by command.
    Stopped,
}

impl ChannelState {
    /// Its name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Listening => "listening",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Stopped => "stopped",
        }
    }
}

/// A certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// When it ends; nothing when that cannot be read.
    pub expires: Option<SystemTime>,
}

/// How a connection is secured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secured {
    /// Protocol version.
    pub protocol: &'static str,
    /// Cipher suite, by its name in the TLS registry.
    pub cipher: String,
    /// The peer's certificate.
    pub peer: Option<Identity>,
}

/// The latest thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastFailure {
    /// What kind.
    pub kind: FailureKind,
    /// In words.
    pub text: String,
    /// When.
    pub at: SystemTime,
}

/// Counters since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections that became ready.
    pub connections: u64,
    /// Of these, those that took the place of one that was there.
    pub replaced: u64,
    /// Attempts to connect, of the end that connects.
    pub attempts: u64,
    /// Octets received, without TLS.
    pub received_bytes: u64,
    /// Octets sent, without TLS.
    pub sent_bytes: u64,
    /// Times that reading stopped because nothing more was taken.
    pub receive_stalls: u64,
    failures: [u64; FailureKind::ALL.len()],
}

impl Counters {
    /// How often this went wrong.
    #[must_use]
    pub fn failures(&self, kind: FailureKind) -> u64 {
        self.failures.get(kind.index()).copied().unwrap_or(0)
    }
}

/// The channel's part of the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelStatus {
    /// Its state.
    pub state: ChannelState,
    /// Which end connects.
    pub side: Side,
    /// This chassis' address.
    pub local: IpAddr,
    /// The peer's address.
    pub peer: IpAddr,
    /// TCP port.
    pub port: u16,
    /// Whether TLS is configured.
    pub tls: bool,
    /// This chassis' certificate, with TLS.
    pub identity: Option<Identity>,
    /// The other end of the connection.
    pub connected_to: Option<SocketAddr>,
    /// Since when it is there.
    pub connected_since: Option<SystemTime>,
    /// How it is secured; nothing when it is not.
    pub secured: Option<Secured>,
    /// What went wrong last, whenever that was.
    pub last_failure: Option<LastFailure>,
    /// Counters.
    pub counters: Counters,
}

impl ChannelStatus {
    /// At the start.
    pub(super) fn new(channel: &Channel) -> Self {
        let endpoint = &channel.endpoint;
        Self {
            state: resting(endpoint.side()),
            side: endpoint.side(),
            local: endpoint.local,
            peer: endpoint.peer,
            port: endpoint.stream_port(),
            tls: endpoint.security != Security::None,
            identity: channel.identity().copied(),
            connected_to: None,
            connected_since: None,
            secured: None,
            last_failure: None,
            counters: Counters::default(),
        }
    }

    /// Something went wrong.
    pub(super) fn failed(&mut self, failure: &Failure) {
        let kind = failure.kind();
        if let Some(counter) = self.counters.failures.get_mut(kind.index()) {
            *counter += 1;
        }
        self.last_failure = Some(LastFailure {
            kind,
            text: failure.to_string(),
            at: SystemTime::now(),
        });
    }

    /// A connection became ready.
    pub(super) fn connected(&mut self, to: SocketAddr, secured: Option<Secured>) {
        self.state = ChannelState::Connected;
        self.connected_to = Some(to);
        self.connected_since = Some(SystemTime::now());
        self.secured = secured;
        self.counters.connections += 1;
    }

    /// It is gone.
    pub(super) fn disconnected(&mut self) {
        self.state = resting(self.side);
        self.connected_to = None;
        self.connected_since = None;
        self.secured = None;
    }
}

fn resting(side: Side) -> ChannelState {
    match side {
        Side::Listens => ChannelState::Listening,
        Side::Connects => ChannelState::Connecting,
    }
}

/// What is published: the channel's status and the conversation's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status<S> {
    /// The channel.
    pub channel: ChannelStatus,
    /// What is said over it.
    pub conversation: S,
}
