//! Handlers: one function per path and method, its parameters and answers declared beside it.

pub(super) mod dataplane;
pub(super) mod firewall;
pub(super) mod lookup;
pub(super) mod statics;
pub(super) mod system;
pub(super) mod tables;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::App;
use super::error::ApiError;

type Shared = State<Arc<App>>;
type Answer<T> = Result<Json<T>, ApiError>;
