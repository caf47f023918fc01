//! Packets without a session: found late, ICMP errors, translated without one, and the first packets of new sessions.
//!
//! ```text
//!   sort      find again; errors -> icmp.rs; routes, terms, mappings: a draft (sort.rs, inbound.rs); ask for what it stands on
//!   classify  firewall policies, all drafts of a direction at once (classify.rs)
//!   claim     subscriber's limits, mapping or port (claim.rs); ask for the lines the session will be written to
//!   write     session record, index entries, timer (write.rs); then translate
//!   again     packets that were refused, but whose session another packet of the burst began
//! ```
//!
//! What a draft stands on is counted when it is claimed (its subscriber's and its mapping's sessions), so that limits hold
//! and nothing goes away under it before it is written.
//!
//! Each step goes over all of the burst's packets before the next, so that a new session, too, waits for memory once and
//! not nine times.

use tandem_wire::l4::L4;

use super::flow::Described;
use super::{Engine, MAX_BURST};
use crate::drop_reason::DropReason;
use crate::index::Place;
use crate::packet::{Answer, Packet, Router, Side, Verdict};
use crate::program::{FilteringType, NONE, PoolId, PrefixId, ServiceSetId};
use crate::session::{Direction, KIND_66, KIND_FREE, NO_NEXT_HOP, Tuple4};

/// What a session stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Basis {
    /// A mapping of its inside end, which may be there already.
    Mapping,
    /// This mapping: a session from outside.
    Known(u32),
    /// A public port of its own.
    Port,
    /// A public port that sessions to other outside ends share.
    SharedPort,
    /// A mapping of its whole inside address.
    Address,
    /// Nothing: it is not translated, or by a static mapping.
    Nothing,
}

/// The ends of a session. IPv4 addresses stand under `::ffff:0:0/96`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ends {
    /// The inside end.
    pub inside: (u128, u16),
    /// The outside end as the subscriber sees it; of NAT64 and of twice NAT not where it is.
    pub seen: (u128, u16),
    /// The outside end where it is.
    pub outside: (u128, u16),
    /// The inside end as the outside sees it: known after the claim, unless nothing is claimed.
    pub public: (u128, u16),
}

/// A new session on its way into the tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft {
    pub packet: u8,
    /// It was refused.
    pub dead: bool,
    pub kind: u8,
    pub proto: u8,
    pub direction: Direction,
    pub service_set: ServiceSetId,
    pub term: u16,
    /// Id of the policy that let it begin, or [`NONE`].
    pub policy: u16,
    pub pool: PoolId,
    pub prefix: PrefixId,
    pub basis: Basis,
    pub filtering: FilteringType,
    pub mapping_place: Place,
    /// Place of its session as it looks from inside, when its packet was looked up there.
    pub out_place: Place,
    /// Address of its subscriber.
    pub owner: u128,
    pub subscriber_place: Place,
    pub ends: Ends,
    /// Next hop to the outside, and the generation of routes it is of, when it was looked up.
    pub route: (u16, u32),
    // Known after the claim:
    pub subscriber: u32,
    /// Place of its session as it looks from outside; nowhere for IPv6 on both sides.
    pub back_place: Place,
    /// Place of its mapping as seen from outside, when that is new.
    pub public_place: Place,
    /// Mapping number, or public address index when the session owns its port.
    pub anchor: u32,
    /// The mapping is new and not yet reachable from outside.
    pub mapping_is_new: bool,
    pub flags: u16,
}

impl Draft {
    /// What its packets look like from outside, when that is IPv4.
    pub fn back(&self) -> Tuple4 {
        Tuple4 {
            src: self.ends.outside.0 as u32,
            dst: self.ends.public.0 as u32,
            sport: self.ends.outside.1,
            dport: self.ends.public.1,
        }
    }
}

/// Room for the drafts of a burst.
pub(super) fn drafts() -> Box<[Draft]> {
    let blank = draft(KIND_FREE, 0, Direction::Out, NONE, Ends::default());
    Box::new([blank; MAX_BURST])
}

/// Packets of a burst, by position, that were refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Refusals {
    /// By their kind, or a route or rule.
    early: u64,
    /// By a limit, or for want of a port or of room.
    claims: u64,
}

const _: () = assert!(MAX_BURST <= 64, "a bit for each packet of a burst");

impl Engine {
    pub(super) fn first_packets<D: Described, P: Packet, R: Router>(
        &mut self,
        router: &R,
        packets: &mut [P],
        descs: &mut [D],
        misses: &[u8],
    ) {
        // Drafts are written where they stay: to copy one costs as much as to look its packet up.
        let mut all = std::mem::take(&mut self.drafts);
        let (count, refused) = self.sort_all(router, packets, descs, misses, &mut all);
        let drafts = all.get_mut(..count).unwrap_or(&mut []);
        self.carry_out(router, packets, descs, drafts, refused);
        self.drafts = all;
    }

    /// Sorts the packets; how many drafts there are, and who was refused.
    fn sort_all<D: Described, P: Packet, R: Router>(
        &mut self,
        router: &R,
        packets: &mut [P],
        descs: &mut [D],
        misses: &[u8],
        drafts: &mut [Draft],
    ) -> (usize, Refusals) {
        let mut refused = Refusals::default();
        let mut count = 0;
        for i in misses {
            let at = usize::from(*i);
            let (Some(desc), Some(packet)) = (descs.get_mut(at), packets.get_mut(at)) else {
                continue;
            };
            let Some(draft) = drafts.get_mut(count) else {
                break;
            };
            if self.sort(*i, desc, packet, router, draft) {
                count += 1;
            } else if matches!(desc.verdict(), Verdict::Drop(..)) && desc.place().is_known() {
                // From outside only what begins nothing by itself is worth a second look: a scan shall not cost two.
                let again = match desc.side() {
                    Side::Inside(_) => true,
                    Side::Outside => desc.l4() == L4::LaterFragment,
                    Side::Neither => false,
                };
                refused.early |= u64::from(again) << (i % 64);
            }
        }
        (count, refused)
    }

    /// From the drafts to the sessions.
    fn carry_out<D: Described, P: Packet, R: Router>(
        &mut self,
        router: &R,
        packets: &mut [P],
        descs: &mut [D],
        mut drafts: &mut [Draft],
        mut refused: Refusals,
    ) {
        if self.has_standby {
            let left = self.refuse_standby(drafts, descs);
            drafts = drafts.get_mut(..left).unwrap_or(&mut []);
        }
        for draft in drafts.iter() {
            self.mappings.prefetch_candidate(draft.mapping_place);
            self.subscribers.prefetch_candidate(draft.subscriber_place);
        }
        if self.has_firewall {
            self.classify(drafts, descs);
        }
        for (ahead, draft) in drafts.iter_mut().enumerate() {
            if draft.dead {
                continue;
            }
            self.sessions.prefetch_free(ahead as u32);
            match self.claim(draft) {
                // Whether the next one may share its port, the session table says: it has to be there by then.
                Ok(()) => {
                    self.prefetch_writing(draft);
                    if draft.basis == Basis::SharedPort {
                        self.begin(draft, packets, descs, router);
                    }
                }
                Err(reason) => {
                    draft.dead = true;
                    if let Some(desc) = descs.get_mut(usize::from(draft.packet)) {
                        desc.set_verdict(Verdict::Drop(reason, self.refusal(reason, draft)));
                    }
                    refused.claims |= 1 << (draft.packet % 64);
                }
            }
        }
        for draft in drafts.iter().filter(|d| !d.dead && d.basis != Basis::SharedPort) {
            self.begin(draft, packets, descs, router);
        }
        if refused != Refusals::default() {
            self.look_again(refused, drafts, packets, descs, router);
        }
    }

    /// Writes the session of a draft whose basis is claimed, and passes its packet.
    fn begin<D: Described, P: Packet, R: Router>(
        &mut self,
        draft: &Draft,
        packets: &mut [P],
        descs: &mut [D],
        router: &R,
    ) {
        let at = usize::from(draft.packet);
        let (Some(desc), Some(packet)) = (descs.get_mut(at), packets.get_mut(at)) else {
            return;
        };
        match self.write(draft, desc.l4()) {
            Ok(number) => desc.translate(self, number, packet, router),
            Err(reason) => desc.set_verdict(Verdict::Drop(reason, self.refusal(reason, draft))),
        }
    }

    /// Packets that could not begin a session: another packet of the burst may have begun theirs. (Later fragments, a
    /// second packet at a limit.) What stays refused is counted at its subscriber.
    #[cold]
    fn look_again<D: Described, P: Packet, R: Router>(
        &mut self,
        refused: Refusals,
        drafts: &[Draft],
        packets: &mut [P],
        descs: &mut [D],
        router: &R,
    ) {
        for (at, (desc, packet)) in descs
            .iter_mut()
            .zip(packets.iter_mut())
            .enumerate()
            .take(MAX_BURST)
        {
            if (refused.early | refused.claims) & 1u64 << at != 0
                && let Some(number) = desc.find(self)
            {
                desc.translate(self, number, packet, router);
                continue;
            }
            if refused.claims & 1u64 << at == 0 {
                continue;
            }
            let draft = drafts.iter().find(|d| usize::from(d.packet) == at);
            let number =
                draft.and_then(|d| self.subscribers.find(d.subscriber_place, d.service_set, d.owner));
            if let Some(subscriber) = number.and_then(|n| self.subscribers.get_mut(n)) {
                subscriber.refused = subscriber.refused.saturating_add(1);
            }
        }
    }

    /// Decides what kind of first packet this is; whether it may begin a session, which `draft` then says.
    fn sort<D: Described, P: Packet, R: Router>(
        &mut self,
        at: u8,
        desc: &mut D,
        packet: &mut P,
        router: &R,
        draft: &mut Draft,
    ) -> bool {
        if desc.is_stateless() {
            desc.stateless(self, packet, router);
            return false;
        }
        if desc.is_icmp_error() {
            desc.icmp_error(self, packet, router);
            if self.has_standby {
                desc.set_verdict(self.refused_here(desc.side(), &desc.flow(), desc.verdict()));
            }
            return false;
        }
        // No session begins before all packets are sorted: what looked like none at first is none.
        if desc.has_candidate()
            && let Some(number) = desc.find(self)
        {
            desc.translate(self, number, packet, router);
            return false;
        }
        let flow = desc.flow();
        let sorted = match desc.side() {
            Side::Inside(set) => self.sort_inside(set, &flow, router, D::answer_to_route, draft),
            Side::Outside => self.sort_outside(&flow, router).and_then(|outside| {
                *draft = outside;
                self.check_becomes_six(desc, packet, draft)
            }),
            Side::Neither => Err(Verdict::Route),
        };
        draft.packet = at;
        draft.out_place = match (desc.side(), flow.kind) {
            (Side::Inside(_), _) | (_, KIND_66) => desc.place(),
            _ => Place::NOWHERE,
        };
        if let Err(mut verdict) = sorted {
            if self.has_standby {
                verdict = self.refused_here(desc.side(), &flow, verdict);
            }
            desc.set_verdict(verdict);
            return false;
        }
        true
    }

    /// What the sender of a refused first packet is told. RFC 6888 REQ-11, RFC 5508 REQ-8; RFC 6146 section 3.5.1.1.
    fn refusal(&self, reason: DropReason, draft: &Draft) -> Answer {
        use crate::program::RefusalAnswer::{AdminProhibited, HostUnreachable, Silent};
        use tandem_wire::{icmp, icmp6};
        if reason == DropReason::FirewallRejected {
            return Answer::Reset;
        }
        let silent = matches!(
            reason,
            DropReason::FirewallDenied | DropReason::FirewallDefault | DropReason::SessionConflict
        );
        if draft.direction == Direction::In || silent {
            return Answer::None;
        }
        let wide = draft.kind != crate::session::KIND_44;
        match self.service_set(draft.service_set).map(|s| s.on_refusal) {
            Some(HostUnreachable) if wide => Answer::Unreachable(icmp6::CODE_ADDRESS),
            Some(AdminProhibited) if wide => Answer::Unreachable(icmp6::CODE_ADMIN_PROHIBITED),
            Some(HostUnreachable) => Answer::Unreachable(icmp::CODE_HOST),
            Some(AdminProhibited) => Answer::Unreachable(icmp::CODE_ADMIN_PROHIBITED),
            Some(Silent) | None => Answer::None,
        }
    }
}

/// A draft before anything but its ends is known.
#[inline(always)]
pub(super) fn draft(
    kind: u8,
    proto: u8,
    direction: Direction,
    service_set: ServiceSetId,
    ends: Ends,
) -> Draft {
    Draft {
        packet: 0,
        dead: false,
        kind,
        proto,
        direction,
        service_set,
        term: NONE,
        policy: NONE,
        pool: NONE,
        prefix: NONE,
        basis: Basis::Nothing,
        filtering: FilteringType::AddressAndPortDependent,
        mapping_place: Place::NOWHERE,
        out_place: Place::NOWHERE,
        route: (NO_NEXT_HOP, 0),
        back_place: Place::NOWHERE,
        public_place: Place::NOWHERE,
        owner: ends.inside.0,
        subscriber_place: Place::NOWHERE,
        ends,
        subscriber: 0,
        anchor: 0,
        mapping_is_new: false,
        flags: 0,
    }
}
