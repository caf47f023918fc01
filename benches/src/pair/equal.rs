//! Whether a worker and its standby have the same sessions: all of both are walked.

use std::net::IpAddr;

use tandem_engine::engine::Engine;
use tandem_engine::view::{Ask, Filter, Query, SessionView};

use crate::rig::WorkerRig;

/// Rows of a page.
const PAGE: usize = 65_536;

/// What must be alike of a session.
type Row = (IpAddr, u16, IpAddr, u16, IpAddr, u16, u8, u16);

const fn row(of: &SessionView) -> Row {
    (
        of.inside,
        of.inside_port,
        of.public,
        of.public_port,
        of.outside,
        of.outside_port,
        of.protocol,
        of.term,
    )
}

/// All sessions, sorted; `answer` fills a page.
fn sessions(mut answer: impl FnMut(Query) -> anyhow::Result<Query>) -> anyhow::Result<Vec<Row>> {
    let (mut rows, mut cursor) = (Vec::new(), 0);
    loop {
        let page = answer(Query::new(Ask::Sessions, Filter::default(), cursor, PAGE))?;
        rows.extend(page.rows.sessions.iter().map(row));
        if page.end {
            break;
        }
        cursor = page.cursor;
    }
    rows.sort_unstable();
    Ok(rows)
}

/// How many sessions both have.
///
/// # Errors
/// When one of both has a session that the other has not.
pub fn assert_equal(rig: &mut WorkerRig, standby: &mut Engine) -> anyhow::Result<usize> {
    let here = sessions(|query| rig.answer(query))?;
    let there = sessions(|mut query| {
        while !query.done {
            standby.answer(&mut query, PAGE as u32);
        }
        Ok(query)
    })?;
    anyhow::ensure!(
        here.len() == there.len(),
        "{} sessions here, {} there",
        here.len(),
        there.len()
    );
    let other = here.iter().zip(&there).find(|(a, b)| a != b);
    anyhow::ensure!(other.is_none(), "sessions differ: {other:?}");
    Ok(here.len())
}
