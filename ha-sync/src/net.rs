//! The channel between the two chassis: one TCP connection with TLS 1.3, kept up, and the bytes that move over it.
//!
//! ```text
//!   Endpoint --> socket --> (peer's address?) --> TLS --> preamble --> pump <==> Conversation
//!   (config)     in its       stranger: cut       keys    stream         bytes, commands, time
//!                namespace                       checked  number
//! ```
//!
//! What is said over the channel is a [`Conversation`]'s concern, [`Linked`]'s above all: it takes bytes and gives bytes, and [`run`]
//! carries them, on a thread of its own. The chassis with the lower address listens, the other one connects: so there is never a
//! second connection to choose from, but for the one that replaces a connection whose other end is gone. Where there are two HA links,
//! the former listens on both, and the latter tries both, the control link first.
//!
//! Whatever goes wrong has a name ([`FailureKind`]) and a counter, and is shown in the [`Status`]; none of it changes anything but
//! that. Redundancy spec, section 2.

mod backoff;
mod buffered;
mod conversation;
pub(crate) mod endpoint;
mod establish;
mod failure;
pub mod keys;
mod linked;
mod preamble;
mod pump;
mod run;
pub(crate) mod socket;
mod status;
mod tls;
mod verify;

pub use conversation::{Conversation, Objection, RECEIVE_WHOLE};
pub use endpoint::{
    Bind, DEFAULT_PORT, Endpoint, EndpointError, Security, Side, Stream, Timing, Tls, Trust, Way,
};
pub use failure::{Failure, FailureKind};
pub use keys::Fingerprint;
pub use linked::{LinkCommand, LinkView, Linked};
pub use run::{Command, Commands, run};
pub use status::{ChannelState, ChannelStatus, Counters, Identity, LastFailure, Secured, Status};
pub use tls::{Channel, SetupError, TlsFile, file_faults};
