//! The plain case: a whole TCP or UDP packet of a session in its steady state, to a next hop the last packet went to, too.
//!
//! Nothing here that [`super::translate`] does not do as well; what is not plain is left to it. What is the same for a whole
//! burst is looked up once per burst.

use tandem_wire::rewrite::{Endpoints, forward_plain};

use super::translate::NEXT_HOP_HAIRPIN;
use super::{Engine, SetPlan};
use crate::packet::{Desc, Packet, RouteKind, Router, Shape, Side, Verdict};
use crate::program::NONE;
use crate::session::{Direction, FLAG_TRACKED, FLAG_UNANSWERED, Hot, KIND_44, KIND_64, NO_NEXT_HOP, Tuple4};
use crate::tcp_state::State;

/// What a burst's packets share.
pub(super) struct Pass {
    pub generation: u32,
    /// Next hops of the two directions' last packets, and the MTU there.
    pub next_hop: [u16; 2],
    pub mtu: [u16; 2],
    pub service_set: u16,
    pub refresh_inbound: bool,
    /// Traffic classes are copied between families.
    pub traffic: bool,
    /// IPv4 packets without DF that would be longer are cut on their way to IPv6.
    pub lowest_mtu: u16,
    /// The service set translates IPv6 prefixes.
    pub prefix_pairs: bool,
}

impl Pass {
    pub(super) fn new(generation: u32) -> Self {
        Self {
            generation,
            next_hop: [NO_NEXT_HOP; 2],
            mtu: [0; 2],
            service_set: NONE,
            refresh_inbound: false,
            traffic: true,
            lowest_mtu: 0,
            prefix_pairs: false,
        }
    }
}

impl Engine {
    /// Translates a packet whose session is `desc.candidate` if it is a plain case; `false`, and nothing happened, if not.
    #[inline(always)]
    pub(super) fn translate_plain<P: Packet, R: Router>(
        &mut self,
        desc: &mut Desc,
        packet: &mut P,
        router: &R,
        pass: &mut Pass,
    ) -> bool {
        let udp = desc.shape == Shape::Udp;
        let Some(hot) = self.sessions.hot_mut(desc.candidate) else {
            return false;
        };
        let (direction, ours) = match desc.side {
            Side::Inside(set) => (Direction::Out, hot.service_set == set),
            Side::Outside | Side::Neither => (Direction::In, true),
        };
        let d = direction as usize;
        let Tuple4 {
            src,
            dst,
            sport,
            dport,
        } = hot.tuples[d];
        // Each of these is nearly always true: predicted branches are cheaper than collecting the answers.
        let ours = ours
            && src == desc.meta.src
            && dst == desc.meta.dst
            && sport == desc.sport
            && dport == desc.dport
            && hot.protocol == desc.meta.proto
            && desc.shape != Shape::General;
        if !ours {
            return false;
        }
        if hot.kind != KIND_44 {
            let to_six = hot.kind == KIND_64 && d == Direction::In as usize;
            return to_six && self.plain_four_to_six(desc, packet, router, pass);
        }
        let next_hop = hot.next_hop[d];
        let known = hot.service_set == pass.service_set && next_hop == pass.next_hop[d];
        if !known && !learn(pass, d, hot, &self.sets, router) {
            return false;
        }
        let plain = (udp || hot.state == State::Established as u8)
            && hot.next_hop_generation == pass.generation
            && desc.meta.total_len <= pass.mtu[d]
            && desc.meta.ttl > 1
            && hot.flags & (FLAG_UNANSWERED | FLAG_TRACKED) == 0;
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
        if !forward_plain(packet.l3_mut(), &desc.meta, sport, dport, &to, udp) {
            return false;
        }
        hot.count(direction, desc.meta.total_len);
        if !udp || d == Direction::Out as usize || pass.refresh_inbound {
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

/// Learns a session's service set and next hop, if a packet can be forwarded there as it is.
#[inline(never)]
pub(super) fn learn<R: Router>(
    pass: &mut Pass,
    d: usize,
    hot: &Hot,
    sets: &[Option<SetPlan>],
    router: &R,
) -> bool {
    let next_hop = hot.next_hop[d];
    let plan = sets.get(usize::from(hot.service_set)).and_then(Option::as_ref);
    let (Some(plan), true) = (plan, next_hop < NEXT_HOP_HAIRPIN) else {
        return false;
    };
    let RouteKind::Forward { mtu, .. } = router.next_hop(next_hop) else {
        return false;
    };
    (pass.next_hop[d], pass.mtu[d]) = (next_hop, mtu);
    (pass.service_set, pass.refresh_inbound) = (hot.service_set, plan.refresh_inbound);
    (pass.traffic, pass.lowest_mtu) = (plan.xlat.copy_traffic_class, plan.lowest_mtu);
    pass.prefix_pairs = !plan.prefix_pairs.is_empty();
    true
}
