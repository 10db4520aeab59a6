//! What the log keeps in memory about its entries: terms, and where to begin reading.
//!
//! Owns the list of each term's first entry, the sparse marks and the truncations. Grows with the
//! number of terms and by one mark per stretch of log, never by entry or record.

use super::position::Position;
use ::base::ids::EntryId;
use ::base::mutation::{self, Mutation};

/// Marks are at least this far apart.
const MARK_EVERY: u64 = 256 * 1024;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogIndex {
    /// The entry before the log's first one.
    base: EntryId,
    last: u64,
    /// The first entry of each term, both rising.
    terms: Vec<EntryId>,
    /// (position, index), both rising: entries from that index on lie at or behind the position.
    marks: Vec<(Position, u64)>,
    /// (position, index), both rising: a record there replaced everything from the index on that
    /// lies before it.
    cuts: Vec<(Position, u64)>,
}

impl LogIndex {
    pub fn new(base: EntryId) -> Self {
        LogIndex {
            base,
            last: base.index,
            ..Self::default()
        }
    }

    pub fn first(&self) -> u64 {
        self.base.index + 1
    }

    pub fn last(&self) -> u64 {
        self.last
    }

    /// The term at `index`, the base's own included.
    pub fn term(&self, index: u64) -> Option<u64> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        if index < self.base.index || index > self.last {
            return None;
        }
        let after = self.terms.partition_point(|t| t.index <= index);
        after.checked_sub(1).map(|i| self.terms[i].term)
    }

    pub fn terms(&self) -> &[EntryId] {
        &self.terms
    }

    /// Appends `index`, which follows the last one.
    pub fn push(&mut self, index: u64, term: u64) {
        assert_eq!(index, self.last + 1, "entries follow one another");
        if self.terms.last().is_none_or(|t| t.term != term) {
            self.terms.push(EntryId { index, term });
        }
        self.last = index;
    }

    /// Replaces everything from `index` on; the record that does so begins at `position`.
    pub fn truncate(&mut self, position: Position, index: u64) {
        assert!(
            index > self.base.index && index <= self.last,
            "only entries can be replaced"
        );
        self.last = index - 1;
        self.terms
            .truncate(self.terms.partition_point(|t| t.index < index));
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

    /// Forgets what lies before `position`, where the entry after `before` is the first to be kept.
    pub fn compact(&mut self, position: Position, before: EntryId) {
        assert!(
            before.index >= self.base.index && before.index <= self.last,
            "a log loses its beginning only"
        );
        let next = before.index + 1;
        let after = self.terms.partition_point(|t| t.index <= next);
        let of_next = self.terms[..after].last().map(|t| t.term);
        self.terms.drain(..after);
        if let Some(term) = of_next.filter(|_| next <= self.last) {
            self.terms.insert(0, EntryId { index: next, term });
        }
        self.marks.retain(|m| m.0 > position);
        self.marks.insert(0, (position, next));
        self.cuts.retain(|c| c.0 > position);
        self.base = before;
        if mutation::is(Mutation::ForgetTermBeforeFirst) {
            self.base.term = 0;
        }
    }

    /// A position behind the entry, where the record that holds it may not have ended yet; `None`:
    /// the log's end.
    pub fn behind(&self, index: u64) -> Option<Position> {
        let after = self.marks.partition_point(|m| m.1 <= index);
        self.marks.get(after).map(|m| m.0)
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
        let mut index = LogIndex::new(EntryId { index: 1, term: 1 });
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
