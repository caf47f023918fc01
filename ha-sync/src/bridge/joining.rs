//! A service set that a commit brings into a redundancy set: workers know that they are standby of it before they have the
//! program with it, so that no packet of it is translated on the wrong chassis, and no port given out.

use tandem_engine::program::ServiceSetId;
use tandem_engine::replica::{Op, Role};

use super::{Bridge, RedundancySet};

/// Service sets on their way into redundancy sets. See [`Bridge::join`].
#[derive(Debug)]
pub struct Joining {
    /// Those that workers are told to be standby of.
    standby: Vec<ServiceSetId>,
    /// How many operations each worker will have read when it knows.
    mark: Vec<u64>,
}

impl Bridge {
    /// A program is about to come with these redundancy sets: workers become standby of the service sets that join one that is
    /// standby here, or that is new (it starts as standby). Give the program to workers when [`Bridge::has_joined`] says so, and
    /// then to [`Bridge::set_program`]; if it does not come after all, call [`Bridge::leave`].
    pub fn join(&mut self, sets: &[RedundancySet]) -> Joining {
        let is_standby = |number: u8| {
            let known = self.sets.iter().find(|set| set.number == number);
            known.is_none_or(|set| set.role == Role::Standby)
        };
        let standby: Vec<ServiceSetId> = sets
            .iter()
            .filter(|set| is_standby(set.number))
            .flat_map(|set| &set.service_sets)
            .filter(|id| self.role_of(**id) == Role::Primary)
            .copied()
            .collect();
        for id in &standby {
            self.command_role(*id, Role::Standby);
        }
        Joining {
            standby,
            mark: self.rings.mark(),
        }
    }

    /// Whether all workers have taken up the roles. Call [`Bridge::service`] in between.
    #[must_use]
    pub fn has_joined(&self, joining: &Joining) -> bool {
        joining.standby.is_empty() || self.rings.have_read(&joining.mark)
    }

    /// The program does not come: all is as before.
    pub fn leave(&mut self, joining: &Joining) {
        for id in &joining.standby {
            self.command_role(*id, self.role_of(*id));
        }
    }

    /// What workers are to be of a service set as the redundancy sets are: outside of them, primary.
    pub(super) fn role_of(&self, service_set: ServiceSetId) -> Role {
        let at = self.of_service_set.get(&service_set);
        at.and_then(|at| self.sets.get(*at))
            .map_or(Role::Primary, |set| set.role)
    }

    /// Tells workers a role that no change of a redundancy set waits for.
    pub(super) fn command_role(&mut self, service_set: ServiceSetId, role: Role) {
        self.rings.command(Op::Role {
            service_set,
            role,
            epoch: 0,
        });
    }
}
