//! While something is urgent the conversation is looked at every millisecond, with a connection and without.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::node::{Folder, Node, PATIENCE, pair};

const LOOKS: u32 = 100;

/// Whether so many looks follow each other, once at least, in a quarter of the time they take at rest. A busy machine may need
/// some attempts.
fn is_looked_at_often(node: &Node) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let (begun, first) = (Instant::now(), node.looks.load(Ordering::Relaxed));
        while node.looks.load(Ordering::Relaxed).wrapping_sub(first) < LOOKS {
            assert!(Instant::now() < end + PATIENCE, "it is not looked at at all");
            std::thread::sleep(Duration::from_millis(1));
        }
        if begun.elapsed() < LOOKS * Duration::from_millis(5) {
            return true;
        }
    }
    false
}

#[test]
fn what_is_urgent_is_looked_at_every_millisecond() {
    let folder = Folder::new("urgent");
    let (low, high) = pair(&folder);
    let alone = Node::start(low);
    alone.urgent.store(true, Ordering::Relaxed);
    assert!(is_looked_at_often(&alone), "without a connection");
    let other = Node::start(high);
    alone.until_connected();
    assert!(is_looked_at_often(&alone), "with one");
    drop(other);
}
