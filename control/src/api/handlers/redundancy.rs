//! The pair: replication with the other chassis, redundancy sets and their roles.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, Shared, body_of, change};
use crate::api::App;
use crate::api::error::{ApiError, ErrorCode, Problem, Refusals};
use crate::api::model::{
    EligibilityRequest, List, Redundancy, RedundancyEvent, RedundancySet, ReplicatedConfig, Replication,
    Resync, ResyncRequest, RoleChange, RoleRequest, SetRequest, SwitchoverRequest, WarningRequest,
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

/// The pair as a whole: its colour and why, sets, heartbeats, the guard, and what was counted.
#[utoipa::path(get, path = "/v1/redundancy", tag = "redundancy",
    responses((status = 200, body = Redundancy), Refusals))]
pub(in crate::api) async fn redundancy(State(app): Shared, _: Strict<NoParams>) -> Answer<Redundancy> {
    Ok(Json(app.backend.redundancy()))
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

/// Asks something of a set, and drives it to its end.
async fn asked(app: Arc<App>, set: Part, wanted: SetRequest) -> Answer<RoleChange> {
    let set = set_number(set)?;
    let backend = Arc::clone(&app.backend);
    change(async move { backend.request_set(set, wanted).await }).await
}

/// The other chassis becomes primary, whichever is: a primary releases the set, a standby acquires it.
///
/// The checks are those of the role that it comes to on this chassis; `force` as there.
#[utoipa::path(post, path = "/v1/redundancy-sets/{set}/switchover", tag = "redundancy",
    request_body = SwitchoverRequest,
    params(("set" = u8, Path, description = "Number of the redundancy set", minimum = 1, maximum = 128)),
    responses((status = 200, body = RoleChange), (status = 409, body = Problem), Refusals))]
pub(in crate::api) async fn switchover(
    State(app): Shared,
    set: Part,
    _: Strict<NoParams>,
    body: Bytes,
) -> Answer<RoleChange> {
    let wanted: SwitchoverRequest = body_of(&body, "a switchover")?;
    asked(app, set, SetRequest::Switchover(wanted)).await
}

/// Takes a set out on this chassis, or puts it back.
///
/// A primary that is taken out hands over as soon as the other chassis can take over; the answer does not wait for that. 409
/// `refused` for a set whose role changes by command alone.
#[utoipa::path(post, path = "/v1/redundancy-sets/{set}/eligibility", tag = "redundancy",
    request_body = EligibilityRequest,
    params(("set" = u8, Path, description = "Number of the redundancy set", minimum = 1, maximum = 128)),
    responses((status = 200, body = RoleChange), (status = 409, body = Problem), Refusals))]
pub(in crate::api) async fn eligibility(
    State(app): Shared,
    set: Part,
    _: Strict<NoParams>,
    body: Bytes,
) -> Answer<RoleChange> {
    let wanted: EligibilityRequest = body_of(&body, "an eligibility")?;
    asked(app, set, SetRequest::Eligibility(wanted)).await
}

/// The longest text of a warning, characters.
const WARNING_MAX: usize = 200;

/// Warns the peer of this chassis, until the warning is taken back (`"text": null`).
///
/// It changes no role. 409 `refused` for a set whose role changes by command alone.
#[utoipa::path(post, path = "/v1/redundancy-sets/{set}/warning", tag = "redundancy",
    request_body = WarningRequest,
    params(("set" = u8, Path, description = "Number of the redundancy set", minimum = 1, maximum = 128)),
    responses((status = 200, body = RoleChange), (status = 409, body = Problem), Refusals))]
pub(in crate::api) async fn warning(
    State(app): Shared,
    set: Part,
    _: Strict<NoParams>,
    body: Bytes,
) -> Answer<RoleChange> {
    let wanted: WarningRequest = body_of(&body, "a warning")?;
    let is_right =
        |text: &String| (1..=WARNING_MAX).contains(&text.chars().count()) && !text.contains(char::is_control);
    if !wanted.text.as_ref().is_none_or(is_right) {
        let right = format!("a text of 1 to {WARNING_MAX} characters without control characters, or null");
        return Err(ApiError::parameter("text", right));
    }
    asked(app, set, SetRequest::Warning(wanted)).await
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
