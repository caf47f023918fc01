//! What classifying policies costs: nanoseconds per key by number of policies, burst and family, and what a build takes.
//!
//! ```text
//!   cargo run --release -p tandem-dataplane --example acl_measure
//! ```
//!
//! Keys are drawn at random among those the list is about, more than the caches of one core hold of the tries' paths. Numbers
//! depend on the machine; compare those of one run.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::time::Instant;

use rte_bindings::{Eal, heap_usage};
use tandem_dataplane::classifier::AclBuilder;
use tandem_engine::hash::Rng;
use tandem_engine::program::policy::{
    Application, Classifier, ClassifierBuilder, Policy, PolicyAction, PolicyKey, PolicyMatch, Reference,
};

const KEYS: usize = 1 << 14;
const SERVICES: [(u8, u16, u16); 8] = [
    (6, 443, 443),
    (6, 80, 80),
    (6, 22, 22),
    (17, 53, 53),
    (17, 123, 123),
    (6, 8000, 8999),
    (17, 16384, 32767),
    (6, 1024, 65535),
];

/// How a list is made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Networks of clients to servers and services, as written by hand.
    Realistic,
    /// Prefixes of any length on both sides, any range of ports on both: nobody's list, but what a program may write.
    Wild,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = "--no-huge --no-shconf --no-pci --no-telemetry --iova-mode=va -m 2048 --lcores 0@(0)";
    let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
    let eal = Eal::init(&arguments)?;
    let mut sizes: Vec<u32> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![1, 2, 4, 8, 16, 32, 64, 10, 1000, 10_000];
    }
    let wild = std::env::args().any(|a| a == "wild");
    let kind = if wild { Kind::Wild } else { Kind::Realistic };
    println!("{kind:?}; nanoseconds per key in bursts of         1      8     32");
    for v6 in [false, true] {
        for &count in &sizes {
            measure(&eal, kind, v6, count);
        }
    }
    Ok(())
}

fn measure(eal: &Eal, kind: Kind, v6: bool, count: u32) {
    let mut rng = Rng::new(u64::from(count));
    let policies: Vec<Policy> = (0..count).map(|n| policy(&mut rng, kind, v6, n)).collect();
    let keys: Vec<PolicyKey> = (0..KEYS).map(|_| key(&mut rng, &policies)).collect();
    let before = heap_usage(eal, 0).unwrap_or_default().allocated;
    let started = Instant::now();
    let built = AclBuilder::new(eal).never_plain().build(&policies);
    let took = started.elapsed();
    let family = if v6 { "IPv6" } else { "IPv4" };
    let (peak, kib) = (
        memory("VmHWM:"),
        heap_usage(eal, 0).unwrap_or_default().allocated - before,
    );
    match built {
        Ok(fast) => {
            report(&format!("ACL   {family} {count:6}"), &*fast, &keys);
            println!(
                "    built in {took:?}, {} KiB; peak of the process {} MiB",
                kib >> 10,
                peak >> 10
            );
        }
        Err(error) => println!(
            "    {family} {count} after {took:?}, peak {} MiB: {error}",
            peak >> 10
        ),
    }
    if count <= 100 {
        report(
            &format!("plain {family} {count:6}"),
            &Reference::new(&policies),
            &keys,
        );
    }
}

/// A line of `/proc/self/status`, in KiB.
fn memory(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

fn report(name: &str, classifier: &dyn Classifier, keys: &[PolicyKey]) {
    print!("  {name}                          ");
    let mut found = [0; 32];
    for burst in [1, 8, 32] {
        // The best of several rounds: the machine does other things too.
        let mut best = f64::MAX;
        for _ in 0..15 {
            let started = Instant::now();
            for keys in keys.chunks(burst) {
                classifier.classify(black_box(keys), &mut found);
                black_box(&found);
            }
            best = best.min(started.elapsed().as_secs_f64());
        }
        print!("{:7.1}", best * 1e9 / keys.len() as f64);
    }
    println!();
}

fn policy(rng: &mut Rng, kind: Kind, v6: bool, n: u32) -> Policy {
    let (protocol, first, last) = SERVICES[rng.below(SERVICES.len() as u32) as usize];
    let any_port = (0, u16::MAX);
    let (sources, destinations, source_ports, destination_ports) = match kind {
        Kind::Realistic => {
            let sources = if rng.below(3) == 0 {
                Vec::new()
            } else {
                vec![network(rng, v6, &[12, 14, 16, 16, 24])]
            };
            let destinations = vec![network(rng, v6, &[16, 24, 31, 32, 32, 32])];
            (sources, destinations, any_port, (first, last))
        }
        Kind::Wild => {
            let lengths: Vec<u32> = (8..=32).collect();
            let mut ports = || {
                let (a, b) = (rng.draw() as u16, rng.draw() as u16);
                (a.min(b), a.max(b))
            };
            let ports = (ports(), ports());
            let sources = vec![network(rng, v6, &lengths)];
            (sources, vec![network(rng, v6, &lengths)], ports.0, ports.1)
        }
    };
    let application = Application {
        protocol: Some(protocol),
        source_ports,
        destination_ports,
    };
    Policy {
        id: n as u16,
        name: format!("p{n}"),
        action: PolicyAction::Permit,
        log: false,
        matches: vec![PolicyMatch {
            sources,
            destinations,
            applications: vec![application],
        }],
    }
}

/// A network with a prefix length of IPv4, or one of the fourfold length in IPv6.
fn network(rng: &mut Rng, v6: bool, lengths: &[u32]) -> (u128, u128) {
    let length = lengths[rng.below(lengths.len() as u32) as usize];
    let low = rng.below(1 << 24);
    if v6 {
        let host = u128::MAX.checked_shr(length * 4).unwrap_or(0);
        let spread = u128::from(low >> 12) << 80 | u128::from(low & 0xff0) << 60 | u128::from(low & 0xff);
        let address = 0x2001_0db8 << 96 | spread;
        (address & !host, address | host)
    } else {
        let host = u32::MAX.checked_shr(length).unwrap_or(0);
        let address = 10 << 24 | low;
        let v4 = |address: u32| 0xffff << 32 | u128::from(address);
        (v4(address & !host), v4(address | host))
    }
}

/// A key about one of the policies, which an earlier one may match.
fn key(rng: &mut Rng, policies: &[Policy]) -> PolicyKey {
    let part = &policies[rng.below(policies.len() as u32) as usize].matches[0];
    let within = |rng: &mut Rng, list: &[(u128, u128)], other: u128| {
        let (first, last) = list.first().copied().unwrap_or((other, other));
        let random = u128::from(rng.draw()) << 64 | u128::from(rng.draw());
        (last - first)
            .checked_add(1)
            .map_or(random, |size| first + random % size)
    };
    let dst = within(rng, &part.destinations, 0);
    let neighbour = dst ^ u128::from(rng.below(1 << 24));
    let src = within(rng, &part.sources, neighbour);
    let application = part.applications[0];
    let (first, last) = application.destination_ports;
    PolicyKey {
        src,
        dst,
        sport: rng.draw() as u16,
        dport: first + rng.below(u32::from(last - first) + 1) as u16,
        protocol: application.protocol.unwrap_or(6),
    }
}
