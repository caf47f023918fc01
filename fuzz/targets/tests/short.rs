//! Every fuzz target on every file of its corpus, then on mutations of them: the same ones on every run, so that a failure
//! repeats. What fails is in the message as hex. Coverage guidance is cargo-fuzz's; this keeps the targets true.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use tandem_fuzz_targets::{
    engine_all, engine_napt44, fragments, ha_sync_wire, heartbeat, wire_ethernet, wire_icmp_error,
    wire_icmp6_error, wire_ipv4, wire_ipv6, xlat, xlat_maps,
};

/// As `-max_len` in README.md.
const LEN_MAX: usize = 2048;

/// SplitMix64: enough for test data, and the same on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../corpus")
        .join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("the folder can be read").path())
        .collect();
    // The order of a folder is the file system's; mutations must not depend on it.
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read(file).expect("the seed can be read"))
        .collect()
}

/// A seed with one to eight changes, of the kinds libFuzzer makes.
fn mutated(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    const TELLING: [u8; 8] = [0, 1, 0x45, 0x7f, 0x80, 0xfe, 0xff, 17];
    let mut data = seeds[random.below(seeds.len())].clone();
    for _ in 0..1 + random.below(8) {
        let at = random.below(data.len());
        match random.below(8) {
            0 | 1 => data
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|b| *b ^= 1 << random.below(8)),
            2 => data
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|b| *b = random.next() as u8),
            3 => data
                .iter_mut()
                .skip(at)
                .take(2)
                .for_each(|b| *b = TELLING[random.below(TELLING.len())]),
            4 => data.truncate(at),
            5 => data.insert(at, random.next() as u8),
            6 => drop(data.drain(at..data.len().min(at + 1 + random.below(8)))),
            // A piece of another seed, in place of what follows.
            _ => {
                let other = &seeds[random.below(seeds.len())];
                data.truncate(at);
                data.extend_from_slice(&other[random.below(other.len())..]);
            }
        }
    }
    data.truncate(LEN_MAX);
    data
}

/// A number from the environment: a longer run, or another one.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|error| panic!("{name}={text}: {error}")),
    )
}

fn short(target: &str, run: fn(&[u8]), mutations: u64) {
    let mutations = number("FUZZ_MUTATIONS").unwrap_or(mutations);
    let guarded = |what: &str, data: &[u8]| {
        if catch_unwind(AssertUnwindSafe(|| run(data))).is_err() {
            let hex: String = data.iter().map(|b| format!("{b:02x}")).collect();
            panic!("{target} fails on {what}, {} octets: {hex}", data.len());
        }
    };
    let seeds = seeds(target);
    assert!(!seeds.is_empty(), "{target} has no seeds");
    for (number, seed) in seeds.iter().enumerate() {
        guarded(&format!("seed {number}"), seed);
    }
    let mut random = Random(number("FUZZ_SEED").unwrap_or(1));
    for number in 0..mutations {
        guarded(&format!("mutation {number}"), &mutated(&mut random, &seeds));
    }
    println!("{target}: {} seeds and {mutations} mutations ran", seeds.len());
}

#[test]
fn fragments_short() {
    short("fragments", fragments::run, 20_000);
}

#[test]
fn ha_sync_wire_short() {
    short("ha_sync_wire", ha_sync_wire::run, 500_000);
}

#[test]
fn heartbeat_short() {
    short("heartbeat", heartbeat::run, 300_000);
}

#[test]
fn wire_ipv4_short() {
    short("wire_ipv4", wire_ipv4::run, 1_000_000);
}

#[test]
fn wire_icmp_error_short() {
    short("wire_icmp_error", wire_icmp_error::run, 1_000_000);
}

#[test]
fn wire_ethernet_short() {
    short("wire_ethernet", wire_ethernet::run, 1_000_000);
}

#[test]
fn wire_ipv6_short() {
    short("wire_ipv6", wire_ipv6::run, 1_000_000);
}

#[test]
fn wire_icmp6_error_short() {
    short("wire_icmp6_error", wire_icmp6_error::run, 1_000_000);
}

#[test]
fn xlat_short() {
    short("xlat", xlat::run, 100_000);
}

#[test]
fn xlat_maps_short() {
    short("xlat_maps", xlat_maps::run, 100_000);
}

#[test]
fn engine_all_short() {
    short("engine_all", engine_all::run, 6_000);
}

#[test]
fn engine_napt44_short() {
    short("engine_napt44", engine_napt44::run, 20_000);
}

/// A corpus without a test here would be one that is never run.
#[test]
fn every_corpus_has_its_test() {
    let mut names: Vec<_> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus"))
        .expect("the corpus is there")
        .map(|entry| entry.expect("the folder can be read").file_name())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "engine_all",
            "engine_napt44",
            "fragments",
            "ha_sync_wire",
            "heartbeat",
            "wire_ethernet",
            "wire_icmp6_error",
            "wire_icmp_error",
            "wire_ipv4",
            "wire_ipv6",
            "xlat",
            "xlat_maps"
        ]
    );
}
