//! Ports of which the caller's tables say whether they are free: shared and deterministic ones.

use super::*;

#[test]
fn shared_ports_serve_every_outside_end() {
    for seed in 0..24u64 {
        let mut rng = Rng::new(seed);
        let (ports, ends) = (1 + rng.below(60) as u16, 1 + rng.below(4));
        let mut plan = pool(1, PoolMode::OverloadedPorts, FIRST, 2);
        // Across the border of two extents.
        plan.ports = PortRange {
            first: 4090,
            last: 4090 + (ports - 1),
        };
        plan.preserve_parity = seed % 2 == 1;
        plan.address_pooling = [
            AddressPooling::Paired,
            AddressPooling::PairedSoft,
            AddressPooling::Arbitrary,
        ][seed as usize / 2 % 3];
        if seed % 8 > 3 {
            plan.port_allocation = PortAllocation::Sequential;
        }
        let (parity, paired) = (
            plan.preserve_parity,
            plan.address_pooling == AddressPooling::Paired,
        );
        let mut nat = Chassis::new(1, vec![plan]);
        let mut taken = BTreeSet::<(u32, u16, u32)>::new();
        let mut sessions = Vec::new();
        let mut addresses = BTreeMap::<u32, BTreeSet<u32>>::new();
        for i in 0..ends * u32::from(ports) * 4 {
            let (end, host) = (i % ends, i / ends % 3);
            let inside_port = if parity { 2 } else { 1 + i as u16 };
            let asked = nat.port(0, host, inside_port, |a, p| !taken.contains(&(a, p, end)));
            let Ok(got) = asked else {
                assert_eq!(asked, Err(DropReason::NatOutOfPorts));
                continue;
            };
            assert!(nat.program.pools[0].ports.contains(got.port));
            assert!(!parity || got.port % 2 == 0);
            assert!(
                taken.insert((got.address, got.port, end)),
                "{got:?} twice towards {end}"
            );
            addresses.entry(host).or_default().insert(got.address);
            sessions.push((host, got));
        }
        assert!(!paired || addresses.values().all(|a| a.len() == 1));
        let room = (4090..4090 + u32::from(ports))
            .filter(|p| !parity || p % 2 == 0)
            .count() as u32;
        // Few enough ports that all of them are looked at, whatever the start: on a paired address.
        let full = ends * room * addresses.values().flatten().collect::<BTreeSet<_>>().len() as u32;
        let looks_at_all = paired || room <= 16;
        assert!(
            taken.len() as u32 <= full && (!looks_at_all || taken.len() as u32 == full),
            "seed {seed}"
        );
        assert_eq!(nat.used(0, 1).udp_ports, u64::from(taken.len() as u32));
        let hosts: u32 = (0..3).map(|host| nat.udp_ports(0, host)).sum();
        assert_eq!(hosts, taken.len() as u32);
        // They stay for as long as a session is there, and no longer.
        nat.reload(vec![]);
        let last = sessions.pop();
        for (host, got) in sessions {
            assert!(nat.release(0, host, got));
        }
        nat.pass_seconds(600);
        let owned = |nat: &Chassis| nat.used(0, 1).extents;
        assert!(owned(&nat) > 0 || last.is_none());
        if let Some((host, got)) = last {
            assert!(nat.release(0, host, got) && !nat.release(0, host, got));
        }
        nat.pass_seconds(600);
        assert_eq!((owned(&nat), nat.used(0, 1).udp_ports), (0, 0));
    }
}

#[test]
fn shared_ports_are_of_the_worker_that_owns_the_extent() {
    let mut nat = Chassis::new(3, vec![pool(1, PoolMode::OverloadedPorts, FIRST, 1)]);
    for i in 0..300 {
        let worker = i as usize % 3;
        let got = nat.port(worker, i, 5000, |_, _| true).unwrap();
        let owner = nat
            .program
            .public_space
            .owner(got.address_index, usize::from(got.port >> 12));
        assert_eq!(usize::from(owner), worker);
    }
    // A session is refused after a bounded number of questions.
    let mut asked = 0;
    let full = nat.port(0, 0, 5000, |_, _| {
        asked += 1;
        false
    });
    assert_eq!((full, asked), (Err(DropReason::NatOutOfPorts), 64));
}

#[test]
fn deterministic_ports_are_the_subscribers_own() {
    let formula = Deterministic::new(vec![(V4 | 1, 126)], 128, 512).unwrap();
    let plan = pool(1, PoolMode::Deterministic(formula), FIRST, 1);
    for allocation in [PortAllocation::Random, PortAllocation::Sequential] {
        let mut plan = plan.clone();
        plan.port_allocation = allocation;
        plan.preserve_parity = true;
        let mut nat = Chassis::new(1, vec![plan.clone()]);
        let mut in_use = BTreeSet::new();
        let mut taken = Vec::new();
        for i in 0..300u16 {
            let got = nat.port(0, 5, 4000 + i * 2, |a, p| !in_use.contains(&(a, p)));
            if i >= 256 {
                assert_eq!(got, Err(DropReason::NatOutOfPorts), "all even ones are in use");
                continue;
            }
            let got = got.unwrap();
            assert!((got.port - 1024) / 512 == 4 && got.port.is_multiple_of(2) && got.address == FIRST);
            assert!(in_use.insert((got.address, got.port)));
            taken.push(got);
        }
        assert_eq!(
            (
                nat.udp_ports(0, 5),
                nat.used(0, 1).udp_ports,
                nat.used(0, 1).refused
            ),
            (256, 256, 44)
        );
        assert!(nat.port(0, 5, 4001, |a, p| !in_use.contains(&(a, p))).is_ok());
        assert_eq!(
            nat.port(0, 127, 1, |_, _| true),
            Err(DropReason::NatOutOfAddresses),
            "in no range of the pool"
        );
        assert_eq!(
            nat.used(0, 1).extents,
            0,
            "nothing is taken from the public space"
        );
        // Its former sessions end before another pool gives the address' ports out.
        nat.reload(vec![pool(2, PoolMode::Ports, FIRST, 1)]);
        assert!(!nat.workers[0].0.serves(taken[0].address_index, 2));
        assert!(nat.port(0, 5, 1, |_, _| true).is_err());
        for got in taken {
            assert!(nat.release(0, 5, got));
        }
        assert!(nat.port(0, 5, 1, |_, _| true).is_err(), "one is left");
    }
}

#[test]
fn ports_of_static_mappings_are_not_given_out() {
    for allocation in [PortAllocation::Random, PortAllocation::Sequential] {
        let mut plan = pool(1, PoolMode::Ports, FIRST, 1);
        plan.ports = PortRange {
            first: 2000,
            last: 2063,
        };
        plan.port_allocation = allocation;
        let mut nat = Chassis::new(1, vec![plan]);
        let fixed = |port: u16| (2010..2040).contains(&port);
        let mut given = BTreeSet::new();
        for _ in 0..60 {
            let subscriber = nat.subscriber(0, 1);
            let (allocator, subscribers) = &mut nat.workers[0];
            let request = Request {
                pool: &nat.program.pools[0],
                space: &nat.program.public_space,
                class: PortClass::Udp,
                inside_port: 1,
                next_to: None,
                subscriber,
                now: nat.now,
            };
            if let Ok(taken) = allocator.take_unless(&request, subscribers, |_, port| fixed(port)) {
                assert!(!fixed(taken.port) && given.insert(taken.port));
            }
            assert_eq!(nat.udp_ports(0, 1), given.len() as u32);
            assert_eq!(nat.used(0, 1).udp_ports, given.len() as u64);
        }
        assert_eq!(given.len(), 34, "every other one is");
    }
}
