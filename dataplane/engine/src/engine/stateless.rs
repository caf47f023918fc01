//! Translation without sessions: every packet for itself, by explicit mappings and prefixes. RFC 7915, RFC 7757, RFC 6296.
//!
//! A service set with stateless translation and without policies translates what its interfaces bring: from inside all
//! packets whose destination it can translate, from outside those for an address it stands for. Prefix translation (RFC 6296)
//! from inside is only for what leaves by the outside, or is for another inside host's outside address; the latter, which
//! never leaves, it does without sessions even where the service set has policies.

use tandem_wire::icmp6_error;
use tandem_wire::l4::L4;
use tandem_wire::npt::Nptv6;
use tandem_wire::rewrite::Endpoints;
use tandem_wire::rewrite6::{Endpoints6, forward_ipv6};
use tandem_wire::siit::Siit;
use tandem_wire::{icmp_error, xlat};

use super::Engine;
use super::leaving::{LOWEST_MTU, Leaving, drop, link_mtu};
use super::translate6::refused;
use crate::drop_reason::DropReason;
use crate::packet::{Answer, Desc, Packet, RouteKind, Router, Side, Verdict};
use crate::packet6::Desc6;
use crate::program::{InterfaceId, ServiceSet, ServiceSetId, Stateless};

fn siits(set: &ServiceSet) -> impl Iterator<Item = &Siit> {
    set.stateless.iter().filter_map(|s| match s {
        Stateless::Siit(siit) => Some(siit),
        Stateless::Nptv6(_) => None,
    })
}

fn pairs(set: &ServiceSet) -> impl Iterator<Item = &Nptv6> {
    set.stateless.iter().filter_map(|s| match s {
        Stateless::Nptv6(pair) => Some(pair),
        Stateless::Siit(_) => None,
    })
}

impl Engine {
    /// Whether an IPv4 packet is translated without a session: from inside by its service set, from outside by its destination,
    /// which stands for an IPv6 address.
    #[cold]
    #[inline(never)]
    pub(super) fn is_stateless(&self, side: Side, destination: u32) -> bool {
        match side {
            Side::Inside(set) => self.set_plan(set).is_some_and(|p| p.stateless),
            Side::Outside => self
                .stateless_sets()
                .any(|s| siits(s).any(|t| t.maps_v4(destination))),
            Side::Neither => false,
        }
    }

    /// Service sets with stateless translation.
    fn stateless_sets(&self) -> impl Iterator<Item = &ServiceSet> {
        let plans = self.sets.iter().flatten().filter(|p| p.stateless);
        plans.filter_map(|p| self.program.service_sets.get(p.position))
    }

    /// Whether an IPv6 packet from outside is translated without a session.
    pub(super) fn is_stateless_outside(&self, desc: &Desc6) -> bool {
        self.has_stateless
            && self.stateless_sets().any(|set| {
                pairs(set).any(|p| p.outside().contains(desc.meta.dst))
                    || siits(set).any(|t| t.to_v4(desc.meta.dst).is_some())
            })
    }

    /// The translator of a packet of a side: its service set's, or the one that stands for its destination.
    fn siit_for(&self, side: Side, ours: impl Fn(&Siit) -> bool) -> Option<(&ServiceSet, &Siit)> {
        let in_set = |set| {
            let set: &ServiceSet = set;
            siits(set).find(|t| ours(t)).map(|t| (set, t))
        };
        match side {
            Side::Inside(id) => self.service_set(id).and_then(in_set),
            Side::Outside => self.stateless_sets().find_map(in_set),
            Side::Neither => None,
        }
    }

    fn options_of(&self, set: &ServiceSet) -> (xlat::Options, u16) {
        self.set_plan(set.id)
            .map_or((xlat::Options::default(), LOWEST_MTU), |p| (p.xlat, p.lowest_mtu))
    }

    /// An IPv4 packet without a session.
    pub(super) fn stateless<P: Packet, R: Router>(&mut self, desc: &mut Desc, packet: &mut P, router: &R) {
        match self.siit_four_to_six(desc, packet, router) {
            Ok(()) => self.counters.translated_stateless += 1,
            Err(verdict) => desc.verdict = verdict,
        }
    }

    fn siit_four_to_six<P: Packet, R: Router>(
        &self,
        desc: &mut Desc,
        packet: &mut P,
        router: &R,
    ) -> Result<(), Verdict> {
        let meta = &desc.meta;
        // To this box, or to where nothing is translated: as any packet.
        if router.route(meta.dst, desc.flow_hash()).kind == RouteKind::Kernel {
            return Err(Verdict::Kernel);
        }
        let found = self.siit_for(desc.side, |t| match desc.side {
            Side::Outside => t.maps_v4(meta.dst),
            _ => t.to_v6(meta.dst).is_some(),
        });
        let (set, siit) = found.ok_or(Verdict::Route)?;
        self.check_primary(set.id)?;
        let dst = siit.to_v6(meta.dst).ok_or(Verdict::Route)?;
        let src = siit.to_v6(meta.src).ok_or(drop(DropReason::StatelessNoMapping))?;
        check_addresses((meta.src, meta.dst), (src, dst))?;
        let (mut options, lowest_mtu) = self.options_of(set);
        let route = router.route6(dst, desc.flow_hash());
        let is_error = matches!(meta.l4, L4::IcmpError { .. });
        let leaving = Leaving::four_to_six(desc);
        let mtu = fits(&leaving, route.kind, is_error)?;
        if meta.ttl <= 1 {
            return Err(Verdict::Drop(DropReason::TtlExpired, Answer::TimeExceeded));
        }
        options.mtu6 = mtu;
        let to = Endpoints6 {
            src,
            dst,
            sport: meta.sport(),
            dport: meta.dport(),
        };
        if is_error {
            let message = packet
                .l3()
                .get(usize::from(meta.l4_offset)..usize::from(meta.total_len))
                .ok_or(drop(DropReason::FrameNotContiguous))?;
            let error = icmp_error::parse(message).map_err(|_| drop(DropReason::IcmpErrorBadEmbedded))?;
            let about = error.embedded;
            let (Some(src6), Some(dst6)) = (siit.to_v6(about.src), siit.to_v6(about.dst)) else {
                return Err(drop(DropReason::StatelessNoMapping));
            };
            options.mtu4 = link_mtu(router.route(about.dst, 0).kind);
            let embedded = Endpoints6 {
                src: src6,
                dst: dst6,
                sport: about.sport().unwrap_or(0),
                dport: about.dport().unwrap_or(0),
            };
            xlat::icmp_error_four_to_six(packet, meta, src, dst, &embedded, &options).map_err(refused)?;
        } else {
            xlat::four_to_six(packet, meta, &to, &options).map_err(refused)?;
        }
        desc.next_hop = route.next_hop;
        // Errors are short by now. RFC 4443 section 2.4.
        let cut = leaving.cut(route.kind, lowest_mtu).filter(|_| !is_error);
        desc.verdict = cut.map_or(Verdict::Forward, Verdict::ForwardFragmented);
        Ok(())
    }

    /// An IPv6 packet without a session.
    pub(super) fn stateless6<P: Packet, R: Router>(&mut self, desc: &mut Desc6, packet: &mut P, router: &R) {
        self.ip_id = self.ip_id.wrapping_add(1);
        let result = match self.other_prefix_of(desc, router) {
            Some(to) => to.and_then(|to| self.replace_prefix(desc, packet, router, &to)),
            None => self.siit_six_to_four(desc, packet, router),
        };
        match result {
            Ok(()) => self.counters.translated_stateless += 1,
            Err(verdict) => desc.verdict = verdict,
        }
    }

    /// Where prefix translation leads a packet; `None` when it is not for it.
    fn other_prefix_of<R: Router>(&self, desc: &Desc6, router: &R) -> Option<Result<Endpoints6, Verdict>> {
        let meta = &desc.meta;
        let mut to = Endpoints6 {
            src: meta.src,
            dst: meta.dst,
            sport: meta.sport(),
            dport: meta.dport(),
        };
        // RFC 6296 section 3.5: an address that cannot be translated is unreachable for its correspondent.
        let impossible = Verdict::Drop(
            DropReason::StatelessNoMapping,
            Answer::Unreachable(tandem_wire::icmp6::CODE_ADDRESS),
        );
        match desc.side {
            Side::Inside(id) => {
                let set = self.service_set(id)?;
                let pair = pairs(set).find(|p| p.inside().contains(meta.src))?;
                let back = pairs(set).find(|p| p.outside().contains(meta.dst));
                // What stays inside keeps its addresses, and what is for this box.
                match router.route6(meta.dst, desc.flow_hash()).kind {
                    RouteKind::Kernel => return None,
                    RouteKind::Forward { interface, .. } if self.is_outside(interface, id) => {}
                    _ if back.is_some() => {}
                    _ => return None,
                }
                if let Err(verdict) = self.check_primary(id) {
                    return Some(Err(verdict));
                }
                let Some(src) = pair.to_outside(meta.src) else {
                    return Some(Err(impossible));
                };
                to.src = src;
                // Hairpinning: another inside host, by its outside address. RFC 6296 section 4.
                if let Some(back) = back {
                    let Some(dst) = back.to_inside(meta.dst) else {
                        return Some(Err(impossible));
                    };
                    to.dst = dst;
                }
            }
            Side::Outside => {
                let mut all = self.stateless_sets().flat_map(|s| pairs(s).map(|p| (s.id, p)));
                let (id, pair) = all.find(|(_, p)| p.outside().contains(meta.dst))?;
                if let Err(verdict) = self.check_primary(id) {
                    return Some(Err(verdict));
                }
                let Some(dst) = pair.to_inside(meta.dst) else {
                    return Some(Err(impossible));
                };
                to.dst = dst;
            }
            Side::Neither => return None,
        }
        Some(Ok(to))
    }

    fn is_outside(&self, interface: InterfaceId, id: ServiceSetId) -> bool {
        self.set_plan(id)
            .is_some_and(|plan| self.is_outside_of(interface, plan, id))
    }

    fn replace_prefix<P: Packet, R: Router>(
        &self,
        desc: &mut Desc6,
        packet: &mut P,
        router: &R,
        to: &Endpoints6,
    ) -> Result<(), Verdict> {
        let meta = &desc.meta;
        let route = router.route6(to.dst, desc.flow_hash());
        if let Side::Inside(id) = desc.side
            && let RouteKind::Forward { interface, .. } = route.kind
            && meta.dst != to.dst
            && self.is_outside(interface, id)
        {
            // An outside address that no inside host has: it does not leave, where it would come back from, and past policies.
            return Err(Verdict::Drop(
                DropReason::NoRoute,
                Answer::to_route6(DropReason::NoRoute),
            ));
        }
        fits(&Leaving::six(desc), route.kind, false)?;
        if meta.hop_limit <= 1 {
            return Err(Verdict::Drop(DropReason::TtlExpired, Answer::TimeExceeded));
        }
        if let L4::IcmpError { .. } = meta.l4 {
            // What is quoted went the other way: its source is the error's destination; its destination is, from inside,
            // some inside host, which need not be the one that sends the error.
            let (message, ends) = quoted(packet.l3_mut(), desc)?;
            let new_src = (ends.1 == meta.dst).then_some((to.dst, ends.3));
            let set = match desc.side {
                Side::Inside(id) => self.service_set(id),
                _ => None,
            };
            let new_dst = set
                .and_then(|set| pairs(set).find_map(|p| p.to_outside(ends.0)))
                .map(|dst| (dst, ends.2));
            icmp6_error::rewrite_embedded(message, new_src, new_dst)
                .ok_or(drop(DropReason::IcmpErrorBadEmbedded))?;
        }
        if !forward_ipv6(packet.l3_mut(), meta, to) {
            return Err(drop(DropReason::FrameNotContiguous));
        }
        desc.next_hop = route.next_hop;
        desc.verdict = Verdict::Forward;
        Ok(())
    }

    fn siit_six_to_four<P: Packet, R: Router>(
        &self,
        desc: &mut Desc6,
        packet: &mut P,
        router: &R,
    ) -> Result<(), Verdict> {
        let meta = &desc.meta;
        if router.route6(meta.dst, desc.flow_hash()).kind == RouteKind::Kernel {
            return Err(Verdict::Kernel);
        }
        let found = self.siit_for(desc.side, |t| t.to_v4(meta.dst).is_some());
        let (set, siit) = found.ok_or(Verdict::Route)?;
        self.check_primary(set.id)?;
        let dst = siit.to_v4(meta.dst).ok_or(Verdict::Route)?;
        let src = siit.to_v4(meta.src).ok_or(drop(DropReason::StatelessNoMapping))?;
        check_addresses((src, dst), (meta.src, meta.dst))?;
        let (mut options, _) = self.options_of(set);
        let route = router.route(dst, desc.flow_hash());
        let is_error = matches!(meta.l4, L4::IcmpError { .. });
        let mtu = fits(&Leaving::six_to_four(desc), route.kind, is_error)?;
        if meta.hop_limit <= 1 {
            return Err(Verdict::Drop(DropReason::TtlExpired, Answer::TimeExceeded));
        }
        options.mtu4 = mtu;
        if is_error {
            let message = packet
                .l3()
                .get(usize::from(meta.l4_offset)..usize::from(meta.total_len))
                .ok_or(drop(DropReason::FrameNotContiguous))?;
            let error = icmp6_error::parse(message, meta.src, meta.dst)
                .map_err(|_| drop(DropReason::IcmpErrorBadEmbedded))?;
            let about = error.embedded;
            let (Some(src4), Some(dst4)) = (siit.to_v4(about.src), siit.to_v4(about.dst)) else {
                return Err(drop(DropReason::StatelessNoMapping));
            };
            options.mtu6 = link_mtu(router.route6(about.dst, 0).kind);
            let embedded = Endpoints {
                src: src4,
                dst: dst4,
                sport: about.sport().unwrap_or(0),
                dport: about.dport().unwrap_or(0),
            };
            xlat::icmp_error_six_to_four(packet, meta, src, dst, &embedded, &options, self.ip_id)
                .map_err(refused)?;
        } else {
            let to = Endpoints {
                src,
                dst,
                sport: meta.sport(),
                dport: meta.dport(),
            };
            xlat::six_to_four(packet, meta, &to, &options, self.ip_id).map_err(refused)?;
        }
        desc.next_hop = route.next_hop;
        desc.verdict = Verdict::Forward;
        Ok(())
    }
}

/// RFC 7915 sections 4.1 and 5.1: sources no packet may have, on either side. None of them is a destination to forward to,
/// either.
fn check_addresses(four: (u32, u32), six: (u128, u128)) -> Result<(), Verdict> {
    let legal = xlat::is_legal_source4(four.0)
        && xlat::is_legal_source4(four.1)
        && xlat::is_legal_source6(six.0)
        && xlat::is_legal_source6(six.1);
    if legal {
        Ok(())
    } else {
        Err(drop(DropReason::StatelessIllegalAddress))
    }
}

/// The MTU of the link a packet leaves by, if its route says yes and it is not too long. An error is cut on its way.
fn fits(leaving: &Leaving, route: RouteKind, is_error: bool) -> Result<u16, Verdict> {
    match route {
        RouteKind::Forward { mtu, .. } if !is_error => leaving.fits(mtu).map(|()| mtu),
        RouteKind::Drop(reason) => Err(Verdict::Drop(reason, leaving.answer_to_route(reason))),
        _ => Ok(link_mtu(route)),
    }
}

/// Destination, source, destination port and source port of a quoted packet.
type Quoted = (u128, u128, u16, u16);

/// An ICMPv6 error's message, checked, and the ends of what it quotes.
fn quoted<'a>(l3: &'a mut [u8], desc: &Desc6) -> Result<(&'a mut [u8], Quoted), Verdict> {
    let meta = &desc.meta;
    let range = usize::from(meta.l4_offset)..usize::from(meta.total_len);
    let message = l3.get_mut(range).ok_or(drop(DropReason::FrameNotContiguous))?;
    let error = icmp6_error::parse(message, meta.src, meta.dst)
        .map_err(|_| drop(DropReason::IcmpErrorBadEmbedded))?;
    if !error.checksum_ok {
        return Err(drop(DropReason::IcmpErrorBadChecksum));
    }
    let about = error.embedded;
    let ports = (about.dport().unwrap_or(0), about.sport().unwrap_or(0));
    Ok((message, (about.dst, about.src, ports.0, ports.1)))
}
