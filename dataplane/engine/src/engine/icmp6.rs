//! ICMPv6 errors: about packets of NAT64 sessions they become ICMPv4 errors, about those of a firewall they pass it.
//!
//! RFC 7915 section 5.2, RFC 6146 section 3.5.3, RFC 4890. Like all errors they make, refresh and end nothing.

use tandem_wire::icmp6_error::{self, Embedded6, IcmpErrorMeta6};
use tandem_wire::rewrite::Endpoints;
use tandem_wire::rewrite6::{Endpoints6, forward_ipv6};
use tandem_wire::{ipv4, xlat};

use super::Engine;
use super::flow::outside_protocol;
use super::leaving::{drop, link_mtu};
use super::translate6::refused;
use crate::drop_reason::DropReason;
use crate::packet::{Packet, RouteKind, Router, Side, Verdict};
use crate::packet6::{Desc6, Target};
use crate::program::{NONE, ServiceSetId};
use crate::session::Key66;

/// Ports of the quoted packet, source and destination, as sessions have them when `inside` is the one that has the identifier of
/// an echo.
fn ports_of(embedded: &Embedded6, inside_is_source: bool) -> Option<(u16, u16)> {
    match embedded.proto {
        ipv4::TCP | ipv4::UDP => Some((embedded.sport()?, embedded.dport()?)),
        ipv4::ICMPV6 if inside_is_source => Some((embedded.sport()?, 0)),
        ipv4::ICMPV6 => Some((0, embedded.sport()?)),
        _ => Some((0, 0)),
    }
}

impl Engine {
    pub(super) fn icmp6_error<P: Packet, R: Router>(&mut self, desc: &mut Desc6, packet: &mut P, router: &R) {
        let result = match desc.target {
            Target::Four { prefix, address } => self.error_to_four(desc, packet, router, (prefix, address)),
            Target::Six(key) => self.error_six(desc, packet, router, &key),
            Target::Unknown | Target::Stateless => Err(Verdict::Route),
        };
        if let Err(verdict) = result {
            desc.verdict = verdict;
        }
    }

    /// From an IPv6 inside, about a packet that came from IPv4.
    fn error_to_four<P: Packet, R: Router>(
        &mut self,
        desc: &mut Desc6,
        packet: &mut P,
        router: &R,
        (prefix, address): (u16, u32),
    ) -> Result<(), Verdict> {
        let nobody = drop(DropReason::IcmpErrorNoSession);
        let Side::Inside(set) = desc.side else {
            return Err(nobody);
        };
        let error = parse(desc, packet)?;
        let about = &error.embedded;
        let plan = self.set_plan(set).ok_or(nobody)?;
        let outside = plan
            .prefixes
            .iter()
            .find(|(id, _)| *id == prefix)
            .and_then(|(_, p)| p.extract(about.src));
        let outside = outside.ok_or(nobody)?;
        let (sport, dport) = ports_of(about, false).ok_or(nobody)?;
        let (ports, protocol) = ((dport, sport), outside_protocol(about.proto));
        let place = self
            .sessions
            .place_64(about.dst, outside, ports, protocol, (set, prefix));
        let session = self
            .sessions
            .find_64(place, about.dst, outside, ports, protocol, (set, prefix));
        let back = session
            .and_then(|n| self.sessions.hot(n))
            .ok_or(nobody)?
            .from_outside();
        self.check_primary(set)?;
        check(&error)?;
        // An error goes to who sent what it quotes. One that quotes another's packet is made up.
        if desc.meta.dst != about.src {
            return Err(drop(DropReason::IcmpErrorBadEmbedded));
        }
        if desc.meta.hop_limit <= 1 {
            return Err(drop(DropReason::TtlExpired));
        }
        let mut options = plan.xlat;
        let (next_hop, verdict) = self.error_route(desc.side, desc.flow_hash(), address, router)?;
        if let RouteKind::Forward { mtu, .. } = router.route(address, 0).kind {
            options.mtu4 = mtu;
        }
        options.mtu6 = link_mtu(router.route6(about.dst, 0).kind);
        let embedded = Endpoints {
            src: back.src,
            dst: back.dst,
            sport: if protocol == ipv4::ICMP {
                back.dport
            } else {
                back.sport
            },
            dport: back.dport,
        };
        self.ip_id = self.ip_id.wrapping_add(1);
        xlat::icmp_error_six_to_four(
            packet, &desc.meta, back.dst, address, &embedded, &options, self.ip_id,
        )
        .map_err(refused)?;
        self.count_error(verdict);
        (desc.next_hop, desc.verdict) = (next_hop, verdict);
        Ok(())
    }

    /// About a packet with IPv6 on both sides. `key` has the error's own ends, the inside one as the inside sees it.
    fn error_six<P: Packet, R: Router>(
        &mut self,
        desc: &mut Desc6,
        packet: &mut P,
        router: &R,
        key: &Key66,
    ) -> Result<(), Verdict> {
        let error = parse(desc, packet)?;
        let about = &error.embedded;
        let from_inside = matches!(desc.side, Side::Inside(_));
        let translated = |a: u128| {
            self.prefix_pairs
                .iter()
                .find_map(|(_, p)| p.to_inside(a))
                .unwrap_or(a)
        };
        let quoted = ports_of(about, !from_inside).map(|(sport, dport)| match from_inside {
            true => Key66 {
                inside: about.dst,
                outside: about.src,
                inside_port: dport,
                outside_port: sport,
            },
            false => Key66 {
                inside: translated(about.src),
                outside: about.dst,
                inside_port: sport,
                outside_port: dport,
            },
        });
        let session = quoted.and_then(|quoted| {
            let place = self.sessions.place_66(&quoted, about.proto);
            self.sessions.find_66(place, &quoted, about.proto)
        });
        let hot = session.and_then(|n| self.sessions.hot(n));
        let ours = hot.filter(|h| match desc.side {
            Side::Inside(set) => h.service_set == set,
            _ => true,
        });
        let (Some(hot), Some(quoted)) = (ours, quoted) else {
            return Err(self.about_no_session6(desc, router));
        };
        self.check_primary(hot.service_set)?;
        check(&error)?;
        // An error goes to who sent what it quotes. One that quotes another's packet is made up.
        if desc.meta.dst != about.src {
            return Err(drop(DropReason::IcmpErrorBadEmbedded));
        }
        if desc.meta.hop_limit <= 1 {
            return Err(drop(DropReason::TtlExpired));
        }
        let pairs = self.set_plan(hot.service_set).map(|p| p.prefix_pairs.as_slice());
        let to_outside = |a: u128| {
            let pair = pairs.unwrap_or(&[]).iter().find(|p| p.inside().contains(a));
            pair.map_or(Some(a), |p| p.to_outside(a))
        };
        let meta = &desc.meta;
        let impossible = drop(DropReason::StatelessNoMapping);
        let (src, dst) = if from_inside {
            (to_outside(meta.src).ok_or(impossible)?, meta.dst)
        } else {
            (meta.src, key.inside)
        };
        let (new_src, new_dst) = if from_inside {
            let inside = to_outside(quoted.inside).ok_or(impossible)?;
            (
                None,
                (inside != about.dst).then_some((inside, quoted.inside_port)),
            )
        } else {
            let changes = quoted.inside != about.src;
            (changes.then_some((quoted.inside, quoted.inside_port)), None)
        };
        let route = router.route6(dst, desc.flow_hash());
        if let RouteKind::Drop(reason) = route.kind {
            return Err(drop(reason));
        }
        let range = usize::from(meta.l4_offset)..usize::from(meta.total_len);
        let to = Endpoints6 {
            src,
            dst,
            sport: 0,
            dport: 0,
        };
        let l3 = packet.l3_mut();
        if new_src.is_some() || new_dst.is_some() {
            let message = l3.get_mut(range).ok_or(drop(DropReason::FrameNotContiguous))?;
            icmp6_error::rewrite_embedded(message, new_src, new_dst)
                .ok_or(drop(DropReason::IcmpErrorBadEmbedded))?;
        }
        if !forward_ipv6(l3, meta, &to) {
            return Err(drop(DropReason::FrameNotContiguous));
        }
        self.count_error(Verdict::Forward);
        (desc.next_hop, desc.verdict) = (route.next_hop, Verdict::Forward);
        Ok(())
    }

    /// What becomes of an error about no session. RFC 4890 section 4.3: it does not pass a firewall.
    fn about_no_session6<R: Router>(&self, desc: &Desc6, router: &R) -> Verdict {
        let route = router.route6(desc.meta.dst, 0).kind;
        if let Side::Inside(set) = desc.side {
            return self.stays_inside(route, set);
        }
        let inside: Option<ServiceSetId> = match route {
            RouteKind::Forward { interface, .. } => self.inside_of.get(usize::from(interface)).copied(),
            _ => None,
        };
        self.beyond_firewall(inside.unwrap_or(NONE), desc.interface)
    }
}

fn parse<P: Packet>(desc: &Desc6, packet: &P) -> Result<IcmpErrorMeta6, Verdict> {
    let range = usize::from(desc.meta.l4_offset)..usize::from(desc.meta.total_len);
    let message = packet
        .l3()
        .get(range)
        .ok_or(drop(DropReason::FrameNotContiguous))?;
    icmp6_error::parse(message, desc.meta.src, desc.meta.dst)
        .map_err(|_| drop(DropReason::IcmpErrorBadEmbedded))
}

/// Its checksum, once it is known that the error is ours.
fn check(error: &IcmpErrorMeta6) -> Result<(), Verdict> {
    if error.checksum_ok {
        Ok(())
    } else {
        Err(drop(DropReason::IcmpErrorBadChecksum))
    }
}
