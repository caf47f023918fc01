//! The kernel mirror against a real kernel: network namespaces, `ip`, taps and veths. Needs root and iproute2.

#[path = "kernel/guard.rs"]
mod guard;
#[path = "kernel/lab.rs"]
mod lab;
#[path = "kernel/links.rs"]
mod links;
#[path = "kernel/neighbours.rs"]
mod neighbours;
#[path = "kernel/routes.rs"]
mod routes;
#[path = "kernel/scale.rs"]
mod scale;
#[path = "kernel/signal_routes.rs"]
mod signal_routes;
#[path = "kernel/taps.rs"]
mod taps;
#[path = "kernel/virtual_address.rs"]
mod virtual_address;
