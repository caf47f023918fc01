//! Leases of extents: kept ahead of need, so that no worker gives out a port that the peer could give out after a takeover.
//! Redundancy spec, section 2.
//!
//! ```text
//!   as primary   FREE --offer--> PENDING --acknowledged--> GRANTED --a worker takes it--> shard --> FREE --10 s--> withdrawn
//!   as standby   FREE --told--> PEER (nobody takes it) --after a takeover and its rest--> FREE
//! ```
//!
//! What the peer had when it was lost rests here, and what rests is told as leases with what is left of that ([`LeaseChange::Resting`]),
//! so that of several takeovers in a row each rest ends by itself: rests.rs.
//!
//! Leases are required from the time when a peer is connected and has acknowledged the first round of them, until it is gone, or known to be:
//! without a peer there is none to wait for (the stated degraded mode). Pools that are not replicated are granted without asking.

mod peer;
mod plan;
mod queue;
mod rests;

use std::collections::{HashMap, HashSet};

use tandem_engine::program::{PoolId, PoolMode, Program, ServiceSetId};
use tandem_engine::public_space::{
    EXTENTS_PER_ADDRESS, LeaseStates, MAX_WORKERS, OWNER_FREE, OWNER_GRANTED, OWNER_LEASE_PENDING, OWNER_PEER,
};
use tandem_engine::replica::{Lease, LeaseChange};
use tandem_engine::ticks::Ticks;

use crate::bridge::BridgeStats;
use plan::{Kept, Plan};
use queue::Queue;
use rests::Rests;

/// Extents of an address granted ahead.
const EXTENTS_AHEAD: usize = 2;
/// Addresses of a pool granted ahead that gives out whole ones.
const ADDRESSES_AHEAD: u32 = 8;
/// Addresses looked at in one call.
const SLICE: usize = 2048;
/// Changes waiting for the link at which no more are made.
const QUEUE_MAX: usize = 8192;
/// A lease not used for so long is given back.
const UNUSED_MS: u64 = 10_000;

/// Keeps the leases.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    plan: Plan,
    connected: bool,
    /// The peer is known to be dead by other means than the connection, which may not have noticed yet.
    dead: bool,
    /// A whole round was made since it was last to begin anew.
    round: bool,
    /// Nothing changes hands before workers have read what was told before a takeover: what is free may be in use by that.
    waits: bool,
    /// Since the connect, all offers of a whole round were acknowledged.
    complete: bool,
    /// Offers of the first round that are not acknowledged.
    first: HashSet<Lease>,
    queue: Queue,
    /// Offers that are not acknowledged.
    asked: HashSet<Lease>,
    /// What the peer takes for leased, and since when it is seen free here (0: it is not).
    told: HashMap<Lease, u64>,
    /// Where the next slice begins.
    cursor: u32,
    /// Everything leased is offered again in this round: the peer begins anew.
    again: bool,
    /// Whole addresses ahead seen in this round, by pool.
    whole: HashMap<PoolId, u32>,
    rests: Rests,
    /// What the peer leases, as it says since its last bulk began.
    heard: Option<HashSet<Lease>>,
    /// When marks of the peer's that it has not renewed in its last bulk go.
    reconcile_at: Option<u64>,
    /// Offers of the peer's that could not be marked because the extent was leased here. It has them acknowledged all the same.
    contested: HashSet<Lease>,
}

impl Keeper {
    /// A keeper; `tick_zero_ms`: the link's time at which the engines' ticks were zero.
    pub fn new(tick_zero_ms: u64) -> Self {
        Self {
            rests: Rests::new(tick_zero_ms),
            ..Self::default()
        }
    }

    /// Whether nothing is left of offering all leases again, and the peer has acknowledged all that were there at the connect: until
    /// then more may be given out than it knows of.
    pub fn has_told_again(&self) -> bool {
        !self.again && self.queue.is_empty() && self.complete
    }

    pub fn next_change(&mut self) -> Option<LeaseChange> {
        self.queue.pop()
    }

    /// A slice of the work.
    pub fn service(
        &mut self,
        now: u64,
        program: &Program,
        primary: &[ServiceSetId],
        stats: &mut BridgeStats,
    ) {
        self.plan.follow(program, primary);
        self.rests.peer_is(self.connected, stats.leases_required, now);
        if !self.waits {
            self.free_rested(now, program, stats);
            self.reconcile(now, program, stats);
            if self.connected || program.public_space.leases_required() {
                self.slice(now, program, stats);
            }
        }
        self.complete |= self.round && self.first.is_empty();
        self.look_at_need(program, stats);
    }

    /// These service sets are primary from now on, some of them newly so: a peer that could acknowledge leases of their pools must
    /// have done so before anything is given out of them.
    pub fn becomes_primary(&mut self, program: &Program, primary: &[ServiceSetId], stats: &mut BridgeStats) {
        self.plan.follow(program, primary);
        self.look_at_need(program, stats);
    }

    /// Whether workers have to read first what was told before a takeover: until they have, no extent is free to be taken, and none is
    /// offered or freed. Takes effect with the next call of [`Keeper::becomes_primary`] or [`Keeper::service`].
    pub const fn waits_for_workers(&mut self, waits: bool) {
        self.waits = waits;
    }

    fn look_at_need(&self, program: &Program, stats: &mut BridgeStats) {
        let required = self.connected && !self.dead && self.complete && self.plan.any_primary();
        stats.leases_required = required;
        self.require(program, required);
    }

    /// Leases are required because of the peer, or for as long as workers have to read first.
    fn require(&self, program: &Program, required: bool) {
        let required = required || self.waits;
        if program.public_space.leases_required() != required {
            program.public_space.set_leases_required(required);
        }
    }

    /// The peer is dead: nobody waits for its acknowledgments from now on, whatever the connection is at.
    pub fn peer_died(&mut self, program: &Program, stats: &mut BridgeStats) {
        self.dead = true;
        self.look_at_need(program, stats);
    }

    pub fn connected(&mut self) {
        (self.connected, self.complete, self.dead) = (true, false, false);
        self.begin_round();
    }

    /// The peer is told everything anew. Of leases that were complete on this connection it knows meanwhile.
    pub fn tell_again(&mut self, program: &Program) {
        self.again = true;
        self.told.clear();
        // What is not pending here is offered, and waited for, again only if it still is a lease then.
        self.asked
            .retain(|lease| is_owned(program, lease, OWNER_LEASE_PENDING));
        self.begin_round();
    }

    fn begin_round(&mut self) {
        (self.cursor, self.round) = (0, false);
        self.whole.clear();
        self.first.clear();
    }

    pub fn disconnected(&mut self, program: &Program, stats: &mut BridgeStats) {
        (self.connected, self.complete) = (false, false);
        while let Some(change) = self.queue.pop() {
            // Neither was said: an offer is to be made again, unless the peer knew of it before, a lease given back again.
            match change {
                LeaseChange::Offer(lease) if is_owned(program, &lease, OWNER_GRANTED) => {}
                LeaseChange::Offer(lease) | LeaseChange::Resting(lease, _) => drop(self.told.remove(&lease)),
                LeaseChange::Withdraw(lease) => drop(self.told.insert(lease, 0)),
            }
        }
        self.first.clear();
        (self.heard, self.reconcile_at) = (None, None);
        // Degraded, at once: nobody waits for an acknowledgment that does not come.
        self.require(program, false);
        stats.leases_required = false;
        for lease in self.asked.drain() {
            if let Some(index) = program.public_space.index_of(lease.public) {
                program.public_space.withdraw(index, lease.extent.into());
            }
        }
    }

    /// The peer has taken note of what was said last of a lease. Not of what waits still: it might hear that this was withdrawn, or
    /// go by a rest that is over, and never hear of the offer behind that.
    pub fn acknowledged(&mut self, lease: Lease, program: &Program, stats: &mut BridgeStats) {
        if self.queue.has(lease) {
            return;
        }
        self.asked.remove(&lease);
        self.first.remove(&lease);
        let index = program.public_space.index_of(lease.public);
        if index.is_some_and(|index| program.public_space.grant(index, lease.extent.into())) {
            stats.leases_granted += 1;
        }
    }

    /// These service sets are standby here from now on: leases nobody has used go back; those that the peer leased meanwhile, as
    /// primary beside this one, are its own from now on.
    pub fn gave_up(&mut self, program: &Program, service_sets: &[ServiceSetId], stats: &mut BridgeStats) {
        let pools = plan::pools_of(program, service_sets);
        self.rests.gave_up(program, &pools);
        for states in program.public_space.lease_states(0) {
            if !pools.contains(&states.pool) {
                continue;
            }
            for extent in states
                .extents(OWNER_LEASE_PENDING)
                .chain(states.extents(OWNER_GRANTED))
            {
                if program.public_space.withdraw(states.index, extent) {
                    self.withdraw(lease(&states, extent), stats);
                }
            }
            for extent in 0..states.owners.len() {
                if self.contested.remove(&lease(&states, extent)) {
                    program.public_space.mark_peer(states.index, extent);
                }
            }
        }
    }

    fn withdraw(&mut self, lease: Lease, stats: &mut BridgeStats) {
        self.asked.remove(&lease);
        self.first.remove(&lease);
        if self.connected {
            self.told.remove(&lease);
            self.queue.push(LeaseChange::Withdraw(lease));
            stats.leases_withdrawn += 1;
        } else if let Some(free_since) = self.told.get_mut(&lease) {
            // The peer takes it for leased until it is told otherwise.
            *free_since = 0;
        }
    }

    fn slice(&mut self, now: u64, program: &Program, stats: &mut BridgeStats) {
        let space = &program.public_space;
        for (seen, states) in space.lease_states(self.cursor).enumerate() {
            if seen == SLICE || self.queue.len() >= QUEUE_MAX {
                return;
            }
            self.cursor = states.index + 1;
            match self.plan.of(states.pool) {
                Some(kept) if kept.primary && self.connected => {
                    let kept = kept.clone();
                    self.keep(now, program, &kept, &states, stats);
                }
                Some(kept) if !kept.replicated => grant_all(program, kept, &states),
                Some(_) if self.connected => self.give_back(&states, stats),
                _ => {}
            }
        }
        // The end of a round.
        if !self.round {
            (self.round, self.again) = (true, false);
            self.first.clone_from(&self.asked);
        }
        self.cursor = 0;
        self.whole.clear();
    }

    /// Gives back what is left of leases on an address of a pool that is standby here. What the peer has leased meanwhile is its
    /// own business.
    fn give_back(&mut self, states: &LeaseStates, stats: &mut BridgeStats) {
        for extent in states.extents(OWNER_FREE) {
            let lease = lease(states, extent);
            if self.told.contains_key(&lease) {
                self.withdraw(lease, stats);
            }
        }
        for extent in states.extents(OWNER_PEER) {
            self.told.remove(&lease(states, extent));
        }
    }

    /// Keeps an address of a pool that is primary here.
    fn keep(
        &mut self,
        now: u64,
        program: &Program,
        kept: &Kept,
        states: &LeaseStates,
        stats: &mut BridgeStats,
    ) {
        if self.again {
            for extent in states
                .extents(OWNER_LEASE_PENDING)
                .chain(states.extents(OWNER_GRANTED))
            {
                self.offer(lease(states, extent), stats);
            }
        }
        // What the peer had given out before it was lost rests here; a peer that has forgotten it must not give it out either,
        // should it be made primary meanwhile. Nor an address that a worker has: of these only mappings are told, old ones.
        let whole = matches!(kept.mode, PoolMode::Addresses);
        for (extent, owner) in states.owners.iter().enumerate() {
            let lease = lease(states, extent);
            let taken = *owner == OWNER_PEER || whole && *owner < MAX_WORKERS;
            if taken && !self.told.contains_key(&lease) {
                let rests = (*owner == OWNER_PEER).then(|| self.rests.end(states.pool, lease));
                self.say(lease, rests.flatten(), stats);
            }
        }
        let wanted = match &kept.mode {
            _ if kept.drain => 0,
            PoolMode::Ports | PoolMode::OverloadedPorts => {
                let ahead = states.count(OWNER_LEASE_PENDING) + states.count(OWNER_GRANTED);
                extents_ahead(states).saturating_sub(ahead)
            }
            PoolMode::Addresses => self.whole_wanted(states),
            PoolMode::Deterministic(_) | PoolMode::Static => 0,
        };
        let mut offered = 0;
        for extent in states.extents(OWNER_FREE).filter(|extent| kept.has(*extent)) {
            let lease = lease(states, extent);
            if offered < wanted && program.public_space.offer(states.index, extent) {
                self.offer(lease, stats);
                offered += 1;
            } else if let Some(free_since) = self.told.get_mut(&lease) {
                if *free_since == 0 {
                    *free_since = now.max(1);
                } else if now.saturating_sub(*free_since) >= UNUSED_MS {
                    self.withdraw(lease, stats);
                }
            }
        }
    }

    fn offer(&mut self, lease: Lease, stats: &mut BridgeStats) {
        self.say(lease, None, stats);
    }

    /// Offers a lease, or says that it rests until then.
    fn say(&mut self, lease: Lease, rests: Option<Ticks>, stats: &mut BridgeStats) {
        self.told.insert(lease, 0);
        // Granted ones that are told again, too: a peer that began anew knows of them only when it says so.
        self.asked.insert(lease);
        self.queue.push(match rests {
            Some(until) => LeaseChange::Resting(lease, until),
            None => LeaseChange::Offer(lease),
        });
        stats.leases_offered += 1;
    }

    /// Extents to offer of an address that is given out whole.
    fn whole_wanted(&mut self, states: &LeaseStates) -> usize {
        if states.owned() > 0 || states.count(OWNER_PEER) > 0 {
            return 0;
        }
        let ahead = self.whole.entry(states.pool).or_default();
        if *ahead >= ADDRESSES_AHEAD {
            return 0;
        }
        *ahead += 1;
        states.count(OWNER_FREE)
    }
}

/// Extents of an address to have granted ahead. While some rest after a takeover, fewer where few are left: the next one may come soon,
/// and rest them, too.
fn extents_ahead(states: &LeaseStates) -> usize {
    let scarce = states.count(OWNER_PEER) > 0 && states.count(OWNER_FREE) < EXTENTS_PER_ADDRESS / 2;
    if scarce { 1 } else { EXTENTS_AHEAD }
}

/// Whether the extent of a lease is whose.
fn is_owned(program: &Program, lease: &Lease, owner: u8) -> bool {
    let space = &program.public_space;
    let index = space.index_of(lease.public);
    index.is_some_and(|index| space.owner(index, lease.extent.into()) == owner)
}

/// Grants what nobody has to be asked for.
fn grant_all(program: &Program, kept: &Kept, states: &LeaseStates) {
    let space = &program.public_space;
    let whole = matches!(kept.mode, PoolMode::Addresses);
    let wanted = if whole {
        states.count(OWNER_FREE)
    } else {
        EXTENTS_AHEAD.saturating_sub(states.count(OWNER_GRANTED))
    };
    let free = states.extents(OWNER_FREE).filter(|extent| kept.has(*extent));
    for extent in free.take(wanted) {
        if space.offer(states.index, extent) {
            space.grant(states.index, extent);
        }
    }
}

fn lease(states: &LeaseStates, extent: usize) -> Lease {
    Lease {
        public: states.address,
        extent: extent as u8,
    }
}
