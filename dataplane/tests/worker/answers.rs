//! ICMP errors of our own: about which packet, to whom, and how many. RFC 1812 section 4.3.2, RFC 5508.

use tandem_engine::drop_reason::DropReason;

use crate::frames::{End, ends, error, frame, open, packet, udp};
use crate::plan::*;
use crate::rig::Rig;

/// The packet of a frame as it was before anybody touched it.
fn quote(frame: &[u8]) -> Vec<u8> {
    let packet = packet(frame);
    packet[..packet.len().min(548)].to_vec()
}

fn public_end(rig: &mut Rig, inside: End) -> End {
    ends(&rig.pass_one(P_IN, &frame(P_IN, udp(inside, (OUT1, 1))), P_OUT)).0
}

#[test]
fn ttl_ran_out_on_the_way_out() {
    let mut rig = Rig::new();
    let dying = frame(P_IN, udp((IN1, 5000), (OUT1, 53)).ttl(1));
    for established in [false, true] {
        if established {
            public_end(&mut rig, (IN1, 5000));
        }
        let answer = rig.pass_one(P_IN, &dying, P_IN);
        assert_eq!(open(&answer).0, host_mac(IN1));
        let error = error(&answer);
        assert_eq!((error.from, error.to, error.kind), (OWN_IN, IN1, (11, 0)));
        assert_eq!(error.about, ((IN1, 5000), (OUT1, 53)), "as the sender sent it");
        assert_eq!(error.quote, quote(&dying));
    }
    assert_eq!(rig.dropped(DropReason::TtlExpired), 2);
    assert_eq!(rig.count(|c| c.icmp_sent), 2);
    rig.finish();
}

#[test]
fn ttl_ran_out_on_the_way_in_shows_no_inside_address() {
    let mut rig = Rig::new();
    let public = public_end(&mut rig, (IN1, 5000));
    let dying = frame(P_OUT, udp((OUT1, 1), public).ttl(1));
    let answer = rig.pass_one(P_OUT, &dying, P_OUT);
    let error = error(&answer);
    assert_eq!((error.from, error.to, error.kind), (OWN_OUT, OUT1, (11, 0)));
    assert_eq!(error.about, ((OUT1, 1), public));
    assert_eq!(error.quote, quote(&dying));
    rig.finish();
}

#[test]
fn too_large_with_df() {
    let mut rig = Rig::new();
    let data = [1; 1400];
    // Translated: a new session and an established one.
    let large = frame(P_IN, udp((IN1, 5000), (OUT_VLAN, 53)).data(&data));
    for _ in 0..2 {
        let error = error(&rig.pass_one(P_IN, &large, P_IN));
        assert_eq!(
            (error.from, error.to, error.kind, error.mtu),
            (OWN_IN, IN1, (3, 4), 1280)
        );
        assert_eq!(error.quote, quote(&large));
        let small = frame(P_IN, udp((IN1, 5000), (OUT_VLAN, 53)));
        rig.pass_one(P_IN, &small, P_TRUNK);
    }
    // Routed.
    let large = frame(P_TRUNK, udp((OTHER, 5000), (OTHER_VLAN, 53)).data(&data));
    let error = error(&rig.pass_one(P_TRUNK, &large, P_TRUNK));
    assert_eq!(
        (error.from, error.to, error.kind, error.mtu),
        (OWN_OTHER, OTHER, (3, 4), 1280)
    );
    assert_eq!(error.quote, quote(&large));
    assert_eq!(rig.dropped(DropReason::MtuExceeded), 3);
    rig.finish();
}

#[test]
fn hairpinned_packets_are_answered_inside() {
    let mut rig = Rig::new();
    let second = public_end(&mut rig, (IN2, 2222));
    let first = public_end(&mut rig, (IN1, 1111));
    // Two hops: it dies on the second pass, when its source is already public.
    let dying = frame(P_IN, udp((IN1, 1111), second).ttl(2));
    let sent = rig.pass(P_IN, &dying);
    assert_eq!(sent.len(), 1, "{:?}", rig.drops());
    if open(&sent[0].frame).2[9] == 1 {
        let error = error(&sent[0].frame);
        assert_eq!((error.to, error.kind), (IN1, (11, 0)));
        assert_eq!(
            error.about,
            ((IN1, 1111), second),
            "translated back for its sender"
        );
    } else {
        // One box is one hop.
        assert_eq!(ends(&sent[0].frame), (first, (IN2, 2222)));
    }
    rig.finish();
}

#[test]
fn an_interface_without_address_answers_with_another_one() {
    let mut rig = Rig::new();
    let dying = crate::frames::tagged(P_TRUNK, &[100], udp((IN_VLAN, 1), (OUT1, 2)).ttl(1));
    let answer = rig.pass_one(P_TRUNK, &dying, P_TRUNK);
    assert_eq!(open(&answer).1, Some(100));
    assert_eq!(error(&answer).from, OWN_IN);
    rig.finish();
}

#[test]
fn a_box_without_addresses_does_not_answer() {
    let mut rig = Rig::new();
    for interface in &rig.interfaces.all {
        interface.set_ipv4(0);
    }
    assert!(
        rig.pass(P_IN, &frame(P_IN, udp((IN1, 1), (OUT1, 2)).ttl(1)))
            .is_empty()
    );
    assert_eq!(
        (rig.count(|c| c.icmp_sent), rig.count(|c| c.icmp_suppressed)),
        (0, 1)
    );
    rig.finish();
}

/// RFC 1812 section 4.3.2.8.
#[test]
fn errors_have_a_budget_by_the_second() {
    let mut rig = Rig::new();
    let dying: Vec<_> = (0..16)
        .map(|i| frame(P_IN, udp((IN1, 1000 + i), (OUT1, 2)).ttl(1)))
        .collect();
    for _ in 0..100 {
        rig.feed(P_IN, &dying);
    }
    assert_eq!(
        (rig.count(|c| c.icmp_sent), rig.count(|c| c.icmp_suppressed)),
        (1000, 600)
    );
    assert_eq!(rig.sent.len(), 1000);
    rig.wait(10);
    rig.feed(P_IN, &dying);
    assert_eq!(rig.count(|c| c.icmp_sent), 1016);
    assert_eq!(rig.dropped(DropReason::TtlExpired), 1616);
    rig.finish();
}

/// A flood from outside does not silence what subscribers are told, nor the other way round.
#[test]
fn inside_and_outside_have_budgets_of_their_own() {
    let mut rig = Rig::new();
    let public = public_end(&mut rig, (IN1, 5000));
    let before = rig.sent.len();
    let flood = vec![frame(P_OUT, udp((OUT1, 1), public).ttl(1)); 16];
    for _ in 0..100 {
        rig.feed(P_OUT, &flood);
    }
    assert_eq!(
        (rig.count(|c| c.icmp_sent), rig.count(|c| c.icmp_suppressed)),
        (1000, 600)
    );
    let large = frame(P_IN, udp((IN1, 5001), (OUT_VLAN, 53)).data(&[1; 1400]));
    for _ in 0..100 {
        rig.feed(P_IN, &vec![large.clone(); 16]);
    }
    assert_eq!(
        (rig.count(|c| c.icmp_sent), rig.count(|c| c.icmp_suppressed)),
        (2000, 1200)
    );
    let told = rig.sent[before..].iter().filter(|sent| sent.port == P_IN);
    assert!(told.clone().all(|sent| error(&sent.frame).kind == (3, 4)));
    assert_eq!(told.count(), 1000);
    // Those of no service set share with the outside.
    rig.feed(P_TRUNK, &[frame(P_TRUNK, udp((OTHER, 1), (OUT1, 2)).ttl(1))]);
    assert_eq!(rig.count(|c| c.icmp_suppressed), 1201);
    rig.finish();
}

#[test]
fn errors_find_no_buffer_or_no_way_back() {
    let mut rig = Rig::new();
    let dying = frame(P_TRUNK, udp((OTHER, 1), (OUT1, 2)).ttl(1));
    let mbuf = rig.mbuf(&dying);
    let all: Vec<_> = std::iter::from_fn(|| rig.pool.alloc()).collect();
    rig.feed_mbufs(0, P_TRUNK, vec![mbuf]);
    drop(all);
    // From our own address, and from one without a way back.
    rig.feed(P_TRUNK, &[frame(P_TRUNK, udp((OWN_OUT, 1), (OUT1, 2)).ttl(1))]);
    rig.feed(P_TRUNK, &[frame(P_TRUNK, udp((BLACKHOLE, 1), (OUT1, 2)).ttl(1))]);
    assert!(rig.sent.is_empty() && rig.punted.is_empty());
    assert_eq!(
        (rig.count(|c| c.icmp_sent), rig.count(|c| c.icmp_suppressed)),
        (0, 3)
    );
    assert_eq!(rig.drops(), [("ttl-expired", 3)]);
    rig.finish();
}
