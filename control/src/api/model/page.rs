//! Envelopes: a whole list, one page of a long one, and the count of what was cleared.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::cluster::PeerCleared;

/// A list that is always given whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct List<T> {
    /// The rows.
    pub rows: Vec<T>,
}

/// One page of a list that may be long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Page<T> {
    /// The rows. A page may hold fewer than `limit` and still have a next one.
    pub rows: Vec<T>,
    /// Give this as `page`, with the same filter, for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<String>,
    /// Rows that match in all; only where it was asked for or costs nothing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub count: Option<u64>,
}

/// Answer to a clear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Cleared {
    /// Sessions that were ended.
    pub cleared: u64,
    /// What the peer did; only where it was to do it, too.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peer: Option<PeerCleared>,
}
