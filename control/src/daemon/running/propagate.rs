//! A reload that is the peer's, too: it is asked first, and takes the shared part before this chassis does.

use tracing::warn;

use super::{Next, Reach, Running, Target};
use crate::api::model::{Fault, PeerReload};
use crate::config::Config;
use crate::daemon::pair::Propagation;

impl Running {
    /// Lets the peer take the shared part of what comes next, where that is wanted: first asked whether it could, then done.
    pub(super) fn propagated(
        &self,
        target: &dyn Target,
        next: &Next,
        reach: Reach,
    ) -> Result<Option<PeerReload>, Vec<Fault>> {
        if !next.config.redundancy.propagate_configuration || reach == Reach::Local {
            return Ok(None);
        }
        let mut said = target.propagate(&next.config.text, true);
        if matches!(said, Propagation::Taken(_)) {
            said = match target.propagate(&next.config.text, false) {
                Propagation::Refused(why, faults) if faults.is_empty() => Propagation::Refused(
                    format!("{why} (it may have taken it all the same: compare the configurations)"),
                    faults,
                ),
                said => said,
            };
        }
        match said {
            Propagation::Taken(peer) => Ok(Some(peer)),
            Propagation::Alone(why) => {
                warn!(
                    why,
                    "the reload is not propagated: it is applied on this chassis alone"
                );
                Ok(Some(PeerReload {
                    applied: false,
                    generation: None,
                    detail: format!(
                        "{why}: applied on this chassis alone; on the peer, when it is there: tandem request configuration pull"
                    ),
                }))
            }
            Propagation::Refused(why, faults) => {
                let mut faults: Vec<Fault> = faults
                    .into_iter()
                    .map(|fault| Fault {
                        file: format!("the peer's {}", fault.file),
                        ..fault
                    })
                    .collect();
                if faults.is_empty() {
                    faults.push(propagation_fault(&next.config, why));
                }
                Err(faults)
            }
        }
    }
}

fn propagation_fault(config: &Config, why: String) -> Fault {
    let key = "redundancy.propagate-configuration";
    let (line, column) = config.position(key);
    Fault {
        file: config.file.clone(),
        line: Some(line),
        column: Some(column),
        path: key.into(),
        problem: format!("{why}, so nothing was applied on this chassis either"),
        remedy: "put it right there; or reload this chassis alone: tandem reload --local".into(),
    }
}
