//! Static mappings of the program, those of run time among them, and the pools that own their public addresses.

use std::collections::HashSet;

use tandem_engine::program::{
    self, AddressAllocation, AddressPooling, AddressRange, PoolMode, PortAllocation, PortRange, ServiceSetId,
};
use tandem_engine::statics::{MappingEnd, StaticConflict, StaticTable};
use tandem_engine::ticks::Ticks;

use super::Config;
use super::addresses::Addresses;
use super::compile::CompileError;
use super::numbers::{NUMBERED_MAX, Numbers};
use super::registry::NameRegistry;
use super::service_set::ServiceSet;
use super::static_conflicts::{PublicSide, beyond};
use super::static_mapping::{StaticFault, StaticMapping};
use super::translation::Action;

/// A static mapping that an operator set at run time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeStatic {
    /// Name of its service set.
    pub service_set: String,
    /// The mapping; its name is that of no other in the set.
    pub mapping: StaticMapping,
}

/// A mapping as the program has it.
pub(super) fn of_program(
    mapping: &StaticMapping,
    name: String,
    service_set: ServiceSetId,
    number: u16,
) -> program::StaticMapping {
    let (inside_port, public_port, ports) = match mapping.ports {
        Some(ports) => (
            ports.inside.first,
            ports.public.first,
            ports.public.last - ports.public.first + 1,
        ),
        None => (0, 0, 0),
    };
    program::StaticMapping {
        name,
        service_set,
        number,
        inside: match mapping.inside {
            Addresses::V6(range) => range.first,
            v4 => v4.neutral().0,
        },
        public: mapping.public,
        to_one: mapping.to_one(),
        protocol: mapping.protocol,
        inside_port,
        public_port,
        ports,
        inbound_only: mapping.inbound_only,
        destination: mapping.destination,
    }
}

/// All static mappings: of terms, of the service sets, of run time.
pub(super) fn statics(
    config: &Config,
    runtime: &[RuntimeStatic],
    registry: &mut NameRegistry,
    numbers: &mut Numbers,
) -> Result<StaticTable, CompileError> {
    let public = PublicSide::new(&config.pools, &config.interfaces);
    let mut all = Vec::new();
    let mut places: Vec<(usize, &RuntimeStatic)> = Vec::new();
    for set in &config.service_sets {
        let id = registry.service_sets.id(&set.name)?;
        let mut push = |mapping, name: String| {
            let number = numbers.number(id, &name);
            all.push(of_program(mapping, name, id, number));
            all.len()
        };
        let mut count = 0;
        for rule in &set.nat_rules {
            for term in &rule.terms {
                let Action::Static(mappings) = &term.action else {
                    count += 1;
                    continue;
                };
                for mapping in mappings {
                    push(mapping, format!("{}/{}", rule.name, term.name));
                    count += 1;
                }
            }
        }
        let mut names: HashSet<&str> = HashSet::new();
        for mapping in &set.static_mappings {
            names.insert(&mapping.name);
            push(mapping, mapping.name.clone());
            count += 1;
        }
        for one in runtime.iter().filter(|one| one.service_set == set.name) {
            if !names.insert(&one.mapping.name) {
                let problem = "the service set has a static mapping of this name";
                return Err(refused(one, "name", problem, "use another name"));
            }
            if count == NUMBERED_MAX {
                let problem = format!("the service set has {NUMBERED_MAX} terms and static mappings");
                return Err(refused(one, "name", problem, "remove some"));
            }
            fits(set, &public, one)?;
            let after = push(&one.mapping, one.mapping.name.clone());
            places.push((after - 1, one));
            count += 1;
        }
    }
    let unknown = |one: &&RuntimeStatic| !config.service_sets.iter().any(|set| set.name == one.service_set);
    if let Some(one) = runtime.iter().find(unknown) {
        let problem = "there is no such service set";
        return Err(refused(one, "service-set", problem, "name one of the file"));
    }
    let copy = all.clone();
    StaticTable::new(all).map_err(|conflict| contradicts(&copy, &places, conflict))
}

fn refused(
    one: &RuntimeStatic,
    key: &'static str,
    problem: impl Into<String>,
    remedy: impl Into<String>,
) -> CompileError {
    CompileError::RuntimeStatic {
        service_set: one.service_set.clone(),
        name: one.mapping.name.clone(),
        fault: StaticFault {
            key,
            problem: problem.into(),
            remedy: remedy.into(),
        },
    }
}

/// What the file's mappings were checked for when it was read.
fn fits(set: &ServiceSet, public: &PublicSide<'_>, one: &RuntimeStatic) -> Result<(), CompileError> {
    if let Err(found) = public.allows(&one.mapping) {
        return Err(refused(one, "public", found.problem, found.remedy));
    }
    if !set.stateless.is_empty() {
        let problem = "the service set translates without sessions";
        return Err(refused(one, "service-set", problem, "name another"));
    }
    if matches!(one.mapping.inside, Addresses::V6(_)) && set.ipv6.nat64_prefixes.is_empty() {
        let problem = "the inside is IPv6, and the service set has no NAT64 prefix";
        let remedy = "use an IPv4 address, or another service set";
        return Err(refused(one, "inside", problem, remedy));
    }
    Ok(())
}

/// The file's mappings do not contradict each other, so one of the two is of run time. Names may repeat between service
/// sets, so the table is asked once more with places instead.
fn contradicts(
    all: &[program::StaticMapping],
    of_runtime: &[(usize, &RuntimeStatic)],
    conflict: StaticConflict,
) -> CompileError {
    let placed = all.iter().enumerate().map(|(at, one)| program::StaticMapping {
        name: at.to_string(),
        ..one.clone()
    });
    let places = StaticTable::new(placed.collect())
        .err()
        .map(|again| (again.first, again.second));
    let place = |name: &String| name.parse::<usize>().ok();
    let places = places.and_then(|(first, second)| Some((place(&first)?, place(&second)?)));
    let (first, second) = places.unwrap_or_default();
    let at = |at: usize| {
        of_runtime
            .iter()
            .find(|(place, _)| *place == at)
            .map(|(_, one)| *one)
    };
    let (one, other) = match at(first.max(second)) {
        Some(one) => (Some(one), first.min(second)),
        None => (at(first.min(second)), first.max(second)),
    };
    let key = match conflict.end {
        MappingEnd::Public => "public",
        MappingEnd::Inside => "inside",
    };
    let other = all.get(other).map_or(conflict.first, |other| other.name.clone());
    CompileError::RuntimeStatic {
        service_set: one.map_or_else(String::new, |one| one.service_set.clone()),
        name: one.map_or(conflict.second, |one| one.mapping.name.clone()),
        fault: StaticFault {
            key,
            problem: format!("\"{other}\" maps {} already", conflict.address),
            remedy: "use another address or other ports, or remove that one".into(),
        },
    }
}

/// Pools of the public addresses that no other pool has. An interface's own addresses make one for themselves, because
/// what nobody maps there goes to the kernel. An address belongs to the first service set that maps it.
pub(super) fn pools(
    config: &Config,
    statics: &StaticTable,
    registry: &mut NameRegistry,
) -> Result<Vec<program::Pool>, CompileError> {
    let mut taken: Vec<AddressRange> = config
        .pools
        .iter()
        .flat_map(|pool| &pool.addresses)
        .copied()
        .collect();
    let hosts: Vec<AddressRange> = config
        .interfaces
        .iter()
        .flat_map(|interface| &interface.addresses)
        .filter_map(super::InterfaceAddress::host)
        .collect();
    let mut pools = Vec::new();
    for set in &config.service_sets {
        let id = registry.service_sets.id(&set.name)?;
        let wanted = statics
            .iter()
            .filter(|one| one.service_set == id)
            .map(|one| one.public);
        let new = beyond(wanted.collect(), &taken);
        let apart = beyond(new.clone(), &hosts);
        let on_interfaces = beyond(new.clone(), &apart);
        taken.extend(new);
        for (prefix, addresses, interface_address) in [
            ("static", apart, false),
            ("static-interface", on_interfaces, true),
        ] {
            if !addresses.is_empty() {
                let name = format!("{prefix}:{}", set.name);
                let id = registry.pools.id(&name)?;
                pools.push(static_pool(id, name, addresses, interface_address));
            }
        }
    }
    Ok(pools)
}

fn static_pool(
    id: program::PoolId,
    name: String,
    addresses: Vec<AddressRange>,
    interface_address: bool,
) -> program::Pool {
    program::Pool {
        id,
        name,
        addresses,
        // None to give out; of an interface's own address what is not mapped goes to the kernel.
        ports: PortRange { first: 0, last: 0 },
        address_allocation: AddressAllocation::RoundRobin,
        address_pooling: AddressPooling::Paired,
        port_allocation: PortAllocation::Sequential,
        preserve_range: false,
        preserve_parity: false,
        preserve_contiguity: false,
        port_blocks: None,
        quarantine: Ticks::from_seconds(0),
        drain: false,
        interface_address,
        mode: PoolMode::Static,
    }
}
