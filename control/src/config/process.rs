//! The sections about the process as a whole: system, DPDK, workers, API, table sizes, fragments, forwarding.
//!
//! All but `[system]`, `[fragments]`, `[forwarding]` and the API's token are fixed at start.

use std::net::SocketAddr;
use std::path::PathBuf;

use tandem_engine::program::TableSizes;
use tandem_engine::public_space::MAX_WORKERS;

use super::fault::{Bad, FaultKind, quoted};
use super::names;
use super::section::Section;

/// `[system]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// Name of this chassis in views and logs.
    pub name: String,
}

/// `[dpdk]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dpdk {
    /// Whether hugepages are used.
    pub hugepages: Hugepages,
    /// Heap in MiB when there are no hugepages. 64..=1048576.
    pub memory_mb: u32,
    /// Prefix of DPDK's runtime files; two processes on a machine need two.
    pub file_prefix: String,
    /// More arguments for EAL, verbatim, after those made from this file.
    pub extra_eal_args: Vec<String>,
    /// Packet buffers in the pool; `None` lets the daemon reckon it from ports, queues and descriptors.
    pub mbufs: Option<u32>,
}

/// Whether DPDK's memory comes from hugepages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hugepages {
    /// When there are any.
    Auto,
    /// Or the daemon does not start.
    Required,
    /// Not even when there are any.
    Never,
}

/// `[workers]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workers {
    /// How many there are and where they run.
    pub placement: Placement,
    /// Parts into which subscribers and public ports are cut; each worker has as many. A multiple of [`Workers::count`],
    /// the same on both chassis of a pair. 1..=240.
    pub shards: u8,
    /// What a worker does when there is nothing to do.
    pub idle: Idle,
    /// A worker whose heartbeat is older counts as stalled, in milliseconds. 10..=60000.
    pub stall_threshold_ms: u32,
}

/// Where workers run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// One worker pinned to each of these CPUs.
    Cores(Vec<u16>),
    /// So many threads, wherever the kernel schedules them. 1..=240.
    Count(u16),
}

impl Workers {
    /// How many workers there are. 1..=240.
    #[must_use]
    pub fn count(&self) -> u16 {
        match &self.placement {
            Placement::Cores(cores) => cores.len() as u16,
            Placement::Count(count) => *count,
        }
    }
}

/// What an idle worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Backs off, up to sleeping, and comes back with traffic.
    Adaptive,
    /// Polls at full speed always.
    BusyPoll,
}

/// `[api]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Where it listens. Other than loopback only with a token.
    pub listen: SocketAddr,
    /// File with the bearer token that requests must carry.
    pub token_file: Option<PathBuf>,
}

/// `[fragments]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragments {
    /// How long fragments wait for their first one, in seconds. 2..=120 (RFC 6146 section 3.4).
    pub timeout_s: u32,
}

/// `[forwarding]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// Whether an IPv4 header checksum is verified in software when the port did not (RFC 1812 section 5.2.2).
    pub verify_ipv4_checksum: bool,
}

pub(super) fn system(mut section: Section<'_>) -> System {
    let name = section
        .parsed("name", "name", "tandem", names::name_value)
        .unwrap_or_default();
    section.finish();
    System { name }
}

/// EAL arguments that other keys stand for.
const OWN_EAL_ARGS: [(&str, &str); 14] = [
    ("-l", "workers.cores"),
    ("-c", "workers.cores"),
    ("--lcores", "workers.cores"),
    ("--main-lcore", "workers.cores"),
    ("-m", "dpdk.memory-mb"),
    ("--no-huge", "dpdk.hugepages"),
    ("--in-memory", "dpdk.hugepages"),
    ("--file-prefix", "dpdk.file-prefix"),
    ("-a", "interfaces.NAME.device"),
    ("--allow", "interfaces.NAME.device"),
    ("-b", "interfaces.NAME.device"),
    ("--block", "interfaces.NAME.device"),
    ("--vdev", "interfaces.NAME.device"),
    ("--no-pci", "interfaces.NAME.device"),
];

fn eal_argument(text: &str) -> Result<String, Bad> {
    if text.is_empty() || text.contains('\0') {
        return Err(Bad::new(
            "the argument is empty",
            "use one argument of EAL per element, or leave it out",
        ));
    }
    let head = text.split('=').next().unwrap_or(text);
    match OWN_EAL_ARGS.iter().find(|(argument, _)| *argument == head) {
        Some((argument, key)) => Err(Bad::new(
            format!("{argument} is made from the configuration"),
            format!("use the key {key} instead"),
        )),
        None => Ok(text.to_owned()),
    }
}

fn file_prefix(text: &str) -> Result<String, Bad> {
    let right = (1..=32).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    right.then(|| text.to_owned()).ok_or_else(|| {
        Bad::new(
            format!("{} cannot be a file prefix", quoted(text)),
            "use 1 to 32 letters, digits, \"-\" or \"_\"",
        )
    })
}

pub(super) fn dpdk(mut section: Section<'_>) -> Dpdk {
    let words = [
        ("auto", Hugepages::Auto),
        ("required", Hugepages::Required),
        ("never", Hugepages::Never),
    ];
    let dpdk = Dpdk {
        hugepages: section
            .choice("hugepages", &words, "auto")
            .unwrap_or(Hugepages::Auto),
        memory_mb: section.integer("memory-mb", 64..=1_048_576, 512),
        file_prefix: section
            .parsed("file-prefix", "text", "tandem", file_prefix)
            .unwrap_or_default(),
        extra_eal_args: section
            .list("extra-eal-args", "EAL arguments", eal_argument)
            .into_iter()
            .map(|item| item.value)
            .collect(),
        mbufs: section.integer_or_auto("mbufs", 1024..=16_777_216),
    };
    section.finish();
    dpdk
}

fn core(text: &str) -> Result<u16, Bad> {
    text.parse().ok().filter(|core| *core < 4096).ok_or_else(|| {
        Bad::new(
            format!("{text} is not a CPU id"),
            "use the numbers of CPUs, 0..=4095, as lscpu shows them",
        )
    })
}

pub(super) fn workers(mut section: Section<'_>) -> Workers {
    let d = section.diagnostics();
    let items = section.list("cores", "CPU ids", core);
    let count = section.optional_integer("count", 1..=u32::from(MAX_WORKERS));
    let mut cores: Vec<u16> = Vec::with_capacity(items.len());
    for item in &items {
        if cores.contains(&item.value) {
            let problem = format!("CPU {} is listed twice", item.value);
            d.fault(
                FaultKind::Conflict,
                &item.path,
                problem,
                "remove it: a CPU runs one worker",
            );
        } else {
            cores.push(item.value);
        }
    }
    let path = section.path_of("cores");
    if section.has("cores") && section.has("count") {
        let problem = format!("stands beside workers.count (line {})", d.line("workers.count"));
        d.fault(
            FaultKind::Conflict,
            &path,
            problem,
            "keep cores for pinned workers, or count for unpinned ones",
        );
    } else if section.is_empty_list("cores") {
        d.fault(
            FaultKind::BadValue,
            &path,
            "no CPU is listed",
            "list at least one CPU, or use count = 1",
        );
    } else if cores.len() > usize::from(MAX_WORKERS) {
        let problem = format!("{} workers are too many", cores.len());
        d.fault(
            FaultKind::BadValue,
            &path,
            problem,
            format!("list at most {MAX_WORKERS}"),
        );
    }
    let placement = match (cores.is_empty(), count) {
        (false, _) => Placement::Cores(cores),
        (true, count) => Placement::Count(count.unwrap_or(1) as u16),
    };
    if let Placement::Count(count) = placement {
        section.effective("count", count);
    }
    let shards = shards(&mut section, &placement);
    let idle = section.choice(
        "idle",
        &[("adaptive", Idle::Adaptive), ("busy-poll", Idle::BusyPoll)],
        "adaptive",
    );
    let stall_threshold_ms = section.integer("stall-threshold-ms", 10..=60_000, 500);
    section.finish();
    Workers {
        placement,
        shards,
        idle: idle.unwrap_or(Idle::Adaptive),
        stall_threshold_ms,
    }
}

/// A whole multiple of the workers; as many as workers, unless set.
fn shards(section: &mut Section<'_>, placement: &Placement) -> u8 {
    let (workers, key) = match placement {
        Placement::Cores(cores) => (cores.len() as u32, "workers.cores"),
        Placement::Count(count) => (u32::from(*count), "workers.count"),
    };
    let most = u32::from(MAX_WORKERS);
    let shards = section.optional_integer("shards", 1..=most);
    let d = section.diagnostics();
    if let Some(shards) = shards.filter(|shards| shards % workers > 0 && d.is_whole()) {
        let (below, above) = (shards - shards % workers, shards - shards % workers + workers);
        let fitting = [below, above].into_iter().filter(|n| (1..=most).contains(n));
        let fitting: Vec<String> = fitting.map(|n| n.to_string()).collect();
        let problem = format!(
            "{shards} shards cannot be shared out evenly: there are {workers} workers, {key} (line {})",
            d.line(key)
        );
        let remedy = format!("use a multiple of {workers}, like {}", fitting.join(" or "));
        d.fault(FaultKind::Conflict, &section.path_of("shards"), problem, remedy);
    }
    let shards = shards.unwrap_or(workers);
    section.effective("shards", shards);
    shards as u8
}

pub(super) fn api(mut section: Section<'_>) -> Api {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 8480));
    let listen = section
        .parsed("listen", "address:port", "127.0.0.1:8480", names::socket)
        .unwrap_or(loopback);
    let token_file = section.parsed("token-file", "absolute path", "", names::absolute_path);
    if !listen.ip().is_loopback() && token_file.is_none() && !section.has("token-file") {
        section.diagnostics().fault(
            FaultKind::Missing,
            &section.path_of("listen"),
            format!("{listen} can be reached from outside, and there is no api.token-file"),
            "add token-file = \"/etc/tandem/token\" (a file with a bearer token), or listen on 127.0.0.1 or [::1]",
        );
    }
    section.finish();
    Api { listen, token_file }
}

const MI: u32 = 1 << 20;

pub(super) fn table_sizes(mut section: Section<'_>) -> TableSizes {
    let max_sessions = section.integer("max-sessions", 1024..=64 * MI, MI);
    let max_mappings = section
        .optional_integer("max-mappings", 1024..=64 * MI)
        .unwrap_or(max_sessions);
    let most_subscribers = max_sessions.min(max_mappings).min(65_536);
    let max_subscribers = section
        .optional_integer("max-subscribers", 16..=16 * MI)
        .unwrap_or(most_subscribers);
    let two_each = (max_subscribers * 2).min(16 * MI);
    let sizes = TableSizes {
        max_sessions,
        max_mappings,
        max_subscribers,
        max_blocks: section
            .optional_integer("max-blocks", 16..=16 * MI)
            .unwrap_or(two_each),
        max_reassemblies: section.integer("max-reassemblies", 16..=65_536, 4096),
        max_held_fragments: section.integer("max-held-fragments", 16..=4096, 1024),
    };
    section.effective("max-mappings", sizes.max_mappings);
    section.effective("max-subscribers", sizes.max_subscribers);
    section.effective("max-blocks", sizes.max_blocks);
    let d = section.diagnostics();
    let at_least = |small: &str, small_value: u32, large: &str, large_value: u32, why: &str| {
        if small_value > large_value && d.is_whole() {
            let line = d.line(&section.path_of(large));
            d.fault(
                FaultKind::Conflict,
                &section.path_of(small),
                format!(
                    "{small_value} is more than table-sizes.{large} = {large_value} (line {line}): {why}"
                ),
                format!("raise {large} to {small_value} or lower {small}"),
            );
        }
    };
    let (sessions, mappings) = (sizes.max_sessions, sizes.max_mappings);
    at_least(
        "max-subscribers",
        sizes.max_subscribers,
        "max-sessions",
        sessions,
        "a subscriber has at least one session",
    );
    at_least(
        "max-subscribers",
        sizes.max_subscribers,
        "max-mappings",
        mappings,
        "a subscriber has at least one mapping",
    );
    at_least(
        "max-mappings",
        mappings,
        "max-sessions",
        sessions,
        "a mapping has at least one session",
    );
    section.finish();
    sizes
}

pub(super) fn fragments(mut section: Section<'_>) -> Fragments {
    let timeout_s = section.integer("timeout-s", 2..=120, 10);
    section.finish();
    Fragments { timeout_s }
}

pub(super) fn forwarding(mut section: Section<'_>) -> Forwarding {
    let verify_ipv4_checksum = section.boolean("verify-ipv4-checksum", true);
    section.finish();
    Forwarding { verify_ipv4_checksum }
}
