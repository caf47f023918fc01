//! The configuration: from a TOML file to the program the workers run.
//!
//! ```text
//!   text --document--> tree with places --section by section--> raw --validate--> Config --compile--> Program
//!          syntax faults                  unknown keys, types,        names, overlaps,      ids that are stable
//!                                         ranges                      roles, sizes          across reloads
//! ```
//!
//! One run reports every fault it can find, each with file, line, column, key path, what is wrong and what would be
//! right. A [`Config`] can only be had without faults; what is allowed but probably not meant is in its warnings.
//! `docs/config.md` is the reference of all keys.

mod address_book;
mod addresses;
mod application;
mod application_builtin;
mod compile;
mod compile_replication;
mod compile_service_set;
mod compile_static;
mod data_forwarding;
mod device;
mod diagnostics;
mod digest;
mod document;
mod fault;
mod firewall;
mod firewall_policy;
mod interface;
mod interface_conflicts;
mod interface_redundant;
mod ipv6;
mod key_files;
mod machine;
mod names;
mod nat_rule;
mod numbers;
mod pool;
mod pool_blocks;
mod pool_conflicts;
mod pool_deterministic;
mod pool_use;
mod process;
mod redundancy;
mod redundancy_conflicts;
mod redundancy_event;
mod redundancy_exclusive;
mod redundancy_group;
mod redundancy_heartbeat;
mod redundancy_policy;
mod redundancy_set;
mod redundancy_virtual;
mod registry;
mod reload;
mod reload_live;
mod section;
mod section_tables;
mod service_set;
mod service_set_family;
mod service_set_lists;
mod share;
mod share_text;
mod standby_ports;
mod stateless;
mod stateless_conflicts;
mod static_conflicts;
mod static_mapping;
mod tracking;
mod translation;
mod translation_static;
mod values;
mod whole;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tandem_engine::program::TableSizes;
use toml::de::DeTable;

pub use addresses::Addresses;
pub use application::built_in_applications;
pub use compile::{CompileError, Extras, compile};
pub use compile_static::RuntimeStatic;
pub use data_forwarding::{DEFAULT_DATA_PORT, DataForwarding, DataWay};
pub use device::Device;
pub use diagnostics::KnownKey;
pub use digest::{canonical, differences, digest, group_canonical, group_digest, group_parts};
pub use fault::{Fault, FaultKind};
pub use firewall::{DIRECTION_COMBINATIONS_MAX, DIRECTION_POLICIES_MAX, Direction, Firewall};
pub use firewall_policy::{FirewallPolicies, FirewallPolicy, POLICY_COMBINATIONS_MAX};
pub use interface::{Attachment, Interface, Port};
pub use interface_redundant::{MEMBER_HOLD_DOWN_MS_MAX, MemberPort, RedundantInterface};
pub use ipv6::Ipv6;
pub use machine::{machine_warnings, online_cpus};
pub use nat_rule::{NatRule, Term};
pub use pool::{DEFAULT_INTERFACE_PORTS, DEFAULT_PORTS, POOL_ADDRESSES_MAX, Pool};
pub use pool_blocks::PortBlocks;
pub use process::{Api, Dpdk, Forwarding, Fragments, Hugepages, Idle, Placement, System, Workers};
pub use redundancy::{GROUP_SETS_MAX, REDUNDANCY_GROUPS_MAX, REDUNDANCY_SETS_MAX, Redundancy};
pub use redundancy_event::{ExternalCheck, PeerEvent, RedundancyEvent, RoutingProcess, SocketProtocol};
pub use redundancy_exclusive::{POLICY_LINKS_MAX, REDUNDANCY_POLICIES_MAX, SET_POLICIES_MAX};
pub use redundancy_group::{DEFAULT_REDUNDANCY_PORT, RedundancyGroup};
pub use redundancy_heartbeat::{HEARTBEAT_INTERVAL_MS_MIN, HaLink, Heartbeats, LinkKind};
pub use redundancy_policy::{
    POLICY_ROUTES_MAX, PolicyAction, RedundancyPolicy, RouteTable, RouteTarget, RouteWhen, SignalRoute,
};
pub use redundancy_set::RedundancySet;
pub use redundancy_virtual::VirtualAddress;
pub use registry::NameRegistry;
pub use reload::{Change, Effect, changes, check_reload};
pub use service_set::ServiceSet;
pub use share::{SHARES, Share, share_of};
pub use share_text::{
    MergeError, SHARED_BYTES_MAX, lines_digest, merged, shared_diff, shared_lines, shared_part,
};
pub use static_mapping::{StaticFault, StaticMapping, StaticPorts, StaticText};
pub use tracking::{
    TRACKED_ADDRESSES_ALL_MAX, TRACKED_ADDRESSES_MAX, TRACKED_IPS_MAX, TrackMethod, TrackedAddress,
    TrackedIp, Zone,
};
pub use translation::{Action, SourceTranslation};
pub use values::InterfaceAddress;

use diagnostics::{Collected, Diagnostics, Places};
use section::Section;

/// Largest configuration file, in bytes.
pub const FILE_BYTES_MAX: usize = 16 << 20;
/// Most interfaces, and most pools, in one file.
const NAMED_MAX: usize = 4096;
/// Most service sets in one file.
const SERVICE_SETS_MAX: usize = 1024;

/// A validated configuration: nothing in it contradicts anything else, and every name refers to something.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file, as it was given.
    pub file: String,
    /// `[system]`.
    pub system: System,
    /// `[dpdk]`; fixed at start.
    pub dpdk: Dpdk,
    /// `[workers]`; fixed at start.
    pub workers: Workers,
    /// `[api]`; the address is fixed at start.
    pub api: Api,
    /// `[interfaces.NAME]`, in the order of the file; fixed at start but for their addresses.
    pub interfaces: Vec<Interface>,
    /// `[table-sizes]`; fixed at start.
    pub table_sizes: TableSizes,
    /// `[fragments]`.
    pub fragments: Fragments,
    /// `[forwarding]`.
    pub forwarding: Forwarding,
    /// `[pools.NAME]`, in the order of the file.
    pub pools: Vec<Pool>,
    /// `[nat-rules.NAME]`, in the order of the file.
    pub nat_rules: Vec<Arc<NatRule>>,
    /// `[firewall-policies.NAME]`, in the order of the file.
    pub firewall_policies: Vec<Arc<FirewallPolicies>>,
    /// `[service-sets.NAME]`, in the order of the file.
    pub service_sets: Vec<ServiceSet>,
    /// `[redundancy]`, `[redundancy-groups.N]`, `[redundancy-sets.N]`, their policies and events, `[tracked-ips.NAME]`, `[zones.NAME]`.
    pub redundancy: Redundancy,
    /// What is allowed but probably not meant.
    pub warnings: Vec<Fault>,
    /// The text it was read from.
    pub text: Arc<str>,
    places: Places,
    effective: BTreeMap<String, String>,
}

impl Config {
    /// The value in force for every key that has one, defaults included, as the file would write it.
    #[must_use]
    pub fn effective(&self) -> &BTreeMap<String, String> {
        &self.effective
    }

    /// Line and column of a key path, or of the nearest table above it; (0, 0) when the file has neither.
    #[must_use]
    pub fn position(&self, path: &str) -> (u32, u32) {
        diagnostics::position_of(&self.places, path)
    }
}

/// Reads and validates a file that is to run on this machine: [`load`], and the certificates and keys it names.
///
/// # Errors
/// As [`load`]; when there are none, each file of a redundancy group that cannot be used.
pub fn load_to_run(path: &Path) -> Result<Config, Vec<Fault>> {
    able_to_run(load(path)?)
}

/// As [`load_to_run`] of a text that is to be the file `file`.
///
/// # Errors
/// As [`load_to_run`].
pub fn read_to_run(text: &str, file: &str) -> Result<Config, Vec<Fault>> {
    able_to_run(read(text, file)?)
}

fn able_to_run(config: Config) -> Result<Config, Vec<Fault>> {
    let faults = key_files::faults(&config);
    if faults.is_empty() {
        Ok(config)
    } else {
        Err(faults)
    }
}

/// Reads and validates a file, and nothing else of the machine.
///
/// # Errors
/// All faults found in one run, in the order of the file; when there are none, what this release cannot run yet.
pub fn load(path: &Path) -> Result<Config, Vec<Fault>> {
    let file = path.display().to_string();
    let unreadable = |line, column, problem: String, remedy: &str| {
        let (kind, file, path, remedy) = (
            FaultKind::Unreadable,
            file.clone(),
            String::new(),
            remedy.to_owned(),
        );
        vec![Fault {
            kind,
            file,
            line,
            column,
            path,
            problem,
            remedy,
        }]
    };
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            let problem = format!("the file cannot be read: {error}");
            return Err(unreadable(
                0,
                0,
                problem,
                "use a file that exists and may be read",
            ));
        }
    };
    match std::str::from_utf8(&bytes) {
        Ok(text) => read(text, &file),
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.split(|byte| *byte == b'\n').count() as u32;
            let tail = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
            let column = String::from_utf8_lossy(tail).chars().count() as u32 + 1;
            Err(unreadable(
                line,
                column,
                "a byte here is not UTF-8".into(),
                "save the file as UTF-8",
            ))
        }
    }
}

/// What [`load`] does with the text of its file.
fn read(text: &str, file: &str) -> Result<Config, Vec<Fault>> {
    let config = parse(text, file)?;
    match redundancy_conflicts::second_group(&config) {
        None => Ok(config),
        Some(fault) => Err(vec![fault]),
    }
}

/// Validates a text; `file` is the name that faults give.
///
/// # Errors
/// All faults found in one run, in the order of the file. After a syntax error the broken statement is left out, every
/// other key is still checked by itself, and what keys say about each other is checked when the file is whole.
pub fn parse(text: &str, file: &str) -> Result<Config, Vec<Fault>> {
    let (config, collected) = run(text, file)?;
    let Collected {
        places,
        faults,
        warnings,
        effective,
        ..
    } = collected;
    match config {
        Some(config) if faults.is_empty() => Ok(Config {
            warnings,
            places,
            effective,
            text: text.into(),
            ..config
        }),
        _ => Err(faults),
    }
}

/// Every key the parser knows, in the order it asks for them; what `docs/config.md` is checked against.
#[must_use]
pub fn known_keys() -> Vec<KnownKey> {
    let skeleton = "[interfaces.NAME]\n[pools.NAME.port-block-allocation]\n[pools.NAME.deterministic]\n\
                    [[nat-rules.NAME.terms]]\n[applications.NAME]\n[application-sets.NAME]\n[address-books.NAME]\n\
                    [[firewall-policies.NAME.policies]]\n[service-sets.NAME.firewall]\n\
                    [[service-sets.NAME.static-mappings]]\n\
                    [[service-sets.NAME.siit.explicit-mappings]]\n[[service-sets.NAME.nptv6]]\n\
                    [redundancy-groups.N.routing-instance]\n[redundancy-groups.N.data-forwarding.other]\n\
                    [[redundancy-groups.N.links]]\n[redundancy-groups.N.links.routing-instance]\n\
                    [redundancy-sets.N]\n[[redundancy-sets.N.virtual-addresses]]\n\
                    [redundancy-events.NAME.check]\n[[redundancy-events.NAME.routing-process]]\n\
                    [[redundancy-policies.NAME.signal-routes]]\n[[tracked-ips.NAME.addresses]]\n[zones.NAME]\n";
    let Ok((_, collected)) = run(skeleton, "known keys") else {
        return Vec::new();
    };
    let mut known = collected.known;
    known
        .iter_mut()
        .for_each(|key| key.path = key.path.replace("[0]", "[]"));
    known
}

/// Reads everything; the config is whole only if no fault was collected.
fn run(text: &str, file: &str) -> Result<(Option<Config>, Collected), Vec<Fault>> {
    if text.len() > FILE_BYTES_MAX {
        let problem = format!("the file has {} bytes", text.len());
        let (kind, file, remedy) = (
            FaultKind::Unreadable,
            file.into(),
            format!("use at most {FILE_BYTES_MAX}"),
        );
        return Err(vec![Fault {
            kind,
            file,
            line: 0,
            column: 0,
            path: String::new(),
            problem,
            remedy,
        }]);
    }
    let (rest, syntax) = document::syntax_faults(text, file);
    let (tree, _) = DeTable::parse_recoverable(&rest);
    let d = Diagnostics::new(file, text, !syntax.is_empty());
    let config = sections(tree.get_ref(), file, &d, syntax.is_empty());
    let mut collected = d.finish();
    collected.faults.extend(syntax);
    collected.faults.sort_by_key(|fault| (fault.line, fault.column));
    Ok((config, collected))
}

/// Decodes every section; validates them against each other when the file is `whole`.
fn sections(tree: &DeTable<'_>, file: &str, d: &Diagnostics, whole: bool) -> Option<Config> {
    let mut root = Section::new(d, String::new(), Some(tree));
    let system = process::system(root.table("system"));
    let dpdk = process::dpdk(root.table("dpdk"));
    let workers = process::workers(root.table("workers"));
    let api = process::api(root.table("api"));
    let table_sizes = process::table_sizes(root.table("table-sizes"));
    let fragments = process::fragments(root.table("fragments"));
    let forwarding = process::forwarding(root.table("forwarding"));
    let interfaces = named(&mut root, "interfaces", NAMED_MAX, interface::decode);
    let pools = named(&mut root, "pools", NAMED_MAX, pool::decode);
    let rules = named(&mut root, "nat-rules", NAMED_MAX, nat_rule::decode);
    let applications = named(&mut root, "applications", NAMED_MAX, application::decode);
    let application_sets = named(&mut root, "application-sets", NAMED_MAX, application::decode_set);
    let books = named(&mut root, "address-books", NAMED_MAX, address_book::decode);
    let policies = named(&mut root, "firewall-policies", NAMED_MAX, firewall_policy::decode);
    let raw_redundancy = redundancy::decode(&mut root);
    let sets = named(&mut root, "service-sets", SERVICE_SETS_MAX, service_set::decode);
    root.finish();
    if !whole {
        return None;
    }
    let interface_names: Vec<&str> = interfaces
        .iter()
        .filter(|interface| interface_redundant::whole_of(&interface.name, &interfaces).is_none())
        .map(|interface| interface.name.as_str())
        .collect();
    let pool_names: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
    let valid_interfaces = interface::validate(&interfaces, d);
    let mut pools = pool::validate(&pools, &interface_names, &valid_interfaces, d);
    let nat_rules: Vec<Arc<NatRule>> = nat_rule::validate(&rules, &pool_names, d)
        .into_iter()
        .map(Arc::new)
        .collect();
    pool_use::check(&nat_rules, &mut pools, d);
    let applications = application::validate(&applications, &application_sets, d);
    let books = address_book::validate(&books, d);
    let firewall_policies: Vec<Arc<FirewallPolicies>> =
        firewall_policy::validate(&policies, &books, &applications, d)
            .into_iter()
            .map(Arc::new)
            .collect();
    let parts = service_set::Parts {
        interfaces: &interface_names,
        rules: &nat_rules,
        policies: &firewall_policies,
        sizes: &table_sizes,
        redundancy: &raw_redundancy,
    };
    let service_sets = service_set::validate(&sets, &parts, d);
    static_conflicts::check(&sets, &service_sets, &pools, &valid_interfaces, d);
    stateless_conflicts::check(&sets, &service_sets, &pools, d);
    pool_use::check_prefixes(&service_sets, &pools, d);
    let redundancy = redundancy::validate(&raw_redundancy, file, &service_sets, &valid_interfaces, d);
    interface_redundant::check_tracks(&valid_interfaces, &redundancy, d);
    redundancy_conflicts::check(
        &raw_redundancy,
        &redundancy,
        &service_sets,
        (&pools, &valid_interfaces),
        d,
    );
    let config = Config {
        file: file.into(),
        system,
        dpdk,
        workers,
        api,
        interfaces: valid_interfaces,
        table_sizes,
        fragments,
        forwarding,
        pools,
        nat_rules,
        firewall_policies,
        service_sets,
        redundancy,
        warnings: Vec::new(),
        text: "".into(),
        places: Places::new(),
        effective: BTreeMap::new(),
    };
    whole::sizes_fit(&config, d);
    whole::unused(&config, d);
    Some(config)
}

fn named<'a, T>(
    root: &mut Section<'a>,
    key: &'static str,
    most: usize,
    decode: impl Fn(String, Section<'a>) -> T,
) -> Vec<T> {
    let sections = root.named(key, names::name);
    if sections.len() > most {
        let problem = format!("there are {} sections", sections.len());
        root.diagnostics()
            .fault(FaultKind::BadValue, key, problem, format!("use at most {most}"));
    }
    sections
        .into_iter()
        .map(|(name, section)| decode(name, section))
        .collect()
}
