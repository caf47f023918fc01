//! What stands before every handler: counting, how many at once, how long, who may ask, how large.
//!
//! ```text
//!   count -> busy? -> time -> credentials / origin -> body size -> handler
//! ```
//!
//! On loopback without a token the danger is a browser on the same host that was lured to a page which posts to us,
//! directly or by a name that resolves to 127.0.0.1. Such requests name another host or another origin and are refused.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use super::App;
use super::error::{ApiError, ErrorCode};
use super::model::{Counter, CounterGroup};

/// Shortest token that is taken, characters.
pub const TOKEN_LENGTH_MIN: usize = 16;

/// A bearer token. Never shown.
#[derive(Clone)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token is at least {TOKEN_LENGTH_MIN} visible ASCII characters without spaces")]
pub struct BadToken;

impl Token {
    /// A token from the text of its file; white space around it is dropped.
    ///
    /// # Errors
    /// [`BadToken`] when it is too short to be a secret, or could not stand in a header.
    pub fn new(text: &str) -> Result<Self, BadToken> {
        let text = text.trim();
        let good = text.len() >= TOKEN_LENGTH_MIN && text.bytes().all(|b| b.is_ascii_graphic());
        good.then(|| Self(text.to_owned())).ok_or(BadToken)
    }

    /// The token in `file`.
    ///
    /// # Errors
    /// Why the file cannot be read or holds no token.
    pub fn read(file: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
        Self::new(&text).map_err(|e| e.to_string())
    }

    /// Value of the `Authorization` header that carries it.
    #[must_use]
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether the header carries it; the time this takes tells nothing but the length.
    fn admits(&self, header: Option<&[u8]>) -> bool {
        let Some((scheme, given)) = header.and_then(|h| h.split_at_checked(7)) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(given.ct_eq(self.0.as_bytes()))
    }
}

/// The token in force: who holds a clone sees every change, and each request is admitted by one token as a whole.
#[derive(Clone, Debug, Default)]
pub struct SharedToken(Arc<RwLock<Option<Token>>>);

impl SharedToken {
    /// One that starts with this token; `None` asks clients for none.
    #[must_use]
    pub fn new(token: Option<Token>) -> Self {
        Self(Arc::new(RwLock::new(token)))
    }

    /// The token of now.
    #[must_use]
    pub fn get(&self) -> Option<Token> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes another one, from the next request on.
    pub fn set(&self, token: Option<Token>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = token;
    }
}

/// What the API counts about itself.
#[derive(Debug, Default)]
pub struct ApiCounters {
    requests: AtomicU64,
    errors: [AtomicU64; ErrorCode::ALL.len()],
    /// Sessions ended by request.
    pub sessions_cleared: AtomicU64,
    /// Connections closed at once because too many were open.
    pub connections_refused: AtomicU64,
}

impl ApiCounters {
    fn count_error(&self, code: ErrorCode) {
        if let Some(at) = ErrorCode::ALL.iter().position(|c| *c == code) {
            self.errors[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Them as rows.
    #[must_use]
    pub fn rows(&self) -> Vec<Counter> {
        let row = |name: &str, help: &str, n: &AtomicU64| {
            Counter::single(name, CounterGroup::Api, help, n.load(Ordering::Relaxed))
        };
        let mut rows = vec![
            row("api-requests", "Requests, answered or refused.", &self.requests),
            row(
                "api-sessions-cleared",
                "Sessions ended by request.",
                &self.sessions_cleared,
            ),
            row(
                "api-connections-refused",
                "Connections closed at once because too many were open.",
                &self.connections_refused,
            ),
        ];
        rows.extend(
            ErrorCode::ALL
                .iter()
                .zip(&self.errors)
                .map(|(c, n)| row(&format!("api-{}", c.as_str()), c.help(), n)),
        );
        rows
    }
}

fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    }
}

fn is_loopback_name(authority: &str) -> bool {
    let host = host_of(authority);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|a| a.is_loopback())
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).map(|v| v.to_str().unwrap_or(""))
}

/// Who may ask.
fn admit(token: Option<&Token>, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(token) = token else {
        let host = text(headers, header::HOST).unwrap_or("");
        if !is_loopback_name(host) {
            let detail =
                format!("this listener is asked as localhost or a loopback address, not as {host:?}");
            return Err(ApiError::new(ErrorCode::OriginRefused, detail));
        }
        return match text(headers, header::ORIGIN) {
            Some(origin) if origin != format!("http://{host}") => Err(ApiError::new(
                ErrorCode::OriginRefused,
                "requests from pages of other sites are refused",
            )),
            _ => Ok(()),
        };
    };
    if token.admits(headers.get(header::AUTHORIZATION).map(|v| v.as_bytes())) {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::CredentialsRequired,
        "send `Authorization: Bearer TOKEN` with the listener's token",
    ))
}

/// Reads the body, which no path needs, so that a bound on it holds for every path.
async fn bounded(request: Request, body_bytes_max: usize) -> Result<Request, ApiError> {
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, body_bytes_max).await.map_err(|_| {
        ApiError::new(
            ErrorCode::BodyTooLarge,
            format!("the body is not readable within {body_bytes_max} bytes"),
        )
    })?;
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

async fn answer(app: &App, request: Request, next: Next) -> Response {
    let Ok(_permit) = app.under_way.try_acquire() else {
        return ApiError::new(ErrorCode::Busy, "too many requests are under way; try again").into_response();
    };
    let limits = &app.listener.limits;
    let work = async {
        if let Err(error) = admit(app.listener.token.get().as_ref(), request.headers()) {
            return error.into_response();
        }
        match bounded(request, limits.body_bytes_max).await {
            Ok(request) => next.run(request).await,
            Err(error) => error.into_response(),
        }
    };
    tokio::time::timeout(limits.timeout, work)
        .await
        .unwrap_or_else(|_| {
            let detail = format!("no answer within {} ms", limits.timeout.as_millis());
            ApiError::new(ErrorCode::NoAnswer, detail).into_response()
        })
}

/// The layer around the router.
pub(super) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    app.counters.requests.fetch_add(1, Ordering::Relaxed);
    let mut response = answer(&app, request, next).await;
    if let Some(code) = response.extensions().get::<ErrorCode>() {
        app.counters.count_error(*code);
    }
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-store"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_admits_itself_only() {
        let token = Token::new(" 0123456789abcdef\n").expect("long enough");
        assert!(token.admits(Some(b"Bearer 0123456789abcdef")));
        assert!(token.admits(Some(b"bearer 0123456789abcdef")));
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer 0123456789abcdeF",
            "Bearer 0123456789abcdef0",
            "Basic 0123456789abcdef",
        ] {
            assert!(!token.admits(Some(bad.as_bytes())), "{bad}");
        }
        assert!(!token.admits(None));
        assert_eq!(format!("{token:?}"), "Token(..)");
        assert!(Token::new("0123456789abcde").is_err());
        assert!(Token::new("0123456789 abcdef").is_err());
    }

    #[test]
    fn only_names_of_this_host_are_loopback() {
        for good in [
            "localhost",
            "LocalHost:80",
            "127.0.0.1:8480",
            "127.9.9.9",
            "[::1]:8480",
            "[::1]",
        ] {
            assert!(is_loopback_name(good), "{good}");
        }
        for bad in [
            "",
            "evil.example:8480",
            "localhost.evil.example",
            "192.0.2.1:8480",
            "[2001:db8::1]:8480",
            "127.0.0.1.evil",
        ] {
            assert!(!is_loopback_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_page_of_another_site_is_refused_without_a_token() {
        let mut headers = HeaderMap::new();
        assert!(admit(None, &headers).is_err(), "no host at all");
        headers.insert(header::HOST, header::HeaderValue::from_static("127.0.0.1:8480"));
        assert!(admit(None, &headers).is_ok());
        headers.insert(
            header::ORIGIN,
            header::HeaderValue::from_static("http://127.0.0.1:8480"),
        );
        assert!(admit(None, &headers).is_ok());
        headers.insert(
            header::ORIGIN,
            header::HeaderValue::from_static("http://evil.example"),
        );
        assert!(admit(None, &headers).is_err());
    }
}
