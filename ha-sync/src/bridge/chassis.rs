//! A bridge as the link's chassis.

use tandem_engine::replica::{Lease, LeaseChange, Mark, ObjectTypes, Op};
use tandem_engine::ticks::Ticks;

use super::roles::SetState;
use super::{Bridge, BridgeEvent, Listening, rings};
use crate::chassis::{Chassis, PeerEvent, Renewal, Sets};

impl Chassis for Bridge {
    fn next(&mut self) -> Option<Op> {
        if self.listening != Listening::On {
            return None;
        }
        if self.is_to_ask() {
            return Some(Op::Refused);
        }
        if let Some(mark) = self.mark_of_offer() {
            return Some(mark);
        }
        if let Some(end) = self.bulk_end() {
            return Some(end);
        }
        while let Some((worker, op)) = self.outboxes.pop() {
            match op {
                Op::RoleDone { service_set, epoch } => self.role_done(service_set, epoch),
                Op::Lacks(lacks) => self.note_lack(worker, lacks),
                Op::Merged { service_set, merge } => self.merged(service_set, merge),
                Op::MergeEnd(bulk) => self.merge_ended(worker, bulk),
                Op::BulkEnd(number) => {
                    self.part_told(worker, number);
                    if let Some(end) = self.bulk_end() {
                        return Some(end);
                    }
                }
                Op::Mark(_) => return Some(op),
                op => {
                    self.stats.taken += 1;
                    return Some(op);
                }
            }
        }
        None
    }

    fn renews(&mut self) -> Renewal {
        // Asked before each operation, so nothing is looked at where there is nothing to renew.
        if !self.bulks.renew {
            return Renewal::Not;
        }
        // The roles that it may follow from come first, and what follows from those; and who is dead is told in vain.
        let is_moving = self.sets.iter().any(SetState::is_changing)
            || self.events.iter().any(|e| matches!(e, BridgeEvent::RoleDone(_)));
        if is_moving || self.peer_is_dead {
            Renewal::Later
        } else {
            self.bulks.renew = false;
            Renewal::Now
        }
    }

    fn install(&mut self, op: &Op) -> bool {
        let taken = match rings::subscriber(op) {
            Some(subscriber) => {
                let prefix = self.program.steering_prefix;
                self.rings.push_for(subscriber, prefix, *op)
            }
            None => match op {
                Op::Extent(extent) | Op::ExtentClose(extent) => self.rings.push_shard(extent.shard, *op),
                Op::BulkBegin(_, types) => self.peer_begins(*op, *types),
                Op::BulkEnd(_) => self.peer_ends(*op),
                // Nothing else comes from a peer.
                _ => true,
            },
        };
        if taken {
            self.stats.installed += 1;
        } else {
            self.stats.inbox_full += 1;
        }
        taken
    }

    fn covers(&self) -> Sets {
        self.bulks.told
    }

    fn covered(&mut self, sets: Sets) {
        self.bulks.covered = sets;
    }

    fn next_lease(&mut self) -> Option<LeaseChange> {
        self.keeper.next_change()
    }

    fn lease_acknowledged(&mut self, lease: Lease) {
        self.keeper.acknowledged(lease, &self.program, &mut self.stats);
    }

    fn mark_acknowledged(&mut self, mark: Mark) {
        if !self.is_offer_taken(mark) {
            self.rings.give_back(mark);
        }
    }

    fn awaits_answer(&self) -> Option<u64> {
        (self.bulks.awaited != Sets::default()).then_some(self.bulks.offers_taken)
    }

    fn bulk_answers(&mut self, answers: bool) {
        self.bulks.answers = answers;
    }

    fn peer_merges(&mut self, merges: bool) {
        self.peer_is_to_merge(merges);
    }

    fn heard(&mut self, now: u64) {
        self.peer_is_dead = false;
        if self.keeper.heard(now, &self.program) {
            self.rings.command(Op::HoldsUnknown);
        }
    }

    fn lease_told(&mut self, change: LeaseChange) {
        self.keeper.told(change, &self.program, &mut self.stats);
    }

    fn peer(&mut self, event: PeerEvent) {
        if matches!(event, PeerEvent::Connected { .. }) {
            self.peer_is_dead = false;
            // Most begin to tell everything by themselves.
            self.bulks.ask_later(self.now);
        }
        match &event {
            PeerEvent::Connected {
                new_bulk: Some(number),
            } => {
                self.stop();
                self.keeper.connected();
                // That tells everything.
                self.bulks.renew = false;
                self.bulk_asked(*number, ObjectTypes::ALL);
            }
            PeerEvent::Connected { new_bulk: None } => self.keeper.connected(),
            PeerEvent::Bulk(number, types) => self.bulk_asked(*number, *types),
            PeerEvent::Suspended(_) | PeerEvent::Disconnected | PeerEvent::Refused(_) => {
                if !matches!(event, PeerEvent::Suspended(_)) {
                    self.peer_roles.clear();
                }
                self.keeper.disconnected(&self.program, &mut self.stats);
            }
            PeerEvent::Forgotten => self.stop(),
            PeerEvent::Roles(roles) => {
                self.peer_roles.clone_from(roles);
                self.yield_to(roles);
                self.look_at_offers();
                self.look_at_passed_over();
            }
            PeerEvent::ReleaseAsked { .. }
            | PeerEvent::Released { .. }
            | PeerEvent::ReleaseRefused { .. } => {}
        }
        self.events.push_back(BridgeEvent::Peer(event));
    }

    fn waiting_since(&self) -> Option<u64> {
        let at = |ticks: Ticks| self.config.tick_zero_ms + u64::from(ticks.0) * 100;
        let held = self.held().map(|(_, since)| at(since));
        held.chain(self.outboxes.waiting_since()).min()
    }

    fn ticks(&self, now: u64) -> Ticks {
        Ticks((now.saturating_sub(self.config.tick_zero_ms) / 100) as u32)
    }
}
