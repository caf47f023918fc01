//! Telling the other chassis that this one's tandemd is gone: datagrams made beforehand, over sockets made beforehand.
//!
//! The peer hears only the address and port from which the heartbeats came. While tandemd lives they are its own, so the guard's
//! sockets are made ahead, but bound when it is gone. Its sockets may be open a little longer than it is known to be dead
//! (they are closed after its memory is given back): SO_REUSEPORT on both lets the guard speak all the same, and where
//! tandemd's do not have it, the guard tries again until it may.

use std::fs::File;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, bind, connect, send, setsockopt, socket,
    sockopt,
};
use serde::{Deserialize, Serialize};

/// How often each datagram is sent: some may be lost, and hearing it twice is no harm.
pub(super) const TIMES: u8 = 5;
/// Network control (RFC 4594, 3.1): DSCP CS6, as heartbeats have.
const NETWORK_CONTROL: i32 = 0xc0;
/// Where `ip netns` keeps named namespaces.
const NAMESPACES: &str = "/run/netns";

/// One way to the other chassis, and what to say there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// Address to send from.
    pub local: IpAddr,
    /// Address to send to.
    pub peer: IpAddr,
    /// UDP port, of both ends.
    pub port: u16,
    /// Interface or VRF device to send through.
    pub device: Option<String>,
    /// Named network namespace to send in; `None`: the guard's.
    pub namespace: Option<String>,
    /// The datagram: a heartbeat of kind `gone`, with its authentication.
    pub octets: Vec<u8>,
}

/// How far the socket is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Made,
    Bound,
    Connected,
}

/// A [`Gone`] that only needs to be sent.
pub(super) struct Prepared {
    socket: OwnedFd,
    local: SockaddrStorage,
    peer: SockaddrStorage,
    octets: Vec<u8>,
    stage: Stage,
    /// How often it was said.
    said: u8,
}

impl Prepared {
    pub(super) fn new(gone: &Gone) -> std::io::Result<Self> {
        let Some(name) = &gone.namespace else {
            return prepare(gone);
        };
        let namespace = File::open(format!("{NAMESPACES}/{name}"))?;
        std::thread::scope(|scope| {
            let inside = || {
                setns(&namespace, CloneFlags::CLONE_NEWNET)?;
                prepare(gone)
            };
            let prepared = std::thread::Builder::new().spawn_scoped(scope, inside)?;
            prepared.join().unwrap_or(Err(ErrorKind::Other.into()))
        })
    }

    /// Says it once more, without waiting.
    ///
    /// # Errors
    /// Why it did not leave; the next time it may.
    pub(super) fn say(&mut self) -> std::io::Result<()> {
        let descriptor = self.socket.as_raw_fd();
        if self.stage == Stage::Made {
            bind(descriptor, &self.local)?;
            self.stage = Stage::Bound;
        }
        if self.stage == Stage::Bound {
            connect(descriptor, &self.peer)?;
            self.stage = Stage::Connected;
        }
        let sent = match send(descriptor, &self.octets, MsgFlags::empty()) {
            // That nobody took the one before is told instead of sending.
            Err(Errno::ECONNREFUSED) => send(descriptor, &self.octets, MsgFlags::empty()),
            sent => sent,
        };
        sent?;
        self.said += 1;
        Ok(())
    }

    /// Whether it was said at all.
    pub(super) const fn is_said(&self) -> bool {
        self.said > 0
    }

    /// Whether it was said often enough.
    pub(super) const fn is_done(&self) -> bool {
        self.said >= TIMES
    }
}

/// A socket in this thread's namespace, with all but its address. It never waits: a full queue drops, and the next may fit.
fn prepare(gone: &Gone) -> std::io::Result<Prepared> {
    let is_v4 = gone.local.is_ipv4();
    let family = if is_v4 {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let made = socket(family, SockType::Datagram, flags, None)?;
    setsockopt(&made, sockopt::ReusePort, &true)?;
    if is_v4 {
        setsockopt(&made, sockopt::Ipv4Tos, &NETWORK_CONTROL)?;
    } else {
        setsockopt(&made, sockopt::Ipv6TClass, &NETWORK_CONTROL)?;
    }
    let [mut local, mut peer] = [gone.local, gone.peer].map(|address| SocketAddr::new(address, gone.port));
    if let Some(device) = &gone.device {
        setsockopt(&made, sockopt::BindToDevice, &device.into())?;
        let scope = nix::net::if_::if_nametoindex(device.as_str())?;
        for end in [&mut local, &mut peer] {
            if let SocketAddr::V6(v6) = end
                && v6.ip().is_unicast_link_local()
            {
                v6.set_scope_id(scope);
            }
        }
    }
    Ok(Prepared {
        socket: made,
        local: local.into(),
        peer: peer.into(),
        octets: gone.octets.clone(),
        stage: Stage::Made,
        said: 0,
    })
}
