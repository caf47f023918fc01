//! Records: one thing that happened each, as octets and back.

use tandem_engine::replica::{BlockRecord, ExtentRecord, Lease, LeaseChange, MappingRecord, ObjectTypes, Op};
use tandem_engine::ticks::Ticks;
use tandem_engine::{address, public_space::EXTENTS_PER_ADDRESS};

use super::octets::{Reader, WireError, put_number};
use super::session::{self, Ends, Named};
use super::{Dictionary, VERSION_OBJECT_TYPES, VERSION_RESTS};
use crate::chassis::{REDUNDANCY_SETS_MAX, Sets};
use crate::link::Objects;

/// Octets of the longest record this build writes, its length and type included.
pub const RECORD_LEN_MAX: usize = 2 + 255;

const SESSION_V4: u8 = 1;
const SESSION_NAT64: u8 = 2;
const SESSION_V6: u8 = 3;
const CLOSE_V4: u8 = 4;
const CLOSE_NAT64: u8 = 5;
const CLOSE_V6: u8 = 6;
const MAPPING: u8 = 7;
const MAPPING_CLOSE: u8 = 8;
const BLOCK: u8 = 9;
const BLOCK_CLOSE: u8 = 10;
const EXTENT: u8 = 11;
const EXTENT_CLOSE: u8 = 12;
const BULK_BEGIN: u8 = 13;
const BULK_END: u8 = 14;
const LEASE_OFFER: u8 = 15;
const LEASE_WITHDRAW: u8 = 16;
/// Types from here on are about redundancy sets, save the last.
const RELEASE_ASKED: u8 = 128;
const RELEASED: u8 = 129;
const RELEASE_REFUSED: u8 = 130;
const RESYNC_ASKED: u8 = 131;
/// Beside the types of objects: the bulk that begins is to say that it answers; it does.
const ANSWER: u8 = 8;

/// One record of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// `Session` to `ExtentClose` of the engine's operations.
    Op(Op),
    /// An offer or a withdrawal of a lease.
    Lease(LeaseChange),
    /// A bulk of these types of objects begins; whether it answers a request that wants to know.
    BulkBegin(u16, ObjectTypes, bool),
    /// A bulk is complete, and so many objects were told since it began.
    BulkEnd {
        /// Its number.
        number: u16,
        /// What was told.
        objects: Objects,
        /// The redundancy sets it covers: the teller was their primary from its begin to its end.
        covers: Sets,
    },
    /// Please release this redundancy set.
    ReleaseAsked(u8),
    /// It is released; all there was to tell of it came before.
    Released {
        /// The set.
        set: u8,
        /// The epoch of the role change.
        epoch: u64,
    },
    /// It will not be released.
    ReleaseRefused(u8),
    /// Please tell everything of these types anew; whether the bulk is to say that it answers.
    ResyncAsked(ObjectTypes, bool),
}

impl Record {
    /// Whether it is about redundancy sets alone, and so can be read whatever the configuration.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        matches!(
            self,
            Self::ReleaseAsked(_) | Self::Released { .. } | Self::ReleaseRefused(_)
        )
    }
}

/// Whether records of a type are such as [`Record::is_control`] says.
#[must_use]
pub const fn is_control(record_type: u8) -> bool {
    matches!(record_type, RELEASE_ASKED | RELEASED | RELEASE_REFUSED)
}

/// How records are written and read.
#[derive(Clone, Copy, Debug)]
pub struct Style<'a> {
    /// What ids are called.
    pub words: &'a Dictionary,
    /// The wire version that both ends speak.
    pub version: u16,
    /// What ages count from.
    pub now: Ticks,
}

/// Appends a record. False, and nothing appended: the dictionary lacks something of it, or the operation is not one for a peer.
pub fn encode(record: &Record, style: Style<'_>, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.extend_from_slice(&[0, 0]);
    let record_type = body(record, style, out);
    let length = u8::try_from(out.len() - start - 2).ok();
    match (record_type, length, out.get_mut(start..start + 2)) {
        (Some(record_type), Some(length), Some(head)) => {
            head.copy_from_slice(&[length, record_type]);
            true
        }
        _ => {
            out.truncate(start);
            false
        }
    }
}

fn body(record: &Record, style: Style<'_>, out: &mut Vec<u8>) -> Option<u8> {
    Some(match record {
        Record::Op(op) => return op_body(op, style, out),
        Record::Lease(change) => {
            let (record_type, lease, until) = match change {
                LeaseChange::Offer(lease) => (LEASE_OFFER, lease, Ticks::ZERO),
                LeaseChange::Resting(lease, until) => (LEASE_OFFER, lease, *until),
                LeaseChange::Withdraw(lease) => (LEASE_WITHDRAW, lease, Ticks::ZERO),
            };
            out.extend_from_slice(&lease.public.to_be_bytes());
            out.push(lease.extent);
            if record_type == LEASE_OFFER {
                put_rest(until, style, out);
            }
            record_type
        }
        Record::BulkBegin(number, types, answers) => {
            out.extend_from_slice(&number.to_be_bytes());
            put_types(*types, *answers, style, out);
            BULK_BEGIN
        }
        Record::BulkEnd {
            number,
            objects,
            covers,
        } => {
            out.extend_from_slice(&number.to_be_bytes());
            for count in [
                objects.sessions,
                objects.mappings,
                objects.blocks,
                objects.extents,
            ] {
                put_number(out, count);
            }
            out.extend_from_slice(&covers.bits().to_be_bytes());
            BULK_END
        }
        Record::ReleaseAsked(set) => {
            out.push(*set);
            RELEASE_ASKED
        }
        Record::Released { set, epoch } => {
            out.push(*set);
            out.extend_from_slice(&epoch.to_be_bytes());
            RELEASED
        }
        Record::ReleaseRefused(set) => {
            out.push(*set);
            RELEASE_REFUSED
        }
        Record::ResyncAsked(types, answer) => {
            put_types(*types, *answer, style, out);
            RESYNC_ASKED
        }
    })
}

/// Of an older peer all is meant.
fn put_types(types: ObjectTypes, answer: bool, style: Style<'_>, out: &mut Vec<u8>) {
    if style.version >= VERSION_OBJECT_TYPES {
        out.push(types.bits() | if answer { ANSWER } else { 0 });
    }
}

fn op_body(op: &Op, style: Style<'_>, out: &mut Vec<u8>) -> Option<u8> {
    let Style { words, now, .. } = style;
    Some(match op {
        Op::Session(record) => {
            session::put_session(record, words, now, out)?;
            match Ends::of(&record.key) {
                Ends::V4 => SESSION_V4,
                Ends::Nat64 => SESSION_NAT64,
                Ends::V6 => SESSION_V6,
            }
        }
        Op::Close {
            key,
            service_set,
            protocol,
        } => {
            let named = Named {
                key: *key,
                service_set: *service_set,
                protocol: *protocol,
            };
            session::put_named(&named, 0, words, out)?;
            match Ends::of(key) {
                Ends::V4 => CLOSE_V4,
                Ends::Nat64 => CLOSE_NAT64,
                Ends::V6 => CLOSE_V6,
            }
        }
        Op::Mapping(record) => put_mapping(record, words, out).map(|()| MAPPING)?,
        Op::MappingClose(record) => put_mapping(record, words, out).map(|()| MAPPING_CLOSE)?,
        Op::Block(record) => put_block(record, words, now, out).map(|()| BLOCK)?,
        Op::BlockClose(record) => put_block(record, words, now, out).map(|()| BLOCK_CLOSE)?,
        Op::Extent(record) => put_extent(record, style, out).map(|()| EXTENT)?,
        Op::ExtentClose(record) => put_extent(record, style, out).map(|()| EXTENT_CLOSE)?,
        Op::BulkBegin(..)
        | Op::BulkEnd(_)
        | Op::Covers(_)
        | Op::Lost
        | Op::Mark(_)
        | Op::Refused
        | Op::Lacks(_)
        | Op::Offer { .. }
        | Op::PassOver { .. }
        | Op::Merges(_)
        | Op::Merged { .. }
        | Op::MergeEnd(_)
        | Op::HoldsUnknown
        | Op::Bulk(..)
        | Op::Listen(_)
        | Op::Drain { .. }
        | Op::Role { .. }
        | Op::RoleDone { .. } => return None,
    })
}

/// An inside address: 4 octets of IPv4 or 16, after one that says how many.
fn put_inside(inside: u128, out: &mut Vec<u8>) {
    match address::v4(inside) {
        Some(v4) => {
            out.push(4);
            out.extend_from_slice(&v4.to_be_bytes());
        }
        None => {
            out.push(6);
            out.extend_from_slice(&inside.to_be_bytes());
        }
    }
}

fn inside(from: &mut Reader<'_>) -> Result<u128, WireError> {
    match from.u8("address family")? {
        4 => from.u32("inside address").map(address::of_v4),
        6 => from.u128("inside address"),
        other => Err(WireError::Value {
            field: "address family",
            value: other.into(),
        }),
    }
}

fn put_mapping(record: &MappingRecord, words: &Dictionary, out: &mut Vec<u8>) -> Option<()> {
    let set = words.set_number(record.service_set)?;
    let pool = words.pool_number(record.pool)?;
    out.extend_from_slice(&set.to_be_bytes());
    out.extend_from_slice(&pool.to_be_bytes());
    put_inside(record.inside, out);
    out.extend_from_slice(&record.inside_port.to_be_bytes());
    out.extend_from_slice(&record.public.to_be_bytes());
    out.extend_from_slice(&record.public_port.to_be_bytes());
    out.extend_from_slice(&[record.protocol, record.filtering, record.prefix]);
    Some(())
}

fn mapping(from: &mut Reader<'_>, words: &Dictionary) -> Result<MappingRecord, WireError> {
    let (service_set, pool) = (set_id(from, words)?, pool_id(from, words)?);
    Ok(MappingRecord {
        service_set,
        pool,
        inside: inside(from)?,
        inside_port: from.u16("inside port")?,
        public: from.u32("public address")?,
        public_port: from.u16("public port")?,
        protocol: from.u8("protocol")?,
        filtering: from.u8_to(3, "filtering type")?,
        prefix: from.u8("mapping's prefix")?,
    })
}

fn put_block(record: &BlockRecord, words: &Dictionary, now: Ticks, out: &mut Vec<u8>) -> Option<()> {
    let set = words.set_number(record.service_set)?;
    let pool = words.pool_number(record.pool)?;
    out.extend_from_slice(&set.to_be_bytes());
    out.extend_from_slice(&pool.to_be_bytes());
    put_inside(record.subscriber, out);
    out.extend_from_slice(&record.public.to_be_bytes());
    out.extend_from_slice(&record.first_port.to_be_bytes());
    out.extend_from_slice(&record.size.to_be_bytes());
    put_number(out, now.since(record.created).0.into());
    Some(())
}

fn block(from: &mut Reader<'_>, words: &Dictionary, now: Ticks) -> Result<BlockRecord, WireError> {
    let (service_set, pool) = (set_id(from, words)?, pool_id(from, words)?);
    Ok(BlockRecord {
        service_set,
        pool,
        subscriber: inside(from)?,
        public: from.u32("public address")?,
        first_port: from.u16("first port")?,
        size: from.u16("block size")?,
        created: Ticks(now.0.saturating_sub(from.number32("age")?)),
    })
}

fn put_extent(record: &ExtentRecord, style: Style<'_>, out: &mut Vec<u8>) -> Option<()> {
    let pool = style.words.pool_number(record.pool)?;
    out.extend_from_slice(&pool.to_be_bytes());
    out.extend_from_slice(&record.public.to_be_bytes());
    out.extend_from_slice(&[record.extent, record.shard]);
    put_rest(record.held_until, style, out);
    Some(())
}

/// What is left of a rest, in ticks: 1 at least, since 0 is none.
fn put_rest(until: Ticks, style: Style<'_>, out: &mut Vec<u8>) {
    if style.version >= VERSION_RESTS {
        let left = match until {
            Ticks::ZERO => 0,
            until => until.since(style.now).0.max(1),
        };
        put_number(out, left.into());
    }
}

/// Until when something rests; zero: it does not, or older peers do not say.
fn rest(from: &mut Reader<'_>, style: Style<'_>) -> Result<Ticks, WireError> {
    if style.version < VERSION_RESTS {
        return Ok(Ticks::ZERO);
    }
    let left = from.number32("rest")?;
    Ok(if left == 0 {
        Ticks::ZERO
    } else {
        Ticks(style.now.0.saturating_add(left))
    })
}

fn extent(from: &mut Reader<'_>, style: Style<'_>) -> Result<ExtentRecord, WireError> {
    Ok(ExtentRecord {
        pool: pool_id(from, style.words)?,
        public: from.u32("public address")?,
        extent: extent_number(from)?,
        shard: from.u8("shard")?,
        held_until: rest(from, style)?,
    })
}

fn extent_number(from: &mut Reader<'_>) -> Result<u8, WireError> {
    from.u8_to(EXTENTS_PER_ADDRESS as u8 - 1, "extent")
}

/// Types of objects, and whether a bulk is to say that it answers, or does; all types and no where an older peer says nothing.
fn object_types(from: &mut Reader<'_>, style: Style<'_>) -> Result<(ObjectTypes, bool), WireError> {
    if style.version < VERSION_OBJECT_TYPES {
        return Ok((ObjectTypes::ALL, false));
    }
    let bits = from.u8("types of objects")?;
    Ok((ObjectTypes::from_bits(bits), bits & ANSWER != 0))
}

fn set_id(from: &mut Reader<'_>, words: &Dictionary) -> Result<u16, WireError> {
    let number = from.u16("service set")?;
    words.set_id(number).ok_or(WireError::Unknown {
        kind: "service set",
        number,
    })
}

fn pool_id(from: &mut Reader<'_>, words: &Dictionary) -> Result<u16, WireError> {
    let number = from.u16("pool")?;
    words
        .pool_id(number)
        .ok_or(WireError::Unknown { kind: "pool", number })
}

fn redundancy_set(from: &mut Reader<'_>) -> Result<u8, WireError> {
    match from.u8_to(REDUNDANCY_SETS_MAX, "redundancy set")? {
        0 => Err(WireError::Value {
            field: "redundancy set",
            value: 0,
        }),
        set => Ok(set),
    }
}

/// Reads a record's body.
///
/// # Errors
/// [`WireError`].
pub fn decode(record_type: u8, body: &[u8], style: Style<'_>) -> Result<Record, WireError> {
    let Style { words, now, .. } = style;
    let from = &mut Reader(body);
    let close = |ends, from: &mut Reader<'_>| {
        session::named(ends, words, from).map(|(named, _)| Op::Close {
            key: named.key,
            service_set: named.service_set,
            protocol: named.protocol,
        })
    };
    Ok(match record_type {
        SESSION_V4 => Record::Op(Op::Session(session::session(Ends::V4, words, now, from)?)),
        SESSION_NAT64 => Record::Op(Op::Session(session::session(Ends::Nat64, words, now, from)?)),
        SESSION_V6 => Record::Op(Op::Session(session::session(Ends::V6, words, now, from)?)),
        CLOSE_V4 => Record::Op(close(Ends::V4, from)?),
        CLOSE_NAT64 => Record::Op(close(Ends::Nat64, from)?),
        CLOSE_V6 => Record::Op(close(Ends::V6, from)?),
        MAPPING => Record::Op(Op::Mapping(mapping(from, words)?)),
        MAPPING_CLOSE => Record::Op(Op::MappingClose(mapping(from, words)?)),
        BLOCK => Record::Op(Op::Block(block(from, words, now)?)),
        BLOCK_CLOSE => Record::Op(Op::BlockClose(block(from, words, now)?)),
        EXTENT => Record::Op(Op::Extent(extent(from, style)?)),
        EXTENT_CLOSE => Record::Op(Op::ExtentClose(extent(from, style)?)),
        BULK_BEGIN => {
            let number = from.u16("bulk's number")?;
            let (types, answers) = object_types(from, style)?;
            Record::BulkBegin(number, types, answers)
        }
        BULK_END => Record::BulkEnd {
            number: from.u16("bulk's number")?,
            objects: Objects {
                sessions: from.number("sessions")?,
                mappings: from.number("mappings")?,
                blocks: from.number("blocks")?,
                extents: from.number("extents")?,
            },
            covers: Sets::from_bits(from.u128("redundancy sets")?),
        },
        LEASE_OFFER | LEASE_WITHDRAW => {
            let lease = Lease {
                public: from.u32("public address")?,
                extent: extent_number(from)?,
            };
            Record::Lease(if record_type == LEASE_WITHDRAW {
                LeaseChange::Withdraw(lease)
            } else {
                match rest(from, style)? {
                    Ticks::ZERO => LeaseChange::Offer(lease),
                    until => LeaseChange::Resting(lease, until),
                }
            })
        }
        RELEASE_ASKED => Record::ReleaseAsked(redundancy_set(from)?),
        RELEASED => Record::Released {
            set: redundancy_set(from)?,
            epoch: from.u64("epoch")?,
        },
        RELEASE_REFUSED => Record::ReleaseRefused(redundancy_set(from)?),
        RESYNC_ASKED => {
            let (types, answer) = object_types(from, style)?;
            Record::ResyncAsked(types, answer)
        }
        other => return Err(WireError::RecordType(other)),
    })
}
