//! A set that is handed over drains: what is known passes on both chassis alike, and begins nothing on the old one.

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Verdict};
use tandem_engine::replica::{Op, Role};
use tandem_engine::ticks::Ticks;
use tandem_wire::tcp::{ACK, FIN, PSH, RST, SYN};

use super::Pair;
use crate::common::packets::{echo, error, syn, tcp, udp};
use crate::common::packets6::udp6;
use crate::common::plan::Plan;
use crate::common::{HOST1, HOST2, IN1, IN2, OUT_ROUTER, OUT1, OUT2, in64};

const TIME: Ticks = Ticks::from_seconds(5);

impl Pair {
    fn drain(&mut self, chassis: usize, time: Ticks) {
        for service_set in [1, 2] {
            self.command(chassis, Op::Drain { service_set, time });
        }
    }

    fn drained(&self, chassis: usize) -> u64 {
        self.worlds[chassis]
            .engines
            .iter()
            .map(|e| e.counters().drained)
            .sum()
    }
}

#[track_caller]
fn assert_refused(verdict: Verdict, reason: DropReason) {
    match reason {
        DropReason::NotPrimary => assert!(matches!(verdict, Verdict::NotPrimary(_)), "{verdict:?}"),
        reason => assert_eq!(verdict, Verdict::Drop(reason, Answer::None)),
    }
}

type End = (u32, u16);

/// A connection from inside to a server, and what it looks like from outside.
fn connect(pair: &mut Pair, inside: End, outside: End) -> End {
    let public = pair.worlds[0].inside(syn(inside, outside)).public();
    let answer = tcp(outside, public, SYN | ACK);
    pair.worlds[0].outside(answer).forwarded();
    pair.worlds[0].inside(tcp(inside, outside, ACK)).forwarded();
    public
}

#[test]
fn known_sessions_pass_on_both_and_new_ones_on_the_new_primary_alone() {
    for workers in [1, 2] {
        let mut pair = Pair::new(workers, 4096, |_| {});
        let (inside, there) = ((IN1, 1000), (OUT1, 53));
        let public = pair.worlds[0].inside(udp(inside, there)).public();
        pair.carry();
        pair.drain(0, TIME);
        pair.role(0, Role::Standby);
        for primary in [false, true] {
            let old = &mut pair.worlds[0];
            assert_eq!(old.inside(udp(inside, there)).public(), public);
            assert_eq!(old.outside(udp(there, public)).ends().1, inside);
            let about = error(OUT_ROUTER, 3, 1, &udp(public, there));
            old.outside(about).forwarded();
            // From a known subscriber, from an unknown one, to a known mapping, and a ping.
            for packet in [
                udp(inside, (OUT2, 53)),
                udp((IN2, 1000), there),
                echo((IN2, 7), OUT1),
            ] {
                assert_refused(old.inside(packet).verdict, DropReason::Draining);
            }
            assert_refused(old.outside(udp((OUT2, 53), public)).verdict, DropReason::Draining);
            assert_eq!((old.sessions().len(), old.mappings().len()), (1, 1));
            if primary {
                let new = &mut pair.worlds[1];
                assert_eq!(new.inside(udp(inside, there)).public(), public);
                assert_eq!(new.outside(udp(there, public)).ends().1, inside);
            } else {
                pair.carry();
                pair.role(1, Role::Primary);
                pair.carry();
            }
        }
        assert_eq!(pair.drained(0), 4, "two packets, twice");
        // What the new one begins is told to the old one, and passes there as well.
        let second = pair.worlds[1].inside(udp((IN2, 1000), there)).public();
        pair.carry();
        assert_eq!(pair.worlds[0].inside(udp((IN2, 1000), there)).public(), second);
        pair.drain(0, Ticks::ZERO);
        let old = &mut pair.worlds[0];
        assert_refused(old.inside(udp(inside, there)).verdict, DropReason::NotPrimary);
        assert_refused(
            old.inside(udp(inside, (OUT2, 53))).verdict,
            DropReason::NotPrimary,
        );
        pair.assert_no_trouble();
        pair.assert_same();
    }
}

#[test]
fn it_ends_by_time_if_nobody_ends_it_and_begins_by_nothing_but_a_handover() {
    let mut pair = Pair::new(1, 4096, |_| {});
    let (inside, there) = ((IN1, 1000), (OUT1, 53));
    pair.worlds[0].inside(udp(inside, there)).forwarded();
    pair.carry();
    pair.drain(0, TIME);
    pair.role(0, Role::Standby);
    pair.worlds[0].inside(udp(inside, there)).forwarded();
    pair.pass(Ticks(49));
    pair.worlds[0].inside(udp(inside, there)).forwarded();
    pair.pass(Ticks(1));
    assert_refused(
        pair.worlds[0].inside(udp(inside, there)).verdict,
        DropReason::NotPrimary,
    );
    // A standby is not brought to it by a word that comes late.
    pair.drain(0, TIME);
    assert_refused(
        pair.worlds[0].inside(udp(inside, there)).verdict,
        DropReason::NotPrimary,
    );
    // Nor by one that was meant for an earlier change.
    pair.role(0, Role::Primary);
    pair.drain(0, Ticks(1));
    pair.pass(Ticks(2));
    pair.role(0, Role::Standby);
    assert_refused(
        pair.worlds[0].inside(udp(inside, there)).verdict,
        DropReason::NotPrimary,
    );
    pair.assert_no_trouble();
}

#[test]
fn one_that_takes_the_role_back_is_primary_as_before() {
    let mut pair = Pair::new(1, 4096, |_| {});
    pair.worlds[0].inside(udp((IN1, 1000), (OUT1, 53))).forwarded();
    pair.carry();
    pair.drain(0, TIME);
    pair.role(0, Role::Standby);
    pair.role(0, Role::Primary);
    pair.worlds[0].inside(udp((IN1, 1001), (OUT1, 53))).forwarded();
    pair.pass(Ticks::from_seconds(6));
    pair.worlds[0].inside(udp((IN1, 1001), (OUT1, 53))).forwarded();
    assert_eq!(pair.drained(0), 0);
    pair.carry();
    pair.assert_no_trouble();
    pair.assert_same();
}

/// What only the old one saw would leave a connection open on the new one for hours.
#[test]
fn a_connection_changes_its_state_on_the_new_primary() {
    let mut pair = Pair::new(1, 4096, |_| {});
    let (inside, there, half) = ((IN1, 1000), (OUT1, 80), (IN2, 1000));
    let public = connect(&mut pair, inside, there);
    let of_half = pair.worlds[0].inside(syn(half, there)).public();
    pair.carry();
    pair.drain(0, TIME);
    pair.role(0, Role::Standby);
    pair.carry();
    let old = &mut pair.worlds[0];
    old.inside(tcp(inside, there, ACK | PSH)).forwarded();
    old.outside(tcp(there, public, ACK | PSH)).forwarded();
    // The SYN sent again passes, its answer opens the connection.
    old.inside(syn(half, there)).forwarded();
    assert_refused(
        old.outside(tcp(there, of_half, SYN | ACK)).verdict,
        DropReason::Draining,
    );
    assert_refused(
        old.inside(tcp(inside, there, FIN | ACK)).verdict,
        DropReason::Draining,
    );
    assert_refused(
        old.outside(tcp(there, public, FIN | ACK)).verdict,
        DropReason::Draining,
    );
    pair.role(1, Role::Primary);
    pair.carry();
    let new = &mut pair.worlds[1];
    new.outside(tcp(there, of_half, SYN | ACK)).forwarded();
    new.inside(tcp(half, there, ACK)).forwarded();
    new.inside(tcp(inside, there, FIN | ACK)).forwarded();
    new.outside(tcp(there, public, FIN | ACK)).forwarded();
    pair.carry();
    // Nobody sends a RST twice: it passes, and tells nobody anything.
    let emitted = pair.worlds[0].engines[0].counters().replica_emitted;
    pair.worlds[0].inside(tcp(half, there, RST)).forwarded();
    pair.carry();
    assert_eq!(pair.worlds[0].engines[0].counters().replica_emitted, emitted);
    pair.drain(0, Ticks::ZERO);
    pair.pass(Ticks::from_seconds(300));
    assert_eq!(
        pair.worlds[1].sessions().len(),
        1,
        "the closed one is over, the reset one idles out"
    );
    pair.assert_same();
    pair.assert_no_trouble();
}

fn nat64(plan: &mut Plan) {
    plan.nat64();
}

#[test]
fn ipv6_drains_as_well() {
    let mut pair = Pair::new(1, 4096, nat64);
    let packet = udp6((HOST1, 1000), (in64(OUT1), 53));
    pair.worlds[0].inside(packet.clone()).forwarded();
    pair.carry();
    pair.drain(0, TIME);
    pair.role(0, Role::Standby);
    let old = &mut pair.worlds[0];
    old.inside(packet.clone()).forwarded();
    let new = udp6((HOST2, 1000), (in64(OUT1), 53));
    assert_refused(old.inside(new).verdict, DropReason::Draining);
    assert_eq!(pair.drained(0), 1);
    pair.drain(0, Ticks::ZERO);
    assert_refused(pair.worlds[0].inside(packet).verdict, DropReason::NotPrimary);
}
