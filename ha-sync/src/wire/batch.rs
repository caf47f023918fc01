//! A batch: records with a common place in the stream.
//!
//! ```text
//!   0        4          12         16      20      22                        each record
//!   +--------+----------+----------+-------+-------+------ - - -             +--------+------+------ - -
//!   | stream | sequence | identity |  age  | count | records                 | length | type | body
//!   +--------+----------+----------+-------+-------+------ - - -             +--------+------+------ - -
//! ```
//!
//! `identity` is a checksum of digest and dictionary with which the records were made: whoever has another cannot read them.
//! [`CONTROL_ONLY`] stands for none: such a batch has only records about redundancy sets. `age` is how long ago the records were
//! made, in milliseconds.

use super::octets::{Reader, WireError};

/// Octets before the records.
pub const BATCH_HEADER_LEN: usize = 22;
/// Identity of a batch that can be read whatever the configuration.
pub const CONTROL_ONLY: u32 = 0;

/// What is before the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The stream; grows by one whenever the sender begins anew.
    pub stream: u32,
    /// Number of the batch in the stream, from 1.
    pub sequence: u64,
    /// With which configuration it was made, or [`CONTROL_ONLY`].
    pub identity: u32,
    /// How long ago it was made, milliseconds.
    pub age_ms: u32,
    /// Records in it.
    pub count: u16,
}

impl BatchHeader {
    /// As octets.
    #[must_use]
    pub fn octets(&self) -> [u8; BATCH_HEADER_LEN] {
        let mut out = [0; BATCH_HEADER_LEN];
        out[..4].copy_from_slice(&self.stream.to_be_bytes());
        out[4..12].copy_from_slice(&self.sequence.to_be_bytes());
        out[12..16].copy_from_slice(&self.identity.to_be_bytes());
        out[16..20].copy_from_slice(&self.age_ms.to_be_bytes());
        out[20..].copy_from_slice(&self.count.to_be_bytes());
        out
    }

    /// Reads one, and the records after it.
    ///
    /// # Errors
    /// [`WireError::Short`].
    pub fn decode(payload: &[u8]) -> Result<(Self, Records<'_>), WireError> {
        let mut from = Reader(payload);
        let header = Self {
            stream: from.u32("stream")?,
            sequence: from.u64("sequence number")?,
            identity: from.u32("identity")?,
            age_ms: from.u32("age")?,
            count: from.u16("number of records")?,
        };
        let records = Records {
            from,
            left: header.count,
        };
        Ok((header, records))
    }
}

/// The records of a batch, each as its type and body.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    from: Reader<'a>,
    left: u16,
}

impl<'a> Records<'a> {
    /// The next record.
    ///
    /// # Errors
    /// [`WireError::Short`].
    pub fn next_record(&mut self) -> Result<Option<(u8, &'a [u8])>, WireError> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        let length = self.from.u8("record's length")?;
        let record_type = self.from.u8("record's type")?;
        let body = self.from.take(usize::from(length), "record")?;
        self.left = left;
        Ok(Some((record_type, body)))
    }
}
