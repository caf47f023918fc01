//! The HA data link: packets of service sets that the other chassis is primary of go over it, and those that come over it are
//! taken as if they had come in on the same side of the same service set here. Redundancy spec, section 3.
//!
//! Nothing of it is on the way of a packet whose service set this chassis is primary of. A packet that came over the link has a
//! mark, which stays with it through hand-over and virtual reassembly: it crosses the link no second time.
//!
//! There may be two such links. Which one a packet takes is decided here, by the routes, by what the ports say, and by
//! the heartbeats, of which the control side tells with [`crate::interfaces::InterfaceState::is_cut`].

use std::net::IpAddr;

use rte_bindings::Mbuf;
use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Route, RouteKind, Router, Side};
use tandem_engine::program::{DataLink, InterfaceId, LinkWay, LinkedSet, ServiceSetId};
use tandem_wire::forwarded::{self, Header};
use tandem_wire::l4::{Fragment, L4};
use tandem_wire::{ethernet, udp};

use super::Worker;
use super::leave::{addresses, header, header6};

/// How a packet leaves to the other chassis.
struct Leaving {
    link: LinkWay,
    /// It is not the first of the ways.
    is_other: bool,
    route: Route,
    mtu: u16,
}

impl Worker {
    /// Whether an interface is the HA data link, or the other HA link that stands in for it.
    #[inline(always)]
    pub(super) fn is_data_link(&self, interface: InterfaceId) -> bool {
        self.way_by(interface).is_some()
    }

    /// The ends of the HA link that an interface is.
    #[inline(always)]
    fn way_by(&self, interface: InterfaceId) -> Option<forwarded::Way> {
        self.data_link()?.way_by(interface)
    }

    #[inline(always)]
    fn data_link(&self) -> Option<&DataLink> {
        self.commit.program.data_link.as_ref()
    }

    /// The way a packet goes to the other chassis, and its route: the first one that is not cut of those whose routes go by their own
    /// interfaces; the first of them if all are cut.
    fn way_to_peer(&self) -> Option<Leaving> {
        let mut ways = self
            .data_link()?
            .ways()
            .zip([false, true])
            .filter_map(|(one, is_other)| {
                let route = match one.way.peer {
                    IpAddr::V4(peer) => self.router.route(peer.to_bits(), 0),
                    IpAddr::V6(peer) => self.router.route6(peer.to_bits(), 0),
                };
                match route.kind {
                    RouteKind::Forward { interface, mtu } if interface == one.interface => Some(Leaving {
                        link: one,
                        is_other,
                        route,
                        mtu,
                    }),
                    // The way to the other chassis goes elsewhere, or nowhere: then it is not that link.
                    _ => None,
                }
            });
        let first = ways.next()?;
        if self.carries(&first) {
            return Some(first);
        }
        Some(ways.find(|other| self.carries(other)).unwrap_or(first))
    }

    /// Whether a way is up here and, by its heartbeats, as far as the other chassis.
    fn carries(&self, leaving: &Leaving) -> bool {
        let state = self.interfaces.get(leaving.link.interface);
        state.is_some_and(|state| state.is_up() && !state.is_cut())
    }

    /// A packet as it came, of a service set that the other chassis is primary of: it goes there, or ends here.
    #[cold]
    #[inline(never)]
    pub(super) fn forward_to_peer(&mut self, mbuf: Mbuf, set: ServiceSetId, interface: InterfaceId) {
        let Some(set) = self.data_link().and_then(|link| link.by_id(set)) else {
            return self.drop_packet(mbuf, DropReason::NotPrimary);
        };
        if mbuf.is_marked() {
            return self.drop_packet(mbuf, DropReason::ForwardedNotPrimary);
        }
        let Some(leaving) = self.way_to_peer() else {
            return self.drop_packet(mbuf, DropReason::NotPrimary);
        };
        // A packet that has gone round by hairpinning has no interface, and comes from outside.
        let header = Header {
            outside: !matches!(self.sides().side(interface), Side::Inside(_)),
            redundancy_set: set.redundancy_set,
            service_set: set.key,
        };
        match encapsulate(mbuf, &leaving.link.way, &header, leaving.mtu) {
            Ok(mbuf) => {
                self.counters.forwarded_to_peer += 1;
                self.counters.forwarded_by_other += u64::from(leaving.is_other);
                self.leave_to_peer(mbuf, leaving.route, leaving.link.interface);
            }
            Err((mbuf, reason)) => self.drop_packet(mbuf, reason),
        }
    }

    fn leave_to_peer(&mut self, mbuf: Mbuf, route: Route, link: InterfaceId) {
        let exit = self.exit(route.next_hop, mbuf.data());
        self.leave(mbuf, exit, link, None);
    }

    /// Whether a packet that came in by an HA link is one that the other chassis, or somebody who pretends to be it, forwards.
    pub(super) fn is_forwarded(
        &self,
        interface: InterfaceId,
        dst: IpAddr,
        l4: L4,
        fragment: Fragment,
    ) -> bool {
        let L4::Udp { dport, .. } = l4 else { return false };
        let is_ours = |way: forwarded::Way| way.local == dst && way.port == dport;
        fragment == Fragment::None && self.way_by(interface).is_some_and(is_ours)
    }

    /// Takes such a packet, from its IP header on. `l4_offset` is where UDP begins.
    #[cold]
    #[inline(never)]
    pub(super) fn take_forwarded(&mut self, mut mbuf: Mbuf, by: InterfaceId, src: IpAddr, l4_offset: u16) {
        let (set, header, ethertype) = match self.read_forwarded(&mbuf, by, src, l4_offset) {
            Ok(read) => read,
            Err(reason) => return self.drop_packet(mbuf, reason),
        };
        let interface = if header.outside { set.outside } else { set.inside };
        let before = l4_offset + (udp::HEADER_LEN + forwarded::HEADER_LEN) as u16;
        if mbuf.adj(before).is_err() || !self.put_ethernet(&mut mbuf, interface, ethertype) {
            return self.drop_packet(mbuf, DropReason::ForwardedMalformed);
        }
        mbuf.forget_rx();
        mbuf.set_marked(true);
        self.counters.forwarded_by_peer += 1;
        if ethertype == ethernet::IPV4 {
            self.receive_ipv4(mbuf, interface);
        } else {
            self.receive_ipv6(mbuf, interface);
        }
    }

    /// The service set, the header and the ethertype of a forwarded packet.
    fn read_forwarded(
        &self,
        mbuf: &Mbuf,
        by: InterfaceId,
        src: IpAddr,
        l4_offset: u16,
    ) -> Result<(LinkedSet, Header, u16), DropReason> {
        let link = self.data_link().ok_or(DropReason::NotPrimary)?;
        if link.way_by(by).is_none_or(|way| way.peer != src) {
            return Err(DropReason::ForwardedByStranger);
        }
        let datagram = mbuf.data().get(usize::from(l4_offset)..);
        let read = datagram.and_then(forwarded::read);
        let (header, ethertype) = read.ok_or(DropReason::ForwardedMalformed)?;
        let set = link.by_key(header.service_set);
        let set = set.filter(|set| set.redundancy_set == header.redundancy_set);
        Ok((set.ok_or(DropReason::ForwardedUnknownSet)?, header, ethertype))
    }

    /// Writes an Ethernet header before a packet, as if it had come in on an interface: who gives it to the kernel finds it there.
    fn put_ethernet(&self, mbuf: &mut Mbuf, interface: InterfaceId, ethertype: u16) -> bool {
        let Some(state) = self.interfaces.get(interface) else {
            return false;
        };
        let mac = state.mac.iter().fold(0, |all, b| all << 8 | u64::from(*b));
        let mut plain = header(state, mac);
        if ethertype == ethernet::IPV6 {
            plain = header6(plain);
        }
        let front = mbuf.prepend(ethernet::HEADER_LEN as u16).ok();
        let front = front.and_then(|front| front.first_chunk_mut());
        front.is_some_and(|front| {
            *front = plain;
            true
        }) && mbuf.adj(ethernet::HEADER_LEN as u16).is_ok()
    }
}

/// Puts the headers before a packet.
fn encapsulate(
    mut mbuf: Mbuf,
    way: &forwarded::Way,
    header: &Header,
    mtu: u16,
) -> Result<Mbuf, (Mbuf, DropReason)> {
    let overhead = forwarded::overhead(way.local.is_ipv4());
    if mbuf.data_len() > mtu.saturating_sub(overhead) {
        return Err((mbuf, DropReason::ForwardTooLarge));
    }
    // By addresses alone, so that all fragments of a packet stay together.
    let (src, dst) = addresses(mbuf.data());
    let both = (src ^ dst) as u64 ^ ((src ^ dst) >> 64) as u64;
    let flow = (both ^ both >> 32) as u32;
    if mbuf.prepend(overhead).is_err() || forwarded::write(way, header, flow, mbuf.data_mut()).is_none() {
        return Err((mbuf, DropReason::NoBuffer));
    }
    Ok(mbuf)
}
