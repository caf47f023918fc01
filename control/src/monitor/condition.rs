//! What can be a condition of a redundancy event, and what is told of it.

use std::fmt;

use crate::config::PeerEvent;

/// One thing that is monitored. Several events may have the same one, but for links, zones and tracked-IP objects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// The link of an interface is down.
    Link(String),
    /// All interfaces of a zone are down.
    Zone(String),
    /// A tracked-IP object has failed.
    Tracked(String),
    /// A worker stands still or died, or the process was restarted.
    Service,
    /// A routing process is gone or does not answer.
    Routing(String),
    /// The external check of an event, named by it, fails.
    Check(String),
    /// The other chassis did something about the redundancy set of this number, or is lost, which is of no set.
    Peer(PeerEvent, Option<u8>),
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(name) => write!(f, "link of {name}"),
            Self::Zone(name) => write!(f, "zone {name}"),
            Self::Tracked(name) => write!(f, "tracked IP {name}"),
            Self::Service => f.write_str("service"),
            Self::Routing(name) => write!(f, "routing process {name}"),
            Self::Check(name) => write!(f, "check of {name}"),
            Self::Peer(what, set) => {
                f.write_str(match what {
                    PeerEvent::Acquire => "peer asks to acquire",
                    PeerEvent::Release => "peer asks to release",
                    PeerEvent::Warned => "peer warns",
                    PeerEvent::Lost => "peer lost",
                })?;
                set.map_or(Ok(()), |set| write!(f, ", redundancy set {set}"))
            }
        }
    }
}

/// What a monitor saw of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// It has failed, and why.
    Failed(Condition, String),
    /// It is well again, and what says so.
    Well(Condition, String),
    /// It happened, and is over: a restart, a request of the peer.
    Happened(Condition, String),
}
