//! Two chassis, the network between them, and the operator who moves roles by hand.

mod amid;
mod automatic;
mod belief;
mod drains;
mod forced;
mod heirs;
mod operator;
mod quiet;
mod row;
mod stops;
mod takeover;

use tandem_engine::hash::Rng;
use tandem_engine::packet::Verdict;
use tandem_engine::ticks::Ticks;
use tandem_engine_testkit::books::Books;

use crate::leases::Leases;
use crate::network::{Mode, Network, Weather};
use crate::program::{chance, pick};
use crate::public_ends::PublicEnds;
use crate::report::Report;
use crate::side::{Side, Terms, Tuning};
use crate::traffic::{self, Burst};
use crate::views::{self, Ends};

use automatic::Around;
use heirs::Heir;
use operator::Move;
pub use row::run as in_a_row;
use takeover::Orphan;

/// When a run begins, milliseconds: not at zero, which stands for "never" in places.
const START_MS: u64 = 100_000;
/// Checks that cost more are done every so many.
const DEAR_CHECKS: u32 = 32;
/// And those of what the standby believes.
const BELIEF_CHECKS: u32 = 4;
/// Workers look after their tables at least so often, milliseconds.
const SLICE_MS: u64 = 200;
/// Until everything is told and installed it may take so long, milliseconds: an address that rests on the standby, from its own
/// time as primary, is had by another of its workers only when the rest is over, 120 s; and until then it asks for bulks that bring
/// nothing, so that the next one rests for up to 300 s.
const QUIET_MAX_MS: u64 = 600_000;

/// A pair under test.
pub struct Pair {
    /// Milliseconds since the beginning.
    pub now: u64,
    /// The network.
    pub network: Network,
    /// What was seen so far.
    pub report: Report,
    rng: Rng,
    tuning: Tuning,
    sides: [Option<Side>; 2],
    /// Whose traffic a service set's is, by its id less one: where it was last made primary.
    primary: Vec<Option<usize>>,
    moves: Vec<Option<Move>>,
    orphans: Vec<Option<Orphan>>,
    heirs: Vec<Option<Heir>>,
    /// Who still takes itself for the primary of a set, and is it no more.
    deposed: Vec<Option<usize>>,
    /// What each had told when the bulk that it tells now began.
    told_before: [Vec<(Ends, Ticks)>; 2],
    leases: [Leases; 2],
    ends: PublicEnds,
    /// Number of the last role change.
    epoch: u32,
    starts: u64,
    /// When the next connection is tried.
    connect_at: u64,
    /// When the operator next looks whether something is missing.
    ask_at: u64,
    checks: u32,
    /// What is beside a pair that decides about its roles by itself.
    around: Option<Around>,
}

impl Pair {
    /// Two fresh chassis; who is primary of what is drawn, or in an automatic pair decided by itself.
    pub fn new(seed: u64, is_automatic: bool) -> Self {
        Self::with(seed, false, is_automatic)
    }

    /// The same; `wide`: as [`crate::program::widen`] says.
    fn with(seed: u64, wide: bool, is_automatic: bool) -> Self {
        let mut rng = Rng::new(seed ^ 0x7061_6972);
        let weather = Weather::draw(&mut rng);
        let mut tuning = Tuning::draw(seed, weather.mode == Mode::Datagrams, &mut rng);
        tuning.terms = is_automatic.then(|| Terms::draw(seed, 2));
        if wide {
            // More shards would take an extent each, of the one address there is.
            (tuning.wide, tuning.shards, tuning.workers) = (true, 1, [1; 2]);
        }
        let mut starts = 0;
        let mut start = |at| {
            starts += 1;
            Some(Side::new(&tuning, at, starts, START_MS))
        };
        let sides = [start(0), start(1)];
        let first = sides[0].as_ref().expect("just made");
        let program = first.world.program.clone();
        let mut report = Report::default();
        for kind in &first.kinds {
            *report.kinds.entry(*kind).or_default() += 1;
        }
        let sets = program.service_sets.len();
        let mut pair = Self {
            now: START_MS,
            network: Network::new(weather, rng.draw()),
            report,
            tuning,
            sides,
            primary: vec![None; sets],
            moves: (0..sets).map(|_| None).collect(),
            orphans: (0..sets).map(|_| None).collect(),
            heirs: (0..sets).map(|_| None).collect(),
            deposed: vec![None; sets],
            told_before: Default::default(),
            leases: Default::default(),
            ends: PublicEnds::new(&program),
            epoch: 0,
            starts,
            connect_at: 0,
            ask_at: 0,
            checks: 0,
            around: is_automatic.then(|| Around::new(sets)),
            rng,
        };
        if is_automatic {
            pair.advance(1);
            return pair;
        }
        for set in pair.sets() {
            let to = pair.rng.below(2) as usize;
            pair.make_primary(set, to);
        }
        pair.advance(1);
        pair
    }

    /// Whether it decides about its roles by itself.
    pub fn is_automatic(&self) -> bool {
        self.around.is_some()
    }

    /// The service sets.
    pub fn sets(&self) -> Vec<u16> {
        (1..=self.primary.len() as u16).collect()
    }

    /// The state in a few words.
    pub fn summary(&self) -> String {
        let sides = self.sides.iter().map(|side| match side {
            None => "down".to_string(),
            Some(side) => side.summary(),
        });
        format!(
            "primary {:?}; {}",
            self.primary,
            sides.collect::<Vec<_>>().join("; ")
        )
    }

    /// Time passes: every message arrives when its time has come, and workers look after their tables often enough.
    pub fn advance(&mut self, ms: u64) {
        let end = self.now + ms;
        loop {
            self.pump();
            if self.now >= end {
                return;
            }
            let busy = self.network.in_flight() > 0;
            let mut next = end.min(self.now + if busy { 100 } else { SLICE_MS });
            if let Some(at) = self.network.next_arrival() {
                next = next.min(at.max(self.now + 1));
            }
            self.now = next;
        }
    }

    /// Everything that can be done now, is.
    fn pump(&mut self) {
        for _ in 0..4 {
            self.connection();
            let mut moved = false;
            for at in 0..2 {
                if let Some(side) = &mut self.sides[at] {
                    side.work(self.now);
                    moved |= side.talk(self.now, at, &mut self.network);
                }
            }
            for at in 0..2 {
                moved |= self.listen(at);
            }
            self.think();
            self.drive_moves();
            if self.around.is_none() {
                self.look_at_deposed();
            }
            self.look_at_heirs();
            if !moved {
                break;
            }
        }
        let is_over = |side: &Side| side.wants_close() || side.is_stale();
        if self.sides.iter().flatten().any(is_over) {
            self.break_connection();
        }
    }

    /// A chassis reads what has arrived.
    fn listen(&mut self, at: usize) -> bool {
        let Some(side) = &mut self.sides[at] else {
            return false;
        };
        let mut moved = false;
        while let Some(octets) = self.network.read(at, self.now) {
            let used = side.hear(self.now, &octets);
            moved |= used > 0;
            if used < octets.len() {
                self.network.unread(at, self.now, octets[used..].to_vec());
                break;
            }
        }
        moved
    }

    /// Makes a connection when it is time to.
    fn connection(&mut self) {
        if self.network.is_connected() || self.now < self.connect_at {
            return;
        }
        let [Some(a), Some(b)] = &mut self.sides else {
            return;
        };
        if self.network.connect() {
            a.connected(self.now);
            b.connected(self.now);
        } else {
            self.connect_at = self.now + 200;
        }
    }

    /// The connection breaks behind any octet.
    pub fn break_connection(&mut self) {
        if !self.network.is_connected() {
            return;
        }
        self.report.breaks += 1;
        let last = self.network.disconnect();
        for (side, last) in self.sides.iter_mut().zip(last) {
            if let Some(side) = side {
                side.hear(self.now, &last);
                side.disconnected(self.now);
            }
        }
        self.connect_at = self.now + pick(&mut self.rng, &[1, 50, 500, 3000]);
    }

    /// One tells the other everything anew, because an operator asked for it.
    pub fn resynchronize(&mut self, rng: &mut Rng) {
        let now = self.now;
        if let Some(side) = &mut self.sides[rng.below(2) as usize] {
            side.resynchronize(now, chance(rng, 50));
        }
        self.pump();
    }

    fn pass(&mut self, at: usize, (interface, packets): Burst) {
        if self.sides[at]
            .as_ref()
            .is_some_and(|side| !side.is_stalled(self.now))
        {
            self.come(at, (interface, packets));
            self.pump();
        }
    }

    /// Packets from inside.
    pub fn new_sessions(&mut self, rng: &mut Rng) -> &'static str {
        let set = pick(rng, &self.sets());
        let Some(at) = self.way_of(set, rng) else {
            return "new sessions, and nobody there";
        };
        self.pass(at, traffic::from_inside(set, rng));
        "new sessions"
    }

    /// Packets of sessions there are.
    pub fn known_sessions(&mut self, rng: &mut Rng) -> &'static str {
        if let Some(done) = self.known_where_it_drains(rng) {
            return done;
        }
        for side in self.sides.iter().flatten() {
            if let Some((session, burst)) = traffic::known(&side.world, rng) {
                let Some(at) = self.primary[usize::from(session.ends.set) - 1] else {
                    return "known sessions, and nobody there";
                };
                self.pass(at, burst);
                return "a known session";
            }
        }
        "no session known"
    }

    /// Packets from outside.
    pub fn strangers(&mut self, rng: &mut Rng) -> &'static str {
        let set = pick(rng, &self.sets());
        let at = self.way_of(set, rng);
        let Some((at, side)) = at.and_then(|at| Some((at, self.sides[at].as_ref()?))) else {
            return "strangers, and nobody there";
        };
        let burst = traffic::stranger(&side.world, set, rng);
        self.pass(at, burst);
        "strangers"
    }

    /// Packets that come to a standby: it forwards none.
    pub fn lost_ways(&mut self, rng: &mut Rng) -> &'static str {
        let set = pick(rng, &self.sets());
        for at in 0..2 {
            let is_lost = |side: &&Side| side.is_standby(set) && !side.is_stalled(self.now);
            let Some(side) = self.sides[at].as_ref().filter(is_lost) else {
                continue;
            };
            let drains = side.drains(set);
            let mut bursts = vec![traffic::from_inside(set, rng)];
            let known = traffic::known(&side.world, rng);
            bursts.extend(known.filter(|(s, _)| s.ends.set == set).map(|(_, b)| b));
            for burst in bursts {
                for got in self.come(at, burst) {
                    let stays = matches!(
                        got.verdict,
                        Verdict::NotPrimary(_) | Verdict::Drop(..) | Verdict::Kernel | Verdict::Route
                    );
                    assert!(stays || drains, "a standby's verdict: {:?}", got.verdict);
                }
            }
        }
        self.pump();
        "to a standby"
    }

    /// All invariants.
    pub fn check(&mut self) {
        let Self {
            sides,
            leases,
            ends,
            deposed,
            ..
        } = self;
        ends.look();
        for (at, leases) in leases.iter_mut().enumerate() {
            let [a, b] = &*sides;
            let (side, other) = if at == 0 { (a, b) } else { (b, a) };
            let Some(side) = side else { continue };
            side.check_bounds();
            for engine in &side.world.engines {
                views::taken(engine, |taken| {
                    let counts = deposed[usize::from(taken.set) - 1] != Some(at);
                    if counts && side.is_primary_on(engine, taken.set) {
                        ends.seen(self.now, at, &side.world.program, &taken);
                    }
                });
            }
            if let Some(other) = other {
                side.check_subset(&other.told.sessions);
            }
            let space = other.as_ref().map(|o| &*o.world.program.public_space);
            let pools = |pool| side.is_primary(pool) && deposed[usize::from(pool) - 1] != Some(at);
            leases.look(&side.world.program, space, side.is_strict(), pools);
        }
        self.check_drains();
        self.checks += 1;
        if self.checks.is_multiple_of(BELIEF_CHECKS) {
            self.check_belief();
        }
        if self.checks.is_multiple_of(DEAR_CHECKS) {
            // In the midst of a bulk what is new stands beside what is over.
            for side in self.sides.iter_mut().flatten().filter(|side| side.is_tidy()) {
                Books::new(&side.world).check(&mut side.world);
            }
        }
    }

    fn threshold_and(&self, ms: u64) -> Ticks {
        let slack = u32::try_from(ms.div_ceil(100)).unwrap_or(u32::MAX);
        self.tuning.threshold.plus(Ticks(slack))
    }
}
