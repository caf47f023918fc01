//! The safe face of DPDK: EAL, mempools, mbufs, ports, rings, forwarding tables, packet classification.
//!
//! All `unsafe` that calling DPDK takes is in this crate; what it exports is safe to use from crates that
//! forbid it. Ownership is Rust's: an [`Mbuf`] is freed when dropped, a [`MbufBurst`] frees what is left in
//! it, what a driver or ring accepts leaves the burst.
//!
//! ```text
//!   Eal ──┬── Mempool ── Mbuf, MbufBurst
//!         ├── Port ── RxQueue, TxQueue      one handle per queue, movable to its worker
//!         ├── Ring halves                   mbufs from thread to thread
//!         ├── Fib4, Fib6 and their readers  one writer, lock-free lookups
//!         ├── Acl4, Acl6        built once, read by all
//!         └── WorkerThread                  a std thread known to DPDK, with mempool caches
//! ```
//!
//! On the packet way nothing here allocates, locks, logs or makes a system call (a driver may).

pub mod acl;
mod affinity;
mod burst;
mod eal;
mod errno;
pub mod fib;
mod heap;
mod hugepages;
mod mbuf;
mod mempool;
mod port;
mod ring;
mod thread;

pub use acl::{Acl4, Acl6, AclConfig, AclError, AclRule, AclRules};
pub use affinity::{current_affinity, pin_current_thread};
pub use burst::{Drain, MbufBurst};
pub use eal::{Eal, EalError, tsc_cycles, tsc_hz, version};
pub use errno::Errno;
pub use fib::{Fib4, Fib4Reader, Fib6, Fib6Reader, FibConfig, FibError};
pub use heap::{HeapUsage, heap_usage};
pub use hugepages::{Hugepages, hugepages_free};
pub use mbuf::{Checksum, L3Checksum, L4Checksum, LinearizeError, Mbuf, NoRoom, Segments, TxChecksum};
pub use mempool::{HEADROOM, Mempool, PoolConfig, PoolError, PoolExhausted};
pub use port::{
    DeviceInfo, Link, MacAddr, Port, PortConfig, PortError, PortGrants, PortStats, RssFields, RxOffloads,
    RxQueue, TxOffloads, TxQueue,
};
pub use ring::{
    Multi, RingConsumer, RingError, RingProducer, Single, mpmc_ring, mpsc_ring, spmc_ring, spsc_ring,
};
pub use thread::{ThreadError, WorkerThread};
