//! The part of the command line that is about the pair.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::api::model::{ObjectType, WantedRole};

/// What else of replication.
#[derive(Clone, Debug, Subcommand)]
pub enum ReplicationView {
    /// Everything: channel and certificates, bulks, queues, counters.
    Extensive,
    /// What of the configuration both chassis must have alike, as text.
    Config {
        /// Number of the redundancy group.
        group: u8,
        /// Only the lines that differ from this file, which has the other chassis' text; exit code 1 when there are any.
        #[arg(long, value_name = "FILE")]
        compare: Option<PathBuf>,
    },
}

/// What else of redundancy.
#[derive(Clone, Debug, Subcommand)]
pub enum RedundancyView {
    /// One line for each set, and the colour.
    Brief,
    /// Everything: each set, heartbeats, the guard.
    Extensive,
    /// What was counted: heartbeats by path, changes of roles by cause.
    Statistics,
    /// One set.
    Set {
        /// Its number.
        set: u8,
    },
    /// What became of the roles, the latest first.
    Events {
        /// Number of the redundancy set.
        #[arg(long, value_name = "N")]
        set: Option<u8>,
        /// At most this many, 1..=10000; the last 1000 since the daemon's start are kept.
        #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
        limit: u16,
    },
}

/// What to ask the pair for.
#[derive(Clone, Debug, Subcommand)]
pub enum Request {
    /// Roles of redundancy sets.
    #[command(subcommand)]
    Redundancy(RequestRedundancy),
    /// Replication.
    #[command(subcommand)]
    Replication(RequestReplication),
    /// The configuration that both chassis share.
    #[command(subcommand)]
    Configuration(RequestConfiguration),
    /// The files that both chassis share.
    #[command(subcommand)]
    Files(RequestFiles),
}

/// What of both configurations.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ConfigurationView {
    /// Where the shared parts differ; exit code 1 when they do.
    Compare,
    /// The files both must have alike; exit code 1 when they are not.
    Files,
}

/// What to ask of the configuration.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum RequestConfiguration {
    /// Take the shared part of the peer's configuration over: all of it, or nothing when the result has faults. Comments and the
    /// local-only part of this chassis' file stay; the file before is kept as FILE.previous.
    Pull {
        /// Change nothing, only say what would change.
        #[arg(long)]
        dry_run: bool,
    },
}

/// What to ask of files.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum RequestFiles {
    /// Take those that differ from the peer; they are used from the next start on.
    Synchronize,
}

/// What to ask of redundancy.
#[derive(Clone, Debug, Subcommand)]
pub enum RequestRedundancy {
    /// Make the other chassis primary, whichever is: a primary releases the set, a standby acquires it.
    Switchover {
        /// Number of the redundancy set.
        set: u8,
        /// As with the role that it comes to on this chassis.
        #[arg(long)]
        force: bool,
    },
    /// Say which member of a redundant interface is active.
    Interface {
        /// Its name.
        interface: String,
        /// What.
        #[command(subcommand)]
        what: RequestMember,
    },
    /// Take up a role for a redundancy set on this chassis, take the set out or put it back, or warn the peer.
    Set {
        /// Its number.
        set: u8,
        /// primary: the peer, if it is there, is asked to release it; standby: release it to the peer; ineligible: take it out, so
        /// that this chassis hands over when it can and takes nothing; eligible: put it back; warning: let the peer see TEXT.
        #[arg(value_parser = wanted, value_name = "primary|standby|ineligible|eligible|warning")]
        wanted: Wanted,
        /// The warning, which lasts until it is taken back by one without a text.
        text: Option<String>,
        /// primary: also when this chassis is in `wait`; what it lacks is lost. standby: also when the peer does not know all, or is
        /// not there to take over. It takes no role from a peer that is connected and does not answer within 5 s.
        #[arg(long)]
        force: bool,
    },
}

/// What to ask of a redundant interface.
#[derive(Clone, Debug, Subcommand)]
pub enum RequestMember {
    /// Make this member active, as if it were the primary, until it is reverted; not one whose link is down.
    Force {
        /// Its name.
        member: String,
    },
    /// Prefer the primary again; it becomes active at once if its link is up.
    Revert,
}

/// What to ask of replication.
#[derive(Clone, Debug, Subcommand)]
pub enum RequestReplication {
    /// Tell everything anew, or some types of objects, beside what changes. It is seldom needed: overflows and breaks see to it
    /// themselves.
    Resync(ResyncArgs),
}

/// Which resynchronization.
#[derive(Clone, Debug, Args)]
pub struct ResyncArgs {
    /// Number of the redundancy group; needed when there are several.
    #[arg(long, value_name = "N")]
    pub group: Option<u8>,
    /// The peer tells this chassis.
    #[arg(long, conflicts_with = "to_peer", required_unless_present = "to_peer")]
    pub from_peer: bool,
    /// This chassis tells the peer.
    #[arg(long)]
    pub to_peer: bool,
    /// session, mapping, block, separated by commas; all when not given.
    #[arg(long, value_delimiter = ',', value_parser = object_type, value_name = "TYPES")]
    pub objects: Vec<ObjectType>,
}

/// What is wanted of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A role.
    Role(WantedRole),
    /// That it may have the primary role here, or may not.
    Eligible(bool),
    /// That the peer sees a warning.
    Warning,
}

fn wanted(text: &str) -> Result<Wanted, String> {
    match text {
        "primary" => Ok(Wanted::Role(WantedRole::Primary)),
        "standby" => Ok(Wanted::Role(WantedRole::Standby)),
        "ineligible" => Ok(Wanted::Eligible(false)),
        "eligible" => Ok(Wanted::Eligible(true)),
        "warning" => Ok(Wanted::Warning),
        _ => Err("use primary, standby, ineligible, eligible or warning".to_owned()),
    }
}

fn object_type(text: &str) -> Result<ObjectType, String> {
    let named = ObjectType::ALL.into_iter().find(|one| one.as_str() == text);
    named.ok_or_else(|| "use session, mapping, block".to_owned())
}
