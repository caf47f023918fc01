//! The replication format: what goes out comes back, whatever it is; what cannot be is an error, never a panic.

mod common;

use common::dictionary;
use ha_sync::chassis::{SetRole, Sets};
use ha_sync::link::Objects;
use ha_sync::wire::{
    Ack, BatchHeader, Dictionary, Hello, RECORD_LEN_MAX, Record, Style, VERSION, Versions, WireError, decode,
    encode,
};
use proptest::prelude::*;
use tandem_engine::program::{
    Firewall, NONE, Policy, PolicyAction, PolicyList, PoolMode, Replication, StaticMapping,
};
use tandem_engine::replica::{
    BlockRecord, CARRIED_FLAGS, ExtentRecord, Lease, LeaseChange, MappingRecord, ObjectTypes, Op, SessionKey,
    SessionRecord,
};
use tandem_engine::session::{FLAG_FREE_STANDING, Key66, Tuple4};
use tandem_engine::ticks::Ticks;
use tandem_engine_testkit::plan::{Plan, pool, service_set};

const NOW: Ticks = Ticks(1_000_000);

fn tuple() -> impl Strategy<Value = Tuple4> {
    any::<(u32, u32, u16, u16)>().prop_map(|(src, dst, sport, dport)| Tuple4 {
        src,
        dst,
        sport,
        dport,
    })
}

fn key() -> impl Strategy<Value = SessionKey> {
    prop_oneof![
        (tuple(), tuple()).prop_map(|(out, back)| SessionKey::V4 { out, back }),
        (tuple(), any::<(u32, u16)>()).prop_map(|(out, (dst, dport))| SessionKey::V4 {
            out,
            back: Tuple4 {
                dst,
                dport,
                ..out.reversed()
            },
        }),
        (any::<(u128, u16, u16)>(), tuple()).prop_map(|((inside, inside_port, outside_port), back)| {
            SessionKey::Nat64 {
                inside,
                inside_port,
                outside_port,
                prefix: 1,
                back,
            }
        }),
        any::<(u128, u128, u16, u16)>().prop_map(|(inside, outside, inside_port, outside_port)| {
            SessionKey::V6(Key66 {
                inside,
                outside,
                inside_port,
                outside_port,
            })
        }),
    ]
}

prop_compose! {
    fn session()(
        key in key(),
        (protocol, term, mapping_prefix, flags) in any::<(u8, u16, u8, u16)>(),
        (state, timer, filtering) in (0u8..10, 0u8..7, 0u8..4),
        pool in prop_oneof![Just(1), Just(NONE)],
        (created, last_seen) in (0..=NOW.0, 0..=NOW.0),
        (packets, bytes) in any::<([u64; 2], [u64; 2])>(),
    ) -> SessionRecord {
        SessionRecord {
            key, service_set: 1, protocol, state, timer, filtering, flags: flags & CARRIED_FLAGS, term,
            policy: NONE, pool, mapping_prefix, created: Ticks(created), last_seen: Ticks(last_seen),
            packets, bytes,
        }
    }
}

fn inside() -> impl Strategy<Value = u128> {
    prop_oneof![
        any::<u128>(),
        any::<u32>().prop_map(tandem_engine::address::of_v4)
    ]
}

prop_compose! {
    fn mapping()(
        inside in inside(),
        (inside_port, public_port, public) in any::<(u16, u16, u32)>(),
        (protocol, filtering, prefix) in (any::<u8>(), 0u8..3, any::<u8>()),
    ) -> MappingRecord {
        MappingRecord {
            inside, inside_port, public_port, public, service_set: 1, pool: 1, protocol, filtering, prefix,
        }
    }
}

prop_compose! {
    fn block()(
        subscriber in inside(),
        (public, first_port, size) in any::<(u32, u16, u16)>(),
        created in 0..=NOW.0,
    ) -> BlockRecord {
        BlockRecord {
            subscriber, public, first_port, size, service_set: 1, pool: 1, created: Ticks(created),
        }
    }
}

/// Zero, or in the future.
fn held_until() -> impl Strategy<Value = Ticks> {
    prop_oneof![Just(Ticks::ZERO), (NOW.0 + 1..).prop_map(Ticks)]
}

fn extent() -> impl Strategy<Value = ExtentRecord> {
    (any::<u32>(), 0u8..16, any::<u8>(), held_until()).prop_map(|(public, extent, shard, held_until)| {
        ExtentRecord {
            public,
            pool: 1,
            extent,
            shard,
            held_until,
        }
    })
}

fn record() -> impl Strategy<Value = Record> {
    let lease = || (any::<u32>(), 0u8..16).prop_map(|(public, extent)| Lease { public, extent });
    prop_oneof![
        session().prop_map(|s| Record::Op(Op::Session(s))),
        (key(), any::<u8>()).prop_map(|(key, protocol)| Record::Op(Op::Close {
            key,
            service_set: 1,
            protocol,
        })),
        mapping().prop_map(|m| Record::Op(Op::Mapping(m))),
        mapping().prop_map(|m| Record::Op(Op::MappingClose(m))),
        block().prop_map(|b| Record::Op(Op::Block(b))),
        block().prop_map(|b| Record::Op(Op::BlockClose(b))),
        extent().prop_map(|e| Record::Op(Op::Extent(e))),
        extent().prop_map(|e| Record::Op(Op::ExtentClose(e))),
        lease().prop_map(|l| Record::Lease(LeaseChange::Offer(l))),
        lease().prop_map(|l| Record::Lease(LeaseChange::Withdraw(l))),
        (lease(), NOW.0 + 1..).prop_map(|(l, until)| Record::Lease(LeaseChange::Resting(l, Ticks(until)))),
        control(),
    ]
}

fn object_types() -> impl Strategy<Value = ObjectTypes> {
    (0..8u8).prop_map(ObjectTypes::from_bits)
}

fn control() -> impl Strategy<Value = Record> {
    prop_oneof![
        (any::<u16>(), object_types(), any::<bool>())
            .prop_map(|(number, types, answers)| Record::BulkBegin(number, types, answers)),
        any::<(u16, [u64; 4], u128)>().prop_map(|(number, [sessions, mappings, blocks, extents], sets)| {
            Record::BulkEnd {
                number,
                objects: Objects {
                    sessions,
                    mappings,
                    blocks,
                    extents,
                },
                covers: Sets::from_bits(sets),
            }
        }),
        (1u8..=128).prop_map(Record::ReleaseAsked),
        (1u8..=128, any::<u64>()).prop_map(|(set, epoch)| Record::Released { set, epoch }),
        (1u8..=128).prop_map(Record::ReleaseRefused),
        (object_types(), any::<bool>()).prop_map(|(types, answer)| Record::ResyncAsked(types, answer)),
    ]
}

const fn style(words: &Dictionary, version: u16) -> Style<'_> {
    Style {
        words,
        version,
        now: NOW,
    }
}

/// What is left of a record where a wire version is spoken.
fn in_version(record: Record, version: u16) -> Record {
    match record {
        Record::BulkBegin(number, ..) if version < 1 => Record::BulkBegin(number, ObjectTypes::ALL, false),
        Record::ResyncAsked(..) if version < 1 => Record::ResyncAsked(ObjectTypes::ALL, false),
        Record::Lease(LeaseChange::Resting(lease, _)) if version < 2 => {
            Record::Lease(LeaseChange::Offer(lease))
        }
        Record::Op(Op::Extent(extent)) if version < 2 => Record::Op(Op::Extent(ExtentRecord {
            held_until: Ticks::ZERO,
            ..extent
        })),
        Record::Op(Op::ExtentClose(extent)) if version < 2 => Record::Op(Op::ExtentClose(ExtentRecord {
            held_until: Ticks::ZERO,
            ..extent
        })),
        other => other,
    }
}

fn encoded(record: &Record, words: &Dictionary) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(encode(record, style(words, VERSION), &mut out));
    assert!(out.len() <= RECORD_LEN_MAX && usize::from(out[0]) + 2 == out.len());
    out
}

proptest! {
    #[test]
    fn records_come_back_as_they_went(record in record()) {
        let words = dictionary();
        let out = encoded(&record, &words);
        let read = |body: &[u8], version| decode(out[1], body, style(&words, version));
        prop_assert_eq!(read(&out[2..], VERSION), Ok(record));
        // A later wire version appends fields, and an earlier one does not read them.
        let mut longer = out.clone();
        longer.extend([1, 2, 3]);
        for version in 0..=VERSION {
            prop_assert_eq!(read(&longer[2..], version), Ok(in_version(record, version)));
            // Nor is it sent them.
            let mut shorter = Vec::new();
            prop_assert!(encode(&record, style(&words, version), &mut shorter));
            prop_assert_eq!(read(&shorter[2..], version), Ok(in_version(record, version)));
            // Without its end it is none.
            for end in 2..shorter.len() {
                prop_assert!(matches!(read(&shorter[2..end], version), Err(WireError::Short(_))));
            }
        }
    }

    #[test]
    fn batches_come_back_as_they_went(records in proptest::collection::vec(record(), 0..40), sequence: u64) {
        let words = dictionary();
        let header = BatchHeader { stream: 3, sequence, identity: 4, age_ms: 5, count: records.len() as u16 };
        let mut payload = header.octets().to_vec();
        for record in &records {
            prop_assert!(encode(record, style(&words, VERSION), &mut payload));
        }
        let (read, mut rest) = BatchHeader::decode(&payload).unwrap();
        prop_assert_eq!(read, header);
        let mut found = Vec::new();
        while let Some((record_type, body)) = rest.next_record().unwrap() {
            found.push(decode(record_type, body, style(&words, VERSION)).unwrap());
        }
        prop_assert_eq!(found, records);
    }

    #[test]
    fn hellos_come_back_as_they_went(
        (revision, incarnation, peer_incarnation, stream) in any::<(u32, u64, u64, u32)>(),
        (received, shards, replicate, exchanges, merges) in any::<(u64, u8, bool, bool, bool)>(),
        (digest, dictionary) in any::<([u8; 32], u32)>(),
        roles in proptest::collection::vec((1u8..=128, any::<bool>(), any::<u64>()), 0..=128),
    ) {
        let roles: Vec<_> = roles
            .into_iter()
            .map(|(set, primary, epoch)| SetRole { set, primary, epoch })
            .collect();
        let hello = Hello {
            versions: Versions { lowest: u16::from(shards) % 3, highest: VERSION }, revision, incarnation, peer_incarnation, stream, received, shards, replicate, exchanges, merges, digest,
            dictionary, roles,
        };
        let mut out = Vec::new();
        hello.encode(&mut out);
        prop_assert_eq!(Hello::decode(&out), Ok(hello));
        for end in 0..out.len() {
            prop_assert!(Hello::decode(&out[..end]).is_err());
        }
    }

    #[test]
    fn octets_of_any_kind_are_read_without_panic(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        let words = dictionary();
        let _ = (Hello::decode(&octets), Ack::decode(&octets));
        for record_type in 0..=255 {
            let _ = decode(record_type, &octets, style(&words, VERSION));
        }
        if let Ok((_, mut records)) = BatchHeader::decode(&octets) {
            while let Ok(Some(_)) = records.next_record() {}
        }
    }
}

fn plain_session() -> SessionRecord {
    let out = Tuple4 {
        src: 0x0a01_0203,
        dst: 0xc633_6401,
        sport: 50_123,
        dport: 443,
    };
    SessionRecord {
        key: SessionKey::V4 {
            out,
            back: Tuple4 {
                dst: 0xcb00_7105,
                dport: 33_333,
                ..out.reversed()
            },
        },
        service_set: 1,
        protocol: 6,
        state: 3,
        timer: 1,
        filtering: 0,
        flags: 0,
        term: 0,
        policy: NONE,
        pool: 1,
        mapping_prefix: 0,
        created: Ticks(NOW.0 - 3000),
        last_seen: Ticks(NOW.0 - 20),
        packets: [1234, 5678],
        bytes: [123_456, 5_678_901],
    }
}

#[test]
fn an_ipv4_session_takes_about_fifty_octets() {
    let words = dictionary();
    let size = |session| encoded(&Record::Op(Op::Session(session)), &words).len();
    let sizes = [
        size(plain_session()),
        size(SessionRecord {
            bytes: [1 << 40, 1 << 44],
            packets: [1 << 30, 1 << 33],
            created: Ticks::ZERO,
            ..plain_session()
        }),
    ];
    assert_eq!(sizes, [48, 61]);
}

#[test]
fn what_has_no_place_in_the_dictionary_is_not_written() {
    let words = dictionary();
    let writes = |session| {
        let mut out = vec![7];
        let written = encode(
            &Record::Op(Op::Session(session)),
            style(&words, VERSION),
            &mut out,
        );
        assert_eq!(written, out.len() > 1, "nothing is left behind");
        written
    };
    assert!(writes(plain_session()));
    assert!(!writes(SessionRecord {
        service_set: 2,
        ..plain_session()
    }));
    let elsewhere = SessionRecord {
        pool: 2,
        ..plain_session()
    };
    assert!(!writes(elsewhere));
    assert!(writes(SessionRecord {
        flags: FLAG_FREE_STANDING,
        ..elsewhere
    }));
    for op in [
        Op::Lost,
        Op::Listen(true),
        Op::Bulk(1, ObjectTypes::ALL),
        Op::BulkBegin(1, ObjectTypes::ALL),
    ] {
        assert!(!encode(&Record::Op(op), style(&words, VERSION), &mut Vec::new()));
    }
}

#[test]
fn times_go_as_ages() {
    let words = dictionary();
    let out = encoded(&Record::Op(Op::Session(plain_session())), &words);
    let other = Ticks(5000);
    let Ok(Record::Op(Op::Session(read))) = decode(
        out[1],
        &out[2..],
        Style {
            now: other,
            ..style(&words, VERSION)
        },
    ) else {
        panic!("a session");
    };
    assert_eq!((read.created, read.last_seen), (Ticks(2000), Ticks(4980)));
    // A chassis that runs for less than the session: as old as can be.
    let Ok(Record::Op(Op::Session(read))) = decode(
        out[1],
        &out[2..],
        Style {
            now: Ticks(100),
            ..style(&words, VERSION)
        },
    ) else {
        panic!("a session");
    };
    assert_eq!((read.created, read.last_seen), (Ticks(0), Ticks(80)));
}

#[test]
fn numbers_depend_on_what_is_replicated_and_on_nothing_else() {
    let replicated = || Replication {
        threshold: Some(Ticks::ZERO),
        ..Replication::default()
    };
    let policy = |id, name: &str| Policy {
        id,
        name: name.into(),
        action: PolicyAction::Permit,
        log: false,
        matches: Vec::new(),
    };
    // Names in `order`; ids as they come. A service set and a pool of its own stay out of it.
    let build = |order: [&str; 3], first_id: u16, alone: bool| {
        let mut plan = Plan::new();
        plan.program.service_sets.clear();
        plan.program.pools.clear();
        for (id, name) in (first_id..).zip(order) {
            let mut set = service_set(id, id);
            set.name = format!("set-{name}");
            set.replication = replicated();
            let list = |a, b| PolicyList::plain(vec![a, b], PolicyAction::Deny);
            set.firewall = Some(Firewall {
                outbound: list(policy(id * 4, "web"), policy(id * 4 + 1, "mail")),
                inbound: list(policy(id * 4 + 2, "ssh"), policy(id * 4 + 3, "any")),
            });
            let mut pool = pool(id, 0x0a00_0000 + u32::from(id) * 256, 4);
            pool.name = format!("pool-{name}");
            plan.program.service_sets.push(set);
            plan.program.pools.push(pool);
        }
        if alone {
            plan.program.service_sets.insert(0, service_set(99, 98));
            plan.program.pools.insert(0, pool(98, 0x0900_0000, 4));
        }
        plan.compile(None)
    };
    let here = build(["a", "b", "c"], 1, false);
    let there = build(["c", "a", "b"], 40, true);
    let (ours, theirs) = (Dictionary::of(&here), Dictionary::of(&there));
    assert_eq!(ours.checksum(), theirs.checksum());
    // "b" with the policy "any" is set, pool and policies 2 here, and 42 there.
    let session = SessionRecord {
        service_set: 2,
        pool: 2,
        policy: 2 * 4 + 3,
        ..plain_session()
    };
    let out = encoded(&Record::Op(Op::Session(session)), &ours);
    let Ok(Record::Op(Op::Session(read))) = decode(out[1], &out[2..], style(&theirs, VERSION)) else {
        panic!("a session");
    };
    assert_eq!((read.service_set, read.pool, read.policy), (42, 42, 42 * 4 + 3));
    assert!(!encode(
        &Record::Op(Op::Session(SessionRecord {
            service_set: 99,
            ..session
        })),
        style(&theirs, VERSION),
        &mut Vec::new()
    ));
    let other = Dictionary::of(&build(["a", "b", "d"], 1, false));
    assert_ne!(ours.checksum(), other.checksum());
    assert_eq!(
        decode(out[1], &out[2..], style(&Dictionary::default(), VERSION)),
        Err(WireError::Unknown {
            kind: "service set",
            number: 1
        })
    );
}

#[test]
fn pools_behind_static_mappings_have_numbers() {
    let mut plan = Plan::new();
    plan.set().replication.threshold = Some(Ticks::ZERO);
    let mut behind = pool(5, 0x0b00_0000, 8);
    behind.mode = PoolMode::Static;
    plan.program.pools.push(behind);
    let mapping = StaticMapping {
        name: "m".into(),
        service_set: 1,
        number: 9,
        inside: tandem_engine::address::of_v4(0x0a00_0001),
        public: tandem_engine::program::AddressRange {
            first: 0x0b00_0001,
            last: 0x0b00_0001,
        },
        to_one: false,
        protocol: 0,
        inside_port: 0,
        public_port: 0,
        ports: 0,
        inbound_only: false,
        destination: None,
    };
    plan.program.statics =
        std::sync::Arc::new(tandem_engine::statics::StaticTable::new(vec![mapping]).unwrap());
    let words = Dictionary::of(&plan.compile(None));
    let session = SessionRecord {
        pool: 5,
        ..plain_session()
    };
    assert!(encode(
        &Record::Op(Op::Session(session)),
        style(&words, VERSION),
        &mut Vec::new()
    ));
}

#[test]
fn values_that_mean_nothing_are_errors() {
    let words = dictionary();
    let read = |record_type, body: &[u8]| decode(record_type, body, style(&words, VERSION));
    assert_eq!(read(0, &[]), Err(WireError::RecordType(0)));
    assert_eq!(read(200, &[0; 64]), Err(WireError::RecordType(200)));
    assert!(matches!(
        read(15, &[0, 0, 0, 1, 16]),
        Err(WireError::Value { field: "extent", .. })
    ));
    assert!(read(128, &[0]).is_err() && read(128, &[129]).is_err() && read(128, &[128]).is_ok());
    let mut out = encoded(&Record::Op(Op::Session(plain_session())), &words);
    out[5] |= 7;
    assert!(matches!(
        read(out[1], &out[2..]),
        Err(WireError::Value {
            field: "timer class",
            ..
        })
    ));
}

/// Encodes and decodes a million sessions: `cargo test --release -p ha-sync --test wire -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn throughput() {
    const RECORDS: u32 = 1_000_000;
    let words = dictionary();
    let mut out = Vec::with_capacity(16 << 10);
    let (mut octets, mut taken) = (0, 0u32);
    let (mut writing, mut reading) = (std::time::Duration::ZERO, std::time::Duration::ZERO);
    let mut n = 0;
    while n < RECORDS {
        out.clear();
        let begin = std::time::Instant::now();
        let mut count = 0;
        while out.len() < 16 << 10 {
            let mut session = common::model::session(n, u64::from(n), NOW);
            session.policy = NONE;
            assert!(encode(
                &Record::Op(Op::Session(session)),
                style(&words, VERSION),
                &mut out
            ));
            (n, count) = (n + 1, count + 1);
        }
        writing += begin.elapsed();
        octets += out.len();
        let header = BatchHeader {
            stream: 1,
            sequence: 1,
            identity: 1,
            age_ms: 0,
            count,
        };
        let mut payload = header.octets().to_vec();
        payload.extend_from_slice(&out);
        let begin = std::time::Instant::now();
        let (_, mut records) = BatchHeader::decode(&payload).unwrap();
        while let Some((record_type, body)) = records.next_record().unwrap() {
            let read = std::hint::black_box(decode(record_type, body, style(&words, VERSION)).unwrap());
            taken += u32::from(matches!(read, Record::Op(Op::Session(_))));
        }
        reading += begin.elapsed();
    }
    assert_eq!(taken, n);
    let rate = |time: std::time::Duration| f64::from(n) / time.as_secs_f64() / 1e6;
    println!(
        "{n} sessions of {} octets: {:.1} M/s written, {:.1} M/s read",
        octets / n as usize,
        rate(writing),
        rate(reading)
    );
}
