//! What another chassis says of a session, written into its record.

use super::{Direction, FLAG_EXTENDED, SessionTable, SmallCount};

impl SessionTable {
    /// Frees a session's extension record if its counters fit into the session's own. What it knew of TCP windows is gone.
    pub fn shrink(&mut self, number: u32) {
        let totals = [Direction::Out, Direction::In].map(|d| self.counts(number, d));
        let Some(hot) = self.hot.get_mut(number as usize) else {
            return;
        };
        if hot.flags & FLAG_EXTENDED == 0 {
            return;
        }
        if let Some(counts) = hot.small_counts() {
            let [Some(out), Some(back)] = totals.map(|(packets, bytes)| SmallCount::of(packets, bytes))
            else {
                return;
            };
            *counts = [out, back];
        }
        hot.flags &= !FLAG_EXTENDED;
        if let Some(extension) = self.cold(number).map(|c| c.slot) {
            self.release(extension);
        }
    }

    /// Sets packets and bytes of both directions, out and in. False when the table has no record left for totals that a
    /// session with IPv6 has no room for: its counts then stay as they were.
    pub fn set_counts(&mut self, number: u32, packets: [u64; 2], bytes: [u64; 2]) -> bool {
        let totals = [(packets[0], bytes[0]), (packets[1], bytes[1])];
        let Some(hot) = self.hot.get_mut(number as usize) else {
            return false;
        };
        let is_extended = hot.flags & FLAG_EXTENDED != 0;
        let small = totals.map(|(packets, bytes)| SmallCount::of(packets, bytes));
        let record = match (hot.small_counts(), small) {
            (None, _) => number,
            (Some(counts), [Some(out), Some(back)]) if !is_extended => {
                *counts = [out, back];
                return true;
            }
            (Some(_), _) => {
                let Some(extension) = self.extension(number) else {
                    return false;
                };
                if let Some(counts) = self
                    .hot
                    .get_mut(number as usize)
                    .and_then(super::Hot::small_counts)
                {
                    *counts = Default::default();
                }
                extension
            }
        };
        let Some(record) = self.hot.get_mut(record as usize) else {
            return false;
        };
        for (direction, total) in [Direction::Out, Direction::In].into_iter().zip(totals) {
            record.set_counts(direction, total);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use crate::hash::HashKeys;
    use crate::session::{
        Direction, FLAG_EXTENDED, KIND_44, KIND_64, KIND_66, SessionTable, new_cold, new_hot,
    };
    use crate::ticks::Ticks;

    #[test]
    fn counts_are_what_was_told_in_records_of_every_kind() {
        for kind in [KIND_44, KIND_64, KIND_66] {
            let mut table = SessionTable::new(2, HashKeys::new(1)).unwrap();
            let hot = new_hot(kind, Default::default(), 17, 1, Ticks(0));
            let number = table.take(hot, new_cold(0, 0, 0, 0, Ticks(0))).unwrap();
            for (packets, bytes) in [
                ([3, 1021], [120, 4_000_000]),
                ([7, 1 << 20], [99, 1 << 40]),
                ([8, 5], [9, 9]),
            ] {
                assert!(table.set_counts(number, packets, bytes));
                assert_eq!(table.counts(number, Direction::Out), (packets[0], bytes[0]));
                assert_eq!(table.counts(number, Direction::In), (packets[1], bytes[1]));
            }
            let extended = table.hot(number).unwrap().flags & FLAG_EXTENDED != 0;
            assert_eq!(extended, kind != KIND_44, "{kind}");
        }
    }

    #[test]
    fn without_room_for_totals_counts_stay() {
        let mut table = SessionTable::new(1, HashKeys::new(1)).unwrap();
        let hot = new_hot(KIND_66, Default::default(), 17, 1, Ticks(0));
        let number = table.take(hot, new_cold(0, 0, 0, 0, Ticks(0))).unwrap();
        assert!(table.set_counts(number, [5, 6], [50, 60]));
        assert!(!table.set_counts(number, [5, 1 << 20], [50, 60]));
        assert_eq!(table.counts(number, Direction::In), (6, 60));
    }
}
