//! Taking up a new program: what of it the packet way needs is laid out by id.

use std::sync::Arc;

use tandem_wire::npt::Nptv6;
use tandem_wire::prefix::Ipv6Prefix;
use tandem_wire::rfc6052::Prefix64;
use tandem_wire::xlat;

use super::Engine;
use super::sort::is_for;
use crate::mapping::MAX_PREFIXES;
use crate::program::{NONE, NatAction, PrefixId, Program, RefreshDirection, ServiceSet, Stateless};
use crate::session::{KIND_44, KIND_64};
use crate::tcp_state::TimerClass;

/// A service set, laid out for the packet way.
#[derive(Clone, Debug)]
pub(super) struct SetPlan {
    /// Position in the program.
    pub position: usize,
    pub timeouts: [u32; TimerClass::COUNT],
    pub refresh_inbound: bool,
    pub mss_clamp: u16,
    pub track_window: bool,
    /// It has policies.
    pub firewall: bool,
    /// It translates IPv4 (IPv6) without sessions.
    pub stateless: bool,
    /// Its NAT64 prefixes, each where it was before a reload; some may stand there twice.
    pub prefixes: Vec<(PrefixId, Prefix64)>,
    /// Where the first of its list stands: the outside of static mappings is seen in it.
    pub first_prefix: usize,
    /// The bits of an IPv6 address that make a subscriber.
    pub subscriber_mask: u128,
    /// IPv6 prefix translation, when it has policies as well.
    pub prefix_pairs: Vec<Nptv6>,
    /// How its packets change family.
    pub xlat: xlat::Options,
    /// IPv4 packets without DF that would be longer are cut on their way to IPv6.
    pub lowest_mtu: u16,
    /// When it was last taken over from the other chassis, in ticks; 0 if never.
    pub not_before: u32,
    /// Whether an interface is its outside, by interface id.
    pub outside: Vec<bool>,
    translates: [bool; 2],
}

impl SetPlan {
    /// Whether it has rules for packets of a kind, so that one without is refused.
    pub fn translates(&self, kind: u8) -> bool {
        match kind {
            KIND_44 => self.translates[0],
            KIND_64 => self.translates[1],
            _ => false,
        }
    }
}

impl Engine {
    /// Takes up a new program between two bursts. Sessions live on, except those whose public address or service set is
    /// gone or moved: they are ended by and by ([`Engine::maintain`]), and their ports serve nobody until then.
    pub fn apply(&mut self, program: Arc<Program>) {
        let old = std::mem::take(&mut self.sets);
        for (position, set) in program.service_sets.iter().enumerate() {
            let before = old.get(usize::from(set.id)).and_then(Option::as_ref);
            let known = before.map_or(&[][..], |plan| &plan.prefixes);
            put(
                &mut self.sets,
                set.id,
                None,
                Some(plan(position, set, &program, known)),
            );
        }
        // A purge that was still moving sessions begins anew, and so does the moving.
        self.rearm |= old
            .iter()
            .zip(&self.sets)
            .any(|pair| matches!(pair, (Some(old), Some(new)) if old.timeouts != new.timeouts));
        self.has_firewall = program.service_sets.iter().any(|s| s.firewall.is_some());
        self.has_untranslated = self.has_firewall
            || program
                .service_sets
                .iter()
                .any(|s| s.terms.iter().any(|t| t.action == NatAction::DestinationOnly));
        self.has_stateless = self.sets.iter().flatten().any(|p| p.stateless);
        self.six_outside = self.has_firewall || program.service_sets.iter().any(|s| !s.stateless.is_empty());
        self.set_of_pool.clear();
        for set in &program.service_sets {
            for pool in set.terms.iter().filter_map(|term| term.action.pool()) {
                put(&mut self.set_of_pool, pool, NONE, set.id);
            }
        }
        self.inside_of.clear();
        for interface in &program.interfaces {
            put(&mut self.inside_of, interface.id, NONE, interface.inside_of);
        }
        self.prefixes.clear();
        for prefix in &program.prefixes {
            put(&mut self.prefixes, prefix.id, None, Some(prefix.prefix));
        }
        self.prefix_pairs.clear();
        for (set, plan) in self.sets.iter().enumerate() {
            let pairs = plan.iter().flat_map(|p| &p.prefix_pairs);
            self.prefix_pairs.extend(pairs.map(|pair| (set as u16, *pair)));
        }
        let policies = program.service_sets.iter().filter_map(|s| s.firewall.as_ref());
        let lists = policies.flat_map(|f| f.outbound.policies.iter().chain(&f.inbound.policies));
        let end = lists.map(|p| usize::from(p.id) + 1).max().unwrap_or(0);
        if self.policy_hits.len() < end {
            self.policy_hits.resize(end, 0);
        }
        if self.default_hits.len() < self.sets.len() {
            self.default_hits.resize(self.sets.len(), [0; 2]);
        }
        self.pools.fill(NONE);
        for (position, pool) in program.pools.iter().enumerate() {
            put(&mut self.pools, pool.id, NONE, position as u16);
        }
        self.ports.apply(&program);
        if self.replicates {
            self.remember_pools(&program);
        }
        self.program = program;
        self.purge = 0;
        self.roles_changed();
    }
}

/// Puts a value at an id, with `empty` before it where nothing is.
fn put<T: Clone>(list: &mut Vec<T>, id: u16, empty: T, value: T) {
    let at = usize::from(id);
    if list.len() <= at {
        list.resize(at + 1, empty);
    }
    list[at] = value;
}

/// NAT64 prefixes in an order in which those `known` before stay where they were, as mappings have a prefix by its position.
/// In the place of one that is gone stands the first of the new ones, in whose terms its mappings go on.
fn keep_places(new: &[(PrefixId, Prefix64)], known: &[(PrefixId, Prefix64)]) -> Vec<(PrefixId, Prefix64)> {
    let Some(first) = new.first() else {
        return Vec::new();
    };
    let now = |id: PrefixId| new.iter().find(|p| p.0 == id);
    let mut kept: Vec<_> = known.iter().map(|p| *now(p.0).unwrap_or(first)).collect();
    for prefix in new {
        if kept.iter().any(|p| p.0 == prefix.0) {
            continue;
        }
        // A mapping can tell only so many apart: then a place is taken that stands for another's twice.
        let spare = (0..kept.len()).find(|at| kept[..*at].iter().any(|p| p.0 == kept[*at].0));
        match spare.filter(|_| kept.len() >= MAX_PREFIXES) {
            Some(at) => kept[at] = *prefix,
            None => kept.push(*prefix),
        }
    }
    kept
}

fn plan(
    position: usize,
    set: &ServiceSet,
    program: &Program,
    known_prefixes: &[(PrefixId, Prefix64)],
) -> SetPlan {
    let prefix = |id: &PrefixId| {
        program
            .prefixes
            .iter()
            .find(|p| p.id == *id)
            .map(|p| (p.id, p.prefix))
    };
    let has_static = |v4: bool| {
        let of_set = |m: &&crate::program::StaticMapping| m.service_set == set.id && !m.inbound_only;
        program
            .statics
            .iter()
            .filter(of_set)
            .any(|m| crate::address::is_v4(m.inside) == v4)
    };
    let has_term = |kind| set.terms.iter().any(|t| is_for(&t.action, kind));
    let pairs = set.stateless.iter().filter_map(|s| match s {
        Stateless::Nptv6(pair) if set.firewall.is_some() => Some(*pair),
        _ => None,
    });
    let mut outside = Vec::new();
    for interface in &program.interfaces {
        put(
            &mut outside,
            interface.id,
            false,
            interface.outside_of.contains(&set.id),
        );
    }
    let new: Vec<_> = set.ipv6.nat64_prefixes.iter().filter_map(prefix).collect();
    let prefixes = keep_places(&new, known_prefixes);
    let first = new
        .first()
        .and_then(|first| prefixes.iter().position(|p| p.0 == first.0));
    SetPlan {
        position,
        timeouts: timeouts(set),
        refresh_inbound: set.refresh == RefreshDirection::Both,
        mss_clamp: set.tcp.mss_clamp,
        track_window: set.tcp.track_window,
        firewall: set.firewall.is_some(),
        stateless: !set.stateless.is_empty() && set.firewall.is_none(),
        prefixes,
        first_prefix: first.unwrap_or(0),
        subscriber_mask: Ipv6Prefix::mask_of(set.ipv6.subscriber_prefix),
        prefix_pairs: pairs.collect(),
        xlat: xlat::Options {
            copy_traffic_class: set.ipv6.copy_traffic_class,
            compute_udp_checksum: set.ipv6.compute_udp_checksum,
            ..xlat::Options::default()
        },
        lowest_mtu: set.ipv6.lowest_mtu,
        not_before: 0,
        outside,
        translates: [
            has_term(KIND_44) || has_static(true),
            has_term(KIND_64) || has_static(false) || !set.ipv6.nat64_prefixes.is_empty(),
        ],
    }
}

fn timeouts(set: &ServiceSet) -> [u32; TimerClass::COUNT] {
    let t = &set.timeouts;
    let mut all = [0; TimerClass::COUNT];
    for (class, ticks) in [
        (TimerClass::TcpOpening, t.tcp_opening),
        (TimerClass::TcpEstablished, t.tcp_established),
        (TimerClass::TcpClosing, t.tcp_closing),
        (TimerClass::Udp, t.udp),
        (TimerClass::UdpWellKnown, t.udp_well_known),
        (TimerClass::Icmp, t.icmp),
        (TimerClass::Other, t.other),
    ] {
        all[class as usize] = ticks.0;
    }
    all
}
