//! What rests after a takeover: extents that the old primary was leased, or that rested there, each until its own time.
//!
//! ```text
//!   A gives out E, and is lost    B: E rests until t1. It tells A, which is back: Resting(E, t1)
//!   B is lost before t1           A: of E nothing was given out meanwhile, so it rests until t1, and not anew
//!   t1 passes at B                E is free there; before it is given out again it is offered, and A has acknowledged that
//! ```
//!
//! A chassis goes by what it was told only while it knows that the peer does: until the peer was silent for [`SILENT_MS`]. The peer, when
//! it has lost this one, ends no rest that it told of before [`GONE_MS`] have passed. docs/replication.md has the argument.

use std::collections::{BTreeSet, HashMap};

use tandem_engine::program::{PoolId, Program, ServiceSetId};
use tandem_engine::public_space::OWNER_PEER;
use tandem_engine::replica::{Lease, LeaseChange};
use tandem_engine::ticks::Ticks;

use super::plan::{self, Plan};
use super::{Keeper, is_owned};
use crate::bridge::BridgeStats;

/// What a lost peer may have given out rests at least so long. RFC 6888 REQ-8.
const REST_MS_MIN: u64 = 120_000;
/// So long after it last heard of the peer a chassis goes by what that said of rests.
const SILENT_MS: u64 = 60_000;
/// So long after the peer was last there no rest ends that it may go by.
const GONE_MS: u64 = 120_000;

/// How long what a peer may have given out rests under a quarantine, milliseconds.
pub(super) fn rest_ms(quarantine: Option<Ticks>) -> u64 {
    quarantine
        .map_or(0, |ticks| u64::from(ticks.0) * 100)
        .max(REST_MS_MIN)
}

/// What the peer had of a pool until we took it over.
#[derive(Clone, Copy, Debug)]
struct Rest {
    pool: PoolId,
    until_ms: u64,
    /// When the peer was last there, that may go by what it was told of this, if it was since the takeover.
    there_ms: Option<u64>,
}

/// What rests, and until when.
#[derive(Debug, Default)]
pub(super) struct Rests {
    tick_zero_ms: u64,
    pools: Vec<Rest>,
    /// What rests until a time of its own, milliseconds: as standby, what the peer said; as primary, what was taken over of that.
    ends: HashMap<Lease, u64>,
    /// The earliest of these times is not before.
    next_ms: u64,
    /// When the peer was last heard of.
    heard_ms: Option<u64>,
    connected: bool,
    /// Leases are required, so nothing is given out that the peer has not acknowledged.
    required: bool,
}

impl Rests {
    pub fn new(tick_zero_ms: u64) -> Self {
        Self {
            tick_zero_ms,
            ..Self::default()
        }
    }

    fn ticks(&self, ms: u64) -> Ticks {
        let ticks = ms.saturating_sub(self.tick_zero_ms).div_ceil(100);
        Ticks(u32::try_from(ticks).unwrap_or(u32::MAX).max(1))
    }

    fn ms(&self, ticks: Ticks) -> u64 {
        self.tick_zero_ms + u64::from(ticks.0) * 100
    }

    /// How it is with the peer.
    pub fn peer_is(&mut self, connected: bool, required: bool, now: u64) {
        (self.connected, self.required) = (connected, required);
        if connected {
            self.pools.iter_mut().for_each(|rest| rest.there_ms = Some(now));
        }
    }

    /// Whether nothing of what has rested is given out before the peer knows of it, or before it goes by what it was told no more.
    fn may_end(&self, rest: &Rest, now: u64) -> bool {
        let gone = |at: u64| now.saturating_sub(at) >= GONE_MS;
        self.required || !self.connected && rest.there_ms.is_none_or(gone)
    }

    /// The peer said so.
    pub fn told(&mut self, change: LeaseChange) {
        match change {
            LeaseChange::Resting(lease, until) => {
                let until = self.ms(until);
                self.ends.insert(lease, until);
                self.next_ms = self.next_ms.min(until);
            }
            LeaseChange::Offer(lease) | LeaseChange::Withdraw(lease) => drop(self.ends.remove(&lease)),
        }
    }

    /// Until when something rests that is marked as the peer's, of a pool that is primary here; `None`: nobody said.
    pub fn end(&self, pool: PoolId, lease: Lease) -> Option<Ticks> {
        let of_pool = || self.pools.iter().find(|rest| rest.pool == pool);
        let until = self.ends.get(&lease).copied();
        let until = until.or_else(|| of_pool().map(|rest| rest.until_ms))?;
        Some(self.ticks(until))
    }

    /// What the peer said counts no more.
    pub fn forget(&mut self, program: &Program, plan: &Plan) {
        let space = &program.public_space;
        let is_ours = |lease: &Lease| {
            let found = space.find(lease.public);
            found
                .and_then(|at| plan.of(at.pool))
                .is_some_and(|kept| kept.primary)
        };
        self.ends.retain(|lease, _| is_ours(lease));
    }

    /// These pools are standby here from now on: what rests, the new primary says.
    pub fn gave_up(&mut self, program: &Program, pools: &BTreeSet<PoolId>) {
        self.pools.retain(|rest| !pools.contains(&rest.pool));
        let is_of = |lease: &Lease| {
            let found = program.public_space.find(lease.public);
            found.is_none_or(|at| pools.contains(&at.pool))
        };
        self.ends.retain(|lease, _| !is_of(lease));
    }
}

impl Keeper {
    /// Something of the peer's came. True: it was silent for so long that what it said of rests counts no more.
    pub fn heard(&mut self, now: u64, program: &Program) -> bool {
        let forgets = self.forgets_rests(now, program);
        self.rests.heard_ms = Some(now);
        forgets
    }

    /// Forgets what the peer said of rests, if it has been silent for long. True: it has.
    pub fn forgets_rests(&mut self, now: u64, program: &Program) -> bool {
        let silent = |at: u64| now.saturating_sub(at) >= SILENT_MS;
        let forgets = self.rests.heard_ms.is_none_or(silent);
        if forgets {
            self.rests.forget(program, &self.plan);
        }
        forgets
    }

    /// These service sets are primary here from now on: what the peer may have given out of their pools rests first.
    pub fn took_over(&mut self, now: u64, program: &Program, service_sets: &[ServiceSetId]) {
        let pools = plan::pools_of(program, service_sets);
        for pool in &pools {
            let of = program.pools.iter().find(|p| p.id == *pool);
            self.rests.pools.retain(|rest| rest.pool != *pool);
            self.rests.pools.push(Rest {
                pool: *pool,
                until_ms: now + rest_ms(of.map(|p| p.quarantine)),
                there_ms: None,
            });
        }
        self.rests
            .ends
            .retain(|lease, _| is_owned(program, lease, OWNER_PEER));
        self.rests.next_ms = 0;
    }

    /// Frees what has rested of pools that are primary here.
    pub(super) fn free_rested(&mut self, now: u64, program: &Program, stats: &mut BridgeStats) {
        let rests = &self.rests;
        let waits = rests.pools.iter().filter(|rest| !rests.may_end(rest, now));
        let waits: Vec<PoolId> = waits.map(|rest| rest.pool).collect();
        self.free_ended(now, program, &waits, stats);
        let is_over = |rest: &Rest| rest.until_ms <= now && !waits.contains(&rest.pool);
        if !self.rests.pools.iter().any(is_over) {
            return;
        }
        let over = self.rests.pools.extract_if(.., |rest| is_over(rest));
        let over: Vec<PoolId> = over.map(|rest| rest.pool).collect();
        for states in program.public_space.lease_states(0) {
            if !over.contains(&states.pool) {
                continue;
            }
            for extent in states.extents(OWNER_PEER) {
                stats.leases_freed += u64::from(program.public_space.unmark_peer(states.index, extent));
            }
        }
    }

    /// The same of what rests until a time of its own, but for pools that wait.
    fn free_ended(&mut self, now: u64, program: &Program, waits: &[PoolId], stats: &mut BridgeStats) {
        if self.rests.next_ms > now {
            return;
        }
        let (space, plan) = (&program.public_space, &self.plan);
        let over = self.rests.ends.extract_if(|lease, until| {
            let found = space.find(lease.public);
            let found = found.filter(|at| *until <= now && !waits.contains(&at.pool));
            found
                .and_then(|at| plan.of(at.pool))
                .is_some_and(|kept| kept.primary)
        });
        for (lease, _) in over {
            if let Some(index) = space.index_of(lease.public) {
                stats.leases_freed += u64::from(space.unmark_peer(index, lease.extent.into()));
            }
        }
        // What waits is looked at again a little later.
        let next = self.rests.ends.values().min().copied().unwrap_or(u64::MAX);
        self.rests.next_ms = next.max(now + 1000);
    }
}
