//! Answers: ICMP errors and TCP resets of our own, within a budget. RFC 1812 section 4.3.2, RFC 4443 section 2.4.
//!
//! An IPv6 sender is told in its own family whatever its packet was to become: it was not translated yet, so the way back is
//! a route, not NAT64.
//!
//! Those inside and everybody else have a budget each: a flood from outside leaves subscribers what tells them their path's MTU.

use rte_bindings::Mbuf;
use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::{Answer, RouteKind, Router, Side};
use tandem_engine::program::NONE;
use tandem_wire::build::{Icmp6ErrorKind, IcmpErrorKind, icmp_error, icmp6_error, tcp_reset, tcp_reset6};
use tandem_wire::{Ipv4, Ipv6, icmp, icmp6, ipv4};

use super::leave::{addresses, is_ipv6};
use super::per_second::PerSecond;
use super::{NOTE_HAIRPIN, PacketNote, Worker};
use crate::interfaces::InterfaceState;
use tandem_engine::address;

/// Answers one worker sends in one second to those inside, and as many to everybody else. RFC 1812 section 4.3.2.8 and RFC 4443 section 2.4 (f) ask for a limit.
const PER_SECOND: u32 = 1000;
/// Longest error: 576 octets. RFC 1812 section 4.3.2.3.
const LONGEST: u16 = 576;
/// The same of ICMPv6: the smallest MTU. RFC 4443 section 2.4 (c).
const LONGEST6: u16 = 1280;

/// What an answer counts as.
#[derive(Clone, Copy)]
enum Kind {
    Error,
    Reset,
}

/// What may still be sent this second.
#[derive(Debug)]
pub(super) struct Budgets {
    inside: PerSecond,
    others: PerSecond,
}

impl Budgets {
    pub(super) fn new() -> Self {
        Self {
            inside: PerSecond::new(PER_SECOND),
            others: PerSecond::new(PER_SECOND),
        }
    }
}

impl Worker {
    /// Tells the sender of the packet `l3`, which came in on `interface` and was not translated yet.
    pub(super) fn answer(&mut self, l3: &[u8], interface: u16, answer: Answer) {
        let written = if answer == Answer::None {
            return;
        } else if !self.may_answer(interface) {
            None
        } else if is_ipv6(l3) {
            self.write_answer6(l3, interface, answer)
        } else {
            self.write_answer(l3, interface, answer)
        };
        let Some((mbuf, kind)) = written else {
            self.counters.icmp_suppressed += 1;
            return;
        };
        let (_, to) = addresses(mbuf.data());
        let table = self.router.table();
        let (kind_of_route, exit) = match address::v4(to) {
            Some(to) if self.commit.program.public_space.find(to).is_some() => {
                self.count_answer(kind);
                return self.answer_inside(mbuf);
            }
            Some(to) => {
                let route = self.router.route(to, u32::from(self.ip_id));
                (route.kind, table.exit(route.next_hop, to))
            }
            None => {
                let route = self.router.route6(to, u32::from(self.ip_id));
                (route.kind, table.exit6(route.next_hop, to))
            }
        };
        match kind_of_route {
            RouteKind::Forward { .. } => {
                self.count_answer(kind);
                self.leave(mbuf, exit, interface, None);
            }
            // Nobody to tell: no way back, or the packet claims to be from this box.
            RouteKind::Kernel | RouteKind::Drop(_) => self.counters.icmp_suppressed += 1,
        }
    }

    /// Takes from the budget of who sent the packet. A hairpinned one, which has no interface any more, came from inside.
    fn may_answer(&mut self, interface: u16) -> bool {
        let inside = interface == NONE || matches!(self.sides().side(interface), Side::Inside(_));
        let now = self.now;
        let Budgets { inside: ours, others } = &mut self.answers;
        if inside { ours.take(now) } else { others.take(now) }
    }

    fn count_answer(&mut self, kind: Kind) {
        match kind {
            Kind::Error => self.counters.icmp_sent += 1,
            Kind::Reset => self.counters.resets_sent += 1,
        }
    }

    /// The answer to an IPv4 packet; `None` when none may be sent about it, we have no address, or there is no buffer.
    fn write_answer(&mut self, l3: &[u8], interface: u16, answer: Answer) -> Option<(Mbuf, Kind)> {
        let error = match answer {
            // ICMPv6 knows this one in a case of its own.
            Answer::None | Answer::ParameterProblem(_) => return None,
            Answer::TimeExceeded => IcmpErrorKind::TtlExceeded,
            Answer::Unreachable(code) => IcmpErrorKind::Unreachable(code),
            Answer::FragmentationNeeded(mtu) => IcmpErrorKind::FragmentationNeeded(mtu),
            Answer::Reset if Ipv4::new_checked(l3).ok()?.protocol() == ipv4::TCP => {
                return Some((self.write(LONGEST, |out| tcp_reset(out, l3))?, Kind::Reset));
            }
            Answer::Reset => IcmpErrorKind::Unreachable(icmp::CODE_ADMIN_PROHIBITED),
        };
        let source = self.own_address(interface, |i| i.ipv4())?;
        self.ip_id = self.ip_id.wrapping_add(1);
        let id = self.ip_id;
        let mbuf = self.write(LONGEST, |out| icmp_error(out, l3, source, id, error))?;
        Some((mbuf, Kind::Error))
    }

    /// The answer to an IPv6 packet, likewise.
    fn write_answer6(&mut self, l3: &[u8], interface: u16, answer: Answer) -> Option<(Mbuf, Kind)> {
        let error = match answer {
            Answer::None => return None,
            Answer::TimeExceeded => Icmp6ErrorKind::HopLimitExceeded,
            Answer::Unreachable(code) => Icmp6ErrorKind::Unreachable(code),
            Answer::FragmentationNeeded(mtu) => Icmp6ErrorKind::PacketTooBig(u32::from(mtu)),
            Answer::ParameterProblem(pointer) => Icmp6ErrorKind::ParameterProblem {
                code: icmp6::CODE_HEADER_FIELD,
                pointer: u32::from(pointer),
            },
            Answer::Reset if Ipv6::new_checked(l3).ok()?.upper().ok()?.proto == ipv4::TCP => {
                return Some((self.write(LONGEST6, |out| tcp_reset6(out, l3))?, Kind::Reset));
            }
            Answer::Reset => Icmp6ErrorKind::Unreachable(icmp6::CODE_ADMIN_PROHIBITED),
        };
        let source = self.own_address(interface, |i| i.ipv6())?;
        // It picks among equal ways back, as the identification does for IPv4.
        self.ip_id = self.ip_id.wrapping_add(1);
        let mbuf = self.write(LONGEST6, |out| icmp6_error(out, l3, source, error))?;
        Some((mbuf, Kind::Error))
    }

    /// A buffer with what `write` puts into it.
    fn write(&mut self, longest: u16, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<Mbuf> {
        let mut mbuf = self.pool.alloc()?;
        let length = write(mbuf.append(longest).ok()?)?;
        mbuf.trim(longest.saturating_sub(length as u16)).ok()?;
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
    fn own_address<A: Copy + Default + PartialEq>(
        &self,
        interface: u16,
        address: impl Fn(&InterfaceState) -> A,
    ) -> Option<A> {
        let has = |a: &A| *a != A::default();
        let own = self.interfaces.get(interface).map(&address).filter(has);
        own.or_else(|| self.interfaces.all.iter().map(&address).find(has))
    }
}
