//! Two chassis, one set of sessions: what this engine tells the other chassis of, and what it takes over from it.
//!
//! ```text
//!   set-up, timer, state ----> emit.rs ---+--> outbox ring            inbox ring --> install.rs (a session, a mapping)
//!   endings, ports ----------> emit.rs ---+--> backlog, when full          |-------> roles.rs   (primary or standby)
//!   what found no room, bulk -> bulk.rs --'    (order is kept)             '-------> bulk.rs    (a bulk, and its sweep)
//! ```
//!
//! Nothing here is on the way of an established packet. A session of a replicated service set is put into the timing wheel at
//! its threshold age; when that comes up, the other chassis is told, and from then on of each change. A session that finds
//! the outbox full is marked, and a walk over the table tells it when there is room; endings wait in a bounded backlog, and
//! while anything waits there, nothing overtakes it. When the backlog is full, too, [`Op::Lost`] says that only a new bulk
//! makes the other chassis right again.

mod ahead;
mod blocks;
mod bulk;
mod contest;
mod drain;
mod emit;
mod endings;
mod ground;
mod held;
mod install;
mod leaving;
mod merge;
mod merged;
mod missing;
mod offer;
mod others;
mod roles;
mod settled;
mod tables;

use std::collections::VecDeque;

use rtrb::Producer;

pub(super) use self::emit::has_mapping;
pub use self::held::HeldBack;
pub use self::install::NotInstalled;

use self::bulk::{Bulk, Sweep};
use self::contest::Contested;
use self::held::Held;
use self::leaving::Leaving;
use self::merged::Merging;
use self::missing::Missing;
use self::others::Awaited;
use self::roles::SetRole;
use self::settled::Settled;
use super::Engine;
use crate::program::{PoolId, ServiceSetId};
use crate::replica::{ObjectTypes, Op};
use crate::session::{FLAG_REPLICATED, NO_RECORD};
use crate::ticks::Ticks;

/// Endings that can wait for room on the outbox.
pub const BACKLOG: usize = 65_536;
/// Records looked at per call of [`Engine::maintain`] by the walks of replication.
const WALK_STEP: u32 = 512;

/// What replication keeps beside the tables.
#[derive(Debug, Default)]
pub(super) struct Replica {
    outbox: Option<Producer<Op>>,
    /// Somebody takes what is put out.
    listening: bool,
    /// What waits for room on the outbox, oldest first.
    backlog: VecDeque<Op>,
    /// Something found no room in the backlog.
    lost: bool,
    /// Sessions marked to be told later, and where the walk that looks for them goes on.
    marked: u32,
    walk_at: u32,
    held: Held,
    bulk: Option<Bulk>,
    sweep: Option<Sweep>,
    /// Number of the bulk that installed things are of, and the types of objects it tells.
    epoch: u16,
    incoming: ObjectTypes,
    /// The same of each mapping, block and extent.
    mapping_epochs: Vec<u16>,
    block_epochs: Vec<u16>,
    extent_epochs: Vec<u16>,
    /// What waits for ports that others have here.
    contested: Contested,
    /// What waits until another worker here has given something up.
    awaited: Awaited,
    /// Extents the other chassis gave back that are still in use here.
    leaving: Leaving,
    missing: Missing,
    merging: Merging,
    settled: Settled,
    /// Where the walk that frees what a standby does not need has come to.
    shrink_at: u32,
    /// By service set id.
    roles: Vec<SetRole>,
    /// Roles taken up that are to be reported: service set and number of the change.
    done: VecDeque<(ServiceSetId, u32)>,
    /// Pools, and the service sets that use them or did under a former program.
    former_pools: Vec<(PoolId, ServiceSetId)>,
    /// When mappings that were kept over a takeover without sessions are looked at, and where that has come to.
    kept_until: Ticks,
    kept_at: u32,
}

impl Replica {
    /// Whether no session waits to be told. While nobody listens, none does.
    const fn has_told_marked(&self) -> bool {
        self.marked == 0 || !self.listening
    }

    /// Room for the roles of all service sets there can be, so that the first role of one takes no memory between bursts.
    /// Pages that no id comes to are never touched.
    fn reserve_roles(&mut self) {
        self.roles.reserve_exact(usize::from(ServiceSetId::MAX) + 1);
        self.done.reserve_exact(BACKLOG);
    }

    /// The part played for a service set, to change.
    fn role_mut(&mut self, set: ServiceSetId) -> &mut SetRole {
        let at = usize::from(set);
        if self.roles.len() <= at {
            self.roles.resize(at + 1, SetRole::default());
        }
        &mut self.roles[at]
    }
}

impl Engine {
    /// Sets up replication: what happens goes to `outbox` once somebody listens ([`Op::Listen`]). Takes the memory it needs,
    /// so call it before packets come.
    pub fn connect(&mut self, outbox: Producer<Op>) {
        self.replica.outbox = Some(outbox);
        self.replica.backlog.reserve_exact(BACKLOG);
        let (mappings, (_, blocks)) = (self.mappings.capacity(), self.ports.block_use());
        self.replica.mapping_epochs.resize(mappings as usize, 0);
        self.replica.block_epochs.resize(blocks as usize, 0);
        let extents = self.config.max_extents as usize * self.ports.count();
        self.replica.extent_epochs.resize(extents, 0);
        self.replica.leaving.reserve(extents);
        self.replica.kept_at = NO_RECORD;
        self.replica.shrink_at = NO_RECORD;
        self.replica.contested.reserve();
        self.replica.merging.reserve();
        self.replica.awaited.reserve();
        self.replica.reserve_roles();
        self.replicates = true;
    }

    /// Whether replication has nothing left to do or to put out that [`Engine::maintain`] could go on with.
    #[must_use]
    pub fn has_told_all(&self) -> bool {
        let replica = &self.replica;
        replica.backlog.is_empty()
            && !replica.lost
            && replica.has_told_marked()
            && replica.bulk.is_none()
            && replica.sweep.is_none()
            && replica.contested.is_empty()
            && replica.merging.is_reported()
            && replica.done.is_empty()
    }

    /// A step of everything replication does between bursts.
    pub(super) fn replicate(&mut self) {
        self.tell_ports();
        self.mark();
        if self.drain_backlog() {
            self.walk_marked();
            self.walk_bulk();
            self.report_roles();
        }
        self.settle_awaited();
        self.settle_contested();
        self.sweep();
        self.end_leaving();
        self.end_drains();
        self.shrink();
        self.tell_missing();
        self.tell_merged();
        self.ask_for_missing();
        self.end_kept_mappings();
        self.show_held();
    }

    /// When a session comes up in the wheel, when that is not its deadline: a standby's come up to be put back, one that the
    /// other chassis shall be told of at its threshold age.
    pub(super) fn look_at(&self, number: u32, deadline: Ticks) -> Ticks {
        let Some(hot) = self.sessions.hot(number) else {
            return deadline;
        };
        if self.is_kept(hot) {
            return self.now.plus(self.timeout(hot));
        }
        match self.told_from(number) {
            Some(from) if from < deadline => from,
            _ => deadline,
        }
    }

    /// A session came up in the wheel. Whether it is not over: then it was put back.
    pub(super) fn look(&mut self, number: u32, deadline: Ticks) -> bool {
        let Some(hot) = self.sessions.hot(number).copied() else {
            return false;
        };
        if !self.is_kept(&hot) {
            if deadline <= self.now {
                return false;
            }
            let is_old_enough = self.told_from(number).is_some_and(|from| from <= self.now);
            // Put back because packets refreshed it, or the wheel is short: how long it lives on is told along the way.
            if is_old_enough || hot.flags & FLAG_REPLICATED != 0 {
                self.tell_if_primary(number);
            }
        }
        let next = self.look_at(number, deadline);
        self.wheel.insert(self.sessions.links(), number, next);
        true
    }

    /// A session was written. When it comes up in the wheel.
    #[inline(never)]
    pub(super) fn written(&mut self, number: u32, deadline: Ticks) -> Ticks {
        match self.told_from(number) {
            Some(from) if from <= self.now => {
                self.tell_if_primary(number);
                deadline
            }
            Some(from) if from < deadline => from,
            _ => deadline,
        }
    }

    /// From when on the other chassis shall know a session that it does not know; `None` when it knows it, or never shall.
    fn told_from(&self, number: u32) -> Option<Ticks> {
        let (hot, cold) = (self.sessions.hot(number)?, self.sessions.cold(number)?);
        if hot.flags & FLAG_REPLICATED != 0 || !self.replica.listening {
            return None;
        }
        let replication = &self.service_set(hot.service_set)?.replication;
        let threshold = replication.threshold?;
        replication
            .includes(cold.term, cold.policy)
            .then(|| Ticks(cold.created).plus(threshold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_of_any_service_set_takes_no_memory_once_there_is_room() {
        let mut replica = Replica::default();
        replica.reserve_roles();
        let room = (replica.roles.capacity(), replica.done.capacity());
        for set in [1, 300, ServiceSetId::MAX] {
            replica.role_mut(set).since = Ticks(7);
            replica.done.push_back((set, 1));
        }
        assert_eq!(room, (replica.roles.capacity(), replica.done.capacity()));
        assert_eq!(replica.roles.len(), 65_536);
    }
}
