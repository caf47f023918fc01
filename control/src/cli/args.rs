//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::redundancy_args::{ConfigurationView, RedundancyView, ReplicationView, Request};

/// Tandem: ask and direct a running carrier-grade NAT.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "tandem",
    version,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = "Exit codes: 0 done, 1 refused or negative, 2 usage, 3 daemon not reachable.")]
pub struct Cli {
    /// Where the daemon's API is.
    #[arg(long, global = true, env = "TANDEM_API", default_value_t = format!("http://{}", crate::api::DEFAULT_BIND), value_name = "URL")]
    pub api: String,
    /// File with the API's bearer token.
    #[arg(long, global = true, env = "TANDEM_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Show state of the daemon.
    Show(Show),
    /// End something.
    #[command(subcommand)]
    Clear(Clear),
    /// Who has a public address and port now, or what an inside address has; exit code 1 when nobody, or nothing.
    Lookup(Lookup),
    /// Static mappings: all there are, and those set at run time.
    #[command(subcommand)]
    StaticMapping(StaticMapping),
    /// Let the daemon read its config file again. A file with faults changes nothing.
    Reload {
        /// End the sessions that the new policies would not let begin.
        #[arg(long)]
        reevaluate: bool,
        /// Not at the peer, also where the configuration is propagated.
        #[arg(long)]
        local: bool,
    },
    /// Check a config file without a daemon: all faults to standard error.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Ask the pair for a change: a role, a resynchronization.
    #[command(subcommand)]
    Request(Request),
    /// The pair of chassis.
    #[command(subcommand)]
    Ha(Ha),
}

/// What to do for the pair.
#[derive(Clone, Debug, Subcommand)]
pub enum Ha {
    /// Make this chassis' key and certificate for the replication channel: NAME.key and NAME.crt. Overwrites nothing.
    Keygen {
        /// Folder they are written to; it has to be there.
        #[arg(long, value_name = "FOLDER")]
        directory: PathBuf,
        /// This chassis' name: letters, digits, '-', '_' and '.'.
        #[arg(long)]
        name: String,
    },
}

/// What to end.
#[derive(Clone, Debug, Subcommand)]
pub enum Clear {
    /// End the sessions that match; needs a filter or --all.
    Sessions {
        /// Which.
        #[command(flatten)]
        filter: SessionFilter,
        /// Every session.
        #[arg(long)]
        all: bool,
        /// On both chassis of the pair; exit code 1 unless both did it.
        #[arg(long)]
        cluster: bool,
    },
}

/// What to look up.
#[derive(Clone, Debug, Args)]
pub struct Lookup {
    /// The public end, ADDRESS:PORT or [ADDRESS]:PORT; the port of ICMP is its id.
    #[arg(
        value_name = "ADDRESS:PORT",
        required_unless_present = "inside",
        conflicts_with = "inside"
    )]
    pub public: Option<String>,
    /// The inside address instead.
    #[arg(long, value_name = "ADDRESS")]
    pub inside: Option<String>,
    /// A port or ICMP id of the inside address.
    #[arg(long, requires = "inside")]
    pub port: Option<String>,
    /// Protocol: a name or a number; any when not given.
    #[arg(long)]
    pub protocol: Option<String>,
    /// Print JSON as the API gives it instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// What to do with static mappings.
#[derive(Clone, Debug, Subcommand)]
pub enum StaticMapping {
    /// All static mappings, of the file and set at run time.
    List {
        /// Service set.
        #[arg(long, value_name = "NAME")]
        service_set: Option<String>,
        /// Only those of the file (config) or set at run time (api).
        #[arg(long)]
        origin: Option<String>,
        /// How many.
        #[command(flatten)]
        limit: Limit,
        /// Print JSON as the API gives it instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Set one, beside those of the file. One that contradicts the running configuration changes nothing.
    Add {
        /// Service set.
        service_set: String,
        /// Its name.
        name: String,
        /// Inside address, prefix or range.
        #[arg(long, value_name = "ADDRESS")]
        inside: String,
        /// Public address, prefix or range.
        #[arg(long, value_name = "ADDRESS")]
        public: String,
        /// Protocol: a name or a number; with ports.
        #[arg(long)]
        protocol: Option<String>,
        /// Port or ports outside, 80 or 8000-8009; the whole address when not given.
        #[arg(long, value_name = "PORTS")]
        public_ports: Option<String>,
        /// Port or ports inside; the public ones when not given.
        #[arg(long, value_name = "PORTS")]
        inside_ports: Option<String>,
        /// Sessions from inside do not use it.
        #[arg(long)]
        inbound_only: bool,
    },
    /// Take one away that was set at run time; its sessions end.
    Remove {
        /// Service set.
        service_set: String,
        /// Its name.
        name: String,
    },
}

/// What to show, and how.
#[derive(Clone, Debug, Args)]
pub struct Show {
    /// Print JSON as the API gives it instead of tables.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to show.
    #[command(subcommand)]
    pub what: What,
}

/// What to show.
#[derive(Clone, Debug, Subcommand)]
pub enum What {
    /// Health; exit code 1 unless all checks pass.
    Health,
    /// Versions.
    Version,
    /// The running configuration in short, and what the last reload said.
    Config,
    /// The configurations of both chassis beside each other.
    #[command(subcommand)]
    Configuration(ConfigurationView),
    /// Interfaces, their state and the ports' counters.
    Interfaces,
    /// Workers, their load and tables.
    Workers,
    /// Routes as the workers have them.
    Routes {
        /// Exactly this prefix.
        #[arg(long)]
        prefix: Option<String>,
        /// Routes that cover this address; the last is the one used.
        #[arg(long, value_name = "ADDRESS")]
        covers: Option<String>,
        /// Routes with a next hop by this interface.
        #[arg(long)]
        interface: Option<String>,
        /// How many.
        #[command(flatten)]
        limit: Limit,
    },
    /// Neighbours on the links.
    Neighbours,
    /// Pools and their use.
    Pools,
    /// One subscriber: addresses, limits, blocks, sessions.
    Subscriber {
        /// Its inside address.
        address: String,
        /// How many.
        #[command(flatten)]
        limit: Limit,
    },
    /// Subscribers.
    Subscribers {
        /// Inside address or prefix.
        #[arg(long, value_name = "ADDRESS")]
        inside_address: Option<String>,
        /// Paired public address.
        #[arg(long, value_name = "ADDRESS")]
        public_address: Option<String>,
        /// Service set.
        #[arg(long, value_name = "NAME")]
        service_set: Option<String>,
        /// Pool.
        #[arg(long, value_name = "NAME")]
        pool: Option<String>,
        /// How many.
        #[command(flatten)]
        limit: Limit,
    },
    /// Sessions.
    Sessions {
        /// Which.
        #[command(flatten)]
        filter: SessionFilter,
        /// How many.
        #[command(flatten)]
        limit: Limit,
        /// Only count them.
        #[arg(long, conflicts_with = "limit")]
        count: bool,
        /// Also real outside address, translation type, policy, timeout, age, bytes, worker, term, service set and pool.
        #[arg(long)]
        wide: bool,
    },
    /// Endpoint-independent mappings.
    Mappings {
        /// Protocol: a name or a number.
        #[arg(long)]
        protocol: Option<String>,
        /// Inside port or ICMP id.
        #[arg(long, value_name = "PORT")]
        inside_port: Option<String>,
        /// Which.
        #[command(flatten)]
        filter: BlockFilter,
        /// How many.
        #[command(flatten)]
        limit: Limit,
    },
    /// Port blocks in subscribers' hands.
    Blocks {
        /// Which.
        #[command(flatten)]
        filter: BlockFilter,
        /// How many.
        #[command(flatten)]
        limit: Limit,
    },
    /// Firewall policies in order, and how many first packets each decided about.
    Policies {
        /// Service set.
        #[arg(long, value_name = "NAME")]
        service_set: Option<String>,
        /// outbound or inbound.
        #[arg(long)]
        direction: Option<String>,
        /// How many.
        #[command(flatten)]
        limit: Limit,
    },
    /// Replication with the peer of each redundancy group: state, lag, what waits.
    Replication {
        /// More of it.
        #[command(subcommand)]
        view: Option<ReplicationView>,
    },
    /// Redundancy sets and their roles on both chassis.
    Redundancy {
        /// More of it.
        #[command(subcommand)]
        view: Option<RedundancyView>,
    },
    /// All named counters.
    Counters {
        /// Also those at zero.
        #[arg(long)]
        all: bool,
    },
    /// Why packets were dropped.
    Drops {
        /// Also reasons at zero.
        #[arg(long)]
        all: bool,
    },
}

/// How many rows.
#[derive(Clone, Copy, Debug, Args)]
pub struct Limit {
    /// At most this many rows; 0 for all.
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub limit: usize,
}

/// Which sessions.
#[derive(Clone, Debug, Args)]
pub struct SessionFilter {
    /// Protocol: a name or a number.
    #[arg(long)]
    pub protocol: Option<String>,
    /// Inside address or prefix.
    #[arg(long, value_name = "ADDRESS")]
    pub inside_address: Option<String>,
    /// Inside port or ICMP id.
    #[arg(long, value_name = "PORT")]
    pub inside_port: Option<String>,
    /// Public address.
    #[arg(long, value_name = "ADDRESS")]
    pub public_address: Option<String>,
    /// Public port or ICMP id.
    #[arg(long, value_name = "PORT")]
    pub public_port: Option<String>,
    /// Outside address.
    #[arg(long, value_name = "ADDRESS")]
    pub outside_address: Option<String>,
    /// Outside port.
    #[arg(long, value_name = "PORT")]
    pub outside_port: Option<String>,
    /// Service set.
    #[arg(long, value_name = "NAME")]
    pub service_set: Option<String>,
    /// Pool.
    #[arg(long, value_name = "NAME")]
    pub pool: Option<String>,
}

/// Which blocks, and most of which mappings.
#[derive(Clone, Debug, Args)]
pub struct BlockFilter {
    /// Inside address or prefix.
    #[arg(long, value_name = "ADDRESS")]
    pub inside_address: Option<String>,
    /// Public address.
    #[arg(long, value_name = "ADDRESS")]
    pub public_address: Option<String>,
    /// Public port (for blocks: one inside the block).
    #[arg(long, value_name = "PORT")]
    pub public_port: Option<String>,
    /// Service set.
    #[arg(long, value_name = "NAME")]
    pub service_set: Option<String>,
    /// Pool.
    #[arg(long, value_name = "NAME")]
    pub pool: Option<String>,
}

/// Query parameters as the API takes them.
pub type Pairs = Vec<(&'static str, String)>;

/// Those that were given.
pub fn given(pairs: &[(&'static str, &Option<String>)]) -> Pairs {
    pairs
        .iter()
        .filter_map(|(key, value)| value.as_ref().map(|value| (*key, value.clone())))
        .collect()
}

impl SessionFilter {
    /// As query parameters. The daemon checks the values, so that both say the same of a wrong one.
    pub fn pairs(&self) -> Pairs {
        given(&[
            ("protocol", &self.protocol),
            ("inside-address", &self.inside_address),
            ("inside-port", &self.inside_port),
            ("public-address", &self.public_address),
            ("public-port", &self.public_port),
            ("outside-address", &self.outside_address),
            ("outside-port", &self.outside_port),
            ("service-set", &self.service_set),
            ("pool", &self.pool),
        ])
    }
}

impl BlockFilter {
    /// As query parameters.
    pub fn pairs(&self) -> Pairs {
        given(&[
            ("inside-address", &self.inside_address),
            ("public-address", &self.public_address),
            ("public-port", &self.public_port),
            ("service-set", &self.service_set),
            ("pool", &self.pool),
        ])
    }
}
