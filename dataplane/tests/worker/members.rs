//! Redundant interfaces in a worker: packets leave by the active member, what the other receives ends there, and a switch takes
//! effect with the next burst.

use crate::frames::{ends, ethernet_frame, frame, open, tagged, udp};
use crate::plan::*;
use crate::rig::{Options, Rig};
use tandem_wire::ethernet;

fn rig(workers: u8) -> Rig {
    Rig::with(Options {
        redundant: true,
        workers,
        ..Options::default()
    })
}

#[test]
fn packets_leave_by_the_active_member_and_come_by_it_alone() {
    let mut rig = rig(1);
    let there = frame(P_IN, udp((IN1, 5000), (OUT1, 53)));
    let out = rig.pass_one(P_IN, &there, P_OUT);
    let (public, _) = ends(&out);
    let back = frame(P_OUT, udp((OUT1, 53), public));
    rig.pass_one(P_OUT, &back, P_IN);
    for _ in 0..3 {
        // One MAC address, whichever member.
        for (active, idle) in [(P_OUT_SECOND, P_OUT), (P_OUT, P_OUT_SECOND)] {
            rig.interfaces.activate(active);
            assert_eq!(rig.pass_one(P_IN, &there, active), out);
            rig.pass_one(active, &back, P_IN);
            let before = rig.drops();
            assert_eq!(rig.pass(idle, &back), []);
            let counted = |drops: &[(&str, u64)]| drops.iter().map(|(_, count)| *count).sum::<u64>();
            let after = rig.drops();
            assert_eq!(
                (after[0].0, counted(&after)),
                ("member-not-active", counted(&before) + 1)
            );
        }
    }
    assert_eq!(rig.drops(), [("member-not-active", 6)]);
    rig.finish();
}

#[test]
fn arp_multicast_and_tagged_frames_of_the_other_member_end_there_as_well() {
    let mut rig = rig(1);
    let arp = ethernet_frame([0xff; 6], ethernet::ARP, &[1; 46]);
    let vlan = tagged(P_TRUNK, &[200], udp((OUT_VLAN, 1), (ip(224, 0, 0, 5), 2)));
    rig.feed(P_OUT_SECOND, &[&arp]);
    rig.feed(P_TRUNK_SECOND, &[&arp, &vlan]);
    assert_eq!(
        (rig.punted.len(), rig.drops()),
        (0, vec![("member-not-active", 3)])
    );
    rig.interfaces.activate(P_TRUNK_SECOND);
    rig.feed(P_TRUNK_SECOND, &[&arp, &vlan]);
    rig.feed(P_TRUNK, &[&arp, &vlan]);
    let to: Vec<u16> = rig.punted.drain(..).map(|punted| punted.interface).collect();
    assert_eq!(
        (to, rig.drops()),
        (vec![I_OTHER, I_OUT_VLAN], vec![("member-not-active", 5)])
    );
    // What the kernel writes, announcements for one, leaves by the active member.
    rig.kernel_writes(I_OUT_VLAN, &arp);
    let sent = rig.sent.remove(0);
    assert_eq!((sent.port, open(&sent.frame).1), (P_TRUNK_SECOND, Some(200)));
    rig.finish();
}

#[test]
fn sessions_of_all_workers_follow_a_switch() {
    let mut rig = rig(2);
    let hosts = |last: u8| frame(P_IN, udp((ip(10, 0, 1, last), 5000), (OUT1, 53)));
    for active in [P_OUT, P_OUT_SECOND, P_OUT] {
        rig.interfaces.activate(active);
        for last in 16..48 {
            rig.pass_one(P_IN, &hosts(last), active);
        }
    }
    assert_eq!(rig.drops(), []);
    rig.finish();
}
