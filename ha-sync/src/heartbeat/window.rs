//! Which sequence numbers of a path were seen: the highest, and the 64 up to it, as in RFC 4303 section 3.4.3.

/// What a sequence number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Higher than all before.
    New,
    /// Overtaken by another one, and not seen before.
    Late,
    /// Seen before, or so old that it cannot be said.
    Replayed,
}

/// The numbers that were seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    highest: u64,
    /// Bit n: `highest - n` was seen.
    seen: u64,
}

impl Window {
    /// Takes down a number, from 1.
    pub(super) fn note(&mut self, sequence: u64) -> Order {
        if sequence > self.highest {
            let shift = u32::try_from(sequence - self.highest).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(shift).unwrap_or(0) | 1;
            self.highest = sequence;
            return Order::New;
        }
        let back = u32::try_from(self.highest - sequence).unwrap_or(u32::MAX);
        match 1u64.checked_shl(back) {
            Some(bit) if self.seen & bit == 0 => {
                self.seen |= bit;
                Order::Late
            }
            _ => Order::Replayed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_new_once_late_once_and_replayed_after_that() {
        let mut window = Window::default();
        let noted: Vec<Order> = [1, 1, 5, 3, 3, 5, 4, 70, 6, 7, 5, 6]
            .iter()
            .map(|n| window.note(*n))
            .collect();
        use Order::{Late, New, Replayed};
        assert_eq!(
            noted,
            [
                New, Replayed, New, Late, Replayed, Replayed, Late, New, Replayed, Late, Replayed, Replayed
            ]
        );
        assert_eq!(window.note(u64::MAX), New);
        assert_eq!(window.note(u64::MAX), Replayed);
        assert_eq!(window.note(1), Replayed);
    }
}
