//! The sets whose roles are automatic: what their machines wish for is given to [`Roles`], and what is known of the peer to both.
//!
//! Whoever drives it says what heartbeats, channel, monitors, policies and people say, and calls [`Automatic::tick`] after each
//! and as time passes. Without heartbeats it is not used, and roles change by hand.

use std::collections::BTreeMap;

use tandem_engine::replica::Role;

use crate::machine::{Command, Hold, Machine, Output, PeerSeen, PeerSet, Seen, Settings};
use crate::roles::Answer;
use crate::watch::{Heartbeat, Watch, Watched};
use crate::{Hands, RoleCause, RoleChange, RoleError, RoleState, Roles, WantedRole};

/// What monitors say of a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Monitored {
    /// The sum of the weights of its objects that have failed.
    pub failed_weight: u16,
    /// A monitored event of one of its policies is active.
    pub is_warned: bool,
    /// Such a policy releases the role.
    pub releases: bool,
    /// An event is active of a policy that warns the peer, if only by what the peer does.
    pub broadcasts: bool,
}

/// How long both may be primary with the same epoch, each taking itself for the better one, before gateway 1 ends it, milliseconds.
pub const TIE_MS: u64 = 3000;

#[derive(Debug)]
struct One {
    machine: Machine,
    monitored: Monitored,
    /// Since when the channel says that the peer is primary, too, with the same epoch.
    tied_since_ms: Option<u64>,
}

/// What is shown of an automatic set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetView {
    /// Its state.
    pub state: RoleState,
    /// Why.
    pub reason: &'static str,
    /// The peer.
    pub peer: PeerSeen,
    /// What a policy warns of.
    pub warning: Option<String>,
    /// The operator has taken it out, which a primary may still wait for.
    pub is_taken_out: bool,
    /// What the configuration says.
    pub settings: Settings,
    /// What the monitors of the set say.
    pub monitored: Monitored,
    /// The sum of the weights of everything on the chassis that has failed.
    pub chassis_failed_weight: u16,
    /// The holds that count, and when each is over: milliseconds of the clock that is ticked with; it may be past.
    pub holds: Vec<(Hold, u64)>,
}

/// Whether a role that was wished for is there, or on its way.
fn has_begun(set: u8, to: WantedRole, roles: &Roles, hands: &impl Hands) -> bool {
    let is_there = hands
        .role(set)
        .is_some_and(|role| role.primary == (to == WantedRole::Primary));
    is_there
        || roles
            .shown(set)
            .is_some_and(|shown| shown.changing_to == Some(to))
}

/// The automatic sets of a redundancy group.
#[derive(Debug, Default)]
pub struct Automatic {
    watch: Watch,
    sets: BTreeMap<u8, One>,
    chassis_failed_weight: u16,
}

impl Automatic {
    /// These are the sets from now on. To be called after [`Roles::follow`].
    pub fn follow(&mut self, sets: &[(u8, Settings)]) {
        self.sets
            .retain(|number, _| sets.iter().any(|(one, _)| one == number));
        for (number, settings) in sets {
            let new = || One {
                machine: Machine::new(*settings),
                monitored: Monitored::default(),
                tied_since_ms: None,
            };
            self.sets
                .entry(*number)
                .or_insert_with(new)
                .machine
                .set_settings(*settings);
        }
    }

    /// The hands as roles are to see them: with what heartbeats say of the peer.
    pub const fn over<'a, H: Hands>(&'a self, hands: &'a mut H) -> Watched<'a, H> {
        self.watch.over(hands)
    }

    /// Heartbeats say something.
    pub fn heartbeat(
        &mut self,
        heartbeat: Heartbeat,
        now_ms: u64,
        roles: &mut Roles,
        hands: &mut impl Hands,
    ) {
        if self.watch.heartbeat(heartbeat) {
            // Nobody waits for a word of it any more.
            roles.disconnected(now_ms, &mut self.watch.over(hands));
        }
        self.tick(now_ms, roles, hands);
    }

    /// The channel has brought something of the peer, or has ended.
    pub const fn channel(&mut self, is_there: bool) {
        self.watch.channel(is_there);
    }

    /// What monitors say of a set.
    pub fn monitored(&mut self, set: u8, monitored: Monitored) {
        if let Some(one) = self.sets.get_mut(&set) {
            one.monitored = monitored;
        }
    }

    /// The sum of the weights of everything on the chassis that has failed.
    pub const fn chassis_failed_weight(&mut self, weight: u16) {
        self.chassis_failed_weight = weight;
    }

    /// The machines look. To be called after [`Roles::tick`].
    pub fn tick(&mut self, now_ms: u64, roles: &mut Roles, hands: &mut impl Hands) {
        for number in self.numbers() {
            let Some(seen) = self.seen(number, now_ms, roles, hands) else {
                continue;
            };
            let Some(one) = self.sets.get_mut(&number) else {
                continue;
            };
            let outputs = one.machine.tick(&seen);
            self.carry_out(number, outputs, &seen, None, roles, hands);
            self.break_tie(number, now_ms, roles, hands);
        }
    }

    /// Of two primaries with the same epoch exactly one yields, if both know the other's priority, or neither does. Where heartbeats
    /// come through one way only, or came once, each may take itself for the better one. That lasts no longer than this: gateway 1
    /// takes a higher epoch, to which the other yields.
    fn break_tie(&mut self, set: u8, now_ms: u64, roles: &mut Roles, hands: &mut impl Hands) {
        let theirs = hands.peer_role(set).filter(|_| hands.peer().is_there());
        let (Some(one), Some(ours)) = (self.sets.get_mut(&set), hands.role(set)) else {
            return;
        };
        let is_tied = theirs.is_some_and(|role| role.primary && ours.primary && role.epoch == ours.epoch);
        let since = is_tied.then(|| one.tied_since_ms.unwrap_or(now_ms));
        one.tied_since_ms = since;
        let is_over = since.is_some_and(|since| now_ms.saturating_sub(since) >= TIE_MS);
        if is_over && one.machine.settings().is_gateway_1 {
            let epoch = ours.epoch.saturating_add(1);
            roles.fenced(set, epoch);
            hands.take_up(set, Role::Primary, epoch);
        }
    }

    /// A policy or a person asks for something. The answer comes when it is done, or why it is not.
    pub fn command(
        &mut self,
        set: u8,
        command: Command,
        answer: Answer,
        now_ms: u64,
        roles: &mut Roles,
        hands: &mut impl Hands,
    ) {
        let known = self.seen(set, now_ms, roles, hands);
        let Some((seen, one)) = known.zip(self.sets.get_mut(&set)) else {
            answer(Err(RoleError::Unknown(format!(
                "no redundancy set {set} with heartbeats runs"
            ))));
            return;
        };
        let cause = command.cause();
        let before = one.machine.clone();
        let may_fail = command != Command::Stop;
        let taking_out = match command {
            Command::TakeOut(out) => Some((out, one.machine.is_taken_out())),
            _ => None,
        };
        match one.machine.ask(command, &seen) {
            Ok(outputs) => match taking_out {
                // A primary hands over when it can, which may be long after.
                Some((out, was)) => {
                    self.carry_out(set, outputs, &seen, None, roles, hands);
                    answer(Ok(self.taken_out(set, out, was, seen.ours.epoch)));
                }
                None => {
                    let wished = outputs.iter().find_map(|output| match output {
                        Output::Wish(wish) => Some(wish.to),
                        Output::State { .. } | Output::Yield { .. } => None,
                    });
                    self.carry_out(set, outputs, &seen, Some(answer), roles, hands);
                    let is_begun = |to| has_begun(set, to, roles, hands);
                    if may_fail
                        && !wished.is_none_or(is_begun)
                        && let Some(one) = self.sets.get_mut(&set)
                    {
                        // What the machine would have remembered of it was refused further on. Of a stop it remembers that in any case.
                        one.machine = before;
                    }
                }
            },
            Err(why) => {
                let state = one.machine.state();
                let why = format!("redundancy set {set}: {why}");
                roles.refused(set, state, seen.ours.epoch, cause, &why);
                answer(Err(RoleError::Refused(why)));
            }
        }
    }

    /// What the operator is told who has taken a set out, or put it back.
    fn taken_out(&self, set: u8, out: bool, was: bool, epoch: u64) -> RoleChange {
        let role = self.sets.get(&set).map(|one| one.machine.state());
        let stays = out && role == Some(RoleState::Primary);
        RoleChange {
            redundancy_set: set,
            role: role.unwrap_or(RoleState::Initializing),
            epoch,
            changed: out != was,
            note: stays.then(|| {
                "it is primary until the other chassis takes it over, which it is to do as soon as it can"
                    .to_owned()
            }),
        }
    }

    fn carry_out(
        &self,
        set: u8,
        outputs: Vec<Output>,
        seen: &Seen,
        mut answer: Option<Answer>,
        roles: &mut Roles,
        hands: &mut impl Hands,
    ) {
        let mut watched = self.watch.over(hands);
        for output in outputs {
            match output {
                Output::State { from, to, reason } => {
                    roles.became(set, from, to, seen.ours.epoch, reason);
                }
                Output::Wish(wish) => {
                    let answer = answer.take().unwrap_or_else(|| Box::new(drop));
                    roles.wish(set, wish, answer, seen.now_ms, &mut watched);
                }
                Output::Yield { epoch, .. } => roles.yield_to(set, epoch, &mut watched),
            }
        }
        if let Some(answer) = answer {
            // Nothing had to be done for it.
            let role = self.sets.get(&set).map(|one| one.machine.state());
            answer(Ok(RoleChange {
                redundancy_set: set,
                role: role.unwrap_or(RoleState::Initializing),
                epoch: seen.ours.epoch,
                changed: false,
                note: None,
            }));
        }
    }

    fn seen(&self, set: u8, now_ms: u64, roles: &Roles, hands: &impl Hands) -> Option<Seen> {
        let one = self.sets.get(&set)?;
        let shown = roles.shown(set)?;
        let said = hands.peer_role(set).filter(|_| hands.peer().is_there());
        Some(Seen {
            now_ms,
            ours: hands.role(set)?,
            is_changing: shown.changing_to.is_some(),
            lack: hands.lack().filter(|_| !shown.was_last),
            failed_weight: one.monitored.failed_weight,
            chassis_failed_weight: self.chassis_failed_weight,
            is_warned: one.monitored.is_warned,
            releases: one.monitored.releases,
            broadcasts: one.monitored.broadcasts,
            was_asked_for: shown.cause == RoleCause::Peer,
            peer: self.watch.peer(set, said, one.machine.settings().priority),
            knows_priority: self.watch.priority(set).is_some(),
            is_connected: hands.peer().is_there(),
        })
    }

    /// The daemon is about to stop: primaries hand over, and nothing is taken any more.
    pub fn stop(&mut self, now_ms: u64, roles: &mut Roles, hands: &mut impl Hands) {
        for set in self.numbers() {
            // What is said of it is in the history.
            self.command(set, Command::Stop, Box::new(drop), now_ms, roles, hands);
        }
    }

    /// Whether nothing is handed over any more, or could be.
    pub fn has_stopped(&self, now_ms: u64, roles: &Roles, hands: &impl Hands) -> bool {
        self.numbers().into_iter().all(|set| {
            let seen = self.seen(set, now_ms, roles, hands);
            seen.is_none_or(|seen| {
                let somebody = seen.peer.set().is_some_and(PeerSet::can_take_over);
                !(seen.is_changing || seen.ours.primary && somebody)
            })
        }) && !roles.is_draining()
    }

    /// What this chassis' heartbeats are to say of a set.
    #[must_use]
    pub fn told(&self, set: u8, roles: &Roles, hands: &impl Hands) -> Option<PeerSet> {
        let seen = self.seen(set, 0, roles, hands)?;
        let one = self.sets.get(&set)?;
        Some(PeerSet {
            state: one.machine.state(),
            is_primary: seen.ours.primary,
            epoch: if cfg!(feature = "plant-lost-epoch") {
                0
            } else {
                seen.ours.epoch
            },
            priority: one.machine.settings().priority,
            failed_weight: seen.failed_weight,
            is_complete: seen.lack.is_none(),
            is_eligible: !one.machine.is_leaving(),
            is_warned: seen.is_warned || one.machine.warning().is_some(),
            broadcasts: one.machine.warning().is_some(),
        })
    }

    /// Of two primaries of a set with the same epoch: whether it is this chassis that yields. By priority, as far as heartbeats have
    /// told the peer's, then by redundancy address. `None`: the set's roles are changed by hand.
    #[must_use]
    pub fn yields_equal(&self, set: u8) -> Option<bool> {
        let machine = &self.sets.get(&set)?.machine;
        let priority = self.watch.priority(set).unwrap_or(machine.settings().priority);
        Some(machine.yields_equal(priority))
    }

    /// What is shown of a set; none of one whose roles are changed by hand.
    #[must_use]
    pub fn shown(&self, set: u8, hands: &impl Hands) -> Option<SetView> {
        let one = self.sets.get(&set)?;
        let machine = &one.machine;
        let said = hands.peer_role(set).filter(|_| hands.peer().is_there());
        Some(SetView {
            state: machine.state(),
            reason: machine.reason(),
            peer: self.watch.peer(set, said, machine.settings().priority),
            warning: machine.warning().map(str::to_owned),
            is_taken_out: machine.is_taken_out(),
            settings: *machine.settings(),
            monitored: one.monitored,
            chassis_failed_weight: self.chassis_failed_weight,
            holds: machine.holds(),
        })
    }

    /// Whether a set's roles are automatic.
    #[must_use]
    pub fn has(&self, set: u8) -> bool {
        self.sets.contains_key(&set)
    }

    /// The automatic sets.
    #[must_use]
    pub fn numbers(&self) -> Vec<u8> {
        self.sets.keys().copied().collect()
    }
}
