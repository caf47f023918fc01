//! Messages beside batches.

use super::octets::{Reader, WireError};
use super::{VERSION_RESTS, Versions};
use crate::chassis::{REDUNDANCY_SETS_MAX, SetRole};

/// Types of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum MessageType {
    /// [`Hello`]: the first message, and again whenever what it says has changed.
    Hello = 1,
    /// A batch of records.
    Batch = 2,
    /// [`Ack`]: batches up to this one were taken.
    Ack = 3,
    /// [`Ack`] with the number of the first batch missing.
    Resend = 4,
    /// An [`Ack`], then the roles: said whenever a role has changed, and when there is nothing else to say.
    Keepalive = 5,
    /// A piece of a list of parts of the configuration: see [`super::parts_to`].
    Parts = 6,
    /// A piece of a question or an answer: see [`super::Exchange`].
    Exchange = 7,
}

impl TryFrom<u16> for MessageType {
    type Error = ();

    fn try_from(number: u16) -> Result<Self, ()> {
        Ok(match number {
            1 => Self::Hello,
            2 => Self::Batch,
            3 => Self::Ack,
            4 => Self::Resend,
            5 => Self::Keepalive,
            6 => Self::Parts,
            7 => Self::Exchange,
            _ => return Err(()),
        })
    }
}

const FLAG_REPLICATE: u8 = 1;
const FLAG_EXCHANGES: u8 = 2;
/// Flag: the sender takes what a chassis that was primary beside it offers.
const FLAG_MERGES: u8 = 4;

/// Who is there, and what it would work with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Wire versions that the sender speaks. One whose highest is below 2 does not say its lowest, which is 0.
    pub versions: Versions,
    /// Grows with every change within one stream: an older one that comes late is not news.
    pub revision: u32,
    /// The sender's incarnation.
    pub incarnation: u64,
    /// Incarnation of the receiver that the next two are about; 0: the sender knows nothing of it.
    pub peer_incarnation: u64,
    /// The receiver's stream of batches that the sender follows.
    pub stream: u32,
    /// Number of the last batch of it that the sender has taken.
    pub received: u64,
    /// Shards of the sender's engines.
    pub shards: u8,
    /// The sender replicates sessions.
    pub replicate: bool,
    /// The sender knows [`MessageType::Exchange`], and answers.
    pub exchanges: bool,
    /// The sender, as primary, takes what a chassis that was primary beside it and has yielded tells of its own.
    pub merges: bool,
    /// Digest of the sender's configuration.
    pub digest: [u8; 32],
    /// Checksum of the sender's dictionary.
    pub dictionary: u32,
    /// The sender's roles.
    pub roles: Vec<SetRole>,
}

impl Hello {
    /// Appends it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.versions.highest.to_be_bytes());
        out.extend_from_slice(&self.revision.to_be_bytes());
        out.extend_from_slice(&self.incarnation.to_be_bytes());
        out.extend_from_slice(&self.peer_incarnation.to_be_bytes());
        out.extend_from_slice(&self.stream.to_be_bytes());
        out.extend_from_slice(&self.received.to_be_bytes());
        out.push(self.shards);
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        let exchanges = flag(self.exchanges, FLAG_EXCHANGES);
        out.push(flag(self.replicate, FLAG_REPLICATE) | exchanges | flag(self.merges, FLAG_MERGES));
        out.extend_from_slice(&self.digest);
        out.extend_from_slice(&self.dictionary.to_be_bytes());
        roles_to(&self.roles, out);
        if self.versions.highest >= VERSION_RESTS {
            out.extend_from_slice(&self.versions.lowest.to_be_bytes());
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut from = Reader(payload);
        let mut hello = Self::read(&mut from)?;
        if hello.versions.highest >= VERSION_RESTS {
            hello.versions.lowest = from.u16("lowest wire version")?;
        }
        Ok(hello)
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let versions = Versions {
            highest: from.u16("wire version")?,
            lowest: 0,
        };
        let revision = from.u32("revision")?;
        let (incarnation, peer_incarnation) = (from.u64("incarnation")?, from.u64("peer's incarnation")?);
        let (stream, received) = (from.u32("stream")?, from.u64("sequence number")?);
        let (shards, flags) = (from.u8("shards")?, from.u8("flags")?);
        Ok(Self {
            versions,
            revision,
            incarnation,
            peer_incarnation,
            stream,
            received,
            shards,
            replicate: flags & FLAG_REPLICATE != 0,
            exchanges: flags & FLAG_EXCHANGES != 0,
            merges: flags & FLAG_MERGES != 0,
            digest: from.octets32("digest")?,
            dictionary: from.u32("dictionary")?,
            roles: read_roles(from)?,
        })
    }
}

/// A place in a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ack {
    /// The stream.
    pub stream: u32,
    /// A batch of it.
    pub sequence: u64,
    /// Revision of the receiver's hello that the sender goes by.
    pub revision: u32,
}

impl Ack {
    /// Appends it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.stream.to_be_bytes());
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.revision.to_be_bytes());
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut from = Reader(payload);
        Ok(Self {
            stream: from.u32("stream")?,
            sequence: from.u64("sequence number")?,
            revision: from.u32("revision")?,
        })
    }

    /// Octets of one.
    pub const LEN: usize = 16;
}

/// Appends roles: their number, then each in 10 octets.
pub fn roles_to(roles: &[SetRole], out: &mut Vec<u8>) {
    let count = roles.len().min(usize::from(REDUNDANCY_SETS_MAX));
    out.push(count as u8);
    for role in roles.iter().take(count) {
        out.push(role.set);
        out.push(u8::from(role.primary));
        out.extend_from_slice(&role.epoch.to_be_bytes());
    }
}

/// Reads roles.
///
/// # Errors
/// [`WireError`].
pub fn roles_from(payload: &[u8]) -> Result<Vec<SetRole>, WireError> {
    read_roles(&mut Reader(payload))
}

fn read_roles(from: &mut Reader<'_>) -> Result<Vec<SetRole>, WireError> {
    let count = from.u8_to(REDUNDANCY_SETS_MAX, "number of roles")?;
    let mut roles = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let set = from.u8_to(REDUNDANCY_SETS_MAX, "redundancy set")?;
        if set == 0 {
            return Err(WireError::Value {
                field: "redundancy set",
                value: 0,
            });
        }
        roles.push(SetRole {
            set,
            primary: from.u8_to(1, "role")? == 1,
            epoch: from.u64("epoch")?,
        });
    }
    Ok(roles)
}
