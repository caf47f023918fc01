//! What of a fragmented datagram has come: overlap, length and completeness, without the payload itself.

/// Why a fragment ends the reassembly of its datagram, or is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReassemblyError {
    /// It shares octets with another without being the same: the datagram is discarded (RFC 5722, and for IPv4
    /// because overlaps only serve attacks).
    Overlap,
    /// It is empty, ends beyond 65535 octets, is no multiple of 8 though more follow, lies beyond the end that a
    /// last fragment gave, or gives another end.
    BadLength,
    /// More pieces than the list holds.
    TooMany,
}

/// How far a reassembly is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Octets are missing.
    Incomplete,
    /// The same piece came before; it can be dropped.
    Duplicate,
    /// All octets are there: the length of the payload.
    Complete(u16),
}

/// Which octets of a fragmented datagram have come: at most `N` pieces, kept in order. Holds no payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coverage<const N: usize> {
    /// Start and end (not included) of each piece, ascending, disjoint.
    pieces: [(u16, u16); N],
    count: usize,
    covered: u32,
    /// Payload length, once the last fragment has come.
    end: Option<u16>,
}

impl<const N: usize> Default for Coverage<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Coverage<N> {
    /// Nothing has come.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            pieces: [(0, 0); N],
            count: 0,
            covered: 0,
            end: None,
        }
    }

    /// Payload length of the datagram, once the last fragment has come.
    #[must_use]
    pub const fn end(&self) -> Option<u16> {
        self.end
    }

    /// Takes a fragment of `len` octets of payload at `offset`.
    ///
    /// # Errors
    /// See [`ReassemblyError`]; after an error the datagram should be given up. Nothing was changed.
    pub fn insert(&mut self, offset: u16, len: u16, more: bool) -> Result<Progress, ReassemblyError> {
        let end = offset.checked_add(len).ok_or(ReassemblyError::BadLength)?;
        if len == 0 || !offset.is_multiple_of(8) || more && !len.is_multiple_of(8) {
            return Err(ReassemblyError::BadLength);
        }
        let taken = self.pieces.get(..self.count).unwrap_or(&[]);
        let beyond = match self.end {
            Some(known) => end > known || !more && end != known || more && end == known,
            None => !more && taken.last().is_some_and(|last| last.1 > end),
        };
        if beyond {
            return Err(ReassemblyError::BadLength);
        }
        let place = taken.partition_point(|p| p.0 < offset);
        if let Some(next) = taken.get(place) {
            if *next == (offset, end) {
                // The same octets: as a last fragment only if it was one before.
                return if more || self.end == Some(end) {
                    Ok(Progress::Duplicate)
                } else {
                    Err(ReassemblyError::BadLength)
                };
            }
            if next.0 < end {
                return Err(ReassemblyError::Overlap);
            }
        }
        if place
            .checked_sub(1)
            .and_then(|before| taken.get(before))
            .is_some_and(|before| before.1 > offset)
        {
            return Err(ReassemblyError::Overlap);
        }
        let room = self
            .pieces
            .get_mut(place..=self.count)
            .ok_or(ReassemblyError::TooMany)?;
        if let [_, ..] = room {
            room.rotate_right(1);
        }
        if let Some(slot) = room.first_mut() {
            *slot = (offset, end);
        }
        self.count += 1;
        self.covered += u32::from(len);
        if !more {
            self.end = Some(end);
        }
        match self.end {
            Some(all) if self.covered == u32::from(all) => Ok(Progress::Complete(all)),
            _ => Ok(Progress::Incomplete),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_refusals() {
        use Progress::*;
        use ReassemblyError::*;
        let mut c = Coverage::<4>::new();
        assert_eq!(c.insert(16, 8, true), Ok(Incomplete));
        assert_eq!(c.insert(16, 8, true), Ok(Duplicate));
        assert_eq!(c.insert(16, 16, true), Err(Overlap));
        assert_eq!(c.insert(8, 16, true), Err(Overlap));
        assert_eq!(c.insert(8, 9, false), Err(BadLength), "ends below what came");
        assert_eq!(c.insert(0, 40, true), Err(Overlap));
        assert_eq!(c.insert(0, 7, true), Err(BadLength));
        assert_eq!(c.insert(0, 0, true), Err(BadLength));
        assert_eq!(c.insert(4, 8, true), Err(BadLength));
        assert_eq!(c.insert(65528, 8, false), Err(BadLength));
        assert_eq!(c.insert(24, 3, false), Ok(Incomplete));
        assert_eq!(c.insert(24, 3, false), Ok(Duplicate));
        assert_eq!(c.insert(24, 4, false), Err(BadLength), "another end");
        assert_eq!(c.insert(32, 8, true), Err(BadLength), "beyond the end");
        assert_eq!(c.insert(0, 8, true), Ok(Incomplete));
        assert_eq!(c.insert(8, 8, true), Ok(Complete(27)));
        let mut full = Coverage::<1>::new();
        assert_eq!(full.insert(0, 8, true), Ok(Incomplete));
        assert_eq!(full.insert(8, 8, true), Err(TooMany));
    }
}
