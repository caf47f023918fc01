//! The replay window: batches until the peer has acknowledged them, and the one that is being filled. Bounded in octets.

use std::collections::VecDeque;

use tandem_engine::replica::Lease;

use crate::wire::{BATCH_HEADER_LEN, is_control};

/// Octets a batch costs beside its records: its place in the window and in the allocator's books.
const OVERHEAD: usize = size_of::<Batch>() + 32 + BATCH_HEADER_LEN;

/// A batch as it is kept.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub sequence: u64,
    pub records: Box<[u8]>,
    pub count: u16,
    /// When its ages were right.
    pub made_ms: u64,
    /// When its oldest operation was taken from the chassis.
    pub oldest_ms: u64,
    pub sent_ms: Option<u64>,
    /// Lease offers in it, with the serial number each had.
    pub offers: Box<[(Lease, u64)]>,
    /// Records about redundancy sets in it.
    pub controls: u16,
    /// The end of this bulk is in it.
    pub bulk_end: Option<u16>,
}

/// The batch being filled.
#[derive(Debug, Default)]
pub(super) struct Open {
    pub records: Vec<u8>,
    pub count: u16,
    pub made_ms: u64,
    pub oldest_ms: u64,
    pub offers: Vec<(Lease, u64)>,
    pub controls: u16,
    pub bulk_end: Option<u16>,
}

/// Batches in order of their numbers, without a hole.
#[derive(Debug)]
pub(super) struct Window {
    batches: VecDeque<Batch>,
    pub open: Open,
    /// Position in `batches` of the next one to write.
    next: usize,
    /// Number of the last batch made; 0 before the first.
    last: u64,
    bytes: usize,
    limit: usize,
}

impl Window {
    pub fn new(limit: usize) -> Self {
        Self {
            batches: VecDeque::new(),
            open: Open::default(),
            next: 0,
            last: 0,
            bytes: 0,
            limit,
        }
    }

    /// Forgets everything and begins to number anew; gives the memory back.
    pub fn reset(&mut self) {
        *self = Self::new(self.limit);
    }

    /// Whether the batch being filled may become `more` octets longer.
    pub fn has_room(&self, more: usize) -> bool {
        self.bytes() + OVERHEAD + more <= self.limit
    }

    /// Octets held.
    pub fn bytes(&self) -> usize {
        self.bytes + self.open.records.len() + size_of_val(&*self.open.offers) + OVERHEAD
    }

    pub fn last(&self) -> u64 {
        self.last
    }

    /// The last number the peer has acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.last - self.batches.len() as u64
    }

    /// Closes the batch being filled, if anything is in it.
    pub fn seal(&mut self) {
        if self.open.count == 0 {
            return;
        }
        // The buffer stays for the next batch; a copy of just the length is what the window counts.
        let open = &mut self.open;
        self.last += 1;
        let batch = Batch {
            sequence: self.last,
            records: open.records.as_slice().into(),
            count: open.count,
            made_ms: open.made_ms,
            oldest_ms: open.oldest_ms,
            sent_ms: None,
            offers: std::mem::take(&mut open.offers).into(),
            controls: open.controls,
            bulk_end: open.bulk_end.take(),
        };
        open.records.clear();
        (open.count, open.controls) = (0, 0);
        self.bytes += cost(&batch);
        self.batches.push_back(batch);
    }

    /// Takes the records about redundancy sets out of all batches: the connection they were said on is gone.
    pub fn drop_controls(&mut self) {
        for batch in self.batches.iter_mut().filter(|batch| batch.controls > 0) {
            self.bytes -= cost(batch);
            (batch.records, batch.count) = (
                without_controls(&batch.records).into(),
                batch.count - batch.controls,
            );
            batch.controls = 0;
            self.bytes += cost(batch);
        }
        let open = &mut self.open;
        if open.controls > 0 {
            open.records = without_controls(&open.records);
            open.count -= std::mem::take(&mut open.controls);
        }
    }

    /// The next batch to write, unless all are.
    pub fn unsent(&mut self) -> Option<&mut Batch> {
        self.batches.get_mut(self.next)
    }

    /// The next batch was written.
    pub fn advance(&mut self) {
        self.next = (self.next + 1).min(self.batches.len());
    }

    /// Goes back to write everything again that is not acknowledged.
    pub fn go_back(&mut self) {
        self.next = 0;
    }

    /// Goes back to a batch, if it is here and was written.
    pub fn go_back_to(&mut self, sequence: u64) {
        let first = self.acknowledged() + 1;
        if let Some(position) = sequence.checked_sub(first) {
            self.next = self.next.min(usize::try_from(position).unwrap_or(usize::MAX));
        }
    }

    /// Takes out the oldest batch, if its number is at most `sequence`.
    pub fn acknowledge(&mut self, sequence: u64) -> Option<Batch> {
        self.batches.front().filter(|b| b.sequence <= sequence)?;
        let batch = self.batches.pop_front()?;
        self.next = self.next.saturating_sub(1);
        self.bytes -= cost(&batch);
        Some(batch)
    }

    /// The oldest batch that was written and not acknowledged: when it was written last.
    pub fn waiting_since(&self) -> Option<u64> {
        (self.next > 0)
            .then(|| self.batches.front().and_then(|b| b.sent_ms))
            .flatten()
    }

    /// When the oldest operation that is not acknowledged was taken.
    pub fn oldest(&self) -> Option<u64> {
        let open = (self.open.count > 0).then_some(self.open.oldest_ms);
        self.batches.front().map(|b| b.oldest_ms).or(open)
    }
}

/// Records, each with its length and type before it, but for those about redundancy sets.
fn without_controls(mut records: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(records.len());
    while let [length, record_type, ..] = *records {
        let (record, rest) = records.split_at(records.len().min(usize::from(length) + 2));
        if !is_control(record_type) {
            kept.extend_from_slice(record);
        }
        records = rest;
    }
    kept
}

fn cost(batch: &Batch) -> usize {
    batch.records.len() + size_of_val(&*batch.offers) + OVERHEAD
}
