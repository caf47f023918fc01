//! A new session's record, its entries in the index, its timer.

use tandem_wire::l4::L4;
use tandem_wire::{ipv4, tcp};

use super::Engine;
use super::first_packet::{Basis, Draft};
use crate::drop_reason::DropReason;
use crate::index::Place;
use crate::session::{
    Direction, FLAG_ADDRESS_ENTRY, FLAG_ADDRESS_ONLY, FLAG_FREE_STANDING, FLAG_INITIATED_OUTSIDE,
    FLAG_OWNS_PORT, FLAG_TRACKED, Hot, KIND_64, KIND_66, Key66, Tuple4, new_cold, new_hot,
};
use crate::tcp_state::{State, TimerClass};
use crate::ticks::Ticks;

/// What a draft's packets look like from inside, for IPv4.
fn out_tuple(draft: &Draft) -> Tuple4 {
    Tuple4 {
        src: draft.ends.inside.0 as u32,
        dst: draft.ends.seen.0 as u32,
        sport: draft.ends.inside.1,
        dport: draft.ends.seen.1,
    }
}

fn key66(draft: &Draft) -> Key66 {
    Key66 {
        inside: draft.ends.inside.0,
        outside: draft.ends.outside.0,
        inside_port: draft.ends.inside.1,
        outside_port: draft.ends.outside.1,
    }
}

impl Engine {
    /// Computes where the session will be entered, and asks for these lines.
    #[inline(always)]
    pub(super) fn prefetch_writing(&self, draft: &mut Draft) {
        if draft.kind == KIND_66 {
            return;
        }
        let back = draft.back();
        draft.back_place = self.sessions.place(&back, draft.proto, Direction::In, 0);
        self.sessions.prefetch_place(draft.back_place);
        if draft.mapping_is_new {
            let (port, protocol) = self.public_of(draft);
            draft.public_place = self.mappings.public_place(back.dst, port, protocol);
            self.mappings.prefetch_place(draft.public_place);
        }
    }

    /// Public port and protocol of a new draft's mapping.
    fn public_of(&self, draft: &Draft) -> (u16, u8) {
        match draft.basis {
            Basis::Address => (0, crate::mapping::WHOLE_ADDRESS),
            _ => (draft.ends.public.1, draft.proto),
        }
    }

    /// Writes a session whose basis is claimed; on failure everything claimed is given back. If an earlier packet of the
    /// burst already wrote it, that one serves.
    pub(super) fn write(&mut self, draft: &Draft, l4: L4) -> Result<u32, DropReason> {
        let (out_place, known) = self.find_written(draft);
        let back = draft.back();
        if let Some(number) = known {
            self.give_back(draft);
            // From outside to another public end of the same inside end: its answers would leave from the first one.
            let other = draft.direction == Direction::In
                && draft.kind != KIND_66
                && self
                    .sessions
                    .hot(number)
                    .is_some_and(|h| h.from_outside() != back);
            return if other {
                Err(DropReason::SessionConflict)
            } else {
                Ok(number)
            };
        }
        let back_place = (draft.kind != KIND_66).then_some(draft.back_place);
        if Self::may_look_alike(draft) && self.is_taken(draft, out_place, back_place) {
            self.give_back(draft);
            return Err(DropReason::SessionConflict);
        }
        if draft.mapping_is_new
            && self
                .mappings
                .enter_public(draft.public_place, draft.anchor)
                .is_err()
        {
            self.give_back(draft);
            return Err(DropReason::MappingTableFull);
        }
        let plan = self.sets.get(usize::from(draft.service_set));
        let plan = plan.and_then(Option::as_ref);
        let tracks = plan.is_some_and(|p| p.track_window) && draft.proto == ipv4::TCP;
        let (state, timer) = first_state(draft, l4);
        let timeout = plan.map_or(0, |p| p.timeouts[timer as usize]);
        let Some((number, hot, cold)) = self.sessions.take_to_fill() else {
            self.give_back(draft);
            return Err(DropReason::SessionTableFull);
        };
        fill(hot, draft, self.now);
        (hot.state, hot.timer) = (state as u8, timer as u8);
        if tracks {
            hot.flags |= FLAG_TRACKED;
        }
        *cold = new_cold(draft.anchor, draft.subscriber, draft.term, draft.pool, self.now);
        cold.policy = draft.policy;
        let address_place =
            (draft.flags & FLAG_ADDRESS_ENTRY != 0).then(|| self.sessions.address_place(&back, draft.proto));
        if !self.enter(out_place, back_place, address_place, number) {
            self.sessions.free(number);
            self.give_back(draft);
            return Err(DropReason::SessionIndexFull);
        }
        let mut deadline = self.now.plus(Ticks(timeout));
        if self.replicates {
            deadline = self.written(number, deadline);
        }
        self.wheel.insert(self.sessions.links(), number, deadline);
        match draft.flags & FLAG_INITIATED_OUTSIDE {
            0 => self.counters.sessions_created_out += 1,
            _ => self.counters.sessions_created_in += 1,
        }
        Ok(number)
    }

    /// The place of a draft's session as it looks from inside, and the session if it is there.
    #[inline(always)]
    fn find_written(&self, draft: &Draft) -> (Place, Option<u32>) {
        let (sessions, set, proto) = (&self.sessions, draft.service_set, draft.proto);
        match draft.kind {
            KIND_66 => {
                let key = key66(draft);
                let place = sessions.place_66(&key, proto);
                let found = sessions.find_66(place, &key, proto);
                let ours = found.filter(|n| sessions.hot(*n).is_some_and(|h| h.service_set == set));
                (place, ours)
            }
            KIND_64 => {
                let (inside, port) = draft.ends.inside;
                let (outside, of) = (draft.ends.outside.0 as u32, (set, draft.prefix));
                let ports = (port, draft.ends.seen.1);
                let place = sessions.place_64(inside, outside, ports, proto, of);
                (place, sessions.find_64(place, inside, outside, ports, proto, of))
            }
            _ => {
                let out = out_tuple(draft);
                let place = match draft.out_place.is_known() {
                    true => draft.out_place,
                    false => sessions.place(&out, proto, Direction::Out, set),
                };
                (place, sessions.find(place, &out, proto, Direction::Out, set))
            }
        }
    }

    /// Whether another session may look like this one from outside: not when its public end is its own or new; but when it has
    /// none, and when its mapping serves other sessions, since two destinations may be the same outside (twice NAT, several
    /// NAT64 prefixes, now or before a reload).
    const fn may_look_alike(draft: &Draft) -> bool {
        draft.flags & FLAG_FREE_STANDING != 0
            || draft.flags & (FLAG_OWNS_PORT | FLAG_ADDRESS_ONLY) == 0 && !draft.mapping_is_new
    }

    /// Whether another session already looks like this one from outside.
    fn is_taken(&self, draft: &Draft, out_place: Place, back_place: Option<Place>) -> bool {
        match back_place {
            Some(place) => self
                .sessions
                .find(place, &draft.back(), draft.proto, Direction::In, 0)
                .is_some(),
            None => self
                .sessions
                .find_66(out_place, &key66(draft), draft.proto)
                .is_some(),
        }
    }

    /// Enters a record under all its places, or under none.
    #[inline(always)]
    pub(super) fn enter(
        &mut self,
        out: Place,
        back: Option<Place>,
        address: Option<Place>,
        number: u32,
    ) -> bool {
        let sessions = &mut self.sessions;
        if sessions.enter(out, number).is_err() {
            return false;
        }
        if let Some(back) = back
            && sessions.enter(back, number).is_err()
        {
            sessions.leave(out, number);
            return false;
        }
        if let Some(address) = address
            && sessions.enter(address, number).is_err()
        {
            sessions.leave(out, number);
            if let Some(back) = back {
                sessions.leave(back, number);
            }
            return false;
        }
        true
    }
}

/// Writes a draft's session where it stays: built elsewhere and copied, its bytes would be read before they are written.
#[inline(always)]
fn fill(hot: &mut Hot, draft: &Draft, now: Ticks) {
    let back = draft.back();
    *hot = new_hot(
        draft.kind,
        [out_tuple(draft), back],
        draft.proto,
        draft.service_set,
        now,
    );
    match draft.kind {
        KIND_64 => {
            let ports = (draft.ends.inside.1, draft.ends.seen.1);
            hot.six_four_mut()
                .set(draft.ends.inside.0, ports, draft.prefix, back);
        }
        KIND_66 => hot.six_six_mut().set(&key66(draft)),
        _ => {}
    }
    hot.flags = draft.flags;
    (hot.next_hop[Direction::Out as usize], hot.next_hop_generation) = draft.route;
}

/// State and timer of a new session. The first packet itself goes through the state machine afterwards, so TCP starts one
/// step before it.
fn first_state(draft: &Draft, l4: L4) -> (State, TimerClass) {
    let inside = draft.flags & FLAG_INITIATED_OUTSIDE == 0;
    let outside_port = draft.ends.outside.1;
    match draft.proto {
        ipv4::TCP => {
            let syn = matches!(l4, L4::Tcp { flags, .. } if flags & (tcp::SYN | tcp::ACK) == tcp::SYN);
            match (syn, inside) {
                (true, true) => (State::OpeningInside, TimerClass::TcpOpening),
                (true, false) => (State::OpeningOutside, TimerClass::TcpOpening),
                (false, _) => (State::Established, TimerClass::TcpEstablished),
            }
        }
        ipv4::UDP if outside_port < 1024 => (State::Active, TimerClass::UdpWellKnown),
        ipv4::UDP => (State::Active, TimerClass::Udp),
        ipv4::ICMP | ipv4::ICMPV6 => (State::Active, TimerClass::Icmp),
        _ => (State::Active, TimerClass::Other),
    }
}
