//! Packets that wait for a next hop to be resolved: few, for a short time. RFC 1122 section 2.3.2.2 asks to keep at least
//! the latest; we keep some of each.
//!
//! A scan of a link's addresses must not keep real neighbours from being resolved (RFC 6583): the newest packet always has a
//! place (queue.rs says who gives way), and only so many hosts of one link are asked for in one second, routers always.

use rte_bindings::Mbuf;
use tandem_engine::drop_reason::DropReason;
use tandem_engine::packet::Answer;
use tandem_engine::ticks::Ticks;

use super::Worker;
use super::leave::{addresses, is_ipv6};
use super::per_second::PerSecond;
use super::queue::{Key, Queue};
use crate::command::Event;
use crate::next_hop::Exit;
use tandem_engine::address;

/// How long a packet waits.
const PATIENCE: Ticks = Ticks(30);
/// How often the kernel is asked again meanwhile.
const ASK_AGAIN: Ticks = Ticks(10);
/// Hosts on the link of one interface that are asked for in one second, per worker.
const ASKED_PER_SECOND: u32 = 100;
/// Of these, for hosts nobody was asked for yet.
const FOR_NEW: u32 = ASKED_PER_SECOND / 2;

#[derive(Debug)]
struct Packet {
    mbuf: Mbuf,
    since: Ticks,
    /// When the kernel was asked last, if it was.
    asked: Option<Ticks>,
    answerable: Option<u16>,
}

/// The store.
#[derive(Debug)]
pub(super) struct Waiting {
    queue: Queue<Packet>,
    /// What may still be asked for hosts on the link, by interface.
    budgets: Vec<(u16, PerSecond)>,
}

impl Waiting {
    pub(super) fn new(interfaces: impl Iterator<Item = u16>) -> Self {
        Self {
            queue: Queue::new(),
            budgets: interfaces
                .map(|id| (id, PerSecond::new(ASKED_PER_SECOND)))
                .collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether the kernel may be asked; `reserve` is left for others.
    fn may_ask(&mut self, key: Key, reserve: u32, now: Ticks) -> bool {
        let budget = self.budgets.iter_mut().find(|(id, _)| *id == key.interface);
        !key.on_link || budget.is_some_and(|(_, budget)| budget.take_above(reserve, now))
    }
}

impl Worker {
    /// Keeps a packet until `address` (IPv4 in `::ffff:0:0/96`) on `interface` is resolved, and asks for that.
    #[cold]
    pub(super) fn wait_for(&mut self, mbuf: Mbuf, interface: u16, address: u128, answerable: Option<u16>) {
        let key = Key {
            interface,
            address,
            on_link: addresses(mbuf.data()).1 == address,
        };
        let mut asked = self.waiting.queue.of(key).filter_map(|p| p.asked).max();
        if asked.is_none() {
            if self.waiting.may_ask(key, 0, self.now) {
                self.ask(key);
                asked = Some(self.now);
            } else {
                self.counters.neighbour_limited += 1;
            }
        }
        let packet = Packet {
            mbuf,
            since: self.now,
            asked,
            answerable,
        };
        let Some((old, same)) = self.waiting.queue.push(key, packet) else {
            return;
        };
        if same && let Some(oldest) = self.waiting.queue.of(key).next() {
            // The neighbour's time runs on: packets that follow each other closely do not wait for ever.
            oldest.since = old.since;
        }
        self.drop_packet(old.mbuf, DropReason::NeighbourQueueFull);
    }

    /// Who may be told about a packet that was translated: a subscriber, whose packet now has one of our public sources. The
    /// error goes back through the translation. A packet from outside is not answered: it would show an inside address.
    #[cold]
    pub(super) fn answerable_translated(&self, mbuf: &Mbuf, ingress: u16) -> Option<u16> {
        let source = address::v4(addresses(mbuf.data()).0)?;
        self.commit
            .program
            .public_space
            .find(source)
            .is_some()
            .then_some(ingress)
    }

    fn ask(&mut self, key: Key) {
        // A full queue loses the question; it is asked again while packets wait.
        let event = Event::Resolve(key.interface, address::show(key.address));
        if self.mailbox.events.push(event).is_ok() {
            self.counters.neighbour_asked += 1;
        }
        for packet in self.waiting.queue.of(key) {
            packet.asked = Some(self.now);
        }
    }

    /// Drops all of them: the worker stops.
    pub(super) fn drop_waiting(&mut self) {
        self.drops.0[DropReason::Stopping as usize] += self.waiting.len() as u64;
        self.waiting.queue.clear();
    }

    /// Sends what can go now, gives up what waited too long.
    pub(super) fn look_after_waiting(&mut self) {
        let mut at = 0;
        while let Some((key, packet)) = self.waiting.queue.get_mut(at) {
            let exit = self.router.table().neighbour_exit6(key.interface, key.address);
            let expired = self.now.since(packet.since) > PATIENCE;
            if matches!(exit, Exit::Unresolved { .. }) && !expired {
                let due = packet.asked.is_none_or(|asked| self.now.since(asked) > ASK_AGAIN);
                if due && self.waiting.may_ask(key, FOR_NEW, self.now) {
                    self.ask(key);
                }
                at += 1;
                continue;
            }
            let packet = self.waiting.queue.remove(at);
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
