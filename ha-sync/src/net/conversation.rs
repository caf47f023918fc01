//! What the channel carries: bytes from somebody and for somebody.

use std::net::IpAddr;

/// Octets of a conversation's longest message: so many are kept for it to be taken whole.
pub const RECEIVE_WHOLE: usize = crate::frame::HEADER_LEN + crate::frame::PAYLOAD_MAX as usize;

/// Why a conversation cannot go on over this connection; the connection is closed, and made again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Objection(pub String);

/// Two chassis talking. Time is milliseconds since [`super::run`] began. Nothing here may block.
pub trait Conversation {
    /// What can be told to it from other threads.
    type Command: Send;
    /// What it shows of itself.
    type State: Clone + Send + Sync;

    /// The connection that is about to be there has this address of the peer: of two HA links, it says which.
    fn over(&mut self, _peer: IpAddr) {}
    /// A connection is there; both directions begin anew.
    fn connected(&mut self, now_ms: u64);
    /// It is gone; what was not taken by the other end may be lost.
    fn disconnected(&mut self, now_ms: u64);
    /// Takes bytes off the front of `bytes` and says how many. Fewer than all means: no room now, or not a whole message; the
    /// rest comes again, with more behind it if there is more. At least [`RECEIVE_WHOLE`] octets come again before reading stops.
    ///
    /// # Errors
    /// When the connection is of no use any more.
    fn receive(&mut self, bytes: &[u8], now_ms: u64) -> Result<usize, Objection>;
    /// Whether something of what it has taken is not done yet, for want of room. Of a connection that ends meanwhile it is told
    /// when that is done, or takes too long.
    fn is_busy(&self) -> bool {
        false
    }
    /// Whether something is under way that waits for its rings, and somebody for it: until that is done it is looked at every
    /// millisecond, connected or not.
    fn is_urgent(&self) -> bool {
        false
    }
    /// Appends up to about `room` octets to `out`; nothing when there is nothing to say. Called at least every 20 ms, and
    /// immediately again while it had something to say.
    fn send(&mut self, out: &mut Vec<u8>, room: usize, now_ms: u64);
    /// Called at least every 20 ms, connected or not: what is to be done by the clock, or for rings that fill.
    fn tick(&mut self, now_ms: u64);
    /// Why the connection is of no use any more, when it is not what came that says so; asked after each call of the others.
    fn objection(&self) -> Option<Objection> {
        None
    }
    /// A command, in the order in which they were given.
    fn command(&mut self, command: Self::Command, now_ms: u64);
    /// A snapshot for the status.
    fn state(&self) -> Self::State;
}
