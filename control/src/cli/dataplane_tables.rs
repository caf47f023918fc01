//! Tables of what packets go through: interfaces, workers, routes, neighbours, pools.

use super::table::{Table, or_dash, percent, time};
use crate::api::model::{Interface, LinkState, Neighbour, NextHop, Pool, Route, Use, Worker};

/// Interfaces: what they are, then what their ports have received and sent.
pub fn interfaces(rows: &[Interface]) -> Vec<Table> {
    let mut what = Table::new(&[
        "INTERFACE",
        "STATE",
        "DRIVER",
        "MAC",
        ">MTU",
        ">VLAN",
        "TAP",
        "DEVICE",
    ]);
    let mut received = Table::new(&[
        "INTERFACE",
        ">RX packets",
        ">RX bytes",
        ">ERRORS",
        ">MISSED",
        ">NO BUFFER",
    ]);
    let mut sent = Table::new(&["INTERFACE", ">TX packets", ">TX bytes", ">ERRORS"]);
    for i in rows {
        let state = match (i.state, i.down_reason) {
            (LinkState::Up, _) => "up".to_owned(),
            (LinkState::Down, None) => "down".to_owned(),
            (LinkState::Down, Some(reason)) => format!("down ({})", reason.as_str()),
        };
        what.row(vec![
            i.name.clone(),
            state,
            i.driver.clone(),
            i.mac.to_string(),
            i.mtu.to_string(),
            or_dash(&i.vlan),
            i.tap.clone(),
            i.device.clone(),
        ]);
        // Below the sum its parts.
        let members = i.redundant.iter().flat_map(|both| &both.members);
        let members = members.map(|member| (format!("{}: {}", i.name, member.name), &member.counters));
        for (name, c) in std::iter::once((i.name.clone(), &i.counters)).chain(members) {
            let rx = [c.rx_packets, c.rx_bytes, c.rx_errors, c.rx_missed, c.rx_no_buffer];
            let tx = [c.tx_packets, c.tx_bytes, c.tx_errors];
            let row = |values: &[u64]| {
                let values = values.iter().map(u64::to_string);
                std::iter::once(name.clone()).chain(values).collect()
            };
            received.row(row(&rx));
            sent.row(row(&tx));
        }
    }
    let mut tables = vec![what, received, sent];
    if rows.iter().any(|i| i.redundant.is_some()) {
        tables.push(members(rows));
    }
    tables
}

/// Members of redundant interfaces, and what became of them last.
fn members(rows: &[Interface]) -> Table {
    let mut table = Table::new(&["INTERFACE", "MEMBER", "STATE", ">SWITCHED TO", "SINCE", "CAUSE"]);
    let redundant = rows.iter().filter_map(|i| Some((i, i.redundant.as_ref()?)));
    for (interface, both) in redundant {
        for member in &both.members {
            let is = |name: &str| name == member.name;
            let link = match (member.up, &member.failed) {
                (false, _) => "down".to_owned(),
                (true, Some(why)) => format!("failed ({why})"),
                (true, None) => "up".to_owned(),
            };
            let words = [
                (is(&both.active), "active"),
                (is(&both.primary), "primary"),
                (both.forced.as_deref().is_some_and(is), "forced"),
            ];
            let mut state = vec![link];
            let waits = both.waits.as_ref().filter(|waits| is(&waits.member));
            state.extend(waits.map(ToString::to_string));
            state.extend(
                words
                    .into_iter()
                    .filter(|(so, _)| *so)
                    .map(|(_, word)| word.to_owned()),
            );
            let last = both.switches.first().filter(|last| is(&last.to));
            table.row(vec![
                interface.name.clone(),
                member.name.clone(),
                state.join(", "),
                if is(&both.primary) {
                    both.take_backs
                } else {
                    both.failovers
                }
                .to_string(),
                last.map_or_else(|| "-".to_owned(), |last| time(last.at_unix_s)),
                last.map_or_else(|| "-".to_owned(), |last| last.cause.clone()),
            ]);
        }
    }
    table
}

fn used_of(n: Use) -> String {
    format!("{}/{}", n.used, n.total)
}

/// Workers: their load, then their tables.
pub fn workers(rows: &[Worker]) -> Vec<Table> {
    let mut load = Table::new(&[
        ">WORKER",
        ">CORE",
        "STATE",
        ">HEARTBEAT ms",
        ">BUSY %",
        ">RX packets",
        ">TX packets",
        ">HANDED OVER",
        ">DROPPED",
    ]);
    let mut tables = Table::new(&[
        ">WORKER",
        ">SESSIONS",
        ">MAPPINGS",
        ">SUBSCRIBERS",
        ">BLOCKS",
        ">CREATED sessions",
    ]);
    for w in rows {
        load.row(vec![
            w.id.to_string(),
            or_dash(&w.core),
            if w.stalled { "STALLED" } else { "running" }.to_owned(),
            w.heartbeat_age_ms.to_string(),
            format!("{:.1}", w.busy_percent),
            w.rx_packets.to_string(),
            w.tx_packets.to_string(),
            w.handed_over_packets.to_string(),
            w.dropped_packets.to_string(),
        ]);
        tables.row(vec![
            w.id.to_string(),
            used_of(w.sessions),
            used_of(w.mappings),
            used_of(w.subscribers),
            used_of(w.blocks),
            w.sessions_created.to_string(),
        ]);
    }
    vec![load, tables]
}

fn hop(hop: &NextHop) -> String {
    let mut text = match hop.gateway {
        Some(gateway) => format!("{gateway} {}", hop.interface),
        None => hop.interface.clone(),
    };
    if hop.weight != 1 {
        text.push_str(&format!(" weight {}", hop.weight));
    }
    if !hop.usable {
        text.push_str(" (down)");
    }
    text
}

/// Routes.
pub fn routes(rows: &[Route]) -> Table {
    let mut table = Table::new(&["PREFIX", "ACTION", "NEXT HOPS"]);
    for route in rows {
        let hops: Vec<String> = route.next_hops.iter().map(hop).collect();
        table.row(vec![
            route.prefix.to_string(),
            route.action.as_str().to_owned(),
            hops.join(", "),
        ]);
    }
    table
}

/// Neighbours.
pub fn neighbours(rows: &[Neighbour]) -> Table {
    let mut table = Table::new(&["ADDRESS", "INTERFACE", "STATE", "MAC"]);
    for n in rows {
        table.row(vec![
            n.address.to_string(),
            n.interface.clone(),
            n.state.as_str().to_owned(),
            or_dash(&n.mac),
        ]);
    }
    table
}

/// Pools: what they are, then how full.
pub fn pools(rows: &[Pool]) -> Vec<Table> {
    let mut what = Table::new(&[
        "POOL",
        "MODE",
        "STATE",
        ">ADDRESSES",
        "PORTS",
        ">BLOCK SIZE",
        ">SUBSCRIBERS",
        ">REFUSED",
        "SERVICE SETS",
    ]);
    let mut full = Table::new(&[
        "POOL",
        ">TCP used",
        ">%",
        ">UDP used",
        ">%",
        ">ICMP used",
        ">%",
        ">BLOCKS",
        ">EXTENTS",
    ]);
    for pool in rows {
        what.row(vec![
            pool.name.clone(),
            pool.mode.clone(),
            if pool.drain { "draining" } else { "active" }.to_owned(),
            match pool.mode.as_str() {
                "addresses" => format!("{}/{}", pool.addresses_used, pool.addresses),
                _ => pool.addresses.to_string(),
            },
            format!("{}-{}", pool.first_port, pool.last_port),
            or_dash(&pool.block_size),
            pool.subscribers.to_string(),
            pool.refused.to_string(),
            pool.service_sets.join(", "),
        ]);
        let mut cells = vec![pool.name.clone()];
        for ports in [pool.tcp_ports, pool.udp_ports, pool.icmp_ids] {
            cells.push(ports.used.to_string());
            cells.push(percent(ports.used, ports.total));
        }
        cells.push(if pool.block_size.is_some() {
            used_of(pool.blocks)
        } else {
            "-".to_owned()
        });
        cells.push(used_of(pool.extents));
        full.row(cells);
    }
    vec![what, full]
}
