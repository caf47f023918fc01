//! A model of a chassis: objects that come, change and go, a ring to tell of them, and a copy of what the other told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ha_sync::chassis::{Chassis, PeerEvent, Renewal};
use tandem_engine::replica::{
    BlockRecord, ExtentRecord, Lease, LeaseChange, MappingRecord, Mark, ObjectTypes, Op, SessionKey,
    SessionRecord,
};
use tandem_engine::session::Tuple4;
use tandem_engine::ticks::Ticks;

use super::Random;

/// Names an object: its kind and number.
pub type Name = (u8, u32);

#[derive(Debug)]
pub struct Model {
    /// What there is here, with a value that changes.
    pub mine: BTreeMap<Name, u64>,
    /// What the peer told, with the bulk it was last told in, and when it began.
    pub theirs: BTreeMap<Name, (u64, u16, Ticks)>,
    pub outbox: VecDeque<Op>,
    pub capacity: usize,
    pub listening: bool,
    lost: bool,
    walk: Option<(u16, Vec<Name>)>,
    epoch: u16,
    incoming: ObjectTypes,
    pub offers: VecDeque<LeaseChange>,
    pub leases: BTreeSet<Lease>,
    pub told: BTreeSet<Lease>,
    /// What the peer said of leases, as it did.
    pub lease_changes: Vec<LeaseChange>,
    pub marks: Vec<Mark>,
    pub events: Vec<PeerEvent>,
    /// When the peer was last heard.
    pub heard_ms: Option<u64>,
    pub random: Random,
    /// In so many of a thousand cases an operation finds no room.
    pub no_room: u64,
    pub full: bool,
    /// See [`Chassis::waiting_since`].
    pub waiting_since: Option<u64>,
    /// See [`Chassis::renews`].
    pub renewal: Renewal,
    pub now: u64,
}

/// The type of objects that a kind is of.
fn types_of((kind, _): Name) -> ObjectTypes {
    match kind {
        0 => ObjectTypes::SESSIONS,
        1 => ObjectTypes::MAPPINGS,
        _ => ObjectTypes::BLOCKS,
    }
}

pub fn session(number: u32, value: u64, now: Ticks) -> SessionRecord {
    let out = Tuple4 {
        src: 0x0a00_0000 + number,
        dst: 0xc633_6401,
        sport: number as u16,
        dport: 443,
    };
    SessionRecord {
        key: SessionKey::V4 {
            out,
            back: Tuple4 {
                src: out.dst,
                dst: 0xcb00_7100 + number % 16,
                sport: 443,
                dport: 1024 + number as u16,
            },
        },
        service_set: 1,
        protocol: 6,
        state: (value % 10) as u8,
        timer: (value % 7) as u8,
        filtering: (value % 3) as u8,
        flags: 0,
        term: 0,
        policy: u16::MAX,
        pool: 1,
        mapping_prefix: 0,
        created: now,
        last_seen: now,
        packets: [value, 2],
        bytes: [value * 1000, 3],
    }
}

fn begin(name: Name, value: u64, now: Ticks) -> Op {
    let (kind, n) = name;
    match kind {
        0 => Op::Session(session(n, value, now)),
        1 => Op::Mapping(mapping(n)),
        2 => Op::Block(block(n, now)),
        _ => Op::Extent(extent(n)),
    }
}

fn end(name: Name) -> Op {
    let (kind, n) = name;
    match kind {
        0 => Op::Close {
            key: session(n, 0, Ticks::ZERO).key,
            service_set: 1,
            protocol: 6,
        },
        1 => Op::MappingClose(mapping(n)),
        2 => Op::BlockClose(block(n, Ticks::ZERO)),
        _ => Op::ExtentClose(extent(n)),
    }
}

fn mapping(n: u32) -> MappingRecord {
    MappingRecord {
        inside: tandem_engine::address::of_v4(n),
        inside_port: 1,
        public_port: 2,
        public: 3,
        service_set: 1,
        pool: 1,
        protocol: 17,
        filtering: 0,
        prefix: 0,
    }
}

fn block(n: u32, now: Ticks) -> BlockRecord {
    BlockRecord {
        subscriber: 0x2001_0db8 << 96 | u128::from(n),
        public: 1,
        first_port: 1024,
        size: 64,
        service_set: 1,
        pool: 1,
        created: now,
    }
}

fn extent(n: u32) -> ExtentRecord {
    ExtentRecord {
        public: n,
        pool: 1,
        extent: (n % 16) as u8,
        shard: 0,
        held_until: Ticks::ZERO,
    }
}

impl Model {
    pub fn new(seed: u64) -> Self {
        Self {
            mine: BTreeMap::new(),
            theirs: BTreeMap::new(),
            outbox: VecDeque::new(),
            capacity: 2000,
            listening: false,
            lost: false,
            walk: None,
            epoch: 0,
            incoming: ObjectTypes::NONE,
            offers: VecDeque::new(),
            leases: BTreeSet::new(),
            told: BTreeSet::new(),
            lease_changes: Vec::new(),
            marks: Vec::new(),
            events: Vec::new(),
            heard_ms: None,
            random: Random(seed),
            no_room: 0,
            full: false,
            waiting_since: None,
            renewal: Renewal::Not,
            now: 0,
        }
    }

    /// Something happens.
    pub fn act(&mut self, names: u64) {
        let kind = if self.random.per_mille(800) {
            0
        } else {
            1 + self.random.below(3) as u8
        };
        let name = (kind, self.random.below(names) as u32);
        let value = self.random.next() >> 40;
        let ends = self.mine.contains_key(&name) && self.random.per_mille(300);
        let ticks = Ticks((self.now / 100) as u32);
        let op = if ends {
            self.mine.remove(&name);
            end(name)
        } else {
            self.mine.insert(name, if kind == 0 { value } else { 0 });
            begin(name, value, ticks)
        };
        if !self.listening {
            return;
        }
        if self.outbox.len() < self.capacity && !self.lost {
            self.outbox.push_back(op);
        } else {
            self.lost = true;
        }
    }

    /// Between bursts: goes on with the bulk, and says what was lost.
    pub fn walk(&mut self) {
        let ticks = Ticks((self.now / 100) as u32);
        if self.lost && self.outbox.len() < self.capacity {
            self.outbox.push_back(Op::Lost);
            (self.lost, self.walk) = (false, None);
        }
        let Some((number, mut names)) = self.walk.take() else {
            return;
        };
        while self.outbox.len() < self.capacity {
            let Some(name) = names.pop() else {
                self.outbox.push_back(Op::BulkEnd(number));
                return;
            };
            if let Some(value) = self.mine.get(&name) {
                self.outbox.push_back(begin(name, *value, ticks));
            }
        }
        self.walk = Some((number, names));
    }

    fn bulk(&mut self, number: u16, types: ObjectTypes) {
        let names = self.mine.keys().copied();
        let asked = names.filter(|name| types.contains(types_of(*name)));
        self.walk = Some((number, asked.collect()));
    }

    pub fn took(&self, op: &Op) -> Option<(Name, Option<u64>, Ticks)> {
        let number = |key: &SessionKey| match key {
            SessionKey::V4 { out, .. } => out.src - 0x0a00_0000,
            other => panic!("{other:?}"),
        };
        Some(match op {
            Op::Session(s) => {
                let n = number(&s.key);
                let value = s.packets[0];
                let same = SessionRecord {
                    created: Ticks::ZERO,
                    last_seen: Ticks::ZERO,
                    ..*s
                };
                assert_eq!(same, session(n, value, Ticks::ZERO));
                ((0, n), Some(value), s.created)
            }
            Op::Close { key, .. } => ((0, number(key)), None, Ticks::ZERO),
            Op::Mapping(m) | Op::MappingClose(m) => {
                let n = m.inside as u32;
                assert_eq!(*m, mapping(n));
                ((1, n), matches!(op, Op::Mapping(_)).then_some(0), Ticks::ZERO)
            }
            Op::Block(b) | Op::BlockClose(b) => (
                (2, b.subscriber as u32),
                matches!(op, Op::Block(_)).then_some(0),
                b.created,
            ),
            Op::Extent(e) | Op::ExtentClose(e) => (
                (3, e.public),
                matches!(op, Op::Extent(_)).then_some(0),
                Ticks::ZERO,
            ),
            _ => return None,
        })
    }

    /// What the peer told, without what only a test of ages looks at.
    pub fn copy(&self) -> BTreeMap<Name, u64> {
        self.theirs.iter().map(|(n, (v, ..))| (*n, *v)).collect()
    }
}

impl Chassis for Model {
    fn next(&mut self) -> Option<Op> {
        self.outbox.pop_front()
    }

    fn install(&mut self, op: &Op) -> bool {
        if self.full || self.random.per_mille(self.no_room) {
            return false;
        }
        match op {
            Op::BulkBegin(number, types) => (self.epoch, self.incoming) = (*number, *types),
            Op::BulkEnd(number) => {
                assert_eq!(*number, self.epoch);
                let incoming = self.incoming;
                self.theirs
                    .retain(|name, (_, epoch, _)| epoch == number || !incoming.contains(types_of(*name)));
            }
            op => match self.took(op).expect("an operation for a standby") {
                (name, Some(value), began) => drop(self.theirs.insert(name, (value, self.epoch, began))),
                (name, None, _) => drop(self.theirs.remove(&name)),
            },
        }
        true
    }

    fn next_lease(&mut self) -> Option<LeaseChange> {
        self.offers.pop_front()
    }

    fn renews(&mut self) -> Renewal {
        let renewal = self.renewal;
        if renewal == Renewal::Now {
            self.renewal = Renewal::Not;
        }
        renewal
    }

    fn waiting_since(&self) -> Option<u64> {
        self.waiting_since
    }

    fn lease_acknowledged(&mut self, lease: Lease) {
        assert!(self.leases.insert(lease), "acknowledged twice");
    }

    fn mark_acknowledged(&mut self, mark: Mark) {
        self.marks.push(mark);
    }

    fn heard(&mut self, now: u64) {
        self.heard_ms = Some(now);
    }

    fn lease_told(&mut self, change: LeaseChange) {
        assert!(self.heard_ms.is_some(), "heard before it is told");
        self.lease_changes.push(change);
        match change {
            LeaseChange::Offer(lease) | LeaseChange::Resting(lease, _) => drop(self.told.insert(lease)),
            LeaseChange::Withdraw(lease) => drop(self.told.remove(&lease)),
        }
    }

    fn peer(&mut self, event: PeerEvent) {
        match &event {
            PeerEvent::Connected { new_bulk: Some(n) } => {
                // As a bridge sees to: what was put out before somebody listened is of another time.
                if !self.listening {
                    self.outbox.clear();
                }
                self.listening = true;
                self.bulk(*n, ObjectTypes::ALL);
            }
            PeerEvent::Bulk(n, types) => self.bulk(*n, *types),
            PeerEvent::Forgotten => {
                self.listening = false;
                self.outbox.clear();
                (self.walk, self.lost) = (None, false);
            }
            _ => {}
        }
        self.events.push(event);
    }
}
