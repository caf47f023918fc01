//! What the API shows, as types: the daemon fills them, the router writes them as JSON, the CLI reads them back.
//!
//! One set of types serves all three, so that a field cannot be renamed in one place only. JSON keys are kebab-case
//! like the config file's; a field that can be filtered on has the name of its query parameter; units stand last in
//! a name (`-ms`, `-s`, `-bytes`).

mod counter;
mod interface;
mod page;
mod pool;
mod routing;
mod rows;
mod system;
mod worker;

pub use counter::{Counter, CounterGroup};
pub use interface::{DownReason, Interface, LinkState, Mac, PortCounters};
pub use page::{Cleared, List, Page};
pub use pool::{Pool, Use};
pub use routing::{Neighbour, NeighbourState, NextHop, Route, RouteAction, RouteQuery, RouteRows};
pub use rows::{
    Block, Limits, Mapping, Names, Session, Subscriber, SubscriberDetail, protocol_name, protocol_number,
};
pub use system::{Check, ConfigSummary, Fault, Health, HealthStatus, ReloadReport, Version};
pub use worker::Worker;
