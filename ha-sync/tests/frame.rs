//! The frame layer: what was written is read, however the stream is cut; whatever is damaged is refused, and named.

#![forbid(unsafe_code)]

use ha_sync::frame::{
    Decoder, EncodeError, FrameError, HEADER_LEN, MAGIC, PAYLOAD_MAX, Unknown, VERSION, encode, seal,
};
use proptest::collection::vec;
use proptest::prelude::*;

type Message = (u16, Vec<u8>);

const LIMIT: u32 = 2000;

fn written(messages: &[Message]) -> Vec<u8> {
    let mut stream = Vec::new();
    for (message_type, payload) in messages {
        let mut frame = vec![0; HEADER_LEN + payload.len()];
        assert_eq!(encode(&mut frame, *message_type, payload), Ok(frame.len()));
        stream.extend(frame);
    }
    stream
}

/// Frames of a stream that comes in pieces that end at `cuts`, and how it ended.
fn read(stream: &[u8], cuts: &[usize], limit: u32) -> (Vec<Message>, Result<(), FrameError>) {
    let mut decoder = Decoder::new(limit);
    let mut frames = Vec::new();
    let mut cuts: Vec<usize> = cuts.iter().map(|c| c % (stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    for piece in cuts.windows(2) {
        let mut input = &stream[piece[0]..piece[1]];
        loop {
            let before = input.len();
            match decoder.next(&mut input) {
                Ok(Some(frame)) => {
                    assert!(frame.payload.len() <= limit as usize);
                    frames.push((frame.message_type, frame.payload.to_vec()));
                    let last = decoder.last().map(|f| (f.message_type, f.payload.to_vec()));
                    assert_eq!(last.as_ref(), frames.last(), "until the next call");
                }
                Ok(None) => {
                    assert!(input.is_empty(), "it wants more only when there is no more");
                    break;
                }
                Err(error) => {
                    assert!(before - input.len() <= HEADER_LEN + limit as usize);
                    let rest = input;
                    assert_eq!(decoder.next(&mut input), Err(error), "an error stays");
                    assert_eq!(input, rest, "and nothing more is taken");
                    assert_eq!(decoder.end(), Err(error));
                    return (frames, Err(error));
                }
            }
        }
    }
    (frames, decoder.end())
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let payload = prop_oneof![vec(any::<u8>(), 0..40), vec(any::<u8>(), 0..=LIMIT as usize)];
    vec((any::<u16>(), payload), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_written_is_read_wherever_it_is_cut(messages in messages(), cuts in vec(any::<usize>(), 0..50)) {
        let (frames, end) = read(&written(&messages), &cuts, LIMIT);
        prop_assert_eq!(frames, messages);
        prop_assert_eq!(end, Ok(()));
    }

    #[test]
    fn a_stream_that_ends_early_says_so(messages in messages(), keep in any::<usize>(), cuts in vec(any::<usize>(), 0..8)) {
        let stream = written(&messages);
        let keep = keep % (stream.len() + 1);
        let (frames, end) = read(&stream[..keep], &cuts, LIMIT);
        let whole = written(&frames).len();
        prop_assert_eq!(&frames[..], &messages[..frames.len()]);
        if whole == keep {
            prop_assert_eq!(end, Ok(()));
        } else {
            let truncated = matches!(end, Err(FrameError::Truncated { missing }) if missing > 0);
            prop_assert!(truncated, "{:?}", end);
        }
    }

    /// Every damage of up to 32 bits in a row is found: that is what a CRC-32 promises. Frames before it are read.
    #[test]
    fn damage_anywhere_is_found(
        messages in messages(), at in any::<usize>(), bits in 1..=u32::MAX, cuts in vec(any::<usize>(), 0..8),
    ) {
        let good = written(&messages);
        prop_assume!(good.len() >= 4);
        let mut bad = good.clone();
        let at = at % (bad.len() - 3);
        for (octet, bits) in bad[at..at + 4].iter_mut().zip(bits.to_be_bytes()) {
            *octet ^= bits;
        }
        let (frames, end) = read(&bad, &cuts, LIMIT);
        prop_assert!(end.is_err(), "nothing was noticed");
        prop_assert!(frames.len() < messages.len());
        prop_assert_eq!(&frames[..], &messages[..frames.len()]);
    }

    #[test]
    fn garbage_is_refused(garbage in vec(any::<u8>(), 1..4000), cuts in vec(any::<usize>(), 0..8)) {
        prop_assume!(!garbage.starts_with(&MAGIC[..garbage.len().min(4)]));
        let (frames, end) = read(&garbage, &cuts, LIMIT);
        prop_assert!(frames.is_empty());
        prop_assert!(matches!(end, Err(FrameError::Magic(_))), "{:?}", end);
    }

    /// Garbage behind a good magic and version, or behind good frames.
    #[test]
    fn garbage_that_begins_well_is_refused(
        messages in messages(), garbage in vec(any::<u8>(), HEADER_LEN..4000), cuts in vec(any::<usize>(), 0..8),
    ) {
        let mut stream = written(&messages);
        let start = stream.len();
        stream.extend(garbage);
        stream[start..start + 4].copy_from_slice(&MAGIC);
        stream[start + 4..start + 6].copy_from_slice(&VERSION.to_be_bytes());
        let (frames, end) = read(&stream, &cuts, LIMIT);
        prop_assert_eq!(frames, messages);
        prop_assert!(matches!(end, Err(FrameError::HeaderChecksum { .. })), "{:?}", end);
    }

    #[test]
    fn another_version_is_named(version in any::<u16>(), rest in vec(any::<u8>(), 0..100)) {
        prop_assume!(version != VERSION);
        let mut stream = MAGIC.to_vec();
        stream.extend(version.to_be_bytes());
        stream.extend(rest);
        let (frames, end) = read(&stream, &[], LIMIT);
        prop_assert!(frames.is_empty());
        prop_assert_eq!(end, Err(FrameError::Version { theirs: version }));
    }

    #[test]
    fn no_payload_beyond_the_limit(limit in 0..LIMIT, length in 0..LIMIT) {
        let (frames, end) = read(&written(&[(1, vec![7; length as usize])]), &[], limit);
        if length <= limit {
            prop_assert_eq!((frames.len(), end), (1, Ok(())));
        } else {
            prop_assert_eq!((frames.len(), end), (0, Err(FrameError::TooLong { length, limit })));
        }
    }

    #[test]
    fn a_buffer_too_short_is_refused(payload in vec(any::<u8>(), 0..100), room in 0..120usize) {
        let needed = HEADER_LEN + payload.len();
        let result = encode(&mut vec![0; room], 9, &payload);
        let expected = if room < needed { Err(EncodeError::NoRoom { needed, room }) } else { Ok(needed) };
        prop_assert_eq!(result, expected);
    }
}

/// The layout, octet by octet: it is not to change by accident. The checksums were computed by another program (Python's zlib).
#[test]
fn the_layout_is_what_the_document_says() {
    let frame = written(&[(0x0102, b"tandem".to_vec())]);
    let mut expected = b"TdHA\x00\x01\x01\x02\x00\x00\x00\x06".to_vec();
    expected.extend(0x3a8d_d142_u32.to_be_bytes());
    expected.extend(0xd31a_63f3_u32.to_be_bytes());
    expected.extend(b"tandem");
    assert_eq!(frame, expected);
}

#[test]
fn a_payload_written_in_place_is_the_same_frame() {
    let mut frame = vec![0; HEADER_LEN + 10];
    frame[HEADER_LEN..HEADER_LEN + 6].copy_from_slice(b"tandem");
    assert_eq!(seal(&mut frame, 7, 6), Ok(HEADER_LEN + 6));
    assert_eq!(frame[..HEADER_LEN + 6], written(&[(7, b"tandem".to_vec())]));
}

#[test]
fn the_longest_payload_and_one_octet_more() {
    let longest = vec![1; PAYLOAD_MAX as usize];
    let stream = written(&[(1, longest.clone())]);
    let (frames, end) = read(&stream, &[17, 1000], u32::MAX);
    assert_eq!((frames, end), (vec![(1, longest)], Ok(())));
    let more = PAYLOAD_MAX as usize + 1;
    let mut room = vec![0; more + HEADER_LEN];
    assert_eq!(seal(&mut room, 1, more), Err(EncodeError::TooLong(more)));
    assert_eq!(
        encode(&mut room, 1, &vec![0; more]),
        Err(EncodeError::TooLong(more))
    );
    assert_eq!(
        seal(&mut room, 1, usize::MAX),
        Err(EncodeError::TooLong(usize::MAX))
    );
}

#[test]
fn types_nobody_knows_can_be_skipped() {
    #[derive(Debug, PartialEq, Eq)]
    enum Mine {
        One,
    }
    impl TryFrom<u16> for Mine {
        type Error = ();
        fn try_from(number: u16) -> Result<Self, ()> {
            if number == 1 { Ok(Self::One) } else { Err(()) }
        }
    }
    let stream = written(&[(1, vec![]), (900, vec![0; 33]), (1, vec![5])]);
    let (mut decoder, mut input) = (Decoder::new(LIMIT), &stream[..]);
    let mut seen = Vec::new();
    while let Some(frame) = decoder.next(&mut input).expect("frames") {
        seen.push(frame.message::<Mine>());
    }
    let unknown = Unknown {
        message_type: 900,
        length: 33,
    };
    assert_eq!(seen, [Ok(Mine::One), Err(unknown), Ok(Mine::One)]);
}

#[test]
fn errors_come_as_soon_as_they_can_be_seen() {
    let mut decoder = Decoder::new(LIMIT);
    assert_eq!(decoder.next(&mut &b"T"[..]), Ok(None));
    assert_eq!(decoder.next(&mut &b"lS"[..]), Err(FrameError::Magic(*b"TlS\0")));
    let mut decoder = Decoder::new(LIMIT);
    assert_eq!(
        decoder.next(&mut &b"TdHA\x01\x00"[..]),
        Err(FrameError::Version { theirs: 256 })
    );
}
