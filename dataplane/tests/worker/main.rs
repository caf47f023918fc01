//! Workers on a real DPDK, without hugepages, namespaces or privileges for them: virtual devices and packets from memory.
//!
//! EAL starts once per process, so all tests are in this binary and take turns with it. Whatever a test does, when it ends
//! every packet is accounted for and every buffer is back: see [`rig::Rig::finish`].

#![forbid(unsafe_code)]

mod answers;
mod data_link;
mod firewall;
mod fragments;
mod fragments6;
mod frames;
mod frames6;
mod garbage;
mod handover;
mod handover6;
mod mailbox;
mod members;
mod nat64;
mod plan;
mod plan6;
mod ports;
#[path = "../common/program.rs"]
mod program;
mod receive;
mod rig;
mod routing;
mod routing6;
mod stateless;
mod stopping;
mod translation;
mod waiting;
