//! `tandem show replication`, `tandem show redundancy` and `tandem request`: the pair, and what it is told to do.

use std::io::Write;
use std::path::Path;

use super::client::{CallError, Client};
use super::fetch::Printer;
use super::redundancy_args::{
    RedundancyView, ReplicationView, Request, RequestRedundancy, RequestReplication,
};
use super::{Exit, Failure, redundancy_tables};
use crate::api::model::{
    List, RedundancyEvent, RedundancySet, ReplicatedConfig, Replication, Resync, ResyncDirection,
    ResyncRequest, RoleChange, RoleRequest,
};
use crate::config::differences;

const REPLICATION: &str = "/v1/replication";

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
    let Some(RedundancyView::Events { set, limit }) = view else {
        let list: List<RedundancySet> = client.get("/v1/redundancy-sets", &[])?;
        if list.rows.is_empty() && !to.json {
            writeln!(to.out, "No redundancy set runs.")?;
            return Ok(());
        }
        to.print(&list, |list| vec![redundancy_tables::sets(&list.rows)])?;
        return Ok(());
    };
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

/// Carries out a request.
pub fn request(client: &Client, what: &Request, out: &mut dyn Write) -> Result<Exit, Failure> {
    match what {
        Request::Redundancy(RequestRedundancy::Set { set, role, force }) => {
            let wanted = RoleRequest {
                role: *role,
                force: *force,
            };
            let done: RoleChange = client.post_json(&format!("/v1/redundancy-sets/{set}/role"), &wanted)?;
            let (role, epoch) = (done.role.as_str(), done.epoch);
            if done.changed {
                writeln!(out, "redundancy set {set} is {role}, epoch {epoch}")?;
            } else {
                writeln!(out, "redundancy set {set} was {role} already, epoch {epoch}")?;
            }
            if let Some(note) = done.note {
                writeln!(out, "{note}")?;
            }
        }
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
