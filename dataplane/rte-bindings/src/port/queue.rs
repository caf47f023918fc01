//! Receive and transmit queues, the ends of the packet way.
//!
//! A queue has at most one handle, so a driver's rule of one thread per queue holds by construction. Handles
//! keep their port from being stopped, reconfigured or closed.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

use dpdk_sys as sys;

use super::{Direction, PortCore};
use crate::burst::MbufBurst;

macro_rules! queue {
    ($(#[$doc:meta])* $name:ident, $direction:expr) => {
        $(#[$doc])*
        ///
        /// Can move to another thread, but not be shared. Dropping it makes the queue available again.
        pub struct $name {
            core: Arc<PortCore>,
            port: u16,
            queue: u16,
            _not_sync: PhantomData<Cell<()>>,
        }

        impl $name {
            /// The caller has reserved the queue in `core`.
            pub(super) fn new(core: Arc<PortCore>, queue: u16) -> Self {
                let port = core.id;
                Self { core, port, queue, _not_sync: PhantomData }
            }

            /// The port's number.
            #[inline]
            pub fn port_id(&self) -> u16 {
                self.port
            }

            /// The queue's number, from 0.
            #[inline]
            pub fn queue_id(&self) -> u16 {
                self.queue
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                self.core.release($direction, self.queue);
            }
        }
    };
}

queue! {
    /// A receive queue of a started port.
    RxQueue, Direction::Rx
}

queue! {
    /// A transmit queue of a started port.
    TxQueue, Direction::Tx
}

impl RxQueue {
    /// Fetches waiting packets to the end of `burst`, as many as there are and fit. Returns how many came.
    ///
    /// Start with an empty burst of 32 or more: vector drivers fetch in multiples of 4 or 8 and return
    /// nothing for less room.
    #[inline]
    pub fn rx_burst<const N: usize>(&mut self, burst: &mut MbufBurst<N>) -> usize {
        burst.fill_with(|room, n| {
            // SAFETY: the port is started and stays so while this handle exists; no other thread has the
            // queue; `room` has place for n <= u16::MAX pointers. What the driver writes there is ours.
            unsafe { sys::rte_eth_rx_burst(self.port, self.queue, room, n as u16) as usize }
        })
    }
}

impl TxQueue {
    /// Sends packets from the front of `burst`, as many as the queue accepts; the rest stay, in order.
    /// Returns how many were accepted. The driver frees them when they have left.
    ///
    /// A full queue is not an error: retry within a bound, then [`MbufBurst::clear`] and count.
    #[inline]
    pub fn tx_burst<const N: usize>(&mut self, burst: &mut MbufBurst<N>) -> usize {
        burst.take_with(|mbufs, n| {
            // SAFETY: the port is started and stays so while this handle exists; no other thread has the
            // queue; `mbufs` has n <= u16::MAX owned mbufs, and the accepted ones leave the burst.
            unsafe { sys::rte_eth_tx_burst(self.port, self.queue, mbufs, n as u16) as usize }
        })
    }

    /// Lets the driver prepare packets with offload requests, as some need before [`TxQueue::tx_burst`].
    /// Returns how many are fit to send from the front; the next one the device cannot send. All stay.
    #[inline]
    pub fn tx_prepare<const N: usize>(&mut self, burst: &mut MbufBurst<N>) -> usize {
        let n = burst.len();
        let mbufs = burst.as_mut_slice().as_mut_ptr();
        // SAFETY: as for tx_burst; the driver may change the packets, which are borrowed mutably, but not
        // keep or free them.
        unsafe { sys::rte_eth_tx_prepare(self.port, self.queue, mbufs.cast(), n as u16) as usize }
    }
}
