//! The HA data link: over it a packet of a service set that the other chassis is primary of goes there, and comes out of that
//! chassis' own ports. Redundancy spec, section 3.

use tandem_wire::forwarded::{Way, name_key};

use super::{InterfaceId, ServiceSetId};

/// A way to the other chassis: an HA link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkWay {
    /// The interface it leaves and comes in by, which has no other use.
    pub interface: InterfaceId,
    /// Its ends.
    pub way: Way,
}

/// The link, and the service sets whose packets cross it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataLink {
    /// The way that packets go.
    first: LinkWay,
    /// The way they go when that one is cut.
    other: Option<LinkWay>,
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
    pub fn new(first: LinkWay, other: Option<LinkWay>, mut sets: Vec<LinkedSet>) -> Self {
        sets.sort_unstable_by_key(|set| set.key);
        let ids = sets.iter().zip(0..);
        let mut by_id: Vec<_> = ids.map(|(set, at)| (set.service_set, at)).collect();
        by_id.sort_unstable();
        Self {
            first,
            other,
            sets,
            by_id,
        }
    }

    /// Its ways, the preferred one first.
    pub fn ways(&self) -> impl Iterator<Item = LinkWay> {
        [Some(self.first), self.other].into_iter().flatten()
    }

    /// Both ways, if there are two.
    #[must_use]
    pub fn both_ways(&self) -> Option<[LinkWay; 2]> {
        Some([self.first, self.other?])
    }

    /// The ends of the way by an interface, if there is one.
    #[inline]
    #[must_use]
    pub fn way_by(&self, interface: InterfaceId) -> Option<Way> {
        if self.first.interface == interface {
            return Some(self.first.way);
        }
        let other = self.other.filter(|other| other.interface == interface);
        other.map(|other| other.way)
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

    fn way(interface: InterfaceId) -> LinkWay {
        let end = |last| [10, 0, interface as u8, last].into();
        LinkWay {
            interface,
            way: Way {
                local: end(1),
                peer: end(2),
                port: 1,
            },
        }
    }

    #[test]
    fn each_interface_has_its_own_way_and_the_first_is_preferred() {
        let (first, other) = (way(5), way(3));
        let link = DataLink::new(first, Some(other), Vec::new());
        assert_eq!(
            (link.way_by(5), link.way_by(3)),
            (Some(first.way), Some(other.way))
        );
        assert_eq!(link.way_by(4), None);
        assert_eq!(link.ways().collect::<Vec<_>>(), [first, other]);
        assert_eq!(link.both_ways(), Some([first, other]));
        let alone = DataLink::new(first, None, Vec::new());
        assert_eq!((alone.way_by(5), alone.way_by(3)), (Some(first.way), None));
        assert_eq!(alone.ways().collect::<Vec<_>>(), [first]);
        assert_eq!(alone.both_ways(), None);
    }

    #[test]
    fn sets_are_found_by_what_both_chassis_call_them() {
        let names = ["cgn", "business", "voice", "a"];
        let sets = names.iter().zip(7..);
        let sets: Vec<_> = sets
            .map(|(name, id)| LinkedSet::new(name, 3, id, id + 10, id + 20))
            .collect();
        let link = DataLink::new(way(5), None, sets.clone());
        for (name, set) in names.iter().zip(sets) {
            assert_eq!(link.by_key(name_key(name)), Some(set));
            assert_eq!(link.by_id(set.service_set), Some(set));
        }
        assert_eq!((link.by_key(name_key("nobody")), link.by_id(6)), (None, None));
    }
}
