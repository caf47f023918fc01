//! The HA data link: packets of service sets that the other chassis is primary of go over it, and those that come over it are
//! taken as if they had come in on the same side of the same service set here. Redundancy spec, section 3.
//!
//! Nothing of it is on the way of a packet whose service set this chassis is primary of. A packet that came over the link has a
//! mark, which stays with it through hand-over and virtual reassembly: it crosses the link no second time.

use std::net::IpAddr;

use rte_bindings::Mbuf;
use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Route, RouteKind, Router, Side};
use tandem_engine::program::{DataLink, InterfaceId, LinkedSet, ServiceSetId};
use tandem_wire::forwarded::{self, Header};
use tandem_wire::l4::{Fragment, L4};
use tandem_wire::{ethernet, udp};

use super::Worker;
use super::leave::{addresses, header, header6};

impl Worker {
    /// Whether an interface is the HA data link.
    #[inline(always)]
    pub(super) fn is_data_link(&self, interface: InterfaceId) -> bool {
        let link = &self.commit.program.data_link;
        link.as_ref().is_some_and(|link| link.interface == interface)
    }

    fn data_link(&self) -> Option<&DataLink> {
        self.commit.program.data_link.as_ref()
    }

    /// A packet as it came, of a service set that the other chassis is primary of: it goes there, or ends here.
    #[cold]
    #[inline(never)]
    pub(super) fn forward_to_peer(&mut self, mbuf: Mbuf, set: ServiceSetId, interface: InterfaceId) {
        let Some((set, way, link)) = self
            .data_link()
            .and_then(|link| Some((link.by_id(set)?, link.way, link.interface)))
        else {
            return self.drop_packet(mbuf, DropReason::NotPrimary);
        };
        if mbuf.is_marked() {
            return self.drop_packet(mbuf, DropReason::ForwardedNotPrimary);
        }
        let route = match way.peer {
            IpAddr::V4(peer) => self.router.route(peer.to_bits(), 0),
            IpAddr::V6(peer) => self.router.route6(peer.to_bits(), 0),
        };
        let mtu = match route.kind {
            RouteKind::Forward { interface, mtu } if interface == link => mtu,
            // The way to the other chassis goes elsewhere, or nowhere: then it is not that link.
            _ => return self.drop_packet(mbuf, DropReason::NotPrimary),
        };
        // A packet that has gone round by hairpinning has no interface, and comes from outside.
        let header = Header {
            outside: !matches!(self.sides().side(interface), Side::Inside(_)),
            redundancy_set: set.redundancy_set,
            service_set: set.key,
        };
        match encapsulate(mbuf, &way, &header, mtu) {
            Ok(mbuf) => {
                self.counters.forwarded_to_peer += 1;
                self.leave_to_peer(mbuf, route, link);
            }
            Err((mbuf, reason)) => self.drop_packet(mbuf, reason),
        }
    }

    fn leave_to_peer(&mut self, mbuf: Mbuf, route: Route, link: InterfaceId) {
        let exit = self.exit(route.next_hop, mbuf.data());
        self.leave(mbuf, exit, link, None);
    }

    /// Whether a packet on the HA data link is one that the other chassis, or somebody who pretends to be it, forwards.
    pub(super) fn is_forwarded(&self, dst: IpAddr, l4: L4, fragment: Fragment) -> bool {
        let L4::Udp { dport, .. } = l4 else { return false };
        let is_ours = |link: &DataLink| link.way.local == dst && link.way.port == dport;
        fragment == Fragment::None && self.data_link().is_some_and(is_ours)
    }

    /// Takes such a packet, from its IP header on. `l4_offset` is where UDP begins.
    #[cold]
    #[inline(never)]
    pub(super) fn take_forwarded(&mut self, mut mbuf: Mbuf, src: IpAddr, l4_offset: u16) {
        let (set, header, ethertype) = match self.read_forwarded(&mbuf, src, l4_offset) {
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
        src: IpAddr,
        l4_offset: u16,
    ) -> Result<(LinkedSet, Header, u16), DropReason> {
        let link = self.data_link().ok_or(DropReason::NotPrimary)?;
        if link.way.peer != src {
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
