//! How much of DPDK's memory is taken.

use dpdk_sys as sys;

use crate::eal::Eal;

/// DPDK's memory on one NUMA node, in bytes. Pools, rings, tables and queues all take from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeapUsage {
    /// What DPDK has from the system.
    pub total: u64,
    /// Of that, in use.
    pub allocated: u64,
    /// Of that, free.
    pub free: u64,
    /// Largest piece that is free: what the next table or pool must fit into.
    pub largest_free: u64,
}

/// DPDK's memory on NUMA node `socket`; `None` when it has none there.
pub fn heap_usage(_eal: &Eal, socket: u32) -> Option<HeapUsage> {
    let socket = i32::try_from(socket).ok()?;
    // SAFETY: a struct of integers.
    let mut raw: sys::rte_malloc_socket_stats = unsafe { std::mem::zeroed() };
    // SAFETY: EAL is initialised; `raw` is writable. An unknown node gives a negative result.
    let result = unsafe { sys::rte_malloc_get_socket_stats(socket, &mut raw) };
    (result == 0).then_some(HeapUsage {
        total: raw.heap_totalsz_bytes as u64,
        allocated: raw.heap_allocsz_bytes as u64,
        free: raw.heap_freesz_bytes as u64,
        largest_free: raw.greatest_free_size as u64,
    })
}
