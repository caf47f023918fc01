//! Tables of what keeps two chassis from being alike. Empty ones are not shown.

use super::super::table::{Table, yes_or_no};
use crate::api::model::Replication;

/// What differs in the configurations, a line for each part.
pub fn differences(all: &Replication) -> Table {
    let mut table = Table::new(&[">GROUP", "DIFFERS", "SUSPENDS", "PART"]);
    for group in &all.rows {
        for one in &group.differences {
            table.row(vec![
                group.id.to_string(),
                one.differs.as_str().to_owned(),
                yes_or_no(one.suspends),
                one.part.clone(),
            ]);
        }
    }
    table
}

/// What of the peer is not understood.
pub fn poison(all: &Replication) -> Table {
    let mut table = Table::new(&[">GROUP", ">NOT UNDERSTOOD", ">TIMES", "GIVEN UP", "WHY"]);
    for group in &all.rows {
        if let Some(poison) = &group.poison {
            table.row(vec![
                group.id.to_string(),
                poison.sequence.to_string(),
                poison.times.to_string(),
                yes_or_no(poison.skipped),
                poison.error.clone(),
            ]);
        }
    }
    table
}
