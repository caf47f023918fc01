//! From what is monitored to what counts: conditions held for a time, events made of them, and the sums of their weights.
//! Redundancy spec, sections 1 and 4.

mod event;
mod weights;

pub use event::{Edge, Event, Sight};
pub use weights::Weights;
