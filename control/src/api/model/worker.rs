//! Workers: one per core, each with its own tables.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Use;

/// One worker. Packets and bytes are counted since start; bytes are Ethernet frames without FCS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Worker {
    /// Its number, from 0.
    pub id: u8,
    /// The CPU it is pinned to; none when the kernel schedules it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub core: Option<u16>,
    /// Milliseconds since it last said it was alive.
    pub heartbeat_age_ms: u64,
    /// The heartbeat is older than the configured bound.
    pub stalled: bool,
    /// Share of the last second in which it had packets in hand, percent 0..=100.
    pub busy_percent: f64,
    /// Bursts that were not empty.
    pub bursts: u64,
    /// Packets taken from ports.
    pub rx_packets: u64,
    /// Bytes taken from ports.
    pub rx_bytes: u64,
    /// Packets given to ports.
    pub tx_packets: u64,
    /// Bytes given to ports.
    pub tx_bytes: u64,
    /// Packets handed to the worker that owns them.
    pub handed_over_packets: u64,
    /// Packets given to the kernel mirror.
    pub punted_packets: u64,
    /// Packets dropped, all reasons.
    pub dropped_packets: u64,
    /// Sessions since start.
    pub sessions_created: u64,
    /// Its session table.
    pub sessions: Use,
    /// Its mapping table.
    pub mappings: Use,
    /// Its subscriber table.
    pub subscribers: Use,
    /// Its port block table.
    pub blocks: Use,
}
