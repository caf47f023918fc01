//! A stateful firewall through a whole worker: IPv6 untranslated, NAT64 and NAPT44 behind the same policies.

use tandem_dataplane::command::Event;
use tandem_engine::program::PolicyAction;
use tandem_engine::session::Direction;
use tandem_engine::view::PolicyEvent;
use tandem_wire::build::{PacketBuilder, PacketBuilder6};
use tandem_wire::{Ipv4, tcp};

use crate::frames::{ends, error, frame, packet, syn, udp};
use crate::frames6::*;
use crate::plan::*;
use crate::plan6::*;
use crate::rig::{Options, Rig};

fn rig() -> Rig {
    Rig::with(Options {
        program: firewall(),
        ..Options::default()
    })
}

#[test]
fn ipv6_sessions_begin_inside_and_are_answered() {
    let mut rig = rig();
    // Nothing comes in before something went out.
    rig.feed(P_OUT, &[frame6(P_OUT, udp6((OUT6, 53), (IN6, 5000)))]);
    assert!(rig.sent.is_empty());
    let out = rig.pass_one(P_IN, &frame6(P_IN, udp6((IN6, 5000), (OUT6, 53))), P_OUT);
    assert_eq!(ends6(&out), ((IN6, 5000), (OUT6, 53)));
    let back = rig.pass_one(P_OUT, &frame6(P_OUT, udp6((OUT6, 53), (IN6, 5000))), P_IN);
    assert_eq!(ends6(&back), ((OUT6, 53), (IN6, 5000)));
    rig.feed(P_OUT, &[frame6(P_OUT, udp6((OUT6, 54), (IN6, 5000)))]);
    assert!(rig.sent.is_empty());
    // A router outside may complain about what went out, and only about that.
    let quoted = packet6(&out).0.to_vec();
    let too_big = PacketBuilder6::icmp(OUT6 + 9, IN6, 2, 0, 1280).data(&quoted);
    let told = error6(&rig.pass_one(P_OUT, &frame6(P_OUT, too_big), P_IN));
    assert_eq!((told.to, told.kind, told.word), (IN6, (2, 0), 1280));
    let foreign = frame6(P_OUT, udp6((IN6, 9), (OUT6, 9)));
    let too_big = PacketBuilder6::icmp(OUT6 + 9, IN6, 2, 0, 1280).data(&foreign[14..]);
    assert!(rig.pass(P_OUT, &frame6(P_OUT, too_big)).is_empty());
    rig.finish();
}

#[test]
fn ipv6_from_outside_needs_a_policy() {
    let mut rig = rig();
    let sent = rig.pass_one(P_OUT, &frame6(P_OUT, syn6((OUT6, 999), (IN6, LET_IN))), P_IN);
    assert_eq!(ends6(&sent), ((OUT6, 999), (IN6, LET_IN)));
    let answer = PacketBuilder6::tcp(IN6, LET_IN, OUT6, 999, tcp::SYN | tcp::ACK).data(b"");
    rig.pass_one(P_IN, &frame6(P_IN, answer), P_OUT);
    assert!(
        rig.pass(P_OUT, &frame6(P_OUT, syn6((OUT6, 999), (IN6, 22))))
            .is_empty()
    );
    assert_eq!(rig.drops().iter().map(|d| d.1).sum::<u64>(), 1);
    rig.finish();
}

#[test]
fn denied_packets_get_no_answer_and_rejected_ones_do() {
    let mut rig = rig();
    for to in [OUT6, in64(OUT1)] {
        assert!(
            rig.pass(P_IN, &frame6(P_IN, syn6((IN6, 1000), (to, DENIED))))
                .is_empty()
        );
        // A reset from who was called.
        let call = PacketBuilder6::tcp(IN6, 1000, to, REJECTED, tcp::SYN).seq_ack(77, 0);
        let sent = rig.pass_one(P_IN, &frame6(P_IN, call), P_IN);
        let (octets, meta) = packet6(&sent);
        assert_eq!((meta.src, meta.dst), (to, IN6));
        let flags = tcp::RST | tcp::ACK;
        assert_eq!(reset(&octets[40..]), (REJECTED, 1000, flags, 0, 78));
        // Anything else is told by this box.
        let sent = rig.pass_one(P_IN, &frame6(P_IN, udp6((IN6, 1000), (to, REJECTED))), P_IN);
        let told = error6(&sent);
        assert_eq!((told.from, told.to, told.kind), (OWN6_IN, IN6, (1, 1)));
        assert_eq!(told.about, ((IN6, 1000), (to, REJECTED)));
    }
    let call = PacketBuilder::tcp(IN1, 1000, OUT1, REJECTED, tcp::SYN).seq_ack(77, 0);
    let sent = rig.pass_one(P_IN, &frame(P_IN, call), P_IN);
    assert_eq!(ends(&sent), ((OUT1, REJECTED), (IN1, 1000)));
    let l4 = Ipv4::new_checked(packet(&sent)).expect("IPv4").payload();
    assert_eq!(reset(l4), (REJECTED, 1000, tcp::RST | tcp::ACK, 0, 78));
    let sent = rig.pass_one(P_IN, &frame(P_IN, udp((IN1, 1000), (OUT1, REJECTED))), P_IN);
    assert_eq!((error(&sent).from, error(&sent).kind), (OWN_IN, (3, 13)));
    assert!(
        rig.pass(P_IN, &frame(P_IN, syn((IN1, 1000), (OUT1, DENIED))))
            .is_empty()
    );
    // From outside the same.
    let sent = rig.pass_one(P_OUT, &frame6(P_OUT, syn6((OUT6, 1), (IN6, REJECTED))), P_OUT);
    assert_eq!(ends6(&sent), ((IN6, REJECTED), (OUT6, 1)));
    assert_eq!((rig.count(|c| c.resets_sent), rig.count(|c| c.icmp_sent)), (4, 3));
    rig.finish();
}

#[test]
fn what_policies_with_a_log_decide_is_told() {
    let mut rig = rig();
    rig.feed(P_IN, &[frame6(P_IN, syn6((IN6, 1000), (OUT6, DENIED)))]);
    rig.feed(P_OUT, &[frame6(P_OUT, syn6((OUT6, 999), (IN6, LET_IN)))]);
    let events: Vec<(u16, PolicyAction, Direction, u128, u16)> = rig
        .policy_events
        .iter()
        .map(|e: &PolicyEvent| (e.policy, e.action, e.direction, e.key.src, e.key.dport))
        .collect();
    assert_eq!(
        events,
        [
            (1, PolicyAction::Deny, Direction::Out, IN6, DENIED),
            (3, PolicyAction::Permit, Direction::In, OUT6, LET_IN),
        ]
    );
    assert_eq!(rig.count(|c| c.policy_events), 2);
    // Nobody reads them: half of the mailbox is kept for what matters more, and what is lost is counted.
    let mailbox = std::sync::Arc::clone(&rig.mailboxes[0]);
    let half = mailbox.events.capacity() / 2;
    for _ in 0..half {
        mailbox
            .events
            .push(Event::Resolve(I_IN, std::net::Ipv6Addr::from_bits(IN6).into()))
            .expect("room");
    }
    rig.leave_mailboxes = true;
    for i in 0..1100u16 {
        rig.feed(P_IN, &[frame6(P_IN, syn6((IN6, 2000 + i), (OUT6, DENIED)))]);
    }
    assert_eq!((mailbox.events.len(), rig.count(|c| c.policy_events)), (half, 2));
    rig.workers[0].publish();
    assert!(
        rig.count(|c| c.policy_events_lost) >= 1100 - 1024,
        "the rest waits in the engine"
    );
    rig.leave_mailboxes = false;
    rig.finish();
}
