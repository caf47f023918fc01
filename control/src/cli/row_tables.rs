//! Tables of the workers' tables: sessions, mappings, blocks, subscribers.

use std::net::{IpAddr, SocketAddr};

use super::table::{Table, or_dash, yes_or_no};
use crate::api::model::{
    Block, Holder, Mapping, Policy, Session, StaticMapping, Subscriber, SubscriberDetail,
};

fn endpoint(address: IpAddr, port: u16) -> String {
    SocketAddr::new(address, port).to_string()
}

/// Sessions; `wide` adds what does not fit into 100 columns.
pub fn sessions(rows: &[Session], wide: bool) -> Table {
    let mut heads = vec![
        "PROTO",
        "STATE",
        "INSIDE",
        "PUBLIC",
        "OUTSIDE",
        ">OUT/IN pkts",
        ">IDLE s",
    ];
    if wide {
        heads.extend([
            "REMOTE",
            "TYPE",
            "POLICY",
            ">TIMEOUT s",
            ">AGE s",
            ">OUT/IN bytes",
            ">WORKER",
            ">TERM",
            "SERVICE SET",
            "POOL",
        ]);
    }
    let mut table = Table::new(&heads);
    for s in rows {
        let mut cells = vec![
            s.protocol.clone(),
            s.state.clone(),
            endpoint(s.inside_address, s.inside_port),
            endpoint(s.public_address, s.public_port),
            endpoint(s.outside_address, s.outside_port),
            format!("{}/{}", s.packets_out, s.packets_in),
            s.idle_s.to_string(),
        ];
        if wide {
            cells.extend([
                s.remote_address.to_string(),
                s.translation_type.clone(),
                or_dash(&s.policy),
                s.timeout_s.to_string(),
                s.age_s.to_string(),
                format!("{}/{}", s.bytes_out, s.bytes_in),
                s.worker.to_string(),
                s.term.to_string(),
                or_dash(&s.service_set),
                or_dash(&s.pool),
            ]);
        }
        table.row(cells);
    }
    table
}

/// Mappings.
pub fn mappings(rows: &[Mapping]) -> Table {
    let mut table = Table::new(&[
        "PROTO",
        "INSIDE",
        "PUBLIC",
        ">SESSIONS",
        ">WORKER",
        "SERVICE SET",
        "POOL",
    ]);
    for m in rows {
        table.row(vec![
            m.protocol.clone(),
            endpoint(m.inside_address, m.inside_port),
            endpoint(m.public_address, m.public_port),
            m.sessions.to_string(),
            m.worker.to_string(),
            or_dash(&m.service_set),
            or_dash(&m.pool),
        ]);
    }
    table
}

/// Port blocks.
pub fn blocks(rows: &[Block]) -> Table {
    let heads = [
        "SUBSCRIBER",
        "PUBLIC",
        "PORTS",
        ">USED ports",
        "ACTIVE",
        ">AGE s",
        ">WORKER",
        "SERVICE SET",
        "POOL",
    ];
    let mut table = Table::new(&heads);
    for b in rows {
        table.row(vec![
            b.inside_address.clone(),
            b.public_address.to_string(),
            format!("{}-{}", b.first_port, b.last_port),
            b.used_ports.to_string(),
            yes_or_no(b.active),
            b.age_s.to_string(),
            b.worker.to_string(),
            or_dash(&b.service_set),
            or_dash(&b.pool),
        ]);
    }
    table
}

/// Subscribers.
pub fn subscribers(rows: &[Subscriber]) -> Table {
    let heads = [
        "SUBSCRIBER",
        "PUBLIC",
        ">SESSIONS",
        ">PORTS tcp/udp/icmp",
        ">BLOCKS",
        ">REFUSED",
        "SERVICE SET",
        "POOL",
    ];
    let mut table = Table::new(&heads);
    for s in rows {
        table.row(vec![
            s.inside_address.clone(),
            or_dash(&s.public_address),
            s.sessions.to_string(),
            format!("{}/{}/{}", s.tcp_ports, s.udp_ports, s.icmp_ids),
            s.blocks.to_string(),
            s.refused.to_string(),
            or_dash(&s.service_set),
            or_dash(&s.pool),
        ]);
    }
    table
}

/// Firewall policies; the default of a direction stands where no policy is named.
pub fn policies(rows: &[Policy]) -> Table {
    let heads = [
        "SERVICE SET",
        "DIRECTION",
        ">NO",
        "ACTION",
        "LOG",
        ">HITS",
        "POLICY",
    ];
    let mut table = Table::new(&heads);
    for p in rows {
        table.row(vec![
            p.service_set.clone(),
            p.direction.clone(),
            p.position.to_string(),
            p.action.clone(),
            yes_or_no(p.log),
            p.hits.to_string(),
            p.policy.clone().unwrap_or_else(|| "(default)".to_owned()),
        ]);
    }
    table
}

/// Addresses and, where a mapping has them, ports.
fn side(addresses: &str, ports: &Option<String>) -> String {
    match ports {
        Some(ports) if addresses.contains(':') => format!("[{addresses}]:{ports}"),
        Some(ports) => format!("{addresses}:{ports}"),
        None => addresses.to_owned(),
    }
}

/// Static mappings.
pub fn static_mappings(rows: &[StaticMapping]) -> Table {
    let heads = [
        "NAME",
        "INSIDE",
        "PUBLIC",
        "PROTO",
        "ORIGIN",
        "TYPE",
        "SERVICE SET",
    ];
    let mut table = Table::new(&heads);
    for m in rows {
        table.row(vec![
            m.name.clone(),
            side(&m.inside, &m.inside_ports),
            side(&m.public, &m.public_ports),
            or_dash(&m.protocol),
            m.origin.clone(),
            m.translation_type.clone(),
            or_dash(&m.service_set),
        ]);
    }
    table
}

/// Who has an address.
pub fn holders(rows: &[Holder]) -> Table {
    let heads = [
        "SOURCE",
        "PROTO",
        "INSIDE",
        "PUBLIC",
        "PORTS",
        "SERVICE SET",
        "POOL",
        "NAME",
    ];
    let mut table = Table::new(&heads);
    for h in rows {
        let ports = match (h.first_port, h.last_port) {
            (0, u16::MAX) => "all".to_owned(),
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        };
        let inside = match (h.inside_port, h.inside.parse()) {
            (Some(port), Ok(address)) => endpoint(address, port),
            _ => h.inside.clone(),
        };
        table.row(vec![
            h.source.as_str().to_owned(),
            or_dash(&h.protocol),
            inside,
            h.public_address.to_string(),
            ports,
            or_dash(&h.service_set),
            or_dash(&h.pool),
            or_dash(&h.name),
        ]);
    }
    table
}

fn limit(value: u32) -> String {
    if value == 0 {
        "none".to_owned()
    } else {
        value.to_string()
    }
}

/// One subscriber: itself, its limits, its blocks, its sessions.
pub fn subscriber(detail: &SubscriberDetail) -> Vec<Table> {
    let heads = [
        "LIMITS IN",
        ">SESSIONS",
        ">SESSIONS/s",
        ">PORTS",
        ">TCP ports",
        ">UDP ports",
        ">ICMP ids",
    ];
    let mut limits = Table::new(&heads);
    for (set, l) in detail
        .subscribers
        .iter()
        .filter_map(|s| s.limits.map(|l| (&s.service_set, l)))
    {
        let values = [
            l.max_sessions,
            l.max_session_rate,
            l.max_ports,
            l.max_tcp_ports,
            l.max_udp_ports,
            l.max_icmp_ids,
        ];
        limits.row(
            std::iter::once(or_dash(set))
                .chain(values.into_iter().map(limit))
                .collect(),
        );
    }
    vec![
        subscribers(&detail.subscribers),
        limits,
        blocks(&detail.blocks),
        sessions(&detail.sessions.rows, false),
    ]
}
