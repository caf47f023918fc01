//! A packet of a known session: route, state, counters, rewrite. The way nearly every packet goes.

use tandem_wire::l4::L4;
use tandem_wire::rewrite::{Endpoints, forward_ipv4};
use tandem_wire::{ipv4, tcp};

use super::Engine;
use crate::drop_reason::DropReason;
use crate::packet::{Answer, Desc, Packet, RouteKind, Router, Verdict};
use crate::session::{Direction, FLAG_UNANSWERED, NO_NEXT_HOP, NO_RECORD};
use crate::tcp_state::{State, TimerClass};

/// Next-hop number of a destination that is one of our own public addresses.
pub(super) const NEXT_HOP_HAIRPIN: u16 = NO_NEXT_HOP - 1;

impl Engine {
    /// Translates a packet of session `number`, which is its.
    #[inline]
    pub(super) fn translate<P: Packet, R: Router>(
        &mut self,
        number: u32,
        desc: &mut Desc,
        packet: &mut P,
        router: &R,
    ) {
        let direction = desc.direction();
        let Some(next_hop) = self.session_next_hop(number, direction, desc, router) else {
            return;
        };
        if desc.meta.ttl <= 1 {
            desc.verdict = Verdict::Drop(DropReason::TtlExpired, Answer::TimeExceeded);
            return;
        }
        let Some(hot) = self.sessions.hot_mut(number) else {
            return;
        };
        let Some(plan) = self
            .sets
            .get(usize::from(hot.service_set))
            .and_then(Option::as_ref)
        else {
            // Its service set is gone; the purge will come by.
            desc.verdict = Verdict::Drop(DropReason::NoMapping, Answer::None);
            return;
        };
        hot.count(direction, desc.meta.total_len);
        let mut flags = 0;
        let mut refresh = direction as u8 == Direction::Out as u8 || plan.refresh_inbound;
        let state = State::from_u8(hot.state);
        let mut next = state;
        if let L4::Tcp { flags: f, .. } = desc.meta.l4 {
            flags = f;
            next = state.next(f, direction as u8 == Direction::Out as u8);
            // A RST keeps nothing alive (RFC 7857 section 7.1) but the closing time of an established connection.
            refresh = f & tcp::RST == 0 || state.timer() as u8 == TimerClass::TcpEstablished as u8;
        }
        if refresh {
            hot.last_seen = self.now.0;
        }
        let mss_clamp = plan.mss_clamp;
        let answered = hot.flags & FLAG_UNANSWERED != 0
            && direction as u8 == Direction::Out as u8
            && flags & tcp::RST == 0;
        // The packet shall look like the answer to what the other direction's packets look like.
        let other = hot.tuples[1 - direction as usize];
        let mut to = Endpoints {
            src: other.dst,
            dst: other.src,
            sport: other.dport,
            dport: other.sport,
        };
        if direction as u8 == Direction::In as u8 && desc.meta.proto == ipv4::ICMP {
            to.sport = other.sport;
        }
        if next != state {
            self.change_state(number, next);
        }
        if answered {
            self.hold_mapping(number);
        }
        let l3 = packet.l3_mut();
        if !forward_ipv4(l3, &desc.meta, &to) {
            desc.verdict = Verdict::Drop(DropReason::FrameNotContiguous, Answer::None);
            return;
        }
        if mss_clamp != 0
            && flags & tcp::SYN != 0
            && let Some(segment) =
                l3.get_mut(usize::from(desc.meta.l4_offset)..usize::from(desc.meta.total_len))
            && tcp::clamp_mss(segment, mss_clamp)
        {
            self.counters.mss_clamped += 1;
        }
        match direction {
            Direction::Out => self.counters.translated_out += 1,
            Direction::In => self.counters.translated_in += 1,
        }
        desc.next_hop = next_hop;
        if next_hop == NEXT_HOP_HAIRPIN {
            self.counters.hairpinned += 1;
            // What it is looked up by on its way back in; a later fragment does not carry it.
            desc.sport = to.sport;
            desc.dport = if desc.meta.proto == ipv4::ICMP {
                to.sport
            } else {
                to.dport
            };
            desc.verdict = Verdict::Hairpin;
        } else {
            desc.verdict = Verdict::Forward;
        }
    }

    /// The next hop of a session's direction, from the record while routes did not change. `None` when the packet's
    /// verdict is decided by it: no route, the kernel's, too big.
    #[inline(always)]
    fn session_next_hop<R: Router>(
        &mut self,
        number: u32,
        direction: Direction,
        desc: &mut Desc,
        router: &R,
    ) -> Option<u16> {
        let generation = self.route_generation(router);
        let hot = self.sessions.hot_mut(number)?;
        if hot.next_hop_generation != generation {
            hot.next_hop = [NO_NEXT_HOP; 2];
            hot.next_hop_generation = generation;
        }
        let mut next_hop = hot.next_hop[direction as usize];
        if next_hop == NO_NEXT_HOP {
            let destination = hot.tuples[1 - direction as usize].src;
            next_hop = self.look_up(destination, direction, desc, router);
            self.sessions.hot_mut(number)?.next_hop[direction as usize] = next_hop;
        }
        if next_hop == NEXT_HOP_HAIRPIN {
            if desc.hairpinned {
                desc.verdict = Verdict::Drop(DropReason::HairpinLoop, Answer::None);
                return None;
            }
            return Some(next_hop);
        }
        match router.next_hop(next_hop) {
            RouteKind::Forward { mtu, .. } if desc.meta.total_len <= mtu || !desc.meta.dont_fragment => {
                Some(next_hop)
            }
            RouteKind::Forward { mtu, .. } => {
                desc.verdict = Verdict::Drop(DropReason::MtuExceeded, Answer::FragmentationNeeded(mtu));
                None
            }
            // To an inside host behind the kernel: translated, then the kernel's. From inside to this box: as it is.
            RouteKind::Kernel if direction == Direction::In => Some(next_hop),
            RouteKind::Kernel => {
                desc.verdict = Verdict::Kernel;
                None
            }
            RouteKind::Drop(reason) => {
                desc.verdict = Verdict::Drop(reason, Answer::to_route(reason));
                None
            }
        }
    }

    #[cold]
    fn look_up<R: Router>(&self, destination: u32, direction: Direction, desc: &Desc, router: &R) -> u16 {
        if direction == Direction::Out && self.program.public_space.find(destination).is_some() {
            return NEXT_HOP_HAIRPIN;
        }
        router.route(destination, desc.flow_hash()).next_hop
    }

    /// The subscriber answered a session begun from outside: from now on it holds its mapping.
    #[cold]
    fn hold_mapping(&mut self, number: u32) {
        let Some(hot) = self.sessions.hot_mut(number) else {
            return;
        };
        hot.flags &= !FLAG_UNANSWERED;
        let anchor = self.sessions.cold(number).map_or(NO_RECORD, |c| c.anchor);
        if let Some(mapping) = self.mappings.get_mut(anchor) {
            mapping.holders += 1;
        }
    }

    /// A new TCP state, and the timer that belongs to it. A shorter deadline moves the session in the wheel at once.
    #[cold]
    fn change_state(&mut self, number: u32, next: State) {
        let Some(hot) = self.sessions.hot_mut(number) else {
            return;
        };
        let old_timer = hot.timer;
        hot.state = next as u8;
        hot.timer = next.timer() as u8;
        hot.flags |= crate::session::FLAG_DIRTY;
        if hot.timer != old_timer {
            let deadline = self.deadline(number);
            self.wheel.remove(self.sessions.links(), number);
            self.wheel.insert(self.sessions.links(), number, deadline);
        }
    }
}
