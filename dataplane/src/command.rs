//! What passes between the control side and a worker: commands in, answers and events out, over bounded queues.
//!
//! A worker never allocates or frees for it: boxes come from the control side and go back there.

use std::net::IpAddr;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use tandem_engine::packet::Sides;
use tandem_engine::ports::BlockEvent;
use tandem_engine::program::{InterfaceId, Program};
use tandem_engine::steer::Steering;
use tandem_engine::view::{PolicyEvent, Query};

/// Commands that can wait for a worker.
const COMMANDS: usize = 64;
/// Programs that can wait for a worker, which takes one a loop.
const PROGRAMS: usize = 16;
/// Events that can wait for the control side.
pub(crate) const EVENTS: usize = 4096;

/// A program with what is derived from it for the packet way.
#[derive(Debug)]
pub struct Commit {
    /// The program.
    pub program: Arc<Program>,
    /// Sides of its interfaces.
    pub sides: Sides,
    /// Whose packets are whose.
    pub steering: Steering,
    /// Packets may change their family: there is NAT64, or translation without sessions.
    pub changes_family: bool,
}

/// To a worker, in turn.
#[derive(Debug)]
#[non_exhaustive]
pub enum Command {
    /// Answer this.
    Query(u64, Box<Query>),
}

/// From a worker.
#[derive(Debug)]
pub enum Event {
    /// A neighbour is wanted.
    Resolve(InterfaceId, IpAddr),
    /// A port block changed hands.
    Block(BlockEvent),
    /// A policy that shall be logged decided about a session.
    Policy(PolicyEvent),
}

/// The queues of one worker.
#[derive(Debug)]
pub struct Mailbox {
    /// Programs for the worker, which runs each from the next burst on. A queue of their own: a reload does not wait until
    /// the commands before it are done.
    pub programs: ArrayQueue<Box<Commit>>,
    /// To the worker.
    pub commands: ArrayQueue<Command>,
    /// Answered queries.
    pub answers: ArrayQueue<(u64, Box<Query>)>,
    /// Programs the worker left, to be dropped elsewhere.
    pub left: ArrayQueue<Box<Commit>>,
    /// Events.
    pub events: ArrayQueue<Event>,
}

impl Default for Mailbox {
    fn default() -> Self {
        Self {
            programs: ArrayQueue::new(PROGRAMS),
            commands: ArrayQueue::new(COMMANDS),
            answers: ArrayQueue::new(COMMANDS),
            left: ArrayQueue::new(PROGRAMS * 2),
            events: ArrayQueue::new(EVENTS),
        }
    }
}
