//! The systemd unit in configs/: its keys are systemd's, and its command line is one tandemd takes.

use std::path::Path;
use std::process::Command;

const UNIT: &str = include_str!("../../configs/systemd/tandemd.service");

fn value(key: &str) -> Option<&'static str> {
    UNIT.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
}

#[test]
fn the_unit_starts_reloads_and_stops_what_the_daemon_is() {
    let start = value("ExecStart").expect("a command");
    let mut words = start.split_whitespace();
    assert_eq!(words.next(), Some("/usr/bin/tandemd"));
    // The same words, and one more that ends it before it does anything.
    let output = Command::new(env!("CARGO_BIN_EXE_tandemd"))
        .args(words)
        .arg("--help")
        .output()
        .expect("tandemd runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(value("Type"), Some("notify"));
    assert_eq!(value("ExecReload"), Some("/bin/kill -HUP $MAINPID"));
    assert_eq!(value("RestartPreventExitStatus"), Some("2"));
    // Static mappings of run time outlive the process, and ProtectSystem=strict leaves no other place.
    assert_eq!(value("StateDirectory"), Some("tandem"));
    // systemd.kill(5): "mixed" sends SIGKILL to what remains as soon as the main process is dead, and the guard remains.
    assert_eq!(value("KillMode"), Some("control-group"));
    // Without an end: systemd reads this key in [Unit] only.
    assert_eq!(value("Restart"), Some("on-failure"));
    let unit = UNIT.split("\n[").find(|part| part.starts_with("Unit]"));
    assert!(unit.is_some_and(|unit| unit.contains("\nStartLimitIntervalSec=0\n")));
}

#[test]
fn the_unit_lets_the_channel_into_its_network_namespace_and_into_no_other_kind() {
    // The socket of a redundancy group is made where its routing instance says: setns(2) with CLONE_NEWNET. systemd.exec(5): what
    // RestrictNamespaces does not list is refused, and a filter of system calls would have to list setns.
    assert_eq!(value("RestrictNamespaces"), Some("net"));
    let capabilities = value("CapabilityBoundingSet").expect("a set");
    assert!(capabilities.split(' ').any(|name| name == "CAP_SYS_ADMIN"));
    for filter in [
        "SystemCallFilter",
        "User",
        "PrivateNetwork",
        "NetworkNamespacePath",
    ] {
        assert_eq!(value(filter), None, "{filter}");
    }
}

#[test]
fn systemd_knows_every_key_of_the_unit() {
    let sections = ["Unit", "Service", "Install"];
    for line in UNIT.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        match line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            Some(section) => assert!(sections.contains(&section), "{section}"),
            None => assert!(
                line.split_once('=')
                    .is_some_and(|(k, v)| !k.is_empty() && !v.is_empty()),
                "{line}"
            ),
        }
    }
    let analyze = Path::new("/usr/bin/systemd-analyze");
    if !analyze.exists() {
        eprintln!("no systemd-analyze here: the form alone was checked");
        return;
    }
    // systemd looks for the program, which is not installed here.
    let folder = std::env::temp_dir().join(format!("tandem-unit-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let copy = folder.join("tandemd.service");
    std::fs::write(
        &copy,
        UNIT.replace("/usr/bin/tandemd", env!("CARGO_BIN_EXE_tandemd")),
    )
    .expect("a copy");
    let output = Command::new(analyze)
        .arg("verify")
        .arg(&copy)
        .output()
        .expect("systemd-analyze runs");
    std::fs::remove_dir_all(&folder).expect("the folder goes");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}
