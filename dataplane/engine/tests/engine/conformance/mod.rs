//! The NAT behaviour checklist, item by item: the name of a test begins with the item it holds.
//!
//! `docs/conformance.md` is the table from items to tests; [`table`] holds that table to the tests that exist.

mod cgn;
mod icmp;
mod nat64_addresses;
mod nat64_bindings;
mod nat64_errors;
mod nat64_fragments;
mod nat64_hairpin;
mod nat64_headers;
mod nat64_icmp;
mod nat64_service_sets;
mod nat64_sessions;

mod nat64_subscribers;
mod nat64_tcp;
mod nat64_upper;
mod table;
mod tcp;
mod udp;
mod updates;
