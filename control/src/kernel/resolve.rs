//! Which wishes to resolve a neighbour reach the kernel: each neighbour seldom, all together within a rate.
//!
//! Workers ask for a neighbour with every packet that misses one; a scan of a connected subnet asks for thousands.
//! The kernel sends its own three ARP or ND requests per wish, one a second, so asking again sooner is of no use. Pure:
//! the time is handed in.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::types::InterfaceId;

/// The bounds.
#[derive(Clone, Copy, Debug)]
pub struct ResolveLimits {
    /// The same neighbour is not asked for again within this time.
    pub repeat_after: Duration,
    /// Wishes per second over all neighbours; bursts up to the same number.
    pub rate_per_s: u32,
    /// Neighbours remembered at most. When full of recent ones, further wishes are refused.
    pub pending_max: usize,
}

impl Default for ResolveLimits {
    fn default() -> Self {
        Self {
            repeat_after: Duration::from_secs(1),
            rate_per_s: 2_000,
            pending_max: 16_384,
        }
    }
}

type Key = (InterfaceId, IpAddr);

/// Deduplicates and limits wishes.
pub struct Resolver {
    limits: ResolveLimits,
    recent: HashMap<Key, Instant>,
    order: VecDeque<(Instant, Key)>,
    /// Tokens, in units of one wish, and when they were counted.
    tokens: f64,
    counted: Option<Instant>,
}

impl Resolver {
    /// A limiter with a full allowance.
    pub fn new(limits: ResolveLimits) -> Self {
        let tokens = f64::from(limits.rate_per_s);
        Self {
            limits,
            recent: HashMap::new(),
            order: VecDeque::new(),
            tokens,
            counted: None,
        }
    }

    /// Whether this wish may go to the kernel now. A refused wish is not remembered; the next packet renews it.
    pub fn admit(&mut self, interface: InterfaceId, address: IpAddr, now: Instant) -> bool {
        self.forget_old(now);
        self.refill(now);
        let key = (interface, address);
        if self.recent.contains_key(&key) || self.recent.len() >= self.limits.pending_max || self.tokens < 1.0
        {
            return false;
        }
        self.tokens -= 1.0;
        self.recent.insert(key, now);
        self.order.push_back((now, key));
        true
    }

    /// A wish came true: should the neighbour be lost again, the next wish is a new one.
    pub fn settled(&mut self, interface: InterfaceId, address: IpAddr) {
        self.recent.remove(&(interface, address));
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((since, key)) = self.order.front().copied() {
            if now.saturating_duration_since(since) < self.limits.repeat_after {
                break;
            }
            self.order.pop_front();
            // Unless it settled and was asked for again since.
            if self.recent.get(&key) == Some(&since) {
                self.recent.remove(&key);
            }
        }
    }

    fn refill(&mut self, now: Instant) {
        let rate = f64::from(self.limits.rate_per_s);
        let passed = self
            .counted
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.tokens = (self.tokens + passed.as_secs_f64() * rate).min(rate);
        self.counted = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(n).into()
    }

    #[test]
    fn a_neighbour_is_asked_for_once_a_period() {
        let (mut resolver, start) = (Resolver::new(ResolveLimits::default()), Instant::now());
        assert!(resolver.admit(1, address(1), start));
        assert!(!resolver.admit(1, address(1), start + Duration::from_millis(999)));
        assert!(
            resolver.admit(2, address(1), start),
            "another interface, another neighbour"
        );
        assert!(resolver.admit(1, address(1), start + Duration::from_secs(1)));
    }

    #[test]
    fn a_neighbour_that_answered_and_was_lost_is_asked_for_at_once() {
        let (mut resolver, start) = (Resolver::new(ResolveLimits::default()), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert!(resolver.admit(1, address(1), at(0)));
        resolver.settled(1, address(1));
        assert!(resolver.admit(1, address(1), at(500)));
        assert!(
            !resolver.admit(1, address(1), at(1_400)),
            "the first wish's end is not the second's"
        );
        assert!(resolver.admit(1, address(1), at(1_500)));
    }

    #[test]
    fn the_rate_and_the_memory_are_bounded() {
        let limits = ResolveLimits {
            rate_per_s: 10,
            pending_max: 15,
            ..Default::default()
        };
        let (mut resolver, start) = (Resolver::new(limits), Instant::now());
        let asked = (0..100).filter(|n| resolver.admit(0, address(*n), start)).count();
        assert_eq!(asked, 10);
        let later = start + Duration::from_millis(900);
        let asked = (100..200)
            .filter(|n| resolver.admit(0, address(*n), later))
            .count();
        assert_eq!(asked, 5, "the memory was full before the allowance was spent");
        assert_eq!((resolver.recent.len(), resolver.order.len()), (15, 15));
        let much_later = start + Duration::from_secs(60);
        assert!(resolver.admit(0, address(1), much_later));
        assert_eq!((resolver.recent.len(), resolver.order.len()), (1, 1));
    }
}
