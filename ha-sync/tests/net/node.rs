//! A chassis' end of a channel on a thread, with a conversation that says what it is told to and counts what it hears.

use std::cell::Cell;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ha_sync::net::{
    Bind, Channel, ChannelState, Command, Conversation, DEFAULT_PORT, Endpoint, FailureKind, Fingerprint,
    Objection, Security, Status, Stream, Timing, Tls, Trust, keys, run,
};
use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Socket, Type};
use tokio::sync::{mpsc, watch};

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What the conversation can be told.
#[derive(Debug)]
pub enum Tell {
    /// Say these.
    Say(Vec<u8>),
    /// Refuse what comes next, having said these; they are of this connection, not of the next.
    Refuse(&'static [u8]),
}

/// What it has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub connects: u32,
    pub disconnects: u32,
    /// The peer's address that the latest connection was with.
    pub over: Option<IpAddr>,
    pub heard: Vec<u8>,
    pub unsaid: usize,
    /// It has been told to refuse what comes next.
    pub refuses: bool,
    /// How often it was shown.
    pub shown: u32,
}

struct Talk {
    seen: Seen,
    say: Vec<u8>,
    take: Arc<AtomicBool>,
    shown: Cell<u32>,
    refuse: Option<&'static [u8]>,
    last_words: &'static [u8],
    urgent: Arc<AtomicBool>,
    looks: Arc<AtomicU32>,
}

impl Conversation for Talk {
    type Command = Tell;
    type State = Seen;

    fn over(&mut self, peer: IpAddr) {
        self.seen.over = Some(peer);
    }

    fn connected(&mut self, _now_ms: u64) {
        self.seen.connects += 1;
        self.last_words = &[];
    }

    fn disconnected(&mut self, _now_ms: u64) {
        self.seen.disconnects += 1;
    }

    fn receive(&mut self, bytes: &[u8], _now_ms: u64) -> Result<usize, Objection> {
        if let Some(words) = self.refuse.take() {
            self.last_words = words;
            return Err(Objection("not what was agreed".to_owned()));
        }
        if !self.take.load(Ordering::Acquire) {
            return Ok(0);
        }
        self.seen.heard.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn send(&mut self, out: &mut Vec<u8>, room: usize, _now_ms: u64) {
        let now = room.min(self.say.len());
        out.extend(self.say.drain(..now));
        out.extend(std::mem::take(&mut self.last_words));
    }

    fn tick(&mut self, _now_ms: u64) {
        self.looks.fetch_add(1, Ordering::Relaxed);
    }

    fn is_urgent(&self) -> bool {
        self.urgent.load(Ordering::Relaxed)
    }

    fn command(&mut self, command: Tell, _now_ms: u64) {
        match command {
            Tell::Say(bytes) => self.say.extend(bytes),
            Tell::Refuse(words) => self.refuse = Some(words),
        }
    }

    fn state(&self) -> Seen {
        self.shown.update(|shown| shown + 1);
        Seen {
            unsaid: self.say.len(),
            refuses: self.refuse.is_some(),
            shown: self.shown.get(),
            ..self.seen.clone()
        }
    }
}

/// A running end.
pub struct Node {
    commands: mpsc::UnboundedSender<Command<Tell>>,
    status: watch::Receiver<Status<Seen>>,
    take: Arc<AtomicBool>,
    /// Whether what it does is urgent.
    pub urgent: Arc<AtomicBool>,
    /// How often it was looked at.
    pub looks: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    /// Starts one in this process' namespace.
    pub fn start(endpoint: Endpoint) -> Self {
        Self::start_in(None, endpoint)
    }

    /// Starts one whose thread is in a named namespace.
    pub fn start_in(namespace: Option<&str>, endpoint: Endpoint) -> Self {
        let channel = Channel::new(endpoint).expect("endpoint");
        let (commands, mut taken) = mpsc::unbounded_channel();
        let (started, receiver) = std::sync::mpsc::channel();
        let namespace = namespace.map(|name| File::open(format!("/run/netns/{name}")).expect("namespace"));
        let take = Arc::new(AtomicBool::new(true));
        let takes = take.clone();
        let (urgent, looks) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let theirs = (urgent.clone(), looks.clone());
        let thread = std::thread::spawn(move || {
            if let Some(file) = namespace {
                setns(file, CloneFlags::CLONE_NEWNET).expect("setns (root?)");
            }
            let mut talk = Talk {
                seen: Seen::default(),
                say: Vec::new(),
                take: takes,
                shown: Cell::default(),
                refuse: None,
                last_words: &[],
                urgent: theirs.0,
                looks: theirs.1,
            };
            run(&channel, &mut talk, &mut taken, |status| {
                started.send(status).expect("test waits")
            })
            .expect("runtime");
        });
        let status = receiver.recv_timeout(PATIENCE).expect("started");
        Self {
            commands,
            status,
            take,
            urgent,
            looks,
            thread: Some(thread),
        }
    }

    pub fn tell(&self, tell: Tell) {
        self.commands.send(Command::Say(tell)).expect("runs");
    }

    /// Whether it takes what comes from now on, whatever the channel is at.
    pub fn take(&self, take: bool) {
        self.take.store(take, Ordering::Release);
    }

    pub fn status(&self) -> Status<Seen> {
        self.status.borrow().clone()
    }

    /// The status as soon as it is so.
    pub fn until(&self, what: &str, so: impl Fn(&Status<Seen>) -> bool) -> Status<Seen> {
        let end = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if so(&status) {
                return status;
            }
            assert!(Instant::now() < end, "waited in vain: {what}; {status:#?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn until_connected(&self) -> Status<Seen> {
        self.until("connected", |status| {
            status.channel.state == ChannelState::Connected
        })
    }

    pub fn until_failed(&self, kind: FailureKind) -> Status<Seen> {
        self.until(kind.name(), |status| status.channel.counters.failures(kind) > 0)
    }

    /// Stops it as the daemon does.
    pub fn stop(mut self) -> Status<Seen> {
        self.end();
        self.status()
    }

    fn end(&mut self) {
        // It may have ended already.
        let _told = self.commands.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("no panic");
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.end();
        }
    }
}

/// Says something over it in both directions.
pub fn talk(one: &Node, other: &Node) {
    let text = |name: &str| format!("{name} {:?}", Instant::now()).into_bytes();
    for (from, to, said) in [(one, other, text("there")), (other, one, text("back"))] {
        from.tell(Tell::Say(said.clone()));
        to.until("heard", |status| status.conversation.heard.ends_with(&said));
    }
}

/// Two loopback addresses that nobody else uses: of this process and this call.
pub fn addresses() -> (IpAddr, IpAddr) {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [high, low] = u16::try_from(std::process::id() % 60_000)
        .expect("below")
        .to_be_bytes();
    let number = NEXT.fetch_add(2, Ordering::Relaxed);
    let of = |last| IpAddr::V4(Ipv4Addr::new(127, high.wrapping_add(1), low, last));
    (of(number), of(number + 1))
}

/// A folder that goes with the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ha-sync-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("folder");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn keys(&self, name: &str) -> keys::Written {
        keys::write(&self.0, name).expect("keys")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nothing depends on it.
        let _removed = std::fs::remove_dir_all(&self.0);
    }
}

pub fn endpoint(local: IpAddr, peer: IpAddr, security: Security) -> Endpoint {
    Endpoint {
        local,
        peer,
        port: DEFAULT_PORT,
        bind: Bind::None,
        other: None,
        security,
        stream: Stream::default(),
        timing: Timing {
            backoff_max: Duration::from_millis(400),
            ..Timing::default()
        },
    }
}

pub fn pinned(own: &keys::Written, peer: Fingerprint) -> Security {
    Security::Tls(Tls {
        certificate: own.certificate.clone(),
        key: own.key.clone(),
        trust: Trust::Fingerprints(vec![peer]),
    })
}

/// Endpoints of a pair that fits together: the one that listens, and the one that connects.
pub fn pair(folder: &Folder) -> (Endpoint, Endpoint) {
    let (low, high) = addresses();
    let (one, two) = (folder.keys("one"), folder.keys("two"));
    (
        endpoint(low, high, pinned(&one, two.fingerprint)),
        endpoint(high, low, pinned(&two, one.fingerprint)),
    )
}

/// The kind of the last failure.
pub fn last(status: &Status<Seen>) -> Option<FailureKind> {
    status.channel.last_failure.as_ref().map(|failure| failure.kind)
}

/// Connects from a given address, as the peer would, as soon as somebody listens.
pub fn connect_from(from: IpAddr, to: SocketAddr) -> TcpStream {
    let end = Instant::now() + PATIENCE;
    loop {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
        socket.bind(&SocketAddr::new(from, 0).into()).expect("bound");
        if socket.connect(&to.into()).is_ok() {
            socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
            return socket.into();
        }
        assert!(Instant::now() < end, "nobody listens at {to}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
