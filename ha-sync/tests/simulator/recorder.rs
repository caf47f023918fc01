//! Listens to what a chassis tells the other, on its way from the bridge into the link.

use ha_sync::chassis::{Chassis, PeerEvent, Renewal, Sets};
use tandem_engine::address::of_v4;
use tandem_engine::program::Program;
use tandem_engine::replica::{Lease, LeaseChange, Mark, Op, SessionKey, SessionRecord};
use tandem_engine::ticks::Ticks;

use crate::views::{Ends, Set};

/// What was told.
#[derive(Debug, Default)]
pub struct Told {
    /// Sessions that were told of, ever.
    pub sessions: Set<Ends>,
    /// Operations told.
    pub operations: u64,
}

/// A chassis with somebody who listens.
pub struct Recorder<'a, C> {
    /// The chassis.
    pub chassis: &'a mut C,
    /// What it told.
    pub told: &'a mut Told,
    /// Its program.
    pub program: &'a Program,
}

/// The ends of a session that is told of.
fn ends_of(program: &Program, record: &SessionRecord) -> Ends {
    let (set, protocol) = (record.service_set, record.protocol);
    let with = |inside, outside, public, remote| Ends {
        set,
        protocol,
        inside,
        outside,
        public,
        remote,
    };
    match &record.key {
        SessionKey::V4 { out, back } => with(
            (of_v4(out.src), out.sport),
            (of_v4(out.dst), out.dport),
            (of_v4(back.dst), back.dport),
            (of_v4(back.src), back.sport),
        ),
        SessionKey::Nat64 {
            inside,
            inside_port,
            outside_port,
            prefix,
            back,
        } => {
            let prefix = program.prefixes.iter().find(|p| p.id == *prefix);
            let outside = prefix.expect("its prefix").prefix.embed(back.src);
            with(
                (*inside, *inside_port),
                (outside, *outside_port),
                (of_v4(back.dst), back.dport),
                (of_v4(back.src), back.sport),
            )
        }
        SessionKey::V6(key) => {
            let (inside, outside) = ((key.inside, key.inside_port), (key.outside, key.outside_port));
            with(inside, outside, inside, outside)
        }
    }
}

impl<C: Chassis> Chassis for Recorder<'_, C> {
    fn next(&mut self) -> Option<Op> {
        let op = self.chassis.next()?;
        self.told.operations += 1;
        if let Op::Session(record) = &op {
            self.told.sessions.insert(ends_of(self.program, record));
        }
        Some(op)
    }

    fn install(&mut self, op: &Op) -> bool {
        self.chassis.install(op)
    }

    fn awaits_answer(&self) -> Option<u64> {
        self.chassis.awaits_answer()
    }

    fn bulk_answers(&mut self, answers: bool) {
        self.chassis.bulk_answers(answers);
    }

    fn renews(&mut self) -> Renewal {
        self.chassis.renews()
    }

    fn waiting_since(&self) -> Option<u64> {
        self.chassis.waiting_since()
    }

    fn covers(&self) -> Sets {
        self.chassis.covers()
    }

    fn covered(&mut self, sets: Sets) {
        self.chassis.covered(sets);
    }

    fn next_lease(&mut self) -> Option<LeaseChange> {
        self.chassis.next_lease()
    }

    fn lease_acknowledged(&mut self, lease: Lease) {
        self.chassis.lease_acknowledged(lease);
    }

    fn mark_acknowledged(&mut self, mark: Mark) {
        self.chassis.mark_acknowledged(mark);
    }

    fn heard(&mut self, now: u64) {
        self.chassis.heard(now);
    }

    fn lease_told(&mut self, change: LeaseChange) {
        self.chassis.lease_told(change);
    }

    fn peer(&mut self, event: PeerEvent) {
        self.chassis.peer(event);
    }

    fn ticks(&self, now: u64) -> Ticks {
        self.chassis.ticks(now)
    }
}
