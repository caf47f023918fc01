//! A change of a role under way, and who waits for it.

use tandem_engine::replica::Role;

use super::rules::Lack;
use crate::{RoleCause, RoleChange, RoleError, RoleState, WantedRole};

/// How long a peer may take to release a set, and workers to take up a role. Milliseconds.
pub(super) const CHANGE_MAX_MS: u64 = 5000;
/// How long a release waits for what is told anew: the peer takes the set back after [`CHANGE_MAX_MS`]. Milliseconds.
pub(super) const TOLD_MAX_MS: u64 = 4000;
/// How long a peer that has just connected may take to say its roles before a request is decided without it. Milliseconds.
pub(super) const LISTEN_MS: u64 = 3000;

/// Where the result goes.
pub type Answer = Box<dyn FnOnce(Result<RoleChange, RoleError>) + Send>;

/// How far a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The peer has just connected, and is to say its roles first.
    Listening,
    /// The peer was asked to release the set.
    Asked,
    /// The workers take up the role.
    Taking,
    /// The peer was told of the release, and is to say that it is primary.
    HandedOver,
}

/// A change under way.
pub(super) struct Change {
    pub to: WantedRole,
    pub from: RoleState,
    pub stage: Stage,
    pub cause: RoleCause,
    /// Why, in words; empty where the cause says it all.
    pub why: &'static str,
    pub forced: bool,
    /// It is wished for again and again.
    pub repeats: bool,
    /// What it lacks that takes the role by force.
    pub lost: Option<Lack>,
    /// A release is for the peer to take over.
    pub hands_over: bool,
    /// The peer is told when the workers are standby, and takes over.
    pub tell: bool,
    /// The peer had been told everything when it began: that is to be so as well when it is told of the release.
    pub knew_all: bool,
    /// The peer has released the set with this epoch, amid telling everything anew: the role is taken when all of that is here.
    pub released: Option<u64>,
    /// When those who wait are told that it takes too long.
    pub until_ms: u64,
    pub answers: Vec<Answer>,
}

impl Change {
    pub fn new(to: WantedRole, cause: RoleCause, from: Role, now_ms: u64) -> Self {
        Self {
            to,
            from: state(from),
            stage: Stage::Taking,
            cause,
            why: "",
            hands_over: true,
            forced: false,
            repeats: false,
            lost: None,
            tell: false,
            knew_all: false,
            released: None,
            until_ms: now_ms + CHANGE_MAX_MS,
            answers: Vec::new(),
        }
    }

    /// What is to be known of it beside its cause.
    pub fn note(&self) -> Option<String> {
        let why = (!self.why.is_empty()).then(|| self.why.to_owned());
        let lost = self
            .lost
            .map(|lack| format!("{}: what it lacks is lost", lack.text()));
        match (why, lost) {
            (Some(why), Some(lost)) => Some(format!("{why}; {lost}")),
            (why, lost) => why.or(lost),
        }
    }

    pub const fn role(&self) -> Role {
        role_of(self.to)
    }

    /// Tells those who wait.
    pub fn answer(&mut self, result: &Result<RoleChange, RoleError>) {
        for answer in self.answers.drain(..) {
            give(answer, result.clone());
        }
    }
}

pub(super) fn give(answer: Answer, result: Result<RoleChange, RoleError>) {
    answer(result);
}

pub(super) const fn role_of(wanted: WantedRole) -> Role {
    match wanted {
        WantedRole::Primary => Role::Primary,
        WantedRole::Standby => Role::Standby,
    }
}

pub(super) const fn state(role: Role) -> RoleState {
    match role {
        Role::Primary => RoleState::Primary,
        Role::Standby => RoleState::Standby,
    }
}
