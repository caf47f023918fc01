//! One end of the channel: bridge and link over the rings of one worker, on a thread, as the daemon has one.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::thread::JoinHandle;

use ha_sync::bridge::{Bridge, BridgeConfig, BridgeStats, RedundancySet};
use ha_sync::link::{Link, LinkConfig};
use ha_sync::net::{
    Bind, Channel, Command, Conversation, DEFAULT_PORT, Endpoint, LinkCommand, LinkView, Linked, Objection,
    Security, Status, Stream, Timing, Tls, Trust, keys, run,
};
use ha_sync::wire::Dictionary;
use rte_bindings::pin_current_thread;
use tandem_engine::program::Program;
use tandem_engine::replica::Role;
use tokio::sync::{mpsc, watch};

use super::SpeakerEnds;

/// What a speaker shows.
pub type View = LinkView<BridgeStats>;

/// The pair's only redundancy set.
const SET: u8 = 1;

/// A linked bridge that is served before each look at the link.
struct Served(Linked<Bridge, BridgeStats>);

fn serve(link: &mut Link, bridge: &mut Bridge, now: u64) {
    bridge.service(now);
    while bridge.next_event().is_some() {}
    link.announce_roles(&bridge.roles());
}

impl Conversation for Served {
    type Command = LinkCommand<Bridge>;
    type State = View;

    fn connected(&mut self, now_ms: u64) {
        self.0.connected(now_ms);
    }

    fn disconnected(&mut self, now_ms: u64) {
        self.0.disconnected(now_ms);
    }

    fn receive(&mut self, bytes: &[u8], now_ms: u64) -> Result<usize, Objection> {
        self.0.receive(bytes, now_ms)
    }

    fn send(&mut self, out: &mut Vec<u8>, room: usize, now_ms: u64) {
        self.0.send(out, room, now_ms);
    }

    fn tick(&mut self, now_ms: u64) {
        self.0.command(Box::new(serve), now_ms);
        self.0.tick(now_ms);
    }

    fn objection(&self) -> Option<Objection> {
        self.0.objection()
    }

    fn command(&mut self, command: Self::Command, now_ms: u64) {
        self.0.command(command, now_ms);
    }

    fn state(&self) -> View {
        self.0.state()
    }
}

/// A running end.
pub struct Speaker {
    commands: mpsc::UnboundedSender<Command<LinkCommand<Bridge>>>,
    status: watch::Receiver<Status<View>>,
    thread: JoinHandle<std::io::Result<()>>,
}

/// What one end needs for TLS with the other.
pub fn tls(own: &keys::Written, peer: &keys::Written) -> Tls {
    Tls {
        certificate: own.certificate.clone(),
        key: own.key.clone(),
        trust: Trust::Fingerprints(vec![peer.fingerprint]),
    }
}

/// Address of an end, 1 or 2: another pair than that of any other process that runs.
fn address(end: u8) -> IpAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, 128 | high, low, end))
}

impl Speaker {
    /// Starts end 1 or 2 in a role. The configurations are equal by construction, so the digest is any.
    pub fn start(
        end: u8,
        tls: Tls,
        program: &Arc<Program>,
        ends: SpeakerEnds,
        role: Role,
        cpu: usize,
        run_number: u32,
    ) -> anyhow::Result<Self> {
        let channel = Channel::new(Endpoint {
            local: address(end),
            peer: address(3 - end),
            // Another port each run: the last run's connection may still rest.
            port: DEFAULT_PORT + (run_number % 1000) as u16,
            bind: Bind::None,
            other: None,
            security: Security::Tls(tls),
            stream: Stream::default(),
            timing: Timing::default(),
        })?;
        let sets = vec![RedundancySet {
            number: SET,
            service_sets: program.service_sets.iter().map(|s| s.id).collect(),
        }];
        let config = BridgeConfig {
            shards: 0,
            sets,
            tick_zero_ms: 0,
        };
        let mut bridge = Bridge::new(config, Arc::clone(program), vec![ends.outbox], vec![ends.inbox])?;
        bridge.set_role(SET, role, 1);
        let link = Link::new(LinkConfig::new(
            u64::from(end),
            1,
            [0; 32],
            Dictionary::of(program),
        ));
        let (commands, mut taken) = mpsc::unbounded_channel();
        let (started, status) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name(format!("speaker{end}"))
            .spawn(move || {
                pin_current_thread(cpu).map_err(std::io::Error::other)?;
                let mut served = Served(Linked::new(link, bridge, |bridge| *bridge.stats()));
                run(&channel, &mut served, &mut taken, |status| {
                    // Who started it waits for this.
                    let _waits = started.send(status);
                })
            })?;
        Ok(Self {
            commands,
            status: status.recv()?,
            thread,
        })
    }

    /// What it shows; at most 100 ms old.
    pub fn view(&self) -> View {
        self.status.borrow().conversation.clone()
    }

    /// Stops it; what it showed last.
    pub fn stop(self) -> anyhow::Result<View> {
        // One that ended already says below why.
        let _ended = self.commands.send(Command::Stop);
        match self.thread.join() {
            Ok(ended) => ended?,
            Err(_) => anyhow::bail!("a speaker's thread panicked"),
        }
        Ok(self.status.borrow().conversation.clone())
    }
}
