//! From a validated configuration to the program that the workers run.
//!
//! Names become ids here. An id belongs to its name for the process' life, also while a reload leaves the name out, because
//! sessions and ports refer to ids: a second pool must never be taken for a first one that went away.

use std::collections::HashMap;
use std::sync::Arc;

use tandem_engine::program::{self, InterfaceId, NONE, NatAction, NatTerm, PoolId, Program, ServiceSetId};
use tandem_engine::public_space::PublicSpace;
use tandem_engine::ticks::Ticks;

use super::nat_rule::Action;
use super::pool::{Pool, PortBlocks};
use super::service_set::ServiceSet;
use super::{Config, Interface};

/// A configuration that cannot become a program in this process.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Ids are not used twice, so a process sees only so many different names.
    #[error("no id is left for {kind} \"{name}\": this process has seen {limit} different names; restart it")]
    IdsUsedUp {
        /// What is named: `pool`, `interface` or `service set`.
        kind: &'static str,
        /// The name that found no id.
        name: String,
        /// How many ids there are.
        limit: u16,
    },
    /// Public addresses keep their index for the process' life, and there are only so many.
    #[error("this process has seen pool addresses in more than 4096 different /24 networks; restart it")]
    AddressesUsedUp,
}

/// Ids by name and names by id, for the process' life. One per process, passed to every [`compile`].
#[derive(Clone, Debug)]
pub struct NameRegistry {
    interfaces: Ids,
    pools: Ids,
    service_sets: Ids,
}

impl Default for NameRegistry {
    fn default() -> Self {
        Self {
            interfaces: Ids::new("interface", 4096),
            pools: Ids::new("pool", 4096),
            service_sets: Ids::new("service set", 1024),
        }
    }
}

impl NameRegistry {
    /// A registry that knows no name.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The id of an interface that was compiled once.
    #[must_use]
    pub fn interface(&self, name: &str) -> Option<InterfaceId> {
        self.interfaces.by_name.get(name).copied()
    }

    /// The name behind an interface id, also of an interface that a reload removed.
    #[must_use]
    pub fn interface_name(&self, id: InterfaceId) -> Option<&str> {
        self.interfaces.name(id)
    }

    /// The id of a pool that was compiled once.
    #[must_use]
    pub fn pool(&self, name: &str) -> Option<PoolId> {
        self.pools.by_name.get(name).copied()
    }

    /// The name behind a pool id, also of a pool that a reload removed.
    #[must_use]
    pub fn pool_name(&self, id: PoolId) -> Option<&str> {
        self.pools.name(id)
    }

    /// The id of a service set that was compiled once.
    #[must_use]
    pub fn service_set(&self, name: &str) -> Option<ServiceSetId> {
        self.service_sets.by_name.get(name).copied()
    }

    /// The name behind a service set id, also of a set that a reload removed.
    #[must_use]
    pub fn service_set_name(&self, id: ServiceSetId) -> Option<&str> {
        self.service_sets.name(id)
    }
}

#[derive(Clone, Debug)]
struct Ids {
    kind: &'static str,
    limit: u16,
    by_name: HashMap<String, u16>,
    names: Vec<String>,
}

impl Ids {
    fn new(kind: &'static str, limit: u16) -> Self {
        Self {
            kind,
            limit,
            by_name: HashMap::new(),
            names: Vec::new(),
        }
    }

    fn name(&self, id: u16) -> Option<&str> {
        self.names.get(usize::from(id)).map(String::as_str)
    }

    fn id(&mut self, name: &str) -> Result<u16, CompileError> {
        if let Some(id) = self.by_name.get(name) {
            return Ok(*id);
        }
        let id = u16::try_from(self.names.len())
            .ok()
            .filter(|id| *id < self.limit)
            .ok_or_else(|| CompileError::IdsUsedUp {
                kind: self.kind,
                name: name.to_owned(),
                limit: self.limit,
            })?;
        self.by_name.insert(name.to_owned(), id);
        self.names.push(name.to_owned());
        Ok(id)
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
) -> Result<Program, CompileError> {
    let pools = config
        .pools
        .iter()
        .map(|one| pool(one, registry))
        .collect::<Result<Vec<_>, _>>()?;
    let service_sets = config
        .service_sets
        .iter()
        .map(|set| service_set(set, registry))
        .collect::<Result<Vec<_>, _>>()?;
    let interfaces = config
        .interfaces
        .iter()
        .map(|one| interface(one, &config.service_sets, registry))
        .collect::<Result<Vec<_>, _>>()?;
    let public_space = PublicSpace::try_build(&pools, previous.map(|program| &*program.public_space))
        .map_err(|_| CompileError::AddressesUsedUp)?;
    Ok(Program {
        generation: previous.map_or(1, |program| program.generation.wrapping_add(1)),
        service_sets,
        pools,
        interfaces,
        statics: Default::default(),
        prefixes: Vec::new(),
        steering_prefix: 64,
        public_space: Arc::new(public_space),
        fragment_timeout: Ticks::from_seconds(config.fragments.timeout_s),
        verify_ipv4_checksum: config.forwarding.verify_ipv4_checksum,
    })
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

fn service_set(set: &ServiceSet, registry: &mut NameRegistry) -> Result<program::ServiceSet, CompileError> {
    let id = registry.service_sets.id(&set.name)?;
    let mut terms = Vec::new();
    for rule in &set.nat_rules {
        for term in &rule.terms {
            let action = match &term.action {
                Action::NoTranslation => NatAction::NoTranslation,
                Action::Napt44 {
                    pool,
                    mapping,
                    filtering,
                } => {
                    let pool = registry.pools.id(pool)?;
                    NatAction::Napt44 {
                        pool,
                        mapping: *mapping,
                        filtering: *filtering,
                    }
                }
            };
            let name = format!("{}/{}", rule.name, term.name);
            // At most 4096 terms by validation.
            terms.push(NatTerm {
                destination: None,
                name,
                number: terms.len() as u16,
                matches: term.matches.clone(),
                action,
            });
        }
    }
    Ok(program::ServiceSet {
        id,
        name: set.name.clone(),
        terms,
        timeouts: set.timeouts,
        limits: set.limits,
        tcp: set.tcp,
        refresh: set.refresh,
        on_refusal: set.on_refusal,
        ipv6: Default::default(),
        firewall: None,
        stateless: Vec::new(),
        on_unsolicited: set.on_unsolicited,
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
        mode: Default::default(),
    })
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
