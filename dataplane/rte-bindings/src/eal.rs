//! The Environment Abstraction Layer: DPDK's start and end in this process.
//!
//! DPDK can be started once per process. Everything made from it (pools, ports, rings, tables, registered
//! threads) holds a reference to the [`Eal`], and DPDK is shut down when the last one goes, but only
//!
//! - on the thread that started it, whose mempool caches cannot be looked at from elsewhere, and
//! - when every mbuf is back in its pool, since shutting down unmaps the memory they lie in.
//!
//! Otherwise the memory stays until the process ends, which is what then frees it. That is no leak worth an
//! error: a daemon ends there anyway.

use std::ffi::{CString, NulError};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use dpdk_sys as sys;
use thiserror::Error;

use crate::affinity::Affinity;
use crate::errno::Errno;

/// Why DPDK did not start.
#[derive(Debug, Error)]
pub enum EalError {
    /// DPDK was started before in this process; it cannot be started twice, not even after it was shut down.
    #[error("DPDK was already initialised in this process")]
    AlreadyInitialised,
    /// An argument holds a NUL byte.
    #[error("EAL argument holds a NUL byte")]
    Argument(#[from] NulError),
    /// The calling thread's CPU affinity could not be read or put back.
    #[error("cannot keep the calling thread's CPU affinity: {0}")]
    Affinity(#[source] std::io::Error),
    /// `rte_eal_init` refused; its own log on stderr has the reason.
    #[error("EAL initialisation failed: {0}")]
    Init(Errno),
}

/// DPDK, running. Clones are references to the same one.
#[derive(Clone)]
pub struct Eal {
    core: Arc<EalCore>,
}

pub(crate) struct EalCore {
    started_on: ThreadId,
    registry: Mutex<Registry>,
}

/// What is alive in DPDK, for checks that DPDK itself does not make.
#[derive(Default)]
pub(crate) struct Registry {
    pub(crate) pools: Vec<PoolPtr>,
    /// Ports that have a `Port` handle.
    pub(crate) ports: Vec<u16>,
}

#[derive(Clone, Copy)]
pub(crate) struct PoolPtr(pub(crate) NonNull<sys::rte_mempool>);

// SAFETY: a pointer to a mempool, whose functions used here may be called from any thread.
unsafe impl Send for PoolPtr {}

static STARTED: AtomicBool = AtomicBool::new(false);

impl Eal {
    /// Starts DPDK with `args`, the EAL command line without the program name, for example
    /// `["-l", "0", "--no-pci"]`.
    ///
    /// The calling thread becomes DPDK's main lcore. EAL pins it; this puts the affinity it had before back,
    /// so that threads spawned later do not inherit a shrunken one.
    ///
    /// # Errors
    /// See [`EalError`]. After [`EalError::Init`] a further call is refused too: EAL does not undo a start
    /// that failed half way.
    pub fn init(args: &[String]) -> Result<Self, EalError> {
        let mut owned = vec![CString::new("tandem")?];
        for arg in args {
            owned.push(CString::new(arg.as_str())?);
        }
        let argc = i32::try_from(owned.len()).map_err(|_| EalError::Init(Errno::new(libc::E2BIG)))?;
        let affinity = Affinity::of_current_thread().map_err(EalError::Affinity)?;
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(EalError::AlreadyInitialised);
        }

        // EAL keeps pointers into the arguments and reorders the array, so both live as long as the process.
        let mut argv: Vec<*mut std::ffi::c_char> = owned.into_iter().map(CString::into_raw).collect();
        argv.push(std::ptr::null_mut());
        let argv = argv.leak();
        // SAFETY: argv holds argc terminated, writable strings and a null, none of which is ever freed;
        // STARTED makes this the only call in the process.
        let result = unsafe { sys::rte_eal_init(argc, argv.as_mut_ptr()) };
        let error = Errno::last();
        affinity.apply_to_current_thread().map_err(EalError::Affinity)?;
        if result < 0 {
            return Err(EalError::Init(error));
        }
        crate::mbuf::mark::reserve().map_err(EalError::Init)?;
        let core = EalCore {
            started_on: std::thread::current().id(),
            registry: Mutex::default(),
        };
        Ok(Self { core: Arc::new(core) })
    }

    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        // Nothing that holds the lock can leave the lists half changed.
        self.core.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for EalCore {
    fn drop(&mut self) {
        let pools = &self
            .registry
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .pools;
        // SAFETY: pools are never freed before this point.
        let all_home = pools
            .iter()
            .all(|pool| unsafe { sys::rte_mempool_in_use_count(pool.0.as_ptr()) } == 0);
        if all_home && std::thread::current().id() == self.started_on {
            // SAFETY: this is the last reference, so no port, ring, table or registered thread exists; all
            // mbufs are in their pools; and the one unregistered thread with a mempool cache is this one.
            unsafe { sys::rte_eal_cleanup() };
        }
    }
}

/// DPDK's version, such as `DPDK 22.11.11`. Needs no [`Eal`].
pub fn version() -> String {
    // SAFETY: returns a terminated static string.
    unsafe { std::ffi::CStr::from_ptr(sys::rte_version()) }
        .to_string_lossy()
        .into_owned()
}

/// The time stamp counter, which runs at [`tsc_hz`]. No system call.
#[inline]
pub fn tsc_cycles() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 CPU has the instruction.
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: reads a counter.
    unsafe {
        sys::rte_get_tsc_cycles()
    }
}

/// Ticks of [`tsc_cycles`] per second. EAL measures it at start, hence the argument.
pub fn tsc_hz(_eal: &Eal) -> u64 {
    // SAFETY: reads a number set by EAL initialisation.
    unsafe { sys::rte_get_tsc_hz() }
}
