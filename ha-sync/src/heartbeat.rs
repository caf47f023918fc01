//! Heartbeats: small authenticated UDP datagrams by which each chassis knows that the other one lives, and what its sets are.
//!
//! ```text
//!   what is told of our sets --> Detector --> Codec --> UDP, on every path (control, data, secondary)
//!   events, status           <--   (times)  <-- (key) <-- UDP
//! ```
//!
//! [`Detector`] has no I/O: datagrams and times go in, datagrams and events come out. [`run`] drives one on a thread of its own. What is
//! sent, who is believed and what ends a life is written down in `docs/heartbeats.md`. Redundancy spec, sections 1, 2 and 6.

mod beat;
mod codec;
mod detector;
mod event;
mod gone;
mod key;
mod life;
mod orders;
mod path;
mod place;
mod run;
mod window;

pub use beat::{
    Beat, BeatTiming, INTERVAL_MS_MAX, INTERVAL_MS_MIN, Kind, LOST_THRESHOLD_MIN, PathId, SETS_MAX, SetBeat,
    SetState,
};
pub use codec::{BEAT_VERSION, BEAT_VERSION_OLDEST, BeatError, Codec, DATAGRAM_LEN_MAX};
pub use detector::Detector;
pub use event::{Datagram, HeartbeatEvent, LostWhy, Now};
pub use gone::{gone_datagram, say_gone};
pub use key::{FileKey, KeyFileError};
pub use life::{DetectorStatus, PeerLife, PeerStatus};
pub use path::{PathCounters, PathState};
pub use place::PathConfig;
pub use run::{
    HeartbeatConfig, HeartbeatError, HeartbeatStatus, HeartbeatView, Heartbeats, PathPlace, real_time, run,
};
