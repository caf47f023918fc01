//! A link to the peer chassis, without I/O: octets and milliseconds go in, octets and calls of the [`Chassis`](crate::chassis::Chassis)
//! come out.

mod config;
mod histogram;
mod state;
mod stats;

pub use config::{BATCH_BYTES_MAX, LinkConfig};
pub use histogram::Histogram;
pub use state::{LinkError, LinkState, Mirror, Mismatch, Refusal};
pub use stats::{BulkProgress, LinkStats, Objects};
