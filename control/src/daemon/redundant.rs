//! Redundant interfaces: what links, tracked IPs and commands say goes through [`Members`], and a switch to all whom it concerns.
//!
//! ```text
//!   thread "ports": links, time --+               +--> the workers' port and flag (atomics)
//!   thread "probes": tracked IPs -+--> Members ---+--> neighbours: gratuitous ARP, unsolicited advertisements
//!   API: force, revert -----------+               +--> log, history, counters
//! ```
//!
//! Whoever brings the news carries the switch out, under one lock: of two switches the later one is in force.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tandem_dataplane::interfaces::Interfaces;
use tracing::{debug, warn};

use super::clock::Clock;
use super::monitors::Feed;
use super::spec;
use crate::api::BackendError;
use crate::api::model::{MemberState, MemberSwitch, MemberWait, PortCounters, RedundantState, unix_seconds};
use crate::config::{Attachment, Config, RedundantInterface};
use crate::kernel::{ANNOUNCE_INTERVAL, ANNOUNCEMENTS, Announcer};
use crate::monitor::{Member, Members, Verdict};

/// Switches of an interface that are kept for the API.
const SWITCHES_MAX: usize = 16;

/// A port as its link is known by.
#[derive(Clone, Debug)]
pub(super) struct PortLink {
    /// Its position.
    pub position: usize,
    /// The netdev whose carrier counts.
    pub netdev: Option<String>,
}

/// One redundant interface.
struct Row {
    name: String,
    /// The primary member and the secondary.
    names: [String; 2],
    ports: [PortLink; 2],
    /// Positions of it and its VLANs among the interfaces.
    interfaces: Vec<usize>,
    /// Their taps.
    taps: Vec<String>,
    track: Option<String>,
    members: Members,
    up: [bool; 2],
    failovers: u64,
    take_backs: u64,
    /// The latest first.
    switches: VecDeque<MemberSwitch>,
    /// Announcements that are still to come, and when the next one is.
    announce: Option<(u8, u64)>,
}

/// All redundant interfaces of the daemon.
pub(super) struct RedundantInterfaces {
    rows: Mutex<Vec<Row>>,
    all: Arc<Interfaces>,
    feed: Feed,
    clock: Clock,
    /// Announcements that the kernel refused.
    unannounced: AtomicU64,
}

impl RedundantInterfaces {
    pub(super) fn new(config: &Config, all: Arc<Interfaces>, feed: Feed, clock: Clock) -> Self {
        let row = |interface: &crate::config::Interface, redundant: &RedundantInterface| {
            let ports: Vec<PortLink> = port_links(config, interface);
            let ports: [PortLink; 2] = ports.try_into().ok()?;
            let stands_on_it = |name: &str| {
                let found = config.interfaces.iter().find(|one| one.name == name)?;
                let (owner, _) = spec::owner_of(config, found)?;
                (owner.name == interface.name).then_some(found)
            };
            let own = all.all.iter().enumerate();
            let (interfaces, taps) = own
                .filter_map(|(at, state)| Some((at, stands_on_it(&state.name)?.tap.clone())))
                .unzip();
            Some(Row {
                name: interface.name.clone(),
                names: redundant.members.each_ref().map(|member| member.name.clone()),
                ports,
                interfaces,
                taps,
                track: redundant.track.clone(),
                members: Members::new(redundant),
                up: [false; 2],
                failovers: 0,
                take_backs: 0,
                switches: VecDeque::new(),
                announce: None,
            })
        };
        let rows = config
            .interfaces
            .iter()
            .filter_map(|interface| match &interface.attachment {
                Attachment::Redundant(redundant) => row(interface, redundant),
                Attachment::Port(_) | Attachment::Vlan { .. } => None,
            });
        Self {
            rows: Mutex::new(rows.collect()),
            all,
            feed,
            clock,
            unannounced: AtomicU64::new(0),
        }
    }

    /// Whether tracked IPs are probed for any.
    pub(super) fn tracks(&self) -> bool {
        self.locked().iter().any(|row| row.track.is_some())
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        self.clock.uptime().as_millis() as u64
    }

    /// The links of all ports as they are now; `None` of one that is not known yet. Does what is due.
    pub(super) fn links(&self, link: impl Fn(&PortLink) -> Option<bool>) {
        for row in self.locked().iter_mut() {
            for (member, port) in row.ports.iter().enumerate() {
                if let Some(up) = link(port) {
                    row.members.link(member, up);
                    row.up[member] = up;
                }
            }
            self.carry_on(row);
        }
    }

    /// What tracked-IP objects are by the active members.
    pub(super) fn judged(&self, verdicts: &[Verdict]) {
        let now = self.now();
        for row in self.locked().iter_mut() {
            for one in verdicts {
                if row.track.as_ref() == Some(&one.object) {
                    row.members.tracked(now, one.failed.clone());
                }
            }
            self.carry_on(row);
        }
    }

    /// Objects by which active members are to be judged anew, from now on: each said once.
    pub(super) fn to_be_judged(&self) -> Vec<String> {
        let mut rows = self.locked();
        let of = |row: &mut Row| row.track.clone().filter(|_| row.members.is_to_be_judged());
        rows.iter_mut().filter_map(of).collect()
    }

    /// Until something is due.
    pub(super) fn due(&self) -> Option<Duration> {
        let now = self.now();
        let rows = self.locked();
        let due = rows.iter().flat_map(|row| {
            let announce = row.announce.map(|(_, due_ms)| due_ms);
            [row.members.due_ms(), announce]
        });
        let due = due.flatten().min();
        due.map(|due| Duration::from_millis(due.saturating_sub(now)))
    }

    /// Forces a member, or with `None` reverts to the primary.
    pub(super) fn request(&self, name: &str, member: Option<&str>) -> Result<RedundantState, BackendError> {
        let mut rows = self.locked();
        let Some(row) = rows.iter_mut().find(|row| row.name == name) else {
            return Err(BackendError::Unknown(format!(
                "there is no redundant interface {name}"
            )));
        };
        match member {
            None => row.members.revert(),
            Some(wanted) => {
                let Some(member) = row.names.iter().position(|one| one == wanted) else {
                    let names = row.names.join(" and ");
                    let problem = format!("{wanted} is no member of {name}, which has {names}");
                    return Err(BackendError::Unknown(problem));
                };
                row.members
                    .force(member)
                    .map_err(|_| BackendError::Refused(format!("the link of {wanted} is down")))?;
            }
        }
        self.carry_on(row);
        Ok(shown(row, self.now()))
    }

    /// An interface as the API shows it, if it is a redundant one; what the members' ports have counted is not known here.
    pub(super) fn view(&self, name: &str) -> Option<RedundantState> {
        let (rows, now) = (self.locked(), self.now());
        rows.iter()
            .find(|row| row.name == name)
            .map(|row| shown(row, now))
    }

    /// Members that cannot carry on: their names and why, and what the active one of them is waiting for.
    pub(super) fn members(&self) -> Vec<(String, Option<String>)> {
        let (rows, now) = (self.locked(), self.now());
        rows.iter()
            .flat_map(|row| {
                let of = |member: Member, name: &String| {
                    let up = row.up.get(member).copied().unwrap_or(false);
                    let failed = row.members.failed(member).map(str::to_owned);
                    let trouble = if up {
                        failed
                    } else {
                        Some("its link is down".to_owned())
                    };
                    let waits = waits(row, now).filter(|_| member == row.members.active());
                    let trouble = match (trouble, waits) {
                        (Some(trouble), Some(waits)) => Some(format!("{trouble}; {} {waits}", waits.member)),
                        (trouble, _) => trouble,
                    };
                    (name.clone(), trouble)
                };
                row.names
                    .iter()
                    .enumerate()
                    .map(move |(member, name)| of(member, name))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// Announcements that could not be made.
    pub(super) fn unannounced(&self) -> u64 {
        self.unannounced.load(Ordering::Relaxed)
    }

    /// Does what is due of a row.
    fn carry_on(&self, row: &mut Row) {
        let now = self.now();
        let left = row.members.active();
        if let Some(switch) = row.members.poll(now) {
            if let Some(port) = row.ports.get(switch.to) {
                self.all.activate(port.position as u8);
            }
            self.set_up(row);
            let name = |member: Member| row.names.get(member).cloned().unwrap_or_default();
            let (from, to, cause) = (name(left), name(switch.to), switch.cause);
            warn!(interface = %row.name, from, to, %cause, "redundant interface: another member is active");
            self.feed.told(format!(
                "interface {}: {to} carries on for {from}: {cause}",
                row.name
            ));
            if switch.to == 0 {
                row.take_backs += 1;
            } else {
                row.failovers += 1;
            }
            let at_unix_s = unix_seconds(SystemTime::now());
            row.switches.push_front(MemberSwitch {
                at_unix_s,
                from,
                to,
                cause,
            });
            row.switches.truncate(SWITCHES_MAX);
            row.announce = Some((ANNOUNCEMENTS, now));
        }
        self.set_up(row);
        if let Some((left, due_ms)) = row.announce
            && now >= due_ms
        {
            self.announce(row);
            let next = now + ANNOUNCE_INTERVAL.as_millis() as u64;
            row.announce = (left > 1).then_some((left - 1, next));
        }
    }

    /// Whether frames may leave: by the active member.
    fn set_up(&self, row: &Row) {
        let up = row.up.get(row.members.active()).copied().unwrap_or(false);
        for at in &row.interfaces {
            if let Some(state) = self.all.all.get(*at) {
                state.set_up(up);
            }
        }
    }

    /// Tells neighbours and switches where all addresses of its taps are now: its own and virtual ones.
    fn announce(&self, row: &Row) {
        for tap in &row.taps {
            let told = Announcer::open(tap).and_then(|announcer| announcer.announce_own());
            if let Err(error) = told {
                // A tap that shows as down, because its set is not primary here, has nothing to announce.
                self.unannounced.fetch_add(1, Ordering::Relaxed);
                debug!(interface = %row.name, %error, "redundant interface: neighbours are not told");
            }
        }
    }
}

/// The ports that an interface stands on, the primary member's first.
pub(super) fn port_links(config: &Config, interface: &crate::config::Interface) -> Vec<PortLink> {
    let Some((owner, _)) = spec::owner_of(config, interface) else {
        return Vec::new();
    };
    let positions = spec::positions(config, owner);
    let link = |(position, port): (usize, &crate::config::Port)| PortLink {
        position,
        netdev: port.netdev.clone(),
    };
    positions
        .into_iter()
        .zip(owner.attachment.ports())
        .map(link)
        .collect()
}

/// Which member of a row is to become active, and when.
fn waits(row: &Row, now: u64) -> Option<MemberWait> {
    let (member, ends_in_ms) = row.members.waits(now)?;
    Some(MemberWait {
        member: row.names.get(member)?.clone(),
        ends_in_ms,
    })
}

fn shown(row: &Row, now: u64) -> RedundantState {
    let name = |member: Member| row.names.get(member).cloned().unwrap_or_default();
    let member = |(at, name): (usize, &String)| MemberState {
        name: name.clone(),
        up: row.up.get(at).copied().unwrap_or(false),
        failed: row.members.failed(at).map(str::to_owned),
        counters: PortCounters::default(),
    };
    RedundantState {
        active: name(row.members.active()),
        primary: name(0),
        forced: row.members.forced().map(name),
        waits: waits(row, now),
        members: row.names.iter().enumerate().map(member).collect(),
        failovers: row.failovers,
        take_backs: row.take_backs,
        switches: row.switches.iter().cloned().collect(),
    }
}

#[cfg(test)]
mod tests;
