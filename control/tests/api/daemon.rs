//! A server with a mock backend on a free loopback port, on a runtime of its own, stopped when dropped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use tandem_control::api::{Backend, Limits, Listener, Server, SharedToken, Token};
use tokio::sync::oneshot;

use super::mock::Mock;

pub const TOKEN: &str = "a-token-of-some-length";

pub struct Daemon {
    pub address: SocketAddr,
    pub mock: Arc<Mock>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The listener most tests use.
pub fn listener() -> Listener {
    Listener {
        bind: SocketAddr::from(([127, 0, 0, 1], 0)),
        token: SharedToken::default(),
        limits: Limits::default(),
    }
}

pub fn with_token() -> Listener {
    Listener {
        token: SharedToken::new(Some(Token::new(TOKEN).expect("long enough"))),
        ..listener()
    }
}

impl Daemon {
    pub fn start() -> Self {
        Self::start_with(listener())
    }

    pub fn start_with(listener: Listener) -> Self {
        let mock = Arc::new(Mock::default());
        let backend: Arc<dyn Backend> = Arc::clone(&mock) as _;
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let server = Server::bind(listener, backend).await.expect("a free port");
                tell.send(server.local_addr()).expect("the test waits");
                server
                    .run(async {
                        // A dropped sender stops the server too.
                        let _stopped = stopped.await;
                    })
                    .await;
            });
        });
        let address = told.recv().expect("the server is bound");
        Self {
            address,
            mock,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops it and waits until it has stopped.
    pub fn stop(mut self) {
        self.finish();
    }

    fn finish(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the server panicked");
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.finish();
    }
}
