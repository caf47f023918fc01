//! The thread "routing": routing daemons are looked at once a second, and the end of a process of theirs is seen at once. External
//! checks have a thread each, which ends with its check.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::error;

use super::monitors::Feed;
use crate::config::{ExternalCheck, Redundancy, RoutingProcess, SocketProtocol};
use crate::monitor::{
    CheckOutcome, Condition, Instance, Observation, ProcessHandle, RoutingDaemon, SocketKind, SocketReply,
    ask, read_pid_file, run_check, socket_owner, wait_for_exits,
};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Longest wait for the end of a process: so late a stop or another configuration is seen.
const NAP: Duration = Duration::from_millis(100);
/// How long a control socket may take for its answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Where FRR has its pid files and vty sockets.
const FRR: &str = "/run/frr";
/// BIRD's control socket.
const BIRD: &str = "/run/bird/bird.ctl";

/// A process that is looked at until it ends.
struct Watched {
    daemon: String,
    instance: String,
    handle: ProcessHandle,
}

/// A check whose thread runs until this is dropped, and tells nothing from then on.
struct Check {
    of: ExternalCheck,
    wanted: Arc<Wanted>,
}

impl Drop for Check {
    fn drop(&mut self) {
        self.wanted.end();
    }
}

/// Whether anybody wants a check any more.
#[derive(Default)]
struct Wanted {
    ended: Mutex<bool>,
    changed: Condvar,
}

impl Wanted {
    fn end(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Does it if the check is wanted still; its end waits until it is done.
    fn unless_ended(&self, work: impl FnOnce()) {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if !*ended {
            work();
        }
    }

    /// Waits for the end, for so long; whether it has come.
    fn ends_within(&self, longest: Duration) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(ended, longest, |ended| !*ended);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What the thread works on.
pub(super) struct Watches {
    pub redundancy: Box<Redundancy>,
    pub reloads: Receiver<Box<Redundancy>>,
    pub feed: Feed,
    pub stop: Arc<AtomicBool>,
}

impl Watches {
    /// Runs until told to stop.
    pub(super) fn run(mut self) {
        let mut daemons = BTreeMap::new();
        let mut checks = BTreeMap::new();
        self.follow(&mut checks);
        while !self.stop.load(Ordering::Relaxed) {
            let mut watched = self.look(&mut daemons);
            // From the end of the look: daemons that stand still make it longer than the time between two.
            let next = Instant::now() + LOOK;
            while Instant::now() < next && !self.stop.load(Ordering::Relaxed) {
                while let Ok(redundancy) = self.reloads.try_recv() {
                    self.redundancy = redundancy;
                    self.follow(&mut checks);
                }
                self.wait(&mut watched, &mut daemons);
            }
        }
    }

    /// Looks at all routing daemons of the configuration; their processes that run.
    fn look(&self, daemons: &mut BTreeMap<String, RoutingDaemon>) -> Vec<Watched> {
        let processes = self.redundancy.events.iter();
        let processes: BTreeMap<&str, &RoutingProcess> = processes
            .flat_map(|event| &event.routing_processes)
            .map(|process| (process.name(), process))
            .collect();
        daemons.retain(|name, _| processes.contains_key(name.as_str()));
        let (mut seen, mut watched) = (Vec::new(), Vec::new());
        for (name, process) in processes {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let found = find(process);
            let instances: Vec<Instance> = found.iter().map(|(instance, _)| instance.clone()).collect();
            let daemon = daemons
                .entry(name.to_owned())
                .or_insert_with(|| RoutingDaemon::new(name));
            daemon.look(&instances, &mut seen);
            watched.extend(found.into_iter().filter_map(|(instance, handle)| {
                Some(Watched {
                    daemon: name.to_owned(),
                    instance: instance.name,
                    handle: handle?,
                })
            }));
        }
        self.tell(seen);
        watched
    }

    /// Waits for the end of one of the processes, for a moment.
    fn wait(&self, watched: &mut Vec<Watched>, daemons: &mut BTreeMap<String, RoutingDaemon>) {
        let (names, handles): (Vec<_>, Vec<_>) = std::mem::take(watched)
            .into_iter()
            .map(|one| ((one.daemon, one.instance), one.handle))
            .unzip();
        let ended = wait_for_exits(&handles, NAP).unwrap_or_else(|_| {
            // The next look finds it.
            std::thread::sleep(NAP);
            Vec::new()
        });
        let mut seen = Vec::new();
        for (at, ((daemon, instance), handle)) in names.into_iter().zip(handles).enumerate() {
            if !ended.contains(&at) {
                watched.push(Watched {
                    daemon,
                    instance,
                    handle,
                });
            } else if let Some(known) = daemons.get_mut(&daemon) {
                known.exited(&instance, handle.pid, &mut seen);
            }
        }
        self.tell(seen);
    }

    fn tell(&self, seen: Vec<Observation>) {
        if !seen.is_empty() {
            self.feed.seen(seen);
        }
    }

    /// Starts the checks that are new or otherwise, and ends those that are gone. One that is otherwise ends first, with what it has told:
    /// a run of it may go on, and nothing would put right what that told after the new one.
    fn follow(&self, checks: &mut BTreeMap<String, Check>) {
        let mut before = std::mem::take(checks);
        for event in &self.redundancy.events {
            let Some(check) = &event.check else { continue };
            let old = before.remove(&event.name);
            if let Some(same) = old.filter(|old| old.of == *check) {
                checks.insert(event.name.clone(), same);
                continue;
            }
            let wanted = Arc::new(Wanted::default());
            let (name, of, feed) = (event.name.clone(), check.clone(), self.feed.clone());
            let until = Arc::clone(&wanted);
            let work = move || repeat(&name, &of, &feed, &until);
            let of = check.clone();
            match std::thread::Builder::new().name("check".into()).spawn(work) {
                Ok(_) => drop(checks.insert(event.name.clone(), Check { of, wanted })),
                Err(error) => {
                    error!(event = event.name, %error, "an external check has no thread, and counts as failed");
                    let condition = Condition::Check(event.name.clone());
                    self.tell(vec![Observation::Failed(condition, "it has no thread".into())]);
                }
            }
        }
    }
}

/// Runs a check again and again, until nobody wants it any more.
fn repeat(event: &str, check: &ExternalCheck, feed: &Feed, wanted: &Wanted) {
    let interval = Duration::from_secs(u64::from(check.interval_s));
    let mut last = None;
    loop {
        let begin = Instant::now();
        let outcome = run_check(check);
        let wait = interval.saturating_sub(begin.elapsed());
        if last.as_ref() != Some(&outcome) {
            let condition = Condition::Check(event.to_owned());
            let seen = match &outcome {
                CheckOutcome::Passed => Observation::Well(condition, "the check passes".into()),
                CheckOutcome::Failed(why) => {
                    Observation::Failed(condition, format!("the check fails: {why}"))
                }
                CheckOutcome::TimedOut => Observation::Failed(condition, "the check took too long".into()),
            };
            wanted.unless_ended(|| feed.seen(vec![seen]));
            last = Some(outcome);
        }
        if wanted.ends_within(wait) {
            return;
        }
    }
}

/// The processes of a routing daemon, each with a handle while it runs.
fn find(process: &RoutingProcess) -> Vec<(Instance, Option<ProcessHandle>)> {
    match process {
        RoutingProcess::Frr => frr(Path::new(FRR)),
        RoutingProcess::Bird => {
            let socket = Path::new(BIRD);
            let pid = socket_owner(socket, PATIENCE).ok();
            pid.map(|pid| instance("bird", pid, Some((socket, SocketKind::Greets))))
                .into_iter()
                .collect()
        }
        RoutingProcess::Other {
            name,
            pid_file,
            socket,
            protocol,
        } => {
            let pid = match (pid_file, socket) {
                (Some(file), _) => read_pid_file(file).ok(),
                (None, Some(socket)) => socket_owner(socket, PATIENCE).ok(),
                (None, None) => None,
            };
            let kind = match protocol {
                Some(SocketProtocol::Vty) => SocketKind::Vty,
                Some(SocketProtocol::Bird) => SocketKind::Greets,
                None => SocketKind::Accepts,
            };
            let socket = socket.as_deref().map(|socket| (socket, kind));
            pid.map(|pid| instance(name, pid, socket)).into_iter().collect()
        }
    }
}

/// The daemons of FRR that have a pid file. One without a vty socket is not asked.
fn frr(folder: &Path) -> Vec<(Instance, Option<ProcessHandle>)> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let daemon = |file: std::fs::DirEntry| {
        let path = file.path();
        let name = path.file_name()?.to_str()?.strip_suffix(".pid")?.to_owned();
        let pid = read_pid_file(&path).ok()?;
        let socket = folder.join(format!("{name}.vty"));
        let asked = socket.exists().then_some((socket.as_path(), SocketKind::Vty));
        Some(instance(&name, pid, asked))
    };
    files.filter_map(daemon).collect()
}

fn instance(name: &str, pid: u32, socket: Option<(&Path, SocketKind)>) -> (Instance, Option<ProcessHandle>) {
    let handle = ProcessHandle::open(pid).ok();
    // One that nobody has waited for is still there by its number.
    let handle = handle.filter(|handle| {
        let ended = wait_for_exits(std::slice::from_ref(handle), Duration::ZERO);
        ended.is_ok_and(|ended| ended.is_empty())
    });
    let alive = handle.is_some();
    let answers = socket
        .filter(|_| alive)
        .map(|(path, kind)| ask(path, kind, PATIENCE) == SocketReply::Answered);
    let found = Instance {
        name: name.to_owned(),
        pid,
        alive,
        answers,
    };
    (found, handle)
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::mpsc::channel;

    use super::*;
    use crate::config;
    use crate::daemon::monitors;

    #[test]
    fn frr_is_the_daemons_with_a_pid_file_that_run() {
        let folder = std::env::temp_dir().join(format!("tandem-watches-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut child = Command::new("/bin/sleep").arg("60").spawn().expect("sleep");
        std::fs::write(folder.join("zebra.pid"), format!("{}\n", std::process::id())).expect("written");
        std::fs::write(folder.join("bgpd.pid"), child.id().to_string()).expect("written");
        std::fs::write(folder.join("bgpd.conf"), "1").expect("written");
        let states = || {
            let mut found: Vec<_> = frr(&folder)
                .into_iter()
                .map(|(one, handle)| (one.name, one.alive && handle.is_some(), one.answers))
                .collect();
            found.sort();
            found
        };
        let (bgpd, zebra) = ("bgpd".to_owned(), "zebra".to_owned());
        assert_eq!(
            states(),
            [(bgpd.clone(), true, None), (zebra.clone(), true, None)]
        );
        child.kill().expect("killed");
        child.wait().expect("reaped");
        assert_eq!(states(), [(bgpd, false, None), (zebra, true, None)]);
        std::fs::remove_dir_all(&folder).expect("removed");
        assert_eq!(frr(&folder).len(), 0);
    }

    #[test]
    fn a_reload_is_taken_while_a_daemon_stands_still() {
        let folder = std::env::temp_dir().join(format!("tandem-watches-still-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let socket = folder.join("still.vty");
        // It accepts, by its backlog, and never answers.
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
        let redundancy = |more: &str| {
            let text = format!(
                "[interfaces.a]\ndevice = \"net_ring0\"\n[redundancy-events.e]\n\
                 routing-process = [{{ name = \"still\", socket = {socket:?}, protocol = \"vty\" }}]\n{more}"
            );
            let config = config::parse(&text, "t.toml").unwrap_or_else(|faults| panic!("{faults:#?}"));
            Box::new(config.redundancy)
        };
        let (feed, inbox) = monitors::feed();
        let (reloads, receiver) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let watches = Watches {
            redundancy: redundancy(""),
            reloads: receiver,
            feed,
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::spawn(move || watches.run());
        let check = "check = { command = [\"/bin/true\"], interval-s = 3600, timeout-s = 600 }\n";
        reloads.send(redundancy(check)).expect("it runs");
        let (check, deadline) = (
            Condition::Check("e".into()),
            Instant::now() + Duration::from_secs(60),
        );
        let mut passes = false;
        while !passes && Instant::now() < deadline {
            let seen = inbox.next_seen(Duration::from_secs(1));
            passes = matches!(seen, Some(Observation::Well(of, _)) if of == check);
        }
        stop.store(true, Ordering::Relaxed);
        thread.join().expect("it ends");
        assert!(passes);
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn a_check_that_was_replaced_tells_nothing_any_more() {
        let folder = std::env::temp_dir().join(format!("tandem-watches-replaced-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let (begun, go) = (folder.join("begun"), folder.join("go"));
        let script = format!(
            "touch {}; while ! test -e {}; do sleep 0.05; done; false",
            begun.display(),
            go.display()
        );
        let checks_by = |command: &str| {
            let text = format!(
                "[interfaces.a]\ndevice = \"net_ring0\"\n[redundancy-events.e]\n\
                 check = {{ command = {command}, interval-s = 3600, timeout-s = 600 }}\n"
            );
            let config = config::parse(&text, "t.toml").unwrap_or_else(|faults| panic!("{faults:#?}"));
            Box::new(config.redundancy)
        };
        let (feed, inbox) = monitors::feed();
        let (_reloads, receiver) = channel();
        let mut watches = Watches {
            redundancy: checks_by(&format!("[\"/bin/sh\", \"-c\", \"{script}\"]")),
            reloads: receiver,
            feed,
            stop: Arc::new(AtomicBool::new(false)),
        };
        let mut checks = BTreeMap::new();
        watches.follow(&mut checks);
        let deadline = Instant::now() + Duration::from_secs(30);
        while !begun.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(begun.exists(), "the old one runs");
        watches.redundancy = checks_by("[\"/bin/true\"]");
        watches.follow(&mut checks);
        let next = || inbox.next_seen(Duration::from_secs(30));
        let well = next();
        // The old one's run ends now, and nobody tells anything once both threads have.
        std::fs::write(&go, "").expect("written");
        drop((checks, watches));
        let late = next();
        let check = Condition::Check("e".into());
        assert!(matches!(&well, Some(Observation::Well(of, _)) if *of == check));
        assert_eq!(late, None);
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn the_end_of_a_process_and_of_a_check_is_told() {
        let folder = std::env::temp_dir().join(format!("tandem-watches-run-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut child = Command::new("/bin/sleep").arg("600").spawn().expect("sleep");
        let pid_file = folder.join("x.pid");
        std::fs::write(&pid_file, child.id().to_string()).expect("written");
        let flag = folder.join("flag");
        let text = format!(
            "[redundancy-events.e]\nrouting-process = [{{ name = \"x\", pid-file = \"{}\" }}]\n\
             check = {{ command = [\"/usr/bin/test\", \"!\", \"-e\", \"{}\"], interval-s = 1, timeout-s = 1 }}\n",
            pid_file.display(),
            flag.display()
        );
        let text = format!("[interfaces.a]\ndevice = \"net_ring0\"\n{text}");
        let redundancy = config::parse(&text, "t.toml").unwrap_or_else(|faults| panic!("{faults:#?}"));
        let (feed, inbox) = monitors::feed();
        let (_reloads, receiver) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let watches = Watches {
            redundancy: Box::new(redundancy.redundancy),
            reloads: receiver,
            feed,
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::spawn(|| watches.run());
        let next = || inbox.next_seen(Duration::from_secs(30));
        let check = Condition::Check("e".into());
        assert!(matches!(next(), Some(Observation::Well(of, _)) if of == check));
        std::fs::write(&flag, "").expect("written");
        assert!(matches!(next(), Some(Observation::Failed(of, _)) if of == check));
        child.kill().expect("killed");
        child.wait().expect("reaped");
        let x = Condition::Routing("x".into());
        assert!(matches!(next(), Some(Observation::Failed(of, _)) if of == x));
        stop.store(true, Ordering::Relaxed);
        thread.join().expect("ended");
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
