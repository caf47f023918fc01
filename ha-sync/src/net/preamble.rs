//! The first eight octets of a connection, in both directions: that it is this channel, which version, and which stream.
//!
//! ```text
//!    0        4         6        7         8
//!    +--------+---------+--------+---------+
//!    | "TdCh" | version | stream | streams |   then the conversation's bytes
//!    +--------+---------+--------+---------+
//! ```
//!
//! It also tells a plain peer from a TLS one. With TLS the end that connects sends it after it has the other's: a refusal of its
//! certificate then always reaches it, because nothing it sent lies unread at the other end.

use super::endpoint::Stream;
use super::failure::Failure;
use super::tls;

const MAGIC: [u8; 4] = *b"TdCh";
const VERSION: u16 = 1;
/// Octets.
pub(super) const LEN: usize = 8;

/// This end's.
pub(super) fn encode(stream: Stream) -> [u8; LEN] {
    let [a, b, c, d] = MAGIC;
    let [high, low] = VERSION.to_be_bytes();
    [a, b, c, d, high, low, stream.number, stream.of]
}

/// Whether octets begin as a preamble does.
pub(super) fn begins(first: &[u8]) -> bool {
    first.starts_with(&MAGIC)
}

/// Checks the other end's.
pub(super) fn check(octets: &[u8; LEN], ours: Stream) -> Result<(), Failure> {
    let [_, _, _, _, high, low, number, of] = *octets;
    if !begins(octets) {
        return Err(if tls::looks_like_tls(octets) {
            Failure::Encrypted
        } else {
            Failure::Garbage(octets.to_vec())
        });
    }
    let theirs = u16::from_be_bytes([high, low]);
    if theirs != VERSION {
        return Err(Failure::Version {
            ours: VERSION,
            theirs,
        });
    }
    if (Stream { number, of }) != ours {
        return Err(Failure::Stream {
            ours_number: ours.number,
            ours_of: ours.of,
            theirs_number: number,
            theirs_of: of,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::FailureKind;

    #[test]
    fn what_is_not_this_stream_of_this_channel_has_its_name() {
        let ours = Stream { number: 1, of: 2 };
        let good = encode(ours);
        assert!(check(&good, ours).is_ok());
        let kind = |octets: [u8; LEN]| check(&octets, ours).expect_err("refused").kind();
        assert_eq!(kind(encode(Stream { number: 0, of: 2 })), FailureKind::Stream);
        assert_eq!(kind(encode(Stream { number: 1, of: 3 })), FailureKind::Stream);
        assert_eq!(kind([22, 3, 1, 0, 200, 1, 0, 0]), FailureKind::Encrypted);
        assert_eq!(kind(*b"GET / HT"), FailureKind::Garbage);
        let mut newer = good;
        newer[5] = 9;
        assert_eq!(kind(newer), FailureKind::Version);
    }
}
