//! Replication between the two chassis of a pair.
//!
//! Sans-IO: nothing here opens a socket, reads a clock or starts a thread. Bytes and time are given, bytes and actions are
//! returned, so that two chassis run inside one test process.
//!
//! What is here: [`frame`], the lowest layer of the wire format, which cuts a byte stream into checked messages.
//! What is not here yet: the messages (session, mapping, block, close, leases, acknowledgments, the configuration digest), the
//! sender with its window and its collapse by session, the receiver, bulk synchronization, mirror states, and the
//! connection itself with TLS. Nothing is replicated so far.

#![forbid(unsafe_code)]

pub mod frame;
