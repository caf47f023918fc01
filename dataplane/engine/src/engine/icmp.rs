//! ICMP errors: they go where the packet they are about came from, and the quoted packet is translated back.
//!
//! RFC 5508 section 4. An error makes, refreshes and ends nothing (REQ-6; RFC 4787 REQ-12, RFC 5382 REQ-10).

use tandem_wire::icmp_error::{self, Embedded, IcmpErrorMeta};
use tandem_wire::ipv4;
use tandem_wire::rewrite::{Endpoints, forward_ipv4};

use super::Engine;
use super::translate::NEXT_HOP_HAIRPIN;
use crate::drop_reason::DropReason;
use crate::packet::{Answer, Desc, Packet, RouteKind, Router, Side, Verdict};
use crate::session::{Direction, Tuple4};

/// New addresses: outer source and destination, and the quoted packet's changed end.
struct Translation {
    outer: (u32, u32),
    new_src: Option<(u32, u16)>,
    new_dst: Option<(u32, u16)>,
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
        let drop = |reason| Verdict::Drop(reason, Answer::None);
        let range = usize::from(desc.meta.l4_offset)..usize::from(desc.meta.total_len);
        let message = packet
            .l3()
            .get(range.clone())
            .ok_or(drop(DropReason::FrameNotContiguous))?;
        let bad = drop(DropReason::IcmpErrorBadEmbedded);
        let translation = match desc.side {
            Side::Outside if self.program.public_space.find(desc.meta.dst).is_none() => {
                return Err(Verdict::Route);
            }
            Side::Neither => return Err(Verdict::Route),
            side => {
                let error = icmp_error::parse(message).map_err(|_| bad)?;
                match side {
                    Side::Inside(set) => self.error_from_inside(desc, &error, set, router)?,
                    _ => self.error_from_outside(desc, &error)?,
                }
            }
        };
        if desc.meta.ttl <= 1 {
            return Err(drop(DropReason::TtlExpired));
        }
        let (next_hop, verdict) = self.error_route(desc, translation.outer.1, router)?;
        let l3 = packet.l3_mut();
        let message = l3.get_mut(range).ok_or(drop(DropReason::FrameNotContiguous))?;
        icmp_error::rewrite_embedded(message, translation.new_src, translation.new_dst).ok_or(bad)?;
        let (src, dst) = translation.outer;
        if !forward_ipv4(
            l3,
            &desc.meta,
            &Endpoints {
                src,
                dst,
                sport: 0,
                dport: 0,
            },
        ) {
            return Err(drop(DropReason::FrameNotContiguous));
        }
        self.counters.translated_icmp_errors += 1;
        if verdict == Verdict::Hairpin {
            self.counters.hairpinned += 1;
        }
        (desc.next_hop, desc.verdict) = (next_hop, verdict);
        Ok(())
    }

    /// Checksums, once it is known that the error is ours to translate. REQ-3, REQ-3a.
    fn check(error: &IcmpErrorMeta) -> Result<(), Verdict> {
        if !error.checksum_ok {
            return Err(Verdict::Drop(DropReason::IcmpErrorBadChecksum, Answer::None));
        }
        if !error.embedded_checksum_ok {
            return Err(Verdict::Drop(DropReason::IcmpErrorBadEmbedded, Answer::None));
        }
        Ok(())
    }

    /// From outside, about a packet that left translated: its source is the public end. REQ-4.
    fn error_from_outside(&self, desc: &Desc, error: &IcmpErrorMeta) -> Result<Translation, Verdict> {
        // About a packet of nobody's; of an interface's own address, about one of the kernel's.
        let pool = self.program.public_space.find(desc.meta.dst).map(|f| f.pool);
        let nobody = if pool
            .and_then(|id| self.pool(id))
            .is_some_and(|p| p.interface_address)
        {
            Verdict::Kernel
        } else {
            Verdict::Drop(DropReason::IcmpErrorNoSession, Answer::None)
        };
        let embedded = &error.embedded;
        let tuple = tuple_of(embedded, Direction::In).ok_or(nobody)?;
        let place = self.sessions.place(&tuple, embedded.proto, Direction::In, 0);
        let session = self
            .sessions
            .find(place, &tuple, embedded.proto, Direction::In, 0);
        let inside = if let Some(hot) = session.and_then(|n| self.sessions.hot(n)) {
            let out = hot.tuples[Direction::Out as usize];
            (out.src, out.sport)
        } else {
            // The session may be gone while its mapping lives: the mapping knows the inside end as well.
            let number = self
                .mappings
                .find_public(tuple.dst, tuple.dport, embedded.proto)
                .ok_or(nobody)?;
            let mapping = self.mappings.get(number).ok_or(nobody)?;
            (mapping.inside, mapping.inside_port)
        };
        Self::check(error)?;
        Ok(Translation {
            outer: (desc.meta.src, inside.0),
            new_src: Some(inside),
            new_dst: None,
        })
    }

    /// From inside, about a packet that came in translated: its destination is the subscriber. REQ-5. Also about anything
    /// that was never translated: that is routed.
    fn error_from_inside<R: Router>(
        &self,
        desc: &Desc,
        error: &IcmpErrorMeta,
        set: u16,
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
            // Not about anything of ours: when it stays inside, or is for this box, it is routed; it does not leave.
            if self.program.public_space.find(desc.meta.dst).is_none() {
                match router.route(desc.meta.dst, 0).kind {
                    RouteKind::Kernel => return Err(Verdict::Kernel),
                    RouteKind::Forward { interface, .. }
                        if !self
                            .program
                            .interfaces
                            .iter()
                            .any(|i| i.id == interface && i.outside_of.contains(&set)) =>
                    {
                        return Err(Verdict::Route);
                    }
                    _ => {}
                }
            }
            return Err(Verdict::Drop(DropReason::IcmpErrorNoSession, Answer::None));
        };
        Self::check(error)?;
        let back = hot.tuples[Direction::In as usize];
        Ok(Translation {
            outer: (back.dst, desc.meta.dst),
            new_src: None,
            new_dst: Some((back.dst, back.dport)),
        })
    }

    fn error_route<R: Router>(
        &self,
        desc: &Desc,
        destination: u32,
        router: &R,
    ) -> Result<(u16, Verdict), Verdict> {
        if matches!(desc.side, Side::Inside(_)) && self.program.public_space.find(destination).is_some() {
            return Ok((NEXT_HOP_HAIRPIN, Verdict::Hairpin));
        }
        let route = router.route(destination, desc.meta.src);
        match route.kind {
            RouteKind::Forward { .. } | RouteKind::Kernel => Ok((route.next_hop, Verdict::Forward)),
            // Never an error about an error.
            RouteKind::Drop(reason) => Err(Verdict::Drop(reason, Answer::None)),
        }
    }
}
