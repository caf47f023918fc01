//! Virtual ports under a worker: files of packets, a port that is its own other end, and a transmit queue that is full.

use std::fs;
use std::path::Path;

use rte_bindings::{Mempool, Port, PortConfig};
use tandem_dataplane::routes::Action;
use tandem_dataplane::worker::{Burst, TxPath};
use tandem_engine::drop_reason::DropReason;

use crate::frames::{End, ends, error, frame, syn, udp};
use crate::plan::*;
use crate::rig::{Options, Rig, bytes, eal, pool, take_turn, unique};

/// A started port with one queue each way.
fn port(devargs: &str, pool: &Mempool) -> Port {
    let mut port = Port::attach(eal(), devargs).expect("a device");
    port.configure(&PortConfig::default(), pool)
        .expect("a configuration");
    port.start().expect("a start");
    port
}

/// Writes a pcap file of Ethernet frames.
fn write_pcap(path: &Path, frames: &[Vec<u8>]) {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1] {
        file.extend(word.to_le_bytes());
    }
    for (at, frame) in frames.iter().enumerate() {
        let length = frame.len() as u32;
        for word in [at as u32, 0, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    fs::write(path, file).expect("a file");
}

/// The frames of a pcap file.
fn read_pcap(path: &Path) -> Vec<Vec<u8>> {
    let file = fs::read(path).expect("a file");
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four octets"));
    assert_eq!(word(20), 1, "Ethernet");
    let (mut frames, mut at) = (Vec::new(), 24);
    while at < file.len() {
        let length = word(at + 8) as usize;
        frames.push(file[at + 16..at + 16 + length].to_vec());
        at += 16 + length;
    }
    frames
}

/// What a frame must look like after it was sent on: other MAC addresses, one hop less.
fn sent_on(by: u8, to: u32, packet: tandem_wire::build::PacketBuilder<'_>) -> Vec<u8> {
    let mut expected = frame(by, packet.ttl(63));
    expected[..6].copy_from_slice(&host_mac(to));
    expected[6..12].copy_from_slice(&mac(by));
    expected
}

#[test]
fn a_file_of_packets_becomes_another() {
    let turn = take_turn();
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let inside: [End; 3] = [(IN1, 5000), (IN2, 6000), (IN1, 5001)];
    let mut send = Vec::new();
    for end in inside {
        send.push(frame(P_IN, udp(end, (OUT1, 53))));
        send.push(frame(P_IN, udp(end, (OUT1, 54)).data(&[9; 1000])));
        send.push(frame(P_IN, syn(end, (OUT1, 80))));
    }
    write_pcap(&path("send.pcap"), &send);
    let pool = pool();
    let devargs = |name: &str, rx: &str, tx: &str| {
        format!(
            "{},rx_pcap={},tx_pcap={}",
            unique(name),
            path(rx).display(),
            path(tx).display()
        )
    };
    let in_port = port(&devargs("net_pcap_in", "send.pcap", "back.pcap"), &pool);
    let out_port = port(&devargs("net_pcap_out", "send.pcap", "out.pcap"), &pool);
    let mut rig = Rig::on(
        turn,
        Options {
            rx: vec![(P_IN, in_port.rx_queue(0).expect("a queue"))],
            tx: vec![
                (P_IN, TxPath::Own(in_port.tx_queue(0).expect("a queue"))),
                (P_OUT, TxPath::Own(out_port.tx_queue(0).expect("a queue"))),
            ],
            ..Options::default()
        },
    );
    assert_eq!(rig.count(|c| c.rx_packets), 9);
    assert_eq!(rig.count(|c| c.tx_packets), 9, "{:?}", rig.drops());
    // What the port was given can be read before it is closed, as far as the file's buffer was written; so the public ends
    // are asked for with packets of memory, on their way back.
    let view = |rig: &mut Rig| {
        let query = tandem_engine::view::Query::new(
            tandem_engine::view::Ask::Sessions,
            tandem_engine::view::Filter::default(),
            0,
            64,
        );
        let command = tandem_dataplane::command::Command::Query(7, Box::new(query));
        assert!(rig.mailboxes[0].commands.push(command).is_ok());
        let mut answer = None;
        for _ in 0..100 {
            rig.turn_once();
            answer = answer.or_else(|| rig.mailboxes[0].answers.pop());
        }
        answer
            .expect("an answer within a bounded number of turns")
            .1
            .rows
            .sessions
    };
    let sessions = view(&mut rig);
    assert_eq!(sessions.len(), 9);
    let public_of = |end: End, protocol: u8, port: u16| -> End {
        let inside = std::net::IpAddr::V4(end.0.into());
        let session = sessions
            .iter()
            .find(|s| {
                s.inside == inside
                    && s.inside_port == end.1
                    && s.protocol == protocol
                    && s.outside_port == port
            })
            .expect("the session");
        let std::net::IpAddr::V4(public) = session.public else {
            panic!("IPv4")
        };
        (public.into(), session.public_port)
    };
    let mut expected = Vec::new();
    let mut expected_back = Vec::new();
    for end in inside {
        let (u53, u54, t80) = (
            public_of(end, 17, 53),
            public_of(end, 17, 54),
            public_of(end, 6, 80),
        );
        assert_eq!(u53, u54, "endpoint-independent");
        expected.push(sent_on(P_OUT, ROUTER, udp(u53, (OUT1, 53))));
        expected.push(sent_on(P_OUT, ROUTER, udp(u54, (OUT1, 54)).data(&[9; 1000])));
        expected.push(sent_on(P_OUT, ROUTER, syn(t80, (OUT1, 80))));
        rig.feed(P_OUT, &[frame(P_OUT, udp((OUT1, 53), u53))]);
        expected_back.push(sent_on(P_IN, end.0, udp((OUT1, 53), end)));
    }
    rig.finish();
    drop((in_port, out_port));
    assert_eq!(read_pcap(&path("out.pcap")), expected);
    assert_eq!(read_pcap(&path("back.pcap")), expected_back);
}

/// What leaves comes back in: a routing loop. The packet ends with its TTL, and its sender, behind the translation, is told.
#[test]
fn a_routing_loop_ends_with_the_ttl() {
    let turn = take_turn();
    let pool = pool();
    let ring = port(&unique("net_ring_loop"), &pool);
    let mut rig = Rig::on(
        turn,
        Options {
            rx: vec![(P_OUT, ring.rx_queue(0).expect("a queue"))],
            tx: vec![(P_OUT, TxPath::Own(ring.tx_queue(0).expect("a queue")))],
            ..Options::default()
        },
    );
    let (router, net) = (ip(192, 0, 2, 20), ip(198, 51, 106, 0));
    rig.routes
        .set(
            net,
            24,
            std::sync::Arc::new(Action::Ways(vec![way(I_OUT, Some(router))])),
        )
        .expect("a route");
    rig.routes
        .neighbour(I_OUT, router.into(), Some(mac(P_OUT)), false);
    rig.routes.publish();
    let sent = rig.pass(P_IN, &frame(P_IN, udp((IN1, 5000), (net + 1, 53))));
    assert_eq!(sent.len(), 1, "{:?}", rig.drops());
    let error = error(&sent[0].frame);
    assert_eq!((sent[0].port, error.to, error.kind), (P_IN, IN1, (11, 0)));
    assert_eq!(error.about, ((IN1, 5000), (net + 1, 53)));
    assert_eq!(rig.count(|c| c.tx_packets), 63);
    assert_eq!(rig.count(|c| c.routed), 62);
    assert_eq!(rig.drops(), [("ttl-expired", 1)]);
    rig.finish();
}

#[test]
fn bursts_from_a_port_to_a_port() {
    let turn = take_turn();
    let pool = pool();
    let (a, b) = (
        port(&unique("net_ring_a"), &pool),
        port(&unique("net_ring_b"), &pool),
    );
    let mut rig = Rig::on(
        turn,
        Options {
            rx: vec![(P_IN, a.rx_queue(0).expect("a queue"))],
            tx: vec![(P_OUT, TxPath::Own(b.tx_queue(0).expect("a queue")))],
            ..Options::default()
        },
    );
    let (mut to, mut from) = (a.tx_queue(0).expect("a queue"), b.rx_queue(0).expect("a queue"));
    for i in 0..1000u32 {
        let packet = udp((IN1 + i / 500, 1024 + (i % 500) as u16), (OUT1, 53));
        let mut burst = Burst::default();
        burst.push(rig.mbuf(&frame(P_IN, packet))).expect("room");
        assert_eq!(to.tx_burst(&mut burst), 1);
    }
    rig.settle();
    assert_eq!(rig.count(|c| c.rx_packets), 1000);
    assert_eq!(rig.count(|c| c.rx_bursts), 16, "64 at a time");
    let mut burst = Burst::default();
    let mut publics = std::collections::HashSet::new();
    while from.rx_burst(&mut burst) > 0 {
        for mbuf in burst.drain() {
            publics.insert(ends(&bytes(&mbuf)).0);
        }
    }
    assert_eq!(publics.len(), 1000, "each with a public end of its own");
    rig.finish();
}

#[test]
fn what_a_full_queue_does_not_take_is_dropped_and_counted() {
    let turn = take_turn();
    let pool = pool();
    let ring = port(&unique("net_ring_full"), &pool);
    let mut from = ring.rx_queue(0).expect("a queue");
    let mut rig = Rig::on(
        turn,
        Options {
            tx: vec![(P_OUT, TxPath::Own(ring.tx_queue(0).expect("a queue")))],
            ..Options::default()
        },
    );
    let frames: Vec<_> = (0..1500u16)
        .map(|i| frame(P_IN, udp((IN1, 2000 + i), (OUT1, 53))))
        .collect();
    rig.feed(P_IN, &frames);
    let (sent, full) = (rig.count(|c| c.tx_packets), rig.dropped(DropReason::TxFull));
    assert!(
        sent > 0 && full > 0 && sent + full == 1500,
        "{sent} sent, {full} not"
    );
    rig.check_books();
    let mut burst = Burst::default();
    let mut came = 0;
    while from.rx_burst(&mut burst) > 0 {
        came += burst.len() as u64;
        burst.clear();
    }
    assert_eq!(came, sent);
    // And it goes on.
    rig.feed(P_IN, &frames[..1]);
    assert_eq!(from.rx_burst(&mut burst), 1);
    burst.clear();
    rig.finish();
}
