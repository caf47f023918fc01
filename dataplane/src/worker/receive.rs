//! Receive: from a frame to a parsed packet of an interface, or to the kernel mirror.
//!
//! Fragments pass through virtual reassembly here: a later one takes its ports from the first, or waits for it.

use std::net::Ipv4Addr;

use rte_bindings::{Checksum, Mbuf};
use tandem_engine::drop_reason::DropReason;
use tandem_engine::fragments::{Meta, Offer, Released};
use tandem_engine::packet::{Desc, Side};
use tandem_engine::packet6::Desc6;
use tandem_engine::program::NONE;
use tandem_wire::error::ParseError;
use tandem_wire::ethernet;
use tandem_wire::l4::{Fragment, Ipv4Meta, parse_ipv4, parse_ipv4_verified, parse_plain};

use super::descs::{Descs, UNPARSED};
use super::leave::is_ipv6;
use super::receive6::is_ipv6_frame;
use super::{BURST, Burst, PacketNote, Worker};

impl Worker {
    /// Sorts a received burst: IPv4 into the batch, what the kernel shall see to the mirror. A burst of nothing but plain,
    /// untagged packets for us stays where it is.
    pub(super) fn receive(&mut self, port: u8, burst: &mut Box<Burst>) {
        self.batch.clear();
        self.descs.clear();
        let mut bytes = 0;
        for mbuf in burst.as_slice() {
            mbuf.prefetch_data();
            bytes += mbuf.pkt_len();
        }
        self.counters.rx_bytes += u64::from(bytes);
        self.counters.rx_packets += burst.len() as u64;
        let Some(plain) = self.plain(port) else {
            if self.interfaces.is_standby(port) {
                self.drops.0[DropReason::MemberNotActive as usize] += burst.len() as u64;
                return burst.clear();
            }
            for mbuf in burst.drain() {
                self.receive_frame(port, mbuf);
            }
            return;
        };
        // Most bursts are of one family.
        if burst.as_slice().first().is_some_and(is_ipv6_frame) {
            return self.receive_burst6(port, &plain, burst);
        }
        std::mem::swap(&mut self.batch, burst);
        let Self {
            batch, descs, engine, ..
        } = self;
        let others = match engine.ahead(plain.side) {
            Some(ahead) => plain.describe(batch, descs, |desc| ahead.look(desc)),
            None => plain.describe(batch, descs, |desc| engine.look_ahead(desc)),
        };
        if others != 0 {
            self.receive_mixed(port, &plain, others);
        }
    }

    /// Takes a burst apart in which the packets of `others` are no plain IPv4 ones.
    #[inline(never)]
    fn receive_mixed(&mut self, port: u8, plain: &Plain, others: u64) {
        let mut batch = std::mem::take(&mut *self.batch);
        let mut known = [None; BURST];
        for (at, (slot, desc)) in known.iter_mut().zip(self.descs.iter()).enumerate() {
            *slot = (others >> at & 1 == 0).then_some(*desc);
        }
        self.descs.clear();
        for (mbuf, desc) in batch.drain().zip(known) {
            match desc {
                Some(desc) => self.enter(mbuf, desc),
                None => self.receive_any(port, plain, mbuf),
            }
        }
    }

    /// A frame of a burst of both families.
    pub(super) fn receive_any(&mut self, port: u8, plain: &Plain, mut mbuf: Mbuf) {
        if let Some(desc) = plain.receive6(&mut mbuf) {
            self.enter6(mbuf, desc);
        } else if let Some(desc) = plain.receive(&mut mbuf) {
            self.enter(mbuf, desc);
        } else {
            self.receive_frame(port, mbuf);
        }
    }

    /// What is the same for all plain packets of a port; `None` where there are none such, as on a member that is not active.
    fn plain(&self, port: u8) -> Option<Plain> {
        let interface = self.interfaces.find(port, 0)?;
        let state = self.interfaces.get(interface)?;
        if self.is_data_link(interface) || state.port() != port {
            return None;
        }
        Some(Plain {
            interface,
            mac: state.mac.iter().fold(0, |all, b| all << 8 | u64::from(*b)),
            side: self.sides().side(interface),
            verify: self.commit.program.verify_ipv4_checksum,
        })
    }

    #[inline(always)]
    fn receive_frame(&mut self, port: u8, mut mbuf: Mbuf) {
        if !mbuf.is_contiguous() && mbuf.linearize().is_err() {
            return self.drop_packet(mbuf, DropReason::FrameNotContiguous);
        }
        // Untagged IPv4 first: nearly everything.
        let stripped = mbuf.stripped_vlan_tci();
        let vlan = stripped.unwrap_or(0) & 0xfff;
        let (vlan, l3_offset, ethertype, dst) = match mbuf.data().first_chunk::<{ ethernet::HEADER_LEN }>() {
            Some(h) if h[12] == 0x08 && h[13] == 0x00 => {
                (vlan, ethernet::HEADER_LEN as u16, ethernet::IPV4, mac(h))
            }
            _ => match ethernet::parse(mbuf.data()) {
                Ok(meta) => {
                    // Two tags, of which the port may have taken the outer one: no interface has that.
                    if meta.inner.is_some() || meta.outer.is_some() && stripped.is_some() {
                        return self.drop_packet(mbuf, DropReason::VlanUnknown);
                    }
                    let tag = meta.outer.map_or(vlan, |t| t.tci & 0xfff);
                    (tag, meta.l3_offset, meta.ethertype, meta.dst.0)
                }
                Err(error) => return self.parse_error(mbuf, error),
            },
        };
        let Some(interface) = self.interface_of(port, vlan) else {
            return self.drop_packet(mbuf, DropReason::VlanUnknown);
        };
        if l3_offset > ethernet::HEADER_LEN as u16 && !strip_tag(&mut mbuf, l3_offset) {
            return self.parse_error(mbuf, ParseError::EthernetTruncated);
        }
        let multicast = dst[0] & 1 != 0;
        if !multicast && self.interfaces.get(interface).is_none_or(|i| i.mac != dst) {
            return self.drop_packet(mbuf, DropReason::NotForUs);
        }
        if !matches!(ethertype, ethernet::IPV4 | ethernet::IPV6) || multicast {
            return self.punt_frame(mbuf, interface);
        }
        if mbuf.adj(ethernet::HEADER_LEN as u16).is_err() {
            return self.parse_error(mbuf, ParseError::EthernetTruncated);
        }
        if ethertype == ethernet::IPV4 {
            self.receive_ipv4(mbuf, interface);
        } else {
            self.receive_ipv6(mbuf, interface);
        }
    }

    /// A packet from its IPv4 header on, the Ethernet header before it.
    #[inline(always)]
    pub(super) fn receive_ipv4(&mut self, mut mbuf: Mbuf, interface: u16) {
        let parsed = match mbuf.rx_ip_checksum() {
            Checksum::Good => parse_ipv4(mbuf.data()),
            Checksum::Bad => return self.drop_packet(mbuf, DropReason::Ipv4BadChecksum),
            _ if self.commit.program.verify_ipv4_checksum => parse_ipv4_verified(mbuf.data()),
            _ => parse_ipv4(mbuf.data()),
        };
        let meta = match parsed {
            Ok(meta) => meta,
            Err(error) => return self.parse_error(mbuf, error),
        };
        if is_martian(meta.src) {
            return self.drop_packet(mbuf, DropReason::MartianSource);
        }
        // Ethernet pads short frames; the padding ends here.
        let padding = mbuf.data_len().saturating_sub(meta.total_len);
        if padding > 0 && mbuf.trim(padding).is_err() {
            return self.drop_packet(mbuf, DropReason::FrameNotContiguous);
        }
        if meta.dst >> 28 == 0xe || meta.dst == u32::MAX {
            return self.punt_packet(mbuf, interface);
        }
        let side = self.sides().side(interface);
        if side == Side::Neither && self.is_data_link(interface) {
            let (src, dst) = (Ipv4Addr::from_bits(meta.src), Ipv4Addr::from_bits(meta.dst));
            if self.is_forwarded(interface, dst.into(), meta.l4, meta.fragment) {
                return self.take_forwarded(mbuf, interface, src.into(), meta.l4_offset);
            }
        }
        if meta.fragment != Fragment::None && side != Side::Neither {
            return self.receive_fragment(mbuf, meta, interface, side);
        }
        self.enter(mbuf, Desc::new(meta, interface, side));
    }

    /// A fragment on a service set's interface.
    #[cold]
    fn receive_fragment(&mut self, mbuf: Mbuf, meta: Ipv4Meta, interface: u16, side: Side) {
        let realm = if let Side::Inside(set) = side { set } else { NONE };
        match self.fragments.offer(self.now, &meta, realm, (mbuf, interface)) {
            Offer::Pass {
                packet: (mbuf, _),
                transport,
            } => {
                let desc = Desc::new(meta, interface, side);
                self.enter(mbuf, desc.with_ports(transport.sport, transport.dport));
            }
            Offer::Held => {}
            Offer::Drop((mbuf, _), reason) => self.drop_packet(mbuf, reason),
        }
        self.enter_released();
    }

    /// Fragments that waited, of either family, go on.
    pub(super) fn enter_released(&mut self) {
        while let Some(Released {
            packet: (mbuf, interface),
            meta,
            transport: t,
        }) = self.fragments.released()
        {
            self.counters.fragments_released += 1;
            let side = self.sides().side(interface);
            match meta {
                Meta::V4(meta) => {
                    let desc = Desc::new(meta, interface, side);
                    self.enter(mbuf, desc.with_ports(t.sport, t.dport));
                }
                Meta::V6(meta) => {
                    let desc = Desc6::new(meta, interface, side);
                    self.enter6(mbuf, desc.with_first_fragment(t.sport, t.dport, t.proto));
                }
            }
        }
    }

    /// Puts a packet into the batch. When it is full both batches are worked off first.
    fn enter(&mut self, mbuf: Mbuf, desc: Desc) {
        if self.batch.is_full() {
            self.process_batch(0);
        }
        if self.batch.push(mbuf).is_ok() {
            self.descs.push(desc);
            if let Some(desc) = self.descs.last_mut() {
                self.engine.look_ahead(desc);
            }
        } else {
            self.drops.count(DropReason::HandoverFull);
        }
    }

    /// A packet that came back by hairpinning, or an ICMP error of ours about one: from outside, whoever it is for.
    pub(super) fn take_hairpin(&mut self, mbuf: Mbuf, note: PacketNote) {
        match parse_ipv4(mbuf.data()) {
            Ok(meta) => self.enter(mbuf, Desc::hairpin(meta, note.sport, note.dport)),
            Err(error) => self.parse_error(mbuf, error),
        }
    }

    /// A packet from another worker, which found that it is ours.
    pub(super) fn take_over(&mut self, mbuf: Mbuf, note: PacketNote) {
        if is_ipv6(mbuf.data()) {
            return self.take_over6(mbuf, note);
        }
        match parse_ipv4(mbuf.data()) {
            Ok(meta) => {
                let side = self.sides().side(note.interface);
                self.enter(
                    mbuf,
                    Desc::new(meta, note.interface, side).with_ports(note.sport, note.dport),
                );
            }
            Err(error) => self.parse_error(mbuf, error),
        }
    }

    pub(super) fn parse_error(&mut self, mbuf: Mbuf, error: ParseError) {
        if let Some(count) = self.parse_errors.get_mut(error.index()) {
            *count += 1;
        }
        drop(mbuf);
    }
}

/// A port's untagged interface, as a burst of its packets needs it.
pub(super) struct Plain {
    pub(super) interface: u16,
    /// In the lower 48 bits.
    pub(super) mac: u64,
    pub(super) side: Side,
    verify: bool,
}

impl Plain {
    /// Describes a burst of plain packets and lets `look_ahead` look at each; those that are none have a bit each in the result, and
    /// descriptions that say nothing.
    #[inline(always)]
    fn describe(&self, batch: &mut Burst, descs: &mut Descs<Desc>, look_ahead: impl Fn(&mut Desc)) -> u64 {
        let mut others = 0u64;
        for (at, mbuf) in batch.as_mut_slice().iter_mut().enumerate() {
            let Some(mut desc) = self.receive(mbuf) else {
                others |= 1 << at;
                descs.push(Desc::new(UNPARSED, self.interface, Side::Neither));
                continue;
            };
            look_ahead(&mut desc);
            descs.push(desc);
        }
        others
    }

    /// A whole, untagged TCP or UDP packet for us, of which the Ethernet header is then taken off; `None`, and the frame as it was,
    /// for everything else.
    #[inline(always)]
    pub(super) fn receive(&self, mbuf: &mut Mbuf) -> Option<Desc> {
        let data = mbuf.data();
        let (header, l3) = data.split_first_chunk::<{ ethernet::HEADER_LEN }>()?;
        let (front, _) = header.split_first_chunk::<8>()?;
        let for_us = u64::from_be_bytes(*front) >> 16 == self.mac;
        let ipv4 = u16::from_be_bytes([header[12], header[13]]) == ethernet::IPV4;
        if !for_us || !ipv4 || !mbuf.is_contiguous() {
            return None;
        }
        let meta = if self.verify && mbuf.rx_ip_unchecked_untagged() {
            parse_plain::<true>(l3)
        } else if mbuf.rx_ip_good_untagged() || mbuf.rx_ip_unchecked_untagged() {
            parse_plain::<false>(l3)
        } else {
            None
        }?;
        let padding = (l3.len() as u16).wrapping_sub(meta.total_len);
        let plain = !is_martian(meta.src) && meta.dst >> 28 < 0xe;
        if !plain
            || padding > 0 && mbuf.trim(padding).is_err()
            || mbuf.adj(ethernet::HEADER_LEN as u16).is_err()
        {
            return None;
        }
        Some(Desc::plain(meta, self.interface, self.side))
    }
}

#[inline(always)]
fn mac(header: &[u8; ethernet::HEADER_LEN]) -> [u8; 6] {
    [header[0], header[1], header[2], header[3], header[4], header[5]]
}

/// Moves the addresses up to the ethertype behind the tags, so that an untagged header stands right before the packet.
fn strip_tag(mbuf: &mut Mbuf, l3_offset: u16) -> bool {
    let tags = l3_offset - ethernet::HEADER_LEN as u16;
    let data = mbuf.data_mut();
    if data.len() < usize::from(l3_offset) {
        return false;
    }
    data.copy_within(0..12, usize::from(tags));
    mbuf.adj(tags).is_ok()
}

/// Sources no packet may have. RFC 1812 section 5.3.7.
const fn is_martian(src: u32) -> bool {
    // 0 wraps to the top, beside multicast and what is above it.
    src >> 24 == 127 || (src >> 24).wrapping_sub(1) >= 0xdf
}
