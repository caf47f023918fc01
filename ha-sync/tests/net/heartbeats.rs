//! Heartbeats over real sockets: two threads on loopback, in namespaces, and a guard's last word.

use std::net::{IpAddr, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use ha_sync::heartbeat::{
    BeatTiming, Codec, FileKey, HeartbeatConfig, HeartbeatError, HeartbeatEvent, HeartbeatStatus, Heartbeats,
    LostWhy, PathConfig, PathId, PeerLife, SetBeat, SetState, run, say_gone,
};
use ha_sync::net::Bind;

use crate::namespaces::{Pair, ip};
use crate::node::{PATIENCE, addresses};

const PORT: u16 = 4793;

fn path(id: PathId, local: IpAddr, peer: IpAddr, port: u16) -> PathConfig {
    let bind = Bind::None;
    PathConfig {
        id,
        local,
        peer,
        port,
        bind,
    }
}

/// Two paths between two addresses.
fn paths(local: IpAddr, peer: IpAddr) -> Vec<PathConfig> {
    vec![
        path(PathId::Control, local, peer, PORT),
        path(PathId::Secondary1, local, peer, PORT + 1),
    ]
}

fn codec(local: IpAddr, peer: IpAddr) -> Codec {
    Codec::new(&FileKey::known_to_all(), local, peer)
}

/// One end, and what it is told.
struct End {
    heartbeats: Heartbeats,
    events: Receiver<HeartbeatEvent>,
}

impl End {
    fn start(incarnation: u64, interval_ms: u16, paths: Vec<PathConfig>) -> Self {
        let (sender, events) = channel();
        let config = HeartbeatConfig {
            group: 1,
            incarnation,
            timing: BeatTiming {
                interval_ms,
                lost_threshold: 3,
            },
            codec: codec(paths[0].local, paths[0].peer),
            paths,
        };
        let on_event = move |event| {
            let _test_is_over = sender.send(event);
        };
        Self {
            heartbeats: run(config, on_event).expect("started"),
            events,
        }
    }

    /// Waits for an event; those before it are dropped.
    fn until(&self, what: &str, is_it: impl Fn(&HeartbeatEvent) -> bool) -> HeartbeatEvent {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let event = self.events.recv_timeout(left);
            let event = event.unwrap_or_else(|_| panic!("no {what}: {:#?}", self.heartbeats.status()));
            if is_it(&event) {
                return event;
            }
        }
    }

    fn until_event(&self, event: &HeartbeatEvent) {
        self.until(&format!("{event:?}"), |other| other == event);
    }

    fn until_status(&self, what: &str, is_so: impl Fn(&HeartbeatStatus) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(&self.heartbeats.status()) {
            assert!(
                Instant::now() < deadline,
                "no {what}: {:#?}",
                self.heartbeats.status()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Both ends of a pair, alive on both paths.
fn pair(interval_ms: u16) -> (End, End, (IpAddr, IpAddr)) {
    let (low, high) = addresses();
    let one = End::start(0x1001, interval_ms, paths(low, high));
    let two = End::start(0x2001, interval_ms, paths(high, low));
    for (end, incarnation) in [(&one, 0x2001), (&two, 0x1001)] {
        end.until_event(&HeartbeatEvent::Alive { incarnation });
        end.until_status("second path", |status| {
            status.detector.paths.iter().all(|path| path.up)
        });
    }
    (one, two, (low, high))
}

#[test]
fn two_ends_live_tell_their_sets_and_are_lost() {
    let (one, two, _) = pair(50);
    let set = SetBeat {
        set: 1,
        state: SetState::Primary,
        primary: true,
        complete: true,
        warned: false,
        broadcasts: false,
        eligible: true,
        epoch: 5,
        priority: 100,
        failed_weight: 0,
    };
    two.heartbeats.tell(vec![set]);
    one.until_event(&HeartbeatEvent::Sets(vec![set]));
    one.until_status("round trip", |status| {
        status
            .detector
            .paths
            .iter()
            .all(|path| path.rtt_us.is_some() && path.heard_by_peer)
    });
    // Both run on the same clock.
    let ahead_us = one
        .heartbeats
        .status()
        .detector
        .peer
        .clock_ahead_us
        .expect("measured");
    assert!(ahead_us.abs() < 1_000_000, "{ahead_us}");
    let before = Instant::now();
    drop(two);
    let why = LostWhy::Silent;
    one.until_event(&HeartbeatEvent::Lost { why });
    assert!(
        before.elapsed() >= Duration::from_millis(90),
        "{:?}",
        before.elapsed()
    );
    assert_eq!(one.heartbeats.status().detector.peer.life, PeerLife::Lost);
    // It asks, and the peer's host says that nobody is there.
    one.heartbeats.probe();
    one.until_event(&HeartbeatEvent::Refused(PathId::Control));
}

#[test]
fn the_guards_word_ends_it_at_once_and_a_new_process_is_found() {
    // Nobody is lost for silence in this test's time.
    let (one, two, (low, high)) = pair(10_000);
    drop(two);
    let failed = say_gone(&paths(high, low), &codec(high, low), 0x2001);
    assert!(failed.is_empty(), "{failed:?}");
    one.until_event(&HeartbeatEvent::Gone);
    let again = End::start(0x2002, 10_000, paths(high, low));
    one.until_event(&HeartbeatEvent::Alive { incarnation: 0x2002 });
    again.until_event(&HeartbeatEvent::Alive { incarnation: 0x1001 });
}

#[test]
fn a_clean_stop_is_told() {
    let (one, two, _) = pair(10_000);
    two.heartbeats.leave();
    one.until_event(&HeartbeatEvent::Leaving);
}

/// The shortest timing. What else runs on the machine may take the processor for longer than that, so all that is asked for is that the pair
/// is alive again and again; how late the thread was is printed.
#[test]
fn ten_milliseconds_work() {
    let (one, two, _) = pair(10);
    let beats = |end: &End| end.heartbeats.status().detector.paths[0].counters.received;
    let (before, began) = (beats(&one), Instant::now());
    one.until_status("hundred beats", |status| {
        status.detector.paths[0].counters.received >= before + 100
    });
    println!(
        "100 beats in {:?}, late by at most {} us, real time: {:?}",
        began.elapsed(),
        two.heartbeats.status().late_us_max,
        two.heartbeats.status().no_real_time,
    );
    one.until_status("life", |status| status.detector.peer.life == PeerLife::Alive);
}

#[test]
fn a_port_that_is_taken_is_named_and_waited_for() {
    let (low, high) = addresses();
    let taken = UdpSocket::bind((low, PORT)).expect("bound");
    let one = End::start(0x1001, 50, vec![path(PathId::Control, low, high, PORT)]);
    let two = End::start(0x2001, 50, vec![path(PathId::Control, high, low, PORT)]);
    one.until_status("fault", |status| {
        let fault = status.places[0].fault.as_deref();
        fault.is_some_and(|fault| fault.contains(&low.to_string()))
    });
    drop(taken);
    one.until_event(&HeartbeatEvent::Alive { incarnation: 0x2001 });
    two.until_event(&HeartbeatEvent::Alive { incarnation: 0x1001 });
    assert_eq!(one.heartbeats.status().places[0].fault, None);
}

#[test]
fn in_namespaces_on_an_interface_also_after_it_was_made_anew() {
    let pair = Pair::new("h");
    let (low, high) = ("192.0.2.1", "192.0.2.2");
    let address = |text: &str| -> IpAddr { text.parse().expect("address") };
    let within = |name: &str, local: &str, peer: &str| {
        let mut path = path(PathId::Data, address(local), address(peer), PORT);
        path.bind = Bind::Namespace(name.to_owned());
        vec![path]
    };
    let one = End::start(0x1001, 50, within(&pair.one, low, high));
    let _two = End::start(0x2001, 50, within(&pair.two, high, low));
    let incarnation = 0x2001;
    one.until_event(&HeartbeatEvent::Alive { incarnation });
    ip(&format!("-n {} link del ha0", pair.one));
    let why = LostWhy::Silent;
    one.until_event(&HeartbeatEvent::Lost { why });
    pair.veth();
    one.until_event(&HeartbeatEvent::Alive { incarnation });
}

#[test]
fn what_cannot_be_is_refused() {
    let (low, high) = addresses();
    let good = HeartbeatConfig {
        group: 1,
        incarnation: 1,
        timing: BeatTiming::default(),
        codec: codec(low, high),
        paths: paths(low, high),
    };
    let fails = |config: HeartbeatConfig| run(config, |_| {}).expect_err("refused");
    let none = HeartbeatConfig {
        paths: vec![],
        ..good.clone()
    };
    assert!(matches!(fails(none), HeartbeatError::NoPath));
    let fast = HeartbeatConfig {
        timing: BeatTiming {
            interval_ms: 5,
            lost_threshold: 3,
        },
        ..good.clone()
    };
    assert!(fails(fast).to_string().contains("5 ms x 3"));
    let one = |peer, port| path(PathId::Control, low, peer, port);
    let twice = HeartbeatConfig {
        paths: vec![one(high, 1), one(high, 2)],
        ..good.clone()
    };
    assert!(matches!(fails(twice), HeartbeatError::Twice(PathId::Control)));
    for wrong in [one(low, 1), one(high, 0)] {
        let config = HeartbeatConfig {
            paths: vec![wrong],
            ..good.clone()
        };
        assert!(matches!(fails(config), HeartbeatError::Path { .. }));
    }
}
