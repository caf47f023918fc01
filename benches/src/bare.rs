//! The engine without its worker: parse, look ahead, process. What a kind costs there, and nothing beside it.

use std::sync::Arc;

use rte_bindings::tsc_cycles;
use tandem_engine::claims::Claims;
use tandem_engine::drop_reason::DropReason;
use tandem_engine::engine::{Engine, MAX_BURST};
use tandem_engine::packet::{Desc, Packet, Route, RouteKind, Router, Side, Verdict};
use tandem_engine::packet6::Desc6;
use tandem_engine::program::Program;
use tandem_engine::ticks::Ticks;
use tandem_wire::l4::parse_plain;
use tandem_wire::parse6::parse_plain_ipv6;

use crate::kind::{ETHERNET, FIRST_SUBSCRIBER, FIRST_SUBSCRIBER6, FRAME_MAX, Flow, Frames, INSIDE, Kind};
use crate::rig::{Case, Rig};

/// Octets before a packet, as a port leaves them.
const HEADROOM: usize = 64;
const ROOM: usize = HEADROOM + FRAME_MAX;

/// A packet buffer.
#[derive(Clone)]
struct Buffer {
    bytes: [u8; ROOM],
    from: usize,
    to: usize,
}

impl Packet for Buffer {
    #[inline(always)]
    fn l3(&self) -> &[u8] {
        self.bytes.get(self.from..self.to).unwrap_or_default()
    }

    #[inline(always)]
    fn l3_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.from..self.to).unwrap_or_default()
    }

    #[inline(always)]
    fn grow_front(&mut self, octets: u16) -> bool {
        let from = self.from.checked_sub(usize::from(octets));
        self.from = from.unwrap_or(self.from);
        from.is_some()
    }

    #[inline(always)]
    fn shrink_front(&mut self, octets: u16) -> bool {
        let from = self.from + usize::from(octets);
        let fits = from <= self.to;
        if fits {
            self.from = from;
        }
        fits
    }

    fn truncate(&mut self, octets: u16) -> bool {
        let to = self.from + usize::from(octets);
        let fits = to <= self.to;
        if fits {
            self.to = to;
        }
        fits
    }
}

/// Subscribers by interface 0, everybody else by interface 1.
struct TwoWays;

impl TwoWays {
    const fn way(inside: bool) -> Route {
        let next_hop = !inside as u16;
        Route {
            next_hop,
            kind: RouteKind::Forward {
                interface: next_hop,
                mtu: 1500,
            },
        }
    }
}

impl Router for TwoWays {
    fn generation(&self) -> u32 {
        1
    }
    fn route(&self, destination: u32, _hash: u32) -> Route {
        Self::way(destination >> 22 == FIRST_SUBSCRIBER >> 22)
    }
    fn route6(&self, destination: u128, _hash: u32) -> Route {
        Self::way(destination >> 96 == FIRST_SUBSCRIBER6 >> 96)
    }
    fn next_hop(&self, number: u16) -> RouteKind {
        Self::way(number == 0).kind
    }
}

/// An engine and what drives it.
pub struct EngineRig {
    engine: Engine,
    kind: Kind,
    frames: Frames,
    buffers: Vec<Buffer>,
    descs: Vec<Desc>,
    descs6: Vec<Desc6>,
}

impl EngineRig {
    /// An engine with room for exactly the case's sessions.
    pub fn new(case: &Case, program: &Arc<Program>, run: u32) -> anyhow::Result<Self> {
        let empty = Buffer {
            bytes: [0; ROOM],
            from: 0,
            to: 0,
        };
        Ok(Self {
            engine: case.engine(program, &Arc::new(Claims::default()), run)?,
            kind: case.kind,
            frames: Frames::new(case.kind, case.frame),
            buffers: vec![empty; MAX_BURST],
            descs: Vec::with_capacity(MAX_BURST),
            descs6: Vec::with_capacity(MAX_BURST),
        })
    }

    /// Passes what is in the buffers; how many are not to be forwarded, and why the first of them.
    #[inline(never)]
    fn process(&mut self, direction: u8) -> (usize, Option<DropReason>) {
        let side = if direction == INSIDE {
            Side::Inside(0)
        } else {
            Side::Outside
        };
        let interface = u16::from(direction);
        let (engine, buffers) = (&mut self.engine, &mut self.buffers);
        if self.kind.is_v6(direction) {
            self.descs6.clear();
            for buffer in buffers.iter() {
                let Some(meta) = parse_plain_ipv6(buffer.l3()) else {
                    return (buffers.len(), None);
                };
                let mut desc = Desc6::plain(meta, interface, side);
                engine.look_ahead6(&mut desc);
                self.descs6.push(desc);
            }
            engine.process6(Ticks::ZERO, &TwoWays, buffers, &mut self.descs6);
            stopped(self.descs6.iter().map(|d| d.verdict))
        } else {
            self.descs.clear();
            for buffer in buffers.iter() {
                let Some(meta) = parse_plain::<true>(buffer.l3()) else {
                    return (buffers.len(), None);
                };
                let mut desc = Desc::plain(meta, interface, side);
                engine.look_ahead(&mut desc);
                self.descs.push(desc);
            }
            engine.process(Ticks::ZERO, &TwoWays, buffers, &mut self.descs);
            stopped(self.descs.iter().map(|d| d.verdict))
        }
    }
}

fn stopped(verdicts: impl Iterator<Item = Verdict>) -> (usize, Option<DropReason>) {
    let mut stopped = (0, None);
    for verdict in verdicts.filter(|v| *v != Verdict::Forward) {
        stopped.0 += 1;
        if let Verdict::Drop(reason, _) = verdict {
            stopped.1 = stopped.1.or(Some(reason));
        }
    }
    stopped
}

impl Rig for EngineRig {
    fn pass(
        &mut self,
        direction: u8,
        numbers: &[u32],
        flows: &mut [Flow],
        learn: bool,
    ) -> anyhow::Result<u64> {
        let mut buffers = self.buffers.iter_mut();
        self.frames.write(direction, numbers, flows, |frame| {
            if let Some(buffer) = buffers.next() {
                buffer.bytes[HEADROOM..HEADROOM + frame.len()].copy_from_slice(frame);
                (buffer.from, buffer.to) = (HEADROOM + ETHERNET, HEADROOM + frame.len());
            }
        });
        let start = tsc_cycles();
        let (stopped, reason) = self.process(direction);
        let cycles = tsc_cycles() - start;
        anyhow::ensure!(
            stopped == 0,
            "{stopped} of {} packets stopped: {reason:?}",
            numbers.len()
        );
        if learn {
            for (buffer, i) in self.buffers.iter().zip(numbers) {
                if let Some(flow) = self.frames.learn(buffer.l3()) {
                    flows[*i as usize] = flow;
                }
            }
        }
        Ok(cycles)
    }

    fn engine(&self) -> &Engine {
        &self.engine
    }
}
