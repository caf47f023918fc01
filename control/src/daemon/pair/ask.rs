//! What this chassis asks of the peer: to compare and pull configurations and files, to take this one's, to clear sessions.

use std::time::Duration;

use tracing::warn;

use super::files;
use super::said::{Question, Said};
use super::{PATIENCE, PATIENCE_TO_APPLY, PeerError};
use crate::api::BackendError;
use crate::api::model::{
    ConfigComparison, ConfigPull, Fault, FileState, PeerReload, SharedFileRow, SharedFiles, hexadecimal,
};
use crate::api::params::SessionParams;
use crate::config::{self, SHARED_BYTES_MAX};
use crate::daemon::replication::Replication;
use crate::daemon::running::{AdoptError, Running, Target};

/// What became of a configuration that the peer should take, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::daemon) enum Propagation {
    /// It would take it, or has taken it.
    Taken(PeerReload),
    /// There is nobody to take it: this chassis goes on alone.
    Alone(String),
    /// It does not, and this chassis must not either.
    Refused(String, Vec<Fault>),
}

impl Replication {
    /// Asks and reads the answer.
    fn question(&self, question: &Question, patience: Duration) -> Result<Said, PeerError> {
        let content = serde_json::to_vec(question).map_err(|error| PeerError::Refused(error.to_string()))?;
        // No reload waits for a dead peer. Who only wants to know something may try.
        let is_lost = || question.is_of_a_reload() && self.peer_is_lost();
        let answer = self.ask(content, patience, is_lost)?;
        match serde_json::from_slice(&answer) {
            Ok(Said::Unknown) => Err(PeerError::NotSupported),
            Ok(Said::Refused { why }) => Err(PeerError::Refused(why)),
            Ok(said) => Ok(said),
            Err(error) => Err(PeerError::Refused(format!(
                "its answer is not understood: {error}"
            ))),
        }
    }

    fn peers_configuration(&self) -> Result<(String, bool), PeerError> {
        match self.question(&Question::Configuration, PATIENCE)? {
            Said::Configuration { shared, file_changed } => Ok((shared, file_changed)),
            _ => Err(PeerError::NotSupported),
        }
    }

    /// Both shared parts, and where they differ.
    pub(in crate::daemon) fn compare(&self, running: &Running) -> Result<ConfigComparison, BackendError> {
        let (theirs, peer_file_changed) = self.peers_configuration()?;
        let failed = |error: config::MergeError| BackendError::Failed(error.to_string());
        let ours = config::shared_lines(&running.in_force().config.text).map_err(failed)?;
        let theirs = config::shared_lines(&theirs).map_err(failed)?;
        Ok(ConfigComparison {
            alike: ours == theirs,
            digest: hexadecimal(&config::lines_digest(&ours)),
            peer_digest: hexadecimal(&config::lines_digest(&theirs)),
            diff: config::shared_diff(&ours, &theirs),
            file_changed: running.file_has_changed(),
            peer_file_changed,
        })
    }

    /// Takes the peer's shared part over.
    pub(in crate::daemon) fn pull(
        &self,
        running: &Running,
        target: &dyn Target,
        dry_run: bool,
    ) -> Result<ConfigPull, BackendError> {
        let (theirs, _) = self.peers_configuration()?;
        let failed = |error: config::MergeError| BackendError::Failed(error.to_string());
        let before = config::shared_lines(&running.in_force().config.text).map_err(failed)?;
        let wanted = config::shared_lines(&theirs).map_err(failed)?;
        let mut pull = ConfigPull {
            applied: false,
            dry_run,
            generation: running.in_force().program.generation,
            diff: config::shared_diff(&before, &wanted),
            warnings: Vec::new(),
            faults: Vec::new(),
        };
        match running.adopt(target, &theirs, dry_run) {
            Ok(adopted) => {
                (pull.applied, pull.generation) = (adopted.changed && !dry_run, adopted.generation);
                pull.warnings = adopted.warnings;
            }
            Err(AdoptError::Faults(faults)) => pull.faults = faults,
            Err(error @ AdoptError::Reload(_)) => return Err(BackendError::Failed(error.to_string())),
            Err(error) => return Err(BackendError::Refused(error.to_string())),
        }
        Ok(pull)
    }

    /// Lets the peer take the shared part of `text`; or say whether it could.
    pub(in crate::daemon) fn propagate(&self, text: &str, dry_run: bool) -> Propagation {
        let shared = match config::shared_part(text) {
            Ok(shared) if shared.len() <= SHARED_BYTES_MAX => shared,
            Ok(_) => return Propagation::Refused(PeerError::TooLong.to_string(), Vec::new()),
            Err(error) => return Propagation::Refused(error.to_string(), Vec::new()),
        };
        let question = Question::Adopt { shared, dry_run };
        match self.question(&question, PATIENCE_TO_APPLY) {
            Ok(Said::Adopted {
                changed,
                generation,
                warnings,
            }) => Propagation::Taken(PeerReload {
                applied: !dry_run,
                // What it had already is nothing that it could go back from.
                generation: changed.then_some(generation),
                detail: if changed {
                    warnings.join("; ")
                } else {
                    "it had the shared part already".to_owned()
                },
            }),
            Ok(Said::Faulty { faults }) => {
                Propagation::Refused("the peer cannot take this configuration".to_owned(), faults)
            }
            Ok(_) => Propagation::Alone(PeerError::NotSupported.to_string()),
            Err(
                error @ (PeerError::Alone | PeerError::NotThere | PeerError::Lost | PeerError::NotSupported),
            ) => Propagation::Alone(error.to_string()),
            Err(error) => Propagation::Refused(error.to_string(), Vec::new()),
        }
    }

    /// The peer goes back to what it had before it took a configuration.
    pub(in crate::daemon) fn revert(&self, generation: u32) {
        if let Err(error) = self.question(&Question::Revert { generation }, PATIENCE_TO_APPLY) {
            warn!(%error, "the peer does not go back to the configuration it had; compare them: tandem show configuration compare");
        }
    }

    /// Ends sessions at the peer.
    pub(in crate::daemon) fn clear(&self, filter: SessionParams) -> Result<u64, PeerError> {
        match self.question(&Question::ClearSessions { filter }, PATIENCE_TO_APPLY)? {
            Said::Cleared { sessions } => Ok(sessions),
            _ => Err(PeerError::NotSupported),
        }
    }

    /// Files both must have alike; with `take`, those that differ are taken from the peer.
    pub(in crate::daemon) fn files(
        &self,
        running: &Running,
        take: bool,
    ) -> Result<SharedFiles, BackendError> {
        let ours = files::shared(&running.in_force().config);
        let theirs = match self.question(&Question::Files, PATIENCE)? {
            Said::Files { files } => files,
            _ => return Err(PeerError::NotSupported.into()),
        };
        let mut rows = Vec::new();
        for here in &ours {
            let there = theirs.iter().find(|there| there.key == here.key);
            let mut row = SharedFileRow {
                key: here.key.clone(),
                path: here.path.clone(),
                digest: here.digest.clone(),
                peer_digest: there.and_then(|there| there.digest.clone()),
                state: files::state(here, there),
                detail: String::new(),
            };
            if take && row.state == FileState::Differs {
                let taken = self.take_file(running, &row.key);
                match taken {
                    Ok(()) => (row.state, row.digest) = (FileState::Taken, row.peer_digest.clone()),
                    Err(why) => row.detail = why,
                }
            }
            rows.push(row);
        }
        for there in theirs
            .iter()
            .filter(|there| ours.iter().all(|here| here.key != there.key))
        {
            rows.push(SharedFileRow {
                key: there.key.clone(),
                path: there.path.clone(),
                digest: None,
                peer_digest: there.digest.clone(),
                state: FileState::NotNamedHere,
                detail: String::new(),
            });
        }
        Ok(SharedFiles { rows })
    }

    fn take_file(&self, running: &Running, key: &str) -> Result<(), String> {
        let question = Question::File { key: key.to_owned() };
        let said = self
            .question(&question, PATIENCE)
            .map_err(|error| error.to_string())?;
        let Said::File { content } = said else {
            return Err(PeerError::NotSupported.to_string());
        };
        let config = running.in_force().config.clone();
        files::put(&config, key, &content).map_err(|error| error.to_string())
    }
}
