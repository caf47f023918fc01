//! Every translation type by what it promises, each in a file: static and destination NAT, whole addresses, twice NAT, ports
//! by formula, overloaded ports, IPv6 prefixes, and translation without sessions.

mod deterministic;
mod dynamic;
mod fixed;
mod forwards;
mod overload;
mod prefixes;
mod stateless;
mod twice;

use std::sync::Arc;

use tandem_engine::address;
use tandem_engine::program::{
    AddressRange, FilteringType, MappingType, NatAction, NatTerm, PoolMode, Pref64, StaticMapping, TermMatch,
};
use tandem_engine::statics::StaticTable;
use tandem_engine::view::PoolUse;
use tandem_wire::prefix::Ipv6Prefix;
use tandem_wire::rfc6052::Prefix64;

use crate::common::plan::Plan;
use crate::common::world::World;

/// A static mapping of one address for one, everything it has.
fn one_to_one(number: u16, inside: u32, public: u32) -> StaticMapping {
    StaticMapping {
        name: format!("static{number}"),
        service_set: 1,
        number,
        inside: address::of_v4(inside),
        public: AddressRange {
            first: public,
            last: public,
        },
        to_one: false,
        protocol: 0,
        inside_port: 0,
        public_port: 0,
        ports: 0,
        inbound_only: false,
        destination: None,
    }
}

/// The program has these static mappings.
fn set_statics(plan: &mut Plan, statics: Vec<StaticMapping>) {
    plan.program.statics = Arc::new(StaticTable::new(statics).expect("they do not contradict each other"));
}

/// The service set has no terms, and the pool only addresses for static mappings.
fn only_statics(plan: &mut Plan, statics: Vec<StaticMapping>) {
    plan.set().terms.clear();
    plan.pool().mode = PoolMode::Static;
    set_statics(plan, statics);
}

/// A term.
fn term(action: NatAction) -> NatTerm {
    NatTerm {
        name: "r/0".into(),
        number: 0,
        matches: TermMatch::default(),
        action,
        destination: None,
    }
}

/// A NAT64 prefix that is nobody's but ours.
fn pref64() -> Prefix64 {
    Prefix64::new(Ipv6Prefix::new(0x2001_0db8_0064 << 80, 96).expect("a prefix"))
        .expect("of a length for NAT64")
}

/// The service set is a NAT64 of pool 1.
fn nat64(plan: &mut Plan, mapping: MappingType, filtering: FilteringType) {
    plan.program.prefixes = vec![Pref64 {
        id: 3,
        prefix: pref64(),
    }];
    plan.set().ipv6.nat64_prefixes = vec![3];
    plan.set().terms = vec![term(NatAction::Nat64 {
        pool: 1,
        mapping,
        filtering,
    })];
}

/// Use of pool 1, of all workers.
fn pool_use(world: &World) -> PoolUse {
    let mut sum = PoolUse::default();
    for one in world.engines.iter().flat_map(|e| e.pool_use()) {
        sum.tcp_ports += one.tcp_ports;
        sum.udp_ports += one.udp_ports;
        sum.icmp_ids += one.icmp_ids;
        sum.extents += one.extents;
        sum.subscribers += one.subscribers;
        sum.refused += one.refused;
    }
    sum
}

/// No session, mapping, subscriber or port is left.
#[track_caller]
fn assert_empty(world: &World) {
    for engine in &world.engines {
        assert_eq!(engine.table_use().map(|(live, _)| live), [0; 4]);
        assert_eq!(engine.counters().port_release_mismatch, 0);
    }
    let left = pool_use(world);
    assert_eq!((left.tcp_ports, left.udp_ports, left.icmp_ids), (0, 0, 0));
}
