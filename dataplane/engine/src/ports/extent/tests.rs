//! Bits, bounds, quarantine and blocks of one extent.

use super::*;
use crate::ticks::Ticks;

fn extent() -> Box<Extent> {
    let mut e = Box::new(Extent::new_zeroed());
    e.reset();
    e
}
const ALL: Acceptable = Acceptable {
    first: 0,
    last: 4095,
    parity: ANY_PARITY,
    in_block: false,
};
/// Period `n` of a quarantine of ten ticks, five ticks in.
fn period(n: u32) -> Rest {
    Rest::new(Ticks(n * 10 + 5), Ticks(10), Wait::NONE)
}

#[test]
fn every_port_is_given_once() {
    let (mut e, mut rng) = (extent(), Rng::new(1));
    let mut seen = [false; 4096];
    while let Some(p) = e.take_random(PortClass::Udp, period(5), ALL, &mut rng) {
        assert!(!std::mem::replace(&mut seen[usize::from(p)], true));
    }
    assert!(seen.iter().all(|s| *s));
    assert_eq!(e.used, [0, 4096, 0]);
    assert!(
        e.take_lowest(PortClass::Tcp, period(5), ALL).is_some(),
        "classes are separate spaces"
    );
}

#[test]
fn bounds_and_parity_hold() {
    let (mut e, mut rng) = (extent(), Rng::new(1));
    let ok = Acceptable {
        first: 70,
        last: 131,
        parity: ODD,
        in_block: false,
    };
    let mut got: Vec<_> =
        std::iter::from_fn(|| e.take_random(PortClass::Tcp, period(1), ok, &mut rng)).collect();
    got.sort_unstable();
    assert_eq!(got, (71..=131).step_by(2).collect::<Vec<u16>>());
}

const ONE: Acceptable = Acceptable {
    first: 9,
    last: 9,
    parity: ANY_PARITY,
    in_block: false,
};

#[test]
fn a_freed_port_rests_for_one_to_two_periods() {
    let mut e = extent();
    assert_eq!(e.take_lowest(PortClass::Udp, period(7), ONE), Some(9));
    assert!(e.release(PortClass::Udp, period(7), 9));
    assert!(!e.release(PortClass::Udp, period(7), 9), "not freed twice");
    assert_eq!(e.take_lowest(PortClass::Udp, period(7), ONE), None);
    assert_eq!(
        e.take_lowest(PortClass::Udp, Rest::new(Ticks(80), Ticks(10), Wait::NONE), ONE),
        None
    );
    assert!(!e.units_are_clean(0, 1, Rest::new(Ticks(80), Ticks(10), Wait::NONE)));
    assert_eq!(e.take_lowest(PortClass::Udp, period(9), ONE), Some(9));
    let none = Rest::new(Ticks(95), Ticks(0), Wait::NONE);
    assert!(e.release(PortClass::Udp, none, 9));
    assert_eq!(e.take_lowest(PortClass::Udp, none, ONE), Some(9));
}

/// Whatever the quarantine is changed to and when: a port that is given out again has rested for a time that was in
/// force when it was looked at.
#[test]
fn a_changed_quarantine_is_kept() {
    let mut rng = Rng::new(11);
    for _ in 0..20_000 {
        let mut e = extent();
        let mut now = 5000 + rng.below(500);
        let mut quarantine = 1 + rng.below(100);
        let rest = |now, quarantine| Rest::new(Ticks(now), Ticks(quarantine), Wait::NONE);
        let mut freed = None;
        let mut rested = false;
        for _ in 0..40 {
            match freed {
                None => {
                    assert!(e.take_exact(PortClass::Udp, rest(now, quarantine), 9, false));
                    now += rng.below(50);
                    assert!(e.release(PortClass::Udp, rest(now, quarantine), 9));
                    freed = Some(now);
                }
                Some(since) => {
                    rested |= now - since >= quarantine;
                    if e.take_exact(PortClass::Udp, rest(now, quarantine), 9, false) {
                        assert!(rested, "rested {} of {quarantine}", now - since);
                        assert!(e.release(PortClass::Udp, rest(now, quarantine), 9));
                        (freed, rested) = (Some(now), false);
                    }
                }
            }
            now += rng.below(30);
            if rng.below(4) == 0 {
                quarantine = 1 + rng.below(100);
            }
        }
        // And it is given out again at last.
        let later = rest(now + 2 * quarantine, quarantine);
        assert!(e.take_exact(PortClass::Udp, later, 9, false));
    }
}

/// Whatever the quarantine, none too, and however far the other chassis has heard: a port that is given out again, and units
/// that are clean, ended before that.
#[test]
fn what_the_other_chassis_has_not_heard_of_is_nobodys() {
    let mut rng = Rng::new(12);
    for _ in 0..20_000 {
        let mut e = extent();
        let quarantine = [0, 1, 10, 100][rng.below(4) as usize];
        let (mut now, mut heard) = (5000, 5000);
        let mut freed: [Option<u32>; 3] = [None; 3];
        for _ in 0..60 {
            let rest = Rest::new(Ticks(now), Ticks(quarantine), Wait::told(Some(Ticks(heard))));
            let port = rng.below(3);
            let since = &mut freed[port as usize];
            if e.is_used(PortClass::Udp, port as u16) {
                assert!(e.release(PortClass::Udp, rest, port as u16));
                *since = Some(now);
            } else if e.take_exact(PortClass::Udp, rest, port, false) {
                let waited = since.is_none_or(|at| at < heard && now - at >= quarantine);
                assert!(
                    waited,
                    "freed at {since:?}, heard {heard}, now {now} of {quarantine}"
                );
                *since = None;
            } else if e.units_are_clean(0, 1, rest) {
                assert!(freed.iter().flatten().all(|at| *at < heard));
            }
            now += rng.below(4);
            if rng.below(3) == 0 {
                heard += rng.below(now - heard + 1);
            }
        }
        // Everything is given out again at last.
        now += 2 * quarantine + 2;
        for port in 0..3 {
            let rest = Rest::new(Ticks(now), Ticks(quarantine), Wait::told(Some(Ticks(now))));
            if !e.is_used(PortClass::Udp, port) {
                assert!(e.take_exact(PortClass::Udp, rest, port.into(), false));
            }
        }
    }
}

#[test]
fn blocks_and_shared_ports_keep_out_of_each_other() {
    let mut e = extent();
    e.units_taken = 1;
    assert_eq!(e.take_lowest(PortClass::Udp, period(1), ALL), Some(64));
    let block = Acceptable {
        last: 63,
        in_block: true,
        ..ALL
    };
    assert_eq!(e.take_lowest(PortClass::Udp, period(1), block), Some(0));
    assert!(
        !e.take_exact(PortClass::Udp, period(1), 1, false)
            && e.take_exact(PortClass::Udp, period(1), 1, true)
    );
}

#[test]
fn the_nth_set_bit_is_counted_from_bit_0() {
    let mut rng = Rng::new(4);
    let words = (0..500).map(|i| match i % 3 {
        0 => rng.draw(),
        1 => rng.draw() & rng.draw() & rng.draw(),
        _ => rng.draw() | rng.draw() | rng.draw(),
    });
    for word in words.chain([1, 1 << 63, u64::MAX]) {
        let set = (0..64).filter(|bit| word >> bit & 1 != 0);
        for (n, bit) in set.enumerate() {
            assert_eq!(nth_bit(word, n as u32), bit, "bit {n} of {word:#x}");
        }
    }
}

#[test]
fn a_hold_ends_when_its_ports_are_needed_and_the_other_chassis_knows() {
    let wait = |known| Wait::NONE.holding(known);
    let at = |tick| Rest::new(Ticks(tick), Ticks(10), Wait::NONE);
    let mut e = extent();
    e.hold(Ticks(1000), 1, true);
    for tick in [500, 999, 5000] {
        assert_eq!(
            e.take_lowest(PortClass::Udp, at(tick), ALL),
            None,
            "not even after its time"
        );
        assert!(e.is_held() && e.held_until(Ticks(10)) == Ticks(1000));
    }
    assert_eq!(e.go_on(Ticks(999), wait(None), true), HoldStep::Goes);
    assert_eq!(
        e.go_on(Ticks(5000), wait(None), false),
        HoldStep::Goes,
        "nobody needs it"
    );
    assert!(!e.is_resting(Ticks(1000)) && e.is_resting(Ticks(999)));
    // It is told: beyond its time as long as the other chassis may go by it.
    assert!(e.is_binding(Ticks(5000), wait(Some(Ticks(4000)))));
    assert!(e.is_binding(Ticks(999), wait(None)) && !e.is_binding(Ticks(1000), wait(None)));
    assert_eq!(
        e.go_on(Ticks(5000), wait(Some(Ticks(4000))), true),
        HoldStep::Tell
    );
    // It was told: who is told everything now hears that it may give ports.
    assert_eq!(e.held_until(Ticks(10)), Ticks::ZERO);
    for known in [4000, 5000] {
        let step = e.go_on(Ticks(5100), wait(Some(Ticks(known))), false);
        assert_eq!(step, HoldStep::Waits);
        assert_eq!(e.take_lowest(PortClass::Udp, at(5100), ALL), None);
    }
    let step = e.go_on(Ticks(5600), wait(Some(Ticks(5000))), false);
    assert_eq!(step, HoldStep::Tell, "again");
    let step = e.go_on(Ticks(6000), wait(Some(Ticks(5601))), false);
    assert_eq!(step, HoldStep::None);
    assert_eq!(e.take_lowest(PortClass::Udp, at(6000), ALL), Some(0));
}

#[test]
fn a_takeover_goes_on_with_a_hold_that_was_told_and_begins_any_other_anew() {
    let cases = [
        (Ticks(700), 3, Ticks(700)),
        (Ticks(700), 4, Ticks(2000)),
        (Ticks::ZERO, 3, Ticks(2000)),
    ];
    for (told, of, until) in cases {
        let mut e = extent();
        e.note_hold(told, of);
        e.hold(Ticks(2000), 3, true);
        assert_eq!(e.held_until(Ticks(10)), until);
        assert_eq!(e.take_lowest(PortClass::Tcp, period(1), ALL), None);
        // A second service set of the same pool changes nothing.
        e.hold(Ticks(2000), 3, true);
        assert_eq!(e.held_until(Ticks(10)), until);
    }
}

#[test]
fn ports_of_a_block_that_ended_elsewhere_rest_all_but_those_in_use() {
    let mut e = extent();
    assert!(e.install(PortClass::Udp, 5));
    e.rest_units(0, 2, period(5));
    for class in [PortClass::Tcp, PortClass::Udp, PortClass::Icmp] {
        assert_eq!(e.take_lowest(class, period(5), ALL), Some(128), "behind them");
    }
    assert!(!e.units_are_clean(0, 1, period(6)));
    assert_eq!(e.take_lowest(PortClass::Tcp, period(7), ALL), Some(0));
    assert!(e.release(PortClass::Udp, period(5), 5));
}

#[test]
fn a_hold_is_told_as_long_as_what_ended_meanwhile_rests_or_not_at_all() {
    let mut e = extent();
    assert!(e.install(PortClass::Udp, 7));
    e.hold(Ticks(1000), 1, true);
    assert!(e.release(PortClass::Udp, Rest::new(Ticks(950), Ticks(200), Wait::NONE), 7));
    assert_eq!(e.held_until(Ticks(200)), Ticks(1150));
    let mut e = extent();
    e.hold(Ticks(1000), 1, false);
    assert!(e.is_held() && e.held_until(Ticks(200)) == Ticks::ZERO);
    assert!(!e.is_binding(Ticks(1000), Wait::NONE.holding(Some(Ticks(1)))));
    // So nobody has to be told of its end either.
    let nobody_knows = Wait::NONE.holding(Some(Ticks(1)));
    assert_eq!(e.go_on(Ticks(999), nobody_knows, true), HoldStep::Goes);
    assert_eq!(e.go_on(Ticks(1000), nobody_knows, true), HoldStep::None);
    assert!(!e.is_held());
}
