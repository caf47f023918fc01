//! What the API shows, as types: the daemon fills them, the router writes them as JSON, the CLI reads them back.
//!
//! One set of types serves all three, so that a field cannot be renamed in one place only. JSON keys are kebab-case
//! like the config file's; a field that can be filtered on has the name of its query parameter; units stand last in
//! a name (`-ms`, `-s`, `-bytes`).

mod cluster;
mod counter;
mod firewall;
mod interface;
mod lookup;
mod names;
mod page;
mod pool;
mod redundancy;
mod redundancy_light;
mod redundancy_view;
mod replication;
mod routing;
mod rows;
mod static_mapping;
mod system;
mod worker;

pub use cluster::{
    ConfigComparison, ConfigPull, FileState, PeerCleared, PeerReload, SharedFileRow, SharedFiles,
};
pub use counter::{Counter, CounterGroup};
pub use firewall::{DIRECTIONS, Hits, Policy, action_name};
pub use interface::{
    DownReason, Interface, LinkState, Mac, MemberRequest, MemberState, MemberSwitch, MemberWait,
    PortCounters, RedundantState,
};
pub use lookup::{Holder, Lookup, Source};
pub use names::Names;
pub use page::{Cleared, List, Page};
pub use pool::{Pool, Use};
pub use redundancy::{
    EligibilityRequest, RedundancyEvent, RedundancySet, RoleCause, RoleChange, RoleRequest, RoleState,
    SetRequest, SwitchoverRequest, WantedRole, WarningRequest,
};
pub use redundancy_light::CLOCK_SKEW_US_MAX;
pub use redundancy_view::{
    Cluster, GuardProcess, HeartbeatCounters, HeartbeatGroup, HeartbeatPath, Hold, Light, Outside, PeerOfSet,
    Redundancy, RoleCount, SignalRouteOfSet, TrackFileOfSet, VirtualAddressOfSet, Weights,
};
pub use replication::{
    BulkSync, Certificate, Channel, ConfigDifference, Digests, FailureCount, GroupView, Lag, LastFailure,
    LinkCounters, MirrorState, ObjectType, Objects, PartDiffers, PoisonBatch, Queues, RefusedInstalls,
    ReplicatedConfig, Replication, ReplicationGroup, ReplicationState, Resync, ResyncDirection,
    ResyncRequest, WorkerReplication, hexadecimal,
};
pub use routing::{Neighbour, NeighbourState, NextHop, Route, RouteAction, RouteQuery, RouteRows};
pub use rows::{
    ANY_PROTOCOL, Block, Limits, Mapping, Session, Subscriber, SubscriberDetail, protocol_name,
    protocol_number,
};
pub use static_mapping::{Committed, NewStaticMapping, StaticMapping, inside_range};
pub use system::{Check, ConfigSummary, Fault, Health, HealthStatus, ReloadReport, Version, unix_seconds};
pub use worker::Worker;
