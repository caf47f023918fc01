//! What became of two primaries that are one again: one line in log and history for each redundancy set, with the numbers.

use tandem_engine::replica::Merge;
use tracing::{info, warn};

use super::Talk;
use crate::api::model::{RoleCause, RoleState};
use crate::daemon::replication::history::Entry;
use tandem_redundancy::Hands as _;

impl Talk {
    /// What a set had of its own when it yielded was offered to the peer, or could not be.
    pub(super) fn offered(&mut self, set: u8, told: bool) {
        if told {
            info!(
                set,
                "replication: what this chassis began as primary beside the peer was offered to it"
            );
        } else {
            let what = "the peer's release takes nothing of a chassis that was primary beside it: what began here meanwhile ends";
            warn!(set, "replication: {what}");
            self.note(set, what.to_owned());
        }
    }

    /// The peer had something of its own of this set, which is primary here.
    pub(super) fn merged(&mut self, set: u8, merge: &Merge) {
        let what = text(merge);
        info!(
            set,
            merge.sessions, merge.known, merge.public_ends, "replication: merged: {what}"
        );
        self.note(set, what);
    }

    fn note(&mut self, set: u8, what: String) {
        let Some(role) = self.line.role(set) else { return };
        let state = if role.primary {
            RoleState::Primary
        } else {
            RoleState::Standby
        };
        self.shown.history.add(Entry {
            set,
            from: state,
            to: state,
            epoch: role.epoch,
            cause: RoleCause::Epoch,
            forced: false,
            reason: None,
            note: Some(what),
        });
    }
}

/// The numbers in words.
fn text(merge: &Merge) -> String {
    let Merge {
        sessions,
        known,
        extents,
        public_ends,
        inside_ends,
        blocks,
        extents_of_others,
        refused,
    } = merge;
    let mut text = format!(
        "of the peer that was primary, too, {sessions} sessions were taken over, {known} were here, {extents} extents are its \
         subscribers'; both had given {public_ends} public ends"
    );
    for (count, what) in [
        (inside_ends, "inside ends otherwise"),
        (blocks, "port blocks"),
        (extents_of_others, "extents, to other shards"),
    ] {
        if *count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    if *refused > 0 {
        text += &format!("; {refused} sessions had nothing to stand on here");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_happen_is_not_named() {
        let merge = Merge {
            sessions: 5,
            known: 2,
            public_ends: 3,
            ..Merge::default()
        };
        let said = text(&merge);
        assert!(
            said.contains("5 sessions") && said.ends_with("both had given 3 public ends"),
            "{said}"
        );
        let said = text(&Merge {
            refused: 7,
            blocks: 1,
            ..merge
        });
        assert!(said.contains("1 port blocks; 7 sessions had nothing"), "{said}");
    }
}
