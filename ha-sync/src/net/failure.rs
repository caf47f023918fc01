//! What can go wrong with the channel, each with a name of its own for the status and a counter.

use std::io;
use std::net::IpAddr;

use super::keys::Fingerprint;

/// Makes [`FailureKind`] with its list and names, so that none can be forgotten.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)*) => {
        /// What went wrong, for counters and states.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum FailureKind {
            $($(#[$doc])* $kind,)*
        }

        impl FailureKind {
            /// All kinds, in the order of [`FailureKind::index`].
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// Its name in the status, the API and metrics.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// The socket could not be made or bound: no such namespace or interface, or the address is not (yet) here.
    Socket = "socket",
    /// Nobody listens at the peer's address.
    Refused = "refused",
    /// No way to the peer.
    Unreachable = "unreachable",
    /// No answer to the connection attempt in time.
    ConnectTimeout = "connect-timeout",
    /// Connected, but the other end did not finish the handshake in time.
    HandshakeTimeout = "handshake-timeout",
    /// A connection from an address that is not the peer's.
    Stranger = "stranger",
    /// More unfinished handshakes at once than are allowed.
    Crowded = "crowded",
    /// The other end's certificate is not one of those expected.
    WrongFingerprint = "wrong-fingerprint",
    /// The other end's certificate is not of the expected authority or name, or is expired.
    Untrusted = "untrusted-certificate",
    /// The other end has no certificate, or has not the key of the one it shows.
    Unproven = "unproven-certificate",
    /// The other end does not accept this end's certificate, or has other demands on TLS.
    RefusedByPeer = "refused-by-peer",
    /// The other end speaks plainly where TLS is wanted.
    Plain = "plain-peer",
    /// The other end speaks TLS where `security = "none"`.
    Encrypted = "tls-peer",
    /// Bytes that are neither TLS nor this protocol.
    Garbage = "garbage",
    /// TLS failed in another way.
    Handshake = "tls-handshake",
    /// The other end speaks another version of the channel.
    Version = "channel-version",
    /// The other end's streams are numbered differently.
    Stream = "stream-mismatch",
    /// The other end closed the connection.
    Closed = "closed",
    /// The connection was reset or broke.
    Broken = "broken",
    /// The other end's host answers no more.
    Silent = "silent",
    /// What came over the connection was refused, and says why.
    Conversation = "conversation",
}

impl FailureKind {
    /// Its position in [`FailureKind::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

/// One thing that went wrong, with what an operator needs to find the cause.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// See [`FailureKind::Socket`].
    #[error("{what}: {source}")]
    Socket {
        /// What was being done.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// See [`FailureKind::ConnectTimeout`].
    #[error("no answer from {0} in time")]
    ConnectTimeout(IpAddr),
    /// See [`FailureKind::HandshakeTimeout`].
    #[error("{0} connected, but did not finish the handshake in time")]
    HandshakeTimeout(IpAddr),
    /// See [`FailureKind::Stranger`].
    #[error("connection from {0}, which is not the peer")]
    Stranger(IpAddr),
    /// See [`FailureKind::Crowded`].
    #[error("too many unfinished connections from {0}")]
    Crowded(IpAddr),
    /// See [`FailureKind::WrongFingerprint`].
    #[error("the peer's certificate has fingerprint {0}, which is not among those configured")]
    WrongFingerprint(Fingerprint),
    /// See [`FailureKind::Untrusted`].
    #[error("the peer's certificate is not trusted: {0}")]
    Untrusted(String),
    /// See [`FailureKind::Unproven`].
    #[error("the peer did not prove who it is: {0}")]
    Unproven(String),
    /// See [`FailureKind::RefusedByPeer`].
    #[error("the peer refuses this chassis: {0}")]
    RefusedByPeer(String),
    /// See [`FailureKind::Plain`].
    #[error("the peer speaks plainly (security = \"none\"), but TLS is configured here")]
    Plain,
    /// See [`FailureKind::Encrypted`].
    #[error("the peer speaks TLS, but security = \"none\" here")]
    Encrypted,
    /// See [`FailureKind::Garbage`].
    #[error("what came does not begin as a channel does: {0:02x?}")]
    Garbage(Vec<u8>),
    /// See [`FailureKind::Handshake`].
    #[error("TLS: {0}")]
    Handshake(String),
    /// See [`FailureKind::Version`].
    #[error("the peer speaks version {theirs} of the channel, this chassis {ours}")]
    Version {
        /// This end's.
        ours: u16,
        /// The other end's.
        theirs: u16,
    },
    /// See [`FailureKind::Stream`].
    #[error("stream {ours_number} of {ours_of} here, {theirs_number} of {theirs_of} at the peer")]
    Stream {
        /// This end's stream.
        ours_number: u8,
        /// This end's streams.
        ours_of: u8,
        /// The other end's stream.
        theirs_number: u8,
        /// The other end's streams.
        theirs_of: u8,
    },
    /// See [`FailureKind::Closed`].
    #[error("closed by the peer")]
    Closed,
    /// An error of the connection: [`FailureKind::Refused`], [`FailureKind::Unreachable`], [`FailureKind::Silent`] or
    /// [`FailureKind::Broken`]; [`FailureKind::Closed`] when it ended without TLS's farewell.
    #[error("{}", in_words(.0))]
    Io(#[from] io::Error),
    /// See [`FailureKind::Conversation`].
    #[error("{0}")]
    Conversation(String),
}

impl Failure {
    /// What kind it is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Socket { .. } => FailureKind::Socket,
            Self::ConnectTimeout(_) => FailureKind::ConnectTimeout,
            Self::HandshakeTimeout(_) => FailureKind::HandshakeTimeout,
            Self::Stranger(_) => FailureKind::Stranger,
            Self::Crowded(_) => FailureKind::Crowded,
            Self::WrongFingerprint(_) => FailureKind::WrongFingerprint,
            Self::Untrusted(_) => FailureKind::Untrusted,
            Self::Unproven(_) => FailureKind::Unproven,
            Self::RefusedByPeer(_) => FailureKind::RefusedByPeer,
            Self::Plain => FailureKind::Plain,
            Self::Encrypted => FailureKind::Encrypted,
            Self::Garbage(_) => FailureKind::Garbage,
            Self::Handshake(_) => FailureKind::Handshake,
            Self::Version { .. } => FailureKind::Version,
            Self::Stream { .. } => FailureKind::Stream,
            Self::Closed => FailureKind::Closed,
            Self::Io(error) => of_io(error),
            Self::Conversation(_) => FailureKind::Conversation,
        }
    }
}

fn of_io(error: &io::Error) -> FailureKind {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => FailureKind::Refused,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
            FailureKind::Unreachable
        }
        // From the kernel: unacknowledged for longer than the user timeout, or no answer to keepalives.
        io::ErrorKind::TimedOut => FailureKind::Silent,
        io::ErrorKind::UnexpectedEof => FailureKind::Closed,
        _ => FailureKind::Broken,
    }
}

/// An end without TLS's farewell is what a killed process leaves. The library's words for it are a link to its manual.
fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "closed by the peer without a farewell".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_without_farewell_is_told_in_our_words() {
        let ended = Failure::from(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "see https://example.org",
        ));
        assert_eq!(ended.kind(), FailureKind::Closed);
        assert_eq!(ended.to_string(), "closed by the peer without a farewell");
        let broken = Failure::from(io::Error::new(io::ErrorKind::ConnectionReset, "reset"));
        assert_eq!(
            (broken.kind(), broken.to_string().as_str()),
            (FailureKind::Broken, "reset")
        );
    }

    #[test]
    fn kinds_are_numbered_as_listed_and_have_names_of_their_own() {
        for (position, kind) in FailureKind::ALL.iter().enumerate() {
            assert_eq!(kind.index(), position);
            let same = FailureKind::ALL
                .iter()
                .filter(|other| other.name() == kind.name());
            assert_eq!(same.count(), 1, "{}", kind.name());
        }
    }
}
