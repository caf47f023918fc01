//! Questions to the peer and from it, beside sessions and roles. This thread only carries them: what is in them is read, thought
//! about and answered elsewhere, so that no file and no parser ever holds up a heartbeat or a role.

use std::collections::BTreeMap;
use std::sync::mpsc::SyncSender;

use ha_sync::link::{ExchangeError, Link};
use ha_sync::wire::Exchange;

use crate::daemon::pair::{Asked, PeerAnswer, PeerError};

/// Answers that are waited for at most.
const WAITING_MAX: usize = 32;

/// Who waits for what.
pub(in super::super) struct Desk {
    /// Takes what the peer asks.
    asked: SyncSender<Asked>,
    /// Of our questions, those without an answer yet.
    waiting: BTreeMap<u32, SyncSender<PeerAnswer>>,
    number: u32,
    /// Connections there were: an answer is said on the one its question came by.
    connection: u64,
}

impl From<ExchangeError> for PeerError {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::NotThere => Self::NotThere,
            ExchangeError::NotSupported => Self::NotSupported,
            ExchangeError::Busy => Self::Busy,
            ExchangeError::TooLong(_) => Self::TooLong,
        }
    }
}

impl Desk {
    pub(in super::super) fn new(asked: SyncSender<Asked>) -> Self {
        Self {
            asked,
            waiting: BTreeMap::new(),
            number: 0,
            connection: 0,
        }
    }

    /// Asks the peer.
    pub(super) fn ask(&mut self, content: Vec<u8>, answer: SyncSender<PeerAnswer>, link: &mut Link) {
        self.number = self.number.wrapping_add(1);
        let exchange = Exchange {
            is_answer: false,
            number: self.number,
            content,
        };
        let said = if self.waiting.len() < WAITING_MAX {
            link.tell_exchange(exchange).map_err(PeerError::from)
        } else {
            // Those who gave up are still among them.
            self.waiting.pop_first();
            Err(PeerError::Busy)
        };
        match said {
            Ok(()) => drop(self.waiting.insert(self.number, answer)),
            // Whoever asked may have given up.
            Err(error) => drop(answer.try_send(Err(error))),
        }
    }

    /// Answers the peer, if the connection it asked on is still there.
    pub(super) fn answer(&self, asked: Asked, link: &mut Link) {
        if asked.connection == self.connection {
            let exchange = Exchange {
                is_answer: true,
                number: asked.number,
                content: asked.content,
            };
            // A peer that asks more than it reads gives up.
            let _told = link.tell_exchange(exchange);
        }
    }

    /// Carries on what came.
    pub(super) fn carry(&mut self, link: &mut Link) {
        while let Some(exchange) = link.next_exchange() {
            if exchange.is_answer {
                if let Some(waits) = self.waiting.remove(&exchange.number) {
                    // It may have given up.
                    let _gone = waits.try_send(Ok(exchange.content));
                }
            } else {
                let asked = Asked {
                    connection: self.connection,
                    number: exchange.number,
                    content: exchange.content,
                };
                // Nobody answers while too many questions wait, or the daemon stops: the peer gives up.
                let _busy = self.asked.try_send(asked);
            }
        }
    }

    /// The connection has ended: nobody will answer.
    pub(super) fn disconnected(&mut self) {
        self.connection += 1;
        for (_, waits) in std::mem::take(&mut self.waiting) {
            let _gone = waits.try_send(Err(PeerError::NotThere));
        }
    }
}
