//! Sets that nobody is primary of, as far as can be seen from here: said to who caused it, and in health when it lasts.

use super::Roles;
use super::rules::{Hands, Peer};

/// How long nobody may be primary of a set without that being said: a switch takes less. Milliseconds.
const VACANT_MS: u64 = 5000;

/// What health says of a set that nobody is primary of.
pub fn nobody(set: u8, is_connected: bool) -> String {
    if is_connected {
        format!(
            "no primary for redundancy set {set}: both chassis are standby, and nobody forwards it; `tandem request redundancy \
             set {set} primary` on the better one"
        )
    } else {
        format!(
            "no primary for redundancy set {set}, as far as is known: this chassis is standby, and the peer is not connected; if \
             it is not primary, `tandem request redundancy set {set} primary` here"
        )
    }
}

/// What is to be said with the answer to a release when the peer is not primary, as far as is known.
pub(super) fn nobody_after(set: u8, hands: &impl Hands) -> Option<String> {
    if hands.role(set).is_none_or(|role| role.primary) {
        return None;
    }
    let why = match (hands.peer(), hands.peer_role(set)) {
        (Peer::Cut, Some(role)) if role.primary => return None,
        (Peer::Gone | Peer::Cut | Peer::Greeting, _) => "the peer is not connected",
        (_, None) => "the peer has no such redundancy set",
        (_, Some(role)) if role.primary => return None,
        (_, Some(_)) => "the peer is standby, too, and has not said yet that it takes the set over",
    };
    Some(format!(
        "nobody is primary of redundancy set {set} now, as far as is known: {why}"
    ))
}

impl Roles {
    /// Looks whether somebody is primary of a set that has found its role.
    pub(super) fn watch_vacancy(&mut self, number: u8, now_ms: u64, hands: &impl Hands) {
        let theirs = hands.peer_role(number).filter(|_| hands.peer().is_heard());
        let is_primary = [hands.role(number), theirs]
            .iter()
            .flatten()
            .any(|role| role.primary);
        let Some(set) = self.sets.get_mut(&number) else {
            return;
        };
        if is_primary || set.start.is_some() {
            (set.vacant_ms, set.vacant) = (None, false);
            return;
        }
        let since = *set.vacant_ms.get_or_insert(now_ms);
        set.vacant = now_ms.saturating_sub(since) >= VACANT_MS;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Bench, IN_STEP, SET, role};
    use super::*;
    use tandem_engine::replica::Role;

    fn is_vacant(bench: &Bench) -> bool {
        bench.roles.shown(SET).is_some_and(|set| set.vacant)
    }

    #[test]
    fn a_set_without_a_primary_is_named_after_some_seconds() {
        for (peer, theirs) in [
            (IN_STEP, Some(role(false, 1))),
            (IN_STEP, None),
            // What it said before it went counts no more.
            (Peer::Gone, Some(role(true, 1))),
        ] {
            let mut bench = Bench::new(Role::Standby, IN_STEP, Some(role(true, 1)));
            bench.tick(10_000);
            (bench.chassis.peer, bench.chassis.theirs) = (peer, theirs);
            bench.tick(20_000);
            bench.tick(20_000 + VACANT_MS - 1);
            assert!(!is_vacant(&bench));
            bench.tick(20_000 + VACANT_MS);
            assert!(is_vacant(&bench));
            (bench.chassis.peer, bench.chassis.theirs) = (IN_STEP, Some(role(true, 2)));
            bench.tick(30_000);
            assert!(!is_vacant(&bench));
        }
    }

    #[test]
    fn a_set_with_a_primary_or_one_that_starts_is_not() {
        let mut bench = Bench::new(Role::Primary, Peer::Gone, None);
        for now_ms in [10_000, 20_000, 30_000] {
            bench.tick(now_ms);
            assert!(!is_vacant(&bench));
        }
        let mut bench = Bench::started(Role::Primary, IN_STEP, Some(role(false, 4)));
        for now_ms in [10_000, 20_000, 30_000] {
            bench.tick(now_ms);
            assert!(!is_vacant(&bench), "it is held, which has its own name");
        }
    }
}
