//! Leave: the last steps of a packet: its exit, the Ethernet header, fragments where it is too large, the port's burst.

use rte_bindings::Mbuf;
use tandem_engine::drop_reason::DropReason;
use tandem_wire::ethernet;
use tandem_wire::fragment::{FragmentError, Fragmenter, Fragmenter6};

use super::{NOTE_OUT, PacketNote, TxPath, Worker};
use crate::interfaces::InterfaceState;
use crate::next_hop::Exit;
use tandem_engine::address;

/// Times a full transmit queue is tried again before the rest is dropped.
const TX_TRIES: u32 = 16;

/// Whether a packet is IPv6: translation may have changed its family.
#[inline(always)]
pub(super) fn is_ipv6(l3: &[u8]) -> bool {
    l3.first().is_some_and(|b| b >> 4 == 6)
}

/// Source and destination of a packet of either family, IPv4 in `::ffff:0:0/96`; 0 of one that has none.
pub(super) fn addresses(l3: &[u8]) -> (u128, u128) {
    let ends = if is_ipv6(l3) {
        l3.get(8..24).zip(l3.get(24..40)).map(|(src, dst)| {
            let address = |b: &[u8]| b.try_into().map_or(0, u128::from_be_bytes);
            (address(src), address(dst))
        })
    } else {
        l3.get(12..16).zip(l3.get(16..20)).map(|(src, dst)| {
            let address = |b: &[u8]| address::of_v4(b.try_into().map_or(0, u32::from_be_bytes));
            (address(src), address(dst))
        })
    };
    ends.unwrap_or((0, 0))
}

impl Worker {
    /// The exit of a packet by a next-hop number.
    pub(super) fn exit(&self, next_hop: u16, l3: &[u8]) -> Exit {
        let (_, dst) = addresses(l3);
        match address::v4(dst) {
            Some(dst) => self.router.table().exit(next_hop, dst),
            None => self.router.table().exit6(next_hop, dst),
        }
    }

    /// Out by an exit. `answerable` is the interface an unreachable may be sent about, for packets that were not translated.
    #[inline]
    pub(super) fn leave(&mut self, mbuf: Mbuf, exit: Exit, ingress: u16, answerable: Option<u16>) {
        match exit {
            Exit::Neighbour { interface, mac } => self.send(mbuf, interface, mac),
            Exit::Unresolved { interface, gateway } => {
                let address = gateway.unwrap_or_else(|| addresses(mbuf.data()).1);
                let answerable = answerable.or_else(|| self.answerable_translated(&mbuf, ingress));
                self.wait_for(mbuf, interface, address, answerable);
            }
            Exit::Kernel => self.punt_written(mbuf, ingress),
            Exit::Drop(reason) => self.drop_packet(mbuf, reason),
        }
    }

    /// Sends a packet out of an interface. An IPv4 packet that is too large for it goes in fragments, an IPv6 one is dropped:
    /// whoever decided about it has looked at the route, which has changed meanwhile.
    #[inline]
    pub(super) fn send(&mut self, mbuf: Mbuf, interface: u16, mac: u64) {
        let Some(state) = self.interfaces.get(interface) else {
            return self.drop_packet(mbuf, DropReason::NoRoute);
        };
        if mbuf.data_len() > state.mtu {
            if is_ipv6(mbuf.data()) {
                return self.drop_packet(mbuf, DropReason::MtuExceeded);
            }
            return self.send_fragments(mbuf, interface, mac);
        }
        self.send_whole(mbuf, interface, mac);
    }

    #[inline(always)]
    fn send_whole(&mut self, mut mbuf: Mbuf, interface: u16, mac: u64) {
        let Some(state) = self.interfaces.get(interface) else {
            return self.drop_packet(mbuf, DropReason::NoRoute);
        };
        if !state.is_up() {
            return self.drop_packet(mbuf, DropReason::PortDown);
        }
        let port = state.port();
        if !prepend_header(&mut mbuf, state, mac) {
            return self.drop_packet(mbuf, DropReason::NoBuffer);
        }
        self.transmit(mbuf, port);
    }

    /// RFC 791 section 3.2; DF was looked at before.
    #[cold]
    fn send_fragments(&mut self, mbuf: Mbuf, interface: u16, mac: u64) {
        let Some(mtu) = self.interfaces.get(interface).map(|i| i.mtu) else {
            return self.drop_packet(mbuf, DropReason::NoRoute);
        };
        let fragmenter = match Fragmenter::new(mbuf.data(), mtu) {
            Ok(fragmenter) => fragmenter,
            Err(FragmentError::DontFragment) => return self.drop_packet(mbuf, DropReason::MtuExceeded),
            Err(_) => return self.drop_packet(mbuf, DropReason::FragmentationFailed),
        };
        for piece in fragmenter.clone() {
            let length = fragmenter.piece_len(&piece) as u16;
            let Some(mut out) = self.pool.alloc() else {
                return self.drop_packet(mbuf, DropReason::NoBuffer);
            };
            let written = out
                .append(length)
                .ok()
                .and_then(|buffer| fragmenter.write(&piece, buffer));
            if written.is_none() {
                return self.drop_packet(mbuf, DropReason::FragmentationFailed);
            }
            self.counters.fragments_made += 1;
            self.send_whole(out, interface, mac);
        }
        self.counters.fragmented += 1;
    }

    /// A packet that became IPv6 leaves by an exit in fragments of at most `limit` octets. RFC 7915 section 4.1; `id` is the
    /// identification of the IPv4 packet.
    #[cold]
    pub(super) fn leave_fragmented(&mut self, mbuf: Mbuf, next_hop: u16, limit: u16, ingress: u16, id: u16) {
        let exit = self.exit(next_hop, mbuf.data());
        let (Exit::Neighbour { interface, .. } | Exit::Unresolved { interface, .. }) = exit else {
            return self.leave(mbuf, exit, ingress, None);
        };
        let Some(mtu) = self.interfaces.get(interface).map(|i| i.mtu) else {
            return self.drop_packet(mbuf, DropReason::NoRoute);
        };
        let Ok(fragmenter) = Fragmenter6::new(mbuf.data(), mtu.min(limit), u32::from(id)) else {
            return self.drop_packet(mbuf, DropReason::FragmentationFailed);
        };
        for piece in fragmenter.clone() {
            let length = fragmenter.piece_len(&piece) as u16;
            let Some(mut out) = self.pool.alloc() else {
                return self.drop_packet(mbuf, DropReason::NoBuffer);
            };
            let written = out
                .append(length)
                .ok()
                .and_then(|buffer| fragmenter.write(&piece, buffer));
            if written.is_none() {
                return self.drop_packet(mbuf, DropReason::FragmentationFailed);
            }
            self.counters.fragments_made += 1;
            self.leave(out, exit, ingress, None);
        }
        self.counters.fragmented += 1;
    }

    /// Puts a whole frame into a port's burst.
    #[inline(always)]
    pub(super) fn transmit(&mut self, mut mbuf: Mbuf, port: u8) {
        let Some(tx) = self.tx.get_mut(usize::from(port)) else {
            return self.drop_packet(mbuf, DropReason::NoRoute);
        };
        if let TxPath::Worker(owner) = tx.path {
            if let Some(note) = mbuf.priv_mut::<PacketNote>() {
                *note = PacketNote {
                    kind: NOTE_OUT,
                    detail: port,
                    ..PacketNote::default()
                };
            }
            return self.ways_over().hand_over(owner, mbuf);
        }
        if tx.burst.is_full() {
            self.flush_port(usize::from(port));
        }
        let Some(tx) = self.tx.get_mut(usize::from(port)) else {
            return self.drop_lost(mbuf, DropReason::NoRoute);
        };
        if tx.burst.push(mbuf).is_err() {
            self.drops.count(DropReason::TxFull);
        }
    }

    /// Sends everything that waits in transmit and hand-over bursts and for the kernel mirror.
    pub fn flush(&mut self) {
        for port in 0..self.tx.len() {
            self.flush_port(port);
        }
        self.ways_over().flush();
        self.flush_punts();
    }

    fn flush_port(&mut self, port: usize) {
        let Some(tx) = self.tx.get_mut(port) else { return };
        if tx.burst.is_empty() {
            return;
        }
        let TxPath::Own(queue) = &mut tx.path else { return };
        let bytes: u64 = tx.burst.as_slice().iter().map(|m| u64::from(m.pkt_len())).sum();
        let before = tx.burst.len();
        for _ in 0..TX_TRIES {
            queue.tx_burst(&mut tx.burst);
            if tx.burst.is_empty() {
                break;
            }
            std::hint::spin_loop();
        }
        let left = tx.burst.len();
        let left_bytes: u64 = tx.burst.as_slice().iter().map(|m| u64::from(m.pkt_len())).sum();
        self.drops.0[DropReason::TxFull as usize] += left as u64;
        tx.burst.clear();
        self.counters.tx_packets += (before - left) as u64;
        self.counters.tx_bytes += bytes - left_bytes;
    }
}

/// The untagged Ethernet header of IPv4 packets from an interface to a MAC.
#[inline(always)]
pub(super) fn header(state: &InterfaceState, mac: u64) -> [u8; ethernet::HEADER_LEN] {
    let [_, _, d0, d1, d2, d3, d4, d5] = mac.to_be_bytes();
    let [s0, s1, s2, s3, s4, s5] = state.mac;
    [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, 0x08, 0x00]
}

/// The same header for IPv6 packets.
#[inline(always)]
pub(super) fn header6(header: [u8; ethernet::HEADER_LEN]) -> [u8; ethernet::HEADER_LEN] {
    let [head @ .., _, _] = header;
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5] = head;
    [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, 0x86, 0xdd]
}

/// Writes the Ethernet header (and tag) before a packet.
#[inline(always)]
fn prepend_header(mbuf: &mut Mbuf, state: &InterfaceState, mac: u64) -> bool {
    let mut plain = header(state, mac);
    if is_ipv6(mbuf.data()) {
        plain = header6(plain);
    }
    match state.vlan {
        None => {
            let Ok(front) = mbuf.prepend(14) else { return false };
            front.first_chunk_mut::<14>().is_some_and(|front| {
                *front = plain;
                true
            })
        }
        Some(vlan) => {
            let Ok(front) = mbuf.prepend(18) else { return false };
            let [v0, v1] = vlan.to_be_bytes();
            let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = plain;
            let [p0, p1] = ethernet::VLAN.to_be_bytes();
            let tagged = [
                d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, p0, p1, v0, v1, t0, t1,
            ];
            front.first_chunk_mut::<18>().is_some_and(|front| {
                *front = tagged;
                true
            })
        }
    }
}
