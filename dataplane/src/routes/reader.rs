//! What a worker routes by: both families' tables and the next hops, read without a lock.

use std::sync::Arc;

use rte_bindings::Fib4Reader;
use tandem_engine::packet::{Route, RouteKind, Router};

use crate::lpm6::Lpm6Reader;
use crate::next_hop::NextHops;

/// What a worker routes by.
#[derive(Clone)]
pub struct WorkerRouter {
    pub(super) fib: Fib4Reader,
    pub(super) lpm: Lpm6Reader,
    pub(super) table: Arc<NextHops>,
}

impl WorkerRouter {
    /// The next-hop table.
    #[inline(always)]
    #[must_use]
    pub fn table(&self) -> &NextHops {
        &self.table
    }
}

impl Router for WorkerRouter {
    #[inline(always)]
    fn generation(&self) -> u32 {
        self.table.generation()
    }

    #[inline]
    fn route(&self, destination: u32, hash: u32) -> Route {
        let number = self
            .table
            .settle(self.fib.lookup(destination) as u16, destination, hash);
        Route {
            next_hop: number,
            kind: self.table.kind(number),
        }
    }

    #[inline]
    fn route6(&self, destination: u128, hash: u32) -> Route {
        let number = self
            .table
            .settle6(self.lpm.lookup(destination), destination, hash);
        Route {
            next_hop: number,
            kind: self.table.kind(number),
        }
    }

    #[inline(always)]
    fn next_hop(&self, number: u16) -> RouteKind {
        self.table.kind(number)
    }
}
