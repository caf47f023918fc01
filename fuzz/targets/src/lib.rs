//! What each fuzz target does with one input. The targets of `fuzz_targets` hand libFuzzer's inputs to these; the test
//! `short` replays the seeds and a fixed run of mutations of them, with nothing but the stable toolchain.

pub mod engine_all;
pub mod engine_napt44;
pub mod fragments;
pub mod ha_sync_wire;
pub mod heartbeat;
pub mod wire_ethernet;
pub mod wire_icmp6_error;
pub mod wire_icmp_error;
pub mod wire_ipv4;
pub mod wire_ipv6;
pub mod xlat;
pub mod xlat_maps;

mod sums;
