//! Heartbeats without sockets: octets, and two chassis on a clock that the test turns.

mod codec;
mod lives;
mod paths;
mod recordings;
mod versions;
mod world;
