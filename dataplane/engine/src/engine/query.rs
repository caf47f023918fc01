//! Answers to an operator's questions, a bounded number of slots at a time, between bursts.

use std::net::{IpAddr, Ipv4Addr};

use super::first_packet::Ends;
use super::{EndReason, Engine};
use crate::address;
use crate::program::{NONE, PolicyId, SERVICE_SETS_MAX, ServiceSetId};
use crate::session::{Direction, FLAG_INITIATED_OUTSIDE, Hot, KIND_64, KIND_66, NO_RECORD};
use crate::tcp_state::State;
use crate::ticks::Ticks;
use crate::view::{
    Ask, BlockView, Decider, Filter, MappingView, Query, SessionState, SessionView, SubscriberView,
};

/// The defaults' slots of [`Ask::Policies`]: of all service sets there can be, so that a commit between two pages moves
/// no slot behind them.
const DEFAULT_SLOTS: u32 = 2 * SERVICE_SETS_MAX as u32;

fn v4(address: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(address))
}

/// Whether a wanted value, if any, is this one.
fn want<T: PartialEq>(wanted: Option<T>, value: T) -> bool {
    wanted.is_none_or(|w| w == value)
}

/// Whether an address is the wanted one inside, if any is wanted; of IPv6 as far as the first `bits` go.
fn want_inside(filter: &Filter, address: u128, bits: u8) -> bool {
    let Some(wanted) = filter.inside else { return true };
    let bits = match (wanted, filter.inside_bits) {
        (IpAddr::V4(_), None) => 128,
        (IpAddr::V4(_), Some(wanted)) => wanted.saturating_add(96),
        (IpAddr::V6(_), None) => bits,
        (IpAddr::V6(_), Some(wanted)) => bits.min(wanted),
    };
    let other_bits = 128u32.saturating_sub(u32::from(bits));
    let wanted = address::from_ip(wanted);
    let differ = (wanted ^ address).checked_shr(other_bits).unwrap_or(0);
    differ == 0 && address::is_v4(wanted) == address::is_v4(address)
}

impl Engine {
    /// Works on a query for at most `slots` table slots. `query.done` says when it is answered.
    pub fn answer(&mut self, query: &mut Query, slots: u32) {
        let end = match query.ask {
            Ask::Sessions | Ask::ClearSessions | Ask::CountSessions | Ask::Reevaluate => {
                self.sessions.high_water()
            }
            Ask::Mappings => self.mappings.high_water(),
            Ask::Blocks => self.ports.blocks_end(),
            Ask::Subscribers => self.subscribers.high_water(),
            Ask::Policies => DEFAULT_SLOTS + self.policy_hits.len() as u32,
        };
        let until = end.min(query.cursor.saturating_add(slots));
        while query.cursor < until {
            if !self.answer_slot(query, query.cursor) {
                query.done = true;
                return;
            }
            query.cursor += 1;
        }
        if query.cursor >= end {
            (query.done, query.end) = (true, true);
        }
    }

    /// Looks at one slot; false when the row found no room and the slot has to be looked at again.
    fn answer_slot(&mut self, query: &mut Query, number: u32) -> bool {
        let filter = query.filter;
        let rows = &mut query.rows;
        let has_room = match query.ask {
            Ask::Sessions => rows.sessions.len() < rows.sessions.capacity(),
            Ask::Mappings => rows.mappings.len() < rows.mappings.capacity(),
            Ask::Blocks => rows.blocks.len() < rows.blocks.capacity(),
            Ask::Subscribers => rows.subscribers.len() < rows.subscribers.capacity(),
            Ask::Policies => rows.policies.len() < rows.policies.capacity(),
            Ask::ClearSessions | Ask::CountSessions | Ask::Reevaluate => true,
        };
        let found = match query.ask {
            Ask::Sessions => self
                .session_view(number, &filter)
                .map(|v| has_room.then(|| rows.sessions.push(v))),
            Ask::Mappings => self
                .mapping_view(number, &filter)
                .map(|v| has_room.then(|| rows.mappings.push(v))),
            Ask::Blocks => self
                .block_view(number, &filter)
                .map(|v| has_room.then(|| rows.blocks.push(v))),
            Ask::Subscribers => self
                .subscriber_view(number, &filter)
                .map(|v| has_room.then(|| rows.subscribers.push(v))),
            Ask::Policies => {
                let (decider, hits) = self.decider(number);
                (hits != 0).then(|| has_room.then(|| rows.policies.push((decider, hits))))
            }
            // Of a standby's the other chassis decides: it would tell of them again.
            Ask::Reevaluate | Ask::ClearSessions
                if self.sessions.hot(number).is_some_and(|h| self.is_kept(h)) =>
            {
                None
            }
            Ask::Reevaluate => self.session_view(number, &filter).and_then(|_| {
                let refused = self.is_refused_by_policies(number);
                if refused {
                    self.end(number, EndReason::Refused);
                }
                refused.then_some(Some(()))
            }),
            Ask::CountSessions => self.session_view(number, &filter).map(|_| Some(())),
            Ask::ClearSessions => self.session_view(number, &filter).map(|_| {
                self.end(number, EndReason::Cleared);
                Some(())
            }),
        };
        match found {
            None => true,
            Some(None) => false,
            Some(Some(())) => {
                query.matched += 1;
                true
            }
        }
    }

    /// What decides in a slot of [`Ask::Policies`], and its hits.
    fn decider(&self, slot: u32) -> (Decider, u64) {
        if let Some(policy) = slot.checked_sub(DEFAULT_SLOTS) {
            let policy = policy as PolicyId;
            return (Decider::Policy(policy), self.policy_hits(policy));
        }
        let (set, direction) = match slot % 2 {
            0 => ((slot / 2) as ServiceSetId, Direction::Out),
            _ => ((slot / 2) as ServiceSetId, Direction::In),
        };
        (
            Decider::Default(set, direction),
            self.default_hits(set, direction),
        )
    }

    /// The ends of a session, as drafts have them: addresses and ports.
    pub(super) fn ends_of(&self, hot: &Hot) -> Ends {
        let of = |address: u32, port: u16| (address::of_v4(address), port);
        match hot.kind {
            KIND_66 => {
                let key = hot.six_six().key();
                let (inside, outside) = ((key.inside, key.inside_port), (key.outside, key.outside_port));
                let pairs = self.set_plan(hot.service_set).map(|p| p.prefix_pairs.as_slice());
                let public = pairs.unwrap_or(&[]).iter().find_map(|p| p.to_outside(key.inside));
                Ends {
                    inside,
                    seen: outside,
                    outside,
                    public: (public.unwrap_or(key.inside), key.inside_port),
                }
            }
            KIND_64 => {
                let (wide, back) = (hot.six_four(), hot.from_outside());
                let prefix = self.prefixes.get(usize::from(wide.prefix)).copied().flatten();
                let seen = prefix.map_or(address::of_v4(back.src), |p| p.embed(back.src));
                Ends {
                    inside: (wide.inside(), wide.inside_port),
                    seen: (seen, wide.outside_port()),
                    outside: of(back.src, back.sport),
                    public: of(back.dst, back.dport),
                }
            }
            _ => {
                let [out, back] = hot.tuples;
                Ends {
                    inside: of(out.src, out.sport),
                    seen: of(out.dst, out.dport),
                    outside: of(back.src, back.sport),
                    public: of(back.dst, back.dport),
                }
            }
        }
    }

    /// Bits of an inside address that make a subscriber of this service set; of IPv4 it is always all of them.
    fn subscriber_bits(&self, set: ServiceSetId) -> u8 {
        self.service_set(set)
            .map_or(128, |set| set.ipv6.subscriber_prefix)
    }

    fn session_view(&self, number: u32, filter: &Filter) -> Option<SessionView> {
        let hot = self.sessions.hot(number).filter(|h| h.is_session())?;
        let cold = self.sessions.cold(number)?;
        let ends = self.ends_of(hot);
        let wanted = want(filter.service_set, hot.service_set)
            && want(filter.protocol, hot.protocol)
            && want_inside(filter, ends.inside.0, 128)
            && want(filter.inside_port, ends.inside.1)
            && want(filter.public, address::show(ends.public.0))
            && want(filter.public_port, ends.public.1)
            && filter
                .outside
                .is_none_or(|o| o == address::show(ends.seen.0) || o == address::show(ends.outside.0))
            && want(filter.outside_port, ends.seen.1)
            && want(filter.pool, cold.pool);
        if !wanted {
            return None;
        }
        let (packets_out, bytes_out) = self.sessions.counts(number, Direction::Out);
        let (packets_in, bytes_in) = self.sessions.counts(number, Direction::In);
        let timeout = self.deadline(number).since(Ticks(hot.last_seen));
        Some(SessionView {
            worker: self.config.worker,
            service_set: hot.service_set,
            protocol: hot.protocol,
            state: match State::from_u8(hot.state) {
                State::Active => SessionState::Active,
                State::OpeningInside => SessionState::OpeningInside,
                State::OpeningOutside => SessionState::OpeningOutside,
                State::Established => SessionState::Established,
                State::FinInside => SessionState::FinInside,
                State::FinOutside => SessionState::FinOutside,
                State::FinBoth | State::Reset | State::ResetOpeningInside | State::ResetOpeningOutside => {
                    SessionState::Closing
                }
            },
            initiated_outside: hot.flags & FLAG_INITIATED_OUTSIDE != 0,
            inside: address::show(ends.inside.0),
            inside_port: ends.inside.1,
            public: address::show(ends.public.0),
            public_port: ends.public.1,
            outside: address::show(ends.seen.0),
            outside_port: ends.seen.1,
            remote: address::show(ends.outside.0),
            pool: cold.pool,
            term: cold.term,
            policy: cold.policy,
            packets_out,
            bytes_out,
            packets_in,
            bytes_in,
            age_s: self.now.since(Ticks(cold.created)).seconds(),
            idle_s: self.now.since(Ticks(hot.last_seen)).seconds(),
            timeout_s: timeout.seconds(),
        })
    }

    fn mapping_view(&self, number: u32, filter: &Filter) -> Option<MappingView> {
        let m = self.mappings.get(number)?;
        let subscriber = self.subscribers.get(m.subscriber)?;
        let (service_set, inside) = (subscriber.service_set, m.inside(subscriber));
        let pool = self
            .program
            .public_space
            .find(m.public)
            .map_or(NONE, |found| found.pool);
        let wanted = want(filter.service_set, service_set)
            && want(filter.protocol, m.protocol)
            && want_inside(filter, inside, 128)
            && want(filter.inside_port, m.inside_port)
            && want(filter.public, v4(m.public))
            && want(filter.public_port, m.public_port)
            && want(filter.pool, pool);
        wanted.then_some(MappingView {
            worker: self.config.worker,
            service_set,
            protocol: m.protocol,
            inside: address::show(inside),
            inside_port: m.inside_port,
            public: v4(m.public),
            public_port: m.public_port,
            pool,
            sessions: m.sessions,
        })
    }

    fn block_view(&self, place: u32, filter: &Filter) -> Option<BlockView> {
        let (number, b) = self.ports.block(place)?;
        let subscriber = self.subscribers.get(b.subscriber)?;
        let public = self.program.public_space.address(b.address_index)?.0;
        let wanted = want(filter.service_set, subscriber.service_set)
            && want_inside(
                filter,
                subscriber.address(),
                self.subscriber_bits(subscriber.service_set),
            )
            && want(filter.public, v4(public))
            && filter
                .public_port
                .is_none_or(|p| (b.first_port..=b.last_port()).contains(&p))
            && want(filter.pool, b.pool);
        wanted.then(|| BlockView {
            worker: self.config.worker,
            pool: b.pool,
            service_set: subscriber.service_set,
            subscriber: address::show(subscriber.address()),
            public: v4(public),
            first_port: b.first_port,
            last_port: b.last_port(),
            used: u32::from(b.used),
            active: subscriber.blocks == number,
            age_s: self.now.since(Ticks(b.created)).seconds(),
        })
    }

    fn subscriber_view(&self, number: u32, filter: &Filter) -> Option<SubscriberView> {
        let s = self.subscribers.get(number)?;
        let paired = (s.paired != NO_RECORD)
            .then(|| self.program.public_space.address(s.paired))
            .flatten();
        let wanted = want(filter.service_set, s.service_set)
            && want_inside(filter, s.address(), self.subscriber_bits(s.service_set))
            && filter
                .public
                .is_none_or(|p| paired.is_some_and(|(address, _)| v4(address) == p))
            && want(filter.pool, s.pool);
        wanted.then(|| SubscriberView {
            worker: self.config.worker,
            service_set: s.service_set,
            address: address::show(s.address()),
            public: paired.map(|(address, _)| v4(address)),
            pool: s.pool,
            sessions: s.sessions,
            tcp_ports: s.ports[0],
            udp_ports: s.ports[1],
            icmp_ids: s.ports[2],
            blocks: u32::from(s.block_count),
            refused: u64::from(s.refused),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_is_wanted_whole_by_its_first_bits_or_as_a_subscriber() {
        let wants = |inside: &str, inside_bits, address: &str, bits| {
            let filter = Filter {
                inside: Some(inside.parse().expect("an address")),
                inside_bits,
                ..Filter::default()
            };
            want_inside(
                &filter,
                address::from_ip(address.parse().expect("an address")),
                bits,
            )
        };
        assert!(want_inside(&Filter::default(), 7, 128));
        assert!(wants("10.0.0.1", None, "10.0.0.1", 56));
        assert!(
            !wants("10.0.0.1", None, "10.0.0.2", 56),
            "IPv4 subscribers are addresses"
        );
        assert!(wants("10.0.0.1", Some(24), "10.0.0.2", 128));
        assert!(!wants("10.0.0.1", Some(24), "10.0.1.2", 128));
        assert!(!wants("10.0.0.1", Some(0), "2001:db8::1", 128));
        assert!(!wants("::", Some(0), "10.0.0.1", 128));
        assert!(wants("::", Some(0), "2001:db8::1", 128));
        assert!(!wants("2001:db8::1", None, "2001:db8::2", 128));
        assert!(
            wants("2001:db8:0:1::1", None, "2001:db8::", 56),
            "an IPv6 subscriber is a prefix"
        );
        assert!(!wants("2001:db8:0:100::1", None, "2001:db8::", 56));
        assert!(wants("2001:db8::", Some(48), "2001:db8:0:ff00::", 56));
    }
}
