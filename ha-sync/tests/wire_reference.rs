//! `docs/replication-wire.md` says of every number of the format what the code does, and of none that it lacks.

mod common;

use std::collections::BTreeMap;

use common::dictionary;
use ha_sync::chassis::{SetRole, Sets};
use ha_sync::frame;
use ha_sync::link::{BATCH_BYTES_MAX, Objects};
use ha_sync::wire::{
    Ack, BATCH_HEADER_LEN, BatchHeader, CONTROL_ONLY, EXCHANGE_MAX, EXCHANGE_PIECE, Hello, MessageType,
    Record, Style, VERSION, Versions, WireError, decode, encode, is_control,
};
use tandem_engine::program::NONE;
use tandem_engine::replica::{
    BlockRecord, CARRIED_FLAGS, ExtentRecord, Lease, LeaseChange, MappingRecord, ObjectTypes, Op, SessionKey,
    SessionRecord,
};
use tandem_engine::session::{Key66, Tuple4};
use tandem_engine::ticks::Ticks;

const PAGE: &str = include_str!("../../docs/replication-wire.md");

/// The page, however its lines are broken.
fn page() -> String {
    PAGE.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The rows of the table under a heading whose first cell is a number: their cells.
fn rows(heading: &str, columns: usize) -> Vec<Vec<&'static str>> {
    let section = PAGE
        .split("\n## ")
        .find(|section| section.starts_with(heading))
        .unwrap_or_else(|| panic!("no {heading}"));
    let lines = section.lines().filter(|line| line.starts_with("| "));
    let cells = lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect());
    let tables: Vec<Vec<&str>> = cells.collect();
    let numbered = |row: &Vec<&str>| row[0].parse::<u16>().is_ok() && row.len() == columns;
    tables.into_iter().filter(numbered).collect()
}

/// Type and name by the page.
fn named(heading: &str, columns: usize) -> BTreeMap<u16, &'static str> {
    let typed = rows(heading, columns)
        .into_iter()
        .filter(|row| row[1].starts_with('`'));
    typed
        .map(|row| (row[0].parse().expect("a type"), row[1].trim_matches('`')))
        .collect()
}

/// Fields of a fixed layout: offset by name; they follow one another without a gap.
fn layout(heading: &str, columns: usize) -> BTreeMap<&'static str, usize> {
    let mut end = 0;
    let mut offsets = BTreeMap::new();
    let fields = rows(heading, columns)
        .into_iter()
        .filter(|row| !row[1].starts_with('`'));
    for row in fields {
        let (offset, field): (usize, &str) = (row[0].parse().expect("an offset"), row[2]);
        assert_eq!(offset, end, "{heading}: {field}");
        end += row[1].parse().unwrap_or(0);
        offsets.insert(field.split([':', ';']).next().unwrap_or(field), offset);
    }
    offsets
}

#[test]
fn versions_and_bounds_are_those_of_the_code() {
    for said in [
        format!("format {}, wire versions {}.", frame::VERSION, Versions::ALL),
        format!(
            "0 to {}; this release accepts {}",
            frame::PAYLOAD_MAX,
            BATCH_BYTES_MAX + 4096
        ),
        format!("| 0 | 4 | magic | `{}` |", String::from_utf8_lossy(&frame::MAGIC)),
        format!("| 4 | 2 | version | {} |", frame::VERSION),
        format!("{NONE} stands for none"),
        format!("at most {EXCHANGE_MAX} octets in pieces of {EXCHANGE_PIECE}"),
        format!("; {CONTROL_ONLY}: only records about redundancy sets"),
    ] {
        assert!(page().contains(&said), "{said}");
    }
    let header = layout("Frame", 4);
    assert_eq!(header["payload"], frame::HEADER_LEN);
    let mut out = [0; 64];
    let length = frame::encode(&mut out, 0x0102, b"abc").expect("it fits");
    assert_eq!(length, header["payload"] + 3);
    let number = |at: usize| u32::from_be_bytes(out[at..at + 4].try_into().expect("4 octets"));
    assert_eq!(out[header["type"]..][..2], [1, 2]);
    assert_eq!(number(header["length"]), 3);
    assert_eq!(number(header["payload's CRC-32"]), crc32fast::hash(b"abc"));
    let checked = header["header's CRC-32"];
    assert_eq!(number(checked), crc32fast::hash(&out[..checked]));
}

#[test]
fn every_message_has_its_number() {
    let documented = named("Frame", 4);
    let coded = (0..=u16::MAX).filter_map(|n| Some((n, format!("{:?}", MessageType::try_from(n).ok()?))));
    let coded: BTreeMap<u16, String> = coded.collect();
    let documented: BTreeMap<u16, String> = documented.into_iter().map(|(n, s)| (n, s.to_owned())).collect();
    assert_eq!(documented, coded);
    let mut out = Vec::new();
    Ack::default().encode(&mut out);
    assert_eq!(out.len(), 4 + 8 + 4);
}

#[test]
fn hello_and_batch_have_their_fields_where_the_page_says() {
    let mut out = Vec::new();
    Hello {
        versions: Versions::ALL,
        revision: 0x0101_0101,
        incarnation: 0x0202_0202_0202_0202,
        peer_incarnation: 0x0303_0303_0303_0303,
        stream: 0x0404_0404,
        received: 0x0505_0505_0505_0505,
        shards: 6,
        replicate: true,
        exchanges: true,
        merges: true,
        digest: [7; 32],
        dictionary: 0x0808_0808,
        roles: vec![SetRole {
            set: 9,
            primary: true,
            epoch: 10,
        }],
    }
    .encode(&mut out);
    let fields = layout("Hello", 3);
    assert_eq!(out[..2], VERSION.to_be_bytes());
    let wanted: [(&str, &[u8]); 10] = [
        ("revision", &[1; 4]),
        ("incarnation", &[2; 8]),
        ("incarnation of the receiver that the next two are about", &[3; 8]),
        (
            "the receiver's stream of batches that the sender follows",
            &[4; 4],
        ),
        ("the last batch of it that was taken", &[5; 8]),
        ("shards", &[6]),
        ("flags", &[7]),
        ("digest of the configuration that both must have alike", &[7; 32]),
        ("dictionary checksum", &[8; 4]),
        ("roles", &[1, 9, 1, 0, 0, 0, 0, 0, 0, 0, 10]),
    ];
    for (field, octets) in wanted {
        assert!(out[fields[field]..].starts_with(octets), "{field}");
    }
    // The lowest wire version stands behind the roles.
    assert_eq!((fields.len(), fields["roles"] + 11 + 2), (11, out.len()));

    let fields = layout("Batch", 3);
    let header = BatchHeader {
        stream: 0x0101_0101,
        sequence: 0x0202_0202_0202_0202,
        identity: 0x0303_0303,
        age_ms: 0x0404_0404,
        count: 0x0505,
    };
    let octets = header.octets();
    assert_eq!(
        (fields["records"], octets.len()),
        (BATCH_HEADER_LEN, BATCH_HEADER_LEN)
    );
    for (field, first) in [
        ("stream", 1),
        ("sequence, from 1 in each stream", 2),
        ("identity", 3),
        (
            "age of the batch in milliseconds, set anew when it is sent again",
            4,
        ),
        ("number of records", 5),
    ] {
        assert_eq!(octets[fields[field]], first, "{field}");
        assert!(fields[field] == 0 || octets[fields[field] - 1] < first, "{field}");
    }
}

/// One record of each sort, by its name on the page.
fn samples() -> Vec<(&'static str, Record)> {
    let tuple = Tuple4 {
        src: 1,
        dst: 2,
        sport: 3,
        dport: 4,
    };
    let close = |key| {
        Record::Op(Op::Close {
            key,
            service_set: 1,
            protocol: 17,
        })
    };
    let v4 = SessionKey::V4 {
        out: tuple,
        back: tuple,
    };
    let nat64 = SessionKey::Nat64 {
        inside: 1 << 100,
        inside_port: 1,
        outside_port: 2,
        prefix: 1,
        back: tuple,
    };
    let v6 = SessionKey::V6(Key66 {
        inside: 1 << 100,
        outside: 2 << 100,
        inside_port: 1,
        outside_port: 2,
    });
    let session = |key| {
        Record::Op(Op::Session(SessionRecord {
            key,
            ..common::model::session(1, 1, Ticks(0))
        }))
    };
    let mapping = MappingRecord {
        service_set: 1,
        pool: 1,
        inside: tandem_engine::address::of_v4(1),
        inside_port: 1,
        public: 1,
        public_port: 1,
        protocol: 17,
        filtering: 0,
        prefix: 0,
    };
    let block = BlockRecord {
        service_set: 1,
        pool: 1,
        subscriber: tandem_engine::address::of_v4(1),
        public: 1,
        first_port: 1024,
        size: 64,
        created: Ticks(0),
    };
    let extent = ExtentRecord {
        pool: 1,
        public: 1,
        extent: 15,
        shard: 0,
        held_until: Ticks::ZERO,
    };
    let lease = Lease {
        public: 1,
        extent: 15,
    };
    vec![
        ("session, IPv4", session(v4)),
        ("session, NAT64", session(nat64)),
        ("session, IPv6", session(v6)),
        ("session's end, IPv4", close(v4)),
        ("session's end, NAT64", close(nat64)),
        ("session's end, IPv6", close(v6)),
        ("mapping", Record::Op(Op::Mapping(mapping))),
        ("mapping's end", Record::Op(Op::MappingClose(mapping))),
        ("port block", Record::Op(Op::Block(block))),
        ("port block's end", Record::Op(Op::BlockClose(block))),
        ("extent", Record::Op(Op::Extent(extent))),
        ("extent's end", Record::Op(Op::ExtentClose(extent))),
        ("lease offered", Record::Lease(LeaseChange::Offer(lease))),
        ("lease withdrawn", Record::Lease(LeaseChange::Withdraw(lease))),
        ("bulk begins", Record::BulkBegin(1, ObjectTypes::ALL, false)),
        (
            "bulk ends",
            Record::BulkEnd {
                number: 1,
                objects: Objects::default(),
                covers: Sets::from_bits(1),
            },
        ),
        ("release asked", Record::ReleaseAsked(1)),
        ("released", Record::Released { set: 1, epoch: 1 }),
        ("release refused", Record::ReleaseRefused(1)),
        (
            "resynchronization asked",
            Record::ResyncAsked(ObjectTypes::ALL, false),
        ),
    ]
}

#[test]
fn every_record_has_its_number_and_there_is_no_other() {
    let words = dictionary();
    let style = Style {
        words: &words,
        version: VERSION,
        now: Ticks(10),
    };
    let documented = named("Records", 3);
    let mut coded = BTreeMap::new();
    for (name, record) in samples() {
        let mut out = Vec::new();
        assert!(encode(&record, style, &mut out), "{name}");
        assert_eq!(usize::from(out[0]) + 2, out.len(), "{name}");
        coded.insert(u16::from(out[1]), name);
        assert_eq!(record.is_control(), is_control(out[1]), "{name}");
    }
    assert_eq!(documented, coded);
    // What is no type says so; what is one lacks its body here, or needs none.
    let known = |n: &u8| decode(*n, &[], style) != Err(WireError::RecordType(*n));
    let known: Vec<u16> = (0..=u8::MAX).filter(known).map(u16::from).collect();
    assert_eq!(known, documented.keys().copied().collect::<Vec<_>>());
    let control: Vec<String> = (0..=u8::MAX)
        .filter(|n| is_control(*n))
        .map(|n| n.to_string())
        .collect();
    let (last, others) = control.split_last().expect("some");
    let said = format!("{} and {last} are those about redundancy sets", others.join(", "));
    assert!(page().contains(&said), "{said}");
}

#[test]
fn every_flag_of_a_session_is_told() {
    let row = PAGE
        .lines()
        .find(|line| line.starts_with("| 2 | flags: "))
        .expect("the row");
    let flags = row
        .trim_start_matches("| 2 | flags: ")
        .split(';')
        .next()
        .expect("a list");
    let bits = flags
        .split(", ")
        .filter_map(|flag| flag.split(' ').next()?.parse::<u16>().ok());
    assert_eq!(bits.fold(0, |all, bit| all | bit), CARRIED_FLAGS);
}
