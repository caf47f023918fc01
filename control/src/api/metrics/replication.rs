//! Metrics of replication with each peer.

use std::fmt;

use prometheus_client::registry::Unit;

use super::Snapshot;
use super::families::{Families, ratio};
use crate::api::model::{BulkSync, LinkCounters, MirrorState, ReplicationGroup, ReplicationState, Use};

/// A counter of the link: its metric, its unit, its help.
type Counted = (&'static str, Option<Unit>, &'static str, fn(&LinkCounters) -> u64);

const COUNTED: [Counted; 23] = [
    ("updates_sent", None, "Changes sent to the peer.", |c| {
        c.updates_sent
    }),
    (
        "updates_received",
        None,
        "Changes of the peer brought to the workers.",
        |c| c.updates_received,
    ),
    ("sent", Some(Unit::Bytes), "Bytes sent to the peer.", |c| {
        c.sent_bytes
    }),
    (
        "received",
        Some(Unit::Bytes),
        "Bytes received from the peer.",
        |c| c.received_bytes,
    ),
    ("retransmits", None, "Batches sent again.", |c| c.retransmits),
    (
        "duplicates",
        None,
        "Batches received that were here already.",
        |c| c.duplicates,
    ),
    (
        "gaps",
        None,
        "Batches received before one that is missing.",
        |c| c.gaps,
    ),
    (
        "dropped_batches",
        None,
        "Batches left aside because the configurations differed.",
        |c| c.batches_dropped,
    ),
    (
        "refused_batches",
        None,
        "Batches of the peer that could not be understood, each time they came.",
        |c| c.batches_refused,
    ),
    (
        "skipped_batches",
        None,
        "Batches given up because they could not be understood time and again; a bulk makes up for them.",
        |c| c.batches_skipped,
    ),
    (
        "collapsed",
        None,
        "Changes that replaced an older one of the same session before it was sent.",
        |c| c.collapsed,
    ),
    (
        "install_waits",
        None,
        "Times the workers had no room for a change of the peer.",
        |c| c.install_waits,
    ),
    (
        "connects",
        None,
        "Connections on which the peer greeted well.",
        |c| c.connects,
    ),
    (
        "resumes",
        None,
        "Connections that went on where the one before broke.",
        |c| c.resumes,
    ),
    (
        "refused_connections",
        None,
        "Connections refused because of what came.",
        |c| c.refused,
    ),
    (
        "peer_lost",
        None,
        "Times the peer was not heard for too long.",
        |c| c.lost,
    ),
    (
        "bulks_sent",
        None,
        "Bulk synchronizations begun that this chassis tells.",
        |c| c.bulks_sent,
    ),
    (
        "bulks_rested",
        None,
        "Of these, those that had to rest after the one before.",
        |c| c.bulks_rested,
    ),
    (
        "bulks_received",
        None,
        "Bulk synchronizations begun that the peer tells.",
        |c| c.bulks_received,
    ),
    (
        "bulk_mismatches",
        None,
        "Bulks received that had another number of objects than came.",
        |c| c.bulk_mismatches,
    ),
    (
        "offers",
        None,
        "Times a redundancy set that was primary beside the peer, or may have been, offered it what it had.",
        |c| c.offers,
    ),
    (
        "offers_in_vain",
        None,
        "Times it did not come to that, because the peer's release does not merge.",
        |c| c.offers_in_vain,
    ),
    (
        "merges",
        None,
        "Times that something of the peer's was merged into what is primary here.",
        |c| c.merges,
    ),
];

impl Snapshot {
    pub(super) fn replication(&self, out: &mut Families<'_>) -> fmt::Result {
        self.connections(out)?;
        self.lag_and_queues(out)?;
        self.bulks(out)?;
        for (name, unit, help, field) in COUNTED {
            let rows = self.by_group(|group| field(&group.counters));
            out.counters(&format!("replication_{name}"), unit.as_ref(), help, rows)?;
        }
        let failures = self.replication.iter().flat_map(|group| {
            let label = |kind: &str| [("group", group.id.to_string()), ("kind", kind.to_owned())];
            group
                .channel
                .failures
                .iter()
                .map(move |one| (label(&one.kind), one.count))
        });
        let help = "What went wrong with the channel, by kind.";
        out.counters("replication_channel_failures", None, help, failures)
    }

    fn by_group<V>(
        &self,
        field: impl Fn(&ReplicationGroup) -> V,
    ) -> impl Iterator<Item = ([(&'static str, String); 1], V)> {
        self.replication
            .iter()
            .map(move |group| ([("group", group.id.to_string())], field(group)))
    }

    fn connections(&self, out: &mut Families<'_>) -> fmt::Result {
        let states = self.replication.iter().flat_map(|group| {
            ReplicationState::ALL.map(|state| {
                let labels = [
                    ("group", group.id.to_string()),
                    ("state", state.as_str().to_owned()),
                ];
                (labels, f64::from(group.state == state))
            })
        });
        let help = "1 for the state that replication with the peer is in, 0 for the others.";
        out.gauges("replication_state", None, help, states)?;
        let differences = self.by_group(|group| group.differences.len() as f64);
        let help = "Parts of the configuration that the two chassis do not have alike, as far as they told each other.";
        out.gauges("replication_config_differences", None, help, differences)?;
        let expiring = self.replication.iter().flat_map(|group| {
            let certificates = [
                ("this", &group.channel.certificate),
                ("peer", &group.channel.peer_certificate),
            ];
            certificates.into_iter().filter_map(|(chassis, certificate)| {
                let expires = certificate.as_ref()?.expires_unix_s?;
                let labels = [("group", group.id.to_string()), ("chassis", chassis.to_owned())];
                Some((labels, expires as f64))
            })
        });
        let help = "When a certificate of the channel ends, Unix time.";
        out.gauges(
            "replication_certificate_expiry_timestamp",
            Some(&Unit::Seconds),
            help,
            expiring,
        )
    }

    fn lag_and_queues(&self, out: &mut Families<'_>) -> fmt::Result {
        let help = "Age of the oldest change that the peer has not acknowledged.";
        let lag = self.replication.iter().filter_map(|group| {
            let now_ms = group.lag.now_ms?;
            Some(([("group", group.id.to_string())], now_ms as f64 / 1000.0))
        });
        out.gauges("replication_lag", Some(&Unit::Seconds), help, lag)?;
        let quantiles = self.replication.iter().flat_map(|group| {
            let lag = group.lag;
            [("0.5", lag.p50_ms), ("0.99", lag.p99_ms), ("1", lag.max_ms)].map(|(quantile, ms)| {
                let labels = [("group", group.id.to_string()), ("quantile", quantile.to_owned())];
                (labels, ms as f64 / 1000.0)
            })
        });
        let help = "Time from a change to its acknowledgment, since start.";
        out.gauges(
            "replication_acknowledgment",
            Some(&Unit::Seconds),
            help,
            quantiles,
        )?;
        let window = self.by_group(|group| group.queues.window_bytes.used as f64);
        let help = "Bytes sent and not acknowledged.";
        out.gauges("replication_window", Some(&Unit::Bytes), help, window)?;
        let room = self.by_group(|group| group.queues.window_bytes.total as f64);
        let help = "Bytes that may be sent and not acknowledged.";
        out.gauges("replication_window_max", Some(&Unit::Bytes), help, room)?;
        let queues = |field: fn(Use) -> u64| {
            self.replication.iter().flat_map(move |group| {
                let q = &group.queues;
                [("pending", q.pending), ("outbox", q.outbox), ("inbox", q.inbox)].map(|(queue, n)| {
                    let labels = [("group", group.id.to_string()), ("queue", queue.to_owned())];
                    (labels, field(n) as f64)
                })
            })
        };
        let held = self.by_group(|group| group.queues.held_back as f64);
        let help = "Sessions and endings that found no room in the workers' rings and wait to be told.";
        out.gauges("replication_held_back", None, help, held)?;
        let help = "Changes that wait: in the workers' rings to and from the peer, and beside the window.";
        out.gauges("replication_queue", None, help, queues(|n| n.used))?;
        out.gauges(
            "replication_queue_max",
            None,
            "Room in that queue.",
            queues(|n| n.total),
        )
    }

    fn bulks(&self, out: &mut Families<'_>) -> fmt::Result {
        let both = |field: fn(&BulkSync, Option<MirrorState>) -> Option<f64>| {
            self.replication.iter().flat_map(move |group| {
                let sides = [
                    ("sending", &group.bulk_sent, group.sending),
                    ("receiving", &group.bulk_received, group.receiving),
                ];
                sides.into_iter().filter_map(move |(direction, bulk, mirror)| {
                    let labels = [
                        ("group", group.id.to_string()),
                        ("direction", direction.to_owned()),
                    ];
                    Some((labels, field(bulk, mirror)?))
                })
            })
        };
        let help = "1 when that direction knows all there is to know.";
        let active = both(|_, mirror| Some(f64::from(mirror == Some(MirrorState::Active))));
        out.gauges("replication_mirror_active", None, help, active)?;
        let help = "Objects told since the latest bulk synchronization of that direction began.";
        out.gauges(
            "replication_bulk_objects",
            None,
            help,
            both(|bulk, _| Some(bulk.objects.total() as f64)),
        )?;
        let help = "How far that bulk synchronization is, 0 to 1, where it is known.";
        let share = both(|bulk, _| bulk.percent.map(|percent| percent / 100.0));
        out.gauges("replication_bulk_progress", Some(&ratio()), help, share)
    }
}
