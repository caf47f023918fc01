//! The plain case where IPv6 is on one side or both: as [`super::plain`], for whole TCP and UDP packets of sessions in their
//! steady state.

use tandem_wire::rewrite::Endpoints;
use tandem_wire::rewrite6::forward_same_ipv6;
use tandem_wire::xlat::{Endpoints6, four_to_six_plain, six_to_four_plain};

use super::Engine;
use super::plain::{Pass, learn};
use crate::packet::{Desc, Packet, Router, Shape, Side, Verdict};
use crate::packet6::{Desc6, Target};
use crate::session::{Direction, FLAG_TRACKED, FLAG_UNANSWERED, KIND_64};
use crate::tcp_state::State;

/// What a header grows by from IPv4 to IPv6.
const DIFFERENCE: u16 = 20;

impl Engine {
    /// Passes an IPv6 packet whose session is `desc.candidate` if it is a plain case; `false`, and nothing happened, if not.
    #[inline(always)]
    pub(super) fn pass_plain6<P: Packet, R: Router>(
        &mut self,
        desc: &mut Desc6,
        packet: &mut P,
        router: &R,
        pass: &mut Pass,
    ) -> bool {
        if desc.shape == Shape::General {
            return false;
        }
        match desc.target {
            Target::Four { prefix, address } => {
                self.plain_six_to_four(desc, packet, router, pass, (prefix, address))
            }
            Target::Six(key) => {
                self.sessions.is_66(desc.candidate, &key, desc.meta.proto)
                    && self.plain_six(desc, packet, router, pass)
            }
            Target::Unknown | Target::Stateless => false,
        }
    }

    #[inline(always)]
    fn plain_six_to_four<P: Packet, R: Router>(
        &mut self,
        desc: &mut Desc6,
        packet: &mut P,
        router: &R,
        pass: &mut Pass,
        (prefix, address): (u16, u32),
    ) -> bool {
        let Side::Inside(set) = desc.side else {
            return false;
        };
        let ports = (desc.sport, desc.dport);
        let ours = self.sessions.is_64(
            desc.candidate,
            desc.meta.src,
            address,
            ports,
            desc.meta.proto,
            (set, prefix),
        );
        let Some(hot) = self.sessions.hot_mut(desc.candidate).filter(|_| ours) else {
            return false;
        };
        let udp = desc.shape == Shape::Udp;
        let next_hop = hot.next_hop[Direction::Out as usize];
        let known = hot.service_set == pass.service_set && next_hop == pass.next_hop[Direction::Out as usize];
        if !known && !learn(pass, Direction::Out as usize, hot, &self.sets, router) {
            return false;
        }
        let plain = (udp || hot.state == State::Established as u8)
            && hot.next_hop_generation == pass.generation
            && desc.meta.total_len.saturating_sub(DIFFERENCE) <= pass.mtu[Direction::Out as usize]
            && desc.meta.hop_limit > 1
            && hot.flags & (FLAG_UNANSWERED | FLAG_TRACKED) == 0;
        if !plain {
            return false;
        }
        let back = hot.six_four().back;
        let to = Endpoints {
            src: back.dst,
            dst: back.src,
            sport: back.dport,
            dport: back.sport,
        };
        let id = self.ip_id.wrapping_add(1);
        if !six_to_four_plain(packet, &desc.meta, &to, pass.traffic, id) {
            return false;
        }
        self.ip_id = id;
        hot.last_seen = self.now.0;
        let full = hot.six_four_mut().counts[Direction::Out as usize].count(desc.meta.total_len);
        self.counters.translated_out += 1;
        desc.next_hop = next_hop;
        desc.verdict = Verdict::Forward;
        if full {
            self.spill(desc.candidate);
        }
        true
    }

    /// An IPv4 packet from outside of a NAT64 session, which its tuple was found to be of.
    #[inline]
    pub(super) fn plain_four_to_six<P: Packet, R: Router>(
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
        let next_hop = hot.next_hop[Direction::In as usize];
        let known = hot.service_set == pass.service_set && next_hop == pass.next_hop[Direction::In as usize];
        if !known && !learn(pass, Direction::In as usize, hot, &self.sets, router) {
            return false;
        }
        let length = desc.meta.total_len.saturating_add(DIFFERENCE);
        let plain = hot.kind == KIND_64
            && (udp || hot.state == State::Established as u8)
            && hot.next_hop_generation == pass.generation
            && length <= pass.mtu[Direction::In as usize]
            && (desc.meta.dont_fragment || length <= pass.lowest_mtu)
            && desc.meta.ttl > 1
            && hot.flags & (FLAG_UNANSWERED | FLAG_TRACKED) == 0;
        if !plain {
            return false;
        }
        let wide = hot.six_four();
        let prefix = self
            .prefixes
            .get(usize::from(wide.prefix))
            .and_then(Option::as_ref);
        let Some(prefix) = prefix else { return false };
        let to = Endpoints6 {
            src: prefix.embed(desc.meta.src),
            dst: wide.inside(),
            sport: wide.outside_port(),
            dport: wide.inside_port,
        };
        if !four_to_six_plain(packet, &desc.meta, &to, pass.traffic) {
            return false;
        }
        if !udp || pass.refresh_inbound {
            hot.last_seen = self.now.0;
        }
        let full = hot.six_four_mut().counts[Direction::In as usize].count(desc.meta.total_len);
        self.counters.translated_in += 1;
        desc.next_hop = next_hop;
        desc.verdict = Verdict::Forward;
        if full {
            self.spill(desc.candidate);
        }
        true
    }

    /// An IPv6 packet that stays what it is.
    #[inline(always)]
    fn plain_six<P: Packet, R: Router>(
        &mut self,
        desc: &mut Desc6,
        packet: &mut P,
        router: &R,
        pass: &mut Pass,
    ) -> bool {
        let udp = desc.shape == Shape::Udp;
        let Some(hot) = self.sessions.hot_mut(desc.candidate) else {
            return false;
        };
        let direction = match desc.side {
            Side::Inside(set) if hot.service_set == set => Direction::Out,
            Side::Inside(_) => return false,
            Side::Outside | Side::Neither => Direction::In,
        };
        let d = direction as usize;
        let next_hop = hot.next_hop[d];
        let known = hot.service_set == pass.service_set && next_hop == pass.next_hop[d];
        if !known && !learn(pass, d, hot, &self.sets, router) {
            return false;
        }
        let plain = !pass.prefix_pairs
            && (udp || hot.state == State::Established as u8)
            && hot.next_hop_generation == pass.generation
            && desc.meta.total_len <= pass.mtu[d]
            && desc.meta.hop_limit > 1
            && hot.flags & (FLAG_UNANSWERED | FLAG_TRACKED) == 0;
        if !plain || !forward_same_ipv6(packet.l3_mut(), &desc.meta) {
            return false;
        }
        if !udp || d == Direction::Out as usize || pass.refresh_inbound {
            hot.last_seen = self.now.0;
        }
        let full = hot.six_six_mut().counts[d].count(desc.meta.total_len);
        match direction {
            Direction::Out => self.counters.translated_out += 1,
            Direction::In => self.counters.translated_in += 1,
        }
        desc.next_hop = next_hop;
        desc.verdict = Verdict::Forward;
        if full {
            self.spill(desc.candidate);
        }
        true
    }

    /// Adds a session's small counts to its totals.
    #[cold]
    pub(super) fn spill(&mut self, number: u32) {
        if !self.sessions.spill(number) {
            self.counters.totals_stopped += 1;
        }
    }
}
