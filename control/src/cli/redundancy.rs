//! `tandem show replication`, `tandem show redundancy` and `tandem request`: the pair, and what it is told to do.

use std::io::Write;
use std::path::Path;

use super::client::{CallError, Client};
use super::fetch::Printer;
use super::redundancy_args::{
    RedundancyView, ReplicationView, Request, RequestMember, RequestRedundancy, RequestReplication, Wanted,
};
use super::{Exit, Failure, cluster, pair_tables, redundancy_tables};
use crate::api::model::{
    EligibilityRequest, List, MemberRequest, Redundancy, RedundancyEvent, RedundancySet, RedundantState,
    ReplicatedConfig, Replication, Resync, ResyncDirection, ResyncRequest, RoleChange, RoleRequest,
    SwitchoverRequest, WarningRequest,
};
use crate::config::differences;

const REPLICATION: &str = "/v1/replication";
const SETS: &str = "/v1/redundancy-sets";

/// Shows replication.
pub fn replication(
    client: &Client,
    view: Option<&ReplicationView>,
    to: &mut Printer<'_>,
) -> Result<Exit, Failure> {
    if let Some(ReplicationView::Config { group, compare }) = view {
        let ours: ReplicatedConfig = client.get(&format!("{REPLICATION}/{group}/config"), &[])?;
        return match compare {
            Some(file) => compared(&ours, file, to),
            None if to.json => Ok(to.print(&ours, |_| Vec::new()).map(|()| Exit::Ok)?),
            None => Ok(write!(to.out, "{}", ours.text).map(|()| Exit::Ok)?),
        };
    }
    let all: Replication = client.get(REPLICATION, &[])?;
    if all.rows.is_empty() && !to.json {
        writeln!(to.out, "Nothing is replicated: no redundancy group runs.")?;
        return Ok(Exit::Ok);
    }
    match view {
        Some(_) => to.print(&all, redundancy_tables::extensive)?,
        None => to.print(&all, redundancy_tables::replication)?,
    }
    Ok(Exit::Ok)
}

/// Lines that only one of both has; exit code 1 when there are any.
fn compared(ours: &ReplicatedConfig, file: &Path, to: &mut Printer<'_>) -> Result<Exit, Failure> {
    let theirs = std::fs::read_to_string(file)
        .map_err(|error| CallError::Usage(format!("--compare {}: {error}", file.display())))?;
    let lines = differences(&ours.text, &theirs);
    if to.json {
        to.print(&lines, |_| Vec::new())?;
    } else if lines.is_empty() {
        writeln!(to.out, "They are alike.")?;
    } else {
        for line in &lines {
            writeln!(to.out, "{line}")?;
        }
    }
    Ok(if lines.is_empty() { Exit::Ok } else { Exit::Refused })
}

/// Shows redundancy sets, or what became of them.
pub fn redundancy(
    client: &Client,
    view: Option<&RedundancyView>,
    to: &mut Printer<'_>,
) -> Result<(), Failure> {
    let all = match view {
        Some(RedundancyView::Events { set, limit }) => return events(client, *set, *limit, to),
        Some(RedundancyView::Set { set }) => {
            let set: RedundancySet = client.get(&format!("{SETS}/{set}"), &[])?;
            to.print(&set, pair_tables::set)?;
            return Ok(());
        }
        Some(RedundancyView::Brief | RedundancyView::Extensive | RedundancyView::Statistics) | None => {
            client.get::<Redundancy>("/v1/redundancy", &[])?
        }
    };
    if all.sets.is_empty() && !to.json {
        writeln!(to.out, "No redundancy set runs.")?;
        return Ok(());
    }
    match view {
        Some(RedundancyView::Brief) => to.print(&all, pair_tables::brief)?,
        Some(RedundancyView::Extensive) => to.print(&all, pair_tables::extensive)?,
        Some(RedundancyView::Statistics) => to.print(&all, pair_tables::statistics)?,
        _ => to.print(&all, pair_tables::redundancy)?,
    }
    Ok(())
}

fn events(client: &Client, set: Option<u8>, limit: u16, to: &mut Printer<'_>) -> Result<(), Failure> {
    let mut query = vec![("limit", limit.to_string())];
    query.extend(set.map(|set| ("redundancy-set", set.to_string())));
    let list: List<RedundancyEvent> = client.get("/v1/redundancy-events", &query)?;
    if list.rows.is_empty() && !to.json {
        writeln!(to.out, "Nothing happened.")?;
        return Ok(());
    }
    to.print(&list, |list| vec![redundancy_tables::events(&list.rows)])?;
    Ok(())
}

/// Says what became of a change.
fn done(set: u8, done: RoleChange, out: &mut dyn Write) -> std::io::Result<()> {
    let (role, epoch) = (done.role.as_str(), done.epoch);
    if done.changed {
        writeln!(out, "redundancy set {set} is {role}, epoch {epoch}")?;
    } else {
        writeln!(out, "redundancy set {set} was {role} already, epoch {epoch}")?;
    }
    done.note.map_or(Ok(()), |note| writeln!(out, "{note}"))
}

/// Asks something of a set.
fn ask_set(client: &Client, what: &RequestRedundancy, out: &mut dyn Write) -> Result<(), Failure> {
    let (set, wanted, text, force) = match what {
        RequestRedundancy::Switchover { set, force } => {
            let wanted = SwitchoverRequest { force: *force };
            let change = client.post_json(&format!("{SETS}/{set}/switchover"), &wanted)?;
            return Ok(done(*set, change, out)?);
        }
        RequestRedundancy::Interface { interface, what } => {
            return ask_interface(client, interface, what, out);
        }
        RequestRedundancy::Set {
            set,
            wanted,
            text,
            force,
        } => (*set, *wanted, text, *force),
    };
    let usage = |why: &str| Err(Failure::from(CallError::Usage(why.to_owned())));
    if text.is_some() && wanted != Wanted::Warning {
        return usage("only a warning has a text");
    }
    if force && !matches!(wanted, Wanted::Role(_)) {
        return usage("--force is for primary and standby");
    }
    match wanted {
        Wanted::Role(role) => {
            let wanted = RoleRequest { role, force };
            done(
                set,
                client.post_json(&format!("{SETS}/{set}/role"), &wanted)?,
                out,
            )?;
        }
        Wanted::Eligible(eligible) => {
            let wanted = EligibilityRequest { eligible };
            let change: RoleChange = client.post_json(&format!("{SETS}/{set}/eligibility"), &wanted)?;
            let (word, role) = (
                if eligible { "eligible" } else { "taken out" },
                change.role.as_str(),
            );
            let (now, already) = if change.changed {
                ("is", "")
            } else {
                ("was", " already")
            };
            writeln!(out, "redundancy set {set} {now} {word}{already}; it is {role}")?;
            if let Some(note) = change.note {
                writeln!(out, "{note}")?;
            }
        }
        Wanted::Warning => {
            let wanted = WarningRequest { text: text.clone() };
            let _change: RoleChange = client.post_json(&format!("{SETS}/{set}/warning"), &wanted)?;
            if wanted.text.is_some() {
                writeln!(out, "redundancy set {set} warns the peer")?;
            } else {
                writeln!(out, "redundancy set {set} warns of nothing")?;
            }
        }
    }
    Ok(())
}

/// Asks for a member of a redundant interface.
fn ask_interface(
    client: &Client,
    interface: &str,
    what: &RequestMember,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let member = match what {
        RequestMember::Force { member } => Some(member.clone()),
        RequestMember::Revert => None,
    };
    let path = format!("/v1/interfaces/{interface}/member");
    let state: RedundantState = client.post_json(&path, &MemberRequest { member })?;
    let why = if state.forced.is_some() { ", forced" } else { "" };
    writeln!(out, "{interface}: {} is active{why}", state.active)?;
    Ok(())
}

/// Carries out a request.
pub fn request(client: &Client, what: &Request, out: &mut dyn Write) -> Result<Exit, Failure> {
    match what {
        Request::Configuration(what) => return cluster::configuration(client, what, out),
        Request::Files(what) => return cluster::request_files(client, what, out),
        Request::Redundancy(what) => ask_set(client, what, out)?,
        Request::Replication(RequestReplication::Resync(resync)) => {
            let wanted = ResyncRequest {
                direction: if resync.from_peer {
                    ResyncDirection::FromPeer
                } else {
                    ResyncDirection::ToPeer
                },
                objects: resync.objects.clone(),
            };
            let group = match resync.group {
                Some(group) => group,
                None => only_group(client)?,
            };
            let begun: Resync = client.post_json(&format!("{REPLICATION}/{group}/resync"), &wanted)?;
            let objects: Vec<&str> = begun.objects.iter().map(|one| one.as_str()).collect();
            let way = match begun.direction {
                ResyncDirection::FromPeer => "from",
                ResyncDirection::ToPeer => "to",
            };
            let objects = objects.join(", ");
            writeln!(out, "resynchronizing {way} the peer of group {group}: {objects}")?;
        }
    }
    Ok(Exit::Ok)
}

fn only_group(client: &Client) -> Result<u8, CallError> {
    let all: Replication = client.get(REPLICATION, &[])?;
    match all.rows.as_slice() {
        [one] => Ok(one.id),
        [] => Err(CallError::Usage("no redundancy group runs".to_owned())),
        several => {
            let ids: Vec<String> = several.iter().map(|group| group.id.to_string()).collect();
            let ids = ids.join(", ");
            Err(CallError::Usage(format!(
                "say which group: --group, one of {ids}"
            )))
        }
    }
}
