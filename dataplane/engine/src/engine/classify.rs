//! Firewall policies for the first packets of a burst: those of one list are classified together.
//!
//! The first policy that matches decides. Where none does, the default of the direction decides, but for a session from outside
//! that a mapping, a static mapping or destination NAT lets in: these are the permission, and only an explicit deny refuses it.

use arrayvec::ArrayVec;
use tandem_wire::ipv4;
use tandem_wire::l4::L4;

use super::first_packet::{Basis, Draft, draft};
use super::flow::Described;
use super::{Engine, MAX_BURST};
use crate::drop_reason::DropReason;
use crate::packet::{Answer, Verdict};
use crate::program::policy::{NO_POLICY, PolicyKey};
use crate::program::{Firewall, NONE, PolicyAction, PolicyList, ServiceSetId};
use crate::session::{Direction, FLAG_FREE_STANDING, FLAG_INITIATED_OUTSIDE, KIND_44};
use crate::view::PolicyEvent;

impl Firewall {
    /// The policies of a direction.
    #[must_use]
    pub fn list(&self, direction: Direction) -> &PolicyList {
        match direction {
            Direction::Out => &self.outbound,
            Direction::In => &self.inbound,
        }
    }
}

/// What policies see of a draft: the inside end as the inside has it, the outside end where it is (of NAT64 its IPv4
/// address). ICMP is that of the inside's family.
pub(super) fn key(draft: &Draft, l4: L4) -> PolicyKey {
    let ends = &draft.ends;
    let (src, dst) = match draft.direction {
        Direction::Out => (ends.inside, ends.outside),
        Direction::In => (ends.outside, ends.inside),
    };
    let protocol = match draft.proto {
        ipv4::ICMP if draft.kind != KIND_44 => ipv4::ICMPV6,
        other => other,
    };
    let (sport, dport) = match l4 {
        L4::IcmpQuery { icmp_type, .. } => (0, u16::from(as_seen_inside(draft, icmp_type)) << 8),
        _ => (src.1, dst.1),
    };
    PolicyKey {
        src: src.0,
        dst: dst.0,
        sport,
        dport,
        protocol,
    }
}

/// Of a session with IPv6 inside, an echo's type is ICMPv6's whichever side it came from.
fn as_seen_inside(draft: &Draft, icmp_type: u8) -> u8 {
    use tandem_wire::{icmp, icmp6};
    match icmp_type {
        icmp::ECHO if draft.kind != KIND_44 => icmp6::ECHO,
        other => other,
    }
}

impl Engine {
    /// Looks up the policies of all drafts; those refused are dead, and their packets have a verdict.
    pub(super) fn classify<D: Described>(&mut self, drafts: &mut [Draft], descs: &mut [D]) {
        let mut from = 0;
        while let Some(first) = drafts.get(from) {
            let of = (first.service_set, first.direction);
            let rest = drafts.get_mut(from..).unwrap_or(&mut []);
            let count = rest
                .iter()
                .position(|d| (d.service_set, d.direction) != of)
                .unwrap_or(rest.len());
            let run = rest.get_mut(..count).unwrap_or(&mut []);
            self.classify_run(of.0, of.1, run, descs);
            from += count.max(1);
        }
    }

    fn classify_run<D: Described>(
        &mut self,
        set: ServiceSetId,
        direction: Direction,
        run: &mut [Draft],
        descs: &mut [D],
    ) {
        let Self {
            program,
            sets,
            policy_hits,
            default_hits,
            policy_events,
            ..
        } = self;
        let plan = sets.get(usize::from(set)).and_then(Option::as_ref);
        let firewall = plan.and_then(|plan| program.service_sets.get(plan.position)?.firewall.as_ref());
        let Some(firewall) = firewall else { return };
        let list = firewall.list(direction);
        let mut keys = ArrayVec::<PolicyKey, MAX_BURST>::new();
        for draft in run.iter() {
            let l4 = descs.get(usize::from(draft.packet)).map_or(L4::Other, |d| d.l4());
            let _room_for_each_packet = keys.try_push(key(draft, l4));
        }
        let mut found = [NO_POLICY; MAX_BURST];
        if !list.policies.is_empty() {
            list.classifier.classify(&keys, &mut found);
        }
        for ((draft, key), found) in run.iter_mut().zip(&keys).zip(found) {
            let policy = list.policies.get(usize::from(found));
            let action = policy.map_or_else(|| default_action(draft, list.default), |p| p.action);
            let refused = match (action, policy.is_some()) {
                (PolicyAction::Permit, _) => None,
                (PolicyAction::Deny, true) => Some((DropReason::FirewallDenied, Answer::None)),
                (PolicyAction::Deny, false) => Some((DropReason::FirewallDefault, Answer::None)),
                (PolicyAction::Reject, true) => Some((DropReason::FirewallRejected, Answer::Reset)),
                (PolicyAction::Reject, false) => Some((DropReason::FirewallDefault, Answer::Reset)),
            };
            if policy.is_none()
                && !is_let_in(draft)
                && let Some(hits) = default_hits.get_mut(usize::from(set))
            {
                hits[direction as usize] += 1;
            }
            draft.policy = policy.map_or(NONE, |p| p.id);
            if let Some(hits) = policy_hits.get_mut(usize::from(draft.policy)) {
                *hits += 1;
            }
            if policy.is_some_and(|p| p.log) {
                policy_events.push(PolicyEvent {
                    service_set: set,
                    policy: draft.policy,
                    action,
                    direction,
                    key: *key,
                });
            }
            if let Some((reason, answer)) = refused {
                draft.dead = true;
                if let Some(desc) = descs.get_mut(usize::from(draft.packet)) {
                    desc.set_verdict(Verdict::Drop(reason, answer));
                }
            }
        }
    }

    /// Whether the policies in force now would not let a session begin.
    pub(super) fn is_refused_by_policies(&self, number: u32) -> bool {
        let (Some(hot), Some(cold)) = (self.sessions.hot(number), self.sessions.cold(number)) else {
            return false;
        };
        let Some(firewall) = self
            .service_set(hot.service_set)
            .and_then(|s| s.firewall.as_ref())
        else {
            return false;
        };
        let direction = if hot.flags & FLAG_INITIATED_OUTSIDE != 0 {
            Direction::In
        } else {
            Direction::Out
        };
        let mut draft = draft(
            hot.kind,
            hot.protocol,
            direction,
            hot.service_set,
            self.ends_of(hot),
        );
        draft.term = cold.term;
        if hot.flags & FLAG_FREE_STANDING == 0 {
            draft.basis = Basis::Mapping;
        }
        let l4 = match hot.protocol {
            ipv4::ICMP | ipv4::ICMPV6 => L4::IcmpQuery {
                id: 0,
                icmp_type: if hot.kind == KIND_44 {
                    tandem_wire::icmp::ECHO
                } else {
                    tandem_wire::icmp6::ECHO
                },
            },
            _ => L4::Other,
        };
        let list = firewall.list(direction);
        let mut found = [NO_POLICY];
        list.classifier.classify(&[key(&draft, l4)], &mut found);
        let policy = list.policies.get(usize::from(found[0]));
        policy.map_or_else(|| default_action(&draft, list.default), |p| p.action) != PolicyAction::Permit
    }
}

/// What happens when no policy matches.
fn default_action(draft: &Draft, default: PolicyAction) -> PolicyAction {
    if is_let_in(draft) {
        PolicyAction::Permit
    } else {
        default
    }
}

/// Whether a session from outside has its permission by what it stands on.
fn is_let_in(draft: &Draft) -> bool {
    let by_basis = match draft.basis {
        Basis::Known(_) | Basis::Mapping | Basis::Address => true,
        Basis::Nothing => draft.term != NONE,
        Basis::Port | Basis::SharedPort => false,
    };
    draft.direction == Direction::In && by_basis
}
