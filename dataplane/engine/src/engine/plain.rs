//! The plain case: a whole TCP or UDP packet of a session in its steady state, to a next hop the last packet went to, too.
//!
//! Nothing here that [`super::translate`] does not do as well; what is not plain is left to it. What is the same for a whole
//! burst is looked up once per burst.

use tandem_wire::l4::L4;
use tandem_wire::rewrite::{Endpoints, forward_plain};
use tandem_wire::tcp;

use super::Engine;
use super::translate::NEXT_HOP_HAIRPIN;
use crate::packet::{Desc, Packet, RouteKind, Router, Verdict};
use crate::program::NONE;
use crate::session::{Direction, FLAG_UNANSWERED, NO_NEXT_HOP};
use crate::tcp_state::State;

/// What a burst's packets share.
pub(super) struct Pass {
    generation: u32,
    /// Next hops of the two directions' last packets, and the MTU there.
    next_hop: [u16; 2],
    mtu: [u16; 2],
    service_set: u16,
    refresh_inbound: bool,
}

impl Pass {
    pub(super) fn new<R: Router>(router: &R) -> Self {
        Self {
            generation: router.generation(),
            next_hop: [NO_NEXT_HOP; 2],
            mtu: [0; 2],
            service_set: NONE,
            refresh_inbound: false,
        }
    }
}

impl Engine {
    /// Translates the packet of session `desc.candidate`, which is its, if it is a plain case; `false`, and nothing happened,
    /// if not.
    #[inline(always)]
    pub(super) fn translate_plain<P: Packet, R: Router>(
        &mut self,
        desc: &mut Desc,
        packet: &mut P,
        router: &R,
        pass: &mut Pass,
    ) -> bool {
        let direction = desc.direction();
        let d = direction as usize;
        let Some(hot) = self.sessions.hot_mut(desc.candidate) else {
            return false;
        };
        let (steady, udp) = match desc.meta.l4 {
            L4::Udp { .. } => (true, true),
            L4::Tcp { flags, .. } => {
                let quiet = flags & (tcp::SYN | tcp::FIN | tcp::RST) == 0;
                (quiet & (hot.state == State::Established as u8), false)
            }
            _ => (false, false),
        };
        let next_hop = hot.next_hop[d];
        if hot.service_set != pass.service_set || next_hop != pass.next_hop[d] {
            let service_set = hot.service_set;
            if !pass_knows(pass, d, next_hop, router) {
                return false;
            }
            let Some(plan) = self.sets.get(usize::from(service_set)).and_then(Option::as_ref) else {
                return false;
            };
            (pass.service_set, pass.refresh_inbound) = (service_set, plan.refresh_inbound);
        }
        let Some(hot) = self.sessions.hot_mut(desc.candidate) else {
            return false;
        };
        let plain = steady
            & (hot.next_hop_generation == pass.generation)
            & (desc.meta.total_len <= pass.mtu[d])
            & (desc.meta.ttl > 1)
            & (hot.flags & FLAG_UNANSWERED == 0);
        if !plain {
            return false;
        }
        let other = hot.tuples[1 - d];
        let to = Endpoints {
            src: other.dst,
            dst: other.src,
            sport: other.dport,
            dport: other.sport,
        };
        if !forward_plain(packet.l3_mut(), &desc.meta, &to, udp) {
            return false;
        }
        hot.count(direction, desc.meta.total_len);
        if !udp | (d == Direction::Out as usize) | pass.refresh_inbound {
            hot.last_seen = self.now.0;
        }
        match direction {
            Direction::Out => self.counters.translated_out += 1,
            Direction::In => self.counters.translated_in += 1,
        }
        desc.next_hop = next_hop;
        desc.verdict = Verdict::Forward;
        true
    }
}

/// Learns the MTU of a next hop that a packet can be forwarded to as it is.
#[inline(never)]
fn pass_knows<R: Router>(pass: &mut Pass, d: usize, next_hop: u16, router: &R) -> bool {
    if next_hop >= NEXT_HOP_HAIRPIN {
        return false;
    }
    let RouteKind::Forward { mtu, .. } = router.next_hop(next_hop) else {
        return false;
    };
    (pass.next_hop[d], pass.mtu[d]) = (next_hop, mtu);
    true
}
