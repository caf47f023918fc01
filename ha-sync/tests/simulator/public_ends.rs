//! Whose each public end is, and was: no (address, port, protocol) has two inside ends, on one chassis or across a takeover, and
//! one that another subscriber had rests first. And what the primary has in use for one the standby does not take for another's.

use std::collections::hash_map::Entry;

use tandem_engine::engine::Engine;
use tandem_engine::mapping::WHOLE_ADDRESS;
use tandem_engine::program::Program;

use crate::views::{self, End, Map, Public, Taken};

#[derive(Clone, Copy, Debug)]
struct Holder {
    inside: End,
    subscriber: (u16, u128),
    /// Since when, milliseconds.
    since: u64,
    /// When it was last seen to have it, milliseconds.
    until: u64,
    /// In which look that was.
    look: u64,
    /// On which chassis.
    chassis: usize,
}

/// What a standby takes for somebody's: ports and whole addresses by their public ends, and blocks.
#[derive(Debug, Default)]
pub struct Believed {
    ends: Map<Public, (u16, u128)>,
    /// Address, first port, size, whose.
    blocks: Vec<(u32, u16, u16, (u16, u128))>,
}

impl Believed {
    /// Notes what an engine has of service sets for which `of` says so.
    pub fn note(&mut self, engine: &Engine, of: impl Fn(u16) -> bool) {
        views::taken(engine, |taken| {
            if of(taken.set) && !taken.shared && has_rest(taken.public.2) {
                self.ends.insert(taken.public, (taken.set, taken.subscriber));
            }
        });
        let tables = engine.tables();
        for place in 0..tables.ports.blocks_end() {
            let Some((_, block)) = tables.ports.block(place) else {
                continue;
            };
            let address = engine.program().public_space.address(block.address_index);
            let whose = tables.subscribers.get(block.subscriber);
            if let Some(((address, _), whose)) = address.zip(whose)
                && of(whose.service_set)
            {
                let whose = (whose.service_set, whose.address());
                self.blocks.push((address, block.first_port, block.size, whose));
            }
        }
    }

    /// What the primary has in use is nobody else's for the standby.
    pub fn check(&self, taken: &Taken) {
        if taken.shared || !has_rest(taken.public.2) {
            return;
        }
        let whose = (taken.set, taken.subscriber);
        let (address, port, protocol) = taken.public;
        if let Some(other) = self.ends.get(&taken.public) {
            assert_eq!(
                whose, *other,
                "the standby takes {:x?} for another's",
                taken.public
            );
        }
        if protocol == WHOLE_ADDRESS {
            return;
        }
        for (of, first, size, other) in &self.blocks {
            let inside = *of == address && (*first..=first + (size - 1)).contains(&port);
            assert!(
                !inside || *other == whose,
                "the standby takes the block of {:x?} for {other:x?}'s, and it is {whose:x?}'s",
                taken.public
            );
        }
    }
}

/// Whether public ends of a protocol rest before another has them.
const fn has_rest(protocol: u8) -> bool {
    matches!(protocol, 1 | 6 | 17 | 58 | WHOLE_ADDRESS)
}

/// The public ends there are and were.
#[derive(Debug, Default)]
pub struct PublicEnds {
    held: Map<Public, Holder>,
    look: u64,
    /// Quarantine of each pool in milliseconds, by pool id.
    quarantine: Vec<u64>,
}

impl PublicEnds {
    /// Nothing is taken yet.
    pub fn new(program: &Program) -> Self {
        let mut quarantine = vec![0; program.pools.len() + 1];
        for pool in &program.pools {
            quarantine[usize::from(pool.id)] = u64::from(pool.quarantine.0) * 100;
        }
        Self {
            held: Map::default(),
            look: 0,
            quarantine,
        }
    }

    /// A look at everything begins.
    pub fn look(&mut self) {
        self.look += 1;
    }

    /// A primary chassis has this end now.
    pub fn seen(&mut self, now: u64, chassis: usize, program: &Program, taken: &Taken) {
        if taken.shared {
            return;
        }
        let subscriber = (taken.set, taken.subscriber);
        let mut holder = Holder {
            inside: taken.inside,
            subscriber,
            since: now,
            until: now,
            look: self.look,
            chassis,
        };
        let place = match self.held.entry(taken.public) {
            Entry::Occupied(place) => place.into_mut(),
            Entry::Vacant(place) => {
                place.insert(holder);
                return;
            }
        };
        if place.inside == holder.inside && place.subscriber == subscriber {
            holder.since = place.since;
        }
        let before = std::mem::replace(place, holder);
        if before.inside == holder.inside && before.subscriber == subscriber {
            return;
        }
        if before.look == self.look {
            panic!(
                "{:?} has two inside ends: {before:x?} and {holder:x?}",
                taken.public
            );
        }
        let pool = program.public_space.find(taken.public.0);
        let quarantine = pool.map_or(0, |p| self.quarantine[usize::from(p.pool)]);
        // What happens within one step is seen at its end: a tick's tolerance.
        assert!(
            before.subscriber == subscriber || now + 100 >= before.until + quarantine,
            "{:?} went from {before:x?} on chassis {} to {holder:x?} on {} after {} of {quarantine} ms",
            taken.public,
            before.chassis,
            holder.chassis,
            now - before.until
        );
    }

    /// A chassis that drains has this end still, and the one that has taken the set over knows whose it is. Who has it there since this look
    /// is the same subscriber, where ends that another had rest for longer than sets drain.
    pub fn passes_elsewhere(&self, drains_max_ms: u64, program: &Program, taken: &Taken) {
        let pool = program.public_space.find(taken.public.0);
        let quarantine = pool.map_or(0, |p| self.quarantine[usize::from(p.pool)]);
        let now = self
            .held
            .get(&taken.public)
            .filter(|holder| holder.look == self.look);
        let (Some(holder), false, true) = (now, taken.shared, quarantine >= drains_max_ms) else {
            return;
        };
        assert!(
            holder.subscriber == (taken.set, taken.subscriber),
            "{:x?} is {:x?}'s where its set drains, and was given to {holder:x?}",
            taken.public,
            taken.inside
        );
    }

    /// Nobody knows any more what was given away: all chassis that knew are gone, or could not know it.
    pub fn forget(&mut self) {
        self.held.clear();
    }

    /// Forgets those ends of a service set for which `gone` says so; it is told since when somebody has had it.
    pub fn forget_if(&mut self, set: u16, mut gone: impl FnMut(Public, u64) -> bool) {
        self.held
            .retain(|public, holder| holder.subscriber.0 != set || !gone(*public, holder.since));
    }
}
