//! Where the channel is: addresses, port, what it is bound to, and how it is secured.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::keys::Fingerprint;

/// TCP port where none is configured. IANA has assigned 4793 to nobody (its neighbours 4789 to 4791, VXLAN, VXLAN-GPE and RoCE,
/// are UDP ports that network cards give special treatment).
pub const DEFAULT_PORT: u16 = 4793;

/// One end of the channel, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// This chassis' redundancy address.
    pub local: IpAddr,
    /// The other's.
    pub peer: IpAddr,
    /// TCP port of stream 0; stream n has `port + n`.
    pub port: u16,
    /// What the sockets are bound to.
    pub bind: Bind,
    /// The other HA link: it carries the channel while the peer cannot be reached by the first.
    pub other: Option<Way>,
    /// How the channel is secured.
    pub security: Security,
    /// Which of the connections between the two chassis this is.
    pub stream: Stream,
    /// Timeouts.
    pub timing: Timing,
}

/// A way to the peer: two addresses, and what sockets are bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// This chassis' address on it.
    pub local: IpAddr,
    /// The other's.
    pub peer: IpAddr,
    /// What the sockets are bound to.
    pub bind: Bind,
}

/// What the channel's sockets are bound to: its routing instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Bind {
    /// Nothing: the main routing table decides.
    #[default]
    None,
    /// An interface: nothing is sent or received through another one.
    Interface(String),
    /// A VRF device: its routing table decides.
    Vrf(String),
    /// A named network namespace, as `ip netns` makes them.
    Namespace(String),
}

/// How the channel is secured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security {
    /// TLS 1.3, both ends with certificates.
    Tls(Tls),
    /// Not at all; only the peer's address is looked at. To be asked for by name.
    None,
}

/// What TLS needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// File with this chassis' certificate, PEM; intermediate ones may follow.
    pub certificate: PathBuf,
    /// File with its key, PEM.
    pub key: PathBuf,
    /// Which certificate the other chassis must have.
    pub trust: Trust,
}

/// Which certificate the other chassis must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// One of these and no other. Expiry is shown and not enforced: a pair must not part at midnight because of a date, and whoever
    /// configures a fingerprint has decided already. More than one while certificates are exchanged.
    Fingerprints(Vec<Fingerprint>),
    /// One of an authority, for a name. Expiry is enforced.
    Authority {
        /// File with the authority's certificates, PEM.
        file: PathBuf,
        /// DNS name or IP address that the peer's certificate must have among its alternative names.
        peer_name: String,
    },
}

/// Which of the connections between two chassis: 0 of 1 where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Its number, from 0.
    pub number: u8,
    /// How many there are, at least 1.
    pub of: u8,
}

impl Default for Stream {
    fn default() -> Self {
        Self { number: 0, of: 1 }
    }
}

/// Timeouts of the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// For an answer to a connection attempt.
    pub connect: Duration,
    /// From connected to ready.
    pub handshake: Duration,
    /// Shortest wait before the next attempt.
    pub backoff_min: Duration,
    /// Longest.
    pub backoff_max: Duration,
    /// Sent, and not acknowledged by the other host's TCP, or not taken by its process (RFC 5482): the connection is given up.
    pub unacknowledged: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            handshake: Duration::from_secs(5),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
            unacknowledged: Duration::from_secs(15),
        }
    }
}

/// Which end connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This end waits for the other: its address is the lower one.
    Listens,
    /// This end connects.
    Connects,
}

/// What is wrong with an [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Both ends are the same.
    #[error("the redundancy address {0} is the peer's, too")]
    SameAddress(IpAddr),
    /// One is IPv4, the other IPv6.
    #[error("the redundancy addresses {local} and {peer} are of different families")]
    Families {
        /// This chassis'.
        local: IpAddr,
        /// The peer's.
        peer: IpAddr,
    },
    /// An address nobody can have.
    #[error("{0} cannot be a chassis' redundancy address")]
    Address(IpAddr),
    /// Port 0, or a stream's port beyond 65535.
    #[error("port {port} does not do for stream {stream}")]
    Port {
        /// The port.
        port: u16,
        /// The stream.
        stream: u8,
    },
    /// The stream's number is not below how many there are.
    #[error("stream {number} of {of}")]
    Stream {
        /// Its number.
        number: u8,
        /// How many there are.
        of: u8,
    },
    /// The name cannot be an interface's or a namespace's.
    #[error("{0:?} cannot be the name of an interface or a namespace")]
    Name(String),
    /// Link-local addresses need an interface to belong to.
    #[error("{0} is link-local and needs an interface to be bound to")]
    LinkLocal(IpAddr),
    /// Nobody would be accepted.
    #[error("no fingerprint of the peer's certificate is given")]
    NoFingerprint,
}

impl Endpoint {
    /// Which end connects.
    #[must_use]
    pub fn side(&self) -> Side {
        if self.local < self.peer {
            Side::Listens
        } else {
            Side::Connects
        }
    }

    /// The way that is tried first.
    pub(super) fn first(&self) -> Way {
        Way {
            local: self.local,
            peer: self.peer,
            bind: self.bind.clone(),
        }
    }

    /// The TCP port of this stream.
    #[must_use]
    pub fn stream_port(&self) -> u16 {
        self.port.saturating_add(u16::from(self.stream.number))
    }

    /// Checks what can be checked without looking at the machine.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), EndpointError> {
        check_addresses(self.local, self.peer)?;
        let Stream { number, of } = self.stream;
        if number >= of {
            return Err(EndpointError::Stream { number, of });
        }
        if self.port == 0 || self.port.checked_add(u16::from(number)).is_none() {
            return Err(EndpointError::Port {
                port: self.port,
                stream: number,
            });
        }
        self.bind.check(self.local, self.peer)?;
        if let Some(other) = &self.other {
            check_addresses(other.local, other.peer)?;
            other.bind.check(other.local, other.peer)?;
        }
        match &self.security {
            Security::Tls(Tls {
                trust: Trust::Fingerprints(list),
                ..
            }) if list.is_empty() => Err(EndpointError::NoFingerprint),
            Security::Tls(_) | Security::None => Ok(()),
        }
    }
}

/// Whether two addresses can be the two ends of something.
///
/// # Errors
/// The first thing that is wrong.
pub(crate) fn check_addresses(local: IpAddr, peer: IpAddr) -> Result<(), EndpointError> {
    for address in [local, peer] {
        if address.is_unspecified() || address.is_multicast() {
            return Err(EndpointError::Address(address));
        }
    }
    if local.is_ipv4() != peer.is_ipv4() {
        return Err(EndpointError::Families { local, peer });
    }
    if local == peer {
        return Err(EndpointError::SameAddress(local));
    }
    Ok(())
}

impl Bind {
    /// Whether the name can be one, and does for these addresses.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(crate) fn check(&self, local: IpAddr, peer: IpAddr) -> Result<(), EndpointError> {
        let fits = |name: &str, len_max: usize| {
            !name.is_empty()
                && name.len() <= len_max
                && name != "."
                && name != ".."
                && !name.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control())
        };
        let link_local = [local, peer]
            .into_iter()
            .find(|address| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local()));
        match (self, link_local) {
            // IFNAMSIZ is 16 with the final zero.
            (Bind::Interface(name) | Bind::Vrf(name), _) if !fits(name, 15) => {
                Err(EndpointError::Name(name.clone()))
            }
            (Bind::Namespace(name), _) if !fits(name, 255) => Err(EndpointError::Name(name.clone())),
            (Bind::Interface(_), Some(_)) => Ok(()),
            (_, Some(address)) => Err(EndpointError::LinkLocal(address)),
            (_, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(local: &str, peer: &str) -> Endpoint {
        Endpoint {
            local: local.parse().expect("address"),
            peer: peer.parse().expect("address"),
            port: DEFAULT_PORT,
            bind: Bind::None,
            other: None,
            security: Security::None,
            stream: Stream::default(),
            timing: Timing::default(),
        }
    }

    #[test]
    fn the_lower_address_listens() {
        assert_eq!(plain("10.0.0.1", "10.0.0.2").side(), Side::Listens);
        assert_eq!(plain("10.0.0.2", "10.0.0.1").side(), Side::Connects);
        assert_eq!(plain("2001:db8::9", "2001:db8::a").side(), Side::Listens);
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let fails = |endpoint: Endpoint| endpoint.check().expect_err("wrong");
        assert_eq!(plain("10.0.0.1", "10.0.0.2").check(), Ok(()));
        assert!(matches!(
            fails(plain("10.0.0.1", "10.0.0.1")),
            EndpointError::SameAddress(_)
        ));
        assert!(matches!(
            fails(plain("10.0.0.1", "2001:db8::1")),
            EndpointError::Families { .. }
        ));
        assert!(matches!(
            fails(plain("0.0.0.0", "10.0.0.1")),
            EndpointError::Address(_)
        ));
        assert!(matches!(
            fails(plain("fe80::1", "fe80::2")),
            EndpointError::LinkLocal(_)
        ));
        let bound = |bind| Endpoint {
            bind,
            ..plain("10.0.0.1", "10.0.0.2")
        };
        for name in ["", "a/b", "..", "far-too-long-for-an-interface"] {
            assert!(matches!(
                fails(bound(Bind::Interface(name.to_owned()))),
                EndpointError::Name(_)
            ));
        }
        assert!(matches!(
            fails(bound(Bind::Namespace("../x".to_owned()))),
            EndpointError::Name(_)
        ));
        let over = |peer: &str| Endpoint {
            other: Some(Way {
                local: "10.0.1.1".parse().expect("address"),
                peer: peer.parse().expect("address"),
                bind: Bind::None,
            }),
            ..plain("10.0.0.1", "10.0.0.2")
        };
        assert_eq!(over("10.0.1.2").check(), Ok(()));
        assert!(matches!(fails(over("10.0.1.1")), EndpointError::SameAddress(_)));
        let stream = Endpoint {
            stream: Stream { number: 2, of: 2 },
            ..plain("10.0.0.1", "10.0.0.2")
        };
        assert!(matches!(fails(stream), EndpointError::Stream { .. }));
        let port = Endpoint {
            port: 65535,
            stream: Stream { number: 1, of: 2 },
            ..plain("10.0.0.1", "10.0.0.2")
        };
        assert!(matches!(fails(port), EndpointError::Port { .. }));
    }
}
