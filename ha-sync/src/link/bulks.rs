//! The bulk that is told: what asks for one, what it is of, and when it begins.
//!
//! Its begin is said to the peer at once, and it is shown as under way. The workers are asked for it when it has rested long
//! enough after the one before ([`Damping`]). Whoever asks for another meanwhile gets this one, made wider if need be.

use tandem_engine::replica::ObjectTypes;

use super::damping::Damping;
use super::sender::Sender;
use super::state::Mirror;
use super::stats::{BulkProgress, LinkStats};
use crate::chassis::{Chassis, PeerEvent, Renewal};
use crate::wire::{Record, VERSION_OBJECT_TYPES};

/// What is known of bulks that are told.
#[derive(Debug, Default)]
pub(super) struct Bulks {
    /// Number of the last one.
    pub number: u16,
    /// What it is of.
    types: ObjectTypes,
    /// The workers will be asked for it then.
    waits_until: Option<u64>,
    /// Another one has to be told, of these types; and whether at once.
    wanted: Option<(ObjectTypes, bool)>,
    /// The peer wants to know which bulk answers it: the begin that is said next does.
    answers: bool,
    damping: Damping,
    /// The peer understands bulks of some types of objects only.
    by_type: bool,
}

impl Bulks {
    /// This wire version is spoken with the peer.
    pub fn greet(&mut self, version: u16) {
        self.by_type = version >= VERSION_OBJECT_TYPES;
    }

    /// Nothing is told for now.
    pub fn stop(&mut self) {
        (self.waits_until, self.wanted) = (None, None);
    }

    /// Everything of these types is to be told anew with the next look; at once, or when the last bulk is long enough ago.
    pub fn want(&mut self, types: ObjectTypes, at_once: bool) {
        let (before, was_at_once) = self.wanted.unwrap_or_default();
        self.wanted = Some((before.union(types), was_at_once || at_once));
    }

    /// The bulk that is wanted is to say that it answers.
    pub fn answer(&mut self) {
        self.answers = true;
    }

    /// When the workers will be asked for the one that waits.
    pub fn waits_until(&self) -> Option<u64> {
        self.waits_until
    }
}

impl Sender {
    /// A new stream begins with a bulk of everything; its number, which the workers get at once.
    pub fn begin_first_bulk(&mut self, now: u64, stats: &mut LinkStats) -> u16 {
        self.bulks.stop();
        self.bulks.damping.began(now);
        self.say_bulk(ObjectTypes::ALL, now, stats);
        self.bulks.number
    }

    /// Something was lost that only a bulk makes up for. Whatever waits, or is under way, began before: its begin is said anew.
    pub fn lost(&mut self, now: u64, stats: &mut LinkStats) {
        if self.bulks.waits_until.is_none() {
            self.rest(now, stats);
        }
        self.say_bulk(ObjectTypes::ALL, now, stats);
    }

    /// Begins a bulk that is wanted, and has the workers asked for one that has waited long enough.
    pub fn look_after_bulks(&mut self, now: u64, chassis: &mut impl Chassis, stats: &mut LinkStats) {
        match chassis.renews() {
            Renewal::Not => {}
            Renewal::Later => {
                // What rests, or is wanted, becomes a part of it.
                self.mirror = Mirror::Set;
                stats.bulk_wait_ms = self.bulks.waits_until.map_or(0, |at| at.saturating_sub(now));
                return;
            }
            Renewal::Now => {
                // Of a set that was primary there when a resting bulk's begin was said, that would sweep nothing.
                self.bulks.waits_until = Some(now);
                self.say_bulk(ObjectTypes::ALL, now, stats);
            }
        }
        if let Some((types, at_once)) = self.bulks.wanted.take() {
            let waits = self.bulks.waits_until.is_some();
            if at_once {
                self.bulks.waits_until = Some(now);
            } else if !waits {
                self.rest(now, stats);
            }
            // One that has not begun at the workers tells all that one which began now would; but its begin, said before, is no answer.
            if !waits || !self.bulks.types.contains(types) || self.bulks.answers {
                self.say_bulk(types, now, stats);
            }
        }
        if self.bulks.waits_until.take_if(|at| *at <= now).is_some() {
            self.bulks.damping.began(now);
            chassis.peer(PeerEvent::Bulk(self.bulks.number, self.bulks.types));
        }
        stats.bulk_wait_ms = self.bulks.waits_until.map_or(0, |at| at - now);
    }

    fn rest(&mut self, now: u64, stats: &mut LinkStats) {
        let at = self.bulks.damping.asked(now);
        stats.bulks_rested += u64::from(at > now);
        self.bulks.waits_until = Some(at);
    }

    /// Says the begin of a bulk of these types, and of those of one that the peer has not had to its end.
    fn say_bulk(&mut self, types: ObjectTypes, now: u64, stats: &mut LinkStats) {
        let all = match (self.mirror, self.bulks.by_type) {
            (Mirror::Active, true) => types,
            (Mirror::Set, true) => types.union(self.bulks.types),
            (_, false) => ObjectTypes::ALL,
        };
        self.bulks.types = all;
        self.bulks.number = self.bulks.number.wrapping_add(1).max(1);
        self.mirror = Mirror::Set;
        stats.bulks_sent += 1;
        stats.bulk_sent = BulkProgress {
            number: self.bulks.number,
            types: all,
            running: true,
            began_ms: now,
            ..BulkProgress::default()
        };
        let answers = std::mem::take(&mut self.bulks.answers);
        self.say(Record::BulkBegin(self.bulks.number, all, answers), now);
    }
}
