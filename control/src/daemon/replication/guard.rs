//! What becomes of the chassis when its replication fails: it translates on, alone. Leases are required no more, health and the
//! events of all redundancy sets say so, and the peer sees the connection end. Replication comes back with a restart of the
//! process: what workers, leases and peer know of each other was in the thread's hands, and nobody can say in which state.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tandem_engine::public_space::PublicSpace;
use tracing::error;

use super::history::History;
use super::shown::SetShown;

/// Why replication has failed, once it has.
pub(super) type Failure = Arc<OnceLock<String>>;

/// What is left to do when the thread has failed.
pub(super) struct Guard {
    pub failure: Failure,
    /// Of any program: whether leases are required is one for all.
    pub public_space: Arc<PublicSpace>,
    pub sets: Arc<Mutex<Vec<SetShown>>>,
    pub history: Arc<History>,
}

impl Guard {
    /// Does the thread's work. A panic ends the work and not the thread, and is a failure as an error is.
    pub(super) fn run(self, work: impl FnOnce() -> std::io::Result<()>) {
        // What the work had in its hands is gone with it; what outlives it is put in order below.
        let why = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => format!("replication cannot run: {error}"),
            Err(panic) => format!("replication has failed: panic: {}", text(&*panic)),
        };
        let failure = format!(
            "{why}; this chassis translates on as it is, tells the peer nothing and changes no role; restart tandemd"
        );
        error!("{failure}");
        // Nobody waits for an acknowledgment that does not come.
        self.public_space.set_leases_required(false);
        let sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        for set in sets.iter() {
            self.history.add(set.failed(&failure));
        }
        drop(sets);
        // The work fails once.
        let _first = self.failure.set(failure);
    }
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    literal
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::model::{RoleCause, RoleState};

    #[test]
    fn translation_goes_on_when_replication_panics_or_fails() {
        let public_space = Arc::new(PublicSpace::build(&[], None));
        for panics in [false, true] {
            let (failure, history) = (Failure::default(), Arc::new(History::default()));
            let sets = Arc::new(Mutex::new(vec![SetShown::example()]));
            public_space.set_leases_required(true);
            let guard = Guard {
                failure: Arc::clone(&failure),
                public_space: Arc::clone(&public_space),
                sets: Arc::clone(&sets),
                history: Arc::clone(&history),
            };
            let thread = std::thread::spawn(move || {
                guard.run(|| {
                    // Whoever panics may hold what is shown.
                    let _held = sets.lock();
                    assert!(!panics, "a bridge without rings");
                    Err(std::io::Error::other("no descriptors"))
                });
            });
            assert!(thread.join().is_ok(), "the thread ends in order");
            let why = failure.get().expect("a failure");
            assert!(
                why.contains(if panics {
                    "a bridge without rings"
                } else {
                    "no descriptors"
                }),
                "{why}"
            );
            assert!(!public_space.leases_required());
            let event = history.events().pop().expect("an event");
            assert_eq!(
                (event.from, event.to, event.cause, event.ok),
                (RoleState::Primary, RoleState::Primary, RoleCause::Failure, false)
            );
            assert_eq!(event.reason.as_ref(), Some(why));
        }
    }

    #[test]
    fn an_end_that_was_asked_for_is_no_failure() {
        let failure = Failure::default();
        let public_space = Arc::new(PublicSpace::build(&[], None));
        public_space.set_leases_required(true);
        let guard = Guard {
            failure: Arc::clone(&failure),
            public_space: Arc::clone(&public_space),
            sets: Arc::default(),
            history: Arc::default(),
        };
        guard.run(|| Ok(()));
        assert!(failure.get().is_none() && public_space.leases_required());
    }
}
