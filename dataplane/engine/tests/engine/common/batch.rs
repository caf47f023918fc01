//! Packets of both families on their way through a world: described as a worker describes them, and sorted by family.

use tandem_engine::packet::{Desc, Side, Verdict};
use tandem_engine::packet6::Desc6;
use tandem_engine::program::InterfaceId;
use tandem_wire::l4::{parse_ipv4_verified, parse_plain};
use tandem_wire::parse6::{parse_ipv6, parse_plain_ipv6};

use super::packets6::is_six;

/// A description of a packet of either family.
#[derive(Clone, Copy, Debug)]
pub enum AnyDesc {
    /// Of an IPv4 packet.
    Four(Desc),
    /// Of an IPv6 packet.
    Six(Desc6),
}

impl AnyDesc {
    /// Of a packet that came in on an interface; `plain` when it may be described as a plain one, which takes a shorter way.
    pub fn of(packet: &[u8], interface: InterfaceId, side: Side, plain: bool) -> Self {
        if is_six(packet) {
            if let Some(meta) = parse_plain_ipv6(packet).filter(|_| plain) {
                return Self::Six(Desc6::plain(meta, interface, side));
            }
            let meta = parse_ipv6(packet).expect("tests send well-formed packets");
            return Self::Six(Desc6::new(meta, interface, side));
        }
        if let Some(meta) = parse_plain::<true>(packet).filter(|_| plain) {
            return Self::Four(Desc::plain(meta, interface, side));
        }
        let meta = parse_ipv4_verified(packet).expect("tests send well-formed packets");
        Self::Four(Desc::new(meta, interface, side))
    }

    /// What to do.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Four(desc) => desc.verdict,
            Self::Six(desc) => desc.verdict,
        }
    }

    /// Next hop of a packet to be forwarded.
    pub fn next_hop(&self) -> u16 {
        match self {
            Self::Four(desc) => desc.next_hop,
            Self::Six(desc) => desc.next_hop,
        }
    }

    /// Ports it is looked up by.
    pub fn ports(&self) -> (u16, u16) {
        match self {
            Self::Four(desc) => (desc.sport, desc.dport),
            Self::Six(desc) => (desc.sport, desc.dport),
        }
    }

    /// Whether it went round already.
    pub fn is_hairpinned(&self) -> bool {
        matches!(self, Self::Four(desc) if desc.hairpinned)
    }
}

/// Position in the burst, packet, description.
pub type Work = (usize, Vec<u8>, AnyDesc);

/// Packets of one family.
pub struct Batch<D> {
    /// Positions in the burst.
    pub order: Vec<usize>,
    /// The packets.
    pub packets: Vec<Vec<u8>>,
    /// Their descriptions.
    pub descs: Vec<D>,
}

impl<D> Default for Batch<D> {
    fn default() -> Self {
        Self {
            order: Vec::new(),
            packets: Vec::new(),
            descs: Vec::new(),
        }
    }
}

impl<D> Batch<D> {
    /// Adds a packet.
    pub fn push(&mut self, at: usize, packet: Vec<u8>, desc: D) {
        self.order.push(at);
        self.packets.push(packet);
        self.descs.push(desc);
    }

    /// The packets as work again.
    pub fn done(self, wrap: fn(D) -> AnyDesc) -> Vec<Work> {
        let rest = self.packets.into_iter().zip(self.descs.into_iter().map(wrap));
        self.order
            .into_iter()
            .zip(rest)
            .map(|(i, (p, d))| (i, p, d))
            .collect()
    }
}
