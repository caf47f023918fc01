//! The network between two chassis: a connection with two ways, everything that happens to it drawn from the seed.
//!
//! As a *stream* it behaves as TCP does: octets come in order and once, late when one had to be sent again, in pieces of any size;
//! a way that is cut holds them back, a reader that stalls fills it until the writer has no room, and a break ends the connection
//! behind any octet. As *datagrams* it carries whole frames, each for itself: some get lost, come twice or overtake others.

use std::collections::VecDeque;

use ha_sync::frame::HEADER_LEN;
use tandem_engine::hash::Rng;

use crate::program::{chance, pick};

/// How octets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As TCP carries them.
    Stream,
    /// Frame by frame.
    Datagrams,
}

/// What the network is like in a run.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// How octets travel.
    pub mode: Mode,
    /// Shortest time on the way, milliseconds.
    pub delay_ms: u32,
    /// What may come on top of it.
    pub jitter_ms: u32,
    /// Of a hundred pieces (or frames), how many are lost: sent again after 200 ms by a stream.
    pub loss_percent: u32,
    /// Of a hundred frames, how many come twice.
    pub duplicates_percent: u32,
    /// Octets on one way at most: what the systems' socket buffers hold.
    pub capacity: usize,
}

impl Weather {
    /// Random weather.
    pub fn draw(rng: &mut Rng) -> Self {
        Self {
            mode: if chance(rng, 60) {
                Mode::Stream
            } else {
                Mode::Datagrams
            },
            delay_ms: pick(rng, &[0, 1, 5, 40]),
            jitter_ms: pick(rng, &[0, 1, 10, 100]),
            loss_percent: pick(rng, &[0, 0, 1, 10]),
            duplicates_percent: pick(rng, &[0, 0, 1, 10]),
            capacity: pick(rng, &[1 << 11, 1 << 14, 1 << 18]),
        }
    }
}

/// One way.
#[derive(Debug, Default)]
struct Way {
    /// What is on it: when it arrives, and the octets; of a stream in order.
    pieces: VecDeque<(u64, Vec<u8>)>,
    octets: usize,
    /// Nothing gets through.
    cut: bool,
    /// Nobody reads.
    stalled: bool,
}

/// Two ways and whether they are a connection at present. Chassis 0 and 1 are its ends.
#[derive(Debug)]
pub struct Network {
    weather: Weather,
    rng: Rng,
    ways: [Way; 2],
    connected: bool,
    calm: bool,
}

/// Octets of the frame at the front of `octets`.
fn frame_length(octets: &[u8]) -> usize {
    let length = octets.get(8..12).and_then(|l| l.first_chunk());
    let payload = length.map_or(0, |l| u32::from_be_bytes(*l) as usize);
    (HEADER_LEN + payload).min(octets.len())
}

impl Network {
    /// A network without a connection.
    pub fn new(weather: Weather, seed: u64) -> Self {
        Self {
            weather,
            rng: Rng::new(seed),
            ways: Default::default(),
            connected: false,
            calm: false,
        }
    }

    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Whether octets travel as TCP carries them.
    pub fn is_stream(&self) -> bool {
        self.weather.mode == Mode::Stream
    }

    /// Makes a connection, unless a way is cut.
    pub fn connect(&mut self) -> bool {
        self.connected = !self.ways.iter().any(|w| w.cut);
        self.connected
    }

    /// Breaks the connection behind any octet; what still came out of the ways to chassis 0 and 1.
    pub fn disconnect(&mut self) -> [Vec<u8>; 2] {
        self.connected = false;
        let mut last = [Vec::new(), Vec::new()];
        for (from, way) in self.ways.iter_mut().enumerate() {
            if !way.cut && !way.stalled && self.weather.mode == Mode::Stream {
                let all: Vec<u8> = way.pieces.iter().flat_map(|(_, p)| p).copied().collect();
                let length = self.rng.below(all.len() as u32 + 1) as usize;
                last[1 - from] = all[..length].to_vec();
            }
            way.pieces.clear();
            way.octets = 0;
        }
        last
    }

    /// Nothing gets through from this chassis to the other, or again.
    pub fn cut(&mut self, from: usize, cut: bool) {
        self.ways[from].cut = cut;
    }

    /// This chassis does not read, or again.
    pub fn stall(&mut self, reader: usize, stalled: bool) {
        self.ways[1 - reader].stalled = stalled;
    }

    /// Nothing is lost, cut or stalled any more, until the weather comes back.
    pub fn heal(&mut self) {
        self.calm = true;
        for way in &mut self.ways {
            (way.cut, way.stalled) = (false, false);
        }
    }

    /// The weather comes back.
    pub fn weather_again(&mut self) {
        self.calm = false;
    }

    fn happens(&mut self, percent: u32) -> bool {
        !self.calm && chance(&mut self.rng, percent)
    }

    /// Octets this chassis may write now.
    pub fn room(&self, from: usize) -> usize {
        if !self.connected {
            return 0;
        }
        self.weather.capacity.saturating_sub(self.ways[from].octets)
    }

    fn arrival(&mut self, now: u64) -> u64 {
        let Weather {
            delay_ms, jitter_ms, ..
        } = self.weather;
        now + u64::from(delay_ms + self.rng.below(jitter_ms + 1))
    }

    /// When a heartbeat arrives that is sent now; none: it is lost.
    pub fn beat_arrives(&mut self, now: u64) -> Option<u64> {
        let at = self.arrival(now);
        (!self.happens(self.weather.loss_percent)).then_some(at)
    }

    /// This chassis writes octets; datagrams are whole frames.
    pub fn write(&mut self, from: usize, now: u64, octets: &[u8]) {
        let Weather {
            loss_percent,
            duplicates_percent,
            mode,
            ..
        } = self.weather;
        let mut rest = octets;
        while !rest.is_empty() {
            let mut at = self.arrival(now);
            let piece;
            if mode == Mode::Stream {
                let part = if chance(&mut self.rng, 70) {
                    rest.len()
                } else {
                    1 + self.rng.below(rest.len() as u32) as usize
                };
                (piece, rest) = rest.split_at(part);
                if self.happens(loss_percent) {
                    at += 200;
                }
                let way = &self.ways[from];
                at = at.max(way.pieces.back().map_or(0, |(last, _)| *last));
            } else {
                (piece, rest) = rest.split_at(frame_length(rest));
                if self.ways[from].cut || self.happens(loss_percent) {
                    continue;
                }
                if self.happens(duplicates_percent) {
                    let again = self.arrival(now);
                    self.put(from, again, piece);
                }
            }
            self.put(from, at, piece);
        }
    }

    fn put(&mut self, from: usize, at: u64, piece: &[u8]) {
        let way = &mut self.ways[from];
        way.octets += piece.len();
        let place = way.pieces.partition_point(|(other, _)| *other <= at);
        way.pieces.insert(place, (at, piece.to_vec()));
    }

    /// The next octets for this chassis that have arrived.
    pub fn read(&mut self, to: usize, now: u64) -> Option<Vec<u8>> {
        let way = &mut self.ways[1 - to];
        let held = way.stalled || way.cut && self.weather.mode == Mode::Stream;
        if held || way.pieces.front()?.0 > now {
            return None;
        }
        let (_, piece) = way.pieces.pop_front()?;
        way.octets -= piece.len();
        Some(piece)
    }

    /// Octets this chassis did not take go back to the front.
    pub fn unread(&mut self, to: usize, now: u64, rest: Vec<u8>) {
        let way = &mut self.ways[1 - to];
        way.octets += rest.len();
        way.pieces.push_front((now, rest));
    }

    /// When the next octets arrive, if some are on their way.
    pub fn next_arrival(&self) -> Option<u64> {
        let open = self.ways.iter().filter(|w| !w.cut && !w.stalled);
        open.filter_map(|w| w.pieces.front().map(|(at, _)| *at)).min()
    }

    /// Octets on both ways.
    pub fn in_flight(&self) -> usize {
        self.ways.iter().map(|w| w.octets).sum()
    }
}
