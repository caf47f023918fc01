//! Input: what arrives, one after the other: an octet that chooses the path (bits 0, 1), whether the code is made right (bit 2) and how much
//! later it is (bits 3 to 7, in steps of 10 ms), the length in two octets, the datagram without its code. What is read is written and
//! read again as it was; the peer lives exactly while a path is up; what ends and begins is told in turn; all that is sent is a heartbeat,
//! and nothing is due that was just done.

use std::net::{IpAddr, Ipv4Addr};

use ha_sync::heartbeat::{BeatTiming, Codec, Detector, FileKey, HeartbeatEvent, Now, PathId, PeerLife};
use ring::hmac;

/// This life of ours, as the seeds have it.
const INCARNATION: u64 = 0x1001;
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

/// The code as `docs/heartbeats.md` has it.
fn signed(said: &[u8]) -> Vec<u8> {
    let mut derived = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &[0; 32]));
    derived.update(b"tandem heartbeat 1");
    for address in [PEER, LOCAL] {
        if let IpAddr::V4(v4) = address {
            derived.update(&v4.to_ipv6_mapped().octets());
        }
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, derived.sign().as_ref());
    [said, hmac::sign(&key, said).as_ref()].concat()
}

/// What was told so far.
#[derive(Default)]
struct Told {
    is_alive: bool,
    up: Vec<PathId>,
}

impl Told {
    fn note(&mut self, event: &HeartbeatEvent) {
        match event {
            HeartbeatEvent::Alive { incarnation } => {
                assert!(!self.is_alive && *incarnation != 0);
                self.is_alive = true;
            }
            HeartbeatEvent::Lost { .. } => assert!(std::mem::take(&mut self.is_alive)),
            // May be said of a life that was lost before.
            HeartbeatEvent::Gone | HeartbeatEvent::Leaving => self.is_alive = false,
            HeartbeatEvent::PathUp(path) => {
                assert!(!self.up.contains(path));
                self.up.push(*path);
            }
            HeartbeatEvent::PathDown(path) => {
                let at = self.up.iter().position(|up| up == path).expect("it was up");
                self.up.swap_remove(at);
            }
            HeartbeatEvent::Sets(sets) => assert!(self.is_alive && sets.len() <= 16),
            HeartbeatEvent::Refused(_) => panic!("nobody has refused"),
            HeartbeatEvent::OtherVersion { theirs, highest, .. } => assert!(!(1..=*highest).contains(theirs)),
        }
    }
}

/// What the target does with one input.
pub fn run(mut data: &[u8]) {
    let key = FileKey::known_to_all();
    let (ours, theirs) = (Codec::new(&key, LOCAL, PEER), Codec::new(&key, PEER, LOCAL));
    let mut detector = Detector::new(ours.clone(), INCARNATION, BeatTiming::default(), PathId::ALL);
    let mut told = Told::default();
    let mut now = Now {
        mono_us: 1_000_000,
        wall_us: 1_700_000_000_000_000,
    };
    let (mut out, mut events) = (vec![], vec![]);
    detector.poll(now, &mut out, &mut events);
    while let [choice, high, low, rest @ ..] = data {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (said, after) = rest.split_at(length);
        data = after;
        let later_us = u64::from(choice >> 3) * 10_000;
        (now.mono_us, now.wall_us) = (now.mono_us + later_us, now.wall_us + later_us);
        let datagram = if choice & 4 == 0 {
            said.to_vec()
        } else {
            signed(said)
        };
        if let Ok(beat) = ours.decode(&datagram) {
            assert!(choice & 4 != 0, "nobody guesses a code");
            // Version 2 has optional parts behind, which are skipped and so not said again.
            match datagram.get(4) {
                Some(1) => assert_eq!(theirs.encode(&beat), datagram),
                _ => assert_eq!(ours.decode(&theirs.encode(&beat)), Ok(beat)),
            }
        }
        let path = PathId::from_number(choice & 3).expect("a path");
        detector.received(now, path, &datagram, &mut events);
        detector.poll(now, &mut out, &mut events);
        assert!(detector.next_timer() > now.mono_us);
        events.drain(..).for_each(|event| told.note(&event));
        let status = detector.status(now);
        assert_eq!(told.is_alive, status.peer.life == PeerLife::Alive);
        assert_eq!(told.is_alive, !told.up.is_empty());
        for path in &status.paths {
            assert_eq!(path.up, told.up.contains(&path.id));
        }
        for sent in out.drain(..) {
            let beat = theirs.decode(&sent.octets).expect("a heartbeat");
            assert_eq!((beat.incarnation, beat.path), (INCARNATION, sent.path));
        }
    }
}
