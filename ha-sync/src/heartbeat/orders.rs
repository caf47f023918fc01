//! What other threads say to the heartbeats' thread, and what it shows them. It never waits for one of them: a thread that was interrupted
//! with the lock in its hands is asked again later.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::beat::SetBeat;
use super::run::HeartbeatStatus;

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The peer is told that this process stops cleanly.
    Leaving,
    /// Nothing is said.
    Silent,
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub sets: Option<Vec<SetBeat>>,
    pub probe: bool,
    pub stop: Option<Stop>,
}

/// Between the threads.
#[derive(Debug)]
pub(super) struct Desk {
    orders: Mutex<Orders>,
    shown: Mutex<Arc<HeartbeatStatus>>,
    pub wake: EventFd,
}

impl Desk {
    pub fn new(status: HeartbeatStatus) -> io::Result<Self> {
        Ok(Self {
            orders: Mutex::default(),
            shown: Mutex::new(Arc::new(status)),
            wake: EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?,
        })
    }

    /// Gives an order; the thread wakes up.
    pub fn order(&self, give: impl FnOnce(&mut Orders)) {
        give(&mut self.orders.lock().unwrap_or_else(PoisonError::into_inner));
        // It fails only when the thread has not looked for 2^64 orders: it is awake then.
        let _woken = self.wake.write(1);
    }

    /// What is shown.
    pub fn shown(&self) -> Arc<HeartbeatStatus> {
        Arc::clone(&self.shown.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the orders, if nobody is giving some right now: who is, wakes the thread again.
    pub fn take(&self) -> Orders {
        // Nothing there is no fault.
        let _count = self.wake.read();
        match self.orders.try_lock() {
            Ok(mut orders) => std::mem::take(&mut orders),
            Err(TryLockError::Poisoned(orders)) => std::mem::take(&mut orders.into_inner()),
            Err(TryLockError::WouldBlock) => Orders::default(),
        }
    }

    /// Shows something else; false when somebody is looking right now.
    pub fn show(&self, status: HeartbeatStatus) -> bool {
        match self.shown.try_lock() {
            Ok(mut shown) => *shown = Arc::new(status),
            Err(TryLockError::Poisoned(shown)) => *shown.into_inner() = Arc::new(status),
            Err(TryLockError::WouldBlock) => return false,
        }
        true
    }
}
