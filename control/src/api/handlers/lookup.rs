//! Who has a public address and port; which public address and ports an inside address has.
//!
//! ```text
//!   public end:  static mappings, mappings, sessions, blocks, formulas      all that answer, the surest first
//!   inside:      the same the other way round, and the paired address
//! ```

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tandem_engine::address;
use tandem_engine::program::{NONE, Pool, PoolMode, Program, ServiceSetId, Stateless, StaticMapping};
use tandem_engine::view::{Ask, Filter, MappingView, SessionView};
use utoipa::IntoParams;

use super::{Answer, Shared};
use crate::api::backend::Backend;
use crate::api::error::{ApiError, Refusals};
use crate::api::model::{ANY_PROTOCOL, Holder, Lookup, Names, Source, inside_range, protocol_name};
use crate::api::params::{self, NoParams, Strict};
use crate::api::walk::{self, Place};

/// Rows of one source, at most.
const OF_SOURCE_MAX: usize = 100;

/// What is looked up: a public end, or an inside address.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "kebab-case")]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct LookupParams {
    /// The public address; with `port`.
    #[param(format = "ip")]
    address: Option<String>,
    /// The inside address, instead of `address`.
    #[param(format = "ip")]
    inside: Option<String>,
    /// Port or ICMP id, of the address that is given; 0 for protocols without ports.
    #[param(value_type = Option<u16>)]
    port: Option<String>,
    /// IP protocol: a name (tcp, udp, icmp, ...) or a number; any when absent.
    protocol: Option<String>,
}

/// Everything a look-up goes by.
struct Books<'a> {
    backend: &'a dyn Backend,
    names: &'a Names,
    program: &'a Program,
    protocol: Option<u8>,
    port: Option<u16>,
    found: Vec<Holder>,
    more: bool,
}

impl Books<'_> {
    fn add(&mut self, holder: Holder) {
        if !self.found.contains(&holder) {
            self.found.push(holder);
        }
    }

    /// A row of a source, of the whole public address and any protocol.
    fn row(&self, source: Source, set: ServiceSetId, inside: String, public: IpAddr) -> Holder {
        let pool = address::v4(address::from_ip(public)).and_then(|v4| self.program.public_space.find(v4));
        Holder {
            source,
            service_set: self.names.service_set(set),
            pool: self.names.pool(pool.map_or(NONE, |found| found.pool)),
            name: None,
            protocol: None,
            inside,
            inside_port: None,
            public_address: public,
            first_port: 0,
            last_port: u16::MAX,
        }
    }

    async fn rows(&mut self, ask: Ask, filter: Filter) -> Result<tandem_engine::view::Rows, ApiError> {
        let (rows, next) = walk::rows(self.backend, ask, filter, Place::default(), OF_SOURCE_MAX).await?;
        self.more |= next.is_some();
        Ok(rows)
    }

    /// What workers have: mappings, sessions that stand on none of these, port blocks.
    async fn live(&mut self, filter: Filter) -> Result<(), ApiError> {
        let of_protocol = Filter {
            protocol: self.protocol,
            ..filter
        };
        let mut mappings = self.rows(Ask::Mappings, of_protocol).await?.mappings;
        // The mapping of a whole address has neither protocol nor ports.
        let whole = Filter {
            protocol: Some(ANY_PROTOCOL),
            public_port: None,
            inside_port: None,
            ..filter
        };
        mappings.extend(self.rows(Ask::Mappings, whole).await?.mappings);
        for mapping in &mappings {
            self.mapping(mapping);
        }
        let sessions = self.rows(Ask::Sessions, of_protocol).await?.sessions;
        for session in &sessions {
            self.session(session, &mappings);
        }
        let blocks = Filter {
            inside_port: None,
            ..filter
        };
        for block in self.rows(Ask::Blocks, blocks).await?.blocks {
            let inside = self.names.subscriber(block.service_set, block.subscriber);
            let row = self.row(Source::PortBlock, block.service_set, inside, block.public);
            self.add(Holder {
                first_port: block.first_port,
                last_port: block.last_port,
                ..row
            });
        }
        Ok(())
    }

    fn mapping(&mut self, mapping: &MappingView) {
        let inside = mapping.inside.to_string();
        if mapping.protocol == ANY_PROTOCOL {
            let row = self.row(Source::WholeAddress, mapping.service_set, inside, mapping.public);
            return self.add(row);
        }
        let row = self.row(Source::LiveMapping, mapping.service_set, inside, mapping.public);
        self.add(Holder {
            protocol: Some(protocol_name(mapping.protocol)),
            inside_port: Some(mapping.inside_port),
            first_port: mapping.public_port,
            last_port: mapping.public_port,
            ..row
        });
    }

    /// A session tells something only when no mapping told it.
    fn session(&mut self, session: &SessionView, mappings: &[MappingView]) {
        let end = (session.protocol, session.inside_port, session.public_port);
        let told = |m: &MappingView| {
            (m.service_set, m.inside, m.public) == (session.service_set, session.inside, session.public)
                && (m.protocol == ANY_PROTOCOL || (m.protocol, m.inside_port, m.public_port) == end)
        };
        if self.names.translation(session) == "none" || mappings.iter().any(told) {
            return;
        }
        let inside = session.inside.to_string();
        let row = self.row(Source::LiveSession, session.service_set, inside, session.public);
        self.add(Holder {
            protocol: Some(protocol_name(session.protocol)),
            inside_port: Some(session.inside_port),
            first_port: session.public_port,
            last_port: session.public_port,
            ..row
        });
    }

    /// A static mapping, as far as it covers an end: the row says the port beside it, or the whole of it.
    fn of_static(
        &mut self,
        mapping: &StaticMapping,
        inside: u128,
        public: u32,
        inside_port: Option<u16>,
        ports: (u16, u16),
    ) {
        let row = self.row(
            Source::Static,
            mapping.service_set,
            address::show(inside).to_string(),
            Ipv4Addr::from_bits(public).into(),
        );
        self.add(Holder {
            name: Some(mapping.name.clone()),
            protocol: (mapping.protocol != 0).then(|| protocol_name(mapping.protocol)),
            inside_port,
            first_port: ports.0,
            last_port: ports.1,
            ..row
        });
    }

    /// Service sets that translate to a pool.
    fn users(&self, pool: &Pool) -> Vec<ServiceSetId> {
        let uses = |set: &&tandem_engine::program::ServiceSet| {
            set.terms.iter().any(|term| term.action.pool() == Some(pool.id))
        };
        let sets = self.program.service_sets.iter().filter(uses);
        sets.map(|set| set.id).collect()
    }

    /// The ports that a pool's formula has for a subscriber.
    fn of_formula(&mut self, pool: &Pool, subscriber: u128) {
        let (Some(ports), PoolMode::Deterministic(formula)) = (pool.ports_of(subscriber), &pool.mode) else {
            return;
        };
        let host_bits = 128 - u32::from(formula.prefix.clamp(1, 128));
        let subscriber = subscriber >> host_bits << host_bits;
        for set in self.users(pool) {
            let inside = self.names.subscriber(set, address::show(subscriber));
            let public = Ipv4Addr::from_bits(ports.address).into();
            let row = self.row(Source::DeterministicFormula, set, inside, public);
            self.add(Holder {
                first_port: ports.first,
                last_port: ports.last,
                ..row
            });
        }
    }

    /// Translation without sessions, from `from` (public when `inward`) to the other side.
    fn stateless(&mut self, from: IpAddr, inward: bool) {
        let neutral = address::from_ip(from);
        for set in &self.program.service_sets {
            for rule in &set.stateless {
                let other = match (rule, address::v4(neutral)) {
                    (Stateless::Nptv6(pair), None) if inward => pair.to_inside(neutral).map(address::show),
                    (Stateless::Nptv6(pair), None) => pair.to_outside(neutral).map(address::show),
                    // A public IPv4 address is an inside host's by an explicit mapping only.
                    (Stateless::Siit(siit), Some(v4)) if inward && siit.maps_v4(v4) => {
                        siit.to_v6(v4).map(address::show)
                    }
                    (Stateless::Siit(siit), None) if !inward => {
                        let v4 = siit.to_v4(neutral).filter(|v4| siit.maps_v4(*v4));
                        v4.map(|v4| Ipv4Addr::from_bits(v4).into())
                    }
                    _ => None,
                };
                let Some(other) = other else { continue };
                let (inside, public) = if inward { (other, from) } else { (from, other) };
                let row = self.row(Source::StatelessFormula, set.id, inside.to_string(), public);
                self.add(row);
            }
        }
    }

    fn done(mut self) -> Lookup {
        self.found.sort_by_key(|row| row.source);
        Lookup {
            source: self.found.first().map_or(Source::Nobody, |row| row.source),
            rows: self.found,
            more: self.more,
        }
    }
}

/// Who has a public end.
async fn of_public(mut books: Books<'_>, public: IpAddr, port: u16) -> Result<Lookup, ApiError> {
    if let IpAddr::V4(v4) = public {
        let program = books.program;
        let protocols: Vec<u8> = books.protocol.map_or((0..=u8::MAX).collect(), |p| vec![p]);
        let mut seen = BTreeSet::new();
        for protocol in protocols {
            let found = program.statics.by_public(v4.to_bits(), protocol, port);
            let Some(found) = found.filter(|found| seen.insert(found.number)) else {
                continue;
            };
            books.of_static(
                found.mapping,
                found.address,
                v4.to_bits(),
                Some(found.port),
                (port, port),
            );
        }
        let pool = program.public_space.find(v4.to_bits()).map(|found| found.pool);
        let pool = program.pools.iter().find(|p| Some(p.id) == pool);
        if let Some((pool, subscriber)) = pool.and_then(|p| Some((p, p.subscriber_of(v4.to_bits(), port)?))) {
            books.of_formula(pool, subscriber);
        }
    }
    books.stateless(public, true);
    let filter = Filter {
        public: Some(public),
        public_port: Some(port),
        ..Filter::default()
    };
    books.live(filter).await?;
    Ok(books.done())
}

/// What an inside address has.
async fn of_inside(mut books: Books<'_>, inside: IpAddr) -> Result<Lookup, ApiError> {
    let (program, neutral, port, protocol) = (
        books.program,
        address::from_ip(inside),
        books.port,
        books.protocol,
    );
    for mapping in program.statics.iter() {
        let (first, last) = inside_range(mapping);
        let span = mapping.ports.saturating_sub(1);
        let (inside_first, inside_last) = (mapping.inside_port, mapping.inside_port.saturating_add(span));
        let covers_port =
            port.is_none_or(|p| mapping.ports == 0 || (inside_first..=inside_last).contains(&p));
        let covers_protocol = protocol.is_none_or(|p| mapping.protocol == 0 || mapping.protocol == p);
        if !(first <= neutral && neutral <= last && covers_port && covers_protocol) {
            continue;
        }
        if books.found.len() >= OF_SOURCE_MAX {
            books.more = true;
            break;
        }
        let ports = match (mapping.ports, port) {
            (0, None) => (0, u16::MAX),
            (0, Some(port)) => (port, port),
            (_, None) => (mapping.public_port, mapping.public_port.saturating_add(span)),
            (_, Some(port)) => {
                let public = mapping.public_port.saturating_add(port - inside_first);
                (public, public)
            }
        };
        let inside_port = port.or_else(|| (mapping.ports == 1).then_some(inside_first));
        // Both ends have as many addresses, or the public ones all lead to the one inside.
        let one = mapping.public.first.saturating_add((neutral - first) as u32);
        let publics = if mapping.to_one {
            mapping.public.first..=mapping.public.last
        } else {
            one..=one
        };
        books.more |= publics.clone().nth(OF_SOURCE_MAX).is_some();
        for public in publics.take(OF_SOURCE_MAX) {
            books.of_static(mapping, neutral, public, inside_port, ports);
        }
    }
    for pool in &program.pools {
        books.of_formula(pool, neutral);
    }
    books.stateless(inside, false);
    let filter = Filter {
        inside: Some(inside),
        inside_port: port,
        ..Filter::default()
    };
    books.live(filter).await?;
    let subscriber = Filter {
        inside: Some(inside),
        ..Filter::default()
    };
    for row in books.rows(Ask::Subscribers, subscriber).await?.subscribers {
        let Some(public) = row.public else { continue };
        let shown = books.names.subscriber(row.service_set, row.address);
        let pool = program.pools.iter().find(|p| p.id == row.pool);
        let ports = pool.map_or((0, u16::MAX), |p| (p.ports.first, p.ports.last));
        let holder = books.row(Source::PairedAddress, row.service_set, shown, public);
        books.add(Holder {
            first_port: ports.0,
            last_port: ports.1,
            ..holder
        });
    }
    Ok(books.done())
}

/// Who has a public address and port, or which public address and ports an inside address has.
///
/// Takes `address` and `port`, or `inside`. Every source that knows answers, the surest first.
#[utoipa::path(get, path = "/v1/lookup", tag = "tables", params(LookupParams),
    responses((status = 200, body = Lookup), Refusals))]
pub(in crate::api) async fn lookup(
    State(app): Shared,
    Strict(wanted, _): Strict<LookupParams, NoParams>,
) -> Answer<Lookup> {
    let public = params::address("address", wanted.address.as_deref())?;
    let inside = params::address("inside", wanted.inside.as_deref())?;
    let (names, program) = (app.backend.names(), app.backend.program());
    let books = Books {
        backend: &*app.backend,
        names: &names,
        program: &program,
        protocol: params::protocol(wanted.protocol.as_deref())?,
        port: params::port("port", wanted.port.as_deref())?,
        found: Vec::new(),
        more: false,
    };
    let answer = match (public, inside, books.port) {
        (Some(public), None, Some(port)) => of_public(books, public, port).await?,
        (None, Some(inside), _) => of_inside(books, inside).await?,
        (Some(_), None, None) => {
            return Err(ApiError::parameter(
                "port",
                "missing; an address alone may be many subscribers'",
            ));
        }
        (Some(_), Some(_), _) => {
            return Err(ApiError::parameter(
                "inside",
                "give address and port, or inside, not both",
            ));
        }
        (None, None, _) => {
            return Err(ApiError::parameter(
                "address",
                "missing; give address and port, or inside",
            ));
        }
    };
    Ok(Json(answer))
}
