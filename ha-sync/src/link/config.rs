//! What a link is made with.

use crate::frame;
use crate::wire::{Dictionary, Versions};

/// Octets of a batch's records at most, before its header: what one message carries.
pub const BATCH_BYTES_MAX: usize = 64 << 10;

const _: () = assert!(BATCH_BYTES_MAX + 1024 < frame::PAYLOAD_MAX as usize);

/// What a link is made with. Times are milliseconds.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// A number no other start of this daemon had (random, not zero): a peer that knows it has not restarted may go on where the
    /// stream broke.
    pub incarnation: u64,
    /// Shards of the engines; the same on both chassis. 1..=240.
    pub shards: u8,
    /// Digest of what must be configured alike on both.
    pub digest: [u8; 32],
    /// What ids are called on the wire.
    pub dictionary: Dictionary,
    /// Sessions are replicated; otherwise only roles are exchanged (NSRP-Lite).
    pub replicate: bool,
    /// Octets kept for sending again until they are acknowledged, with what holds them. 64 KiB and more.
    pub window_bytes: usize,
    /// Operations kept beside the window when it is full, at most; then nothing more is taken from the chassis.
    pub pending_max: usize,
    /// Octets of one batch of records. 512..=[`BATCH_BYTES_MAX`].
    pub batch_bytes: usize,
    /// Octets one call of [`super::Link::poll`] writes at most, save that one message always fits.
    pub poll_bytes: usize,
    /// A message goes out at least this often.
    pub keepalive_ms: u64,
    /// The peer is lost after so many keepalives that did not come.
    pub keepalive_lost: u32,
    /// What is not acknowledged for so long is sent again; zero: never, because the transport is reliable (as TCP is).
    pub retransmit_ms: u64,
    /// The wire versions that are spoken.
    pub versions: Versions,
    /// How long operations are kept for a peer that is gone, so that it need not be told everything anew.
    pub resume_ms: u64,
}

impl LinkConfig {
    /// With the defaults: 64 MiB of window, 131,072 operations beside it, batches of 16 KiB, a keepalive each 4 s and lost after
    /// 16 (redundancy spec, section 3), a reliable transport, two minutes of memory for a peer that is gone.
    #[must_use]
    pub fn new(incarnation: u64, shards: u8, digest: [u8; 32], dictionary: Dictionary) -> Self {
        Self {
            incarnation,
            shards,
            digest,
            dictionary,
            replicate: true,
            window_bytes: 64 << 20,
            pending_max: 131_072,
            batch_bytes: 16 << 10,
            poll_bytes: 256 << 10,
            keepalive_ms: 4000,
            keepalive_lost: 16,
            retransmit_ms: 0,
            versions: Versions::ALL,
            resume_ms: 120_000,
        }
    }
}
