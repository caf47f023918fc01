//! The tables that a bulk goes over, and the order in which it does.

use crate::replica::ObjectTypes;

/// A table of the walks; what is stood on comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Extents,
    Blocks,
    Mappings,
    Sessions,
}

impl Table {
    /// In the order in which a bulk goes over them.
    const ALL: [Self; 4] = [Self::Extents, Self::Blocks, Self::Mappings, Self::Sessions];

    /// What types of objects it is of.
    pub const fn types(self) -> ObjectTypes {
        match self {
            Self::Extents | Self::Blocks => ObjectTypes::BLOCKS,
            Self::Mappings => ObjectTypes::MAPPINGS,
            Self::Sessions => ObjectTypes::SESSIONS,
        }
    }

    /// The one after this in a bulk of these types; the first without one.
    pub fn next_told(after: Option<Self>, types: ObjectTypes) -> Option<Self> {
        let mut rest = Self::ALL
            .into_iter()
            .skip(after.map_or(0, |table| table as usize + 1));
        rest.find(|table| types.contains(table.types()))
    }

    /// The one after this in the sweep of such a bulk, which goes the other way.
    pub fn next_swept(after: Option<Self>, types: ObjectTypes) -> Option<Self> {
        let from_end = after.map_or(0, |table| Self::ALL.len() - table as usize);
        let mut rest = Self::ALL.into_iter().rev().skip(from_end);
        rest.find(|table| types.contains(table.types()))
    }
}
