//! What becomes of the chassis when its replication fails. What workers, leases and peer know of each other was in the thread's
//! hands, and nobody can say in which state, so that only another process begins anew.
//!
//! Where roles are changed by hand, it translates on, alone: leases are required no more, and health and the events of all
//! redundancy sets say so. Where they are automatic, the peer takes over as soon as it sees the connection and the heartbeats end,
//! and nobody is left here who would stop the workers: two would forward. So the process ends, at once and as if killed, and the
//! guard process takes addresses and routes out.

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
    /// Ends the process, saying why; `None`: it goes on.
    pub end: Option<fn(&str)>,
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
        if let Some(end) = self.end {
            return end(&why);
        }
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
                end: None,
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
    fn where_the_peer_takes_over_by_itself_the_process_ends() {
        static ENDS: Mutex<Vec<String>> = Mutex::new(Vec::new());
        for panics in [false, true] {
            let failure = Failure::default();
            let guard = Guard {
                failure: Arc::clone(&failure),
                public_space: Arc::new(PublicSpace::build(&[], None)),
                sets: Arc::new(Mutex::new(vec![SetShown::example()])),
                history: Arc::default(),
                end: Some(|why| ENDS.lock().expect("no panic").push(why.to_owned())),
            };
            guard.run(|| {
                assert!(!panics, "a machine without a state");
                Err(std::io::Error::other("no descriptors"))
            });
            assert!(failure.get().is_none(), "nothing goes on that would show it");
        }
        let ends = ENDS.lock().expect("no panic");
        let [error, panic] = ends.as_slice() else {
            panic!("{ends:?}");
        };
        assert!(error.contains("no descriptors") && panic.contains("a machine without a state"));
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
            end: Some(|why| panic!("{why}")),
        };
        guard.run(|| Ok(()));
        assert!(failure.get().is_none() && public_space.leases_required());
    }
}
