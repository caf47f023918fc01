//! The daemon's program from outside: what it says and how it ends when it cannot run. No network is touched.

use std::path::PathBuf;
use std::process::{Command, Output};

struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tandemd-{name}-{}.toml", std::process::id()));
        std::fs::write(&path, text).expect("the file is written");
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}

fn tandemd(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tandemd"))
        .args(arguments)
        .output()
        .expect("tandemd runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_refused_file_is_told_whole_and_ends_with_2() {
    let text = "[workers]\ncuont = 3\n[api]\nlisten = \"nowhere\"\n[interfaces.a]\ndevice = \"net_af_xpd0\"\nmtu = 1\n";
    let file = File::new("faults", text);
    let output = tandemd(&["--config", &file.0.display().to_string()]);
    assert_eq!(output.status.code(), Some(2));
    for named in ["workers.cuont", "api.listen", "interfaces.a.mtu"] {
        assert!(said(&output).contains(named), "{named} in {}", said(&output));
    }
}

#[test]
fn a_missing_file_and_a_wrong_command_line_end_with_2() {
    let output = tandemd(&["--config", "/nonexistent/tandem.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("/nonexistent/tandem.toml"));
    assert_eq!(tandemd(&[]).status.code(), Some(2));
}

#[test]
fn a_token_everybody_may_read_is_refused_before_anything_starts() {
    use std::os::unix::fs::PermissionsExt;
    let token = File::new("token", "0123456789abcdef0123456789abcdef0123456789abcdef\n");
    std::fs::set_permissions(&token.0, std::fs::Permissions::from_mode(0o644)).expect("mode");
    let text = format!(
        "[api]\ntoken-file = \"{}\"\n[interfaces.a]\ndevice = \"net_null0\"\n",
        token.0.display()
    );
    let file = File::new("open-token", &text);
    let output = tandemd(&["--config", &file.0.display().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("chmod o="), "{}", said(&output));
    assert!(!said(&output).contains("EAL"), "DPDK was not started");
}
