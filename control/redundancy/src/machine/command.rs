//! What policies and people ask of a set: the actions of a redundancy policy, and the operator's commands, with the same checks.
//! Redundancy spec, section 1.

use super::facts::VACANCY_MAX_MS;
use super::seen::{PeerSeen, Seen};
use super::{Machine, Output, Wish};
use crate::{RoleCause, RoleState, WantedRole};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `acquire-primary-role`, `acquire-primary-role-force`, or the operator.
    Acquire {
        /// Also in `wait`.
        force: bool,
        /// Who asks: [`RoleCause::Policy`] or [`RoleCause::Operator`].
        cause: RoleCause,
    },
    /// `release-primary-role`, `release-primary-role-force`, or the operator.
    Release {
        /// Also to a peer that is `standby-warned` or in `wait`.
        force: bool,
        /// Who asks: [`RoleCause::Policy`] or [`RoleCause::Operator`].
        cause: RoleCause,
    },
    /// `release-primary-role-if-standby-clear`: a release, and nothing at all when the peer is not `standby`, or warns.
    ReleaseIfStandbyClear,
    /// `broadcast-warning`: the peer is warned, with this cause, until no event of a policy that does so is active.
    BroadcastWarning(String),
    /// The operator: the peer is warned, with this cause, until the operator takes it back (`None`).
    Warn(Option<String>),
    /// The operator: the other chassis is to be primary, whichever has the role.
    Switchover {
        /// As with the release or the acquire that it is here.
        force: bool,
    },
    /// The operator takes the set out, or puts it back.
    TakeOut(bool),
    /// The daemon is about to stop: it hands over, and takes nothing any more.
    Stop,
}

impl Command {
    /// Who asks.
    #[must_use]
    pub const fn cause(&self) -> RoleCause {
        match self {
            Self::Acquire { cause, .. } | Self::Release { cause, .. } => *cause,
            Self::ReleaseIfStandbyClear | Self::BroadcastWarning(_) => RoleCause::Policy,
            Self::Switchover { .. } | Self::TakeOut(_) | Self::Warn(_) => RoleCause::Operator,
            Self::Stop => RoleCause::Shutdown,
        }
    }
}

/// Why something is not done; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A release to a peer that is not `standby`.
    #[error("the peer is not `standby` but {}; force releases the set to one that is `standby-warned` or in `wait`", .0.as_str())]
    PeerNotStandby(RoleState),
    /// A forced release to a peer that cannot take over.
    #[error("the peer is {}, and cannot take the set over", .0.as_str())]
    PeerCannot(RoleState),
    /// A release with nobody there.
    #[error("the peer is not there, so nobody would be primary; use force to release the set all the same")]
    PeerNotThere,
    /// The same, by force.
    #[error("the peer is not there, and primary-always-exists says that somebody has to be primary")]
    AlwaysExists,
    /// A forced release to a peer that heartbeats alone are heard of: nobody can tell it.
    #[error(
        "the peer is heard, and is not connected, so that it cannot be told; primary-always-exists says that somebody has to be primary"
    )]
    NotConnected,
    /// An acquire of a standby that is not ready.
    #[error("this chassis is {} ({}); force takes the role all the same", .0.as_str(), .1)]
    NotReady(RoleState, &'static str),
    /// An acquire of a chassis that cannot have the role.
    #[error("this chassis is {}, and cannot be primary", .0.as_str())]
    CannotBe(RoleState),
    /// Nothing is taken while stopping.
    #[error("the daemon is stopping")]
    Stopping,
}

impl Machine {
    /// Somebody asks for something. With a wish the change machinery goes on, whose word is the last.
    ///
    /// # Errors
    /// Why not; then nothing has changed.
    pub fn ask(&mut self, command: Command, seen: &Seen) -> Result<Vec<Output>, Refused> {
        let wish = match command {
            Command::Acquire { force, cause } => self.acquire(force, cause)?,
            Command::Release { force, cause } => self.release(force, cause, seen)?,
            Command::ReleaseIfStandbyClear if seen.peer.set().is_some_and(|peer| peer.is_warned) => None,
            Command::ReleaseIfStandbyClear => self.release(false, RoleCause::Policy, seen).unwrap_or(None),
            Command::Switchover { force } if seen.ours.primary => {
                self.release(force, RoleCause::Operator, seen)?
            }
            Command::Switchover { force } => self.acquire(force, RoleCause::Operator)?,
            Command::BroadcastWarning(cause) => {
                self.warning = Some(cause);
                None
            }
            Command::Warn(cause) => {
                self.warning_by_hand = cause;
                None
            }
            Command::TakeOut(out) => {
                self.is_taken_out = out;
                return Ok(self.tick(seen));
            }
            Command::Stop => {
                self.is_stopping = true;
                return Ok(self.tick(seen));
            }
        };
        Ok(wish.map(Output::Wish).into_iter().collect())
    }

    fn acquire(&mut self, force: bool, cause: RoleCause) -> Result<Option<Wish>, Refused> {
        match self.state {
            _ if self.is_stopping => return Err(Refused::Stopping),
            RoleState::Primary => {
                self.was_acquired_by_hand |= cause == RoleCause::Operator;
                return Ok(None);
            }
            RoleState::Standby | RoleState::StandbyWarned => {}
            RoleState::Initializing | RoleState::Wait if force => {}
            RoleState::Initializing | RoleState::Wait => {
                return Err(Refused::NotReady(self.state, self.reason));
            }
            RoleState::Ineligible | RoleState::Inoperable => return Err(Refused::CannotBe(self.state)),
        }
        (self.was_released_alone, self.was_released_by_hand) = (false, false);
        self.left_until_ms = None;
        self.was_acquired_by_hand = cause == RoleCause::Operator;
        Ok(Some(Wish {
            to: WantedRole::Primary,
            cause,
            force,
            hands_over: true,
            repeats: false,
            reason: "it was asked for",
        }))
    }

    fn release(&mut self, force: bool, cause: RoleCause, seen: &Seen) -> Result<Option<Wish>, Refused> {
        if !seen.ours.primary {
            return Ok(None);
        }
        match seen.peer {
            PeerSeen::Heard(peer) if !force && peer.state == RoleState::Standby && peer.is_eligible => {}
            PeerSeen::Heard(peer)
                if cfg!(feature = "plant-release-in-wait") && peer.state == RoleState::Wait => {}
            PeerSeen::Heard(peer) if force && peer.can_take_over() => {
                if !seen.is_connected && self.settings.primary_always_exists {
                    return Err(Refused::NotConnected);
                }
                self.left_until_ms = Some(seen.now_ms.saturating_add(2 * VACANCY_MAX_MS));
            }
            PeerSeen::Heard(peer) if force => return Err(Refused::PeerCannot(peer.state)),
            PeerSeen::Heard(peer) => return Err(Refused::PeerNotStandby(peer.state)),
            _ if !force => return Err(Refused::PeerNotThere),
            _ if self.settings.primary_always_exists => return Err(Refused::AlwaysExists),
            _ => self.was_released_alone = true,
        }
        self.was_released_by_hand = cause == RoleCause::Operator;
        Ok(Some(Wish {
            to: WantedRole::Standby,
            cause,
            force,
            hands_over: true,
            repeats: false,
            reason: "it was asked for",
        }))
    }
}
