//! What a new session takes: its place within the subscriber's limits, and a mapping, a port, an address, or nothing.
//!
//! Whatever was taken before a refusal is given back.

use super::Engine;
use super::first_packet::{Basis, Draft};
use crate::address;
use crate::claims::ClaimRefused;
use crate::drop_reason::DropReason;
use crate::mapping::{MAX_PREFIXES, Mapping, MappingTable, WHOLE_ADDRESS};
use crate::ports::{Outcome, PortAllocator, PortClass, Request, Taken};
use crate::program::{FilteringType, PoolMode, SubscriberLimits};
use crate::session::{
    Direction, FLAG_ADDRESS_ENTRY, FLAG_ADDRESS_ONLY, FLAG_FREE_STANDING, FLAG_OWNS_PORT, FLAG_SHARED_PORT,
    KIND_64, SessionTable, Tuple4,
};
use crate::statics::StaticTable;
use crate::subscriber::{Refused, SubscriberTable};

impl Engine {
    /// Limits, then what the draft stands on.
    pub(super) fn claim(&mut self, draft: &mut Draft) -> Result<(), DropReason> {
        let set = self
            .sets
            .get(usize::from(draft.service_set))
            .and_then(Option::as_ref);
        let set = set.and_then(|plan| self.program.service_sets.get(plan.position));
        let limits = set.ok_or(DropReason::NatNoRuleMatch)?.limits;
        if self.sessions.live() >= self.sessions.capacity() {
            return Err(DropReason::SessionTableFull);
        }
        let number = self
            .subscribers
            .find_or_insert(draft.subscriber_place, draft.service_set, draft.owner)
            .ok_or(DropReason::SubscriberTableFull)?;
        draft.subscriber = number;
        let subscriber = self
            .subscribers
            .get_mut(number)
            .ok_or(DropReason::SubscriberTableFull)?;
        let result = match subscriber.admit(&limits, self.now) {
            Ok(()) => self.claim_basis(draft, &limits),
            Err(Refused::Sessions) => Err(DropReason::SubscriberSessionLimit),
            Err(Refused::Rate) => Err(DropReason::SubscriberSessionRate),
        };
        if result.is_err() {
            self.drop_subscriber_if_idle(number);
        } else if let Some(subscriber) = self.subscribers.get_mut(number) {
            subscriber.sessions += 1;
        }
        result
    }

    #[inline(always)]
    fn claim_basis(&mut self, draft: &mut Draft, limits: &SubscriberLimits) -> Result<(), DropReason> {
        let class = PortClass::of_protocol(draft.proto);
        match (draft.basis, class) {
            (Basis::Nothing, _) => Ok(()),
            (Basis::Known(number), _) => self.claim_known(draft, number),
            (Basis::Address, _) | (Basis::Mapping, Some(_)) => {
                let class = class.filter(|_| draft.basis == Basis::Mapping);
                self.claim_mapping(draft, limits, class)
            }
            (_, None) => self.claim_address(draft),
            (Basis::Port | Basis::SharedPort, Some(class)) => {
                let taken = self.take_port(draft, limits, class)?;
                self.use_port(draft, &taken);
                (draft.anchor, draft.flags) = (taken.address_index, draft.flags | FLAG_OWNS_PORT);
                if draft.basis == Basis::SharedPort {
                    draft.flags |= FLAG_SHARED_PORT;
                }
                self.note_filtering(draft);
                Ok(())
            }
        }
    }

    fn note_filtering(&self, draft: &mut Draft) {
        if draft.filtering == FilteringType::AddressDependent {
            draft.flags |= FLAG_ADDRESS_ENTRY;
        }
    }

    fn use_port(&self, draft: &mut Draft, taken: &Taken) {
        draft.ends.public = (address::of_v4(taken.address), taken.port);
    }

    /// One session more on a mapping that is there.
    fn claim_known(&mut self, draft: &mut Draft, number: u32) -> Result<(), DropReason> {
        let mapping = self.mappings.get_mut(number).ok_or(DropReason::NoMapping)?;
        mapping.join(draft.direction == Direction::Out);
        draft.anchor = number;
        Ok(())
    }

    /// The mapping of the draft's inside end (with no class: of its whole address), or a new one.
    #[inline(always)]
    fn claim_mapping(
        &mut self,
        draft: &mut Draft,
        limits: &SubscriberLimits,
        class: Option<PortClass>,
    ) -> Result<(), DropReason> {
        let (inside, inside_port) = draft.ends.inside;
        let (port, protocol) = match class {
            Some(_) => (inside_port, draft.proto),
            None => (0, WHOLE_ADDRESS),
        };
        let known = self
            .mappings
            .find_inside(draft.mapping_place, draft.subscriber, inside, port, protocol);
        let public_port = |mapping: &Mapping| match class {
            Some(_) => mapping.public_port,
            None => inside_port,
        };
        if let Some(number) = known {
            let mapping = self
                .mappings
                .get(number)
                .copied()
                .ok_or(DropReason::MappingTableFull)?;
            // Its address is another pool's since a reload: it ends with the sessions it has.
            let found = self.program.public_space.find(mapping.public);
            let found = found.filter(|f| self.ports.of(&draft.owner).serves(f.index, f.pool));
            draft.pool = found.ok_or(DropReason::NatOutOfAddresses)?.pool;
            draft.filtering = mapping.filtering_type();
            draft.ends.public = (address::of_v4(mapping.public), public_port(&mapping));
            self.claim_known(draft, number)?;
            self.note_filtering(draft);
            return Ok(());
        }
        let taken = match class {
            Some(class) => self.take_port(draft, limits, class)?,
            None => self.take_whole_address(draft)?,
        };
        let prefix = self.prefix_position(draft);
        let mut mapping = Mapping::new(
            (inside, port),
            (taken.address, taken.port),
            protocol,
            draft.subscriber,
            draft.filtering,
            prefix,
        );
        mapping.join(true);
        draft.ends.public = (address::of_v4(taken.address), public_port(&mapping));
        match self.mappings.insert(draft.mapping_place, mapping) {
            Ok(number) => {
                (draft.anchor, draft.mapping_is_new) = (number, true);
                self.counters.mappings_created += 1;
                self.show_at_once(draft)?;
            }
            Err(_full) => {
                self.release_port(taken.address_index, protocol, taken.port, draft.subscriber);
                return Err(DropReason::MappingTableFull);
            }
        }
        self.note_filtering(draft);
        Ok(())
    }

    /// Makes a new mapping of a deterministic pool reachable from outside before the next one is claimed: it is there that
    /// the next one sees that its port is in use.
    #[inline(always)]
    fn show_at_once(&mut self, draft: &mut Draft) -> Result<(), DropReason> {
        let is_by_formula = self
            .pool(draft.pool)
            .is_some_and(|p| matches!(p.mode, PoolMode::Deterministic(_)));
        if !is_by_formula {
            return Ok(());
        }
        let public = draft.ends.public;
        let place = self.mappings.public_place(public.0 as u32, public.1, draft.proto);
        if self.mappings.enter_public(place, draft.anchor).is_err() {
            self.leave_mapping(draft.anchor, draft.flags);
            return Err(DropReason::MappingTableFull);
        }
        draft.mapping_is_new = false;
        Ok(())
    }

    /// Where the draft's NAT64 prefix stands among those of its service set.
    #[inline]
    fn prefix_position(&self, draft: &Draft) -> u8 {
        let plan = self.set_plan(draft.service_set).filter(|_| draft.kind == KIND_64);
        let at = plan.and_then(|p| p.prefixes.iter().position(|(id, _)| *id == draft.prefix));
        at.filter(|at| *at < MAX_PREFIXES).map_or(0, |at| at as u8)
    }

    /// A public port for the draft, within the subscriber's limits.
    #[inline(always)]
    fn take_port(&mut self, draft: &Draft, limits: &SubscriberLimits, class: PortClass) -> Outcome {
        let subscriber = self
            .subscribers
            .get(draft.subscriber)
            .ok_or(DropReason::SubscriberTableFull)?;
        if !subscriber.may_take_port(class as usize, limits) {
            return Err(DropReason::SubscriberPortLimit);
        }
        let position = self.pools.get(usize::from(draft.pool)).copied().map(usize::from);
        let pool = position
            .and_then(|p| self.program.pools.get(p))
            .ok_or(DropReason::NatOutOfAddresses)?;
        let next_to = if pool.preserve_contiguity {
            self.neighbour(draft)
        } else {
            None
        };
        let request = Request {
            pool,
            space: &self.program.public_space,
            class,
            inside_port: draft.ends.inside.1,
            next_to,
            subscriber: draft.subscriber,
            now: self.now,
        };
        let is_plain = matches!(pool.mode, PoolMode::Ports) && draft.basis != Basis::SharedPort;
        if is_plain && self.program.statics.is_empty() {
            let ports = self.ports.of_mut(&draft.owner);
            return ports.take(&request, &mut self.subscribers);
        }
        let in_use = InUse {
            statics: &self.program.statics,
            mappings: &self.mappings,
            sessions: &self.sessions,
        };
        let ports = self.ports.of_mut(&draft.owner);
        in_use.take_another(draft, &request, ports, &mut self.subscribers)
    }

    fn take_whole_address(&mut self, draft: &Draft) -> Outcome {
        let position = self.pools.get(usize::from(draft.pool)).copied().map(usize::from);
        let pool = position
            .and_then(|p| self.program.pools.get(p))
            .ok_or(DropReason::NatOutOfAddresses)?;
        let space = &self.program.public_space;
        self.ports.of_mut(&draft.owner).take_address(
            pool,
            space,
            draft.subscriber,
            &mut self.subscribers,
            self.now,
        )
    }

    /// The port one beside the mapping of the inside port one beside, if there is one. RFC 4787 section 4.2.3.
    #[cold]
    fn neighbour(&self, draft: &Draft) -> Option<(u32, u16)> {
        let (inside, own) = draft.ends.inside;
        let (port, step) = if own % 2 == 1 {
            (own - 1, 1)
        } else {
            (own + 1, u16::MAX)
        };
        let place = self
            .mappings
            .inside_place(draft.service_set, inside, port, draft.proto);
        let number = self
            .mappings
            .find_inside(place, draft.subscriber, inside, port, draft.proto)?;
        let mapping = self.mappings.get(number)?;
        let index = self.program.public_space.index_of(mapping.public)?;
        Some((index, mapping.public_port.wrapping_add(step)))
    }

    /// Protocols without ports: an address, and the claim that nobody else uses it towards the same outside address.
    fn claim_address(&mut self, draft: &mut Draft) -> Result<(), DropReason> {
        let position = self.pools.get(usize::from(draft.pool)).copied().map(usize::from);
        let pool = position
            .and_then(|p| self.program.pools.get(p))
            .ok_or(DropReason::NatOutOfAddresses)?;
        if pool.drain {
            return Err(DropReason::NatOutOfAddresses);
        }
        if matches!(pool.mode, PoolMode::Deterministic(_)) {
            return Err(DropReason::NatUnsupportedProtocol);
        }
        let space = &self.program.public_space;
        let (index, address) = self
            .ports
            .of_mut(&draft.owner)
            .address_for(pool, space, draft.subscriber, &mut self.subscribers)
            .ok_or(DropReason::NatOutOfAddresses)?;
        self.config
            .claims
            .claim(
                address,
                draft.ends.outside.0 as u32,
                draft.proto,
                self.config.worker,
            )
            .map_err(|refused| match refused {
                ClaimRefused::Taken => DropReason::NatAddressOnlyConflict,
                ClaimRefused::Full => DropReason::NatAddressOnlyFull,
            })?;
        draft.anchor = index;
        draft.flags |= FLAG_ADDRESS_ONLY;
        draft.ends.public = (address::of_v4(address), 0);
        Ok(())
    }

    /// Gives back what [`Engine::claim`] took for a session that was not written.
    pub(super) fn give_back(&mut self, draft: &Draft) {
        if draft.flags & FLAG_FREE_STANDING != 0 {
        } else if draft.flags & FLAG_OWNS_PORT != 0 {
            let port = draft.ends.public.1;
            self.release_port(draft.anchor, draft.proto, port, draft.subscriber);
        } else if draft.flags & FLAG_ADDRESS_ONLY != 0 {
            let back = draft.back();
            self.config
                .claims
                .release(back.dst, back.src, draft.proto, self.config.worker);
        } else {
            self.leave_mapping(draft.anchor, draft.flags);
        }
        self.leave_subscriber(draft.subscriber);
    }
}

/// What says which ports are in use, where the allocator alone does not know.
struct InUse<'a> {
    statics: &'a StaticTable,
    mappings: &'a MappingTable,
    sessions: &'a SessionTable,
}

impl InUse<'_> {
    /// Takes a port that none of these uses: of pools by formula or with shared ports, or beside static mappings.
    fn take_another(
        &self,
        draft: &Draft,
        request: &Request<'_>,
        ports: &mut PortAllocator,
        subscribers: &mut SubscriberTable,
    ) -> Outcome {
        let Self {
            statics,
            mappings,
            sessions,
        } = self;
        let (proto, outside) = (draft.proto, draft.ends.outside);
        let is_fixed = |address: u32, port: u16| statics.by_public(address, proto, port).is_some();
        // Whether no session to this outside end has a port.
        let is_unused = |address: u32, port: u16| {
            let back = Tuple4 {
                src: outside.0 as u32,
                dst: address,
                sport: outside.1,
                dport: port,
            };
            let place = sessions.place(&back, proto, Direction::In, 0);
            !is_fixed(address, port) && sessions.find(place, &back, proto, Direction::In, 0).is_none()
        };
        match (draft.basis, &request.pool.mode) {
            // Which ports of the subscriber's block are in use, the mappings say, and the sessions that share ports. RFC 7422.
            (basis, PoolMode::Deterministic(_)) => {
                let is_free = |address: u32, port: u16| {
                    mappings.find_public(address, port, proto).is_none()
                        && if basis == Basis::SharedPort {
                            is_unused(address, port)
                        } else {
                            !is_fixed(address, port)
                        }
                };
                ports.take_deterministic(request, draft.owner, subscribers, is_free)
            }
            (Basis::SharedPort, _) => ports.take_shared(request, subscribers, is_unused),
            _ => ports.take_unless(request, subscribers, is_fixed),
        }
    }
}
