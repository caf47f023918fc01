//! The HA data link: what a standby forwards, what a primary takes from it, and what neither does.

use std::sync::Arc;

use tandem_dataplane::routes::Action;
use tandem_engine::drop_reason::DropReason;
use tandem_engine::program::{DataLink, LinkWay, LinkedSet, Program};
use tandem_wire::build::{IcmpErrorKind, PacketBuilder, icmp_error};
use tandem_wire::forwarded::{self, Header, Way, name_key};
use tandem_wire::l4::parse_ipv4_verified;
use tandem_wire::{ethernet, tcp};

use crate::frames::{End, ends, error, ethernet_frame, frame, open, packet, udp};
use crate::plan::*;
use crate::rig::{Options, Rig};

const PORT: u16 = 4794;
/// Octets before a forwarded packet: IP, UDP, header.
const BEFORE: usize = 36;

/// The other HA link, on VLAN 300.
const OWN_SECOND: u32 = ip(172, 17, 255, 254);

fn between(local: u32, peer: u32) -> Way {
    Way {
        local: std::net::Ipv4Addr::from_bits(local).into(),
        peer: std::net::Ipv4Addr::from_bits(peer).into(),
        port: PORT,
    }
}

fn way() -> Way {
    between(OWN_OTHER, OTHER)
}

fn second() -> Way {
    between(OWN_SECOND, OTHER_VLAN)
}

/// The program of all tests, with the untagged interface of the trunk as the link, and if so its VLAN as the other one.
fn program(has_second: bool) -> Program {
    let sets = vec![LinkedSet::new("cgn", 7, 1, I_IN, I_OUT)];
    let by = |interface, way| LinkWay { interface, way };
    let other = has_second.then(|| by(I_OTHER_VLAN, second()));
    Program {
        data_link: Some(DataLink::new(by(I_OTHER, way()), other, sets)),
        ..crate::plan::program()
    }
}

fn rig(is_standby: bool, workers: u8) -> Rig {
    rig_of(is_standby, workers, false)
}

fn rig_of(is_standby: bool, workers: u8, has_second: bool) -> Rig {
    Rig::with(Options {
        workers,
        program: program(has_second),
        is_standby,
        ..Options::default()
    })
}

fn octets(builder: PacketBuilder<'_>) -> Vec<u8> {
    let mut all = vec![0; builder.len()];
    builder.write(&mut all).expect("a packet");
    all
}

fn side(outside: bool) -> Header {
    Header {
        outside,
        redundancy_set: 7,
        service_set: name_key("cgn"),
    }
}

/// A frame as the other chassis sends it over the link.
fn by_peer(header: &Header, packet: &[u8]) -> Vec<u8> {
    ethernet_frame(mac(P_TRUNK), ethernet::IPV4, &datagram(way(), header, packet))
}

/// A datagram that comes to this end of a way from the other one.
fn datagram(Way { local, peer, port }: Way, header: &Header, packet: &[u8]) -> Vec<u8> {
    let theirs = Way {
        local: peer,
        peer: local,
        port,
    };
    let mut all = vec![0; BEFORE];
    all.extend(packet);
    forwarded::write(&theirs, header, 5, &mut all).expect("written");
    all
}

/// What a frame that left by the link carries.
fn carried(frame: &[u8]) -> (Header, Vec<u8>) {
    assert_eq!(open(frame).0, host_mac(OTHER));
    let outer = packet(frame);
    let meta = parse_ipv4_verified(outer).expect("an IPv4 packet");
    assert_eq!((meta.src, meta.dst, meta.dport()), (OWN_OTHER, OTHER, PORT));
    let (header, ethertype) = forwarded::read(&outer[20..]).expect("a header");
    assert_eq!(ethertype, ethernet::IPV4);
    (header, outer[BEFORE..].to_vec())
}

#[test]
fn a_standby_forwards_both_sides_as_they_came() {
    let mut rig = rig(true, 1);
    let inside = udp((IN1, 5000), (OUT1, 53));
    let sent = rig.pass_one(P_IN, &frame(P_IN, inside), P_TRUNK);
    assert_eq!(carried(&sent), (side(false), octets(inside)));
    // To a public end that this chassis was never told of.
    let segment = PacketBuilder::tcp(OUT1, 80, POOL + 3, 4321, tcp::ACK).data(b"more");
    let sent = rig.pass_one(P_OUT, &frame(P_OUT, segment), P_TRUNK);
    assert_eq!(carried(&sent), (side(true), octets(segment)));
    assert_eq!(rig.count(|c| c.forwarded_to_peer), 2);
    assert_eq!(rig.drops(), []);
    // What is for nobody, or for this box, goes as ever.
    rig.feed(P_IN, &[frame(P_IN, udp((IN1, 5000), (OWN_IN, 53)))]);
    assert_eq!(rig.punted.len(), 1);
    rig.finish();
}

#[test]
fn an_error_about_a_session_that_only_the_primary_knows_is_forwarded() {
    let mut rig = rig(true, 1);
    let about = octets(udp((POOL + 3, 4321), (OUT1, 53)));
    let mut too_big = vec![0; 576];
    let kind = IcmpErrorKind::FragmentationNeeded(1400);
    let length = icmp_error(&mut too_big, &about, ROUTER, 1, kind).expect("an error");
    too_big.truncate(length);
    let sent = rig.pass_one(
        P_OUT,
        &ethernet_frame(mac(P_OUT), ethernet::IPV4, &too_big),
        P_TRUNK,
    );
    assert_eq!(carried(&sent), (side(true), too_big));
    rig.finish();
}

#[test]
fn a_primary_takes_them_as_its_own_and_sends_by_its_own_ports() {
    for workers in [1, 2] {
        let mut rig = rig(false, workers);
        for host in 16..40 {
            let inside: End = (ip(10, 0, 1, host), 5000);
            let over = by_peer(&side(false), &octets(udp(inside, (OUT1, 53))));
            let out = rig.pass_one(P_TRUNK, &over, P_OUT);
            let (public, to) = ends(&out);
            assert_eq!((open(&out).0, to), (host_mac(ROUTER), (OUT1, 53)));
            assert!((POOL..=POOL_LAST).contains(&public.0));
            // The answer by the link, and by this chassis' own port.
            let answer = udp((OUT1, 53), public);
            let over = by_peer(&side(true), &octets(answer));
            assert_eq!(ends(&rig.pass_one(P_TRUNK, &over, P_IN)), ((OUT1, 53), inside));
            assert_eq!(
                ends(&rig.pass_one(P_OUT, &frame(P_OUT, answer), P_IN)),
                ((OUT1, 53), inside)
            );
        }
        assert_eq!(rig.count(|c| c.forwarded_by_peer), 48);
        assert_eq!(rig.drops(), []);
        rig.finish();
    }
}

#[test]
fn its_sender_is_answered_from_here() {
    let mut rig = rig(false, 1);
    let late = udp((IN1, 5000), (OUT1, 53)).ttl(1);
    let sent = rig.pass_one(P_TRUNK, &by_peer(&side(false), &octets(late)), P_IN);
    let told = error(&sent);
    assert_eq!((told.from, told.to, told.kind), (OWN_IN, IN1, (11, 0)));
    // For this box: it has an Ethernet header again.
    rig.feed(
        P_TRUNK,
        &[by_peer(&side(false), &octets(udp((IN1, 5000), (OWN_IN, 53))))],
    );
    let punted = rig.punted.pop().expect("for the kernel");
    assert_eq!((punted.interface, &punted.frame[..6]), (I_IN, &mac(P_IN)[..]));
    assert_eq!(ends(&punted.frame).1, (OWN_IN, 53));
    rig.finish();
}

#[test]
fn fragments_meet_wherever_the_first_came_from() {
    let mut rig = rig(false, 1);
    let whole = octets(
        PacketBuilder::udp(IN1, 5000, OUT1, 53)
            .data(&[7; 1200])
            .dont_fragment(false),
    );
    let pieces = tandem_wire::fragment::Fragmenter::new(&whole, 600).expect("to be cut");
    let pieces: Vec<Vec<u8>> = pieces
        .clone()
        .map(|piece| {
            let mut out = vec![0; pieces.piece_len(&piece)];
            pieces.write(&piece, &mut out).expect("a piece");
            out
        })
        .collect();
    assert_eq!(pieces.len(), 3);
    // The first comes last: the others are held, and keep their mark.
    for piece in pieces.iter().rev() {
        rig.feed(P_TRUNK, &[by_peer(&side(false), piece)]);
    }
    assert_eq!(rig.sent.len(), 3);
    assert!(rig.sent.iter().all(|sent| sent.port == P_OUT));
    rig.finish();
}

#[test]
fn nothing_crosses_the_link_twice() {
    let mut rig = rig(true, 1);
    for outside in [false, true] {
        let packet = if outside {
            udp((OUT1, 53), (POOL + 3, 4321))
        } else {
            udp((IN1, 5000), (OUT1, 53))
        };
        assert_eq!(rig.pass(P_TRUNK, &by_peer(&side(outside), &octets(packet))), []);
    }
    assert_eq!(rig.dropped(DropReason::ForwardedNotPrimary), 2);
    // The buffer that comes next has no mark left.
    rig.pass_one(P_IN, &frame(P_IN, udp((IN1, 5000), (OUT1, 53))), P_TRUNK);
    rig.finish();
}

#[test]
fn what_the_other_chassis_would_not_send_is_refused_with_its_reason() {
    let mut rig = rig(false, 1);
    let good = by_peer(&side(false), &octets(udp((IN1, 5000), (OUT1, 53))));
    let mut stranger = good.clone();
    stranger[14 + 15] ^= 1; // source address, and the checksum to go with it
    stranger[14 + 10] = 0;
    stranger[14 + 11] = 0;
    tandem_wire::Ipv4Mut::new_checked(&mut stranger[14..])
        .expect("IPv4")
        .fill_checksum();
    let mut other_version = good.clone();
    other_version[14 + 28] = 2;
    let mut second_hop = good.clone();
    second_hop[14 + 29] = 0x20;
    let set = |redundancy_set, name| Header {
        outside: false,
        redundancy_set,
        service_set: name_key(name),
    };
    let inner = octets(udp((IN1, 5000), (OUT1, 53)));
    for (frame, reason) in [
        (stranger, DropReason::ForwardedByStranger),
        (other_version, DropReason::ForwardedMalformed),
        (second_hop, DropReason::ForwardedMalformed),
        (by_peer(&set(7, "other"), &inner), DropReason::ForwardedUnknownSet),
        (by_peer(&set(8, "cgn"), &inner), DropReason::ForwardedUnknownSet),
    ] {
        let before = rig.dropped(reason);
        assert_eq!(rig.pass(P_TRUNK, &frame), []);
        assert_eq!(rig.dropped(reason), before + 1, "{reason:?}: {:?}", rig.drops());
    }
    // On another port or interface it is no forwarded packet: for the kernel, like all that is for this box.
    rig.feed(P_TRUNK, &[frame(P_TRUNK, udp((OTHER, 1), (OWN_OTHER, PORT + 1)))]);
    rig.feed(P_OUT, &[frame(P_OUT, udp((OTHER, 1), (OWN_OTHER, PORT)))]);
    assert_eq!(rig.punted.len(), 2);
    rig.finish();
}

#[test]
fn what_does_not_fit_or_has_no_way_ends_here() {
    let mut rig = rig(true, 1);
    let fits = PacketBuilder::udp(IN1, 5000, OUT1, 53).data(&[0; 1500 - BEFORE - 28]);
    rig.pass_one(P_IN, &frame(P_IN, fits), P_TRUNK);
    let large = PacketBuilder::udp(IN1, 5000, OUT1, 53).data(&[0; 1500 - BEFORE - 27]);
    assert_eq!(rig.pass(P_IN, &frame(P_IN, large)), []);
    assert_eq!(rig.dropped(DropReason::ForwardTooLarge), 1);
    rig.interfaces.get(I_OTHER).expect("the link").set_up(false);
    assert_eq!(rig.pass(P_IN, &frame(P_IN, udp((IN1, 5000), (OUT1, 53)))), []);
    assert_eq!(rig.dropped(DropReason::PortDown), 1);
    rig.finish();
}

#[test]
fn without_a_link_it_is_dropped_as_ever() {
    let mut rig = Rig::with(Options {
        is_standby: true,
        ..Options::default()
    });
    assert_eq!(rig.pass(P_IN, &frame(P_IN, udp((IN1, 5000), (OUT1, 53)))), []);
    assert_eq!(rig.drops(), [("not-primary", 1)]);
    rig.finish();
}

/// Sends a packet from inside, and says by which of the links it left: the first or the other one.
fn leaves_by_first(rig: &mut Rig) -> bool {
    let sent = rig.pass_one(P_IN, &frame(P_IN, udp((IN1, 5000), (OUT1, 53))), P_TRUNK);
    let (_, vlan, outer) = open(&sent);
    let meta = parse_ipv4_verified(outer).expect("an IPv4 packet");
    assert_eq!(meta.dport(), PORT);
    match vlan {
        None => assert_eq!((meta.src, meta.dst), (OWN_OTHER, OTHER)),
        Some(vlan) => assert_eq!((vlan, meta.src, meta.dst), (300, OWN_SECOND, OTHER_VLAN)),
    }
    vlan.is_none()
}

fn route(rig: &mut Rig, network: u32, action: Action) {
    rig.routes.set(network, 16, Arc::new(action)).expect("a route");
    rig.routes.publish();
}

#[test]
fn the_other_link_carries_what_the_first_does_not() {
    let mut rig = rig_of(true, 1, true);
    let set_cut = |rig: &Rig, cut: [bool; 2]| {
        for (id, cut) in [I_OTHER, I_OTHER_VLAN].into_iter().zip(cut) {
            rig.interfaces.get(id).expect("a link").set_cut(cut);
        }
    };
    assert!(leaves_by_first(&mut rig));
    for (cut, by_first) in [
        ([true, false], false),
        ([true, true], true),
        ([false, true], true),
        ([false, false], true),
    ] {
        set_cut(&rig, cut);
        assert_eq!(leaves_by_first(&mut rig), by_first, "{cut:?}");
    }
    assert_eq!(rig.count(|c| c.forwarded_by_other), 1);
    // Down here is cut, too.
    let set_up = |rig: &Rig, up| rig.interfaces.get(I_OTHER).expect("a link").set_up(up);
    set_up(&rig, false);
    assert!(!leaves_by_first(&mut rig));
    set_up(&rig, true);
    // No route, and one by another interface.
    route(&mut rig, ip(172, 16, 0, 0), Action::Unreachable);
    assert!(!leaves_by_first(&mut rig));
    let elsewhere = Action::Ways(vec![crate::plan::way(I_OUT, Some(ROUTER))]);
    route(&mut rig, ip(172, 16, 0, 0), elsewhere);
    assert!(!leaves_by_first(&mut rig));
    // The only one with a route is taken although it is cut.
    set_cut(&rig, [false, true]);
    assert!(!leaves_by_first(&mut rig));
    assert_eq!(rig.count(|c| c.forwarded_to_peer), 9);
    assert_eq!(rig.count(|c| c.forwarded_by_other), 5);
    assert_eq!(rig.drops(), []);
    route(&mut rig, ip(172, 17, 0, 0), Action::Unreachable);
    assert_eq!(rig.pass(P_IN, &frame(P_IN, udp((IN1, 5000), (OUT1, 53)))), []);
    assert_eq!(rig.drops(), [("not-primary", 1)]);
    rig.finish();
}

#[test]
fn packets_are_taken_by_either_link_with_its_own_ends() {
    let mut rig = rig_of(false, 1, true);
    let inner = octets(udp((IN1, 5000), (OUT1, 53)));
    let by_vlan = |way| {
        let datagram = datagram(way, &side(false), &inner);
        let mut frame = ethernet_frame(mac(P_TRUNK), ethernet::VLAN, &[1, 44]);
        frame.extend(ethernet::IPV4.to_be_bytes());
        frame.extend(datagram);
        frame
    };
    let public = ends(&rig.pass_one(P_TRUNK, &by_vlan(second()), P_OUT)).0;
    let by_first = rig.pass_one(P_TRUNK, &by_peer(&side(false), &inner), P_OUT);
    assert_eq!(ends(&by_first).0, public, "it is the same session");
    assert_eq!(rig.count(|c| c.forwarded_by_peer), 2);
    // The other chassis has one address by each.
    let crossed = between(OWN_SECOND, OTHER);
    assert_eq!(rig.pass(P_TRUNK, &by_vlan(crossed)), []);
    let crossed = datagram(between(OWN_OTHER, OTHER_VLAN), &side(false), &inner);
    let crossed = ethernet_frame(mac(P_TRUNK), ethernet::IPV4, &crossed);
    assert_eq!(rig.pass(P_TRUNK, &crossed), []);
    assert_eq!(rig.dropped(DropReason::ForwardedByStranger), 2);
    // To the address of the other interface: nothing that is forwarded comes so.
    rig.feed(P_TRUNK, &[by_vlan(way())]);
    assert_eq!(rig.punted.len(), 1);
    assert_eq!(rig.count(|c| c.forwarded_by_peer), 2);
    rig.finish();
}
