//! Certificates and keys of a redundancy group that cannot be used are faults of the file, with line, key and remedy: `tandem check`
//! says so, and the daemon ends with 2, before anything starts.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ha_sync::net::keys;
use tandem_control::config::{self, Fault};

/// A group at lines 14 to 20: certificate at 17, key at 18, what the peer is known by at 19.
const BASE: &str = include_str!("config/redundancy.toml");
const PINNED: &str =
    "peer-fingerprints = [\"0000000000000000000000000000000000000000000000000000000000000000\"]";
const CA: &str = "ca = \"ca.crt\"";

/// A folder with the keys of chassis `a` and `b`.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tandem-keys-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        for chassis in ["a", "b"] {
            keys::write(&path, chassis).expect("keys");
        }
        Self(path)
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    /// A configuration with these files.
    fn config(&self, certificate: &str, key: &str, peer: &str) -> PathBuf {
        let tls =
            format!("certificate = \"{certificate}\"\nkey = \"{key}\"\n{peer}\nheartbeat-interval-ms = 0");
        self.put("t.toml", &BASE.replace("security = \"none\"", &tls))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

fn faults(path: &Path) -> Vec<Fault> {
    config::load_to_run(path).err().unwrap_or_default()
}

#[test]
fn each_file_that_does_not_do_is_told_with_its_line_its_key_and_a_remedy() {
    let folder = Folder::new("faults");
    folder.put("empty.pem", "");
    let made = Command::new("mkfifo").arg(folder.0.join("pipe")).status();
    assert!(made.expect("mkfifo").success());
    folder.put(
        "noise.crt",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    folder.put(
        "noise.key",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    );
    let open = folder.put(
        "open.key",
        &std::fs::read_to_string(folder.0.join("a.key")).expect("PEM"),
    );
    for name in ["empty.pem", "noise.key"] {
        std::fs::set_permissions(folder.0.join(name), Permissions::from_mode(0o600)).expect("chmod");
    }
    std::fs::set_permissions(open, Permissions::from_mode(0o644)).expect("chmod");
    assert_eq!(faults(&folder.config("a.crt", "a.key", PINNED)), []);
    assert_eq!(
        faults(&folder.config("a.crt", "a.key", "ca = \"b.crt\"")),
        [],
        "a certificate that is its own CA"
    );
    // Certificate, key, peer; then of each fault the line, the key, and a part of what it says.
    type Told = (u32, &'static str, &'static str);
    let cases: [(&str, &str, &str, &[Told]); 10] = [
        // Whoever opens a pipe waits for its other end.
        (
            "pipe",
            "a.key",
            PINNED,
            &[(17, "certificate", "it is not a file")],
        ),
        (
            "none.crt",
            "a.key",
            PINNED,
            &[(17, "certificate", "tandem ha keygen --directory")],
        ),
        (
            "empty.pem",
            "a.key",
            PINNED,
            &[(17, "certificate", "no certificate in it")],
        ),
        ("a.crt", "none.key", PINNED, &[(18, "key", "No such file")]),
        (
            "a.crt",
            "empty.pem",
            PINNED,
            &[(18, "key", "nothing in PEM format")],
        ),
        ("a.crt", "open.key", PINNED, &[(18, "key", "chmod 600")]),
        (
            "a.crt",
            "b.key",
            PINNED,
            &[(18, "key", "the key is not of this certificate")],
        ),
        (
            "noise.crt",
            "a.key",
            PINNED,
            &[(17, "certificate", "made together")],
        ),
        ("a.crt", "noise.key", PINNED, &[(18, "key", "made together")]),
        (
            "none.crt",
            "none.key",
            CA,
            &[
                (17, "certificate", "No such file"),
                (18, "key", "No such file"),
                (19, "ca", "CA that signed"),
            ],
        ),
    ];
    for (certificate, key, peer, wanted) in cases {
        let found = faults(&folder.config(certificate, key, peer));
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), wanted.len(), "{certificate} {key}: {told:#?}");
        for ((fault, told), (line, key, part)) in found.iter().zip(&told).zip(wanted) {
            assert_eq!(
                (fault.line, fault.path.as_str()),
                (*line, format!("redundancy-groups.1.{key}").as_str()),
                "{told}"
            );
            assert!(told.contains(part) && !fault.remedy.is_empty(), "{part}: {told}");
        }
    }
    let path = folder.config("none.crt", "none.key", CA);
    assert!(config::load(&path).is_ok(), "nothing of the machine is looked at");
}

#[test]
fn check_says_it_and_the_daemon_ends_with_2() {
    let folder = Folder::new("programs");
    let run = |program: &str, words: &[&str], file: &Path| -> Output {
        Command::new(program)
            .args(words)
            .arg(file)
            .output()
            .expect("it runs")
    };
    let (tandem, tandemd) = (env!("CARGO_BIN_EXE_tandem"), env!("CARGO_BIN_EXE_tandemd"));
    let good = folder.config("a.crt", "a.key", PINNED);
    assert!(run(tandem, &["check"], &good).status.success());
    let bad = folder.config("a.crt", "b.key", PINNED);
    for (program, word, code) in [(tandem, "check", 1), (tandemd, "--config", 2)] {
        let output = run(program, &[word], &bad);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains("t.toml:18:7: redundancy-groups.1.key: "), "{said}");
        assert!(!said.contains("EAL"), "DPDK was not started: {said}");
    }
}

#[test]
fn a_heartbeat_key_that_does_not_do_is_told_with_its_line_and_a_remedy() {
    let folder = Folder::new("pair-key");
    let config = || {
        let keys = "security = \"none\"\nheartbeat-key = \"pair.key\"";
        folder.put("t.toml", &BASE.replace("security = \"none\"", keys))
    };
    let told = || -> String {
        let found: Vec<String> = faults(&config()).iter().map(ToString::to_string).collect();
        found.join("\n")
    };
    let begins = format!(
        "{}:18:17: redundancy-groups.1.heartbeat-key: ",
        folder.0.join("t.toml").display()
    );
    let missing = told();
    assert!(
        missing.starts_with(&begins) && missing.contains("No such file"),
        "{missing}"
    );
    assert!(missing.contains("copy the other chassis' file"), "{missing}");
    let key = folder.put("pair.key", "0123");
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("mode");
    assert!(
        told().contains("is no file of 64 hexadecimal digits; copy"),
        "{}",
        told()
    );
    folder.put("pair.key", &"0123456789abcdef".repeat(4));
    assert_eq!(told(), "");
    std::fs::set_permissions(&key, Permissions::from_mode(0o644)).expect("mode");
    let exposed = told();
    assert!(exposed.starts_with(&begins), "{exposed}");
    assert!(
        exposed.contains("has mode 0644: others than its owner may use it; chmod 600"),
        "{exposed}"
    );
}
