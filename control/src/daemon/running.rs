//! What runs: the configuration in force, its program, and how another one takes its place.
//!
//! ```text
//!   file -> load -> what may change? -> compile -> all workers -> (each says its generation) -> addresses -> in force
//!              \-> faults: logged, reported, nothing changed
//! ```

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant, SystemTime};

use tandem_engine::program::policy::ClassifierBuilder;
use tandem_engine::program::{PoolId, Program, ServiceSetId};
use tracing::{error, info, warn};

use super::clock::unix_seconds;
use crate::api::model::{Fault, ReloadReport};
use crate::api::{ServeError, SharedToken, Token, read_secret};
use crate::config::{self, Config, NameRegistry};

/// How long workers may take to pick a program up.
const PICK_UP_MAX: Duration = Duration::from_secs(5);
/// Between two looks whether they did.
const PICK_UP_LOOK: Duration = Duration::from_millis(2);

/// What a reload needs of the running dataplane.
pub(super) trait Target: Send + Sync {
    /// Hands the program to every worker. Either all of them get it, or the name of one that cannot is given back.
    fn apply(&self, program: &Arc<Program>) -> Result<(), String>;
    /// A worker that does not run this generation yet.
    fn lags(&self, generation: u32) -> Option<String>;
    /// Puts the configured addresses on the taps; what was refused.
    fn set_addresses(&self, config: &Config) -> Vec<String>;
}

/// The configuration in force.
pub(super) struct InForce {
    pub config: Config,
    pub program: Arc<Program>,
    pub registry: NameRegistry,
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
}

/// What a reload puts in force.
struct Next {
    config: Config,
    program: Arc<Program>,
    registry: NameRegistry,
    token: Option<Token>,
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
    ) -> Self {
        let in_force = InForce {
            config,
            program,
            registry,
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
        }
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

    /// Reads the file again and puts it in force when it is right. Blocks for some seconds at most.
    pub(super) fn reload(&self, target: &dyn Target) -> Result<ReloadReport, ReloadError> {
        let _one: MutexGuard<'_, ()> = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let at = SystemTime::now();
        let faults = match self.next() {
            Ok(next) => return self.take(target, at, next),
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
        let mut in_force = self.in_force.write().unwrap_or_else(PoisonError::into_inner);
        in_force.refused += 1;
        let report = ReloadReport {
            applied: false,
            generation: in_force.program.generation,
            at_unix_s: unix_seconds(at),
            faults,
            warnings: Vec::new(),
        };
        in_force.last_reload = Some(report.clone());
        Ok(report)
    }

    /// The next configuration, if the file has one that may follow the one in force.
    fn next(&self) -> Result<Next, Vec<Fault>> {
        let shown = |faults: Vec<config::Fault>| faults.iter().map(Fault::from).collect::<Vec<_>>();
        let next = config::load(&self.file).map_err(shown)?;
        let now = self.in_force();
        let changes = config::check_reload(&now.config, &next).map_err(shown)?;
        let mut registry = now.registry.clone();
        let program = config::compile(
            &next,
            &mut registry,
            Some(&now.program),
            &config::Extras {
                classifiers: &*self.classifiers,
                ..config::Extras::default()
            },
        )
        .map_err(|error| {
            vec![Fault {
                file: next.file.clone(),
                line: None,
                column: None,
                path: String::new(),
                problem: error.to_string(),
                remedy: "restart tandemd".into(),
            }]
        })?;
        drop(now);
        // At each reload: the file may have another token while its name stays.
        let token = next.api.token_file.as_deref().map(read_secret).transpose();
        let token = token.map_err(|error| vec![token_fault(&next, &error)])?;
        for warning in &next.warnings {
            warn!("{warning}");
        }
        for change in &changes {
            let none = || "nothing".to_owned();
            let (from, to) = (
                change.from.clone().unwrap_or_else(none),
                change.to.clone().unwrap_or_else(none),
            );
            info!(key = %change.path, %from, %to, "configuration changes");
        }
        Ok(Next {
            config: next,
            program: Arc::new(program),
            registry,
            token,
        })
    }

    fn take(&self, target: &dyn Target, at: SystemTime, next: Next) -> Result<ReloadReport, ReloadError> {
        let Next {
            config,
            program,
            registry,
            token,
        } = next;
        // Names before the program: its first port blocks are logged while workers still pick it up. Ids are never given
        // twice, so names of a program that no worker takes do no harm.
        self.in_force
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .registry = registry.clone();
        target.apply(&program).map_err(ReloadError::Standstill)?;
        let generation = program.generation;
        // From here on the program runs, or will: that is what is in force, whatever else happens.
        self.token.set(token);
        let lagging = wait(|| target.lags(generation));
        let warnings = target.set_addresses(&config);
        for refusal in &warnings {
            warn!("{refusal}");
        }
        let report = ReloadReport {
            applied: true,
            generation,
            at_unix_s: unix_seconds(at),
            faults: Vec::new(),
            warnings,
        };
        let mut in_force = self.in_force.write().unwrap_or_else(PoisonError::into_inner);
        *in_force = InForce {
            config,
            program,
            registry,
            loaded_at: at,
            last_reload: Some(report.clone()),
            applied: in_force.applied + 1,
            refused: in_force.refused,
        };
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
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    const GOOD: &str = r#"
[interfaces.in0]
device = "net_ring0"
[interfaces.out0]
device = "net_ring1"
[pools.p]
prefixes = ["203.0.113.0/28"]
[nat-rules.r]
[[nat-rules.r.terms]]
name = "t"
then = { translation-type = "napt-44", pool = "p" }
[service-sets.s]
inside-interfaces = ["in0"]
outside-interfaces = ["out0"]
nat-rules = ["r"]
"#;

    /// Stands for the dataplane: runs what it is given, when it may.
    #[derive(Default)]
    struct Fake {
        runs: AtomicU32,
        stands_still: bool,
        refuses_addresses: bool,
        addresses_set: AtomicU32,
    }

    impl Target for Fake {
        fn apply(&self, program: &Arc<Program>) -> Result<(), String> {
            if self.stands_still {
                return Err("worker 1".into());
            }
            self.runs.store(program.generation, Ordering::Relaxed);
            Ok(())
        }

        fn lags(&self, generation: u32) -> Option<String> {
            (self.runs.load(Ordering::Relaxed) != generation).then(|| "worker 0".into())
        }

        fn set_addresses(&self, _: &Config) -> Vec<String> {
            self.addresses_set.fetch_add(1, Ordering::Relaxed);
            self.refuses_addresses
                .then(|| "addresses of in0: refused".to_owned())
                .into_iter()
                .collect()
        }
    }

    struct File(PathBuf);

    impl File {
        fn new(name: &str) -> Self {
            let file = Self(std::env::temp_dir().join(format!("tandem-{name}-{}.toml", std::process::id())));
            file.write(GOOD);
            file
        }

        fn write(&self, text: &str) {
            std::fs::write(&self.0, text).expect("the file is written");
        }

        fn running(&self) -> Running {
            let config = config::load(&self.0).expect("a right configuration");
            let mut registry = NameRegistry::new();
            let program =
                config::compile(&config, &mut registry, None, &config::Extras::default()).expect("a program");
            Running::new(
                self.0.clone(),
                config,
                Arc::new(program),
                registry,
                Box::new(tandem_engine::program::policy::ReferenceBuilder),
                SharedToken::default(),
            )
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _gone = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn a_good_file_takes_effect_and_keeps_ids() {
        let file = File::new("good");
        let (running, target) = (file.running(), Fake::default());
        let pool = running.in_force().program.pools[0].id;
        file.write(&GOOD.replace("203.0.113.0/28", "203.0.113.64/27"));
        let report = running.reload(&target).expect("tried");
        assert!(report.applied && report.faults.is_empty());
        assert_eq!((report.generation, target.runs.load(Ordering::Relaxed)), (2, 2));
        assert_eq!(target.addresses_set.load(Ordering::Relaxed), 1);
        let in_force = running.in_force();
        assert_eq!((in_force.program.pools[0].id, in_force.applied), (pool, 1));
        assert_eq!(in_force.last_reload.as_ref(), Some(&report));
    }

    #[test]
    fn a_bad_file_and_one_that_needs_a_restart_change_nothing() {
        let file = File::new("bad");
        let (running, target) = (file.running(), Fake::default());
        for (text, named) in [
            (GOOD.replace("prefixes", "prefixess"), "pools.p.prefixess"),
            (GOOD.to_owned() + "[[[", ""),
            (GOOD.replace("net_ring1", "net_ring2"), "interfaces.out0.device"),
        ] {
            file.write(&text);
            let report = running.reload(&target).expect("tried");
            assert!(!report.applied && report.generation == 1);
            assert!(
                report.faults.iter().any(|f| f.path == named),
                "{:?}",
                report.faults
            );
        }
        assert_eq!(
            (target.runs.load(Ordering::Relaxed), running.in_force().refused),
            (0, 3)
        );
        file.write(GOOD);
        assert!(
            running.reload(&target).expect("tried").applied,
            "and the next good one is taken"
        );
    }

    #[test]
    fn an_address_that_is_refused_stands_in_the_report() {
        let file = File::new("addresses");
        let running = file.running();
        let target = Fake {
            refuses_addresses: true,
            ..Fake::default()
        };
        let report = running.reload(&target).expect("tried");
        assert!(report.applied && report.faults.is_empty());
        assert_eq!(report.warnings, ["addresses of in0: refused"]);
        assert_eq!(running.in_force().last_reload.as_ref(), Some(&report));
        let report = running.reload(&Fake::default()).expect("tried");
        assert_eq!(report.warnings, Vec::<String>::new(), "each reload says its own");
    }

    #[test]
    fn the_token_is_read_again_at_each_good_reload() {
        use std::os::unix::fs::PermissionsExt;
        let mode = |file: &File, mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&file.0, mode).expect("the mode is set");
        };
        let (file, secret) = (File::new("token-user"), File::new("token-secret"));
        let (running, target) = (file.running(), Fake::default());
        let bearer = || running.token.get().map(|token| token.bearer());
        let with_token = format!("[api]\ntoken-file = \"{}\"\n{GOOD}", secret.0.display());
        assert_eq!(bearer(), None);
        file.write(&with_token);
        mode(&secret, 0o600);
        for text in ["first-token-of-all", "the-second-token!"] {
            // The second time nothing but the secret is another.
            secret.write(text);
            assert!(running.reload(&target).expect("tried").applied);
            assert_eq!(bearer(), Some(format!("Bearer {text}")));
        }
        for (text, bits) in [("short", 0o600), ("everybody-may-read-it", 0o604)] {
            secret.write(text);
            mode(&secret, bits);
            let report = running.reload(&target).expect("tried");
            assert!(!report.applied && report.generation == 3);
            let [fault] = &report.faults[..] else {
                panic!("{:?}", report.faults)
            };
            assert_eq!((fault.path.as_str(), fault.line), ("api.token-file", Some(2)));
            assert_eq!(
                bearer(),
                Some("Bearer the-second-token!".into()),
                "the old one stays"
            );
        }
        file.write(GOOD);
        assert!(running.reload(&target).expect("tried").applied);
        assert_eq!(bearer(), None);
    }

    #[test]
    fn names_are_known_before_workers_use_them() {
        struct Asks(Running);
        impl Target for Asks {
            fn apply(&self, program: &Arc<Program>) -> Result<(), String> {
                assert_eq!(self.0.pool_name(program.pools[0].id), "fresh");
                Ok(())
            }

            fn lags(&self, _: u32) -> Option<String> {
                None
            }

            fn set_addresses(&self, _: &Config) -> Vec<String> {
                Vec::new()
            }
        }
        let file = File::new("names");
        let asks = Asks(file.running());
        file.write(
            &GOOD
                .replace("[pools.p]", "[pools.fresh]")
                .replace("\"p\"", "\"fresh\""),
        );
        assert!(asks.0.reload(&asks).expect("tried").applied);
    }

    #[test]
    fn a_worker_that_stands_still_is_named_and_nothing_changes() {
        let file = File::new("still");
        let running = file.running();
        let target = Fake {
            stands_still: true,
            ..Fake::default()
        };
        assert_eq!(
            running.reload(&target),
            Err(ReloadError::Standstill("worker 1".into()))
        );
        assert_eq!(running.in_force().program.generation, 1);
    }
}
