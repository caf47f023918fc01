//! tandemd's side of the guard: a thread that starts it, keeps it told, and starts another when it dies.
//!
//! The thread has a table of descriptors of its own (`unshare(2)`, CLONE_FILES) with nothing in it but the standard ones and the
//! line to the guard. So the guard inherits nothing of DPDK, taps and sockets. And when tandemd is killed, the kernel closes the
//! line as soon as this one thread is dead: it need not wait for the last thread, which first gives gigabytes of memory back. That
//! this thread is not the last one itself its real-time priority sees to.

use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ha_sync::heartbeat::real_time;
use nix::sched::{CloneFlags, unshare};
use tracing::{error, info, warn};

use super::owed::Owed;
use super::process::{ARGUMENT, JSON, NAMESPACES};
use super::undo::{ANSWER, Undo, WORD_OCTETS_MAX, Word};

/// Between two looks whether the guard lives.
const LOOK: Duration = Duration::from_millis(100);
/// The guard says within this time that it runs, and that it has a list.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// [`Keeper::update`] waits no longer for the list to be written.
const UPDATE_MAX: Duration = Duration::from_millis(200);
/// After a clean stop the guard ends within this time.
const STOP_MAX: Duration = Duration::from_secs(2);
/// Between the starts of two guards that do not live.
const RESTART_MIN: Duration = Duration::from_secs(1);

/// How a guard ends that runs, and does not say that it has taken a list.
const HANGS: &str = "it does not answer";

/// What is started as the guard.
#[derive(Clone, Debug)]
pub struct Program {
    /// tandemd's program.
    pub path: PathBuf,
    /// The log is JSON.
    pub json: bool,
    /// Some way to the other chassis leads through a named network namespace: the guard keeps CAP_SYS_ADMIN for it.
    pub namespaces: bool,
}

impl Program {
    /// The program of this process, also when its file has been replaced meanwhile.
    #[must_use]
    pub fn own(json: bool, namespaces: bool) -> Self {
        Self {
            path: "/proc/self/exe".into(),
            json,
            namespaces,
        }
    }
}

/// Why there is no guard, or why it does not know.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The system refused something.
    #[error("guard: {0}: {1}")]
    System(&'static str, #[source] std::io::Error),
    /// It does not say that it runs, or that it has taken a list.
    #[error("guard: no answer")]
    Silent,
    /// The list is longer than the guard takes; it keeps the one before.
    #[error(
        "guard: the list of what to undo is longer than {WORD_OCTETS_MAX} octets: the guard has the one before"
    )]
    TooLong,
    /// There is none at the moment; another one is started.
    #[error("guard: none runs at the moment")]
    None,
}

/// How the guard is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardState {
    /// The process, if one runs.
    pub pid: Option<u32>,
    /// Guards that were started after one had died, or did not answer any more.
    pub restarts: u64,
    /// How the last one that died ended, that it hung, or why none could be started.
    pub last_end: Option<String>,
    /// The latest list was too long: the guard has the one before.
    pub is_outdated: bool,
}

enum Order {
    /// The new list, and who wants to know that it is written.
    Update(Undo, SyncSender<Result<(), GuardError>>),
    Stop,
}

/// Keeps a guard. Dropped without [`Keeper::stop`], it leaves the guard to undo everything, as a death of tandemd does.
pub struct Keeper {
    orders: Sender<Order>,
    state: Arc<Mutex<GuardState>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Keeper {
    /// Starts a guard in the network namespace of the calling thread, and waits until it runs. To be called before tandemd
    /// opens anything.
    ///
    /// # Errors
    /// When there is none within some seconds.
    pub fn start(program: Program) -> Result<Self, GuardError> {
        let (orders, receiver) = channel();
        let state = Arc::new(Mutex::new(GuardState::default()));
        let (ready, runs) = sync_channel(1);
        let keeping = Keeping {
            program,
            state: Arc::clone(&state),
            list: framed(Undo::default())?,
            guard: None,
            owed: Owed::default(),
            started: None,
        };
        let thread = std::thread::Builder::new()
            .name("guard".into())
            .spawn(move || keeping.run(&receiver, &ready))
            .map_err(|error| GuardError::System("thread", error))?;
        match runs.recv_timeout(ANSWER_MAX + ANSWER_MAX) {
            Ok(Ok(())) => Ok(Self {
                orders,
                state,
                thread: Mutex::new(Some(thread)),
            }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(GuardError::Silent),
        }
    }

    /// Gives the guard the whole list of what to undo, before any of it is put into the kernel. When this returns `Ok`, the
    /// list is written: whatever happens to tandemd, the guard has it. Blocks for a fifth of a second at most.
    ///
    /// # Errors
    /// When no guard runs, or it does not read: the list is kept, and the next guard gets it. When the list is too long: the guard
    /// has the one before, and the next one gets that.
    pub fn update(&self, list: Undo) -> Result<(), GuardError> {
        let (written, done) = sync_channel(1);
        let order = Order::Update(list, written);
        self.orders.send(order).map_err(|_| GuardError::None)?;
        done.recv_timeout(UPDATE_MAX).unwrap_or(Err(GuardError::Silent))
    }

    /// How the guard is now.
    #[must_use]
    pub fn state(&self) -> GuardState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The clean stop: ends the guard, which undoes nothing. What there was to undo has been undone by then. Blocks for some
    /// seconds at most.
    pub fn stop(&self) {
        // A thread that is gone has left its guard to end by itself.
        let _ended = self.orders.send(Order::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            error!("the thread \"guard\" had panicked");
        }
    }
}

/// A running guard.
struct Running {
    child: Child,
    line: UnixStream,
}

/// The thread's own.
struct Keeping {
    program: Program,
    state: Arc<Mutex<GuardState>>,
    /// The latest list that a guard takes, as it is written.
    list: Vec<u8>,
    guard: Option<Running>,
    /// Answers of the guard, to lists it has been given.
    owed: Owed,
    started: Option<Instant>,
}

impl Keeping {
    fn run(mut self, orders: &Receiver<Order>, ready: &SyncSender<Result<(), GuardError>>) {
        // Where it is refused the guard works too, only later.
        if let Err(error) = own_descriptors() {
            warn!(%error, "the guard's thread has no descriptors of its own");
        }
        // The guard inherits it. Without it both wait for their turn behind what the machine has to do, and this thread may be the
        // last of a killed process to go, which gives all memory back before its line closes.
        if let Err(error) = real_time() {
            warn!(
                error,
                "the guard has no real-time priority: after a death it may be late by some tens of milliseconds"
            );
        }
        let begun = self.begin();
        let failed = begun.is_err();
        if ready.send(begun).is_err() || failed {
            return;
        }
        loop {
            match orders.recv_timeout(LOOK) {
                Ok(Order::Update(list, written)) => {
                    // Who has given up waiting is not waited for.
                    let _gone = written.try_send(self.update(list));
                }
                Ok(Order::Stop) => return self.end(),
                Err(RecvTimeoutError::Timeout) => {}
                // No clean stop: the guard undoes all when the line closes here.
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.look();
        }
    }

    fn note(&self, change: impl FnOnce(&mut GuardState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Starts a guard and gives it the list.
    fn begin(&mut self) -> Result<(), GuardError> {
        let failed = |what| move |error| GuardError::System(what, error);
        self.started = Some(Instant::now());
        let (line, theirs) = UnixStream::pair().map_err(failed("socket pair"))?;
        line.set_read_timeout(Some(ANSWER_MAX))
            .map_err(failed("socket pair"))?;
        line.set_write_timeout(Some(UPDATE_MAX))
            .map_err(failed("socket pair"))?;
        let mut command = Command::new(&self.program.path);
        command.arg0("tandemd-guard").arg(ARGUMENT);
        command.args(self.program.json.then_some(JSON));
        command.args(self.program.namespaces.then_some(NAMESPACES));
        let child = command
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()
            .map_err(failed("start"))?;
        // The command keeps the guard's end of the line, by which this end would never be alone.
        drop(command);
        self.guard = Some(Running { child, line });
        self.owed = Owed::default();
        self.hear()?;
        self.tell()?;
        let pid = self.guard.as_ref().map(|guard| guard.child.id());
        self.note(|state| state.pid = pid);
        Ok(())
    }

    /// Waits for the guard's answer.
    fn hear(&mut self) -> Result<(), GuardError> {
        let guard = self.guard.as_mut().ok_or(GuardError::None)?;
        let mut answer = [0];
        match std::io::Read::read_exact(&mut guard.line, &mut answer) {
            Ok(()) if answer == [ANSWER] => Ok(()),
            Ok(()) | Err(_) => Err(GuardError::Silent),
        }
    }

    /// Takes a list over, and writes it. One that is too long is not written: the guard would take it for the end of tandemd.
    fn update(&mut self, list: Undo) -> Result<(), GuardError> {
        let framed = framed(list);
        self.note(|state| state.is_outdated = framed.is_err());
        self.list = framed?;
        self.tell()
    }

    /// Writes the list. The answer, that it is taken, is read when it comes.
    fn tell(&mut self) -> Result<(), GuardError> {
        let guard = self.guard.as_mut().ok_or(GuardError::None)?;
        if let Err(error) = guard.line.write_all(&self.list) {
            // Half a word may be written: this guard is of no use any more.
            self.replace(&format!("it does not take the list: {error}"));
            return Err(GuardError::Silent);
        }
        self.owed.asked();
        Ok(())
    }

    /// Whether the guard still lives; another one, if not.
    fn look(&mut self) {
        let Some(guard) = self.guard.as_mut() else {
            let is_due = self.started.is_none_or(|at| at.elapsed() >= RESTART_MIN);
            if is_due {
                self.restart();
            }
            return;
        };
        self.owed.answered(drain(&guard.line));
        match guard.child.try_wait() {
            Ok(None) if self.owed.is_overdue(Instant::now()) => self.replace(HANGS),
            Ok(None) => {}
            Ok(Some(status)) => self.replace(&status.to_string()),
            Err(error) => self.replace(&error.to_string()),
        }
    }

    /// The guard is dead, or as good as that. Its killing comes first: else it would undo everything now.
    fn replace(&mut self, how: &str) {
        if let Some(mut guard) = self.guard.take() {
            let pid = guard.child.id();
            // It has ended already.
            let _ended = guard.child.kill();
            let _status = guard.child.wait();
            warn!(
                pid,
                how, "the guard process has ended, or is of no use; another one is started"
            );
        }
        self.note(|state| {
            state.pid = None;
            state.last_end = Some(how.to_owned());
        });
    }

    fn restart(&mut self) {
        match self.begin() {
            Ok(()) => {
                self.note(|state| state.restarts += 1);
                let pid = self.guard.as_ref().map(|guard| guard.child.id());
                info!(pid, "another guard process runs");
            }
            Err(error) => self.replace(&error.to_string()),
        }
    }

    fn end(mut self) {
        let Some(mut guard) = self.guard.take() else {
            return;
        };
        let told = Word::CleanStop.send(&mut guard.line);
        let deadline = Instant::now() + STOP_MAX;
        while told.is_ok() && Instant::now() < deadline {
            if !matches!(guard.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        warn!("the guard process does not end by itself");
        let _ended = guard.child.kill();
        let _status = guard.child.wait();
    }
}

/// A list as it is written.
fn framed(list: Undo) -> Result<Vec<u8>, GuardError> {
    Word::List(list).framed().map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => GuardError::TooLong,
        _ => GuardError::System("list", error),
    })
}

/// Takes the answers that have come; how many.
fn drain(line: &UnixStream) -> usize {
    if line.set_nonblocking(true).is_err() {
        return 0;
    }
    let (mut answers, mut count) = ([0; 64], 0);
    while let Ok(read @ 1..) = std::io::Read::read(&mut &*line, &mut answers) {
        count += read;
    }
    if let Err(error) = line.set_nonblocking(false)
        && error.kind() != ErrorKind::Interrupted
    {
        warn!(%error, "the line to the guard");
    }
    count
}

/// A table of descriptors of this thread's own, with the standard ones.
fn own_descriptors() -> std::io::Result<()> {
    unshare(CloneFlags::CLONE_FILES)?;
    super::close_all_but_standard()
}
