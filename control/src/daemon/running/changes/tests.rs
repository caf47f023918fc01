//! Static mappings of run time against a dataplane that only says what it runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::tests::{Fake, File, GOOD};
use super::super::*;
use super::*;

fn forward(name: &str, public: &str) -> NewStaticMapping {
    NewStaticMapping {
        service_set: "s".into(),
        name: name.into(),
        inside: "10.0.0.5".into(),
        public: public.into(),
        ..NewStaticMapping::default()
    }
}

fn names_of(running: &Running) -> Vec<String> {
    let in_force = running.in_force();
    let statics = in_force.program.statics.iter();
    statics.map(|m| m.name.clone()).collect()
}

#[test]
fn a_static_mapping_is_a_commit_that_outlives_reloads_of_the_file() {
    let file = File::new("static");
    let (running, target) = (file.running(), Fake::default());
    let done = running
        .add_static(&target, &forward("web", "198.51.100.5"))
        .expect("it fits");
    assert_eq!((done.generation, done.kept), (2, false));
    assert_eq!(target.runs.load(Ordering::Relaxed), 2);
    assert_eq!(target.told.load(Ordering::Relaxed), 2);
    assert_eq!(names_of(&running), ["web"]);
    let in_force = |what: fn(&InForce) -> u64| what(&running.in_force());
    assert_eq!(in_force(|f| f.applied), 0, "it is no reload");
    assert_eq!(
        in_force(|f| f.names.translations.len() as u64),
        2,
        "its sessions have a type"
    );
    assert!(running.reload(&target, Reach::default()).expect("tried").applied);
    assert_eq!(names_of(&running), ["web"]);
    running.remove_static(&target, "s", "web").expect("it is there");
    assert!(names_of(&running).is_empty() && running.in_force().statics.mappings().is_empty());
    assert!(matches!(
        running.remove_static(&target, "s", "web"),
        Err(ChangeError::Unknown(..))
    ));
    assert_eq!(running.in_force().program.generation, 4);
}

#[test]
fn a_static_mapping_that_contradicts_changes_nothing() {
    let file = File::new("static-bad");
    let (running, target) = (file.running(), Fake::default());
    running
        .add_static(&target, &forward("web", "198.51.100.5"))
        .expect("it fits");
    for (new, key) in [
        (forward("web", "198.51.100.6"), "name"),
        (forward("other", "198.51.100.5"), "public"),
        (forward("other", "203.0.113.5"), "public"),
        (forward("other", "nowhere"), "public"),
    ] {
        let error = running.add_static(&target, &new).expect_err("refused");
        let told = BackendError::from(error);
        assert!(
            matches!(&told, BackendError::Contradicts { key: k, .. } if k == key),
            "{new:?}: {told:?}"
        );
    }
    let still = Fake {
        stands_still: true,
        ..Fake::default()
    };
    let new = NewStaticMapping {
        inside: "10.0.0.6".into(),
        ..forward("other", "198.51.100.6")
    };
    assert!(matches!(
        running.add_static(&still, &new),
        Err(ChangeError::Commit(ReloadError::Standstill(_)))
    ));
    assert_eq!(
        (names_of(&running), running.in_force().program.generation),
        (vec!["web".to_owned()], 2)
    );
    assert_eq!(running.in_force().statics.mappings().len(), 1);
}

#[test]
fn a_file_that_contradicts_a_static_mapping_of_run_time_is_refused_by_its_name() {
    let file = File::new("static-reload");
    let (running, target) = (file.running(), Fake::default());
    running
        .add_static(&target, &forward("web", "198.51.100.5"))
        .expect("it fits");
    file.write(&GOOD.replace("203.0.113.0/28", "198.51.100.0/28"));
    let report = running.reload(&target, Reach::default()).expect("tried");
    let [fault] = &report.faults[..] else {
        panic!("{:?}", report.faults)
    };
    assert!(!report.applied && fault.problem.contains("\"web\""), "{fault}");
    assert!(
        fault.remedy.contains("tandem static-mapping remove s web"),
        "{fault}"
    );
    assert_eq!((fault.path.as_str(), fault.line), ("service-sets.s", Some(12)));
    assert_eq!(running.in_force().program.generation, 2);
    running.remove_static(&target, "s", "web").expect("it is there");
    assert!(running.reload(&target, Reach::default()).expect("tried").applied);
}

#[test]
fn kept_static_mappings_come_back_and_one_that_does_not_fit_is_left_out() {
    let file = File::new("static-kept");
    let directory = std::env::temp_dir().join(format!("tandem-kept-{}", std::process::id()));
    let state = StateFile::new(Some(&directory));
    let start = || {
        let config = config::load(&file.0).expect("a right configuration");
        let mut registry = NameRegistry::new();
        let kept = state.read().expect("what was kept");
        let (program, restored) =
            compile_first(&config, &mut registry, state.clone(), kept).expect("a program");
        let builder = Box::new(tandem_engine::program::policy::ReferenceBuilder);
        let token = SharedToken::default();
        Running::new(
            file.0.clone(),
            config,
            Arc::new(program),
            registry,
            builder,
            token,
            restored,
        )
    };
    let (running, target) = (start(), Fake::default());
    for (name, public) in [("web", "198.51.100.5"), ("mail", "192.0.2.77")] {
        let done = running.add_static(&target, &forward(name, public));
        // One inside address has one public address only when it sends.
        assert_eq!(done.is_ok_and(|done| done.kept), name == "web");
    }
    let mail = NewStaticMapping {
        inside: "10.0.0.6".into(),
        ..forward("mail", "192.0.2.77")
    };
    assert!(running.add_static(&target, &mail).expect("it fits").kept);
    let running = start();
    assert_eq!((names_of(&running).len(), running.left_out().len()), (2, 0));
    file.write(&GOOD.replace("203.0.113.0/28", "198.51.100.0/28"));
    let running = start();
    assert_eq!(names_of(&running), ["mail"]);
    assert!(
        running.left_out()[0].contains("\"web\""),
        "{:?}",
        running.left_out()
    );
    std::fs::remove_dir_all(&directory).expect("it was made");
}
