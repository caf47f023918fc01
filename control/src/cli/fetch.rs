//! `tandem show`: what each word asks of the API, and in which form the answer is printed.

use std::io::{self, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::args::{Limit, Pairs, Show, What, given};
use super::client::{CallError, Client};
use super::table::Table;
use super::{Exit, Failure, cluster, dataplane_tables, redundancy, row_tables, system_tables};
use crate::api::model::{
    Block, ConfigSummary, Counter, Health, HealthStatus, Interface, List, Mapping, Neighbour, Page, Policy,
    Pool, Route, Session, Subscriber, SubscriberDetail, Version, Worker,
};
use crate::api::params::LIMIT_MAX;

/// Where an answer goes, and as what.
pub(super) struct Printer<'a> {
    pub json: bool,
    pub out: &'a mut dyn Write,
    pub err: &'a mut dyn Write,
}

impl Printer<'_> {
    /// Prints `answer` as JSON, or the tables made of it with a blank line between them.
    pub fn print<T: Serialize>(
        &mut self,
        answer: &T,
        tables: impl FnOnce(&T) -> Vec<Table>,
    ) -> io::Result<()> {
        if self.json {
            serde_json::to_writer_pretty(&mut *self.out, answer)?;
            return writeln!(self.out);
        }
        for (at, table) in tables(answer).iter().filter(|t| !t.is_empty()).enumerate() {
            if at > 0 {
                writeln!(self.out)?;
            }
            table.write(self.out)?;
        }
        Ok(())
    }

    /// Prints a page; says on standard error that there would be more.
    pub fn page<T: Serialize>(
        &mut self,
        page: &Page<T>,
        table: impl FnOnce(&[T]) -> Table,
    ) -> io::Result<()> {
        self.print(page, |page| vec![table(&page.rows)])?;
        if page.next.is_some() && !self.json {
            writeln!(
                self.err,
                "There are more rows: raise --limit, or --limit 0 for all."
            )?;
        }
        Ok(())
    }
}

/// Pages until `limit` rows are there or no page follows.
pub(super) fn pages<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    filter: Pairs,
    limit: Limit,
) -> Result<Page<T>, CallError> {
    let wanted = if limit.limit == 0 { usize::MAX } else { limit.limit };
    let mut all = Page {
        rows: Vec::new(),
        next: None,
        count: None,
    };
    loop {
        let mut query = filter.clone();
        query.push((
            "limit",
            wanted.saturating_sub(all.rows.len()).min(LIMIT_MAX).to_string(),
        ));
        query.extend(all.next.take().map(|next| ("page", next)));
        let page: Page<T> = client.get(path, &query)?;
        all.rows.extend(page.rows);
        all.next = page.next;
        all.count = page.count;
        if all.next.is_none() || all.rows.len() >= wanted {
            return Ok(all);
        }
    }
}

/// Answers one `show`.
pub fn show(client: &Client, show: &Show, out: &mut dyn Write, err: &mut dyn Write) -> Result<Exit, Failure> {
    let mut to = Printer {
        json: show.json,
        out,
        err,
    };
    match &show.what {
        What::Health => {
            let health: Health = client.get_health("/v1/health")?;
            to.print(&health, system_tables::health)?;
            return Ok(if health.status == HealthStatus::Ok {
                Exit::Ok
            } else {
                Exit::Refused
            });
        }
        What::Version => to.print(
            &client.get::<Version>("/v1/version", &[])?,
            system_tables::version,
        )?,
        What::Config => to.print(
            &client.get::<ConfigSummary>("/v1/config", &[])?,
            system_tables::config,
        )?,
        What::Configuration(view) => return cluster::show(client, *view, &mut to),
        What::Interfaces => {
            to.print(&client.get::<List<Interface>>("/v1/interfaces", &[])?, |list| {
                dataplane_tables::interfaces(&list.rows)
            })?;
        }
        What::Workers => {
            to.print(&client.get::<List<Worker>>("/v1/workers", &[])?, |list| {
                dataplane_tables::workers(&list.rows)
            })?;
        }
        What::Neighbours => {
            let list = client.get::<List<Neighbour>>("/v1/neighbours", &[])?;
            to.print(&list, |list| vec![dataplane_tables::neighbours(&list.rows)])?;
        }
        What::Pools => to.print(&client.get::<List<Pool>>("/v1/pools", &[])?, |list| {
            dataplane_tables::pools(&list.rows)
        })?,
        What::Counters { all } => {
            let list = client.get::<List<Counter>>("/v1/counters", &[])?;
            to.print(&list, |list| vec![system_tables::counters(&list.rows, *all)])?;
        }
        What::Replication { view } => return redundancy::replication(client, view.as_ref(), &mut to),
        What::Redundancy { view } => redundancy::redundancy(client, view.as_ref(), &mut to)?,
        What::Drops { all } => drops(client, *all, &mut to)?,
        listed => rows(client, listed, &mut to)?,
    }
    Ok(Exit::Ok)
}

fn drops(client: &Client, all: bool, to: &mut Printer<'_>) -> Result<(), Failure> {
    let list = client.get::<List<Counter>>("/v1/drops", &[])?;
    to.print(&list, |list| vec![system_tables::drops(&list.rows, all)])?;
    if !to.json && !all && list.rows.iter().all(|c| c.total == 0) {
        writeln!(to.out, "No packet was dropped.")?;
    }
    Ok(())
}

/// The long lists.
fn rows(client: &Client, what: &What, to: &mut Printer<'_>) -> Result<(), Failure> {
    match what {
        What::Routes {
            prefix,
            covers,
            interface,
            limit,
        } => {
            let filter = given(&[("prefix", prefix), ("covers", covers), ("interface", interface)]);
            to.page(
                &pages::<Route>(client, "/v1/routes", filter, *limit)?,
                dataplane_tables::routes,
            )?;
        }
        What::Sessions {
            filter, count: true, ..
        } => {
            let mut query = filter.pairs();
            query.push(("count", "true".to_owned()));
            let page: Page<Session> = client.get("/v1/sessions", &query)?;
            match page.count {
                Some(count) if !to.json => writeln!(to.out, "{count}")?,
                _ => to.print(&page, |_| Vec::new())?,
            }
        }
        What::Sessions {
            filter, limit, wide, ..
        } => {
            let page = pages::<Session>(client, "/v1/sessions", filter.pairs(), *limit)?;
            to.page(&page, |rows| row_tables::sessions(rows, *wide))?;
        }
        What::Mappings {
            protocol,
            inside_port,
            filter,
            limit,
        } => {
            let mut query = given(&[("protocol", protocol), ("inside-port", inside_port)]);
            query.extend(filter.pairs());
            to.page(
                &pages::<Mapping>(client, "/v1/mappings", query, *limit)?,
                row_tables::mappings,
            )?;
        }
        What::Blocks { filter, limit } => {
            to.page(
                &pages::<Block>(client, "/v1/blocks", filter.pairs(), *limit)?,
                row_tables::blocks,
            )?;
        }
        What::Policies {
            service_set,
            direction,
            limit,
        } => {
            let query = given(&[("service-set", service_set), ("direction", direction)]);
            to.page(
                &pages::<Policy>(client, "/v1/firewall/policies", query, *limit)?,
                row_tables::policies,
            )?;
        }
        What::Subscribers {
            inside_address,
            public_address,
            service_set,
            pool,
            limit,
        } => {
            let query = given(&[
                ("inside-address", inside_address),
                ("public-address", public_address),
                ("service-set", service_set),
                ("pool", pool),
            ]);
            to.page(
                &pages::<Subscriber>(client, "/v1/subscribers", query, *limit)?,
                row_tables::subscribers,
            )?;
        }
        What::Subscriber { address, limit } => subscriber(client, address, *limit, to)?,
        // The short lists are answered by `show` itself.
        _ => {}
    }
    Ok(())
}

fn subscriber(client: &Client, address: &str, limit: Limit, to: &mut Printer<'_>) -> Result<(), Failure> {
    let address: std::net::IpAddr = address
        .parse()
        .map_err(|_| CallError::Usage(format!("{address:?} is not an IPv4 or IPv6 address")))?;
    let limit = if limit.limit == 0 {
        LIMIT_MAX
    } else {
        limit.limit.min(LIMIT_MAX)
    };
    let query = [("limit", limit.to_string())];
    let detail: SubscriberDetail = client.get(&format!("/v1/subscribers/{address}"), &query)?;
    to.print(&detail, row_tables::subscriber)?;
    if detail.sessions.next.is_some() && !to.json {
        writeln!(
            to.err,
            "There are more sessions: tandem show sessions --inside-address {address}"
        )?;
    }
    Ok(())
}
