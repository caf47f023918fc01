//! A network between two links: a stream in pieces, or messages that get lost, doubled and overtaken; it can stall, and break.

use std::collections::VecDeque;

use ha_sync::frame::HEADER_LEN;
use ha_sync::link::{Link, LinkConfig};

use super::Random;
use super::model::Model;

/// What the network does to messages, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub loss: u64,
    pub double: u64,
    /// Messages take up to so many milliseconds; zero: a stream, in order.
    pub delay_ms: u64,
}

#[derive(Debug, Default)]
struct Way {
    /// When each message arrives.
    flying: VecDeque<(u64, Vec<u8>)>,
    /// Arrived, and not yet read.
    arrived: VecDeque<u8>,
    stalled: bool,
}

impl Way {
    fn bytes(&self) -> usize {
        self.arrived.len() + self.flying.iter().map(|(_, m)| m.len()).sum::<usize>()
    }
}

/// Octets a sender may have under way before it has to wait.
const BUFFER: usize = 200_000;

pub struct World {
    pub links: [Link; 2],
    pub models: [Model; 2],
    ways: [Way; 2],
    pub faults: Faults,
    pub random: Random,
    pub now: u64,
    pub connected: bool,
    /// So much may wait beside that because it was asked for by hand.
    pub by_hand: usize,
    /// The largest share of the window, and the most operations beside it, that were seen.
    pub limits: (usize, usize),
}

pub fn frames(mut octets: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while octets.len() >= HEADER_LEN {
        let length = u32::from_be_bytes(octets[8..12].try_into().unwrap()) as usize + HEADER_LEN;
        let (frame, rest) = octets.split_at(length);
        all.push(frame.to_vec());
        octets = rest;
    }
    assert!(octets.is_empty(), "polls end with a frame");
    all
}

impl World {
    pub fn new(configs: [LinkConfig; 2], faults: Faults, seed: u64) -> Self {
        let limits = (configs[0].window_bytes, configs[0].pending_max);
        Self {
            links: configs.map(Link::new),
            models: [Model::new(seed), Model::new(seed + 1)],
            ways: Default::default(),
            faults,
            random: Random(seed + 2),
            now: 1000,
            connected: false,
            limits,
            by_hand: 0,
        }
    }

    pub fn connect(&mut self) {
        self.ways = Default::default();
        self.links.iter_mut().for_each(|l| l.connected(self.now));
        self.connected = true;
    }

    pub fn disconnect(&mut self) {
        self.ways = Default::default();
        self.links.iter_mut().for_each(|l| l.disconnected(self.now));
        self.connected = false;
    }

    /// What goes to link `to` stays where it is.
    pub fn stall(&mut self, to: usize, stalled: bool) {
        self.ways[to].stalled = stalled;
    }

    pub fn step(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        for i in 0..2 {
            self.models[i].now = self.now;
            self.models[i].walk();
            self.speak(i);
        }
        for i in 0..2 {
            self.listen(i);
        }
        for link in &self.links {
            let stats = link.stats();
            assert!(stats.window_bytes as usize <= self.limits.0, "{stats:?}");
            assert!(
                stats.pending as usize <= self.limits.1 + self.by_hand + 8,
                "{stats:?}"
            );
        }
    }

    pub fn steps(&mut self, count: u64, milliseconds: u64) {
        (0..count).for_each(|_| self.step(milliseconds));
    }

    fn speak(&mut self, from: usize) {
        let to = 1 - from;
        loop {
            let (link, model) = (&mut self.links[from], &mut self.models[from]);
            if self.ways[to].bytes() > BUFFER {
                link.absorb(self.now, model);
                return;
            }
            let mut out = Vec::new();
            link.poll(self.now, model, &mut out);
            if out.is_empty() {
                return;
            }
            assert!(self.connected);
            for message in frames(&out) {
                let copies = 1 + u64::from(self.random.per_mille(self.faults.double));
                for _ in 0..copies {
                    if !self.random.per_mille(self.faults.loss) {
                        let at = self.now + self.random.below(self.faults.delay_ms + 1);
                        self.ways[to].flying.push_back((at, message.clone()));
                    }
                }
            }
        }
    }

    fn listen(&mut self, to: usize) {
        let way = &mut self.ways[to];
        if way.stalled {
            return;
        }
        if self.faults.delay_ms > 0 {
            let mut waiting = VecDeque::new();
            for (at, message) in way.flying.drain(..) {
                if at <= self.now {
                    way.arrived.extend(message);
                } else {
                    waiting.push_back((at, message));
                }
            }
            way.flying = waiting;
        } else {
            way.flying
                .drain(..)
                .for_each(|(_, message)| way.arrived.extend(message));
        }
        let octets: Vec<u8> = way.arrived.drain(..).collect();
        let (mut rest, mut tries) = (&octets[..], 0);
        while !rest.is_empty() && tries < 50 {
            let piece = (1 + self.random.below(5000) as usize).min(rest.len());
            let used = self.links[to]
                .received(self.now, &rest[..piece], &mut self.models[to])
                .expect("a good stream");
            rest = &rest[used..];
            tries = if used < piece { tries + 1 } else { 0 };
        }
        self.ways[to].arrived.extend(rest);
    }

    /// Nothing happens any more, until both have heard everything.
    pub fn settle(&mut self) {
        for model in &mut self.models {
            (model.no_room, model.full) = (0, false);
        }
        for way in &mut self.ways {
            way.stalled = false;
        }
        self.steps(2, 10);
        for _ in 0..4000 {
            self.step(10);
            let told = |l: &Link| l.stats().sequence_sent == l.stats().sequence_acknowledged;
            let quiet = |l: &Link| l.state().is_active() && told(l) && l.stats().pending == 0;
            let done = self.links.iter().all(quiet) && self.models.iter().all(|m| m.outbox.is_empty());
            if done {
                return;
            }
        }
        let show = |l: &Link| format!("{:?} {:?}\n", l.state(), l.stats());
        panic!("{}{}", show(&self.links[0]), show(&self.links[1]));
    }

    pub fn assert_equal(&self) {
        for (mine, other) in [(0, 1), (1, 0)] {
            assert_eq!(
                self.models[mine].mine,
                self.models[other].copy(),
                "told by {mine}"
            );
        }
    }
}
