//! The descriptions of a burst: a vector that cannot grow, so that putting one in is a store and nothing else.

use std::ops::{Deref, DerefMut};

use tandem_engine::packet::{Desc, Side};
use tandem_engine::packet6::Desc6;
use tandem_engine::program::NONE;
use tandem_wire::l4::{Fragment, Ipv4Meta, L4};
use tandem_wire::meta6::Ipv6Meta;

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

/// The same of IPv6.
pub(super) const UNPARSED6: Ipv6Meta = Ipv6Meta {
    src: 0,
    dst: 0,
    l4: L4::Other,
    l4_offset: 0,
    total_len: 0,
    fragment_offset: 0,
    fragment_header: 0,
    fragment_id: 0,
    fragment: Fragment::None,
    more_fragments: false,
    proto: 0,
    hop_limit: 0,
    traffic_class: 0,
    has_extensions: false,
    segments_left_at: 0,
};

/// At most [`BURST`] descriptions.
#[derive(Debug)]
pub(super) struct Descs<D> {
    all: Box<[D; BURST]>,
    len: usize,
}

impl Descs<Desc> {
    pub(super) fn new() -> Self {
        Self::of(Desc::new(UNPARSED, NONE, Side::Neither))
    }
}

impl Descs<Desc6> {
    pub(super) fn new6() -> Self {
        Self::of(Desc6::new(UNPARSED6, NONE, Side::Neither))
    }
}

impl<D: Copy> Descs<D> {
    fn of(nothing: D) -> Self {
        Self {
            all: Box::new([nothing; BURST]),
            len: 0,
        }
    }

    /// Puts one in; a packet beyond the burst's size has no description, and nobody asks for it: bursts are as long.
    #[inline(always)]
    pub(super) fn push(&mut self, desc: D) {
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

impl<D> Deref for Descs<D> {
    type Target = [D];
    #[inline(always)]
    fn deref(&self) -> &[D] {
        self.all.get(..self.len).unwrap_or(&[])
    }
}

impl<D> DerefMut for Descs<D> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [D] {
        self.all.get_mut(..self.len).unwrap_or(&mut [])
    }
}
