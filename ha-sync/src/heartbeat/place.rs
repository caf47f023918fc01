//! A path's two ends, and the socket between them: made, made again, and what is wrong with it.

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::SockRef;

use super::beat::PathId;
use crate::net::socket::{Transport, beyond, bound};
use crate::net::{Bind, EndpointError, Failure, endpoint};

/// Between two attempts to make a socket.
const RETRY_US: u64 = 500_000;
/// A socket that brings nothing for so long is made anew, if it is bound to something that may have been made anew itself.
const STALE_US: u64 = 5_000_000;
/// Network control (RFC 4594 section 3.1): DSCP CS6, as octet of the header.
const NETWORK_CONTROL: u32 = 0xc0;

/// One path as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathConfig {
    /// Which path it is; the same on both chassis.
    pub id: PathId,
    /// This chassis' address on it.
    pub local: IpAddr,
    /// The other's.
    pub peer: IpAddr,
    /// UDP port, of both ends.
    pub port: u16,
    /// What the socket is bound to.
    pub bind: Bind,
}

impl PathConfig {
    /// Checks what can be checked without looking at the machine.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), EndpointError> {
        endpoint::check_addresses(self.local, self.peer)?;
        if self.port == 0 {
            return Err(EndpointError::Port { port: 0, stream: 0 });
        }
        self.bind.check(self.local, self.peer)
    }

    /// Its socket. Only the peer's address and port are heard on it, and that nobody is there.
    pub(super) fn socket(&self) -> Result<UdpSocket, Failure> {
        let socket = bound(self.local, &self.bind, Transport::Udp, self.port)?;
        let to = beyond(&socket, self.peer, self.port);
        let failed = |source| Failure::Socket {
            what: format!("connect to {to}"),
            source,
        };
        socket.connect(&to.into()).map_err(failed)?;
        let marked = match self.local {
            IpAddr::V4(_) => SockRef::from(&socket).set_tos_v4(NETWORK_CONTROL),
            IpAddr::V6(_) => SockRef::from(&socket).set_tclass_v6(NETWORK_CONTROL),
        };
        marked.map_err(failed)?;
        Ok(socket.into())
    }
}

/// What a socket did with something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// So many octets came or went.
    Done(usize),
    /// The peer's host says that nobody is there.
    Refused,
    /// Nothing there, or no way now.
    Nothing,
}

/// A path's socket, as far as it can be had.
#[derive(Debug)]
pub(super) struct Place {
    pub config: PathConfig,
    /// The peer is heard on it.
    pub up: bool,
    socket: Option<UdpSocket>,
    /// Why there is no socket, in words.
    unmade: Option<String>,
    /// Why the last datagram was not sent.
    unsent: Option<String>,
    /// What the kernel has said since something was heard.
    unheard: Option<String>,
    /// When it was made, or could not be.
    tried_us: Option<u64>,
}

impl Place {
    pub fn new(config: PathConfig) -> Self {
        Self {
            config,
            up: false,
            socket: None,
            unmade: None,
            unsent: None,
            unheard: None,
            tried_us: None,
        }
    }

    /// When [`Place::keep`] has something to do again.
    pub fn next_try_us(&self) -> Option<u64> {
        let Some(tried_us) = self.tried_us else {
            return Some(0);
        };
        match &self.socket {
            None => Some(tried_us.saturating_add(RETRY_US)),
            // Interfaces and namespaces may be taken away and made again under their name: the socket stays with the former one.
            Some(_) if !self.up && self.config.bind != Bind::None => Some(tried_us.saturating_add(STALE_US)),
            Some(_) => None,
        }
    }

    /// Makes the socket where it is time to.
    pub fn keep(&mut self, now_us: u64) {
        if self.next_try_us().is_none_or(|at_us| now_us < at_us) {
            return;
        }
        self.tried_us = Some(now_us);
        // The port is free only when the former one is closed.
        self.socket = None;
        (self.unsent, self.unheard) = (None, None);
        match self.config.socket() {
            Ok(socket) => (self.socket, self.unmade) = (Some(socket), None),
            Err(failure) => self.unmade = Some(failure.to_string()),
        }
    }

    /// What is wrong, in words.
    pub fn fault(&self) -> Option<&str> {
        let faults = [&self.unmade, &self.unsent, &self.unheard];
        faults.into_iter().find_map(|fault| fault.as_deref())
    }

    /// What to wait for.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// A datagram that has come.
    pub fn receive(&mut self, into: &mut [u8]) -> Outcome {
        let Some(socket) = &self.socket else {
            return Outcome::Nothing;
        };
        let received = socket.recv(into);
        judge(received, &mut self.unheard, "receive")
    }

    /// Sends a datagram. What an earlier one met is not taken for this one's fate.
    pub fn send(&mut self, octets: &[u8]) -> Outcome {
        let Some(socket) = &self.socket else {
            return Outcome::Nothing;
        };
        match socket.send(octets) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                // The kernel tells it instead of sending.
                let _sent = judge(socket.send(octets), &mut self.unsent, "send");
                Outcome::Refused
            }
            sent => judge(sent, &mut self.unsent, "send"),
        }
    }
}

fn judge(done: io::Result<usize>, fault: &mut Option<String>, what: &str) -> Outcome {
    match done {
        Ok(octets) => {
            *fault = None;
            Outcome::Done(octets)
        }
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => Outcome::Refused,
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Outcome::Nothing,
            _ => {
                *fault = Some(format!("{what}: {error}"));
                Outcome::Nothing
            }
        },
    }
}
