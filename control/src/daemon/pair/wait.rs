//! Waiting for the peer's answer, and no longer than there is somebody to give one: a connection with a chassis without power looks
//! alive for a minute, its heartbeats do not.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::{PeerAnswer, PeerError};

/// Between two looks whether the peer is lost. What is known of heartbeats is renewed as often.
const LOOK: Duration = Duration::from_millis(100);

/// Waits for the answer, at most `patience`, and while the peer is not lost.
pub(in crate::daemon) fn wait_for_answer(
    answered: &Receiver<PeerAnswer>,
    patience: Duration,
    is_lost: impl Fn() -> bool,
) -> PeerAnswer {
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match answered.recv_timeout(left.min(LOOK)) {
            Ok(answer) => return answer,
            Err(RecvTimeoutError::Disconnected) => return Err(PeerError::NotThere),
            Err(RecvTimeoutError::Timeout) if is_lost() => return Err(PeerError::Lost),
            Err(RecvTimeoutError::Timeout) if left <= LOOK => return Err(PeerError::NoAnswer),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::sync::mpsc::sync_channel;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn an_answer_is_waited_for_until_the_peer_is_lost() {
        let (answer, answered) = sync_channel(1);
        let looks = Cell::new(0);
        let is_lost = || {
            looks.set(looks.get() + 1);
            looks.get() == 2
        };
        // The test would not end if it waited for what it may.
        assert_eq!(wait_for_answer(&answered, LONG, is_lost), Err(PeerError::Lost));
        assert_eq!(looks.get(), 2);
        let alive = || false;
        assert_eq!(
            wait_for_answer(&answered, LOOK * 2, alive),
            Err(PeerError::NoAnswer)
        );
        answer.send(Ok(vec![1])).expect("there is room");
        assert_eq!(wait_for_answer(&answered, LONG, alive), Ok(vec![1]));
        drop(answer);
        assert_eq!(wait_for_answer(&answered, LONG, alive), Err(PeerError::NotThere));
    }
}
