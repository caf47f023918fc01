//! What heartbeats say, judged by the status of their paths.
//!
//! The status may be older than the event: the heartbeats' thread waits for nobody, and does not show another one while somebody looks
//! at the last. So what an event says of a path is looked at again a little later, with the status that is there by then.

use std::net::IpAddr;

use ha_sync::heartbeat::{HeartbeatEvent, HeartbeatStatus, Heartbeats, PathId};
use tandem_redundancy::{Hands, Peer};
use tracing::warn;

use super::Talk;
use crate::daemon::replication::heartbeats;

/// Between two looks without an event, in milliseconds.
const LOOK_MS: u64 = 100;
/// A refusal is judged anew for so long: by then the status has been shown many times.
const DOUBT_MS: u64 = 1000;

/// What is looked at again.
#[derive(Debug, Default)]
pub(super) struct Again {
    /// When the paths were looked at last.
    looked_ms: Option<u64>,
    /// A refusal that meant nothing by the status of that moment, and until when it is in doubt.
    refusal: Option<(PathId, u64)>,
}

impl Talk {
    /// Heartbeats say something.
    pub(super) fn heard(&mut self, event: HeartbeatEvent, now: u64) {
        if matches!(event, HeartbeatEvent::Lost { .. } | HeartbeatEvent::Gone) {
            (self.is_buried, self.stale_from_ms) = (true, None);
            self.line.bridge.peer_died();
        }
        if let HeartbeatEvent::OtherVersion {
            path,
            theirs,
            highest,
        } = event
        {
            warn!(%path, theirs, ours = highest, "heartbeats of a version that is not spoken here");
        }
        let status = self.beats.as_ref().map(Heartbeats::status);
        // Not before both hear the other's sets: to an end that has only this connection to go by, its end is the peer's death.
        if self.is_buried && matches!(event, HeartbeatEvent::Sets(_)) {
            let deciding = status.as_ref().map(|status| status.detector.deciding);
            let hold = deciding.map_or(0, |timing| u64::from(timing.lost_after_ms()));
            self.stale_from_ms.get_or_insert(now + hold);
        }
        self.judge(event, status.as_deref(), now);
    }

    /// Looks again at what the last events were about.
    pub(super) fn look_at_heartbeats(&mut self, now: u64) {
        let looked = self.again.looked_ms;
        if looked.is_some_and(|looked| now.saturating_sub(looked) < LOOK_MS) {
            return;
        }
        if let Some(status) = self.beats.as_ref().map(Heartbeats::status) {
            self.look_again(&status, now);
        }
    }

    fn look_again(&mut self, status: &HeartbeatStatus, now: u64) {
        self.again.looked_ms = Some(now);
        match self.again.refusal {
            Some((path, until_ms)) if now < until_ms => {
                self.judge(HeartbeatEvent::Refused(path), Some(status), now);
                // Not for longer by this look.
                if let Some((_, until)) = &mut self.again.refusal {
                    *until = until_ms;
                }
            }
            _ => {
                self.again.refusal = None;
                self.look_at_paths(status);
            }
        }
    }

    /// What follows from an event, by this status.
    fn judge(&mut self, event: HeartbeatEvent, status: Option<&HeartbeatStatus>, now: u64) {
        if let Some(status) = status {
            self.look_at_paths(status);
        }
        let refused = match event {
            HeartbeatEvent::Refused(path) => Some(path),
            _ => None,
        };
        let is_alive = matches!(event, HeartbeatEvent::Alive { .. });
        let mut paths = status.into_iter().flat_map(|status| &status.detector.paths);
        let is_heard = paths.any(|path| path.up && !path.refused);
        let said = heartbeats::meaning(event, self.line.peer() != Peer::Gone || is_heard);
        if refused.is_some() || said.is_some() || is_alive {
            // Whatever else is said is later than a refusal, and the peer lives or is dead by that.
            let doubted = refused.filter(|_| said.is_none());
            self.again.refusal = doubted.map(|path| (path, now + DOUBT_MS));
        }
        if let Some(said) = said {
            self.automatic
                .heartbeat(said, now, &mut self.roles, &mut self.line);
        }
    }

    /// Whether the HA link of this connection has lost its heartbeats, while the other one has them; and the same of the ways of
    /// forwarded packets.
    pub(super) fn look_at_paths(&mut self, status: &HeartbeatStatus) {
        self.forwarding.look(status);
        let Some(over) = self.over else { return };
        let paths = status.detector.paths.iter().zip(&status.places);
        let paths: Vec<(PathId, bool, IpAddr)> = paths
            .map(|(path, place)| (path.id, path.up, place.config.peer))
            .collect();
        self.has_beaten |= paths.iter().any(|(_, up, peer)| *up && *peer == over);
        // Of one that outlived a loss the hold of stale connections decides.
        self.is_cut = !self.is_buried && self.has_beaten && heartbeats::is_cut(&paths, over);
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::{Duration, Instant};

    use ha_sync::heartbeat::{BeatTiming, Codec, FileKey, HeartbeatConfig, PathConfig, run};
    use ha_sync::net::{Bind, Conversation};

    use super::super::tests::{latest, primary_peer, talk};
    use super::*;
    use crate::api::model::{RoleCause, RoleState};

    /// Heartbeats of one end of two HA links on this machine; what they tell nobody hears.
    fn beats(port: u16, incarnation: u64, [local, peer]: [u8; 2], paths: &[PathId]) -> Heartbeats {
        let path = |id: &PathId| {
            let end = |last| IpAddr::from([127, 0, 70 + u8::from(*id == PathId::Data), last]);
            PathConfig {
                id: *id,
                local: end(local),
                peer: end(peer),
                port,
                bind: Bind::None,
            }
        };
        let ends = [local, peer].map(|last| IpAddr::from([127, 0, 70, last]));
        let config = HeartbeatConfig {
            group: 1,
            incarnation,
            timing: BeatTiming {
                interval_ms: 50,
                lost_threshold: 4,
            },
            codec: Codec::new(&FileKey::known_to_all(), ends[0], ends[1]),
            paths: paths.iter().map(path).collect(),
        };
        run(config, |_| {}).expect("a thread")
    }

    /// Waits until the paths are shown so.
    fn await_paths(beats: &Heartbeats, ups: &[bool]) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let shown = || -> Vec<bool> {
            let status = beats.status();
            status.detector.paths.iter().map(|path| path.up).collect()
        };
        while shown() != ups {
            assert!(Instant::now() < deadline, "{:?}", beats.status());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_cut_link_is_found_by_the_next_look_when_its_event_came_before_the_status() {
        let free = UdpSocket::bind("127.0.70.1:0").and_then(|socket| socket.local_addr());
        let port = free.expect("a free port").port();
        let both = [PathId::Control, PathId::Data];
        let (ours, peer) = (beats(port, 1, [1, 2], &both), beats(port, 5, [2, 1], &both));
        await_paths(&ours, &[true, true]);
        let mut talk = talk(true);
        talk.beats(Some(ours));
        talk.over = Some([127, 0, 70, 2].into());
        talk.connected(0);
        assert_eq!(talk.objection(), None);
        drop(peer);
        let _peer = beats(port, 6, [2, 1], &[PathId::Data]);
        await_paths(talk.beats.as_ref().expect("there"), &[false, true]);
        assert_eq!(talk.objection(), None, "nobody has told it");
        talk.tick(0);
        let why = talk.objection().expect("it was found").to_string();
        assert!(why.contains("no heartbeats"), "{why}");
    }

    #[test]
    fn a_refusal_judged_by_an_old_status_is_judged_again_and_not_for_ever() {
        let both = [PathId::Control, PathId::Data];
        let status = beats(1, 1, [3, 4], &both).status();
        let shows = |up: bool, refused: bool| {
            let mut status = HeartbeatStatus::clone(&status);
            for path in &mut status.detector.paths {
                (path.up, path.refused) = (up, refused);
            }
            status
        };
        for (after_ms, is_alive, is_gone) in [(150, false, true), (1500, false, false), (150, true, false)] {
            let mut talk = talk(true);
            talk.heard(primary_peer(), 0);
            talk.judge(
                HeartbeatEvent::Refused(PathId::Data),
                Some(&shows(true, false)),
                0,
            );
            talk.tick(0);
            assert_eq!(
                latest(&talk),
                Some((RoleState::Wait, RoleCause::Peer, 0)),
                "it is heard"
            );
            if is_alive {
                talk.heard(HeartbeatEvent::Alive { incarnation: 2 }, 100);
            }
            talk.look_again(&shows(true, true), after_ms);
            talk.tick(0);
            let expected = if is_gone {
                (RoleState::Primary, RoleCause::PeerLost, 5)
            } else {
                (RoleState::Wait, RoleCause::Peer, 0)
            };
            assert_eq!(latest(&talk), Some(expected), "{after_ms} ms, alive {is_alive}");
        }
    }
}
