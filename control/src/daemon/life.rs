//! Whether threads still run: a thread holds a [`Breath`], and however it ends (returning, failing, panicking), its
//! [`Life`] knows.
//!
//! A thread that ended unasked does not come back, and what it did is not done any more. The daemon then stops as for a
//! signal and ends with a failure, so that who supervises it starts a whole one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Between two looks whether a thread has ended.
const LOOK: Duration = Duration::from_millis(100);

/// Whether a thread runs, seen from outside.
#[derive(Clone, Default)]
pub(super) struct Life(Arc<AtomicBool>);

/// Held by the thread; the first one dropped is its end.
pub(super) struct Breath(Arc<AtomicBool>);

impl Life {
    /// What the thread holds while it runs.
    pub(super) fn breath(&self) -> Breath {
        Breath(Arc::clone(&self.0))
    }

    /// Whether the thread has not ended. True also before it starts.
    pub(super) fn is_alive(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Breath {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until `dead` names a thread that has ended.
pub(super) async fn first_dead(dead: impl Fn() -> Option<String>) -> String {
    loop {
        if let Some(name) = dead() {
            return name;
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_dead_when_it_returns_and_when_it_panics() {
        for panics in [false, true] {
            let life = Life::default();
            let (breath, (go, wait)) = (life.breath(), std::sync::mpsc::channel::<()>());
            let thread = std::thread::spawn(move || {
                let _breath = breath;
                let _told = wait.recv();
                assert!(!panics, "as told");
            });
            assert!(life.is_alive());
            drop(go);
            assert_eq!(thread.join().is_err(), panics);
            assert!(!life.is_alive());
        }
    }

    #[tokio::test]
    async fn a_death_is_seen_and_named() {
        let (one, other) = (Life::default(), Life::default());
        let watched = [("one", one.clone()), ("other", other.clone())];
        let dead = move || {
            let dead = watched.iter().find(|(_, life)| !life.is_alive());
            dead.map(|(name, _)| (*name).to_owned())
        };
        let _one_runs = one.breath();
        let watch = tokio::spawn(first_dead(dead));
        tokio::task::yield_now().await;
        assert!(!watch.is_finished(), "both live");
        std::thread::spawn(move || drop(other.breath()))
            .join()
            .expect("no panic");
        let bound = tokio::time::timeout(Duration::from_secs(10), watch).await;
        assert_eq!(bound.expect("in time").expect("no panic"), "other");
    }
}
