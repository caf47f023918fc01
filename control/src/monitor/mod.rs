//! What is monitored: from what goes wrong to the edges of redundancy events.
//!
//! ```text
//!   links --+--> zones --+
//!   workers -------------+                     hold times            sums of weights
//!   tracked IPs ---------+--> conditions --> events --> edges --> per set and chassis
//!   routing processes ---+    (failed or not)            |
//!   external checks -----+                               +--> the thread that decides about roles
//!   the peer ------------+
//! ```
//!
//! [`Consequences`], with [`Events`], [`Links`] and [`Weights`] in it, [`Tracker`] and [`RoutingDaemon`] are pure: what was seen and the time are handed in. What
//! is seen of probes ([`ProbeSockets`]), processes ([`wait_for_exits`]), control sockets ([`ask`]) and external checks ([`run_check`]) becomes an [`Observation`]. Redundancy spec, sections 1
//! and 4.

mod check;
mod condition;
mod consequence;
mod control_socket;
mod event;
mod links;
mod members;
mod probe_message;
mod probe_socket;
mod process;
mod routing;
mod tracked;
mod weights;

pub use check::{CheckOutcome, run_check};
pub use condition::{Condition, Observation};
pub use consequence::{Consequences, DueAction, Followed, SetEdge, SetMonitored};
pub use control_socket::{SocketKind, SocketReply, ask};
pub use event::{Edge, Events};
pub use links::Links;
pub use members::{ForceError, Member, Members, Switch};
pub use probe_message::{Cookie, Reply};
pub use probe_socket::ProbeSockets;
pub use process::{ProcessHandle, read_pid_file, socket_owner, wait_for_exits};
pub use routing::{Instance, RoutingDaemon, RoutingState};
pub use tandem_redundancy::monitor::Weights;
pub use tracked::{Probe, Tracker, Verdict};
