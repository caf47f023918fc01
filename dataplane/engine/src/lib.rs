//! The session engine: a burst of packets and a time in, verdicts out.
//!
//! No DPDK, no clock, no I/O: time and randomness come in from the caller, so the same code runs in the worker, in the
//! tests and in the simulator.

pub mod address;
pub mod claims;
pub mod drop_reason;
pub mod engine;
pub mod event_ring;
pub mod fragments;
pub mod hash;
pub mod held;
pub mod index;
pub mod mapping;
pub mod mem;
pub mod packet;
pub mod packet6;
pub mod ports;
pub mod program;
pub mod public_space;
pub mod replica;
pub mod session;
pub mod slab;
pub mod statics;
pub mod steer;
pub mod subscriber;
pub mod tcp_state;
pub mod ticks;
pub mod view;
pub mod wheel;
