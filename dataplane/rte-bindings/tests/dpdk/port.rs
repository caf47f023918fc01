//! Ports, on virtual devices.

use std::fs;

use rte_bindings::{
    MacAddr, MbufBurst, Port, PortConfig, PortError, RssFields, RxOffloads, RxQueue, TxOffloads,
};

use crate::common::{eal, fill, frame, numbers, pool};

fn two_queues() -> PortConfig {
    PortConfig {
        rx_queues: 2,
        tx_queues: 2,
        ..PortConfig::default()
    }
}

/// net_ring loops what is sent on a queue back to the receive queue of the same number.
#[test]
fn ring_port_loops_back() {
    let pool = pool("loop", 2047);
    let mut port = Port::attach(eal(), "net_ring_loop").unwrap();
    let config = PortConfig {
        promiscuous: true,
        ..PortConfig::default()
    };
    let grants = port.configure(&config, &pool).unwrap();
    assert!(grants.promiscuous);
    port.start().unwrap();
    let (mut tx, mut rx) = (port.tx_queue(0).unwrap(), port.rx_queue(0).unwrap());

    let mut burst = MbufBurst::<32>::new();
    fill(&pool, &mut burst, 0..32);
    assert_eq!(tx.tx_prepare(&mut burst), 32);
    assert_eq!(tx.tx_burst(&mut burst), 32);
    assert!(burst.is_empty());
    assert_eq!(rx.rx_burst(&mut burst), 32);
    assert_eq!(numbers(&burst), (0..32).collect::<Vec<_>>());
    assert!(
        burst
            .iter()
            .all(|mbuf| mbuf.data() == frame(u16::from(mbuf.data()[15])))
    );
    assert_eq!(rx.rx_burst(&mut burst), 0);
    burst.clear();

    let stats = port.stats().unwrap();
    assert_eq!((stats.rx_packets, stats.tx_packets), (32, 32));
    let xstats = port.xstats().unwrap();
    assert!(
        xstats
            .iter()
            .any(|(name, value)| name == "rx_good_packets" && *value == 32),
        "{xstats:?}"
    );
    port.reset_stats().unwrap();
    assert_eq!(port.stats().unwrap().tx_packets, 0);

    assert_eq!((port.id(), port.name()), (rx.port_id(), "net_ring_loop"));
    drop((tx, rx));
    drop(port);
    assert_eq!(pool.in_use(), 0);
    assert!(
        !Port::names(eal()).iter().any(|name| name == "net_ring_loop"),
        "detached when dropped"
    );
}

/// The ring behind net_ring has 1024 slots, of which one stays empty.
#[test]
fn partial_send_keeps_the_rest() {
    let pool = pool("partial", 4095);
    let mut port = Port::attach(eal(), "net_ring_partial").unwrap();
    port.configure(&PortConfig::default(), &pool).unwrap();
    port.start().unwrap();
    let mut tx = port.tx_queue(0).unwrap();
    let mut burst = MbufBurst::<2048>::new();
    fill(&pool, &mut burst, 0..2000);
    let sent = tx.tx_burst(&mut burst);
    assert!((1..2000).contains(&sent), "{sent}");
    assert_eq!(numbers(&burst), (sent as u16..2000).collect::<Vec<_>>());
    assert_eq!(tx.tx_burst(&mut burst), 0);
    assert_eq!(burst.len(), 2000 - sent);

    let mut rx = port.rx_queue(0).unwrap();
    let mut received = MbufBurst::<2048>::new();
    while rx.rx_burst(&mut received) != 0 {}
    assert_eq!(numbers(&received), (0..sent as u16).collect::<Vec<_>>());
    drop((burst, received));
    assert_eq!(pool.in_use(), 0);
}

/// net_null receives empty packets without end and sends to nowhere.
#[test]
fn queues_are_unique_and_hold_the_port() {
    let pool = pool("queues", 1023);
    let mut port = Port::attach(eal(), "net_null_queues,size=64").unwrap();
    assert!(matches!(port.rx_queue(0), Err(PortError::NotStarted(_))));
    assert!(
        matches!(port.start(), Err(PortError::NotStarted(_))),
        "not configured"
    );
    port.configure(&two_queues(), &pool).unwrap();
    assert!(matches!(port.rx_queue(0), Err(PortError::NotStarted(_))));
    port.start().unwrap();

    let mut queues: Vec<RxQueue> = (0..2).map(|n| port.rx_queue(n).unwrap()).collect();
    assert!(matches!(port.rx_queue(1), Err(PortError::Queue { queue: 1, .. })));
    assert!(matches!(port.rx_queue(2), Err(PortError::Queue { queue: 2, .. })));
    assert!(matches!(port.stop(), Err(PortError::QueuesInUse(_))));
    assert!(matches!(
        port.configure(&two_queues(), &pool),
        Err(PortError::Started(_))
    ));

    let second = queues.pop().unwrap();
    let counted = std::thread::spawn(move || {
        let mut second = second;
        let mut burst = MbufBurst::<32>::new();
        second.rx_burst(&mut burst);
        let lengths: Vec<_> = burst.iter().map(|mbuf| mbuf.pkt_len()).collect();
        (second.queue_id(), lengths)
    });
    assert_eq!(counted.join().unwrap(), (1, vec![64; 32]));
    let again = port.rx_queue(1).unwrap();
    drop(again);
    queues.clear();
    port.stop().unwrap();
    port.stop().unwrap();
    port.configure(&PortConfig::default(), &pool).unwrap();
    port.start().unwrap();
    let last = port.rx_queue(0).unwrap();
    drop(port);
    assert!(
        Port::names(eal()).contains(&"net_null_queues".to_owned()),
        "open while a queue is held"
    );
    drop(last);
    assert!(!Port::names(eal()).contains(&"net_null_queues".to_owned()));
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn handles_are_unique_and_errors_say_why() {
    let port = Port::attach(eal(), "net_null_unique").unwrap();
    assert!(matches!(
        Port::by_name(eal(), "net_null_unique"),
        Err(PortError::InUse(_))
    ));
    assert!(matches!(
        Port::attach(eal(), "net_null_unique"),
        Err(PortError::InUse(_))
    ));
    assert!(matches!(
        Port::by_name(eal(), "net_absent0"),
        Err(PortError::NotFound(_))
    ));
    assert!(matches!(
        Port::attach(eal(), "net_absent0"),
        Err(PortError::Attach { .. })
    ));
    assert!(matches!(
        Port::attach(eal(), "net\0"),
        Err(PortError::Attach { .. })
    ));
    drop(port);
    Port::attach(eal(), "net_null_unique").unwrap();
}

#[test]
fn a_port_made_at_start_is_taken_and_given_back_closed() {
    let port = Port::by_name(eal(), "net_null_start").unwrap();
    assert_eq!(port.name(), "net_null_start");
    assert!(matches!(
        Port::by_name(eal(), "net_null_start"),
        Err(PortError::InUse(_))
    ));
    drop(port);
    assert!(
        matches!(
            Port::by_name(eal(), "net_null_start"),
            Err(PortError::NotFound(_))
        ),
        "closed for good"
    );
}

#[test]
fn wishes_are_granted_as_far_as_possible() {
    let pool = pool("grants", 1023);
    let mut port = Port::attach(eal(), "net_null_grants").unwrap();
    let info = port.info().unwrap();
    assert_eq!(
        (info.driver.as_str(), info.device.as_str()),
        ("net_null", "net_null_grants")
    );
    let config = PortConfig {
        rx_desc: 100,
        rss: Some(RssFields::IPV4 | RssFields::IPV4_UDP),
        rx_offloads: RxOffloads::IPV4_CHECKSUM | RxOffloads::VLAN_STRIP,
        tx_offloads: TxOffloads::all(),
        ..two_queues()
    };
    let grants = port.configure(&config, &pool).unwrap();
    assert_eq!(grants.rx_offloads, config.rx_offloads & info.rx_offloads);
    assert_eq!(grants.tx_offloads, info.tx_offloads);
    assert_eq!(grants.rss, config.rss.unwrap() & info.rss);

    let too_many = PortConfig {
        rx_queues: info.max_rx_queues + 1,
        ..PortConfig::default()
    };
    assert!(matches!(
        port.configure(&too_many, &pool),
        Err(PortError::Range {
            what: "rx_queues",
            ..
        })
    ));
    let none = PortConfig {
        tx_queues: 0,
        ..PortConfig::default()
    };
    assert!(matches!(
        port.configure(&none, &pool),
        Err(PortError::Range {
            what: "tx_queues",
            ..
        })
    ));
    assert!(
        matches!(port.start(), Err(PortError::NotStarted(_))),
        "a failed configure leaves no port to start"
    );
}

#[test]
fn addresses_mtu_and_link() {
    let pool = pool("control", 1023);
    let mut port = Port::attach(eal(), "net_null_control").unwrap();
    port.configure(
        &PortConfig {
            mtu: Some(1600),
            ..PortConfig::default()
        },
        &pool,
    )
    .unwrap();
    assert_eq!(port.mtu().unwrap(), 1600);
    port.set_mtu(1400).unwrap();
    assert_eq!(port.mtu().unwrap(), 1400);
    port.start().unwrap();
    let link = port.link().unwrap();
    assert_eq!(
        (link.up, link.speed_mbps, link.full_duplex),
        (true, Some(10_000), true)
    );
    let mac = MacAddr([2, 0, 0, 0xab, 0, 1]);
    port.set_mac(mac).unwrap();
    assert_eq!(port.mac().unwrap(), mac);
    assert_eq!(mac.to_string(), "02:00:00:ab:00:01");
    assert!(port.set_mac(MacAddr([1, 0, 0, 0, 0, 1])).is_err(), "multicast");
}

/// A capture file read through one port and written by the other has the same packets, and nothing stays.
#[test]
fn pcap_in_equals_pcap_out() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.pcap"), folder.path().join("out.pcap"));
    let packets: Vec<Vec<u8>> = (0..100u16)
        .map(|n| {
            (0..60 + usize::from(n) * 14)
                .map(|i| (i as u16 ^ n) as u8)
                .collect()
        })
        .collect();
    fs::write(&input, pcap(&packets)).unwrap();

    let pool = pool("pcap", 1023);
    let devargs = format!(
        "net_pcap0,rx_pcap={},tx_pcap={}",
        input.display(),
        output.display()
    );
    let mut port = Port::attach(eal(), &devargs).unwrap();
    port.configure(&PortConfig::default(), &pool).unwrap();
    port.start().unwrap();
    let (mut rx, mut tx) = (port.rx_queue(0).unwrap(), port.tx_queue(0).unwrap());
    let mut burst = MbufBurst::<32>::new();
    let mut total = 0;
    while rx.rx_burst(&mut burst) != 0 {
        assert!(
            burst
                .iter()
                .all(|mbuf| mbuf.port() == port.id() && mbuf.is_contiguous())
        );
        total += burst.len();
        while !burst.is_empty() {
            assert_ne!(tx.tx_burst(&mut burst), 0);
        }
    }
    assert_eq!(total, 100);
    drop((rx, tx, port));
    assert_eq!(packets_of(&fs::read(&output).unwrap()), packets);
    assert_eq!(pool.in_use(), 0);
}

/// Little-endian capture file, Ethernet.
fn pcap(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 65535, 1] {
        file.extend(word.to_le_bytes());
    }
    for packet in packets {
        let len = packet.len() as u32;
        [1, 2, len, len]
            .iter()
            .for_each(|word: &u32| file.extend(word.to_le_bytes()));
        file.extend(packet);
    }
    file
}

fn packets_of(file: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    let mut rest = &file[24..];
    while !rest.is_empty() {
        let len = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        packets.push(rest[16..16 + len].to_vec());
        rest = &rest[16 + len..];
    }
    packets
}
