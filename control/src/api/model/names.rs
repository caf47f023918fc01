//! What the rows' numbers stand for: names by id, translation types by term, lengths of subscriber prefixes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use tandem_engine::address;
use tandem_engine::program::{
    NONE, NatAction, NatTerm, PolicyId, Pool, PoolId, PoolMode, Program, ServiceSetId, StaticMapping,
};
use tandem_engine::view::SessionView;

/// Names by id: those of the running program, and those earlier ones left sessions of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Service sets.
    pub service_sets: BTreeMap<ServiceSetId, String>,
    /// Pools.
    pub pools: BTreeMap<PoolId, String>,
    /// Policies, `list/policy`; of the running program.
    pub policies: BTreeMap<PolicyId, String>,
    /// Bits of an IPv6 subscriber, by service set; of the running program.
    pub subscriber_prefixes: BTreeMap<ServiceSetId, u8>,
    /// Translation types by service set and number of the term or static mapping; of the running program.
    pub translations: BTreeMap<(ServiceSetId, u16), &'static str>,
}

impl Names {
    /// Takes in what the running program says beside the names of service sets and pools.
    #[must_use]
    pub fn with_program(mut self, program: &Program) -> Self {
        self.policies.clear();
        self.subscriber_prefixes.clear();
        self.translations.clear();
        for set in &program.service_sets {
            self.subscriber_prefixes
                .insert(set.id, set.ipv6.subscriber_prefix);
            for term in &set.terms {
                let name = term_translation(term, &program.pools);
                self.translations.insert((set.id, term.number), name);
            }
            for list in set.firewall.iter().flat_map(|f| [&f.outbound, &f.inbound]) {
                let names = list.policies.iter().map(|p| (p.id, p.name.clone()));
                self.policies.extend(names);
            }
        }
        for mapping in program.statics.iter() {
            self.translations
                .insert((mapping.service_set, mapping.number), static_translation(mapping));
        }
        self
    }

    /// Name of a service set; `#7` when id 7 has none; `None` when the row has no service set.
    #[must_use]
    pub fn service_set(&self, id: ServiceSetId) -> Option<String> {
        named(&self.service_sets, id)
    }

    /// Name of a pool, likewise.
    #[must_use]
    pub fn pool(&self, id: PoolId) -> Option<String> {
        named(&self.pools, id)
    }

    /// Name of a policy, likewise.
    #[must_use]
    pub fn policy(&self, id: PolicyId) -> Option<String> {
        named(&self.policies, id)
    }

    /// A subscriber as people write it: an address, of IPv6 a prefix where the service set says so.
    #[must_use]
    pub fn subscriber(&self, set: ServiceSetId, address: IpAddr) -> String {
        match (address, self.subscriber_prefixes.get(&set)) {
            (IpAddr::V6(_), Some(length)) if *length < 128 => format!("{address}/{length}"),
            _ => address.to_string(),
        }
    }

    /// The translation type of a session, `none` when nothing is translated. What its ends show decides; where they leave
    /// several types, the term that made it. After a reload a term's number may be another's: then the plain type is said.
    #[must_use]
    pub fn translation(&self, row: &SessionView) -> &'static str {
        let source = (row.inside, row.inside_port) != (row.public, row.public_port);
        let destination = row.outside != row.remote;
        let term = self.translations.get(&(row.service_set, row.term)).copied();
        let of_term = |fits: fn(&str) -> bool| term.filter(|t| fits(t));
        match (row.inside, row.remote, source, destination) {
            (IpAddr::V6(_), IpAddr::V4(_), ..) => of_term(|t| t.contains("64")).unwrap_or("stateful-nat64"),
            (IpAddr::V6(_), IpAddr::V6(_), true, _) => "nptv6",
            (_, _, false, true) if of_term(|t| t == "twice-basic-nat-44").is_none() => "outbound-dnat-44",
            (_, _, _, true) => of_term(|t| t.starts_with("twice")).unwrap_or("twice-napt-44"),
            (_, _, true, false) => {
                let fits = |t: &str| t.contains("44") && !t.starts_with("outbound");
                of_term(fits).unwrap_or("napt-44")
            }
            // A port that happens to stay the same is translated all the same, but then the address is not.
            (_, _, false, false) => "none",
        }
    }
}

fn named(names: &BTreeMap<u16, String>, id: u16) -> Option<String> {
    (id != NONE).then(|| names.get(&id).cloned().unwrap_or_else(|| format!("#{id}")))
}

/// The type of a term, in the words of the configuration.
#[must_use]
pub fn term_translation(term: &NatTerm, pools: &[Pool]) -> &'static str {
    let by_formula = |id: PoolId| {
        let pool = pools.iter().find(|p| p.id == id);
        pool.is_some_and(|p| matches!(p.mode, PoolMode::Deterministic(_)))
    };
    let twice = term.destination.is_some();
    match term.action {
        NatAction::NoTranslation => "none",
        NatAction::DestinationOnly => "outbound-dnat-44",
        NatAction::Napt44 { .. } if twice => "twice-napt-44",
        NatAction::Napt44 { pool, .. } if by_formula(pool) => "deterministic-napt44",
        NatAction::Napt44 { .. } => "napt-44",
        NatAction::Nat64 { pool, .. } if by_formula(pool) => "deterministic-napt64",
        NatAction::Nat64 { .. } => "stateful-nat64",
        NatAction::Dynamic44 { .. } if twice => "twice-dynamic-nat-44",
        NatAction::Dynamic44 { .. } => "dynamic-nat44",
    }
}

/// The type of a static mapping, in the words of the configuration; `static-nat64` has no word there.
#[must_use]
pub fn static_translation(mapping: &StaticMapping) -> &'static str {
    if !address::is_v4(mapping.inside) {
        "static-nat64"
    } else if mapping.inbound_only {
        "dnat-44"
    } else if mapping.destination.is_some() {
        "twice-basic-nat-44"
    } else {
        "basic-nat44"
    }
}

#[cfg(test)]
mod tests {
    use tandem_engine::view::SessionState;

    use super::*;

    fn session(inside: &str, public: &str, outside: &str, remote: &str, term: u16) -> SessionView {
        let ip = |text: &str| text.parse().expect("an address");
        SessionView {
            worker: 0,
            service_set: 1,
            protocol: 6,
            state: SessionState::Established,
            initiated_outside: false,
            inside: ip(inside),
            inside_port: 4000,
            public: ip(public),
            public_port: 4000,
            outside: ip(outside),
            outside_port: 443,
            remote: ip(remote),
            pool: NONE,
            term,
            policy: NONE,
            packets_out: 1,
            bytes_out: 1,
            packets_in: 1,
            bytes_in: 1,
            age_s: 1,
            idle_s: 1,
            timeout_s: 1,
        }
    }

    #[test]
    fn the_ends_say_the_type_and_the_term_refines_it() {
        let terms = [
            (0, "deterministic-napt44"),
            (1, "stateful-nat64"),
            (2, "deterministic-napt64"),
            (3, "twice-dynamic-nat-44"),
            (4, "dnat-44"),
            (5, "none"),
        ];
        let names = Names {
            translations: terms.map(|(n, t)| ((1, n), t)).into(),
            ..Names::default()
        };
        let (out, six, wan) = ("198.51.100.1", "2001:db8::1", "64:ff9b::c633:6401");
        for (row, expect) in [
            (
                session("10.0.0.1", "203.0.113.1", out, out, 0),
                "deterministic-napt44",
            ),
            (session("10.0.0.1", "203.0.113.1", out, out, 4), "dnat-44"),
            (session("10.0.0.1", "203.0.113.1", out, out, 9), "napt-44"),
            (session("10.0.0.1", "203.0.113.1", out, out, 1), "napt-44"),
            (session("10.0.0.1", "10.0.0.1", out, out, 5), "none"),
            (session("10.0.0.1", "10.0.0.1", out, out, NONE), "none"),
            (
                session("10.0.0.1", "10.0.0.1", "192.0.2.9", out, 9),
                "outbound-dnat-44",
            ),
            (
                session("10.0.0.1", "203.0.113.1", "10.9.0.1", out, 3),
                "twice-dynamic-nat-44",
            ),
            (
                session("10.0.0.1", "203.0.113.1", "10.9.0.1", out, 0),
                "twice-napt-44",
            ),
            (session(six, "203.0.113.1", wan, out, 1), "stateful-nat64"),
            (session(six, "203.0.113.1", wan, out, 2), "deterministic-napt64"),
            (session(six, "203.0.113.1", wan, out, 0), "stateful-nat64"),
            (session(six, six, "2001:db8:9::1", "2001:db8:9::1", NONE), "none"),
            (
                session(six, "2001:db8:7::1", "2001:db8:9::1", "2001:db8:9::1", NONE),
                "nptv6",
            ),
        ] {
            assert_eq!(names.translation(&row), expect, "{row:?}");
        }
    }

    #[test]
    fn an_ipv6_subscriber_is_a_prefix_where_the_service_set_says_so() {
        let names = Names {
            subscriber_prefixes: [(1, 56), (2, 128)].into(),
            ..Names::default()
        };
        let six: IpAddr = "2001:db8::".parse().expect("an address");
        assert_eq!(names.subscriber(1, six), "2001:db8::/56");
        assert_eq!(names.subscriber(2, six), "2001:db8::");
        assert_eq!(names.subscriber(9, six), "2001:db8::");
        let four: IpAddr = "10.0.0.1".parse().expect("an address");
        assert_eq!(names.subscriber(1, four), "10.0.0.1");
    }

    #[test]
    fn a_row_of_a_removed_pool_still_says_which() {
        let names = Names::default();
        assert_eq!(names.pool(7).as_deref(), Some("#7"));
        assert_eq!(names.pool(NONE), None);
        assert_eq!(names.service_set(NONE), None);
    }
}
