//! The books: everything the tables say about each other, counted anew from the records.

use std::collections::{BTreeMap, HashMap, HashSet};

use tandem_engine::address::{of_v4, v4};
use tandem_engine::engine::Tables;
use tandem_engine::mapping::Mapping;
use tandem_engine::ports::PortClass;
use tandem_engine::session::{
    Cold, Direction, FLAG_ADDRESS_ONLY, FLAG_OWNS_PORT, FLAG_UNANSWERED, Hot, NO_RECORD,
};
use tandem_engine::subscriber::Subscriber;
use tandem_engine::ticks::Ticks;

use crate::common::world::World;

/// A public end: address, port, protocol.
type Public = (u32, u16, u8);
/// An inside end: service set, address, port.
type Inside = (u16, u32, u16);

/// What is remembered from step to step.
pub struct Books {
    /// Public ports in use after the last step.
    used: HashSet<Public>,
    /// When a port was freed, and the shortest quarantine in force since.
    freed: HashMap<Public, (Ticks, u32)>,
    shortest_quarantine: u32,
    settled: bool,
}

fn sessions<'a>(tables: &Tables<'a>) -> impl Iterator<Item = (&'a Hot, &'a Cold)> + use<'a> {
    let table = tables.sessions;
    (0..table.high_water())
        .filter_map(|n| Some((table.hot(n)?, table.cold(n)?)))
        .filter(|(hot, _)| hot.is_session())
}

fn class(protocol: u8) -> PortClass {
    PortClass::of_protocol(protocol).expect("only protocols with ports own ports")
}

impl Books {
    /// Books of a world where nothing happened yet.
    pub fn new(world: &World) -> Self {
        let mut books = Self {
            used: HashSet::new(),
            freed: HashMap::new(),
            shortest_quarantine: 0,
            settled: false,
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
        let mut owners: BTreeMap<Public, Inside> = BTreeMap::new();
        let mut block_ranges: Vec<(u32, u16, u16)> = Vec::new();
        for (worker, engine) in world.engines.iter().enumerate() {
            let tables = engine.tables();
            assert_eq!(engine.counters().port_release_mismatch, 0);
            let ports = port_owners(&tables);
            for (public, inside) in &ports {
                let other = owners.insert(*public, *inside);
                assert_eq!(other, None, "{public:?} also belongs to {inside:?}");
            }
            ports_are_used(world, worker, &tables, &ports);
            mappings_agree(&tables);
            subscribers_agree(world, &tables, &ports);
            blocks_agree(world, &tables, &ports, &mut block_ranges);
            claims_are_held(world, worker as u8, &tables);
        }
        block_ranges.sort_unstable();
        for pair in block_ranges.windows(2) {
            assert!(
                pair[0].0 != pair[1].0 || pair[0].2 < pair[1].1,
                "blocks overlap: {pair:?}"
            );
        }
        self.quarantine_is_kept(world.now, owners.keys().copied().collect());
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

/// Public ports and who has them: by mapping, or by a session of its own.
fn port_owners(tables: &Tables<'_>) -> Vec<(Public, Inside)> {
    let mut owners = Vec::new();
    for m in (0..tables.mappings.high_water()).filter_map(|n| tables.mappings.get(n)) {
        let of = owner(tables, m);
        owners.push((
            (m.public, m.public_port, m.protocol),
            (
                of.service_set,
                v4(m.inside(of)).expect("an IPv4 inside"),
                m.inside_port,
            ),
        ));
    }
    for (hot, _) in sessions(tables).filter(|(hot, _)| hot.flags & FLAG_OWNS_PORT != 0) {
        let [out, back] = hot.tuples;
        owners.push((
            (back.dst, back.dport, hot.protocol),
            (hot.service_set, out.src, out.sport),
        ));
    }
    owners
}

/// Every port that has an owner is used in the allocator, and no other is.
fn ports_are_used(world: &World, worker: usize, tables: &Tables<'_>, ports: &[(Public, Inside)]) {
    let space = &world.program.public_space;
    for ((address, port, protocol), _) in ports {
        let index = space
            .index_of(*address)
            .expect("a public address keeps its index");
        assert!(
            tables.ports.is_used(index, class(*protocol), *port),
            "{address:x}:{port} is not used"
        );
        assert_ne!(*port, 0);
    }
    let mut counted = [0u32; 3];
    let mut paired = HashMap::<u32, u32>::new();
    for s in (0..tables.subscribers.high_water()).filter_map(|n| tables.subscribers.get(n)) {
        if s.paired != NO_RECORD {
            *paired.entry(s.paired).or_default() += 1;
        }
    }
    let mut extents = 0;
    for index in 0..space.index_end() {
        let mut here = 0;
        for e in 0..16 {
            let owned = usize::from(space.owner(index, e)) == worker;
            let extent = tables.ports.extent(index, e);
            assert_eq!(extent.is_some(), owned, "extent {e} of address {index}");
            let used = extent.map_or([0; 3], |x| x.used);
            extents += u64::from(owned);
            here += used.iter().sum::<u32>();
            counted.iter_mut().zip(used).for_each(|(c, u)| *c += u);
        }
        let pairs = paired.get(&index).copied().unwrap_or(0);
        assert_eq!(tables.ports.address_use(index), (here, pairs), "address {index}");
    }
    let owned = |c: PortClass| ports.iter().filter(|((_, _, p), _)| class(*p) == c).count() as u32;
    assert_eq!(
        counted,
        [PortClass::Tcp, PortClass::Udp, PortClass::Icmp].map(owned)
    );
    let use_of =
        |f: fn(&tandem_engine::view::PoolUse) -> u64| tables.ports.pool_use().map(|u| f(&u)).sum::<u64>();
    assert_eq!(
        [
            use_of(|u| u.tcp_ports),
            use_of(|u| u.udp_ports),
            use_of(|u| u.icmp_ids)
        ],
        counted.map(u64::from),
        "use of pools"
    );
    assert_eq!(use_of(|u| u.extents), extents);
    assert_eq!(
        use_of(|u| u.subscribers),
        paired.values().map(|n| u64::from(*n)).sum::<u64>()
    );
    assert_eq!(use_of(|u| u.blocks), u64::from(tables.ports.blocks().live()));
}

/// A mapping has the sessions that name it, is found from both sides, and there is one per inside end.
fn mappings_agree(tables: &Tables<'_>) {
    let mut users = HashMap::<u32, (u32, u32)>::new();
    for (hot, cold) in sessions(tables) {
        if hot.flags & (FLAG_OWNS_PORT | FLAG_ADDRESS_ONLY) != 0 {
            continue;
        }
        let entry = users.entry(cold.anchor).or_default();
        entry.0 += 1;
        entry.1 += u32::from(hot.flags & FLAG_UNANSWERED == 0);
        let m = tables
            .mappings
            .get(cold.anchor)
            .expect("a session's mapping lives");
        let [out, back] = hot.tuples;
        let of = owner(tables, m);
        assert_eq!(
            (
                m.inside(of),
                m.inside_port,
                m.public,
                m.public_port,
                m.protocol,
                of.service_set,
                m.subscriber
            ),
            (
                of_v4(out.src),
                out.sport,
                back.dst,
                back.dport,
                hot.protocol,
                hot.service_set,
                cold.subscriber
            )
        );
    }
    let mut live = 0;
    for n in 0..tables.mappings.high_water() {
        let Some(m) = tables.mappings.get(n) else { continue };
        live += 1;
        assert_eq!(Some(&(m.sessions, m.holders)), users.get(&n), "{m:?}");
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
fn subscribers_agree(world: &World, tables: &Tables<'_>, ports: &[(Public, Inside)]) {
    let mut counted = HashMap::<(u16, u32), (u32, [u32; 3])>::new();
    for (hot, cold) in sessions(tables) {
        let key = (hot.service_set, hot.tuples[Direction::Out as usize].src);
        counted.entry(key).or_default().0 += 1;
        let s = tables
            .subscribers
            .get(cold.subscriber)
            .expect("a session's subscriber lives");
        assert_eq!((s.service_set, s.address()), (key.0, of_v4(key.1)));
    }
    for ((_, _, protocol), (set, inside, _)) in ports {
        counted.entry((*set, *inside)).or_default().1[class(*protocol) as usize] += 1;
    }
    let mut live = 0;
    for n in 0..tables.subscribers.high_water() {
        let Some(s) = tables.subscribers.get(n) else {
            continue;
        };
        live += 1;
        let key = (s.service_set, v4(s.address()).expect("an IPv4 subscriber"));
        let (sessions, ports) = counted.remove(&key).unwrap_or_default();
        assert_eq!(
            (s.sessions, s.ports),
            (sessions, ports),
            "subscriber {:x}",
            s.address()
        );
        let mut blocks = 0;
        let mut at = s.blocks;
        while let Some(b) = tables.ports.blocks().get(at) {
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

/// Blocks lie in extents of this worker, units and blocks name each other, and all ports in use in a block are its
/// subscriber's.
fn blocks_agree(
    world: &World,
    tables: &Tables<'_>,
    ports: &[(Public, Inside)],
    ranges: &mut Vec<(u32, u16, u16)>,
) {
    let blocks = tables.ports.blocks();
    let mut live = 0;
    let mut units = 0;
    for n in 0..blocks.high_water() {
        let Some(b) = blocks.get(n) else { continue };
        live += 1;
        ranges.push((b.address_index, b.first_port, b.last_port()));
        let extent = tables
            .ports
            .extent(b.address_index, usize::from(b.first_port >> 12))
            .expect("its extent");
        let first = usize::from(b.first_port % 4096 / 64);
        for unit in first..first + usize::from(b.size / 64) {
            assert!(extent.units_taken >> unit & 1 == 1 && extent.unit_block[unit] == n);
            units += 1;
        }
        let owner = tables
            .subscribers
            .get(b.subscriber)
            .expect("a block's subscriber lives");
        let address = world
            .program
            .public_space
            .address(b.address_index)
            .expect("its address")
            .0;
        let inside: Vec<_> = ports
            .iter()
            .filter(|((a, p, _), _)| *a == address && (b.first_port..=b.last_port()).contains(p))
            .collect();
        assert_eq!(usize::from(b.used), inside.len(), "{b:?}");
        for (_, (set, host, _)) in inside {
            assert_eq!(
                (*set, *host),
                (
                    owner.service_set,
                    v4(owner.address()).expect("an IPv4 subscriber")
                ),
                "a stranger in {b:?}"
            );
        }
    }
    assert_eq!(blocks.live(), live);
    let taken: u32 = (0..world.program.public_space.index_end())
        .flat_map(|i| (0..16).filter_map(move |e| tables.ports.extent(i, e)))
        .map(|e| e.units_taken.count_ones())
        .sum();
    assert_eq!(taken, units);
}

/// Sessions without ports hold their claims.
fn claims_are_held(world: &World, worker: u8, tables: &Tables<'_>) {
    for (hot, _) in sessions(tables).filter(|(hot, _)| hot.flags & FLAG_ADDRESS_ONLY != 0) {
        let back = hot.tuples[Direction::In as usize];
        assert_eq!(world.claims.owner(back.dst, back.src, hot.protocol), Some(worker));
    }
}
