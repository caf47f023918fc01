//! External checks: a command, its exit status, and a bound on its time. No shell is between.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::process::{ProcessHandle, wait_for_exits};
use crate::config::ExternalCheck;

/// What became of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckOutcome {
    /// Exit status 0.
    Passed,
    /// Another exit status, a signal, or it did not start; which.
    Failed(String),
    /// It took longer than it may, and was killed with all that it had started in its process group.
    TimedOut,
}

/// Runs a check once, and waits for it.
#[must_use]
pub fn run_check(check: &ExternalCheck) -> CheckOutcome {
    let Some((program, arguments)) = check.command.split_first() else {
        return CheckOutcome::Failed("there is no command".into());
    };
    let spawned = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return CheckOutcome::Failed(format!("{program}: {error}")),
    };
    let longest = Duration::from_secs(u64::from(check.timeout_s));
    // A child that was not waited for keeps its id, so this is it.
    let ended = ProcessHandle::open(child.id()).and_then(|handle| wait_for_exits(&[handle], longest));
    if !ended.is_ok_and(|ended| !ended.is_empty()) {
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        // It may have ended by itself in this moment.
        let _killed = group.map(|group| kill_process_group(group, Signal::KILL));
        let _reaped = child.wait();
        return CheckOutcome::TimedOut;
    }
    match child.wait() {
        Ok(status) if status.success() => CheckOutcome::Passed,
        Ok(status) => CheckOutcome::Failed(format!("{program}: {status}")),
        Err(error) => CheckOutcome::Failed(format!("{program}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn check(command: &[&str], timeout_s: u16) -> ExternalCheck {
        ExternalCheck {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            interval_s: 60,
            timeout_s,
            weight: 255,
        }
    }

    #[test]
    fn the_exit_status_decides() {
        assert_eq!(run_check(&check(&["/bin/true"], 30)), CheckOutcome::Passed);
        let failed = |command: &[&str]| match run_check(&check(command, 30)) {
            CheckOutcome::Failed(why) => why,
            other => panic!("{command:?}: {other:?}"),
        };
        assert!(failed(&["/bin/sh", "-c", "exit 3"]).contains("exit status: 3"));
        assert!(failed(&["/bin/sh", "-c", "kill -9 $$"]).contains("signal: 9"));
        assert!(failed(&["/nonexistent/check"]).contains("No such file"));
        assert!(
            failed(&["/bin/test", "$HOME", "=", "x"]).contains("exit status: 1"),
            "no shell"
        );
    }

    #[test]
    fn a_run_that_takes_too_long_is_killed_with_its_children() {
        let file = std::env::temp_dir().join(format!("tandem-monitor-check-{}", std::process::id()));
        let script = format!("sleep 600 & echo $! >{}; wait", file.display());
        let begin = Instant::now();
        assert_eq!(
            run_check(&check(&["/bin/sh", "-c", &script], 2)),
            CheckOutcome::TimedOut
        );
        assert!(begin.elapsed() < Duration::from_secs(300), "not by its end");
        let child = super::super::read_pid_file(&file).expect("its child");
        // It is nobody's child now: whoever inherits it reaps it, and until then it has ended all the same.
        if let Ok(handle) = ProcessHandle::open(child) {
            let ended = wait_for_exits(&[handle], Duration::from_secs(30)).expect("polled");
            assert_eq!(ended, [0]);
        }
        std::fs::remove_file(&file).expect("removed");
    }
}
