//! Packets from outside without a session: for a mapping, for a held place, for the kernel, or for nobody.
//!
//! The order of decisions is the behaviour checklist's: session (seen before this), then mapping and its filtering, then
//! nothing: the packet is dropped and counted.

use tandem_wire::l4::L4;
use tandem_wire::{ipv4, tcp};

use super::Engine;
use super::first_packet::Draft;
use crate::drop_reason::DropReason;
use crate::packet::{Answer, Desc, Packet, Router, Verdict};
use crate::program::{FilteringType, MappingType};
use crate::public_space::PublicAddress;
use crate::session::{Direction, FLAG_ADDRESS_ENTRY, FLAG_INITIATED_OUTSIDE, FLAG_UNANSWERED};
use crate::subscriber::Refused;

impl Engine {
    pub(super) fn inbound<P: Packet, R: Router>(&mut self, desc: &mut Desc, packet: &mut P, router: &R) {
        let Some(found) = self.program.public_space.find(desc.meta.dst) else {
            desc.verdict = Verdict::Route;
            return;
        };
        match self.admit_inbound(found, desc) {
            Ok(draft) => match self.write(&draft, desc) {
                Ok(number) => self.translate(number, desc, packet, router),
                Err(reason) => desc.verdict = Verdict::Drop(reason, Answer::None),
            },
            Err(verdict) => desc.verdict = verdict,
        }
    }

    /// Whether a mapping lets this packet in; the session to write if so.
    fn admit_inbound(&mut self, found: PublicAddress, desc: &Desc) -> Result<Draft, Verdict> {
        let drop = |reason| Verdict::Drop(reason, Answer::None);
        let meta = &desc.meta;
        // An interface's own address: what the pool does not use is the kernel's, and ICMP without a session, too.
        let kernels = self.pool(found.pool).is_some_and(|p| {
            p.interface_address && (!matches!(meta.proto, 6 | 17) || !p.ports.contains(desc.dport))
        });
        let mapping = self.mappings.find_public(meta.dst, desc.dport, meta.proto);
        if kernels && (mapping.is_none() || meta.proto == ipv4::ICMP) {
            return Err(Verdict::Kernel);
        }
        let Some(number) = mapping else {
            return Err(self.unsolicited(desc, DropReason::NoMapping));
        };
        let Some(mapping) = self.mappings.get(number).copied() else {
            return Err(drop(DropReason::NoMapping));
        };
        // Its address is another pool's since a reload: it ends with the sessions it has.
        if !self.ports.serves(found.index, found.pool) {
            return Err(drop(DropReason::NoMapping));
        }
        let plan = self
            .set_plan(mapping.service_set)
            .ok_or(drop(DropReason::NoMapping))?;
        if mapping.holders == 0 && !plan.refresh_inbound {
            return Err(self.unsolicited(desc, DropReason::NoMapping));
        }
        let filtering = mapping.filtering_type();
        match filtering {
            FilteringType::EndpointIndependent => {}
            FilteringType::AddressDependent if self.sessions.has_sent_to(&desc.tuple(), meta.proto) => {}
            FilteringType::AddressDependent | FilteringType::AddressAndPortDependent => {
                return Err(self.unsolicited(desc, DropReason::Filtered));
            }
        }
        match meta.l4 {
            L4::Udp { .. } => {}
            L4::Tcp { flags, .. } if flags & (tcp::SYN | tcp::ACK | tcp::RST | tcp::FIN) == tcp::SYN => {}
            L4::Tcp { .. } => return Err(drop(DropReason::TcpNonSyn)),
            // A query from outside for somebody's identifier begins nothing.
            _ => return Err(drop(DropReason::Filtered)),
        }
        if meta.ttl <= 1 {
            return Err(Verdict::Drop(DropReason::TtlExpired, Answer::TimeExceeded));
        }
        let limits = self
            .service_set(mapping.service_set)
            .ok_or(drop(DropReason::NoMapping))?
            .limits;
        let subscriber = self
            .subscribers
            .get_mut(mapping.subscriber)
            .ok_or(drop(DropReason::NoMapping))?;
        if let Err(refused) = subscriber.admit(&limits, self.now) {
            subscriber.refused = subscriber.refused.saturating_add(1);
            return Err(drop(match refused {
                Refused::Sessions => DropReason::SubscriberSessionLimit,
                Refused::Rate => DropReason::SubscriberSessionRate,
            }));
        }
        subscriber.sessions += 1;
        if let Some(mapping) = self.mappings.get_mut(number) {
            mapping.sessions += 1;
        }
        let address_entry = if filtering == FilteringType::AddressDependent {
            FLAG_ADDRESS_ENTRY
        } else {
            0
        };
        Ok(Draft {
            packet: 0,
            service_set: mapping.service_set,
            term: crate::program::NONE,
            pool: found.pool,
            mapping_type: MappingType::EndpointIndependent,
            filtering,
            mapping_place: self.mappings.inside_place(
                mapping.service_set,
                mapping.inside,
                mapping.inside_port,
                mapping.protocol,
            ),
            subscriber: mapping.subscriber,
            anchor: number,
            mapping_is_new: false,
            flags: FLAG_INITIATED_OUTSIDE | FLAG_UNANSWERED | address_entry,
            back: desc.tuple(),
        })
    }

    /// A packet nobody asked for: dropped, or, for a SYN when so configured, held for a simultaneous open.
    fn unsolicited(&self, desc: &Desc, reason: DropReason) -> Verdict {
        match desc.meta.l4 {
            L4::Tcp { flags, .. }
                if self.hold_syns && flags & (tcp::SYN | tcp::ACK | tcp::RST) == tcp::SYN =>
            {
                Verdict::HoldSyn
            }
            _ => Verdict::Drop(reason, Answer::None),
        }
    }

    /// Whether a held SYN's connection was opened from inside meanwhile: then the SYN is dropped without a word.
    #[must_use]
    pub fn has_session_from_outside(&self, desc: &Desc) -> bool {
        let place = self
            .sessions
            .place(&desc.tuple(), desc.meta.proto, Direction::In, 0);
        self.sessions
            .find(place, &desc.tuple(), desc.meta.proto, Direction::In, 0)
            .is_some()
    }
}
