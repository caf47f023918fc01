//! `tandem lookup` and `tandem static-mapping`: a question with one answer, and what is set at run time.

use std::io::Write;
use std::net::SocketAddr;

use super::args::{Lookup, StaticMapping, given};
use super::client::{CallError, Client};
use super::fetch::{Printer, pages};
use super::{Exit, Failure, row_tables};
use crate::api::model::{self, Committed, NewStaticMapping};

const STATIC_MAPPINGS: &str = "/v1/static-mappings";

/// Answers a look-up.
pub fn lookup(
    client: &Client,
    wanted: &Lookup,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<Exit, Failure> {
    let mut query = given(&[
        ("inside", &wanted.inside),
        ("port", &wanted.port),
        ("protocol", &wanted.protocol),
    ]);
    if let Some(public) = &wanted.public {
        let end: SocketAddr = public.parse().map_err(|_| {
            CallError::Usage(format!("{public:?} is not ADDRESS:PORT, of IPv6 [ADDRESS]:PORT"))
        })?;
        query.push(("address", end.ip().to_string()));
        query.push(("port", end.port().to_string()));
    }
    let answer: model::Lookup = client.get("/v1/lookup", &query)?;
    let mut to = Printer {
        json: wanted.json,
        out,
        err,
    };
    to.print(&answer, |answer| vec![row_tables::holders(&answer.rows)])?;
    if answer.more && !wanted.json {
        writeln!(to.err, "There are more than are shown.")?;
    }
    if !answer.rows.is_empty() {
        return Ok(Exit::Ok);
    }
    if !wanted.json {
        writeln!(to.out, "{}", answer.source.as_str())?;
    }
    Ok(Exit::Refused)
}

/// Lists, sets or takes away static mappings.
pub fn static_mapping(
    client: &Client,
    what: &StaticMapping,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<Exit, Failure> {
    match what {
        StaticMapping::List {
            service_set,
            origin,
            limit,
            json,
        } => {
            let query = given(&[("service-set", service_set), ("origin", origin)]);
            let page = pages::<model::StaticMapping>(client, STATIC_MAPPINGS, query, *limit)?;
            let mut to = Printer {
                json: *json,
                out,
                err,
            };
            to.page(&page, row_tables::static_mappings)?;
        }
        StaticMapping::Add {
            service_set,
            name,
            inside,
            public,
            protocol,
            public_ports,
            inside_ports,
            inbound_only,
        } => {
            let new = NewStaticMapping {
                service_set: service_set.clone(),
                name: name.clone(),
                inside: inside.clone(),
                public: public.clone(),
                protocol: protocol.clone(),
                inside_ports: inside_ports.clone(),
                public_ports: public_ports.clone(),
                inbound_only: *inbound_only,
            };
            let done: Committed = client.post_json(STATIC_MAPPINGS, &new)?;
            say("set", &done, out)?;
        }
        StaticMapping::Remove { service_set, name } => {
            let query = [("service-set", service_set.clone()), ("name", name.clone())];
            let done: Committed = client.delete(STATIC_MAPPINGS, &query)?;
            say("removed", &done, out)?;
        }
    }
    Ok(Exit::Ok)
}

fn say(what: &str, done: &Committed, out: &mut dyn Write) -> std::io::Result<()> {
    let note = if done.kept {
        ""
    } else {
        "; not kept: it ends with the daemon"
    };
    writeln!(out, "{what}, generation {}{note}", done.generation)
}
