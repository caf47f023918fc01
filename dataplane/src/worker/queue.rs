//! The queue of what waits for neighbours, and who gives way when there is no room: never the newest.
//!
//! Whoever sends to all addresses of a link that nobody has (RFC 6583) gets a share of it: routers, and neighbours of other
//! links, keep theirs. RFC 4861 section 7.2.2: when a neighbour's queue overflows, the new packet replaces the oldest.

/// Packets waiting at once, per worker.
pub(super) const CAPACITY: usize = 512;
/// Of these, for one next hop. After a takeover all that a flow sends meanwhile waits: 64 ms of one that sends a packet each millisecond.
/// (Linux keeps about a hundred small ones.)
pub(super) const PER_NEIGHBOUR: usize = 64;
/// Of these, for destinations on the link of one interface.
pub(super) const ON_LINK: usize = CAPACITY / 2;

/// Whom a packet waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub interface: u16,
    /// IPv4 in `::ffff:0:0/96`.
    pub address: u128,
    /// The packet's own destination, not a router: anybody can name as many of these as there are addresses.
    pub on_link: bool,
}

impl Key {
    fn is_neighbour_of(&self, other: &Self) -> bool {
        (self.interface, self.address) == (other.interface, other.address)
    }
}

/// What waits, oldest first.
#[derive(Debug)]
pub(super) struct Queue<T> {
    /// Apart from the rest, so that counting is a quick scan.
    keys: Vec<Key>,
    items: Vec<T>,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self {
            keys: Vec::with_capacity(CAPACITY),
            items: Vec::with_capacity(CAPACITY),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<(Key, &mut T)> {
        self.keys.get(at).copied().zip(self.items.get_mut(at))
    }

    pub(super) fn remove(&mut self, at: usize) -> T {
        self.keys.remove(at);
        self.items.remove(at)
    }

    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.items.clear();
    }

    /// All that wait for this neighbour.
    pub(super) fn of(&mut self, key: Key) -> impl Iterator<Item = &mut T> {
        let items = self.keys.iter().zip(&mut self.items);
        items
            .filter(move |(k, _)| k.is_neighbour_of(&key))
            .map(|(_, item)| item)
    }

    /// Appends. Of a full share or queue the oldest gives way and is returned, with whether it waited for the same neighbour.
    pub(super) fn push(&mut self, key: Key, item: T) -> Option<(T, bool)> {
        let gives_way = self.gives_way(&key);
        let out = gives_way.map(|at| {
            let same = self.keys.get(at).is_some_and(|k| k.is_neighbour_of(&key));
            (self.remove(at), same)
        });
        self.keys.push(key);
        self.items.push(item);
        out
    }

    fn gives_way(&self, new: &Key) -> Option<usize> {
        self.oldest_of(PER_NEIGHBOUR, |k| k.is_neighbour_of(new))
            .or_else(|| {
                let share = |k: &Key| k.on_link && k.interface == new.interface;
                self.oldest_of(ON_LINK, share).filter(|_| new.on_link)
            })
            .or_else(|| {
                let full = self.keys.len() >= CAPACITY;
                full.then(|| self.keys.iter().position(|k| k.on_link).unwrap_or(0))
            })
    }

    /// The oldest of a kind that has no room left.
    fn oldest_of(&self, most: usize, kind: impl Fn(&Key) -> bool) -> Option<usize> {
        let full = self.keys.iter().filter(|k| kind(k)).count() >= most;
        full.then(|| self.keys.iter().position(kind)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(interface: u16, address: u128) -> Key {
        Key {
            interface,
            address,
            on_link: true,
        }
    }

    fn router(address: u128) -> Key {
        Key {
            on_link: false,
            ..host(9, address)
        }
    }

    #[test]
    fn the_oldest_of_a_neighbour_gives_way_to_its_newest() {
        let mut queue = Queue::new();
        for n in 0..PER_NEIGHBOUR {
            assert_eq!(queue.push(router(1), n), None);
        }
        assert_eq!(queue.push(router(2), 100), None);
        assert_eq!(queue.push(router(1), 101), Some((0, true)));
        assert_eq!(queue.push(router(1), 102), Some((1, true)));
        assert_eq!(queue.of(router(1)).count(), PER_NEIGHBOUR);
        assert_eq!(queue.of(router(2)).map(|item| *item).collect::<Vec<_>>(), [100]);
    }

    #[test]
    fn a_scan_of_one_link_leaves_the_rest_their_room() {
        let mut queue = Queue::new();
        queue.push(router(1), 0);
        queue.push(host(2, 1), 1);
        for n in 0..1000 {
            let out = queue.push(host(1, n), 1000 + n as usize);
            let expected = n
                .checked_sub(ON_LINK as u128)
                .map(|old| (1000 + old as usize, false));
            assert_eq!(out, expected, "the oldest of the same link");
        }
        assert_eq!(queue.len(), ON_LINK + 2);
        assert_eq!(queue.of(router(1)).count() + queue.of(host(2, 1)).count(), 2);
        // Scans of more links than there is room for: routers still keep theirs, and the newest of all have a place.
        for n in 0..1000 {
            queue.push(host(3 + n as u16 % 4, n), 0);
        }
        assert_eq!(queue.len(), CAPACITY);
        assert_eq!(queue.of(router(1)).count(), 1);
        assert_eq!(queue.push(router(2), 7).map(|(_, same)| same), Some(false));
        assert_eq!((queue.of(router(2)).count(), queue.len()), (1, CAPACITY));
    }

    #[test]
    fn among_routers_alone_the_oldest_gives_way() {
        let mut queue = Queue::new();
        for n in 0..CAPACITY {
            assert_eq!(queue.push(router(n as u128), n), None);
        }
        assert_eq!(queue.push(router(1000), 1000), Some((0, false)));
        assert_eq!(queue.push(host(1, 1), 1001), Some((1, false)));
        assert_eq!(
            queue.push(host(1, 2), 1002),
            Some((1001, false)),
            "hosts before routers"
        );
    }
}
