//! The clocks of the two chassis, as heartbeats measure them: told in the log when they part, and when they meet again.

use tracing::{info, warn};

use super::Talk;
use crate::daemon::replication::beats;

/// Between two looks, in milliseconds.
const LOOK_MS: u64 = 10_000;

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    next_ms: u64,
    are_apart: bool,
}

impl Talk {
    /// Looks at them now and then.
    pub(super) fn look_at_clocks(&mut self) {
        let now = self.line.now_ms;
        let Some(beats) = self.beats.as_ref().filter(|_| now >= self.clocks.next_ms) else {
            return;
        };
        self.clocks.next_ms = now + LOOK_MS;
        let trouble = beats::shown(0, &beats.status()).clock_trouble();
        if trouble.is_some() != self.clocks.are_apart {
            self.clocks.are_apart = trouble.is_some();
            match trouble {
                Some(trouble) => warn!("{trouble}"),
                None => info!("the clocks of the two chassis agree again"),
            }
        }
    }
}
