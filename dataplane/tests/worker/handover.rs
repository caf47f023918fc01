//! Several workers: whoever receives a packet, its owner decides, and what comes out is what one worker alone sends.

use std::collections::BTreeMap;

use tandem_wire::build::{PacketBuilder, Payload};
use tandem_wire::{ipv4, tcp};

use crate::frames::{End, ends, error, frame, open, syn, udp};
use crate::plan::*;
use crate::rig::{Options, Rig};

const SUBSCRIBERS: u8 = 24;

fn subscriber(i: u8) -> u32 {
    ip(10, 0, 1, 16 + i)
}

/// What left, without what may differ between runs: the public ends, which are random, are only said to be some.
fn outcome(rig: &mut Rig) -> Vec<String> {
    let name = |end: End| {
        if (POOL..=POOL_LAST).contains(&end.0) {
            "public".into()
        } else {
            format!("{:08x}:{}", end.0, end.1)
        }
    };
    let mut all: Vec<String> = rig
        .sent
        .drain(..)
        .map(|s| {
            let (dst, vlan, packet) = open(&s.frame);
            let (src, to) = ends(&s.frame);
            let protocol = packet[9];
            // A query's identifier is one of the public ends, whichever address stands beside it.
            let (src, to) = if protocol == 1 {
                ((src.0, 0), (to.0, 0))
            } else {
                (src, to)
            };
            format!(
                "{} {dst:02x?} {vlan:?} {protocol} {} {} {}",
                s.port,
                name(src),
                name(to),
                packet.len()
            )
        })
        .collect();
    all.extend(
        rig.punted
            .drain(..)
            .map(|p| format!("kernel {} {}", p.interface, p.frame.len())),
    );
    all.sort();
    all
}

/// The same traffic through so many workers, every packet received by another one.
fn run(workers: u8) -> (Vec<Vec<String>>, Vec<(&'static str, u64)>) {
    let mut rig = Rig::with(Options {
        workers,
        // Two have two shards each.
        shards_each: 1 + u8::from(workers == 2),
        ..Options::default()
    });
    let mut next = 0;
    let mut feed = |rig: &mut Rig, port, frame: &Vec<u8>| {
        next += 1;
        rig.feed_at(next % usize::from(workers), port, &[frame]);
    };
    let mut outcomes = Vec::new();

    // Everybody opens a UDP and a TCP session and pings.
    let mut publics: BTreeMap<(u8, u8), End> = BTreeMap::new();
    for i in 0..SUBSCRIBERS {
        for (kind, packet) in [
            udp((subscriber(i), 5000), (OUT1, 53)),
            syn((subscriber(i), 5000), (OUT1, 80)),
            PacketBuilder::echo(subscriber(i), OUT1, 5000, 1).data(b"ping"),
            PacketBuilder::new(subscriber(i), OUT1 + u32::from(i), Payload::Raw { proto: 47 }).data(b"gre"),
        ]
        .into_iter()
        .enumerate()
        {
            let before = rig.sent.len();
            feed(&mut rig, P_IN, &frame(P_IN, packet));
            if let Some(sent) = rig.sent.get(before) {
                publics.insert((i, kind as u8), ends(&sent.frame).0);
            }
        }
    }
    outcomes.push(outcome(&mut rig));

    // They are answered, and somebody they never heard of writes to them.
    for i in 0..SUBSCRIBERS {
        let (udp_end, tcp_end, id) = (publics[&(i, 0)], publics[&(i, 1)], publics[&(i, 2)]);
        for packet in [
            udp((OUT1, 53), udp_end),
            PacketBuilder::tcp(OUT1, 80, tcp_end.0, tcp_end.1, tcp::SYN | tcp::ACK).data(b""),
            PacketBuilder::echo_reply(OUT1, id.0, id.1, 1).data(b"ping"),
            udp((OUT1 + 5, 9), udp_end),
            udp((OUT1, 53), (udp_end.0, 1000)),
        ] {
            feed(&mut rig, P_OUT, &frame(P_OUT, packet));
        }
    }
    outcomes.push(outcome(&mut rig));

    // They write to each other by their public ends.
    for i in 0..SUBSCRIBERS {
        let to = publics[&((i + 7) % SUBSCRIBERS, 0)];
        feed(&mut rig, P_IN, &frame(P_IN, udp((subscriber(i), 5000), to)));
    }
    outcomes.push(outcome(&mut rig));

    // A router outside complains about what they sent; packets die here; some are too large; fragments come last first.
    for i in 0..SUBSCRIBERS {
        let public = publics[&(i, 0)];
        let about = frame(P_OUT, udp(public, (OUT1, 53)));
        let icmp = PacketBuilder::icmp(ROUTER, public.0, 3, 1, 0).data(&about[14..]);
        feed(&mut rig, P_OUT, &frame(P_OUT, icmp));
        feed(
            &mut rig,
            P_IN,
            &frame(P_IN, udp((subscriber(i), 5000), (OUT1, 53)).ttl(1)),
        );
        feed(
            &mut rig,
            P_IN,
            &frame(P_IN, udp((subscriber(i), 5000), (OUT_VLAN, 53)).data(&[1; 1400])),
        );
        let whole = frame(P_IN, udp((subscriber(i), 5000), (OUT1, 53)).data(&[2; 1000]));
        let raw = PacketBuilder::new(subscriber(i), OUT1, Payload::Raw { proto: ipv4::UDP });
        let first = frame(P_IN, raw.data(&whole[34..34 + 800]).id(9).fragment(true, 0));
        let last = frame(P_IN, raw.data(&whole[34 + 800..]).id(9).fragment(false, 800));
        // A port spreads by addresses: fragments of one packet reach one worker.
        let at = usize::from(i) % usize::from(workers);
        rig.feed_at(at, P_IN, &[last, first]);
    }
    for sent in rig.sent.iter().filter(|s| open(&s.frame).2[9] == 1) {
        let error = error(&sent.frame);
        assert_eq!(error.about.0.0, error.to, "told as its sender knows it");
    }
    outcomes.push(outcome(&mut rig));

    // Nobody's business, and the kernel's.
    feed(
        &mut rig,
        P_TRUNK,
        &frame(P_TRUNK, udp((OTHER, 1), (OTHER_VLAN, 2))),
    );
    feed(&mut rig, P_OUT, &frame(P_OUT, udp((OUT1, 1), (OWN_OUT, 2))));
    outcomes.push(outcome(&mut rig));

    if workers > 1 {
        assert!(
            rig.count(|c| c.handed_over) > 100,
            "most packets came to a worker that does not own them"
        );
    }
    rig.check_books();
    let drops = rig.drops();
    rig.finish();
    (outcomes, drops)
}

#[test]
fn any_number_of_workers_sends_the_same() {
    let one = run(1);
    assert_eq!(one.0[0].len(), usize::from(SUBSCRIBERS) * 4, "{:?}", one.1);
    assert_eq!(one.0[2].len(), usize::from(SUBSCRIBERS));
    for workers in [2, 3, 4] {
        let several = run(workers);
        for (step, (a, b)) in one.0.iter().zip(&several.0).enumerate() {
            let differ: Vec<_> = a.iter().zip(b).filter(|(a, b)| a != b).take(4).collect();
            let counts = (a.len(), b.len());
            assert!(
                a == b,
                "step {step} with {workers} workers: {counts:?}, {differ:#?}"
            );
        }
        assert_eq!(one.1, several.1, "drops with {workers} workers");
    }
}
