//! Answers: ICMP errors of our own, within a budget. RFC 1812 section 4.3.2.

use rte_bindings::Mbuf;
use tandem_engine::packet::{Answer, RouteKind, Router};
use tandem_engine::ticks::Ticks;
use tandem_wire::build::{IcmpErrorKind, icmp_error};
use tandem_wire::icmp;

use super::deliver::destination;
use super::{NOTE_HAIRPIN, PacketNote, Worker};
use tandem_engine::drop_reason::DropReason;

/// ICMP errors one worker sends in one second. RFC 1812 section 4.3.2.8 asks for a limit.
const PER_SECOND: u32 = 1000;
/// Longest error: 576 octets. RFC 1812 section 4.3.2.3.
const LONGEST: u16 = 576;

/// What may still be sent this second.
#[derive(Debug)]
pub(super) struct Budget {
    second: u32,
    left: u32,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self {
            second: 0,
            left: PER_SECOND,
        }
    }

    fn take(&mut self, now: Ticks) -> bool {
        if self.second != now.seconds() {
            (self.second, self.left) = (now.seconds(), PER_SECOND);
        }
        let may = self.left > 0;
        self.left -= u32::from(may);
        may
    }
}

impl Worker {
    /// Sends an ICMP error about the packet `l3`, which came in on `interface` and was not translated yet.
    pub(super) fn answer(&mut self, l3: &[u8], interface: u16, answer: Answer) {
        let kind = match answer {
            Answer::None => return,
            Answer::TimeExceeded => IcmpErrorKind::TtlExceeded,
            Answer::Unreachable(code) => IcmpErrorKind::Unreachable(code),
            Answer::FragmentationNeeded(mtu) => IcmpErrorKind::FragmentationNeeded(mtu),
            Answer::Reset => IcmpErrorKind::Unreachable(icmp::CODE_ADMIN_PROHIBITED),
            // About IPv6 packets only.
            Answer::ParameterProblem(_) => return,
        };
        let source = self.own_address(interface);
        if source == 0 || !self.answers.take(self.now) {
            self.counters.icmp_suppressed += 1;
            return;
        }
        let Some(mbuf) = self.write_answer(l3, source, kind) else {
            self.counters.icmp_suppressed += 1;
            return;
        };
        let to = destination(mbuf.data());
        if self.commit.program.public_space.find(to).is_some() {
            self.counters.icmp_sent += 1;
            return self.answer_inside(mbuf);
        }
        let route = self.router.route(to, u32::from(self.ip_id));
        match route.kind {
            RouteKind::Forward { .. } => {
                self.counters.icmp_sent += 1;
                let exit = self.router.table().exit(route.next_hop, to);
                self.leave(mbuf, exit, interface, None);
            }
            // Nobody to tell: no way back, or the packet claims to be from this box.
            RouteKind::Kernel | RouteKind::Drop(_) => self.counters.icmp_suppressed += 1,
        }
    }

    /// The error in a buffer; `None` when none may be sent about the packet, or there is no buffer.
    fn write_answer(&mut self, l3: &[u8], source: u32, kind: IcmpErrorKind) -> Option<Mbuf> {
        let mut mbuf = self.pool.alloc()?;
        self.ip_id = self.ip_id.wrapping_add(1);
        let out = mbuf.append(LONGEST).ok()?;
        let length = icmp_error(out, l3, source, self.ip_id, kind)?;
        mbuf.trim(LONGEST.saturating_sub(length as u16)).ok()?;
        Some(mbuf)
    }

    /// About a hairpinned packet: its sender is behind one of our own public addresses.
    fn answer_inside(&mut self, mut mbuf: Mbuf) {
        if let Some(note) = mbuf.priv_mut::<PacketNote>() {
            *note = PacketNote {
                kind: NOTE_HAIRPIN,
                ..PacketNote::default()
            };
        }
        if self.hairpins.push(mbuf).is_err() {
            self.drops.count(DropReason::HandoverFull);
        }
    }

    /// The box's address on an interface; any of its addresses when that one has none.
    fn own_address(&self, interface: u16) -> u32 {
        let own = self.interfaces.get(interface).map_or(0, |i| i.ipv4());
        if own != 0 {
            return own;
        }
        self.interfaces
            .all
            .iter()
            .map(|i| i.ipv4())
            .find(|a| *a != 0)
            .unwrap_or(0)
    }
}
