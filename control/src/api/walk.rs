//! Walking the workers' tables: one list over all of them, in pages.
//!
//! ```text
//!   page token = version, list, filter hash | worker, slot     -> worker 0: slot ... end | worker 1: slot ... end | done
//! ```
//!
//! A token is a place, not a snapshot: rows that come or go while somebody pages are seen or not, but a row that stays
//! is seen exactly once. A token of another list or filter is refused, because it would silently skip rows.

use std::hash::{Hash, Hasher};

use tandem_engine::view::{Ask, Filter, Query, Rows};

use super::backend::{Backend, BackendError};
use super::error::ApiError;

/// Rows one question has room for, at most.
const ROWS_MAX: usize = super::params::LIMIT_MAX;

/// Where a page starts: a worker and a slot of its table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Worker.
    pub worker: u8,
    /// Slot, as [`Query::cursor`] has it.
    pub slot: u32,
}

/// FNV-1a, so that a token stays good across restarts of the same build.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// A short fingerprint of a list and its filter.
pub fn fingerprint(list: &str, filter: &impl Hash) -> u32 {
    let mut fnv = Fnv(0xcbf2_9ce4_8422_2325);
    list.hash(&mut fnv);
    filter.hash(&mut fnv);
    let hash = fnv.finish();
    (hash ^ hash >> 32) as u32
}

/// What distinguishes filters; [`Filter`] itself has no `Hash`.
fn filter_key(ask: Ask, filter: &Filter) -> u32 {
    let list = match ask {
        Ask::Sessions | Ask::ClearSessions | Ask::CountSessions | Ask::Reevaluate => "sessions",
        Ask::Mappings => "mappings",
        Ask::Blocks => "blocks",
        Ask::Subscribers => "subscribers",
        Ask::Policies => "policies",
    };
    let Filter {
        service_set,
        protocol,
        inside,
        inside_bits,
        inside_port,
        public,
        public_port,
        outside,
        outside_port,
        pool,
    } = filter;
    fingerprint(
        list,
        &(
            service_set,
            protocol,
            inside,
            inside_bits,
            inside_port,
            public,
            public_port,
            outside,
            outside_port,
            pool,
        ),
    )
}

fn bad_token() -> ApiError {
    ApiError::parameter(
        "page",
        "not a page of this list with this filter; take `next` of the page before, unchanged",
    )
}

/// The token that leads to `place`.
fn token(ask: Ask, filter: &Filter, place: Place) -> String {
    format!(
        "{:08x}{:02x}{:08x}",
        filter_key(ask, filter),
        place.worker,
        place.slot
    )
}

/// The place a token leads to; the beginning when there is none.
pub fn place(ask: Ask, filter: &Filter, workers: u8, token: Option<&str>) -> Result<Place, ApiError> {
    let Some(token) = token else {
        return Ok(Place::default());
    };
    let hex = |range: std::ops::Range<usize>| {
        let digits = token
            .get(range)
            .filter(|t| t.bytes().all(|b| b.is_ascii_hexdigit()));
        digits
            .and_then(|t| u32::from_str_radix(t, 16).ok())
            .ok_or_else(bad_token)
    };
    let worker = u8::try_from(hex(8..10)?).map_err(|_| bad_token())?;
    let place = Place {
        worker,
        slot: hex(10..18)?,
    };
    if token.len() != 18 || hex(0..8)? != filter_key(ask, filter) || worker >= workers {
        return Err(bad_token());
    }
    Ok(place)
}

fn filled(rows: &Rows) -> usize {
    rows.sessions.len()
        + rows.mappings.len()
        + rows.blocks.len()
        + rows.subscribers.len()
        + rows.policies.len()
}

/// Asks `worker` once and checks that the answer moves on.
async fn ask_once(backend: &dyn Backend, worker: u8, query: Query) -> Result<Query, BackendError> {
    let from = query.cursor;
    let answer = backend.query(worker, query).await?;
    if !answer.end && answer.cursor <= from {
        return Err(BackendError::Failed(format!(
            "worker {worker} made no progress at slot {from}"
        )));
    }
    Ok(answer)
}

/// Up to `limit` rows from `start` on, and the token of the next page unless this was the last.
pub async fn rows(
    backend: &dyn Backend,
    ask: Ask,
    filter: Filter,
    start: Place,
    limit: usize,
) -> Result<(Rows, Option<String>), ApiError> {
    let workers = backend.worker_count();
    let mut all = Rows::default();
    let mut at = start;
    while at.worker < workers {
        let room = limit.saturating_sub(filled(&all));
        if room == 0 {
            return Ok((all, Some(token(ask, &filter, at))));
        }
        let room = room.min(ROWS_MAX);
        let answer = ask_once(backend, at.worker, Query::new(ask, filter, at.slot, room)).await?;
        all.sessions.extend(answer.rows.sessions);
        all.mappings.extend(answer.rows.mappings);
        all.blocks.extend(answer.rows.blocks);
        all.subscribers.extend(answer.rows.subscribers);
        all.policies.extend(answer.rows.policies);
        at = if answer.end {
            Place {
                worker: at.worker + 1,
                slot: 0,
            }
        } else {
            Place {
                worker: at.worker,
                slot: answer.cursor,
            }
        };
    }
    Ok((all, None))
}

/// All rows, on every worker. For lists that a commit bounds.
pub async fn all(backend: &dyn Backend, ask: Ask) -> Result<Rows, ApiError> {
    let filter = Filter::default();
    Ok(rows(backend, ask, filter, Place::default(), usize::MAX).await?.0)
}

/// Counts (or, with [`Ask::ClearSessions`] and [`Ask::Reevaluate`], ends) the sessions that match, on every worker.
pub async fn count(backend: &dyn Backend, ask: Ask, filter: Filter) -> Result<u64, ApiError> {
    let mut total = 0;
    for worker in 0..backend.worker_count() {
        let mut slot = 0;
        loop {
            let answer = ask_once(backend, worker, Query::new(ask, filter, slot, 0))
                .await
                .map_err(|error| {
                    let so_far = match ask {
                        Ask::ClearSessions => format!("{total} sessions were cleared before"),
                        Ask::Reevaluate => format!("{total} sessions were ended before"),
                        _ => format!("{total} sessions were counted before"),
                    };
                    ApiError::from(error).after(&so_far)
                })?;
            total += answer.matched;
            slot = answer.cursor;
            if answer.end {
                break;
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_back_to_its_place_and_nowhere_else() {
        let filter = Filter {
            protocol: Some(6),
            ..Filter::default()
        };
        let there = Place {
            worker: 1,
            slot: 0xdead_beef,
        };
        let text = token(Ask::Sessions, &filter, there);
        assert_eq!(place(Ask::Sessions, &filter, 2, Some(&text)), Ok(there));
        assert_eq!(place(Ask::Sessions, &filter, 2, None), Ok(Place::default()));
        let other = Filter {
            protocol: Some(17),
            ..Filter::default()
        };
        for refused in [
            place(Ask::Sessions, &other, 2, Some(&text)),
            place(Ask::Mappings, &filter, 2, Some(&text)),
            place(Ask::Sessions, &filter, 1, Some(&text)),
            place(Ask::Sessions, &filter, 2, Some(&text[1..])),
            place(Ask::Sessions, &filter, 2, Some(&format!("{text}0"))),
            place(Ask::Sessions, &filter, 2, Some("+0000000+0+0000000")),
            place(Ask::Sessions, &filter, 2, Some("")),
        ] {
            assert!(refused.is_err());
        }
    }

    #[test]
    fn ports_of_different_fields_give_different_tokens() {
        let inside = Filter {
            inside_port: Some(80),
            ..Filter::default()
        };
        let outside = Filter {
            outside_port: Some(80),
            ..Filter::default()
        };
        assert_ne!(
            filter_key(Ask::Sessions, &inside),
            filter_key(Ask::Sessions, &outside)
        );
    }
}
