//! Route: packets of no service set, by their destination.

use rte_bindings::Mbuf;
use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Desc, RouteKind, Router};
use tandem_engine::packet6::Desc6;
use tandem_wire::ipv4;
use tandem_wire::rewrite6::decrement_hop_limit;

use super::Worker;

impl Worker {
    /// A packet of no service set. RFC 1812 section 5.2.
    pub(super) fn route(&mut self, mut mbuf: Mbuf, desc: &Desc) {
        let meta = &desc.meta;
        let route = self.router.route(meta.dst, desc.flow_hash());
        match route.kind {
            RouteKind::Kernel => return self.punt_packet(mbuf, desc.interface),
            RouteKind::Drop(reason) => {
                return self.refuse(mbuf, desc.interface, reason, Answer::to_route(reason));
            }
            RouteKind::Forward { mtu, .. } => {
                if meta.ttl <= 1 {
                    return self.refuse(mbuf, desc.interface, DropReason::TtlExpired, Answer::TimeExceeded);
                }
                if meta.total_len > mtu && meta.dont_fragment {
                    return self.refuse(
                        mbuf,
                        desc.interface,
                        DropReason::MtuExceeded,
                        Answer::FragmentationNeeded(mtu),
                    );
                }
            }
        }
        if !ipv4::decrement_ttl(mbuf.data_mut()) {
            return self.drop_packet(mbuf, DropReason::TtlExpired);
        }
        self.counters.routed += 1;
        let exit = self.router.table().exit(route.next_hop, meta.dst);
        self.leave(mbuf, exit, desc.interface, Some(desc.interface));
    }
    /// An IPv6 packet of no service set. RFC 8200 sections 3 and 5: it is never fragmented on its way.
    pub(super) fn route6(&mut self, mut mbuf: Mbuf, desc: &Desc6) {
        let meta = &desc.meta;
        let route = self.router.route6(meta.dst, desc.flow_hash());
        match route.kind {
            RouteKind::Kernel => return self.punt_packet(mbuf, desc.interface),
            RouteKind::Drop(reason) => {
                return self.refuse(mbuf, desc.interface, reason, Answer::to_route6(reason));
            }
            RouteKind::Forward { mtu, .. } => {
                if meta.hop_limit <= 1 {
                    return self.refuse(mbuf, desc.interface, DropReason::TtlExpired, Answer::TimeExceeded);
                }
                if meta.total_len > mtu {
                    return self.refuse(
                        mbuf,
                        desc.interface,
                        DropReason::MtuExceeded,
                        Answer::FragmentationNeeded(mtu),
                    );
                }
            }
        }
        if !decrement_hop_limit(mbuf.data_mut()) {
            return self.drop_packet(mbuf, DropReason::TtlExpired);
        }
        self.counters.routed += 1;
        let exit = self.router.table().exit6(route.next_hop, meta.dst);
        self.leave(mbuf, exit, desc.interface, Some(desc.interface));
    }
}
