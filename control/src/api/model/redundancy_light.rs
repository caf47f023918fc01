//! The colour of a redundancy set and of the pair: the rule of docs/redundancy.md, and nothing else.

use super::redundancy::{RedundancySet, RoleState};
use super::redundancy_view::{HeartbeatGroup, Light, Redundancy};

impl RedundancySet {
    /// With its colour, which follows from all the rest: docs/redundancy.md has the rule.
    #[must_use]
    pub fn judged(mut self) -> Self {
        let mut why = Vec::new();
        let is_primary = self.role == RoleState::Primary;
        match (is_primary, self.peer_role) {
            (true, Some(RoleState::Primary)) => why.push((Light::Red, "both chassis are primary".to_owned())),
            (false, Some(RoleState::Primary)) => {}
            (false, _) => why.push((Light::Red, "nobody is primary, as far as is known".to_owned())),
            (true, Some(RoleState::Standby)) => {}
            (true, Some(role)) => why.push((Light::Amber, format!("the peer is {}", role.as_str()))),
            (true, None) => why.push((Light::Amber, "the peer is not heard".to_owned())),
        }
        if is_primary && self.weights.is_some_and(|weights| weights.are_reached()) {
            why.push((
                Light::Red,
                "it has failed, and nobody else can be primary".to_owned(),
            ));
        }
        if is_primary && self.taken_out {
            why.push((Light::Amber, "it is taken out, and still primary".to_owned()));
        }
        if !is_primary && self.role != RoleState::Standby {
            let reason = self
                .reason
                .as_deref()
                .map_or(String::new(), |reason| format!(" ({reason})"));
            why.push((
                Light::Amber,
                format!("this chassis is {}{reason}", self.role.as_str()),
            ));
        }
        if let Some(warning) = &self.warning {
            why.push((Light::Amber, format!("warning: {warning}")));
        }
        if self.peer.warns == Some(true) {
            why.push((Light::Amber, "the peer warns".to_owned()));
        } else if self.peer.warned == Some(true) {
            why.push((Light::Amber, "an event is active at the peer".to_owned()));
        }
        why.extend(
            self.outside
                .failures
                .iter()
                .map(|failure| (Light::Amber, failure.clone())),
        );
        self.light = why.iter().map(|(light, _)| *light).max().unwrap_or_default();
        self.why = why.into_iter().map(|(_, text)| text).collect();
        self
    }
}

/// Clocks of a pair that are further apart, in microseconds, are told: by then nobody can say from the logs of both who had a public
/// address and port at a given second.
pub const CLOCK_SKEW_US_MAX: u64 = 1_000_000;

impl HeartbeatGroup {
    /// What is wrong with the clocks of the two chassis, if something is.
    #[must_use]
    pub fn clock_trouble(&self) -> Option<String> {
        let ahead = self
            .clock_ahead_us
            .filter(|ahead| ahead.unsigned_abs() > CLOCK_SKEW_US_MAX)?;
        let way = if ahead > 0 { "ahead of" } else { "behind" };
        let seconds = ahead.unsigned_abs() as f64 / 1e6;
        Some(format!(
            "the peer's clock is {seconds:.1} s {way} this one's: logs of the two do not say who had an address and port at a time (is NTP running?)"
        ))
    }
}

impl Redundancy {
    /// With its colour, the worst of its sets' and of what is around them.
    #[must_use]
    pub fn judged(mut self) -> Self {
        let mut why: Vec<(Light, String)> = Vec::new();
        for set in &self.sets {
            let text = |text: &String| (set.light, format!("set {}: {text}", set.id));
            why.extend(set.why.iter().map(text));
        }
        for group in &self.heartbeats {
            why.extend(
                group
                    .clock_trouble()
                    .map(|text| (Light::Amber, format!("group {}: {text}", group.redundancy_group))),
            );
            for path in group.paths.iter().filter(|path| !path.up) {
                let fault = path
                    .fault
                    .as_deref()
                    .map_or(String::new(), |fault| format!(": {fault}"));
                let (group, path) = (group.redundancy_group, &path.path);
                why.push((
                    Light::Amber,
                    format!("group {group}: the path {path} is down{fault}"),
                ));
            }
        }
        if self.guard.as_ref().is_some_and(|guard| guard.pid.is_none()) {
            why.push((Light::Amber, "no guard process runs".to_owned()));
        }
        self.light = why.iter().map(|(light, _)| *light).max().unwrap_or_default();
        self.why = why.into_iter().map(|(_, text)| text).collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::redundancy_view::{GuardProcess, Weights};
    use super::*;

    fn set(role: RoleState, peer_role: Option<RoleState>) -> RedundancySet {
        RedundancySet {
            role,
            peer_role,
            ..RedundancySet::of(1)
        }
    }

    #[test]
    fn the_colour_says_whether_a_takeover_would_go_well() {
        use RoleState::{Inoperable, Primary, Standby, Wait};
        for (role, peer, light) in [
            (Primary, Some(Standby), Light::Green),
            (Standby, Some(Primary), Light::Green),
            (Primary, Some(Wait), Light::Amber),
            (Primary, None, Light::Amber),
            (Wait, Some(Primary), Light::Amber),
            (Inoperable, Some(Primary), Light::Amber),
            (Primary, Some(Primary), Light::Red),
            (Standby, Some(Standby), Light::Red),
            (Standby, None, Light::Red),
            (Inoperable, None, Light::Red),
        ] {
            let judged = set(role, peer).judged();
            assert_eq!(judged.light, light, "{role:?} {peer:?}: {:?}", judged.why);
            assert_eq!(judged.why.is_empty(), light == Light::Green);
        }
        let mut failed = set(Primary, Some(Standby));
        failed.weights = Some(Weights {
            failed: 255,
            threshold: 255,
            chassis_failed: 255,
            chassis_threshold: 256,
        });
        assert_eq!(failed.judged().light, Light::Red);
        let mut kernel = set(Primary, Some(Standby));
        kernel.outside.failures.push("192.0.2.0/24: no".to_owned());
        assert_eq!(kernel.judged().light, Light::Amber);
    }

    #[test]
    fn the_worst_colour_is_the_pairs() {
        let sets = [
            set(RoleState::Primary, Some(RoleState::Standby)),
            set(RoleState::Standby, None),
        ];
        let all = Redundancy {
            sets: sets.map(RedundancySet::judged).to_vec(),
            ..Redundancy::default()
        };
        let all = all.judged();
        assert_eq!((all.light, all.why.len()), (Light::Red, 1));
        let second = CLOCK_SKEW_US_MAX as i64;
        for (ahead, light) in [
            (None, Light::Green),
            (Some(second), Light::Green),
            (Some(-second), Light::Green),
            (Some(second + 1), Light::Amber),
            (Some(-second - 1), Light::Amber),
            (Some(i64::MIN), Light::Amber),
        ] {
            let group = HeartbeatGroup {
                redundancy_group: 1,
                clock_ahead_us: ahead,
                ..HeartbeatGroup::default()
            };
            let pair = Redundancy {
                heartbeats: vec![group],
                ..Redundancy::default()
            };
            assert_eq!(pair.judged().light, light, "{ahead:?}");
        }
        let unguarded = Redundancy {
            guard: Some(GuardProcess::default()),
            ..Redundancy::default()
        };
        assert_eq!(unguarded.judged().light, Light::Amber);
    }
}
