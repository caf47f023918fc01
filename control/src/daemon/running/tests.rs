//! Reloads against a dataplane that only says what it runs.

use super::*;
use std::sync::atomic::{AtomicU32, Ordering};

pub(in crate::daemon) const GOOD: &str = r#"
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

/// The other chassis.
#[derive(Default)]
pub(super) struct FakePeer {
    /// What it was asked to take, and whether only as a question.
    pub asked: Vec<(String, bool)>,
    /// What it says.
    pub said: Option<Propagation>,
    /// Generations it went back from.
    pub taken_back: Vec<u32>,
}

/// Stands for the dataplane: runs what it is given, when it may.
#[derive(Default)]
pub(super) struct Fake {
    pub runs: AtomicU32,
    /// Programs that were announced and neither applied nor taken back.
    pub announced: AtomicU32,
    pub stands_still: bool,
    pub refuses_addresses: bool,
    pub addresses_set: AtomicU32,
    /// Generation of the last program that was told to be in force.
    pub told: AtomicU32,
    pub peer: Mutex<FakePeer>,
}

impl Target for Fake {
    fn announce(&self, _: &Config, _: &NameRegistry) -> Result<(), String> {
        self.announced.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn take_back(&self) {
        self.announced.fetch_sub(1, Ordering::Relaxed);
    }

    fn apply(&self, program: &Arc<Program>) -> Result<(), String> {
        assert_eq!(
            self.announced.load(Ordering::Relaxed),
            1,
            "it was announced first"
        );
        if self.stands_still {
            return Err("worker 1".into());
        }
        self.announced.store(0, Ordering::Relaxed);
        self.runs.store(program.generation, Ordering::Relaxed);
        Ok(())
    }

    fn lags(&self, generation: u32) -> Option<String> {
        (self.runs.load(Ordering::Relaxed) != generation).then(|| "worker 0".into())
    }

    fn committed(&self, _: &Config, program: &Arc<Program>, _: &NameRegistry) {
        self.told.store(program.generation, Ordering::Relaxed);
    }

    fn propagate(&self, text: &str, dry_run: bool) -> Propagation {
        let mut peer = self.peer.lock().expect("no test panics with it");
        peer.asked.push((text.to_owned(), dry_run));
        peer.said.clone().unwrap_or(Propagation::Alone("nobody".into()))
    }

    fn take_back_from_peer(&self, generation: u32) {
        let mut peer = self.peer.lock().expect("no test panics with it");
        peer.taken_back.push(generation);
    }

    fn set_addresses(&self, _: &Config) -> Vec<String> {
        self.addresses_set.fetch_add(1, Ordering::Relaxed);
        self.refuses_addresses
            .then(|| "addresses of in0: refused".to_owned())
            .into_iter()
            .collect()
    }
}

pub(super) struct File(pub PathBuf);

impl File {
    pub fn new(name: &str) -> Self {
        let file = Self(std::env::temp_dir().join(format!("tandem-{name}-{}.toml", std::process::id())));
        file.write(GOOD);
        file
    }

    pub fn write(&self, text: &str) {
        std::fs::write(&self.0, text).expect("the file is written");
    }

    pub fn running(&self) -> Running {
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
            Restored::default(),
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
    let report = running.reload(&target, Reach::default()).expect("tried");
    assert!(report.applied && report.faults.is_empty());
    assert_eq!((report.generation, target.runs.load(Ordering::Relaxed)), (2, 2));
    assert_eq!(target.addresses_set.load(Ordering::Relaxed), 1);
    assert_eq!(
        target.told.load(Ordering::Relaxed),
        2,
        "whoever follows the program is told"
    );
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
        (
            GOOD.to_owned()
                + "[redundancy-groups.1]\nredundancy-local = \"5.5.5.1\"\nredundancy-peer = \"5.5.5.2\"\n\
                   certificate = \"/nonexistent/a.crt\"\nkey = \"/nonexistent/a.key\"\nca = \"/nonexistent/ca.crt\"\n\
                   heartbeat-interval-ms = 0\n",
            "redundancy-groups.1.certificate",
        ),
    ] {
        file.write(&text);
        let report = running.reload(&target, Reach::default()).expect("tried");
        assert!(!report.applied && report.generation == 1);
        assert!(
            report.faults.iter().any(|f| f.path == named),
            "{:?}",
            report.faults
        );
    }
    assert_eq!(
        (target.runs.load(Ordering::Relaxed), running.in_force().refused),
        (0, 4)
    );
    assert_eq!(
        target.told.load(Ordering::Relaxed),
        0,
        "nobody is told of what is not in force"
    );
    file.write(GOOD);
    assert!(
        running.reload(&target, Reach::default()).expect("tried").applied,
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
    let report = running.reload(&target, Reach::default()).expect("tried");
    assert!(report.applied && report.faults.is_empty());
    assert_eq!(report.warnings, ["addresses of in0: refused"]);
    assert_eq!(running.in_force().last_reload.as_ref(), Some(&report));
    let report = running.reload(&Fake::default(), Reach::default()).expect("tried");
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
        assert!(running.reload(&target, Reach::default()).expect("tried").applied);
        assert_eq!(bearer(), Some(format!("Bearer {text}")));
    }
    for (text, bits) in [("short", 0o600), ("everybody-may-read-it", 0o604)] {
        secret.write(text);
        mode(&secret, bits);
        let report = running.reload(&target, Reach::default()).expect("tried");
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
    assert!(running.reload(&target, Reach::default()).expect("tried").applied);
    assert_eq!(bearer(), None);
}

#[test]
fn names_are_known_before_workers_use_them() {
    struct Asks(Running);
    impl Target for Asks {
        fn announce(&self, _: &Config, _: &NameRegistry) -> Result<(), String> {
            Ok(())
        }

        fn take_back(&self) {}

        fn apply(&self, program: &Arc<Program>) -> Result<(), String> {
            assert_eq!(self.0.pool_name(program.pools[0].id), "fresh");
            Ok(())
        }

        fn lags(&self, _: u32) -> Option<String> {
            None
        }

        fn committed(&self, _: &Config, _: &Arc<Program>, _: &NameRegistry) {}

        fn set_addresses(&self, _: &Config) -> Vec<String> {
            Vec::new()
        }

        fn propagate(&self, _: &str, _: bool) -> Propagation {
            Propagation::Alone(String::new())
        }

        fn take_back_from_peer(&self, _: u32) {}
    }
    let file = File::new("names");
    let asks = Asks(file.running());
    file.write(
        &GOOD
            .replace("[pools.p]", "[pools.fresh]")
            .replace("\"p\"", "\"fresh\""),
    );
    assert!(asks.0.reload(&asks, Reach::default()).expect("tried").applied);
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
        running.reload(&target, Reach::default()),
        Err(ReloadError::Standstill("worker 1".into()))
    );
    assert_eq!(running.in_force().program.generation, 1);
}
