//! Channel and heartbeats over real sockets: loopback addresses of this process' own, and namespaces made for it.

mod heartbeats;
mod last_words;
mod linked;
mod misuse;
mod namespaces;
mod node;
mod reconnect;
mod secure;
mod urgent;
