//! Sockets of the channel and of the heartbeats, made where they belong: in a named network namespace, or bound to an interface or VRF
//! device.
//!
//! A socket stays in the namespace in which it was made. So a thread that enters it for nothing but making the socket is enough,
//! and no other thread is ever in a namespace that is not its own.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::endpoint::{Bind, Timing, Way};
use super::failure::Failure;

/// Where `ip netns` keeps named namespaces; `/var/run` is a link to `/run` on all current systems, and not on all others.
const NAMESPACES: [&str; 2] = ["/run/netns", "/var/run/netns"];
/// Connections that wait to be accepted.
const BACKLOG: i32 = 16;
/// First probe of an idle connection, and the time between probes. The conversation has keepalives of its own; these find a dead
/// host while it is not even said hello to.
const KEEPALIVE: Duration = Duration::from_secs(4);
const KEEPALIVE_PROBES: u32 = 4;
/// Octets the kernel may hold unsent before the socket takes no more. What lies there can no longer collapse into something
/// newer; throughput needs no more than this ahead of what is in flight. (The kernel grows both buffers itself; a size set by hand would
/// stop that.)
const UNSENT_MAX: u32 = 512 << 10;

fn failed(what: String) -> impl FnOnce(io::Error) -> Failure {
    move |source| Failure::Socket { what, source }
}

/// The listening socket of a way.
pub(super) fn listen(way: &Way, port: u16) -> Result<TcpListener, Failure> {
    let socket = bound(way.local, &way.bind, Transport::Tcp, port)?;
    let what = || failed(format!("listen on {} port {port}", way.local));
    socket.listen(BACKLOG).map_err(what())?;
    TcpListener::from_std(socket.into()).map_err(what())
}

/// The socket for an attempt to connect, and where to.
pub(super) fn outgoing(way: &Way, port: u16) -> Result<(TcpSocket, SocketAddr), Failure> {
    let socket = bound(way.local, &way.bind, Transport::Tcp, 0)?;
    let to = beyond(&socket, way.peer, port);
    Ok((TcpSocket::from_std_stream(socket.into()), to))
}

/// An address and port as a socket that is bound reaches them: on its interface, where the address is link-local.
pub(crate) fn beyond(socket: &Socket, peer: IpAddr, port: u16) -> SocketAddr {
    let local = socket.local_addr().ok().and_then(|address| address.as_socket());
    let scope = match local {
        Some(SocketAddr::V6(v6)) => v6.scope_id(),
        _ => 0,
    };
    address(peer, port, scope)
}

/// Options of a connection that is there.
pub(super) fn prepare(stream: &TcpStream, timing: &Timing) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE)
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(timing.unacknowledged))?;
    socket.set_tcp_notsent_lowat(UNSENT_MAX)
}

/// Whether a connection comes from an address, also where IPv4 is written as IPv6.
pub(super) fn is_from(peer: IpAddr, from: SocketAddr) -> bool {
    from.ip().to_canonical() == peer.to_canonical()
}

fn address(ip: IpAddr, port: u16, scope: u32) -> SocketAddr {
    match ip {
        IpAddr::V4(_) => SocketAddr::new(ip, port),
        IpAddr::V6(v6) => SocketAddrV6::new(v6, port, 0, scope).into(),
    }
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// The channel.
    Tcp,
    /// Heartbeats.
    Udp,
}

/// A socket of a local address and port, in the right namespace. It does not block.
pub(crate) fn bound(local: IpAddr, bind: &Bind, transport: Transport, port: u16) -> Result<Socket, Failure> {
    let Bind::Namespace(name) = bind else {
        return make(local, bind, transport, port);
    };
    let file = namespace(name).map_err(failed(format!("namespace {name}")))?;
    let made = std::thread::scope(|scope| {
        let inside = || {
            let entered = setns(&file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from);
            entered.map_err(failed(format!("enter namespace {name}")))?;
            make(local, bind, transport, port)
        };
        let thread = std::thread::Builder::new()
            .name("ha-netns".to_owned())
            .spawn_scoped(scope, inside);
        let thread = thread.map_err(failed("start a thread".to_owned()))?;
        thread
            .join()
            .unwrap_or_else(|_| Err(failed("thread".to_owned())(io::ErrorKind::Other.into())))
    });
    // Tells a namespace that does not let this process in from one without the address.
    made.map_err(|failure| match failure {
        Failure::Socket { what, source } if !what.contains(name.as_str()) => Failure::Socket {
            what: format!("{what}, in namespace {name}"),
            source,
        },
        other => other,
    })
}

fn namespace(name: &str) -> io::Result<File> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for directory in NAMESPACES {
        match File::open(format!("{directory}/{name}")) {
            Ok(file) => return Ok(file),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A socket in the namespace of this thread.
fn make(local: IpAddr, bind: &Bind, transport: Transport, port: u16) -> Result<Socket, Failure> {
    let (kind, protocol) = match transport {
        Transport::Tcp => (Type::STREAM, Protocol::TCP),
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(address(local, port, 0)), kind, Some(protocol))
        .and_then(|socket| {
            socket.set_nonblocking(true)?;
            match transport {
                // A chassis that restarts does not wait for its former connections' TIME-WAIT. With UDP it would let any process take
                // what is sent to the first.
                Transport::Tcp => socket.set_reuse_address(true)?,
                // The guard speaks from this port as soon as the process is dead, while the kernel still gives its memory back
                // and only then closes this. It lets in processes of the same user only.
                Transport::Udp => socket.set_reuse_port(true)?,
            }
            if local.is_ipv6() {
                socket.set_only_v6(true)?;
            }
            Ok(socket)
        })
        .map_err(failed("make a socket".to_owned()))?;
    let mut scope = 0;
    if let Bind::Interface(name) | Bind::Vrf(name) = bind {
        let bind = || failed(format!("bind to interface {name}"));
        socket.bind_device(Some(name.as_bytes())).map_err(bind())?;
        scope = nix::net::if_::if_nametoindex(name.as_str())
            .map_err(io::Error::from)
            .map_err(bind())?;
    }
    let is_link_local = matches!(local, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let local = address(local, port, if is_link_local { scope } else { 0 });
    socket
        .bind(&local.into())
        .map_err(failed(format!("bind to {local}")))?;
    Ok(socket)
}
