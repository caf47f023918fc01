//! The format: what is said is read, by the other end alone, and nothing else is.

use std::net::IpAddr;

use ha_sync::heartbeat::{
    Beat, BeatError, BeatTiming, Codec, DATAGRAM_LEN_MAX, FileKey, Kind, PathId, SETS_MAX, SetBeat, SetState,
};
use proptest::prelude::*;

use crate::world::codecs;

const HEADER_LEN: usize = 64;
const MAC_LEN: usize = 32;

fn sets() -> impl Strategy<Value = Vec<SetBeat>> {
    let set = (
        0..SetState::ALL.len(),
        any::<[bool; 4]>(),
        any::<u64>(),
        1u8..=254,
        any::<u16>(),
    );
    let set = set.prop_map(|(state, flags, epoch, priority, failed_weight)| SetBeat {
        set: 0,
        state: SetState::ALL[state],
        primary: flags[0],
        complete: flags[1],
        warned: flags[2],
        broadcasts: false,
        eligible: flags[3],
        epoch,
        priority,
        failed_weight,
    });
    let sets = proptest::collection::btree_map(1u8..=128, set, 0..=SETS_MAX);
    sets.prop_map(|sets| {
        let numbered = sets
            .into_iter()
            .map(|(number, set)| SetBeat { set: number, ..set });
        numbered.collect()
    })
}

fn beat() -> impl Strategy<Value = Beat> {
    let kinds = prop_oneof![Just(Kind::Beat), Just(Kind::Gone), Just(Kind::Leaving)];
    let numbers = (
        1u64..,
        any::<u64>(),
        1u64..,
        1u64..,
        any::<u64>(),
        any::<u32>(),
        any::<u64>(),
    );
    (
        kinds,
        0..PathId::ALL.len(),
        numbers,
        10u16..=10_000,
        3u8..,
        sets(),
    )
        .prop_map(|(kind, path, numbers, interval_ms, lost_threshold, sets)| Beat {
            kind,
            path: PathId::ALL[path],
            incarnation: numbers.0,
            echo_incarnation: numbers.1,
            sequence: numbers.2,
            sent_us: numbers.3,
            echoed_us: numbers.4,
            held_us: numbers.5,
            wall_us: numbers.6,
            timing: BeatTiming {
                interval_ms,
                lost_threshold,
            },
            sets,
        })
}

proptest! {
    #[test]
    fn what_is_said_is_read(beat in beat()) {
        let (one, two) = codecs();
        let octets = one.encode(&beat);
        prop_assert_eq!(octets.len(), HEADER_LEN + 14 * beat.sets.len() + MAC_LEN);
        prop_assert!(octets.len() <= DATAGRAM_LEN_MAX);
        prop_assert_eq!(two.decode(&octets), Ok(beat));
    }

    #[test]
    fn nothing_else_is_read(beat in beat(), bit: prop::sample::Index, more in 1usize..40) {
        let (one, two) = codecs();
        let octets = one.encode(&beat);
        for len in 0..octets.len() {
            prop_assert!(two.decode(&octets[..len]).is_err(), "{}", len);
        }
        let mut longer = octets.clone();
        longer.resize(octets.len() + more, 0);
        prop_assert!(two.decode(&longer).is_err());
        let mut flipped = octets.clone();
        let bit = bit.index(octets.len() * 8);
        flipped[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(two.decode(&flipped).is_err(), "bit {}", bit);
        // What a chassis says itself is not what the other one says.
        prop_assert_eq!(one.decode(&octets), Err(BeatError::Mac));
    }

    #[test]
    fn any_octets_are_no_heartbeat(octets in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (one, _) = codecs();
        prop_assert!(one.decode(&octets).is_err());
        let mut begun = b"TdHb\x01\x01\x00\x00".to_vec();
        begun.extend_from_slice(&octets);
        prop_assert!(one.decode(&begun).is_err());
    }
}

/// The page `docs/heartbeats.md`, octet by octet.
#[test]
fn a_beat_looks_as_documented() {
    let set = SetBeat {
        set: 7,
        state: SetState::StandbyWarned,
        primary: false,
        complete: true,
        warned: true,
        broadcasts: false,
        eligible: true,
        epoch: 0x0102_0304_0506_0708,
        priority: 100,
        failed_weight: 0x0203,
    };
    let beat = Beat {
        kind: Kind::Leaving,
        path: PathId::Secondary1,
        incarnation: 0x11 << 56,
        echo_incarnation: 0x12,
        sequence: 0x13,
        sent_us: 0x14,
        echoed_us: 0x15,
        held_us: 0x16,
        wall_us: 0x17,
        timing: BeatTiming {
            interval_ms: 0x0123,
            lost_threshold: 5,
        },
        sets: vec![set],
    };
    let octets = codecs().0.encode(&beat);
    let mut expected = b"TdHb\x01\x03\x02\x00".to_vec();
    expected.extend([0x11, 0, 0, 0, 0, 0, 0, 0]);
    for number in [0x12, 0x13, 0x14, 0x15] {
        expected.extend([0, 0, 0, 0, 0, 0, 0, number]);
    }
    expected.extend([0, 0, 0, 0x16, 0, 0, 0, 0, 0, 0, 0, 0x17, 1, 0x23, 5, 1]);
    expected.extend([7, 3, 1, 2, 3, 4, 5, 6, 7, 8, 100, 2, 3, 0b1110]);
    assert_eq!(octets[..octets.len() - MAC_LEN], expected);
}

/// What is authentic and means nothing: made by encoding it, since only who has the key can.
#[test]
fn fields_out_of_range_are_refused() {
    let (one, two) = codecs();
    let good = Beat {
        kind: Kind::Beat,
        path: PathId::Control,
        incarnation: 1,
        echo_incarnation: 0,
        sequence: 1,
        sent_us: 1,
        echoed_us: 0,
        held_us: 0,
        wall_us: 0,
        timing: BeatTiming::default(),
        sets: vec![],
    };
    let set = SetBeat {
        set: 1,
        state: SetState::Primary,
        primary: true,
        complete: true,
        warned: false,
        broadcasts: false,
        eligible: true,
        epoch: 0,
        priority: 100,
        failed_weight: 0,
    };
    let reads = |change: &dyn Fn(&mut Beat)| {
        let mut beat = good.clone();
        change(&mut beat);
        two.decode(&one.encode(&beat))
    };
    assert!(reads(&|_| {}).is_ok());
    assert!(reads(&|beat| beat.sets = vec![set]).is_ok());
    assert!(reads(&|beat| (beat.kind, beat.sequence, beat.sent_us) = (Kind::Gone, 0, 0)).is_ok());
    let timing = |interval_ms, lost_threshold| BeatTiming {
        interval_ms,
        lost_threshold,
    };
    let wrong: [&dyn Fn(&mut Beat); 11] = [
        &|beat| beat.incarnation = 0,
        &|beat| beat.sequence = 0,
        &|beat| beat.sent_us = 0,
        &|beat| beat.timing = timing(9, 3),
        &|beat| beat.timing = timing(10_001, 3),
        &|beat| beat.timing = timing(200, 2),
        &|beat| beat.sets = vec![SetBeat { set: 0, ..set }],
        &|beat| beat.sets = vec![SetBeat { set: 129, ..set }],
        &|beat| beat.sets = vec![SetBeat { priority: 0, ..set }],
        &|beat| beat.sets = vec![set, set],
        &|beat| beat.sets = vec![SetBeat { set: 2, ..set }, set],
    ];
    for (number, change) in wrong.iter().enumerate() {
        let read = reads(change);
        assert!(matches!(read, Err(BeatError::Field(_))), "{number}: {read:?}");
    }
}

#[test]
fn another_key_or_another_pair_is_not_understood() {
    let address = |text: &str| -> IpAddr { text.parse().expect("address") };
    let (low, high, third) = (address("192.0.2.1"), address("192.0.2.2"), address("192.0.2.3"));
    let beat = Beat {
        kind: Kind::Gone,
        path: PathId::Data,
        incarnation: 9,
        echo_incarnation: 0,
        sequence: 0,
        sent_us: 0,
        echoed_us: 0,
        held_us: 0,
        wall_us: 0,
        timing: BeatTiming::default(),
        sets: vec![],
    };
    let key = FileKey::known_to_all();
    let octets = Codec::new(&key, low, high).encode(&beat);
    assert_eq!(Codec::new(&key, high, low).decode(&octets), Ok(beat));
    assert_eq!(Codec::new(&key, third, low).decode(&octets), Err(BeatError::Mac));
    assert_eq!(Codec::new(&key, high, third).decode(&octets), Err(BeatError::Mac));
}
