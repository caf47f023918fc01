//! What link and workers count of replication.

use ha_sync::bridge::BridgeStats;
use ha_sync::link::LinkStats;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::Counter;
use super::Objects;

/// What the link of one redundancy group counted since start, over all connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct LinkCounters {
    /// Changes sent.
    pub updates_sent: u64,
    /// Changes received and brought to the workers.
    pub updates_received: u64,
    /// Objects among the changes sent, new or changed, by type.
    pub objects_sent: Objects,
    /// Objects among the changes received, new or changed, by type.
    pub objects_received: Objects,
    /// Batches sent for the first time.
    pub batches_sent: u64,
    /// Batches received in order.
    pub batches_received: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Batches sent again.
    pub retransmits: u64,
    /// Batches received that were here already.
    pub duplicates: u64,
    /// Batches received before one that is missing.
    pub gaps: u64,
    /// Batches left aside because the configurations differed when they were made or came.
    pub batches_dropped: u64,
    /// Changes that replaced an older one about the same session before it was sent.
    pub collapsed: u64,
    /// Changes about something that the peer cannot know; not sent.
    pub untranslatable: u64,
    /// Messages of a type that this release does not know; skipped.
    pub unknown_messages: u64,
    /// Times the workers had no room for a change of the peer.
    pub install_waits: u64,
    /// Connections refused because of a batch that was not understood.
    pub batches_refused: u64,
    /// Batches given up after that happened several times.
    pub batches_skipped: u64,
    /// Connections on which the peer greeted well.
    pub connects: u64,
    /// Of these, those that went on where the one before broke, without a bulk.
    pub resumes: u64,
    /// Bulk synchronizations begun that this chassis tells.
    pub bulks_sent: u64,
    /// Of these, those that had to rest after the one before.
    pub bulks_rested: u64,
    /// Bulk synchronizations begun that the peer tells.
    pub bulks_received: u64,
    /// Bulks received whose end did not have as many objects as came.
    pub bulk_mismatches: u64,
    /// Connections that were refused because of what came.
    pub refused: u64,
    /// Times the peer was not heard for too long.
    pub lost: u64,
    /// Leases of extents that the peer acknowledged.
    pub leases_acknowledged: u64,
    /// Times a redundancy set that was primary beside the peer, or may have been, offered it what it had.
    pub offers: u64,
    /// Times it did not come to that, because the peer's release does not merge: what began here meanwhile ended.
    pub offers_in_vain: u64,
    /// Times that something of the peer's was merged into what is primary here.
    pub merges: u64,
}

impl LinkCounters {
    /// What the link counted, and the bridge to the workers.
    #[must_use]
    pub fn of(stats: &LinkStats, bridge: &BridgeStats) -> Self {
        Self {
            updates_sent: stats.updates_sent,
            updates_received: stats.updates_received,
            objects_sent: stats.objects_sent.into(),
            objects_received: stats.objects_received.into(),
            batches_sent: stats.batches_sent,
            batches_received: stats.batches_received,
            sent_bytes: stats.bytes_sent,
            received_bytes: stats.bytes_received,
            retransmits: stats.retransmits,
            duplicates: stats.duplicates,
            gaps: stats.gaps,
            batches_dropped: stats.batches_dropped,
            collapsed: stats.collapsed,
            untranslatable: stats.untranslatable,
            unknown_messages: stats.unknown_messages,
            install_waits: stats.install_waits,
            batches_refused: stats.batches_refused,
            batches_skipped: stats.batches_skipped,
            connects: stats.connects,
            resumes: stats.resumes,
            bulks_sent: stats.bulks_sent,
            bulks_rested: stats.bulks_rested,
            bulks_received: stats.bulks_received,
            bulk_mismatches: stats.bulk_mismatches,
            refused: stats.refused,
            lost: stats.lost,
            leases_acknowledged: stats.leases_acknowledged,
            offers: bridge.offers,
            offers_in_vain: bridge.offers_in_vain,
            merges: bridge.merges,
        }
    }
}

/// Changes of the peer that were not installed, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RefusedInstalls {
    /// This chassis is primary for the redundancy set itself.
    pub role: u64,
    /// A table has no room.
    pub room: u64,
    /// What it stands on is not here: its service set, pool, block or extent.
    pub ground: u64,
}

/// What the workers count of replication since start, all together and for all redundancy groups; each is a counter
/// `replica-...` of `/v1/counters`, too, by worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct WorkerReplication {
    /// Changes put out for a peer.
    pub emitted: u64,
    /// Sessions marked for a later walk because there was no room to put them out.
    pub dirty: u64,
    /// Of these, those put out by such a walk.
    pub walked: u64,
    /// Endings and allocations that waited in the backlog because there was no room to put them out.
    pub backlogged: u64,
    /// Endings that found no room in the backlog either; each makes a new bulk.
    pub lost: u64,
    /// Objects installed.
    pub installed: u64,
    /// Objects here that were brought up to date.
    pub updated: u64,
    /// Objects ended because the peer said so.
    pub ended: u64,
    /// Changes not installed.
    pub refused: RefusedInstalls,
    /// Objects ended because the peer has their public end for another inside end: the primary is right.
    pub conflicts: u64,
    /// Objects ended at the end of a bulk that did not have them.
    pub swept: u64,
    /// Two primaries that are one again.
    pub merge: MergeCounts,
}

/// What became, at the one that stays primary, of what the other chassis had begun while both were primary: each count since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct MergeCounts {
    /// Sessions taken over.
    pub sessions: u64,
    /// Public ends (address, port, protocol) that both had given, to two inside ends: the other chassis' was refused.
    pub public_ends: u64,
    /// Inside ends that both had given different public ends: the other chassis' session or mapping was refused.
    pub inside_ends: u64,
    /// Port blocks of the other chassis refused because ports of them are in others' blocks here.
    pub blocks: u64,
    /// Extents of the other chassis refused because another shard has them here.
    pub extents_of_others: u64,
    /// Sessions refused for what they stand on: one of these, or a full table.
    pub refused: u64,
    /// Changes of the peer not taken: at the chassis that yielded, before everything was offered; at one that ceased to be primary, while
    /// the peer was not primary either. What there is of them came again when one of both was.
    pub unoffered: u64,
}

impl WorkerReplication {
    /// From the workers' counters, by their names.
    #[must_use]
    pub fn from_counters(counters: &[Counter]) -> Self {
        let total = |name: &str| {
            let named = counters
                .iter()
                .find(|counter| counter.name.strip_prefix("replica-") == Some(name));
            named.map_or(0, |counter| counter.total)
        };
        Self {
            emitted: total("emitted"),
            dirty: total("dirty"),
            walked: total("walked"),
            backlogged: total("backlogged"),
            lost: total("lost"),
            installed: total("installed"),
            updated: total("updated"),
            ended: total("ended"),
            refused: RefusedInstalls {
                role: total("refused-role"),
                room: total("refused-room"),
                ground: total("refused-ground"),
            },
            conflicts: total("conflicts"),
            swept: total("swept"),
            merge: MergeCounts {
                sessions: total("merged-sessions"),
                public_ends: total("merge-public-ends"),
                inside_ends: total("merge-inside-ends"),
                blocks: total("merge-blocks"),
                extents_of_others: total("merge-extents-of-others"),
                refused: total("merge-refused"),
                unoffered: total("unoffered"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::model::CounterGroup;

    #[test]
    fn workers_counters_are_found_by_name_and_added_up() {
        let named = |name: &str, workers: Vec<u64>| {
            Counter::of_workers(name, CounterGroup::Dataplane, "Help.", workers)
        };
        let counters = [
            named("replica-emitted", vec![3, 4]),
            named("replica-refused-room", vec![0, 2]),
            named("emitted", vec![9, 9]),
            named("replica-swept", vec![1, 0]),
        ];
        let found = WorkerReplication::from_counters(&counters);
        let expect = WorkerReplication {
            emitted: 7,
            refused: RefusedInstalls {
                room: 2,
                ..RefusedInstalls::default()
            },
            swept: 1,
            ..WorkerReplication::default()
        };
        assert_eq!(found, expect);
    }
}
