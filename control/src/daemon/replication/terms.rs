//! The roles' terms in the API's.

use tandem_redundancy as roles;

use crate::api::BackendError;
use crate::api::model::{RoleCause, RoleChange, RoleState, WantedRole};

impl From<roles::RoleState> for RoleState {
    fn from(state: roles::RoleState) -> Self {
        match state {
            roles::RoleState::Initializing => Self::Initializing,
            roles::RoleState::Primary => Self::Primary,
            roles::RoleState::Standby => Self::Standby,
            roles::RoleState::StandbyWarned => Self::StandbyWarned,
            roles::RoleState::Wait => Self::Wait,
            roles::RoleState::Ineligible => Self::Ineligible,
            roles::RoleState::Inoperable => Self::Inoperable,
        }
    }
}

impl From<roles::RoleCause> for RoleCause {
    fn from(cause: roles::RoleCause) -> Self {
        match cause {
            roles::RoleCause::Start => Self::Start,
            roles::RoleCause::Operator => Self::Operator,
            roles::RoleCause::Peer => Self::Peer,
            roles::RoleCause::Epoch => Self::Epoch,
            roles::RoleCause::PeerLost => Self::PeerLost,
            roles::RoleCause::Election => Self::Election,
            roles::RoleCause::Monitor => Self::Monitor,
            roles::RoleCause::Preempt => Self::Preempt,
            roles::RoleCause::Policy => Self::Policy,
            roles::RoleCause::Shutdown => Self::Shutdown,
        }
    }
}

impl From<WantedRole> for roles::WantedRole {
    fn from(wanted: WantedRole) -> Self {
        match wanted {
            WantedRole::Primary => Self::Primary,
            WantedRole::Standby => Self::Standby,
        }
    }
}

impl From<roles::WantedRole> for WantedRole {
    fn from(wanted: roles::WantedRole) -> Self {
        match wanted {
            roles::WantedRole::Primary => Self::Primary,
            roles::WantedRole::Standby => Self::Standby,
        }
    }
}

impl From<roles::RoleChange> for RoleChange {
    fn from(change: roles::RoleChange) -> Self {
        Self {
            redundancy_set: change.redundancy_set,
            role: change.role.into(),
            epoch: change.epoch,
            changed: change.changed,
            note: change.note,
        }
    }
}

impl From<roles::RoleError> for BackendError {
    fn from(error: roles::RoleError) -> Self {
        match error {
            roles::RoleError::NoAnswer { who } => Self::NoAnswer { who },
            roles::RoleError::Refused(why) => Self::Refused(why),
            roles::RoleError::Unknown(what) => Self::Unknown(what),
        }
    }
}
