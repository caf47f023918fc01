//! Port allocation: which public address and port a mapping gets, and who may have it when it is free again.
//!
//! ```text
//!   pool -- addresses -- 16 extents of 4096 ports -- 64 units of 64 ports -- ports
//!              |               |                         |
//!              |               |                         +-- port blocks are runs of units in one subscriber's hands
//!              |               +-- owned by one shard (public space); a lease of the other chassis' is by extent, too
//!              +-- a subscriber is paired with one (RFC 4787 REQ-2)
//! ```
//!
//! One allocator per shard ([`Shards`]), for the process' life: a commit changes the pools it draws from, never what it has given out. Cost per
//! allocation does not depend on how many addresses a pool has. Freed ports rest in quarantine (RFC 6888 REQ-8).
//!
//! That is [`PoolMode::Ports`](crate::program::PoolMode). Of the other modes, overloaded ports are counted by the extent,
//! because the session table knows which are free; whole addresses are all their extents in one hand; deterministic
//! ports follow from a formula, and static mappings from the configuration, so nothing is taken for them.

mod allocator;
mod block;
pub mod deterministic;
mod extent;
mod shards;

pub use allocator::{Outcome, PortAllocator, Request, Taken};
pub use block::{Block, BlockEvent, BlockEventKind};
pub use extent::{Extent, Home, PortClass, Wait};
pub use shards::Shards;
