//! What the tables say about each other, counted anew; and that nothing is left when everything was cleared.

use std::collections::HashMap;

use tandem_engine::engine::{Engine, Tables};
use tandem_engine::mapping::WHOLE_ADDRESS;
use tandem_engine::program::Program;
use tandem_engine::public_space::{EXTENTS_PER_ADDRESS, OWNER_FREE};
use tandem_engine::session::{
    Cold, FLAG_ADDRESS_ONLY, FLAG_FREE_STANDING, FLAG_OWNS_PORT, FLAG_SHARED_PORT, FLAG_UNANSWERED, Hot,
    NO_RECORD,
};

fn sessions<'a>(tables: &Tables<'a>) -> impl Iterator<Item = (&'a Hot, &'a Cold)> + use<'a> {
    let table = tables.sessions;
    (0..table.high_water())
        .filter_map(|n| Some((table.hot(n)?, table.cold(n)?)))
        .filter(|(hot, _)| hot.is_session())
}

/// Ports, mappings, subscribers and blocks agree.
pub fn check(engine: &Engine) {
    assert_eq!(engine.counters().port_release_mismatch, 0);
    let tables = engine.tables();
    // (address, port, protocol) of every port that is somebody's alone.
    let mut ends = HashMap::new();
    let mut ports_of = HashMap::<u32, u32>::new();
    let mut users = HashMap::<u32, (u32, u32)>::new();
    let mut sessions_of = HashMap::<u32, u32>::new();
    for (hot, cold) in sessions(&tables) {
        *sessions_of.entry(cold.subscriber).or_default() += 1;
        if hot.flags & FLAG_OWNS_PORT != 0 {
            let back = hot.from_outside();
            let shared = hot.flags & FLAG_SHARED_PORT != 0;
            let other = ends.insert((back.dst, back.dport, hot.protocol), shared);
            assert!(other.is_none_or(|other| other && shared), "a port twice");
            *ports_of.entry(cold.subscriber).or_default() += 1;
        } else if hot.flags & (FLAG_ADDRESS_ONLY | FLAG_FREE_STANDING) == 0 {
            let entry = users.entry(cold.anchor).or_default();
            entry.0 += 1;
            entry.1 += u32::from(hot.flags & FLAG_UNANSWERED == 0);
            let mapping = tables
                .mappings
                .get(cold.anchor)
                .expect("a session's mapping lives");
            assert_eq!(mapping.public, hot.from_outside().dst);
        }
    }
    for n in 0..tables.mappings.high_water() {
        let Some(m) = tables.mappings.get(n) else { continue };
        assert_eq!(users.remove(&n), Some((m.sessions, m.holders())), "{m:?}");
        let other = ends.insert((m.public, m.public_port, m.protocol), false);
        assert_eq!(other, None, "a port twice");
        let found = tables.mappings.find_public(m.public, m.public_port, m.protocol);
        assert_eq!(
            found,
            Some(n),
            "{m:?} and {:?}",
            found.and_then(|n| tables.mappings.get(n))
        );
        if m.protocol != WHOLE_ADDRESS {
            *ports_of.entry(m.subscriber).or_default() += 1;
        }
    }
    assert!(users.is_empty(), "sessions of no mapping");
    let owned: u32 = ports_of.values().sum();
    let mut live = 0;
    for n in 0..tables.subscribers.high_water() {
        let Some(s) = tables.subscribers.get(n) else {
            continue;
        };
        live += 1;
        assert_eq!(s.sessions, sessions_of.remove(&n).unwrap_or(0));
        assert_eq!(s.ports.iter().sum::<u32>(), ports_of.remove(&n).unwrap_or(0));
        assert!(!s.is_idle(), "an idle subscriber stayed");
        let (mut blocks, mut at) = (0, s.blocks);
        while let Some(b) = tables.ports.of(&s.address()).blocks().get(at) {
            assert_eq!(b.subscriber, n);
            blocks += 1;
            at = b.next;
        }
        assert_eq!((blocks, at), (s.block_count, NO_RECORD));
    }
    assert!(sessions_of.is_empty() && ports_of.is_empty(), "of no subscriber");
    assert_eq!(tables.subscribers.live(), live);
    let used = engine.pool_use();
    let used: u64 = used.map(|u| u.tcp_ports + u.udp_ports + u.icmp_ids).sum();
    assert_eq!(used, u64::from(owned));
    for (live, capacity) in engine.table_use() {
        assert!(live <= capacity);
    }
}

/// Whether no table has a record, and no port or address is in use.
pub fn nothing_used(engine: &Engine, program: &Program) -> bool {
    engine.table_use().iter().all(|(live, _)| *live == 0)
        && engine
            .pool_use()
            .all(|u| u.tcp_ports + u.udp_ports + u.icmp_ids + u.blocks + u.subscribers == 0)
        && (0..program.public_space.index_end())
            .all(|index| engine.tables().ports.address_use(index) == (0, 0))
}

/// Whether nothing is left of anything: extents are given back as well.
pub fn is_empty(engine: &Engine, program: &Program) -> bool {
    let space = &program.public_space;
    nothing_used(engine, program)
        && engine.pool_use().all(|u| u.extents == 0)
        && (0..space.index_end())
            .all(|index| (0..EXTENTS_PER_ADDRESS).all(|e| space.owner(index, e) == OWNER_FREE))
}

/// Whether what a session table counts as live are sessions: extension records count with them.
pub fn no_session(engine: &Engine) -> bool {
    sessions(&engine.tables()).next().is_none()
}
