//! Both chassis at once: their configurations and files beside each other, and what one takes from the other.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, Shared, change};
use crate::api::error::{ApiError, Problem, Refusals};
use crate::api::model::{ConfigComparison, ConfigPull, SharedFiles};
use crate::api::params::{self, NoParams, Strict};

/// The shared parts of both chassis' configurations in force: digests, and where they differ.
#[utoipa::path(get, path = "/v1/config/compare", tag = "config",
    responses((status = 200, body = ConfigComparison), (status = 409, body = Problem), Refusals))]
pub(in crate::api) async fn compare(State(app): Shared, _: Strict<NoParams>) -> Answer<ConfigComparison> {
    Ok(Json(app.backend.compare_config().await?))
}

/// How to pull.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case")]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct PullParams {
    /// `true`: change nothing, only say what would be.
    #[param(value_type = Option<bool>)]
    dry_run: Option<String>,
}

/// Takes the shared part of the peer's configuration over: validated whole, written and applied whole.
///
/// Comments, order and the local-only part of this chassis' file stay; the file before is kept as `FILE.previous`. 422
/// `config-refused` names the faults the result would have; nothing was changed then.
#[utoipa::path(post, path = "/v1/config/pull", tag = "config", params(PullParams),
    responses((status = 200, body = ConfigPull), (status = 409, body = Problem), (status = 422, body = Problem), Refusals))]
pub(in crate::api) async fn pull(
    State(app): Shared,
    Strict(how, _): Strict<PullParams, NoParams>,
) -> Answer<ConfigPull> {
    let dry_run = params::flag("dry-run", how.dry_run.as_deref())?;
    let backend = Arc::clone(&app.backend);
    let Json(pulled) = change(async move { backend.pull_config(dry_run).await }).await?;
    if pulled.faults.is_empty() {
        Ok(Json(pulled))
    } else {
        Err(ApiError::config_refused(pulled.faults))
    }
}

/// The files both chassis must have alike, by their digests.
#[utoipa::path(get, path = "/v1/config/files", tag = "config",
    responses((status = 200, body = SharedFiles), (status = 409, body = Problem), Refusals))]
pub(in crate::api) async fn files(State(app): Shared, _: Strict<NoParams>) -> Answer<SharedFiles> {
    Ok(Json(app.backend.shared_files(false).await?))
}

/// Takes those of them that differ from the peer.
///
/// Each is written whole or not at all, mode 0600; it is used from the next start on.
#[utoipa::path(post, path = "/v1/config/files/synchronize", tag = "config",
    responses((status = 200, body = SharedFiles), (status = 409, body = Problem), Refusals))]
pub(in crate::api) async fn synchronize(State(app): Shared, _: Strict<NoParams>) -> Answer<SharedFiles> {
    let backend = Arc::clone(&app.backend);
    change(async move { backend.shared_files(true).await }).await
}
