//! The pair: replication with the other chassis, redundancy sets and their roles.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, Shared, body_of, change};
use crate::api::error::{ApiError, ErrorCode, Problem, Refusals};
use crate::api::model::{
    List, RedundancyEvent, RedundancySet, ReplicatedConfig, Replication, Resync, ResyncRequest, RoleChange,
    RoleRequest,
};
use crate::api::params::{self, NoParams, Strict};
use crate::config::{REDUNDANCY_GROUPS_MAX, REDUNDANCY_SETS_MAX};

/// Replication with the peer of each redundancy group, and what the workers count of it.
#[utoipa::path(get, path = "/v1/replication", tag = "redundancy",
    responses((status = 200, body = Replication), Refusals))]
pub(in crate::api) async fn replication(State(app): Shared, _: Strict<NoParams>) -> Answer<Replication> {
    Ok(Json(app.backend.replication().await?))
}

/// A number, 1..=`max`.
fn number(field: &str, text: &str, max: u8) -> Result<u8, ApiError> {
    let right = format!("a number 1..={max}");
    let read = |t: &str| t.parse().ok().filter(|n| (1..=max).contains(n));
    let number = params::parse(field, Some(text), &right, read)?;
    number.ok_or_else(|| ApiError::parameter(field, right))
}

/// A part of the path.
type Part = Result<Path<String>, PathRejection>;

fn group_number(part: Part) -> Result<u8, ApiError> {
    let Path(text) = part.map_err(|e| ApiError::parameter("group", e.body_text()))?;
    number("group", &text, REDUNDANCY_GROUPS_MAX)
}

fn set_number(part: Part) -> Result<u8, ApiError> {
    let Path(text) = part.map_err(|e| ApiError::parameter("set", e.body_text()))?;
    number("set", &text, REDUNDANCY_SETS_MAX)
}

/// What of the configuration both chassis of a redundancy group must have alike.
///
/// The lines that only one chassis has are why their digests differ.
#[utoipa::path(get, path = "/v1/replication/{group}/config", tag = "redundancy",
    params(("group" = u8, Path, description = "Number of the redundancy group", minimum = 1, maximum = 16)),
    responses((status = 200, body = ReplicatedConfig), Refusals))]
pub(in crate::api) async fn replicated_config(
    State(app): Shared,
    group: Part,
    _: Strict<NoParams>,
) -> Answer<ReplicatedConfig> {
    let group = group_number(group)?;
    let found = app.backend.replicated_config(group);
    found.map(Json).ok_or_else(|| {
        ApiError::new(
            ErrorCode::NotFound,
            format!("there is no redundancy group {group} in the running configuration"),
        )
    })
}

/// Tells the peer of a redundancy group everything anew, or lets it tell everything anew; or some types of objects.
///
/// It goes on by itself beside what changes meanwhile, and nothing is ended that is still there, or is of another type.
#[utoipa::path(post, path = "/v1/replication/{group}/resync", tag = "redundancy", request_body = ResyncRequest,
    params(("group" = u8, Path, description = "Number of the redundancy group", minimum = 1, maximum = 16)),
    responses((status = 200, body = Resync), (status = 409, body = Problem), Refusals))]
pub(in crate::api) async fn resync(
    State(app): Shared,
    group: Part,
    _: Strict<NoParams>,
    body: Bytes,
) -> Answer<Resync> {
    let group = group_number(group)?;
    let wanted: ResyncRequest = body_of(&body, "a resynchronization")?;
    let backend = Arc::clone(&app.backend);
    change(async move { backend.resync(group, wanted).await }).await
}

/// Redundancy sets with their roles on both chassis.
#[utoipa::path(get, path = "/v1/redundancy-sets", tag = "redundancy",
    responses((status = 200, body = List<RedundancySet>), Refusals))]
pub(in crate::api) async fn redundancy_sets(
    State(app): Shared,
    _: Strict<NoParams>,
) -> Answer<List<RedundancySet>> {
    Ok(Json(List {
        rows: app.backend.redundancy_sets(),
    }))
}

/// One redundancy set.
#[utoipa::path(get, path = "/v1/redundancy-sets/{set}", tag = "redundancy",
    params(("set" = u8, Path, description = "Number of the redundancy set", minimum = 1, maximum = 128)),
    responses((status = 200, body = RedundancySet), Refusals))]
pub(in crate::api) async fn redundancy_set(
    State(app): Shared,
    set: Part,
    _: Strict<NoParams>,
) -> Answer<RedundancySet> {
    let set = set_number(set)?;
    let mut sets = app.backend.redundancy_sets().into_iter();
    sets.find(|one| one.id == set)
        .map(Json)
        .ok_or_else(|| ApiError::new(ErrorCode::NotFound, format!("no redundancy set {set} runs")))
}

/// Takes up a role for a redundancy set on this chassis.
///
/// The answer comes when the role is taken up. A role that the chassis has already changes nothing; one that the state of the
/// pair does not allow is 409 `refused`.
#[utoipa::path(post, path = "/v1/redundancy-sets/{set}/role", tag = "redundancy", request_body = RoleRequest,
    params(("set" = u8, Path, description = "Number of the redundancy set", minimum = 1, maximum = 128)),
    responses((status = 200, body = RoleChange), (status = 409, body = Problem), Refusals))]
pub(in crate::api) async fn request_role(
    State(app): Shared,
    set: Part,
    _: Strict<NoParams>,
    body: Bytes,
) -> Answer<RoleChange> {
    let set = set_number(set)?;
    let wanted: RoleRequest = body_of(&body, "a role")?;
    let backend = Arc::clone(&app.backend);
    change(async move { backend.request_role(set, wanted).await }).await
}

/// Which events.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case")]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct EventParams {
    /// Number of the redundancy set.
    #[param(value_type = Option<u8>, minimum = 1, maximum = 128)]
    redundancy_set: Option<String>,
    /// At most this many rows; 100 when absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 10000)]
    limit: Option<String>,
}

/// What became of the roles of redundancy sets, the latest first.
///
/// The last 1000 since start are kept.
#[utoipa::path(get, path = "/v1/redundancy-events", tag = "redundancy", params(EventParams),
    responses((status = 200, body = List<RedundancyEvent>), Refusals))]
pub(in crate::api) async fn redundancy_events(
    State(app): Shared,
    Strict(wanted, _): Strict<EventParams, NoParams>,
) -> Answer<List<RedundancyEvent>> {
    let set = wanted.redundancy_set.as_deref();
    let set = set
        .map(|text| number("redundancy-set", text, REDUNDANCY_SETS_MAX))
        .transpose()?;
    let limit = params::limit(wanted.limit.as_deref())?;
    let mut rows = app.backend.redundancy_events();
    rows.retain(|event| set.is_none_or(|set| set == event.redundancy_set));
    rows.truncate(limit);
    Ok(Json(List { rows }))
}
