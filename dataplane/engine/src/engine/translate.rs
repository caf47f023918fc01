//! A packet of a known session: route, state, counters, rewrite. The way nearly every packet goes.
//!
//! This file has what both families share, and IPv4 to IPv4; translate6.rs has the rest.

use tandem_wire::l4::L4;
use tandem_wire::rewrite::{Endpoints, forward_ipv4};
use tandem_wire::{Fragment, ipv4, tcp};

use super::Engine;
use super::leaving::Leaving;
use crate::drop_reason::DropReason;
use crate::packet::{Answer, Desc, Packet, RouteKind, Router, Verdict};
use crate::session::{
    Direction, FLAG_TRACKED, FLAG_UNANSWERED, Hot, KIND_44, KIND_64, KIND_66, NO_NEXT_HOP, NO_RECORD, Segment,
};
use crate::tcp_state::{State, TimerClass};

/// Next-hop number of a destination that is one of our own public addresses.
pub(super) const NEXT_HOP_HAIRPIN: u16 = NO_NEXT_HOP - 1;

/// What happened to a session when a packet passed.
pub(super) struct Passed {
    mss_clamp: u16,
    tcp_flags: u8,
}

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
        let nobody = Verdict::Drop(DropReason::NoMapping, Answer::None);
        let direction = desc.direction();
        let Some(hot) = self.sessions.hot(number) else {
            desc.verdict = nobody;
            return;
        };
        if hot.kind == KIND_64 {
            return self.translate_to_six(number, desc, packet, router);
        }
        // The packet shall look like the answer to what the other direction's packets look like.
        let other = hot.tuples[1 - direction as usize];
        let is_tracked = hot.flags & FLAG_TRACKED != 0;
        let leaving = Leaving::four(desc);
        let next_hop = match self.session_next_hop(number, direction, &leaving, router) {
            Ok(next_hop) => next_hop,
            Err(verdict) => {
                desc.verdict = verdict;
                return;
            }
        };
        if desc.meta.ttl <= 1 {
            desc.verdict = Verdict::Drop(DropReason::TtlExpired, Answer::TimeExceeded);
            return;
        }
        if is_tracked {
            let meta = &desc.meta;
            let segment = whole_segment(packet.l3(), meta.fragment, meta.l4_offset, meta.total_len);
            if let Err(verdict) = self.check_window(number, direction, segment) {
                desc.verdict = verdict;
                return;
            }
        }
        let passed = match self.pass(number, direction, desc.meta.l4, desc.meta.total_len) {
            Ok(passed) => passed,
            Err(reason) => {
                desc.verdict = Verdict::Drop(reason, Answer::None);
                return;
            }
        };
        let mut to = Endpoints {
            src: other.dst,
            dst: other.src,
            sport: other.dport,
            dport: other.sport,
        };
        if direction as u8 == Direction::In as u8 && desc.meta.proto == ipv4::ICMP {
            to.sport = other.sport;
        }
        let l3 = packet.l3_mut();
        if !forward_ipv4(l3, &desc.meta, &to) {
            desc.verdict = Verdict::Drop(DropReason::FrameNotContiguous, Answer::None);
            return;
        }
        if passed.mss_clamp != 0 {
            let segment = usize::from(desc.meta.l4_offset)..usize::from(desc.meta.total_len);
            self.clamp_mss(&passed, l3.get_mut(segment));
        }
        // What it is looked up by on its way back in; a later fragment does not carry it.
        if next_hop == NEXT_HOP_HAIRPIN {
            desc.sport = to.sport;
            desc.dport = if desc.meta.proto == ipv4::ICMP {
                to.sport
            } else {
                to.dport
            };
        }
        desc.next_hop = next_hop;
        desc.verdict = self.forwarded(direction, next_hop);
    }

    /// Counts a packet that was translated.
    #[inline]
    pub(super) fn forwarded(&mut self, direction: Direction, next_hop: u16) -> Verdict {
        match direction {
            Direction::Out => self.counters.translated_out += 1,
            Direction::In => self.counters.translated_in += 1,
        }
        if next_hop == NEXT_HOP_HAIRPIN {
            self.counters.hairpinned += 1;
            return Verdict::Hairpin;
        }
        Verdict::Forward
    }

    /// Clamps the MSS of a SYN, when the service set wants it.
    pub(super) fn clamp_mss(&mut self, passed: &Passed, segment: Option<&mut [u8]>) {
        if passed.mss_clamp != 0
            && passed.tcp_flags & tcp::SYN != 0
            && let Some(segment) = segment
            && tcp::clamp_mss(segment, passed.mss_clamp)
        {
            self.counters.mss_clamped += 1;
        }
    }

    /// Whether a packet lies in its connection's windows, where these are tracked. Fragments are not looked at.
    #[inline]
    pub(super) fn check_window(
        &mut self,
        number: u32,
        direction: Direction,
        segment: Option<&[u8]>,
    ) -> Result<(), Verdict> {
        if self
            .sessions
            .hot(number)
            .is_none_or(|h| h.flags & FLAG_TRACKED == 0)
        {
            return Ok(());
        }
        let Some(segment) = segment.and_then(Segment::parse) else {
            return Ok(());
        };
        // Windows of before a takeover are not those of now.
        let since = self
            .sessions
            .hot(number)
            .and_then(|h| self.set_plan(h.service_set))
            .map_or(0, |p| p.not_before);
        match self.sessions.in_window(number, direction, &segment, since) {
            Some(true) => Ok(()),
            Some(false) => Err(Verdict::Drop(DropReason::TcpOutOfWindow, Answer::None)),
            None => {
                self.counters.windows_unknown += 1;
                Ok(())
            }
        }
    }

    /// Counts a packet of a session that will be forwarded, moves the state of its connection and its timer.
    #[inline(always)]
    pub(super) fn pass(
        &mut self,
        number: u32,
        direction: Direction,
        l4: L4,
        length: u16,
    ) -> Result<Passed, DropReason> {
        let hot = self.sessions.hot_mut(number).ok_or(DropReason::NoMapping)?;
        // When its service set is gone, the purge will come by.
        let plan = self
            .sets
            .get(usize::from(hot.service_set))
            .and_then(Option::as_ref)
            .ok_or(DropReason::NoMapping)?;
        let mut flags = 0;
        let mut refresh = direction as u8 == Direction::Out as u8 || plan.refresh_inbound;
        let state = State::from_u8(hot.state);
        let mut next = state;
        if let L4::Tcp { flags: f, .. } = l4 {
            flags = f;
            next = state.next(f, direction as u8 == Direction::Out as u8);
            // A RST keeps nothing alive (RFC 7857 section 7.1) but the closing time of an established connection.
            refresh = f & tcp::RST == 0 || state.timer() as u8 == TimerClass::TcpEstablished as u8;
        }
        if next != state && self.has_draining && self.replica.is_draining(hot.service_set) {
            if flags & tcp::RST == 0 {
                return Err(DropReason::Draining);
            }
            next = state;
        }
        let full = count(hot, direction, length);
        if refresh {
            hot.last_seen = self.now.0;
        }
        let passed = Passed {
            mss_clamp: plan.mss_clamp,
            tcp_flags: flags,
        };
        let answered = hot.flags & FLAG_UNANSWERED != 0
            && direction as u8 == Direction::Out as u8
            && flags & tcp::RST == 0;
        if full && !self.sessions.spill(number) {
            self.counters.totals_stopped += 1;
        }
        if next != state {
            self.change_state(number, next);
        }
        if answered {
            self.hold_mapping(number);
        }
        Ok(passed)
    }

    /// The next hop of a session's direction, from the record while routes did not change. An error when the packet's
    /// verdict is decided by it: no route, the kernel's, too big.
    #[inline(always)]
    pub(super) fn session_next_hop<R: Router>(
        &mut self,
        number: u32,
        direction: Direction,
        leaving: &Leaving,
        router: &R,
    ) -> Result<u16, Verdict> {
        let nobody = Verdict::Drop(DropReason::NoMapping, Answer::None);
        let generation = self.route_generation(router);
        let hot = self.sessions.hot_mut(number).ok_or(nobody)?;
        if hot.next_hop_generation != generation {
            hot.next_hop = [NO_NEXT_HOP; 2];
            hot.next_hop_generation = generation;
        }
        let mut next_hop = hot.next_hop[direction as usize];
        if next_hop == NO_NEXT_HOP {
            let set = hot.service_set;
            self.check_primary(set)?;
            next_hop = self.look_up(number, direction, leaving.hash, router);
            self.sessions.hot_mut(number).ok_or(nobody)?.next_hop[direction as usize] = next_hop;
        }
        if next_hop == NEXT_HOP_HAIRPIN {
            if leaving.hairpinned {
                return Err(Verdict::Drop(DropReason::HairpinLoop, Answer::None));
            }
            return Ok(next_hop);
        }
        match router.next_hop(next_hop) {
            RouteKind::Forward { mtu, .. } => leaving.fits(mtu).map(|()| next_hop),
            // To an inside host behind the kernel: translated, then the kernel's. From inside to this box: as it is.
            RouteKind::Kernel if direction == Direction::In => Ok(next_hop),
            RouteKind::Kernel if leaving.grown != 0 => Err(Verdict::Drop(
                DropReason::NoRoute,
                leaving.answer_to_route(DropReason::NoRoute),
            )),
            RouteKind::Kernel => Err(Verdict::Kernel),
            RouteKind::Drop(reason) => Err(Verdict::Drop(reason, leaving.answer_to_route(reason))),
        }
    }

    #[cold]
    fn look_up<R: Router>(&self, number: u32, direction: Direction, hash: u32, router: &R) -> u16 {
        let Some(hot) = self.sessions.hot(number) else {
            return NO_NEXT_HOP;
        };
        let destination = match (hot.kind, direction) {
            (KIND_64, Direction::Out) => hot.six_four().back.src,
            (KIND_64, Direction::In) => return router.route6(hot.six_four().inside(), hash).next_hop,
            (KIND_66, Direction::Out) => return router.route6(hot.six_six().key().outside, hash).next_hop,
            (KIND_66, Direction::In) => return router.route6(hot.six_six().key().inside, hash).next_hop,
            _ => hot.tuples[1 - direction as usize].src,
        };
        if direction == Direction::Out && self.program.public_space.find(destination).is_some() {
            return NEXT_HOP_HAIRPIN;
        }
        router.route(destination, hash).next_hop
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
            mapping.hold();
        }
        self.changed(number);
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
        if hot.timer != old_timer {
            self.rearm(number);
        }
        self.changed(number);
    }
}

/// The upper layer of a packet that is no fragment.
pub(super) fn whole_segment(l3: &[u8], fragment: Fragment, from: u16, to: u16) -> Option<&[u8]> {
    if fragment != Fragment::None {
        return None;
    }
    l3.get(usize::from(from)..usize::from(to))
}

/// Counts a packet in a record of any kind; true when its small counts have to be added to the totals.
#[inline(always)]
pub(super) fn count(hot: &mut Hot, direction: Direction, length: u16) -> bool {
    let d = direction as usize;
    match hot.kind {
        KIND_44 => {
            hot.count(direction, length);
            false
        }
        KIND_64 => hot.six_four_mut().counts[d].count(length),
        _ => hot.six_six_mut().counts[d].count(length),
    }
}
