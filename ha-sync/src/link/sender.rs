//! The sending half: from the chassis' operations to batches in the window, and what an acknowledgment of them means.

use std::collections::{HashMap, VecDeque};

use tandem_engine::replica::{Lease, LeaseChange, Mark, ObjectTypes, Op};
use tandem_engine::ticks::Ticks;

use super::bulks::Bulks;
use super::config::LinkConfig;
use super::pending::{Item, Pending};
use super::state::Mirror;
use super::stats::{BulkProgress, LinkStats, Objects};
use super::window::Window;
use crate::chassis::Chassis;
use crate::wire::{self, CONTROL_ONLY, RECORD_LEN_MAX, Record, Style};

/// Operations one call takes from the chassis at most, so that it returns soon.
const TAKEN_MAX: usize = 16_384;
/// A batch takes no more records once it is this old: their ages are told as if they were made when it was closed.
const OPEN_MS_MAX: u64 = 100;

/// Records by hand (requests, releases) that wait beside the operations at most, while the peer reads nothing.
const BY_HAND_MAX: usize = 1024;

/// Between two bulks that are asked for because workers had to refuse something, at least; milliseconds.
const ASK_MS_MIN: u64 = 30_000;
/// The same where an answer is waited for: it may have been lost with a connection.
const ANSWER_MS_MIN: u64 = 5000;

/// The stream of batches to the peer.
#[derive(Debug)]
pub(super) struct Sender {
    pub window: Window,
    pending: Pending,
    /// Number of the stream; 0 before the first.
    pub stream: u32,
    /// With which configuration its records are made.
    pub identity: u32,
    /// For which incarnation of the peer; `None`: there is no stream.
    pub peer: Option<u64>,
    pub mirror: Mirror,
    pub bulks: Bulks,
    /// The wire version that is spoken with the peer.
    version: u16,
    /// Offers the peer has not acknowledged, by the serial number of the last.
    offers: HashMap<Lease, u64>,
    serial: u64,
    /// Marks the peer has not come to, each with the number of the last batch before it.
    marks: VecDeque<(u64, Mark)>,
    /// Records about redundancy sets the peer has not acknowledged, of those said on this connection.
    controls: VecDeque<Record>,
    /// Number of the connection.
    connection: u64,
    /// When the peer was last asked for a bulk because something is lacking here; what that is to answer, and in which stream.
    asked: Option<(u64, Option<(u64, u32)>)>,
}

impl Sender {
    pub fn new(config: &LinkConfig) -> Self {
        Self {
            window: Window::new(config.window_bytes),
            pending: Pending::default(),
            stream: 0,
            identity: CONTROL_ONLY,
            peer: None,
            mirror: Mirror::Set,
            bulks: Bulks::default(),
            version: 0,
            offers: HashMap::new(),
            serial: 0,
            marks: VecDeque::new(),
            controls: VecDeque::new(),
            connection: 0,
            asked: None,
        }
    }

    /// This wire version is spoken with the peer that is there now.
    pub fn greet(&mut self, version: u16) {
        self.version = version;
        self.bulks.greet(version);
    }

    /// Whether operations of the chassis go into the stream.
    pub fn replicates(&self) -> bool {
        self.peer.is_some() && self.identity != CONTROL_ONLY
    }

    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Whether so much waits for the peer that nothing may be put behind it. Operations stop before: what is beyond them is
    /// what was asked for by hand.
    pub fn is_stuck(&self, config: &LinkConfig) -> bool {
        self.pending.len() >= config.pending_max.saturating_add(BY_HAND_MAX)
    }

    /// When the oldest operation was taken that the peer has not acknowledged.
    pub fn oldest(&self) -> Option<u64> {
        self.window.oldest().or_else(|| self.pending.oldest())
    }

    /// Nothing is kept any more; the next stream begins anew.
    pub fn forget(&mut self) {
        self.window.reset();
        self.pending = Pending::default();
        self.offers.clear();
        self.marks.clear();
        self.peer = None;
        self.mirror = Mirror::Set;
        self.bulks.stop();
    }

    /// The connection is gone, and with it what was said about redundancy sets: who is primary may be another by the next, so
    /// that it would be wrong there. Whoever said it hears of the end, too.
    pub fn broke(&mut self) {
        self.connection += 1;
        self.controls.clear();
        self.window.drop_controls();
        // A batch of nothing but those is none, and is never acknowledged.
        if self.window.open.count == 0 {
            let last = self.window.last();
            self.marks.iter_mut().for_each(|(at, _)| *at = last.min(*at));
        }
    }

    /// Begins a new stream for this incarnation of the peer. Requests for redundancy sets, and refusals, that were said on this
    /// connection are said again, if the peer they were said to is still the same. Not so that a set is released: what that stood
    /// behind is gone with the old stream.
    pub fn begin(&mut self, peer: u64, identity: u32, now: u64) {
        let same = self.peer == Some(peer);
        self.forget();
        self.peer = Some(peer);
        self.identity = identity;
        self.stream = self.stream.wrapping_add(1).max(1);
        let controls = std::mem::take(&mut self.controls);
        if same {
            let holds = |record: &Record| !matches!(record, Record::Released { .. });
            controls
                .into_iter()
                .filter(holds)
                .for_each(|record| self.say(record, now));
        }
    }

    /// Puts a record of the link's own behind everything taken so far.
    pub fn say(&mut self, record: Record, now: u64) {
        if record.is_control() {
            self.controls.push_back(record);
        }
        self.pending.push(Item {
            record,
            taken_ms: now,
            serial: self.connection,
        });
    }

    /// A worker had to refuse something: asks the peer for a bulk, once for all workers. They ask again if it brings nothing.
    /// `answer`: what the bulk is to answer, if it is; that is asked anew in a new stream.
    pub fn ask_for_bulk(&mut self, answer: Option<u64>, now: u64) {
        let of = answer.map(|answer| (answer, self.stream));
        let rest = if of.is_some() { ANSWER_MS_MIN } else { ASK_MS_MIN };
        let recently = |(at, before)| now.saturating_sub(at) < rest && (of.is_none() || of == before);
        if !self.asked.is_some_and(recently) {
            self.asked = Some((now, of));
            self.say(Record::ResyncAsked(ObjectTypes::ALL, answer.is_some()), now);
        }
    }

    /// Takes what the chassis has to tell, as far as there is room. Whether there may be more.
    pub fn take(
        &mut self,
        now: u64,
        config: &LinkConfig,
        chassis: &mut impl Chassis,
        stats: &mut LinkStats,
    ) -> bool {
        if self.peer.is_none() {
            return false;
        }
        let ticks = chassis.ticks(now);
        self.drain(now, ticks, config, stats);
        let mut taken = 0;
        while self.replicates() && taken < TAKEN_MAX && self.pending.len() < config.pending_max {
            self.look_after_bulks(now, chassis, stats);
            let (record, serial) = match chassis.next_lease() {
                Some(change) => (Record::Lease(change), self.serial_of(change)),
                None => match chassis.next() {
                    Some(Op::Lost) => {
                        self.lost(now, stats);
                        continue;
                    }
                    Some(Op::Refused) => {
                        self.ask_for_bulk(chassis.awaits_answer(), now);
                        continue;
                    }
                    Some(Op::BulkEnd(number)) if number == self.bulks.number => (
                        Record::BulkEnd {
                            number,
                            objects: Objects::default(),
                            covers: chassis.covers(),
                        },
                        0,
                    ),
                    Some(
                        Op::BulkBegin(..)
                        | Op::BulkEnd(_)
                        | Op::Covers(_)
                        | Op::Lacks(_)
                        | Op::Offer { .. }
                        | Op::PassOver { .. }
                        | Op::Merges(_)
                        | Op::Merged { .. }
                        | Op::MergeEnd(_)
                        | Op::HoldsUnknown
                        | Op::Bulk(..)
                        | Op::Listen(_)
                        | Op::Drain { .. }
                        | Op::Role { .. }
                        | Op::RoleDone { .. },
                    ) => continue,
                    Some(op) => (Record::Op(op), 0),
                    None => break,
                },
            };
            taken += 1;
            let item = Item {
                record,
                taken_ms: now,
                serial,
            };
            if self.pending.is_empty() && self.window.has_room(RECORD_LEN_MAX) {
                self.put(&item, now, ticks, config, stats);
            } else {
                stats.collapsed += u64::from(self.pending.push(item));
                self.drain(now, ticks, config, stats);
            }
        }
        self.age(now);
        self.pass_marks(chassis);
        stats.pending = self.pending.len() as u64;
        stats.pending_peak = stats.pending_peak.max(stats.pending);
        stats.window_bytes = self.window.bytes() as u64;
        stats.window_peak = stats.window_peak.max(stats.window_bytes);
        stats.sequence_sent = self.window.last();
        taken == TAKEN_MAX
    }

    /// Moves what waits into the window, as far as there is room.
    fn drain(&mut self, now: u64, ticks: Ticks, config: &LinkConfig, stats: &mut LinkStats) {
        while self.window.has_room(RECORD_LEN_MAX)
            && let Some(item) = self.pending.front().copied()
        {
            self.pending.pop();
            self.put(&item, now, ticks, config, stats);
        }
    }

    /// Closes the batch being filled when it is old.
    fn age(&mut self, now: u64) {
        let open = &self.window.open;
        if open.count > 0 && now.saturating_sub(open.made_ms) >= OPEN_MS_MAX {
            self.window.seal();
        }
    }

    fn put(&mut self, item: &Item, now: u64, ticks: Ticks, config: &LinkConfig, stats: &mut LinkStats) {
        let mut record = item.record;
        if let Record::Op(Op::Mark(mark)) = record {
            return self.mark(mark);
        }
        if record.is_control() && item.serial != self.connection {
            return;
        }
        if let Record::BulkEnd { number, objects, .. } = &mut record {
            if *number != self.bulks.number {
                return;
            }
            *objects = stats.bulk_sent.objects;
            (stats.bulk_sent.running, stats.bulk_sent.took_ms) =
                (false, now.saturating_sub(stats.bulk_sent.began_ms));
            self.window.open.bulk_end = Some(*number);
        }
        let open = &mut self.window.open;
        let style = Style {
            words: &config.dictionary,
            version: self.version,
            now: ticks,
        };
        if !wire::encode(&record, style, &mut open.records) {
            stats.untranslatable += u64::from(matches!(record, Record::Op(_)));
            return;
        }
        if open.count == 0 {
            (open.made_ms, open.oldest_ms) = (now, item.taken_ms);
        }
        open.oldest_ms = open.oldest_ms.min(item.taken_ms);
        open.count += 1;
        open.controls += u16::from(record.is_control());
        stats.updates_sent += 1;
        match record {
            Record::BulkBegin(number, ..) if number == self.bulks.number => {
                stats.bulk_sent.objects = Objects::default();
            }
            Record::Lease(LeaseChange::Offer(lease) | LeaseChange::Resting(lease, _)) => {
                open.offers.push((lease, item.serial));
            }
            Record::Op(op) => {
                stats.objects_sent.count(&op);
                count(&op, &mut stats.bulk_sent, now);
            }
            _ => {}
        }
        if open.records.len() >= config.batch_bytes || open.count == u16::MAX {
            self.window.seal();
        }
    }

    /// The serial number of an offer. One that was withdrawn, or made again, is not acknowledged by what came before.
    fn serial_of(&mut self, change: LeaseChange) -> u64 {
        self.serial += 1;
        match change {
            LeaseChange::Offer(lease) | LeaseChange::Resting(lease, _) => {
                self.offers.insert(lease, self.serial);
            }
            LeaseChange::Withdraw(lease) => {
                self.offers.remove(&lease);
            }
        }
        self.serial
    }

    /// A mark stands behind what is in the window now. Only a worker's last one in each place counts.
    fn mark(&mut self, mark: Mark) {
        let batch = self.window.last() + u64::from(self.window.open.count > 0);
        let same = |(at, other): &&mut (u64, Mark)| *at == batch && other.worker == mark.worker;
        match self
            .marks
            .iter_mut()
            .rev()
            .take_while(|(at, _)| *at == batch)
            .find(same)
        {
            Some((_, known)) => *known = mark,
            None => self.marks.push_back((batch, mark)),
        }
    }

    /// Tells of marks before which nothing is left that the peer has not taken.
    fn pass_marks(&mut self, chassis: &mut impl Chassis) {
        let acknowledged = self.window.acknowledged();
        while let Some((_, mark)) = self.marks.pop_front_if(|(batch, _)| *batch <= acknowledged) {
            chassis.mark_acknowledged(mark);
        }
    }

    /// The peer has taken all batches up to this one.
    pub fn acknowledged(
        &mut self,
        sequence: u64,
        now: u64,
        chassis: &mut impl Chassis,
        stats: &mut LinkStats,
    ) {
        while let Some(batch) = self.window.acknowledge(sequence) {
            let age = now.saturating_sub(batch.oldest_ms);
            stats.acknowledgment_ms.add(age, batch.count.into());
            for (lease, serial) in batch.offers {
                if self.offers.get(&lease) == Some(&serial) {
                    self.offers.remove(&lease);
                    stats.leases_acknowledged += 1;
                    chassis.lease_acknowledged(lease);
                }
            }
            self.controls
                .drain(..usize::from(batch.controls).min(self.controls.len()));
            if batch.bulk_end == Some(self.bulks.number) {
                self.mirror = Mirror::Active;
            }
        }
        self.pass_marks(chassis);
        stats.sequence_acknowledged = self.window.acknowledged();
        stats.window_bytes = self.window.bytes() as u64;
    }
}

/// Counts an object of a bulk.
pub(super) fn count(op: &Op, bulk: &mut BulkProgress, now: u64) {
    if bulk.objects.count(op) && bulk.running {
        bulk.took_ms = now.saturating_sub(bulk.began_ms);
    }
}
