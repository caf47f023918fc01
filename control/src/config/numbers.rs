//! Numbers of terms and static mappings: one that keeps its name keeps its number through reloads.
//!
//! Sessions and counters refer to them within a service set. A number that falls free is given out again as late as can be, so that
//! a session of what is gone is not taken for one of what is new.

use std::collections::{HashMap, HashSet};

use tandem_engine::program::{Program, ServiceSetId};

/// Terms and static mappings of one service set: as many of the program in force as of the next one have numbers at once.
pub(super) const NUMBERED_MAX: usize = 32_767;
/// Numbers there are.
const NUMBERS: u32 = 65_535;

/// Gives out numbers for one compilation.
pub(super) struct Numbers {
    /// Service set, name, and which of several of that name, in the program in force.
    previous: HashMap<(ServiceSetId, String, usize), u16>,
    sets: HashMap<ServiceSetId, OfSet>,
    seen: HashMap<(ServiceSetId, String), usize>,
}

#[derive(Default)]
struct OfSet {
    taken: HashSet<u16>,
    next: u32,
}

impl Numbers {
    /// Numbers that follow those of the program in force.
    pub fn after(previous: Option<&Program>) -> Self {
        let mut numbers = Self {
            previous: HashMap::new(),
            sets: HashMap::new(),
            seen: HashMap::new(),
        };
        let Some(program) = previous else { return numbers };
        let of_terms = program
            .service_sets
            .iter()
            .flat_map(|set| set.terms.iter().map(|term| (set.id, &term.name, term.number)));
        let of_statics = program
            .statics
            .iter()
            .map(|one| (one.service_set, &one.name, one.number));
        for (set, name, number) in of_terms.chain(of_statics) {
            let place = numbers.place(set, name);
            numbers.previous.insert((set, name.clone(), place), number);
            let of_set = numbers.sets.entry(set).or_default();
            of_set.taken.insert(number);
            of_set.next = of_set.next.max(u32::from(number) + 1);
        }
        numbers.seen.clear();
        numbers
    }

    /// Which of several of this name it is.
    fn place(&mut self, set: ServiceSetId, name: &str) -> usize {
        let seen = self.seen.entry((set, name.to_owned())).or_default();
        *seen += 1;
        *seen - 1
    }

    /// The number of the next term or static mapping of a name. At most [`NUMBERED_MAX`] of a service set.
    pub fn number(&mut self, set: ServiceSetId, name: &str) -> u16 {
        let place = self.place(set, name);
        if let Some(number) = self.previous.get(&(set, name.to_owned(), place)) {
            return *number;
        }
        let of_set = self.sets.entry(set).or_default();
        // Of twice `NUMBERED_MAX` numbers at most, one is always free.
        loop {
            let number = (of_set.next % NUMBERS) as u16;
            of_set.next = (of_set.next + 1) % NUMBERS;
            if of_set.taken.insert(number) {
                return number;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_and_a_new_one_gets_another() {
        let mut numbers = Numbers::after(None);
        assert_eq!(
            (
                numbers.number(0, "a"),
                numbers.number(0, "b"),
                numbers.number(1, "a")
            ),
            (0, 1, 0)
        );
        let mut numbers = Numbers {
            previous: HashMap::from([((0, "a".into(), 0), 65_533), ((0, "a".into(), 1), 0)]),
            sets: HashMap::from([(
                0,
                OfSet {
                    taken: HashSet::from([0, 65_533]),
                    next: 65_534,
                },
            )]),
            seen: HashMap::new(),
        };
        let mut of = |name| numbers.number(0, name);
        assert_eq!(
            [of("a"), of("b"), of("a"), of("a"), of("c")],
            [65_533, 65_534, 0, 1, 2]
        );
    }
}
