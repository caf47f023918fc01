//! Why something was not done with a port.

use thiserror::Error;

use crate::errno::Errno;

/// Why something was not done with a port.
#[derive(Debug, Error)]
pub enum PortError {
    /// There is no such port.
    #[error("no port named {0:?}")]
    NotFound(String),
    /// The port has a [`Port`](super::Port) handle already.
    #[error("port {0:?} is in use")]
    InUse(String),
    /// The device could not be attached: it is missing, taken, bound to another driver, or the arguments are
    /// wrong. DPDK's log has more.
    #[error("cannot attach {devargs:?}: {errno}")]
    Attach {
        /// The device and its arguments.
        devargs: String,
        /// DPDK's reason.
        errno: Errno,
    },
    /// A configured number is beyond what the device can do.
    #[error("port {port}: {what} {asked} out of range {least}..={most}")]
    Range {
        /// The port's name.
        port: String,
        /// Which number.
        what: &'static str,
        /// What was asked for.
        asked: u32,
        /// The smallest possible.
        least: u32,
        /// The largest possible.
        most: u32,
    },
    /// The port is started; stop it first.
    #[error("port {0} is started")]
    Started(String),
    /// The port is not started, or was never configured.
    #[error("port {0} is not started")]
    NotStarted(String),
    /// Queue handles exist; drop them first.
    #[error("port {0} has queues in use")]
    QueuesInUse(String),
    /// There is no such queue, or it has a handle already.
    #[error("port {port} has no free queue {queue}")]
    Queue {
        /// The port's name.
        port: String,
        /// The queue's number.
        queue: u16,
    },
    /// The driver or DPDK refused.
    #[error("port {port}: cannot {what}: {errno}")]
    Driver {
        /// The port's name.
        port: String,
        /// What was tried.
        what: &'static str,
        /// The reason.
        errno: Errno,
    },
}

impl PortError {
    /// Whether the driver merely lacks the function.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::Driver { errno, .. } if errno.is_unsupported())
    }
}
