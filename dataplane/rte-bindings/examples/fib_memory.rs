//! Prints what a full IPv4 table costs: memory, time to fill, time to look up.
//!
//! `cargo run --release --example fib_memory [ROUTES]`, 1 000 000 unless told. Needs no hugepages and about
//! 1.5 GiB of free memory for the million. Prefix lengths are spread like the Internet's: most are /24, and
//! one in a hundred is longer, as routes inside an operator's network are.

#![forbid(unsafe_code)]

use std::time::Instant;

use rte_bindings::{Eal, Fib4, FibConfig, heap_usage, version};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let routes: u32 = std::env::args()
        .nth(1)
        .map_or(Ok(1_000_000), |text| text.parse())?;
    let megabytes = 256 + routes / 1000;
    let args = format!(
        "-l 0 --no-huge --no-shconf --no-pci --no-telemetry --iova-mode=va --log-level=error -m {megabytes}"
    );
    let eal = Eal::init(&args.split(' ').map(str::to_owned).collect::<Vec<_>>())?;
    println!("{}, {routes} routes", version());

    let allocated = |eal: &Eal| heap_usage(eal, 0).map_or(0, |usage| usage.allocated);
    let before = allocated(&eal);
    let config = FibConfig {
        name: "full".to_owned(),
        max_routes: routes,
        num_tbl8: (routes / 50).max(64),
        default_next_hop: 1,
        socket: None,
    };
    let mut fib = Fib4::create(&eal, &config)?;
    println!("memory: {} MiB", (allocated(&eal) - before) >> 20);

    let mut random = 1u64;
    let mut next = || {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 32) as u32
    };
    let start = Instant::now();
    for _ in 0..routes {
        let length = match next() % 100 {
            0 => 25 + (next() % 8) as u8,
            1..=60 => 24,
            61..=85 => 20 + (next() % 4) as u8,
            _ => 16 + (next() % 4) as u8,
        };
        fib.add(next(), length, 2 + next() % 1000)?;
    }
    let elapsed = start.elapsed();
    println!(
        "filled in {elapsed:.2?}, {} ns per route",
        elapsed.as_nanos() / u128::from(routes.max(1))
    );

    let reader = fib.reader();
    let addresses: Vec<u32> = (0..1 << 20).map(|_| next()).collect();
    let mut next_hops = [0; 32];
    let start = Instant::now();
    let mut sum = 0;
    for burst in addresses.chunks(32) {
        let n = reader.lookup_bulk(burst, &mut next_hops);
        sum += next_hops[..n].iter().sum::<u64>();
    }
    let elapsed = start.elapsed();
    let each = elapsed.as_nanos() as f64 / addresses.len() as f64;
    println!("random lookups in bursts of 32: {each:.1} ns each (checksum {sum})");
    Ok(())
}
