//! Which of the two ways of forwarded packets is cut, by heartbeats: the workers see it at the interfaces.

use std::net::IpAddr;
use std::sync::Arc;

use ha_sync::heartbeat::HeartbeatStatus;
use tandem_dataplane::interfaces::Interfaces;
use tandem_engine::program::{LinkWay, Program};
use tracing::{info, warn};

/// The ways, and where it is said that one is cut.
#[derive(Default)]
pub(super) struct Forwarding {
    interfaces: Arc<Interfaces>,
    ways: Option<[LinkWay; 2]>,
}

/// A path of heartbeats: its ends, and whether they come and arrive.
type Beaten = (IpAddr, IpAddr, bool);

impl Forwarding {
    pub(super) fn new(interfaces: Arc<Interfaces>, program: &Program) -> Self {
        let mut forwarding = Self {
            interfaces,
            ways: None,
        };
        forwarding.follow(program);
        forwarding
    }

    /// The workers have this program. What is a way no more is not cut.
    pub(super) fn follow(&mut self, program: &Program) {
        self.ways = program.data_link.as_ref().and_then(|link| link.both_ways());
        let is_way = |id| self.ways.iter().flatten().any(|way| way.interface == id);
        for state in self.interfaces.all.iter().filter(|state| !is_way(state.id)) {
            state.set_cut(false);
        }
    }

    /// Heartbeats are like this.
    pub(super) fn look(&self, status: &HeartbeatStatus) {
        let paths = status.detector.paths.iter().zip(&status.places);
        let paths: Vec<Beaten> = paths
            .map(|(path, place)| {
                let config = &place.config;
                (config.local, config.peer, path.up && path.heard_by_peer)
            })
            .collect();
        self.say(&paths);
    }

    fn say(&self, paths: &[Beaten]) {
        let Some(ways) = self.ways else { return };
        for (way, cut) in ways.iter().zip(cut(paths, &ways)) {
            let Some(state) = self.interfaces.get(way.interface) else {
                continue;
            };
            if state.set_cut(cut) {
                let interface = state.name.as_str();
                if cut {
                    warn!(
                        interface,
                        "data forwarding: the HA link is cut, by its heartbeats"
                    );
                } else {
                    info!(interface, "data forwarding: the HA link is not cut any more");
                }
            }
        }
    }
}

/// Which of the ways is cut: heartbeats between its ends are lost, in one direction or both, and those between the other's ends are not.
fn cut(paths: &[Beaten], [first, other]: &[LinkWay; 2]) -> [bool; 2] {
    let of = |way: &LinkWay| {
        let ends = (way.way.local, way.way.peer);
        let mut paths = paths.iter().filter(|(local, peer, _)| (*local, *peer) == ends);
        let is_there = paths.clone().next().is_some();
        (is_there, paths.any(|(.., beats)| *beats))
    };
    let ((first_has, first_beats), (other_has, other_beats)) = (of(first), of(other));
    [
        first_has && !first_beats && other_beats,
        other_has && !other_beats && first_beats,
    ]
}

#[cfg(test)]
mod tests {
    use tandem_dataplane::interfaces::InterfaceState;
    use tandem_engine::program::DataLink;
    use tandem_wire::forwarded::Way;

    use super::*;
    use crate::config::{self, Extras, NameRegistry};

    const LOCAL: u8 = 1;
    const PEER: u8 = 2;

    fn end(link: u8, last: u8) -> IpAddr {
        [10, 0, link, last].into()
    }

    fn way(link: u8) -> LinkWay {
        LinkWay {
            interface: link.into(),
            way: Way {
                local: end(link, LOCAL),
                peer: end(link, PEER),
                port: 4794,
            },
        }
    }

    fn path(link: u8, beats: bool) -> Beaten {
        (end(link, LOCAL), end(link, PEER), beats)
    }

    #[test]
    fn a_way_is_cut_when_its_heartbeats_are_lost_and_those_of_the_other_are_not() {
        let ways = [way(1), way(2)];
        let cut_of = |paths: &[Beaten]| cut(paths, &ways);
        assert_eq!(cut_of(&[path(1, true), path(2, true)]), [false, false]);
        assert_eq!(cut_of(&[path(1, false), path(2, true)]), [true, false]);
        assert_eq!(cut_of(&[path(2, false), path(1, true)]), [false, true]);
        assert_eq!(cut_of(&[path(1, false), path(2, false)]), [false, false]);
        // Nothing is known of a way without heartbeats, and another path says nothing of either.
        assert_eq!(cut_of(&[path(2, true)]), [false, false]);
        assert_eq!(cut_of(&[path(1, false), path(3, true)]), [false, false]);
        let from_elsewhere = (end(3, LOCAL), end(2, PEER), true);
        assert_eq!(cut_of(&[path(1, false), from_elsewhere]), [false, false]);
        // Two paths between the same ends are bound to different interfaces.
        assert_eq!(
            cut_of(&[path(1, false), path(1, true), path(2, true)]),
            [false, false]
        );
    }

    #[test]
    fn interfaces_say_it_as_long_as_they_are_ways() {
        let of = |id: u8| InterfaceState::new(id.into(), format!("i{id}"), id, None, [2; 6], 1600);
        let interfaces = Arc::new(Interfaces::new(vec![of(1), of(2), of(3)]));
        let config = config::parse("[interfaces.i1]\ndevice = \"net_ring0\"\n", "t.toml").expect("right");
        let program = |ways: Option<[u8; 2]>| {
            let mut registry = NameRegistry::default();
            let plain = config::compile(&config, &mut registry, None, &Extras::default()).expect("compiles");
            let link = ways.map(|[first, other]| DataLink::new(way(first), Some(way(other)), Vec::new()));
            Program {
                data_link: link,
                ..plain
            }
        };
        let shown = || -> Vec<bool> { interfaces.all.iter().map(InterfaceState::is_cut).collect() };
        let mut forwarding = Forwarding::new(Arc::clone(&interfaces), &program(Some([1, 2])));
        let paths = [path(1, false), path(2, true), path(3, true)];
        forwarding.say(&paths);
        assert_eq!(shown(), [true, false, false]);
        forwarding.follow(&program(Some([1, 3])));
        assert_eq!(shown(), [true, false, false], "it is a way still");
        forwarding.follow(&program(Some([2, 3])));
        forwarding.say(&paths);
        assert_eq!(shown(), [false; 3]);
        forwarding.say(&[path(2, true), path(3, false)]);
        assert_eq!(shown(), [false, false, true]);
        forwarding.follow(&program(None));
        forwarding.say(&paths);
        assert_eq!(shown(), [false; 3]);
    }
}
