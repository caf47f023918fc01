//! Reading frames from a byte stream that comes in pieces of any size.

use super::{CHECKED_LEN, HEADER_LEN, MAGIC, PAYLOAD_MAX, VERSION};

/// The stream is no stream of frames this build understands. It stays lost: see [`Decoder::next`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It does not begin with the magic: the other end is something else.
    #[error("not a replication peer: a frame begins with {0:02x?}")]
    Magic([u8; 4]),
    /// The peer speaks another version.
    #[error("the peer speaks version {theirs} of the replication format, this chassis {VERSION}")]
    Version {
        /// The peer's.
        theirs: u16,
    },
    /// The header was damaged.
    #[error("a frame's header is damaged: its checksum is {found:08x}, not {expected:08x}")]
    HeaderChecksum {
        /// Of the header that came.
        expected: u32,
        /// What came with it.
        found: u32,
    },
    /// The payload is longer than was agreed.
    #[error("a payload of {length} octets exceeds the {limit} that are accepted")]
    TooLong {
        /// What the header says.
        length: u32,
        /// The decoder's limit.
        limit: u32,
    },
    /// The payload was damaged.
    #[error(
        "the payload of a message of type {message_type} is damaged: its checksum is {found:08x}, not {expected:08x}"
    )]
    PayloadChecksum {
        /// The message's type.
        message_type: u16,
        /// Of the payload that came.
        expected: u32,
        /// What the header says.
        found: u32,
    },
    /// The stream ended inside a frame.
    #[error("the stream ended {missing} octets before the end of a frame, or of its header")]
    Truncated {
        /// Octets that were still to come, as far as that was known.
        missing: usize,
    },
}

/// A message of a type the receiver does not know: to be counted and skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Its type.
    pub message_type: u16,
    /// Octets of its payload.
    pub length: usize,
}

/// A whole frame with right checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Type number of its message.
    pub message_type: u16,
    /// The message.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// The type as the receiver's own.
    ///
    /// # Errors
    /// [`Unknown`] when that has no such type: skip the frame.
    pub fn message<T: TryFrom<u16>>(&self) -> Result<T, Unknown> {
        T::try_from(self.message_type).map_err(|_| Unknown {
            message_type: self.message_type,
            length: self.payload.len(),
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct Header {
    message_type: u16,
    length: u32,
    payload_checksum: u32,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The header is on its way.
    Header,
    /// The header is whole and right, the payload is on its way.
    Payload(Header),
    /// The frame was handed out; its place is free for the next.
    Done(Header),
    /// The stream is lost.
    Lost(FrameError),
}

/// Cuts a byte stream into frames. Its memory is one frame of the greatest accepted length, taken at the start; it never
/// takes more of a stream than the frame it is in.
#[derive(Debug)]
pub struct Decoder {
    buffer: Box<[u8]>,
    have: usize,
    state: State,
    limit: u32,
}

impl Decoder {
    /// A decoder that accepts payloads of up to `limit` octets (0..=[`PAYLOAD_MAX`]; more is taken for that).
    #[must_use]
    pub fn new(limit: u32) -> Self {
        let limit = limit.min(PAYLOAD_MAX);
        Self {
            buffer: vec![0; HEADER_LEN + limit as usize].into_boxed_slice(),
            have: 0,
            state: State::Header,
            limit,
        }
    }

    /// Takes octets from the front of `input` up to the end of the current frame, which is returned when it is complete.
    /// `None`: `input` is used up, and the frame goes on. Frames without payload and with one are treated alike, so call it
    /// until it says `None`.
    ///
    /// # Errors
    /// [`FrameError`], as soon as the octets so far show it, and the same again ever after, with no octet taken.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Frame<'_>>, FrameError> {
        match self.advance(input) {
            Ok(None) => Ok(None),
            Ok(Some(header)) => {
                self.state = State::Done(header);
                Ok(self.last())
            }
            Err(error) => {
                self.state = State::Lost(error);
                Err(error)
            }
        }
    }

    /// The frame that [`Decoder::next`] returned last, until it is called again: for those who need more than one go at it.
    #[must_use]
    pub fn last(&self) -> Option<Frame<'_>> {
        let State::Done(header) = self.state else {
            return None;
        };
        Some(Frame {
            message_type: header.message_type,
            payload: self.buffer.get(HEADER_LEN..self.have).unwrap_or(&[]),
        })
    }

    /// Says that the stream ended.
    ///
    /// # Errors
    /// [`FrameError::Truncated`] when that was inside a frame, or the error that ended it before.
    pub fn end(&self) -> Result<(), FrameError> {
        let whole = match self.state {
            State::Lost(error) => return Err(error),
            State::Done(_) => return Ok(()),
            State::Header if self.have == 0 => return Ok(()),
            State::Header => HEADER_LEN,
            State::Payload(header) => HEADER_LEN + header.length as usize,
        };
        Err(FrameError::Truncated {
            missing: whole.saturating_sub(self.have),
        })
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Header>, FrameError> {
        match self.state {
            State::Lost(error) => return Err(error),
            State::Done(_) => (self.have, self.state) = (0, State::Header),
            State::Header | State::Payload(_) => {}
        }
        if matches!(self.state, State::Header) {
            self.take(input, HEADER_LEN);
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            self.state = State::Payload(header);
        }
        let State::Payload(header) = self.state else {
            return Ok(None);
        };
        let whole = HEADER_LEN + header.length as usize;
        self.take(input, whole);
        if self.have < whole {
            return Ok(None);
        }
        let payload = self.buffer.get(HEADER_LEN..whole).unwrap_or(&[]);
        let expected = crc32fast::hash(payload);
        if expected != header.payload_checksum {
            return Err(FrameError::PayloadChecksum {
                message_type: header.message_type,
                expected,
                found: header.payload_checksum,
            });
        }
        Ok(Some(header))
    }

    /// Takes octets until there are `whole`, or no more.
    fn take(&mut self, input: &mut &[u8], whole: usize) {
        let count = whole.saturating_sub(self.have).min(input.len());
        let (taken, rest) = input.split_at(count);
        if let Some(place) = self.buffer.get_mut(self.have..self.have + count) {
            place.copy_from_slice(taken);
            self.have += count;
            *input = rest;
        }
    }

    /// The header, once it is whole; what is wrong with it, as soon as that can be seen.
    fn header(&self) -> Result<Option<Header>, FrameError> {
        let came = self.buffer.get(..self.have).unwrap_or(&[]);
        if came.iter().zip(MAGIC).any(|(came, magic)| *came != magic) {
            let mut magic = [0; 4];
            magic.iter_mut().zip(came).for_each(|(m, c)| *m = *c);
            return Err(FrameError::Magic(magic));
        }
        if let Some(&[_, _, _, _, high, low]) = came.first_chunk::<6>() {
            let theirs = u16::from_be_bytes([high, low]);
            if theirs != VERSION {
                return Err(FrameError::Version { theirs });
            }
        }
        let Some(header) = came.first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let word =
            |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (expected, found) = (crc32fast::hash(&header[..CHECKED_LEN]), word(CHECKED_LEN));
        if expected != found {
            return Err(FrameError::HeaderChecksum { expected, found });
        }
        let length = word(8);
        if length > self.limit {
            return Err(FrameError::TooLong {
                length,
                limit: self.limit,
            });
        }
        Ok(Some(Header {
            message_type: u16::from_be_bytes([header[6], header[7]]),
            length,
            payload_checksum: word(12),
        }))
    }
}
