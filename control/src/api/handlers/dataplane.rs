//! What packets go through: interfaces, workers, routes, neighbours, pools.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use ipnet::IpNet;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, Shared, body_of, change};
use crate::api::error::{ApiError, Problem, Refusals};
use crate::api::model::{
    Interface, List, MemberRequest, Neighbour, Page, Pool, RedundantState, Route, RouteQuery, Worker,
};
use crate::api::params::{self, NoParams, PageParams, Strict};
use crate::api::walk::fingerprint;

/// Interfaces with their state and the port's own counters.
#[utoipa::path(get, path = "/v1/interfaces", tag = "dataplane",
    responses((status = 200, body = List<Interface>), Refusals))]
pub(in crate::api) async fn interfaces(State(app): Shared, _: Strict<NoParams>) -> Answer<List<Interface>> {
    Ok(Json(List {
        rows: app.backend.interfaces().await?,
    }))
}

/// Forces a member of a redundant interface to be the active one, or reverts to the primary.
///
/// A forced member counts as the primary until it is reverted: it becomes active without its hold-down, the other carries on when it
/// fails, and it takes back when it is well again. 409 `refused` when its link is down.
#[utoipa::path(post, path = "/v1/interfaces/{interface}/member", tag = "dataplane", request_body = MemberRequest,
    params(("interface" = String, Path, description = "Name of the redundant interface")),
    responses((status = 200, body = RedundantState), (status = 409, body = Problem), Refusals))]
pub(in crate::api) async fn request_member(
    State(app): Shared,
    interface: Result<Path<String>, PathRejection>,
    _: Strict<NoParams>,
    body: Bytes,
) -> Answer<RedundantState> {
    let Path(interface) = interface.map_err(|e| ApiError::parameter("interface", e.body_text()))?;
    let wanted: MemberRequest = body_of(&body, "a member")?;
    let backend = Arc::clone(&app.backend);
    change(async move { backend.request_member(&interface, wanted).await }).await
}

/// Workers with their heartbeat, load and tables.
#[utoipa::path(get, path = "/v1/workers", tag = "dataplane", responses((status = 200, body = List<Worker>), Refusals))]
pub(in crate::api) async fn workers(State(app): Shared, _: Strict<NoParams>) -> Answer<List<Worker>> {
    Ok(Json(List {
        rows: app.backend.workers().await?,
    }))
}

/// Neighbours on the links.
#[utoipa::path(get, path = "/v1/neighbours", tag = "dataplane",
    responses((status = 200, body = List<Neighbour>), Refusals))]
pub(in crate::api) async fn neighbours(State(app): Shared, _: Strict<NoParams>) -> Answer<List<Neighbour>> {
    Ok(Json(List {
        rows: app.backend.neighbours().await?,
    }))
}

/// Pools with their use over all workers.
#[utoipa::path(get, path = "/v1/pools", tag = "dataplane", responses((status = 200, body = List<Pool>), Refusals))]
pub(in crate::api) async fn pools(State(app): Shared, _: Strict<NoParams>) -> Answer<List<Pool>> {
    Ok(Json(List {
        rows: app.backend.pools().await?,
    }))
}

/// Which routes.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case")]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct RouteParams {
    /// Exactly this prefix, for example 192.0.2.0/24.
    prefix: Option<String>,
    /// Routes that cover this address; the last of them is the one that is used.
    #[param(format = "ip")]
    covers: Option<String>,
    /// Routes with a next hop by this interface.
    interface: Option<String>,
}

fn key(query: &RouteQuery) -> u32 {
    fingerprint("routes", &(query.prefix, query.covers, &query.interface))
}

fn bad_page() -> ApiError {
    ApiError::parameter(
        "page",
        "not a page of the routes with this filter; take `next` of the page before, unchanged",
    )
}

/// Reads `KEY-ADDRESS-LENGTH`: routes page by the last prefix, so that a page stays right when others come and go.
fn after(query: &RouteQuery, token: &str) -> Result<IpNet, ApiError> {
    let mut parts = token.splitn(3, '-');
    let (Some(of), Some(address), Some(length)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(bad_page());
    };
    if of != format!("{:08x}", key(query)) {
        return Err(bad_page());
    }
    format!("{address}/{length}").parse().map_err(|_| bad_page())
}

/// Routes as the workers have them.
///
/// `count` is the number of routes in the table, whatever the filter.
#[utoipa::path(get, path = "/v1/routes", tag = "dataplane", params(RouteParams, PageParams),
    responses((status = 200, body = Page<Route>), Refusals))]
pub(in crate::api) async fn routes(
    State(app): Shared,
    Strict(wanted, page): Strict<RouteParams, PageParams>,
) -> Answer<Page<Route>> {
    let prefix = params::parse(
        "prefix",
        wanted.prefix.as_deref(),
        "a prefix like 192.0.2.0/24",
        |t| t.parse::<IpNet>().ok().filter(|net| net.trunc() == *net),
    )?;
    let covers = params::address("covers", wanted.covers.as_deref())?;
    let mut query = RouteQuery {
        prefix,
        covers,
        interface: wanted.interface,
        after: None,
        limit: page.limit()?,
    };
    query.after = page
        .page
        .as_deref()
        .map(|token| after(&query, token))
        .transpose()?;
    let found = app.backend.routes(&query).await?;
    let next = match found.routes.last() {
        Some(last) if found.more => Some(format!(
            "{:08x}-{}-{}",
            key(&query),
            last.prefix.addr(),
            last.prefix.prefix_len()
        )),
        _ => None,
    };
    Ok(Json(Page {
        rows: found.routes,
        next,
        count: Some(found.total),
    }))
}
