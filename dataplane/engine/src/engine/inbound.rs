//! Packets from outside without a session: for a mapping, a static mapping, a firewalled host, the kernel, a held place, or
//! nobody.
//!
//! The order of decisions is the behaviour checklist's: session (seen before this), then mapping and its filtering, then
//! static mappings and destination NAT, then firewall policies (looked at after this, for all of them: an explicit deny
//! wins). What no service set has to do with is routed; what is for one and is refused is dropped and counted.

use tandem_wire::l4::L4;
use tandem_wire::{icmp, ipv4, tcp};

use super::Engine;
use super::first_packet::{Basis, Draft, Ends, draft};
use super::flow::{Described, Flow};
use super::leaving::drop;
use super::sort::may_begin;
use super::translate6::refused;
use crate::address;
use crate::drop_reason::DropReason;
use crate::mapping::{Mapping, WHOLE_ADDRESS};
use crate::packet::{Answer, Desc, Packet, RouteKind, Router, Verdict};
use crate::program::{FilteringType, NONE};
use crate::public_space::PublicAddress;
use crate::session::{
    Direction, FLAG_ADDRESS_ENTRY, FLAG_FREE_STANDING, FLAG_INITIATED_OUTSIDE, FLAG_UNANSWERED, KIND_44,
    KIND_64, KIND_66,
};

impl Engine {
    /// The draft of a session from outside.
    pub(super) fn sort_outside<R: Router>(&self, flow: &Flow, router: &R) -> Result<Draft, Verdict> {
        let found = match flow.kind {
            KIND_44 => self.program.public_space.find(flow.dst as u32),
            _ => None,
        };
        let mut draft = match found {
            Some(found) => self.for_public(found, flow)?,
            None => self.for_inside_host(flow, router)?,
        };
        if flow.ttl <= 1 {
            self.check_begins(draft.service_set)?;
            return Err(Verdict::Drop(DropReason::TtlExpired, Answer::TimeExceeded));
        }
        self.mappings.prefetch_place(draft.mapping_place);
        draft.subscriber_place = self.subscribers.place(draft.service_set, draft.owner);
        self.subscribers.prefetch_place(draft.subscriber_place);
        Ok(draft)
    }

    /// To a public address.
    fn for_public(&self, found: PublicAddress, flow: &Flow) -> Result<Draft, Verdict> {
        let public = flow.dst as u32;
        // An interface's own address: what the pool does not use is the kernel's, and ICMP without a session, too.
        let kernels = self.pool(found.pool).is_some_and(|p| {
            p.interface_address && (!matches!(flow.proto, 6 | 17) || !p.ports.contains(flow.dport))
        });
        let mapping = self
            .mappings
            .find_public(public, flow.dport, flow.proto)
            .filter(|_| !kernels || flow.proto != ipv4::ICMP)
            .or_else(|| self.mappings.find_public(public, 0, WHOLE_ADDRESS));
        if let Some(number) = mapping
            && let Some(mapping) = self.mappings.get(number)
        {
            return self.for_mapping(number, *mapping, found, flow);
        }
        let statics = &self.program.statics;
        let to_static = (!statics.is_empty())
            .then(|| statics.by_public(public, flow.proto, flow.dport))
            .flatten();
        if let Some(to) = to_static {
            let set = self.service_set(to.mapping.service_set);
            let set = set.ok_or(drop(DropReason::NoMapping))?;
            may_begin(flow, set.tcp.accept_non_syn).map_err(drop)?;
            let source = flow.src as u32;
            let seen = to.mapping.destination.as_ref().and_then(|map| map.unmap(source));
            let seen = seen.unwrap_or(source);
            let first = self
                .set_plan(to.mapping.service_set)
                .map_or(0, |p| p.first_prefix);
            return self.inbound_draft(
                flow,
                to.mapping.service_set,
                (to.address, to.port),
                address::of_v4(seen),
                first,
                |draft| {
                    draft.term = to.mapping.number;
                    draft.pool = found.pool;
                    draft.flags |= FLAG_FREE_STANDING;
                },
            );
        }
        if kernels {
            return Err(Verdict::Kernel);
        }
        Err(self.unsolicited(flow, DropReason::NoMapping))
    }

    /// Whether a mapping lets the packet in.
    fn for_mapping(
        &self,
        number: u32,
        mapping: Mapping,
        found: PublicAddress,
        flow: &Flow,
    ) -> Result<Draft, Verdict> {
        let nobody = drop(DropReason::NoMapping);
        let subscriber = self.subscribers.get(mapping.subscriber).ok_or(nobody)?;
        // Its address is another pool's since a reload: it ends with the sessions it has.
        if !self
            .ports
            .of(&subscriber.address())
            .serves(found.index, found.pool)
        {
            return Err(nobody);
        }
        let plan = self.set_plan(subscriber.service_set).ok_or(nobody)?;
        if mapping.holders() == 0 && !plan.refresh_inbound && !self.may_be_held(&mapping) {
            return Err(self.unsolicited(flow, DropReason::NoMapping));
        }
        let filtering = mapping.filtering_type();
        let tuple = crate::session::Tuple4 {
            src: flow.src as u32,
            dst: flow.dst as u32,
            sport: flow.sport,
            dport: flow.dport,
        };
        match filtering {
            FilteringType::EndpointIndependent => {}
            FilteringType::AddressDependent if self.sessions.has_sent_to(&tuple, flow.proto) => {}
            FilteringType::AddressDependent | FilteringType::AddressAndPortDependent => {
                return Err(self.unsolicited(flow, DropReason::Filtered));
            }
        }
        let whole = mapping.protocol == WHOLE_ADDRESS;
        match flow.l4 {
            L4::Udp { .. } => {}
            L4::Tcp { flags, .. } if flags & (tcp::SYN | tcp::ACK | tcp::RST | tcp::FIN) == tcp::SYN => {}
            L4::Tcp { .. } => return Err(drop(DropReason::TcpNonSyn)),
            L4::IcmpQuery { icmp_type, .. } if whole && icmp::is_query_request(icmp_type) => {}
            L4::Other if whole => {}
            // A query from outside for somebody's identifier begins nothing.
            _ => return Err(drop(DropReason::Filtered)),
        }
        let inside = mapping.inside(subscriber);
        let port = if whole { flow.dport } else { mapping.inside_port };
        let address_entry = if filtering == FilteringType::AddressDependent {
            FLAG_ADDRESS_ENTRY
        } else {
            0
        };
        self.inbound_draft(
            flow,
            subscriber.service_set,
            (inside, port),
            flow.src,
            mapping.prefix(),
            |draft| {
                draft.owner = subscriber.address();
                draft.pool = found.pool;
                draft.basis = Basis::Known(number);
                draft.filtering = filtering;
                draft.anchor = number;
                draft.flags |= FLAG_UNANSWERED | address_entry;
            },
        )
    }

    /// To an address nobody translates: a host behind a firewall, or nothing of ours.
    fn for_inside_host<R: Router>(&self, flow: &Flow, router: &R) -> Result<Draft, Verdict> {
        let route = match address::v4(flow.dst) {
            _ if !self.has_firewall => return Err(Verdict::Route),
            Some(v4) => router.route(v4, flow.hash),
            None => router.route6(flow.dst, flow.hash),
        };
        let RouteKind::Forward { interface, .. } = route.kind else {
            return Err(Verdict::Route);
        };
        let id = self
            .inside_of
            .get(usize::from(interface))
            .copied()
            .unwrap_or(NONE);
        let (Some(plan), Some(set)) = (self.set_plan(id), self.service_set(id)) else {
            return Err(Verdict::Route);
        };
        if !plan.firewall || !self.is_outside_of(flow.interface, plan, id) {
            return Err(Verdict::Route);
        }
        self.check_begins(id)?;
        if flow.kind == KIND_66 && flow.refused.is_some() {
            return Err(drop(DropReason::RoutingHeader));
        }
        if let Err(reason) = may_begin(flow, set.tcp.accept_non_syn) {
            // Neighbour discovery and the like of hosts is nothing a firewall forwards, either.
            return Err(drop(reason));
        }
        self.inbound_draft(flow, id, (flow.dst, flow.dport), flow.src, 0, |draft| {
            draft.flags |= FLAG_FREE_STANDING;
        })
    }

    /// A draft from outside for an inside end. `seen` is the source as the inside sees it, if it is IPv4 there; `prefix` the
    /// position of the NAT64 prefix it sees it in, if not.
    fn inbound_draft(
        &self,
        flow: &Flow,
        set: u16,
        inside: (u128, u16),
        seen: u128,
        prefix: usize,
        more: impl FnOnce(&mut Draft),
    ) -> Result<Draft, Verdict> {
        let plan = self.set_plan(set).ok_or(drop(DropReason::NoMapping))?;
        let (kind, seen, prefix) = match (flow.kind, address::is_v4(inside.0)) {
            (KIND_66, _) => (KIND_66, seen, NONE),
            (_, true) => (KIND_44, seen, NONE),
            (_, false) => {
                let of = plan.prefixes.get(prefix).or(plan.prefixes.first());
                let (id, prefix) = of.ok_or(drop(DropReason::NoMapping))?;
                let service_set = self.service_set(set);
                let any = service_set.is_some_and(|s| s.ipv6.well_known_for_private);
                if !any && !prefix.may_carry(seen as u32) {
                    return Err(drop(DropReason::Nat64NonGlobal));
                }
                (KIND_64, prefix.embed(seen as u32), *id)
            }
        };
        if kind == KIND_64 && !matches!(flow.proto, ipv4::TCP | ipv4::UDP | ipv4::ICMP) {
            return Err(drop(DropReason::NatUnsupportedProtocol));
        }
        let ends = Ends {
            inside,
            seen: (seen, flow.sport),
            outside: (flow.src, flow.sport),
            public: (flow.dst, flow.dport),
        };
        let mut draft = draft(kind, flow.proto, Direction::In, set, ends);
        if kind != KIND_44 {
            draft.owner = inside.0 & plan.subscriber_mask;
        }
        draft.prefix = prefix;
        draft.flags = FLAG_INITIATED_OUTSIDE;
        more(&mut draft);
        Ok(draft)
    }

    /// What is for an IPv6 host and cannot be translated shall not take a session first.
    pub(super) fn check_becomes_six<D: Described, P: Packet>(
        &self,
        desc: &D,
        packet: &P,
        draft: &Draft,
    ) -> Result<(), Verdict> {
        match self.set_plan(draft.service_set) {
            Some(plan) if draft.kind == KIND_64 => {
                desc.check_other_family(packet, &plan.xlat).map_err(refused)
            }
            _ => Ok(()),
        }
    }

    /// A packet nobody asked for: dropped, or, for a SYN when so configured, held for a simultaneous open.
    fn unsolicited(&self, flow: &Flow, reason: DropReason) -> Verdict {
        match flow.l4 {
            L4::Tcp { flags, .. }
                if self.hold_syns && flags & (tcp::SYN | tcp::ACK | tcp::RST) == tcp::SYN =>
            {
                Verdict::HoldSyn
            }
            _ => drop(reason),
        }
    }

    /// Whether a held SYN's connection was opened from inside meanwhile: then the SYN is dropped without a word.
    #[must_use]
    pub fn has_session_from_outside(&self, desc: &Desc) -> bool {
        let place = self
            .sessions
            .place(&desc.tuple(), desc.meta.proto, Direction::In, 0);
        self.sessions
            .find(place, &desc.tuple(), desc.meta.proto, Direction::In, 0)
            .is_some()
    }
}
