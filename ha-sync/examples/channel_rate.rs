//! How fast bytes go over the channel: 4 million records of 64 octets over loopback, with TLS and without, both ends on this machine.
//!
//! `cargo run --release -p ha-sync --example channel_rate [RECORDS]`

use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::{Duration, Instant};

use ha_sync::net::{
    Bind, Channel, Command, Conversation, DEFAULT_PORT, Endpoint, Objection, Security, Stream, Timing, Tls,
    Trust, keys, run,
};
use tokio::sync::mpsc;

const RECORD_LEN: usize = 64;

/// Says numbered records, or checks that they come in order.
struct Records {
    say: u64,
    said: u64,
    heard: u64,
    began: Option<Instant>,
}

impl Records {
    fn new(say: u64) -> Self {
        Self {
            say,
            said: 0,
            heard: 0,
            began: None,
        }
    }
}

impl Conversation for Records {
    type Command = ();
    type State = (u64, Option<Duration>);

    fn connected(&mut self, _now_ms: u64) {
        self.began = Some(Instant::now());
    }

    fn disconnected(&mut self, _now_ms: u64) {}

    fn receive(&mut self, bytes: &[u8], _now_ms: u64) -> Result<usize, Objection> {
        let (records, _rest) = bytes.as_chunks::<RECORD_LEN>();
        for record in records {
            if !record.starts_with(&self.heard.to_be_bytes()) {
                return Err(Objection(format!("record {} is missing", self.heard)));
            }
            self.heard += 1;
        }
        Ok(records.len() * RECORD_LEN)
    }

    fn send(&mut self, out: &mut Vec<u8>, room: usize, _now_ms: u64) {
        let many = (room / RECORD_LEN) as u64;
        for number in (self.said..self.say).take(usize::try_from(many).unwrap_or(usize::MAX)) {
            let mut record = [0x5a; RECORD_LEN];
            record[..8].copy_from_slice(&number.to_be_bytes());
            out.extend_from_slice(&record);
            self.said += 1;
        }
    }

    fn tick(&mut self, _now_ms: u64) {}

    fn command(&mut self, (): (), _now_ms: u64) {}

    fn state(&self) -> Self::State {
        (self.heard, self.began.map(|began| began.elapsed()))
    }
}

fn measure(records: u64, low: Security, high: Security, name: &str) {
    let address = |last| IpAddr::V4(Ipv4Addr::new(127, 47, 93, last));
    let endpoint = |local, peer, security| Endpoint {
        local: address(local),
        peer: address(peer),
        port: DEFAULT_PORT,
        bind: Bind::None,
        other: None,
        security,
        stream: Stream::default(),
        timing: Timing::default(),
    };
    let start = |endpoint: Endpoint, say| {
        let channel = Channel::new(endpoint).expect("endpoint");
        let (commands, mut taken) = mpsc::unbounded_channel();
        let (started, status) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            run(&channel, &mut Records::new(say), &mut taken, |status| {
                drop(started.send(status))
            })
            .expect("runtime");
        });
        (commands, status.recv().expect("started"), thread)
    };
    let (stop_listener, listener, one) = start(endpoint(1, 2, low), 0);
    let (stop_connector, _connector, other) = start(endpoint(2, 1, high), records);
    let took = loop {
        let (heard, took) = listener.borrow().conversation;
        if heard == records {
            break took.expect("connected");
        }
        thread::sleep(Duration::from_millis(5));
    };
    let cipher = listener
        .borrow()
        .channel
        .secured
        .as_ref()
        .map(|secured| secured.cipher.clone());
    for stop in [stop_listener, stop_connector] {
        stop.send(Command::Stop).expect("runs");
    }
    one.join().expect("no panic");
    other.join().expect("no panic");
    let seconds = took.as_secs_f64();
    let mega = 1e6 * seconds;
    println!(
        "{name}: {records} records of {RECORD_LEN} octets in {seconds:.2} s: {:.0} MB/s, {:.2} million records/s ({})",
        (records * RECORD_LEN as u64) as f64 / mega,
        records as f64 / mega,
        cipher.as_deref().unwrap_or("no cipher"),
    );
}

fn main() {
    let records = std::env::args()
        .nth(1)
        .map_or(4_000_000, |text| text.parse().expect("a number of records"));
    let folder = std::env::temp_dir().join(format!("channel-rate-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("folder");
    let [one, two] = ["one", "two"].map(|name| keys::write(&folder, name).expect("keys"));
    let tls = |own: &keys::Written, peer: &keys::Written| {
        let trust = Trust::Fingerprints(vec![peer.fingerprint]);
        Security::Tls(Tls {
            certificate: own.certificate.clone(),
            key: own.key.clone(),
            trust,
        })
    };
    measure(records, tls(&one, &two), tls(&two, &one), "TLS 1.3");
    measure(records, Security::None, Security::None, "plain");
    std::fs::remove_dir_all(&folder).expect("removed");
}
