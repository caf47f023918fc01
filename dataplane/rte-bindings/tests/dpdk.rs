//! The bindings against a real DPDK, without hugepages, PCI devices or privileges for them.
//!
//! EAL starts once per process, so all tests that need it are in this binary, share one instance, and give
//! their pools, rings and ports names of their own. The file forbids `unsafe`, as callers of the crate do.

#![forbid(unsafe_code)]

#[path = "dpdk/acl.rs"]
mod acl;
#[path = "dpdk/common.rs"]
mod common;
#[path = "dpdk/eal.rs"]
mod eal;
#[path = "dpdk/fib.rs"]
mod fib;
#[path = "dpdk/mbuf.rs"]
mod mbuf;
#[path = "dpdk/port.rs"]
mod port;
#[path = "dpdk/ring.rs"]
mod ring;
