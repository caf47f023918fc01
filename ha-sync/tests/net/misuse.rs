//! What comes to the port and is not the peer, or a peer that misbehaves: it changes nothing and has a name.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ha_sync::net::{Endpoint, FailureKind, Security, Stream, Timing};

use crate::node::{Folder, Node, PATIENCE, Tell, addresses, connect_from, endpoint, pair, talk};

fn address(endpoint: &Endpoint) -> SocketAddr {
    SocketAddr::new(endpoint.local, endpoint.port)
}

#[test]
fn garbage_and_strangers_leave_a_running_connection_alone() {
    let folder = Folder::new("garbage");
    let (low, high) = pair(&folder);
    let (to, peer) = (address(&low), high.local);
    let (listener, connector) = (Node::start(low), Node::start(high));
    talk(&listener, &connector);

    for (octets, kind) in [
        (&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], FailureKind::Garbage),
        (&[0xff; 4000][..], FailureKind::Garbage),
        (&[22, 3, 1, 0, 4, 9, 9, 9, 9][..], FailureKind::Handshake),
        (&b"TdCh\x00\x01\x00\x01"[..], FailureKind::Plain),
    ] {
        let before = listener.status().channel.counters.failures(kind);
        let mut stream = connect_from(peer, to);
        stream.write_all(octets).expect("sent");
        let mut answer = Vec::new();
        // An alert or a reset; anyway an end.
        let _ended = stream.read_to_end(&mut answer);
        assert!(
            !answer.windows(4).any(|window| window == b"TdCh"),
            "nothing is said to it"
        );
        listener.until(kind.name(), |status| {
            status.channel.counters.failures(kind) > before
        });
    }
    let (stranger, _) = addresses();
    let mut stream = connect_from(stranger, to);
    let read = stream.read(&mut [0; 16]);
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    let failure = listener
        .until_failed(FailureKind::Stranger)
        .channel
        .last_failure
        .expect("failure");
    assert!(failure.text.contains(&stranger.to_string()), "{}", failure.text);

    talk(&listener, &connector);
    assert_eq!(listener.status().conversation.connects, 1);
    assert_eq!(connector.status().conversation.disconnects, 0);
}

#[test]
fn an_end_that_says_nothing_is_given_up_and_does_not_bar_the_way() {
    let folder = Folder::new("half-open");
    let (mut low, high) = pair(&folder);
    low.timing = Timing {
        handshake: Duration::from_millis(300),
        ..low.timing
    };
    let (to, peer) = (address(&low), high.local);
    let listener = Node::start(low);
    let silent: Vec<_> = (0..6).map(|_| connect_from(peer, to)).collect();
    listener.until_failed(FailureKind::Crowded);
    let connector = Node::start(high);
    talk(&listener, &connector);
    let status = listener.until("given up", |status| {
        status.channel.counters.failures(FailureKind::HandshakeTimeout) >= 4
    });
    assert_eq!(status.conversation.disconnects, 0);
    drop(silent);
}

#[test]
fn a_flood_of_strangers_is_counted_and_does_not_have_the_status_made_each_time() {
    let folder = Folder::new("flood");
    let (low, high) = pair(&folder);
    let to = address(&low);
    let (listener, connector) = (Node::start(low), Node::start(high));
    talk(&listener, &connector);
    let (stranger, _) = addresses();
    let (before, began) = (listener.status().conversation.shown, Instant::now());
    (0..100).for_each(|_| drop(connect_from(stranger, to)));
    let status = listener.until("all", |status| {
        status.channel.counters.failures(FailureKind::Stranger) == 100
    });
    let made = u128::from(status.conversation.shown - before);
    let regular = began.elapsed().as_millis() / 100 + 2;
    assert!(made <= regular, "{made} times, and {regular} by the clock");
    assert_eq!(status.conversation.disconnects, 0);
}

#[test]
fn streams_have_numbers_and_ports_of_their_own() {
    let (low, high) = addresses();
    let of = |local, peer, number, of| Endpoint {
        stream: Stream { number, of },
        ..endpoint(local, peer, Security::None)
    };
    let nodes = [
        of(low, high, 0, 2),
        of(high, low, 0, 2),
        of(low, high, 1, 2),
        of(high, low, 1, 2),
    ]
    .map(Node::start);
    talk(&nodes[0], &nodes[1]);
    talk(&nodes[2], &nodes[3]);
    drop(nodes);
    let (one, three) = (Node::start(of(low, high, 0, 1)), Node::start(of(high, low, 0, 3)));
    one.until_failed(FailureKind::Stream);
    three.until_failed(FailureKind::Stream);
    assert_eq!(one.status().conversation.connects, 0);
}

#[test]
fn what_is_not_taken_stops_the_sender_and_nothing_is_lost() {
    let folder = Folder::new("stalled");
    let (low, high) = pair(&folder);
    let (listener, connector) = (Node::start(low), Node::start(high));
    listener.until_connected();
    listener.take(false);
    let said: Vec<u8> = (0..64u32 << 20).map(|octet| (octet % 251) as u8).collect();
    connector.tell(Tell::Say(said.clone()));
    // What lies in between is what the receiver keeps, what the kernel's buffers take, and what waits for the wire.
    let stalled = listener.until("stalled", |status| status.channel.counters.receive_stalls > 0);
    assert!(stalled.channel.counters.received_bytes < 4 << 20, "{stalled:#?}");
    // The sender shows what it has left now and then while something happens, not at the moment when the receiver stalls.
    let began = Instant::now();
    while connector.status().conversation.unsaid <= 32 << 20 {
        assert!(began.elapsed() < PATIENCE, "most of it was never asked for");
        connector.tell(Tell::Say(Vec::new()));
        std::thread::sleep(Duration::from_millis(10));
    }
    listener.take(true);
    let heard = listener.until("all", |status| status.conversation.heard.len() == said.len());
    assert!(
        heard.conversation.heard == said,
        "the same octets in the same order"
    );
    assert_eq!(heard.conversation.disconnects, 0);
}

#[test]
fn a_refusal_by_the_conversation_ends_the_connection_and_is_named() {
    let folder = Folder::new("refusal");
    let (low, high) = pair(&folder);
    let (listener, connector) = (Node::start(low), Node::start(high));
    talk(&listener, &connector);
    listener.tell(Tell::Refuse(b"this is why"));
    // What it is told and what comes go different ways: the one must be there before the other.
    listener.until("ready to refuse", |status| status.conversation.refuses);
    connector.tell(Tell::Say(b"something else".to_vec()));
    let status = listener.until_failed(FailureKind::Conversation);
    assert_eq!(
        status.channel.last_failure.expect("failure").text,
        "not what was agreed"
    );
    // What it had said still reaches the other end, which may see by itself what does not fit.
    connector.until("why", |status| {
        status.conversation.heard.ends_with(b"this is why")
    });
    listener.until("again", |status| status.conversation.connects == 2);
    talk(&listener, &connector);
}
