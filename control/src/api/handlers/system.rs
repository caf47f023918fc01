//! The daemon as a whole: health, version, counters, configuration, and the two documents about it all.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tandem_engine::view::{Ask, Filter};
use utoipa::IntoParams;

use super::{Answer, Shared, firewall};
use crate::api::error::{ApiError, ErrorCode, Problem, Refusals};
use crate::api::model::{
    ConfigSummary, Counter, Health, HealthStatus, List, Policy, ReloadReport, Version, Worker,
};
use crate::api::params::{self, NoParams, Strict};
use crate::api::{App, metrics, router, walk};

/// Health of the daemon.
///
/// 200 while it forwards (`ok`, `degraded`), 503 with the same body when it does not (`down`).
#[utoipa::path(get, path = "/v1/health", tag = "system",
    responses((status = 200, body = Health), (status = 503, body = Health), Refusals))]
pub(in crate::api) async fn health(State(app): Shared, _: Strict<NoParams>) -> Result<Response, ApiError> {
    let health = app.backend.health().await?;
    let status = if health.status == HealthStatus::Down {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    Ok((status, Json(health)).into_response())
}

/// What is running.
#[utoipa::path(get, path = "/v1/version", tag = "system", responses((status = 200, body = Version), Refusals))]
pub(in crate::api) async fn version(State(app): Shared, _: Strict<NoParams>) -> Answer<Version> {
    Ok(Json(app.backend.version()))
}

async fn all_counters(app: &App) -> Result<Vec<Counter>, ApiError> {
    let mut counters = app.backend.counters().await?;
    counters.extend(app.counters.rows());
    Ok(counters)
}

/// Every named counter, zero ones too, by worker and in total.
#[utoipa::path(get, path = "/v1/counters", tag = "system", responses((status = 200, body = List<Counter>), Refusals))]
pub(in crate::api) async fn counters(State(app): Shared, _: Strict<NoParams>) -> Answer<List<Counter>> {
    Ok(Json(List {
        rows: all_counters(&app).await?,
    }))
}

/// The counters that say why packets were dropped, zero ones too.
#[utoipa::path(get, path = "/v1/drops", tag = "system", responses((status = 200, body = List<Counter>), Refusals))]
pub(in crate::api) async fn drops(State(app): Shared, _: Strict<NoParams>) -> Answer<List<Counter>> {
    let mut rows = app.backend.counters().await?;
    rows.retain(|counter| counter.group.is_drop());
    Ok(Json(List { rows }))
}

/// The running configuration in short, and what the last reload said.
#[utoipa::path(get, path = "/v1/config", tag = "config", responses((status = 200, body = ConfigSummary), Refusals))]
pub(in crate::api) async fn config(State(app): Shared, _: Strict<NoParams>) -> Answer<ConfigSummary> {
    Ok(Json(app.backend.config()))
}

/// What else a reload does.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case")]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ReloadParams {
    /// `true`: end the sessions that the new policies would not let begin.
    #[param(value_type = Option<bool>)]
    reevaluate: Option<String>,
    /// `true`: not at the peer, also where the configuration is propagated.
    #[param(value_type = Option<bool>)]
    local: Option<String>,
}

/// Reads the config file again and applies it.
///
/// A file with faults changes nothing: the answer is 422 and names every fault. With `reevaluate=true`, sessions there are
/// are put to the new policies once all workers have them, and those refused are ended.
#[utoipa::path(post, path = "/v1/config/reload", tag = "config", params(ReloadParams),
    responses((status = 200, body = ReloadReport), (status = 422, body = Problem), Refusals))]
pub(in crate::api) async fn reload(
    State(app): Shared,
    Strict(how, _): Strict<ReloadParams, NoParams>,
) -> Answer<ReloadReport> {
    let reevaluate = params::flag("reevaluate", how.reevaluate.as_deref())?;
    let local = params::flag("local", how.local.as_deref())?;
    let backend = Arc::clone(&app.backend);
    // A task of its own: a client that hangs up must not leave a reload half done.
    let report = tokio::spawn(async move {
        let mut report = backend.reload(local).await?;
        if report.applied && reevaluate {
            let ended = walk::count(&*backend, Ask::Reevaluate, Filter::default()).await;
            let applied = format!("applied, generation {}", report.generation);
            report.sessions_ended = Some(ended.map_err(|error| error.after(&applied))?);
        }
        Ok::<_, ApiError>(report)
    })
    .await
    .map_err(|e| ApiError::new(ErrorCode::Internal, e.to_string()))??;
    if report.applied {
        Ok(Json(report))
    } else {
        Err(ApiError::config_refused(report.faults))
    }
}

/// Policies for the metrics. A scrape does not fail, and does not wait, for a worker that stands still: then they are left out.
async fn policies(app: &App, workers: &[Worker]) -> Vec<Policy> {
    let program = app.backend.program();
    let has_any = program.service_sets.iter().any(|s| s.firewall.is_some());
    if !has_any || workers.iter().any(|w| w.stalled) {
        return Vec::new();
    }
    let Ok(hits) = firewall::hits(app).await else {
        return Vec::new();
    };
    metrics::shown(Policy::all(&program, &hits))
}

/// Metrics in the OpenMetrics text format, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "system",
    responses((status = 200, body = String, content_type = "application/openmetrics-text"), Refusals))]
pub(in crate::api) async fn metrics(State(app): Shared, _: Strict<NoParams>) -> Result<Response, ApiError> {
    let workers = app.backend.workers().await?;
    let snapshot = metrics::Snapshot {
        policies: policies(&app, &workers).await,
        version: app.backend.version(),
        config: app.backend.config(),
        health: app.backend.health().await?,
        workers,
        interfaces: app.backend.interfaces().await?,
        pools: app.backend.pools().await?,
        counters: all_counters(&app).await?,
        replication: app.backend.replication().await?.rows,
        redundancy: app.backend.redundancy(),
    };
    let text = metrics::encode(snapshot).map_err(|e| ApiError::new(ErrorCode::Internal, e.to_string()))?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

/// This API as an OpenAPI document.
#[utoipa::path(get, path = "/openapi.json", tag = "system",
    responses((status = 200, body = serde_json::Value), Refusals))]
pub(in crate::api) async fn openapi(_: Strict<NoParams>) -> Json<utoipa::openapi::OpenApi> {
    Json(router::openapi())
}
