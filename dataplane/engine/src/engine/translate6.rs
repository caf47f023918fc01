//! A packet of a known session with IPv6 on one side or both: what [`super::translate`] is for IPv4.

use tandem_wire::rewrite::Endpoints;
use tandem_wire::rewrite6::{Endpoints6, forward_ipv6};
use tandem_wire::xlat::{self, XlatError};
use tandem_wire::{Fragment, ipv4, ipv6};

use super::Engine;
use super::leaving::{LOWEST_MTU, Leaving, drop};
use super::translate::{NEXT_HOP_HAIRPIN, whole_segment};
use crate::drop_reason::DropReason;
use crate::packet::{Answer, Desc, Packet, Router, Verdict};
use crate::packet6::Desc6;
use crate::session::{Direction, KIND_64};

/// What is said about a packet that cannot be translated.
pub(super) fn refused(error: XlatError) -> Verdict {
    let (reason, answer) = match error {
        XlatError::SourceRoute => (
            DropReason::SourceRoute,
            Answer::Unreachable(tandem_wire::icmp::CODE_SOURCE_ROUTE),
        ),
        XlatError::SegmentsLeft { pointer } => (DropReason::RoutingHeader, Answer::ParameterProblem(pointer)),
        XlatError::UdpNoChecksum => (DropReason::UdpZeroChecksum, Answer::None),
        XlatError::NoRoom => (DropReason::FrameNotContiguous, Answer::None),
        XlatError::Protocol => (DropReason::NatUnsupportedProtocol, Answer::None),
        XlatError::IcmpChecksum => (DropReason::IcmpErrorBadChecksum, Answer::None),
        XlatError::Embedded | XlatError::DoublyEmbedded => (DropReason::IcmpErrorBadEmbedded, Answer::None),
        XlatError::FragmentedIcmp
        | XlatError::IcmpType
        | XlatError::ExtensionInFragment
        | XlatError::FragmentEnd
        | XlatError::Malformed => (DropReason::Untranslatable, Answer::None),
    };
    Verdict::Drop(reason, answer)
}

impl Engine {
    /// Passes an IPv6 packet of session `number`, which is its.
    pub(super) fn translate6<P: Packet, R: Router>(
        &mut self,
        number: u32,
        desc: &mut Desc6,
        packet: &mut P,
        router: &R,
    ) {
        let four = self.sessions.hot(number).is_some_and(|h| h.kind == KIND_64);
        let result = if four {
            self.six_to_four(number, desc, packet, router)
        } else {
            self.six_to_six(number, desc, packet, router)
        };
        if let Err(verdict) = result {
            desc.verdict = verdict;
        }
    }

    fn six_to_four<P: Packet, R: Router>(
        &mut self,
        number: u32,
        desc: &mut Desc6,
        packet: &mut P,
        router: &R,
    ) -> Result<(), Verdict> {
        let meta = &desc.meta;
        let leaving = Leaving::six_to_four(desc);
        let next_hop = self.session_next_hop(number, Direction::Out, &leaving, router)?;
        if meta.hop_limit <= 1 {
            return Err(Verdict::Drop(DropReason::TtlExpired, Answer::TimeExceeded));
        }
        let segment = whole_segment(packet.l3(), meta.fragment, meta.l4_offset, meta.total_len);
        self.check_window(number, Direction::Out, segment)?;
        let nobody = drop(DropReason::NoMapping);
        let back = self.sessions.hot(number).ok_or(nobody)?.six_four().back;
        let to = Endpoints {
            src: back.dst,
            dst: back.src,
            sport: back.dport,
            dport: back.sport,
        };
        let (options, _) = self.xlat_options(number);
        self.ip_id = self.ip_id.wrapping_add(1);
        xlat::six_to_four(packet, meta, &to, &options, self.ip_id).map_err(refused)?;
        let passed = self
            .pass(number, Direction::Out, meta.l4, meta.total_len)
            .map_err(drop)?;
        self.clamp_mss(
            &passed,
            packet.l3_mut().get_mut(ipv4::HEADER_LEN..leaving.length as usize),
        );
        if next_hop == NEXT_HOP_HAIRPIN {
            // What it is looked up by on its way back in.
            desc.sport = to.sport;
            desc.dport = if meta.proto == ipv4::ICMPV6 {
                to.sport
            } else {
                to.dport
            };
        }
        desc.next_hop = next_hop;
        desc.verdict = self.forwarded(Direction::Out, next_hop);
        Ok(())
    }

    fn six_to_six<P: Packet, R: Router>(
        &mut self,
        number: u32,
        desc: &mut Desc6,
        packet: &mut P,
        router: &R,
    ) -> Result<(), Verdict> {
        let (meta, direction) = (&desc.meta, desc.direction());
        let leaving = Leaving::six(desc);
        let next_hop = self.session_next_hop(number, direction, &leaving, router)?;
        if meta.hop_limit <= 1 {
            return Err(Verdict::Drop(DropReason::TtlExpired, Answer::TimeExceeded));
        }
        let segment = whole_segment(packet.l3(), meta.fragment, meta.l4_offset, meta.total_len);
        self.check_window(number, direction, segment)?;
        let to = self
            .other_prefix(number, desc)
            .ok_or(drop(DropReason::StatelessNoMapping))?;
        let passed = self
            .pass(number, direction, meta.l4, meta.total_len)
            .map_err(drop)?;
        if !forward_ipv6(packet.l3_mut(), meta, &to) {
            return Err(drop(DropReason::FrameNotContiguous));
        }
        let segment = usize::from(meta.l4_offset)..usize::from(meta.total_len);
        self.clamp_mss(&passed, packet.l3_mut().get_mut(segment));
        desc.next_hop = next_hop;
        desc.verdict = self.forwarded(direction, next_hop);
        Ok(())
    }

    /// The ends a packet has on the other side: its own, but with prefix translation the inside one in the other prefix.
    /// `None` for an address that RFC 6296 cannot translate.
    fn other_prefix(&self, number: u32, desc: &Desc6) -> Option<Endpoints6> {
        let meta = &desc.meta;
        let mut to = Endpoints6 {
            src: meta.src,
            dst: meta.dst,
            sport: meta.sport(),
            dport: meta.dport(),
        };
        let hot = self.sessions.hot(number)?;
        let plan = self.set_plan(hot.service_set)?;
        if plan.prefix_pairs.is_empty() {
            return Some(to);
        }
        let inside = hot.six_six().key().inside;
        let pair = plan.prefix_pairs.iter().find(|p| p.inside().contains(inside));
        match (pair, desc.direction()) {
            (None, _) => {}
            (Some(pair), Direction::Out) => to.src = pair.to_outside(inside)?,
            (Some(_), Direction::In) => to.dst = inside,
        }
        Some(to)
    }

    /// An IPv4 packet from outside of NAT64 session `number`.
    pub(super) fn translate_to_six<P: Packet, R: Router>(
        &mut self,
        number: u32,
        desc: &mut Desc,
        packet: &mut P,
        router: &R,
    ) {
        if let Err(verdict) = self.four_to_six(number, desc, packet, router) {
            desc.verdict = verdict;
        }
    }

    fn four_to_six<P: Packet, R: Router>(
        &mut self,
        number: u32,
        desc: &mut Desc,
        packet: &mut P,
        router: &R,
    ) -> Result<(), Verdict> {
        let meta = &desc.meta;
        let nobody = drop(DropReason::NoMapping);
        let wide = *self.sessions.hot(number).ok_or(nobody)?.six_four();
        let (options, lowest_mtu) = self.xlat_options(number);
        let leaving = Leaving::four_to_six(desc);
        let next_hop = self.session_next_hop(number, Direction::In, &leaving, router)?;
        if meta.ttl <= 1 {
            return Err(Verdict::Drop(DropReason::TtlExpired, Answer::TimeExceeded));
        }
        let segment = whole_segment(packet.l3(), meta.fragment, meta.l4_offset, meta.total_len);
        self.check_window(number, Direction::In, segment)?;
        let cut = leaving.cut(router.next_hop(next_hop), lowest_mtu);
        let prefix = self
            .prefixes
            .get(usize::from(wide.prefix))
            .and_then(Option::as_ref);
        let prefix = prefix.ok_or(nobody)?;
        let to = Endpoints6 {
            src: prefix.embed(meta.src),
            dst: wide.inside(),
            sport: if meta.proto == ipv4::ICMP {
                wide.inside_port
            } else {
                wide.outside_port()
            },
            dport: wide.inside_port,
        };
        xlat::four_to_six(packet, meta, &to, &options).map_err(refused)?;
        let passed = self
            .pass(number, Direction::In, meta.l4, meta.total_len)
            .map_err(drop)?;
        if meta.fragment == Fragment::None && cut.is_none() {
            let segment = ipv6::HEADER_LEN..leaving.length as usize;
            self.clamp_mss(&passed, packet.l3_mut().get_mut(segment));
        }
        desc.next_hop = next_hop;
        desc.verdict = match (self.forwarded(Direction::In, next_hop), cut) {
            (Verdict::Forward, Some(limit)) => Verdict::ForwardFragmented(limit),
            (verdict, _) => verdict,
        };
        Ok(())
    }

    /// How packets of a session are translated between families, and from which length on IPv4 packets without DF are cut.
    pub(super) fn xlat_options(&self, number: u32) -> (xlat::Options, u16) {
        let set = self.sessions.hot(number).map(|h| h.service_set);
        let plan = set.and_then(|id| self.set_plan(id));
        plan.map_or((xlat::Options::default(), LOWEST_MTU), |p| (p.xlat, p.lowest_mtu))
    }
}
