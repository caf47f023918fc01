//! The guard process and the thread that carries out what roles mean outside the dataplane, as the daemon has them: there
//! with a redundancy group, and in the right order at start and stop.

use std::sync::Arc;

use ha_sync::net::Bind;

use super::outward;
use crate::api::model::{
    GuardProcess, Outside, RedundancySet, SignalRouteOfSet, TrackFileOfSet, VirtualAddressOfSet,
};
use crate::config::Config;
use crate::guard::{GuardError, Keeper, Program};
use crate::kernel::{Carriers, KernelRoute, KernelTarget, SignalRouteError};
use crate::srd::{Order, Orders, Srd};
use crate::track_file;

/// Starts the guard if the configuration has a redundancy group. Before anything else is opened.
pub(super) fn start_guard(config: &Config, json: bool) -> Result<Option<Arc<Keeper>>, GuardError> {
    if config.redundancy.groups.is_empty() {
        return Ok(None);
    }
    let program = Program::own(json, needs_namespaces(config));
    Ok(Some(Arc::new(Keeper::start(program)?)))
}

/// Whether some way to the other chassis leads through a named network namespace: each link has a binding of its own. No reload
/// changes this.
fn needs_namespaces(config: &Config) -> bool {
    let groups = config.redundancy.groups.iter();
    let mut binds = groups.flat_map(|group| {
        let links = group.links.iter().map(|link| &link.bind);
        links.chain([&group.bind])
    });
    binds.any(|bind| matches!(bind, Bind::Namespace(_)))
}

fn signal_route(route: &KernelRoute) -> SignalRouteOfSet {
    let target = match route.target {
        KernelTarget::NextHop { gateway, ifindex } => {
            let via = gateway.map(|gateway| format!("via {gateway}"));
            let device = ifindex.map(|ifindex| format!("dev {ifindex}"));
            via.into_iter().chain(device).collect::<Vec<_>>().join(" ")
        }
        KernelTarget::Discard => "discard".to_owned(),
        KernelTarget::Receive { .. } => "receive".to_owned(),
    };
    SignalRouteOfSet {
        prefix: route.prefix,
        table: route.table,
        target,
    }
}

/// Guard and thread, if there is a redundancy group; and the taps' carriers, which roles and ports both have a say in.
pub(super) struct Actions(Option<(Arc<Keeper>, Srd)>, Arc<Carriers>);

impl Actions {
    /// Removes stale signal routes, and starts the thread, which makes tracking files say that nobody is primary here: VRRP must not
    /// find what an earlier process has left when the taps come.
    pub(super) fn start(guard: Option<&Arc<Keeper>>, config: &Config) -> Result<Self, SignalRouteError> {
        let carriers = Arc::<Carriers>::default();
        let Some(guard) = guard else {
            return Ok(Self(None, carriers));
        };
        let srd = Srd::start(Some(Arc::clone(guard)), Arc::clone(&carriers))?;
        srd.orders().give(Order::Plans(outward::plans(config, |_| None)));
        Ok(Self(Some((Arc::clone(guard), srd)), carriers))
    }

    /// The taps' carriers.
    pub(super) fn carriers(&self) -> Arc<Carriers> {
        Arc::clone(&self.1)
    }

    /// Where orders go, if there is somebody to take them.
    pub(super) fn orders(&self) -> Option<Orders> {
        self.0.as_ref().map(|(_, srd)| srd.orders())
    }

    /// Gives an order, if there is somebody to take it.
    pub(super) fn order(&self, order: Order) {
        if let Some((_, srd)) = &self.0 {
            srd.orders().give(order);
        }
    }

    /// Why nobody carries out roles any more outside the dataplane. To be asked while nobody was told to end.
    pub(super) fn has_failed(&self) -> Option<&'static str> {
        let (_, srd) = self.0.as_ref()?;
        (!srd.is_alive()).then_some("the thread that moves virtual addresses and signal routes has ended")
    }

    /// What is wrong, for the health check.
    pub(super) fn fault(&self) -> Option<String> {
        let (guard, srd) = self.0.as_ref()?;
        if let Some(why) = self.has_failed() {
            return Some(why.into());
        }
        let state = guard.state();
        if state.pid.is_none() {
            let how = state.last_end.unwrap_or_default();
            return Some(format!(
                "no guard process runs (the last: {how}); if tandemd dies now, its signal routes stay"
            ));
        }
        if state.is_outdated {
            let why = "the guard has an older list of what to undo: the latest is too long; if tandemd dies now, some of it stays";
            return Some(why.into());
        }
        let failures = srd.results().into_iter().flat_map(|(set, actions)| {
            let told = move |failure| format!("redundancy set {set}: {failure}");
            actions.failures.into_iter().map(told)
        });
        let failures: Vec<String> = failures.collect();
        (!failures.is_empty()).then(|| failures.join("; "))
    }

    /// How the guard is, if there is one.
    pub(super) fn guard(&self) -> Option<GuardProcess> {
        let state = self.0.as_ref()?.0.state();
        Some(GuardProcess {
            pid: state.pid,
            restarts: state.restarts,
            last_end: state.last_end,
        })
    }

    /// What the sets' roles did outside the dataplane, in the order of `sets`.
    pub(super) fn show(&self, config: &Config, sets: &mut [RedundancySet]) {
        let mut results = self.0.as_ref().map(|(_, srd)| srd.results()).unwrap_or_default();
        for row in sets {
            let actions = results.remove(&row.id).unwrap_or_default();
            let configured = config.redundancy.set(row.id);
            let planned = configured.iter().flat_map(|set| &set.virtual_addresses);
            row.outside = Outside {
                virtual_addresses: planned
                    .map(|planned| VirtualAddressOfSet {
                        interface: planned.interface.clone(),
                        address: planned.address.address,
                        in_place: actions
                            .addresses
                            .iter()
                            .any(|there| there.address.address == planned.address.address),
                    })
                    .collect(),
                signal_routes: actions.routes.iter().map(signal_route).collect(),
                track_file: actions.track_file.map(|(path, is_primary)| TrackFileOfSet {
                    path: path.display().to_string(),
                    number: track_file::number(is_primary),
                }),
                ports_down: actions.hidden.into_iter().map(|port| port.interface).collect(),
                failures: actions.failures,
                took_ms: u64::try_from(actions.took.as_millis()).unwrap_or(u64::MAX),
            };
        }
    }

    /// Takes out what there is, while the taps are still there.
    pub(super) fn stop(&self) {
        if let Some((_, srd)) = &self.0 {
            srd.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::daemon::running::tests::GOOD;

    #[test]
    fn the_guard_may_enter_namespaces_if_the_group_or_one_of_its_links_is_in_one() {
        let with = |group: &str, link: &str| {
            let text = format!(
                "{GOOD}[redundancy-groups.1]\nredundancy-local = \"5.5.5.1\"\nredundancy-peer = \"5.5.5.2\"\nsecurity = \"none\"\n{group}\n\
                 [[redundancy-groups.1.links]]\nkind = \"secondary\"\nlocal = \"6.6.6.1\"\npeer = \"6.6.6.2\"\n{link}\n"
            );
            config::parse(&text, "t.toml").unwrap_or_else(|faults| panic!("{faults:#?}"))
        };
        let namespace = "routing-instance = { namespace = \"ha\" }";
        for (group, link, needs) in [
            ("", "", false),
            ("routing-instance = { vrf = \"ha\" }", "interface = \"p0\"", false),
            (namespace, "", true),
            ("", namespace, true),
            ("interface = \"p0\"", namespace, true),
        ] {
            let config = with(group, link);
            assert_eq!(needs_namespaces(&config), needs, "{group} {link}");
            let later = config::check_reload(&with("", ""), &config);
            assert_eq!(
                later.is_err(),
                !(group.is_empty() && link.is_empty()),
                "{group} {link}"
            );
        }
    }
}
