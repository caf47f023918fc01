//! Packets that wait for a next hop to be resolved: few, for a short time. RFC 1122 section 2.3.2.2 asks to keep at least
//! the latest; we keep some of each.

use rte_bindings::Mbuf;
use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::Answer;
use tandem_engine::ticks::Ticks;

use super::Worker;
use super::leave::{addresses, is_ipv6};
use crate::address::{address_of, as_ipv4};
use crate::command::Event;
use crate::next_hop::Exit;

/// Packets waiting at once, per worker.
const CAPACITY: usize = 256;
/// Of these, for one next hop.
const PER_NEIGHBOUR: usize = 16;
/// How long a packet waits.
const PATIENCE: Ticks = Ticks(30);
/// How often the kernel is asked again meanwhile.
const ASK_AGAIN: Ticks = Ticks(10);

#[derive(Debug)]
struct Packet {
    mbuf: Mbuf,
    since: Ticks,
    asked: Ticks,
    answerable: Option<u16>,
}

/// The store.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Interface and address (IPv4 in `::ffff:0:0/96`), apart from the packets so that counting is a quick scan.
    keys: Vec<(u16, u128)>,
    packets: Vec<Packet>,
}

impl Waiting {
    pub(super) fn new() -> Self {
        Self {
            keys: Vec::with_capacity(CAPACITY),
            packets: Vec::with_capacity(CAPACITY),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl Worker {
    /// Keeps a packet until `address` (IPv4 in `::ffff:0:0/96`) on `interface` is resolved, and asks for that.
    #[cold]
    pub(super) fn wait_for(&mut self, mbuf: Mbuf, interface: u16, address: u128, answerable: Option<u16>) {
        let key = (interface, address);
        let same = self.waiting.keys.iter().filter(|k| **k == key).count();
        if self.waiting.keys.len() == CAPACITY || same == PER_NEIGHBOUR {
            return self.drop_packet(mbuf, DropReason::NeighbourQueueFull);
        }
        if same == 0 {
            self.ask(interface, address);
        }
        self.waiting.keys.push(key);
        self.waiting.packets.push(Packet {
            mbuf,
            since: self.now,
            asked: self.now,
            answerable,
        });
    }

    /// Who may be told about a packet that was translated: a subscriber, whose packet now has one of our public sources. The
    /// error goes back through the translation. A packet from outside is not answered: it would show an inside address.
    #[cold]
    pub(super) fn answerable_translated(&self, mbuf: &Mbuf, ingress: u16) -> Option<u16> {
        let source = as_ipv4(addresses(mbuf.data()).0)?;
        self.commit
            .program
            .public_space
            .find(source)
            .is_some()
            .then_some(ingress)
    }

    fn ask(&mut self, interface: u16, address: u128) {
        // A full queue loses the question; it is asked again while the packet waits.
        if self
            .mailbox
            .events
            .push(Event::Resolve(interface, address_of(address)))
            .is_ok()
        {
            self.counters.neighbour_asked += 1;
        }
    }

    /// Drops all of them: the worker stops.
    pub(super) fn drop_waiting(&mut self) {
        self.drops.0[DropReason::Stopping as usize] += self.waiting.keys.len() as u64;
        self.waiting.keys.clear();
        self.waiting.packets.clear();
    }

    /// Sends what can go now, gives up what waited too long.
    pub(super) fn look_after_waiting(&mut self) {
        let mut at = 0;
        while let (Some((interface, address)), Some(packet)) = (
            self.waiting.keys.get(at).copied(),
            self.waiting.packets.get_mut(at),
        ) {
            let exit = self.router.table().neighbour_exit6(interface, address);
            let expired = self.now.since(packet.since) > PATIENCE;
            if matches!(exit, Exit::Unresolved { .. }) && !expired {
                if self.now.since(packet.asked) > ASK_AGAIN {
                    packet.asked = self.now;
                    self.ask(interface, address);
                }
                at += 1;
                continue;
            }
            self.waiting.keys.remove(at);
            let packet = self.waiting.packets.remove(at);
            if let Exit::Neighbour { interface, mac } = exit {
                self.counters.neighbour_waited += 1;
                self.send(packet.mbuf, interface, mac);
                continue;
            }
            if let Some(ingress) = packet.answerable {
                let answer = if is_ipv6(packet.mbuf.data()) {
                    Answer::to_route6(DropReason::RouteUnreachable)
                } else {
                    Answer::to_route(DropReason::RouteUnreachable)
                };
                self.answer(packet.mbuf.data(), ingress, answer);
            }
            self.drop_packet(packet.mbuf, DropReason::NeighbourUnresolved);
        }
    }
}
