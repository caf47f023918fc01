//! Ids by name: a name keeps its id for the process' life, also while a reload leaves it out, because sessions and ports
//! refer to ids: a second pool must never be taken for a first one that went away.

use std::collections::HashMap;

use tandem_engine::program::{InterfaceId, PolicyId, PoolId, PrefixId, SERVICE_SETS_MAX, ServiceSetId};

use super::compile::CompileError;

/// Ids by name and names by id, for the process' life. One per process, passed to every [`compile`].
#[derive(Clone, Debug)]
pub struct NameRegistry {
    pub(super) interfaces: Ids,
    pub(super) pools: Ids,
    pub(super) service_sets: Ids,
    pub(super) policies: Ids,
    pub(super) prefixes: Ids,
}

impl Default for NameRegistry {
    fn default() -> Self {
        Self {
            interfaces: Ids::new("interface", 4096),
            pools: Ids::new("pool", 4096),
            service_sets: Ids::new("service set", SERVICE_SETS_MAX),
            policies: Ids::new("policy", 65_535),
            prefixes: Ids::new("NAT64 prefix", 1024),
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

    /// Service set, direction (`outbound` or `inbound`), list and policy behind a policy id, joined by slashes; also of a
    /// policy that a reload removed.
    #[must_use]
    pub fn policy_name(&self, id: PolicyId) -> Option<&str> {
        self.policies.name(id)
    }

    /// The id of a policy that was compiled once, by its name as [`NameRegistry::policy_name`] has it.
    #[must_use]
    pub fn policy(&self, name: &str) -> Option<PolicyId> {
        self.policies.by_name.get(name).copied()
    }

    /// The NAT64 prefix behind an id, also of one that a reload removed.
    #[must_use]
    pub fn prefix_name(&self, id: PrefixId) -> Option<&str> {
        self.prefixes.name(id)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Ids {
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

    /// The id of a name, a new one if need be.
    pub(super) fn id(&mut self, name: &str) -> Result<u16, CompileError> {
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
