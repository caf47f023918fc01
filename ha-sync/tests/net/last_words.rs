//! What a connection brought before it ended is taken all the same, when there is room for it a moment later.

use std::time::{Duration, Instant};

use ha_sync::net::{ChannelState, FailureKind};

use crate::node::{Folder, Node, Tell, pair};

/// More than one piece of what is read at once, less than what waits at most.
const SAID: usize = 600 << 10;

/// A pair of which the one that connects has said much, and nothing was taken; and what it said.
fn said_and_not_taken(folder: &Folder) -> (Node, Node, Vec<u8>) {
    let (low, high) = pair(folder);
    let (listener, connector) = (Node::start(low), Node::start(high));
    listener.until_connected();
    connector.until_connected();
    listener.take(false);
    let said: Vec<u8> = (0..SAID).map(|octet| (octet % 251) as u8).collect();
    connector.tell(Tell::Say(said.clone()));
    listener.until("there", |status| {
        status.channel.counters.received_bytes >= SAID as u64
    });
    assert_eq!(listener.status().conversation.heard.len(), 0);
    (listener, connector, said)
}

#[test]
fn what_came_before_the_end_is_taken_when_there_is_room_again() {
    let folder = Folder::new("last-words");
    let (listener, connector, said) = said_and_not_taken(&folder);
    connector.stop();
    // It is gone, and nobody is told so as long as there may be room soon.
    let until = Instant::now() + Duration::from_millis(100);
    while Instant::now() < until {
        assert_eq!(listener.status().conversation.disconnects, 0);
        std::thread::sleep(Duration::from_millis(2));
    }
    listener.take(true);
    let status = listener.until_failed(FailureKind::Closed);
    assert_eq!(status.conversation.disconnects, 1);
    assert!(status.conversation.heard == said, "all of it, in order");
}

#[test]
fn one_that_takes_nothing_is_not_waited_for_without_end() {
    let folder = Folder::new("last-words-stuck");
    let (listener, connector, _) = said_and_not_taken(&folder);
    connector.stop();
    let status = listener.until("given up", |status| {
        status.channel.state == ChannelState::Listening
    });
    assert_eq!(status.conversation.disconnects, 1);
    assert_eq!(status.conversation.heard.len(), 0);
}

#[test]
fn what_the_older_connection_brought_is_taken_before_the_newer() {
    let folder = Folder::new("last-words-newer");
    let (low, high) = pair(&folder);
    let (listener, older) = (Node::start(low), Node::start(high.clone()));
    listener.until_connected();
    older.until_connected();
    listener.take(false);
    let said: Vec<u8> = (0..SAID).map(|octet| (octet % 251) as u8).collect();
    older.tell(Tell::Say(said.clone()));
    listener.until("there", |status| {
        status.channel.counters.received_bytes >= SAID as u64
    });
    // The same chassis after a restart that its old connection outlived.
    let newer = Node::start(high);
    newer.until_connected();
    listener.take(true);
    let status = listener.until("replaced", |status| status.channel.counters.replaced > 0);
    assert!(status.conversation.heard == said, "all of it, in order");
    drop((older, newer));
}
