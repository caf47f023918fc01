//! The framing of rtnetlink: messages in a datagram, attributes in a message, and a builder for requests.
//!
//! Written here rather than taken from netlink-packet-route because that crate (0.34) has no next-hop objects
//! (RTM_NEWNEXTHOP), refuses a whole message for one attribute it does not like, and allocates per attribute, which
//! a table of a million routes pays for a million times. Parsing borrows, is bounds-checked and never panics: bytes
//! that do not frame end the iteration. Layouts: Linux uapi netlink.h and rtnetlink.h; integers are in host order.

/// Length of `struct nlmsghdr`, octets.
pub(super) const HEADER_LEN: usize = 16;
/// Mask off the "nested" and "network byte order" bits of an attribute type.
const ATTRIBUTE_TYPE_MASK: u16 = 0x3fff;

/// The end of a dump.
pub(super) const NLMSG_DONE: u16 = 3;
/// An acknowledgement (error 0) or an error.
pub(super) const NLMSG_ERROR: u16 = 2;

/// It is a request.
pub(super) const NLM_F_REQUEST: u16 = 0x01;
/// Answer with an acknowledgement.
pub(super) const NLM_F_ACK: u16 = 0x04;
/// In an answer: the dump is inconsistent, the table changed meanwhile.
pub(super) const NLM_F_DUMP_INTR: u16 = 0x10;
/// Dump the whole table (NLM_F_ROOT | NLM_F_MATCH).
pub(super) const NLM_F_DUMP: u16 = 0x300;
/// Replace what exists.
pub(super) const NLM_F_REPLACE: u16 = 0x100;
/// Fail when it exists.
pub(super) const NLM_F_EXCL: u16 = 0x200;
/// Create when it does not exist.
pub(super) const NLM_F_CREATE: u16 = 0x400;
/// Add behind what exists.
pub(super) const NLM_F_APPEND: u16 = 0x800;

/// One message of a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    /// RTM_* or NLMSG_*.
    pub kind: u16,
    /// NLM_F_*.
    pub flags: u16,
    /// The request's number, in an answer.
    pub sequence: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

impl Message<'_> {
    /// The error of an NLMSG_ERROR (or of an NLMSG_DONE that carries one), as a positive errno; 0 is success.
    pub(super) fn errno(&self) -> i32 {
        read_i32(self.payload, 0).map_or(0, i32::wrapping_neg)
    }
}

/// Iterates over the messages of a datagram.
pub(super) struct Messages<'a>(pub &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let length = read_u32(self.0, 0)? as usize;
        let whole = self.0.get(..length)?;
        let message = Message {
            kind: read_u16(whole, 4)?,
            flags: read_u16(whole, 6)?,
            sequence: read_u32(whole, 8)?,
            payload: whole.get(HEADER_LEN..)?,
        };
        self.0 = self.0.get(align4(length)..).unwrap_or(&[]);
        Some(message)
    }
}

/// Iterates over attributes: (type, value).
pub(super) struct Attributes<'a>(pub &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let length = usize::from(read_u16(self.0, 0)?);
        let kind = read_u16(self.0, 2)? & ATTRIBUTE_TYPE_MASK;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(align4(length)..).unwrap_or(&[]);
        Some((kind, value))
    }
}

/// Rounds up to the alignment of netlink.
pub(super) fn align4(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// Reads an octet at an offset.
pub(super) fn read_u8(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// Reads a u16 in host order at an offset.
pub(super) fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    let end = at.checked_add(2)?;
    Some(u16::from_ne_bytes(bytes.get(at..end)?.try_into().ok()?))
}

/// Reads a u32 in host order at an offset.
pub(super) fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    let end = at.checked_add(4)?;
    Some(u32::from_ne_bytes(bytes.get(at..end)?.try_into().ok()?))
}

/// Reads an i32 in host order at an offset.
pub(super) fn read_i32(bytes: &[u8], at: usize) -> Option<i32> {
    read_u32(bytes, at).map(|v| v as i32)
}

/// Builds one request.
pub(super) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// A request of a kind (RTM_*), with flags beside NLM_F_REQUEST, and its fixed part (padded to 4).
    pub(super) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&0u32.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(fixed);
        bytes.resize(align4(bytes.len()), 0);
        Self { bytes }
    }

    /// Appends an attribute.
    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(align4(self.bytes.len()), 0);
        self
    }

    /// The bytes to send, numbered.
    pub(super) fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = self.bytes.len() as u32;
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_reads_back() {
        let bytes = Request::new(24, NLM_F_ACK, &[1, 2, 3])
            .attribute(5, &[9; 5])
            .attribute(6, &[])
            .finish(77);
        let messages: Vec<_> = Messages(&bytes).collect();
        assert_eq!(messages.len(), 1);
        assert_eq!(
            (messages[0].kind, messages[0].flags, messages[0].sequence),
            (24, NLM_F_ACK | NLM_F_REQUEST, 77)
        );
        assert_eq!(&messages[0].payload[..4], &[1, 2, 3, 0]);
        let attributes: Vec<_> = Attributes(&messages[0].payload[4..]).collect();
        assert_eq!(attributes, vec![(5, &[9u8; 5][..]), (6, &[][..])]);
    }

    #[test]
    fn a_zero_length_ends_the_iteration() {
        assert_eq!(Messages(&[0; 64]).count(), 0);
        assert_eq!(Attributes(&[0; 64]).count(), 0);
        assert_eq!(Attributes(&[3, 0, 1, 0, 8, 0, 1, 0]).count(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn garbage_never_panics_and_terminates(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            for message in Messages(&bytes) {
                prop_assert!(message.payload.len() <= bytes.len());
                let _ = message.errno();
            }
            prop_assert!(Attributes(&bytes).count() <= bytes.len() / 4 + 1);
        }
    }
}
