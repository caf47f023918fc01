//! Rings that hand mbufs from thread to thread.
//!
//! A ring is made as two halves. The type of a half says how many threads may use its side: a [`Single`] half
//! is one handle that moves to its thread, a [`Multi`] half can be cloned, one for each thread. Single sides
//! do without atomic read-modify-writes: between workers, N x N single rings are cheaper than N shared ones.
//!
//! A `Multi` side is not preemption-safe: a thread descheduled inside an operation makes the others on that
//! side wait. Pin them to CPUs of their own, or use single rings.

use std::ffi::CString;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use dpdk_sys as sys;
use thiserror::Error;

use crate::burst::MbufBurst;
use crate::eal::Eal;
use crate::errno::Errno;
use crate::mbuf::Mbuf;

/// Why a ring was not made.
#[derive(Debug, Error)]
pub enum RingError {
    /// The size is not a power of two from 2 to 2^30.
    #[error("ring {name}: size {size} is not a power of two from 2 to 2^30")]
    Size {
        /// The ring's name.
        name: String,
        /// Slots asked for.
        size: u32,
    },
    /// DPDK refused: `EEXIST` for a name in use, `ENOMEM`, `ENAMETOOLONG` above 28 bytes, `EINVAL` for a NUL.
    #[error("cannot create ring {name}: {errno}")]
    Create {
        /// The ring's name.
        name: String,
        /// DPDK's reason.
        errno: Errno,
    },
}

struct RingCore {
    raw: NonNull<sys::rte_ring>,
    _eal: Eal,
}

// SAFETY: the ring's shared state is accessed by atomics only; how many threads may be on each side is kept
// by the types of the halves.
unsafe impl Send for RingCore {}
// SAFETY: as above.
unsafe impl Sync for RingCore {}

impl Drop for RingCore {
    fn drop(&mut self) {
        // No half is left, so this thread is alone on both sides.
        loop {
            let mut mbuf = ptr::null_mut();
            // SAFETY: the ring is alive, `mbuf` has room for one pointer, and nobody else dequeues.
            let n = unsafe { sys::rte_ring_dequeue_burst(self.raw.as_ptr(), &mut mbuf, 1, ptr::null_mut()) };
            match NonNull::new(mbuf) {
                // SAFETY: only owned mbufs are enqueued, and this one has left the ring.
                Some(mbuf) if n == 1 => drop(unsafe { Mbuf::from_raw(mbuf.cast()) }),
                _ => break,
            }
        }
        // SAFETY: made by rte_ring_create, and this was the last reference.
        unsafe { sys::rte_ring_free(self.raw.as_ptr()) };
    }
}

/// One thread at a time on this side of the ring.
pub struct Single(());
/// Any number of threads on this side, each with a clone of the half.
pub struct Multi(());

/// The side that mbufs go into.
pub struct RingProducer<S> {
    core: Arc<RingCore>,
    _side: PhantomData<S>,
}

/// The side that mbufs come out of.
pub struct RingConsumer<S> {
    core: Arc<RingCore>,
    _side: PhantomData<S>,
}

impl Clone for RingProducer<Multi> {
    fn clone(&self) -> Self {
        Self {
            core: self.core.clone(),
            _side: PhantomData,
        }
    }
}

impl Clone for RingConsumer<Multi> {
    fn clone(&self) -> Self {
        Self {
            core: self.core.clone(),
            _side: PhantomData,
        }
    }
}

/// A ring of `size` slots, a power of two, of which one stays empty, for one producer and one consumer.
/// `socket` is the NUMA node, `None` for any.
///
/// # Errors
/// See [`RingError`].
pub fn spsc_ring(
    eal: &Eal,
    name: &str,
    size: u32,
    socket: Option<u32>,
) -> Result<(RingProducer<Single>, RingConsumer<Single>), RingError> {
    create(
        eal,
        name,
        size,
        socket,
        sys::SYS_RING_F_SP_ENQ | sys::SYS_RING_F_SC_DEQ,
    )
}

/// As [`spsc_ring`], for several producers and one consumer.
///
/// # Errors
/// See [`RingError`].
pub fn mpsc_ring(
    eal: &Eal,
    name: &str,
    size: u32,
    socket: Option<u32>,
) -> Result<(RingProducer<Multi>, RingConsumer<Single>), RingError> {
    create(eal, name, size, socket, sys::SYS_RING_F_SC_DEQ)
}

/// As [`spsc_ring`], for one producer and several consumers.
///
/// # Errors
/// See [`RingError`].
pub fn spmc_ring(
    eal: &Eal,
    name: &str,
    size: u32,
    socket: Option<u32>,
) -> Result<(RingProducer<Single>, RingConsumer<Multi>), RingError> {
    create(eal, name, size, socket, sys::SYS_RING_F_SP_ENQ)
}

/// As [`spsc_ring`], for several producers and several consumers.
///
/// # Errors
/// See [`RingError`].
pub fn mpmc_ring(
    eal: &Eal,
    name: &str,
    size: u32,
    socket: Option<u32>,
) -> Result<(RingProducer<Multi>, RingConsumer<Multi>), RingError> {
    create(eal, name, size, socket, 0)
}

/// The flags must fit the sides: single-producer flag for a `Single` producer, and so on.
fn create<P, C>(
    eal: &Eal,
    name: &str,
    size: u32,
    socket: Option<u32>,
    flags: u32,
) -> Result<(RingProducer<P>, RingConsumer<C>), RingError> {
    if !size.is_power_of_two() || !(2..=1 << 30).contains(&size) {
        return Err(RingError::Size {
            name: name.to_owned(),
            size,
        });
    }
    let fail = |errno| RingError::Create {
        name: name.to_owned(),
        errno,
    };
    let c_name = CString::new(name).map_err(|_| fail(Errno::new(libc::EINVAL)))?;
    let socket = socket
        .map_or(Ok(-1), i32::try_from)
        .map_err(|_| fail(Errno::new(libc::EINVAL)))?;
    // SAFETY: EAL is initialised (`eal`); the name is a terminated string that DPDK copies.
    let raw = unsafe { sys::rte_ring_create(c_name.as_ptr(), size, socket, flags) };
    let raw = NonNull::new(raw).ok_or_else(|| fail(Errno::last()))?;
    let core = Arc::new(RingCore {
        raw,
        _eal: eal.clone(),
    });
    Ok((
        RingProducer {
            core: core.clone(),
            _side: PhantomData,
        },
        RingConsumer {
            core,
            _side: PhantomData,
        },
    ))
}

impl<S> RingProducer<S> {
    /// Moves mbufs from the front of `burst` into the ring, as many as have room; the rest stay. Returns how
    /// many moved.
    #[inline]
    pub fn enqueue_burst<const N: usize>(&mut self, burst: &mut MbufBurst<N>) -> usize {
        let ring = self.core.raw.as_ptr();
        burst.take_with(|mbufs, n| {
            // SAFETY: the ring is alive, `mbufs` has n owned mbufs, and the accepted ones leave the burst. A
            // Single half is one handle, borrowed mutably, so no other thread is on this side.
            unsafe { sys::rte_ring_enqueue_burst(ring, mbufs.cast(), n as u32, ptr::null_mut()) as usize }
        })
    }
}

impl<S> RingConsumer<S> {
    /// Moves mbufs from the ring to the end of `burst`, as many as there are and fit. Returns how many moved.
    #[inline]
    pub fn dequeue_burst<const N: usize>(&mut self, burst: &mut MbufBurst<N>) -> usize {
        let ring = self.core.raw.as_ptr();
        burst.fill_with(|room, n| {
            // SAFETY: the ring is alive, `room` has place for n pointers, and only owned mbufs were enqueued.
            // Sides as in enqueue_burst.
            unsafe { sys::rte_ring_dequeue_burst(ring, room.cast(), n as u32, ptr::null_mut()) as usize }
        })
    }
}

macro_rules! counts {
    ($half:ident) => {
        impl<S> $half<S> {
            /// Mbufs in the ring now.
            #[inline]
            pub fn count(&self) -> usize {
                // SAFETY: the ring is alive.
                unsafe { sys::rte_ring_count(self.core.raw.as_ptr()) as usize }
            }

            /// Free slots in the ring now.
            #[inline]
            pub fn free_count(&self) -> usize {
                // SAFETY: the ring is alive.
                unsafe { sys::rte_ring_free_count(self.core.raw.as_ptr()) as usize }
            }

            /// Mbufs the ring can hold: its size less one.
            #[inline]
            pub fn capacity(&self) -> usize {
                // SAFETY: the ring is alive.
                unsafe { sys::rte_ring_get_capacity(self.core.raw.as_ptr()) as usize }
            }
        }
    };
}
counts!(RingProducer);
counts!(RingConsumer);
