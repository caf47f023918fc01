//! Links and the zones they make: a zone fails when all its interfaces are down.

use std::collections::BTreeMap;

use super::condition::{Condition, Observation};
use crate::config::Redundancy;

/// The links of interfaces as they were reported, and the zones of a configuration.
#[derive(Debug, Default)]
pub struct Links {
    /// By interface; one that was never reported counts as up.
    up: BTreeMap<String, bool>,
    zones: Vec<Zone>,
}

#[derive(Debug)]
struct Zone {
    name: String,
    interfaces: Vec<String>,
    failed: bool,
}

impl Links {
    /// The zones of a configuration, nothing reported yet.
    #[must_use]
    pub fn new(redundancy: &Redundancy) -> Self {
        let mut links = Self::default();
        links.reload(redundancy, &mut Vec::new());
        links
    }

    /// Takes over the zones of another configuration.
    pub fn reload(&mut self, redundancy: &Redundancy, seen: &mut Vec<Observation>) {
        let before = std::mem::take(&mut self.zones);
        let zones = redundancy.zones.iter().map(|zone| Zone {
            name: zone.name.clone(),
            interfaces: zone.interfaces.clone(),
            failed: before.iter().any(|old| old.name == zone.name && old.failed),
        });
        self.zones = zones.collect();
        self.look("another configuration", seen);
    }

    /// An interface is up or down; repeats are nothing new.
    pub fn report(&mut self, interface: &str, up: bool, seen: &mut Vec<Observation>) {
        let before = self.up.insert(interface.to_owned(), up).unwrap_or(true);
        if before == up {
            return;
        }
        let condition = Condition::Link(interface.to_owned());
        let cause = format!("link of {interface} is {}", if up { "up" } else { "down" });
        seen.push(if up {
            Observation::Well(condition, cause.clone())
        } else {
            Observation::Failed(condition, cause.clone())
        });
        self.look(&cause, seen);
    }

    /// Tells zones that changed.
    fn look(&mut self, cause: &str, seen: &mut Vec<Observation>) {
        for zone in &mut self.zones {
            let down = |name: &String| self.up.get(name) == Some(&false);
            let failed = !zone.interfaces.is_empty() && zone.interfaces.iter().all(down);
            if failed == zone.failed {
                continue;
            }
            zone.failed = failed;
            let condition = Condition::Zone(zone.name.clone());
            let (name, state) = (&zone.name, if failed { "down" } else { "up" });
            let cause = format!("zone {name} is {state}: {cause}");
            seen.push(if failed {
                Observation::Failed(condition, cause)
            } else {
                Observation::Well(condition, cause)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn redundancy(zones: &str) -> Redundancy {
        let text = format!(
            "[interfaces.a]\ndevice = \"net_ring0\"\n[interfaces.b]\ndevice = \"net_ring1\"\n{zones}"
        );
        config::parse(&text, "t.toml")
            .unwrap_or_else(|faults| panic!("{faults:#?}"))
            .redundancy
    }

    #[test]
    fn a_zone_fails_when_all_its_interfaces_are_down_and_an_empty_one_never() {
        let mut links = Links::new(&redundancy(
            "[zones.z]\ninterfaces = [\"a\", \"b\"]\n[zones.empty]\n",
        ));
        let mut seen = Vec::new();
        links.report("a", true, &mut seen);
        assert_eq!(seen, [], "as it was taken to be");
        links.report("a", false, &mut seen);
        links.report("a", false, &mut seen);
        assert_eq!(
            seen,
            [Observation::Failed(
                Condition::Link("a".into()),
                "link of a is down".into()
            )]
        );
        seen.clear();
        links.report("b", false, &mut seen);
        let zone = Condition::Zone("z".into());
        assert_eq!(
            seen[1],
            Observation::Failed(zone.clone(), "zone z is down: link of b is down".into())
        );
        assert_eq!(seen.len(), 2);
        seen.clear();
        links.report("a", true, &mut seen);
        assert_eq!(
            seen[1],
            Observation::Well(zone, "zone z is up: link of a is up".into())
        );
    }

    #[test]
    fn a_zone_that_a_reload_changes_is_looked_at_again() {
        let mut links = Links::new(&redundancy("[zones.z]\ninterfaces = [\"a\", \"b\"]\n"));
        let mut seen = Vec::new();
        links.report("a", false, &mut seen);
        seen.clear();
        links.reload(&redundancy("[zones.z]\ninterfaces = [\"a\"]\n"), &mut seen);
        assert!(
            matches!(&seen[..], [Observation::Failed(Condition::Zone(name), _)] if name == "z"),
            "{seen:?}"
        );
        seen.clear();
        links.reload(&redundancy("[zones.z]\n"), &mut seen);
        assert!(
            matches!(&seen[..], [Observation::Well(Condition::Zone(_), _)]),
            "{seen:?}"
        );
    }
}
