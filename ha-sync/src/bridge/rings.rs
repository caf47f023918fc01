//! The rings of all workers, and which worker an operation is for.

use std::collections::VecDeque;

use rtrb::{Consumer, Producer};
use tandem_engine::address;
use tandem_engine::replica::{Mark, Op, SessionKey};
use tandem_engine::steer::Split;

/// Outboxes in turn: a few operations of each, so that none waits for another.
#[derive(Debug)]
pub(super) struct Outboxes {
    rings: Vec<Consumer<Op>>,
    /// Operations taken from each so far.
    popped: Vec<u64>,
    /// A place in each that was its end at a time, milliseconds, until it is passed: what stands before it is as old at least.
    ends: Vec<Option<(u64, u64)>>,
    turn: usize,
    taken: u32,
}

/// Operations of one worker taken in a row.
const IN_A_ROW: u32 = 64;

impl Outboxes {
    pub fn new(rings: Vec<Consumer<Op>>) -> Self {
        Self {
            popped: vec![0; rings.len()],
            ends: vec![None; rings.len()],
            rings,
            turn: 0,
            taken: 0,
        }
    }

    /// Operations in them, and how many fit.
    pub fn filled(&self) -> (usize, usize) {
        let each = self
            .rings
            .iter()
            .map(|ring| (ring.slots(), ring.buffer().capacity()));
        each.fold((0, 0), |(used, total), (one, room)| (used + one, total + room))
    }

    /// Looks how far they are.
    pub fn look(&mut self, now: u64) {
        let popped = self.popped.iter().copied();
        for ((ring, popped), end) in self.rings.iter().zip(popped).zip(&mut self.ends) {
            if end.is_none_or(|(_, place)| popped >= place) {
                let waiting = ring.slots() as u64;
                *end = (waiting > 0).then_some((now, popped + waiting));
            }
        }
    }

    /// Since when something has waited in them, as far as [`Outboxes::look`] saw.
    pub fn waiting_since(&self) -> Option<u64> {
        let ends = self.ends.iter().zip(&self.popped);
        let waiting = ends.filter_map(|(end, popped)| end.filter(|(_, place)| popped < place));
        waiting.map(|(since, _)| since).min()
    }

    /// The next operation, and whose it is.
    pub fn pop(&mut self) -> Option<(usize, Op)> {
        for _ in 0..=self.rings.len() {
            if self.taken < IN_A_ROW
                && let Some(Ok(op)) = self.rings.get_mut(self.turn).map(Consumer::pop)
            {
                self.taken += 1;
                if let Some(popped) = self.popped.get_mut(self.turn) {
                    *popped += 1;
                }
                return Some((self.turn, op));
            }
            self.turn = (self.turn + 1) % self.rings.len().max(1);
            self.taken = 0;
        }
        None
    }
}

/// Inboxes, each with the commands that wait for room in it.
#[derive(Debug)]
pub(super) struct Rings {
    inboxes: Vec<Producer<Op>>,
    waiting: Vec<VecDeque<Op>>,
    /// Operations put into each inbox so far.
    brought: Vec<u64>,
    split: Split,
}

impl Rings {
    pub fn new(inboxes: Vec<Producer<Op>>, split: Split) -> Self {
        Self {
            waiting: inboxes.iter().map(|_| VecDeque::new()).collect(),
            brought: vec![0; inboxes.len()],
            inboxes,
            split,
        }
    }

    pub fn workers(&self) -> usize {
        self.inboxes.len()
    }

    /// Operations in them, and how many fit.
    pub fn filled(&self) -> (usize, usize) {
        let each = self.inboxes.iter().map(|inbox| {
            let room = inbox.buffer().capacity();
            (room - inbox.slots().min(room), room)
        });
        each.fold((0, 0), |(used, total), (one, room)| (used + one, total + room))
    }

    /// A command for all workers; where there is no room, it waits, and everything after it with it.
    pub fn command(&mut self, op: Op) {
        for waiting in &mut self.waiting {
            waiting.push_back(op);
        }
        self.flush();
    }

    /// A mark goes back to its worker; of several that wait, the last one says all.
    pub fn give_back(&mut self, mark: Mark) {
        if let Some(waiting) = self.waiting.get_mut(usize::from(mark.worker)) {
            waiting.pop_back_if(|op| matches!(op, Op::Mark(_)));
            waiting.push_back(Op::Mark(mark));
            self.flush();
        }
    }

    /// Brings waiting commands.
    pub fn flush(&mut self) {
        let inboxes = self.inboxes.iter_mut().zip(&mut self.brought);
        for ((inbox, brought), waiting) in inboxes.zip(&mut self.waiting) {
            while let Some(op) = waiting.front() {
                if inbox.push(*op).is_err() {
                    break;
                }
                waiting.pop_front();
                *brought += 1;
            }
        }
    }

    /// Where each worker will be when it has read all that it was told so far. What waits goes before anything later.
    pub fn mark(&self) -> Vec<u64> {
        let told = self.brought.iter().zip(&self.waiting);
        told.map(|(brought, waiting)| brought + waiting.len() as u64)
            .collect()
    }

    /// Whether all workers have read up to there.
    pub fn have_read(&self, mark: &[u64]) -> bool {
        self.read().zip(mark).all(|(read, mark)| read >= *mark)
    }

    /// Whether some worker has.
    pub fn any_has_read(&self, mark: &[u64]) -> bool {
        self.read().zip(mark).any(|(read, mark)| read >= *mark)
    }

    /// Operations that each worker has done so far.
    fn read(&self) -> impl Iterator<Item = u64> {
        let inboxes = self.inboxes.iter().zip(&self.brought);
        inboxes.map(|(inbox, brought)| {
            let unread = inbox.buffer().capacity() - inbox.slots().min(inbox.buffer().capacity());
            brought.saturating_sub(unread as u64)
        })
    }

    pub fn push_for(&mut self, subscriber: u128, steering_prefix: u8, op: Op) -> bool {
        self.push_shard(self.split.shard(subscriber, steering_prefix), op)
    }

    pub fn push_shard(&mut self, shard: u8, op: Op) -> bool {
        let worker = usize::from(self.split.worker_of(shard));
        let inbox = self.inboxes.get_mut(worker).zip(self.brought.get_mut(worker));
        match (inbox, self.waiting.get(worker)) {
            (Some((inbox, brought)), Some(waiting)) => {
                let taken = waiting.is_empty() && inbox.push(op).is_ok();
                *brought += u64::from(taken);
                taken
            }
            // An extent of a shard that is none here: the peer's number of shards was compared, so it has none either.
            _ => true,
        }
    }

    /// To all workers, or to none when one has no room. Where there is room for the first only, the others wait as commands do.
    pub fn push_all(&mut self, ops: &[Op]) -> bool {
        let room = self.inboxes.iter().all(|inbox| !inbox.is_full());
        let free = room && self.waiting.iter().all(VecDeque::is_empty);
        if free {
            ops.iter().for_each(|op| self.command(*op));
        }
        free
    }
}

/// The inside end an operation of a peer is about, by which its worker is found.
pub(super) fn subscriber(op: &Op) -> Option<u128> {
    Some(match op {
        Op::Session(session) => inside(&session.key),
        Op::Close { key, .. } => inside(key),
        Op::Mapping(mapping) | Op::MappingClose(mapping) => mapping.inside,
        Op::Block(block) | Op::BlockClose(block) => block.subscriber,
        _ => return None,
    })
}

fn inside(key: &SessionKey) -> u128 {
    match key {
        SessionKey::V4 { out, .. } => address::of_v4(out.src),
        SessionKey::Nat64 { inside, .. } => *inside,
        SessionKey::V6(key) => key.inside,
    }
}
