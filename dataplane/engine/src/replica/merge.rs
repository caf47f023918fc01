//! What became of what the other chassis had begun while both were primary.

/// What a worker made of what it was offered of a service set, in one bulk. What is refused counts once, however often it is offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merge {
    /// Sessions that were lacking here, and are here now.
    pub sessions: u64,
    /// Sessions that were here already, as the other chassis has them.
    pub known: u64,
    /// Extents of public ports that were nobody's here, and are the other chassis' shard's now.
    pub extents: u64,
    /// Public ends (address, port, protocol) that both chassis have given, to two: they stay with this one's.
    pub public_ends: u64,
    /// Inside ends of which both chassis have a session or mapping, by two public ends: this one's stays.
    pub inside_ends: u64,
    /// Port blocks of which both chassis have given some port, to two: they stay with this one's.
    pub blocks: u64,
    /// Extents that one shard has here and another one there: what the other chassis has in them cannot be had here.
    pub extents_of_others: u64,
    /// Sessions refused because of what they stand on: a mapping, block or extent that was refused, or a full table.
    pub refused: u64,
}

impl Merge {
    /// The numbers of two workers, or of two parts, together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            sessions: self.sessions + other.sessions,
            known: self.known + other.known,
            extents: self.extents + other.extents,
            public_ends: self.public_ends + other.public_ends,
            inside_ends: self.inside_ends + other.inside_ends,
            blocks: self.blocks + other.blocks,
            extents_of_others: self.extents_of_others + other.extents_of_others,
            refused: self.refused + other.refused,
        }
    }
}
