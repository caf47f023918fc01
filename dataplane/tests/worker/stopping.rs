//! The end of a worker: whatever it still has is dropped and counted.

use tandem_wire::build::{PacketBuilder, Payload};
use tandem_wire::ipv4;

use crate::frames::{frame, syn, udp};
use crate::plan::*;
use crate::rig::{Options, Rig};

#[test]
fn what_waits_is_dropped_and_counted() {
    let mut rig = Rig::new();
    let raw = PacketBuilder::new(IN1, OUT1, Payload::Raw { proto: ipv4::UDP });
    rig.feed(
        P_IN,
        &[frame(P_IN, raw.data(&[1; 800]).id(7).fragment(true, 800))],
    );
    rig.feed(P_OUT, &[frame(P_OUT, syn((OUT1, 1000), (POOL, 5000)))]);
    rig.feed(P_IN, &[frame(P_IN, udp((IN1, 1), (BEHIND_SILENT, 53)))]);
    assert_eq!(rig.workers[0].in_hand(), 3);
    rig.stop();
    assert_eq!(rig.drops(), [("stopping", 3)]);
    // What was published at the end is what was counted.
    let published: u64 = rig.stats[0].drops().iter().sum();
    assert_eq!(published, 3);
    rig.finish();
}

#[test]
fn what_lies_in_rings_is_dropped_and_counted() {
    let mut rig = Rig::with(Options {
        workers: 2,
        ..Options::default()
    });
    // Received, handed over, and never taken.
    let frames: Vec<_> = (16..32)
        .map(|h| frame(P_IN, udp((ip(10, 0, 1, h), 1), (OUT1, 2))))
        .collect();
    let mut burst = Box::<tandem_dataplane::worker::Burst>::default();
    for frame in &frames {
        burst.push(rig.mbuf(frame)).unwrap();
    }
    rig.workers[0].process_burst(P_IN, &mut burst);
    rig.workers[0].flush();
    let over = rig.count(|c| c.handed_over);
    assert!((1..16).contains(&over), "{over} of 16 are the other's");
    rig.collect();
    rig.stop();
    assert_eq!(rig.drops(), [("stopping", over)]);
    assert_eq!(rig.pool.in_use(), rig.in_use_before);
}
