//! Forwarding tables: longest prefix match in one to a few memory accesses.
//!
//! [`Fib4`] is DPDK's `rte_fib` of type DIR24_8, [`Fib6`] its `rte_fib6` of type TRIE, both with next hops of
//! 4 bytes. A table has one writer, the `Fib` itself, and any number of cloned readers that look up without
//! locks while it is being changed.
//!
//! # What a reader is guaranteed
//!
//! ```text
//!   tbl24[top 24 bits] ──> next hop
//!                     └──> tbl8 group of 256 ──> next hop     IPv6: ──> a group for each further byte
//! ```
//!
//! - Each entry is one aligned 4-byte store: a lookup never sees half a next hop.
//! - A new group is filled before its parent entry points to it.
//! - Adding or deleting a prefix changes its entries one after the other. A lookup meanwhile gives the old or
//!   the new next hop, for each address on its own: a change is not one instant for the whole prefix, and
//!   lookups of one bulk may differ.
//! - **Groups are reused without waiting for readers** (there is no RCU here; DPDK 22.11 has none for these
//!   tables). When a change makes all 256 entries of a group equal, the parent entry gets the value, and the
//!   group is zeroed and given to the next prefix that needs one. A lookup that had read the parent just
//!   before finds next hop 0, or the next hop of a prefix that came after. It takes a lookup overtaken
//!   between two loads, and it concerns addresses in a /24 that has, or had, longer prefixes: few in IPv4,
//!   nearly all in IPv6.
//!
//! So: 0 is not allowed as a route's next hop ([`FibError::NextHop`]), and a lookup that gives 0 (unless it
//! is the default) means the address is changing at this moment: drop or punt the packet. What a next hop
//! number stands for must stay valid until every worker has begun a new burst after the route was deleted.
//!
//! # Size
//!
//! DIR24_8 takes 64 MiB and 1 KiB per tbl8 group; TRIE the same, where each byte of a prefix beyond the 24th
//! bit may need a group. Each takes about 400 bytes more per route of `max_routes`, for the tree from which
//! entries are restored: a million IPv4 routes take 470 MiB. They are filled in at about 1.3 us each. The
//! example `fib_memory` measures it.

mod v4;
mod v6;

use std::ffi::CString;

use thiserror::Error;

pub use v4::{Fib4, Fib4Reader};
pub use v6::{Fib6, Fib6Reader};

use crate::errno::Errno;

/// The largest next hop number: one bit of the 32 marks entries that lead to a further table.
pub const NEXT_HOP_MAX: u32 = (1 << 31) - 1;

/// Longest name of a table in bytes, since DPDK makes further names from it.
const NAME_MAX: usize = 20;

/// Size and place of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FibConfig {
    /// Name, unique among tables of its kind, 1 to 20 bytes.
    pub name: String,
    /// Most routes, 1 to 2^29.
    pub max_routes: u32,
    /// Groups for prefixes longer than /24: one per /24 that has such, for IPv6 one per further byte too.
    pub num_tbl8: u32,
    /// What a lookup gives where no route matches, at most [`NEXT_HOP_MAX`].
    pub default_next_hop: u32,
    /// NUMA node to take the memory from, or `None` for any.
    pub socket: Option<u32>,
}

/// Why a table was not made or not changed.
#[derive(Debug, Error)]
pub enum FibError {
    /// A configured value is out of range; see [`FibConfig`].
    #[error("forwarding table {name:?}: {what} out of range")]
    Range {
        /// The table's name.
        name: String,
        /// Which field.
        what: &'static str,
    },
    /// DPDK refused: `EEXIST` for a name in use, `ENOMEM`.
    #[error("cannot create forwarding table {name}: {errno}")]
    Create {
        /// The table's name.
        name: String,
        /// DPDK's reason.
        errno: Errno,
    },
    /// The next hop is 0 or above [`NEXT_HOP_MAX`].
    #[error("next hop {0} out of range")]
    NextHop(u32),
    /// The prefix length is above 32, or 128.
    #[error("prefix length {0} out of range")]
    PrefixLength(u8),
    /// The table has `max_routes` routes, or no group left for a long prefix. It is as it was.
    #[error("forwarding table is full")]
    Full,
    /// There is no such route to delete.
    #[error("no such route")]
    NotFound,
    /// DPDK refused for another reason.
    #[error("cannot change forwarding table: {0}")]
    Change(Errno),
}

/// What both kinds of table check and convert before DPDK sees it.
struct Checked {
    name: CString,
    max_routes: i32,
    socket: i32,
}

impl FibConfig {
    fn check(&self) -> Result<Checked, FibError> {
        let range = |what| FibError::Range {
            name: self.name.clone(),
            what,
        };
        let name = CString::new(self.name.as_str()).map_err(|_| range("name"))?;
        if !(1..=NAME_MAX).contains(&self.name.len()) {
            return Err(range("name"));
        }
        if !(1..=1 << 29).contains(&self.max_routes) {
            return Err(range("max_routes"));
        }
        if !(1..=NEXT_HOP_MAX).contains(&self.num_tbl8) {
            return Err(range("num_tbl8"));
        }
        if self.default_next_hop > NEXT_HOP_MAX {
            return Err(range("default_next_hop"));
        }
        let socket = self
            .socket
            .map_or(Ok(-1), i32::try_from)
            .map_err(|_| range("socket"))?;
        Ok(Checked {
            name,
            max_routes: self.max_routes as i32,
            socket,
        })
    }

    fn refused(&self) -> FibError {
        FibError::Create {
            name: self.name.clone(),
            errno: Errno::last(),
        }
    }
}

fn check_route(length: u8, longest: u8, next_hop: Option<u32>) -> Result<(), FibError> {
    if length > longest {
        return Err(FibError::PrefixLength(length));
    }
    match next_hop {
        Some(bad) if !(1..=NEXT_HOP_MAX).contains(&bad) => Err(FibError::NextHop(bad)),
        _ => Ok(()),
    }
}

fn changed(result: i32) -> Result<(), FibError> {
    match Errno::check(result) {
        Ok(_) => Ok(()),
        Err(errno) => Err(match errno.code() {
            libc::ENOSPC | libc::ENOMEM => FibError::Full,
            libc::ENOENT => FibError::NotFound,
            _ => FibError::Change(errno),
        }),
    }
}
