//! Packets without a session: found late, from outside, ICMP errors, and the first packets of new sessions from inside.
//!
//! ```text
//!   sort    find again; from outside -> inbound.rs; errors -> icmp.rs; routes, rules; ask for mapping and subscriber
//!   claim   subscriber's limits, mapping or port; ask for the lines the session will be written to
//!   write   session record, index entries, timer; then translate
//!   again   packets that were refused, but whose session another packet of the burst began
//! ```
//!
//! What a draft stands on is counted when it is claimed (its subscriber's and its mapping's sessions), so that limits hold
//! and nothing goes away under it before it is written.
//!
//! Each step goes over all of the burst's packets before the next, so that a new session, too, waits for memory once and
//! not nine times.

use tandem_wire::l4::{Ipv4Meta, L4};
use tandem_wire::{icmp, ipv4, tcp};

use super::{Engine, MAX_BURST};
use crate::claims::ClaimRefused;
use crate::drop_reason::DropReason;
use crate::index::Place;
use crate::mapping::Mapping;
use crate::packet::{Answer, Desc, Packet, RouteKind, Router, Side, Verdict};
use crate::ports::{PortClass, Request};
use crate::program::{
    FilteringType, MappingType, NatAction, NatTerm, PoolId, RefusalAnswer, ServiceSetId, TermMatch,
};
use crate::session::{
    Direction, FLAG_ADDRESS_ENTRY, FLAG_ADDRESS_ONLY, FLAG_INITIATED_OUTSIDE, FLAG_OWNS_PORT, KIND_NAPT44,
    Tuple4, new_cold, new_hot,
};
use crate::subscriber::Refused;
use crate::tcp_state::{State, TimerClass};

/// A new session on its way into the tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft {
    pub packet: u8,
    pub service_set: ServiceSetId,
    pub term: u16,
    pub pool: PoolId,
    pub mapping_type: MappingType,
    pub filtering: FilteringType,
    pub mapping_place: Place,
    // Known after the claim:
    pub subscriber: u32,
    /// Mapping number, or public address index when the session owns its port or has none.
    pub anchor: u32,
    /// The mapping is new and not yet reachable from outside.
    pub mapping_is_new: bool,
    pub flags: u16,
    pub back: Tuple4,
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

/// Whether a packet matches a term.
pub(super) fn term_matches(matches: &TermMatch, meta: &Ipv4Meta, dport: u16) -> bool {
    let any =
        |list: &[crate::program::AddressRange], a: u32| list.is_empty() || list.iter().any(|r| r.contains(a));
    any(&matches.sources, meta.src)
        && any(&matches.destinations, meta.dst)
        && (matches.protocols.is_empty() || matches.protocols.contains(&meta.proto))
        && (matches.destination_ports.is_empty()
            || matches!(meta.proto, ipv4::TCP | ipv4::UDP)
                && matches.destination_ports.iter().any(|r| r.contains(dport)))
}

/// Whether a packet may begin a session at all; otherwise why not.
fn may_begin(desc: &Desc, accept_non_syn: bool) -> Result<(), DropReason> {
    match desc.meta.l4 {
        L4::Tcp { flags, .. }
            if flags & (tcp::SYN | tcp::ACK | tcp::RST | tcp::FIN) == tcp::SYN || accept_non_syn =>
        {
            Ok(())
        }
        L4::Tcp { .. } => Err(DropReason::TcpNonSyn),
        L4::IcmpQuery { icmp_type, .. } if icmp::is_query_request(icmp_type) => Ok(()),
        L4::IcmpQuery { .. } | L4::IcmpOther { .. } | L4::IcmpError { .. } => {
            Err(DropReason::IcmpUnsupported)
        }
        L4::Udp { .. } | L4::Other => Ok(()),
        L4::LaterFragment => Err(DropReason::NoMapping),
    }
}

impl Engine {
    pub(super) fn first_packets<P: Packet, R: Router>(
        &mut self,
        router: &R,
        packets: &mut [P],
        descs: &mut [Desc],
        misses: &[u8],
    ) {
        let mut drafts = [None; MAX_BURST];
        let mut count = 0;
        let mut refused = Refusals::default();
        for i in misses {
            let at = usize::from(*i);
            let (Some(desc), Some(packet)) = (descs.get_mut(at), packets.get_mut(at)) else {
                continue;
            };
            if let Some(draft) = self.sort(*i, desc, packet, router) {
                drafts[count] = Some(draft);
                count += 1;
            } else if matches!(
                (desc.side, desc.verdict, desc.place.is_known()),
                (Side::Inside(_), Verdict::Drop(..), true)
            ) {
                refused.early |= 1 << (i % 64);
            }
        }
        let drafts = &mut drafts[..count];
        for draft in drafts.iter().flatten() {
            self.mappings.prefetch_candidate(draft.mapping_place);
            if let Some(desc) = descs.get(usize::from(draft.packet)) {
                self.subscribers
                    .prefetch_candidate(self.subscribers.place(draft.service_set, desc.meta.src));
            }
        }
        for (ahead, slot) in drafts.iter_mut().enumerate() {
            let Some(draft) = slot else { continue };
            let Some(desc) = descs.get_mut(usize::from(draft.packet)) else {
                continue;
            };
            self.sessions.prefetch_free(ahead as u32);
            match self.claim(draft, desc) {
                Ok(()) => {
                    self.sessions.prefetch_place(self.sessions.place(
                        &draft.back,
                        desc.meta.proto,
                        Direction::In,
                        0,
                    ));
                    if draft.mapping_is_new {
                        let back = &draft.back;
                        self.mappings.prefetch_place(self.mappings.public_place(
                            back.dst,
                            back.dport,
                            desc.meta.proto,
                        ));
                    }
                }
                Err(reason) => {
                    desc.verdict = Verdict::Drop(reason, self.refusal(reason, draft.service_set));
                    refused.claims |= 1 << (draft.packet % 64);
                    *slot = None;
                }
            }
        }
        for draft in drafts.iter().flatten() {
            let at = usize::from(draft.packet);
            let (Some(desc), Some(packet)) = (descs.get_mut(at), packets.get_mut(at)) else {
                continue;
            };
            match self.write(draft, desc) {
                Ok(number) => self.translate(number, desc, packet, router),
                Err(reason) => desc.verdict = Verdict::Drop(reason, self.refusal(reason, draft.service_set)),
            }
        }
        if refused != Refusals::default() {
            self.look_again(refused, packets, descs, router);
        }
    }

    /// Packets that could not begin a session: another packet of the burst may have begun theirs. (Later fragments, a
    /// second packet at a limit.) What stays refused is counted at its subscriber.
    #[cold]
    fn look_again<P: Packet, R: Router>(
        &mut self,
        refused: Refusals,
        packets: &mut [P],
        descs: &mut [Desc],
        router: &R,
    ) {
        for (at, (desc, packet)) in descs
            .iter_mut()
            .zip(packets.iter_mut())
            .enumerate()
            .take(MAX_BURST)
        {
            let bit = 1u64 << at;
            let (Side::Inside(set), place) = (desc.side, desc.place) else {
                continue;
            };
            if (refused.early | refused.claims) & bit == 0 {
                continue;
            }
            let found = self
                .sessions
                .find(place, &desc.tuple(), desc.meta.proto, Direction::Out, set);
            if let Some(number) = found {
                self.translate(number, desc, packet, router);
            } else if refused.claims & bit != 0 {
                let place = self.subscribers.place(set, desc.meta.src);
                let number = self.subscribers.find(place, set, desc.meta.src);
                if let Some(subscriber) = number.and_then(|n| self.subscribers.get_mut(n)) {
                    subscriber.refused = subscriber.refused.saturating_add(1);
                }
            }
        }
    }

    /// Decides what kind of first packet this is; a draft when it may begin a session from inside.
    fn sort<P: Packet, R: Router>(
        &mut self,
        at: u8,
        desc: &mut Desc,
        packet: &mut P,
        router: &R,
    ) -> Option<Draft> {
        if matches!(desc.meta.l4, L4::IcmpError { .. }) {
            self.icmp_error(desc, packet, router);
            return None;
        }
        let set = if let Side::Inside(set) = desc.side {
            set
        } else {
            crate::program::NONE
        };
        if let Some(number) =
            self.sessions
                .find(desc.place, &desc.tuple(), desc.meta.proto, desc.direction(), set)
        {
            self.translate(number, desc, packet, router);
            return None;
        }
        if desc.side == Side::Outside {
            self.inbound(desc, packet, router);
            return None;
        }
        match self.sort_inside(at, set, desc, router) {
            Ok(draft) => Some(draft),
            Err(verdict) => {
                desc.verdict = verdict;
                None
            }
        }
    }

    fn sort_inside<R: Router>(
        &self,
        at: u8,
        id: ServiceSetId,
        desc: &Desc,
        router: &R,
    ) -> Result<Draft, Verdict> {
        self.leaves_by_outside(id, desc, router)?;
        let set = self.service_set(id).ok_or(Verdict::Route)?;
        let meta = &desc.meta;
        let term: Option<&NatTerm> = set
            .terms
            .iter()
            .find(|t| term_matches(&t.matches, meta, desc.dport));
        let term = term.ok_or(Verdict::Drop(DropReason::NatNoRuleMatch, Answer::None))?;
        let NatAction::Napt44 {
            pool,
            mapping,
            filtering,
        } = term.action
        else {
            return Err(Verdict::Route);
        };
        may_begin(desc, set.tcp.accept_non_syn).map_err(|r| Verdict::Drop(r, Answer::None))?;
        if meta.ttl <= 1 {
            return Err(Verdict::Drop(DropReason::TtlExpired, Answer::TimeExceeded));
        }
        let mapping_place = self.mappings.inside_place(id, meta.src, desc.sport, meta.proto);
        self.mappings.prefetch_place(mapping_place);
        self.subscribers
            .prefetch_place(self.subscribers.place(id, meta.src));
        Ok(Draft {
            packet: at,
            service_set: id,
            term: term.number,
            pool,
            mapping_type: mapping,
            filtering,
            mapping_place,
            subscriber: 0,
            anchor: 0,
            mapping_is_new: false,
            flags: 0,
            back: Tuple4::default(),
        })
    }

    /// Whether a packet from inside is for this service set's outside; otherwise what it is.
    fn leaves_by_outside<R: Router>(&self, id: ServiceSetId, desc: &Desc, router: &R) -> Result<(), Verdict> {
        let meta = &desc.meta;
        if let Some(found) = self.program.public_space.find(meta.dst) {
            // A public address: hairpinning. Of an interface's own address only the pool's TCP and UDP ports are ours.
            let kernels = self.pool(found.pool).is_some_and(|p| {
                p.interface_address
                    && (!matches!(meta.proto, ipv4::TCP | ipv4::UDP) || !p.ports.contains(desc.dport))
            });
            return if kernels { Err(Verdict::Kernel) } else { Ok(()) };
        }
        match router.route(meta.dst, desc.flow_hash()).kind {
            RouteKind::Kernel => Err(Verdict::Kernel),
            RouteKind::Drop(reason) => Err(Verdict::Drop(reason, Answer::to_route(reason))),
            RouteKind::Forward { interface, .. } => {
                let outside = self
                    .program
                    .interfaces
                    .iter()
                    .any(|i| i.id == interface && i.outside_of.contains(&id));
                if outside { Ok(()) } else { Err(Verdict::Route) }
            }
        }
    }

    /// Limits, mapping, port. Whatever was taken before a refusal is given back.
    fn claim(&mut self, draft: &mut Draft, desc: &Desc) -> Result<(), DropReason> {
        let meta = &desc.meta;
        let set = self
            .sets
            .get(usize::from(draft.service_set))
            .and_then(Option::as_ref);
        let set = set.and_then(|plan| self.program.service_sets.get(plan.position));
        let limits = set.ok_or(DropReason::NatNoRuleMatch)?.limits;
        if self.sessions.live() >= self.sessions.capacity() {
            return Err(DropReason::SessionTableFull);
        }
        let number = self
            .subscribers
            .find_or_insert(draft.service_set, meta.src)
            .ok_or(DropReason::SubscriberTableFull)?;
        draft.subscriber = number;
        let subscriber = self
            .subscribers
            .get_mut(number)
            .ok_or(DropReason::SubscriberTableFull)?;
        let result = match subscriber.admit(&limits, self.now) {
            Ok(()) => self.claim_port(draft, desc, &limits),
            Err(Refused::Sessions) => Err(DropReason::SubscriberSessionLimit),
            Err(Refused::Rate) => Err(DropReason::SubscriberSessionRate),
        };
        if result.is_err() {
            self.drop_subscriber_if_idle(number);
        } else if let Some(subscriber) = self.subscribers.get_mut(number) {
            subscriber.sessions += 1;
        }
        result
    }

    fn claim_port(
        &mut self,
        draft: &mut Draft,
        desc: &Desc,
        limits: &crate::program::SubscriberLimits,
    ) -> Result<(), DropReason> {
        let meta = &desc.meta;
        let Some(class) = PortClass::of_protocol(meta.proto) else {
            return self.claim_address(draft, desc);
        };
        let dport = if class == PortClass::Icmp { 0 } else { desc.dport };
        let endpoint_independent = draft.mapping_type == MappingType::EndpointIndependent;
        let known = endpoint_independent
            .then(|| {
                self.mappings.find_inside(
                    draft.mapping_place,
                    draft.service_set,
                    meta.src,
                    desc.sport,
                    meta.proto,
                )
            })
            .flatten();
        if let Some(number) = known {
            let mapping = self
                .mappings
                .get_mut(number)
                .ok_or(DropReason::MappingTableFull)?;
            // Its address is another pool's since a reload: it ends with the sessions it has.
            let found = self.program.public_space.find(mapping.public);
            let found = found.filter(|f| self.ports.serves(f.index, f.pool));
            draft.pool = found.ok_or(DropReason::NatOutOfAddresses)?.pool;
            mapping.sessions += 1;
            mapping.holders += 1;
            draft.anchor = number;
            draft.filtering = mapping.filtering_type();
            draft.back = Tuple4 {
                src: meta.dst,
                dst: mapping.public,
                sport: dport,
                dport: mapping.public_port,
            };
        } else {
            let subscriber = self
                .subscribers
                .get(draft.subscriber)
                .ok_or(DropReason::SubscriberTableFull)?;
            if !subscriber.may_take_port(class as usize, limits) {
                return Err(DropReason::SubscriberPortLimit);
            }
            let position = self.pools.get(usize::from(draft.pool)).copied().map(usize::from);
            let pool = position
                .and_then(|p| self.program.pools.get(p))
                .ok_or(DropReason::NatOutOfAddresses)?;
            let next_to = if pool.preserve_contiguity {
                self.neighbour(draft, desc)
            } else {
                None
            };
            let request = Request {
                pool,
                space: &self.program.public_space,
                class,
                inside_port: desc.sport,
                next_to,
                subscriber: draft.subscriber,
                now: self.now,
            };
            let taken = self.ports.take(&request, &mut self.subscribers)?;
            draft.back = Tuple4 {
                src: meta.dst,
                dst: taken.address,
                sport: dport,
                dport: taken.port,
            };
            if endpoint_independent {
                let mapping = Mapping {
                    inside: meta.src,
                    inside_low: 0,
                    public: taken.address,
                    holders: 1,
                    subscriber: draft.subscriber,
                    sessions: 1,
                    inside_port: desc.sport,
                    public_port: taken.port,
                    service_set: draft.service_set,
                    protocol: meta.proto,
                    filtering: draft.filtering as u8,
                };
                match self.mappings.insert(draft.mapping_place, mapping) {
                    Ok(number) => {
                        (draft.anchor, draft.mapping_is_new) = (number, true);
                        self.counters.mappings_created += 1;
                    }
                    Err(_full) => {
                        self.release_port(taken.address_index, meta.proto, taken.port, draft.subscriber);
                        return Err(DropReason::MappingTableFull);
                    }
                }
            } else {
                (draft.anchor, draft.flags) = (taken.address_index, draft.flags | FLAG_OWNS_PORT);
            }
        }
        if draft.filtering == FilteringType::AddressDependent {
            draft.flags |= FLAG_ADDRESS_ENTRY;
        }
        Ok(())
    }

    /// The port one beside the mapping of the inside port one beside, if there is one. RFC 4787 section 4.2.3.
    fn neighbour(&self, draft: &Draft, desc: &Desc) -> Option<(u32, u16)> {
        let (port, step) = if desc.sport % 2 == 1 {
            (desc.sport - 1, 1)
        } else {
            (desc.sport + 1, u16::MAX)
        };
        let place = self
            .mappings
            .inside_place(draft.service_set, desc.meta.src, port, desc.meta.proto);
        let number =
            self.mappings
                .find_inside(place, draft.service_set, desc.meta.src, port, desc.meta.proto)?;
        let mapping = self.mappings.get(number)?;
        let index = self.program.public_space.index_of(mapping.public)?;
        Some((index, mapping.public_port.wrapping_add(step)))
    }

    /// Protocols without ports: an address, and the claim that nobody else uses it towards the same outside address.
    fn claim_address(&mut self, draft: &mut Draft, desc: &Desc) -> Result<(), DropReason> {
        let meta = &desc.meta;
        let position = self.pools.get(usize::from(draft.pool)).copied().map(usize::from);
        let pool = position
            .and_then(|p| self.program.pools.get(p))
            .ok_or(DropReason::NatOutOfAddresses)?;
        if pool.drain {
            return Err(DropReason::NatOutOfAddresses);
        }
        let space = &self.program.public_space;
        let (index, address) = self
            .ports
            .address_for(pool, space, draft.subscriber, &mut self.subscribers)
            .ok_or(DropReason::NatOutOfAddresses)?;
        self.config
            .claims
            .claim(address, meta.dst, meta.proto, self.config.worker)
            .map_err(|refused| match refused {
                ClaimRefused::Taken => DropReason::NatAddressOnlyConflict,
                ClaimRefused::Full => DropReason::NatAddressOnlyFull,
            })?;
        draft.anchor = index;
        draft.flags |= FLAG_ADDRESS_ONLY;
        draft.back = Tuple4 {
            src: meta.dst,
            dst: address,
            sport: 0,
            dport: 0,
        };
        Ok(())
    }

    /// Writes a session whose port is claimed; on failure everything claimed is given back. If an earlier packet of the
    /// burst already wrote it, that one serves.
    pub(super) fn write(&mut self, draft: &Draft, desc: &Desc) -> Result<u32, DropReason> {
        let proto = desc.meta.proto;
        let out = if draft.flags & FLAG_INITIATED_OUTSIDE == 0 {
            desc.tuple()
        } else {
            self.inside_tuple(draft, desc)
        };
        let out_place = self
            .sessions
            .place(&out, proto, Direction::Out, draft.service_set);
        if let Some(number) = self
            .sessions
            .find(out_place, &out, proto, Direction::Out, draft.service_set)
        {
            self.give_back(draft, proto);
            return Ok(number);
        }
        let mut hot = new_hot(KIND_NAPT44, [out, draft.back], proto, draft.service_set, self.now);
        hot.flags = draft.flags;
        (hot.state, hot.timer) = first_state(desc, draft);
        let cold = new_cold(draft.anchor, draft.subscriber, draft.term, draft.pool, self.now);
        let back_place = self.sessions.place(&draft.back, proto, Direction::In, 0);
        if draft.mapping_is_new {
            let place = self
                .mappings
                .public_place(draft.back.dst, draft.back.dport, proto);
            if self.mappings.enter_public(place, draft.anchor).is_err() {
                self.give_back(draft, proto);
                return Err(DropReason::MappingTableFull);
            }
        }
        let Some(number) = self.sessions.take(hot, cold) else {
            self.give_back(draft, proto);
            return Err(DropReason::SessionTableFull);
        };
        let entered = self.sessions.enter(out_place, number).and_then(|()| {
            self.sessions.enter(back_place, number).inspect_err(|_| {
                self.sessions.leave(out_place, number);
            })
        });
        let entered = entered.and_then(|()| {
            if draft.flags & FLAG_ADDRESS_ENTRY == 0 {
                return Ok(());
            }
            let place = self.sessions.address_place(&draft.back, proto);
            self.sessions.enter(place, number).inspect_err(|_| {
                self.sessions.leave(out_place, number);
                self.sessions.leave(back_place, number);
            })
        });
        if entered.is_err() {
            self.sessions.free(number);
            self.give_back(draft, proto);
            return Err(DropReason::SessionIndexFull);
        }
        let deadline = self.deadline(number);
        self.wheel.insert(self.sessions.links(), number, deadline);
        match draft.flags & FLAG_INITIATED_OUTSIDE {
            0 => self.counters.sessions_created_out += 1,
            _ => self.counters.sessions_created_in += 1,
        }
        Ok(number)
    }

    /// The tuple a subscriber's answer will have, for a session begun from outside.
    fn inside_tuple(&self, draft: &Draft, desc: &Desc) -> Tuple4 {
        self.mappings
            .get(draft.anchor)
            .map_or(Tuple4::default(), |m| Tuple4 {
                src: m.inside,
                dst: desc.tuple().src,
                sport: m.inside_port,
                dport: desc.tuple().sport,
            })
    }

    /// Gives back what [`Engine::claim`] took for a session that was not written.
    fn give_back(&mut self, draft: &Draft, protocol: u8) {
        if draft.flags & FLAG_OWNS_PORT != 0 {
            self.release_port(draft.anchor, protocol, draft.back.dport, draft.subscriber);
        } else if draft.flags & FLAG_ADDRESS_ONLY != 0 {
            self.config
                .claims
                .release(draft.back.dst, draft.back.src, protocol, self.config.worker);
        } else {
            self.leave_mapping(draft.anchor, draft.flags);
        }
        self.leave_subscriber(draft.subscriber);
    }

    /// What the sender of a refused first packet is told. RFC 6888 REQ-11, RFC 5508 REQ-8.
    fn refusal(&self, reason: DropReason, set: ServiceSetId) -> Answer {
        if matches!(reason, DropReason::TcpNonSyn | DropReason::NatNoRuleMatch) {
            return Answer::None;
        }
        match self.service_set(set).map(|s| s.on_refusal) {
            Some(RefusalAnswer::HostUnreachable) => Answer::Unreachable(icmp::CODE_HOST),
            Some(RefusalAnswer::AdminProhibited) => Answer::Unreachable(icmp::CODE_ADMIN_PROHIBITED),
            Some(RefusalAnswer::Silent) | None => Answer::None,
        }
    }
}

/// State and timer of a new session. The first packet itself goes through the state machine afterwards, so TCP starts one
/// step before it.
fn first_state(desc: &Desc, draft: &Draft) -> (u8, u8) {
    let inside = draft.flags & FLAG_INITIATED_OUTSIDE == 0;
    let outside_port = draft.back.sport;
    let (state, timer) = match desc.meta.proto {
        ipv4::TCP => {
            let syn =
                matches!(desc.meta.l4, L4::Tcp { flags, .. } if flags & (tcp::SYN | tcp::ACK) == tcp::SYN);
            match (syn, inside) {
                (true, true) => (State::OpeningInside, TimerClass::TcpOpening),
                (true, false) => (State::OpeningOutside, TimerClass::TcpOpening),
                (false, _) => (State::Established, TimerClass::TcpEstablished),
            }
        }
        ipv4::UDP if outside_port < 1024 => (State::Active, TimerClass::UdpWellKnown),
        ipv4::UDP => (State::Active, TimerClass::Udp),
        ipv4::ICMP => (State::Active, TimerClass::Icmp),
        _ => (State::Active, TimerClass::Other),
    };
    (state as u8, timer as u8)
}
