//! Questions to workers: carried through their mailboxes, many at once, each with a number that its answer brings back.
//!
//! A worker's queues are bounded and so are the questions under way: an answer always finds room, and a commit too.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tandem_dataplane::command::{Command, Mailbox};
use tandem_engine::view::{Ask, Query};
use tokio::sync::{Semaphore, oneshot};

use crate::api::BackendError;

/// Questions one worker has in its mailbox; half of its room.
const UNDER_WAY_MAX: usize = 32;
/// How long a worker may take for an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// The same for what ends sessions, which is driven to its end.
const PATIENCE_CLEAR: Duration = Duration::from_secs(15);

type Asker = oneshot::Sender<Query>;

struct Desk {
    mailbox: Arc<Mailbox>,
    places: Semaphore,
    askers: Mutex<HashMap<u64, Asker>>,
}

impl Desk {
    fn askers(&self) -> MutexGuard<'_, HashMap<u64, Asker>> {
        self.askers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The questions under way to all workers.
pub(super) struct Questions {
    desks: Vec<Desk>,
    next: AtomicU64,
    waiting: AtomicUsize,
}

/// Counts a question as waiting while it lives, and takes its asker off the list with it.
struct Waiting<'q> {
    questions: &'q Questions,
    desk: &'q Desk,
    number: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.desk.askers().remove(&self.number);
        self.questions.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Questions {
    pub(super) fn new(mailboxes: &[Arc<Mailbox>]) -> Self {
        let desk = |mailbox: &Arc<Mailbox>| Desk {
            mailbox: Arc::clone(mailbox),
            places: Semaphore::new(UNDER_WAY_MAX),
            askers: Mutex::default(),
        };
        Self {
            desks: mailboxes.iter().map(desk).collect(),
            next: AtomicU64::new(1),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Asks a worker and waits for its answer, in bounded time.
    pub(super) async fn ask(&self, worker: u8, query: Query) -> Result<Query, BackendError> {
        let patience = match query.ask {
            Ask::ClearSessions | Ask::Reevaluate => PATIENCE_CLEAR,
            _ => PATIENCE,
        };
        let silent = || BackendError::NoAnswer {
            who: format!("worker {worker}"),
        };
        let desk = self
            .desks
            .get(usize::from(worker))
            .ok_or_else(|| BackendError::Failed(format!("there is no worker {worker}")))?;
        let answer = tokio::time::timeout(patience, self.carry(desk, query));
        answer.await.map_err(|_| silent())?.ok_or_else(silent)
    }

    async fn carry(&self, desk: &Desk, query: Query) -> Option<Query> {
        let _place = desk.places.acquire().await.ok()?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (asker, answer) = oneshot::channel();
        desk.askers().insert(number, asker);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting {
            questions: self,
            desk,
            number,
        };
        // A full mailbox means that the worker stands still.
        desk.mailbox
            .commands
            .push(Command::Query(number, Box::new(query)))
            .ok()?;
        answer.await.ok()
    }

    /// Whether somebody waits.
    pub(super) fn any_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Brings answers to who asked; those nobody waits for any more are dropped.
    pub(super) fn deliver(&self) {
        for desk in &self.desks {
            while let Some((number, query)) = desk.mailbox.answers.pop() {
                if let Some(asker) = desk.askers().remove(&number) {
                    // The asker may have gone between the two lines.
                    let _gone = asker.send(*query);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_engine::view::Filter;

    fn query(cursor: u32) -> Query {
        Query::new(Ask::CountSessions, Filter::default(), cursor, 0)
    }

    /// Answers what waits, in reverse order, each with its cursor as the count.
    fn answer(mailbox: &Mailbox) {
        let mut asked = Vec::new();
        while let Some(command) = mailbox.commands.pop() {
            if let Command::Query(number, mut query) = command {
                query.matched = u64::from(query.cursor);
                query.done = true;
                asked.push((number, query));
            }
        }
        for pair in asked.into_iter().rev() {
            mailbox.answers.push(pair).expect("room");
        }
    }

    #[tokio::test]
    async fn many_at_once_each_get_their_own_answer() {
        let mailbox = Arc::new(Mailbox::default());
        let questions = Arc::new(Questions::new(&[Arc::clone(&mailbox)]));
        let tasks: Vec<_> = (0..200)
            .map(|n| {
                let questions = Arc::clone(&questions);
                tokio::spawn(async move { questions.ask(0, query(n)).await })
            })
            .collect();
        while !tasks.iter().all(tokio::task::JoinHandle::is_finished) {
            assert!(mailbox.commands.len() <= UNDER_WAY_MAX);
            answer(&mailbox);
            questions.deliver();
            tokio::task::yield_now().await;
        }
        for (n, task) in tasks.into_iter().enumerate() {
            let answer = task.await.expect("no panic").expect("an answer");
            assert_eq!(answer.matched, n as u64);
        }
        assert!(!questions.any_waiting());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_worker_is_named_and_its_late_answer_does_no_harm() {
        let mailbox = Arc::new(Mailbox::default());
        let questions = Questions::new(&[Arc::clone(&mailbox)]);
        let refused = questions.ask(0, query(7)).await.expect_err("nobody answers");
        assert_eq!(refused.to_string(), "worker 0 did not answer in time");
        assert!(!questions.any_waiting());
        answer(&mailbox);
        questions.deliver();
        assert!(mailbox.answers.is_empty());
        assert!(matches!(
            questions.ask(1, query(0)).await,
            Err(BackendError::Failed(_))
        ));
    }
}
