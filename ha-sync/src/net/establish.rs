//! From nothing to a connection that is ready: listening or connecting, TLS, preamble. Runs beside the pump, so that the listening
//! end hears a peer that lost its side of the connection while this side still stands.

use std::io;
use std::iter;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::backoff::Backoff;
use super::buffered::{Buffered, Wire};
use super::endpoint::{Bind, Side, Way};
use super::failure::Failure;
use super::preamble;
use super::socket;
use super::status::Secured;
use super::tls::{self, Channel, Configurations};

/// Handshakes under way at once. The peer has one.
const HANDSHAKES_MAX: usize = 4;
/// How often a listening socket is made anew while nobody is connected and it is bound to something that may have been taken away
/// and made again under the same name: a socket does not notice.
const REBIND: Duration = Duration::from_secs(10);
/// For an answer to an attempt where there is another way to try: both ends of a cable are near.
const NEAR: Duration = Duration::from_secs(1);
/// How long and how much is read from a connection that failed, before it is closed: with something unread the kernel would reset
/// it, and the peer would not get to read why.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_LEN_MAX: usize = 64 << 10;

/// A connection both ends of which have shown who they are.
#[derive(Debug)]
pub(super) struct Established {
    pub(super) wire: Wire,
    pub(super) peer: SocketAddr,
    pub(super) secured: Option<Secured>,
}

/// What comes out of establishing.
#[derive(Debug)]
pub(super) enum Event {
    /// An attempt begins.
    Attempt,
    /// Ready.
    Ready(Established),
    /// Not.
    Failed(Failure),
}

/// What became of the connections so far; establishing behaves accordingly.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Need {
    /// There is one.
    pub(super) connected: bool,
    /// How many there were that ended.
    pub(super) ended: u64,
    /// The last one was there so long that the next attempt may come soon.
    pub(super) lasted: bool,
}

/// Establishes connections for as long as somebody wants them.
pub(super) async fn establish(channel: Channel, events: mpsc::Sender<Event>, need: watch::Receiver<Need>) {
    match channel.endpoint.side() {
        Side::Listens => {
            let first = channel.endpoint.first();
            let by_first = accept_all(&channel, &first, &events, &need);
            match &channel.endpoint.other {
                Some(other) => {
                    tokio::join!(by_first, accept_all(&channel, other, &events, &need));
                }
                None => by_first.await,
            }
        }
        Side::Connects => connect_all(&channel, &events, need).await,
    }
}

async fn connect_all(channel: &Channel, events: &mpsc::Sender<Event>, mut need: watch::Receiver<Need>) {
    let timing = &channel.endpoint.timing;
    let mut backoff = Backoff::new(timing.backoff_min, timing.backoff_max);
    let ways: Vec<Way> = iter::once(channel.endpoint.first())
        .chain(channel.endpoint.other.clone())
        .collect();
    let patience = if ways.len() > 1 {
        timing.connect.min(NEAR)
    } else {
        timing.connect
    };
    // One after the other without a rest, and from the first one again when there was a connection.
    let mut untried = ways.iter();
    loop {
        let Some(way) = untried.next() else {
            untried = ways.iter();
            sleep(backoff.wait()).await;
            continue;
        };
        let ended = need.borrow().ended;
        if events.send(Event::Attempt).await.is_err() {
            return;
        }
        let event = match connect(channel, way, patience).await {
            Ok(established) => Event::Ready(established),
            Err(failure) => Event::Failed(failure),
        };
        let ready = matches!(event, Event::Ready(_));
        if events.send(event).await.is_err() {
            return;
        }
        if ready {
            match need
                .wait_for(|need| need.ended != ended)
                .await
                .map(|need| need.lasted)
            {
                Ok(true) => backoff.reset(),
                Ok(false) => {}
                Err(_) => return,
            }
            untried = ways.iter();
            sleep(backoff.wait()).await;
        }
    }
}

async fn connect(channel: &Channel, way: &Way, patience: Duration) -> Result<Established, Failure> {
    let (socket, to) = socket::outgoing(way, channel.endpoint.stream_port())?;
    let stream = match timeout(patience, socket.connect(to)).await {
        Ok(connected) => connected?,
        Err(_) => return Err(Failure::ConnectTimeout(way.peer)),
    };
    secure(channel, stream, to).await
}

/// Accepts by one way.
async fn accept_all(
    channel: &Channel,
    way: &Way,
    events: &mpsc::Sender<Event>,
    need: &watch::Receiver<Need>,
) {
    let timing = &channel.endpoint.timing;
    let mut backoff = Backoff::new(timing.backoff_min, timing.backoff_max);
    let mut handshakes = JoinSet::new();
    let rebinds = way.bind != Bind::None;
    loop {
        let failure = match socket::listen(way, channel.endpoint.stream_port()) {
            Ok(listener) => {
                backoff.reset();
                let listening = listen(channel, way, &listener, events, &mut handshakes);
                tokio::select! {
                    failure = listening => failure,
                    () = obsolete(need), if rebinds => continue,
                    () = events.closed() => return,
                }
            }
            Err(failure) => failure,
        };
        if events.send(Event::Failed(failure)).await.is_err() {
            return;
        }
        sleep(backoff.wait()).await;
    }
}

/// Ends when the listening socket had nobody connected for so long that it may be one nobody can reach.
async fn obsolete(need: &watch::Receiver<Need>) {
    loop {
        sleep(REBIND).await;
        if !need.borrow().connected {
            return;
        }
    }
}

/// Accepts until the listening socket fails.
async fn listen(
    channel: &Channel,
    way: &Way,
    listener: &TcpListener,
    events: &mpsc::Sender<Event>,
    handshakes: &mut JoinSet<()>,
) -> Failure {
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(source) => {
                return Failure::Socket {
                    what: "accept a connection".to_owned(),
                    source,
                };
            }
        };
        while handshakes.try_join_next().is_some() {}
        let refused = if !socket::is_from(way.peer, from) {
            Some(Failure::Stranger(from.ip()))
        } else if handshakes.len() >= HANDSHAKES_MAX {
            Some(Failure::Crowded(from.ip()))
        } else {
            None
        };
        if let Some(failure) = refused {
            drop(stream);
            // Nobody to tell means that all this ends.
            let _told = events.send(Event::Failed(failure)).await;
            continue;
        }
        let (channel, events) = (channel.clone(), events.clone());
        handshakes.spawn(async move {
            let event = match secure(&channel, stream, from).await {
                Ok(established) => Event::Ready(established),
                Err(failure) => Event::Failed(failure),
            };
            let _told = events.send(event).await;
        });
    }
}

/// Errors of `accept` that are about a connection that is gone already, not about the listening socket (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// TLS and preamble over a connection that is there, within the time for it.
async fn secure(channel: &Channel, stream: TcpStream, peer: SocketAddr) -> Result<Established, Failure> {
    socket::prepare(&stream, &channel.endpoint.timing)?;
    let stream = Buffered::new(stream);
    let handshake = async {
        match &channel.tls {
            Some(tls) => encrypted(channel, tls, stream, peer).await,
            None => plain(channel, stream, peer).await,
        }
    };
    match timeout(channel.endpoint.timing.handshake, handshake).await {
        Ok(ended) => ended,
        Err(_) => Err(Failure::HandshakeTimeout(peer.ip())),
    }
}

async fn plain(channel: &Channel, stream: Buffered, peer: SocketAddr) -> Result<Established, Failure> {
    let mut wire = Wire::Plain(stream);
    say_preamble(&mut wire, channel).await?;
    hear_preamble(&mut wire, channel).await?;
    Ok(Established {
        wire,
        peer,
        secured: None,
    })
}

async fn encrypted(
    channel: &Channel,
    tls: &Configurations,
    stream: Buffered,
    peer: SocketAddr,
) -> Result<Established, Failure> {
    let side = channel.endpoint.side();
    let shaken: Result<TlsStream<Buffered>, (io::Error, Buffered)> = match side {
        Side::Listens => TlsAcceptor::from(tls.server.clone())
            .accept(stream)
            .into_fallible()
            .await
            .map(TlsStream::Server),
        Side::Connects => TlsConnector::from(tls.client.clone())
            .connect(channel.endpoint.peer.into(), stream)
            .into_fallible()
            .await
            .map(TlsStream::Client),
    };
    let stream = match shaken {
        Ok(stream) => stream,
        Err((error, mut stream)) => {
            let failure = tls::meaning(error, stream.first());
            let _closed = timeout(LINGER, linger(&mut stream)).await;
            return Err(failure);
        }
    };
    let secured = tls::secured(stream.get_ref().1);
    let mut wire = Wire::Tls(Box::new(stream));
    // With TLS 1.3 the end that connects is done before the other has looked at its certificate.
    match side {
        Side::Listens => {
            say_preamble(&mut wire, channel).await?;
            hear_preamble(&mut wire, channel).await?;
        }
        Side::Connects => {
            hear_preamble(&mut wire, channel).await?;
            say_preamble(&mut wire, channel).await?;
        }
    }
    Ok(Established {
        wire,
        peer,
        secured: Some(secured),
    })
}

async fn linger(stream: &mut Buffered) -> io::Result<()> {
    stream.shutdown().await?;
    let mut unread = [0; 4096];
    let mut left = LINGER_LEN_MAX;
    loop {
        let read = stream.read(&mut unread).await?;
        left = left.saturating_sub(read);
        if read == 0 || left == 0 {
            return Ok(());
        }
    }
}

async fn say_preamble(wire: &mut Wire, channel: &Channel) -> Result<(), Failure> {
    let said = wire.write_all(&preamble::encode(channel.endpoint.stream)).await;
    match said {
        Ok(()) => wire
            .flush()
            .await
            .map_err(|error| tls::meaning(error, wire.first())),
        Err(error) => Err(tls::meaning(error, wire.first())),
    }
}

async fn hear_preamble(wire: &mut Wire, channel: &Channel) -> Result<(), Failure> {
    let mut octets = [0; preamble::LEN];
    match wire.read_exact(&mut octets).await {
        Ok(_) => preamble::check(&octets, channel.endpoint.stream),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !wire.first().is_empty() => {
            // It closed in the middle: what came of it says more than that.
            let first = wire.first();
            Err(match channel.tls {
                None if tls::looks_like_tls(first) => Failure::Encrypted,
                None if !preamble::begins(first) => Failure::Garbage(first.to_vec()),
                _ => Failure::Closed,
            })
        }
        Err(error) => Err(tls::meaning(error, wire.first())),
    }
}
