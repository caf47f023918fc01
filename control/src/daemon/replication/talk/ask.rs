//! What the operator asks of a redundancy set beside a role: of an automatic one its machine, of one by hand what makes sense there.

use tandem_redundancy::machine::Command;
use tandem_redundancy::roles::Answer;
use tandem_redundancy::{Hands, RoleError, WantedRole};

use super::Talk;
use crate::api::model::SetRequest;

impl Talk {
    /// Something else than a role is asked of a set.
    pub(super) fn ask(&mut self, set: u8, wanted: SetRequest, answer: Answer) {
        let (now, line) = (self.now(), &mut self.line);
        if self.automatic.has(set) {
            let command = match wanted {
                SetRequest::Switchover(how) => Command::Switchover { force: how.force },
                SetRequest::Eligibility(wanted) => Command::TakeOut(!wanted.eligible),
                SetRequest::Warning(warning) => Command::Warn(warning.text),
            };
            self.automatic
                .command(set, command, answer, now, &mut self.roles, line);
            return;
        }
        let Some(ours) = line.role(set) else {
            answer(Err(RoleError::Unknown(format!("no redundancy set {set} runs"))));
            return;
        };
        let by_hand = format!(
            "the role of redundancy set {set} changes by command alone, as its group has no heartbeats"
        );
        match wanted {
            SetRequest::Switchover(how) => {
                let to = if ours.primary {
                    WantedRole::Standby
                } else {
                    WantedRole::Primary
                };
                self.roles.request(set, to, how.force, answer, now, line);
            }
            SetRequest::Eligibility(_) => {
                let why = format!(
                    "{by_hand}: there is nothing it could be taken out of; release or acquire the role"
                );
                answer(Err(RoleError::Refused(why)));
            }
            SetRequest::Warning(_) => {
                let why = format!("{by_hand}: nothing would tell the peer of a warning");
                answer(Err(RoleError::Refused(why)));
            }
        }
    }
}
