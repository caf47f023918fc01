//! The one door between the API and everything it shows: a trait the daemon implements.
//!
//! Nothing here knows DPDK. Numbers that live in shared memory (counters, heartbeats, link state) come back at once;
//! rows of the tables are asked of one worker at a time, because a worker alone may touch its tables and answers
//! between two bursts. The API walks the workers itself, so the daemon only has to carry a question there and back.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use tandem_engine::program::{Program, ServiceSetId, SubscriberLimits};
use tandem_engine::view::Query;

use super::model::{
    Committed, ConfigComparison, ConfigPull, ConfigSummary, Counter, Health, Interface, MemberRequest, Names,
    Neighbour, NewStaticMapping, Pool, Redundancy, RedundancyEvent, RedundancySet, RedundantState,
    ReloadReport, ReplicatedConfig, Replication, Resync, ResyncRequest, RoleChange, RoleRequest, RouteQuery,
    RouteRows, SetRequest, SharedFiles, Version, Worker,
};
use super::params::SessionParams;

/// Most events of redundancy sets that are kept.
pub const EVENTS_MAX: usize = 1000;

/// Why the daemon could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// Somebody that had to be asked did not answer in time: a stalled worker, a full question ring.
    #[error("{who} did not answer in time")]
    NoAnswer {
        /// Who, for example `worker 1`.
        who: String,
    },
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
    /// A change contradicts the running configuration, and nothing was changed.
    #[error("{key}: {why}")]
    Contradicts {
        /// The key it is about.
        key: String,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// The state of the pair does not allow what was asked for, and nothing was changed: why, and what would help.
    #[error("{0}")]
    Refused(String),
    /// What should be changed is not there.
    #[error("{0}")]
    Unknown(String),
    /// Something else went wrong.
    #[error("{0}")]
    Failed(String),
}

/// What the daemon offers to the API.
///
/// Every method may be called at any time from any task, several at once. A future may be dropped before it is ready
/// (the client went away, or the request's time is over), except those of [`Backend::reload`] and [`Backend::pull_config`], of the changes of static
/// mappings and roles, and of a [`Backend::query`] that ends sessions: these are always driven to their end.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Versions; constant.
    fn version(&self) -> Version;

    /// Workers there are; their ids are `0..worker_count()`. Constant after start.
    fn worker_count(&self) -> u8;

    /// Names of service sets and pools (those of removed ones stay while rows may refer to them), and what the running
    /// program says beside.
    fn names(&self) -> Arc<Names>;

    /// The running program.
    fn program(&self) -> Arc<Program>;

    /// Service set and name of each static mapping that was set at run time.
    fn runtime_statics(&self) -> BTreeSet<(String, String)>;

    /// Sets a static mapping at run time and applies it as a commit.
    ///
    /// [`BackendError::Contradicts`] when it is wrong by itself or does not fit the running configuration.
    async fn add_static_mapping(&self, new: NewStaticMapping) -> Result<Committed, BackendError>;

    /// Takes a static mapping away that was set at run time, and applies that as a commit.
    ///
    /// [`BackendError::Unknown`] when there is none of this name.
    async fn remove_static_mapping(&self, service_set: &str, name: &str) -> Result<Committed, BackendError>;

    /// Limits of a subscriber of this service set; `None` when the running program has no such service set.
    fn subscriber_limits(&self, service_set: ServiceSetId) -> Option<SubscriberLimits>;

    /// The running configuration in short.
    fn config(&self) -> ConfigSummary;

    /// Health, with the checks behind it.
    async fn health(&self) -> Result<Health, BackendError>;

    /// Interfaces in the order of the config file.
    async fn interfaces(&self) -> Result<Vec<Interface>, BackendError>;

    /// Forces a member of a redundant interface, or reverts to the primary.
    ///
    /// [`BackendError::Unknown`] when there is no such redundant interface or member, [`BackendError::Refused`] when the member's link
    /// is down.
    async fn request_member(
        &self,
        interface: &str,
        wanted: MemberRequest,
    ) -> Result<RedundantState, BackendError>;

    /// Workers in the order of their ids. Must answer for a stalled worker too (from what it last published).
    async fn workers(&self) -> Result<Vec<Worker>, BackendError>;

    /// Routes that match, ordered as [`RouteRows::routes`] says, behind `query.after`, at most `query.limit`.
    async fn routes(&self, query: &RouteQuery) -> Result<RouteRows, BackendError>;

    /// All neighbours, by interface and address.
    async fn neighbours(&self) -> Result<Vec<Neighbour>, BackendError>;

    /// Pools in the order of the config file, use added up over the workers ([`Pool::from_use`]).
    async fn pools(&self) -> Result<Vec<Pool>, BackendError>;

    /// Every named counter, those at zero too: all drop reasons ([`Counter::of_drops`]), parse errors
    /// ([`Counter::of_parse_errors`]), dataplane and control events. The API adds its own.
    async fn counters(&self) -> Result<Vec<Counter>, BackendError>;

    /// Carries a question to `worker` (`0..worker_count()`) and brings it back with [`Query::done`] set.
    ///
    /// Ends in bounded time, a few seconds at most: a worker that does not take the question or does not give it back
    /// is a [`BackendError::NoAnswer`]. A clear is driven to its end without the client's patience as a bound.
    async fn query(&self, worker: u8, query: Query) -> Result<Query, BackendError>;

    /// Reads the config file again and applies it when it has no fault. A refused file is an `Ok` report with
    /// `applied == false`; `Err` is for a reload that could not be tried. Calls are taken one after the other.
    /// `local`: not at the peer, also where the configuration is propagated.
    async fn reload(&self, local: bool) -> Result<ReloadReport, BackendError>;

    /// The shared parts of both chassis' configurations.
    ///
    /// [`BackendError::Refused`] when the peer is not there or does not know the question, as of all that follow.
    async fn compare_config(&self) -> Result<ConfigComparison, BackendError>;

    /// Takes the peer's shared part over, or says what that would be. Faults are an `Ok` answer that has them, as of a reload.
    async fn pull_config(&self, dry_run: bool) -> Result<ConfigPull, BackendError>;

    /// Files both chassis must have alike; with `take`, those that differ are taken from the peer.
    async fn shared_files(&self, take: bool) -> Result<SharedFiles, BackendError>;

    /// Ends sessions at the peer.
    async fn clear_at_peer(&self, filter: SessionParams) -> Result<u64, BackendError>;

    /// Redundancy groups that run, by number, and what the workers count of replication.
    async fn replication(&self) -> Result<Replication, BackendError>;

    /// Begins a resynchronization with the peer of a redundancy group.
    ///
    /// [`BackendError::Unknown`] when no such group runs, [`BackendError::Refused`] when nothing is replicated with its peer now.
    async fn resync(&self, group: u8, wanted: ResyncRequest) -> Result<Resync, BackendError>;

    /// What both chassis of a redundancy group must have alike; `None` when the running configuration has no such group.
    fn replicated_config(&self, group: u8) -> Option<ReplicatedConfig>;

    /// Redundancy sets that run, by number.
    fn redundancy_sets(&self) -> Vec<RedundancySet>;

    /// The pair as a whole, with its colour.
    fn redundancy(&self) -> Redundancy;

    /// What became of the roles of redundancy sets since start, the latest first; at most [`EVENTS_MAX`].
    fn redundancy_events(&self) -> Vec<RedundancyEvent>;

    /// Takes up a role for a redundancy set, by the rules of the redundancy spec, section 1. Ready when this chassis has the
    /// role, in a few seconds at most; a role it has already is no error.
    ///
    /// [`BackendError::Unknown`] when no such set runs, [`BackendError::Refused`] when the state does not allow it or the peer
    /// does not agree, [`BackendError::NoAnswer`] when the peer or a worker does not answer.
    async fn request_role(&self, set: u8, wanted: RoleRequest) -> Result<RoleChange, BackendError>;

    /// Asks something else of a redundancy set. Errors as of [`Backend::request_role`]; a set whose role changes by command alone
    /// cannot be taken out, and warns of nothing.
    async fn request_set(&self, set: u8, wanted: SetRequest) -> Result<RoleChange, BackendError>;
}
