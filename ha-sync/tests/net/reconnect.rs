//! Connections that end, and those that come after them.

use std::time::{Duration, Instant};

use ha_sync::net::{Bind, ChannelState, Endpoint, FailureKind, Way};

use crate::node::{Folder, Node, addresses, pair, talk};

#[test]
fn either_end_may_go_and_come_back() {
    let folder = Folder::new("come-back");
    let (low, high) = pair(&folder);
    let listener = Node::start(low.clone());
    let connector = Node::start(high.clone());
    talk(&listener, &connector);
    drop(listener);
    connector.until_failed(FailureKind::Closed);
    connector.until_failed(FailureKind::Refused);
    let listener = Node::start(low);
    talk(&listener, &connector);
    assert_eq!(connector.status().conversation.connects, 2);
    drop(connector);
    listener.until("left", |status| status.channel.state == ChannelState::Listening);
    let connector = Node::start(high);
    talk(&listener, &connector);
    assert_eq!(listener.status().conversation.connects, 2);
}

#[test]
fn where_the_first_link_does_not_reach_the_other_one_carries_the_channel() {
    let folder = Folder::new("ways");
    // Lower than all others, so whoever is to reach it connects.
    let (nobody, _) = addresses();
    let (mut low, mut high) = pair(&folder);
    let (low_too, high_too) = addresses();
    let way = |local, peer| Way {
        local,
        peer,
        bind: Bind::None,
    };
    low.other = Some(way(low_too, high_too));
    high.other = Some(way(high_too, low_too));
    let listener = Node::start(low.clone());
    let astray = Node::start(Endpoint {
        peer: nobody,
        ..high.clone()
    });
    talk(&listener, &astray);
    let status = astray.status();
    assert_eq!(status.conversation.over, Some(low_too));
    // More than one, if the listener was not there at first.
    assert!(status.channel.counters.failures(FailureKind::Refused) >= 1);
    assert_eq!(listener.status().conversation.over, Some(high_too));
    drop(astray);
    let connector = Node::start(high.clone());
    talk(&listener, &connector);
    assert_eq!(
        connector.status().conversation.over,
        Some(low.local),
        "it comes first"
    );
    assert_eq!(listener.status().conversation.over, Some(high.local));
}

#[test]
fn attempts_become_rare_while_nobody_answers() {
    let folder = Folder::new("rare");
    let (_low, mut high) = pair(&folder);
    high.timing.backoff_max = Duration::from_secs(5);
    let began = Instant::now();
    let connector = Node::start(high);
    let status = connector.until("a few attempts", |status| status.channel.counters.attempts >= 5);
    // Waits of at least 100, 100, 200 and 400 ms lie between five attempts.
    assert!(
        began.elapsed() >= Duration::from_millis(800),
        "{:?}",
        began.elapsed()
    );
    assert!(status.channel.counters.failures(FailureKind::Refused) >= 4);
}

#[test]
fn a_newer_connection_takes_the_place_of_the_older() {
    let folder = Folder::new("newer");
    let (low, high) = pair(&folder);
    let listener = Node::start(low);
    let older = Node::start(high.clone());
    talk(&listener, &older);
    // The same chassis after a restart that its old connection outlived.
    let newer = Node::start(high);
    let status = listener.until("replaced", |status| status.channel.counters.replaced > 0);
    assert!(status.conversation.disconnects >= 1);
    older.until_failed(FailureKind::Closed);
    drop(older);
    talk(&listener, &newer);
}
