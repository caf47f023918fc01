//! What the chassis of a pair ask each other beside replication, as JSON. A question that a release does not know is answered
//! [`Said::Unknown`]; a field it does not know is ignored.

use serde::{Deserialize, Serialize};

use crate::api::model::Fault;
use crate::api::params::SessionParams;

/// A question.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "ask")]
pub(in crate::daemon) enum Question {
    /// The shared part of the configuration in force.
    Configuration,
    /// Take this shared part; or only say whether it could be taken.
    Adopt {
        /// As [`crate::config::shared_part`] makes it.
        shared: String,
        /// Nothing is to be changed.
        dry_run: bool,
    },
    /// Back to what was before the last configuration that was taken.
    Revert {
        /// The generation that is to be left: another one stays.
        generation: u32,
    },
    /// Digests of the files both chassis must have alike.
    Files,
    /// One of them.
    File {
        /// The key that names it.
        key: String,
    },
    /// End sessions.
    ClearSessions {
        /// Those that match.
        filter: SessionParams,
    },
    /// One of a later release.
    #[serde(other)]
    Unknown,
}

impl Question {
    /// Whether a reload of the one that asks waits for the answer.
    pub(super) const fn is_of_a_reload(&self) -> bool {
        matches!(self, Self::Adopt { .. } | Self::Revert { .. })
    }
}

/// An answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "said")]
pub(in crate::daemon) enum Said {
    /// To [`Question::Configuration`].
    Configuration {
        /// The shared part.
        shared: String,
        /// The file has been changed since it was read.
        file_changed: bool,
    },
    /// To [`Question::Adopt`] and [`Question::Revert`].
    Adopted {
        /// Whether anything is otherwise now (or would be).
        changed: bool,
        /// Generation in force.
        generation: u32,
        /// What could not be carried out.
        warnings: Vec<String>,
    },
    /// The configuration would have faults; nothing was changed.
    Faulty {
        /// Them, of the peer's file.
        faults: Vec<Fault>,
    },
    /// To [`Question::Files`].
    Files {
        /// Those that are named by a path relative to the configuration.
        files: Vec<SharedFile>,
    },
    /// To [`Question::File`].
    File {
        /// What is in it.
        content: String,
    },
    /// To [`Question::ClearSessions`].
    Cleared {
        /// Sessions that were ended.
        sessions: u64,
    },
    /// It was not done.
    Refused {
        /// Why.
        why: String,
    },
    /// One of a later release, or [`Question::Unknown`].
    #[serde(other)]
    Unknown,
}

/// A file both chassis must have alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::daemon) struct SharedFile {
    /// The last part of the key that names it.
    pub key: String,
    /// Its path, relative to the directory of the configuration.
    pub path: String,
    /// SHA-256 in hexadecimal digits; nothing when it cannot be read.
    pub digest: Option<String>,
}
