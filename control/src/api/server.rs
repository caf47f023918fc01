//! The listener: bind, accept within bounds, stop without cutting an answer.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::backend::Backend;
use super::guard::{SharedToken, Token};
use super::{App, router};

/// Where the API listens unless told otherwise.
pub const DEFAULT_BIND: &str = "127.0.0.1:8480";

/// Bounds on what clients may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest request body, bytes. No path needs one.
    pub body_bytes_max: usize,
    /// A request that is not answered by then is answered 503.
    pub timeout: Duration,
    /// Requests under way at once; one more is answered 503.
    pub requests_max: usize,
    /// Connections open at once; one more is closed.
    pub connections_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 65_536,
            timeout: Duration::from_secs(10),
            requests_max: 32,
            connections_max: 128,
        }
    }
}

/// A listener as configured.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Address and port.
    pub bind: SocketAddr,
    /// What clients must show. Needed unless `bind` is a loopback address.
    pub token: SharedToken,
    /// Bounds.
    pub limits: Limits,
}

impl Listener {
    /// A listener with the usual bounds and the token in `token_file`.
    ///
    /// # Errors
    /// [`ServeError::TokenFile`] when the file holds no token, or everybody on this host may read it.
    pub fn new(bind: SocketAddr, token_file: Option<&Path>) -> Result<Self, ServeError> {
        Ok(Self {
            bind,
            token: SharedToken::new(token_file.map(read_secret).transpose()?),
            limits: Limits::default(),
        })
    }
}

/// The token in a file that only its owner and group may use.
///
/// # Errors
/// [`ServeError::TokenFile`] when it holds no token, or everybody on this host may read it.
pub fn read_secret(file: &Path) -> Result<Token, ServeError> {
    let failed = |why: String| ServeError::TokenFile {
        file: file.to_owned(),
        why,
    };
    let mode = std::fs::metadata(file)
        .map_err(|e| failed(e.to_string()))?
        .permissions()
        .mode();
    if mode & 0o007 != 0 {
        let why = format!("mode {:04o} lets everybody use it; chmod o= it", mode & 0o7777);
        return Err(failed(why));
    }
    Token::read(file).map_err(failed)
}

/// Why the API does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Others than this host could ask, and nothing would ask them who they are.
    #[error("{bind} is not a loopback address: set a token for the API, or bind to 127.0.0.1 or [::1]")]
    NeedsToken {
        /// Where it should have listened.
        bind: SocketAddr,
    },
    /// The token file is of no use.
    #[error("the API's token file {}: {why}", file.display())]
    TokenFile {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system refused the address.
    #[error("cannot listen on {bind}: {error}")]
    Bind {
        /// Where it should have listened.
        bind: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
}

/// A bound listener.
#[derive(Debug)]
pub struct Server {
    socket: TcpListener,
    local: SocketAddr,
    app: Arc<App>,
}

impl Server {
    /// Binds; from here on connections queue.
    ///
    /// # Errors
    /// [`ServeError`] when the address needs a token and has none, or cannot be had.
    pub async fn bind(listener: Listener, backend: Arc<dyn Backend>) -> Result<Self, ServeError> {
        let bind = listener.bind;
        if listener.token.get().is_none() && !bind.ip().is_loopback() {
            return Err(ServeError::NeedsToken { bind });
        }
        let failed = |error| ServeError::Bind { bind, error };
        let socket = TcpListener::bind(bind).await.map_err(failed)?;
        let local = socket.local_addr().map_err(failed)?;
        Ok(Self {
            socket,
            local,
            app: Arc::new(App::new(listener, backend)),
        })
    }

    /// Where it listens; tells the port when the configured one is 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Serves until `shutdown` is ready, then lets requests under way finish (within their timeout).
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { socket, app, .. } = self;
        let service = router::router(&app);
        let places = Arc::new(Semaphore::new(app.listener.limits.connections_max));
        let graceful = GracefulShutdown::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let stream = tokio::select! {
                () = &mut shutdown => break,
                accepted = socket.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    // Out of descriptors, or the peer is gone already: give others the time to close theirs.
                    Err(_) => { tokio::time::sleep(Duration::from_millis(50)).await; continue; }
                },
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                app.counters.connections_refused.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let connection = graceful.watch(connection(stream, service.clone(), app.listener.limits.timeout));
            tokio::spawn(async move {
                // An error here is the client's: it hung up, or did not speak HTTP, and there is nobody to tell.
                let _ended = connection.await;
                drop(place);
            });
        }
        // New connections are refused from here on, while the old ones finish.
        drop(socket);
        // Who is not done by then is not waited for: the guard's timeout has answered every request before.
        let _all_done = tokio::time::timeout(app.listener.limits.timeout, graceful.shutdown()).await;
    }
}

type Connection = http1::Connection<TokioIo<TcpStream>, TowerToHyperService<axum::Router>>;

fn connection(stream: TcpStream, service: axum::Router, header_timeout: Duration) -> Connection {
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_headers(64)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
}

/// Binds and serves until `shutdown` is ready.
///
/// # Errors
/// As [`Server::bind`].
pub async fn serve(
    listener: Listener,
    backend: Arc<dyn Backend>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    Server::bind(listener, backend).await?.run(shutdown).await;
    Ok(())
}
