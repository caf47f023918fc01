//! Firewall policies with what they decided.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tandem_engine::view::Ask;
use utoipa::IntoParams;

use super::{Answer, Shared};
use crate::api::App;
use crate::api::error::{ApiError, Refusals};
use crate::api::model::{DIRECTIONS, Hits, Page, Policy};
use crate::api::params::{self, PageParams, Strict};
use crate::api::walk::{self, fingerprint};

/// Which policies.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case")]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct PolicyParams {
    /// Service set, by name.
    service_set: Option<String>,
    /// `outbound` or `inbound`.
    #[param(value_type = Option<String>)]
    direction: Option<String>,
}

/// First packets each policy and default decided about, over all workers.
pub(in crate::api) async fn hits(app: &App) -> Result<Hits, ApiError> {
    let mut hits = Hits::new();
    for (decider, of_worker) in walk::all(&*app.backend, Ask::Policies).await?.policies {
        *hits.entry(decider).or_default() += of_worker;
    }
    Ok(hits)
}

/// Reads `KEY-POSITION`. The key knows the generation: in another program the position is another policy's.
fn start(token: Option<&str>, key: u32) -> Result<usize, ApiError> {
    let bad = || {
        ApiError::parameter(
            "page",
            "not a page of the policies with this filter in the running configuration; begin anew",
        )
    };
    let Some(token) = token else { return Ok(0) };
    let (of, position) = token.split_once('-').ok_or_else(bad)?;
    if of != format!("{key:08x}") {
        return Err(bad());
    }
    position.parse().map_err(|_| bad())
}

/// Firewall policies in the order in which they are looked at, with what they decided.
#[utoipa::path(get, path = "/v1/firewall/policies", tag = "firewall", params(PolicyParams, PageParams),
    responses((status = 200, body = Page<Policy>), Refusals))]
pub(in crate::api) async fn policies(
    State(app): Shared,
    Strict(wanted, page): Strict<PolicyParams, PageParams>,
) -> Answer<Page<Policy>> {
    let program = app.backend.program();
    let names = program.service_sets.iter().map(|s| (s.id, s.name.clone()));
    let set = params::id("service-set", wanted.service_set.as_deref(), &names.collect())?;
    let direction = params::parse(
        "direction",
        wanted.direction.as_deref(),
        "outbound or inbound",
        |t| DIRECTIONS.into_iter().find(|d| *d == t),
    )?;
    let key = fingerprint("policies", &(program.generation, set, direction));
    let (start, limit) = (start(page.page.as_deref(), key)?, page.limit()?);
    let hits = if program.service_sets.iter().any(|s| s.firewall.is_some()) {
        hits(&app).await?
    } else {
        Hits::new()
    };
    let set = set.and_then(|id| program.service_sets.iter().find(|s| s.id == id));
    let mut rows: Vec<Policy> = Policy::all(&program, &hits)
        .filter(|row| {
            set.is_none_or(|set| set.name == row.service_set) && direction.is_none_or(|d| d == row.direction)
        })
        .skip(start)
        .take(limit + 1)
        .collect();
    let more = rows.len() > limit;
    rows.truncate(limit);
    Ok(Json(Page {
        rows,
        next: more.then(|| format!("{key:08x}-{}", start + limit)),
        count: None,
    }))
}
