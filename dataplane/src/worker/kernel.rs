//! The kernel mirror, as a worker sees it: frames given to it, and frames it wrote.

use rte_bindings::Mbuf;
use tandem_engine::drop_reason::DropReason;
use tandem_wire::ethernet;

use super::leave::{header, header6, is_ipv6};
use super::{NOTE_IN, PacketNote, Worker};

impl Worker {
    /// Gives a packet to the kernel: its Ethernet header still stands before it.
    pub(super) fn punt_packet(&mut self, mut mbuf: Mbuf, interface: u16) {
        if mbuf.prepend(ethernet::HEADER_LEN as u16).is_err() {
            return self.drop_packet(mbuf, DropReason::PuntFailed);
        }
        self.punt_frame(mbuf, interface);
    }

    /// Gives a packet to the kernel that was translated: its Ethernet header may not fit it any more.
    #[cold]
    pub(super) fn punt_written(&mut self, mut mbuf: Mbuf, interface: u16) {
        let Some(state) = self.interfaces.get(interface) else {
            return self.drop_packet(mbuf, DropReason::PuntFailed);
        };
        let mac = state.mac.iter().fold(0, |all, b| all << 8 | u64::from(*b));
        let plain = header(state, mac);
        let plain = if is_ipv6(mbuf.data()) {
            header6(plain)
        } else {
            plain
        };
        let written = mbuf.prepend(ethernet::HEADER_LEN as u16).is_ok_and(|front| {
            front.first_chunk_mut().is_some_and(|f| {
                *f = plain;
                true
            })
        });
        if !written {
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

    pub(super) fn flush_punts(&mut self) {
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
        let port = state.port();
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
