//! Whether this CPU runs what was compiled: x86-64-v3, as `.cargo/config.toml` asks for.
//!
//! Asked of the kernel and not of the CPU: the compiler answers `is_x86_feature_detected!` with "yes" for everything it was
//! told to assume.

/// What x86-64-v3 adds, by the names of `/proc/cpuinfo` (lzcnt is called abm there).
const NEEDED: [&str; 10] = [
    "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave", "popcnt",
];

/// The features that are missing; empty when all are there or the kernel does not say.
pub(super) fn missing() -> Vec<&'static str> {
    std::fs::read_to_string("/proc/cpuinfo").map_or_else(|_| Vec::new(), |text| missing_in(&text))
}

fn missing_in(cpuinfo: &str) -> Vec<&'static str> {
    let Some(flags) = cpuinfo.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "flags").then_some(value)
    }) else {
        return Vec::new();
    };
    let have: std::collections::HashSet<&str> = flags.split_whitespace().collect();
    NEEDED.into_iter().filter(|flag| !have.contains(flag)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_cpu_is_told_apart() {
        let old = "processor\t: 0\nflags\t\t: fpu sse4_2 popcnt avx xsave\n";
        assert_eq!(
            missing_in(old),
            ["avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"]
        );
        let new = format!("flags : fpu {}\n", NEEDED.join(" "));
        assert!(missing_in(&new).is_empty());
        assert!(
            missing_in("model name: none").is_empty(),
            "nothing is claimed without flags"
        );
    }
}
