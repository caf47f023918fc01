//! Random programs: few addresses, small tables, short timeouts, so that everything runs out often.

use tandem_engine::hash::Rng;
use tandem_engine::program::{
    AddressAllocation, AddressPooling, AddressRange, PoolMode, PortAllocation, PortBlocks, PortRange,
    RefreshDirection, SubscriberLimits,
};
use tandem_engine::ticks::Ticks;

use super::rules;
use crate::common::plan::{INSIDE2, Plan, pool, service_set};
use crate::common::{POOL, POOL2};

/// All public addresses there are; a reload deals them out anew.
pub const PUBLIC: [u32; 6] = [POOL, POOL + 1, POOL + 2, POOL2, POOL2 + 1, POOL2 + 9];

/// One of some.
pub fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u32) as usize]
}

/// So many times in a hundred.
pub fn chance(rng: &mut Rng, percent: u32) -> bool {
    rng.below(100) < percent
}

/// The plan a run begins with.
pub fn first(plan: &mut Plan, rng: &mut Rng) {
    plan.sizes.max_sessions = pick(rng, &[16, 64, 512]);
    plan.sizes.max_mappings = pick(rng, &[16, 64, 512]);
    plan.sizes.max_subscribers = pick(rng, &[4, 8, 64]);
    plan.sizes.max_blocks = pick(rng, &[2, 16, 64]);
    plan.max_extents = pick(rng, &[2, 16, 256]);
    plan.second(POOL2, 1);
    change(plan, rng, true);
}

/// Changes some of a plan, as a reload does, or all of it.
pub fn change(plan: &mut Plan, rng: &mut Rng, all: bool) {
    if all || chance(rng, 60) {
        pools(plan, rng);
    }
    if all || chance(rng, 50) {
        let two = chance(rng, 80);
        plan.program.service_sets.clear();
        plan.program.service_sets.push(service_set(1, 1));
        if two {
            plan.program.service_sets.push(service_set(2, 1));
        }
        for interface in &mut plan.program.interfaces {
            if interface.id == INSIDE2 {
                interface.inside_of = if two { 2 } else { tandem_engine::program::NONE };
            }
            interface.outside_of.retain(|id| *id == 1);
            if two && !interface.outside_of.is_empty() {
                interface.outside_of.push(2);
            }
        }
    }
    rules::prefixes(plan, rng, all);
    let pools = plan.program.pools.clone();
    let ids: Vec<u16> = plan.program.service_sets.iter().map(|s| s.id).collect();
    for set in &mut plan.program.service_sets {
        rules::terms(set, &pools, rng);
        rules::firewall(set, rng);
        if chance(rng, 50) {
            let limit = |rng: &mut Rng| pick(rng, &[0, 0, 1, 3, 10]);
            set.limits = SubscriberLimits {
                max_sessions: limit(rng),
                max_session_rate: limit(rng),
                max_ports: limit(rng),
                max_tcp_ports: limit(rng),
                max_udp_ports: limit(rng),
                max_icmp_ids: limit(rng),
            };
        }
        let t = &mut set.timeouts;
        for timeout in [
            &mut t.tcp_established,
            &mut t.tcp_opening,
            &mut t.tcp_closing,
            &mut t.udp,
            &mut t.udp_well_known,
            &mut t.icmp,
            &mut t.other,
        ] {
            *timeout = Ticks::from_seconds(pick(rng, &[2, 10, 60, 300]));
        }
        set.refresh = pick(rng, &[RefreshDirection::Outbound, RefreshDirection::Both]);
        set.tcp.accept_non_syn = chance(rng, 30);
        set.tcp.track_window = chance(rng, 15);
    }
    if all || chance(rng, 50) {
        rules::statics(plan, &ids, rng);
    }
}

/// Deals the addresses out to one to three pools, with any options. What is taken from an address never changes in a run: a
/// configuration that changed that would be refused. Of a formula nothing changes at all.
fn pools(plan: &mut Plan, rng: &mut Rng) {
    let modes = rules::modes(plan.seed);
    let mut owner = [0u16; PUBLIC.len()];
    for (at, o) in owner.iter_mut().enumerate() {
        let base = at % modes.len();
        let ids: Vec<u16> = (1..=3)
            .filter(|id| modes[usize::from(*id) - 1] == modes[base])
            .collect();
        let fixed = matches!(modes[base], PoolMode::Deterministic(_));
        *o = match rng.below(4) {
            _ if fixed => base as u16 + 1,
            0 if at > 0 => 0,
            _ => pick(rng, &ids),
        };
    }
    let before = std::mem::take(&mut plan.program.pools);
    for id in 1..=3 {
        let mut p = pool(id, POOL, 1);
        p.addresses = PUBLIC
            .iter()
            .zip(owner)
            .filter(|(_, o)| *o == id)
            .map(|(a, _)| AddressRange { first: *a, last: *a })
            .collect();
        if p.addresses.is_empty() {
            continue;
        }
        p.mode = modes[usize::from(id) - 1].clone();
        let formula = matches!(p.mode, PoolMode::Deterministic(_));
        if let Some(as_before) = before.iter().find(|b| formula && b.id == id && b.mode == p.mode) {
            plan.program.pools.push(as_before.clone());
            continue;
        }
        let first = pick(rng, &[1, 1000, 1024, 4000, 8191]);
        p.ports = PortRange {
            first,
            last: first + pick(rng, &[3, 63, 300, 9000]),
        };
        p.address_allocation = pick(
            rng,
            &[AddressAllocation::RoundRobin, AddressAllocation::Sequential],
        );
        p.address_pooling = pick(
            rng,
            &[
                AddressPooling::Paired,
                AddressPooling::PairedSoft,
                AddressPooling::Arbitrary,
            ],
        );
        p.port_allocation = pick(rng, &[PortAllocation::Random, PortAllocation::Sequential]);
        p.preserve_range = chance(rng, 30);
        p.preserve_parity = chance(rng, 30);
        p.preserve_contiguity = chance(rng, 30);
        p.quarantine = Ticks::from_seconds(pick(rng, &[0, 1, 20, 120]));
        p.drain = chance(rng, 10);
        p.interface_address = chance(rng, 10);
        if p.mode == PoolMode::Ports && chance(rng, 40) {
            p.port_blocks = Some(PortBlocks {
                block_size: pick(rng, &[64, 128, 1024]),
                max_blocks_per_subscriber: pick(rng, &[1, 2, 8]),
                active_block_timeout: Ticks::from_seconds(pick(rng, &[0, 5, 50])),
                last_block_recycle_timeout: Ticks::from_seconds(pick(rng, &[0, 5, 100])),
                interim_logging_interval: Ticks::from_seconds(pick(rng, &[0, 30])),
            });
        }
        plan.program.pools.push(p);
    }
}
