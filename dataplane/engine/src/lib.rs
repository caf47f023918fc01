//! The session engine: a burst of packets and a time in, verdicts out.
//!
//! No DPDK, no clock, no I/O: time and randomness come in from the caller, so the same code runs in the worker, in the
//! tests and in the simulator.

pub mod drop_reason;
pub mod program;
pub mod public_space;
pub mod ticks;
pub mod view;
