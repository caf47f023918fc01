//! The table of static mappings: found by their public end and by their inside end, in logarithmic time.

use crate::program::StaticMapping;

/// All static mappings of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticTable {
    mappings: Vec<StaticMapping>,
}
