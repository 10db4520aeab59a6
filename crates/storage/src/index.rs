//! What the log keeps in memory about its entries: terms, and where to begin reading.
//!
//! Owns the list of (first index, term), the sparse marks and the truncations. Grows with the
//! number of terms and by one mark per stretch of log, never by entry or record.

use super::position::Position;

/// Marks are at least this far apart.
const MARK_EVERY: u64 = 256 * 1024;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogIndex {
    base_index: u64,
    base_term: u64,
    last: u64,
    /// (first index, term), both rising.
    terms: Vec<(u64, u64)>,
    /// (position, index), both rising: entries from that index on lie at or behind the position.
    marks: Vec<(Position, u64)>,
    /// (position, index), both rising: a record there replaced everything from the index on that
    /// lies before it.
    cuts: Vec<(Position, u64)>,
}

impl LogIndex {
    pub fn new(base_index: u64, base_term: u64) -> Self {
        LogIndex {
            base_index,
            base_term,
            last: base_index,
            ..Self::default()
        }
    }

    pub fn first(&self) -> u64 {
        self.base_index + 1
    }

    pub fn last(&self) -> u64 {
        self.last
    }

    /// The term at `index`, the base's own included.
    pub fn term(&self, index: u64) -> Option<u64> {
        if index == self.base_index {
            return Some(self.base_term);
        }
        if index < self.base_index || index > self.last {
            return None;
        }
        let after = self.terms.partition_point(|t| t.0 <= index);
        after.checked_sub(1).map(|i| self.terms[i].1)
    }

    pub fn terms(&self) -> &[(u64, u64)] {
        &self.terms
    }

    /// Appends `index`, which follows the last one.
    pub fn push(&mut self, index: u64, term: u64) {
        assert_eq!(index, self.last + 1, "entries follow one another");
        if self.terms.last().is_none_or(|t| t.1 != term) {
            self.terms.push((index, term));
        }
        self.last = index;
    }

    /// Replaces everything from `index` on; the record that does so begins at `position`.
    pub fn truncate(&mut self, position: Position, index: u64) {
        assert!(
            index > self.base_index && index <= self.last,
            "only entries can be replaced"
        );
        self.last = index - 1;
        self.terms
            .truncate(self.terms.partition_point(|t| t.0 < index));
        self.marks
            .truncate(self.marks.partition_point(|m| m.1 <= index));
        self.cuts
            .truncate(self.cuts.partition_point(|c| c.1 < index));
        self.cuts.push((position, index));
    }

    /// Notes that reading from `index` on may begin at `position`.
    pub fn mark(&mut self, position: Position, index: u64) {
        match self.marks.last() {
            Some(&(at, _)) if position.0 < at.0 + MARK_EVERY => {}
            // The later position serves as well, and is nearer.
            Some(&(_, i)) if i == index => self.marks.last_mut().expect("just seen").0 = position,
            _ => self.marks.push((position, index)),
        }
    }

    /// Where reading from `index` on begins; `None`: at the log's start.
    pub fn seek(&self, index: u64) -> Option<Position> {
        let after = self.marks.partition_point(|m| m.1 <= index);
        after.checked_sub(1).map(|i| self.marks[i].0)
    }

    /// The truncations behind `position`.
    pub fn cuts_after(&self, position: Position) -> &[(Position, u64)] {
        &self.cuts[self.cuts.partition_point(|c| c.0 <= position)..]
    }
}

/// Whether an entry at `position` was replaced later; `cuts` as in [`LogIndex::cuts_after`].
pub fn is_replaced(cuts: &[(Position, u64)], position: Position, index: u64) -> bool {
    // The first one behind the entry replaced the most of all those behind it.
    let next = cuts.partition_point(|c| c.0 <= position);
    cuts.get(next).is_some_and(|c| c.1 <= index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_marks_and_cuts_follow_a_truncation() {
        let mut index = LogIndex::new(1, 1);
        assert_eq!(
            (index.term(1), index.term(2), index.seek(2)),
            (Some(1), None, None)
        );
        for i in 2..=10 {
            index.mark(Position(i * MARK_EVERY), i);
            index.push(i, if i < 6 { 2 } else { 3 });
        }
        assert_eq!(
            (index.term(5), index.term(6), index.term(11)),
            (Some(2), Some(3), None)
        );
        assert_eq!(index.seek(7), Some(Position(7 * MARK_EVERY)));
        let at = Position(20 * MARK_EVERY);
        index.truncate(at, 5);
        index.mark(at, 5);
        index.push(5, 4);
        assert_eq!(
            (index.last(), index.term(4), index.term(5)),
            (5, Some(2), Some(4))
        );
        assert_eq!(index.seek(5), Some(at));
        assert_eq!(index.seek(4), Some(Position(4 * MARK_EVERY)));
        let cuts = index.cuts_after(Position(4 * MARK_EVERY)).to_vec();
        assert!(is_replaced(&cuts, Position(5 * MARK_EVERY), 5));
        assert!(!is_replaced(&cuts, Position(4 * MARK_EVERY), 4));
        assert!(!is_replaced(&cuts, at, 5));
        index.truncate(Position(30 * MARK_EVERY), 3);
        assert_eq!(
            index.cuts_after(Position(0)),
            &[(Position(30 * MARK_EVERY), 3)]
        );
    }
}
