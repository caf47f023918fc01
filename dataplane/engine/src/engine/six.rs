//! The way of a burst of IPv6 packets: to IPv4 destinations in a NAT64 prefix, and to IPv6 ones through a firewall or prefix
//! translation. What no service set wants is routed.

use tandem_wire::l4::L4;

use super::plain::Pass;
use super::{Engine, MAX_BURST, SetPlan};
use crate::packet::{Packet, Router, Side, Verdict};
use crate::packet6::{Desc6, Target};
use crate::program::NONE;
use crate::session::Key66;
use crate::ticks::Ticks;

impl Engine {
    /// Passes a burst of IPv6 packets through, as [`Engine::process`] does with IPv4. A packet to be forwarded may have become
    /// an IPv4 packet.
    pub fn process6<P: Packet, R: Router>(
        &mut self,
        now: Ticks,
        router: &R,
        packets: &mut [P],
        descs: &mut [Desc6],
    ) {
        self.now = self.now.max(now);
        for (packets, descs) in packets.chunks_mut(MAX_BURST).zip(descs.chunks_mut(MAX_BURST)) {
            self.process6_part(router, packets, descs);
        }
        if self.has_draining {
            self.count_drained(descs.iter().map(|d| (d.verdict, d.candidate)));
        }
    }

    fn process6_part<P: Packet, R: Router>(&mut self, router: &R, packets: &mut [P], descs: &mut [Desc6]) {
        for desc in descs.iter_mut() {
            if desc.target == Target::Unknown {
                self.look_ahead6(desc);
            }
            desc.candidate = self.sessions.prefetch_candidate(desc.place);
        }
        let mut pass = Pass::new(self.route_generation(router));
        let mut misses = [0u8; MAX_BURST];
        let mut missed = 0;
        for (i, (desc, packet)) in descs.iter_mut().zip(packets.iter_mut()).enumerate() {
            if desc.verdict != Verdict::Pending || self.pass_plain6(desc, packet, router, &mut pass) {
                continue;
            }
            if self.is_candidate6(desc) {
                self.translate6(desc.candidate, desc, packet, router);
            } else if let Some(slot) = misses.get_mut(missed) {
                *slot = i as u8;
                missed += 1;
            }
        }
        if missed > 0 {
            self.first_packets(router, packets, descs, misses.get(..missed).unwrap_or(&[]));
        }
    }

    /// Computes where an IPv6 packet's session would be, and asks for that line; [`Engine::look_ahead`] for IPv4.
    #[inline(always)]
    pub fn look_ahead6(&self, desc: &mut Desc6) {
        if desc.verdict != Verdict::Pending {
            return;
        }
        let is_error = matches!(desc.meta.l4, L4::IcmpError { .. } | L4::IcmpOther { .. });
        match desc.side {
            Side::Inside(set) => match self.set_plan(set) {
                Some(plan) => self.target_inside(plan, set, desc, is_error),
                None => desc.verdict = Verdict::Route,
            },
            Side::Outside if self.six_outside => self.target_outside(desc, is_error),
            Side::Outside | Side::Neither => desc.verdict = Verdict::Route,
        }
    }

    #[inline(always)]
    fn target_inside(&self, plan: &SetPlan, set: u16, desc: &mut Desc6, is_error: bool) {
        let (sport, dport) = desc.ports();
        for (id, prefix) in &plan.prefixes {
            let Some(address) = prefix.extract(desc.meta.dst) else {
                continue;
            };
            desc.target = Target::Four { prefix: *id, address };
            if is_error {
                return;
            }
            let protocol = super::flow::outside_protocol(desc.meta.proto);
            let place = self
                .sessions
                .place_64(desc.meta.src, address, (sport, dport), protocol, (set, *id));
            self.sessions.prefetch_place(place);
            desc.place = place;
            return;
        }
        if plan.firewall && !is_prefix_hairpin(plan, desc) {
            let key = Key66 {
                inside: desc.meta.src,
                outside: desc.meta.dst,
                inside_port: sport,
                outside_port: dport,
            };
            self.enter_key(desc, key, is_error);
        } else if plan.stateless || plan.firewall {
            desc.target = Target::Stateless;
        } else {
            desc.verdict = Verdict::Route;
        }
    }

    fn target_outside(&self, desc: &mut Desc6, is_error: bool) {
        if self.is_stateless_outside(desc) {
            desc.target = Target::Stateless;
            return;
        }
        let (sport, dport) = desc.ports();
        let inside = self
            .prefix_pairs
            .iter()
            .find_map(|(_, pair)| pair.to_inside(desc.meta.dst));
        let key = Key66 {
            inside: inside.unwrap_or(desc.meta.dst),
            outside: desc.meta.src,
            inside_port: dport,
            outside_port: sport,
        };
        self.enter_key(desc, key, is_error);
    }

    #[inline(always)]
    fn enter_key(&self, desc: &mut Desc6, key: Key66, is_error: bool) {
        desc.target = Target::Six(key);
        // With segments left, this destination is not the last one: no session speaks for those to come.
        if is_error || desc.meta.segments_left_at != 0 {
            return;
        }
        desc.place = self.sessions.place_66(&key, desc.meta.proto);
        self.sessions.prefetch_place(desc.place);
    }

    /// Whether the record asked for ahead is the packet's session.
    fn is_candidate6(&self, desc: &Desc6) -> bool {
        self.is_session6(desc.candidate, desc)
    }

    fn is_session6(&self, number: u32, desc: &Desc6) -> bool {
        match desc.target {
            Target::Four { prefix, address } => {
                let Side::Inside(set) = desc.side else {
                    return false;
                };
                let protocol = super::flow::outside_protocol(desc.meta.proto);
                self.sessions.is_64(
                    number,
                    desc.meta.src,
                    address,
                    desc.ports(),
                    protocol,
                    (set, prefix),
                )
            }
            Target::Six(key) => {
                desc.meta.segments_left_at == 0
                    && self.sessions.is_66(number, &key, desc.meta.proto)
                    && self.is_of_side(number, desc)
            }
            Target::Unknown | Target::Stateless => false,
        }
    }

    /// A session is its service set's: from inside, only packets of that set's inside pass by it.
    fn is_of_side(&self, number: u32, desc: &Desc6) -> bool {
        match desc.side {
            Side::Inside(set) => self.sessions.hot(number).is_some_and(|h| h.service_set == set),
            Side::Outside | Side::Neither => true,
        }
    }

    /// An IPv6 packet's session.
    pub(super) fn find6(&self, desc: &Desc6) -> Option<u32> {
        let protocol = super::flow::outside_protocol(desc.meta.proto);
        match desc.target {
            Target::Four { prefix, address } => {
                let set = if let Side::Inside(set) = desc.side {
                    set
                } else {
                    NONE
                };
                self.sessions.find_64(
                    desc.place,
                    desc.meta.src,
                    address,
                    desc.ports(),
                    protocol,
                    (set, prefix),
                )
            }
            Target::Six(key) if desc.meta.segments_left_at == 0 => self
                .sessions
                .find_66(desc.place, &key, desc.meta.proto)
                .filter(|n| self.is_of_side(*n, desc)),
            Target::Six(_) | Target::Unknown | Target::Stateless => None,
        }
    }
}

/// Whether a packet from inside is for another inside host's outside address: RFC 6296 section 4 translates both addresses,
/// and the packet never leaves the inside, so policies have nothing to say.
fn is_prefix_hairpin(plan: &SetPlan, desc: &Desc6) -> bool {
    let pairs = &plan.prefix_pairs;
    pairs.iter().any(|p| p.outside().contains(desc.meta.dst))
        && pairs.iter().any(|p| p.inside().contains(desc.meta.src))
}
