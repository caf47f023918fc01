//! Steering: which worker owns a packet's subscriber.
//!
//! ```text
//!   from inside    the subscriber's address (IPv6: its upper bits) ----------------------+
//!   from outside   to a static mapping's or a deterministic pool's port: its subscriber -+--> hash --> shard --> worker
//!                  to an address nobody translates: that address, in its inside form ----+               ^
//!                  to any other public address and port: the extent's owner -----------------------------+
//! ```
//!
//! What is split among workers is split into shards first ([`Split`]): their number is the same on both chassis of a pair,
//! whatever their workers.
//!
//! ICMP errors go by the packet they are about. Every worker comes to the same answer, whatever queue a packet arrived on.
//! NAT64 needs no rule of its own: its packets from outside are for a public address as those of NAPT44 are.

use std::ops::Range;
use std::sync::Arc;

use tandem_wire::l4::L4;
use tandem_wire::npt::Nptv6;
use tandem_wire::{icmp_error, icmp6_error};

use crate::address;
use crate::claims::Claims;
use crate::packet::{Desc, Side, Verdict};
use crate::packet6::{Desc6, Target};
use crate::program::{NatAction, PoolId, PoolMode, Program, Stateless};
use crate::public_space::MAX_WORKERS;

/// The worker of the subscriber that has an inside address (IPv4 under `::ffff:0:0/96`). Of IPv6 the upper `steering_prefix`
/// bits count, 1..=64; see [`Program::steering_prefix`].
#[inline]
#[must_use]
pub fn subscriber_worker(inside: u128, steering_prefix: u8, workers: u8) -> u8 {
    let mixed = match address::v4(inside) {
        Some(v4) => (v4.wrapping_mul(0x9E37_79B1) ^ v4 >> 15).wrapping_mul(0x85EB_CA77),
        None => {
            let prefix = (inside >> (128 - u32::from(steering_prefix.clamp(1, 64)))) as u64;
            let mixed = prefix.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            ((mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32) as u32
        }
    };
    ((u64::from(mixed) * u64::from(workers)) >> 32) as u8
}

/// How subscribers and extents of public ports are split: into shards, and these evenly among workers, neighbours together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    workers: u8,
    shards: u8,
    /// 2^16 by the shards of one worker, rounded up: a shard times this, without its lower 16 bits, is its worker.
    worker_per_shard: u32,
}

/// Shards that do not go evenly into workers, or too many of one or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{shards} shards cannot be split among {workers} workers: wanted is a multiple of the workers, 1 to {MAX_WORKERS}"
)]
pub struct UnevenSplit {
    /// Shards.
    pub shards: u8,
    /// Workers.
    pub workers: u8,
}

impl Split {
    /// Into `shards` for `workers`; 0 shards are as many as workers.
    ///
    /// # Errors
    /// [`UnevenSplit`] when the shards are not a multiple of the workers, more than [`MAX_WORKERS`], or there is no worker.
    pub fn new(workers: u8, shards: u8) -> Result<Self, UnevenSplit> {
        let error = UnevenSplit { shards, workers };
        let shards = if shards == 0 { workers } else { shards };
        if workers == 0 || shards > MAX_WORKERS || !shards.is_multiple_of(workers) {
            return Err(error);
        }
        Ok(Self {
            workers,
            shards,
            worker_per_shard: (1u32 << 16).div_ceil(u32::from(shards / workers)),
        })
    }

    /// How many workers there are.
    #[must_use]
    pub const fn workers(self) -> u8 {
        self.workers
    }

    /// How many shards there are.
    #[must_use]
    pub const fn shards(self) -> u8 {
        self.shards
    }

    /// The shards of a worker.
    #[must_use]
    pub const fn shards_of(self, worker: u8) -> Range<u8> {
        let each = self.shards / self.workers;
        let first = worker.saturating_mul(each);
        first..first.saturating_add(each)
    }

    /// The worker of a shard.
    #[inline]
    #[must_use]
    pub const fn worker_of(self, shard: u8) -> u8 {
        ((shard as u32 * self.worker_per_shard) >> 16) as u8
    }

    /// The shard of a subscriber; see [`subscriber_worker`], which is the same for workers.
    #[inline]
    #[must_use]
    pub fn shard(self, inside: u128, steering_prefix: u8) -> u8 {
        subscriber_worker(inside, steering_prefix, self.shards)
    }
}

/// What names the worker of a pool's ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Each extent has an owner.
    Extents,
    /// One owner has the whole address.
    Whole,
    /// The formula of the pool at this position says whose they are.
    Formula(usize),
}

/// What steering needs of a program, laid out for the packet way.
#[derive(Clone, Debug)]
pub struct Steering {
    program: Arc<Program>,
    /// By pool id; empty when all go by extents.
    rules: Vec<Rule>,
    /// Prefix translations of all service sets.
    pairs: Vec<Nptv6>,
    /// There may be sessions whose inside address is seen outside.
    untranslated: bool,
}

impl Steering {
    /// Of a program.
    #[must_use]
    pub fn of(program: &Arc<Program>) -> Self {
        let mut rules = Vec::new();
        for (position, pool) in program.pools.iter().enumerate() {
            let rule = match pool.mode {
                PoolMode::Ports | PoolMode::OverloadedPorts | PoolMode::Static => continue,
                PoolMode::Addresses => Rule::Whole,
                PoolMode::Deterministic(_) => Rule::Formula(position),
            };
            let id = usize::from(pool.id);
            if rules.len() <= id {
                rules.resize(id + 1, Rule::Extents);
            }
            rules[id] = rule;
        }
        let sets = || program.service_sets.iter();
        let pairs = sets().flat_map(|s| &s.stateless).filter_map(|s| match s {
            Stateless::Nptv6(pair) => Some(*pair),
            Stateless::Siit(_) => None,
        });
        Self {
            rules,
            pairs: pairs.collect(),
            untranslated: sets().any(|s| {
                s.firewall.is_some() || s.terms.iter().any(|t| t.action == NatAction::DestinationOnly)
            }),
            program: Arc::clone(program),
        }
    }

    /// The worker of an IPv4 packet, or `None` when any will do (nobody owns what it is for).
    #[must_use]
    pub fn worker(&self, desc: &Desc, l3: &[u8], claims: &Claims, split: Split) -> Option<u8> {
        let workers = split.workers;
        if desc.verdict != Verdict::Pending || desc.stateless {
            return None;
        }
        let meta = &desc.meta;
        let embedded = match meta.l4 {
            L4::IcmpError { .. } => {
                let message = l3.get(usize::from(meta.l4_offset)..usize::from(meta.total_len))?;
                Some(icmp_error::parse(message).ok()?.embedded)
            }
            _ => None,
        };
        match (desc.side, embedded) {
            (Side::Neither, _) => None,
            (Side::Inside(_), None) => Some(self.subscriber(address::of_v4(meta.src), workers)),
            // About a packet on its way in: its destination is the subscriber.
            (Side::Inside(_), Some(about)) => Some(self.subscriber(address::of_v4(about.dst), workers)),
            (Side::Outside, None) => self.public((meta.dst, desc.dport), meta.src, meta.proto, claims, split),
            (Side::Outside, Some(about)) => {
                let public = (about.src, about.sport().unwrap_or(0));
                self.public(public, about.dst, about.proto, claims, split)
            }
        }
    }

    /// The worker of an IPv6 packet, likewise.
    #[must_use]
    pub fn worker6(&self, desc: &Desc6, l3: &[u8], split: Split) -> Option<u8> {
        let workers = split.workers;
        if desc.verdict != Verdict::Pending || desc.target == Target::Stateless {
            return None;
        }
        let meta = &desc.meta;
        let (src, dst) = match meta.l4 {
            L4::IcmpError { .. } => {
                let message = l3.get(usize::from(meta.l4_offset)..usize::from(meta.total_len))?;
                let about = icmp6_error::parse(message, meta.src, meta.dst).ok()?.embedded;
                (about.dst, about.src)
            }
            _ => (meta.src, meta.dst),
        };
        match desc.side {
            Side::Neither => None,
            Side::Inside(_) => Some(self.subscriber(src, workers)),
            Side::Outside => {
                let inside = self.pairs.iter().find_map(|pair| pair.to_inside(dst));
                Some(self.subscriber(inside.unwrap_or(dst), workers))
            }
        }
    }

    fn subscriber(&self, inside: u128, workers: u8) -> u8 {
        subscriber_worker(inside, self.program.steering_prefix, workers)
    }

    fn rule(&self, pool: PoolId) -> Rule {
        self.rules
            .get(usize::from(pool))
            .copied()
            .unwrap_or(Rule::Extents)
    }

    /// The worker of a public end.
    fn public(
        &self,
        (public, port): (u32, u16),
        outside: u32,
        protocol: u8,
        claims: &Claims,
        split: Split,
    ) -> Option<u8> {
        let workers = split.workers;
        let space = &self.program.public_space;
        let Some(found) = space.find(public) else {
            return self
                .untranslated
                .then(|| self.subscriber(address::of_v4(public), workers));
        };
        let statics = &self.program.statics;
        if !statics.is_empty()
            && statics.owns(public)
            && let Some(to) = statics.by_public(public, protocol, port)
        {
            return Some(self.subscriber(to.address, workers));
        }
        let has_ports = matches!(protocol, 1 | 6 | 17);
        let owner = match self.rule(found.pool) {
            Rule::Whole => space.owner(found.index, 0),
            _ if !has_ports => return claims.owner(public, outside, protocol),
            Rule::Extents => space.owner(found.index, usize::from(port >> 12)),
            Rule::Formula(position) => {
                let inside = self.program.pools.get(position)?.subscriber_of(public, port)?;
                return Some(self.subscriber(inside, workers));
            }
        };
        (owner < MAX_WORKERS).then(|| split.worker_of(owner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(addresses: impl Iterator<Item = u128>, workers: u8) -> Vec<u32> {
        let mut counts = vec![0u32; usize::from(workers)];
        for inside in addresses {
            counts[usize::from(subscriber_worker(inside, 56, workers))] += 1;
        }
        counts
    }

    #[test]
    fn subscribers_spread_over_workers() {
        for workers in 1..=8u8 {
            let v4 = (0..8000u32).map(|i| address::of_v4(0x6440_0000 + i));
            // An aggregate of /56s, and /56s a long way apart.
            let v6 = (0..8000u128).map(|i| 0x2001_0db8 << 96 | i << 72);
            let far = (0..8000u128).map(|i| 0x2001_0db8 << 96 | i << 76);
            for counts in [spread(v4, workers), spread(v6, workers), spread(far, workers)] {
                let share = 8000 / u32::from(workers);
                assert!(
                    counts.iter().all(|c| *c > share * 8 / 10 && *c < share * 12 / 10),
                    "{counts:?}"
                );
            }
        }
    }

    #[test]
    fn shards_are_split_evenly_and_a_subscribers_shard_is_on_its_worker() {
        for workers in 1..=MAX_WORKERS {
            for shards in 0..=u8::MAX {
                let Ok(split) = Split::new(workers, shards) else {
                    assert!(shards % workers != 0 || shards > MAX_WORKERS);
                    continue;
                };
                assert_eq!(split.shards(), if shards == 0 { workers } else { shards });
                assert_eq!(split.shards_of(workers - 1).end, split.shards());
                for shard in 0..split.shards() {
                    assert!(split.shards_of(split.worker_of(shard)).contains(&shard));
                }
                for inside in (0..50u32).map(|i| address::of_v4(0x6440_0000 + i * 7919)) {
                    let shard = split.shard(inside, 56);
                    assert_eq!(split.worker_of(shard), subscriber_worker(inside, 56, workers));
                }
            }
        }
        assert!(Split::new(0, 0).is_err() && Split::new(0, 4).is_err());
    }

    #[test]
    fn a_prefix_has_one_worker() {
        let prefix = 0x2001_0db8_0001_0200u128 << 64;
        for workers in 1..=8u8 {
            let of = |inside, bits| subscriber_worker(inside, bits, workers);
            assert!((0..256).all(|net| of(prefix | net << 64 | net, 56) == of(prefix, 56)));
            // Beyond 64 bits there is no subscriber but the host, and hosts of a /64 stay together.
            assert!((0..256).all(|host| of(prefix | host, 128) == of(prefix, 64)));
        }
    }
}
