//! What follows from what monitors see: edges of events become weights and warnings of redundancy sets, actions of policies, and
//! signal routes that come and go.
//!
//! Pure: whoever drives it hands in what was seen and the time, and carries out what it gives back. An action follows when one
//! event of its policy becomes active, or this chassis has part in one that the peer alone had made active; once for each. A change
//! of weight or another configuration is no such moment.

use std::collections::{BTreeMap, BTreeSet};

use tandem_redundancy::monitor::Weights;

use super::condition::Observation;
use super::event::{Edge, Events};
use super::links::Links;
use super::weights;
use crate::config::{PolicyAction, Redundancy};

/// What monitors say of a redundancy set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetMonitored {
    /// Its number.
    pub set: u8,
    /// Sum of the weights of what has failed in its events.
    pub failed_weight: u32,
    /// One of its events is active, and not by what the peer does alone.
    pub is_warned: bool,
    /// Such an event is of a policy that releases the role.
    pub releases: bool,
    /// One is active of a policy that warns the peer, if only by what the peer does.
    pub broadcasts: bool,
}

/// An action that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueAction {
    /// The redundancy set it is for.
    pub set: u8,
    /// Whose it is.
    pub policy: String,
    /// What is to be done.
    pub action: PolicyAction,
    /// The event and what made it active, for people.
    pub cause: String,
}

/// An edge, and the redundancy set whose policy has its event, if one has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetEdge {
    /// The set.
    pub set: Option<u8>,
    /// The edge.
    pub edge: Edge,
}

/// What follows from a look, in the order to be carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// What became active or inactive, or weighs otherwise.
    pub edges: Vec<SetEdge>,
    /// Policies of which an event is active now, or none any more.
    pub policies: Vec<(String, bool)>,
    /// What policies want done.
    pub actions: Vec<DueAction>,
}

/// Where an event belongs.
#[derive(Debug, Default)]
struct Place {
    set: Option<u8>,
    policy: Option<String>,
    action: Option<PolicyAction>,
}

/// Events, weights and policies of a configuration.
#[derive(Debug)]
pub struct Consequences {
    links: Links,
    events: Events,
    weights: Weights,
    places: BTreeMap<String, Place>,
    sets: Vec<u8>,
    /// Events that are active, and whether each warns.
    active: BTreeMap<String, bool>,
    /// Policies of which one is, as was told.
    told: BTreeSet<String>,
}

impl Consequences {
    /// Of a configuration, with nothing seen yet.
    #[must_use]
    pub fn new(redundancy: &Redundancy) -> Self {
        let mut weights = Weights::default();
        weights::follow(&mut weights, redundancy);
        Self {
            links: Links::new(redundancy),
            events: Events::new(redundancy),
            weights,
            places: places(redundancy),
            sets: redundancy.sets.iter().map(|set| set.id).collect(),
            active: BTreeMap::new(),
            told: BTreeSet::new(),
        }
    }

    /// Takes over another configuration. What an event saw stays so, and no action follows from it. What has failed and was in no event
    /// is seen by those that have it now as if it failed at this moment.
    pub fn reload(&mut self, now_ms: u64, redundancy: &Redundancy) -> Followed {
        let (mut seen, mut edges) = (Vec::new(), Vec::new());
        self.places = places(redundancy);
        self.sets = redundancy.sets.iter().map(|set| set.id).collect();
        weights::follow(&mut self.weights, redundancy);
        self.events.reload(now_ms, redundancy, &mut edges);
        let mut followed = self.follow(edges, false);
        self.links.reload(redundancy, &mut seen);
        // First what the configuration changed: a zone that it made well has not failed any more.
        let changed = self.observe(now_ms, &seen);
        let again = self.observe(now_ms, &self.events.failed());
        for later in [changed, again] {
            followed.edges.extend(later.edges);
            followed.policies.extend(later.policies);
            followed.actions.extend(later.actions);
        }
        followed
    }

    /// The link of an interface is up or down.
    pub fn link(&mut self, now_ms: u64, interface: &str, up: bool) -> Followed {
        let mut seen = Vec::new();
        self.links.report(interface, up, &mut seen);
        self.observe(now_ms, &seen)
    }

    /// Monitors saw something.
    pub fn observe(&mut self, now_ms: u64, seen: &[Observation]) -> Followed {
        let mut edges = Vec::new();
        for observation in seen {
            self.events.observe(now_ms, observation, &mut edges);
        }
        self.follow(edges, true)
    }

    /// Time has passed.
    pub fn poll(&mut self, now_ms: u64) -> Followed {
        let mut edges = Vec::new();
        self.events.poll(now_ms, &mut edges);
        self.follow(edges, true)
    }

    /// When [`Consequences::poll`] has something to do next, if nothing is seen until then.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        self.events.due_ms()
    }

    /// What is so now of each set.
    #[must_use]
    pub fn sets(&self) -> Vec<SetMonitored> {
        let of = |set: &u8| {
            let active = |own: bool| {
                let active = self.active.iter().filter(move |(_, warns)| **warns || !own);
                let places = active.filter_map(|(event, _)| self.places.get(event));
                places.filter(|place| place.set == Some(*set))
            };
            let (warning, any) = (|| active(true), || active(false));
            SetMonitored {
                set: *set,
                failed_weight: self.weights.of_set(*set),
                is_warned: warning().next().is_some(),
                releases: warning().any(|place| place.action.is_some_and(PolicyAction::is_release)),
                broadcasts: any().any(|place| place.action == Some(PolicyAction::BroadcastWarning)),
            }
        };
        self.sets.iter().map(of).collect()
    }

    /// Sum of the weights of all that has failed.
    #[must_use]
    pub fn chassis_failed_weight(&self) -> u32 {
        self.weights.of_chassis()
    }

    fn follow(&mut self, edges: Vec<Edge>, acts: bool) -> Followed {
        let mut followed = Followed::default();
        for edge in edges {
            self.weights.take(&edge);
            let before = if edge.active {
                self.active.insert(edge.event.clone(), edge.warns)
            } else {
                self.active.remove(&edge.event)
            };
            let is_new = edge.active && before.is_none_or(|warned| edge.warns && !warned);
            let place = self.places.get(&edge.event);
            let set = place.and_then(|place| place.set);
            if let Some(place) = place.filter(|_| is_new && acts)
                && let (Some(set), Some(policy), Some(action)) = (place.set, &place.policy, place.action)
            {
                followed.actions.push(DueAction {
                    set,
                    policy: policy.clone(),
                    action,
                    cause: format!("event {}: {}", edge.event, edge.cause),
                });
            }
            followed.edges.push(SetEdge { set, edge });
        }
        let policy = |event: &String| self.places.get(event).and_then(|place| place.policy.clone());
        let now: BTreeSet<String> = self.active.keys().filter_map(policy).collect();
        let gone = self.told.difference(&now).map(|policy| (policy.clone(), false));
        let come = now.difference(&self.told).map(|policy| (policy.clone(), true));
        followed.policies = gone.chain(come).collect();
        self.told = now;
        followed
    }
}

fn places(redundancy: &Redundancy) -> BTreeMap<String, Place> {
    let place = |event: &crate::config::RedundancyEvent| {
        let mut policies = redundancy.policies.iter();
        let policy = policies.find(|policy| policy.events.contains(&event.name));
        let set = policy.and_then(|policy| {
            let mut sets = redundancy.sets.iter();
            sets.find(|set| set.policies.contains(&policy.name))
        });
        Place {
            set: set.map(|set| set.id),
            policy: policy.map(|policy| policy.name.clone()),
            action: policy.and_then(|policy| policy.action),
        }
    };
    let events = redundancy.events.iter();
    events.map(|event| (event.name.clone(), place(event))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::monitor::Condition;

    fn redundancy(more: &str) -> Redundancy {
        with_policy("p", more)
    }

    fn with_policy(policy: &str, more: &str) -> Redundancy {
        let text = format!(
            "[interfaces.a]\ndevice = \"net_ring0\"\naddresses = [\"10.0.0.1/24\"]\n[interfaces.b]\ndevice = \"net_ring1\"\n[interfaces.c]\ndevice = \"net_ring2\"\n\
             [redundancy-groups.1]\nredundancy-local = \"5.5.5.1\"\nredundancy-peer = \"5.5.5.2\"\nsecurity = \"none\"\n\
             [redundancy-sets.1]\nredundancy-group = 1\npolicies = [\"{policy}\"]\n{more}"
        );
        config::parse(&text, "t.toml")
            .unwrap_or_else(|faults| panic!("{faults:#?}"))
            .redundancy
    }

    const TWO: &str = "[redundancy-policies.p]\nevents = [\"x\", \"y\"]\naction = \"release-primary-role\"\n\
                       [redundancy-events.x]\nlinks = [\"a\", \"b\"]\nlink-weight = 100\n\
                       [redundancy-events.y]\nlinks = [\"c\"]\nlink-weight = 50\nhold-s = 1\n";

    fn texts(followed: &Followed) -> Vec<String> {
        let actions = followed.actions.iter();
        let actions =
            actions.map(|one| format!("{} {} {}: {}", one.set, one.policy, one.action.name(), one.cause));
        let policies = followed.policies.iter();
        let policies = policies.map(|(policy, is_active)| format!("{policy} {is_active}"));
        policies.chain(actions).collect()
    }

    fn now(of: &Consequences) -> (u32, bool, u32) {
        let set = of.sets()[0];
        (set.failed_weight, set.is_warned, of.chassis_failed_weight())
    }

    #[test]
    fn an_event_that_becomes_active_weighs_warns_and_acts_once() {
        let mut all = Consequences::new(&redundancy(TWO));
        let down = all.link(0, "a", false);
        let acts = "1 p release-primary-role: event x: link of a is down";
        assert_eq!(texts(&down), ["p true", acts]);
        assert_eq!((down.edges[0].set, now(&all)), (Some(1), (100, true, 100)));
        assert_eq!(texts(&all.link(1, "b", false)), [""; 0], "it is active already");
        assert_eq!(now(&all), (200, true, 200));
        assert_eq!(
            (texts(&all.link(2, "c", false)), all.due_ms()),
            (vec![], Some(1002))
        );
        let held = all.poll(1002);
        assert_eq!(
            texts(&held),
            ["1 p release-primary-role: event y: link of c is down"],
            "the policy was active, and this is another of its events"
        );
        assert_eq!(now(&all), (250, true, 250));
        let (_, one) = (all.link(2000, "a", true), all.link(2000, "b", true));
        assert_eq!((texts(&one), now(&all)), (vec![], (50, true, 50)));
        all.link(2000, "c", true);
        assert_eq!(
            (texts(&all.poll(3000)), now(&all)),
            (vec!["p false".to_owned()], (0, false, 0))
        );
        assert_eq!(texts(&all.link(4000, "a", false)), ["p true", acts], "again");
    }

    #[test]
    fn what_the_peer_does_makes_no_warning_of_this_chassis() {
        let mut all = Consequences::new(&redundancy(
            "[redundancy-policies.p]\nevents = [\"x\"]\naction = \"release-primary-role\"\n\
             [redundancy-events.x]\nrouting-process = [\"frr\"]\npeer = [\"warned\"]\n",
        ));
        let peer = || Condition::Peer(config::PeerEvent::Warned, Some(1));
        let frr = || Condition::Routing("frr".into());
        let now = |of: &Consequences| (of.sets()[0].is_warned, of.sets()[0].releases);
        let warned = all.observe(0, &[Observation::Failed(peer(), "the peer warns".into())]);
        assert_eq!((warned.actions.len(), now(&all)), (1, (false, false)));
        let failed = all.observe(1, &[Observation::Failed(frr(), "frr is gone".into())]);
        assert_eq!(
            texts(&failed),
            ["1 p release-primary-role: event x: frr is gone"],
            "the event was active, and this is the first of it here"
        );
        assert_eq!(now(&all), (true, true));
        // It is over here, the other chassis warns because this one did, and neither is left with a warning.
        let well = all.observe(2, &[Observation::Well(frr(), "frr is back".into())]);
        assert_eq!(
            (well.actions.len(), well.edges.len(), now(&all)),
            (0, 1, (false, false))
        );
        all.observe(3, &[Observation::Well(peer(), "the peer warns no more".into())]);
        assert_eq!(all.events.active().count(), 0);
    }

    #[test]
    fn a_policy_that_warns_the_peer_does_so_for_what_the_peer_did_as_well_and_others_do_not() {
        let with = |action: &str| {
            let text = format!(
                "[redundancy-policies.p]\nevents = [\"x\"]\naction = \"{action}\"\n\
                 [redundancy-events.x]\nlinks = [\"a\"]\npeer = [\"lost\"]\n"
            );
            Consequences::new(&redundancy(&text))
        };
        let now = |of: &Consequences| (of.sets()[0].is_warned, of.sets()[0].broadcasts);
        let lost = || Condition::Peer(config::PeerEvent::Lost, None);
        let mut warns = with("broadcast-warning");
        warns.observe(0, &[Observation::Failed(lost(), "the peer is lost".into())]);
        assert_eq!(now(&warns), (false, true));
        warns.observe(1, &[Observation::Well(lost(), "the peer is heard".into())]);
        assert_eq!(now(&warns), (false, false));
        warns.link(2, "a", false);
        assert_eq!(now(&warns), (true, true));
        let mut releases = with("release-primary-role");
        releases.link(0, "a", false);
        assert_eq!(now(&releases), (true, false));
    }

    #[test]
    fn what_belongs_to_no_set_weighs_on_the_chassis_alone() {
        let mut all = Consequences::new(&redundancy(
            "[redundancy-policies.p]\nevents = [\"x\"]\naction = \"broadcast-warning\"\n[redundancy-events.x]\nlinks = [\"a\"]\n\
             [redundancy-events.alone]\nlinks = [\"b\"]\nlink-weight = 7\n",
        ));
        let down = all.link(0, "b", false);
        assert_eq!(
            (texts(&down), down.edges[0].set, now(&all)),
            (vec![], None, (0, false, 7))
        );
    }

    #[test]
    fn what_happens_acts_and_leaves_nothing_behind() {
        let mut all = Consequences::new(&redundancy(
            "[redundancy-policies.p]\nevents = [\"x\"]\naction = \"broadcast-warning\"\n[redundancy-events.x]\nservice-failure = true\n",
        ));
        let restarted = Observation::Happened(Condition::Service, "restarted".into());
        let followed = all.observe(0, &[restarted]);
        assert_eq!(texts(&followed), ["1 p broadcast-warning: event x: restarted"]);
        assert_eq!((followed.edges.len(), now(&all)), (2, (0, false, 0)));
    }

    #[test]
    fn a_reload_keeps_what_is_down_and_acts_not() {
        let mut all = Consequences::new(&redundancy(TWO));
        all.link(0, "a", false);
        let other = TWO.replace("link-weight = 100", "link-weight = 30");
        let other = with_policy("q", &other.replace("policies.p", "policies.q"));
        assert_eq!(texts(&all.reload(1, &other)), ["p false", "q true"]);
        assert_eq!(now(&all), (30, true, 30));
        let none = redundancy(
            "[redundancy-policies.p]\nevents = [\"y\"]\naction = \"broadcast-warning\"\n[redundancy-events.y]\nlinks = [\"c\"]\n",
        );
        let gone = all.reload(2, &none);
        assert_eq!(
            (texts(&gone), now(&all)),
            (vec!["q false".to_owned()], (0, false, 0))
        );
    }

    #[test]
    fn what_is_down_when_a_reload_begins_to_monitor_it_weighs_and_acts() {
        let objects = "[zones.z]\ninterfaces = [\"b\"]\nweight = 9\n[tracked-ips.t]\naddresses = [{ address = \"10.0.0.7\"}]\nweight = 7\n";
        let with = |keys: &str| {
            redundancy(&format!(
                "[redundancy-policies.p]\nevents = [\"x\"]\naction = \"broadcast-warning\"\n[redundancy-events.x]\n{keys}\n{objects}"
            ))
        };
        let unwatched = with("links = [\"c\"]");
        for (keys, weight) in [
            ("links = [\"a\", \"c\"]\nlink-weight = 100", 100),
            ("zones = [\"z\"]", 9),
            ("tracked = [\"t\"]", 7),
            ("service-failure = true", 0),
            ("peer = [\"lost\"]", 0),
        ] {
            let mut all = Consequences::new(&unwatched);
            all.link(0, "a", false);
            all.link(0, "b", false);
            let lost = Condition::Peer(crate::config::PeerEvent::Lost, None);
            for condition in [Condition::Tracked("t".into()), Condition::Service, lost] {
                all.observe(0, &[Observation::Failed(condition, "gone".into())]);
            }
            assert_eq!(now(&all), (0, false, 0), "{keys}: nobody's");
            let followed = all.reload(1, &with(keys));
            assert_eq!(followed.actions.len(), 1, "{keys}: {followed:?}");
            // What the peer does is no warning of this chassis.
            let warns = !keys.starts_with("peer");
            assert_eq!(now(&all), (weight, warns, weight), "{keys}");
            assert_eq!(
                texts(&all.reload(2, &with(keys))),
                [""; 0],
                "{keys}: known by now"
            );
        }
    }

    #[test]
    fn what_is_well_again_or_was_gone_between_is_well_for_a_reload() {
        let zone = "[zones.z]\ninterfaces = [\"a\"]\n";
        let with = |keys: &str| {
            redundancy(&format!(
                "[redundancy-policies.p]\nevents = [\"x\"]\naction = \"broadcast-warning\"\n[redundancy-events.x]\n{keys}\n"
            ))
        };
        let mut all = Consequences::new(&with(&format!("links = [\"c\"]\n{zone}")));
        let tracked = "tracked = [\"t\"]\n[tracked-ips.t]\naddresses = [{ address = \"10.0.0.7\"}]\n";
        all.link(0, "a", false);
        all.link(1, "a", true);
        // A last word of an object that the configuration has no more.
        let late = Observation::Failed(Condition::Tracked("t".into()), "late".into());
        all.observe(2, &[late]);
        for keys in ["links = [\"a\"]", &format!("zones = [\"z\"]\n{zone}"), tracked] {
            assert_eq!(texts(&all.reload(3, &with(keys))), [""; 0], "{keys}");
            assert_eq!(now(&all), (0, false, 0), "{keys}");
        }
    }

    #[test]
    fn a_zone_that_a_reload_makes_fail_acts() {
        let zones = |list: &str| {
            redundancy(&format!(
                "[redundancy-policies.p]\nevents = [\"x\"]\naction = \"broadcast-warning\"\n[redundancy-events.x]\nzones = [\"z\"]\n[zones.z]\ninterfaces = [{list}]\nweight = 9\n"
            ))
        };
        let mut all = Consequences::new(&zones("\"a\", \"b\""));
        assert_eq!(texts(&all.link(0, "a", false)), [""; 0]);
        let followed = all.reload(1, &zones("\"a\""));
        assert_eq!(followed.actions.len(), 1, "{followed:?}");
        assert_eq!(now(&all), (9, true, 9));
    }
}
