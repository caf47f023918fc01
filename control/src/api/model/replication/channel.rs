//! The channel to the peer: who is at its other end, how it is secured, what went wrong.

use std::net::{IpAddr, SocketAddr};

use ha_sync::net::{self, ChannelStatus, FailureKind, Side};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::unix_seconds;

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Certificate {
    /// SHA-256 of it, hexadecimal.
    pub fingerprint: String,
    /// When it ends, seconds since 1970-01-01 UTC; nothing when that cannot be read.
    pub expires_unix_s: Option<u64>,
}

impl From<net::Identity> for Certificate {
    fn from(identity: net::Identity) -> Self {
        Self {
            fingerprint: identity.fingerprint.to_string(),
            expires_unix_s: identity.expires.map(unix_seconds),
        }
    }
}

/// How often something went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FailureCount {
    /// What: one of the states that docs/replication.md lists.
    pub kind: String,
    /// How often since start.
    pub count: u64,
}

/// What went wrong last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct LastFailure {
    /// What.
    pub kind: String,
    /// In words, with what was seen.
    pub text: String,
    /// When, seconds since 1970-01-01 UTC.
    pub at_unix_s: u64,
}

/// The channel to the peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Channel {
    /// Whether this chassis connects (`connects`) or waits for the peer (`listens`), as the one with the lower address does.
    pub side: String,
    /// This chassis' address.
    #[schema(value_type = String)]
    pub local_address: IpAddr,
    /// The peer's address.
    #[schema(value_type = String)]
    pub peer_address: IpAddr,
    /// TCP port.
    pub port: u16,
    /// `tls` or `none`, as configured.
    pub security: String,
    /// The other end of the connection; none without a connection.
    #[schema(value_type = Option<String>)]
    pub connected_to: Option<SocketAddr>,
    /// Since when it is there, seconds since 1970-01-01 UTC.
    pub connected_since_unix_s: Option<u64>,
    /// Protocol of the connection, for example `TLSv1.3`; none without TLS.
    pub protocol: Option<String>,
    /// Its cipher suite.
    pub cipher: Option<String>,
    /// This chassis' certificate.
    pub certificate: Option<Certificate>,
    /// The peer's certificate, as it has shown it on this connection.
    pub peer_certificate: Option<Certificate>,
    /// Connections that became ready, since start.
    pub connections: u64,
    /// Of these, those that took the place of one that was there.
    pub replaced: u64,
    /// Attempts to connect.
    pub attempts: u64,
    /// Times that reading stopped because the workers had no room for more.
    pub receive_stalls: u64,
    /// Everything that can go wrong, zero ones too.
    pub failures: Vec<FailureCount>,
    /// What went wrong last, whenever that was.
    pub last_failure: Option<LastFailure>,
}

impl From<&ChannelStatus> for Channel {
    fn from(status: &ChannelStatus) -> Self {
        let counters = &status.counters;
        let secured = status.secured.as_ref();
        let side = match status.side {
            Side::Listens => "listens",
            Side::Connects => "connects",
        };
        let failures = FailureKind::ALL.iter().map(|kind| FailureCount {
            kind: kind.name().to_owned(),
            count: counters.failures(*kind),
        });
        Self {
            side: side.to_owned(),
            local_address: status.local,
            peer_address: status.peer,
            port: status.port,
            security: if status.tls { "tls" } else { "none" }.to_owned(),
            connected_to: status.connected_to,
            connected_since_unix_s: status.connected_since.map(unix_seconds),
            protocol: secured.map(|secured| secured.protocol.to_owned()),
            cipher: secured.map(|secured| secured.cipher.clone()),
            certificate: status.identity.map(Certificate::from),
            peer_certificate: secured.and_then(|secured| secured.peer).map(Certificate::from),
            connections: counters.connections,
            replaced: counters.replaced,
            attempts: counters.attempts,
            receive_stalls: counters.receive_stalls,
            failures: failures.collect(),
            last_failure: status.last_failure.as_ref().map(|last| LastFailure {
                kind: last.kind.name().to_owned(),
                text: last.text.clone(),
                at_unix_s: unix_seconds(last.at),
            }),
        }
    }
}
