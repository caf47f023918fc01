//! The other chassis of a pair, in this process: a standby's engine on a thread, and on two more what speaks for either end,
//! bridge and link over TLS on loopback. They share the CPU beside the measured worker's.
//!
//! ```text
//!   worker --outbox--> speaker ==TLS==> speaker --inbox--> standby's engine
//!   (its own CPU)      '------- the CPU beside it ----------------------'
//! ```

mod equal;
mod speaker;
mod standby;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ha_sync::bridge::BridgeStats;
use ha_sync::link::LinkStats;
use ha_sync::net::keys;
use rtrb::{Consumer, Producer, RingBuffer};
use tandem_engine::engine::Engine;
use tandem_engine::program::Program;
use tandem_engine::replica::{Op, Role};

use crate::rig::{Case, Ground, Rig, WorkerRig};
use speaker::{Speaker, View};
use standby::Standby;

pub use equal::assert_equal;

/// Operations that can wait in a ring between a worker and its speaker: as many as with the daemon.
const RING: usize = 16_384;
/// How long anything may take before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// A worker's ends of its rings.
pub struct WorkerEnds {
    pub outbox: Producer<Op>,
    pub inbox: Consumer<Op>,
}

/// Its speaker's ends.
pub struct SpeakerEnds {
    pub outbox: Consumer<Op>,
    pub inbox: Producer<Op>,
}

/// The rings between a worker and its speaker.
pub fn rings() -> (WorkerEnds, SpeakerEnds) {
    let ((out, from_worker), (to_worker, inbox)) = (RingBuffer::new(RING), RingBuffer::new(RING));
    let worker = WorkerEnds { outbox: out, inbox };
    let speaker = SpeakerEnds {
        outbox: from_worker,
        inbox: to_worker,
    };
    (worker, speaker)
}

/// The other chassis and both speakers.
pub struct Pair {
    primary: Speaker,
    other: Speaker,
    standby: Standby,
    keys: PathBuf,
}

/// What was counted on the way, and the standby's engine.
pub struct Ended {
    /// The primary's link.
    pub link: LinkStats,
    /// Its bridge.
    pub bridge: BridgeStats,
    /// The standby's link.
    pub heard: LinkStats,
    /// The standby.
    pub engine: Engine,
}

impl Pair {
    /// Starts everything but the primary's worker, which has the other `ends` and runs `program`.
    pub fn start(
        ground: &Ground,
        case: &Case,
        program: &Arc<Program>,
        ends: SpeakerEnds,
        run: u32,
    ) -> anyhow::Result<Self> {
        let cpu = ground.cpu_beside;
        let theirs = ground.program(case)?;
        let (standby_ends, other_ends) = rings();
        let mut engine = case.engine(&theirs, &Arc::default(), run)?;
        engine.connect(standby_ends.outbox);
        let standby = Standby::start(engine, standby_ends.inbox, cpu)?;

        let folder = std::env::temp_dir().join(format!("tandem-bench-{}-{run}", std::process::id()));
        std::fs::create_dir(&folder)?;
        let [one, two] = ["one", "two"].map(|name| keys::write(&folder, name));
        let (one, two) = (one?, two?);
        let tls = [speaker::tls(&one, &two), speaker::tls(&two, &one)];
        let [ours_tls, theirs_tls] = tls;
        let primary = Speaker::start(1, ours_tls, program, ends, Role::Primary, cpu, run)?;
        let other = Speaker::start(2, theirs_tls, &theirs, other_ends, Role::Standby, cpu, run)?;
        Ok(Self {
            primary,
            other,
            standby,
            keys: folder,
        })
    }

    /// Turns the worker until both ends are connected, have nothing left to tell each other, and ports need leases.
    pub fn wait_until_ready(&self, rig: &mut WorkerRig) -> anyhow::Result<()> {
        self.turn_until(rig, "the pair is ready", |rig| {
            let view = self.primary.view();
            view.state.is_active() && view.chassis.leases_required && rig.engine().has_told_all()
        })
        .map(drop)
    }

    /// Turns the worker until the standby has as many sessions as it, and nothing is left to be told; the time that took.
    pub fn wait_until_told(&self, rig: &mut WorkerRig) -> anyhow::Result<Duration> {
        self.turn_until(rig, "the standby is equal", |rig| {
            rig.engine().has_told_all() && self.standby.sessions() == rig.engine().table_use()[0].0
        })
    }

    /// Sessions of the standby now.
    pub fn standby_sessions(&self) -> u32 {
        self.standby.sessions()
    }

    /// What the primary's speaker shows; at most 100 ms old.
    pub fn view(&self) -> View {
        self.primary.view()
    }

    fn turn_until(
        &self,
        rig: &mut WorkerRig,
        what: &str,
        is_so: impl Fn(&WorkerRig) -> bool,
    ) -> anyhow::Result<Duration> {
        let began = Instant::now();
        while !is_so(rig) {
            rig.turn();
            // Speakers may run here, too, while there is nothing else to do.
            std::thread::yield_now();
            anyhow::ensure!(
                began.elapsed() < PATIENCE,
                "gave up waiting until {what}: {:?}, standby has {} sessions, worker {:?}",
                self.primary.view(),
                self.standby.sessions(),
                rig.engine().counters(),
            );
        }
        Ok(began.elapsed())
    }

    /// Ends everything.
    pub fn end(self) -> anyhow::Result<Ended> {
        let primary = self.primary.stop()?;
        let other = self.other.stop()?;
        let engine = self.standby.stop()?;
        std::fs::remove_dir_all(&self.keys)?;
        Ok(Ended {
            link: primary.stats,
            bridge: primary.chassis,
            heard: other.stats,
            engine,
        })
    }
}
