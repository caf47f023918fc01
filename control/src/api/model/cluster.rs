//! What the two chassis of a pair have alike as an operator sees it: configurations, files, and commands that act on both.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::system::Fault;

/// The shared parts of both configurations in force, beside each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ConfigComparison {
    /// Whether they say the same.
    pub alike: bool,
    /// SHA-256 of this chassis' shared part.
    pub digest: String,
    /// Of the peer's.
    pub peer_digest: String,
    /// Where they differ, as a unified diff of one line for each key: `-` this chassis, `+` the peer. Empty when they do not.
    pub diff: String,
    /// This chassis' file has been changed since it was read.
    pub file_changed: bool,
    /// The peer's has.
    pub peer_file_changed: bool,
}

/// What a pull did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ConfigPull {
    /// Whether something else runs now.
    pub applied: bool,
    /// It was only asked what would be.
    pub dry_run: bool,
    /// Generation that runs.
    pub generation: u32,
    /// What it changes: `-` as it was here, `+` as the peer has it. Empty when nothing.
    pub diff: String,
    /// What of an applied file could not be carried out.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Why it was not applied; empty when it was, or could be.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub faults: Vec<Fault>,
}

/// What became of a reload at the peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PeerReload {
    /// Whether the peer has the shared part now.
    pub applied: bool,
    /// Generation that came of it there; none when it had the shared part already, or does not have it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub generation: Option<u32>,
    /// Why it does not have it, or what else there is to say.
    pub detail: String,
}

/// How a shared file here stands to the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FileState {
    /// The same.
    Alike,
    /// Another one, or none here.
    Differs,
    /// It was another one, and is the peer's now.
    Taken,
    /// The peer's configuration names none by a relative path.
    NotNamedThere,
    /// This chassis' configuration names none by a relative path.
    NotNamedHere,
    /// The two configurations name it by different paths.
    OtherPath,
    /// The peer has named it and cannot read it.
    UnreadableThere,
}

impl FileState {
    /// Its name in views.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alike => "alike",
            Self::Differs => "differs",
            Self::Taken => "taken",
            Self::NotNamedThere => "not-named-there",
            Self::NotNamedHere => "not-named-here",
            Self::OtherPath => "other-path",
            Self::UnreadableThere => "unreadable-there",
        }
    }
}

/// A file both chassis must have alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SharedFileRow {
    /// Last part of the key that names it: `heartbeat-key`, `ca`.
    pub key: String,
    /// Its path, relative to the directory of the configuration.
    pub path: String,
    /// How it stands to the peer's.
    pub state: FileState,
    /// SHA-256 here; none when it cannot be read.
    pub digest: Option<String>,
    /// Of the peer's.
    pub peer_digest: Option<String>,
    /// Why it was not taken, when that was asked for and did not come about.
    #[serde(default)]
    pub detail: String,
}

/// The files both chassis must have alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SharedFiles {
    /// Each of them.
    pub rows: Vec<SharedFileRow>,
}

/// What the peer did of a command for both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PeerCleared {
    /// Sessions that were ended there, if it did so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cleared: Option<u64>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
}
