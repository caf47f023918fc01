//! Deliver: what the engine decided is carried out: out of a port, to the kernel, round again, back to the sender, or away.

use rte_bindings::Mbuf;
use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Desc, RouteKind, Router, Verdict};
use tandem_engine::session::NO_NEXT_HOP;
use tandem_wire::fragment::{FragmentError, Fragmenter};
use tandem_wire::{ethernet, ipv4};

use super::{NOTE_HAIRPIN, NOTE_IN, NOTE_OUT, PacketNote, TxPath, Worker, hand_over};
use crate::address::neutral;
use crate::interfaces::InterfaceState;
use crate::next_hop::Exit;

/// Times a full transmit queue is tried again before the rest is dropped.
const TX_TRIES: u32 = 16;

/// Destination address of a packet.
#[inline(always)]
pub(super) fn destination(l3: &[u8]) -> u32 {
    l3.get(16..20)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_be_bytes)
}

impl Worker {
    pub(super) fn deliver_batch(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        let mut known = KnownExit::default();
        for (at, mbuf) in batch.drain().enumerate() {
            let Some(desc) = self.descs.get(at) else {
                // Each packet of a batch has a description; one that had none would still have a name for its end.
                self.drop_lost(mbuf, DropReason::Stopping);
                continue;
            };
            match desc.verdict {
                Verdict::Forward => {
                    let next_hop = desc.next_hop;
                    if known.next_hop != next_hop {
                        known = self.known_exit(next_hop);
                    }
                    if mbuf.data_len() <= known.mtu {
                        self.send_known(mbuf, &known);
                    } else {
                        let ingress = desc.interface;
                        let exit = self.router.table().exit(next_hop, destination(mbuf.data()));
                        self.leave(mbuf, exit, ingress, None);
                    }
                }
                Verdict::Route => {
                    let desc = *desc;
                    self.route(mbuf, &desc);
                }
                other => {
                    let desc = *desc;
                    self.deliver_rare(mbuf, &desc, other);
                }
            }
        }
        self.descs.clear();
        self.batch = batch;
    }

    /// What a next hop means for the rest of this burst; an MTU of 0 when it takes a closer look at each packet.
    #[inline(never)]
    fn known_exit(&self, next_hop: u16) -> KnownExit {
        let closer_look = KnownExit {
            next_hop,
            ..KnownExit::default()
        };
        let Exit::Neighbour { interface, mac } = self.router.table().exit_of(next_hop) else {
            return closer_look;
        };
        let Some(state) = self.interfaces.get(interface) else {
            return closer_look;
        };
        let keeps = self
            .tx
            .get(usize::from(state.port))
            .is_some_and(|t| !matches!(t.path, TxPath::Worker(_)));
        if !state.is_up() || state.vlan.is_some() || !keeps {
            return closer_look;
        }
        KnownExit {
            next_hop,
            mtu: state.mtu,
            port: state.port,
            header: header(state, mac),
        }
    }

    /// Sends a packet by an exit that needs no closer look.
    #[inline(always)]
    fn send_known(&mut self, mut mbuf: Mbuf, exit: &KnownExit) {
        let written = mbuf
            .prepend(ethernet::HEADER_LEN as u16)
            .ok()
            .and_then(|f| f.first_chunk_mut::<14>());
        let Some(front) = written else {
            return self.drop_packet(mbuf, DropReason::NoBuffer);
        };
        *front = exit.header;
        let Some(tx) = self.tx.get_mut(usize::from(exit.port)) else {
            return self.drop_lost(mbuf, DropReason::NoRoute);
        };
        if let Err(mbuf) = tx.burst.push(mbuf) {
            self.transmit(mbuf, exit.port);
        }
    }

    /// [`Worker::drop_packet`], kept out of the loops of the plain way.
    #[cold]
    #[inline(never)]
    fn drop_lost(&mut self, mbuf: Mbuf, reason: DropReason) {
        self.drop_packet(mbuf, reason);
    }

    #[cold]
    fn deliver_rare(&mut self, mut mbuf: Mbuf, desc: &Desc, verdict: Verdict) {
        match verdict {
            Verdict::Kernel => self.punt_packet(mbuf, desc.interface),
            Verdict::Drop(reason, answer) => self.refuse(mbuf, desc, reason, answer),
            Verdict::Hairpin => {
                if let Some(note) = mbuf.priv_mut::<PacketNote>() {
                    let (interface, sport, dport) = (desc.interface, desc.sport, desc.dport);
                    *note = PacketNote {
                        interface,
                        sport,
                        dport,
                        kind: NOTE_HAIRPIN,
                        port: 0,
                    };
                }
                if self.hairpins.push(mbuf).is_err() {
                    self.drops.count(DropReason::HandoverFull);
                }
            }
            Verdict::HoldSyn => match self.held.hold(self.now, *desc, mbuf) {
                Ok(()) => self.counters.syn_held += 1,
                Err((mbuf, reason)) => self.drop_packet(mbuf, reason),
            },
            Verdict::ForwardFragmented(_) => self.drop_packet(mbuf, DropReason::FragmentationFailed),
            // The engine decides every packet.
            Verdict::Pending | Verdict::Forward | Verdict::Route => {
                self.drop_packet(mbuf, DropReason::Stopping)
            }
        }
    }

    /// Drops a packet and tells its sender why.
    pub(super) fn refuse(&mut self, mbuf: Mbuf, desc: &Desc, reason: DropReason, answer: Answer) {
        if answer != Answer::None {
            self.answer(mbuf.data(), desc.interface, answer);
        }
        self.drop_packet(mbuf, reason);
    }

    /// A packet of no service set. RFC 1812 section 5.2.
    fn route(&mut self, mut mbuf: Mbuf, desc: &Desc) {
        let meta = &desc.meta;
        let route = self.router.route(meta.dst, desc.flow_hash());
        match route.kind {
            RouteKind::Kernel => return self.punt_packet(mbuf, desc.interface),
            RouteKind::Drop(reason) => {
                return self.refuse(mbuf, desc, reason, Answer::to_route(reason));
            }
            RouteKind::Forward { mtu, .. } => {
                if meta.ttl <= 1 {
                    return self.refuse(mbuf, desc, DropReason::TtlExpired, Answer::TimeExceeded);
                }
                if meta.total_len > mtu && meta.dont_fragment {
                    return self.refuse(
                        mbuf,
                        desc,
                        DropReason::MtuExceeded,
                        Answer::FragmentationNeeded(mtu),
                    );
                }
            }
        }
        if !ipv4::decrement_ttl(mbuf.data_mut()) {
            return self.drop_packet(mbuf, DropReason::TtlExpired);
        }
        self.counters.routed += 1;
        let exit = self.router.table().exit(route.next_hop, meta.dst);
        self.leave(mbuf, exit, desc.interface, Some(desc.interface));
    }

    /// Out by an exit. `answerable` is the interface an unreachable may be sent about, for packets that were not translated.
    #[inline]
    pub(super) fn leave(&mut self, mbuf: Mbuf, exit: Exit, ingress: u16, answerable: Option<u16>) {
        match exit {
            Exit::Neighbour { interface, mac } => self.send(mbuf, interface, mac),
            Exit::Unresolved { interface, gateway } => {
                let address = gateway.unwrap_or_else(|| neutral(destination(mbuf.data())));
                let answerable = answerable.or_else(|| self.answerable_translated(&mbuf, ingress));
                self.wait_for(mbuf, interface, address, answerable);
            }
            Exit::Kernel => self.punt_packet(mbuf, ingress),
            Exit::Drop(reason) => self.drop_packet(mbuf, reason),
        }
    }

    /// Sends an IPv4 packet out of an interface, in fragments when it is too large for it.
    #[inline]
    pub(super) fn send(&mut self, mbuf: Mbuf, interface: u16, mac: u64) {
        let Some(state) = self.interfaces.get(interface) else {
            return self.drop_packet(mbuf, DropReason::NoRoute);
        };
        if mbuf.data_len() > state.mtu {
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
        let port = state.port;
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
                    port,
                    ..PacketNote::default()
                };
            }
            let Self {
                handover,
                to_workers,
                drops,
                counters,
                ..
            } = self;
            return hand_over(handover, to_workers, owner, mbuf, drops, counters);
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
        let Self {
            handover,
            to_workers,
            drops,
            counters,
            ..
        } = self;
        for (burst, ring) in handover.iter_mut().zip(to_workers.iter_mut()) {
            if let Some(ring) = ring
                && !burst.is_empty()
            {
                super::send_over(burst, ring, drops, counters);
            }
        }
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

    // ---- the kernel mirror ------------------------------------------------------------------------------------------

    /// Gives a packet to the kernel: its Ethernet header still stands before it.
    pub(super) fn punt_packet(&mut self, mut mbuf: Mbuf, interface: u16) {
        if mbuf.prepend(ethernet::HEADER_LEN as u16).is_err() {
            return self.drop_packet(mbuf, DropReason::PuntFailed);
        }
        self.punt_frame(mbuf, interface);
    }

    /// Gives a frame to the kernel.
    pub(super) fn punt_frame(&mut self, mut mbuf: Mbuf, interface: u16) {
        if self.to_kernel.is_none() || self.interfaces.get(interface).is_none() {
            return self.drop_packet(mbuf, DropReason::PuntFailed);
        }
        if let Some(note) = mbuf.priv_mut::<PacketNote>() {
            *note = PacketNote {
                interface,
                kind: NOTE_IN,
                ..PacketNote::default()
            };
        }
        if self.punts.is_full() {
            self.flush_punts();
        }
        if self.punts.push(mbuf).is_err() {
            self.drops.count(DropReason::PuntFull);
        }
    }

    fn flush_punts(&mut self) {
        let Some(ring) = &mut self.to_kernel else { return };
        if self.punts.is_empty() {
            return;
        }
        self.counters.punted += ring.enqueue_burst(&mut self.punts) as u64;
        self.drops.0[DropReason::PuntFull as usize] += self.punts.len() as u64;
        self.punts.clear();
    }

    /// Sends a frame the kernel wrote to the mirror of `interface`.
    pub(super) fn send_from_kernel(&mut self, mut mbuf: Mbuf, interface: u16) {
        let Some(state) = self.interfaces.get(interface) else {
            return self.drop_packet(mbuf, DropReason::NoRoute);
        };
        if !state.is_up() {
            return self.drop_packet(mbuf, DropReason::PortDown);
        }
        let port = state.port;
        if let Some(vlan) = state.vlan {
            if mbuf.prepend(ethernet::TAG_LEN as u16).is_err() {
                return self.drop_packet(mbuf, DropReason::NoBuffer);
            }
            let data = mbuf.data_mut();
            if data.len() < ethernet::HEADER_LEN + ethernet::TAG_LEN {
                return self.drop_packet(mbuf, DropReason::FrameNotContiguous);
            }
            data.copy_within(4..16, 0);
            if let Some(tag) = data.get_mut(12..16) {
                let [a, b] = ethernet::VLAN.to_be_bytes();
                let [c, d] = vlan.to_be_bytes();
                tag.copy_from_slice(&[a, b, c, d]);
            }
        }
        self.counters.from_kernel += 1;
        self.transmit(mbuf, port);
    }
}

/// An exit looked up once for a burst.
struct KnownExit {
    next_hop: u16,
    /// Packets up to this size may go by it as they are; 0: none.
    mtu: u16,
    port: u8,
    header: [u8; ethernet::HEADER_LEN],
}

impl Default for KnownExit {
    fn default() -> Self {
        Self {
            next_hop: NO_NEXT_HOP,
            mtu: 0,
            port: 0,
            header: [0; ethernet::HEADER_LEN],
        }
    }
}

/// The untagged Ethernet header of IPv4 packets from an interface to a MAC.
#[inline(always)]
fn header(state: &InterfaceState, mac: u64) -> [u8; ethernet::HEADER_LEN] {
    let [_, _, d0, d1, d2, d3, d4, d5] = mac.to_be_bytes();
    let [s0, s1, s2, s3, s4, s5] = state.mac;
    [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, 0x08, 0x00]
}

/// Writes the Ethernet header (and tag) before a packet.
#[inline(always)]
fn prepend_header(mbuf: &mut Mbuf, state: &InterfaceState, mac: u64) -> bool {
    let plain = header(state, mac);
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
