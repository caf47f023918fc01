//! The heartbeats' thread: sockets, clock and a [`Detector`].

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};

use super::beat::{BeatTiming, PathId, SetBeat};
use super::codec::{Codec, DATAGRAM_LEN_MAX};
use super::detector::Detector;
use super::event::{Datagram, HeartbeatEvent, Now};
use super::life::DetectorStatus;
use super::orders::{Desk, Orders, Stop};
use super::place::{Outcome, PathConfig, Place};
use crate::net::EndpointError;

/// Datagrams that are read of a path in one go.
const BATCH: usize = 64;
/// How long nothing is read after a path has brought as many: nobody can take a processor by sending, whatever the thread's priority.
const BREATH_US: u64 = 1000;
/// Microseconds between two publications of a status in which only numbers changed.
const PUBLISH_EVERY_US: u64 = 100_000;
/// Longest sleep.
const SLEEP_US_MAX: u64 = 1_000_000;
/// How often the word that this process stops is said.
const LEAVING_TIMES: usize = 3;

/// What heartbeats are made with.
#[derive(Clone, Debug)]
pub struct HeartbeatConfig {
    /// The redundancy group: the thread is called `hb-` and this.
    pub group: u8,
    /// A number no other life of this process had: random, not zero.
    pub incarnation: u64,
    /// What this chassis states.
    pub timing: BeatTiming,
    /// The keys.
    pub codec: Codec,
    /// The paths, each [`PathId`] at most once.
    pub paths: Vec<PathConfig>,
}

/// Why heartbeats cannot be.
#[derive(Debug, thiserror::Error)]
pub enum HeartbeatError {
    /// Interval or threshold is out of its range.
    #[error("{interval} ms x {threshold} is no timing of heartbeats: 10 to 10000 ms, 3 to 255", interval = .0.interval_ms, threshold = .0.lost_threshold)]
    Timing(BeatTiming),
    /// There is no path.
    #[error("there is no path for heartbeats")]
    NoPath,
    /// A path is there twice.
    #[error("the path {0} is there twice")]
    Twice(PathId),
    /// A path contradicts itself.
    #[error("path {path}: {error}")]
    Path {
        /// The path.
        path: PathId,
        /// What is wrong.
        error: EndpointError,
    },
    /// The thread could not be made.
    #[error("heartbeats: {0}")]
    Thread(#[from] io::Error),
}

/// What is shown of a path's socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPlace {
    /// The path as configured.
    pub config: PathConfig,
    /// What is wrong with its socket, in words: it is retried.
    pub fault: Option<String>,
}

/// What is shown of heartbeats. Times are microseconds of the thread's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatStatus {
    /// When this was so: ages are counted back from here.
    pub at_us: u64,
    /// What was heard and sent.
    pub detector: DetectorStatus,
    /// The sockets, in the order of `detector.paths`.
    pub places: Vec<PathPlace>,
    /// Why the thread runs without real-time priority; nothing when it has it.
    pub no_real_time: Option<String>,
    /// Longest time the thread woke up too late.
    pub late_us_max: u64,
}

/// Heartbeats on their thread. They stop, without a word to the peer, when this is dropped.
#[derive(Debug)]
pub struct Heartbeats {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

/// What is shown of heartbeats, also when they have stopped: then as it was last.
#[derive(Clone, Debug)]
pub struct HeartbeatView(Arc<Desk>);

impl HeartbeatView {
    /// As [`Heartbeats::status`].
    #[must_use]
    pub fn status(&self) -> Arc<HeartbeatStatus> {
        self.0.shown()
    }
}

/// Starts heartbeats on a thread of their own, with real-time priority (SCHED_FIFO, 1) where that is allowed. `on_event` is called on that
/// thread, and must not wait for anything.
///
/// # Errors
/// When the configuration contradicts itself, or there is no thread to be had. Sockets that cannot be made are no error: they are retried, and
/// named in the status.
pub fn run(
    config: HeartbeatConfig,
    on_event: impl FnMut(HeartbeatEvent) + Send + 'static,
) -> Result<Heartbeats, HeartbeatError> {
    check(&config)?;
    let mut paths = config.paths;
    paths.sort_unstable_by_key(|path| path.id);
    let ids = paths.iter().map(|path| path.id);
    let detector = Detector::new(config.codec, config.incarnation, config.timing, ids);
    let clock = Clock(Instant::now());
    let driver = Driver {
        detector,
        places: paths.into_iter().map(Place::new).collect(),
        clock,
        no_real_time: None,
        late_us_max: 0,
        published_us: 0,
        datagrams: Vec::new(),
        events: Vec::new(),
        on_event,
    };
    let desk = Arc::new(Desk::new(driver.status(clock.now()))?);
    let theirs = Arc::clone(&desk);
    let thread = thread::Builder::new()
        .name(format!("hb-{}", config.group))
        .spawn(move || driver.run(&theirs))?;
    Ok(Heartbeats {
        desk,
        thread: Some(thread),
    })
}

fn check(config: &HeartbeatConfig) -> Result<(), HeartbeatError> {
    if !config.timing.is_valid() {
        return Err(HeartbeatError::Timing(config.timing));
    }
    if config.paths.is_empty() {
        return Err(HeartbeatError::NoPath);
    }
    for (index, path) in config.paths.iter().enumerate() {
        let before = config.paths.get(..index).unwrap_or_default();
        if before.iter().any(|other| other.id == path.id) {
            return Err(HeartbeatError::Twice(path.id));
        }
        let checked = path.check();
        checked.map_err(|error| HeartbeatError::Path { path: path.id, error })?;
    }
    Ok(())
}

impl Heartbeats {
    /// What is said of our sets from now on; at once, when it is something new.
    pub fn tell(&self, sets: Vec<SetBeat>) {
        self.desk.order(|orders| orders.sets = Some(sets));
    }

    /// A beat goes out on every path at once. Where nobody takes it, [`HeartbeatEvent::Refused`] says so as soon as the peer's host does.
    pub fn probe(&self) {
        self.desk.order(|orders| orders.probe = true);
    }

    /// What is shown: renewed at every event, and every 100 ms.
    #[must_use]
    pub fn status(&self) -> Arc<HeartbeatStatus> {
        self.desk.shown()
    }

    /// A look at what is shown, for other threads.
    #[must_use]
    pub fn view(&self) -> HeartbeatView {
        HeartbeatView(Arc::clone(&self.desk))
    }

    /// Tells the peer that this process stops cleanly, and stops.
    pub fn leave(mut self) {
        self.stop(Stop::Leaving);
    }

    fn stop(&mut self, how: Stop) {
        if let Some(thread) = self.thread.take() {
            self.desk.order(|orders| orders.stop = Some(how));
            // A panic in `on_event` has ended it before.
            let _ended = thread.join();
        }
    }
}

impl Drop for Heartbeats {
    fn drop(&mut self) {
        self.stop(Stop::Silent);
    }
}

/// Microseconds since the thread began, from 1.
#[derive(Clone, Copy, Debug)]
struct Clock(Instant);

impl Clock {
    fn now(self) -> Now {
        let micros = |since: Duration| u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Now {
            mono_us: micros(self.0.elapsed()).saturating_add(1),
            wall_us: wall.map_or(0, micros),
        }
    }
}

/// All the thread has.
struct Driver<F> {
    detector: Detector,
    places: Vec<Place>,
    clock: Clock,
    no_real_time: Option<String>,
    late_us_max: u64,
    published_us: u64,
    datagrams: Vec<Datagram>,
    events: Vec<HeartbeatEvent>,
    on_event: F,
}

impl<F: FnMut(HeartbeatEvent)> Driver<F> {
    fn run(mut self, desk: &Desk) {
        self.no_real_time = real_time().err();
        loop {
            let Orders { sets, probe, stop } = desk.take();
            if let Some(sets) = sets {
                self.detector.tell(&sets);
            }
            if probe {
                self.detector.probe();
            }
            let before_us = self.clock.now().mono_us;
            self.places.iter_mut().for_each(|place| place.keep(before_us));
            let is_flooded = self.receive();
            let now = self.clock.now();
            if let Some(stop) = stop {
                if stop == Stop::Leaving {
                    for _ in 0..LEAVING_TIMES {
                        self.detector.leave(now, &mut self.datagrams);
                    }
                    self.send();
                }
                return;
            }
            self.detector.poll(now, &mut self.datagrams, &mut self.events);
            self.send();
            // Who hears of an event finds it in the status, or a little later.
            let is_time = now.mono_us >= self.published_us.saturating_add(PUBLISH_EVERY_US);
            if is_time || !self.events.is_empty() {
                // Who looks right now is not waited for: it is shown the next time.
                let is_shown = desk.show(self.status(now));
                self.published_us = if is_shown { now.mono_us } else { 0 };
            }
            self.hand_on();
            self.sleep(desk, is_flooded);
        }
    }

    /// Takes what has come; true when a path has brought more than is taken in one go.
    fn receive(&mut self) -> bool {
        let mut is_flooded = false;
        // One octet more than a heartbeat has, to tell longer ones.
        let mut buffer = [0; DATAGRAM_LEN_MAX + 1];
        for place in &mut self.places {
            let id = place.config.id;
            is_flooded |= (0..BATCH).all(|_| match place.receive(&mut buffer) {
                Outcome::Done(octets) => {
                    let datagram = buffer.get(..octets).unwrap_or_default();
                    let now = self.clock.now();
                    self.detector.received(now, id, datagram, &mut self.events);
                    true
                }
                Outcome::Refused => {
                    self.detector.refused(id, &mut self.events);
                    true
                }
                Outcome::Nothing => false,
            });
        }
        is_flooded
    }

    fn send(&mut self) {
        for Datagram { path, octets } in self.datagrams.drain(..) {
            let place = self.places.iter_mut().find(|place| place.config.id == path);
            match place.map_or(Outcome::Nothing, |place| place.send(&octets)) {
                Outcome::Done(_) => {}
                Outcome::Refused => self.detector.refused(path, &mut self.events),
                Outcome::Nothing => self.detector.send_failed(path),
            }
        }
    }

    fn hand_on(&mut self) {
        for event in self.events.drain(..) {
            if let HeartbeatEvent::PathUp(id) | HeartbeatEvent::PathDown(id) = event {
                let is_up = matches!(event, HeartbeatEvent::PathUp(_));
                let place = self.places.iter_mut().find(|place| place.config.id == id);
                place.into_iter().for_each(|place| place.up = is_up);
            }
            (self.on_event)(event);
        }
    }

    /// Sleeps until something comes or is due.
    fn sleep(&mut self, desk: &Desk, is_flooded: bool) {
        let tries = self.places.iter().filter_map(Place::next_try_us);
        let mut until_us = tries.fold(self.detector.next_timer(), u64::min);
        let now_us = self.clock.now().mono_us;
        until_us = until_us.min(now_us.saturating_add(SLEEP_US_MAX));
        if is_flooded {
            until_us = until_us.min(now_us.saturating_add(BREATH_US));
        }
        let sleep = Duration::from_micros(until_us.saturating_sub(now_us));
        let mut waited = vec![PollFd::new(desk.wake.as_fd(), PollFlags::POLLIN)];
        if !is_flooded {
            let sockets = self.places.iter().filter_map(Place::descriptor);
            waited.extend(sockets.map(|socket| PollFd::new(socket, PollFlags::POLLIN)));
        }
        // Interrupted, or no memory for a moment: the next round looks at everything anyway.
        let _ready = ppoll(&mut waited, Some(TimeSpec::from(sleep)), None);
        let late_us = self.clock.now().mono_us.saturating_sub(until_us.max(now_us));
        self.late_us_max = self.late_us_max.max(late_us);
    }

    fn status(&self, now: Now) -> HeartbeatStatus {
        let place = |place: &Place| PathPlace {
            config: place.config.clone(),
            fault: place.fault().map(str::to_owned),
        };
        HeartbeatStatus {
            at_us: now.mono_us,
            detector: self.detector.status(now),
            places: self.places.iter().map(place).collect(),
            no_real_time: self.no_real_time.clone(),
            late_us_max: self.late_us_max,
        }
    }
}

/// Gives this thread the lowest real-time priority (SCHED_FIFO, 1), so that no amount of ordinary work makes the peer believe this
/// chassis dead, or late to hear that it is.
///
/// # Errors
/// Why the system refuses it, in words.
pub fn real_time() -> Result<(), String> {
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let raised = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy);
    raised.map_err(|error| match error {
        thread_priority::Error::OS(number) => io::Error::from_raw_os_error(number).to_string(),
        other => other.to_string(),
    })
}
