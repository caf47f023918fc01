//! The books: everything the tables say about each other, counted anew from the records.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tandem_engine::address::of_v4;
use tandem_engine::engine::Tables;
use tandem_engine::mapping::{Mapping, WHOLE_ADDRESS};
use tandem_engine::ports::PortClass;
use tandem_engine::session::{
    Cold, Direction, FLAG_ADDRESS_ONLY, FLAG_EXTENDED, FLAG_FREE_STANDING, FLAG_INITIATED_OUTSIDE,
    FLAG_OWNS_PORT, FLAG_SHARED_PORT, FLAG_UNANSWERED, Hot, KIND_64, KIND_66, KIND_EXTENSION, NO_RECORD,
};
use tandem_engine::subscriber::Subscriber;
use tandem_engine::ticks::Ticks;

use super::ledger::{self, Public, Taken};
use crate::common::world::World;

/// What is remembered from step to step.
pub struct Books {
    /// Public ports in use after the last step.
    used: HashSet<Public>,
    /// When a port was freed, and the shortest quarantine in force since.
    freed: HashMap<Public, (Ticks, u32)>,
    shortest_quarantine: u32,
    settled: bool,
    /// Sorts of sessions there were so far.
    pub seen: Seen,
}

/// Sessions with their numbers.
fn sessions<'a>(tables: &Tables<'a>) -> impl Iterator<Item = (u32, &'a Hot, &'a Cold)> + use<'a> {
    let table = tables.sessions;
    (0..table.high_water())
        .filter_map(|n| Some((n, table.hot(n)?, table.cold(n)?)))
        .filter(|(_, hot, _)| hot.is_session())
}

/// Sorts of sessions: what it stands on, its families, and what is special about it.
pub type Seen = BTreeSet<(&'static str, &'static str, &'static str)>;

fn sort_of(hot: &Hot, cold: &Cold) -> (&'static str, &'static str, &'static str) {
    let families = match hot.kind {
        KIND_64 => "NAT64",
        KIND_66 => "IPv6",
        _ => "IPv4",
    };
    let basis = match hot.flags {
        f if f & FLAG_FREE_STANDING != 0 && cold.term == tandem_engine::program::NONE => "nothing",
        f if f & FLAG_FREE_STANDING != 0 => "a rule",
        f if f & FLAG_SHARED_PORT != 0 => "a shared port",
        f if f & FLAG_OWNS_PORT != 0 => "a port",
        f if f & FLAG_ADDRESS_ONLY != 0 => "a claim",
        _ => "a mapping",
    };
    let special = match hot.flags {
        f if f & FLAG_EXTENDED != 0 => "extended",
        f if f & FLAG_UNANSWERED != 0 => "not answered",
        f if f & FLAG_INITIATED_OUTSIDE != 0 => "from outside",
        _ => "",
    };
    (basis, families, special)
}

/// The inside end of a session.
fn inside_end(hot: &Hot) -> (u128, u16) {
    match hot.kind {
        KIND_66 => (hot.six_six().key().inside, hot.six_six().key().inside_port),
        KIND_64 => (hot.six_four().inside(), hot.six_four().inside_port),
        _ => (of_v4(hot.tuples[0].src), hot.tuples[0].sport),
    }
}

impl Books {
    /// Books of a world where nothing happened yet.
    pub fn new(world: &World) -> Self {
        let mut books = Self {
            used: HashSet::new(),
            freed: HashMap::new(),
            shortest_quarantine: 0,
            settled: false,
            seen: Seen::new(),
        };
        books.reloaded(world);
        books
    }

    /// A new program: its quarantines count for ports that rest.
    pub fn reloaded(&mut self, world: &World) {
        let shortest = world.program.pools.iter().map(|p| p.quarantine.0).min();
        self.shortest_quarantine = shortest.unwrap_or(u32::MAX);
        for (_, quarantine) in self.freed.values_mut() {
            *quarantine = self.shortest_quarantine.min(*quarantine);
        }
    }

    /// So much time passed, and workers did all it asked for: right after that, and as the wheel counts in seconds,
    /// nothing is overdue.
    pub fn settled(&mut self, time: Ticks) {
        self.settled = time >= Ticks::from_seconds(2);
    }

    /// Checks everything.
    pub fn check(&mut self, world: &mut World) {
        let mut owners: BTreeMap<Public, u32> = BTreeMap::new();
        let mut resting: HashSet<Public> = HashSet::new();
        let mut looks = HashSet::new();
        let mut block_ranges: Vec<(u32, u16, u16)> = Vec::new();
        // A reload may move a static mapping from one worker's subscriber to another's: until the purge has come by, both have
        // sessions of it.
        let purging = world
            .engines
            .iter()
            .any(tandem_engine::engine::Engine::is_purging);
        for (worker, engine) in world.engines.iter().enumerate() {
            let tables = engine.tables();
            assert_eq!(engine.counters().port_release_mismatch, 0);
            let taken = taken(&tables);
            for t in taken.iter().filter(|t| !t.shared) {
                let other = owners.insert(t.public, t.subscriber);
                assert_eq!(other, None, "{t:?} has another owner, too");
            }
            resting.extend(ledger::check(world, worker as u8, &tables, &taken));
            sessions_are_found(&tables);
            look_different(&tables, &mut looks);
            if purging {
                looks.clear();
            }
            extensions_agree(&tables);
            self.seen
                .extend(sessions(&tables).map(|(_, hot, cold)| sort_of(hot, cold)));
            mappings_agree(&tables);
            subscribers_agree(world, &tables, &taken);
            ledger::blocks_agree(world, &tables, &taken, &mut block_ranges);
            claims_are_held(world, worker as u8, &tables);
        }
        block_ranges.sort_unstable();
        for pair in block_ranges.windows(2) {
            assert!(
                pair[0].0 != pair[1].0 || pair[0].2 < pair[1].1,
                "blocks overlap: {pair:?}"
            );
        }
        self.quarantine_is_kept(world.now, resting);
        if std::mem::take(&mut self.settled) {
            for s in world.sessions() {
                assert!(s.idle_s <= s.timeout_s + 2, "overdue: {s:?}");
            }
        }
    }

    fn quarantine_is_kept(&mut self, now: Ticks, used: HashSet<Public>) {
        for port in self.used.difference(&used) {
            self.freed.insert(*port, (now, self.shortest_quarantine));
        }
        for port in used.difference(&self.used) {
            if let Some((since, quarantine)) = self.freed.remove(port) {
                let rested = now.since(since).0;
                assert!(
                    rested >= quarantine,
                    "{port:?} rested {rested} of {quarantine} ticks"
                );
            }
        }
        self.used = used;
    }
}

/// The subscriber of a mapping.
fn owner<'a>(tables: &'a Tables<'_>, mapping: &Mapping) -> &'a Subscriber {
    let subscriber = tables.subscribers.get(mapping.subscriber);
    subscriber.expect("a mapping's subscriber lives")
}

/// Public ports and addresses that are taken, and by whom: by mapping, or by a session of its own.
fn taken(tables: &Tables<'_>) -> Vec<Taken> {
    let mut taken = Vec::new();
    for m in (0..tables.mappings.high_water()).filter_map(|n| tables.mappings.get(n)) {
        taken.push(Taken {
            public: (m.public, m.public_port, m.protocol),
            subscriber: m.subscriber,
            shared: false,
        });
    }
    for (_, hot, cold) in sessions(tables).filter(|(_, hot, _)| hot.flags & FLAG_OWNS_PORT != 0) {
        let back = hot.from_outside();
        taken.push(Taken {
            public: (back.dst, back.dport, hot.protocol),
            subscriber: cold.subscriber,
            shared: hot.flags & FLAG_SHARED_PORT != 0,
        });
    }
    taken
}

/// Every session is found by what its packets look like, from either side.
fn sessions_are_found(tables: &Tables<'_>) {
    let table = tables.sessions;
    for (n, hot, _) in sessions(tables) {
        let (out, back) = table.places(hot);
        let (inside, outside) = match hot.kind {
            KIND_66 => {
                let found = table.find_66(out, &hot.six_six().key(), hot.protocol);
                (found, found)
            }
            KIND_64 => {
                let (wide, (inside, port)) = (hot.six_four(), inside_end(hot));
                let of = (hot.service_set, wide.prefix);
                let ports = (port, wide.outside_port());
                let found = table.find_64(out, inside, wide.back.src, ports, hot.protocol, of);
                let from = hot.from_outside();
                (
                    found,
                    table.find(back.unwrap(), &from, hot.protocol, Direction::In, 0),
                )
            }
            _ => {
                let [from_inside, from_outside] = hot.tuples;
                (
                    table.find(out, &from_inside, hot.protocol, Direction::Out, hot.service_set),
                    table.find(back.unwrap(), &from_outside, hot.protocol, Direction::In, 0),
                )
            }
        };
        assert_eq!((inside, outside), (Some(n), Some(n)), "{hot:?}");
    }
}

/// No two sessions look the same from outside.
fn look_different(tables: &Tables<'_>, looks: &mut HashSet<(u128, u128, u16, u16, u8)>) {
    for (_, hot, _) in sessions(tables) {
        let back = hot.from_outside();
        let look = match hot.kind {
            KIND_66 => {
                let key = hot.six_six().key();
                (
                    key.outside,
                    key.inside,
                    key.outside_port,
                    key.inside_port,
                    hot.protocol,
                )
            }
            _ => (
                of_v4(back.src),
                of_v4(back.dst),
                back.sport,
                back.dport,
                hot.protocol,
            ),
        };
        assert!(
            looks.insert(look),
            "two sessions look like {look:x?} from outside: {hot:?}"
        );
    }
}

/// Records that are no sessions extend one each; none is left over.
fn extensions_agree(tables: &Tables<'_>) {
    let table = tables.sessions;
    let (mut extended, mut count) = (HashSet::new(), 0);
    for (_, hot, cold) in sessions(tables) {
        count += 1;
        if hot.flags & FLAG_EXTENDED != 0 {
            assert!(
                extended.insert(cold.slot),
                "two sessions have extension {}",
                cold.slot
            );
            assert_eq!(table.hot(cold.slot).map(|h| h.kind), Some(KIND_EXTENSION));
        }
    }
    let records = (0..table.high_water()).filter(|n| table.hot(*n).is_some_and(|h| h.kind == KIND_EXTENSION));
    assert_eq!(records.count(), extended.len(), "extensions without a session");
    assert_eq!(table.live() as usize, count + extended.len());
}

/// A mapping has the sessions that name it, is found from both sides, and there is one per inside end.
fn mappings_agree(tables: &Tables<'_>) {
    let mut users = HashMap::<u32, (u32, u32)>::new();
    for (_, hot, cold) in sessions(tables) {
        if hot.flags & (FLAG_OWNS_PORT | FLAG_ADDRESS_ONLY | FLAG_FREE_STANDING) != 0 {
            continue;
        }
        let entry = users.entry(cold.anchor).or_default();
        entry.0 += 1;
        entry.1 += u32::from(hot.flags & FLAG_UNANSWERED == 0);
        let m = tables
            .mappings
            .get(cold.anchor)
            .expect("a session's mapping lives");
        let of = owner(tables, m);
        let ((inside, port), back) = (inside_end(hot), hot.from_outside());
        assert_eq!(
            (m.inside(of), m.public, of.service_set, m.subscriber),
            (inside, back.dst, hot.service_set, cold.subscriber)
        );
        if m.protocol == WHOLE_ADDRESS {
            assert_eq!(port, back.dport, "of a whole address ports stay: {hot:?}");
        } else {
            assert_eq!(
                (m.inside_port, m.public_port, m.protocol),
                (port, back.dport, hot.protocol)
            );
        }
    }
    let mut live = 0;
    for n in 0..tables.mappings.high_water() {
        let Some(m) = tables.mappings.get(n) else { continue };
        live += 1;
        // Without sessions it lives only on a standby, as long as the primary has it.
        let known = users.get(&n).copied().or(m.is_known().then_some((0, 0)));
        assert_eq!(Some((m.sessions, m.holders())), known, "{m:?}");
        let of = owner(tables, m);
        let place = tables
            .mappings
            .inside_place(of.service_set, m.inside(of), m.inside_port, m.protocol);
        let found = tables
            .mappings
            .find_inside(place, m.subscriber, m.inside(of), m.inside_port, m.protocol);
        assert_eq!(found, Some(n));
        assert_eq!(
            tables.mappings.find_public(m.public, m.public_port, m.protocol),
            Some(n)
        );
    }
    assert_eq!(tables.mappings.live(), live);
}

/// A subscriber has the sessions, ports and blocks that name it, and something at all.
fn subscribers_agree(world: &World, tables: &Tables<'_>, taken: &[Taken]) {
    let mut counted = HashMap::<u32, (u32, [u32; 3])>::new();
    for (_, hot, cold) in sessions(tables) {
        counted.entry(cold.subscriber).or_default().0 += 1;
        let s = tables
            .subscribers
            .get(cold.subscriber)
            .expect("a session's subscriber lives");
        let inside = inside_end(hot).0;
        let bits = if tandem_engine::address::is_v4(inside) {
            128
        } else {
            64
        };
        let prefix = inside >> (128 - bits) << (128 - bits);
        assert_eq!((s.service_set, s.address()), (hot.service_set, prefix));
    }
    for t in taken {
        if let Some(class) = PortClass::of_protocol(t.public.2) {
            counted.entry(t.subscriber).or_default().1[class as usize] += 1;
        }
    }
    let mut live = 0;
    let mut keys = HashSet::new();
    for n in 0..tables.subscribers.high_water() {
        let Some(s) = tables.subscribers.get(n) else {
            continue;
        };
        live += 1;
        assert!(keys.insert((s.service_set, s.address())), "twice: {s:?}");
        let (sessions, ports) = counted.remove(&n).unwrap_or_default();
        assert_eq!(
            (s.sessions, s.ports),
            (sessions, ports),
            "subscriber {:x}",
            s.address()
        );
        let mut blocks = 0;
        let mut at = s.blocks;
        while let Some(b) = tables.ports.of(&s.address()).blocks().get(at) {
            assert_eq!(b.subscriber, n);
            blocks += 1;
            at = b.next;
        }
        assert_eq!((blocks, at), (s.block_count, NO_RECORD));
        assert!(!s.is_idle(), "an idle subscriber stayed: {s:?}");
        if s.paired == NO_RECORD {
            assert_eq!(s.pool, tandem_engine::program::NONE);
        } else {
            assert!(s.paired < world.program.public_space.index_end());
        }
    }
    assert_eq!(tables.subscribers.live(), live);
    assert!(counted.is_empty(), "of no subscriber: {counted:?}");
}

/// Sessions without ports hold their claims.
fn claims_are_held(world: &World, worker: u8, tables: &Tables<'_>) {
    for (_, hot, _) in sessions(tables).filter(|(_, hot, _)| hot.flags & FLAG_ADDRESS_ONLY != 0) {
        let back = hot.from_outside();
        assert_eq!(world.claims.owner(back.dst, back.src, hot.protocol), Some(worker));
    }
}
