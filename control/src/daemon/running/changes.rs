//! Static mappings that are set at run time: each change is a commit of the configuration in force, with another list.
//!
//! ```text
//!   list + change --compile--> program?  -->  file written beside  -->  workers  -->  file in place
//! ```

use std::sync::Arc;

use tandem_engine::program::Program;
use tracing::{error, info};

use super::{Next, ReloadError, Running, Target, wait};
use crate::api::BackendError;
use crate::api::model::{Committed, NewStaticMapping};
use crate::config::{self, CompileError, Config, NameRegistry};
use crate::daemon::statics::{ListError, RuntimeStatics, StateFile};

/// The static mappings of run time at start.
#[derive(Default)]
pub(in crate::daemon) struct Restored {
    pub state: StateFile,
    pub statics: RuntimeStatics,
    pub left_out: Vec<String>,
}

/// A static mapping that was not set or taken away.
#[derive(Debug, thiserror::Error)]
pub(in crate::daemon) enum ChangeError {
    /// It cannot stand on the list.
    #[error(transparent)]
    List(#[from] ListError),
    /// It does not fit the running configuration.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// There is none of this name.
    #[error("no static mapping \"{1}\" of service set \"{0}\" was set at run time")]
    Unknown(String, String),
    /// It could not be kept.
    #[error("the state file cannot be written: {0}; nothing was changed")]
    State(#[source] std::io::Error),
    /// Workers did not take it.
    #[error(transparent)]
    Commit(#[from] ReloadError),
}

impl From<ChangeError> for BackendError {
    fn from(error: ChangeError) -> Self {
        let why = error.to_string();
        let key = match error {
            ChangeError::List(ListError::Wrong { fault, .. })
            | ChangeError::Compile(CompileError::RuntimeStatic { fault, .. }) => fault.key,
            ChangeError::List(_) => "name",
            ChangeError::Compile(_) => "public",
            ChangeError::Unknown(..) => return Self::Unknown(why),
            ChangeError::State(_) | ChangeError::Commit(_) => return Self::Failed(why),
        };
        Self::Contradicts { key: key.into(), why }
    }
}

/// Compiles the first program, with the kept static mappings that fit. Those that do not are told, not a reason not to start:
/// a system that forwards without one of them is better than one that does not forward.
pub(in crate::daemon) fn compile_first(
    config: &Config,
    registry: &mut NameRegistry,
    state: StateFile,
    mut statics: RuntimeStatics,
) -> Result<(Program, Restored), CompileError> {
    let mut left_out = Vec::new();
    loop {
        let extras = config::Extras {
            runtime_statics: statics.mappings(),
            ..config::Extras::default()
        };
        let error = match config::compile(config, registry, None, &extras) {
            Ok(program) => {
                let restored = Restored {
                    state,
                    statics,
                    left_out,
                };
                return Ok((program, restored));
            }
            Err(error) => error,
        };
        let CompileError::RuntimeStatic {
            service_set, name, ..
        } = &error
        else {
            return Err(error);
        };
        let Some(fewer) = statics.without(service_set, name) else {
            return Err(error);
        };
        error!(%error, "a kept static mapping is left out");
        left_out.push(error.to_string());
        statics = fewer;
    }
}

impl Running {
    /// Sets a static mapping beside those of the file, or changes nothing. Blocks for some seconds at most.
    pub(in crate::daemon) fn add_static(
        &self,
        target: &dyn Target,
        new: &NewStaticMapping,
    ) -> Result<Committed, ChangeError> {
        let done = self.change_statics(target, |list| Ok(list.with(new)?))?;
        info!(service_set = %new.service_set, name = %new.name, generation = done.generation, "static mapping set");
        Ok(done)
    }

    /// Takes a static mapping away that was set at run time. Blocks for some seconds at most.
    pub(in crate::daemon) fn remove_static(
        &self,
        target: &dyn Target,
        service_set: &str,
        name: &str,
    ) -> Result<Committed, ChangeError> {
        let unknown = || ChangeError::Unknown(service_set.into(), name.into());
        let done = self.change_statics(target, |list| list.without(service_set, name).ok_or_else(unknown))?;
        info!(%service_set, %name, generation = done.generation, "static mapping removed");
        Ok(done)
    }

    fn change_statics(
        &self,
        target: &dyn Target,
        change: impl FnOnce(RuntimeStatics) -> Result<RuntimeStatics, ChangeError>,
    ) -> Result<Committed, ChangeError> {
        let _one = self.one_at_a_time();
        let now = self.in_force();
        let statics = change(now.statics.clone())?;
        let mut registry = now.registry.clone();
        let extras = self.extras(&statics);
        let program = config::compile(&now.config, &mut registry, Some(&now.program), &extras)?;
        let next = Next {
            config: now.config.clone(),
            program: Arc::new(program),
            registry,
            changes: Vec::new(),
        };
        drop(now);
        let written = self.state.write(&statics).map_err(ChangeError::State)?;
        self.hand_over(target, &next)?;
        let generation = next.program.generation;
        let lagging = wait(|| target.lags(generation));
        target.committed(&next.config, &next.program, &next.registry);
        // It runs, so it is in force; a file that stays behind is told.
        let kept = written.put_in_place();
        if let Err(error) = &kept {
            error!(%error, "the state file was not replaced: the change of static mappings ends with the process");
        }
        let mut in_force = self.in_force_mut();
        in_force.program = next.program;
        in_force.statics = statics;
        drop(in_force);
        match lagging {
            Some(worker) => Err(ReloadError::Lagging(worker).into()),
            None => Ok(Committed {
                generation,
                kept: self.state.keeps() && kept.is_ok(),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
