//! Handlers: one function per path and method, its parameters and answers declared beside it.

pub(super) mod cluster;
pub(super) mod dataplane;
pub(super) mod firewall;
pub(super) mod lookup;
pub(super) mod redundancy;
pub(super) mod statics;
pub(super) mod system;
pub(super) mod tables;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use serde::de::DeserializeOwned;

use super::error::{ApiError, ErrorCode};
use super::{App, BackendError};

type Shared = State<Arc<App>>;
type Answer<T> = Result<Json<T>, ApiError>;

/// A body that has to be JSON of this form; `what` says which.
fn body_of<T: DeserializeOwned>(body: &[u8], what: &str) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|e| {
        let detail = format!("the body is not {what} as JSON: {e}");
        ApiError::new(ErrorCode::BadParameter, detail)
    })
}

/// Runs a change to its end, also when the client hangs up.
async fn change<T, F>(work: F) -> Answer<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T, BackendError>> + Send + 'static,
{
    let done = tokio::spawn(work).await;
    let done = done.map_err(|e| ApiError::new(ErrorCode::Internal, e.to_string()))?;
    Ok(Json(done?))
}
