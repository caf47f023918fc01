//! A redundancy event: conditions, held and brought together, and the edges of what they make.
//!
//! A condition counts once it has been so for the event's hold time, and stops counting once it has been otherwise for as long. An
//! event is active while any of its conditions counts; its weight is the sum of what of it has failed, each object once.

/// An event became active or inactive, or its weight changed while it was active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The event's name.
    pub event: String,
    /// Whether it is active.
    pub active: bool,
    /// Sum of the weights of what of it has failed. 0 when inactive, and for conditions without a weight.
    pub weight: u32,
    /// Whether anything but the silent of its conditions counts ([`Event::silent`]).
    pub warns: bool,
    /// What changed, for people.
    pub cause: String,
}

/// What was seen of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// It has failed.
    Failed,
    /// It is well.
    Well,
    /// It happened, and is over: a restart, a request of the peer.
    Happened,
}

/// A redundancy event over conditions `C`.
#[derive(Clone, Debug)]
pub struct Event<C> {
    name: String,
    hold_ms: u64,
    conditions: Vec<(C, State)>,
    /// What was told last: whether it is active, its weight, and whether it warns.
    told: (bool, u32, bool),
}

/// A condition within an event.
#[derive(Clone, Debug, Default)]
struct State {
    weight: u32,
    silent: bool,
    /// As it was seen last.
    failed: bool,
    cause: String,
    /// As it counts.
    counts: bool,
    /// When what was seen begins to count, while that differs.
    due_ms: Option<u64>,
}

impl<C: PartialEq> Event<C> {
    /// An event whose conditions, each with its weight, are all well. `hold_ms`: how long one must last before it counts, and be over
    /// before it does no more, milliseconds.
    #[must_use]
    pub fn new(name: String, hold_ms: u64, conditions: impl IntoIterator<Item = (C, u32)>) -> Self {
        let state = |weight| State {
            weight,
            ..State::default()
        };
        let conditions = conditions.into_iter();
        Self {
            name,
            hold_ms,
            conditions: conditions.map(|(one, weight)| (one, state(weight))).collect(),
            told: (false, 0, false),
        }
    }

    /// The conditions that are so make it active like all others, and no edge of it `warns` for them alone.
    #[must_use]
    pub fn silent(mut self, is_silent: impl Fn(&C) -> bool) -> Self {
        for (condition, state) in &mut self.conditions {
            state.silent = is_silent(condition);
        }
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is active, and its weight, as was told last.
    #[must_use]
    pub const fn told(&self) -> (bool, u32) {
        (self.told.0, self.told.1)
    }

    /// Its conditions: each, whether it has failed as it was seen last, and why.
    pub fn conditions(&self) -> impl Iterator<Item = (&C, bool, &str)> {
        let conditions = self.conditions.iter();
        conditions.map(|(one, state)| (one, state.failed, state.cause.as_str()))
    }

    /// Takes the place of `before`, as configured otherwise. A condition that stays in it stays as it is; one that is new to it is as
    /// `elsewhere` says: why it has failed, if it has.
    pub fn follow<'a>(
        &mut self,
        now_ms: u64,
        before: Option<&Self>,
        elsewhere: impl Fn(&C) -> Option<&'a str>,
        edges: &mut Vec<Edge>,
    ) {
        if let Some(before) = before {
            self.told = before.told;
        }
        for (condition, state) in &mut self.conditions {
            let mut known = before.iter().flat_map(|before| &before.conditions);
            if let Some((_, same)) = known.find(|(of, _)| of == condition) {
                *state = State {
                    weight: state.weight,
                    silent: state.silent,
                    ..same.clone()
                };
            } else if let Some(cause) = elsewhere(condition) {
                state.see(now_ms, self.hold_ms, true, cause);
            }
        }
        self.tell(now_ms, "another configuration", edges);
    }

    /// A monitor saw something of a condition; nothing follows where it is none of this event.
    pub fn see(&mut self, now_ms: u64, condition: &C, sight: Sight, cause: &str, edges: &mut Vec<Edge>) {
        let hold_ms = self.hold_ms;
        let place = self.conditions.iter().position(|(of, _)| of == condition);
        let Some(place) = place else { return };
        if sight == Sight::Happened {
            // It counts at once, hold time or not: it is over before any of it could pass. That holds it up instead.
            if let Some((_, state)) = self.conditions.get_mut(place) {
                (state.counts, state.failed) = (true, true);
            }
            self.tell(now_ms, cause, edges);
        }
        if let Some((_, state)) = self.conditions.get_mut(place) {
            state.see(now_ms, hold_ms, sight == Sight::Failed, cause);
        }
        self.tell(now_ms, cause, edges);
    }

    /// Time has passed: what has been so for long enough counts from now on.
    pub fn poll(&mut self, now_ms: u64, edges: &mut Vec<Edge>) {
        let is_due = |state: &State| state.due_ms.is_some_and(|due| due <= now_ms);
        let due = self.conditions.iter().find(|(_, state)| is_due(state));
        if let Some((_, state)) = due {
            let cause = state.cause.clone();
            self.tell(now_ms, &cause, edges);
        }
    }

    /// When [`Event::poll`] has something to do next, if nothing is seen until then.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        self.conditions.iter().filter_map(|(_, state)| state.due_ms).min()
    }

    /// Says what is different from what was told.
    fn tell(&mut self, now_ms: u64, cause: &str, edges: &mut Vec<Edge>) {
        for (_, state) in &mut self.conditions {
            if state.due_ms.is_some_and(|due| due <= now_ms) {
                state.counts = state.failed;
                state.due_ms = None;
            }
        }
        let counting = || self.conditions.iter().filter(|(_, state)| state.counts);
        let active = counting().next().is_some();
        let weight = counting().map(|(_, state)| state.weight).sum();
        let warns = counting().any(|(_, state)| !state.silent);
        if self.told != (active, weight, warns) {
            self.told = (active, weight, warns);
            edges.push(Edge {
                event: self.name.clone(),
                active,
                weight,
                warns,
                cause: cause.to_owned(),
            });
        }
    }
}

impl State {
    /// It was seen so. What differs from what counts is due after the hold time, counted from when it began to differ.
    fn see(&mut self, now_ms: u64, hold_ms: u64, failed: bool, cause: &str) {
        self.failed = failed;
        if failed == self.counts {
            self.due_ms = None;
        } else if self.due_ms.is_none() {
            self.due_ms = Some(now_ms.saturating_add(hold_ms));
            cause.clone_into(&mut self.cause);
        }
    }
}
