//! The poll-mode workers: ports, bursts, steering, routing, punting, counters.
//!
//! [`dataplane`] puts everything together from a specification; [`worker`] is the way of a packet; [`routes`] and
//! [`next_hop`] are what the control side tells the workers; [`mirror`] moves packets between workers and the kernel;
//! [`classifier`] finds firewall policies.

#![forbid(unsafe_code)]

pub mod classifier;
pub mod command;
pub mod dataplane;
pub mod interfaces;
pub mod lpm6;
pub mod mirror;
mod neighbours;
pub mod next_hop;
pub mod numbers;
pub mod routes;
pub mod stats;
pub mod worker;
