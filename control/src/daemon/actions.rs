//! The guard process and the thread that carries out what roles mean outside the dataplane, as the daemon has them: there
//! with a redundancy group, and in the right order at start and stop.

use std::sync::Arc;

use ha_sync::net::Bind;

use crate::config::Config;
use crate::guard::{GuardError, Keeper, Program};
use crate::kernel::SignalRouteError;
use crate::srd::{Order, Orders, Srd};

/// Starts the guard if the configuration has a redundancy group. Before anything else is opened.
pub(super) fn start_guard(config: &Config, json: bool) -> Result<Option<Arc<Keeper>>, GuardError> {
    let groups = &config.redundancy.groups;
    if groups.is_empty() {
        return Ok(None);
    }
    let namespaces = groups
        .iter()
        .any(|group| matches!(group.bind, Bind::Namespace(_)));
    Ok(Some(Arc::new(Keeper::start(Program::own(json, namespaces))?)))
}

/// Guard and thread, if there is a redundancy group.
pub(super) struct Actions(Option<(Arc<Keeper>, Srd)>);

impl Actions {
    /// Removes stale signal routes, and starts the thread.
    pub(super) fn start(guard: Option<&Arc<Keeper>>) -> Result<Self, SignalRouteError> {
        let Some(guard) = guard else { return Ok(Self(None)) };
        let srd = Srd::start(Some(Arc::clone(guard)))?;
        Ok(Self(Some((Arc::clone(guard), srd))))
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
        let failures = srd.results().into_iter().flat_map(|(set, actions)| {
            let told = move |failure| format!("redundancy set {set}: {failure}");
            actions.failures.into_iter().map(told)
        });
        let failures: Vec<String> = failures.collect();
        (!failures.is_empty()).then(|| failures.join("; "))
    }

    /// Takes out what there is, while the taps are still there.
    pub(super) fn stop(&self) {
        if let Some((_, srd)) = &self.0 {
            srd.stop();
        }
    }
}
