//! The routes, once: the router that serves them and the OpenAPI document that describes them come from one list.

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::{ApiError, ErrorCode, Problem};
use super::handlers::{cluster, dataplane, firewall, lookup, redundancy, statics, system, tables};
use super::{App, guard};

#[derive(OpenApi)]
#[openapi(
    info(title = "Tandem", description = "Carrier-grade NAT and stateful firewall: state, counters and control."),
    tags(
        (name = "system", description = "Health, version, counters, metrics"),
        (name = "config", description = "The running configuration"),
        (name = "dataplane", description = "Interfaces, workers, routes, neighbours, pools"),
        (name = "tables", description = "Sessions, mappings, blocks, subscribers; who has an address"),
        (name = "firewall", description = "Policies and what they decided"),
        (name = "redundancy", description = "The pair: replication, redundancy sets and their roles"),
        (name = "static-mappings", description = "Static mappings, of the file and set at run time"),
    ),
    components(schemas(Problem))
)]
struct Document;

fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(system::health))
        .routes(routes!(system::version))
        .routes(routes!(system::counters))
        .routes(routes!(system::drops))
        .routes(routes!(system::config))
        .routes(routes!(system::reload))
        .routes(routes!(cluster::compare))
        .routes(routes!(cluster::pull))
        .routes(routes!(cluster::files))
        .routes(routes!(cluster::synchronize))
        .routes(routes!(system::metrics))
        .routes(routes!(system::openapi))
        .routes(routes!(dataplane::interfaces))
        .routes(routes!(dataplane::request_member))
        .routes(routes!(dataplane::workers))
        .routes(routes!(dataplane::routes))
        .routes(routes!(dataplane::neighbours))
        .routes(routes!(dataplane::pools))
        .routes(routes!(tables::sessions, tables::clear_sessions))
        .routes(routes!(tables::mappings))
        .routes(routes!(tables::blocks))
        .routes(routes!(tables::subscribers))
        .routes(routes!(tables::subscriber))
        .routes(routes!(lookup::lookup))
        .routes(routes!(firewall::policies))
        .routes(routes!(
            statics::static_mappings,
            statics::add_static_mapping,
            statics::remove_static_mapping
        ))
        .routes(routes!(redundancy::replication))
        .routes(routes!(redundancy::replicated_config))
        .routes(routes!(redundancy::resync))
        .routes(routes!(redundancy::redundancy))
        .routes(routes!(redundancy::redundancy_sets))
        .routes(routes!(redundancy::redundancy_set))
        .routes(routes!(redundancy::request_role))
        .routes(routes!(redundancy::switchover))
        .routes(routes!(redundancy::eligibility))
        .routes(routes!(redundancy::warning))
        .routes(routes!(redundancy::redundancy_events))
}

/// The OpenAPI document of the API.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = routes().to_openapi();
    let components = document.components.get_or_insert_default();
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components
        .security_schemes
        .insert("bearer".to_owned(), bearer.into());
    // Either nothing (a loopback listener without a token) or the token.
    document.security = Some(vec![
        SecurityRequirement::default(),
        SecurityRequirement::new("bearer", Vec::<String>::new()),
    ]);
    document
}

async fn not_found(uri: Uri) -> ApiError {
    ApiError::new(
        ErrorCode::NotFound,
        format!("there is no {}; /openapi.json lists what there is", uri.path()),
    )
}

async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    ApiError::new(
        ErrorCode::MethodNotAllowed,
        format!("{} does not take {method}", uri.path()),
    )
}

/// The whole API as a service.
pub(super) fn router(app: &Arc<App>) -> Router {
    let (router, _) = routes().split_for_parts();
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(app), guard::guard))
        .with_state(Arc::clone(app))
}
