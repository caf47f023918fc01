//! What goes to the peer.

use super::Link;
use crate::frame::{self, HEADER_LEN};
use crate::wire::{Ack, BATCH_HEADER_LEN, BatchHeader, MessageType, parts_to, roles_to};

impl Link {
    /// Appends what is due.
    pub(super) fn write(&mut self, now: u64, out: &mut Vec<u8>) {
        if !self.open || self.state.wants_close() {
            return;
        }
        let start = out.len();
        let patience = self.config.retransmit_ms;
        let late = |since: u64| patience > 0 && now.saturating_sub(since) >= patience;
        if self.due.hello || self.heard_of != Some(self.revision) && late(self.hello_ms) {
            let hello = self.hello();
            self.frame(MessageType::Hello, out, |payload| hello.encode(payload));
            (self.due.hello, self.hello_ms) = (false, now);
        }
        if self.peer.is_some() {
            if self.sender.window.waiting_since().is_some_and(late) {
                self.sender.window.go_back();
            }
            self.write_short(now, start, out);
            self.write_parts(out);
            self.write_batches(now, start, out);
            self.write_exchange(now, start, out);
        }
        if out.len() > start {
            self.said_ms = now;
        }
        self.stats.bytes_sent += (out.len() - start) as u64;
        self.stats.sequence_sent = self.sender.window.last();
        self.stats.window_bytes = self.sender.window.bytes() as u64;
    }

    /// Acknowledgments, requests and keepalives.
    fn write_short(&mut self, now: u64, start: usize, out: &mut Vec<u8>) {
        let revision = self.peer.as_ref().map_or(0, |peer| peer.revision);
        let place = Ack {
            revision,
            ..self.receiver.place
        };
        if std::mem::take(&mut self.due.resend)
            && let Some(missing) = self.receiver.ask(now, self.config.retransmit_ms)
        {
            let missing = Ack { revision, ..missing };
            self.frame(MessageType::Resend, out, |payload| missing.encode(payload));
        }
        let quiet = out.len() == start && now.saturating_sub(self.said_ms) >= self.config.keepalive_ms;
        if quiet || self.due.keepalive {
            let roles = std::mem::take(&mut self.roles);
            self.frame(MessageType::Keepalive, out, |payload| {
                place.encode(payload);
                roles_to(&roles, payload);
            });
            self.roles = roles;
            (self.due.keepalive, self.due.acknowledgment) = (false, false);
        } else if std::mem::take(&mut self.due.acknowledgment) {
            self.frame(MessageType::Ack, out, |payload| Ack::encode(&place, payload));
        }
    }

    /// A piece of the parts of the configuration; the next one with the next call.
    fn write_parts(&mut self, out: &mut Vec<u8>) {
        let Some(first) = self.due.parts.take() else {
            return;
        };
        let parts = self.parts_told();
        let mut next = parts.len();
        self.frame(MessageType::Parts, out, |payload| {
            next = parts_to(&parts, first, payload);
        });
        self.due.parts = (next < parts.len()).then_some(next);
    }

    fn write_batches(&mut self, now: u64, start: usize, out: &mut Vec<u8>) {
        let (stream, identity) = (self.sender.stream, self.sender.identity);
        while out.len() - start < self.config.poll_bytes {
            if self.sender.window.unsent().is_none() {
                self.sender.window.seal();
            }
            let Some(batch) = self.sender.window.unsent() else {
                break;
            };
            let again = batch.sent_ms.replace(now).is_some();
            let (mut count, mut records) = (batch.count, &*batch.records);
            if cfg!(feature = "plant-truncated-resend") && again {
                let first = records.first().map_or(0, |length| usize::from(*length) + 2);
                (count, records) = (count.min(1), records.get(..first).unwrap_or_default());
            }
            let header = BatchHeader {
                stream,
                sequence: batch.sequence,
                identity,
                age_ms: u32::try_from(now.saturating_sub(batch.made_ms)).unwrap_or(u32::MAX),
                count,
            };
            let at = out.len();
            out.resize(at + HEADER_LEN, 0);
            out.extend_from_slice(&header.octets());
            out.extend_from_slice(records);
            seal(MessageType::Batch, at, out);
            self.sender.window.advance();
            if again {
                self.stats.retransmits += 1;
            } else {
                self.stats.batches_sent += 1;
            }
        }
    }

    fn frame(&mut self, message: MessageType, out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
        let at = out.len();
        out.resize(at + HEADER_LEN, 0);
        payload(out);
        seal(message, at, out);
    }
}

/// Writes the header of the frame that begins at `at` and ends with `out`.
pub(super) fn seal(message: MessageType, at: usize, out: &mut Vec<u8>) {
    let length = out.len() - at - HEADER_LEN;
    let sealed = out
        .get_mut(at..)
        .map(|frame| frame::seal(frame, message as u16, length));
    if !matches!(sealed, Some(Ok(_))) {
        // Longer than a frame can be: the lengths are bounded, so that this does not come about; a piece of one would
        // spoil the stream.
        out.truncate(at);
    }
}

const _: () = assert!(super::BATCH_BYTES_MAX + BATCH_HEADER_LEN < super::PAYLOAD_ACCEPTED as usize);
