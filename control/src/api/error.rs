//! Errors as clients see them: one closed list of codes, each with its HTTP status and its counter.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use super::backend::BackendError;
use super::model::Fault;

macro_rules! error_codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $status:ident;)+) => {
        /// Why a request was not answered as asked.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($(#[doc = $doc])+ $variant,)+ }

        impl ErrorCode {
            /// All codes, in counter order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name: the `error` of the answer, and with `api-` before it the counter.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Its HTTP status.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)+ }
            }

            /// What it means, for people.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+).trim_ascii(),)+ }
            }
        }
    };
}

impl ErrorCode {
    /// Whether any request may be answered by it; the others belong to some paths, which say so.
    #[must_use]
    pub const fn is_general(self) -> bool {
        !matches!(self, Self::ConfigRefused | Self::Conflict | Self::Refused)
    }
}

error_codes! {
    /// A parameter is unknown, given twice, missing, or has a value it cannot have.
    BadParameter = "bad-parameter", BAD_REQUEST;
    /// The listener wants a bearer token, and the request has none or a wrong one.
    CredentialsRequired = "credentials-required", UNAUTHORIZED;
    /// The request comes from a web page of another site, or by a name that is not this host's.
    OriginRefused = "origin-refused", FORBIDDEN;
    /// There is no such path, or no such thing behind it.
    NotFound = "not-found", NOT_FOUND;
    /// The path does not take this method.
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED;
    /// The request has a larger body than is taken.
    BodyTooLarge = "body-too-large", PAYLOAD_TOO_LARGE;
    /// The config file has faults; nothing was changed.
    ConfigRefused = "config-refused", UNPROCESSABLE_ENTITY;
    /// The change contradicts the running configuration; nothing was changed.
    Conflict = "conflict", CONFLICT;
    /// The state of the pair does not allow it now; nothing was changed.
    Refused = "refused", CONFLICT;
    /// More requests are under way than the listener takes.
    Busy = "busy", SERVICE_UNAVAILABLE;
    /// The dataplane did not answer in time, or is stopping.
    NoAnswer = "no-answer", SERVICE_UNAVAILABLE;
    /// Something went wrong inside.
    Internal = "internal", INTERNAL_SERVER_ERROR;
}

/// Body of every answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Problem {
    /// The code, for programs.
    #[schema(example = "bad-parameter")]
    pub error: String,
    /// What is wrong and what would be right, for people.
    pub detail: String,
    /// The parameter it is about.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub field: Option<String>,
    /// Faults of the config file (`config-refused` only).
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub faults: Vec<Fault>,
}

/// An error on its way to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    code: ErrorCode,
    detail: String,
    field: Option<String>,
    faults: Vec<Fault>,
}

impl ApiError {
    /// An error with its explanation.
    #[must_use]
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            field: None,
            faults: Vec::new(),
        }
    }

    /// A parameter that is not as it should be.
    #[must_use]
    pub fn parameter(field: &str, detail: impl Into<String>) -> Self {
        Self {
            field: Some(field.to_owned()),
            ..Self::new(ErrorCode::BadParameter, detail)
        }
    }

    /// A config file with faults.
    #[must_use]
    pub fn config_refused(faults: Vec<Fault>) -> Self {
        let detail = format!(
            "{} fault(s) in the config file; the running configuration is unchanged",
            faults.len()
        );
        Self {
            faults,
            ..Self::new(ErrorCode::ConfigRefused, detail)
        }
    }

    /// What it says.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The same error with something said before its explanation.
    #[must_use]
    pub fn after(mut self, before: &str) -> Self {
        self.detail = format!("{before}; {}", self.detail);
        self
    }
}

impl From<BackendError> for ApiError {
    fn from(error: BackendError) -> Self {
        let code = match error {
            BackendError::Contradicts { key, why } => {
                return Self {
                    field: Some(key),
                    ..Self::new(ErrorCode::Conflict, why)
                };
            }
            BackendError::Refused(_) => ErrorCode::Refused,
            BackendError::Unknown(_) => ErrorCode::NotFound,
            BackendError::NoAnswer { .. } | BackendError::Stopping => ErrorCode::NoAnswer,
            BackendError::Failed(_) => ErrorCode::Internal,
        };
        Self::new(code, error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Self {
            code,
            detail,
            field,
            faults,
        } = self;
        let problem = Problem {
            error: code.as_str().to_owned(),
            detail,
            field,
            faults,
        };
        let mut response = (code.status(), Json(problem)).into_response();
        if code == ErrorCode::CredentialsRequired {
            response.headers_mut().insert(
                axum::http::header::WWW_AUTHENTICATE,
                axum::http::HeaderValue::from_static("Bearer"),
            );
        }
        // The counting layer reads the code from here.
        response.extensions_mut().insert(code);
        response
    }
}

/// The errors any request may meet, for the OpenAPI document.
pub struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let mut by_status: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for code in ErrorCode::ALL.iter().filter(|c| c.is_general()) {
            let line = format!("`{}`: {}", code.as_str(), code.help());
            by_status
                .entry(code.status().as_u16().to_string())
                .or_default()
                .push(line);
        }
        by_status
            .into_iter()
            .map(|(status, lines)| {
                let content = ContentBuilder::new()
                    .schema(Some(Ref::from_schema_name("Problem")))
                    .build();
                let response = ResponseBuilder::new()
                    .description(lines.join("\n\n"))
                    .content("application/json", content);
                (status, RefOr::T(response.build()))
            })
            .collect()
    }
}
