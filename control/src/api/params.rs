//! Query parameters: every key must be known and given once, every value must be one the field can have.
//!
//! A parameter struct names its keys once; the OpenAPI document and the check for unknown keys both read them there.

use std::net::IpAddr;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tandem_engine::view::Filter;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};

use super::error::ApiError;
use super::model::{Names, protocol_number};

/// Most rows one answer may hold.
pub const LIMIT_MAX: usize = 10_000;
/// Rows when no limit is asked for.
pub const LIMIT_DEFAULT: usize = 100;

/// No parameters of this kind.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct NoParams {}

impl IntoParams for NoParams {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        Vec::new()
    }
}

/// The query string, read as `A` and `B`; a key of neither refuses the request.
#[derive(Clone, Debug)]
pub struct Strict<A, B = NoParams>(pub A, pub B);

fn names<P: IntoParams>() -> Vec<String> {
    P::into_params(|| None).into_iter().map(|p| p.name).collect()
}

fn read<P: IntoParams + DeserializeOwned>(pairs: &[(String, String)]) -> Result<P, ApiError> {
    let mine = names::<P>();
    let values = pairs
        .iter()
        .filter(|(key, _)| mine.contains(key))
        .map(|(k, v)| (k.clone(), v.as_str().into()));
    serde_json::from_value(serde_json::Value::Object(values.collect()))
        .map_err(|e| ApiError::new(super::ErrorCode::Internal, e.to_string()))
}

impl<S, A, B> FromRequestParts<S> for Strict<A, B>
where
    S: Send + Sync,
    A: IntoParams + DeserializeOwned,
    B: IntoParams + DeserializeOwned,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|e| ApiError::new(super::ErrorCode::BadParameter, e.body_text()))?;
        let mut known = names::<A>();
        known.extend(names::<B>());
        for (at, (key, _)) in pairs.iter().enumerate() {
            if !known.contains(key) {
                let takes = if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                };
                return Err(ApiError::parameter(
                    key,
                    format!("unknown parameter; this path takes: {takes}"),
                ));
            }
            if pairs.iter().take(at).any(|(earlier, _)| earlier == key) {
                return Err(ApiError::parameter(key, "given twice; give it once"));
            }
        }
        Ok(Self(read(&pairs)?, read(&pairs)?))
    }
}

/// Reads `text`, if there is any, with `parse`; `right` says what a value looks like.
pub fn parse<T>(
    field: &str,
    text: Option<&str>,
    right: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, ApiError> {
    text.map(|text| {
        parse(text)
            .ok_or_else(|| ApiError::parameter(field, format!("{text:?} is not valid; expected {right}")))
    })
    .transpose()
}

/// An IP address.
pub fn address(field: &str, text: Option<&str>) -> Result<Option<IpAddr>, ApiError> {
    parse(field, text, "an IPv4 or IPv6 address", |t| t.parse().ok())
}

/// An inside address, or a prefix of such: the address, and how many of its first bits count.
fn inside(text: Option<&str>) -> Result<(Option<IpAddr>, Option<u8>), ApiError> {
    let right = "an IPv4 or IPv6 address, or a prefix without host bits";
    let found = parse("inside-address", text, right, |t| match t.split_once('/') {
        None => t.parse().ok().map(|address| (address, None)),
        Some(_) => {
            let net: IpNet = t.parse().ok()?;
            (net.trunc() == net).then(|| (net.addr(), Some(net.prefix_len())))
        }
    })?;
    Ok(found.map_or((None, None), |(address, bits)| (Some(address), bits)))
}

/// A port or ICMP id.
pub fn port(field: &str, text: Option<&str>) -> Result<Option<u16>, ApiError> {
    parse(field, text, "a port or ICMP id, 0..=65535", |t| t.parse().ok())
}

/// An IP protocol, by name or number.
pub fn protocol(text: Option<&str>) -> Result<Option<u8>, ApiError> {
    parse(
        "protocol",
        text,
        "tcp, udp, icmp, ... or a number 0..=255",
        protocol_number,
    )
}

/// `true` or `false`; absent is `false`.
pub fn flag(field: &str, text: Option<&str>) -> Result<bool, ApiError> {
    Ok(parse(field, text, "true or false", |t| t.parse().ok())?.unwrap_or(false))
}

/// An id by its name, or by `#7` as rows show an id that has no name.
pub fn id(
    field: &str,
    text: Option<&str>,
    names: &std::collections::BTreeMap<u16, String>,
) -> Result<Option<u16>, ApiError> {
    let known = names.values().cloned().collect::<Vec<_>>().join(", ");
    let right = if known.is_empty() {
        "a name, of which there are none".to_owned()
    } else {
        format!("one of: {known}")
    };
    parse(field, text, &right, |text| {
        let by_name = names.iter().find(|(_, name)| *name == text).map(|(id, _)| *id);
        by_name.or_else(|| text.strip_prefix('#').and_then(|n| n.parse().ok()))
    })
}

/// Parameters that make up a [`Filter`].
pub trait FilterParams: IntoParams + DeserializeOwned {
    /// The filter they ask for.
    fn filter(&self, names: &Names) -> Result<Filter, ApiError>;
}

/// Which sessions.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case")]
#[into_params(parameter_in = Query)]
pub struct SessionParams {
    /// IP protocol: a name (tcp, udp, icmp, ...) or a number.
    pub protocol: Option<String>,
    /// Inside address, or a prefix of such.
    pub inside_address: Option<String>,
    /// Inside port or ICMP id.
    #[param(value_type = Option<u16>)]
    pub inside_port: Option<String>,
    /// Public address.
    #[param(format = "ip")]
    pub public_address: Option<String>,
    /// Public port or ICMP id.
    #[param(value_type = Option<u16>)]
    pub public_port: Option<String>,
    /// Outside address.
    #[param(format = "ip")]
    pub outside_address: Option<String>,
    /// Outside port.
    #[param(value_type = Option<u16>)]
    pub outside_port: Option<String>,
    /// Service set, by name.
    pub service_set: Option<String>,
    /// Pool, by name.
    pub pool: Option<String>,
}

impl FilterParams for SessionParams {
    fn filter(&self, names: &Names) -> Result<Filter, ApiError> {
        let (inside, inside_bits) = inside(self.inside_address.as_deref())?;
        Ok(Filter {
            service_set: id("service-set", self.service_set.as_deref(), &names.service_sets)?,
            protocol: protocol(self.protocol.as_deref())?,
            inside,
            inside_bits,
            inside_port: port("inside-port", self.inside_port.as_deref())?,
            public: address("public-address", self.public_address.as_deref())?,
            public_port: port("public-port", self.public_port.as_deref())?,
            outside: address("outside-address", self.outside_address.as_deref())?,
            outside_port: port("outside-port", self.outside_port.as_deref())?,
            pool: id("pool", self.pool.as_deref(), &names.pools)?,
        })
    }
}

/// Which mappings.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case")]
#[into_params(parameter_in = Query)]
pub struct MappingParams {
    /// IP protocol: a name (tcp, udp, icmp, ...) or a number.
    pub protocol: Option<String>,
    /// Inside address, or a prefix of such.
    pub inside_address: Option<String>,
    /// Inside port or ICMP id.
    #[param(value_type = Option<u16>)]
    pub inside_port: Option<String>,
    /// Public address.
    #[param(format = "ip")]
    pub public_address: Option<String>,
    /// Public port or ICMP id.
    #[param(value_type = Option<u16>)]
    pub public_port: Option<String>,
    /// Service set, by name.
    pub service_set: Option<String>,
    /// Pool, by name.
    pub pool: Option<String>,
}

impl FilterParams for MappingParams {
    fn filter(&self, names: &Names) -> Result<Filter, ApiError> {
        let (inside, inside_bits) = inside(self.inside_address.as_deref())?;
        Ok(Filter {
            service_set: id("service-set", self.service_set.as_deref(), &names.service_sets)?,
            protocol: protocol(self.protocol.as_deref())?,
            inside,
            inside_bits,
            inside_port: port("inside-port", self.inside_port.as_deref())?,
            public: address("public-address", self.public_address.as_deref())?,
            public_port: port("public-port", self.public_port.as_deref())?,
            pool: id("pool", self.pool.as_deref(), &names.pools)?,
            ..Filter::default()
        })
    }
}

/// Which port blocks.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case")]
#[into_params(parameter_in = Query)]
pub struct BlockParams {
    /// An address of the subscriber, or a prefix of subscribers.
    pub inside_address: Option<String>,
    /// Public address.
    #[param(format = "ip")]
    pub public_address: Option<String>,
    /// A port inside the block.
    #[param(value_type = Option<u16>)]
    pub public_port: Option<String>,
    /// Service set, by name.
    pub service_set: Option<String>,
    /// Pool, by name.
    pub pool: Option<String>,
}

impl FilterParams for BlockParams {
    fn filter(&self, names: &Names) -> Result<Filter, ApiError> {
        let (inside, inside_bits) = inside(self.inside_address.as_deref())?;
        Ok(Filter {
            service_set: id("service-set", self.service_set.as_deref(), &names.service_sets)?,
            inside,
            inside_bits,
            public: address("public-address", self.public_address.as_deref())?,
            public_port: port("public-port", self.public_port.as_deref())?,
            pool: id("pool", self.pool.as_deref(), &names.pools)?,
            ..Filter::default()
        })
    }
}

/// Which subscribers.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case")]
#[into_params(parameter_in = Query)]
pub struct SubscriberParams {
    /// An inside address of it, or a prefix of subscribers.
    pub inside_address: Option<String>,
    /// Its paired public address.
    #[param(format = "ip")]
    pub public_address: Option<String>,
    /// Service set, by name.
    pub service_set: Option<String>,
    /// Pool, by name.
    pub pool: Option<String>,
}

impl FilterParams for SubscriberParams {
    fn filter(&self, names: &Names) -> Result<Filter, ApiError> {
        let (inside, inside_bits) = inside(self.inside_address.as_deref())?;
        Ok(Filter {
            service_set: id("service-set", self.service_set.as_deref(), &names.service_sets)?,
            inside,
            inside_bits,
            public: address("public-address", self.public_address.as_deref())?,
            pool: id("pool", self.pool.as_deref(), &names.pools)?,
            ..Filter::default()
        })
    }
}

/// How much of a long list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case")]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// At most this many rows; 100 when absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 10000)]
    pub limit: Option<String>,
    /// Where to go on: `next` of the page before, with the same filter.
    pub page: Option<String>,
}

impl PageParams {
    /// Rows wanted.
    pub fn limit(&self) -> Result<usize, ApiError> {
        limit(self.limit.as_deref())
    }
}

/// Rows wanted, 1..=[`LIMIT_MAX`].
pub fn limit(text: Option<&str>) -> Result<usize, ApiError> {
    let right = format!("a number 1..={LIMIT_MAX}");
    let limit = parse("limit", text, &right, |t| {
        t.parse().ok().filter(|n| (1..=LIMIT_MAX).contains(n))
    })?;
    Ok(limit.unwrap_or(LIMIT_DEFAULT))
}
