//! The first packet of a session from inside: which translation it asks for, and whether it leaves by the outside at all.
//!
//! Static mappings come before terms, terms in their order. A packet that is for this box, or stays inside, is none of the
//! service set's business; one that leaves and for which there is no rule is dropped, unless the service set translates
//! nothing of its kind: then a firewall passes it as it is, and without a firewall it is routed.

use tandem_wire::l4::L4;
use tandem_wire::{icmp, icmp6, ipv4, tcp};

use super::first_packet::{Basis, Draft, Ends, draft};
use super::flow::Flow;
use super::leaving::drop;
use super::translate::NEXT_HOP_HAIRPIN;
use super::translate6::refused;
use super::{Engine, SetPlan};
use crate::address;
use crate::drop_reason::DropReason;
use crate::packet::{Answer, RouteKind, Router, Verdict};
use crate::program::{
    FilteringType, MappingType, NatAction, NatTerm, PoolId, PoolMode, ServiceSet, ServiceSetId, TermMatch,
};
use crate::public_space::PublicAddress;
use crate::session::{Direction, FLAG_FREE_STANDING, KIND_44, KIND_64, KIND_66};

/// Whether a packet matches a term.
#[inline(always)]
fn term_matches(matches: &TermMatch, flow: &Flow) -> bool {
    let source = if let Some(v4) = address::v4(flow.src) {
        matches.sources.iter().any(|r| r.contains(v4))
            || matches.sources.is_empty() && matches.sources6.is_empty()
    } else {
        matches.sources6.iter().any(|r| r.contains(flow.src))
            || matches.sources.is_empty() && matches.sources6.is_empty()
    };
    source
        && (matches.destinations.is_empty()
            || address::v4(flow.dst).is_some_and(|v4| matches.destinations.iter().any(|r| r.contains(v4))))
        && (matches.protocols.is_empty() || matches.protocols.contains(&flow.proto))
        && (matches.destination_ports.is_empty()
            || matches!(flow.proto, ipv4::TCP | ipv4::UDP)
                && matches.destination_ports.iter().any(|r| r.contains(flow.dport)))
}

/// Whether an action is for packets of a kind.
pub(super) fn is_for(action: &NatAction, kind: u8) -> bool {
    match action {
        NatAction::Nat64 { .. } => kind == KIND_64,
        NatAction::NoTranslation => kind != KIND_66,
        NatAction::Napt44 { .. } | NatAction::Dynamic44 { .. } | NatAction::DestinationOnly => {
            kind == KIND_44
        }
    }
}

/// Whether a packet may begin a session at all; otherwise why not.
pub(super) fn may_begin(flow: &Flow, accept_non_syn: bool) -> Result<(), DropReason> {
    match flow.l4 {
        L4::Tcp { flags, .. } if flags & (tcp::SYN | tcp::ACK | tcp::RST | tcp::FIN) == tcp::SYN => Ok(()),
        // Of a connection that was open before: each of its segments has ACK, and a RST or a second SYN begins nothing.
        L4::Tcp { flags, .. } if accept_non_syn && flags & (tcp::SYN | tcp::ACK | tcp::RST) == tcp::ACK => {
            Ok(())
        }
        L4::Tcp { .. } => Err(DropReason::TcpNonSyn),
        L4::IcmpQuery { icmp_type, .. } if icmp::is_query_request(icmp_type) || icmp_type == icmp6::ECHO => {
            Ok(())
        }
        L4::IcmpQuery { .. } | L4::IcmpOther { .. } | L4::IcmpError { .. } => {
            Err(DropReason::IcmpUnsupported)
        }
        L4::Udp { .. } | L4::Other => Ok(()),
        L4::LaterFragment => Err(DropReason::NoMapping),
    }
}

/// What a packet from inside asks for.
enum Choice {
    /// To be translated, as its draft now says.
    Translate,
    /// To be passed as it is by a firewall, or routed.
    Pass,
    /// To be refused: the service set translates its kind, but has no rule for it.
    NoRule,
}

/// The draft of a packet from inside before a rule was found.
#[inline(always)]
fn untranslated(id: ServiceSetId, flow: &Flow) -> Draft {
    let ends = Ends {
        inside: (flow.src, flow.sport),
        seen: (flow.written, flow.dport),
        outside: (flow.dst, flow.dport),
        public: (flow.src, flow.sport),
    };
    Draft {
        prefix: flow.prefix,
        flags: FLAG_FREE_STANDING,
        ..draft(flow.kind, flow.proto, Direction::Out, id, ends)
    }
}

impl Engine {
    /// Sorts a packet from inside. As part of its caller: there the packet's family is known, and half of the questions are
    /// answered.
    #[inline(always)]
    pub(super) fn sort_inside<R: Router>(
        &self,
        id: ServiceSetId,
        flow: &Flow,
        router: &R,
        answer_to_route: fn(DropReason) -> Answer,
        draft: &mut Draft,
    ) -> Result<(), Verdict> {
        let plan = self.set_plan(id).ok_or(Verdict::Route)?;
        let set = self
            .program
            .service_sets
            .get(plan.position)
            .ok_or(Verdict::Route)?;
        if flow.kind == KIND_64 {
            check_nat64(plan, set, flow)?;
        }
        if self.is_source_ours(id, flow) {
            return Err(drop(DropReason::MartianSource));
        }
        *draft = untranslated(id, flow);
        let choice = self.choose(plan, set, flow, draft);
        // Read before the route is: when routes change meanwhile, the session looks its route up again.
        let generation = self.route_generation(router);
        let real = draft.ends.outside.0;
        let next_hop = self.leaves_by_outside(plan, id, flow, real, router, answer_to_route)?;
        draft.route = (next_hop, generation);
        match choice {
            Choice::Translate => {}
            // What is for an IPv4 host cannot pass as it is.
            Choice::Pass if set.firewall.is_some() && flow.kind == KIND_64 => {
                return Err(drop(DropReason::NatNoRuleMatch));
            }
            Choice::Pass if set.firewall.is_some() => {}
            // A term says so, or the service set has nothing to do with such packets.
            Choice::Pass => return Err(Verdict::Route),
            Choice::NoRule => return Err(drop(DropReason::NatNoRuleMatch)),
        }
        if flow.kind == KIND_66 && flow.refused.is_some() {
            return Err(drop(DropReason::RoutingHeader));
        }
        may_begin(flow, set.tcp.accept_non_syn).map_err(drop)?;
        if flow.ttl <= 1 {
            return Err(Verdict::Drop(DropReason::TtlExpired, Answer::TimeExceeded));
        }
        if flow.kind != KIND_44 {
            draft.owner = flow.src & plan.subscriber_mask;
        }
        let (port, protocol) = match draft.basis {
            Basis::Address => (0, crate::mapping::WHOLE_ADDRESS),
            _ => (flow.sport, flow.proto),
        };
        draft.mapping_place = self.mappings.inside_place(id, flow.src, port, protocol);
        self.mappings.prefetch_place(draft.mapping_place);
        draft.subscriber_place = self.subscribers.place(id, draft.owner);
        self.subscribers.prefetch_place(draft.subscriber_place);
        Ok(())
    }

    /// Whether a service set has no policies and leaves packets like this one as they are.
    pub(super) fn leaves_alone(&self, id: ServiceSetId, flow: &Flow) -> bool {
        let (Some(plan), Some(set)) = (self.set_plan(id), self.service_set(id)) else {
            return true;
        };
        let choice = self.choose(plan, set, flow, &mut untranslated(id, flow));
        !plan.firewall && matches!(choice, Choice::Pass)
    }

    /// Whether a packet from inside says that it comes from a public end that may be some subscriber's: its answers would be
    /// that one's, and its session would stand in the way of that one's. Not so an inside end that stands for itself by a
    /// static mapping, and of an interface's own address what neither pool nor static mapping uses.
    #[inline(always)]
    fn is_source_ours(&self, id: ServiceSetId, flow: &Flow) -> bool {
        let Some(v4) = address::v4(flow.src) else {
            return false;
        };
        let Some(found) = self.program.public_space.find(v4) else {
            return false;
        };
        self.is_somebodys(found, v4, id, flow)
    }

    /// The same of an address that is known to be public.
    #[cold]
    fn is_somebodys(&self, found: PublicAddress, v4: u32, id: ServiceSetId, flow: &Flow) -> bool {
        let (statics, (proto, port)) = (&self.program.statics, (flow.proto, flow.sport));
        let itself = statics
            .by_inside(id, flow.src, proto, port)
            .is_some_and(|s| (s.address, s.port) == (v4, port));
        !itself && !self.is_kernels(found, v4, proto, port)
    }

    /// Whether an end of a public address is the kernel's: of an interface's own address, what no pool or static mapping
    /// uses.
    fn is_kernels(&self, found: PublicAddress, address: u32, proto: u8, port: u16) -> bool {
        self.pool(found.pool).is_some_and(|p| {
            p.interface_address
                && (!matches!(proto, ipv4::TCP | ipv4::UDP) || !p.ports.contains(port))
                && self.program.statics.by_public(address, proto, port).is_none()
        })
    }

    /// The translation a packet asks for, into its draft.
    #[inline(always)]
    fn choose(&self, plan: &SetPlan, set: &ServiceSet, flow: &Flow, draft: &mut Draft) -> Choice {
        if flow.kind == KIND_66 {
            return Choice::Pass;
        }
        let statics = &self.program.statics;
        if !statics.is_empty()
            && let Some(found) = statics.by_inside(set.id, flow.src, flow.proto, flow.sport)
        {
            draft.term = found.mapping.number;
            draft.ends.public = (address::of_v4(found.address), found.port);
            let map = found.mapping.destination.as_ref();
            if let Some(real) = map.and_then(|m| m.map(flow.dst as u32)) {
                draft.ends.outside.0 = address::of_v4(real);
            }
            return Choice::Translate;
        }
        for term in &set.terms {
            if is_for(&term.action, flow.kind) && term_matches(&term.matches, flow) {
                return self.follow(term, flow, draft);
            }
        }
        if plan.translates(flow.kind) {
            Choice::NoRule
        } else {
            Choice::Pass
        }
    }

    /// The translation that a term asks for.
    #[inline(always)]
    fn follow(&self, term: &NatTerm, flow: &Flow, draft: &mut Draft) -> Choice {
        draft.term = term.number;
        if let Some(real) = term.destination.as_ref().and_then(|m| m.map(flow.dst as u32)) {
            draft.ends.outside.0 = address::of_v4(real);
        }
        match self.basis(term) {
            None if matches!(term.action, NatAction::NoTranslation) => return Choice::Pass,
            None => {}
            Some((pool, basis, filtering)) => {
                (draft.pool, draft.basis, draft.filtering) = (pool, basis, filtering);
                draft.flags = 0;
            }
        }
        Choice::Translate
    }

    /// What a session of a term stands on; `None` when on nothing.
    fn basis(&self, term: &NatTerm) -> Option<(PoolId, Basis, FilteringType)> {
        match term.action {
            NatAction::Napt44 {
                pool,
                mapping,
                filtering,
            }
            | NatAction::Nat64 {
                pool,
                mapping,
                filtering,
            } => {
                // Sessions of a subscriber share the ports of its block, too: which of them one has alone, nothing tells.
                let shared = || {
                    self.pool(pool).is_some_and(|p| {
                        matches!(p.mode, PoolMode::OverloadedPorts | PoolMode::Deterministic(_))
                    })
                };
                let basis = match mapping {
                    MappingType::EndpointIndependent => Basis::Mapping,
                    MappingType::AddressAndPortDependent if shared() => Basis::SharedPort,
                    MappingType::AddressAndPortDependent => Basis::Port,
                };
                Some((pool, basis, filtering))
            }
            NatAction::Dynamic44 { pool, filtering } => Some((pool, Basis::Address, filtering)),
            NatAction::NoTranslation | NatAction::DestinationOnly => None,
        }
    }

    /// The next hop of a packet from inside that is for this service set's outside; otherwise what it is. `real` is its
    /// destination after translation.
    #[inline(always)]
    fn leaves_by_outside<R: Router>(
        &self,
        plan: &SetPlan,
        id: ServiceSetId,
        flow: &Flow,
        real: u128,
        router: &R,
        answer_to_route: fn(DropReason) -> Answer,
    ) -> Result<u16, Verdict> {
        let stays = |verdict| match flow.kind {
            // Nobody but the outside can be reached by a NAT64 prefix: there is no IPv4 packet to route or to give to the kernel.
            KIND_64 => Verdict::Drop(DropReason::NoRoute, Answer::to_route6(DropReason::NoRoute)),
            _ => verdict,
        };
        let route = match address::v4(real) {
            Some(v4) => {
                if let Some(found) = self.program.public_space.find(v4) {
                    // A public address: hairpinning.
                    return if self.is_kernels(found, v4, flow.proto, flow.dport) {
                        Err(stays(Verdict::Kernel))
                    } else {
                        Ok(NEXT_HOP_HAIRPIN)
                    };
                }
                router.route(v4, flow.hash)
            }
            None => router.route6(real, flow.hash),
        };
        match route.kind {
            RouteKind::Kernel => Err(stays(Verdict::Kernel)),
            RouteKind::Drop(reason) => Err(Verdict::Drop(reason, answer_to_route(reason))),
            RouteKind::Forward { interface, .. } if self.is_outside_of(interface, plan, id) => {
                Ok(route.next_hop)
            }
            RouteKind::Forward { .. } => Err(stays(Verdict::Route)),
        }
    }

    /// Whether an interface is a service set's outside.
    pub(super) fn is_outside_of(&self, interface: u16, plan: &SetPlan, id: ServiceSetId) -> bool {
        debug_assert!(self.set_plan(id).is_some_and(|p| p.position == plan.position));
        plan.outside.get(usize::from(interface)).copied().unwrap_or(false)
    }
}

/// RFC 6146 section 3.5 and RFC 6052 section 3.1: addresses that are not translated.
fn check_nat64(plan: &SetPlan, set: &ServiceSet, flow: &Flow) -> Result<(), Verdict> {
    if plan.prefixes.iter().any(|(_, p)| p.contains(flow.src)) {
        return Err(drop(DropReason::Nat64SourceInPrefix));
    }
    let v4 = flow.dst as u32;
    let illegal = matches!(v4 >> 24, 0 | 127 | 224..);
    if illegal {
        return Err(drop(DropReason::Nat64IllegalAddress));
    }
    let prefix = plan.prefixes.iter().find(|(id, _)| *id == flow.prefix);
    if !set.ipv6.well_known_for_private && prefix.is_some_and(|(_, p)| !p.may_carry(v4)) {
        return Err(drop(DropReason::Nat64NonGlobal));
    }
    // ICMP of IPv4 over IPv6 has the number of what ICMPv6 becomes, but is nothing that is known.
    let supported = matches!(flow.proto, ipv4::TCP | ipv4::UDP | ipv4::ICMP) && !matches!(flow.l4, L4::Other);
    if !supported {
        return Err(Verdict::Drop(
            DropReason::NatUnsupportedProtocol,
            match set.on_refusal {
                crate::program::RefusalAnswer::Silent => Answer::None,
                _ => Answer::Unreachable(icmp6::CODE_PORT),
            },
        ));
    }
    // What cannot be translated shall not take a port first.
    flow.refused.map_or(Ok(()), |error| Err(refused(error)))
}
