//! The HTTP side of the CLI: one call, and what can become of it.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use super::Exit;
use crate::api::{Problem, Token};

/// Longer than the daemon lets a request take, so that its own answer arrives.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Far more than the largest page.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The command line names something unusable.
    #[error("{0}")]
    Usage(String),
    /// Nobody answered.
    #[error("cannot reach the daemon at {api}: {why}")]
    Unreachable {
        /// Where it was sought.
        api: String,
        /// What happened.
        why: String,
    },
    /// Somebody answered, but not as the API does.
    #[error("{api} does not answer like the daemon's API: {why}")]
    Foreign {
        /// Who.
        api: String,
        /// What is odd.
        why: String,
    },
    /// The daemon said no.
    #[error("{}", refusal(.0))]
    Refused(Problem),
}

fn refusal(problem: &Problem) -> String {
    let field = problem
        .field
        .as_ref()
        .map(|f| format!("{f}: "))
        .unwrap_or_default();
    let mut text = format!("{}: {field}{}", problem.error, problem.detail);
    for fault in &problem.faults {
        text.push_str(&format!("\n{fault}"));
    }
    text
}

impl CallError {
    /// The exit code for it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Refused(problem) if problem.error == "bad-parameter" => Exit::Usage,
            Self::Unreachable { .. } | Self::Foreign { .. } => Exit::Unreachable,
            Self::Refused(_) => Exit::Refused,
        }
    }
}

/// A daemon's API.
pub struct Client {
    agent: Agent,
    api: String,
    bearer: Option<String>,
}

impl Client {
    /// A client for the API at `api`, with the token in `token_file`.
    pub fn new(api: &str, token_file: Option<&Path>) -> Result<Self, CallError> {
        let api = api.trim_end_matches('/').to_owned();
        if !api.starts_with("http://") {
            return Err(CallError::Usage(format!(
                "--api {api}: expected http://HOST:PORT"
            )));
        }
        let read = |file: &Path| {
            let wrong = |why| CallError::Usage(format!("--token-file {}: {why}", file.display()));
            Token::read(file).map(|token| token.bearer()).map_err(wrong)
        };
        let bearer = token_file.map(read).transpose()?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_global(Some(TIMEOUT));
        Ok(Self {
            agent: config.build().into(),
            api,
            bearer,
        })
    }

    /// GET.
    pub fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, CallError> {
        self.read(self.prepared(self.agent.get(self.url(path)), query).call(), false)
    }

    /// GET of an answer that is the same whether its status is 200 or 503.
    pub fn get_health<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        self.read(self.prepared(self.agent.get(self.url(path)), &[]).call(), true)
    }

    /// DELETE.
    pub fn delete<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, CallError> {
        self.read(
            self.prepared(self.agent.delete(self.url(path)), query).call(),
            false,
        )
    }

    /// POST without a body.
    pub fn post<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, CallError> {
        self.read(
            self.prepared(self.agent.post(self.url(path)), query).send_empty(),
            false,
        )
    }

    /// POST of a body.
    pub fn post_json<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CallError> {
        let body = serde_json::to_vec(body).map_err(|e| CallError::Usage(e.to_string()))?;
        let request = self.prepared(self.agent.post(self.url(path)), &[]);
        self.read(request.content_type("application/json").send(body), false)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.api)
    }

    fn prepared<B>(
        &self,
        request: ureq::RequestBuilder<B>,
        query: &[(&str, String)],
    ) -> ureq::RequestBuilder<B> {
        let request = query
            .iter()
            .fold(request, |request, (key, value)| request.query(key, value));
        match &self.bearer {
            Some(bearer) => request.header("Authorization", bearer),
            None => request,
        }
    }

    fn read<T: DeserializeOwned>(
        &self,
        answer: Result<Response<Body>, ureq::Error>,
        body_at_503: bool,
    ) -> Result<T, CallError> {
        let mut response = answer.map_err(|error| self.unanswered(&error))?;
        let status = response.status();
        let body = response
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_string();
        let body = body.map_err(|error| self.unanswered(&error))?;
        let foreign = |why: String| CallError::Foreign {
            api: self.api.clone(),
            why,
        };
        if status.is_success() {
            return serde_json::from_str(&body).map_err(|e| foreign(e.to_string()));
        }
        if body_at_503
            && status == StatusCode::SERVICE_UNAVAILABLE
            && let Ok(answer) = serde_json::from_str(&body)
        {
            return Ok(answer);
        }
        let problem = serde_json::from_str(&body).map_err(|_| foreign(format!("HTTP status {status}")))?;
        Err(CallError::Refused(problem))
    }

    fn unanswered(&self, error: &ureq::Error) -> CallError {
        match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                CallError::Usage(format!("--api {}: {error}; expected http://HOST:PORT", self.api))
            }
            _ => CallError::Unreachable {
                api: self.api.clone(),
                why: error.to_string(),
            },
        }
    }
}
