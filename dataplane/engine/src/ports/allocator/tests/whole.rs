//! Whole addresses.

use super::*;

#[test]
fn whole_addresses_have_one_owner_and_rest() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let (workers, addresses) = (1 + (seed % 4) as u8, 1 + rng.below(12));
        let mut nat = Chassis::new(workers, vec![pool(1, PoolMode::Addresses, FIRST, addresses)]);
        if seed % 2 == 1 {
            nat.program.pools[0].address_allocation = AddressAllocation::Sequential;
            let pools = nat.program.pools.clone();
            nat.reload(pools);
        }
        // Address to (worker, host); address to when it was given back.
        let mut held = BTreeMap::<u32, (usize, u32)>::new();
        let mut freed = BTreeMap::<u32, Ticks>::new();
        let mut refused = 0;
        for host in 0..600 {
            let worker = rng.below(u32::from(workers)) as usize;
            match rng.below(4) {
                0 | 1 => match nat.whole(worker, host) {
                    Ok(address) => {
                        assert!((FIRST..FIRST + addresses).contains(&address));
                        assert_eq!(held.insert(address, (worker, host)), None);
                        let rested = freed.remove(&address).map(|at| nat.now.since(at));
                        assert!(
                            rested.is_none_or(|t| t >= Ticks::from_seconds(QUARANTINE_S)),
                            "{rested:?}"
                        );
                    }
                    Err(reason) => {
                        assert_eq!(reason, DropReason::NatOutOfAddresses);
                        refused += 1;
                        let long = Ticks::from_seconds(QUARANTINE_S + 4);
                        let free = |a: &u32| freed.get(a).is_none_or(|at| nat.now.since(*at) > long);
                        let free = (FIRST..FIRST + addresses)
                            .filter(|a| !held.contains_key(a))
                            .find(free);
                        assert_eq!(free, None, "seed {seed}");
                    }
                },
                2 => {
                    let some = held.keys().nth(rng.below(addresses) as usize).copied();
                    if let Some((address, (worker, host))) = some.and_then(|a| held.remove_entry(&a)) {
                        assert!(nat.give_back(worker, host, address));
                        assert!(!nat.give_back(worker, host, address), "not twice");
                        freed.insert(address, nat.now);
                    }
                }
                _ => nat.pass_seconds(rng.below(12)),
            }
            for w in 0..usize::from(workers) {
                let mine = held.values().filter(|(worker, _)| *worker == w).count() as u64;
                let used = nat.used(w, 1);
                assert_eq!(used.subscribers, mine);
                assert!(used.extents >= mine * 16 && used.extents.is_multiple_of(16));
            }
        }
        assert!(refused > 0);
        for (address, (worker, host)) in held {
            assert!(nat.give_back(worker, host, address));
        }
        nat.pass_seconds(QUARANTINE_S + 3);
        let owners = (0..nat.program.public_space.index_end())
            .flat_map(|i| (0..16).map(move |e| (i, e)))
            .filter(|(i, e)| nat.program.public_space.owner(*i, *e) != crate::public_space::OWNER_FREE);
        assert_eq!(owners.count(), 0, "all is anyone's again");
        let refusals = (0..usize::from(workers))
            .map(|w| nat.used(w, 1).refused)
            .sum::<u64>();
        assert_eq!(refusals, refused);
    }
}

#[test]
fn a_large_pool_is_searched_in_parts() {
    let mut nat = Chassis::new(2, vec![pool(1, PoolMode::Addresses, 10 << 24, 8192)]);
    nat.program.pools[0].address_allocation = AddressAllocation::Sequential;
    let pools = nat.program.pools.clone();
    nat.reload(pools);
    // Another chassis or worker has all but one of a hundred in the far half.
    let space = Arc::clone(&nat.program.public_space);
    for a in (0..8192).filter(|a| *a != 6000) {
        assert!(space.acquire(space.find((10 << 24) + a).unwrap().index, (a % 16) as usize, 7));
    }
    let calls = (0..20).position(|_| nat.whole(1, 5) == Ok((10 << 24) + 6000));
    assert_eq!(calls, Some(5), "1024 at a time");
    for _ in 0..8 {
        assert_eq!(nat.whole(1, 6), Err(DropReason::NatOutOfAddresses));
    }
    // Now the pool is known to be full: what comes free elsewhere is seen a second later.
    space.release(space.find(10 << 24).unwrap().index, 0, 7);
    for _ in 0..20 {
        assert_eq!(nat.whole(1, 6), Err(DropReason::NatOutOfAddresses));
    }
    nat.pass_seconds(2);
    let calls = (0..20).position(|_| nat.whole(1, 6) == Ok(10 << 24));
    assert!(calls.is_some_and(|n| n < 8), "{calls:?}");
}

#[test]
fn an_address_serves_as_soon_as_it_has_rested() {
    // A quarantine within the span of the timing wheel, and one beyond.
    for quarantine in [QUARANTINE_S, 6000] {
        let mut plan = pool(1, PoolMode::Addresses, FIRST, 1);
        plan.quarantine = Ticks::from_seconds(quarantine);
        let mut nat = Chassis::new(1, vec![plan]);
        // Not at a full second, at which addresses come free.
        nat.pass(3);
        let address = nat.whole(0, 1).unwrap();
        assert!(nat.give_back(0, 1, address));
        let freed = nat.now;
        let rested = loop {
            assert!(nat.whole(0, 2).is_err(), "after {:?}", nat.now.since(freed));
            nat.pass(1);
            let index = nat.program.public_space.index_of(address).unwrap();
            if nat.program.public_space.owner(index, 0) == crate::public_space::OWNER_FREE {
                break nat.now.since(freed).seconds();
            }
        };
        assert!((quarantine..=quarantine + 2).contains(&rested), "{rested} s");
        assert_eq!(
            nat.whole(0, 2),
            Ok(address),
            "though the pool was found full just before"
        );
    }
}
