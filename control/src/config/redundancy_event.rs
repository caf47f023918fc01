//! `[redundancy-events.NAME]`: monitored conditions that become one signal.
//!
//! An event is active while any of its conditions is. What fails in it has a weight, which counts against the failover thresholds
//! of the redundancy set that the event works on, and of the chassis. Redundancy spec, sections 1 and 4.

use std::path::PathBuf;

use super::diagnostics::Diagnostics;
use super::fault::{Bad, FaultKind, quoted};
use super::names;
use super::redundancy_exclusive::resolve;
use super::section::{Item, Mixed, Section};

/// Heaviest weight of a monitored object, and the default: with the default threshold, one failure is enough.
pub(super) const WEIGHT_MAX: u32 = 255;
/// Words of an external check's command.
const COMMAND_WORDS_MAX: usize = 64;

/// One or more monitored conditions that become one signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedundancyEvent {
    /// Its name.
    pub name: String,
    /// Names of interfaces, each of which is a condition while its link is down.
    pub links: Vec<String>,
    /// Weight of each of these interfaces while its link is down. 1..=255.
    pub link_weight: u8,
    /// A worker that stalls or dies, and a restart of the process, are conditions.
    pub service_failure: bool,
    /// Routing processes, each of which is a condition while it is gone or does not answer.
    pub routing_processes: Vec<RoutingProcess>,
    /// What of the other chassis is a condition.
    pub peer: Vec<PeerEvent>,
    /// Names of tracked-IP objects, each of which is a condition while it has failed.
    pub tracked: Vec<String>,
    /// Names of zones, each of which is a condition while all its interfaces are down.
    pub zones: Vec<String>,
    /// A command whose failure is a condition.
    pub check: Option<ExternalCheck>,
    /// How long the event must have become active, or inactive, before that is told, in seconds. 0..=3600.
    pub hold_s: u16,
}

/// A routing process that is watched through its process and its control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoutingProcess {
    /// FRRouting: the daemons with a pid file in `/run/frr`, and their vty sockets.
    Frr,
    /// BIRD: the process that listens at its control socket.
    Bird,
    /// Another one.
    Other {
        /// Its name in views and logs.
        name: String,
        /// The file with its process id.
        pid_file: Option<PathBuf>,
        /// The stream socket it listens at.
        socket: Option<PathBuf>,
        /// What is spoken there. `None`: it is enough that it accepts.
        protocol: Option<SocketProtocol>,
    },
}

/// What a routing process speaks at its control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketProtocol {
    /// A vty, as FRR's daemons do: it answers a command.
    Vty,
    /// What BIRD does: it greets.
    Bird,
}

impl RoutingProcess {
    /// Its name in views and logs.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Frr => "frr",
            Self::Bird => "bird",
            Self::Other { name, .. } => name,
        }
    }
}

/// What of the other chassis can be a condition: but for its loss, what it does about the set whose policy has the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerEvent {
    /// It asks for the set's primary role.
    Acquire,
    /// It asks this chassis to take the set's primary role.
    Release,
    /// It broadcasts a warning about the set.
    Warned,
    /// It is not heard any more.
    Lost,
}

/// A command that is run again and again; its exit status says whether what it looks at is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalCheck {
    /// The program, an absolute path, and its arguments. No shell is between.
    pub command: Vec<String>,
    /// From the beginning of one run to that of the next, in seconds. 1..=3600.
    pub interval_s: u16,
    /// A run that takes longer is killed and has failed, in seconds. 1..=3600, at most the interval.
    pub timeout_s: u16,
    /// Its weight while it fails. 1..=255.
    pub weight: u8,
}

/// An event as the file has it, each key checked by itself.
pub(super) struct Raw {
    pub name: String,
    pub path: String,
    pub links: Vec<Item<String>>,
    link_weight: u32,
    service_failure: bool,
    routing: Vec<Mixed<RoutingProcess, Option<RoutingProcess>>>,
    peer: Vec<Item<PeerEvent>>,
    pub tracked: Vec<Item<String>>,
    pub zones: Vec<Item<String>>,
    check: Option<Option<ExternalCheck>>,
    hold_s: u32,
    /// Something is monitored, or was meant to be.
    monitors: bool,
}

const MONITORS: [&str; 7] = [
    "links",
    "service-failure",
    "routing-process",
    "peer",
    "tracked",
    "zones",
    "check",
];

pub(super) fn decode(name: String, mut section: Section<'_>) -> Raw {
    let said = |key: &&str| *key != "service-failure" && section.has(key) && !section.is_empty_list(key);
    let monitors = MONITORS.iter().any(said);
    let raw = Raw {
        path: section.path().to_owned(),
        links: section.list("links", "interface names", names::reference),
        link_weight: section.integer("link-weight", 1..=WEIGHT_MAX, WEIGHT_MAX),
        service_failure: section.boolean("service-failure", false),
        routing: section.list_or_tables(
            "routing-process",
            "\"frr\", \"bird\" or tables",
            routing_process,
            other_process,
        ),
        peer: section.list(
            "peer",
            "\"acquire\", \"release\", \"warned\", \"lost\"",
            peer_event,
        ),
        tracked: section.list("tracked", "names of tracked-IP objects", names::reference),
        zones: section.list("zones", "names of zones", names::reference),
        check: section.optional_table("check").map(check),
        hold_s: section.integer("hold-s", 0..=3600, 0),
        monitors,
        name,
    };
    let raw = Raw {
        monitors: raw.monitors || raw.service_failure,
        ..raw
    };
    section.finish();
    raw
}

fn routing_process(text: &str) -> Result<RoutingProcess, Bad> {
    match text {
        "frr" => Ok(RoutingProcess::Frr),
        "bird" => Ok(RoutingProcess::Bird),
        _ => Err(Bad::new(
            format!("{} is not a routing process that is known", quoted(text)),
            "use \"frr\", \"bird\", or { name = \"NAME\", pid-file = \"/PATH\", socket = \"/PATH\" }",
        )),
    }
}

fn other_process(mut section: Section<'_>) -> Option<RoutingProcess> {
    let d = section.diagnostics();
    let name = section.parsed("name", "name", "", names::name_value);
    let pid_file = section.parsed("pid-file", "absolute path", "", names::absolute_path);
    let socket = section.parsed("socket", "absolute path", "", names::absolute_path);
    let protocols = [("vty", SocketProtocol::Vty), ("bird", SocketProtocol::Bird)];
    let protocol = section.choice("protocol", &protocols, "");
    if !section.has("name") {
        let problem = "the routing process has no name";
        d.fault(FaultKind::Missing, section.path(), problem, "add name = \"...\"");
    }
    if !section.has("pid-file") && !section.has("socket") {
        let problem = "there is nothing to watch the routing process by";
        let remedy = "add pid-file = \"/PATH\", socket = \"/PATH\", or both";
        d.fault(FaultKind::Missing, section.path(), problem, remedy);
    }
    if section.has("protocol") && !section.has("socket") {
        let problem = "there is no socket to speak it at";
        let remedy = "add socket = \"/PATH\", or remove it";
        d.fault(FaultKind::Missing, &section.path_of("protocol"), problem, remedy);
    }
    section.finish();
    Some(RoutingProcess::Other {
        name: name?,
        pid_file,
        socket,
        protocol,
    })
}

fn peer_event(text: &str) -> Result<PeerEvent, Bad> {
    match text {
        "acquire" => Ok(PeerEvent::Acquire),
        "release" => Ok(PeerEvent::Release),
        "warned" => Ok(PeerEvent::Warned),
        "lost" => Ok(PeerEvent::Lost),
        _ => Err(Bad::new(
            format!("{} is not what a peer does", quoted(text)),
            "use \"acquire\", \"release\", \"warned\" or \"lost\"",
        )),
    }
}

fn check(mut section: Section<'_>) -> Option<ExternalCheck> {
    let d = section.diagnostics();
    let words = section.list("command", "a program and its arguments", word);
    let one = ExternalCheck {
        command: words.iter().map(|item| item.value.clone()).collect(),
        interval_s: section.integer("interval-s", 1..=3600, 10) as u16,
        timeout_s: section.integer("timeout-s", 1..=3600, 5) as u16,
        weight: section.integer("weight", 1..=WEIGHT_MAX, WEIGHT_MAX) as u8,
    };
    let (command, timeout) = (section.path_of("command"), section.path_of("timeout-s"));
    match words.first() {
        None if !section.has("command") || section.is_empty_list("command") => {
            let remedy = "add command = [\"/PATH\", \"ARGUMENT\", ...]";
            d.fault(
                FaultKind::Missing,
                section.path(),
                "the check has no command",
                remedy,
            );
        }
        Some(program) if !program.value.starts_with('/') => {
            let problem = format!("{} is not an absolute path", quoted(&program.value));
            let remedy = "use a path from the root: there is no shell, and so no search for programs";
            d.fault(FaultKind::BadValue, &program.path, problem, remedy);
        }
        _ => {}
    }
    if words.len() > COMMAND_WORDS_MAX {
        let problem = format!("the command has {} words", words.len());
        let remedy = format!("use at most {COMMAND_WORDS_MAX}");
        d.fault(FaultKind::BadValue, &command, problem, remedy);
    }
    if one.timeout_s > one.interval_s {
        let interval = section.path_of("interval-s");
        let problem = format!(
            "{} is more than {interval} = {} (line {}): a run would meet the next one",
            one.timeout_s,
            one.interval_s,
            d.line(&interval)
        );
        let remedy = format!("use at most {}, or a longer interval", one.interval_s);
        d.fault(FaultKind::Conflict, &timeout, problem, remedy);
    }
    section.finish();
    (!one.command.is_empty()).then_some(one)
}

fn word(text: &str) -> Result<String, Bad> {
    if text.is_empty() || text.contains('\0') {
        return Err(Bad::new(
            format!("{} is not a word of a command", quoted(text)),
            "use one text for each argument",
        ));
    }
    Ok(text.to_owned())
}

/// What an event may refer to.
pub(super) struct Known<'a> {
    pub interfaces: &'a [&'a str],
    pub tracked: &'a [&'a str],
    pub zones: &'a [&'a str],
}

/// The event, its names resolved.
pub(super) fn validate(raw: &Raw, known: &Known<'_>, d: &Diagnostics) -> RedundancyEvent {
    if !raw.monitors {
        let problem = "the event has no condition, and so would never be active";
        let remedy = format!("add one of {}", MONITORS.join(", "));
        d.fault(FaultKind::Missing, &raw.path, problem, remedy);
    }
    let routing = raw.routing.iter().filter_map(|one| match one {
        Mixed::Text(item) => Some(item.value.clone()),
        Mixed::Table(table) => table.clone(),
    });
    let mut peer: Vec<PeerEvent> = raw.peer.iter().map(|item| item.value).collect();
    peer.sort_unstable();
    peer.dedup();
    RedundancyEvent {
        name: raw.name.clone(),
        links: resolve(&raw.links, "interfaces", known.interfaces, d),
        link_weight: raw.link_weight as u8,
        service_failure: raw.service_failure,
        routing_processes: routing.collect(),
        peer,
        tracked: resolve(&raw.tracked, "tracked-ips", known.tracked, d),
        zones: resolve(&raw.zones, "zones", known.zones, d),
        check: raw.check.clone().flatten(),
        hold_s: raw.hold_s as u16,
    }
}
