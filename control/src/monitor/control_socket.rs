//! Control sockets of routing daemons: whether somebody answers there, within a bounded time.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

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
    /// It accepted, and then did not answer in time.
    Silent,
    /// Nobody accepts, or the connection ended unanswered; why.
    Refused(String),
}

/// Asks at a control socket; each of the question and the answer may take `longest`.
#[must_use]
pub fn ask(path: &Path, kind: SocketKind, longest: Duration) -> SocketReply {
    match talk(path, kind, longest) {
        Ok(()) => SocketReply::Answered,
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            SocketReply::Silent
        }
        Err(error) => SocketReply::Refused(format!("{}: {error}", path.display())),
    }
}

fn talk(path: &Path, kind: SocketKind, longest: Duration) -> io::Result<()> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(longest))?;
    stream.set_write_timeout(Some(longest))?;
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

    use super::*;

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
}
