//! The modes of pools against a model that only knows who has what: workers of one chassis, random operations, reloads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::hash::HashKeys;
use crate::ports::deterministic::Deterministic;
use crate::program::{AddressAllocation, AddressPooling, AddressRange, PoolMode, PortAllocation, PortRange};

mod follow;
mod holds;
mod known;
mod whole;

const FIRST: u32 = 0xc000_0200;
const V4: u128 = 0xffff << 32;
const QUARANTINE_S: u32 = 30;

fn pool(id: PoolId, mode: PoolMode, first: u32, count: u32) -> Pool {
    Pool {
        id,
        name: String::new(),
        addresses: vec![AddressRange {
            first,
            last: first + (count - 1),
        }],
        ports: PortRange {
            first: 1024,
            last: 65535,
        },
        address_allocation: AddressAllocation::RoundRobin,
        address_pooling: AddressPooling::Paired,
        port_allocation: PortAllocation::Random,
        preserve_range: false,
        preserve_parity: false,
        preserve_contiguity: false,
        port_blocks: None,
        quarantine: Ticks::from_seconds(QUARANTINE_S),
        drain: false,
        interface_address: false,
        mode,
    }
}

/// The allocators of a chassis' workers, and their subscribers.
struct Chassis {
    program: Program,
    workers: Vec<(PortAllocator, SubscriberTable)>,
    now: Ticks,
}

impl Chassis {
    fn new(workers: u8, pools: Vec<Pool>) -> Self {
        let mut chassis = Self {
            program: Program {
                generation: 0,
                service_sets: Vec::new(),
                pools: Vec::new(),
                interfaces: Vec::new(),
                public_space: Arc::new(PublicSpace::build(&[], None)),
                statics: Arc::default(),
                prefixes: Vec::new(),
                steering_prefix: 64,
                fragment_timeout: Ticks::from_seconds(2),
                verify_ipv4_checksum: true,
                data_link: None,
            },
            workers: (0..workers)
                .map(|w| {
                    let allocator = PortAllocator::new(w, workers, 4096, 64, u64::from(w)).unwrap();
                    (allocator, SubscriberTable::new(4096, HashKeys::new(1)).unwrap())
                })
                .collect(),
            now: Ticks::from_seconds(100),
        };
        chassis.reload(pools);
        chassis
    }

    fn reload(&mut self, pools: Vec<Pool>) {
        let space = PublicSpace::try_build(&pools, Some(&self.program.public_space)).unwrap();
        self.program.public_space = Arc::new(space);
        self.program.pools = pools;
        for (allocator, _) in &mut self.workers {
            allocator.apply(&self.program);
        }
    }

    fn pass_seconds(&mut self, seconds: u32) {
        for _ in 0..seconds * 2 {
            self.pass(Ticks::PER_SECOND / 2);
        }
    }

    fn pass(&mut self, ticks: u32) {
        self.now = Ticks(self.now.0 + ticks);
        for (allocator, subscribers) in &mut self.workers {
            for _ in 0..8 {
                allocator.tick(&self.program, subscribers, self.now);
            }
        }
    }

    fn subscriber(&mut self, worker: usize, host: u32) -> u32 {
        let table = &mut self.workers[worker].1;
        let place = table.place(1, u128::from(host));
        table.find_or_insert(place, 1, u128::from(host)).unwrap()
    }

    fn whole(&mut self, worker: usize, host: u32) -> Result<u32, DropReason> {
        let subscriber = self.subscriber(worker, host);
        let (allocator, subscribers) = &mut self.workers[worker];
        let (pool, space) = (&self.program.pools[0], &self.program.public_space);
        let taken = allocator.take_address(pool, space, subscriber, subscribers, self.now)?;
        assert_eq!(taken.port, 0);
        assert_eq!(subscribers.get(subscriber).unwrap().paired, taken.address_index);
        for e in 0..16 {
            assert_eq!(usize::from(space.owner(taken.address_index, e)), worker);
        }
        Ok(taken.address)
    }

    fn give_back(&mut self, worker: usize, host: u32, address: u32) -> bool {
        let subscriber = self.subscriber(worker, host);
        let (allocator, subscribers) = &mut self.workers[worker];
        let index = self.program.public_space.index_of(address).unwrap();
        let pool = self.program.public_space.find(address).map(|f| f.pool);
        let pool = self.program.pools.iter().find(|p| Some(p.id) == pool);
        let space = &self.program.public_space;
        allocator.release_address(space, pool, false, index, subscriber, subscribers, self.now)
    }

    /// A port for `inside_port` of a host, the pool's way.
    fn port(
        &mut self,
        worker: usize,
        host: u32,
        inside_port: u16,
        is_free: impl FnMut(u32, u16) -> bool,
    ) -> Outcome {
        let subscriber = self.subscriber(worker, host);
        let (allocator, subscribers) = &mut self.workers[worker];
        let request = Request {
            pool: &self.program.pools[0],
            space: &self.program.public_space,
            class: PortClass::Udp,
            inside_port,
            next_to: None,
            subscriber,
            now: self.now,
        };
        match request.pool.mode {
            PoolMode::OverloadedPorts => allocator.take_shared(&request, subscribers, is_free),
            PoolMode::Deterministic(_) => {
                allocator.take_deterministic(&request, V4 | u128::from(host), subscribers, is_free)
            }
            _ => allocator.take(&request, subscribers),
        }
    }

    fn release(&mut self, worker: usize, host: u32, taken: Taken) -> bool {
        let subscriber = self.subscriber(worker, host);
        let (allocator, subscribers) = &mut self.workers[worker];
        let space = &self.program.public_space;
        let id = space.address(taken.address_index).map(|(_, id)| id);
        let pool = self.program.pools.iter().find(|p| Some(p.id) == id);
        let (index, port) = (taken.address_index, taken.port);
        allocator.release(
            space,
            pool,
            index,
            PortClass::Udp,
            port,
            subscriber,
            subscribers,
            self.now,
        )
    }

    fn used(&self, worker: usize, pool: PoolId) -> PoolUse {
        let all = self.workers[worker].0.pool_use();
        all.into_iter().find(|u| u.pool == pool).unwrap_or_default()
    }

    fn udp_ports(&mut self, worker: usize, host: u32) -> u32 {
        let subscriber = self.subscriber(worker, host);
        self.workers[worker].1.get(subscriber).unwrap().ports[PortClass::Udp as usize]
    }
}

#[test]
fn pools_that_change_what_is_taken_wait_for_what_is_left() {
    let mut nat = Chassis::new(1, vec![pool(1, PoolMode::Ports, FIRST, 1)]);
    let old = nat.port(0, 1, 5000, |_, _| true).unwrap();
    let serves = |nat: &Chassis| nat.workers[0].0.serves(old.address_index, 1);
    assert!(serves(&nat));
    let formula = Deterministic::new(vec![(V4 | 1, 60)], 128, 1024).unwrap();
    for mode in [
        PoolMode::OverloadedPorts,
        PoolMode::Deterministic(formula),
        PoolMode::Addresses,
        PoolMode::Static,
    ] {
        nat.reload(vec![pool(1, mode.clone(), FIRST, 1)]);
        assert!(!serves(&nat), "what was taken before ends");
        let refused = match mode {
            PoolMode::Addresses => nat.whole(0, 2).unwrap_err(),
            _ => nat.port(0, 2, 5000, |_, _| true).unwrap_err(),
        };
        assert_eq!(refused, DropReason::NatOutOfAddresses);
    }
    assert!(nat.release(0, 1, old));
    assert!(serves(&nat), "static mappings serve at once");
    assert_eq!(nat.udp_ports(0, 1), 0);
    // A port of the former pool rests before the whole address is given away.
    nat.reload(vec![pool(1, PoolMode::Addresses, FIRST, 1)]);
    assert!(nat.whole(0, 2).is_err());
    nat.pass_seconds(2 * QUARANTINE_S + 10);
    let whole = nat.whole(0, 2).unwrap();
    assert!(serves(&nat));
    nat.reload(vec![pool(1, PoolMode::OverloadedPorts, FIRST, 1)]);
    assert!(!serves(&nat));
    assert!(nat.port(0, 3, 5000, |_, _| true).is_err());
    assert!(!nat.release(0, 2, old), "not a port");
    assert!(nat.give_back(0, 2, whole));
    let rests = nat.port(0, 3, 5000, |_, _| true);
    assert_eq!(rests, Err(DropReason::NatOutOfAddresses));
    nat.pass_seconds(QUARANTINE_S + 3);
    let shared = nat.port(0, 3, 5000, |_, _| true).unwrap();
    assert!(serves(&nat) && nat.release(0, 3, shared) && !nat.release(0, 3, shared));
}

#[test]
fn pools_by_rule_give_no_ports_and_take_any_back() {
    let formula = Deterministic::new(vec![(V4 | 1, 10)], 128, 512).unwrap();
    for mode in [PoolMode::Static, PoolMode::Deterministic(formula)] {
        let mut nat = Chassis::new(1, vec![pool(1, mode, FIRST, 4)]);
        let subscriber = nat.subscriber(0, 1);
        let (allocator, subscribers) = &mut nat.workers[0];
        let (plan, space) = (&nat.program.pools[0], &nat.program.public_space);
        let request = Request {
            pool: plan,
            space,
            class: PortClass::Udp,
            inside_port: 1,
            next_to: None,
            subscriber,
            now: nat.now,
        };
        let none = Err(DropReason::NatOutOfAddresses);
        assert_eq!(allocator.take(&request, subscribers), none);
        assert_eq!(allocator.take_shared(&request, subscribers, |_, _| true), none);
        assert_eq!(
            allocator.take_address(plan, space, subscriber, subscribers, nat.now),
            none
        );
        assert_eq!(allocator.address_for(plan, space, subscriber, subscribers), None);
        let index = space.find(FIRST).unwrap().index;
        assert!(allocator.serves(index, 1));
        let taken = Taken {
            address_index: index,
            address: FIRST,
            port: 2000,
        };
        assert!(nat.release(0, 1, taken));
    }
}
