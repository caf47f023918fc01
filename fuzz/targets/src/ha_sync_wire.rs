//! Input: an octet that chooses, then what a peer sends. As records (type, then body): what is read and can be written is written
//! and read again as it was. As messages (type, length in two octets, payload), put into frames with right checksums, or as
//! bare octets: a link takes or refuses them, never panics, uses no more than it was given, installs only what a standby can
//! hold, and says nothing but frames.

use std::cell::OnceCell;

use ha_sync::chassis::{Chassis, PeerEvent};
use ha_sync::frame::{Decoder, HEADER_LEN, PAYLOAD_MAX, encode as frame};
use ha_sync::link::{Link, LinkConfig};
use ha_sync::wire::{Dictionary, Record, Style, VERSION, decode, encode};
use tandem_engine::replica::{Lease, LeaseChange, Mark, Op};
use tandem_engine::ticks::Ticks;
use tandem_engine_testkit::plan::Plan;

const NOW: Ticks = Ticks(100_000);
const DIGEST: [u8; 32] = [7; 32];

thread_local! {
    static WORDS: OnceCell<Dictionary> = const { OnceCell::new() };
}

/// One replicated service set, pool and NAT64 prefix.
fn words() -> Dictionary {
    let made = || {
        let mut plan = Plan::new();
        plan.nat64();
        plan.set().replication.threshold = Some(Ticks::ZERO);
        Dictionary::of(&plan.compile(None))
    };
    WORDS.with(|words| words.get_or_init(made).clone())
}

/// Takes three operations out of four.
#[derive(Default)]
struct Standby {
    asked: u32,
    taken: u32,
    bulk: Option<u16>,
}

impl Chassis for Standby {
    fn next(&mut self) -> Option<Op> {
        None
    }

    fn install(&mut self, op: &Op) -> bool {
        self.asked += 1;
        if self.asked.is_multiple_of(4) {
            return false;
        }
        self.taken += 1;
        match op {
            Op::BulkBegin(number, _) => self.bulk = Some(*number),
            Op::BulkEnd(number) => assert_eq!(self.bulk.take(), Some(*number)),
            Op::Extent(e) | Op::ExtentClose(e) => assert!(e.extent < 16),
            Op::Session(s) => {
                assert!(s.state < 10 && s.timer < 7 && s.filtering < 4);
                assert!(s.service_set == 1 && s.created <= NOW && s.last_seen <= NOW);
            }
            Op::Close { service_set, .. } => assert_eq!(*service_set, 1),
            Op::Mapping(m) | Op::MappingClose(m) => assert_eq!((m.service_set, m.pool), (1, 1)),
            Op::Block(b) | Op::BlockClose(b) => assert_eq!((b.service_set, b.pool), (1, 1)),
            other => panic!("{other:?} is not for a standby"),
        }
        true
    }

    fn next_lease(&mut self) -> Option<LeaseChange> {
        None
    }

    fn lease_acknowledged(&mut self, lease: Lease) {
        panic!("{lease:?} was never offered");
    }

    fn mark_acknowledged(&mut self, mark: Mark) {
        panic!("{mark:?} was never made");
    }

    fn lease_told(&mut self, change: LeaseChange) {
        let (LeaseChange::Offer(lease) | LeaseChange::Resting(lease, _) | LeaseChange::Withdraw(lease)) = change;
        assert!(lease.extent < 16);
    }

    fn peer(&mut self, event: PeerEvent) {
        if let PeerEvent::Roles(roles) = event {
            assert!(roles.iter().all(|role| (1..=128).contains(&role.set)));
        }
    }

    fn ticks(&self, _: u64) -> Ticks {
        NOW
    }
}

fn record(record_type: u8, body: &[u8]) {
    let words = words();
    let style = Style {
        words: &words,
        version: VERSION,
        now: NOW,
    };
    let Ok(read) = decode(record_type, body, style) else {
        return;
    };
    let mut out = Vec::new();
    let written = encode(&read, style, &mut out);
    // A mapping, a block and an extent have a pool always; what was read has one that can be written.
    assert!(written, "{read:?}");
    assert_eq!(decode(out[1], &out[2..], style), Ok(read));
    assert!(!matches!(
        read,
        Record::Op(Op::Lost | Op::Mark(_) | Op::Refused | Op::Listen(_) | Op::Bulk(..))
    ));
}

/// A link that was greeted well, and what its batches are marked with.
fn greeted() -> (Link, Standby, [u8; 4]) {
    let mut link = Link::new(LinkConfig::new(1, 4, DIGEST, words()));
    let mut peer = Link::new(LinkConfig::new(2, 4, DIGEST, words()));
    let (mut chassis, mut other) = (Standby::default(), Standby::default());
    let mut out = Vec::new();
    peer.connected(0);
    peer.poll(0, &mut other, &mut out);
    link.connected(0);
    assert_eq!(link.received(0, &out, &mut chassis), Ok(out.len()));
    let mut said = Vec::new();
    link.poll(0, &mut chassis, &mut said);
    let mut decoder = Decoder::new(PAYLOAD_MAX);
    let mut rest = &said[..];
    while let Ok(Some(frame)) = decoder.next(&mut rest) {
        if frame.message_type == 2 {
            let identity = frame.payload[12..16].try_into().unwrap_or_default();
            return (link, chassis, identity);
        }
    }
    panic!("a bulk begins with a batch");
}

/// Gives octets to a link as a driver does; whether it goes on.
fn give(link: &mut Link, chassis: &mut Standby, now: u64, mut octets: &[u8]) -> bool {
    let mut out = Vec::new();
    while !octets.is_empty() {
        match link.received(now, octets, chassis) {
            Ok(used) => octets = &octets[used..],
            Err(_) => {
                assert!(link.state().wants_close());
                return false;
            }
        }
        out.clear();
        link.poll(now, chassis, &mut out);
        let mut decoder = Decoder::new(PAYLOAD_MAX);
        let mut rest = &out[..];
        while decoder.next(&mut rest).expect("a link writes frames").is_some() {}
        assert_eq!(decoder.end(), Ok(()));
        if link.state().wants_close() {
            return false;
        }
    }
    true
}

fn messages(mut data: &[u8]) {
    let (mut link, mut chassis, identity) = greeted();
    let mut now = 1;
    while let [message_type, high, low, rest @ ..] = data {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (payload, after) = rest.split_at(length);
        let mut payload = payload.to_vec();
        // No input guesses a checksum: all ones stand for the right one.
        if let Some(place) = payload
            .get_mut(12..16)
            .filter(|p| *message_type == 2 && **p == [0xff; 4])
        {
            place.copy_from_slice(&identity);
        }
        let mut octets = vec![0; HEADER_LEN + payload.len()];
        frame(&mut octets, u16::from(*message_type), &payload).expect("it fits");
        now += 1;
        if !give(&mut link, &mut chassis, now, &octets) {
            return;
        }
        data = after;
    }
    link.disconnected(now);
}

/// What the target does with one input.
pub fn run(data: &[u8]) {
    match data {
        [choice, record_type, body @ ..] if choice % 4 < 2 => record(*record_type, body),
        [choice, data @ ..] if choice % 4 == 2 => messages(data),
        [_, data @ ..] => {
            let mut link = Link::new(LinkConfig::new(1, 4, DIGEST, words()));
            link.connected(0);
            give(&mut link, &mut Standby::default(), 1, data);
        }
        [] => {}
    }
}
