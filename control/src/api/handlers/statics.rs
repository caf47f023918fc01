//! Static mappings: all there are, and the ones that are set and taken away at run time.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use serde::Deserialize;
use tandem_engine::program::{self, ServiceSetId};
use utoipa::IntoParams;

use super::{Answer, Shared, body_of, change};
use crate::api::error::{ApiError, Problem, Refusals};
use crate::api::model::{Committed, NewStaticMapping, Page, StaticMapping};
use crate::api::params::{self, NoParams, PageParams, Strict};
use crate::api::walk::fingerprint;

/// Which static mappings.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case")]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct StaticParams {
    /// Service set, by name.
    service_set: Option<String>,
    /// `config` (of the file) or `api` (set at run time).
    origin: Option<String>,
}

/// A row's place: its service set, its name, and which of that name it is (a NAT term may make several). It stays what it is
/// when others come and go.
type Place<'m> = (ServiceSetId, &'m str, u32);

/// In the order of their places.
fn placed<'m>(
    mappings: impl Iterator<Item = &'m program::StaticMapping>,
) -> Vec<(Place<'m>, &'m program::StaticMapping)> {
    let mut all: Vec<_> = mappings.collect();
    all.sort_by_key(|m| (m.service_set, m.name.as_str(), m.number));
    let mut placed: Vec<(Place<'m>, _)> = Vec::with_capacity(all.len());
    for mapping in all {
        let nth = match placed.last() {
            Some(((set, name, nth), _)) if (*set, *name) == (mapping.service_set, mapping.name.as_str()) => {
                nth + 1
            }
            _ => 0,
        };
        placed.push(((mapping.service_set, mapping.name.as_str(), nth), mapping));
    }
    placed
}

/// Reads `KEY-SET-NTH-NAME`.
fn after(token: &str, key: u32) -> Result<(ServiceSetId, String, u32), ApiError> {
    let read = || {
        let mut parts = token.splitn(4, '-');
        let of = parts.next()?;
        let (set, nth) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let name = parts.next()?.to_owned();
        (of == format!("{key:08x}")).then_some((set, name, nth))
    };
    read().ok_or_else(|| {
        ApiError::parameter(
            "page",
            "not a page of the static mappings with this filter; take `next` of the page before, unchanged",
        )
    })
}

/// Static mappings of the file and of the API.
#[utoipa::path(get, path = "/v1/static-mappings", tag = "static-mappings", params(StaticParams, PageParams),
    responses((status = 200, body = Page<StaticMapping>), Refusals))]
pub(in crate::api) async fn static_mappings(
    State(app): Shared,
    Strict(wanted, page): Strict<StaticParams, PageParams>,
) -> Answer<Page<StaticMapping>> {
    let names = app.backend.names();
    let program = app.backend.program();
    let set = params::id("service-set", wanted.service_set.as_deref(), &names.service_sets)?;
    let of_api = params::parse("origin", wanted.origin.as_deref(), "config or api", |t| match t {
        "api" => Some(true),
        "config" => Some(false),
        _ => None,
    })?;
    let key = fingerprint("static-mappings", &(set, of_api));
    let limit = page.limit()?;
    let after = page.page.as_deref().map(|token| after(token, key)).transpose()?;
    let runtime = app.backend.runtime_statics();
    let is_of_api = |mapping: &program::StaticMapping| {
        let set = names.service_set(mapping.service_set).unwrap_or_default();
        runtime.contains(&(set, mapping.name.clone()))
    };
    let wanted = program.statics.iter().filter(|m| {
        set.is_none_or(|set| set == m.service_set) && of_api.is_none_or(|wanted| wanted == is_of_api(m))
    });
    let all = placed(wanted);
    let from = after.map_or(0, |(set, name, nth)| {
        all.partition_point(|(place, _)| *place <= (set, name.as_str(), nth))
    });
    let rest = all.get(from..).unwrap_or_default();
    let shown = rest.get(..limit.min(rest.len())).unwrap_or_default();
    let next = match shown.last() {
        Some(((set, name, nth), _)) if shown.len() < rest.len() => {
            Some(format!("{key:08x}-{set}-{nth}-{name}"))
        }
        _ => None,
    };
    Ok(Json(Page {
        rows: shown
            .iter()
            .map(|(_, m)| StaticMapping::new(m, &names, is_of_api(m)))
            .collect(),
        next,
        count: Some(all.len() as u64),
    }))
}

/// Sets a static mapping, beside those of the file.
///
/// One that contradicts the running configuration is refused with 409, and nothing changes. Sessions that stand against it
/// are not ended.
#[utoipa::path(post, path = "/v1/static-mappings", tag = "static-mappings", request_body = NewStaticMapping,
    responses((status = 200, body = Committed), (status = 409, body = Problem), Refusals))]
pub(in crate::api) async fn add_static_mapping(
    State(app): Shared,
    _: Strict<NoParams>,
    body: Bytes,
) -> Answer<Committed> {
    let new: NewStaticMapping = body_of(&body, "a static mapping")?;
    // What is wrong by itself is the request's fault, not a contradiction.
    new.read()
        .map_err(|fault| ApiError::parameter(fault.key, format!("{}; {}", fault.problem, fault.remedy)))?;
    let backend = Arc::clone(&app.backend);
    change(async move { backend.add_static_mapping(new).await }).await
}

/// Which one.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case")]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct RemoveParams {
    /// Service set, by name.
    #[param(value_type = String, required = true)]
    service_set: Option<String>,
    /// Its name.
    #[param(value_type = String, required = true)]
    name: Option<String>,
}

/// Takes a static mapping away that was set through the API; its sessions end.
#[utoipa::path(delete, path = "/v1/static-mappings", tag = "static-mappings", params(RemoveParams),
    responses((status = 200, body = Committed), Refusals))]
pub(in crate::api) async fn remove_static_mapping(
    State(app): Shared,
    Strict(which, _): Strict<RemoveParams, NoParams>,
) -> Answer<Committed> {
    let given = |field: &str, value: Option<String>| {
        value.ok_or_else(|| ApiError::parameter(field, "missing; say which static mapping"))
    };
    let set = given("service-set", which.service_set)?;
    let name = given("name", which.name)?;
    let backend = Arc::clone(&app.backend);
    change(async move { backend.remove_static_mapping(&set, &name).await }).await
}
