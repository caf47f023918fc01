//! The API and the CLI against a daemon made of tables in memory, over real loopback connections.
//!
//! What these tests do not cover: whether a real daemon's answers are true. They hold the API to its contract:
//! shapes, paging, refusals, bounds, and that documents and counters agree with what is served.

mod bounds;
mod cli;
mod cluster;
mod daemon;
mod documents;
mod endpoints;
mod firewall;
mod http;
mod lookup;
mod metrics;
mod mock;
mod paging;
mod pair;
mod redundancy;
mod redundancy_cli;
mod refusals;
mod samples;
mod statics;
