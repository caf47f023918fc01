//! What a role does outside the dataplane: virtual addresses, announcements, signal routes and VRRP's tracking file, on a thread of
//! their own.
//!
//! ```text
//!   ha-N -- set 3 is primary, epoch 7 --> "srd" --> addresses, announcements, routes, file       results --> API, log
//!                                           '----> guard: what is to be undone if tandemd dies now
//! ```
//!
//! Orders never wait. The thread does one after the other, and what is late is left out: only a set's latest role counts.
//! What could not be done is tried again every second while the set wants it. And what was done is looked after every two: with a
//! device that goes down the kernel takes its routes out, and its IPv6 addresses, and nobody else brings them back.

mod hands;
mod plan;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::error;

pub use hands::Kernel;
pub use plan::{PlannedAddress, PlannedPort, PlannedRoute, Presence, SetPlan, When};
pub use work::{Hands, SetActions};

use crate::guard::{Gone, Keeper};
use crate::kernel::{Carriers, SignalRouteError};
use work::Work;

/// What the thread is told.
#[derive(Debug)]
pub enum Order {
    /// These are the sets now; what a set that is gone had put in is taken out.
    Plans(Vec<SetPlan>),
    /// A set's role; it waits for the set's plan if that has not come yet. One with an epoch lower than the set's last is out of
    /// date, and left out.
    Role {
        /// The set.
        set: u8,
        /// Whether it is primary here.
        is_primary: bool,
        /// The epoch of the role.
        epoch: u64,
    },
    /// A set is being handed over: nobody shall ask for its virtual addresses here any more, but its signal routes stay until its next
    /// role is told. For a primary.
    Leaving {
        /// The set.
        set: u8,
    },
    /// The virtual addresses of a set that is primary here are announced anew: the other chassis may have answered for them as well, and
    /// does so no more.
    Announce {
        /// The set.
        set: u8,
    },
    /// A policy's events began (one of them at least is active) or ended (none is).
    Policy {
        /// Its name.
        name: String,
        /// Whether one is active.
        is_active: bool,
    },
    /// The policies that the monitors look at: what an order has not said to be active is not, from now on.
    Watched(BTreeSet<String>),
    /// Makes sure that everything is there, e.g. after a reload or when a link is back.
    Assert,
    /// What the guard says to the other chassis.
    Gone(Vec<Gone>),
    /// Takes everything out and ends the thread.
    Stop,
}

/// Gives orders to the thread; cheap to clone.
#[derive(Clone)]
pub struct Orders(Sender<Order>);

impl Orders {
    /// Orders to whoever reads the other end.
    #[must_use]
    pub const fn to(sender: Sender<Order>) -> Self {
        Self(sender)
    }

    /// Gives an order, without waiting. A thread that has ended takes none; [`Srd::is_alive`] knows.
    pub fn give(&self, order: Order) {
        let _ended = self.0.send(order);
    }
}

/// The running thread.
pub struct Srd {
    orders: Orders,
    results: Results,
    alive: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What came of the latest orders, by set.
type Results = Arc<Mutex<BTreeMap<u8, SetActions>>>;

/// Says so when the thread ends, however that is.
struct Alive(Arc<AtomicBool>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Srd {
    /// Removes the signal routes of a process that could not, and starts the thread in the network namespace of the calling
    /// one. `guard`: the one to be told; without it, nothing is undone when tandemd dies. `carriers`: those of the taps.
    ///
    /// # Errors
    /// When the kernel cannot be spoken to or keeps stale routes, or the system gives no thread.
    pub fn start(guard: Option<Arc<Keeper>>, carriers: Arc<Carriers>) -> Result<Self, SignalRouteError> {
        Self::with(Kernel::open(guard, carriers)?)
    }

    /// As [`Srd::start`], with other hands.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn with(hands: impl Hands + Send + 'static) -> Result<Self, SignalRouteError> {
        let (sender, orders) = channel();
        let results = Results::default();
        let alive = Arc::new(AtomicBool::new(true));
        let (told, breath) = (Arc::clone(&results), Alive(Arc::clone(&alive)));
        let work = move || {
            let _breath = breath;
            run(Work::new(hands), &orders, &told);
        };
        let thread = std::thread::Builder::new().name("srd".into()).spawn(work);
        let thread = thread.map_err(|source| {
            SignalRouteError::Sweep(crate::kernel::KernelError::Socket {
                operation: "thread",
                source,
            })
        })?;
        Ok(Self {
            orders: Orders(sender),
            results,
            alive,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// For whoever gives orders.
    #[must_use]
    pub fn orders(&self) -> Orders {
        self.orders.clone()
    }

    /// What came of the latest orders, by set.
    #[must_use]
    pub fn results(&self) -> BTreeMap<u8, SetActions> {
        self.results
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether the thread still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    /// Takes everything out, and ends the thread. To be called while the taps are still there, and before the guard is told to
    /// end.
    pub fn stop(&self) {
        self.orders.give(Order::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            error!("the thread \"srd\" had panicked");
        }
    }
}

/// Between two attempts at what could not be done.
const RETRY: Duration = Duration::from_secs(1);

/// Between two looks whether all that was put in is still there.
const ASSERT: Duration = Duration::from_secs(2);

fn run<H: Hands>(mut work: Work<H>, orders: &Receiver<Order>, results: &Mutex<BTreeMap<u8, SetActions>>) {
    let mut assert_at = Instant::now() + ASSERT;
    loop {
        let due = work.next_due(RETRY).map_or(assert_at, |due| due.min(assert_at));
        let wait = due.saturating_duration_since(Instant::now());
        match orders.recv_timeout(wait) {
            // All that waits is taken in before anything is done: of a set's roles only the last counts.
            Ok(order) => {
                let mut stop = work.take_in(order);
                while let Ok(order) = orders.try_recv() {
                    stop |= work.take_in(order);
                }
                if stop {
                    work.withdraw();
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            // Nobody gives orders any more, and nobody has said that this is the end: it is as if tandemd had died.
            Err(RecvTimeoutError::Disconnected) => return work.withdraw(),
        }
        let now = Instant::now();
        if now >= assert_at {
            assert_at = now + ASSERT;
            work.assert();
        }
        work.act(now, RETRY);
        *results.lock().unwrap_or_else(PoisonError::into_inner) = work.results();
    }
}

#[cfg(test)]
mod tests;
