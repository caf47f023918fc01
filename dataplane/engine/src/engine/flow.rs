//! A packet without a session as the steps of a first packet see it, whatever its family; and what they need of a description.

use tandem_wire::l4::L4;
use tandem_wire::xlat::XlatError;
use tandem_wire::{ipv4, xlat};

use super::Engine;
use crate::address;
use crate::drop_reason::DropReason;
use crate::index::Place;
use crate::packet::{Answer, Desc, Packet, Router, Side, Verdict};
use crate::packet6::{Desc6, Target};
use crate::program::{InterfaceId, NONE, PrefixId};
use crate::session::{Direction, KIND_44, KIND_64, KIND_66, NO_RECORD, Tuple4};

/// A first packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    /// What kind of session it would begin, as far as the packet says: one from outside with IPv4 may turn out to be for an
    /// IPv6 inside.
    pub kind: u8,
    pub direction: Direction,
    pub interface: InterfaceId,
    /// Source; IPv4 under `::ffff:0:0/96`, as all addresses here.
    pub src: u128,
    /// Destination; of NAT64 the IPv4 one.
    pub dst: u128,
    /// Destination as the sender wrote it.
    pub written: u128,
    /// Ports as sessions have them.
    pub sport: u16,
    pub dport: u16,
    /// NAT64 prefix it was sent to, or [`NONE`].
    pub prefix: PrefixId,
    /// Protocol; of NAT64 the one outside.
    pub proto: u8,
    pub l4: L4,
    pub ttl: u8,
    pub hash: u32,
    /// Why it cannot change its family, as far as its headers say.
    pub refused: Option<XlatError>,
}

impl Flow {
    /// The packet from inside that an ICMP error from inside is about, the other way round: what terms decide about.
    pub fn answered(desc: &Desc, tuple: &Tuple4, proto: u8) -> Self {
        Self {
            src: address::of_v4(tuple.src),
            dst: address::of_v4(tuple.dst),
            written: address::of_v4(tuple.dst),
            sport: tuple.sport,
            dport: tuple.dport,
            proto,
            ..desc.flow()
        }
    }
}

/// What the steps of a first packet need of a description.
pub(super) trait Described: Copy {
    fn side(&self) -> Side;
    fn verdict(&self) -> Verdict;
    fn set_verdict(&mut self, verdict: Verdict);
    fn place(&self) -> Place;
    /// Whether the index had anything that looked like its session when the burst was looked up.
    fn has_candidate(&self) -> bool;
    fn is_icmp_error(&self) -> bool;
    /// Whether its service set translates it without a session.
    fn is_stateless(&self) -> bool;
    fn l4(&self) -> L4;
    fn flow(&self) -> Flow;
    /// Whether it can become a packet of the other family.
    fn check_other_family<P: Packet>(&self, packet: &P, options: &xlat::Options) -> Result<(), XlatError>;
    /// Its session.
    fn find(&self, engine: &Engine) -> Option<u32>;
    /// What its sender is told when a route says no.
    fn answer_to_route(reason: DropReason) -> Answer;
    /// Passes it through its session.
    fn translate<P: Packet, R: Router>(
        &mut self,
        engine: &mut Engine,
        number: u32,
        packet: &mut P,
        router: &R,
    );
    /// Decides on an ICMP error.
    fn icmp_error<P: Packet, R: Router>(&mut self, engine: &mut Engine, packet: &mut P, router: &R);
    /// Translates it without a session.
    fn stateless<P: Packet, R: Router>(&mut self, engine: &mut Engine, packet: &mut P, router: &R);
}

impl Described for Desc {
    fn side(&self) -> Side {
        self.side
    }
    fn verdict(&self) -> Verdict {
        self.verdict
    }
    fn set_verdict(&mut self, verdict: Verdict) {
        self.verdict = verdict;
    }
    fn place(&self) -> Place {
        self.place
    }
    fn has_candidate(&self) -> bool {
        self.candidate != NO_RECORD
    }
    fn l4(&self) -> L4 {
        self.meta.l4
    }
    fn is_icmp_error(&self) -> bool {
        matches!(self.meta.l4, L4::IcmpError { .. })
    }
    fn is_stateless(&self) -> bool {
        self.stateless
    }
    #[inline(always)]
    fn flow(&self) -> Flow {
        let tuple = self.tuple();
        Flow {
            kind: KIND_44,
            direction: self.direction(),
            interface: self.interface,
            src: address::of_v4(self.meta.src),
            dst: address::of_v4(self.meta.dst),
            written: address::of_v4(self.meta.dst),
            sport: tuple.sport,
            dport: tuple.dport,
            prefix: NONE,
            proto: self.meta.proto,
            l4: self.meta.l4,
            ttl: self.meta.ttl,
            hash: self.flow_hash(),
            refused: None,
        }
    }
    #[inline(always)]
    fn check_other_family<P: Packet>(&self, packet: &P, options: &xlat::Options) -> Result<(), XlatError> {
        xlat::check_four_to_six(packet.l3(), &self.meta, options)
    }
    fn find(&self, engine: &Engine) -> Option<u32> {
        let set = if let Side::Inside(set) = self.side {
            set
        } else {
            NONE
        };
        engine
            .sessions
            .find(self.place, &self.tuple(), self.meta.proto, self.direction(), set)
    }
    fn answer_to_route(reason: DropReason) -> Answer {
        Answer::to_route(reason)
    }
    fn translate<P: Packet, R: Router>(
        &mut self,
        engine: &mut Engine,
        number: u32,
        packet: &mut P,
        router: &R,
    ) {
        engine.translate(number, self, packet, router);
    }
    fn icmp_error<P: Packet, R: Router>(&mut self, engine: &mut Engine, packet: &mut P, router: &R) {
        engine.icmp_error(self, packet, router);
    }
    fn stateless<P: Packet, R: Router>(&mut self, engine: &mut Engine, packet: &mut P, router: &R) {
        engine.stateless(self, packet, router);
    }
}

impl Described for Desc6 {
    fn side(&self) -> Side {
        self.side
    }
    fn verdict(&self) -> Verdict {
        self.verdict
    }
    fn set_verdict(&mut self, verdict: Verdict) {
        self.verdict = verdict;
    }
    fn place(&self) -> Place {
        self.place
    }
    fn has_candidate(&self) -> bool {
        self.candidate != NO_RECORD
    }
    fn l4(&self) -> L4 {
        self.meta.l4
    }
    fn is_icmp_error(&self) -> bool {
        matches!(self.meta.l4, L4::IcmpError { .. })
    }
    fn is_stateless(&self) -> bool {
        self.target == Target::Stateless
    }
    fn flow(&self) -> Flow {
        let (sport, dport) = self.ports();
        let mut flow = Flow {
            kind: KIND_66,
            direction: self.direction(),
            interface: self.interface,
            src: self.meta.src,
            dst: self.meta.dst,
            written: self.meta.dst,
            sport,
            dport,
            prefix: NONE,
            proto: self.meta.proto,
            l4: self.meta.l4,
            ttl: self.meta.hop_limit,
            hash: self.flow_hash(),
            refused: None,
        };
        match self.target {
            Target::Four { prefix, address } => {
                (flow.kind, flow.prefix) = (KIND_64, prefix);
                flow.dst = address::of_v4(address);
                flow.proto = outside_protocol(self.meta.proto);
                flow.refused = xlat::check_six_to_four(&self.meta).err();
            }
            // With prefix translation the inside end is not what the packet from outside says.
            Target::Six(key) => {
                if flow.direction == Direction::In {
                    flow.dst = key.inside;
                }
                let pointer = self.meta.segments_left_at;
                flow.refused = (pointer != 0).then_some(XlatError::SegmentsLeft { pointer });
            }
            Target::Unknown | Target::Stateless => {}
        }
        flow
    }
    fn check_other_family<P: Packet>(&self, _: &P, _: &xlat::Options) -> Result<(), XlatError> {
        xlat::check_six_to_four(&self.meta).map(|_protocol| ())
    }
    fn find(&self, engine: &Engine) -> Option<u32> {
        engine.find6(self)
    }
    fn answer_to_route(reason: DropReason) -> Answer {
        Answer::to_route6(reason)
    }
    fn translate<P: Packet, R: Router>(
        &mut self,
        engine: &mut Engine,
        number: u32,
        packet: &mut P,
        router: &R,
    ) {
        engine.translate6(number, self, packet, router);
    }
    fn icmp_error<P: Packet, R: Router>(&mut self, engine: &mut Engine, packet: &mut P, router: &R) {
        engine.icmp6_error(self, packet, router);
    }
    fn stateless<P: Packet, R: Router>(&mut self, engine: &mut Engine, packet: &mut P, router: &R) {
        engine.stateless6(self, packet, router);
    }
}

/// The protocol a NAT64 session has: that of its packets outside.
#[inline(always)]
pub(super) const fn outside_protocol(protocol: u8) -> u8 {
    if protocol == ipv4::ICMPV6 {
        ipv4::ICMP
    } else {
        protocol
    }
}
