//! The workers' tables: sessions, mappings, blocks, subscribers; and the one way to end sessions by hand.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use ipnet::IpNet;
use serde::Deserialize;
use tandem_engine::view::{Ask, Filter, Rows};
use utoipa::IntoParams;

use super::{Answer, Shared};
use crate::api::error::{ApiError, ErrorCode, Refusals};
use crate::api::model::{
    Block, Cleared, Mapping, Names, Page, PeerCleared, Session, Subscriber, SubscriberDetail,
};
use crate::api::params::{
    self, BlockParams, FilterParams, MappingParams, NoParams, PageParams, SessionParams, Strict,
    SubscriberParams,
};
use crate::api::walk::{self, Place};
use crate::api::{App, model};

async fn page<T>(
    app: &App,
    ask: Ask,
    wanted: &impl FilterParams,
    page: &PageParams,
    row: impl Fn(Rows, &Names) -> Vec<T>,
) -> Answer<Page<T>> {
    let names = app.backend.names();
    let filter = wanted.filter(&names)?;
    let limit = page.limit()?;
    let start = walk::place(ask, &filter, app.backend.worker_count(), page.page.as_deref())?;
    let (rows, next) = walk::rows(&*app.backend, ask, filter, start, limit).await?;
    Ok(Json(Page {
        rows: row(rows, &names),
        next,
        count: None,
    }))
}

/// How much of the sessions.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case")]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct SessionPageParams {
    /// At most this many rows; 100 when absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 10000)]
    limit: Option<String>,
    /// Where to go on: `next` of the page before, with the same filter.
    page: Option<String>,
    /// `true`: no rows, only `count`, the number of sessions that match.
    #[param(value_type = Option<bool>)]
    count: Option<String>,
}

fn sessions_of(rows: Rows, names: &Names) -> Vec<Session> {
    rows.sessions.iter().map(|row| Session::new(row, names)).collect()
}

/// Sessions, filtered by any field of their tuple.
#[utoipa::path(get, path = "/v1/sessions", tag = "tables", params(SessionParams, SessionPageParams),
    responses((status = 200, body = Page<Session>), Refusals))]
pub(in crate::api) async fn sessions(
    State(app): Shared,
    Strict(wanted, how): Strict<SessionParams, SessionPageParams>,
) -> Answer<Page<Session>> {
    if !params::flag("count", how.count.as_deref())? {
        let how = PageParams {
            limit: how.limit,
            page: how.page,
        };
        return page(&app, Ask::Sessions, &wanted, &how, sessions_of).await;
    }
    for (field, given) in [("limit", &how.limit), ("page", &how.page)] {
        if given.is_some() {
            return Err(ApiError::parameter(
                field,
                "has no meaning with count=true, which gives no rows",
            ));
        }
    }
    let filter = wanted.filter(&app.backend.names())?;
    let count = walk::count(&*app.backend, Ask::CountSessions, filter).await?;
    Ok(Json(Page {
        rows: Vec::new(),
        next: None,
        count: Some(count),
    }))
}

/// Whether really all.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case")]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct ClearParams {
    /// `true`: every session; only without a filter.
    #[param(value_type = Option<bool>)]
    all: Option<String>,
    /// `true`: at the peer, too; the answer says what each chassis did.
    #[param(value_type = Option<bool>)]
    cluster: Option<String>,
}

/// Ends the sessions that match.
///
/// Takes at least one filter, or `all=true`. A clear that was begun goes on when the client hangs up.
#[utoipa::path(delete, path = "/v1/sessions", tag = "tables", params(SessionParams, ClearParams),
    responses((status = 200, body = Cleared), Refusals))]
pub(in crate::api) async fn clear_sessions(
    State(app): Shared,
    Strict(wanted, how): Strict<SessionParams, ClearParams>,
) -> Answer<Cleared> {
    let filter = wanted.filter(&app.backend.names())?;
    match (
        filter == Filter::default(),
        params::flag("all", how.all.as_deref())?,
    ) {
        (true, false) => {
            return Err(ApiError::parameter(
                "all",
                "give at least one filter, or all=true",
            ));
        }
        (false, true) => {
            return Err(ApiError::parameter(
                "all",
                "all=true goes without a filter; leave one out",
            ));
        }
        _ => {}
    }
    let cluster = params::flag("cluster", how.cluster.as_deref())?;
    let shared = Arc::clone(&app);
    // A task of its own: workers must not be left in the middle when the client hangs up.
    let done = tokio::spawn(async move {
        let cleared = walk::count(&*shared.backend, Ask::ClearSessions, filter).await?;
        shared
            .counters
            .sessions_cleared
            .fetch_add(cleared, Ordering::Relaxed);
        let peer = if cluster {
            let there = shared.backend.clear_at_peer(wanted).await;
            Some(PeerCleared {
                cleared: there.as_ref().ok().copied(),
                error: there.err().map(|error| error.to_string()),
            })
        } else {
            None
        };
        Ok::<_, ApiError>(Cleared { cleared, peer })
    })
    .await
    .map_err(|e| ApiError::new(ErrorCode::Internal, e.to_string()))??;
    Ok(Json(done))
}

/// Endpoint-independent mappings.
#[utoipa::path(get, path = "/v1/mappings", tag = "tables", params(MappingParams, PageParams),
    responses((status = 200, body = Page<Mapping>), Refusals))]
pub(in crate::api) async fn mappings(
    State(app): Shared,
    Strict(wanted, how): Strict<MappingParams, PageParams>,
) -> Answer<Page<Mapping>> {
    let row = |rows: Rows, names: &Names| rows.mappings.iter().map(|row| Mapping::new(row, names)).collect();
    page(&app, Ask::Mappings, &wanted, &how, row).await
}

/// Port blocks in subscribers' hands.
#[utoipa::path(get, path = "/v1/blocks", tag = "tables", params(BlockParams, PageParams),
    responses((status = 200, body = Page<Block>), Refusals))]
pub(in crate::api) async fn blocks(
    State(app): Shared,
    Strict(wanted, how): Strict<BlockParams, PageParams>,
) -> Answer<Page<Block>> {
    page(&app, Ask::Blocks, &wanted, &how, blocks_of).await
}

fn blocks_of(rows: Rows, names: &Names) -> Vec<Block> {
    rows.blocks.iter().map(|row| Block::new(row, names)).collect()
}

/// Subscribers.
#[utoipa::path(get, path = "/v1/subscribers", tag = "tables", params(SubscriberParams, PageParams),
    responses((status = 200, body = Page<Subscriber>), Refusals))]
pub(in crate::api) async fn subscribers(
    State(app): Shared,
    Strict(wanted, how): Strict<SubscriberParams, PageParams>,
) -> Answer<Page<Subscriber>> {
    let row = |rows: Rows, names: &Names| {
        rows.subscribers
            .iter()
            .map(|row| Subscriber::new(row, names))
            .collect()
    };
    page(&app, Ask::Subscribers, &wanted, &how, row).await
}

/// How much of one subscriber.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case")]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct DetailParams {
    /// At most this many sessions and blocks; 100 when absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 10000)]
    limit: Option<String>,
}

/// One subscriber: its addresses, limits, blocks and sessions.
#[utoipa::path(get, path = "/v1/subscribers/{address}", tag = "tables",
    params(("address" = String, Path, description = "Its inside address, of IPv6 any of its prefix"), DetailParams),
    responses((status = 200, body = SubscriberDetail), Refusals))]
pub(in crate::api) async fn subscriber(
    State(app): Shared,
    address: Result<Path<String>, PathRejection>,
    Strict(how, _): Strict<DetailParams, NoParams>,
) -> Answer<SubscriberDetail> {
    let Path(address) = address.map_err(|e| ApiError::parameter("address", e.body_text()))?;
    let limit = params::limit(how.limit.as_deref())?;
    let inside: Option<IpAddr> = params::address("address", Some(&address))?;
    let mut filter = Filter {
        inside,
        ..Filter::default()
    };
    let backend = &*app.backend;
    let names = backend.names();
    // A subscriber has one row per service set, so this bound is never what ends the list.
    let (found, _) = walk::rows(
        backend,
        Ask::Subscribers,
        filter,
        Place::default(),
        params::LIMIT_MAX,
    )
    .await?;
    if found.subscribers.is_empty() {
        return Err(ApiError::new(
            ErrorCode::NotFound,
            format!("no subscriber has the inside address {address}"),
        ));
    }
    // What belongs to an IPv6 subscriber is under its prefix; where service sets differ, under the shortest.
    let prefixes = found.subscribers.iter().filter_map(|row| {
        let bits = names.subscriber_prefixes.get(&row.service_set).copied()?;
        IpNet::new(row.address, bits)
            .ok()
            .filter(|_| row.address.is_ipv6())
    });
    if let Some(prefix) = prefixes.min_by_key(IpNet::prefix_len) {
        filter.inside = Some(prefix.network());
        filter.inside_bits = Some(prefix.prefix_len());
    }
    let subscribers = found.subscribers.iter().map(|row| Subscriber {
        limits: backend
            .subscriber_limits(row.service_set)
            .map(model::Limits::from),
        ..Subscriber::new(row, &names)
    });
    let (blocks, _) = walk::rows(backend, Ask::Blocks, filter, Place::default(), limit).await?;
    let (sessions, next) = walk::rows(backend, Ask::Sessions, filter, Place::default(), limit).await?;
    Ok(Json(SubscriberDetail {
        subscribers: subscribers.collect(),
        blocks: blocks_of(blocks, &names),
        sessions: Page {
            rows: sessions_of(sessions, &names),
            next,
            count: None,
        },
    }))
}
