//! The REST API: what operators and programs ask of a running daemon, and the few things they may tell it.
//!
//! ```text
//!   client --HTTP--> server (bounds) --> guard (who, how much) --> router --> handlers --> Backend (the daemon)
//!                                                                    |            \--> walk: one list over all workers
//!                                                                    +-- openapi document, from the same routes
//! ```
//!
//! [`Backend`] is all the API knows of the daemon, so it is tested without DPDK, and [`model`] is all a client
//! needs to know, so the CLI reads the same types the router writes. `docs/api.md` is the reference for people.

mod backend;
mod error;
mod guard;
mod handlers;
mod metrics;
pub mod model;
pub mod params;
mod router;
mod server;
pub(crate) mod walk;

use std::sync::Arc;

use tokio::sync::Semaphore;

pub use backend::{Backend, BackendError, EVENTS_MAX};
pub use error::{ApiError, ErrorCode, Problem, Refusals};
pub use guard::{ApiCounters, BadToken, SharedToken, TOKEN_LENGTH_MIN, Token};
pub use router::openapi;
pub use server::{DEFAULT_BIND, Limits, Listener, ServeError, Server, read_secret, serve};

/// What every handler has at hand.
struct App {
    backend: Arc<dyn Backend>,
    listener: Listener,
    counters: ApiCounters,
    under_way: Semaphore,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

impl App {
    fn new(listener: Listener, backend: Arc<dyn Backend>) -> Self {
        let under_way = Semaphore::new(listener.limits.requests_max);
        Self {
            backend,
            listener,
            counters: ApiCounters::default(),
            under_way,
        }
    }
}
