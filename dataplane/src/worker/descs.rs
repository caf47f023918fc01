//! The descriptions of a burst: a vector that cannot grow, so that putting one in is a store and nothing else.

use std::ops::{Deref, DerefMut};

use tandem_engine::packet::{Desc, Side};
use tandem_engine::program::NONE;
use tandem_wire::l4::{Fragment, Ipv4Meta, L4};

use super::BURST;

/// Stands for a packet that is not parsed (yet).
pub(super) const UNPARSED: Ipv4Meta = Ipv4Meta {
    src: 0,
    dst: 0,
    l4: L4::Other,
    l4_offset: 0,
    total_len: 0,
    id: 0,
    fragment_offset: 0,
    fragment: Fragment::None,
    more_fragments: false,
    dont_fragment: false,
    proto: 0,
    ttl: 0,
    tos: 0,
};

/// At most [`BURST`] descriptions.
#[derive(Debug)]
pub(super) struct Descs {
    all: Box<[Desc; BURST]>,
    len: usize,
}

impl Descs {
    pub(super) fn new() -> Self {
        Self {
            all: Box::new([Desc::new(UNPARSED, NONE, Side::Neither); BURST]),
            len: 0,
        }
    }

    /// Puts one in; a packet beyond the burst's size has no description, and nobody asks for it: bursts are as long.
    #[inline(always)]
    pub(super) fn push(&mut self, desc: Desc) {
        if let Some(slot) = self.all.get_mut(self.len) {
            *slot = desc;
            self.len += 1;
        }
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl Deref for Descs {
    type Target = [Desc];
    #[inline(always)]
    fn deref(&self) -> &[Desc] {
        self.all.get(..self.len).unwrap_or(&[])
    }
}

impl DerefMut for Descs {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [Desc] {
        self.all.get_mut(..self.len).unwrap_or(&mut [])
    }
}
