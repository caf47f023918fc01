//! Control sockets of routing daemons: whether somebody answers there, within a bounded time.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

/// What is said at a control socket to get an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketKind {
    /// FRR's vty socket: a command ends with a zero, and so does its answer.
    Vty,
    /// BIRD's: it greets.
    Greets,
    /// Nothing is known of it: it is enough that it accepts.
    Accepts,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketReply {
    /// It answered.
    Answered,
    /// It did not answer in time, or has so many connections waiting that it was given no other.
    Silent,
    /// Nobody accepts, or the connection ended unanswered; why.
    Refused(String),
}

/// Asks at a control socket; each of the connection, the question and the answer may take `longest`.
#[must_use]
pub fn ask(path: &Path, kind: SocketKind, longest: Duration) -> SocketReply {
    match talk(path, kind, longest) {
        Ok(()) => SocketReply::Answered,
        Err(error) if is_silence(&error) => SocketReply::Silent,
        Err(error) => SocketReply::Refused(format!("{}: {error}", path.display())),
    }
}

fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Connects to a Unix stream socket. This, and whatever is read or written there, takes `longest` at most.
///
/// # Errors
/// When nobody listens there, or so many connections wait to be accepted that no other may (`WouldBlock`): those that were closed
/// wait on, so that a process that stands still gets there.
pub(super) fn connect(path: &Path, longest: Duration) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // What bounds writing bounds the wait for a place, too.
    set_socket_timeout(&socket, Timeout::Send, Some(longest))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(longest))?;
    retry_on_intr(|| rustix::net::connect(&socket, &address))?;
    Ok(UnixStream::from(socket))
}

fn talk(path: &Path, kind: SocketKind, longest: Duration) -> io::Result<()> {
    let mut stream = connect(path, longest)?;
    match kind {
        SocketKind::Accepts => return Ok(()),
        SocketKind::Vty => stream.write_all(b"enable\0")?,
        SocketKind::Greets => {}
    }
    let mut first = [0; 1];
    stream.read_exact(&mut first)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::sync::mpsc::channel;

    use super::*;
    use crate::monitor::socket_owner;

    #[test]
    fn an_answer_counts_silence_and_refusal_do_not() {
        let path = std::env::temp_dir().join(format!("tandem-monitor-socket-{}", std::process::id()));
        let short = Duration::from_millis(50);
        assert!(matches!(
            ask(&path, SocketKind::Accepts, short),
            SocketReply::Refused(_)
        ));
        let listener = UnixListener::bind(&path).expect("bound");
        // The kernel accepts for a process that stands still.
        assert_eq!(ask(&path, SocketKind::Accepts, short), SocketReply::Answered);
        assert_eq!(ask(&path, SocketKind::Vty, short), SocketReply::Silent);
        assert_eq!(ask(&path, SocketKind::Greets, short), SocketReply::Silent);
        // Those that came before have gone away by now.
        for _ in 0..3 {
            drop(listener.accept().expect("one that asked"));
        }
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accepted");
            let mut question = [0; 7];
            stream.read_exact(&mut question).expect("a question");
            stream.write_all(b"\0\0\0\0").expect("an answer");
            let (mut stream, _) = listener.accept().expect("accepted");
            stream
                .write_all(b"0001 BIRD 2.0.12 ready.\n")
                .expect("a greeting");
            drop(listener.accept().expect("accepted"));
            question
        });
        let long = Duration::from_secs(30);
        assert_eq!(ask(&path, SocketKind::Vty, long), SocketReply::Answered);
        assert_eq!(ask(&path, SocketKind::Greets, long), SocketReply::Answered);
        assert!(
            matches!(ask(&path, SocketKind::Greets, long), SocketReply::Refused(_)),
            "closed without a greeting"
        );
        assert_eq!(&server.join().expect("served"), b"enable\0");
        std::fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn a_process_that_stands_still_holds_nobody_up() {
        let path = std::env::temp_dir().join(format!("tandem-monitor-still-{}", std::process::id()));
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).expect("a socket");
        let address = SocketAddrUnix::new(&path).expect("an address");
        rustix::net::bind(&socket, &address).expect("bound");
        rustix::net::listen(&socket, 1).expect("listens");
        let (sender, replies) = channel();
        let asked = path.clone();
        // A hang is a failure of this test, not its own.
        std::thread::spawn(move || {
            let short = Duration::from_millis(50);
            for _ in 0..10 {
                let reply = ask(&asked, SocketKind::Accepts, short);
                let owner = socket_owner(&asked, short).map_err(|error| error.kind());
                sender.send((reply, owner)).expect("somebody hears");
            }
        });
        let replies: Vec<_> = (0..10)
            .map(|_| replies.recv_timeout(Duration::from_secs(60)).expect("in time"))
            .collect();
        // One more than the backlog waits.
        let first = (SocketReply::Answered, Ok(std::process::id()));
        assert_eq!(replies[0], first);
        let late = (SocketReply::Silent, Err(io::ErrorKind::WouldBlock));
        assert!(replies[1..].iter().all(|reply| *reply == late), "{replies:?}");
        std::fs::remove_file(&path).expect("removed");
    }
}
