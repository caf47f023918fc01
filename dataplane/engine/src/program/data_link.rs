//! The HA data link: over it a packet of a service set that the other chassis is primary of goes there, and comes out of that
//! chassis' own ports. Redundancy spec, section 3.

use tandem_wire::forwarded::{Way, name_key};

use super::{InterfaceId, ServiceSetId};

/// The link, and the service sets whose packets cross it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataLink {
    /// The interface it leaves and comes in by, which has no other use.
    pub interface: InterfaceId,
    /// Its ends.
    pub way: Way,
    /// By key.
    sets: Vec<LinkedSet>,
    /// Positions in `sets` by service set.
    by_id: Vec<(ServiceSetId, u16)>,
}

/// A service set whose packets cross the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkedSet {
    /// What it is called on the link.
    pub key: u32,
    /// Number of its redundancy set, 1..=128.
    pub redundancy_set: u8,
    /// Its id here.
    pub service_set: ServiceSetId,
    /// An inside interface of it here: a packet that came from inside over there is taken as one of this.
    pub inside: InterfaceId,
    /// An outside interface likewise.
    pub outside: InterfaceId,
}

impl LinkedSet {
    /// A service set of this name.
    #[must_use]
    pub const fn new(
        name: &str,
        redundancy_set: u8,
        service_set: ServiceSetId,
        inside: InterfaceId,
        outside: InterfaceId,
    ) -> Self {
        Self {
            key: name_key(name),
            redundancy_set,
            service_set,
            inside,
            outside,
        }
    }
}

impl DataLink {
    /// A link. No two of `sets` have the same key, which the configuration sees to; of two that had, one would be found.
    #[must_use]
    pub fn new(interface: InterfaceId, way: Way, mut sets: Vec<LinkedSet>) -> Self {
        sets.sort_unstable_by_key(|set| set.key);
        let ids = sets.iter().zip(0..);
        let mut by_id: Vec<_> = ids.map(|(set, at)| (set.service_set, at)).collect();
        by_id.sort_unstable();
        Self {
            interface,
            way,
            sets,
            by_id,
        }
    }

    /// The service set that is called so on the link.
    #[must_use]
    pub fn by_key(&self, key: u32) -> Option<LinkedSet> {
        let at = self.sets.binary_search_by_key(&key, |set| set.key).ok()?;
        self.sets.get(at).copied()
    }

    /// The service set of an id.
    #[must_use]
    pub fn by_id(&self, id: ServiceSetId) -> Option<LinkedSet> {
        let at = self.by_id.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.sets.get(usize::from(self.by_id.get(at)?.1)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_found_by_what_both_chassis_call_them() {
        let names = ["cgn", "business", "voice", "a"];
        let sets = names.iter().zip(7..);
        let sets: Vec<_> = sets
            .map(|(name, id)| LinkedSet::new(name, 3, id, id + 10, id + 20))
            .collect();
        let way = Way {
            local: [10, 0, 0, 1].into(),
            peer: [10, 0, 0, 2].into(),
            port: 1,
        };
        let link = DataLink::new(5, way, sets.clone());
        for (name, set) in names.iter().zip(sets) {
            assert_eq!(link.by_key(name_key(name)), Some(set));
            assert_eq!(link.by_id(set.service_set), Some(set));
        }
        assert_eq!((link.by_key(name_key("nobody")), link.by_id(6)), (None, None));
    }
}
