//! A primary and a standby that is told: the same books on both, and after a takeover nothing is given out twice.

use super::*;
use crate::program::PortBlocks;
use crate::public_space::{OWNER_FREE, OWNER_PEER};
use crate::replica::Op;

fn blocks(max: u16) -> PortBlocks {
    PortBlocks {
        block_size: 128,
        max_blocks_per_subscriber: max,
        active_block_timeout: Ticks::ZERO,
        interim_logging_interval: Ticks::ZERO,
        last_block_recycle_timeout: Ticks::ZERO,
    }
}

/// A primary and its standby, one shard each, and the ports given out, with their hosts.
struct Pair {
    primary: Chassis,
    standby: Chassis,
    taken: Vec<(u32, Taken)>,
}

impl Pair {
    fn new(pool: &Pool) -> Self {
        let mut pair = Self {
            primary: Chassis::new(1, vec![pool.clone()]),
            standby: Chassis::new(1, vec![pool.clone()]),
            taken: Vec::new(),
        };
        pair.primary.workers[0].0.set_telling(true);
        pair.standby.workers[0].0.follow(pool.id, true);
        pair
    }

    /// What the primary's allocator told is so at the standby.
    fn tell(&mut self) {
        let mut told = Vec::new();
        let allocator = &mut self.primary.workers[0].0;
        allocator.drain_told(|op| {
            told.push(*op);
            true
        });
        assert!(!allocator.take_told_lost());
        for op in told {
            self.standby.install(&op);
        }
    }

    fn take(&mut self, host: u32) {
        if let Ok(taken) = self.primary.port(0, host, 5000, |_, _| true) {
            self.tell();
            assert_eq!(self.standby.install_port(host, taken), Ok(()));
            self.taken.push((host, taken));
        }
    }

    fn release(&mut self, at: usize) {
        let (host, taken) = self.taken.swap_remove(at);
        // In the order in which they are told: the session first, the block it was the last of then.
        assert!(self.primary.release(0, host, taken));
        assert!(self.standby.release(0, host, taken));
        self.tell();
    }

    fn agree(&self) {
        let [a, b] = [&self.primary, &self.standby].map(|c| &c.workers[0].0);
        let space = &self.primary.program.public_space;
        for index in 0..space.index_end() {
            assert_eq!(a.address_use(index), b.address_use(index), "address {index}");
            for e in 0..16 {
                let books = |x: &Extent| (x.used, x.units_taken);
                assert_eq!(a.extent(index, e).map(books), b.extent(index, e).map(books));
            }
        }
        for (_, t) in &self.taken {
            assert!(b.is_used(t.address_index, PortClass::Udp, t.port));
        }
        let [a, b] = [a, b].map(|c| c.pool_use().map(|u| PoolUse { refused: 0, ..u }));
        assert!(a.eq(b));
    }
}

impl Chassis {
    fn install(&mut self, op: &Op) {
        let space = Arc::clone(&self.program.public_space);
        let now = self.now;
        match op {
            Op::Extent(e) => {
                let index = space.index_of(e.public).unwrap();
                let pool = &self.program.pools[0];
                let allocator = &mut self.workers[0].0;
                for _ in 0..2 {
                    assert!(allocator.install_extent(&space, pool, index, usize::from(e.extent), now));
                }
            }
            Op::ExtentClose(e) => {
                let index = space.index_of(e.public).unwrap();
                let allocator = &mut self.workers[0].0;
                assert!(allocator.drop_extent(&space, index, usize::from(e.extent)));
                assert_eq!(space.owner(index, usize::from(e.extent)), OWNER_PEER);
            }
            Op::Block(b) => {
                let index = space.index_of(b.public).unwrap();
                let host = self.subscriber(0, b.subscriber as u32);
                let (allocator, subscribers) = &mut self.workers[0];
                let pool = &self.program.pools[0];
                let mut install = || {
                    allocator.install_block(
                        &space,
                        pool,
                        index,
                        b.first_port,
                        b.size,
                        b.created,
                        host,
                        subscribers,
                        now,
                    )
                };
                let number = install().unwrap();
                assert_eq!(install(), Ok(number), "twice is once");
            }
            Op::BlockClose(b) => {
                let index = space.index_of(b.public).unwrap();
                let host = self.subscriber(0, b.subscriber as u32);
                let (allocator, subscribers) = &mut self.workers[0];
                let had = allocator.drop_block(index, b.first_port, b.size, subscribers, now);
                assert_eq!(had, Some(host));
                let again = allocator.drop_block(index, b.first_port, b.size, subscribers, now);
                assert_eq!(again, None);
            }
            other => panic!("an allocator tells no {other:?}"),
        }
    }

    fn install_port(&mut self, host: u32, taken: Taken) -> Result<(), DropReason> {
        let host = self.subscriber(0, host);
        let (allocator, subscribers) = &mut self.workers[0];
        let (pool, space) = (&self.program.pools[0], &self.program.public_space);
        let (index, port) = (taken.address_index, taken.port);
        allocator.install_port(
            space,
            pool,
            index,
            PortClass::Udp,
            port,
            host,
            subscribers,
            self.now,
        )
    }
}

#[test]
fn a_standby_keeps_the_same_books_and_gives_nothing_out_twice() {
    for (mode, with_blocks) in [
        (PoolMode::Ports, false),
        (PoolMode::Ports, true),
        (PoolMode::OverloadedPorts, false),
    ] {
        for seed in 0..6 {
            let mut rng = Rng::new(seed);
            let mut plan = pool(1, mode.clone(), FIRST, 3);
            plan.ports = PortRange {
                first: 1024,
                last: 3 * 4096 - 1,
            };
            plan.port_blocks = with_blocks.then(|| blocks(4));
            let mut pair = Pair::new(&plan);
            for _ in 0..1500 {
                match rng.below(5) {
                    0..=2 => pair.take(rng.below(12)),
                    _ if pair.taken.is_empty() => {}
                    _ => pair.release(rng.below(pair.taken.len() as u32) as usize),
                }
                pair.agree();
            }
            take_over(&mut pair, with_blocks);
        }
    }
}

/// The primary gave out ports without a word, and is gone.
fn take_over(pair: &mut Pair, with_blocks: bool) {
    let mut unknown = Vec::new();
    for host in 0..12 {
        // Of extents and blocks it always tells.
        if let Ok(taken) = pair.primary.port(0, host, 6000, |_, _| true) {
            unknown.push((host, taken));
        }
    }
    pair.tell();
    let nat = &mut pair.standby;
    let until = nat.now.plus(Ticks::from_seconds(120));
    nat.workers[0].0.hold(|pool| (pool == 1).then_some(until), true);
    nat.workers[0].0.follow(1, false);
    let space = Arc::clone(&nat.program.public_space);
    let owned: BTreeSet<_> = nat.workers[0]
        .0
        .owned_extents(&space, 0)
        .map(|(_, e)| (e.public, e.extent))
        .collect();
    let with_ports = |t: &Taken| owned.contains(&(t.address, (t.port >> 12) as u8));
    // Leases as they are without the other chassis: what was never taken is free. Here all of them are.
    let mut new = Vec::new();
    for host in 0..24 {
        match nat.port(0, host, 7000, |_, _| true) {
            Ok(taken) if with_ports(&taken) => {
                assert!(with_blocks, "a held extent gave {taken:?}");
                let block = nat.workers[0].0.block_at(taken.address_index, taken.port);
                let subscriber = nat.subscriber(0, host);
                let blocks = nat.workers[0].0.blocks();
                assert_eq!(blocks.get(block.unwrap()).map(|b| b.subscriber), Some(subscriber));
                assert!(unknown.iter().all(|(other, t)| *other == host || t != &taken));
                new.push((host, taken));
            }
            Ok(taken) => {
                assert!(pair.taken.iter().all(|(_, t)| t != &taken));
                new.push((host, taken));
            }
            Err(reason) => assert_eq!(reason, DropReason::NatLeaseWait),
        }
    }
    // When that is over, they are as any others.
    nat.pass_seconds(121);
    for (host, taken) in new {
        assert!(nat.release(0, host, taken));
    }
    for (host, taken) in std::mem::take(&mut pair.taken) {
        assert!(nat.release(0, host, taken));
    }
    nat.pass_seconds(250);
    assert_eq!(nat.workers[0].0.blocks().live(), 0, "idle blocks come back");
    let mut given = BTreeSet::new();
    for host in 100..110 {
        // A hold ends when its ports are needed.
        let mut taken = nat.port(0, host, 5000, |_, _| true);
        for _ in 0..4 {
            if taken.is_err() {
                assert_eq!(taken, Err(DropReason::NatLeaseWait));
                nat.pass_seconds(1);
                taken = nat.port(0, host, 5000, |_, _| true);
            }
        }
        let taken = taken.unwrap();
        given.insert((taken.address, (taken.port >> 12) as u8));
    }
    assert!(
        given.iter().any(|e| owned.contains(e)),
        "held extents serve again"
    );
}

#[test]
fn what_contradicts_is_refused_and_nothing_is_half_done() {
    let mut plan = pool(1, PoolMode::Ports, FIRST, 2);
    plan.port_blocks = Some(blocks(2));
    let mut nat = Chassis::new(2, vec![plan.clone(), pool(2, PoolMode::Ports, FIRST + 8, 1)]);
    nat.workers[0].0.follow(1, true);
    let space = Arc::clone(&nat.program.public_space);
    let index = space.index_of(FIRST).unwrap();
    let at = |address_index, port| Taken {
        address_index,
        address: FIRST,
        port,
    };
    // Not the pool's; another shard's; the lease of this chassis.
    assert_eq!(
        nat.install_port(1, at(space.index_of(FIRST + 8).unwrap(), 5000)),
        Err(DropReason::NatOutOfAddresses)
    );
    assert!(space.acquire(index, 2, 1) && space.offer(index, 3));
    for port in [2 * 4096 + 1, 3 * 4096 + 1] {
        assert_eq!(
            nat.install_port(1, at(index, port)),
            Err(DropReason::NatOutOfPorts)
        );
    }
    // Extents and ports come before their block, and twice.
    assert!(space.mark_peer(index, 1));
    assert_eq!(nat.install_port(1, at(index, 4096 + 70)), Ok(()));
    assert_eq!(space.owner(index, 1), 0);
    assert_eq!(
        nat.install_port(1, at(index, 4096 + 70)),
        Err(DropReason::SessionConflict)
    );
    let install_block = |nat: &mut Chassis, host, first_port, size| {
        let host = nat.subscriber(0, host);
        let (allocator, subscribers) = &mut nat.workers[0];
        let (now, created) = (nat.now, Ticks(7));
        allocator.install_block(
            &space,
            &plan,
            index,
            first_port,
            size,
            created,
            host,
            subscribers,
            now,
        )
    };
    let number = install_block(&mut nat, 1, 4096, 128).unwrap();
    assert_eq!(nat.workers[0].0.blocks().get(number).map(|b| b.used), Some(1));
    assert_eq!(
        install_block(&mut nat, 2, 4096 + 64, 128),
        Err(DropReason::SessionConflict)
    );
    for (first_port, size) in [(4097, 64), (4096, 0), (4096, 63), (8192 - 64, 128), (65472, 128)] {
        let refused = install_block(&mut nat, 2, first_port, size);
        assert_eq!(refused, Err(DropReason::NatOutOfPorts), "{first_port} {size}");
    }
    assert_eq!(
        nat.install_port(2, at(index, 4096 + 71)),
        Err(DropReason::SessionConflict),
        "a stranger in a block"
    );
    assert!(!nat.workers[0].0.drop_extent(&space, index, 1), "in use");
    assert!(nat.release(0, 1, at(index, 4096 + 70)));
    assert!(
        !nat.workers[0].0.drop_extent(&space, index, 1),
        "idle blocks stay until the other chassis says so"
    );
    nat.pass_seconds(400);
    assert_eq!(nat.workers[0].0.blocks().live(), 1);
    let (allocator, subscribers) = &mut nat.workers[0];
    assert!(
        allocator
            .drop_block(index, 4096, 128, subscribers, nat.now)
            .is_some()
    );
    assert!(allocator.drop_extent(&space, index, 1) && allocator.drop_extent(&space, index, 1));
    assert_eq!(space.owner(index, 1), OWNER_PEER);
    let used = nat.used(0, 1);
    assert_eq!((used.udp_ports, used.blocks, used.extents), (0, 0, 0));
    assert!(allocator_is_empty(&nat, index));
}

fn allocator_is_empty(nat: &Chassis, index: u32) -> bool {
    let allocator = &nat.workers[0].0;
    (0..16).all(|e| allocator.extent(index, e).is_none()) && allocator.address_use(index).0 == 0
}

#[test]
fn a_whole_address_is_followed_and_is_the_other_chassis_again() {
    let mut nat = Chassis::new(2, vec![pool(1, PoolMode::Addresses, FIRST, 2)]);
    for (allocator, _) in &mut nat.workers {
        allocator.follow(1, true);
    }
    let space = Arc::clone(&nat.program.public_space);
    let index = space.index_of(FIRST).unwrap();
    (0..16).for_each(|e| assert!(space.mark_peer(index, e)));
    let install = |nat: &mut Chassis, worker, host| {
        let host = nat.subscriber(worker, host);
        let (allocator, subscribers) = &mut nat.workers[worker];
        let pool = &nat.program.pools[0];
        allocator.install_address(&space, pool, index, host, subscribers, PublicSpace::install_all)
    };
    assert_eq!(install(&mut nat, 0, 1), Ok(()));
    assert_eq!(install(&mut nat, 0, 2), Err(DropReason::SessionConflict));
    assert_eq!(nat.used(0, 1).extents, 16);
    assert_eq!(nat.used(0, 1).subscribers, 1);
    assert!(nat.give_back(0, 1, FIRST));
    assert_eq!(nat.used(0, 1).subscribers, 0);
    assert_eq!(space.owner(index, 0), OWNER_PEER, "it rests there, not here");
    assert!(allocator_is_empty(&nat, index) && nat.used(0, 1).extents == 0);
    // It has rested there before that was heard here, and is given out again, to a subscriber of another shard.
    assert_eq!(install(&mut nat, 1, 2), Ok(()));
    nat.pass_seconds(2 * QUARANTINE_S);
    assert_eq!(space.owner(index, 0), 1, "in use: no rest ends");
    // A takeover: given back after it, it waits for the end of the hold.
    for (allocator, _) in &mut nat.workers {
        allocator.hold_all(nat.now.plus(Ticks::from_seconds(120)));
        allocator.follow(1, false);
    }
    assert!(nat.give_back(1, 2, FIRST));
    nat.pass_seconds(QUARANTINE_S + 3);
    assert_eq!(space.owner(index, 0), 1);
    nat.pass_seconds(120 - QUARANTINE_S);
    assert_eq!(space.owner(index, 0), OWNER_FREE);
}

#[test]
fn ports_by_a_formula_are_counted_and_static_ones_are_nobodys() {
    let formula = Deterministic::new(vec![(V4 | 1, 10)], 128, 512).unwrap();
    for (mode, used) in [(PoolMode::Deterministic(formula), 1), (PoolMode::Static, 0)] {
        let mut nat = Chassis::new(1, vec![pool(1, mode, FIRST, 1)]);
        let taken = Taken {
            address_index: nat.program.public_space.index_of(FIRST).unwrap(),
            address: FIRST,
            port: 2000,
        };
        assert_eq!(nat.install_port(1, taken), Ok(()));
        assert_eq!(
            (nat.used(0, 1).udp_ports, nat.udp_ports(0, 1)),
            (used, used as u32)
        );
        assert!(nat.release(0, 1, taken));
        assert_eq!((nat.used(0, 1).udp_ports, nat.udp_ports(0, 1)), (0, 0));
        assert!(allocator_is_empty(&nat, taken.address_index));
    }
}

#[test]
fn with_leases_extents_are_taken_one_by_one_as_they_are_granted() {
    for mode in [PoolMode::Ports, PoolMode::OverloadedPorts] {
        let mut nat = Chassis::new(1, vec![pool(1, mode, FIRST, 2)]);
        let space = Arc::clone(&nat.program.public_space);
        let index = space.index_of(FIRST + 1).unwrap();
        space.set_leases_required(true);
        let refused = nat.port(0, 1, 5000, |_, _| true);
        assert_eq!(refused, Err(DropReason::NatLeaseWait));
        for e in [4, 9] {
            assert!(space.offer(index, e) && space.grant(index, e));
        }
        for host in 1..100 {
            assert!(nat.port(0, host, 5000, |_, _| true).is_ok());
        }
        assert_eq!(nat.used(0, 1).extents, 1, "the other one waits");
    }
    let mut nat = Chassis::new(1, vec![pool(1, PoolMode::Addresses, FIRST, 2)]);
    let space = Arc::clone(&nat.program.public_space);
    let index = space.index_of(FIRST + 1).unwrap();
    space.set_leases_required(true);
    for e in 0..16 {
        assert_eq!(nat.whole(0, 1), Err(DropReason::NatLeaseWait));
        assert!(space.offer(index, e) && space.grant(index, e));
    }
    nat.pass(1);
    assert_eq!(nat.whole(0, 1), Ok(FIRST + 1));
    (0..16).for_each(|e| assert!(space.mark_peer(space.index_of(FIRST).unwrap(), e)));
    nat.pass(1);
    assert_eq!(nat.whole(0, 2), Err(DropReason::NatOutOfAddresses));
}

#[test]
fn what_was_never_taken_is_no_extent() {
    let chassis = Chassis::new(1, vec![pool(1, PoolMode::Ports, FIRST, 1)]);
    let space = &chassis.program.public_space;
    assert!(space.address(0).is_some());
    assert_eq!(chassis.workers[0].0.owned_extent(space, 0), None);
}
