//! TCP windows of a session, for service sets that track them: which sequence numbers each end may use.
//!
//! They stand in the session's extension record, a third cache line for every segment; so a session that tracks windows never
//! takes the plain way. The rules are those of Guido van Rooij, "Real Stateful TCP Packet Filtering": of a segment, the end
//! must not pass what the receiver has room for, the start not lie further back than the receiver's window, and the
//! acknowledgement must be of something that was sent, and not too long ago.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute, transmute_mut};

use tandem_wire::tcp;

use super::{Direction, FLAG_TRACKED, FLAG_WINDOWS_UNKNOWN, Hot, SessionTable, Tuple4};
use crate::tcp_state::State;

/// How far back an acknowledgement may lie, at least: the largest window without scaling and a little more.
const ACK_REACH: u32 = 66_000;

/// What is known of one end. Sequence numbers are its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct End {
    /// Behind the last octet it sent.
    sent: u32,
    /// Behind the last octet the other end has room for.
    may_send: u32,
    /// The largest window it told; 0: nothing was seen of it.
    window: u32,
}

const _: () = assert!(size_of::<[End; 2]>() == size_of::<[Tuple4; 2]>());

/// Window scale of an end, with this bit when its SYN offered one.
const OFFERED: u8 = 0x80;
/// The largest window scale. RFC 7323 section 2.3.
const MAX_SCALE: u8 = 14;

/// A segment, as far as windows go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Window as it stands in the header.
    pub window: u16,
    /// Flags.
    pub flags: u8,
    /// Octets of payload.
    pub payload: u16,
    /// Window scale option, of a SYN.
    pub scale: Option<u8>,
}

impl Segment {
    /// Reads a segment; `None` when it is no whole TCP header.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let head = bytes.first_chunk::<{ tcp::HEADER_LEN }>()?;
        let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let header = usize::from(head[12] >> 4) * 4;
        let options = bytes.get(tcp::HEADER_LEN..header)?;
        let flags = head[tcp::FLAGS_OFFSET];
        Some(Self {
            seq: word(4),
            ack: word(8),
            window: u16::from_be_bytes([head[14], head[15]]),
            flags,
            payload: (bytes.len() - header) as u16,
            scale: if flags & tcp::SYN != 0 {
                scale(options)
            } else {
                None
            },
        })
    }
}

/// The window scale option. RFC 7323 section 2: at most 14.
fn scale(mut options: &[u8]) -> Option<u8> {
    while let [kind, rest @ ..] = options {
        match (kind, rest) {
            (0, _) => return None,
            (1, _) => options = rest,
            (3, [3, shift, ..]) => return Some((*shift).min(MAX_SCALE)),
            (_, [length, ..]) if *length >= 2 => options = options.get(usize::from(*length)..)?,
            _ => return None,
        }
    }
    None
}

/// Whether sequence number `a` is behind `b` or the same.
const fn reaches(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 >= 0
}

impl SessionTable {
    /// Whether a segment lies in its session's windows; moves them along if so. What a SYN does depends on the connection's
    /// state before it. `None` when the session table has no room for the windows.
    ///
    /// `since`: when the service set was last taken over from another chassis, in ticks; 0 if never. What was known before is
    /// forgotten, and as the scales of the windows may have been told on the other chassis, the largest are assumed. So also of a
    /// single session; see [`SessionTable::forget_windows`].
    #[cold]
    #[inline(never)]
    pub fn in_window(
        &mut self,
        number: u32,
        direction: Direction,
        segment: &Segment,
        since: u32,
    ) -> Option<bool> {
        let is_open = matches!(
            State::from_u8(self.hot(number)?.state),
            State::Established | State::FinInside | State::FinOutside
        );
        let extension = self.extension(number)?;
        let hot = self.hot.get_mut(number as usize)?;
        let is_unknown = hot.flags & FLAG_WINDOWS_UNKNOWN != 0;
        hot.flags &= !FLAG_WINDOWS_UNKNOWN;
        let record: &mut Hot = self.hot.get_mut(extension as usize)?;
        if record.next_hop_generation != since || is_unknown {
            record.next_hop_generation = since;
            record.next_hop = transmute!([OFFERED | MAX_SCALE, OFFERED | MAX_SCALE, 0, 0]);
            record.tuples = Default::default();
        }
        let mut scales: [u8; 4] = transmute!(record.next_hop);
        let ends: &mut [End; 2] = transmute_mut!(&mut record.tuples);
        let [first, second] = ends;
        let (s, sender, receiver) = match direction {
            Direction::Out => (0, first, second),
            Direction::In => (1, second, first),
        };
        let ok = if is_open && segment.flags & tcp::SYN != 0 {
            sent_again(sender, receiver, segment)
        } else {
            step(sender, receiver, &mut scales, s, segment)
        };
        record.next_hop = transmute!(scales);
        Some(ok)
    }

    /// Another chassis has followed the windows of a session, or may have: what is known of them here is forgotten with the next segment,
    /// which is believed.
    pub fn forget_windows(&mut self, number: u32) {
        if let Some(hot) = self.hot.get_mut(number as usize)
            && hot.flags & FLAG_TRACKED != 0
        {
            hot.flags |= FLAG_WINDOWS_UNKNOWN;
        }
    }
}

/// A SYN of a connection that both ends have opened: nothing but the SYN they had sent, sent again, lies in the windows, and
/// not even that moves them. What an end answers to another (RFC 5961 section 4) is its own affair; a stranger's guess shall
/// not move the windows to where its RST lies in them.
fn sent_again(sender: &End, receiver: &End, segment: &Segment) -> bool {
    let answers = segment.flags & tcp::ACK != 0;
    let plain = segment.flags & (tcp::RST | tcp::FIN) == 0;
    let end = segment
        .seq
        .wrapping_add(1)
        .wrapping_add(u32::from(segment.payload));
    plain && sender.window != 0 && end == sender.sent && (!answers || segment.ack == receiver.sent)
}

fn step(sender: &mut End, receiver: &mut End, scales: &mut [u8; 4], s: usize, segment: &Segment) -> bool {
    let (syn, fin) = (segment.flags & tcp::SYN != 0, segment.flags & tcp::FIN != 0);
    let length = u32::from(segment.payload) + u32::from(syn) + u32::from(fin);
    let end = segment.seq.wrapping_add(length);
    if syn {
        return open(sender, receiver, scales, s, segment, end);
    }
    let shift = |at: usize| {
        let both = scales[0] & scales[1] & OFFERED != 0;
        if both {
            u32::from(scales[at] & !OFFERED).min(u32::from(MAX_SCALE))
        } else {
            0
        }
    };
    let window = u32::from(segment.window) << shift(s);
    let ack = if segment.flags & tcp::ACK != 0 && (segment.ack != 0 || segment.flags & tcp::RST == 0) {
        segment.ack
    } else {
        receiver.sent
    };
    if sender.window == 0 {
        // Taken up in the middle, or the answer to a SYN that was not one: believed, once.
        *sender = End {
            sent: end,
            may_send: end.wrapping_add(receiver.window.max(1)),
            window: window.max(1),
        };
        if receiver.window == 0 {
            *receiver = End {
                sent: ack,
                may_send: ack.wrapping_add(window),
                window: 1,
            };
        }
    }
    let reach = sender.window.max(ACK_REACH);
    let ok = reaches(sender.may_send, segment.seq)
        && reaches(end, sender.sent.wrapping_sub(receiver.window))
        && reaches(receiver.sent, ack)
        && reaches(ack, receiver.sent.wrapping_sub(reach));
    if !ok {
        return false;
    }
    sender.window = sender.window.max(window);
    if reaches(end, sender.sent) {
        sender.sent = end;
    }
    // A closed window still lets one octet through, to probe it.
    let room = ack.wrapping_add(window.max(1));
    if reaches(room, receiver.may_send) {
        receiver.may_send = room;
    }
    true
}

/// A SYN, with or without ACK: the window in it is not scaled.
fn open(
    sender: &mut End,
    receiver: &mut End,
    scales: &mut [u8; 4],
    s: usize,
    segment: &Segment,
    end: u32,
) -> bool {
    let answers = segment.flags & tcp::ACK != 0;
    if answers && receiver.window != 0 && segment.ack != receiver.sent {
        // The answer to another SYN than the last: a duplicate that went astray.
        return false;
    }
    scales[s] = segment.scale.map_or(0, |shift| shift | OFFERED);
    let window = u32::from(segment.window).max(1);
    *sender = End {
        sent: end,
        may_send: end.wrapping_add(receiver.window),
        window,
    };
    if answers {
        receiver.may_send = segment.ack.wrapping_add(window);
    } else if receiver.window != 0 {
        // A simultaneous open: each has told its window.
        receiver.may_send = receiver.sent.wrapping_add(window);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::HashKeys;
    use crate::session::{KIND_44, new_cold, new_hot};
    use crate::ticks::Ticks;
    use Direction::{In, Out};

    struct Bench(SessionTable, u32);

    impl Bench {
        fn new() -> Self {
            let mut table = SessionTable::new(4, HashKeys::new(1)).unwrap();
            let mut hot = new_hot(KIND_44, Default::default(), 6, 1, Ticks(0));
            hot.state = State::OpeningInside as u8;
            let number = table.take(hot, new_cold(0, 0, 0, 0, Ticks(0))).unwrap();
            Self(table, number)
        }

        fn pass(
            &mut self,
            direction: Direction,
            flags: u8,
            (seq, ack, window): (u32, u32, u16),
            payload: u16,
        ) -> bool {
            let scale = (flags & tcp::SYN != 0).then_some(7);
            let segment = Segment {
                seq,
                ack,
                window,
                flags,
                payload,
                scale,
            };
            let ok = self.0.in_window(self.1, direction, &segment, 0).unwrap();
            let hot = self.0.hot_mut(self.1).unwrap();
            if ok {
                hot.state = State::from_u8(hot.state).next(flags, direction == Out) as u8;
            }
            ok
        }

        fn opened(seq: u32, other: u32) -> Self {
            let mut bench = Self::new();
            assert!(bench.pass(Out, tcp::SYN, (seq, 0, 64_000), 0));
            assert!(bench.pass(In, tcp::SYN | tcp::ACK, (other, seq.wrapping_add(1), 65_000), 0));
            assert!(bench.pass(
                Out,
                tcp::ACK,
                (seq.wrapping_add(1), other.wrapping_add(1), 500),
                0
            ));
            bench
        }
    }

    #[test]
    fn a_connection_passes_also_across_the_end_of_sequence_numbers() {
        for seq in [1000, u32::MAX - 20_000] {
            let mut b = Bench::opened(seq, 7_000_000);
            let (mut sent, other) = (seq.wrapping_add(1), 7_000_001);
            for _ in 0..100 {
                assert!(b.pass(Out, tcp::ACK | tcp::PSH, (sent, other, 500), 1400));
                sent = sent.wrapping_add(1400);
                assert!(b.pass(In, tcp::ACK, (other, sent, 500), 0));
            }
            // Sent again, and a keepalive one octet back.
            assert!(b.pass(Out, tcp::ACK, (sent.wrapping_sub(1400), other, 500), 1400));
            assert!(b.pass(Out, tcp::ACK, (sent.wrapping_sub(1), other, 500), 0));
            assert!(b.pass(Out, tcp::FIN | tcp::ACK, (sent, other, 500), 0));
            assert!(b.pass(In, tcp::FIN | tcp::ACK, (other, sent.wrapping_add(1), 500), 0));
            assert!(b.pass(Out, tcp::ACK, (sent.wrapping_add(1), other + 1, 500), 0));
        }
    }

    #[test]
    fn what_lies_outside_is_refused_and_moves_nothing() {
        let mut b = Bench::opened(1000, 7_000_000);
        let (seq, other) = (1001, 7_000_001);
        let ack = tcp::ACK;
        // Beyond the receiver's room; far back; of what was never sent; a blind reset.
        assert!(!b.pass(In, ack, (other + 100_000, seq, 500), 100));
        assert!(!b.pass(In, ack, (other.wrapping_sub(200_000), seq, 500), 100));
        assert!(!b.pass(In, ack, (other, seq + 5_000, 500), 100));
        assert!(!b.pass(In, tcp::RST, (other + 500_000, 0, 0), 0));
        assert!(b.pass(In, ack, (other, seq, 500), 100));
        assert!(b.pass(In, tcp::RST, (other + 100, 0, 0), 0));
        assert!(!b.pass(In, tcp::SYN | ack, (1, 2, 500), 0));
    }

    #[test]
    fn of_an_open_connection_only_the_same_syn_again_passes_and_moves_nothing() {
        let mut b = Bench::opened(1000, 7_000_000);
        let (syn, ack) = (tcp::SYN, tcp::ACK);
        assert!(b.pass(In, syn | ack, (7_000_000, 1001, 65_000), 0));
        assert!(b.pass(Out, syn, (1000, 0, 64_000), 0));
        for flags in [syn, syn | ack, syn | tcp::RST, syn | tcp::FIN] {
            for seq in [7_000_001, 7_000_100, 900_000_000] {
                assert!(!b.pass(In, flags, (seq, 1001, 500), 0), "{flags:x} {seq}");
            }
        }
        assert!(!b.pass(In, tcp::RST, (900_000_001, 0, 0), 0));
        assert!(b.pass(In, ack, (7_000_001, 1001, 500), 100));
        // After the end of the connection, the same ends may open another.
        assert!(b.pass(In, tcp::RST, (7_000_101, 0, 0), 0));
        assert!(b.pass(Out, syn, (50_000_000, 0, 64_000), 0));
        assert!(b.pass(In, syn | ack, (90_000_000, 50_000_001, 65_000), 0));
    }

    #[test]
    fn two_syns_that_cross_open_a_connection() {
        let mut b = Bench::new();
        assert!(b.pass(Out, tcp::SYN, (1000, 0, 64_000), 0));
        assert!(b.pass(In, tcp::SYN, (7_000, 0, 64_000), 0));
        assert!(b.pass(Out, tcp::SYN | tcp::ACK, (1000, 7_001, 64_000), 0));
        assert!(b.pass(In, tcp::SYN | tcp::ACK, (7_000, 1001, 64_000), 0));
        assert!(b.pass(Out, tcp::ACK, (1001, 7_001, 500), 100));
    }

    #[test]
    fn without_a_scale_on_both_sides_nothing_is_scaled() {
        let mut b = Bench::new();
        let syn = |flags, seq, ack, scale| Segment {
            seq,
            ack,
            window: 1000,
            flags,
            payload: 0,
            scale,
        };
        assert_eq!(
            b.0.in_window(b.1, Out, &syn(tcp::SYN, 10, 0, Some(7)), 0),
            Some(true)
        );
        assert_eq!(
            b.0.in_window(b.1, In, &syn(tcp::SYN | tcp::ACK, 50, 11, None), 0),
            Some(true)
        );
        assert!(b.pass(Out, tcp::ACK, (11, 51, 1000), 0));
        assert!(b.pass(In, tcp::ACK, (51, 11, 1000), 1000));
        assert!(!b.pass(In, tcp::ACK, (51 + 1001, 11, 1000), 1000));
    }

    #[test]
    fn a_connection_taken_up_in_the_middle_is_believed_once() {
        let mut b = Bench::new();
        assert!(b.pass(Out, tcp::ACK, (5_000, 9_000, 1000), 100));
        assert!(b.pass(In, tcp::ACK, (9_000, 5_100, 1000), 100));
        assert!(!b.pass(In, tcp::ACK, (9_000_000, 5_100, 1000), 100));
    }

    #[test]
    fn options_are_read_as_far_as_they_are_whole() {
        assert_eq!(scale(&[2, 4, 5, 180, 1, 3, 3, 9]), Some(9));
        assert_eq!(scale(&[3, 3, 77]), Some(14));
        for none in [&[][..], &[0, 3, 3, 9], &[3, 3], &[8, 1, 3, 3, 9], &[2, 40, 1]] {
            assert_eq!(scale(none), None, "{none:?}");
        }
    }
}
