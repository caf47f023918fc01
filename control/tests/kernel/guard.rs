//! The guard: a real one, started by a parent that is then killed, stopped, or loses it.

use std::io::{BufRead, BufReader, Lines, PipeWriter, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use nix::unistd::{Pid, getsid};
use tandem_control::guard::{Gone, Keeper, Program, Undo};
use tandem_control::kernel::{
    KernelRoute, Rtnl, SignalRoute, SignalRoutes, SignalTable, SignalTarget, Tap, VirtualAddress,
};
use tandem_control::track_file;

use crate::lab::{Namespace, WAIT_MAX};

const LAST_WORDS: &[u8] = b"this one is gone";

fn program() -> Program {
    Program {
        path: env!("CARGO_BIN_EXE_tandemd").into(),
        json: false,
        namespaces: false,
    }
}

/// The heartbeats' port; tandemd and its peer have each an address of the same machine.
const PORT: u16 = 7100;
const OURS: [u8; 4] = [127, 0, 0, 1];
const PEERS: [u8; 4] = [127, 0, 0, 2];

/// A heartbeat's socket: it hears the other end and nobody else.
fn heartbeats(local: [u8; 4], peer: [u8; 4], can_share: bool) -> UdpSocket {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, None).expect("socket");
    setsockopt(&socket, sockopt::ReusePort, &can_share).expect("option");
    let [local, peer] = [local, peer].map(|address| SockaddrStorage::from(SocketAddr::from((address, PORT))));
    bind(socket.as_raw_fd(), &local).expect("bound");
    connect(socket.as_raw_fd(), &peer).expect("connected");
    socket.into()
}

/// What the tests have the guard undo: a route that is listed, an address, and a way to the peer on the same machine.
fn undo(ifindex: u32) -> Undo {
    Undo {
        routes: vec![listed()],
        addresses: vec![VirtualAddress {
            ifindex,
            address: [10, 0, 0, 9].into(),
            length: 24,
        }],
        track_files: vec![tracked(std::process::id())],
        gone: vec![Gone {
            local: OURS.into(),
            peer: PEERS.into(),
            port: PORT,
            device: None,
            namespace: None,
            octets: LAST_WORDS.to_vec(),
        }],
    }
}

fn listed() -> KernelRoute {
    KernelRoute {
        prefix: "198.51.100.0/24".parse().expect("a prefix"),
        table: 254,
        target: tandem_control::kernel::KernelTarget::Discard,
        metric: Some(0xff_fff0),
    }
}

/// The tracking file of the process with a guard.
fn tracked(process: u32) -> PathBuf {
    std::env::temp_dir().join(format!("tandem-guard-track-file-{process}"))
}

/// What it says, at the end of the test.
fn last_number(process: u32) -> String {
    let path = tracked(process);
    let said = std::fs::read_to_string(&path).expect("it was written");
    std::fs::remove_file(path).expect("removed");
    said
}

/// Puts in what the guard knows, and a route that it does not know.
fn put_in(undo: &Undo) {
    let (mut rtnl, mut routes) = (
        Rtnl::open().expect("socket"),
        SignalRoutes::open().expect("socket"),
    );
    let unlisted = SignalRoute {
        prefix: "2001:db8:7::/48".parse().expect("a prefix"),
        table: SignalTable::Number(1000),
        target: SignalTarget::Receive,
        metric: None,
    };
    let unlisted = routes.resolve(&mut rtnl, &unlisted).expect("resolved");
    for route in undo.routes.iter().chain([&unlisted]) {
        assert!(routes.put(route).expect("put"));
    }
    for address in &undo.addresses {
        assert!(address.put(&mut rtnl).expect("put"));
    }
    for path in &undo.track_files {
        assert!(track_file::put(path, true).expect("written"));
    }
}

/// How many signal routes there are, and whether the address is still there.
struct Look(SignalRoutes, Namespace);

impl Look {
    fn new(namespace: Namespace) -> Self {
        Self(namespace.inside(SignalRoutes::open).expect("socket"), namespace)
    }

    fn routes(&mut self) -> usize {
        self.0.list().expect("a dump").len()
    }

    fn has_address(&self) -> bool {
        let arguments = ["-n", &self.1.name, "address", "show", "dev", "p0"];
        let output = Command::new("ip").args(arguments).output().expect("ip starts");
        String::from_utf8_lossy(&output.stdout).contains("10.0.0.9/24")
    }

    fn await_undone(&mut self) {
        let deadline = Instant::now() + WAIT_MAX;
        while self.routes() > 0 || self.has_address() {
            assert!(Instant::now() < deadline, "the guard undoes everything");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A process with a guard, in the namespace.
struct Parent {
    process: Child,
    orders: ChildStdin,
    /// Open to its end: what it says then must find a reader.
    _said: Lines<BufReader<ChildStdout>>,
    guard: u32,
}

/// Set for the process that plays tandemd: the tap's number, and whether its heartbeats' socket lets the guard's beside it.
const PLAY: &str = "TANDEM_TEST_GUARD_PARENT";

impl Parent {
    fn new(namespace: &Namespace, tap: &Tap, can_share: bool) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command
            .args(["guard::plays_tandemd", "--exact", "--ignored", "--nocapture"])
            .env(PLAY, format!("{} {can_share}", tap.ifindex()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = namespace.inside(|| command.spawn()).expect("it starts");
        let orders = process.stdin.take().expect("piped");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let guard = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, number) = line.split_once("guard ")?;
            number.parse().ok()
        });
        Self {
            process,
            orders,
            _said: lines,
            guard: guard.expect("it says that it is ready"),
        }
    }
}

/// Not a test: the process that the tests start and kill.
#[test]
#[ignore = "a part of other tests, which start it"]
fn plays_tandemd() {
    let Ok(play) = std::env::var(PLAY) else { return };
    let (ifindex, can_share) = play.split_once(' ').expect("two words");
    let undo = undo(ifindex.parse().expect("a number"));
    let keeper = Keeper::start(program()).expect("a guard");
    keeper.update(undo.clone()).expect("told");
    put_in(&undo);
    // As a daemon has: much to give back at its end.
    let memory = vec![1u8; 256 << 20];
    let heartbeats = heartbeats(OURS, PEERS, can_share == "true");
    println!("\nguard {}", keeper.state().pid.expect("it runs"));
    let mut order = String::new();
    std::io::stdin().read_line(&mut order).expect("an order");
    assert_eq!(memory[memory.len() / 2], 1);
    drop(heartbeats);
    if order.trim() == "stop" {
        keeper.stop();
    }
}

fn is_alive(pid: u32) -> bool {
    // A zombie is none.
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status
        .rsplit_once(") ")
        .is_some_and(|(_, state)| !state.starts_with('Z'))
}

fn await_end(pid: u32) {
    let deadline = Instant::now() + WAIT_MAX;
    while is_alive(pid) {
        assert!(Instant::now() < deadline, "process {pid} ends");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn prepared() -> (Namespace, Tap, UdpSocket) {
    let namespace = Namespace::new();
    let tap = namespace.tap("p0", 1);
    let peer = namespace.inside(|| heartbeats(PEERS, OURS, false));
    peer.set_read_timeout(Some(WAIT_MAX)).expect("timeout");
    (namespace, tap, peer)
}

fn assert_said(peer: &UdpSocket) {
    let mut datagram = [0; 64];
    let length = peer.recv(&mut datagram).expect("the guard says it");
    assert_eq!(&datagram[..length], LAST_WORDS);
}

#[test]
fn a_killed_parent_is_undone_at_once_and_its_peer_told() {
    let (namespace, tap, peer) = prepared();
    let mut parent = Parent::new(&namespace, &tap, true);
    let mut look = Look::new(namespace);
    assert_eq!((look.routes(), look.has_address()), (2, true));
    let status = std::fs::read_to_string(format!("/proc/{}/status", parent.guard)).expect("it runs");
    let line = |key: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .map(str::trim)
    };
    assert_eq!(
        line("CapPrm:"),
        Some("0000000000003000"),
        "CAP_NET_ADMIN and CAP_NET_RAW"
    );
    assert_eq!(line("NoNewPrivs:"), Some("1"));
    assert_eq!(line("Name:"), Some("tandem-guard"));
    let guard = Pid::from_raw(parent.guard.cast_signed());
    assert_eq!(
        getsid(Some(guard)).expect("it runs"),
        guard,
        "a session of its own"
    );
    let descriptors = std::fs::read_dir(format!("/proc/{guard}/fd"))
        .expect("it runs")
        .count();
    assert!(
        descriptors <= 8,
        "{descriptors}: standard ones, the line, netlink, the peer"
    );
    kill(guard, Signal::SIGTERM).expect("sent");

    let begun = Instant::now();
    parent.process.kill().expect("killed");
    assert_said(&peer);
    let told = begun.elapsed();
    look.await_undone();
    eprintln!(
        "kill -9: peer told after {told:?}, all undone after {:?}",
        begun.elapsed()
    );
    parent.process.wait().expect("dead");
    await_end(parent.guard);
    assert_eq!(last_number(parent.process.id()), "1\n", "VRRP is told");
}

#[test]
fn the_peer_is_told_also_when_the_heartbeats_port_comes_free_late() {
    let (namespace, tap, peer) = prepared();
    let mut parent = Parent::new(&namespace, &tap, false);
    let mut look = Look::new(namespace);
    let begun = Instant::now();
    parent.process.kill().expect("killed");
    assert_said(&peer);
    eprintln!("kill -9, port not shared: peer told after {:?}", begun.elapsed());
    look.await_undone();
    parent.process.wait().expect("dead");
    await_end(parent.guard);
    assert_eq!(last_number(parent.process.id()), "1\n");
}

#[test]
fn a_clean_stop_ends_the_guard_which_undoes_nothing() {
    let (namespace, tap, peer) = prepared();
    let mut parent = Parent::new(&namespace, &tap, true);
    let mut look = Look::new(namespace);
    writeln!(parent.orders, "stop").expect("written");
    assert!(parent.process.wait().expect("it ends").success());
    await_end(parent.guard);
    assert_eq!(
        (look.routes(), look.has_address()),
        (2, true),
        "nothing is undone"
    );
    assert_eq!(last_number(parent.process.id()), "0\n", "nor is this");
    peer.set_nonblocking(true).expect("set");
    assert!(peer.recv(&mut [0; 64]).is_err(), "nothing is said");
}

#[test]
fn a_guard_that_is_killed_is_replaced_and_the_new_one_has_the_list() {
    let (namespace, tap, peer) = prepared();
    let undo = undo(tap.ifindex());
    let keeper = namespace.inside(|| Keeper::start(program())).expect("a guard");
    keeper.update(undo.clone()).expect("told");
    namespace.inside(|| put_in(&undo));
    let mut look = Look::new(namespace);
    let first = keeper.state().pid.expect("it runs");
    assert_eq!(keeper.state().restarts, 0);
    kill(Pid::from_raw(first.cast_signed()), Signal::SIGKILL).expect("sent");
    await_replaced(&keeper, first, "SIGKILL", &mut look);
    // Its keeper ends without a word.
    drop(keeper);
    assert_said(&peer);
    look.await_undone();
    assert_eq!(last_number(std::process::id()), "1\n");
}

/// Waits until another guard has taken the place of `first`, which ended `how`; it has undone nothing.
fn await_replaced(keeper: &Keeper, first: u32, how: &str, look: &mut Look) {
    let deadline = Instant::now() + WAIT_MAX;
    while keeper.state().restarts == 0 {
        assert!(Instant::now() < deadline, "another one is started");
        std::thread::sleep(Duration::from_millis(5));
    }
    let state = keeper.state();
    assert!(state.pid.is_some_and(|pid| pid != first));
    assert!(state.last_end.is_some_and(|end| end.contains(how)));
    assert_eq!(
        (look.routes(), look.has_address()),
        (2, true),
        "nothing is undone"
    );
}

#[test]
fn a_guard_that_hangs_is_replaced_and_undoes_nothing() {
    let (namespace, tap, peer) = prepared();
    let undo = Undo {
        // That of this process another test has.
        track_files: Vec::new(),
        ..undo(tap.ifindex())
    };
    let keeper = namespace.inside(|| Keeper::start(program())).expect("a guard");
    namespace.inside(|| put_in(&undo));
    let mut look = Look::new(namespace);
    let first = keeper.state().pid.expect("it runs");
    kill(Pid::from_raw(first.cast_signed()), Signal::SIGSTOP).expect("sent");
    // It is written, and nobody reads it.
    keeper.update(undo).expect("told");
    await_replaced(&keeper, first, "does not answer", &mut look);
    drop(keeper);
    assert_said(&peer);
    // The new one has the list.
    look.await_undone();
}

#[test]
fn a_list_that_is_too_long_is_refused_and_the_guard_keeps_the_one_before() {
    let (namespace, tap, peer) = prepared();
    let undo = Undo {
        // That of this process another test has.
        track_files: Vec::new(),
        ..undo(tap.ifindex())
    };
    let keeper = namespace.inside(|| Keeper::start(program())).expect("a guard");
    keeper.update(undo.clone()).expect("told");
    namespace.inside(|| put_in(&undo));
    let mut look = Look::new(namespace);
    let first = keeper.state().pid.expect("it runs");
    let too_long = Undo {
        track_files: vec!["f".repeat(64 << 20).into()],
        ..Undo::default()
    };
    assert!(keeper.update(too_long).is_err());
    let deadline = Instant::now() + WAIT_MAX;
    while !keeper.state().is_outdated {
        assert!(Instant::now() < deadline, "it says so");
        std::thread::sleep(Duration::from_millis(5));
    }
    // Longer than between two looks at the guard.
    std::thread::sleep(Duration::from_millis(300));
    let state = keeper.state();
    assert_eq!((state.pid, state.restarts), (Some(first), 0));
    assert_eq!(
        (look.routes(), look.has_address()),
        (2, true),
        "nothing is undone"
    );
    // Another one has the list that this one had.
    kill(Pid::from_raw(first.cast_signed()), Signal::SIGKILL).expect("sent");
    await_replaced(&keeper, first, "SIGKILL", &mut look);
    assert!(keeper.state().is_outdated);
    drop(keeper);
    assert_said(&peer);
    look.await_undone();
}

#[test]
fn a_list_that_fits_again_is_told() {
    let namespace = Namespace::new();
    let keeper = namespace.inside(|| Keeper::start(program())).expect("a guard");
    let with = |length| Undo {
        track_files: vec!["f".repeat(length).into()],
        ..Undo::default()
    };
    assert!(keeper.update(with(64 << 20)).is_err());
    let deadline = Instant::now() + WAIT_MAX;
    // It may take longer than is waited for.
    while keeper.update(Undo::default()).is_err() {
        assert!(Instant::now() < deadline, "told");
    }
    assert!(!keeper.state().is_outdated);
    keeper.stop();
}

#[test]
fn a_program_that_is_no_guard_is_an_error() {
    let wrong = Program {
        path: "/bin/true".into(),
        ..program()
    };
    assert!(Keeper::start(wrong).is_err());
    let missing = Program {
        path: "/nonexistent".into(),
        ..program()
    };
    assert!(Keeper::start(missing).is_err());
}

#[test]
fn a_log_that_nobody_reads_holds_up_no_answer() {
    let (mut reader, mut full) = std::io::pipe().expect("a pipe");
    let has_room = |pipe: &PipeWriter| {
        let mut fds = [PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)];
        poll(&mut fds, PollTimeout::ZERO).expect("looked at") > 0
    };
    while has_room(&full) {
        full.write_all(&[b'x'; 4096]).expect("there is room");
    }
    let (mut line, theirs) = UnixStream::pair().expect("a line");
    line.set_read_timeout(Some(WAIT_MAX)).expect("timeout");
    let namespace = Namespace::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tandemd"));
    command
        .arg("--guard")
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(full);
    let mut guard = namespace.inside(|| command.spawn()).expect("it starts");
    drop(command);
    line.read_exact(&mut [0]).expect("it is ready");
    // Each with a way that leads nowhere, which it says.
    for device in ["none0", "none1", "none2"] {
        let mut list = undo(1);
        list.gone[0].device = Some(device.to_owned());
        let word = serde_json::to_vec(&serde_json::json!({ "List": list })).expect("JSON");
        let length = u32::try_from(word.len()).expect("short").to_be_bytes();
        line.write_all(&[&length[..], &word].concat()).expect("written");
        line.read_exact(&mut [0])
            .unwrap_or_else(|error| panic!("{device}: {error}"));
    }
    guard.kill().expect("killed");
    guard.wait().expect("dead");
    let mut said = Vec::new();
    reader.read_to_end(&mut said).expect("read");
    assert!(said.iter().all(|octet| *octet == b'x'), "nobody waited for room");
}
