//! Real-time priority: of threads that have it for good, and of one that has it while somebody waits for what it does.
//!
//! What takes a role over is ordinary work most of the time, which may be long: with that priority it would keep workers waiting. In
//! a takeover it has a few short steps to do, and each would wait its turn behind whatever the machine is busy with.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{getpriority_process, setpriority_process};
use thread_priority::{
    Error, NormalThreadSchedulePolicy, RealtimeThreadSchedulePolicy, ThreadId, ThreadPriority,
    ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

/// Gives this thread the lowest real-time priority (SCHED_FIFO, 1), so that no amount of ordinary work makes the peer believe this
/// chassis dead, or late to hear that it is.
///
/// # Errors
/// Why the system refuses it, in words.
pub fn real_time() -> Result<(), String> {
    give_real_time(thread_native_id()).map_err(|error| match error {
        Error::OS(number) => io::Error::from_raw_os_error(number).to_string(),
        other => other.to_string(),
    })
}

fn give_real_time(thread: ThreadId) -> Result<(), Error> {
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    set_thread_priority_and_policy(thread, ThreadPriority::Min, policy)
}

/// The thread, until it lets go of [`Haste`].
type Whose = Arc<Mutex<Option<ThreadId>>>;

fn locked(whose: &Whose) -> MutexGuard<'_, Option<ThreadId>> {
    whose.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a thread keeps that others may hurry. Without it nobody can.
#[derive(Debug)]
pub struct Haste(Whose);

/// What the others have.
#[derive(Clone, Debug)]
pub struct Spur(Whose);

impl Haste {
    /// Of the calling thread, which is to be the one that drops it.
    #[must_use]
    pub fn of_this_thread() -> Self {
        Self(Arc::new(Mutex::new(Some(thread_native_id()))))
    }

    /// For others.
    #[must_use]
    pub fn spur(&self) -> Spur {
        Spur(Arc::clone(&self.0))
    }

    /// The calling thread, which is the one that made it, is an ordinary one again, as nice as before.
    pub fn calm(&self) {
        let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
        let nice = getpriority_process(None);
        // What one was given can be given back. This sets the niceness, too.
        let _calm = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Max, policy);
        let _as_nice = nice.and_then(|nice| setpriority_process(None, nice));
    }
}

impl Drop for Haste {
    fn drop(&mut self) {
        *locked(&self.0) = None;
    }
}

impl Spur {
    /// Gives the thread the lowest real-time priority, if it is still there; where that is refused, it does its work in its turn.
    pub fn hurry(&self) {
        // Held, so that the thread does not end meanwhile.
        let whose = locked(&self.0);
        if let Some(thread) = *whose {
            let _refused = give_real_time(thread);
        }
    }
}

#[cfg(test)]
mod tests {
    use thread_priority::thread_schedule_policy;

    use super::*;

    #[test]
    fn a_hurried_thread_is_an_ordinary_one_again_and_as_nice_as_before() {
        let is_ordinary = || {
            let policy = thread_schedule_policy().expect("a policy");
            policy == ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other)
        };
        std::thread::spawn(move || {
            setpriority_process(None, 3).expect("nicer is always allowed");
            let may = std::thread::spawn(real_time).join().expect("it ends").is_ok();
            let haste = Haste::of_this_thread();
            let spur = haste.spur();
            for _ in 0..2 {
                let theirs = spur.clone();
                std::thread::spawn(move || theirs.hurry())
                    .join()
                    .expect("it ends");
                assert_eq!(is_ordinary(), !may);
                haste.calm();
                assert!(is_ordinary());
                assert_eq!(getpriority_process(None), Ok(3));
            }
            drop(haste);
            spur.hurry();
            assert!(is_ordinary(), "it has let go");
        })
        .join()
        .expect("it ends");
    }
}
