//! The daemon as a whole: health, version, counters, configuration, and the two documents about it all.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::{Answer, Shared};
use crate::api::error::{ApiError, ErrorCode, Problem, Refusals};
use crate::api::model::{ConfigSummary, Counter, Health, HealthStatus, List, ReloadReport, Version};
use crate::api::params::{NoParams, Strict};
use crate::api::{App, metrics, router};

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

/// Reads the config file again and applies it.
///
/// A file with faults changes nothing: the answer is 422 and names every fault.
#[utoipa::path(post, path = "/v1/config/reload", tag = "config",
    responses((status = 200, body = ReloadReport), (status = 422, body = Problem), Refusals))]
pub(in crate::api) async fn reload(State(app): Shared, _: Strict<NoParams>) -> Answer<ReloadReport> {
    let backend = Arc::clone(&app.backend);
    // A task of its own: a client that hangs up must not leave a reload half done.
    let report = tokio::spawn(async move { backend.reload().await })
        .await
        .map_err(|e| ApiError::new(ErrorCode::Internal, e.to_string()))??;
    if report.applied {
        Ok(Json(report))
    } else {
        Err(ApiError::config_refused(report.faults))
    }
}

/// Metrics in the OpenMetrics text format, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "system",
    responses((status = 200, body = String, content_type = "application/openmetrics-text"), Refusals))]
pub(in crate::api) async fn metrics(State(app): Shared, _: Strict<NoParams>) -> Result<Response, ApiError> {
    let snapshot = metrics::Snapshot {
        version: app.backend.version(),
        config: app.backend.config(),
        health: app.backend.health().await?,
        workers: app.backend.workers().await?,
        interfaces: app.backend.interfaces().await?,
        pools: app.backend.pools().await?,
        counters: all_counters(&app).await?,
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
