//! Firewall policies classified by DPDK's ACL library: the fast one of the engine's [`Classifier`]s.
//!
//! ```text
//!   commit:  policies ── rules ──> Acl4 and Acl6, or the plain Reference when it is faster
//!   packet:  keys ──┬── both addresses IPv4 ──> Acl4 ──┬──> position of the first policy that matches
//!                   └── others ──> Acl6 ───────────────┘
//! ```
//!
//! Answers are the [`Reference`]'s, for every key.

mod build;
mod ranges;
mod rules;

use std::sync::Arc;

use rte_bindings::acl::{Acl, Family, Key4, Key6};
use rte_bindings::{Acl4, Acl6, Eal};
use tandem_engine::program::policy::{
    Classifier, ClassifierBuilder, NO_POLICY, Policy, PolicyKey, PolicyMatch, Reference,
};

pub use rules::RULES_MAX;

use ranges::is_v4;
use rules::Rules;

/// Checks (see [`checks`]) up to which the plain classifier is taken: about ten policies of one network and one service. Measured
/// with `examples/acl_measure.rs`, the plain one takes 1.8 ns per such policy and key whatever the burst, DPDK 60 ns for a single
/// key, 20 in bursts of 8, 15 in bursts of 32.
const PLAIN_UP_TO: usize = 40;
/// Checks up to which the plain classifier is taken when DPDK refuses: about a hundred policies, 200 ns for a key.
const PLAIN_IF_REFUSED: usize = 400;
/// Bytes of the tries of one family, at most. Ten thousand ordinary policies take 10 to 20 MiB.
const MAX_BYTES: usize = 512 << 20;
/// Keys taken at once.
const TURN: usize = 32;
/// Keys of a small burst: less to clear on the stack.
const SMALL_TURN: usize = 4;

/// Builds classifiers on DPDK. What a commit calls.
#[derive(Clone)]
pub struct AclBuilder {
    eal: Eal,
    max_bytes: usize,
    plain_up_to: usize,
    plain_if_refused: usize,
}

impl AclBuilder {
    /// With at most 512 MiB of tries for each family.
    #[must_use]
    pub fn new(eal: &Eal) -> Self {
        Self {
            eal: eal.clone(),
            max_bytes: MAX_BYTES,
            plain_up_to: PLAIN_UP_TO,
            plain_if_refused: PLAIN_IF_REFUSED,
        }
    }

    /// Lets the tries of each family take at most so many bytes.
    #[must_use]
    pub fn max_bytes(self, max_bytes: usize) -> Self {
        Self { max_bytes, ..self }
    }

    /// Never takes the plain classifier, for comparisons: what DPDK refuses is refused.
    #[must_use]
    pub fn never_plain(self) -> Self {
        Self {
            plain_up_to: 0,
            plain_if_refused: 0,
            ..self
        }
    }
}

impl ClassifierBuilder for AclBuilder {
    fn build(&self, policies: &[Policy]) -> Result<Arc<dyn Classifier>, String> {
        if checks(policies) <= self.plain_up_to {
            return Ok(Arc::new(Reference::new(policies)));
        }
        match self.tries(policies) {
            Ok(tries) => Ok(Arc::new(tries)),
            // Few policies can be too much for tries, by ranges that are hundreds of prefixes. The plain one does not mind.
            Err(_) if checks(policies) <= self.plain_if_refused => Ok(Arc::new(Reference::new(policies))),
            Err(error) => Err(error),
        }
    }
}

impl AclBuilder {
    fn tries(&self, policies: &[Policy]) -> Result<AclClassifier, String> {
        let rules = Rules::of(policies)?;
        let v4 = build::family(&self.eal, &rules.v4, rules.services(), self.max_bytes);
        let v6 = build::family(&self.eal, &rules.v6, rules.services(), self.max_bytes);
        Ok(AclClassifier {
            v4: v4.map_err(|error| format!("IPv4 policies: {error}"))?,
            v6: v6.map_err(|error| format!("IPv6 policies: {error}"))?,
        })
    }
}

/// What the plain classifier looks at for a key that matches nothing, at most.
fn checks(policies: &[Policy]) -> usize {
    let part = |m: &PolicyMatch| 1 + m.sources.len() + m.destinations.len() + m.applications.len();
    policies
        .iter()
        .map(|p| p.matches.iter().map(part).sum::<usize>().max(1))
        .sum()
}

/// A list of policies, ready.
#[derive(Debug)]
struct AclClassifier {
    v4: Option<Acl4>,
    v6: Option<Acl6>,
}

impl Classifier for AclClassifier {
    fn classify(&self, keys: &[PolicyKey], found: &mut [u16]) {
        if keys.len().min(found.len()) <= SMALL_TURN {
            self.turns::<SMALL_TURN>(keys, found);
        } else {
            self.turns::<TURN>(keys, found);
        }
    }
}

impl AclClassifier {
    fn turns<const N: usize>(&self, keys: &[PolicyKey], found: &mut [u16]) {
        for (keys, found) in keys.chunks(N).zip(found.chunks_mut(N)) {
            let both = keys.len().min(found.len());
            let keys = keys.get(..both).unwrap_or_default();
            let done = one_family::<_, N>(self.v4.as_ref(), keys, found, key4);
            if done < both {
                one_family::<_, N>(self.v6.as_ref(), keys, found, key6);
            }
        }
    }
}

/// Classifies those of at most `N` keys that are of family `F` and returns how many these are.
fn one_family<F: Family, const N: usize>(
    acl: Option<&Acl<F>>,
    keys: &[PolicyKey],
    found: &mut [u16],
    pick: impl Fn(&PolicyKey) -> Option<F::Key>,
) -> usize {
    let mut picked = [F::Key::default(); N];
    let mut at = [0u8; N];
    let mut n = 0;
    for (i, key) in keys.iter().enumerate() {
        if let Some(key) = pick(key)
            && let (Some(slot), Some(at)) = (picked.get_mut(n), at.get_mut(n))
        {
            (*slot, *at) = (key, i as u8);
            n += 1;
        }
    }
    let mut results = [0; N];
    if let Some(acl) = acl {
        acl.classify(picked.get(..n).unwrap_or_default(), &mut results);
    }
    for (&at, &result) in at.iter().zip(&results).take(n) {
        if let Some(found) = found.get_mut(usize::from(at)) {
            *found = result
                .checked_sub(1)
                .map_or(NO_POLICY, |position| position as u16);
        }
    }
    n
}

#[inline]
fn both_v4(key: &PolicyKey) -> bool {
    is_v4(key.src) && is_v4(key.dst)
}

#[inline]
fn key4(key: &PolicyKey) -> Option<Key4> {
    let packed = || Key4::new(key.src as u32, key.dst as u32, key.sport, key.dport, key.protocol);
    both_v4(key).then(packed)
}

#[inline]
fn key6(key: &PolicyKey) -> Option<Key6> {
    let packed = || Key6::new(key.src, key.dst, key.sport, key.dport, key.protocol);
    (!both_v4(key)).then(packed)
}
