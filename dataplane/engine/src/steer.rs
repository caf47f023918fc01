//! Steering: which worker owns a packet's subscriber.
//!
//! From inside by the subscriber's address; from outside by (public address, port) -> extent -> owner. ICMP errors go by the
//! packet they are about. Every worker comes to the same answer, whatever queue a packet arrived on.

use tandem_wire::icmp_error;
use tandem_wire::l4::L4;

use crate::claims::Claims;
use crate::packet::{Desc, Side};
use crate::public_space::{MAX_WORKERS, PublicSpace};

/// The worker of a subscriber.
#[inline]
#[must_use]
pub fn subscriber_worker(address: u32, workers: u8) -> u8 {
    let mixed = (address.wrapping_mul(0x9E37_79B1) ^ address >> 15).wrapping_mul(0x85EB_CA77);
    ((u64::from(mixed) * u64::from(workers)) >> 32) as u8
}

/// The worker of a packet, or `None` when any will do (nobody owns what it is for).
#[must_use]
pub fn steer(desc: &Desc, l3: &[u8], space: &PublicSpace, claims: &Claims, workers: u8) -> Option<u8> {
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
        (Side::Inside(_), None) => Some(subscriber_worker(meta.src, workers)),
        // About a packet on its way in: its destination is the subscriber.
        (Side::Inside(_), Some(embedded)) => Some(subscriber_worker(embedded.dst, workers)),
        (Side::Outside, None) => public_worker(meta.dst, meta.src, desc.dport, meta.proto, space, claims),
        (Side::Outside, Some(about)) => public_worker(
            about.src,
            about.dst,
            about.sport().unwrap_or(0),
            about.proto,
            space,
            claims,
        ),
    }
}

fn public_worker(
    public: u32,
    outside: u32,
    port: u16,
    protocol: u8,
    space: &PublicSpace,
    claims: &Claims,
) -> Option<u8> {
    let found = space.find(public)?;
    let owner = match protocol {
        1 | 6 | 17 => space.owner(found.index, usize::from(port >> 12)),
        _ => claims.owner(public, outside, protocol)?,
    };
    (owner < MAX_WORKERS).then_some(owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscribers_spread_over_workers() {
        for workers in 1..=8u8 {
            let mut counts = vec![0u32; usize::from(workers)];
            for i in 0..8000u32 {
                counts[usize::from(subscriber_worker(0x6440_0000 + i, workers))] += 1;
            }
            let share = 8000 / u32::from(workers);
            assert!(
                counts.iter().all(|c| *c > share * 8 / 10 && *c < share * 12 / 10),
                "{counts:?}"
            );
        }
    }
}
