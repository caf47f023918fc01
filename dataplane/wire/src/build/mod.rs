//! Whole packets written into the caller's buffer: ICMP errors and TCP resets about a received packet, and
//! packets from parts for benches, tests and labs.

mod answer;
mod packet;

pub use answer::{IcmpErrorKind, icmp_error, may_send_error_about, tcp_reset};
pub use packet::{PacketBuilder, Payload};
