//! The last word about a process that died, said by the guard process that outlived it.

use std::io;
use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use super::beat::{Beat, Kind, PathId};
use super::codec::Codec;
use super::place::PathConfig;
use crate::net::Failure;

/// How often it is said on each path, and the time between: datagrams may be lost.
const TIMES: usize = 5;
const BETWEEN: Duration = Duration::from_millis(20);

/// The last word about a process with this incarnation on a path, for whoever is to say it when that process is dead.
#[must_use]
pub fn gone_datagram(codec: &Codec, path: PathId, incarnation: u64) -> Vec<u8> {
    codec.encode(&Beat::last(Kind::Gone, path, incarnation))
}

/// Tells the peer on every path that the process with this incarnation is dead, five times within 80 ms, which is how long this takes. The
/// process must be dead: its sockets have the ports from which this must be sent. Comes back with the paths on which it could not be
/// sent even once, and why.
pub fn say_gone(paths: &[PathConfig], codec: &Codec, incarnation: u64) -> Vec<(PathId, Failure)> {
    let mut unsaid: Vec<(&PathConfig, Option<UdpSocket>, Option<Failure>, bool)> =
        paths.iter().map(|path| (path, None, None, false)).collect();
    for time in 0..TIMES {
        if time > 0 {
            thread::sleep(BETWEEN);
        }
        for (path, socket, failure, said) in &mut unsaid {
            let octets = gone_datagram(codec, path.id, incarnation);
            match say(path, socket, &octets) {
                Ok(()) => *said = true,
                Err(error) => *failure = Some(error),
            }
        }
    }
    let failed = unsaid.into_iter().filter(|(_, _, _, said)| !said);
    failed
        .filter_map(|(path, _, failure, _)| Some((path.id, failure?)))
        .collect()
}

/// Says it once, with a socket that is made where there is none yet.
fn say(path: &PathConfig, socket: &mut Option<UdpSocket>, octets: &[u8]) -> Result<(), Failure> {
    let socket = match socket {
        Some(socket) => socket,
        None => socket.insert(path.socket()?),
    };
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    match socket.send(octets) {
        // That nobody took the one before is told instead of sending.
        Err(error) if refused(&error) => socket.send(octets).map(drop).map_err(Failure::from),
        sent => sent.map(drop).map_err(Failure::from),
    }
}
