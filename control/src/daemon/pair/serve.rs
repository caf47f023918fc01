//! The thread that answers the peer: files are read, parsed and written here, and workers waited for, never on the channel's own.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use tandem_engine::view::Ask;
use tokio::runtime::Handle;
use tracing::{info, warn};

use super::said::{Question, Said};
use super::{Asked, files, obey};
use crate::api::params::{FilterParams, SessionParams};
use crate::api::{Backend, walk};
use crate::config::{self, SHARED_BYTES_MAX};
use crate::daemon::backend::{Api, Daemon};
use crate::daemon::running::{AdoptError, Adopted};

/// Answers the peer's questions.
pub(in crate::daemon) struct Answers {
    pub daemon: Arc<Daemon>,
    pub asked: Receiver<Asked>,
    /// Where walks over the workers' tables run.
    pub runtime: Handle,
}

impl Answers {
    /// Until the channel's thread has ended.
    pub(in crate::daemon) fn run(self) {
        while let Ok(asked) = self.asked.recv() {
            let said = match serde_json::from_slice(&asked.content) {
                Ok(question) => self.answer(question),
                Err(error) => Said::Refused {
                    why: format!("the question is not understood: {error}"),
                },
            };
            let Ok(content) = serde_json::to_vec(&said) else {
                continue;
            };
            self.daemon.replication.answer(Asked { content, ..asked });
        }
    }

    fn answer(&self, question: Question) -> Said {
        let running = &self.daemon.running;
        let may = obey::may(&question, &running.in_force().config);
        if let Err(why) = may {
            return Said::Refused { why: why.to_string() };
        }
        match question {
            Question::Configuration => {
                let text = Arc::clone(&running.in_force().config.text);
                match config::shared_part(&text) {
                    Ok(shared) if shared.len() <= SHARED_BYTES_MAX => Said::Configuration {
                        shared,
                        file_changed: running.file_has_changed(),
                    },
                    Ok(shared) => Said::Refused {
                        why: format!(
                            "its shared part has {} octets, more than the {SHARED_BYTES_MAX} that are sent",
                            shared.len()
                        ),
                    },
                    Err(error) => Said::Refused {
                        why: error.to_string(),
                    },
                }
            }
            Question::Adopt { shared, dry_run } => {
                if !dry_run {
                    info!("the peer propagates its configuration");
                }
                said(running.adopt(&*self.daemon, &shared, dry_run))
            }
            Question::Revert { generation } => {
                warn!(
                    generation,
                    "the peer could not apply the configuration it propagated: going back"
                );
                said(running.revert(&*self.daemon, generation))
            }
            Question::Files => Said::Files {
                files: files::shared(&running.in_force().config),
            },
            Question::File { key } => {
                let config = running.in_force().config.clone();
                match files::content(&config, &key) {
                    Ok(content) => Said::File { content },
                    Err(error) => Said::Refused {
                        why: error.to_string(),
                    },
                }
            }
            Question::ClearSessions { filter } => self.clear(filter),
            Question::Unknown => Said::Unknown,
        }
    }

    fn clear(&self, wanted: SessionParams) -> Said {
        let api = Api(Arc::clone(&self.daemon));
        let refused = |why: String| Said::Refused { why };
        let filter = match wanted.filter(&api.names()) {
            Ok(filter) => filter,
            Err(error) => return refused(error.detail().to_owned()),
        };
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        // The runtime may end meanwhile, and the answer's sender with it.
        self.runtime.spawn(async move {
            let cleared = walk::count(&api, Ask::ClearSessions, filter).await;
            let _gone = answer.send(cleared);
        });
        match answered.recv() {
            Ok(Ok(sessions)) => {
                info!(sessions, "sessions cleared for the peer");
                Said::Cleared { sessions }
            }
            Ok(Err(error)) => refused(error.detail().to_owned()),
            Err(_) => refused("it is stopping".to_owned()),
        }
    }
}

fn said(adopted: Result<Adopted, AdoptError>) -> Said {
    match adopted {
        Ok(adopted) => Said::Adopted {
            changed: adopted.changed,
            generation: adopted.generation,
            warnings: adopted.warnings,
        },
        Err(AdoptError::Faults(faults)) => Said::Faulty { faults },
        Err(error) => Said::Refused {
            why: error.to_string(),
        },
    }
}
