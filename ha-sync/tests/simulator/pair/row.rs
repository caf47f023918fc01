//! Many takeovers in a row, each before what rested at the last one has: what rests is told with the time that is left of it, so it
//! does not add up, and there is room for new subscribers after each of them.

use tandem_engine::address::of_v4;
use tandem_engine::packet::Verdict;
use tandem_engine_testkit::any;
use tandem_engine_testkit::{OUT1, plan::INSIDE};

use super::Pair;
use crate::program::{HOSTS, host4};
use crate::report::Report;

/// Takeovers: without the time told, the eighth finds nothing.
const TAKEOVERS: u16 = 16;
/// From one to the next at least, milliseconds: less than a quarter of the shortest rest.
const APART_MS: u64 = 25_000;
/// New sessions may wait for a lease so long, milliseconds.
const LEASE_MS: u64 = 5000;

/// Runs one seed; `by_crash`: the primary crashes each time, else every other time it hands over.
pub fn run(seed: u64, by_crash: bool) -> Report {
    let mut pair = Pair::with(seed, true, false);
    for number in 0..TAKEOVERS {
        pair.make_whole();
        let (since, from) = (pair.now, pair.primary[0].expect("somebody is primary"));
        pair.has_room(number);
        if by_crash || number.is_multiple_of(2) {
            pair.crash(from, true);
        } else {
            pair.flip(1);
        }
        pair.check();
        pair.make_whole();
        assert_ne!(pair.primary[0], Some(from), "the role has changed");
        pair.has_room(number);
        pair.advance((since + APART_MS).saturating_sub(pair.now));
        pair.check();
    }
    pair.end();
    pair.report.seeds = 1;
    pair.report
}

impl Pair {
    /// New sessions of each host get ports, if not at once, then soon.
    fn has_room(&mut self, number: u16) {
        let until = self.now + LEASE_MS;
        for host in 0..HOSTS {
            // Each is another session, and so needs a port of its own.
            let mut port = 2000 + 100 * number;
            loop {
                let packet = any::udp((of_v4(host4(0, host)), port), (of_v4(OUT1), 53));
                let at = self.primary[0].expect("somebody is primary");
                let side = self.sides[at].as_mut().expect("a primary is up");
                let got = side.world.burst(INSIDE, vec![packet]);
                let refused = got.iter().any(|got| matches!(got.verdict, Verdict::Drop(..)));
                self.advance(100);
                if !refused {
                    break;
                }
                assert!(
                    self.now < until,
                    "takeover {number}: no room for a new session: {:?}; {}",
                    got.iter().map(|got| got.verdict).collect::<Vec<_>>(),
                    self.summary()
                );
                port += 1;
            }
        }
    }
}
