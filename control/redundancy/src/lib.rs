//! Who is primary: the roles of redundancy sets, decided without threads, clocks or sockets. Redundancy spec, section 1.
//!
//! ```text
//!   heartbeats, monitors, policies --> Machine: what each set is, which role is wished for      (one for each automatic set)
//!                                         | Wish
//!   operator, peer, workers ---------> Roles: a change of a role, from the wish to the word of the workers --> Hands, events
//! ```
//!
//! Whoever drives it brings the time in milliseconds, and carries out what it asks of [`Hands`].

mod automatic;
mod kinds;
pub mod machine;
pub mod monitor;
pub mod roles;
pub mod signal;
mod watch;

pub use automatic::{Automatic, Monitored, SetView, TIE_MS};
pub use kinds::{Event, RoleCause, RoleChange, RoleError, RoleState, WantedRole};
pub use roles::{Hands, Lack, Peer, Roles};
pub use watch::{Heartbeat, Watched};
