//! Processes of others: their ids, and their end, which is seen at once.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::control_socket::connect;

/// A process, whatever becomes of its id.
#[derive(Debug)]
pub struct ProcessHandle {
    /// Its id when the handle was made.
    pub pid: u32,
    pidfd: OwnedFd,
}

impl ProcessHandle {
    /// A handle on a process.
    ///
    /// # Errors
    /// When there is none with this id, above all (`NotFound`).
    pub fn open(pid: u32) -> io::Result<Self> {
        let id = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let id = id.ok_or(io::ErrorKind::NotFound)?;
        let pidfd = pidfd_open(id, PidfdFlags::empty()).map_err(|error| match error {
            rustix::io::Errno::SRCH => io::ErrorKind::NotFound.into(),
            other => io::Error::from(other),
        })?;
        Ok(Self { pid, pidfd })
    }
}

/// Waits until one of the processes has ended, at most for so long; the positions of all that have.
///
/// # Errors
/// When the kernel refuses to wait.
pub fn wait_for_exits(processes: &[ProcessHandle], longest: Duration) -> io::Result<Vec<usize>> {
    let mut fds: Vec<PollFd<'_>> = processes
        .iter()
        .map(|process| PollFd::new(process.pidfd.as_fd(), PollFlags::POLLIN))
        .collect();
    let timeout = PollTimeout::try_from(longest).unwrap_or(PollTimeout::MAX);
    match poll(&mut fds, timeout) {
        // Somebody's signal: as if nothing had happened until now.
        Err(nix::errno::Errno::EINTR) | Ok(0) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
        Ok(_) => Ok(fds
            .iter()
            .enumerate()
            .filter(|(_, fd)| fd.any().unwrap_or(false))
            .map(|(at, _)| at)
            .collect()),
    }
}

/// The process id in a pid file: its first word, a number above 0.
///
/// # Errors
/// When the file cannot be read, or has something else in it (`InvalidData`).
pub fn read_pid_file(path: &Path) -> io::Result<u32> {
    let text = std::fs::read_to_string(path)?;
    let word = text.split_whitespace().next().and_then(|word| word.parse().ok());
    word.filter(|pid: &u32| *pid > 0)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The process that listens at a Unix stream socket; it may take `longest` until there is a place to wait for it.
///
/// # Errors
/// When nobody does, or there is no such place (`WouldBlock`).
pub fn socket_owner(path: &Path, longest: Duration) -> io::Result<u32> {
    let stream = connect(path, longest)?;
    let owner = rustix::net::sockopt::socket_peercred(&stream)?;
    u32::try_from(owner.pid.as_raw_nonzero().get()).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::process::Command;
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_end_of_a_process_is_seen_at_once() {
        let mut child = Command::new("/bin/sleep").arg("60").spawn().expect("sleep");
        let handles = [
            ProcessHandle::open(std::process::id()).expect("this process"),
            ProcessHandle::open(child.id()).expect("the child"),
        ];
        assert_eq!(
            wait_for_exits(&handles, Duration::ZERO).expect("polled"),
            [0usize; 0]
        );
        child.kill().expect("killed");
        let begin = Instant::now();
        assert_eq!(
            wait_for_exits(&handles, Duration::from_secs(30)).expect("polled"),
            [1]
        );
        assert!(begin.elapsed() < Duration::from_secs(29), "not by the timeout");
        child.wait().expect("reaped");
        let gone = ProcessHandle::open(handles[1].pid).expect_err("gone");
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
        assert!(ProcessHandle::open(0).is_err());
    }

    #[test]
    fn pid_files_and_owners_of_sockets_are_read() {
        let folder = std::env::temp_dir().join(format!("tandem-monitor-process-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("folder");
        let file = folder.join("x.pid");
        for (text, pid) in [
            ("123\n", Some(123)),
            (" 7", Some(7)),
            ("", None),
            ("x", None),
            ("0", None),
            ("-1", None),
        ] {
            std::fs::write(&file, text).expect("written");
            assert_eq!(read_pid_file(&file).ok(), pid, "{text:?}");
        }
        let socket = folder.join("x.ctl");
        let longest = Duration::from_secs(30);
        assert!(socket_owner(&socket, longest).is_err());
        let listener = UnixListener::bind(&socket).expect("bound");
        assert_eq!(
            socket_owner(&socket, longest).expect("an owner"),
            std::process::id()
        );
        drop(listener);
        assert!(socket_owner(&socket, longest).is_err(), "refused");
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
