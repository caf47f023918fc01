//! Replication between the two chassis of a pair.
//!
//! Sans-IO but for [`net`] and the thread of [`heartbeat`]: nothing else here opens a socket, reads a clock or starts a thread. Bytes and time are given, bytes and
//! actions are returned, so that two chassis run inside one test process.
//!
//! ```text
//!   workers' rings -- bridge -- Chassis -- link -- wire -- frame -- octets -- net
//! ```

#![forbid(unsafe_code)]

pub mod bridge;
pub mod chassis;
pub mod frame;
pub mod heartbeat;
mod leases;
pub mod link;
pub mod net;
pub mod wire;
