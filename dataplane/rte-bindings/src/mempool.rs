//! Pools of packet buffers.

use std::ffi::CString;
use std::ptr::NonNull;

use dpdk_sys as sys;
use thiserror::Error;

use crate::burst::MbufBurst;
use crate::eal::{Eal, PoolPtr};
use crate::errno::Errno;
use crate::mbuf::Mbuf;

/// Why a pool was not made.
#[derive(Debug, Error)]
pub enum PoolError {
    /// The name is too long, empty or holds a NUL byte.
    #[error("bad mempool name {0:?}")]
    Name(String),
    /// A number is outside its range; see [`PoolConfig`].
    #[error("mempool {name}: {what} out of range")]
    Range {
        /// The pool's name.
        name: String,
        /// Which field.
        what: &'static str,
    },
    /// DPDK refused: `EEXIST` for a name in use, `ENOMEM` when its memory does not suffice.
    #[error("cannot create mempool {name} of {count} mbufs: {errno}")]
    Create {
        /// The pool's name.
        name: String,
        /// Mbufs asked for.
        count: u32,
        /// DPDK's reason.
        errno: Errno,
    },
}

/// The pool has fewer free mbufs than asked for; none was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("mempool exhausted")]
pub struct PoolExhausted;

/// Size and place of a pool.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// Name, unique in the process, at most 25 bytes.
    pub name: String,
    /// Number of mbufs, at least 1. Memory is best used by a power of two minus one.
    pub count: u32,
    /// Mbufs cached per lcore, 0 to 512 and at most `count` / 1.5. Caches may hold that many (times 1.5)
    /// mbufs each that other threads cannot get: count them in.
    pub cache: u32,
    /// Bytes of private area in each mbuf, a multiple of 8.
    pub priv_size: u16,
    /// Bytes for packet data in each mbuf, beyond the headroom of 128.
    pub data_room: u16,
    /// NUMA node to take the memory from, or `None` for any.
    pub socket: Option<u32>,
}

/// A pool of packet buffers. Clones are references to the same pool.
///
/// A pool lives as long as the [`Eal`], not merely as its handle: mbufs do not count references to their
/// pool, so no moment before is known to be safe.
#[derive(Clone)]
pub struct Mempool {
    raw: NonNull<sys::rte_mempool>,
    count: u32,
    priv_size: u16,
    data_room: u16,
    _eal: Eal,
}

// SAFETY: mempools are made for concurrent use: the shared ring takes several producers and consumers, and
// the caches are per lcore id, which is thread-local.
unsafe impl Send for Mempool {}
// SAFETY: as above.
unsafe impl Sync for Mempool {}

impl Mempool {
    /// Takes the memory for a pool.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub fn create(eal: &Eal, config: &PoolConfig) -> Result<Self, PoolError> {
        let PoolConfig {
            name,
            count,
            cache,
            priv_size,
            data_room,
            socket,
        } = config;
        let c_name = CString::new(name.as_str()).map_err(|_| PoolError::Name(name.clone()))?;
        if name.is_empty() {
            return Err(PoolError::Name(name.clone()));
        }
        let range = |what| PoolError::Range {
            name: name.clone(),
            what,
        };
        if *count == 0 {
            return Err(range("count"));
        }
        if *cache > sys::RTE_MEMPOOL_CACHE_MAX_SIZE || u64::from(*cache) * 3 > u64::from(*count) * 2 {
            return Err(range("cache"));
        }
        if priv_size % 8 != 0 {
            return Err(range("priv_size"));
        }
        let buffer = data_room
            .checked_add(HEADROOM)
            .ok_or_else(|| range("data_room"))?;
        let socket = match socket {
            None => -1,
            Some(node) => i32::try_from(*node).map_err(|_| range("socket"))?,
        };
        // SAFETY: EAL is initialised (`eal`); the name is a terminated string that DPDK copies.
        let raw = unsafe {
            sys::dpdk_sys_pktmbuf_pool_create(c_name.as_ptr(), *count, *cache, *priv_size, buffer, socket)
        };
        let raw = NonNull::new(raw).ok_or_else(|| match Errno::last() {
            errno if errno.code() == libc::ENAMETOOLONG => PoolError::Name(name.clone()),
            errno => PoolError::Create {
                name: name.clone(),
                count: *count,
                errno,
            },
        })?;
        eal.registry().pools.push(PoolPtr(raw));
        let (count, priv_size, data_room) = (*count, *priv_size, *data_room);
        Ok(Self {
            raw,
            count,
            priv_size,
            data_room,
            _eal: eal.clone(),
        })
    }

    /// Mbufs in the pool, free or not.
    pub fn capacity(&self) -> u32 {
        self.count
    }

    /// Free mbufs, those in lcore caches included. Looks at every cache: for statistics, not for the packet
    /// way. Approximate while other threads use the pool.
    pub fn available(&self) -> u32 {
        // SAFETY: the pool is alive.
        unsafe { sys::rte_mempool_avail_count(self.raw.as_ptr()) }
    }

    /// Mbufs somebody holds; costs and accuracy as [`Mempool::available`].
    pub fn in_use(&self) -> u32 {
        // SAFETY: the pool is alive.
        unsafe { sys::rte_mempool_in_use_count(self.raw.as_ptr()) }
    }

    /// Bytes of private area in each mbuf.
    pub fn priv_size(&self) -> u16 {
        self.priv_size
    }

    /// Bytes for packet data in each mbuf, headroom not included.
    pub fn data_room(&self) -> u16 {
        self.data_room
    }

    /// Takes one mbuf: empty, default headroom, no flags. `None` when the pool is exhausted.
    #[inline]
    pub fn alloc(&self) -> Option<Mbuf> {
        // SAFETY: the pool is alive.
        let raw = unsafe { sys::rte_pktmbuf_alloc(self.raw.as_ptr()) };
        // SAFETY: a non-null result is an mbuf that is now ours alone.
        NonNull::new(raw).map(|raw| unsafe { Mbuf::from_raw(raw) })
    }

    /// Takes `n` mbufs to the end of `burst`: all, or none.
    ///
    /// # Errors
    /// [`PoolExhausted`] when the pool has fewer, or the burst has no room for them.
    #[inline]
    pub fn alloc_burst<const N: usize>(
        &self,
        burst: &mut MbufBurst<N>,
        n: usize,
    ) -> Result<(), PoolExhausted> {
        let taken = burst.fill_with(|room, free| {
            if n > free {
                return 0;
            }
            // SAFETY: the pool is alive and `room` has space for `free` >= n pointers. All n or none are
            // written.
            match unsafe { sys::rte_pktmbuf_alloc_bulk(self.raw.as_ptr(), room, n as u32) } {
                0 => n,
                _ => 0,
            }
        });
        if taken == n { Ok(()) } else { Err(PoolExhausted) }
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::rte_mempool {
        self.raw.as_ptr()
    }
}

/// Bytes in front of the packet in a fresh mbuf.
pub const HEADROOM: u16 = sys::DPDK_SYS_MBUF_HEADROOM as u16;
