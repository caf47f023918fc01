//! Hand-over: packets that another worker owns go to it by a ring, in bursts; the rest stays.

use rte_bindings::{Mbuf, RingProducer, Single};
use tandem_engine::drop_reason::{DropCounts, DropReason};
use tandem_engine::packet::Desc;
use tandem_engine::packet6::Desc6;

use super::descs::Descs;
use super::{BURST, Burst, NOTE_HAIRPIN, NOTE_IN, PacketNote, Worker};
use crate::stats::WorkerCounters;

/// What the owner needs to know of a packet beside its octets.
trait Noted: Copy {
    fn note(&self) -> PacketNote;
}

impl Noted for Desc {
    fn note(&self) -> PacketNote {
        PacketNote {
            interface: self.interface,
            sport: self.sport,
            dport: self.dport,
            kind: if self.hairpinned { NOTE_HAIRPIN } else { NOTE_IN },
            detail: 0,
        }
    }
}

impl Noted for Desc6 {
    fn note(&self) -> PacketNote {
        PacketNote {
            interface: self.interface,
            sport: self.sport,
            dport: self.dport,
            kind: NOTE_IN,
            detail: self.meta.proto,
        }
    }
}

/// The ways to the other workers.
pub(super) struct HandOver<'a> {
    pub(super) bursts: &'a mut [Burst],
    pub(super) rings: &'a mut [Option<RingProducer<Single>>],
    pub(super) drops: &'a mut DropCounts,
    pub(super) counters: &'a mut WorkerCounters,
}

impl Worker {
    pub(super) fn ways_over(&mut self) -> HandOver<'_> {
        HandOver {
            bursts: &mut self.handover,
            rings: &mut self.to_workers,
            drops: &mut self.drops,
            counters: &mut self.counters,
        }
    }

    /// Hands over what another worker owns of the IPv4 batch; the rest stays in it, with its descriptions.
    pub(super) fn steer_batch(&mut self) {
        let (id, split) = (self.id, self.split);
        let Self {
            batch,
            descs,
            commit,
            claims,
            ..
        } = self;
        let mut owners = [id; BURST];
        let mut foreign = false;
        for ((owner, desc), mbuf) in owners.iter_mut().zip(descs.iter()).zip(batch.as_slice()) {
            let found = commit.steering.worker(desc, mbuf.data(), claims, split);
            *owner = found.unwrap_or(id);
            foreign |= *owner != id;
        }
        if foreign {
            let mut over = HandOver {
                bursts: &mut self.handover,
                rings: &mut self.to_workers,
                drops: &mut self.drops,
                counters: &mut self.counters,
            };
            over.split(id, &owners, batch, descs);
        }
    }

    /// The same for the IPv6 batch.
    pub(super) fn steer_batch6(&mut self) {
        let (id, split) = (self.id, self.split);
        let Self {
            batch6,
            descs6,
            commit,
            ..
        } = self;
        let mut owners = [id; BURST];
        let mut foreign = false;
        for ((owner, desc), mbuf) in owners.iter_mut().zip(descs6.iter()).zip(batch6.as_slice()) {
            let found = commit.steering.worker6(desc, mbuf.data(), split);
            *owner = found.unwrap_or(id);
            foreign |= *owner != id;
        }
        if foreign {
            let mut over = HandOver {
                bursts: &mut self.handover,
                rings: &mut self.to_workers,
                drops: &mut self.drops,
                counters: &mut self.counters,
            };
            over.split(id, &owners, batch6, descs6);
        }
    }
}

impl HandOver<'_> {
    /// Keeps what is `id`'s of a batch and hands the rest over.
    fn split<D: Noted>(&mut self, id: u8, owners: &[u8; BURST], batch: &mut Burst, descs: &mut Descs<D>) {
        let mut all = std::mem::take(batch);
        let mut kept = 0;
        for (at, mut mbuf) in all.drain().enumerate() {
            let (Some(desc), Some(owner)) = (descs.get(at).copied(), owners.get(at).copied()) else {
                self.drops.count(DropReason::HandoverFull);
                continue;
            };
            if owner == id {
                if let Some(slot) = descs.get_mut(kept)
                    && batch.push(mbuf).is_ok()
                {
                    *slot = desc;
                    kept += 1;
                } else {
                    self.drops.count(DropReason::HandoverFull);
                }
                continue;
            }
            if let Some(note) = mbuf.priv_mut::<PacketNote>() {
                *note = desc.note();
            }
            self.hand_over(owner, mbuf);
        }
        descs.truncate(kept);
    }

    /// Puts a packet into the burst for another worker, sending the burst when it is full.
    pub(super) fn hand_over(&mut self, owner: u8, mbuf: Mbuf) {
        let at = usize::from(owner);
        let (Some(burst), Some(Some(ring))) = (self.bursts.get_mut(at), self.rings.get_mut(at)) else {
            self.drops.count(DropReason::HandoverFull);
            return;
        };
        if burst.is_full() {
            send_over(burst, ring, self.drops, self.counters);
        }
        if burst.push(mbuf).is_err() {
            self.drops.count(DropReason::HandoverFull);
        }
    }

    /// Sends all bursts that hold something.
    pub(super) fn flush(&mut self) {
        for (burst, ring) in self.bursts.iter_mut().zip(self.rings.iter_mut()) {
            if let Some(ring) = ring
                && !burst.is_empty()
            {
                send_over(burst, ring, self.drops, self.counters);
            }
        }
    }
}

/// Sends a burst to another worker; what its ring has no room for is dropped.
fn send_over(
    burst: &mut Burst,
    ring: &mut RingProducer<Single>,
    drops: &mut DropCounts,
    counters: &mut WorkerCounters,
) {
    counters.handed_over += ring.enqueue_burst(burst) as u64;
    drops.0[DropReason::HandoverFull as usize] += burst.len() as u64;
    burst.clear();
}
