//! Deliver: what the engine decided is carried out: out of a port, to the kernel, round again, back to the sender, or away.
//!
//! A packet may have changed its family: what leaves is told by its version, not by the batch it came in.

use rte_bindings::Mbuf;
use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, Desc, Verdict};
use tandem_engine::packet6::Desc6;
use tandem_engine::session::NO_NEXT_HOP;
use tandem_wire::ethernet;

use super::leave::{addresses, header, header6, is_ipv6};
use super::{NOTE_HAIRPIN, PacketNote, TxPath, Worker};
use crate::next_hop::Exit;
use tandem_engine::address;

/// What the rarer ends of a packet need of its description.
struct Origin {
    interface: u16,
    sport: u16,
    dport: u16,
    next_hop: u16,
    /// IPv4 identification, which fragments keep when the packet becomes IPv6.
    id: u16,
}

impl Worker {
    /// The IPv4 batch. Where no packet can have become IPv6, none is asked: the look at the version costs a cycle and more.
    pub(super) fn deliver_batch(&mut self) {
        if self.commit.changes_family {
            self.deliver_batch4::<true>();
        } else {
            self.deliver_batch4::<false>();
        }
    }

    #[inline(always)]
    fn deliver_batch4<const MAY_BE_SIX: bool>(&mut self) {
        let Some(spare) = self.spare.take() else { return };
        let mut batch = std::mem::replace(&mut self.batch, spare);
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
                        self.send_known::<MAY_BE_SIX>(mbuf, &known);
                    } else {
                        let (ingress, ends) = (desc.interface, (desc.meta.src, desc.meta.dst));
                        self.leave_by(
                            mbuf,
                            next_hop,
                            ingress,
                            (address::of_v4(ends.0), address::of_v4(ends.1)),
                        );
                    }
                }
                Verdict::Route => {
                    let desc = *desc;
                    self.route(mbuf, &desc);
                }
                other => {
                    let desc = *desc;
                    self.deliver_rare4(mbuf, &desc, other);
                }
            }
        }
        self.descs.clear();
        self.spare = Some(batch);
    }

    pub(super) fn deliver_batch6(&mut self) {
        let mut batch = std::mem::take(&mut self.batch6);
        let mut known = KnownExit::default();
        for (at, mbuf) in batch.drain().enumerate() {
            let Some(desc) = self.descs6.get(at) else {
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
                        self.send_known::<true>(mbuf, &known);
                    } else {
                        let (ingress, ends) = (desc.interface, (desc.meta.src, desc.meta.dst));
                        self.leave_by(mbuf, next_hop, ingress, ends);
                    }
                }
                Verdict::Route => {
                    let desc = *desc;
                    self.route6(mbuf, &desc);
                }
                other => {
                    let desc = *desc;
                    self.deliver_rare6(mbuf, &desc, other);
                }
            }
        }
        self.descs6.clear();
        self.batch6 = batch;
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
        let port = state.port();
        let keeps = self
            .tx
            .get(usize::from(port))
            .is_some_and(|t| !matches!(t.path, TxPath::Worker(_)));
        if !state.is_up() || state.vlan.is_some() || !keeps {
            return closer_look;
        }
        let header = header(state, mac);
        KnownExit {
            next_hop,
            mtu: state.mtu,
            port,
            header,
            header6: header6(header),
        }
    }

    /// Sends a packet by an exit that needs no closer look.
    #[inline(always)]
    fn send_known<const MAY_BE_SIX: bool>(&mut self, mut mbuf: Mbuf, exit: &KnownExit) {
        let header = if MAY_BE_SIX && is_ipv6(mbuf.data()) {
            &exit.header6
        } else {
            &exit.header
        };
        let written = mbuf
            .prepend(ethernet::HEADER_LEN as u16)
            .ok()
            .and_then(|f| f.first_chunk_mut::<14>());
        let Some(front) = written else {
            return self.drop_packet(mbuf, DropReason::NoBuffer);
        };
        *front = *header;
        let Some(tx) = self.tx.get_mut(usize::from(exit.port)) else {
            return self.drop_lost(mbuf, DropReason::NoRoute);
        };
        if let Err(mbuf) = tx.burst.push(mbuf) {
            self.transmit(mbuf, exit.port);
        }
    }

    /// Sends a packet by an exit that does. `ends` are the addresses it came with: one that still has them hides nobody, and its
    /// sender may be told.
    fn leave_by(&mut self, mbuf: Mbuf, next_hop: u16, ingress: u16, ends: (u128, u128)) {
        let exit = self.exit(next_hop, mbuf.data());
        let answerable = (addresses(mbuf.data()) == ends).then_some(ingress);
        self.leave(mbuf, exit, ingress, answerable);
    }

    /// [`Worker::drop_packet`], kept out of the loops of the plain way.
    #[cold]
    #[inline(never)]
    pub(super) fn drop_lost(&mut self, mbuf: Mbuf, reason: DropReason) {
        self.drop_packet(mbuf, reason);
    }

    #[cold]
    fn deliver_rare4(&mut self, mbuf: Mbuf, desc: &Desc, verdict: Verdict) {
        let origin = Origin {
            interface: desc.interface,
            sport: desc.sport,
            dport: desc.dport,
            next_hop: desc.next_hop,
            id: desc.meta.id,
        };
        match verdict {
            Verdict::HoldSyn => match self.held.hold(self.now, *desc, mbuf) {
                Ok(()) => self.counters.syn_held += 1,
                Err((mbuf, reason)) => self.drop_packet(mbuf, reason),
            },
            other => self.deliver_rare(mbuf, &origin, other),
        }
    }

    #[inline(never)]
    fn deliver_rare6(&mut self, mbuf: Mbuf, desc: &Desc6, verdict: Verdict) {
        let origin = Origin {
            interface: desc.interface,
            sport: desc.sport,
            dport: desc.dport,
            next_hop: desc.next_hop,
            id: 0,
        };
        self.deliver_rare(mbuf, &origin, verdict);
    }

    fn deliver_rare(&mut self, mut mbuf: Mbuf, origin: &Origin, verdict: Verdict) {
        match verdict {
            Verdict::Kernel => self.punt_packet(mbuf, origin.interface),
            Verdict::Drop(reason, answer) => self.refuse(mbuf, origin.interface, reason, answer),
            Verdict::NotPrimary(set) => self.forward_to_peer(mbuf, set, origin.interface),
            Verdict::Hairpin => {
                // Translated, and one hop further: a packet of its own, which may cross the HA data link.
                mbuf.set_marked(false);
                if let Some(note) = mbuf.priv_mut::<PacketNote>() {
                    *note = PacketNote {
                        interface: origin.interface,
                        sport: origin.sport,
                        dport: origin.dport,
                        kind: NOTE_HAIRPIN,
                        detail: 0,
                    };
                }
                if self.hairpins.push(mbuf).is_err() {
                    self.drops.count(DropReason::HandoverFull);
                }
            }
            Verdict::ForwardFragmented(limit) => {
                self.leave_fragmented(mbuf, origin.next_hop, limit, origin.interface, origin.id);
            }
            // SYNs are held for IPv4 mappings alone, and the engine decides every packet.
            Verdict::HoldSyn | Verdict::Pending | Verdict::Forward | Verdict::Route => {
                self.drop_packet(mbuf, DropReason::Stopping)
            }
        }
    }

    /// Drops a packet and tells its sender why.
    pub(super) fn refuse(&mut self, mbuf: Mbuf, interface: u16, reason: DropReason, answer: Answer) {
        if answer != Answer::None {
            self.answer(mbuf.data(), interface, answer);
        }
        self.drop_packet(mbuf, reason);
    }
}

/// An exit looked up once for a burst.
struct KnownExit {
    next_hop: u16,
    /// Packets up to this size may go by it as they are; 0: none.
    mtu: u16,
    port: u8,
    header: [u8; ethernet::HEADER_LEN],
    /// Of packets that are, or have become, IPv6.
    header6: [u8; ethernet::HEADER_LEN],
}

impl Default for KnownExit {
    fn default() -> Self {
        Self {
            next_hop: NO_NEXT_HOP,
            mtu: 0,
            port: 0,
            header: [0; ethernet::HEADER_LEN],
            header6: [0; ethernet::HEADER_LEN],
        }
    }
}
