//! The guard process itself: made ready, waiting, and what it does when tandemd is gone.

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SigSet, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_name, set_no_new_privs};

use super::gone::{Gone, Prepared};
use super::undo::{ANSWER, Undo, Word};
use crate::kernel::{KernelError, Rtnl, SignalRoutes};
use crate::track_file;

/// tandemd's first argument when it is to be the guard. Not for people: the guard speaks over its standard input.
pub const ARGUMENT: &str = "--guard";
/// After [`ARGUMENT`]: the log is JSON.
pub(super) const JSON: &str = "json";
/// After [`ARGUMENT`]: ways to the other chassis lead through named network namespaces.
pub(super) const NAMESPACES: &str = "namespaces";

/// Between two of the same words to the peer.
const BETWEEN: Duration = Duration::from_millis(20);
/// Between two attempts to say the first.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(1);
/// The peer is told within this time, or not at all: by then it knows by itself.
const REPEAT_MAX: Duration = Duration::from_secs(3);

/// A pipe that can be written to has room for so many octets: `pipe(7)`.
const PIPE_BUF: usize = 4096;
/// Milliseconds that a line waits for room in the log.
const LOG_PATIENCE: u8 = 20;

/// Why the guard cannot do its work.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("{0}: {1}")]
    System(&'static str, #[source] std::io::Error),
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

fn system<E: Into<std::io::Error>>(what: &'static str) -> impl FnOnce(E) -> Unfit {
    move |error| Unfit::System(what, error.into())
}

/// What came of the undoing.
#[derive(Default)]
struct Account {
    told: usize,
    routes: usize,
    addresses: usize,
    files: usize,
    failures: Vec<String>,
}

/// The guard, from its start to its end. `arguments`: those after [`ARGUMENT`].
#[must_use]
pub fn main(arguments: &[OsString]) -> ExitCode {
    let is_json = arguments.iter().any(|argument| argument == JSON);
    match run(arguments.iter().any(|argument| argument == NAMESPACES), is_json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(is_json, "ERROR", &format!("the guard cannot work: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(needs_namespaces: bool, is_json: bool) -> Result<(), Unfit> {
    let mut guard = Guard::new(needs_namespaces)?;
    loop {
        match Word::receive(&mut guard.line) {
            Ok(Some(Word::List(list))) => {
                let failures = guard.take(list);
                // First of all: whoever reads the log may be slow, and the list is taken.
                guard.answer();
                for failure in failures {
                    say(is_json, "WARN", &failure);
                }
            }
            Ok(Some(Word::CleanStop)) => return Ok(()),
            // What cannot be read comes from no tandemd that still knows what it does.
            Ok(None) | Err(_) => break,
        }
    }
    let begun = Instant::now();
    let mut account = guard.undo();
    let took = begun.elapsed();
    guard.repeat(&mut account);
    let text = format!(
        "tandemd ended without a word: removed {} signal routes and {} virtual addresses, changed {} tracking files in {} us; \
         told the peer by {} of {} ways{}",
        account.routes,
        account.addresses,
        account.files,
        took.as_micros(),
        account.told,
        guard.prepared.len(),
        account
            .failures
            .iter()
            .map(|f| format!("; {f}"))
            .collect::<String>(),
    );
    say(
        is_json,
        if account.failures.is_empty() {
            "INFO"
        } else {
            "WARN"
        },
        &text,
    );
    Ok(())
}

/// One line on standard error, in tandemd's form. Nobody may read it any more: a pipe that is full is not waited for, since the next
/// list is to be taken.
fn say(is_json: bool, level: &str, text: &str) {
    let time = humantime::format_rfc3339_micros(std::time::SystemTime::now());
    let line = if is_json {
        format!(
            "{}\n",
            serde_json::json!({"timestamp": time.to_string(), "level": level, "message": text, "target": "guard"})
        )
    } else {
        format!("{time} {level:>5} guard: {text}\n")
    };
    let mut out = std::io::stderr();
    for part in line.as_bytes().chunks(PIPE_BUF) {
        let is_ready = {
            let mut fds = [PollFd::new(out.as_fd(), PollFlags::POLLOUT)];
            matches!(poll(&mut fds, LOG_PATIENCE), Ok(1))
        };
        if !is_ready {
            return;
        }
        let _unread = out.write_all(part);
    }
}

struct Guard {
    line: UnixStream,
    rtnl: Rtnl,
    routes: SignalRoutes,
    list: Undo,
    prepared: Vec<Prepared>,
}

impl Guard {
    /// Makes the process what it should be, and opens what it needs.
    fn new(needs_namespaces: bool) -> Result<Self, Unfit> {
        // What ends tandemd (a terminal's signal, systemd's to all processes of the unit) does not end it: EOF does.
        let mut blocked = SigSet::empty();
        for signal in [
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGHUP,
            Signal::SIGQUIT,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
        ] {
            blocked.add(signal);
        }
        blocked.thread_block().map_err(system("signals"))?;
        nix::unistd::setsid().map_err(system("session"))?;
        set_name(c"tandem-guard").map_err(system("name"))?;
        std::env::set_current_dir("/").map_err(system("folder"))?;
        super::close_all_but_standard().map_err(system("descriptors"))?;
        let line = std::io::stdin().as_fd().try_clone_to_owned();
        let line = UnixStream::from(line.map_err(system("standard input"))?);
        let (rtnl, routes) = (Rtnl::open()?, SignalRoutes::open()?);
        let mut kept = CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW;
        if needs_namespaces {
            kept |= CapabilitySet::SYS_ADMIN;
        }
        let had = rustix::thread::capabilities(None).map_err(system("capabilities"))?;
        let sets = CapabilitySets {
            effective: kept & had.permitted,
            permitted: kept & had.permitted,
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, sets).map_err(system("capabilities"))?;
        set_no_new_privs(true).map_err(system("no new privileges"))?;
        let mut guard = Self {
            line,
            rtnl,
            routes,
            list: Undo::default(),
            prepared: Vec::new(),
        };
        guard.answer();
        Ok(guard)
    }

    /// tandemd that does not hear the answer is gone, which the next read says.
    fn answer(&mut self) {
        let _gone = self.line.write_all(&[ANSWER]);
    }

    /// Takes a list; sockets are made anew only when the ways have changed. What cannot be prepared is told, and left out.
    fn take(&mut self, list: Undo) -> Vec<String> {
        let mut failures = Vec::new();
        if list.gone != self.list.gone {
            let prepare = |gone: &Gone| match Prepared::new(gone) {
                Ok(prepared) => Some(prepared),
                Err(error) => {
                    failures.push(format!(
                        "no way to tell {} from {} of an end: {error}",
                        gone.peer, gone.local
                    ));
                    None
                }
            };
            self.prepared = list.gone.iter().filter_map(prepare).collect();
        }
        self.list = list;
        failures
    }

    /// Undoes all. The peer is told first: it takes microseconds, while the kernel may hold up the rest until it has removed
    /// tandemd's devices. It does no harm either: nobody moves frames of the virtual addresses any more.
    fn undo(&mut self) -> Account {
        for way in &mut self.prepared {
            // What does not leave now is tried again.
            let _later = way.say();
        }
        let mut account = Account::default();
        for path in &self.list.track_files {
            match track_file::put(path, false) {
                Ok(is_new) => account.files += usize::from(is_new),
                Err(error) => account.failures.push(error.to_string()),
            }
        }
        for route in &self.list.routes {
            match self.routes.take(route) {
                Ok(was_there) => account.routes += usize::from(was_there),
                Err(error) => account.failures.push(error.to_string()),
            }
        }
        for address in &self.list.addresses {
            match address.take(&mut self.rtnl) {
                Ok(was_there) => account.addresses += usize::from(was_there),
                Err(error) => account.failures.push(error.to_string()),
            }
        }
        // What was put in and not yet listed, and what an earlier guard that was killed has left.
        match self.routes.take_all() {
            Ok(count) => account.routes += count,
            Err(error) => account.failures.push(error.to_string()),
        }
        account
    }

    /// Says it some more times to the peer, and where it could not be said until it can.
    fn repeat(&mut self, account: &mut Account) {
        let begun = Instant::now();
        while begun.elapsed() < REPEAT_MAX && !self.prepared.iter().all(Prepared::is_done) {
            let is_all_said = self.prepared.iter().all(Prepared::is_said);
            std::thread::sleep(if is_all_said { BETWEEN } else { BETWEEN_ATTEMPTS });
            for way in self.prepared.iter_mut().filter(|way| !way.is_done()) {
                // Whether it was said at all is told at the end.
                let _later = way.say();
            }
        }
        account.told = self.prepared.iter().filter(|way| way.is_said()).count();
        for way in self.prepared.iter_mut().filter(|way| !way.is_said()) {
            if let Err(error) = way.say() {
                account.failures.push(format!("the peer is not told: {error}"));
            }
        }
    }
}
