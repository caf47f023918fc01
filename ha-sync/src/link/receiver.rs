//! The receiving half: batches in order, each taken whole, once.

use tandem_engine::replica::{ObjectTypes, Op};
use tandem_engine::ticks::Ticks;

use super::sender;
use super::state::Mirror;
use super::stats::{BulkProgress, LinkStats, Poison};
use crate::chassis::{Chassis, PeerEvent};
use crate::wire::{Ack, BatchHeader, CONTROL_ONLY, Dictionary, Record, Style, WireError, decode, is_control};

/// A batch that is not understood is given up when it comes so often.
const POISON_TIMES: u32 = 3;

/// What the receiver reads records with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading<'a> {
    pub words: &'a Dictionary,
    /// The wire version that is spoken with the peer.
    pub version: u16,
    /// Our configuration's identity, if it is the peer's, too.
    pub identity: Option<u32>,
    pub now: u64,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Taken, or left aside.
    Done,
    /// The chassis has no room: once more, later.
    NoRoom,
}

/// A batch in work.
#[derive(Clone, Copy, Debug)]
struct Work {
    sequence: u64,
    /// Records the chassis has taken.
    done: u16,
    /// What ages count from.
    ticks: Ticks,
    /// The bulk as it is with the records taken; as it counts when the batch is done.
    bulk: BulkProgress,
    /// The peer's number for that bulk.
    number: u16,
    mirror: Mirror,
    updates: u64,
    /// When there was no room last, and since when there has been none for this record.
    since: u64,
    stuck_ms: u64,
}

/// The stream of batches from the peer.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    /// Whose stream it is; 0: nobody's.
    pub incarnation: u64,
    /// The last batch taken.
    pub place: Ack,
    work: Option<Work>,
    /// The place from which batches were asked for again, and when.
    asked: Option<(Ack, u64)>,
    pub mirror: Mirror,
    /// The peer's number for the bulk under way.
    number: u16,
    /// Our number for it: what is installed here was perhaps told by an earlier process, whose numbers began alike.
    bulk: u16,
    /// Something was left aside that will have to be sent again.
    pub left_aside: bool,
    /// The last batch that could not be understood.
    poison: Option<Poison>,
    /// Something is missing here until a bulk of everything is complete.
    pub lacks: bool,
    /// The peer wants to be told everything of these types anew.
    pub resync_asked: Option<ObjectTypes>,
    /// It wants to know which bulk answers that.
    pub wants_answer: bool,
    /// Its bulks say whether they answer.
    pub peer_answers: bool,
}

impl Receiver {
    /// The stream of this incarnation will follow.
    pub fn greet(&mut self, incarnation: u64) {
        self.work = None;
        self.asked = None;
        if self.incarnation != incarnation {
            *self = Self {
                incarnation,
                bulk: self.bulk,
                ..Self::default()
            };
        }
    }

    /// The stream broke: a batch in work will come again.
    pub fn broke(&mut self) {
        self.work = None;
    }

    /// Whether a batch waits for room.
    pub fn waits(&self) -> bool {
        self.work.is_some()
    }

    /// How long the chassis has had no room for the record that waits.
    pub fn waiting_ms(&self, now: u64) -> u64 {
        self.work.map_or(0, |work| now.saturating_sub(work.stuck_ms))
    }

    /// When that was tried last.
    pub fn waits_since(&self) -> Option<u64> {
        self.work.map(|work| work.since)
    }

    /// Where to ask for batches again after a gap, unless that was asked less than `patience` ago (0: ask once).
    pub fn ask(&mut self, now: u64, patience: u64) -> Option<Ack> {
        let asked = self.asked.filter(|(place, _)| *place == self.place);
        if asked.is_some_and(|(_, at)| patience == 0 || now.saturating_sub(at) < patience) {
            return None;
        }
        self.asked = Some((self.place, now));
        Some(Ack {
            sequence: self.place.sequence + 1,
            ..self.place
        })
    }

    /// Whether this batch is the next one; where it is not, counts why.
    fn is_next(&mut self, header: &BatchHeader, stats: &mut LinkStats) -> Result<bool, Gap> {
        if header.stream > self.place.stream {
            self.place = Ack {
                stream: header.stream,
                ..Ack::default()
            };
            self.mirror = Mirror::Set;
        }
        if header.stream < self.place.stream || header.sequence <= self.place.sequence {
            stats.duplicates += 1;
            return Ok(false);
        }
        if header.sequence > self.place.sequence + 1 {
            stats.gaps += 1;
            return Err(Gap);
        }
        Ok(true)
    }

    /// Takes a batch, or goes on with it. One that cannot be understood comes again whenever the stream is resumed; so it is given up
    /// at its third time, and what was in it is missing until a bulk is complete.
    ///
    /// # Errors
    /// [`WireError`], when a record cannot be. The inner error says that one before it is missing.
    pub fn take(
        &mut self,
        payload: &[u8],
        reading: Reading<'_>,
        chassis: &mut impl Chassis,
        stats: &mut LinkStats,
    ) -> Result<Result<Taken, Gap>, WireError> {
        match self.read(payload, reading, chassis, stats) {
            Err(error) => self.refuse(payload, error, stats).map(Ok),
            taken => taken,
        }
    }

    fn refuse(
        &mut self,
        payload: &[u8],
        error: WireError,
        stats: &mut LinkStats,
    ) -> Result<Taken, WireError> {
        let (header, _) = BatchHeader::decode(payload)?;
        let (stream, sequence) = (header.stream, header.sequence);
        let again = self
            .poison
            .filter(|p| (p.stream, p.sequence) == (stream, sequence));
        let times = again.map_or(1, |poison| poison.times.saturating_add(1));
        let skipped = times >= POISON_TIMES;
        self.poison = Some(Poison {
            stream,
            sequence,
            times,
            skipped,
            error,
        });
        stats.poison = self.poison;
        if !skipped {
            stats.batches_refused += 1;
            return Err(error);
        }
        stats.batches_skipped += 1;
        stats.sequence_received = sequence;
        stats.bulk_received.running = false;
        // An end of the bulk under way does not make it complete.
        (self.work, self.number, self.mirror) = (None, 0, Mirror::Set);
        self.lacks = true;
        self.place.sequence = sequence;
        Ok(Taken::Done)
    }

    fn read(
        &mut self,
        payload: &[u8],
        reading: Reading<'_>,
        chassis: &mut impl Chassis,
        stats: &mut LinkStats,
    ) -> Result<Result<Taken, Gap>, WireError> {
        let (header, mut records) = BatchHeader::decode(payload)?;
        if self.work.is_none() {
            match self.is_next(&header, stats) {
                Ok(true) => {}
                Ok(false) => return Ok(Ok(Taken::Done)),
                Err(gap) => return Ok(Err(gap)),
            }
        }
        if header.identity != CONTROL_ONLY && reading.identity != Some(header.identity) {
            stats.batches_dropped += 1;
            (self.work, self.asked, self.left_aside) = (None, None, true);
            return Ok(Ok(Taken::Done));
        }
        let age = Ticks(header.age_ms / 100);
        let mut work = self.work.take().unwrap_or(Work {
            sequence: header.sequence,
            done: 0,
            ticks: Ticks(chassis.ticks(reading.now).since(age).0),
            bulk: stats.bulk_received,
            number: self.number,
            mirror: self.mirror,
            updates: 0,
            since: reading.now,
            stuck_ms: reading.now,
        });
        let done_before = work.done;
        for _ in 0..work.done {
            records.next_record()?;
        }
        while let Some((record_type, body)) = records.next_record()? {
            if header.identity == CONTROL_ONLY && !is_control(record_type) {
                return Err(WireError::NotReplicating(record_type));
            }
            let style = Style {
                words: reading.words,
                version: reading.version,
                now: work.ticks,
            };
            let record = decode(record_type, body, style)?;
            if !self.apply(&record, &mut work, reading.now, chassis, stats) {
                if work.done > done_before {
                    work.stuck_ms = reading.now;
                }
                work.since = reading.now;
                self.work = Some(work);
                stats.install_waits += 1;
                return Ok(Ok(Taken::NoRoom));
            }
            work.done += 1;
        }
        self.place.sequence = work.sequence;
        (self.number, self.mirror) = (work.number, work.mirror);
        stats.bulk_received = work.bulk;
        stats.batches_received += 1;
        stats.updates_received += work.updates;
        stats.sequence_received = work.sequence;
        Ok(Ok(Taken::Done))
    }

    /// Applies a record; false when there is no room.
    fn apply(
        &mut self,
        record: &Record,
        work: &mut Work,
        now: u64,
        chassis: &mut impl Chassis,
        stats: &mut LinkStats,
    ) -> bool {
        match record {
            Record::Op(op) => {
                if !chassis.install(op) {
                    return false;
                }
                work.updates += 1;
                stats.objects_received.count(op);
                sender::count(op, &mut work.bulk, now);
            }
            Record::Lease(change) => chassis.lease_told(*change),
            Record::BulkBegin(number, types, answers) => {
                chassis.bulk_answers(*answers || !self.peer_answers);
                let ours = self.bulk.wrapping_add(1).max(1);
                if !chassis.install(&Op::BulkBegin(ours, *types)) {
                    return false;
                }
                self.bulk = ours;
                stats.bulks_received += 1;
                (work.number, work.mirror) = (*number, Mirror::Set);
                work.bulk = BulkProgress {
                    number: ours,
                    types: *types,
                    running: true,
                    began_ms: now,
                    ..BulkProgress::default()
                };
            }
            Record::BulkEnd {
                number,
                objects,
                covers,
            } => {
                if *number != work.number || !work.bulk.running {
                    return true;
                }
                chassis.covered(*covers);
                if !chassis.install(&Op::BulkEnd(work.bulk.number)) {
                    return false;
                }
                stats.bulk_mismatches += u64::from(*objects != work.bulk.objects);
                work.bulk.running = false;
                work.bulk.took_ms = now.saturating_sub(work.bulk.began_ms);
                if work.bulk.types == ObjectTypes::ALL {
                    self.lacks = false;
                }
                if !self.lacks {
                    work.mirror = Mirror::Active;
                }
            }
            Record::ReleaseAsked(set) => chassis.peer(PeerEvent::ReleaseAsked { set: *set }),
            Record::Released { set, epoch } => chassis.peer(PeerEvent::Released {
                set: *set,
                epoch: *epoch,
            }),
            Record::ReleaseRefused(set) => chassis.peer(PeerEvent::ReleaseRefused { set: *set }),
            Record::ResyncAsked(types, answer) => {
                self.wants_answer |= *answer;
                let asked = self.resync_asked.unwrap_or_default();
                self.resync_asked = Some(asked.union(*types));
            }
        }
        true
    }
}

/// A batch before this one is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap;
