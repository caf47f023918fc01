//! Which member of a redundant interface is active: a small state machine without I/O.
//!
//! ```text
//!   links of both, tracked IPs, commands --> the member that should be active
//!                                              | is another for as long as that member's hold-down
//!                                              '--> switch, with its cause
//! ```
//!
//! The preferred member, the primary or the one that a command forces, is active while it is well; else the other if that is. While
//! neither is, nothing moves but from a link that is down to one that is up. A tracked IP is probed by the active member alone, so a
//! member that it has failed stays failed, once the other carries on, until its link comes back, a command says otherwise, or it is
//! tried again. Whichever becomes active, or is trusted anew while it is, is judged anew, by probes that left by it: what the object
//! says meanwhile is about something else. Redundancy spec, section 3; NSRP seed, "Redundant Interfaces and Zones".

use crate::config::RedundantInterface;

/// Position of a member: 0 is the primary, 1 the secondary.
pub type Member = usize;

/// A member becomes active in place of the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// Which becomes active.
    pub to: Member,
    /// Why, in words.
    pub cause: String,
}

/// A command that is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForceError {
    /// The member's link is down.
    #[error("the link of {0} is down")]
    Down(#[doc = "Position of the member."] Member),
}

#[derive(Clone, Debug)]
struct State {
    name: String,
    hold_down_ms: u64,
    link: bool,
    /// A tracked IP failed by it: what was said of that, and when.
    failed: Option<(String, u64)>,
}

impl State {
    const fn is_well(&self) -> bool {
        self.link && self.failed.is_none()
    }
}

/// What is known of the active member by the tracked-IP object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    /// What was said of it.
    Yes,
    /// Nothing: probes that leave by it have to be asked for.
    ToBe,
    /// Nothing yet: they are under way.
    Awaited,
}

/// The members of one redundant interface.
#[derive(Clone, Debug)]
pub struct Members {
    both: [State; 2],
    active: Member,
    forced: Option<Member>,
    /// Which should be active instead, and since when.
    waits: Option<(Member, u64)>,
    /// A command waits for no hold-down.
    at_once: Option<&'static str>,
    retry_ms: Option<u64>,
    /// There is a tracked-IP object.
    is_tracked: bool,
    judged: Judged,
}

impl Members {
    /// As configured: links up until something else is said, the primary active.
    #[must_use]
    pub fn new(config: &RedundantInterface) -> Self {
        let state = |at: Member| {
            let member = config.members.get(at);
            State {
                name: member.map(|member| member.name.clone()).unwrap_or_default(),
                hold_down_ms: member.map_or(0, |member| u64::from(member.hold_down_ms)),
                link: true,
                failed: None,
            }
        };
        Self {
            both: [state(0), state(1)],
            active: 0,
            forced: None,
            waits: None,
            at_once: None,
            retry_ms: (config.track_retry_s > 0).then(|| u64::from(config.track_retry_s) * 1000),
            is_tracked: config.track.is_some(),
            judged: Judged::Yes,
        }
    }

    /// The active member.
    #[must_use]
    pub const fn active(&self) -> Member {
        self.active
    }

    /// The member that a command forces.
    #[must_use]
    pub const fn forced(&self) -> Option<Member> {
        self.forced
    }

    /// What a tracked IP said when the member failed by it, if it has.
    #[must_use]
    pub fn failed(&self, member: Member) -> Option<&str> {
        let state = self.both.get(member)?;
        state.failed.as_ref().map(|(text, _)| text.as_str())
    }

    /// The link of a member is up, or down. A link that comes back is trusted anew.
    pub fn link(&mut self, member: Member, up: bool) {
        let is_back = up && self.both.get(member).is_some_and(|state| !state.link);
        if let Some(state) = self.both.get_mut(member) {
            state.link = up;
        }
        if is_back {
            self.trust(member);
        }
    }

    /// Nothing is known of a member any more.
    fn trust(&mut self, member: Member) {
        let had_failed = self
            .both
            .get_mut(member)
            .is_some_and(|state| state.failed.take().is_some());
        if had_failed && member == self.active {
            self.judge_anew();
        }
    }

    fn judge_anew(&mut self) {
        if self.is_tracked {
            self.judged = Judged::ToBe;
        }
    }

    /// Whether the active member is to be judged anew, by probes that leave from now on: said once.
    pub fn is_to_be_judged(&mut self) -> bool {
        let is_to_be = self.judged == Judged::ToBe;
        if is_to_be {
            self.judged = Judged::Awaited;
        }
        is_to_be
    }

    /// The tracked-IP object has failed, or is well: by the active member. What comes before that one's probes were asked for
    /// ([`Members::is_to_be_judged`]) is about the other, and ignored.
    pub fn tracked(&mut self, now_ms: u64, failed: Option<String>) {
        if self.judged == Judged::ToBe {
            return;
        }
        self.judged = Judged::Yes;
        if let Some(state) = self.both.get_mut(self.active) {
            state.failed = failed.map(|text| (text, now_ms));
        }
    }

    /// From now on this member is preferred, as if it were the primary; it is trusted anew, and becomes active without a hold-down.
    ///
    /// # Errors
    /// [`ForceError`], and nothing changes.
    pub fn force(&mut self, member: Member) -> Result<(), ForceError> {
        let state = self.both.get(member).filter(|state| state.link);
        state.ok_or(ForceError::Down(member))?;
        self.trust(member);
        self.forced = Some(member);
        self.at_once = Some("forced by command");
        Ok(())
    }

    /// Takes a force back: the primary is preferred, trusted anew, and becomes active without a hold-down if its link is up.
    pub fn revert(&mut self) {
        self.forced = None;
        for member in 0..self.both.len() {
            self.trust(member);
        }
        self.at_once = Some("reverted by command");
    }

    /// The member that should be active.
    fn wanted(&self) -> Member {
        let preferred = self.forced.unwrap_or(0);
        let is = |member: Member, what: fn(&State) -> bool| self.both.get(member).is_some_and(what);
        let other = 1 - preferred;
        if is(preferred, State::is_well) {
            preferred
        } else if is(other, State::is_well) {
            other
        } else if !is(self.active, |state| state.link) && is(1 - self.active, |state| state.link) {
            1 - self.active
        } else {
            self.active
        }
    }

    /// What is due at this time. Of what happened before, everything has to be said before.
    pub fn poll(&mut self, now_ms: u64) -> Option<Switch> {
        // The one that carries on is judged first.
        if let Some(retry_ms) = self.retry_ms
            && self.judged == Judged::Yes
            && let Some(idle) = self.both.get_mut(1 - self.active)
            && idle
                .failed
                .as_ref()
                .is_some_and(|(_, since)| now_ms >= since + retry_ms)
        {
            idle.failed = None;
        }
        let to = self.wanted();
        let command = self.at_once.take();
        if to == self.active {
            self.waits = None;
            return None;
        }
        let since = match self.waits {
            Some((member, since)) if member == to => since,
            _ => now_ms,
        };
        self.waits = Some((to, since));
        let hold_down_ms = self.both.get(to).map_or(0, |state| state.hold_down_ms);
        if command.is_none() && now_ms < since + hold_down_ms {
            return None;
        }
        let cause = command.map_or_else(|| self.cause(to), str::to_owned);
        self.waits = None;
        self.active = to;
        self.judge_anew();
        Some(Switch { to, cause })
    }

    /// The member that is to become active after its hold-down, and when that ends, in milliseconds from now.
    #[must_use]
    pub fn waits(&self, now_ms: u64) -> Option<(Member, u64)> {
        let (member, since) = self.waits?;
        let ends_ms = since + self.both.get(member)?.hold_down_ms;
        Some((member, ends_ms.saturating_sub(now_ms)))
    }

    /// When [`Members::poll`] has something to do next, if nothing happens.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        let hold_down = self.waits.and_then(|(member, since)| {
            let state = self.both.get(member)?;
            Some(since + state.hold_down_ms)
        });
        let idle = self
            .both
            .get(1 - self.active)
            .and_then(|state| state.failed.as_ref());
        let retry = idle
            .filter(|_| self.judged == Judged::Yes)
            .and_then(|(_, since)| Some(since + self.retry_ms?));
        hold_down.into_iter().chain(retry).min()
    }

    fn cause(&self, to: Member) -> String {
        let name = |member: Member| self.both.get(member).map_or("", |state| state.name.as_str());
        let left = self.both.get(self.active);
        match left {
            Some(left) if !left.link => format!("the link of {} is down", left.name),
            Some(State {
                failed: Some((text, _)),
                ..
            }) => text.clone(),
            _ => format!("{} is well again", name(to)),
        }
    }
}

#[cfg(test)]
mod tests;
