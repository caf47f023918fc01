//! Claims: which worker translates a protocol without ports between a public address and an outside address.
//!
//! Such packets (ESP, GRE, ...) have nothing but addresses to find their subscriber by, so at most one subscriber may use
//! a public address towards one outside address in one protocol. Workers share this one small table, written when such a
//! session begins and ends, read when such a packet comes from outside.
//!
//! A claim stands within `REACH` slots of its place, with no empty slot before it. A slot given back is therefore marked
//! and used again by the next claim, but never made empty: while one worker empties it because the next slot is empty, another
//! may put a claim there, having passed this slot when it was taken. Putting the mark back is no way out: a third worker may
//! have emptied the slot before it meanwhile. Marks cost a look-up at most `REACH` slots, four cache lines, however old
//! the table is.

use std::sync::atomic::{AtomicU64, Ordering};

const SLOTS: usize = 1 << 15;
/// Slots from its place on in which a claim may stand.
const REACH: usize = 32;
/// Never used: a search ends here.
const EMPTY: u64 = 0;
/// Given back: a search goes on, a claim may stand here.
const GONE: u64 = 1;

/// The table, shared by all workers.
#[derive(Debug)]
pub struct Claims(Box<[AtomicU64]>);

impl Default for Claims {
    fn default() -> Self {
        Self((0..SLOTS).map(|_| AtomicU64::new(EMPTY)).collect())
    }
}

/// Why a claim was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimRefused {
    /// Somebody has it.
    Taken,
    /// No room near its place.
    Full,
}

/// 56 bits of the claim, in the upper bytes; never one of the two special values.
fn key(public: u32, outside: u32, protocol: u8) -> u64 {
    let mut h = (u64::from(public) << 32 | u64::from(outside)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    h ^= h >> 29;
    h = (h ^ u64::from(protocol) << 17).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    h ^= h >> 32;
    (h | 1 << 63) & !0xff
}

impl Claims {
    /// Claims for `worker`.
    ///
    /// # Errors
    /// [`ClaimRefused`].
    pub fn claim(&self, public: u32, outside: u32, protocol: u8, worker: u8) -> Result<(), ClaimRefused> {
        if self.owner(public, outside, protocol).is_some() {
            return Err(ClaimRefused::Taken);
        }
        let key = key(public, outside, protocol);
        for i in 0..REACH {
            let slot = &self.0[((key >> 16) as usize).wrapping_add(i) % SLOTS];
            let now = slot.load(Ordering::Acquire);
            if now <= GONE
                && slot
                    .compare_exchange(now, key | u64::from(worker), Ordering::SeqCst, Ordering::Acquire)
                    .is_ok()
            {
                // Two workers may have passed the look-up at once. Each then sees the other's entry (in the one order all
                // of these accesses have) and steps back; the next packet finds the place free.
                let entries = (0..REACH).filter(|j| {
                    let other = &self.0[((key >> 16) as usize).wrapping_add(*j) % SLOTS];
                    other.load(Ordering::SeqCst) & !0xff == key
                });
                if entries.count() == 1 {
                    return Ok(());
                }
                slot.store(GONE, Ordering::Release);
                return Err(ClaimRefused::Taken);
            }
        }
        Err(ClaimRefused::Full)
    }

    /// The worker that has a claim.
    #[must_use]
    pub fn owner(&self, public: u32, outside: u32, protocol: u8) -> Option<u8> {
        let key = key(public, outside, protocol);
        for i in 0..REACH {
            let entry = self.0[((key >> 16) as usize).wrapping_add(i) % SLOTS].load(Ordering::Acquire);
            if entry == EMPTY {
                return None;
            }
            if entry & !0xff == key {
                return Some(entry as u8);
            }
        }
        None
    }

    /// Gives a claim of `worker` back.
    pub fn release(&self, public: u32, outside: u32, protocol: u8, worker: u8) {
        let key = key(public, outside, protocol);
        for i in 0..REACH {
            let slot = &self.0[((key >> 16) as usize).wrapping_add(i) % SLOTS];
            if slot.load(Ordering::Acquire) == key | u64::from(worker) {
                slot.store(GONE, Ordering::Release);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_owner_at_a_time() {
        let claims = Claims::default();
        assert_eq!(claims.claim(1, 2, 47, 3), Ok(()));
        assert_eq!(claims.claim(1, 2, 47, 4), Err(ClaimRefused::Taken));
        assert_eq!(claims.claim(1, 2, 50, 4), Ok(()));
        assert_eq!(claims.owner(1, 2, 47), Some(3));
        claims.release(1, 2, 47, 9);
        assert_eq!(claims.owner(1, 2, 47), Some(3), "only its owner gives it back");
        claims.release(1, 2, 47, 3);
        assert_eq!(claims.owner(1, 2, 47), None);
        assert_eq!(claims.claim(1, 2, 47, 4), Ok(()));
    }

    #[test]
    fn full_is_not_taken_and_what_is_given_back_is_used_again() {
        let claims = Claims::default();
        let outcomes: Vec<_> = (0..SLOTS as u32 * 4).map(|o| claims.claim(1, o, 47, 3)).collect();
        assert!(
            outcomes
                .iter()
                .all(|o| matches!(o, Ok(()) | Err(ClaimRefused::Full)))
        );
        let refused = outcomes
            .iter()
            .position(|o| o.is_err())
            .expect("four times too many") as u32;
        assert!(
            refused > SLOTS as u32 / 3,
            "the first without room came after {refused}"
        );
        assert_eq!(claims.owner(1, refused, 47), None);
        for (outside, outcome) in outcomes.iter().enumerate() {
            let owner = claims.owner(1, outside as u32, 47);
            assert_eq!(owner, outcome.ok().map(|()| 3));
            claims.release(1, outside as u32, 47, 3);
        }
        assert_eq!(claims.claim(1, refused, 47, 4), Ok(()));
        assert_eq!(claims.owner(1, refused, 47), Some(4));
    }
}
