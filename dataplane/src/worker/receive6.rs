//! Receive, IPv6: from a frame to a parsed packet. What hosts and routers of a link say to each other is the kernel's.

use std::net::Ipv6Addr;

use rte_bindings::Mbuf;
use tandem_engine::drop_reason::DropReason;
use tandem_engine::fragments::Offer;
use tandem_engine::packet::Side;
use tandem_engine::packet6::Desc6;
use tandem_engine::program::NONE;
use tandem_wire::ethernet;
use tandem_wire::l4::Fragment;
use tandem_wire::meta6::Ipv6Meta;
use tandem_wire::parse6::{parse_ipv6, parse_plain_ipv6};

use super::descs::UNPARSED6;
use super::receive::Plain;
use super::{BURST, Burst, PacketNote, Worker};

/// Whether a frame says that it is an untagged IPv6 packet.
#[inline(always)]
pub(super) fn is_ipv6_frame(mbuf: &Mbuf) -> bool {
    mbuf.data().get(12..14) == Some(&ethernet::IPV6.to_be_bytes())
}

impl Worker {
    /// Sorts a burst that begins with IPv6, as [`Worker::receive`] does with others: one of nothing but plain packets stays where it
    /// is.
    #[inline(never)]
    pub(super) fn receive_burst6(&mut self, port: u8, plain: &Plain, burst: &mut Burst) {
        self.batch6.clear();
        self.descs6.clear();
        std::mem::swap(&mut self.batch6, burst);
        let Self {
            batch6,
            descs6,
            engine,
            ..
        } = self;
        let mut others = 0u64;
        for (at, mbuf) in batch6.as_mut_slice().iter_mut().enumerate() {
            let Some(mut desc) = plain.receive6(mbuf) else {
                others |= 1 << at;
                descs6.push(Desc6::new(UNPARSED6, plain.interface, Side::Neither));
                continue;
            };
            engine.look_ahead6(&mut desc);
            descs6.push(desc);
        }
        if others != 0 {
            self.receive_mixed6(port, plain, others);
        }
    }

    /// Takes a burst apart in which the packets of `others` are no plain IPv6 ones.
    #[inline(never)]
    fn receive_mixed6(&mut self, port: u8, plain: &Plain, others: u64) {
        let mut batch = std::mem::take(&mut self.batch6);
        let mut known = [None; BURST];
        for (at, (slot, desc)) in known.iter_mut().zip(self.descs6.iter()).enumerate() {
            *slot = (others >> at & 1 == 0).then_some(*desc);
        }
        self.descs6.clear();
        for (mbuf, desc) in batch.drain().zip(known) {
            match desc {
                Some(desc) => self.enter6(mbuf, desc),
                None => self.receive_any(port, plain, mbuf),
            }
        }
    }

    /// A packet from its IPv6 header on, the Ethernet header before it.
    pub(super) fn receive_ipv6(&mut self, mut mbuf: Mbuf, interface: u16) {
        let meta = match parse_ipv6(mbuf.data()) {
            Ok(meta) => meta,
            Err(error) => return self.parse_error(mbuf, error),
        };
        let to_link = is_multicast(meta.dst) || is_link_local(meta.dst);
        // A host that has no address yet asks whether somebody else has the one it wants.
        if is_martian(meta.src) && !(meta.src == 0 && to_link) {
            return self.drop_packet(mbuf, DropReason::MartianSource);
        }
        // Such a destination is nobody's on any link. RFC 4291 sections 2.5.2, 2.5.3 and 2.5.5.
        if is_nowhere(meta.dst) {
            return self.drop_packet(mbuf, DropReason::NoRoute);
        }
        // Ethernet pads short frames; the padding ends here.
        let padding = mbuf.data_len().saturating_sub(meta.total_len);
        if padding > 0 && mbuf.trim(padding).is_err() {
            return self.drop_packet(mbuf, DropReason::FrameNotContiguous);
        }
        // RFC 4291 section 2.5.6: no router forwards a packet with a link-local address; the kernel says so to its sender.
        if to_link || is_link_local(meta.src) {
            return self.punt_packet(mbuf, interface);
        }
        let side = self.sides().side(interface);
        if side == Side::Neither && self.is_data_link(interface) {
            let (src, dst) = (Ipv6Addr::from_bits(meta.src), Ipv6Addr::from_bits(meta.dst));
            if self.is_forwarded(interface, dst.into(), meta.l4, meta.fragment) {
                return self.take_forwarded(mbuf, interface, src.into(), meta.l4_offset);
            }
        }
        if meta.fragment != Fragment::None && side != Side::Neither {
            return self.receive_fragment6(mbuf, meta, interface, side);
        }
        self.enter6(mbuf, Desc6::new(meta, interface, side));
    }

    /// A fragment on a service set's interface.
    #[cold]
    fn receive_fragment6(&mut self, mbuf: Mbuf, meta: Ipv6Meta, interface: u16, side: Side) {
        let realm = if let Side::Inside(set) = side { set } else { NONE };
        match self.fragments.offer6(self.now, &meta, realm, (mbuf, interface)) {
            Offer::Pass {
                packet: (mbuf, _),
                transport: t,
            } => {
                let desc = Desc6::new(meta, interface, side);
                self.enter6(mbuf, desc.with_first_fragment(t.sport, t.dport, t.proto));
            }
            Offer::Held => {}
            Offer::Drop((mbuf, _), reason) => self.drop_packet(mbuf, reason),
        }
        self.enter_released();
    }

    /// Puts a packet into the IPv6 batch. When it is full both batches are worked off first.
    pub(super) fn enter6(&mut self, mbuf: Mbuf, mut desc: Desc6) {
        if self.batch6.is_full() {
            self.process_batch(0);
        }
        if self.batch6.push(mbuf).is_ok() {
            self.engine.look_ahead6(&mut desc);
            self.descs6.push(desc);
        } else {
            self.drops.count(DropReason::HandoverFull);
        }
    }

    /// A packet from another worker, which found that it is ours.
    pub(super) fn take_over6(&mut self, mbuf: Mbuf, note: PacketNote) {
        match parse_ipv6(mbuf.data()) {
            Ok(meta) => {
                let side = self.sides().side(note.interface);
                let desc = Desc6::new(meta, note.interface, side);
                self.enter6(
                    mbuf,
                    desc.with_first_fragment(note.sport, note.dport, note.detail),
                );
            }
            Err(error) => self.parse_error(mbuf, error),
        }
    }
}

impl Plain {
    /// A whole, untagged TCP or UDP packet over IPv6 for us, of which the Ethernet header is then taken off; `None`, and the
    /// frame as it was, for everything else.
    #[inline(always)]
    pub(super) fn receive6(&self, mbuf: &mut Mbuf) -> Option<Desc6> {
        let (header, l3) = mbuf.data().split_first_chunk::<{ ethernet::HEADER_LEN }>()?;
        let (front, _) = header.split_first_chunk::<8>()?;
        let for_us = u64::from_be_bytes(*front) >> 16 == self.mac;
        let ipv6 = u16::from_be_bytes([header[12], header[13]]) == ethernet::IPV6;
        if !for_us || !ipv6 || !mbuf.is_contiguous() || mbuf.stripped_vlan_tci().is_some() {
            return None;
        }
        let meta = parse_plain_ipv6(l3)?;
        let padding = (l3.len() as u16).wrapping_sub(meta.total_len);
        if !is_global(meta.src)
            || !is_global(meta.dst)
            || padding > 0 && mbuf.trim(padding).is_err()
            || mbuf.adj(ethernet::HEADER_LEN as u16).is_err()
        {
            return None;
        }
        Some(Desc6::plain(meta, self.interface, self.side))
    }
}

/// Whether an address needs no closer look: neither ::/16, where all the special ones without scope are, nor fe80::/10, nor
/// multicast.
#[inline(always)]
const fn is_global(address: u128) -> bool {
    let upper = (address >> 112) as u16;
    upper != 0 && upper < 0xfe80
}

const fn is_multicast(address: u128) -> bool {
    address >> 120 == 0xff
}

const fn is_link_local(address: u128) -> bool {
    address >> 118 == 0xfe80 >> 6
}

/// Unspecified, loopback, or an IPv4 address in `::ffff:0:0/96`, which stands for one inside a host only.
const fn is_nowhere(address: u128) -> bool {
    address <= 1 || address >> 32 == 0xffff
}

/// Sources no packet may have. RFC 4291 sections 2.5.2, 2.5.3, 2.5.5.2 and 2.7.
const fn is_martian(address: u128) -> bool {
    is_nowhere(address) || is_multicast(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> u128 {
        text.parse::<std::net::Ipv6Addr>().expect("an address").to_bits()
    }

    #[test]
    fn scopes() {
        for text in ["2001:db8::1", "64:ff9b::1", "fd00::1", "1::", "fe7f:ffff::"] {
            assert!(is_global(at(text)), "{text}");
            assert!(!is_martian(at(text)) && !is_link_local(at(text)));
        }
        for text in ["fe80::1", "febf:ffff::1"] {
            assert!(is_link_local(at(text)) && !is_global(at(text)) && !is_martian(at(text)));
        }
        for text in ["::", "::1", "::ffff:10.0.0.1", "ff02::1", "ff0e::1"] {
            assert!(is_martian(at(text)) && !is_global(at(text)), "{text}");
        }
        // Site-local is a unicast prefix like any other since RFC 3879; it takes the closer look and passes it.
        let site = at("fec0::1");
        assert!(!is_global(site) && !is_link_local(site) && !is_martian(site));
    }
}
