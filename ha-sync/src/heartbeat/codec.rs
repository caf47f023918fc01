//! Heartbeats as octets, each with an HMAC-SHA256 behind it. The layout is in `docs/heartbeats.md`.
//!
//! Nothing of a datagram is looked at before its code is right, but for length, magic and version.

use std::net::IpAddr;

use ring::hmac;

use super::beat::{Beat, BeatTiming, Kind, PathId, SETS_MAX, SetBeat, SetState};
use super::key::FileKey;
use crate::chassis::REDUNDANCY_SETS_MAX;
use crate::wire::{Reader, WireError};

const MAGIC: [u8; 4] = *b"TdHb";
/// The version that every release understands: nothing is said in another one before the peer is known to.
pub const BEAT_VERSION_OLDEST: u8 = 1;
/// The newest of this release. Since 2 parts follow the sets: type 1, length 1, body; unknown ones are skipped.
pub const BEAT_VERSION: u8 = 2;
/// The part that names the versions that the sender speaks: the lowest 1, the highest 1.
const PART_VERSIONS: u8 = 1;
/// The part that names the sets of which the receiver is warned: their numbers, ascending, 1 each. It is there when there are any.
const PART_WARNINGS: u8 = 2;
/// Octets of all parts, at most.
const PARTS_LEN_MAX: usize = 192;
/// Octets before the sets.
const HEADER_LEN: usize = 64;
/// Octets of a set.
const SET_LEN: usize = 14;
/// Octets of the code.
const MAC_LEN: usize = 32;
/// Octets of a datagram, at least.
const DATAGRAM_LEN_MIN: usize = HEADER_LEN + MAC_LEN;
/// Octets of a datagram, at most.
pub const DATAGRAM_LEN_MAX: usize = HEADER_LEN + SETS_MAX * SET_LEN + PARTS_LEN_MAX + MAC_LEN;

/// Fits into every path's MTU, also in tunnels over IPv6's smallest (RFC 8200 section 5).
const _: () = assert!(DATAGRAM_LEN_MAX <= 1200);

const PRIMARY: u8 = 1;
const COMPLETE: u8 = 2;
const WARNED: u8 = 4;
const ELIGIBLE: u8 = 8;

/// Why a datagram is no heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BeatError {
    /// Shorter or longer than any heartbeat.
    #[error("{0} octets")]
    Length(usize),
    /// Begins otherwise.
    #[error("not a heartbeat")]
    Magic,
    /// Of a version that this end does not speak.
    #[error("version {theirs}, and this chassis speaks {BEAT_VERSION_OLDEST} to {highest}")]
    Version {
        /// The datagram's.
        theirs: u8,
        /// The highest that is spoken here.
        highest: u8,
    },
    /// Not made with this key for this pair and direction, or damaged.
    #[error("wrong authentication code")]
    Mac,
    /// Authentic, but a field means nothing here.
    #[error(transparent)]
    Field(#[from] WireError),
}

/// Encodes what this chassis says, decodes what the other one does.
#[derive(Clone, Debug)]
pub struct Codec {
    ours: hmac::Key,
    theirs: hmac::Key,
    highest: u8,
}

impl Codec {
    /// For the chassis with these redundancy addresses. Each direction has a key of its own, so that nobody can be answered with what he said
    /// himself, and each pair of chassis, so that several may share a file.
    #[must_use]
    pub fn new(key: &FileKey, local: IpAddr, peer: IpAddr) -> Self {
        Self {
            ours: key.derive(local, peer),
            theirs: key.derive(peer, local),
            highest: BEAT_VERSION,
        }
    }

    /// The same, and no higher version than this one is spoken; within those of this release.
    #[must_use]
    pub fn speaking(self, highest: u8) -> Self {
        Self {
            highest: highest.clamp(BEAT_VERSION_OLDEST, BEAT_VERSION),
            ..self
        }
    }

    /// The highest version that is spoken.
    #[must_use]
    pub const fn highest(&self) -> u8 {
        self.highest
    }

    /// A heartbeat as a datagram that every release understands. Of more than [`SETS_MAX`] sets the first are told.
    #[must_use]
    pub fn encode(&self, beat: &Beat) -> Vec<u8> {
        self.encode_as(beat, BEAT_VERSION_OLDEST)
    }

    /// The same in a version, which is one that is spoken here.
    #[must_use]
    pub fn encode_as(&self, beat: &Beat, version: u8) -> Vec<u8> {
        let version = version.clamp(BEAT_VERSION_OLDEST, self.highest);
        let mut out = Vec::with_capacity(DATAGRAM_LEN_MAX);
        let sets = beat.sets.get(..SETS_MAX).unwrap_or(&beat.sets);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[version, number_of(beat.kind), beat.path.number(), 0]);
        for number in [
            beat.incarnation,
            beat.echo_incarnation,
            beat.sequence,
            beat.sent_us,
            beat.echoed_us,
        ] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&beat.held_us.to_be_bytes());
        out.extend_from_slice(&beat.wall_us.to_be_bytes());
        out.extend_from_slice(&beat.timing.interval_ms.to_be_bytes());
        out.extend_from_slice(&[beat.timing.lost_threshold, sets.len() as u8]);
        for set in sets {
            put_set(&mut out, set);
        }
        if version > BEAT_VERSION_OLDEST {
            out.extend_from_slice(&[PART_VERSIONS, 2, BEAT_VERSION_OLDEST, self.highest]);
            put_warnings(&mut out, sets);
        }
        let code = hmac::sign(&self.ours, &out);
        out.extend_from_slice(code.as_ref());
        out
    }

    /// Reads a datagram of the other chassis.
    ///
    /// # Errors
    /// When it is none, or not authentic.
    pub fn decode(&self, datagram: &[u8]) -> Result<Beat, BeatError> {
        self.read(datagram).map(|(beat, _)| beat)
    }

    /// The same, and the highest version that its sender says it speaks, if it says so.
    ///
    /// # Errors
    /// When it is none, or not authentic.
    pub fn read(&self, datagram: &[u8]) -> Result<(Beat, Option<u8>), BeatError> {
        if !(DATAGRAM_LEN_MIN..=DATAGRAM_LEN_MAX).contains(&datagram.len()) {
            return Err(BeatError::Length(datagram.len()));
        }
        let (said, code) = datagram
            .split_last_chunk::<MAC_LEN>()
            .ok_or(BeatError::Length(datagram.len()))?;
        let rest = said.strip_prefix(&MAGIC).ok_or(BeatError::Magic)?;
        let mut reader = Reader(rest);
        let version = reader.u8("version")?;
        if !(BEAT_VERSION_OLDEST..=self.highest).contains(&version) {
            return Err(BeatError::Version {
                theirs: version,
                highest: self.highest,
            });
        }
        hmac::verify(&self.theirs, said, code).map_err(|_| BeatError::Mac)?;
        let mut beat = fields(&mut reader)?;
        if version == BEAT_VERSION_OLDEST {
            let is_all = reader.0.is_empty();
            return is_all
                .then_some((beat, None))
                .ok_or(BeatError::Length(datagram.len()));
        }
        let highest = parts(&mut reader, &mut beat.sets)?;
        Ok((beat, highest))
    }
}

/// What the parts say of sets; and the highest version that they name, if they do.
fn parts(reader: &mut Reader<'_>, sets: &mut [SetBeat]) -> Result<Option<u8>, WireError> {
    let mut highest = None;
    while !reader.0.is_empty() {
        let part = reader.u8("part")?;
        let length = reader.u8("length of a part")?;
        let mut body = Reader(reader.take(length.into(), "part")?);
        match part {
            PART_VERSIONS => {
                body.u8("lowest version")?;
                highest = Some(body.u8("highest version")?);
            }
            PART_WARNINGS => {
                for set in sets.iter_mut() {
                    set.broadcasts = body.0.contains(&set.set);
                }
            }
            _ => {}
        }
    }
    Ok(highest)
}

fn put_warnings(out: &mut Vec<u8>, sets: &[SetBeat]) {
    let numbers = sets.iter().filter(|set| set.broadcasts).map(|set| set.set);
    let numbers: Vec<u8> = numbers.collect();
    if !numbers.is_empty() {
        out.extend_from_slice(&[PART_WARNINGS, numbers.len() as u8]);
        out.extend_from_slice(&numbers);
    }
}

fn number_of(kind: Kind) -> u8 {
    match kind {
        Kind::Beat => 1,
        Kind::Gone => 2,
        Kind::Leaving => 3,
    }
}

fn put_set(out: &mut Vec<u8>, set: &SetBeat) {
    let flags = [
        (set.primary, PRIMARY),
        (set.complete, COMPLETE),
        (set.warned, WARNED),
        (set.eligible, ELIGIBLE),
    ];
    let flags = flags.iter().map(|(is, bit)| if *is { *bit } else { 0 }).sum();
    out.extend_from_slice(&[set.set, set.state as u8]);
    out.extend_from_slice(&set.epoch.to_be_bytes());
    out.push(set.priority);
    out.extend_from_slice(&set.failed_weight.to_be_bytes());
    out.push(flags);
}

fn no(field: &'static str, value: u64) -> WireError {
    WireError::Value { field, value }
}

/// What is between version and code.
fn fields(reader: &mut Reader<'_>) -> Result<Beat, WireError> {
    let kind = match reader.u8("kind")? {
        1 => Kind::Beat,
        2 => Kind::Gone,
        3 => Kind::Leaving,
        other => return Err(no("kind of heartbeat", other.into())),
    };
    let path = reader.u8("path")?;
    let path = PathId::from_number(path).ok_or(no("path", path.into()))?;
    reader.u8_to(0, "reserved octet")?;
    let incarnation = reader.u64("incarnation")?;
    let echo_incarnation = reader.u64("echoed incarnation")?;
    let sequence = reader.u64("sequence")?;
    let sent_us = reader.u64("time of sending")?;
    // The guard has neither the dead process' numbers nor its clock.
    let is_numbered = sequence != 0 && sent_us != 0;
    if incarnation == 0 {
        return Err(no("incarnation", 0));
    }
    if !is_numbered && kind != Kind::Gone {
        return Err(no("sequence or time of sending", 0));
    }
    let echoed_us = reader.u64("echoed time")?;
    let held_us = reader.u32("held")?;
    let wall_us = reader.u64("wall clock")?;
    let timing = BeatTiming {
        interval_ms: reader.u16("interval")?,
        lost_threshold: reader.u8("lost threshold")?,
    };
    if !timing.is_valid() {
        return Err(no("timing", timing.lost_after_ms().into()));
    }
    let count = reader.u8_to(SETS_MAX as u8, "count of sets")?;
    let sets = (0..count)
        .map(|_| read_set(reader))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(pair) = sets
        .windows(2)
        .find(|pair| matches!(pair, [a, b] if a.set >= b.set))
    {
        return Err(no("ascending set", pair.last().map_or(0, |set| set.set.into())));
    }
    Ok(Beat {
        kind,
        path,
        incarnation,
        echo_incarnation,
        sequence,
        sent_us,
        echoed_us,
        held_us,
        wall_us,
        timing,
        sets,
    })
}

fn read_set(reader: &mut Reader<'_>) -> Result<SetBeat, WireError> {
    let set = reader.u8_to(REDUNDANCY_SETS_MAX, "set")?;
    if set == 0 {
        return Err(no("set", 0));
    }
    let state = reader.u8("state")?;
    let state = *SetState::ALL
        .get(usize::from(state))
        .ok_or(no("state of a set", state.into()))?;
    let epoch = reader.u64("epoch")?;
    let priority = reader.u8_to(254, "priority")?;
    if priority == 0 {
        return Err(no("priority", 0));
    }
    let failed_weight = reader.u16("failed weight")?;
    let flags = reader.u8_to(PRIMARY | COMPLETE | WARNED | ELIGIBLE, "flags of a set")?;
    Ok(SetBeat {
        set,
        state,
        primary: flags & PRIMARY != 0,
        complete: flags & COMPLETE != 0,
        warned: flags & WARNED != 0,
        // A part may say so.
        broadcasts: false,
        eligible: flags & ELIGIBLE != 0,
        epoch,
        priority,
        failed_weight,
    })
}
