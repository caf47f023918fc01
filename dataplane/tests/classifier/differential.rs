//! Random lists, and a long one as an operator would write it.

use tandem_engine::hash::Rng;
use tandem_engine::program::policy::{
    Application, Classifier, ClassifierBuilder, NO_POLICY, Policy, PolicyAction, PolicyKey, PolicyMatch,
    Reference,
};

use crate::random::{World, one_of, v4};
use crate::{builder, eal};

/// Compares both over `keys`, in bursts of changing length.
fn compare(seed: u64, policies: &[Policy], fast: &dyn Classifier, keys: &[PolicyKey]) -> Vec<u16> {
    let plain = Reference::new(policies);
    let mut expected = vec![0; keys.len()];
    plain.classify(keys, &mut expected);
    let mut found = vec![7; keys.len()];
    let mut at = 0;
    for burst in [1, 2, 3, 4, 5, 8, 31, 32, 33, 64, 65, 200].into_iter().cycle() {
        let end = (at + burst).min(keys.len());
        fast.classify(&keys[at..end], &mut found[at..end]);
        at = end;
        if at == keys.len() {
            break;
        }
    }
    for ((key, expected), found) in keys.iter().zip(&expected).zip(&found) {
        assert_eq!(
            found,
            expected,
            "seed {seed}: {key:x?}\nexpected {:x?}\nfound {:x?}",
            policies.get(usize::from(*expected)),
            policies.get(usize::from(*found)),
        );
    }
    expected
}

#[test]
fn random_lists_agree_for_every_key() {
    let (mut built, mut matched, mut unmatched) = (0, 0, 0);
    for seed in 0..500 {
        let mut rng = Rng::new(seed);
        let world = World::new(&mut rng);
        let count = one_of(&mut rng, &[0, 1, 2, 3, 5, 8, 12]);
        let policies = world.policies(&mut rng, count);
        let fast = match builder().max_bytes(64 << 20).build(&policies) {
            Ok(fast) => fast,
            Err(error) => {
                // Ranges from anywhere to anywhere on both sides of several policies.
                let refused = error.contains("policy \"p") || error.contains("overlap in too many ways");
                assert!(refused, "seed {seed}: {error}");
                continue;
            }
        };
        built += 1;
        let keys: Vec<_> = (0..500).map(|_| world.key(&mut rng, &policies)).collect();
        let expected = compare(seed, &policies, &*fast, &keys);
        let none = expected.iter().filter(|&&e| e == NO_POLICY).count();
        unmatched += none;
        matched += keys.len() - none;
    }
    println!("{built} lists, {matched} keys matched, {unmatched} did not");
    assert!(built > 450 && matched > 100_000 && unmatched > 50_000);
}

/// Where both lists end the shorter decides, and what is beyond it stays.
#[test]
fn the_shorter_slice_ends_it() {
    let mut rng = Rng::new(3);
    let policies = realistic(&mut rng, 20);
    let fast = builder().build(&policies).unwrap();
    let keys: Vec<_> = (0..70).map(|_| realistic_key(&mut rng, &policies)).collect();
    let mut expected = vec![0; 70];
    Reference::new(&policies).classify(&keys, &mut expected);
    for (n, m) in [(0, 5), (5, 0), (3, 9), (9, 3), (70, 40), (40, 70)] {
        let mut found = vec![1234; m];
        fast.classify(&keys[..n], &mut found);
        let both = n.min(m);
        assert_eq!(found[..both], expected[..both]);
        assert!(found[both..].iter().all(|&f| f == 1234));
    }
}

/// Servers and networks of both families by service, in the proportions of an enterprise's list.
pub fn realistic(rng: &mut Rng, count: u32) -> Vec<Policy> {
    let services: &[(u8, (u16, u16))] = &[
        (6, (443, 443)),
        (6, (80, 80)),
        (6, (22, 22)),
        (17, (53, 53)),
        (17, (123, 123)),
        (6, (8000, 8999)),
        (17, (16384, 32767)),
        (6, (1024, 65535)),
    ];
    let list: Vec<Policy> = (0..count)
        .map(|n| {
            let wide = rng.below(4) == 0;
            let network = |rng: &mut Rng, lengths: &[u32]| {
                let length = one_of(rng, lengths);
                if wide {
                    let base = 0x2001_0db8u128 << 96 | u128::from(rng.below(4096)) << 80;
                    let host = u128::MAX.checked_shr(length).unwrap_or(0);
                    let address = base | u128::from(rng.below(64)) << 64 | u128::from(rng.below(256));
                    (address & !host, address | host)
                } else {
                    let address = 0x0a00_0000 | rng.below(1 << 24);
                    let host = u32::MAX.checked_shr(length / 4).unwrap_or(0);
                    (v4(address & !host), v4(address | host))
                }
            };
            let sources = if rng.below(3) == 0 {
                Vec::new()
            } else {
                vec![network(rng, &[48, 56, 64, 64, 96])]
            };
            let destinations = vec![network(rng, &[64, 96, 127, 128, 128, 128])];
            let applications = (0..one_of(rng, &[0, 1, 1, 1, 2])).map(|_| {
                let (protocol, destination_ports) = one_of(rng, services);
                Application {
                    protocol: Some(protocol),
                    destination_ports,
                    ..Application::ANY
                }
            });
            Policy {
                id: n as u16,
                name: format!("r{n}"),
                action: PolicyAction::Permit,
                log: false,
                matches: vec![PolicyMatch {
                    sources,
                    destinations,
                    applications: applications.collect(),
                }],
            }
        })
        .collect();
    list
}

/// A key that meets one of the policies most of the time.
fn realistic_key(rng: &mut Rng, policies: &[Policy]) -> PolicyKey {
    let part = &policies[rng.below(policies.len() as u32) as usize].matches[0];
    let within = |rng: &mut Rng, list: &[(u128, u128)], other: u128| {
        let (first, last) = list.first().copied().unwrap_or((other, other));
        let size = (last - first).saturating_add(1);
        first + u128::from(rng.draw()) % size
    };
    let dst = within(rng, &part.destinations, 0);
    let neighbour = dst ^ u128::from(rng.below(1 << 16));
    let src = within(rng, &part.sources, neighbour);
    let application = part.applications.first().copied().unwrap_or(Application::ANY);
    let (first, last) = application.destination_ports;
    PolicyKey {
        src,
        dst,
        sport: rng.draw() as u16,
        dport: first + rng.below(u32::from(last - first) + 1) as u16,
        protocol: one_of(rng, &[6, 17, application.protocol.unwrap_or(1)]),
    }
}

#[test]
fn ten_thousand_policies_agree() {
    let seed = 10_000;
    let mut rng = Rng::new(seed);
    let policies = realistic(&mut rng, 10_000);
    let started = std::time::Instant::now();
    let fast = builder().build(&policies).unwrap();
    let heap = rte_bindings::heap_usage(eal(), 0);
    println!("{:?} to build, {heap:?}", started.elapsed());
    let keys: Vec<_> = (0..20_000).map(|_| realistic_key(&mut rng, &policies)).collect();
    let expected = compare(seed, &policies, &*fast, &keys);
    let late = expected.iter().filter(|&&e| e != NO_POLICY && e > 5000).count();
    assert!(late > 1000, "the end of the list is met too: {late}");
}
