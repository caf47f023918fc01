//! What monitors say, and policies want, in the roles' terms.

use tandem_redundancy::machine::Command;
use tandem_redundancy::{Hands, Monitored, RoleCause, RoleChange, RoleError};
use tracing::{info, warn};

use super::Talk;
use crate::config::PolicyAction;
use crate::daemon::replication::order::Report;
use crate::monitor::DueAction;

impl Talk {
    /// Policies first: what an action begins is not begun again by the weights, and has the policy as its cause.
    pub(super) fn monitored(&mut self, report: Report) {
        for (set, what) in report.told {
            let shown = self
                .automatic
                .shown(set, &self.line)
                .map(|view| view.state.into());
            let ours = self.line.role(set);
            if let Some((ours, state)) = ours.zip(shown) {
                self.shown.history.monitored(set, state, ours.epoch, what);
            }
        }
        for action in report.actions {
            self.act(action);
        }
        for one in report.sets {
            let monitored = Monitored {
                failed_weight: u16::try_from(one.failed_weight).unwrap_or(u16::MAX),
                is_warned: one.is_warned,
                releases: one.releases,
                broadcasts: one.broadcasts,
            };
            self.automatic.monitored(one.set, monitored);
        }
        let weight = u16::try_from(report.chassis_failed_weight).unwrap_or(u16::MAX);
        self.automatic.chassis_failed_weight(weight);
    }

    fn act(&mut self, due: DueAction) {
        let (set, now) = (due.set, self.line.now_ms);
        let command = command(&due);
        let answer = move |result: Result<RoleChange, RoleError>| {
            let DueAction {
                set,
                policy,
                action,
                cause,
            } = due;
            let action = action.name();
            match result {
                Ok(done) => {
                    let changed = done.changed;
                    info!(set, policy, action, changed, %cause, "redundancy policy: action");
                }
                Err(error) => {
                    warn!(set, policy, action, %cause, %error, "redundancy policy: the action is not done");
                }
            }
        };
        self.automatic.command(
            set,
            command,
            Box::new(answer),
            now,
            &mut self.roles,
            &mut self.line,
        );
    }
}

/// An action as the state machine knows it.
fn command(due: &DueAction) -> Command {
    let cause = RoleCause::Policy;
    match due.action {
        PolicyAction::AcquirePrimaryRole => Command::Acquire { force: false, cause },
        PolicyAction::AcquirePrimaryRoleForce => Command::Acquire { force: true, cause },
        PolicyAction::ReleasePrimaryRole => Command::Release { force: false, cause },
        PolicyAction::ReleasePrimaryRoleForce => Command::Release { force: true, cause },
        PolicyAction::ReleasePrimaryRoleIfStandbyClear => Command::ReleaseIfStandbyClear,
        PolicyAction::BroadcastWarning => Command::BroadcastWarning(due.cause.clone()),
    }
}
