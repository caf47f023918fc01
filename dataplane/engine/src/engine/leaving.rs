//! A packet on its way out as routes see it: how long it will be, and what its sender is told when that is too long.
//!
//! One rule for all packets, with a session or without: RFC 7915 sections 4.1 and 5.1 for those that change their family.

use tandem_wire::{Fragment, ipv4, ipv6};

use crate::drop_reason::DropReason;
use crate::packet::{Answer, Desc, RouteKind, Verdict};
use crate::packet6::Desc6;

/// MTU every IPv6 link has. RFC 8200 section 5.
pub(super) const LOWEST_MTU: u16 = 1280;

/// IPv4 packets up to this length go without DF: what an IPv6 host cannot make smaller, routers may fragment. RFC 7915 section
/// 5.1.
const DF_ABOVE: u32 = (LOWEST_MTU as usize - (ipv6::HEADER_LEN - ipv4::HEADER_LEN)) as u32;

/// What a route has to know of a packet that leaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    /// Octets it will have: as IPv6 they may be more than its 16 bits of length can say.
    pub length: u32,
    /// Whether it must not be fragmented.
    pub whole: bool,
    /// How much shorter than that it was when it came: what its sender may send is the next hop's MTU less this.
    pub grown: i32,
    /// What picks among equal routes.
    pub hash: u32,
    /// It went round already.
    pub hairpinned: bool,
    /// Its sender speaks IPv6.
    pub from_six: bool,
}

impl Leaving {
    /// IPv4 that stays IPv4.
    #[inline(always)]
    pub fn four(desc: &Desc) -> Self {
        Self {
            length: u32::from(desc.meta.total_len),
            whole: desc.meta.dont_fragment,
            grown: 0,
            hash: desc.flow_hash(),
            hairpinned: desc.hairpinned,
            from_six: false,
        }
    }

    /// IPv6 that stays IPv6.
    #[inline(always)]
    pub fn six(desc: &Desc6) -> Self {
        Self {
            length: u32::from(desc.meta.total_len),
            whole: true,
            grown: 0,
            hash: desc.flow_hash(),
            hairpinned: false,
            from_six: true,
        }
    }

    /// IPv6 that becomes IPv4. RFC 7915 section 5.1.
    #[inline(always)]
    pub fn six_to_four(desc: &Desc6) -> Self {
        let length = ipv4::HEADER_LEN as u32 + u32::from(desc.meta.payload_len());
        Self {
            length,
            whole: desc.meta.fragment_header == 0 && length > DF_ABOVE,
            grown: length as i32 - i32::from(desc.meta.total_len),
            ..Self::six(desc)
        }
    }

    /// IPv4 that becomes IPv6. RFC 7915 section 4.1.
    #[inline(always)]
    pub fn four_to_six(desc: &Desc) -> Self {
        let room = match desc.meta.fragment {
            Fragment::None => 0,
            Fragment::First | Fragment::Later => ipv6::FRAGMENT_LEN,
        };
        let length = (ipv6::HEADER_LEN + room) as u32 + u32::from(desc.meta.payload_len());
        Self {
            length,
            grown: length as i32 - i32::from(desc.meta.total_len),
            ..Self::four(desc)
        }
    }

    /// What its sender is told when a route says no.
    pub fn answer_to_route(&self, reason: DropReason) -> Answer {
        if self.from_six {
            Answer::to_route6(reason)
        } else {
            Answer::to_route(reason)
        }
    }

    /// Whether a link takes it, as it is or in fragments; otherwise its sender is told what it may send. An IPv6 host is never
    /// told less than every IPv6 link takes, since it would not send less: then it is `whole` no longer.
    #[inline(always)]
    pub fn fits(&self, mtu: u16) -> Result<(), Verdict> {
        if !self.whole || self.length <= u32::from(mtu) {
            return Ok(());
        }
        let lowest = if self.from_six { LOWEST_MTU } else { 0 };
        let most = (i32::from(mtu) - self.grown).clamp(i32::from(lowest), i32::from(u16::MAX));
        let answer = Answer::FragmentationNeeded(most as u16);
        Err(Verdict::Drop(DropReason::MtuExceeded, answer))
    }

    /// The length a packet that becomes IPv6 is cut to, if it has to be. Without DF its sender knows of no path MTU: then that
    /// is `lowest`, what IPv6 passes everywhere. RFC 7915 section 4.1.
    #[inline(always)]
    pub fn cut(&self, route: RouteKind, lowest: u16) -> Option<u16> {
        let limit = link_mtu(route).min(lowest);
        (!self.whole && self.length > u32::from(limit)).then_some(limit)
    }
}

/// MTU of the link a route leads to, 65535 when it is none of ours. Of a quoted packet's link RFC 7915 counts it in,
/// whatever the error says.
pub(super) const fn link_mtu(route: RouteKind) -> u16 {
    match route {
        RouteKind::Forward { mtu, .. } => mtu,
        RouteKind::Kernel | RouteKind::Drop(_) => u16::MAX,
    }
}

/// A packet that is dropped without a word.
pub(super) const fn drop(reason: DropReason) -> Verdict {
    Verdict::Drop(reason, Answer::None)
}
