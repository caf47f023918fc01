//! From a validated configuration to the program that the workers run.
//!
//! Names become ids here (see [`NameRegistry`]); static mappings that an operator sets at run time join those of the file.

use std::sync::Arc;

use tandem_engine::program::policy::{ClassifierBuilder, ReferenceBuilder};
use tandem_engine::program::{self, NONE, PoolMode, Program};
use tandem_engine::public_space::PublicSpace;
use tandem_engine::ticks::Ticks;

use super::compile_replication::replication;
use super::compile_service_set::{prefixes, service_set};
use super::compile_static::{self, RuntimeStatic};
use super::data_forwarding::data_link;
use super::numbers::Numbers;
use super::pool::Pool;
use super::pool_blocks::PortBlocks;
use super::registry::NameRegistry;
use super::service_set::ServiceSet;
use super::static_mapping::StaticFault;
use super::{Config, Interface};

/// A configuration that cannot become a program in this process.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Ids are not used twice, so a process sees only so many different names.
    #[error("no id is left for {kind} \"{name}\": this process has seen {limit} different names; restart it")]
    IdsUsedUp {
        /// What is named: `pool`, `interface`, `service set`, `policy` or `NAT64 prefix`.
        kind: &'static str,
        /// The name that found no id.
        name: String,
        /// How many ids there are.
        limit: u16,
    },
    /// Public addresses keep their index for the process' life, and there are only so many.
    #[error("this process has seen pool addresses in more than 4096 different /24 networks; restart it")]
    AddressesUsedUp,
    /// Workers own subscribers by the first bits of their addresses, from start to end.
    #[error(
        "workers choose IPv6 subscribers by {now} bits, and a subscriber prefix of {wanted} bits is shorter; restart to \
         choose anew"
    )]
    SteeringPrefix {
        /// Bits that choose the worker now.
        now: u8,
        /// The shortest subscriber prefix of the configuration.
        wanted: u8,
    },
    /// A classifier for the policies of a service set cannot be built.
    #[error("the {direction} policies of service set \"{service_set}\" cannot be compiled: {why}")]
    Classifier {
        /// The service set.
        service_set: String,
        /// `outbound` or `inbound`.
        direction: &'static str,
        /// In the builder's words.
        why: String,
    },
    /// A static mapping of run time does not fit the configuration.
    #[error("static mapping \"{name}\" of service set \"{service_set}\": {fault}")]
    RuntimeStatic {
        /// Its service set.
        service_set: String,
        /// Its name.
        name: String,
        /// Why.
        fault: StaticFault,
    },
}

/// What goes into a program beside the configuration.
#[derive(Clone, Copy)]
pub struct Extras<'a> {
    /// Makes the classifiers of firewall policies.
    pub classifiers: &'a dyn ClassifierBuilder,
    /// Static mappings that were set at run time.
    pub runtime_statics: &'a [RuntimeStatic],
}

impl Default for Extras<'_> {
    /// The plain classifier and no static mappings: for tests, and to check a file.
    fn default() -> Self {
        Self {
            classifiers: &ReferenceBuilder,
            runtime_statics: &[],
        }
    }
}

/// Compiles a configuration. `previous` is the program in force: the new one has the next generation and shares the state
/// of its public addresses. `registry` is the process' own and keeps ids stable.
///
/// # Errors
/// [`CompileError`]; `registry` and `previous` are still good then.
pub fn compile(
    config: &Config,
    registry: &mut NameRegistry,
    previous: Option<&Program>,
    extras: &Extras<'_>,
) -> Result<Program, CompileError> {
    let steering_prefix = steering_prefix(config, previous)?;
    let mut pools = config
        .pools
        .iter()
        .map(|one| pool(one, registry))
        .collect::<Result<Vec<_>, _>>()?;
    let mut numbers = Numbers::after(previous);
    let prefixes = prefixes(&config.service_sets, registry)?;
    let mut service_sets = config
        .service_sets
        .iter()
        .map(|set| service_set(set, registry, &mut numbers, extras.classifiers))
        .collect::<Result<Vec<_>, _>>()?;
    let interfaces = config
        .interfaces
        .iter()
        .map(|one| interface(one, &config.service_sets, registry))
        .collect::<Result<Vec<_>, _>>()?;
    let statics = compile_static::statics(config, extras.runtime_statics, registry, &mut numbers)?;
    for (set, compiled) in config.service_sets.iter().zip(&mut service_sets) {
        compiled.replication = replication(set, compiled, &statics);
    }
    pools.extend(compile_static::pools(config, &statics, registry)?);
    let public_space = PublicSpace::try_build(&pools, previous.map(|program| &*program.public_space))
        .map_err(|_| CompileError::AddressesUsedUp)?;
    Ok(Program {
        generation: previous.map_or(1, |program| program.generation.wrapping_add(1)),
        service_sets,
        pools,
        interfaces,
        statics: Arc::new(statics),
        prefixes,
        steering_prefix,
        public_space: Arc::new(public_space),
        fragment_timeout: Ticks::from_seconds(config.fragments.timeout_s),
        verify_ipv4_checksum: config.forwarding.verify_ipv4_checksum,
        data_link: data_link(config, registry)?,
    })
}

impl Config {
    /// Bits of an IPv6 inside address that every subscriber prefix has: the shortest of all service sets, at most 64.
    #[must_use]
    pub fn shortest_subscriber_prefix(&self) -> u8 {
        let prefixes = self.service_sets.iter().map(|set| set.ipv6.subscriber_prefix);
        prefixes.fold(64, u8::min)
    }
}

/// Subscribers keep their worker: fewer bits than needed choose it as well, more would split a subscriber.
fn steering_prefix(config: &Config, previous: Option<&Program>) -> Result<u8, CompileError> {
    let wanted = config.shortest_subscriber_prefix();
    match previous.map(|program| program.steering_prefix) {
        None => Ok(wanted),
        Some(now) if now <= wanted => Ok(now),
        Some(now) => Err(CompileError::SteeringPrefix { now, wanted }),
    }
}

fn interface(
    interface: &Interface,
    sets: &[ServiceSet],
    registry: &mut NameRegistry,
) -> Result<program::Interface, CompileError> {
    let id = registry.interfaces.id(&interface.name)?;
    let (mut inside_of, mut outside_of) = (NONE, Vec::new());
    for set in sets {
        if set.inside_interfaces.contains(&interface.name) {
            inside_of = registry.service_sets.id(&set.name)?;
        }
        if set.outside_interfaces.contains(&interface.name) {
            outside_of.push(registry.service_sets.id(&set.name)?);
        }
    }
    Ok(program::Interface {
        id,
        name: interface.name.clone(),
        inside_of,
        outside_of,
    })
}

fn pool(pool: &Pool, registry: &mut NameRegistry) -> Result<program::Pool, CompileError> {
    Ok(program::Pool {
        id: registry.pools.id(&pool.name)?,
        name: pool.name.clone(),
        addresses: pool.addresses.clone(),
        ports: pool.ports,
        address_allocation: pool.address_allocation,
        address_pooling: pool.address_pooling,
        port_allocation: pool.port_allocation,
        preserve_range: pool.preserve_range,
        preserve_parity: pool.preserve_parity,
        preserve_contiguity: pool.preserve_contiguity,
        port_blocks: pool.port_blocks.map(port_blocks),
        quarantine: Ticks::from_seconds(pool.quarantine_s),
        drain: pool.drain,
        interface_address: pool.interface.is_some(),
        mode: mode(pool),
    })
}

fn mode(pool: &Pool) -> PoolMode {
    match &pool.deterministic {
        Some(formula) => PoolMode::Deterministic(formula.clone()),
        None if pool.whole_addresses => PoolMode::Addresses,
        None if pool.port_overloading => PoolMode::OverloadedPorts,
        None => PoolMode::Ports,
    }
}

fn port_blocks(blocks: PortBlocks) -> program::PortBlocks {
    program::PortBlocks {
        block_size: blocks.block_size,
        max_blocks_per_subscriber: blocks.max_blocks_per_subscriber,
        active_block_timeout: Ticks::from_seconds(blocks.active_block_timeout_s),
        last_block_recycle_timeout: Ticks::from_seconds(blocks.last_block_recycle_timeout_s),
        interim_logging_interval: Ticks::from_seconds(blocks.interim_logging_interval_s),
    }
}
