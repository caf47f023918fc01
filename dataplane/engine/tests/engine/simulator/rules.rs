//! Random rules of programs: terms of every translation type, static mappings, NAT64 prefixes, policies.

use std::sync::Arc;

use tandem_engine::address::of_v4;
use tandem_engine::hash::Rng;
use tandem_engine::ports::deterministic::Deterministic;
use tandem_engine::program::policy::{Application, PolicyMatch};
use tandem_engine::program::{
    AddressRange, DestinationMap, FilteringType, Firewall, MappingType, NatAction, NatTerm, Policy,
    PolicyAction, PolicyList, Pool, PoolMode, Pref64, ServiceSet, Stateless, StaticMapping, TermMatch,
};
use tandem_engine::statics::StaticTable;
use tandem_wire::npt::Nptv6;
use tandem_wire::prefix::Ipv6Prefix;
use tandem_wire::rfc6052::Prefix64;

use super::plans::{PUBLIC, chance, pick};
use crate::common::plan::Plan;
use crate::common::{IN1, OUT1, in6, ip};

/// What subscribers may call the hosts outside.
pub const ALIAS: u32 = ip(172, 16, 9, 0);

/// NAT64 prefixes there may be: ids 1 and 2.
pub fn prefix(id: u16) -> Prefix64 {
    let first = (0x2001_0db8_0640 | u128::from(id)) << 80;
    Prefix64::new(Ipv6Prefix::new(first, 96).expect("a prefix")).expect("of a length for NAT64")
}

/// Which NAT64 prefixes the service sets have.
pub fn prefixes(plan: &mut Plan, rng: &mut Rng, all: bool) {
    plan.program.prefixes = [1, 2]
        .map(|id| Pref64 {
            id,
            prefix: prefix(id),
        })
        .to_vec();
    for set in &mut plan.program.service_sets {
        if all || set.ipv6.nat64_prefixes.is_empty() || chance(rng, 20) {
            set.ipv6.nat64_prefixes = match rng.below(5) {
                0 => vec![],
                1 => vec![1, 2],
                2 => vec![2],
                _ => vec![1],
            };
        }
    }
}

/// What is taken from pools 1 to 3 in a run.
pub fn modes(seed: u64) -> [PoolMode; 3] {
    let mut rng = Rng::new(seed ^ 0x6d6f_6465);
    std::array::from_fn(|at| match rng.below(12) {
        0 | 1 => PoolMode::OverloadedPorts,
        2 | 3 => PoolMode::Addresses,
        4 | 5 => {
            let each = pick(&mut rng, &[1, 2, 4]);
            // Each its own, so that no two of them have the same subscribers and addresses.
            let (v4, v6) = (of_v4(IN1 + 3 * at as u32), in6(at as u16, 0));
            let formula = if rng.below(2) == 0 {
                Deterministic::new(vec![(v4, 4)], 128, each)
            } else {
                Deterministic::new(vec![(v6, 2)], 64, each)
            };
            PoolMode::Deterministic(formula.expect("a formula"))
        }
        6 => PoolMode::Static,
        _ => PoolMode::Ports,
    })
}

fn filtering(rng: &mut Rng) -> FilteringType {
    pick(
        rng,
        &[
            FilteringType::EndpointIndependent,
            FilteringType::AddressDependent,
            FilteringType::AddressAndPortDependent,
        ],
    )
}

/// An action that suits a pool, mostly.
fn action(pool: &Pool, six: bool, rng: &mut Rng) -> NatAction {
    use MappingType::{AddressAndPortDependent, EndpointIndependent};
    let filtering = filtering(rng);
    let mapping = match pool.mode {
        PoolMode::Addresses if !six => {
            return NatAction::Dynamic44 {
                pool: pool.id,
                filtering,
            };
        }
        PoolMode::OverloadedPorts => AddressAndPortDependent,
        _ => pick(
            rng,
            &[EndpointIndependent, EndpointIndependent, AddressAndPortDependent],
        ),
    };
    if six {
        return NatAction::Nat64 {
            pool: pool.id,
            mapping,
            filtering,
        };
    }
    NatAction::Napt44 {
        pool: pool.id,
        mapping,
        filtering,
    }
}

/// The terms of a service set, or IPv6 prefix translation instead.
pub fn terms(set: &mut ServiceSet, pools: &[Pool], rng: &mut Rng) {
    set.terms.clear();
    set.stateless.clear();
    let map = DestinationMap {
        from: AddressRange {
            first: ALIAS,
            last: ALIAS + 255,
        },
        to_first: OUT1 & !255,
    };
    for number in 0..4 {
        let six = number % 2 == 1;
        let pool = &pools[rng.below(pools.len() as u32) as usize];
        let mut term = NatTerm {
            name: format!("r/{number}"),
            number,
            matches: TermMatch::default(),
            action: action(pool, six, rng),
            destination: None,
        };
        if number < 2 && chance(rng, 30) {
            term.matches.protocols = vec![17];
        }
        if !six && chance(rng, 20) {
            term.destination = Some(map);
        }
        set.terms.push(term);
    }
    if chance(rng, 15) {
        set.terms[0].action = NatAction::NoTranslation;
        set.terms[0].destination = None;
    } else if chance(rng, 10) {
        set.terms[0].action = NatAction::DestinationOnly;
        set.terms[0].destination = Some(map);
        set.terms[0].matches.destinations = vec![map.from];
    }
    if chance(rng, 10) {
        set.terms.clear();
    }
}

/// Its policies, if it has any, and with them perhaps prefix translation.
pub fn firewall(set: &mut ServiceSet, rng: &mut Rng) {
    set.firewall = None;
    if chance(rng, 40) {
        set.firewall = Some(Firewall {
            outbound: policies(0, PolicyAction::Permit, rng),
            inbound: policies(10, PolicyAction::Deny, rng),
        });
        if chance(rng, 15) {
            set.terms.clear();
            let prefix = |first| Ipv6Prefix::new(first, 48).expect("a prefix");
            let pair = Nptv6::new(prefix(0x2001_0db8 << 96), prefix(0x2001_0db8_0077 << 80));
            set.stateless = vec![Stateless::Nptv6(pair.expect("a pair"))];
        }
    }
}

fn policies(first_id: u16, default: PolicyAction, rng: &mut Rng) -> PolicyList {
    let count = rng.below(4) as u16;
    let list = (0..count)
        .map(|i| {
            let mut matches = PolicyMatch::default();
            if chance(rng, 60) {
                matches.applications = vec![Application {
                    protocol: Some(pick(rng, &[1, 6, 17, 47, 58])),
                    ..Application::ANY
                }];
            }
            if chance(rng, 30) {
                matches.destinations = vec![pick(
                    rng,
                    &[
                        (of_v4(IN1), of_v4(IN1 + 4)),
                        (of_v4(OUT1), of_v4(OUT1 + 1)),
                        (0, u128::MAX >> 1),
                    ],
                )];
            }
            Policy {
                id: first_id + i,
                name: format!("p{i}"),
                action: pick(
                    rng,
                    &[
                        PolicyAction::Permit,
                        PolicyAction::Permit,
                        PolicyAction::Deny,
                        PolicyAction::Reject,
                    ],
                ),
                log: chance(rng, 30),
                matches: vec![matches],
            }
        })
        .collect();
    PolicyList::plain(list, default)
}

/// Static mappings: whole addresses of static pools, port forwards on those of others.
pub fn statics(plan: &mut Plan, sets: &[u16], rng: &mut Rng) {
    let mut statics = Vec::new();
    for number in 100..100 + rng.below(5) as u16 {
        let public = pick(rng, &PUBLIC);
        let of_pool = plan
            .program
            .pools
            .iter()
            .find(|p| p.addresses.iter().any(|r| r.contains(public)));
        let Some(pool) = of_pool.filter(|p| p.mode != PoolMode::Addresses) else {
            continue;
        };
        let ports = pool.mode != PoolMode::Static;
        let first = pool.ports.first;
        let six = chance(rng, 30);
        let inside = if six {
            in6(rng.below(3) as u16, 1)
        } else {
            of_v4(IN1 + rng.below(10))
        };
        statics.push(StaticMapping {
            name: format!("static{number}"),
            service_set: pick(rng, sets),
            number,
            inside,
            public: AddressRange {
                first: public,
                last: public,
            },
            to_one: false,
            protocol: if ports { pick(rng, &[6, 17]) } else { 0 },
            inside_port: if ports { pick(rng, &[80, 1000, 2000]) } else { 0 },
            public_port: if ports { first + rng.below(3) as u16 } else { 0 },
            ports: u16::from(ports),
            inbound_only: chance(rng, 30),
            destination: (!six && chance(rng, 15)).then_some(DestinationMap {
                from: AddressRange {
                    first: ALIAS,
                    last: ALIAS + 255,
                },
                to_first: OUT1 & !255,
            }),
        });
    }
    // Some contradict each other; a configuration with these would be refused.
    plan.program.statics = StaticTable::new(statics).map(Arc::new).unwrap_or_default();
}
