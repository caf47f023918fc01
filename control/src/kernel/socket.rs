//! Two kinds of rtnetlink socket: one for requests and dumps, one for notifications.
//!
//! They are apart because an overrun of the notifications must not disturb an answer, and because a dump then needs
//! no order between them (see the resynchronisation rule in [`super::routes`]). Sockets belong to the network
//! namespace of the thread that opens them.

use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sys::socket::{setsockopt, sockopt};

use super::codec::{Message, Messages, NLM_F_DUMP, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, Request};

/// Buffer for one datagram: the kernel fills dumps up to 32 KiB.
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;
/// Attempts at a dump that the kernel calls inconsistent. The last one is taken as it is: notifications correct it.
const DUMP_ATTEMPTS_MAX: u32 = 3;
/// Wanted receive buffer of the notification socket, octets. A burst of 100,000 route changes fits.
const NOTIFICATION_BUFFER_BYTES: usize = 64 * 1024 * 1024;

/// RTNLGRP_* numbers.
const GROUPS: [u32; 7] = [
    1,  // LINK
    3,  // NEIGH
    5,  // IPV4_IFADDR
    7,  // IPV4_ROUTE
    9,  // IPV6_IFADDR
    11, // IPV6_ROUTE
    32, // NEXTHOP
];

/// Why the kernel could not be asked, or refused.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// A system call on the netlink socket failed.
    #[error("netlink {operation}: {source}")]
    Socket {
        /// What was tried.
        operation: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The kernel refused a request.
    #[error("the kernel refused to {what}: {source}")]
    Refused {
        /// What was asked.
        what: String,
        /// The kernel's errno.
        source: std::io::Error,
    },
    /// No device has this name.
    #[error("no network device is called {0:?}")]
    NoDevice(String),
    /// An answer did not have the form of one.
    #[error("the kernel's answer to {0} makes no sense")]
    Malformed(&'static str),
}

impl KernelError {
    /// The kernel's errno, when it refused.
    pub(super) fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

fn failed(operation: &'static str) -> impl Fn(std::io::Error) -> KernelError {
    move |source| KernelError::Socket { operation, source }
}

fn open() -> Result<Socket, KernelError> {
    let mut socket = Socket::new(NETLINK_ROUTE).map_err(failed("socket"))?;
    socket.bind_auto().map_err(failed("bind"))?;
    socket
        .connect(&SocketAddr::new(0, 0))
        .map_err(failed("connect"))?;
    Ok(socket)
}

/// Asks, and waits for the answer.
pub(super) struct RequestSocket {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl RequestSocket {
    pub(super) fn open() -> Result<Self, KernelError> {
        let socket = open()?;
        // Answers to dumps as the request says, not more (kernel 4.20 and later; older ones filter nothing).
        socket
            .set_netlink_get_strict_chk(true)
            .map_err(failed("strict checking"))?;
        Ok(Self {
            socket,
            sequence: 0,
            buffer: Vec::with_capacity(DATAGRAM_BYTES_MAX),
        })
    }

    fn send(&mut self, request: Request) -> Result<u32, KernelError> {
        self.sequence = self.sequence.wrapping_add(1);
        self.socket
            .send(&request.finish(self.sequence), 0)
            .map_err(failed("send"))?;
        Ok(self.sequence)
    }

    fn receive(&mut self) -> Result<(), KernelError> {
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, 0) {
                Ok(_) => return Ok(()),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(failed("receive")(e)),
            }
        }
    }

    /// A request that is acknowledged; answers before the acknowledgement go to `answer`.
    pub(super) fn execute(
        &mut self,
        request: Request,
        what: impl FnOnce() -> String,
        mut answer: impl FnMut(&Message<'_>),
    ) -> Result<(), KernelError> {
        let sequence = self.send(request)?;
        loop {
            self.receive()?;
            for message in Messages(&self.buffer).filter(|message| message.sequence == sequence) {
                if message.kind != NLMSG_ERROR {
                    answer(&message);
                    continue;
                }
                return match message.errno() {
                    0 => Ok(()),
                    errno => Err(KernelError::Refused {
                        what: what(),
                        source: std::io::Error::from_raw_os_error(errno),
                    }),
                };
            }
        }
    }

    /// Dumps a table: `each` sees every message, `between` is called after every datagram and may stop the dump with
    /// `false`. Returns whether it was completed. An inconsistent dump is repeated at once.
    pub(super) fn dump(
        &mut self,
        kind: u16,
        fixed: &[u8],
        mut each: impl FnMut(&Message<'_>),
        mut between: impl FnMut() -> Result<bool, KernelError>,
    ) -> Result<bool, KernelError> {
        for attempt in 1..=DUMP_ATTEMPTS_MAX {
            let sequence = self.send(Request::new(kind, NLM_F_DUMP, fixed))?;
            let (mut done, mut interrupted) = (false, false);
            while !done {
                self.receive()?;
                for message in Messages(&self.buffer).filter(|message| message.sequence == sequence) {
                    interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                    match message.kind {
                        NLMSG_DONE | NLMSG_ERROR => {
                            done = true;
                            let errno = message.errno();
                            if errno != 0 {
                                return Err(KernelError::Refused {
                                    what: format!("dump (message {kind})"),
                                    source: std::io::Error::from_raw_os_error(errno),
                                });
                            }
                        }
                        _ => each(&message),
                    }
                }
                if !between()? {
                    // The rest of a dump given up must not meet the next request: begin with a new socket.
                    *self = Self::open()?;
                    return Ok(false);
                }
            }
            if !interrupted || attempt == DUMP_ATTEMPTS_MAX {
                break;
            }
        }
        Ok(true)
    }
}

/// How reading notifications ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drained {
    /// None is left for now.
    Empty,
    /// There may be more; the bound of one turn was reached.
    More,
    /// The kernel dropped some (ENOBUFS): the mirror is out of step.
    Overrun,
}

/// Receives notifications.
pub(super) struct NotificationSocket {
    socket: Socket,
    buffer: Vec<u8>,
}

impl NotificationSocket {
    /// Subscribes to everything followed. `buffer_bytes`: receive buffer, `None` for the default.
    pub(super) fn open(buffer_bytes: Option<usize>) -> Result<Self, KernelError> {
        let socket = open()?;
        let wanted = buffer_bytes.unwrap_or(NOTIFICATION_BUFFER_BYTES);
        // With CAP_NET_ADMIN beyond rmem_max; else as much as is allowed.
        if setsockopt(&socket, sockopt::RcvBufForce, &wanted).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &wanted)
                .map_err(|e| failed("receive buffer")(std::io::Error::from(e)))?;
        }
        socket.set_non_blocking(true).map_err(failed("non-blocking"))?;
        for group in GROUPS {
            socket.add_membership(group).map_err(failed("subscribe"))?;
        }
        Ok(Self {
            socket,
            buffer: Vec::with_capacity(DATAGRAM_BYTES_MAX),
        })
    }

    /// Reads what waits, at most `datagrams_max`. After an overrun it reads until nothing is left: a congested
    /// socket drops in silence until then, so a dump begun earlier could miss changes that nobody tells.
    pub(super) fn drain(
        &mut self,
        datagrams_max: usize,
        mut each: impl FnMut(&Message<'_>),
    ) -> Result<Drained, KernelError> {
        let (mut overrun, mut datagrams) = (false, 0);
        while overrun || datagrams < datagrams_max {
            datagrams += 1;
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, 0) {
                Ok(_) => Messages(&self.buffer).for_each(|message| each(&message)),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    return Ok(if overrun { Drained::Overrun } else { Drained::Empty });
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) if e.raw_os_error() == Some(nix::libc::ENOBUFS) => overrun = true,
                Err(e) => return Err(failed("receive")(e)),
            }
        }
        Ok(Drained::More)
    }
}

impl AsFd for NotificationSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
