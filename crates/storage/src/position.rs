//! Positions in the log.

/// A byte offset in the log as a whole, counted over all segments since the group's bootstrap; it only
/// grows, except that a recovery's cut may give a position out again.
///
/// A position's segment and file offset follow from the segments' headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// What a disk may tear or lose at once: the unit of [`Position::aligned`].
pub const SECTOR: u64 = 512;

impl Position {
    /// The first position at or after this one where a sector begins.
    pub fn aligned(self) -> Position {
        Position(self.0.next_multiple_of(SECTOR))
    }

    /// Where this position's sector begins.
    pub fn sector(self) -> Position {
        Position(self.0 - self.0 % SECTOR)
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
