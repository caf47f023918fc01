//! Answers to an operator's questions, a bounded number of slots at a time, between bursts.

use std::net::{IpAddr, Ipv4Addr};

use super::{EndReason, Engine};
use crate::program::NONE;
use crate::session::{Direction, FLAG_INITIATED_OUTSIDE, KIND_FREE, NO_RECORD};
use crate::tcp_state::State;
use crate::ticks::Ticks;
use crate::view::{Ask, BlockView, Filter, MappingView, Query, SessionState, SessionView, SubscriberView};

fn v4(address: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(address))
}

/// Whether a wanted value, if any, is this one.
fn want<T: PartialEq>(wanted: Option<T>, value: T) -> bool {
    wanted.is_none_or(|w| w == value)
}

impl Engine {
    /// Works on a query for at most `slots` table slots. `query.done` says when it is answered.
    pub fn answer(&mut self, query: &mut Query, slots: u32) {
        let end = match query.ask {
            Ask::Sessions | Ask::ClearSessions | Ask::CountSessions => self.sessions.high_water(),
            Ask::Mappings => self.mappings.high_water(),
            Ask::Blocks => self.ports.blocks().high_water(),
            Ask::Subscribers => self.subscribers.high_water(),
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
            Ask::ClearSessions | Ask::CountSessions => true,
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

    fn session_view(&self, number: u32, filter: &Filter) -> Option<SessionView> {
        let hot = self.sessions.hot(number).filter(|h| h.kind != KIND_FREE)?;
        let cold = self.sessions.cold(number)?;
        let [out, back] = hot.tuples;
        let wanted = want(filter.service_set, hot.service_set)
            && want(filter.protocol, hot.protocol)
            && want(filter.inside, v4(out.src))
            && want(filter.inside_port, out.sport)
            && want(filter.public, v4(back.dst))
            && want(filter.public_port, back.dport)
            && want(filter.outside, v4(out.dst))
            && want(filter.outside_port, out.dport)
            && want(filter.pool, cold.pool);
        if !wanted {
            return None;
        }
        let (packets_out, bytes_out) = hot.counts(Direction::Out);
        let (packets_in, bytes_in) = hot.counts(Direction::In);
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
            inside: v4(out.src),
            inside_port: out.sport,
            public: v4(back.dst),
            public_port: back.dport,
            outside: v4(out.dst),
            outside_port: out.dport,
            pool: cold.pool,
            term: cold.term,
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
        let pool = self
            .program
            .public_space
            .find(m.public)
            .map_or(NONE, |found| found.pool);
        let wanted = want(filter.service_set, m.service_set)
            && want(filter.protocol, m.protocol)
            && want(filter.inside, v4(m.inside))
            && want(filter.inside_port, m.inside_port)
            && want(filter.public, v4(m.public))
            && want(filter.public_port, m.public_port)
            && want(filter.pool, pool);
        wanted.then_some(MappingView {
            worker: self.config.worker,
            service_set: m.service_set,
            protocol: m.protocol,
            inside: v4(m.inside),
            inside_port: m.inside_port,
            public: v4(m.public),
            public_port: m.public_port,
            pool,
            sessions: m.sessions,
        })
    }

    fn block_view(&self, number: u32, filter: &Filter) -> Option<BlockView> {
        let b = self.ports.blocks().get(number)?;
        let subscriber = self.subscribers.get(b.subscriber)?;
        let public = self.program.public_space.address(b.address_index)?.0;
        let wanted = want(filter.service_set, subscriber.service_set)
            && want(filter.inside, v4(subscriber.address))
            && want(filter.public, v4(public))
            && filter
                .public_port
                .is_none_or(|p| (b.first_port..=b.last_port()).contains(&p))
            && want(filter.pool, b.pool);
        wanted.then(|| BlockView {
            worker: self.config.worker,
            pool: b.pool,
            service_set: subscriber.service_set,
            subscriber: v4(subscriber.address),
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
            && want(filter.inside, v4(s.address))
            && filter
                .public
                .is_none_or(|p| paired.is_some_and(|(address, _)| v4(address) == p))
            && want(filter.pool, s.pool);
        wanted.then(|| SubscriberView {
            worker: self.config.worker,
            service_set: s.service_set,
            address: v4(s.address),
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
