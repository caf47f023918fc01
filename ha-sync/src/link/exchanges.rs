//! Questions and answers beside the batches: told in pieces, one at a time and behind everything else, and put together again.
//!
//! They end with the stream: who waits for an answer then waits for none. On a transport that loses messages a content with a
//! missing piece is never handed on; who asked gives up by itself.

use std::collections::VecDeque;

use super::Link;
use crate::frame::HEADER_LEN;
use crate::wire::{EXCHANGE_MAX, Exchange, MessageType, WireError, exchange_from, exchange_to};

/// Contents that wait to be told, and that were told and wait to be taken, at most each.
const WAITING_MAX: usize = 8;
/// While batches keep the stream full, a piece goes all the same so often: 160 KiB/s.
const PIECE_EACH_MS: u64 = 100;

/// Why something is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// There is no stream, or the peer has not greeted yet.
    #[error("the peer is not connected")]
    NotThere,
    /// The peer's release knows no exchanges.
    #[error("not supported by the peer")]
    NotSupported,
    /// Too much waits to be told already.
    #[error("too much is being asked of the peer already")]
    Busy,
    /// The content is longer than [`EXCHANGE_MAX`].
    #[error("{0} octets exceed the {EXCHANGE_MAX} that can be told at once")]
    TooLong(usize),
}

/// What is on its way, in both directions.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    told: VecDeque<(Exchange, usize)>,
    last_ms: u64,
    coming: Option<(Exchange, usize)>,
    came: VecDeque<Exchange>,
}

impl Exchanges {
    /// Takes a piece.
    pub fn take(&mut self, payload: &[u8]) -> Result<(), WireError> {
        let piece = exchange_from(payload)?;
        if piece.offset == 0 {
            let exchange = Exchange {
                is_answer: piece.is_answer,
                number: piece.number,
                // Grows with what comes: no memory is taken by a length that was read.
                content: Vec::new(),
            };
            self.coming = Some((exchange, piece.whole));
        }
        let Some((exchange, whole)) = &mut self.coming else {
            return Ok(());
        };
        let follows = piece.offset == exchange.content.len()
            && (piece.is_answer, piece.number) == (exchange.is_answer, exchange.number)
            && piece.whole == *whole
            && piece.octets.len() <= *whole - exchange.content.len();
        if !follows {
            self.coming = None;
            return Ok(());
        }
        exchange.content.extend_from_slice(piece.octets);
        if exchange.content.len() == *whole
            && let Some((exchange, _)) = self.coming.take()
            && self.came.len() < WAITING_MAX
        {
            self.came.push_back(exchange);
        }
        Ok(())
    }
}

impl Link {
    /// Tells the peer this, in pieces behind all else there is to tell.
    ///
    /// # Errors
    /// [`ExchangeError`]; nothing is told then.
    pub fn tell_exchange(&mut self, exchange: Exchange) -> Result<(), ExchangeError> {
        let peer = self
            .peer
            .as_ref()
            .filter(|_| self.open && !self.state.wants_close());
        let peer = peer.ok_or(ExchangeError::NotThere)?;
        if !peer.exchanges {
            return Err(ExchangeError::NotSupported);
        }
        if exchange.content.len() > EXCHANGE_MAX {
            return Err(ExchangeError::TooLong(exchange.content.len()));
        }
        if self.exchanges.told.len() >= WAITING_MAX {
            return Err(ExchangeError::Busy);
        }
        self.exchanges.told.push_back((exchange, 0));
        Ok(())
    }

    /// What the peer asked or answered next. To be taken soon: of more than eight that wait the rest is dropped.
    pub fn next_exchange(&mut self) -> Option<Exchange> {
        self.exchanges.came.pop_front()
    }

    /// The stream is gone, and what was on it.
    pub(super) fn forget_exchanges(&mut self) {
        self.exchanges = Exchanges::default();
    }

    /// Appends one piece, if there is room behind the batches or none went for a while.
    pub(super) fn write_exchange(&mut self, now: u64, start: usize, out: &mut Vec<u8>) {
        let full = out.len() - start >= self.config.poll_bytes;
        if full && now.saturating_sub(self.exchanges.last_ms) < PIECE_EACH_MS {
            return;
        }
        let Some((exchange, offset)) = self.exchanges.told.pop_front() else {
            return;
        };
        let at = out.len();
        out.resize(at + HEADER_LEN, 0);
        let next = exchange_to(&exchange, offset, out);
        super::write::seal(MessageType::Exchange, at, out);
        self.exchanges.last_ms = now;
        if next < exchange.content.len() {
            self.exchanges.told.push_front((exchange, next));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::EXCHANGE_PIECE;

    fn pieces(exchange: &Exchange) -> Vec<Vec<u8>> {
        let (mut all, mut offset) = (Vec::new(), 0);
        loop {
            let mut piece = Vec::new();
            offset = exchange_to(exchange, offset, &mut piece);
            all.push(piece);
            if offset >= exchange.content.len() {
                return all;
            }
        }
    }

    fn exchange(length: usize) -> Exchange {
        Exchange {
            is_answer: true,
            number: 7,
            content: (0..length).map(|n| n as u8).collect(),
        }
    }

    #[test]
    fn a_content_comes_whole_or_not_at_all() {
        for length in [0, 1, EXCHANGE_PIECE, EXCHANGE_PIECE + 1, 3 * EXCHANGE_PIECE] {
            let (mut exchanges, told) = (Exchanges::default(), exchange(length));
            for piece in pieces(&told) {
                exchanges.take(&piece).expect("a piece");
            }
            assert_eq!(exchanges.came.pop_front(), Some(told));
        }
        let (mut exchanges, told) = (Exchanges::default(), exchange(3 * EXCHANGE_PIECE));
        for (at, piece) in pieces(&told).iter().enumerate() {
            if at != 1 {
                exchanges.take(piece).expect("a piece");
            }
        }
        assert_eq!((exchanges.came.len(), exchanges.coming), (0, None));
    }

    #[test]
    fn what_nobody_takes_and_what_is_too_long_takes_no_memory() {
        let mut exchanges = Exchanges::default();
        for _ in 0..2 * WAITING_MAX {
            pieces(&exchange(3))
                .iter()
                .for_each(|piece| exchanges.take(piece).expect("a piece"));
        }
        assert_eq!(exchanges.came.len(), WAITING_MAX);
        let mut long = pieces(&exchange(3)).remove(0);
        long[5..9].copy_from_slice(&(EXCHANGE_MAX as u32 + 1).to_be_bytes());
        assert!(exchanges.take(&long).is_err());
        // A piece longer than what is missing.
        let mut more = pieces(&exchange(3)).remove(0);
        more.push(0);
        exchanges.take(&more).expect("a piece");
        assert_eq!(exchanges.coming, None);
    }
}
