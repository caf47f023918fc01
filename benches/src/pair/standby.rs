//! The standby: an engine on a thread, which installs what it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rte_bindings::pin_current_thread;
use rtrb::Consumer;
use tandem_engine::engine::Engine;
use tandem_engine::replica::Op;
use tandem_engine::ticks::Ticks;

/// Operations installed between two looks at timers: as a worker does.
const INSTALLS: usize = 64;
/// Sessions looked at by the timer between.
const EXPIRE: usize = 32;
/// How long it sleeps when there is nothing to do: an idle worker's first step.
const NAP: Duration = Duration::from_micros(50);

/// A running standby.
pub struct Standby {
    sessions: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Engine>>,
}

impl Standby {
    /// Starts it on a CPU.
    pub fn start(engine: Engine, inbox: Consumer<Op>, cpu: usize) -> anyhow::Result<Self> {
        let (sessions, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let (shown, stopped) = (Arc::clone(&sessions), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("standby".into())
            .spawn(move || {
                pin_current_thread(cpu)?;
                Ok(install(engine, inbox, &shown, &stopped))
            })?;
        Ok(Self {
            sessions,
            stop,
            thread,
        })
    }

    /// Sessions it has.
    pub fn sessions(&self) -> u32 {
        self.sessions.load(Ordering::Acquire)
    }

    /// Stops it; its engine.
    pub fn stop(self) -> anyhow::Result<Engine> {
        self.stop.store(true, Ordering::Release);
        match self.thread.join() {
            Ok(engine) => engine,
            Err(_) => anyhow::bail!("the standby's thread panicked"),
        }
    }
}

fn install(mut engine: Engine, mut inbox: Consumer<Op>, sessions: &AtomicU32, stop: &AtomicBool) -> Engine {
    let began = Instant::now();
    while !stop.load(Ordering::Acquire) {
        let now = Ticks((began.elapsed().as_millis() / 100) as u32);
        let count = inbox.slots().min(INSTALLS);
        if let Ok(chunk) = inbox.read_chunk(count) {
            // What could not be done the engine has counted, and the comparison at the end finds it.
            let (first, second) = chunk.as_slices();
            engine.install_all(first, now);
            engine.install_all(second, now);
            chunk.commit_all();
        }
        engine.maintain(now, EXPIRE);
        sessions.store(engine.table_use()[0].0, Ordering::Release);
        if count == 0 {
            std::thread::sleep(NAP);
        }
    }
    engine
}
