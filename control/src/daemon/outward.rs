//! From the configuration to what redundancy sets have outside the dataplane: virtual addresses on taps, signal routes, tracking
//! files, and what the guard says to the peer when this process is gone.

use ha_sync::heartbeat::{HeartbeatConfig, gone_datagram};
use ha_sync::net::Bind;

use crate::config::{Config, Interface, RouteTable, RouteTarget, RouteWhen, SignalRoute as Configured};
use crate::guard::Gone;
use crate::kernel::{SignalRoute, SignalTable, SignalTarget, VirtualAddress};
use crate::srd::{PlannedAddress, PlannedPort, PlannedRoute, Presence, SetPlan, When};

/// What each set has. `ifindex`: the kernel's number of an interface's tap; an interface that is not there yet has none of its
/// addresses.
pub(super) fn plans(config: &Config, ifindex: impl Fn(&Interface) -> Option<u32>) -> Vec<SetPlan> {
    let redundancy = &config.redundancy;
    let address = |virtual_address: &crate::config::VirtualAddress| {
        let mut interfaces = config.interfaces.iter();
        let interface = interfaces.find(|one| one.name == virtual_address.interface)?;
        Some(PlannedAddress {
            device: interface.tap.clone(),
            address: VirtualAddress {
                ifindex: ifindex(interface)?,
                address: virtual_address.address.address,
                length: virtual_address.address.prefix_length,
            },
        })
    };
    let plan = |set: &crate::config::RedundancySet| SetPlan {
        set: set.id,
        addresses: set.virtual_addresses.iter().filter_map(address).collect(),
        routes: redundancy
            .policies_of(set)
            .flat_map(|policy| {
                policy
                    .signal_routes
                    .iter()
                    .map(|route| planned(&policy.name, route))
            })
            .collect(),
        ports: ports(set, config, &ifindex),
        announcements: set.gratuitous_count,
        // The guard has another working directory. Where this one cannot be known the path is as good as it was.
        track_file: set
            .track_file
            .as_ref()
            .map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone())),
    };
    redundancy.sets.iter().map(plan).collect()
}

/// The set's ports that show as down while it is not primary.
fn ports(
    set: &crate::config::RedundancySet,
    config: &Config,
    ifindex: impl Fn(&Interface) -> Option<u32>,
) -> Vec<PlannedPort> {
    if !set.standby_ports_down {
        return Vec::new();
    }
    let names = set.interfaces(&config.service_sets);
    let of_set = config
        .interfaces
        .iter()
        .filter(|one| names.contains(&one.name.as_str()));
    let port = |interface: &Interface| {
        Some(PlannedPort {
            interface: interface.name.clone(),
            ifindex: ifindex(interface)?,
        })
    };
    of_set.filter_map(port).collect()
}

fn planned(policy: &str, route: &Configured) -> PlannedRoute {
    PlannedRoute {
        route: SignalRoute {
            prefix: route.prefix,
            table: match &route.table {
                RouteTable::Number(number) => SignalTable::Number(*number),
                RouteTable::Vrf(name) => SignalTable::Vrf(name.clone()),
            },
            target: match route.target {
                RouteTarget::NextHop(gateway) => SignalTarget::NextHop {
                    gateway: Some(gateway),
                    device: None,
                },
                RouteTarget::Discard => SignalTarget::Discard,
                RouteTarget::Receive => SignalTarget::Receive,
            },
            metric: route.metric,
        },
        when: match route.when {
            RouteWhen::Primary => Presence::While(When::Primary),
            RouteWhen::Standby => Presence::While(When::Standby),
            RouteWhen::Event => Presence::While(When::Event(policy.to_owned())),
            RouteWhen::NoEvent => Presence::NoEvent(policy.to_owned()),
        },
    }
}

/// What the guard says on each path when this process is gone.
pub(super) fn last_words(heartbeats: &HeartbeatConfig) -> Vec<Gone> {
    let paths = heartbeats.paths.iter();
    let gone = paths.map(|path| Gone {
        local: path.local,
        peer: path.peer,
        port: path.port,
        device: match &path.bind {
            Bind::Interface(name) | Bind::Vrf(name) => Some(name.clone()),
            Bind::None | Bind::Namespace(_) => None,
        },
        namespace: match &path.bind {
            Bind::Namespace(name) => Some(name.clone()),
            Bind::None | Bind::Interface(_) | Bind::Vrf(_) => None,
        },
        octets: gone_datagram(&heartbeats.codec, path.id, heartbeats.incarnation),
    });
    gone.collect()
}
