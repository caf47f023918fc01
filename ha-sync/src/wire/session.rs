//! Sessions in few octets.
//!
//! ```text
//!   ends:  set 2, protocol 1, shape 1, then
//!          IPv4    12 of the packet from inside; public address and port 6, or with bit 5 of the shape clear all 12 of the
//!                  packet from outside: without translation of the destination the far end is in both
//!          NAT64   inside address 16, port 2, outside port 2, prefix 2, then the 12 of the packet from outside
//!          IPv6    inside and outside address 16 each, ports 2 each
//!   rest:  state 1, flags 2, term 2, policy 2, pool 2, position of the mapping's prefix 1,
//!          ages of beginning and last packet, packets and bytes by direction: six numbers in base 128
//! ```
//!
//! The shape also has the timer class (bits 0 to 2) and the filtering type (bits 3 and 4).

use tandem_engine::program::NONE;
use tandem_engine::replica::{CARRIED_FLAGS, SessionKey, SessionRecord};
use tandem_engine::session::{FLAG_FREE_STANDING, Key66, Tuple4};
use tandem_engine::tcp_state::TimerClass;
use tandem_engine::ticks::Ticks;

use super::Dictionary;
use super::octets::{Reader, WireError, put_number};

const TIMER_BITS: u8 = 0b111;
const FILTERING_SHIFT: u32 = 3;
const FILTERING_MAX: u8 = 3;
const SAME_FAR_END: u8 = 1 << 5;
const STATE_MAX: u8 = 9;
const TIMER_MAX: u8 = TimerClass::COUNT as u8 - 1;

/// What kind of ends a record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    V4,
    Nat64,
    V6,
}

impl Ends {
    pub(super) const fn of(key: &SessionKey) -> Self {
        match key {
            SessionKey::V4 { .. } => Self::V4,
            SessionKey::Nat64 { .. } => Self::Nat64,
            SessionKey::V6(_) => Self::V6,
        }
    }
}

fn put_tuple(tuple: &Tuple4, out: &mut Vec<u8>) {
    let mut octets = [0; 12];
    octets[..4].copy_from_slice(&tuple.src.to_be_bytes());
    octets[4..8].copy_from_slice(&tuple.dst.to_be_bytes());
    octets[8..10].copy_from_slice(&tuple.sport.to_be_bytes());
    octets[10..].copy_from_slice(&tuple.dport.to_be_bytes());
    out.extend_from_slice(&octets);
}

fn tuple(from: &mut Reader<'_>) -> Result<Tuple4, WireError> {
    Ok(Tuple4 {
        src: from.u32("source address")?,
        dst: from.u32("destination address")?,
        sport: from.u16("source port")?,
        dport: from.u16("destination port")?,
    })
}

fn same_far_end(out: &Tuple4, back: &Tuple4) -> bool {
    (out.dst, out.dport) == (back.src, back.sport)
}

/// Ends, with the service set and the protocol they are ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub key: SessionKey,
    pub service_set: u16,
    pub protocol: u8,
}

/// Appends ends; `None`, and nothing appended, when the dictionary lacks one of them.
pub(super) fn put_named(named: &Named, shape: u8, words: &Dictionary, out: &mut Vec<u8>) -> Option<()> {
    let set = words.set_number(named.service_set)?;
    let prefix = match &named.key {
        SessionKey::Nat64 { prefix, .. } => words.prefix_number(*prefix)?,
        _ => NONE,
    };
    out.extend_from_slice(&set.to_be_bytes());
    out.push(named.protocol);
    match &named.key {
        SessionKey::V4 { out: ahead, back } => {
            let same = same_far_end(ahead, back);
            out.push(if same { shape | SAME_FAR_END } else { shape });
            put_tuple(ahead, out);
            if same {
                out.extend_from_slice(&back.dst.to_be_bytes());
                out.extend_from_slice(&back.dport.to_be_bytes());
            } else {
                put_tuple(back, out);
            }
        }
        SessionKey::Nat64 {
            inside,
            inside_port,
            outside_port,
            back,
            ..
        } => {
            out.push(shape);
            out.extend_from_slice(&inside.to_be_bytes());
            out.extend_from_slice(&inside_port.to_be_bytes());
            out.extend_from_slice(&outside_port.to_be_bytes());
            out.extend_from_slice(&prefix.to_be_bytes());
            put_tuple(back, out);
        }
        SessionKey::V6(key) => {
            out.push(shape);
            out.extend_from_slice(&key.inside.to_be_bytes());
            out.extend_from_slice(&key.outside.to_be_bytes());
            out.extend_from_slice(&key.inside_port.to_be_bytes());
            out.extend_from_slice(&key.outside_port.to_be_bytes());
        }
    }
    Some(())
}

/// Reads ends, and the shape.
pub(super) fn named(ends: Ends, words: &Dictionary, from: &mut Reader<'_>) -> Result<(Named, u8), WireError> {
    let number = from.u16("service set")?;
    let service_set = words.set_id(number).ok_or(WireError::Unknown {
        kind: "service set",
        number,
    })?;
    let protocol = from.u8("protocol")?;
    let shape = from.u8("shape")?;
    let key = match ends {
        Ends::V4 => {
            let out = tuple(from)?;
            let back = if shape & SAME_FAR_END == 0 {
                tuple(from)?
            } else {
                Tuple4 {
                    src: out.dst,
                    dst: from.u32("public address")?,
                    sport: out.dport,
                    dport: from.u16("public port")?,
                }
            };
            SessionKey::V4 { out, back }
        }
        Ends::Nat64 => {
            let inside = from.u128("inside address")?;
            let (inside_port, outside_port) = (from.u16("inside port")?, from.u16("outside port")?);
            let number = from.u16("prefix")?;
            SessionKey::Nat64 {
                inside,
                inside_port,
                outside_port,
                prefix: words.prefix_id(number).ok_or(WireError::Unknown {
                    kind: "NAT64 prefix",
                    number,
                })?,
                back: tuple(from)?,
            }
        }
        Ends::V6 => SessionKey::V6(Key66 {
            inside: from.u128("inside address")?,
            outside: from.u128("outside address")?,
            inside_port: from.u16("inside port")?,
            outside_port: from.u16("outside port")?,
        }),
    };
    let named = Named {
        key,
        service_set,
        protocol,
    };
    Ok((named, shape))
}

/// Appends a session; `None`, with what is appended meaning nothing, when the dictionary lacks something of it.
pub(super) fn put_session(
    session: &SessionRecord,
    words: &Dictionary,
    now: Ticks,
    out: &mut Vec<u8>,
) -> Option<()> {
    let pool = match words.pool_number(session.pool) {
        Some(number) => number,
        // It has no port of a pool's: the other chassis can do without.
        None if session.pool == NONE || session.flags & FLAG_FREE_STANDING != 0 => NONE,
        None => return None,
    };
    // A policy that is gone since has only its counters to lose.
    let policy = words.policy_number(session.policy).unwrap_or(NONE);
    let shape = session.timer.min(TIMER_MAX) | session.filtering.min(FILTERING_MAX) << FILTERING_SHIFT;
    let named = Named {
        key: session.key,
        service_set: session.service_set,
        protocol: session.protocol,
    };
    put_named(&named, shape, words, out)?;
    out.push(session.state.min(STATE_MAX));
    for word in [session.flags & CARRIED_FLAGS, session.term, policy, pool] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.push(session.mapping_prefix);
    for at in [session.created, session.last_seen] {
        put_number(out, now.since(at).0.into());
    }
    for count in session.packets.into_iter().chain(session.bytes) {
        put_number(out, count);
    }
    Some(())
}

/// Reads a session; its times are as long before `now` as they were old.
pub(super) fn session(
    ends: Ends,
    words: &Dictionary,
    now: Ticks,
    from: &mut Reader<'_>,
) -> Result<SessionRecord, WireError> {
    let (named, shape) = named(ends, words, from)?;
    let timer = shape & TIMER_BITS;
    if timer > TIMER_MAX {
        return Err(WireError::Value {
            field: "timer class",
            value: timer.into(),
        });
    }
    let state = from.u8_to(STATE_MAX, "TCP state")?;
    let flags = from.u16("flags")? & CARRIED_FLAGS;
    let term = from.u16("term")?;
    let policy = optional(from.u16("policy")?, "policy", |n| words.policy_id(n))?;
    let pool = optional(from.u16("pool")?, "pool", |n| words.pool_id(n))?;
    let mapping_prefix = from.u8("mapping's prefix")?;
    let mut before = |field| Ok(Ticks(now.0.saturating_sub(from.number32(field)?)));
    let (created, last_seen) = (before("age")?, before("idle time")?);
    let mut pair = |field| Ok([from.number(field)?, from.number(field)?]);
    Ok(SessionRecord {
        key: named.key,
        service_set: named.service_set,
        protocol: named.protocol,
        state,
        timer,
        filtering: shape >> FILTERING_SHIFT & FILTERING_MAX,
        flags,
        term,
        policy,
        pool,
        mapping_prefix,
        created,
        last_seen,
        packets: pair("packets")?,
        bytes: pair("bytes")?,
    })
}

/// A number that may be [`NONE`], as an id.
pub(super) fn optional(
    number: u16,
    kind: &'static str,
    id: impl Fn(u16) -> Option<u16>,
) -> Result<u16, WireError> {
    if number == NONE {
        return Ok(NONE);
    }
    id(number).ok_or(WireError::Unknown { kind, number })
}
