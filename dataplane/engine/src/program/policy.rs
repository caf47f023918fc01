//! Firewall policies: what a service set lets begin, in each direction, and how the first packet of a session is classified.
//!
//! ```text
//!   first packet -> PolicyKey -> Classifier (of the set, the direction, the family) -> position of the policy, or the default
//! ```
//!
//! Policies are looked at in order and the first that matches decides; a packet of a known session is not looked at again. From
//! inside a policy sees the packet as the subscriber sent it, except for a destination that is translated: that, like the
//! destination of a packet from outside, is the real one. The engine has one plain classifier ([`Reference`]); a faster one
//! may take its place as long as it gives the same answers.

use std::fmt::Debug;
use std::sync::Arc;

/// Id of a policy, stable for the process' life; its counters are kept by it. Range 0..=65534.
pub type PolicyId = u16;

/// "No policy matched: the default decides."
pub const NO_POLICY: u16 = u16::MAX;

/// What a policy does with the first packet of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyAction {
    /// The session may begin.
    Permit,
    /// Drop, silently.
    Deny,
    /// Drop, and say so: a RST for TCP, ICMP administratively prohibited for everything else.
    Reject,
}

/// One policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its id.
    pub id: PolicyId,
    /// Its name in the config.
    pub name: String,
    /// What it does.
    pub action: PolicyAction,
    /// Tell of each session begun or refused by it.
    pub log: bool,
    /// What it matches: any of these. Empty matches everything.
    pub matches: Vec<PolicyMatch>,
}

/// A match: all of its parts must match; an empty list matches everything of any family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyMatch {
    /// Source addresses, first and last of each range; IPv4 in the lower 32 bits under `::ffff:0:0/96`.
    pub sources: Vec<(u128, u128)>,
    /// Destination addresses likewise.
    pub destinations: Vec<(u128, u128)>,
    /// Protocols with ports or ICMP types: any of these.
    pub applications: Vec<Application>,
}

/// A protocol and, where it has them, its ports or ICMP type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Application {
    /// IP protocol number; `None` is any (then the ports must be all).
    pub protocol: Option<u8>,
    /// Source ports, first and last; of ICMP always all.
    pub source_ports: (u16, u16),
    /// Destination ports; of ICMP type and code as `type << 8 | code`.
    pub destination_ports: (u16, u16),
}

impl Application {
    /// Everything.
    pub const ANY: Self = Self {
        protocol: None,
        source_ports: (0, u16::MAX),
        destination_ports: (0, u16::MAX),
    };
}

/// What a first packet is classified by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PolicyKey {
    /// Source address; IPv4 under `::ffff:0:0/96`.
    pub src: u128,
    /// Destination address likewise.
    pub dst: u128,
    /// Source port; 0 for protocols without ports and ICMP.
    pub sport: u16,
    /// Destination port; of ICMP `type << 8 | code`.
    pub dport: u16,
    /// IP protocol number.
    pub protocol: u8,
}

/// Finds the first policy that matches.
pub trait Classifier: Send + Sync + Debug {
    /// The position of the first policy in the list that matches each key, or [`NO_POLICY`], into the same place of
    /// `found`; the shorter of both ends it. On the packet way: no lock, no allocation.
    fn classify(&self, keys: &[PolicyKey], found: &mut [u16]);
}

/// Builds a classifier for one list of policies; what a commit calls, never a worker.
pub trait ClassifierBuilder {
    /// A classifier that answers as [`Reference`] does.
    ///
    /// # Errors
    /// Why it cannot be built (memory), in words.
    fn build(&self, policies: &[Policy]) -> Result<Arc<dyn Classifier>, String>;
}

/// The plain classifier: looks at one policy after the other. What others are compared with.
#[derive(Clone, Debug, Default)]
pub struct Reference(Vec<Vec<PolicyMatch>>);

impl Reference {
    /// Of a list of policies.
    #[must_use]
    pub fn new(policies: &[Policy]) -> Self {
        Self(policies.iter().map(|p| p.matches.clone()).collect())
    }
}

impl PolicyMatch {
    /// Whether a key matches.
    #[must_use]
    pub fn matches(&self, key: &PolicyKey) -> bool {
        let inside =
            |list: &[(u128, u128)], a: u128| list.is_empty() || list.iter().any(|r| r.0 <= a && a <= r.1);
        inside(&self.sources, key.src)
            && inside(&self.destinations, key.dst)
            && (self.applications.is_empty() || self.applications.iter().any(|a| a.matches(key)))
    }
}

impl Application {
    /// Whether a key matches.
    #[must_use]
    pub fn matches(&self, key: &PolicyKey) -> bool {
        let within = |range: (u16, u16), port: u16| range.0 <= port && port <= range.1;
        self.protocol.is_none_or(|p| p == key.protocol)
            && within(self.source_ports, key.sport)
            && within(self.destination_ports, key.dport)
    }
}

impl Classifier for Reference {
    fn classify(&self, keys: &[PolicyKey], found: &mut [u16]) {
        for (key, found) in keys.iter().zip(found) {
            let first = self
                .0
                .iter()
                .position(|m| m.is_empty() || m.iter().any(|m| m.matches(key)));
            *found = first.map_or(NO_POLICY, |at| at as u16);
        }
    }
}

/// [`Reference`] as a builder.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReferenceBuilder;

impl ClassifierBuilder for ReferenceBuilder {
    fn build(&self, policies: &[Policy]) -> Result<Arc<dyn Classifier>, String> {
        Ok(Arc::new(Reference::new(policies)))
    }
}

/// Policies of one direction.
#[derive(Clone, Debug)]
pub struct PolicyList {
    /// In order; at most 65534.
    pub policies: Vec<Policy>,
    /// What happens when none matches.
    pub default: PolicyAction,
    /// Finds them.
    pub classifier: Arc<dyn Classifier>,
}

impl PolicyList {
    /// A list with the plain classifier.
    #[must_use]
    pub fn plain(policies: Vec<Policy>, default: PolicyAction) -> Self {
        Self {
            classifier: Arc::new(Reference::new(&policies)),
            policies,
            default,
        }
    }
}

impl PartialEq for PolicyList {
    fn eq(&self, other: &Self) -> bool {
        self.policies == other.policies && self.default == other.default
    }
}

impl Eq for PolicyList {}

/// A stateful firewall: what may begin in each direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firewall {
    /// From inside to outside.
    pub outbound: PolicyList,
    /// From outside to inside.
    pub inbound: PolicyList,
}
