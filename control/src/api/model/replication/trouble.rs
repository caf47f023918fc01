//! What keeps two chassis from being alike: differing configurations, and changes that are not understood.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a part of the configuration differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PartDiffers {
    /// Only this chassis has it.
    OnlyHere,
    /// Only the peer has it.
    OnlyThere,
    /// Both have it, with different content.
    Otherwise,
}

impl PartDiffers {
    /// Its name in views.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnlyHere => "only-here",
            Self::OnlyThere => "only-there",
            Self::Otherwise => "otherwise",
        }
    }
}

/// A part of the configuration that both chassis should have alike, and have not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ConfigDifference {
    /// The part: the first two parts of its keys, as `pools.p1`, or a static mapping in force.
    pub part: String,
    /// How it differs.
    pub differs: PartDiffers,
    /// Replication is suspended because of it. Not because of static mappings, which can be set at run time,
    /// nor of the cluster's number and name.
    pub suspends: bool,
}

/// A batch of changes that this chassis does not understand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PoisonBatch {
    /// Its number.
    pub sequence: u64,
    /// How often it came: the connection was refused each time, save when it was given up.
    pub times: u32,
    /// It was given up; a bulk synchronization is asked for in its place.
    pub skipped: bool,
    /// What is wrong with it.
    pub error: String,
}
