//! TCP windows, where a service set tracks them: segments outside what both ends agreed on are dropped, in either family.

use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Verdict};
use tandem_engine::view::SessionState;
use tandem_wire::build::{PacketBuilder, PacketBuilder6};
use tandem_wire::tcp::{ACK, RST, SYN};

use super::*;

/// A segment with these numbers.
fn segment(src: End, dst: End, flags: u8, seq: u32, ack: u32) -> Vec<u8> {
    match (of4(src.0), of4(dst.0)) {
        (Some(s), Some(d)) => packets::bytes(
            &PacketBuilder::tcp(s, src.1, d, dst.1, flags)
                .seq_ack(seq, ack)
                .data(b"x"),
        ),
        _ => packets6::bytes6(
            &PacketBuilder6::tcp(src.0, src.1, dst.0, dst.1, flags)
                .seq_ack(seq, ack)
                .data(b"x"),
        ),
    }
}

#[test]
fn segments_outside_the_windows_are_dropped() {
    for_both(|h| {
        let mut world = world(vec![], vec![]);
        world.reload(|plan| plan.set().tcp.track_window = true);
        let (inside, outside) = ((h.in1, 1000), (h.out1, 80));
        world.inside(segment(inside, outside, SYN, 1000, 0)).forwarded();
        world
            .outside(segment(outside, inside, SYN | ACK, 500_000, 1002))
            .forwarded();
        world
            .inside(segment(inside, outside, ACK, 1002, 500_002))
            .forwarded();
        // A blind attacker's guesses.
        let far = Verdict::Drop(DropReason::TcpOutOfWindow, Answer::None);
        for flags in [ACK, RST | ACK] {
            let guess = segment(outside, inside, flags, 9_000_000, 1003);
            assert_eq!(world.outside(guess).verdict, far);
            let guess = segment(inside, outside, flags, 70_000_000, 500_002);
            assert_eq!(world.inside(guess).verdict, far);
        }
        assert_eq!(world.drops.get(DropReason::TcpOutOfWindow), 4);
        world
            .outside(segment(outside, inside, ACK, 500_002, 1003))
            .forwarded();
        let session = world.sessions()[0];
        assert_eq!((session.packets_out, session.packets_in), (2, 2));
        // Windows take a record of their own, and give it back.
        assert_eq!(world.engines[0].table_use()[0].0, 2);
        world.pass_seconds(8000);
        assert_eq!(world.engines[0].table_use()[0].0, 0);
    });
}

#[test]
fn a_guessed_syn_does_not_open_the_windows_for_a_guessed_reset() {
    for_both(|h| {
        let mut world = world(vec![], vec![]);
        world.reload(|plan| plan.set().tcp.track_window = true);
        let (inside, outside) = ((h.in1, 1000), (h.out1, 80));
        let syn_ack = segment(outside, inside, SYN | ACK, 500_000, 1002);
        world.inside(segment(inside, outside, SYN, 1000, 0)).forwarded();
        world.outside(syn_ack.clone()).forwarded();
        // Its answer was lost: the server says it again.
        world.outside(syn_ack).forwarded();
        world
            .inside(segment(inside, outside, ACK, 1002, 500_002))
            .forwarded();
        for guess in [
            segment(outside, inside, SYN, 900_000_000, 0),
            segment(outside, inside, RST, 900_000_002, 0),
            segment(outside, inside, SYN | ACK, 900_000_000, 1003),
            segment(outside, inside, RST | ACK, 900_000_002, 1003),
        ] {
            assert_eq!(world.outside(guess).dropped(), DropReason::TcpOutOfWindow);
        }
        assert_eq!(world.sessions()[0].state, SessionState::Established);
        world
            .outside(segment(outside, inside, ACK, 500_002, 1003))
            .forwarded();
        world
            .inside(segment(inside, outside, ACK, 1003, 500_003))
            .forwarded();
    });
}
