//! What can be seen of a chassis: its sessions by their four ends, its mappings, and what of the public space is taken and by whom.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use tandem_engine::address::of_v4;
use tandem_engine::engine::{Engine, Tables};
use tandem_engine::mapping::WHOLE_ADDRESS;
use tandem_engine::program::Program;
use tandem_engine::session::{
    Cold, Direction, FLAG_OWNS_PORT, FLAG_SHARED_PORT, Hot, KIND_64, KIND_66, NO_RECORD,
};
use tandem_engine::ticks::Ticks;

/// An address (IPv4 under `::ffff:0:0/96`) and a port.
pub type End = (u128, u16);

/// A public end: address, port, protocol; of a whole address port 0 and [`WHOLE_ADDRESS`].
pub type Public = (u32, u16, u8);

/// A session by what its packets look like from both sides: what both chassis have to agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ends {
    /// Service set.
    pub set: u16,
    /// Protocol (of NAT64 the one outside).
    pub protocol: u8,
    /// Its inside end.
    pub inside: End,
    /// The outside end as seen inside.
    pub outside: End,
    /// The inside end as seen outside.
    pub public: End,
    /// The outside end.
    pub remote: End,
}

/// A session.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    /// Its ends.
    pub ends: Ends,
    /// When it began.
    pub created: Ticks,
    /// Whether its service set wants it replicated, its age apart.
    pub replicated: bool,
    /// TCP state, pool, NAT term and firewall policy.
    pub detail: Detail,
}

/// TCP state, pool, NAT term and firewall policy of a session: what both chassis have to agree on, too, once it is calm.
pub type Detail = (u8, u16, u16, u16);

/// Something of the public space that is taken.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// What.
    pub public: Public,
    /// For which inside end.
    pub inside: End,
    /// Address of whose subscriber.
    pub subscriber: u128,
    /// Its service set.
    pub set: u16,
    /// Sessions to other outside ends may have it, too.
    pub shared: bool,
}

fn ends_of(program: &Program, hot: &Hot) -> Ends {
    let (set, protocol) = (hot.service_set, hot.protocol);
    let back = hot.tuples[Direction::In as usize];
    match hot.kind {
        KIND_66 => {
            let key = hot.six_six().key();
            let (inside, outside) = ((key.inside, key.inside_port), (key.outside, key.outside_port));
            Ends {
                set,
                protocol,
                inside,
                outside,
                public: inside,
                remote: outside,
            }
        }
        KIND_64 => {
            let wide = hot.six_four();
            let prefix = program.prefixes.iter().find(|p| p.id == wide.prefix);
            let outside = prefix.expect("its prefix").prefix.embed(wide.back.src);
            Ends {
                set,
                protocol,
                inside: (wide.inside(), wide.inside_port),
                outside: (outside, wide.outside_port()),
                public: (of_v4(wide.back.dst), wide.back.dport),
                remote: (of_v4(wide.back.src), wide.back.sport),
            }
        }
        _ => {
            let out = hot.tuples[Direction::Out as usize];
            Ends {
                set,
                protocol,
                inside: (of_v4(out.src), out.sport),
                outside: (of_v4(out.dst), out.dport),
                public: (of_v4(back.dst), back.dport),
                remote: (of_v4(back.src), back.sport),
            }
        }
    }
}

fn session_of(engine: &Engine, hot: &Hot, cold: &Cold) -> Session {
    let sets = &engine.program().service_sets;
    let set = sets.iter().find(|s| s.id == hot.service_set);
    Session {
        ends: ends_of(engine.program(), hot),
        created: Ticks(cold.created),
        replicated: set.is_some_and(|s| s.replication.includes(cold.term, cold.policy)),
        detail: (hot.state, cold.pool, cold.term, cold.policy),
    }
}

/// The sessions of an engine.
pub fn sessions(engine: &Engine) -> impl Iterator<Item = Session> + '_ {
    let table = engine.tables().sessions;
    (0..table.high_water()).filter_map(move |n| session_at(engine, n))
}

/// The session in a place of an engine's table.
pub fn session_at(engine: &Engine, number: u32) -> Option<Session> {
    let table = engine.tables().sessions;
    let hot = table.hot(number).filter(|h| h.is_session())?;
    Some(session_of(engine, hot, table.cold(number)?))
}

/// What sessions and mappings of an engine have of the public space, each told to `tell`.
pub fn taken(engine: &Engine, mut tell: impl FnMut(Taken)) {
    let Tables {
        sessions,
        mappings,
        subscribers,
        ..
    } = engine.tables();
    for m in (0..mappings.high_water()).filter_map(|n| mappings.get(n)) {
        let Some(of) = subscribers.get(m.subscriber) else {
            panic!("a mapping lives longer than its subscriber: {m:x?}")
        };
        tell(Taken {
            public: (m.public, m.public_port, m.protocol),
            inside: (m.inside(of), m.inside_port),
            subscriber: of.address(),
            set: of.service_set,
            shared: false,
        });
    }
    for number in 0..sessions.high_water() {
        let Some((hot, cold)) = sessions.hot(number).zip(sessions.cold(number)) else {
            continue;
        };
        if !hot.is_session() || hot.flags & FLAG_OWNS_PORT == 0 || cold.subscriber == NO_RECORD {
            continue;
        }
        let ends = ends_of(engine.program(), hot);
        let back = hot.from_outside();
        tell(Taken {
            public: (back.dst, back.dport, hot.protocol),
            inside: ends.inside,
            subscriber: subscribers.get(cold.subscriber).map_or(0, |s| s.address()),
            set: hot.service_set,
            shared: hot.flags & FLAG_SHARED_PORT != 0,
        });
    }
}

/// A mapping that both chassis have to agree on: service set, inside end, public end, filtering.
pub type MappingEnds = (u16, End, Public, u8);

/// The mappings of an engine.
pub fn mappings(engine: &Engine) -> impl Iterator<Item = MappingEnds> + '_ {
    let Tables {
        mappings,
        subscribers,
        ..
    } = engine.tables();
    (0..mappings.high_water()).filter_map(move |n| {
        let m = mappings.get(n)?;
        let of = subscribers.get(m.subscriber)?;
        let port = if m.protocol == WHOLE_ADDRESS {
            0
        } else {
            m.public_port
        };
        Some((
            of.service_set,
            (m.inside(of), m.inside_port),
            (m.public, port, m.protocol),
            m.filtering_type() as u8,
        ))
    })
}

/// A quick hasher for keys from nobody's hands: multiply and rotate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quick(u64);

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    fn write_u128(&mut self, word: u128) {
        self.write_u64(word as u64);
        self.write_u64((word >> 64) as u64);
    }
    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }
    fn write_u16(&mut self, n: u16) {
        self.write_u64(u64::from(n));
    }
    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

/// A map with [`Quick`].
pub type Map<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<Quick>>;
/// A set with [`Quick`].
pub type Set<K> = std::collections::HashSet<K, BuildHasherDefault<Quick>>;
