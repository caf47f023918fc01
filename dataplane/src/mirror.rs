//! The mirror: moves packets between the workers' rings and the kernel's tap devices, on a thread of its own.
//!
//! System calls happen here so that no worker makes any. Which device a frame belongs to stands in its note.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rte_bindings::{Mempool, RingConsumer, RingProducer, Single};
use tandem_engine::program::InterfaceId;

use crate::worker::{Burst, NOTE_IN, PacketNote};

/// Longest sleep when there is nothing to move.
const LONGEST_SLEEP: Duration = Duration::from_millis(1);
/// Turns without a frame before the mirror sleeps.
const EMPTY_TURNS: u32 = 64;
/// Frames read from one device in one turn.
const READ_PER_TURN: usize = 32;

/// A kernel device that takes and gives Ethernet frames without blocking.
pub trait KernelDevice: Send {
    /// Gives a frame to the kernel. `Ok(false)`: it has no room now.
    ///
    /// # Errors
    /// What the kernel said.
    fn send(&self, frame: &[u8]) -> std::io::Result<bool>;
    /// Reads a frame; `Ok(None)` when there is none.
    ///
    /// # Errors
    /// What the kernel said.
    fn receive(&self, buffer: &mut [u8]) -> std::io::Result<Option<usize>>;
}

/// Numbers of the mirror.
#[derive(Debug, Default)]
pub struct MirrorStats {
    /// Frames given to the kernel.
    pub to_kernel: AtomicU64,
    /// Frames the kernel had no room for, or refused.
    pub to_kernel_dropped: AtomicU64,
    /// Frames taken from the kernel.
    pub from_kernel: AtomicU64,
    /// Frames of the kernel dropped: no buffer, too long, or the worker's ring was full.
    pub from_kernel_dropped: AtomicU64,
}

/// The mirror's half of the rings, and the devices.
pub struct Mirror {
    devices: Vec<(InterfaceId, Box<dyn KernelDevice>)>,
    from_workers: Vec<RingConsumer<Single>>,
    to_worker: RingProducer<Single>,
    pool: Mempool,
    stats: Arc<MirrorStats>,
}

impl Mirror {
    /// Puts a mirror together.
    #[must_use]
    pub fn new(
        devices: Vec<(InterfaceId, Box<dyn KernelDevice>)>,
        from_workers: Vec<RingConsumer<Single>>,
        to_worker: RingProducer<Single>,
        pool: Mempool,
        stats: Arc<MirrorStats>,
    ) -> Self {
        Self {
            devices,
            from_workers,
            to_worker,
            pool,
            stats,
        }
    }

    /// Runs until `stop`. The thread is registered with DPDK.
    pub fn run(&mut self, stop: &AtomicBool) {
        let mut burst = Burst::default();
        let mut buffer = vec![0u8; 16 * 1024];
        let mut empty = 0u32;
        while !stop.load(Ordering::Relaxed) {
            let moved =
                self.feed_kernel(&mut burst, &mut buffer) | self.feed_workers(&mut burst, &mut buffer);
            empty = if moved { 0 } else { empty.saturating_add(1) };
            if empty > EMPTY_TURNS {
                std::thread::sleep(Duration::from_micros(u64::from(empty)).min(LONGEST_SLEEP));
            }
        }
    }

    fn feed_kernel(&mut self, burst: &mut Burst, buffer: &mut [u8]) -> bool {
        let mut moved = false;
        for ring in &mut self.from_workers {
            if ring.dequeue_burst(burst) == 0 {
                continue;
            }
            moved = true;
            for mbuf in burst.drain() {
                let interface = mbuf.priv_ref::<PacketNote>().map_or(u16::MAX, |n| n.interface);
                let device = self.devices.iter().find(|(id, _)| *id == interface);
                let sent = device.is_some_and(|(_, device)| {
                    let frame = if mbuf.is_contiguous() {
                        mbuf.data()
                    } else {
                        let length = mbuf.copy_to_slice(buffer);
                        buffer.get(..length).unwrap_or(&[])
                    };
                    device.send(frame).unwrap_or(false)
                });
                let counter = if sent {
                    &self.stats.to_kernel
                } else {
                    &self.stats.to_kernel_dropped
                };
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
        moved
    }

    fn feed_workers(&mut self, burst: &mut Burst, buffer: &mut [u8]) -> bool {
        let mut moved = false;
        for (interface, device) in &self.devices {
            for _ in 0..READ_PER_TURN {
                let Ok(Some(length)) = device.receive(buffer) else {
                    break;
                };
                moved = true;
                let mbuf = self.pool.alloc().and_then(|mut mbuf| {
                    mbuf.copy_from_slice(buffer.get(..length)?).ok()?;
                    let note = mbuf.priv_mut::<PacketNote>()?;
                    *note = PacketNote {
                        interface: *interface,
                        kind: NOTE_IN,
                        ..PacketNote::default()
                    };
                    Some(mbuf)
                });
                match mbuf.map(|m| burst.push(m)) {
                    Some(Ok(())) => {}
                    Some(Err(_)) | None => {
                        self.stats.from_kernel_dropped.fetch_add(1, Ordering::Relaxed);
                    }
                }
                if burst.is_full() {
                    send(&mut self.to_worker, burst, &self.stats);
                }
            }
        }
        send(&mut self.to_worker, burst, &self.stats);
        moved
    }
}

fn send(ring: &mut RingProducer<Single>, burst: &mut Burst, stats: &MirrorStats) {
    if burst.is_empty() {
        return;
    }
    let sent = ring.enqueue_burst(burst);
    stats.from_kernel.fetch_add(sent as u64, Ordering::Relaxed);
    stats
        .from_kernel_dropped
        .fetch_add(burst.len() as u64, Ordering::Relaxed);
    burst.clear();
}
