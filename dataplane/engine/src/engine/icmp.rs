//! ICMP errors over IPv4: they go where the packet they are about came from, and the quoted packet is translated back.
//!
//! RFC 5508 section 4, RFC 6146 section 3.5.3. An error makes, refreshes and ends nothing (REQ-6; RFC 4787 REQ-12, RFC 5382
//! REQ-10). One about a packet of no session passes no firewall.

use tandem_wire::icmp_error::{self, Embedded, IcmpErrorMeta};
use tandem_wire::rewrite::{Endpoints, forward_ipv4};
use tandem_wire::rewrite6::Endpoints6;
use tandem_wire::{ipv4, xlat};

use super::Engine;
use super::first_packet::Ends;
use super::flow::Flow;
use super::leaving::{drop, link_mtu};
use super::translate::NEXT_HOP_HAIRPIN;
use super::translate6::refused;
use crate::address;
use crate::drop_reason::DropReason;
use crate::packet::{Desc, Packet, RouteKind, Router, Side, Verdict};
use crate::program::{NONE, ServiceSetId};
use crate::session::{Direction, Tuple4};

/// New addresses: outer source and destination, and the quoted packet's changed ends.
struct Translation {
    outer: (u32, u32),
    new_src: Option<(u32, u16)>,
    new_dst: Option<(u32, u16)>,
}

/// What an error is about: the ends of a session, or of a mapping whose session is gone; and its service set.
struct About {
    ends: Ends,
    service_set: ServiceSetId,
}

/// The tuple of the packet that the quoted one answers: what a session is found by.
fn tuple_of(embedded: &Embedded, direction: Direction) -> Option<Tuple4> {
    let has_ports = matches!(embedded.proto, ipv4::TCP | ipv4::UDP | ipv4::ICMP);
    let (sport, dport) = if has_ports {
        (embedded.sport()?, embedded.dport()?)
    } else {
        (0, 0)
    };
    let mut tuple = Tuple4 {
        src: embedded.dst,
        dst: embedded.src,
        sport: dport,
        dport: sport,
    };
    if embedded.proto == ipv4::ICMP {
        match direction {
            Direction::Out => tuple.dport = 0,
            Direction::In => tuple.sport = 0,
        }
    }
    Some(tuple)
}

/// An end for a quoted packet, if it is another than the one there.
fn changed(new: (u128, u16), old: (u128, u16)) -> Option<(u32, u16)> {
    (new != old).then_some((new.0 as u32, new.1))
}

impl Engine {
    pub(super) fn icmp_error<P: Packet, R: Router>(&mut self, desc: &mut Desc, packet: &mut P, router: &R) {
        if let Err(verdict) = self.try_icmp_error(desc, packet, router) {
            desc.verdict = verdict;
        }
    }

    fn try_icmp_error<P: Packet, R: Router>(
        &mut self,
        desc: &mut Desc,
        packet: &mut P,
        router: &R,
    ) -> Result<(), Verdict> {
        let public = self.program.public_space.find(desc.meta.dst).is_some();
        if desc.side == Side::Neither || desc.side == Side::Outside && !public && !self.has_untranslated {
            return Err(Verdict::Route);
        }
        let range = usize::from(desc.meta.l4_offset)..usize::from(desc.meta.total_len);
        let message = packet
            .l3()
            .get(range.clone())
            .ok_or(drop(DropReason::FrameNotContiguous))?;
        let bad = drop(DropReason::IcmpErrorBadEmbedded);
        let error = icmp_error::parse(message).map_err(|_| bad)?;
        let translation = if let Side::Inside(set) = desc.side {
            self.error_from_inside(desc, &error, set, router)?
        } else {
            let about = self.about_from_outside(desc, &error, router)?;
            self.check_primary(about.service_set)?;
            check(&error)?;
            // An error goes to who sent what it quotes. One that quotes another's packet is made up.
            if desc.meta.dst != error.embedded.src {
                return Err(bad);
            }
            if !address::is_v4(about.ends.inside.0) {
                return self.error_to_six(desc, packet, router, &about);
            }
            to_inside(desc, &about.ends)
        };
        if desc.meta.ttl <= 1 {
            return Err(drop(DropReason::TtlExpired));
        }
        let (next_hop, verdict) = self.error_route(desc.side, desc.meta.src, translation.outer.1, router)?;
        let l3 = packet.l3_mut();
        let message = l3.get_mut(range).ok_or(drop(DropReason::FrameNotContiguous))?;
        icmp_error::rewrite_embedded(message, translation.new_src, translation.new_dst).ok_or(bad)?;
        let (src, dst) = translation.outer;
        let to = Endpoints {
            src,
            dst,
            sport: 0,
            dport: 0,
        };
        if !forward_ipv4(l3, &desc.meta, &to) {
            return Err(drop(DropReason::FrameNotContiguous));
        }
        self.count_error(verdict);
        (desc.next_hop, desc.verdict) = (next_hop, verdict);
        Ok(())
    }

    pub(super) fn count_error(&mut self, verdict: Verdict) {
        self.counters.translated_icmp_errors += 1;
        if verdict == Verdict::Hairpin {
            self.counters.hairpinned += 1;
        }
    }

    /// From outside, about a packet that left: its source is the public end. RFC 5508 REQ-4.
    fn about_from_outside<R: Router>(
        &self,
        desc: &Desc,
        error: &IcmpErrorMeta,
        router: &R,
    ) -> Result<About, Verdict> {
        let embedded = &error.embedded;
        let nobody = || self.about_nobody(desc, router);
        let tuple = tuple_of(embedded, Direction::In).ok_or_else(nobody)?;
        let place = self.sessions.place(&tuple, embedded.proto, Direction::In, 0);
        let session = self
            .sessions
            .find(place, &tuple, embedded.proto, Direction::In, 0);
        if let Some(hot) = session.and_then(|n| self.sessions.hot(n)) {
            return Ok(About {
                ends: self.ends_of(hot),
                service_set: hot.service_set,
            });
        }
        // The session may be gone while its mapping lives: the mapping knows the inside end as well.
        let number = self
            .mappings
            .find_public(tuple.dst, tuple.dport, embedded.proto)
            .ok_or_else(nobody)?;
        let mapping = self.mappings.get(number).ok_or_else(nobody)?;
        let subscriber = self.subscribers.get(mapping.subscriber).ok_or_else(nobody)?;
        let inside = mapping.inside(subscriber);
        let outside = (address::of_v4(tuple.src), tuple.sport);
        let plan = self.set_plan(subscriber.service_set).ok_or_else(nobody)?;
        let prefix = plan.prefixes.get(mapping.prefix()).or(plan.prefixes.first());
        let seen = match prefix {
            Some((_, prefix)) if !address::is_v4(inside) => (prefix.embed(tuple.src), tuple.sport),
            _ => outside,
        };
        Ok(About {
            ends: Ends {
                inside: (inside, mapping.inside_port),
                seen,
                outside,
                public: (address::of_v4(tuple.dst), tuple.dport),
            },
            service_set: subscriber.service_set,
        })
    }

    /// From outside, about a packet of nobody's.
    fn about_nobody<R: Router>(&self, desc: &Desc, router: &R) -> Verdict {
        let Some(found) = self.program.public_space.find(desc.meta.dst) else {
            let inside = match router.route(desc.meta.dst, 0).kind {
                RouteKind::Forward { interface, .. } => self.inside_of.get(usize::from(interface)).copied(),
                _ => None,
            };
            return self.beyond_firewall(inside.unwrap_or(NONE), desc.interface);
        };
        // Of an interface's own address, it is about one of the kernel's.
        match self.pool(found.pool) {
            Some(pool) if pool.interface_address => Verdict::Kernel,
            _ => drop(DropReason::IcmpErrorNoSession),
        }
    }

    /// What becomes of an error about no session that is for a service set's inside: a firewall does not pass it.
    pub(super) fn beyond_firewall(&self, inside_of: ServiceSetId, interface: u16) -> Verdict {
        let plan = self.set_plan(inside_of).filter(|p| p.firewall);
        match plan {
            Some(plan) if self.is_outside_of(interface, plan, inside_of) => {
                drop(DropReason::IcmpErrorNoSession)
            }
            _ => Verdict::Route,
        }
    }

    /// From inside, about a packet that came in translated: its destination is the subscriber. REQ-5. Also about anything
    /// that was never translated: that is routed.
    fn error_from_inside<R: Router>(
        &self,
        desc: &Desc,
        error: &IcmpErrorMeta,
        set: ServiceSetId,
        router: &R,
    ) -> Result<Translation, Verdict> {
        let embedded = &error.embedded;
        let tuple = tuple_of(embedded, Direction::Out);
        let session = tuple.and_then(|tuple| {
            let place = self.sessions.place(&tuple, embedded.proto, Direction::Out, set);
            self.sessions
                .find(place, &tuple, embedded.proto, Direction::Out, set)
        });
        let Some(hot) = session.and_then(|n| self.sessions.hot(n)) else {
            // Not about anything of ours: when it stays inside, or is for this box, it is routed; it leaves only where what it
            // is about was never to be translated.
            if self.program.public_space.find(desc.meta.dst).is_some() {
                return Err(drop(DropReason::IcmpErrorNoSession));
            }
            let route = router.route(desc.meta.dst, 0).kind;
            let is_plain = |tuple| self.leaves_alone(set, &Flow::answered(desc, &tuple, embedded.proto));
            let plain = desc.meta.dst == embedded.src
                && matches!(route, RouteKind::Forward { .. })
                && tuple.is_some_and(is_plain);
            return Err(if plain {
                Verdict::Route
            } else {
                self.stays_inside(route, set)
            });
        };
        self.check_primary(set)?;
        check(error)?;
        if desc.meta.dst != embedded.src {
            return Err(drop(DropReason::IcmpErrorBadEmbedded));
        }
        let ends = self.ends_of(hot);
        // The source of an untranslated session's error is who it is; else the inside must not be seen.
        let src = if ends.public == ends.inside {
            desc.meta.src
        } else {
            ends.public.0 as u32
        };
        Ok(Translation {
            outer: (src, ends.outside.0 as u32),
            new_src: changed(ends.outside, ends.seen),
            new_dst: Some((ends.public.0 as u32, ends.public.1)),
        })
    }

    /// What becomes of an error from inside about no session.
    pub(super) fn stays_inside(&self, route: RouteKind, set: ServiceSetId) -> Verdict {
        match (route, self.set_plan(set)) {
            (RouteKind::Kernel, _) => Verdict::Kernel,
            (RouteKind::Forward { interface, .. }, Some(plan))
                if !self.is_outside_of(interface, plan, set) =>
            {
                Verdict::Route
            }
            _ => drop(DropReason::IcmpErrorNoSession),
        }
    }

    /// Where an error goes that is IPv4 when it leaves.
    pub(super) fn error_route<R: Router>(
        &self,
        side: Side,
        hash: u32,
        destination: u32,
        router: &R,
    ) -> Result<(u16, Verdict), Verdict> {
        if matches!(side, Side::Inside(_)) && self.program.public_space.find(destination).is_some() {
            return Ok((NEXT_HOP_HAIRPIN, Verdict::Hairpin));
        }
        let route = router.route(destination, hash);
        match route.kind {
            RouteKind::Forward { .. } | RouteKind::Kernel => Ok((route.next_hop, Verdict::Forward)),
            // Never an error about an error.
            RouteKind::Drop(reason) => Err(drop(reason)),
        }
    }

    /// To an IPv6 subscriber. RFC 7915 section 4.2.
    fn error_to_six<P: Packet, R: Router>(
        &mut self,
        desc: &mut Desc,
        packet: &mut P,
        router: &R,
        about: &About,
    ) -> Result<(), Verdict> {
        let ends = &about.ends;
        let nobody = drop(DropReason::IcmpErrorNoSession);
        let plan = self.set_plan(about.service_set).ok_or(nobody)?;
        // Its source is seen in the prefix in which the subscriber sees the other end.
        let prefix = plan.prefixes.iter().find(|(_, p)| p.contains(ends.seen.0));
        let (_, prefix) = prefix.ok_or(nobody)?;
        if desc.meta.ttl <= 1 {
            return Err(drop(DropReason::TtlExpired));
        }
        let route = router.route6(ends.inside.0, desc.meta.src);
        let mut options = plan.xlat;
        match route.kind {
            RouteKind::Forward { mtu, .. } => options.mtu6 = mtu,
            RouteKind::Kernel => {}
            RouteKind::Drop(reason) => return Err(drop(reason)),
        }
        options.mtu4 = link_mtu(router.route(ends.outside.0 as u32, 0).kind);
        let embedded = Endpoints6 {
            src: ends.inside.0,
            dst: ends.seen.0,
            sport: ends.inside.1,
            dport: ends.seen.1,
        };
        let src = prefix.embed(desc.meta.src);
        xlat::icmp_error_four_to_six(packet, &desc.meta, src, ends.inside.0, &embedded, &options)
            .map_err(refused)?;
        self.count_error(Verdict::Forward);
        (desc.next_hop, desc.verdict) = (route.next_hop, Verdict::Forward);
        Ok(())
    }
}

/// To an IPv4 subscriber.
fn to_inside(desc: &Desc, ends: &Ends) -> Translation {
    // The other end's own errors come, as all it sends, from where the subscriber sees it.
    let src = if address::of_v4(desc.meta.src) == ends.outside.0 {
        ends.seen.0 as u32
    } else {
        desc.meta.src
    };
    Translation {
        outer: (src, ends.inside.0 as u32),
        new_src: Some((ends.inside.0 as u32, ends.inside.1)),
        new_dst: changed(ends.seen, ends.outside),
    }
}

/// Checksums, once it is known that the error is ours to translate. REQ-3, REQ-3a.
fn check(error: &IcmpErrorMeta) -> Result<(), Verdict> {
    if !error.checksum_ok {
        return Err(drop(DropReason::IcmpErrorBadChecksum));
    }
    if !error.embedded_checksum_ok {
        return Err(drop(DropReason::IcmpErrorBadEmbedded));
    }
    Ok(())
}
