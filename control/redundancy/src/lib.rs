//! Who is primary: the roles of redundancy sets, decided without threads, clocks or sockets. Redundancy spec, section 1.
//!
//! ```text
//!   operator, peer, workers --> Roles: a change of a role, from the wish to the word of the workers --> Hands, answers, events
//! ```
//!
//! Whoever drives it brings the time in milliseconds, and carries out what it asks of [`Hands`].

mod kinds;
pub mod roles;

pub use kinds::{Event, RoleCause, RoleChange, RoleError, RoleState, WantedRole};
pub use roles::{Hands, Lack, Peer, Roles};
