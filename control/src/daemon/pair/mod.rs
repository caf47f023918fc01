//! The other chassis as an operator's concern: its configuration, its files, and commands that act on both.
//!
//! ```text
//!   API, reload --Question--> ha-N ==channel==> ha-N --Asked--> thread "pair" --> running, files, workers
//!        ^--------Said--------'  <=========          <---------------'
//! ```
//!
//! Redundancy spec, section 3.

mod ask;
mod files;
mod obey;
mod said;
mod serve;
mod wait;

use std::time::Duration;

pub(super) use ask::Propagation;
pub(super) use serve::Answers;
pub(super) use wait::wait_for_answer;

/// How long the peer may take to say something.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take to validate a configuration, or to apply one: its workers have some seconds to take it up.
const PATIENCE_TO_APPLY: Duration = Duration::from_secs(20);

/// Questions of the peer that may wait.
pub(super) const ASKED_MAX: usize = 8;

/// A question of the peer; with the answer as its content, what goes back.
#[derive(Debug)]
pub(super) struct Asked {
    /// The connection it came by.
    pub connection: u64,
    /// Its number there.
    pub number: u32,
    /// What is asked, or answered.
    pub content: Vec<u8>,
}

/// What became of a question to the peer.
pub(super) type PeerAnswer = Result<Vec<u8>, PeerError>;

/// Why there is no answer of the peer, or none that helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PeerError {
    /// This chassis is half of no pair.
    #[error("no redundancy group runs")]
    Alone,
    /// Nobody is connected, or not any more.
    #[error("the peer is not connected")]
    NotThere,
    /// Heartbeats say that it is dead, whatever its connection looks like.
    #[error("the peer is lost: no heartbeats are heard of it")]
    Lost,
    /// Its release knows nothing of it.
    #[error("not supported by the peer")]
    NotSupported,
    /// Too many questions wait.
    #[error("too much is being asked of the peer already")]
    Busy,
    /// More than goes to a peer at once.
    #[error("it is too long for the channel")]
    TooLong,
    /// No answer in time.
    #[error("the peer did not answer in time")]
    NoAnswer,
    /// It says why not.
    #[error("the peer refuses: {0}")]
    Refused(String),
}

impl From<PeerError> for crate::api::BackendError {
    fn from(error: PeerError) -> Self {
        match error {
            PeerError::Alone => Self::Unknown(error.to_string()),
            PeerError::NoAnswer => Self::NoAnswer {
                who: "the peer".to_owned(),
            },
            _ => Self::Refused(error.to_string()),
        }
    }
}
