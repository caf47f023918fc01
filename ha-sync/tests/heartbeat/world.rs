//! Two chassis, the paths between them, and a clock that the test turns in steps of a millisecond.

use ha_sync::heartbeat::{
    BEAT_VERSION_OLDEST, BeatTiming, Codec, Datagram, Detector, DetectorStatus, FileKey, HeartbeatEvent,
    LostWhy, Now, PathId, PeerLife, SetBeat, SetState,
};

/// The chassis of the test.
pub const ONE: usize = 0;
/// The other one.
pub const TWO: usize = 1;

/// How far the second chassis' clocks are ahead of the first one's.
const MONO_AHEAD_US: u64 = 77_000_000;
pub const WALL_AHEAD_US: i64 = -250_000;
const WALL_US: u64 = 1_700_000_000_000_000;

pub fn codecs() -> (Codec, Codec) {
    let (low, high) = ("192.0.2.1", "192.0.2.2");
    let address = |text: &str| text.parse().expect("address");
    let key = FileKey::known_to_all();
    // What is tested of one version is so of all; versions.rs has both.
    let codec = |local, peer| Codec::new(&key, address(local), address(peer)).speaking(BEAT_VERSION_OLDEST);
    (codec(low, high), codec(high, low))
}

pub fn timing(interval_ms: u16, lost_threshold: u8) -> BeatTiming {
    BeatTiming {
        interval_ms,
        lost_threshold,
    }
}

pub fn set(number: u8, state: SetState, epoch: u64) -> SetBeat {
    SetBeat {
        set: number,
        state,
        primary: state == SetState::Primary,
        complete: true,
        warned: false,
        broadcasts: false,
        eligible: true,
        epoch,
        priority: 100,
        failed_weight: 0,
    }
}

/// A datagram on its way.
#[derive(Clone, Debug)]
pub struct Flying {
    pub at_ms: u64,
    pub to: usize,
    pub path: PathId,
    pub octets: Vec<u8>,
}

/// What a path does with a datagram: when it arrives, in milliseconds from now; not at all, once, or more often.
pub type Fate = Box<dyn FnMut(u64, &Datagram) -> Vec<u64>>;

/// Both chassis. An end that is not there is dead.
pub struct World {
    pub now_ms: u64,
    pub ends: [Option<Detector>; 2],
    /// What each end was told: when, and what.
    pub events: [Vec<(u64, HeartbeatEvent)>; 2],
    /// For what each end sends.
    pub fates: [Fate; 2],
    /// All that was ever sent by each end, whatever became of it.
    pub recorded: [Vec<Datagram>; 2],
    flying: Vec<Flying>,
    paths: Vec<PathId>,
}

/// Arrives in the same millisecond.
pub fn through() -> Fate {
    Box::new(|_, _| vec![0])
}

/// Never arrives.
pub fn cut() -> Fate {
    Box::new(|_, _| vec![])
}

impl World {
    pub fn new(timings: [BeatTiming; 2], paths: &[PathId]) -> Self {
        let mut world = Self {
            now_ms: 0,
            ends: [None, None],
            events: [vec![], vec![]],
            fates: [through(), through()],
            recorded: [vec![], vec![]],
            flying: vec![],
            paths: paths.to_vec(),
        };
        world.start(ONE, 0x1001, timings[ONE]);
        world.start(TWO, 0x2001, timings[TWO]);
        world
    }

    /// 200 ms x 3 on the control path alone.
    pub fn plain() -> Self {
        Self::new([timing(200, 3); 2], &[PathId::Control])
    }

    /// A new process, in place of what was there.
    pub fn start(&mut self, end: usize, incarnation: u64, timing: BeatTiming) {
        self.start_in(end, incarnation, timing, BEAT_VERSION_OLDEST);
    }

    /// The same, of a release that speaks heartbeats up to this version.
    pub fn start_in(&mut self, end: usize, incarnation: u64, timing: BeatTiming, highest: u8) {
        let (one, two) = codecs();
        let codec = if end == ONE { one } else { two }.speaking(highest);
        self.ends[end] = Some(Detector::new(
            codec,
            incarnation,
            timing,
            self.paths.iter().copied(),
        ));
    }

    pub fn now(&self, end: usize) -> Now {
        let us = self.now_ms * 1000;
        let (mono_ahead, wall_ahead) = if end == ONE {
            (1, 0)
        } else {
            (MONO_AHEAD_US, WALL_AHEAD_US)
        };
        Now {
            mono_us: us + mono_ahead,
            wall_us: (WALL_US + us).saturating_add_signed(wall_ahead),
        }
    }

    pub fn end(&mut self, end: usize) -> &mut Detector {
        self.ends[end].as_mut().expect("alive")
    }

    pub fn status(&self, end: usize) -> DetectorStatus {
        self.ends[end].as_ref().expect("alive").status(self.now(end))
    }

    pub fn life(&self, end: usize) -> PeerLife {
        self.status(end).peer.life
    }

    /// Puts a datagram on its way, whoever made it.
    pub fn throw(&mut self, to: usize, datagram: &Datagram, in_ms: u64) {
        self.flying.push(Flying {
            at_ms: self.now_ms + in_ms,
            to,
            path: datagram.path,
            octets: datagram.octets.clone(),
        });
    }

    /// Goes on by a millisecond: what arrives is taken, then what is due is done.
    pub fn step(&mut self) {
        self.now_ms += 1;
        // An answer to what arrives may arrive in the same millisecond.
        for _ in 0..4 {
            let now_ms = self.now_ms;
            let arrived: Vec<Flying> = self.flying.extract_if(.., |f| f.at_ms <= now_ms).collect();
            for flying in arrived {
                let now = self.now(flying.to);
                let mut events = vec![];
                if let Some(end) = &mut self.ends[flying.to] {
                    end.received(now, flying.path, &flying.octets, &mut events);
                }
                self.take_down(flying.to, events);
            }
            for end in [ONE, TWO] {
                self.poll(end);
            }
        }
    }

    fn poll(&mut self, end: usize) {
        let now = self.now(end);
        let Some(detector) = &mut self.ends[end] else {
            return;
        };
        if now.mono_us < detector.next_timer() {
            return;
        }
        let (mut out, mut events) = (vec![], vec![]);
        detector.poll(now, &mut out, &mut events);
        self.take_down(end, events);
        for datagram in out {
            for in_ms in (self.fates[end])(self.now_ms, &datagram) {
                self.throw(1 - end, &datagram, in_ms);
            }
            self.recorded[end].push(datagram);
        }
    }

    fn take_down(&mut self, end: usize, events: Vec<HeartbeatEvent>) {
        let now_ms = self.now_ms;
        self.events[end].extend(events.into_iter().map(|event| (now_ms, event)));
    }

    pub fn run(&mut self, ms: u64) {
        (0..ms).for_each(|_| self.step());
    }

    /// What an end was told since it was last asked, without times.
    pub fn told(&mut self, end: usize) -> Vec<HeartbeatEvent> {
        let events = std::mem::take(&mut self.events[end]);
        events.into_iter().map(|(_, event)| event).collect()
    }

    /// When an end lost the other one first, for silence.
    pub fn lost_at(&self, end: usize) -> Option<u64> {
        let why = LostWhy::Silent;
        let lost = |event: &HeartbeatEvent| *event == HeartbeatEvent::Lost { why };
        let found = self.events[end].iter().find(|(_, event)| lost(event));
        found.map(|(at_ms, _)| *at_ms)
    }
}
