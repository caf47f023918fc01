//! A link and its chassis over the channel: leases, roles and refusals cross a real connection.

use std::collections::VecDeque;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ha_sync::chassis::{Chassis, PeerEvent, SetRole};
use ha_sync::link::{Link, LinkConfig, LinkState};
use ha_sync::net::{Channel, Command, Endpoint, FailureKind, LinkCommand, LinkView, Linked, Status, run};
use ha_sync::wire::Dictionary;
use tandem_engine::replica::{Lease, LeaseChange, Mark, Op};
use tokio::sync::{mpsc, watch};

use crate::node::{Folder, PATIENCE, pair};

/// Offers leases, and takes note of what becomes of them.
#[derive(Debug, Default)]
struct Leases {
    offer: VecDeque<Lease>,
    acknowledged: Vec<Lease>,
    told: Vec<Lease>,
}

impl Chassis for Leases {
    fn next(&mut self) -> Option<Op> {
        None
    }

    fn install(&mut self, _op: &Op) -> bool {
        true
    }

    fn next_lease(&mut self) -> Option<LeaseChange> {
        self.offer.pop_front().map(LeaseChange::Offer)
    }

    fn lease_acknowledged(&mut self, lease: Lease) {
        self.acknowledged.push(lease);
    }

    fn mark_acknowledged(&mut self, mark: Mark) {
        panic!("{mark:?} was never made");
    }

    fn lease_told(&mut self, change: LeaseChange) {
        if let LeaseChange::Offer(lease) = change {
            self.told.push(lease);
        }
    }

    fn peer(&mut self, _event: PeerEvent) {}
}

type Shown = (Vec<Lease>, Vec<Lease>);

struct End {
    commands: mpsc::UnboundedSender<Command<LinkCommand<Leases>>>,
    status: watch::Receiver<Status<LinkView<Shown>>>,
    thread: JoinHandle<()>,
}

impl End {
    fn start(endpoint: Endpoint, incarnation: u64, shards: u8, digest: u8) -> Self {
        let channel = Channel::new(endpoint).expect("endpoint");
        let (commands, mut taken) = mpsc::unbounded_channel();
        let (started, status) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let config = LinkConfig::new(incarnation, shards, [digest; 32], Dictionary::default());
            let shown = |leases: &Leases| (leases.acknowledged.clone(), leases.told.clone());
            let mut linked = Linked::new(Link::new(config), Leases::default(), shown);
            run(&channel, &mut linked, &mut taken, |status| {
                started.send(status).expect("test waits")
            })
            .expect("runtime");
        });
        let status = status.recv_timeout(PATIENCE).expect("started");
        Self {
            commands,
            status,
            thread,
        }
    }

    fn command(&self, command: impl FnOnce(&mut Link, &mut Leases, u64) + Send + 'static) {
        self.commands.send(Command::Say(Box::new(command))).expect("runs");
    }

    fn until(&self, what: &str, so: impl Fn(&Status<LinkView<Shown>>) -> bool) -> Status<LinkView<Shown>> {
        let end = Instant::now() + PATIENCE;
        loop {
            let status = self.status.borrow().clone();
            if so(&status) {
                return status;
            }
            assert!(Instant::now() < end, "waited in vain: {what}; {status:#?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn stop(self) {
        self.commands.send(Command::Stop).expect("runs");
        self.thread.join().expect("no panic");
    }
}

fn connected(status: &Status<LinkView<Shown>>) -> bool {
    matches!(status.conversation.state, LinkState::Connected { .. })
}

#[test]
fn leases_and_roles_cross_and_a_restarted_peer_is_greeted_again() {
    let folder = Folder::new("linked");
    let (low, high) = pair(&folder);
    let (one, two) = (End::start(low, 7, 4, 1), End::start(high.clone(), 8, 4, 1));
    let lease = Lease {
        public: 0x2000_0001,
        extent: 3,
    };
    one.command(move |_, leases, _| leases.offer.push_back(lease));
    two.until("told", |status| status.conversation.chassis.1 == [lease]);
    one.until("acknowledged", |status| status.conversation.chassis.0 == [lease]);
    let roles = [SetRole {
        set: 1,
        primary: true,
        epoch: 5,
    }];
    two.command(move |link, _, _| link.announce_roles(&roles));
    one.until("roles", |status| status.conversation.peer_roles == roles);
    two.stop();
    one.until("gone", |status| {
        status.conversation.state == LinkState::Disconnected
    });
    let two = End::start(high, 9, 4, 1);
    let status = one.until("again", |status| {
        connected(status) && status.conversation.stats.connects == 2
    });
    assert_eq!(status.conversation.stats.resumes, 0);
    two.stop();
    one.stop();
}

#[test]
fn other_configurations_and_other_shards_are_named() {
    let folder = Folder::new("linked-other");
    let (low, high) = pair(&folder);
    let (one, two) = (End::start(low, 7, 4, 1), End::start(high.clone(), 8, 4, 2));
    one.until("suspended", |status| {
        matches!(status.conversation.state, LinkState::Suspended(_))
    });
    two.command(|link, _, _| link.set_digest([1; 32]));
    one.until("agreed", connected);
    two.stop();
    let two = End::start(high, 9, 2, 1);
    let status = one.until("refused", |status| {
        status.channel.counters.failures(FailureKind::Conversation) > 0
    });
    assert!(status.conversation.stats.refused > 0);
    two.stop();
    one.stop();
}
