//! Taps: what they look like, what frames come out of them, and that they vanish.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use tandem_control::kernel::{KernelError, Rtnl, Tap, TapConfig, TapError};

use crate::lab::{Namespace, frame};

fn prepared() -> (Namespace, Tap) {
    let namespace = Namespace::new();
    let tap = namespace.tap("p0", 1);
    namespace.ip("address add 10.0.0.1/24 dev p0");
    namespace.ip("neigh add 10.0.0.2 lladdr 02:00:00:00:09:09 dev p0 nud permanent");
    (namespace, tap)
}

/// The internet checksum (RFC 1071) over some parts, each but the last of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The checksums of an IPv4 frame with UDP or TCP are complete.
fn assert_complete(frame: &[u8]) {
    let packet = &frame[14..14 + usize::from(u16::from_be_bytes([frame[16], frame[17]]))];
    let (header, payload) = packet.split_at(usize::from(packet[0] & 15) * 4);
    assert_eq!(checksum(&[header]), 0, "IPv4 header");
    let pseudo = [0, header[9]];
    let length = (payload.len() as u16).to_be_bytes();
    assert_eq!(
        checksum(&[&header[12..20], &pseudo, &length, payload]),
        0,
        "transport checksum is complete"
    );
}

fn is_ipv4(frame: &[u8], protocol: u8) -> bool {
    frame.len() > 34 && frame[12..14] == [8, 0] && frame[23] == protocol
}

#[test]
fn it_has_the_wanted_name_address_and_mtu_and_vanishes_when_dropped() {
    let namespace = Namespace::new();
    let config = TapConfig {
        name: "port-1.100".into(),
        mac: [2, 1, 2, 3, 4, 5],
        mtu: 9000,
    };
    namespace.inside(|| {
        let tap = Tap::create(&config).expect("tap");
        let mut rtnl = Rtnl::open().expect("socket");
        let link = rtnl.link("port-1.100").expect("it exists");
        assert_eq!(
            (link.ifindex, link.mac, link.mtu, link.up),
            (tap.ifindex(), Some(config.mac), 9000, true)
        );
        assert!(link.carrier);
        assert!(matches!(Tap::create(&config), Err(TapError::Exists(name)) if name == "port-1.100"));
        rtnl.set_mtu(link.ifindex, 1400).expect("mtu");
        rtnl.set_up(link.ifindex, false).expect("down");
        let link = rtnl.link("port-1.100").expect("it exists");
        assert_eq!((link.mtu, link.up), (1400, false));
        drop(tap);
        assert!(matches!(rtnl.link("port-1.100"), Err(KernelError::NoDevice(_))));
    });
    for name in ["", "sixteen-octets-x", "a/b", "a b", ".."] {
        assert!(matches!(
            Tap::create(&TapConfig {
                name: name.into(),
                ..config.clone()
            }),
            Err(TapError::Name(_))
        ));
    }
}

#[test]
fn nothing_waits_nothing_blocks() {
    let (_namespace, tap) = prepared();
    let mut buffer = [0; 2048];
    while tap.recv(&mut buffer).expect("no error").is_some() {}
    assert_eq!(tap.recv(&mut buffer).expect("no error"), None);
    assert!(tap.send(&[0; 10]).is_err(), "less than an Ethernet header");
}

#[test]
fn udp_checksums_are_complete() {
    let (namespace, tap) = prepared();
    namespace.inside(|| {
        let socket = UdpSocket::bind("10.0.0.1:5000").expect("bind");
        for length in [0, 1, 100, 1472] {
            socket.send_to(&vec![7; length], "10.0.0.2:5001").expect("send");
            let frame = frame(&tap, "a datagram", |frame| {
                is_ipv4(frame, 17) && frame.len() == 42 + length
            });
            assert_complete(&frame);
        }
    });
}

#[test]
fn tcp_comes_in_segments_of_the_mtu_with_complete_checksums() {
    use std::io::Write;
    let (namespace, tap) = prepared();
    namespace.inside(|| {
        let writer = std::thread::scope(|scope| {
            let connect = scope.spawn(|| {
                let peer: SocketAddr = "10.0.0.2:80".parse().expect("address");
                let mut stream =
                    TcpStream::connect_timeout(&peer, Duration::from_secs(20)).expect("connected");
                stream
                    .write_all(&vec![0x55; 14_600])
                    .expect("written to the socket buffer");
                stream
            });
            let syn = frame(&tap, "a SYN", |frame| is_ipv4(frame, 6) && frame[47] & 0x3f == 2);
            assert_complete(&syn);
            assert!(tap.send(&syn_ack(&syn)).expect("tap sends"));
            // The initial window is ten segments: with segmentation offload they would be one frame of 14,600 octets.
            for _ in 0..8 {
                let data = frame(&tap, "data", |frame| is_ipv4(frame, 6) && frame.len() > 1000);
                assert!(data.len() <= 1514, "{} octets", data.len());
                assert_complete(&data);
            }
            connect.join().expect("the writer")
        });
        drop(writer);
    });
}

/// Answers a SYN: window 65535, MSS 1460, no other option.
fn syn_ack(syn: &[u8]) -> Vec<u8> {
    let mut tcp = Vec::new();
    tcp.extend(&syn[36..38]);
    tcp.extend(&syn[34..36]);
    tcp.extend(1000u32.to_be_bytes());
    let sequence = u32::from_be_bytes(syn[38..42].try_into().expect("four octets"));
    tcp.extend(sequence.wrapping_add(1).to_be_bytes());
    tcp.extend([0x60, 0x12, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 0x05, 0xb4]);
    let mut ip = vec![0x45, 0, 0, 44, 0, 0, 0x40, 0, 64, 6, 0, 0];
    ip.extend(&syn[30..34]);
    ip.extend(&syn[26..30]);
    let sum = checksum(&[&ip]).to_be_bytes();
    ip[10..12].copy_from_slice(&sum);
    let sum = checksum(&[&ip[12..20], &[0, 6, 0, 24], &tcp]).to_be_bytes();
    tcp[16..18].copy_from_slice(&sum);
    let mut frame = Vec::new();
    frame.extend(&syn[6..12]);
    frame.extend(&syn[0..6]);
    frame.extend([8, 0]);
    frame.extend(&ip);
    frame.extend(&tcp);
    frame
}
