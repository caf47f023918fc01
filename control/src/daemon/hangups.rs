//! Reloads by SIGHUP: one at a time beside whatever else is waited for, since one that is the peer's, too, may take a minute.

use tokio::task::JoinHandle;
use tracing::{error, info};

use super::running::ReloadError;
use crate::api::model::ReloadReport;

/// What a reload comes to.
type Reloaded = Result<ReloadReport, ReloadError>;

/// The reload under way, and the wish for another one.
pub(super) struct Hangups<F> {
    reload: F,
    under_way: Option<JoinHandle<Reloaded>>,
    /// Some came meanwhile. The one under way may have read the file before it was changed again.
    again: bool,
}

impl<F> Hangups<F>
where
    F: Fn() -> Reloaded + Clone + Send + 'static,
{
    /// `reload` may block.
    pub(super) const fn new(reload: F) -> Self {
        Self {
            reload,
            under_way: None,
            again: false,
        }
    }

    /// One more has come: reloads, if need be when the reload under way has ended. Within a runtime.
    pub(super) fn came(&mut self) {
        if self.under_way.is_some() {
            info!("SIGHUP: reloading once more after the reload under way");
            self.again = true;
        } else {
            info!("SIGHUP: reloading");
            self.start();
        }
    }

    fn start(&mut self) {
        self.under_way = Some(tokio::task::spawn_blocking(self.reload.clone()));
    }

    /// Waits until the reload under way has ended, and goes on with the next one that is wanted; for ever when there is none.
    /// May be dropped at any time, and nothing is lost.
    pub(super) async fn ended(&mut self) {
        let Some(reload) = &mut self.under_way else {
            return std::future::pending().await;
        };
        let ended = reload.await;
        self.under_way = None;
        // What it comes to otherwise is logged and reported by the reload itself.
        match ended {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => error!(%error, "reload failed"),
            Err(error) => error!(%error, "reload ended early"),
        }
        if std::mem::take(&mut self.again) {
            self.start();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex, mpsc};
    use std::time::Duration;

    const BOUND: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn nothing_else_waits_for_a_reload_and_no_hangup_is_lost() {
        let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
        let (end, ends) = mpsc::channel::<()>();
        let ends = Arc::new(Mutex::new(ends));
        let mut hangups = Hangups::new(move || {
            begun.send(()).expect("the test waits for it");
            let told = ends.lock().expect("no reload panics").recv_timeout(BOUND);
            told.expect("the test ends it");
            Err(ReloadError::Standstill("worker 1".into()))
        });
        hangups.came();
        tokio::time::timeout(BOUND, begins.recv())
            .await
            .expect("it begins");
        // While it runs something else is seen, however often.
        for _ in 0..2 {
            tokio::select! {
                biased;
                () = hangups.ended() => panic!("it was not told to end"),
                () = std::future::ready(()) => {}
            }
        }
        // Two meanwhile are one more, after it.
        hangups.came();
        hangups.came();
        assert!(begins.try_recv().is_err(), "one at a time");
        for more in [true, false] {
            end.send(()).expect("it waits");
            tokio::time::timeout(BOUND, hangups.ended())
                .await
                .expect("it ends");
            assert_eq!(hangups.under_way.is_some(), more);
        }
        assert_eq!(begins.recv().await, Some(()));
        assert!(begins.try_recv().is_err(), "no third one");
    }
}
