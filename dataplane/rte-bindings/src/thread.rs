//! Registration of our own threads with DPDK.
//!
//! Workers are plain `std` threads, pinned by [`crate::pin_current_thread`]. DPDK gives each thread it knows
//! an lcore id, and mempools keep one cache of free mbufs per lcore id. A thread that is not registered works
//! too, but each mbuf it allocates or frees goes to the pool's shared ring with an atomic operation.

use std::marker::PhantomData;

use dpdk_sys as sys;
use thiserror::Error;

use crate::eal::Eal;
use crate::errno::Errno;

/// Why a thread was not registered.
#[derive(Debug, Error)]
pub enum ThreadError {
    /// The thread is registered already, or is the one that started DPDK.
    #[error("thread is an lcore already")]
    AlreadyRegistered,
    /// DPDK refused: all lcore ids (128 in Debian's build) are taken, or it runs with secondary processes.
    #[error("cannot register thread with DPDK: {0}")]
    Refused(Errno),
}

/// Makes the current thread an lcore for as long as it is kept. Bound to its thread.
///
/// When dropped it flushes the thread's mempool caches first, so that its free mbufs are not stranded.
pub struct WorkerThread {
    eal: Eal,
    lcore: u32,
    /// Unregistering must happen on the thread that registered.
    _not_send: PhantomData<*const ()>,
}

impl WorkerThread {
    /// Registers the calling thread. Pin it first: DPDK records its affinity now.
    ///
    /// # Errors
    /// See [`ThreadError`].
    pub fn register(eal: &Eal) -> Result<Self, ThreadError> {
        // SAFETY: reads a thread-local.
        if unsafe { sys::rte_lcore_id() } != sys::SYS_LCORE_ID_ANY {
            return Err(ThreadError::AlreadyRegistered);
        }
        // SAFETY: EAL is initialised (`eal`), and the thread is not registered.
        if unsafe { sys::rte_thread_register() } != 0 {
            return Err(ThreadError::Refused(Errno::last()));
        }
        // SAFETY: reads a thread-local.
        let lcore = unsafe { sys::rte_lcore_id() };
        Ok(Self {
            eal: eal.clone(),
            lcore,
            _not_send: PhantomData,
        })
    }

    /// The lcore id DPDK gave: the index of this thread's mempool caches, unrelated to CPU numbers.
    pub fn lcore_id(&self) -> u32 {
        self.lcore
    }
}

impl Drop for WorkerThread {
    fn drop(&mut self) {
        for pool in &self.eal.registry().pools {
            // SAFETY: pools live as long as the EAL, and this thread is the lcore whose cache is flushed.
            unsafe { sys::dpdk_sys_mempool_flush(pool.0.as_ptr(), self.lcore) };
        }
        // SAFETY: the guard cannot leave its thread, so this is the registered one.
        unsafe { sys::rte_thread_unregister() };
    }
}
