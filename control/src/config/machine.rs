//! What a configuration asks of this machine: checked at start, and only warned about, because `tandem check` may run
//! elsewhere.

use std::collections::BTreeSet;

use super::fault::{Fault, FaultKind};
use super::{Config, Placement};

/// The CPUs that are online, from `/sys/devices/system/cpu/online`; `None` when that cannot be read.
#[must_use]
pub fn online_cpus() -> Option<BTreeSet<u16>> {
    cpu_list(&std::fs::read_to_string("/sys/devices/system/cpu/online").ok()?)
}

/// Reads the kernel's list format, `0-3,8`.
fn cpu_list(text: &str) -> Option<BTreeSet<u16>> {
    let mut cpus = BTreeSet::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cpus.extend(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?);
    }
    Some(cpus)
}

/// Warnings about `config` on a machine with these CPUs online.
#[must_use]
pub fn machine_warnings(config: &Config, online: &BTreeSet<u16>) -> Vec<Fault> {
    let Placement::Cores(cores) = &config.workers.placement else {
        return Vec::new();
    };
    let absent = cores
        .iter()
        .enumerate()
        .filter(|(_, core)| !online.contains(core));
    absent
        .map(|(index, core)| {
            let path = format!("workers.cores[{index}]");
            let (line, column) = config.position(&path);
            let cpus: Vec<String> = online.iter().map(u16::to_string).collect();
            Fault {
                kind: FaultKind::Doubtful,
                file: config.file.clone(),
                line,
                column,
                path,
                problem: format!("CPU {core} is not online on this machine"),
                remedy: format!("use some of {}", cpus.join(", ")),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_list_format() {
        assert_eq!(cpu_list("0-2,5\n"), Some(BTreeSet::from([0, 1, 2, 5])));
        assert_eq!(cpu_list("7"), Some(BTreeSet::from([7])));
        assert_eq!(cpu_list(""), None);
    }

    #[test]
    fn cores_that_are_not_there_are_named() {
        let text = "[workers]\ncores = [0, 9]\n[interfaces.a]\ndevice = \"net_null0\"\n";
        let config = crate::config::parse(text, "t.toml").expect("valid");
        let warnings = machine_warnings(&config, &BTreeSet::from([0, 1]));
        assert_eq!(warnings.len(), 1);
        assert_eq!(
            (warnings[0].line, warnings[0].path.as_str()),
            (2, "workers.cores[1]")
        );
        assert!(machine_warnings(&config, &BTreeSet::from([0, 9])).is_empty());
    }
}
