//! What runs: the configuration in force, its program, and how another one takes its place.
//!
//! ```text
//!   file -> load -> what may change? -> compile -> all workers -> (each says its generation) -> addresses -> in force
//!              \-> faults: logged, reported, nothing changed
//! ```

mod adopt;
mod changes;
mod propagate;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant, SystemTime};

use tandem_engine::program::policy::ClassifierBuilder;
use tandem_engine::program::{PolicyId, PoolId, Program, ServiceSetId};
use tracing::{error, info, warn};

use super::pair::Propagation;
use super::statics::{RuntimeStatics, StateFile};
use super::views;
use crate::api::model::{Fault, Names, PeerReload, ReloadReport, unix_seconds};
use crate::api::{ServeError, SharedToken, Token, read_secret};
use crate::config::{self, CompileError, Config, NameRegistry};
pub(super) use adopt::{AdoptError, Adopted};
pub(super) use changes::{Restored, compile_first};

/// How long workers may take to pick a program up.
const PICK_UP_MAX: Duration = Duration::from_secs(5);
/// Between two looks whether they did.
const PICK_UP_LOOK: Duration = Duration::from_millis(2);

/// What a reload needs of the running dataplane.
pub(super) trait Target: Send + Sync {
    /// A program is about to come: what workers have to know before they have it, they do when this returns. Blocks for some
    /// seconds at most. An error names a worker that does not take it up.
    fn announce(&self, config: &Config, registry: &NameRegistry) -> Result<(), String>;
    /// It does not come after all.
    fn take_back(&self);
    /// Hands the program to every worker. Either all of them get it, or the name of one that cannot is given back.
    fn apply(&self, program: &Arc<Program>) -> Result<(), String>;
    /// A worker that does not run this generation yet.
    fn lags(&self, generation: u32) -> Option<String>;
    /// The workers have this program, or will: whoever follows it beside them is told.
    fn committed(&self, config: &Config, program: &Arc<Program>, registry: &NameRegistry);
    /// Puts the configured addresses on the taps; what was refused.
    fn set_addresses(&self, config: &Config) -> Vec<String>;
    /// Lets the peer take the shared part of this text; or, with `dry_run`, say whether it could. Blocks for some seconds.
    fn propagate(&self, text: &str, dry_run: bool) -> Propagation;
    /// The peer goes back from this generation of its own to what it had before it took one.
    fn take_back_from_peer(&self, generation: u32);
}

/// Whose reload it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Reach {
    /// The peer's, too, where the configuration says so.
    #[default]
    Configured,
    /// This chassis' alone.
    Local,
}

/// The configuration in force.
pub(super) struct InForce {
    pub config: Config,
    pub program: Arc<Program>,
    pub registry: NameRegistry,
    /// What the API calls things, of registry and program.
    pub names: Arc<Names>,
    /// Static mappings that were set at run time.
    pub statics: RuntimeStatics,
    pub loaded_at: SystemTime,
    pub last_reload: Option<ReloadReport>,
    /// Reloads that were applied.
    pub applied: u64,
    /// Reloads that were refused.
    pub refused: u64,
}

/// The configuration in force, and the one way to change it.
pub(super) struct Running {
    file: PathBuf,
    /// One reload at a time.
    reloading: Mutex<()>,
    in_force: RwLock<InForce>,
    /// Makes the classifiers of firewall policies.
    classifiers: Box<dyn ClassifierBuilder + Send + Sync>,
    /// The API's token in force.
    token: SharedToken,
    /// Where static mappings of run time are kept.
    state: StateFile,
    /// Kept static mappings that did not fit the configuration at start, and why.
    left_out: Vec<String>,
    /// The file before a part of the peer's was taken over, with the generation that came of it.
    before_adoption: Mutex<Option<(u32, String)>>,
}

/// What a reload, or another commit, puts in force.
struct Next {
    config: Config,
    program: Arc<Program>,
    registry: NameRegistry,
    /// What is otherwise in it, for the log.
    changes: Vec<config::Change>,
}

impl Next {
    /// Says in the log what comes.
    fn tell(&self) {
        for warning in &self.config.warnings {
            warn!("{warning}");
        }
        for change in &self.changes {
            let none = || "nothing".to_owned();
            let (from, to) = (
                change.from.clone().unwrap_or_else(none),
                change.to.clone().unwrap_or_else(none),
            );
            info!(key = %change.path, %from, %to, "configuration changes");
        }
    }
}

/// A reload that could not be tried, or whose end was not seen.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum ReloadError {
    /// A worker stands still, and nothing was changed.
    #[error("{0} takes no commands; nothing was changed")]
    Standstill(String),
    /// A worker has the program, but did not pick it up in time. It will when it moves again.
    #[error("{0} has not picked the new configuration up yet")]
    Lagging(String),
}

impl Running {
    pub(super) fn new(
        file: PathBuf,
        config: Config,
        program: Arc<Program>,
        registry: NameRegistry,
        classifiers: Box<dyn ClassifierBuilder + Send + Sync>,
        token: SharedToken,
        restored: Restored,
    ) -> Self {
        let in_force = InForce {
            names: Arc::new(views::names(&registry, &program)),
            config,
            program,
            registry,
            statics: restored.statics,
            loaded_at: SystemTime::now(),
            last_reload: None,
            applied: 0,
            refused: 0,
        };
        Self {
            file,
            reloading: Mutex::new(()),
            in_force: RwLock::new(in_force),
            classifiers,
            token,
            state: restored.state,
            left_out: restored.left_out,
            before_adoption: Mutex::new(None),
        }
    }

    /// Kept static mappings that did not fit the configuration at start, and why.
    pub(super) fn left_out(&self) -> &[String] {
        &self.left_out
    }

    fn one_at_a_time(&self) -> MutexGuard<'_, ()> {
        self.reloading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn in_force_mut(&self) -> RwLockWriteGuard<'_, InForce> {
        self.in_force.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is in force. Held for a short time only.
    pub(super) fn in_force(&self) -> RwLockReadGuard<'_, InForce> {
        self.in_force.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of a pool, or its number when it never had one.
    pub(super) fn pool_name(&self, id: PoolId) -> String {
        let name = self.in_force().registry.pool_name(id).map(str::to_owned);
        name.unwrap_or_else(|| format!("#{id}"))
    }

    /// The name of a service set, likewise.
    pub(super) fn service_set_name(&self, id: ServiceSetId) -> String {
        let name = self.in_force().registry.service_set_name(id).map(str::to_owned);
        name.unwrap_or_else(|| format!("#{id}"))
    }

    /// The name of a policy, `list/policy`, likewise.
    pub(super) fn policy_name(&self, id: PolicyId) -> String {
        let name = self.in_force().names.policy(id);
        name.unwrap_or_else(|| "default".into())
    }

    /// Reads the file again and puts it in force when it is right. Blocks for some seconds at most.
    ///
    /// Where the configuration says so, the peer takes the shared part first: when it cannot, nothing is changed here either, and
    /// when this chassis cannot after all, the peer goes back. A peer that is not there holds nobody up.
    pub(super) fn reload(&self, target: &dyn Target, reach: Reach) -> Result<ReloadReport, ReloadError> {
        let _one = self.one_at_a_time();
        let at = SystemTime::now();
        let next = self.next_of(config::load_to_run(&self.file));
        let faults = match next.and_then(|(next, token)| {
            let peer = self.propagated(target, &next, reach)?;
            Ok((next, token, peer))
        }) {
            Ok((next, token, peer)) => {
                let generation = peer
                    .as_ref()
                    .filter(|peer| peer.applied)
                    .and_then(|peer| peer.generation);
                let taken = self.take(target, at, next, token, peer);
                if let (Err(ReloadError::Standstill(_)), Some(generation)) = (&taken, generation) {
                    target.take_back_from_peer(generation);
                }
                return taken;
            }
            Err(faults) => faults,
        };
        error!(
            file = %self.file.display(),
            faults = faults.len(),
            "reload refused, nothing was changed"
        );
        for fault in &faults {
            error!("{fault}");
        }
        let mut in_force = self.in_force_mut();
        in_force.refused += 1;
        let report = ReloadReport {
            applied: false,
            generation: in_force.program.generation,
            at_unix_s: unix_seconds(at),
            faults,
            warnings: Vec::new(),
            sessions_ended: None,
            peer: None,
        };
        in_force.last_reload = Some(report.clone());
        Ok(report)
    }

    /// What was loaded, if it may follow what is in force.
    fn next_of(
        &self,
        loaded: Result<Config, Vec<config::Fault>>,
    ) -> Result<(Next, Option<Token>), Vec<Fault>> {
        let shown = |faults: Vec<config::Fault>| faults.iter().map(Fault::from).collect::<Vec<_>>();
        let next = loaded.map_err(shown)?;
        let now = self.in_force();
        let changes = config::check_reload(&now.config, &next).map_err(shown)?;
        let mut registry = now.registry.clone();
        let program = config::compile(
            &next,
            &mut registry,
            Some(&now.program),
            &self.extras(&now.statics),
        )
        .map_err(|error| vec![compile_fault(&next, &error)])?;
        drop(now);
        // At each reload: the file may have another token while its name stays.
        let token = next.api.token_file.as_deref().map(read_secret).transpose();
        let token = token.map_err(|error| vec![token_fault(&next, &error)])?;
        let next = Next {
            config: next,
            program: Arc::new(program),
            registry,
            changes,
        };
        Ok((next, token))
    }

    fn extras<'e>(&'e self, statics: &'e RuntimeStatics) -> config::Extras<'e> {
        config::Extras {
            classifiers: &*self.classifiers,
            runtime_statics: statics.mappings(),
        }
    }

    /// Hands the program to the workers.
    fn hand_over(&self, target: &dyn Target, next: &Next) -> Result<(), ReloadError> {
        // Names before the program: its first port blocks are logged while workers still pick it up. Ids are never given
        // twice, so names of a program that no worker takes do no harm.
        let names = Arc::new(views::names(&next.registry, &next.program));
        let mut in_force = self.in_force_mut();
        in_force.registry = next.registry.clone();
        in_force.names = names;
        drop(in_force);
        let announced = target.announce(&next.config, &next.registry);
        announced
            .and_then(|()| target.apply(&next.program))
            .map_err(|worker| {
                target.take_back();
                ReloadError::Standstill(worker)
            })
    }

    fn take(
        &self,
        target: &dyn Target,
        at: SystemTime,
        next: Next,
        token: Option<Token>,
        peer: Option<PeerReload>,
    ) -> Result<ReloadReport, ReloadError> {
        next.tell();
        self.hand_over(target, &next)?;
        let generation = next.program.generation;
        // From here on the program runs, or will: that is what is in force, whatever else happens.
        self.token.set(token);
        let lagging = wait(|| target.lags(generation));
        target.committed(&next.config, &next.program, &next.registry);
        let warnings = target.set_addresses(&next.config);
        for refusal in &warnings {
            warn!("{refusal}");
        }
        let report = ReloadReport {
            applied: true,
            generation,
            at_unix_s: unix_seconds(at),
            faults: Vec::new(),
            warnings,
            sessions_ended: None,
            peer,
        };
        let mut in_force = self.in_force_mut();
        in_force.config = next.config;
        in_force.program = next.program;
        in_force.loaded_at = at;
        in_force.last_reload = Some(report.clone());
        in_force.applied += 1;
        drop(in_force);
        if let Some(worker) = lagging {
            let error = ReloadError::Lagging(worker);
            error!(generation, %error, "reload applied, but not by all workers");
            return Err(error);
        }
        info!(generation, "reload applied");
        Ok(report)
    }
}

/// Why a file does not become a program, as a fault of it.
fn compile_fault(config: &Config, error: &CompileError) -> Fault {
    let CompileError::RuntimeStatic {
        service_set, name, ..
    } = error
    else {
        return Fault {
            file: config.file.clone(),
            line: None,
            column: None,
            path: String::new(),
            problem: error.to_string(),
            remedy: "restart tandemd".into(),
        };
    };
    let path = format!("service-sets.{service_set}");
    let (line, column) = config.position(&path);
    Fault {
        file: config.file.clone(),
        line: (line > 0).then_some(line),
        column: (column > 0).then_some(column),
        path,
        problem: format!("a mapping that was set at run time does not fit the file: {error}"),
        remedy: format!(
            "change the file, or take the mapping away: tandem static-mapping remove {service_set} {name}"
        ),
    }
}

fn token_fault(config: &Config, error: &ServeError) -> Fault {
    let (line, column) = config.position("api.token-file");
    Fault {
        file: config.file.clone(),
        line: Some(line),
        column: Some(column),
        path: "api.token-file".into(),
        problem: error.to_string(),
        remedy: "put a token into the file, which only its owner and group may read".into(),
    }
}

/// Waits until nobody lags; who still does after the bound.
fn wait(lags: impl Fn() -> Option<String>) -> Option<String> {
    let start = Instant::now();
    loop {
        let who = lags()?;
        if start.elapsed() > PICK_UP_MAX {
            return Some(who);
        }
        std::thread::sleep(PICK_UP_LOOK);
    }
}

#[cfg(test)]
pub(super) mod tests;
