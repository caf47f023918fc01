//! Where the configurations of both chassis differ, by the digests of their parts: told after each hello and change.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Link, Mismatch};
use crate::wire::{PART_NAME_MAX, PARTS_MAX, Part, WireError, parts_from};

/// What a part is, that is not the same on both chassis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Differs {
    /// Only this chassis has it.
    OnlyHere,
    /// Only the peer has it.
    OnlyThere,
    /// Both have it, each in its way.
    Otherwise,
}

/// A part that is not the same on both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Difference {
    /// Its name.
    pub name: String,
    /// How it differs.
    pub differs: Differs,
    /// Replication goes on all the same.
    pub beside: bool,
}

/// Parts here, those of the peer, and what came of them.
#[derive(Debug, Default)]
pub(super) struct Compared {
    ours: Vec<Part>,
    theirs: Vec<Part>,
    complete: bool,
    found: Arc<[Difference]>,
}

impl Compared {
    /// A piece of the peer's list came.
    pub fn take(&mut self, payload: &[u8]) -> Result<(), WireError> {
        self.complete = parts_from(payload, &mut self.theirs)?;
        Ok(())
    }
}

impl Link {
    /// These are the parts of the configuration from now on, of which the peer is told digests: those beside it always, the others
    /// while the digests of the configurations differ. At most [`PARTS_MAX`] are told.
    pub fn set_parts(&mut self, mut parts: Vec<Part>) {
        for part in &mut parts {
            part.name.truncate(part.name.floor_char_boundary(PART_NAME_MAX));
        }
        parts.sort_unstable();
        parts.dedup_by(|one, other| one.name == other.name);
        if self.compared.ours != parts {
            self.compared.ours = parts;
            self.unsettled = true;
        }
    }

    /// Where both chassis differ, by name; nothing while the peer's parts are not known.
    #[must_use]
    pub fn differences(&self) -> Arc<[Difference]> {
        Arc::clone(&self.compared.found)
    }

    /// What is told of the parts now.
    pub(super) fn parts_told(&self) -> Vec<Part> {
        let all = self.differs_in_digest();
        let told = self.compared.ours.iter().filter(|part| all || part.beside);
        told.take(PARTS_MAX).cloned().collect()
    }

    /// The stream is gone, and with it what the peer said.
    pub(super) fn forget_parts(&mut self) {
        (self.compared.theirs, self.compared.complete) = (Vec::new(), false);
        self.compare();
    }

    /// Compares what is known.
    pub(super) fn compare(&mut self) {
        let ours = self.parts_told();
        let compared = &mut self.compared;
        let mut theirs: Vec<&Part> = compared.theirs.iter().collect();
        theirs.sort_unstable();
        let found = if compared.complete {
            differences(&ours, &theirs)
        } else {
            Vec::new()
        };
        if *compared.found != *found {
            compared.found = found.into();
        }
    }

    fn differs_in_digest(&self) -> bool {
        let peer = self.peer.as_ref();
        let mismatch = peer.and_then(|peer| super::greet::mismatch(&self.config, peer));
        matches!(mismatch, Some(Mismatch::Digest { .. }))
    }
}

/// Both sorted by name. Of a list that is as long as one can be the rest was not told, so nothing is said of names beyond its last.
fn differences(ours: &[Part], theirs: &[&Part]) -> Vec<Difference> {
    let cut =
        |last: Option<&Part>, len: usize| last.filter(|_| len >= PARTS_MAX).map(|part| part.name.clone());
    let ends = [
        cut(ours.last(), ours.len()),
        cut(theirs.last().copied(), theirs.len()),
    ];
    let end = ends.into_iter().flatten().min();
    let is_known = |part: &&Part| end.as_ref().is_none_or(|end| part.name <= *end);
    let mut ours = ours.iter().take_while(is_known).peekable();
    let mut theirs = theirs.iter().copied().take_while(is_known).peekable();
    let mut found = Vec::new();
    loop {
        let order = match (ours.peek(), theirs.peek()) {
            (None, None) => return found,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(here), Some(there)) => here.name.cmp(&there.name),
        };
        let here = ours.next_if(|_| order.is_le());
        let there = theirs.next_if(|_| order.is_ge());
        let differs = match (here, there) {
            (Some(here), Some(there)) if here.digest == there.digest => continue,
            (Some(_), Some(_)) => Differs::Otherwise,
            (Some(_), None) => Differs::OnlyHere,
            (None, _) => Differs::OnlyThere,
        };
        let part = here.or(there);
        found.extend(part.map(|part| Difference {
            name: part.name.clone(),
            differs,
            beside: part.beside,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: String) -> Part {
        Part {
            name,
            digest: 1,
            beside: false,
        }
    }

    #[test]
    fn beyond_the_end_of_a_list_that_was_cut_nothing_differs() {
        let all: Vec<Part> = (0..PARTS_MAX + 2).map(|n| part(format!("{n:06}"))).collect();
        let ours = &all[..PARTS_MAX];
        // The peer lacks the first one, so that its list reaches one further.
        let theirs: Vec<&Part> = all[1..=PARTS_MAX].iter().collect();
        let found = differences(ours, &theirs);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((&*found[0].name, found[0].differs), ("000000", Differs::OnlyHere));
        let shorter: Vec<&Part> = all[..PARTS_MAX - 1].iter().collect();
        assert_eq!(
            differences(ours, &shorter).len(),
            1,
            "a list that was not cut says all"
        );
    }
}
