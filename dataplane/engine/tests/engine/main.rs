//! The engine as a whole, without DPDK: conformance item by item, a seeded simulator, properties of the allocator, packet
//! cases in folders, and garbage.
//!
//! One binary, so that the harness is compiled once and nothing in it goes unused.

mod allocator;
mod bursts;
mod common;
mod conformance;
mod firewall;
mod pcap_cases;
mod reload;
mod replica;
mod robustness;
mod simulator;
mod types;
mod workers;
