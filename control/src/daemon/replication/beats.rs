//! Heartbeats as the API shows them.

use ha_sync::heartbeat::{HeartbeatStatus, PathCounters, PathPlace, PathState};

use crate::api::model::{HeartbeatCounters, HeartbeatGroup, HeartbeatPath};

/// The heartbeats of redundancy group `group`.
pub(super) fn shown(group: u8, status: &HeartbeatStatus) -> HeartbeatGroup {
    let detector = &status.detector;
    let paths = detector.paths.iter().zip(&status.places);
    HeartbeatGroup {
        redundancy_group: group,
        peer: detector.peer.life.name().to_owned(),
        since_ms: status.at_us.saturating_sub(detector.peer.since_us) / 1000,
        interval_ms: detector.deciding.interval_ms,
        lost_threshold: detector.deciding.lost_threshold,
        clock_ahead_us: detector.peer.clock_ahead_us,
        no_real_time: status.no_real_time.clone(),
        late_max_us: status.late_us_max,
        paths: paths
            .map(|(state, place)| path(state, place, status.at_us))
            .collect(),
    }
}

fn path(state: &PathState, place: &PathPlace, at_us: u64) -> HeartbeatPath {
    HeartbeatPath {
        path: state.id.name().to_owned(),
        local_address: place.config.local,
        peer_address: place.config.peer,
        port: place.config.port,
        up: state.up,
        heard_by_peer: state.heard_by_peer,
        heard_ms_ago: state
            .heard_us
            .map(|heard_us| at_us.saturating_sub(heard_us) / 1000),
        round_trip_us: state.rtt_us,
        fault: place.fault.clone(),
        counters: counters(&state.counters),
    }
}

const fn counters(c: &PathCounters) -> HeartbeatCounters {
    HeartbeatCounters {
        sent: c.sent,
        send_failed: c.send_failed,
        received: c.received,
        bad_mac: c.bad_mac,
        malformed: c.malformed,
        wrong_path: c.wrong_path,
        replayed: c.replayed,
        late: c.late,
        ended: c.ended,
        foreign: c.foreign,
        refused: c.refused,
    }
}
