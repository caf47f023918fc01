//! Another's shared part against a dataplane that only says what it runs, and reloads that are the peer's, too.

use std::path::Path;
use std::sync::atomic::Ordering;

use super::super::tests::{Fake, File, GOOD};
use super::*;
use crate::api::model::PeerReload;
use crate::daemon::pair::Propagation;
use crate::daemon::running::Reach;

/// [`GOOD`] as half of a pair.
fn pair() -> String {
    GOOD.to_owned()
        + "redundancy-set = 1
[redundancy]
redundancy-local = \"5.5.5.1\"
propagate-configuration = true
[redundancy-groups.1]
redundancy-peer = \"5.5.5.2\"
security = \"none\"
heartbeat-interval-ms = 0
[redundancy-sets.1]
redundancy-group = 1
"
}

fn file(name: &str) -> (File, PathBuf) {
    let file = File::new(name);
    file.write(&pair());
    let previous = previous(&file.0);
    (file, previous)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a file")
}

#[test]
fn a_right_one_is_written_and_applied_and_the_file_before_is_kept() {
    let (file, previous) = file("adopt");
    let (running, target) = (file.running(), Fake::default());
    let theirs = pair().replace("/28", "/29");
    assert_eq!(
        running.adopt(&target, &theirs, true).expect("it could"),
        Adopted {
            changed: true,
            generation: 1,
            warnings: Vec::new()
        }
    );
    assert_eq!(
        (read(&file.0), previous.exists()),
        (pair(), false),
        "it was only asked"
    );
    let adopted = running.adopt(&target, &theirs, false).expect("taken");
    assert_eq!((adopted.changed, adopted.generation), (true, 2));
    assert_eq!((read(&file.0), read(&previous)), (theirs.clone(), pair()));
    assert_eq!(target.runs.load(Ordering::Relaxed), 2);
    assert!(!running.file_has_changed());
    assert!(!running.adopt(&target, &theirs, false).expect("as it is").changed);
    assert!(
        matches!(running.revert(&target, 2), Err(AdoptError::Moved(2))),
        "what both have is not left for something older"
    );
    // Not from another generation than the one that came of it; and only once.
    assert!(matches!(running.revert(&target, 3), Err(AdoptError::Moved(2))));
    running.adopt(&target, &pair(), false).expect("taken");
    assert_eq!(running.revert(&target, 3).expect("back").generation, 4);
    assert_eq!(read(&file.0), theirs);
    fs::remove_file(previous).expect("it is there");
}

#[test]
fn a_wrong_one_changes_nothing() {
    let (file, previous) = file("adopt-wrong");
    let (running, target) = (file.running(), Fake::default());
    let wrong = pair().replace("\"napt-44\", pool = \"p\"", "\"napt-44\", pool = \"q\"");
    let Err(AdoptError::Faults(faults)) = running.adopt(&target, &wrong, false) else {
        panic!("it has a fault");
    };
    assert!(
        faults.iter().any(|fault| fault.problem.contains("\"q\"")),
        "{faults:?}"
    );
    // What needs a restart does not come this way either.
    let more = pair() + "[redundancy-sets.2]\nredundancy-group = 1\n";
    let refused = running.adopt(&target, &more, false);
    assert!(matches!(refused, Err(AdoptError::Faults(_))), "{refused:?}");
    assert_eq!((read(&file.0), previous.exists()), (pair(), false));
    assert_eq!(target.runs.load(Ordering::Relaxed), 0);
    file.write(&pair().replace("/28", "/27"));
    assert!(matches!(
        running.adopt(&target, &pair().replace("/28", "/29"), false),
        Err(AdoptError::FileChanged(_))
    ));
}

#[test]
fn workers_that_do_not_take_it_leave_the_file_as_it_was() {
    let (file, previous) = file("adopt-still");
    let running = file.running();
    let target = Fake {
        stands_still: true,
        ..Fake::default()
    };
    let theirs = pair().replace("/28", "/29");
    assert!(matches!(
        running.adopt(&target, &theirs, false),
        Err(AdoptError::Reload(_))
    ));
    assert_eq!(read(&file.0), pair());
    fs::remove_file(previous).expect("it is there");
}

fn taken() -> Propagation {
    Propagation::Taken(PeerReload {
        applied: true,
        generation: Some(7),
        detail: String::new(),
    })
}

fn says(target: &Fake, said: Propagation) {
    target.peer.lock().expect("no test panics with it").said = Some(said);
}

#[test]
fn a_reload_is_the_peers_first_and_without_its_yes_nobodys() {
    let (file, _) = file("propagate");
    let (running, target) = (file.running(), Fake::default());
    file.write(&pair().replace("/28", "/29"));
    says(
        &target,
        Propagation::Refused("the peer refuses: it is stopping".into(), Vec::new()),
    );
    let report = running.reload(&target, Reach::Configured).expect("tried");
    assert_eq!((report.applied, report.generation), (false, 1));
    assert!(
        report.faults[0].problem.contains("it is stopping") && report.faults[0].remedy.contains("--local")
    );
    assert_eq!(
        target.peer.lock().expect("lock").asked.len(),
        1,
        "it was asked only whether it could"
    );
    // With what is wrong there.
    let fault = Fault {
        file: "/etc/t.toml".into(),
        ..report.faults[0].clone()
    };
    says(&target, Propagation::Refused(String::new(), vec![fault]));
    let report = running.reload(&target, Reach::Configured).expect("tried");
    assert_eq!(report.faults[0].file, "the peer's /etc/t.toml");

    says(&target, taken());
    let report = running.reload(&target, Reach::Configured).expect("tried");
    assert_eq!(
        (report.applied, report.peer.and_then(|peer| peer.generation)),
        (true, Some(7))
    );
    let asked = std::mem::take(&mut target.peer.lock().expect("lock").asked);
    let asked: Vec<bool> = asked
        .iter()
        .rev()
        .take(2)
        .rev()
        .map(|(_, dry_run)| *dry_run)
        .collect();
    assert_eq!(asked, [true, false]);

    // A file with a fault of its own does not come to the peer.
    file.write(&pair().replace("/28", "/99"));
    assert!(!running.reload(&target, Reach::Configured).expect("tried").applied);
    assert!(target.peer.lock().expect("lock").asked.is_empty());
}

#[test]
fn without_a_peer_or_by_wish_a_reload_is_this_chassis_alone() {
    let (file, _) = file("propagate-alone");
    let (running, target) = (file.running(), Fake::default());
    file.write(&pair().replace("/28", "/29"));
    says(&target, Propagation::Alone("the peer is not connected".into()));
    let peer = running
        .reload(&target, Reach::Configured)
        .expect("tried")
        .peer
        .expect("it is told");
    assert!(!peer.applied && peer.detail.contains("not connected") && peer.detail.contains("pull"));
    let asked = target.peer.lock().expect("lock").asked.len();
    says(&target, Propagation::Refused("no".into(), Vec::new()));
    let report = running.reload(&target, Reach::Local).expect("tried");
    assert_eq!((report.applied, report.peer), (true, None));
    assert_eq!(target.peer.lock().expect("lock").asked.len(), asked);
}

#[test]
fn a_peer_that_took_what_this_chassis_cannot_goes_back() {
    let (file, _) = file("propagate-back");
    let running = file.running();
    let target = Fake {
        stands_still: true,
        ..Fake::default()
    };
    file.write(&pair().replace("/28", "/29"));
    says(&target, taken());
    assert!(running.reload(&target, Reach::Configured).is_err());
    assert_eq!(target.peer.lock().expect("lock").taken_back, [7]);
    assert_eq!(running.in_force().program.generation, 1);
    // One that had the shared part already stays as it is.
    let had = Propagation::Taken(PeerReload {
        applied: true,
        generation: None,
        detail: String::new(),
    });
    says(&target, had);
    assert!(running.reload(&target, Reach::Configured).is_err());
    assert_eq!(target.peer.lock().expect("lock").taken_back, [7]);
}
