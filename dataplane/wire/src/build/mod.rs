//! Whole packets written into the caller's buffer: ICMP errors and TCP resets about a received packet, and
//! packets from parts for benches, tests and labs. IPv4 and IPv6.

mod answer;
mod answer6;
mod packet;
mod packet6;
mod payload;

pub use answer::{IcmpErrorKind, icmp_error, may_send_error_about, tcp_reset};
pub use answer6::{Icmp6ErrorKind, icmp6_error, may_send_error6_about, tcp_reset6};
pub use packet::PacketBuilder;
pub use packet6::PacketBuilder6;
pub use payload::Payload;
