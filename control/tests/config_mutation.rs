//! Whatever bytes an editor leaves behind, reading them ends in a config or in faults, never in a panic.

use tandem_control::config::{self, Extras, NameRegistry, compile};

const EXAMPLES: [&str; 9] = [
    include_str!("../../configs/napt44.toml"),
    include_str!("../../configs/cgnat-pba.toml"),
    include_str!("../../configs/nat64.toml"),
    include_str!("../../configs/firewall.toml"),
    include_str!("../../configs/deterministic.toml"),
    include_str!("../../configs/translations.toml"),
    include_str!("../../configs/stateless.toml"),
    include_str!("../../configs/pair/chassis-1.toml"),
    include_str!("config/twenty_faults.toml"),
];

/// A small generator (splitmix64), so that a seed replays a failure.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }
}

/// Pieces that matter to TOML or to this configuration.
const PIECES: [&str; 42] = [
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    "\"",
    "'",
    "\"\"\"",
    "#",
    "\n",
    ".",
    ",",
    "-1",
    "0",
    "99999999999999999999",
    "0x1F",
    "1e9",
    "true",
    "1979-05-27",
    "ä",
    "\u{0}",
    "\r",
    "pool",
    "[pools.a]\n",
    "0.0.0.0/0",
    "255.255.255.255/32",
    "0-65535",
    "\\u0000",
    "inside",
    "name",
    "2001:db8::/32",
    "::/0",
    "64:ff9b::/96",
    "10.0.0.0-10.255.255.255",
    "firewall",
    "siit",
    "deterministic",
    "stateful-nat64",
    "basic-nat44",
    "any",
];

fn mutate(text: &str, random: &mut Random) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(4) {
        let (from, length) = (random.below(text.len()), random.below(12));
        let range = from..(from + length).min(text.len());
        match random.below(5) {
            0 => drop(text.drain(range)),
            1 => {
                let piece = PIECES[random.below(PIECES.len())].chars();
                text.splice(from..from, piece).for_each(drop);
            }
            2 => {
                let piece = PIECES[random.below(PIECES.len())].chars();
                text.splice(range, piece).for_each(drop);
            }
            3 => {
                let copy: Vec<char> = text[range].to_vec();
                let to = random.below(text.len());
                text.splice(to..to, copy).for_each(drop);
            }
            // Numbers are where ranges end.
            _ => {
                let digits: Vec<usize> = (0..text.len()).filter(|at| text[*at].is_ascii_digit()).collect();
                if let Some(at) = digits.get(random.below(digits.len())) {
                    text[*at] = char::from(b'0' + random.below(10) as u8);
                }
            }
        }
    }
    text.into_iter().collect()
}

#[test]
fn mutated_files_end_in_a_config_or_in_faults() {
    let (mut accepted, mut refused) = (0, 0);
    for seed in 0..12000u64 {
        let mut random = Random(seed);
        let text = mutate(EXAMPLES[random.below(EXAMPLES.len())], &mut random);
        let result = std::panic::catch_unwind(|| match config::parse(&text, "m.toml") {
            Ok(config) => {
                compile(&config, &mut NameRegistry::new(), None, &Extras::default())
                    .expect("what is valid compiles");
                true
            }
            Err(faults) => {
                assert!(!faults.is_empty(), "refused without a fault");
                let lines = text.split('\n').count() as u32;
                assert!(
                    faults.iter().all(|fault| fault.line <= lines),
                    "a line that is not there: {faults:#?}"
                );
                false
            }
        });
        match result {
            Ok(true) => accepted += 1,
            Ok(false) => refused += 1,
            Err(_) => panic!("seed {seed} panicked; the text was:\n{text}"),
        }
    }
    assert!(
        accepted > 100 && refused > 1000,
        "{accepted} accepted, {refused} refused: the mutations miss"
    );
}

#[test]
fn every_prefix_of_an_example_is_read() {
    for (end, _) in EXAMPLES[1].char_indices() {
        // Only that it returns counts here.
        config::parse(&EXAMPLES[1][..end], "p.toml")
            .map_or_else(|faults| faults.len(), |config| config.warnings.len());
    }
}

#[test]
fn nesting_has_a_bound() {
    let deep = format!("a = {}1{}\n", "[".repeat(50_000), "]".repeat(50_000));
    assert!(config::parse(&deep, "d.toml").is_err());
    let tables = format!("[{}a]\n", "a.".repeat(50_000));
    assert!(config::parse(&tables, "d.toml").is_err());
}
