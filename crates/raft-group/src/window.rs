//! What raft-rs sees of the log: the newest entries in memory, terms of all of it.
//!
//! Everything above the applied index is here (C5), so raft-rs is never answered with an error it
//! can't take. Older entries are on disk only: a follower that needs them is served by a read job,
//! which the driver runs elsewhere, and whose result is lent to raft-rs through [`Window::lend`].

use base::ids::EntryId;
use base::mutation::{self, Mutation};
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};

/// How many reads that begin at one index may be under way. raft-rs asks anew with every answer of a
/// member that lacks entries; all but the first of these would only keep the disk busy. A member
/// that is left out asks again with its next heartbeat.
const READS_AT_ONE_PLACE: usize = 2;

/// A read of old entries that raft-rs waits for.
pub struct Wanted {
    /// First index wanted.
    pub low: u64,
    /// One past the last index wanted.
    pub high: u64,
    pub(super) context: GetEntriesContext,
}

/// The group's log as far as memory holds it.
pub struct Window {
    hard_state: HardState,
    conf_state: ConfState,
    /// The entry before the log's first one.
    base: EntryId,
    /// Entries [`front`, last], consecutive.
    entries: VecDeque<Entry>,
    front: u64,
    bytes: usize,
    /// The first entry of every term in the whole log, the one before it included.
    terms: Vec<EntryId>,
    /// Entries that a read job brought, until raft-rs has sent them.
    lent: Vec<Entry>,
    /// The state that a member is given which lacks what the log has lost: its entry, and the members then.
    state: Option<(EntryId, ConfState)>,
    /// There was none when a member needed one.
    lacks_state: Cell<bool>,
    wanted: RefCell<Vec<Wanted>>,
    /// First index -> reads that are wanted or under way.
    reading: RefCell<BTreeMap<u64, usize>>,
}

impl Window {
    /// The window of a group that starts: `base` stands before the log's first entry, `terms` cover the
    /// log, `entries` are all that recovery did not apply.
    pub fn new(
        base: EntryId,
        hard_state: HardState,
        conf_state: ConfState,
        mut terms: Vec<EntryId>,
        applied: u64,
        entries: Vec<Entry>,
    ) -> Window {
        assert!(
            !conf_state.voters.is_empty(),
            "G1: an empty ConfState is never used"
        );
        if terms.first().is_none_or(|first| first.index > base.index) {
            terms.insert(0, base);
        }
        let mut window = Window {
            hard_state,
            conf_state,
            base,
            entries: VecDeque::new(),
            front: applied + 1,
            bytes: 0,
            terms,
            lent: Vec::new(),
            state: None,
            lacks_state: Cell::new(false),
            wanted: RefCell::new(Vec::new()),
            reading: RefCell::default(),
        };
        for entry in entries {
            assert_eq!(
                entry.index,
                window.last() + 1,
                "recovered entries are consecutive"
            );
            window.bytes += size(&entry);
            window.entries.push_back(entry);
        }
        window
    }

    /// The entry before the log's first one.
    pub fn before(&self) -> EntryId {
        self.base
    }

    /// The last index of the log.
    pub fn last(&self) -> u64 {
        self.front + self.entries.len() as u64 - 1
    }

    /// Takes in what a Ready appends; a conflicting suffix goes (raft-rs has checked it).
    pub fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(
            first.index >= self.front && first.index <= self.last() + 1,
            "no gap, nothing applied is overwritten"
        );
        while self.last() >= first.index {
            let gone = self
                .entries
                .pop_back()
                .expect("entries reach past first.index");
            self.bytes -= size(&gone);
        }
        while self.terms.last().is_some_and(|at| at.index >= first.index) {
            self.terms.pop();
        }
        for entry in entries {
            if self.terms.last().expect("the base stays").term != entry.term {
                self.terms.push(EntryId {
                    index: entry.index,
                    term: entry.term,
                });
            }
            self.bytes += size(entry);
            self.entries.push_back(entry.clone());
        }
    }

    /// Forgets entries up to `applied` while more than `keep_bytes` are held.
    pub fn shrink(&mut self, applied: u64, keep_bytes: usize) {
        let all = mutation::is(Mutation::WindowForgetsUnapplied);
        while self.bytes > keep_bytes && (self.front <= applied || all) {
            let Some(gone) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= size(&gone);
            self.front += 1;
        }
    }

    /// Forgets the log up to `base`, but for the term there (P14): the append of what comes next is
    /// checked against it.
    pub fn compact(&mut self, base: EntryId) {
        if base.index <= self.base.index {
            return; // the log begins where it did
        }
        while self.front <= base.index {
            let Some(gone) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= size(&gone);
            self.front += 1;
        }
        assert!(
            self.front > base.index,
            "what is not applied is in memory (C5)"
        );
        self.terms.retain(|first| first.index > base.index);
        self.terms.insert(0, base);
        self.base = base;
        if mutation::is(Mutation::ForgetTermBeforeFirst) {
            self.terms[0].term = 0;
        }
    }

    /// Bytes of entries held in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The term at `index`, for the whole log.
    pub fn term_at(&self, index: u64) -> Option<u64> {
        if index < self.base.index || index > self.last() {
            return None;
        }
        let at = self.terms.partition_point(|first| first.index <= index);
        Some(self.terms[at - 1].term)
    }

    /// Reads of old entries that raft-rs has asked for since the last call.
    pub fn take_wanted(&mut self) -> Vec<Wanted> {
        self.wanted.take()
    }

    /// A read that was wanted has ended, or will never be made.
    pub fn end_read(&mut self, low: u64) {
        let reading = self.reading.get_mut();
        if let Some(count) = reading.get_mut(&low) {
            *count -= 1;
            if *count == 0 {
                reading.remove(&low);
            }
        }
    }

    /// Lends entries from disk until [`Window::end_lend`].
    pub fn lend(&mut self, entries: Vec<Entry>) {
        self.lent = entries;
    }

    pub fn end_lend(&mut self) {
        self.lent = Vec::new();
    }

    /// P15: what is offered to a member that needs more than the log has.
    pub fn set_state(&mut self, at: EntryId, conf_state: ConfState) {
        self.state = Some((at, conf_state));
        self.lacks_state.set(false);
    }

    /// P15: whether a member needs a state, and there is none.
    pub fn lacks_state(&self) -> bool {
        self.lacks_state.get()
    }

    pub fn set_conf_state(&mut self, conf_state: ConfState) {
        assert!(
            !conf_state.voters.is_empty(),
            "G1: an empty ConfState is never used"
        );
        self.conf_state = conf_state;
    }

    fn lent_from(&self, low: u64, high: u64) -> Option<&[Entry]> {
        let first = self.lent.first()?.index;
        let at = usize::try_from(low.checked_sub(first)?).ok()?;
        let rest = self.lent.get(at..)?;
        let most = usize::try_from(high - low).unwrap_or(usize::MAX);
        (!rest.is_empty()).then(|| &rest[..rest.len().min(most)])
    }
}

fn size(entry: &Entry) -> usize {
    std::mem::size_of::<Entry>() + entry.data.len() + entry.context.len()
}

/// At least one entry, and no more than `max` bytes of them.
fn limited<'a>(entries: impl Iterator<Item = &'a Entry>, max: Option<u64>) -> Vec<Entry> {
    let max = max.unwrap_or(u64::MAX);
    let mut total = 0u64;
    let mut out = Vec::new();
    for entry in entries {
        total += entry.data.len() as u64 + entry.context.len() as u64 + 24;
        if total > max && !out.is_empty() {
            break;
        }
        out.push(entry.clone());
    }
    out
}

impl Storage for Window {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(
            self.hard_state.clone(),
            self.conf_state.clone(),
        ))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        assert!(
            low > self.base.index && high <= self.last() + 1,
            "entries [{low}, {high}) lie in the log"
        );
        let max = max_size.into();
        if low >= self.front {
            let skip = usize::try_from(low - self.front).expect("inside the window");
            let count = usize::try_from(high - low).expect("inside the window");
            return Ok(limited(self.entries.range(skip..skip + count), max));
        }
        if let Some(lent) = self.lent_from(low, high) {
            return Ok(limited(lent.iter(), max));
        }
        assert!(
            context.can_async(),
            "C5: everything above applied stays in memory"
        );
        let mut reading = self.reading.borrow_mut();
        let count = reading.entry(low).or_default();
        if *count < READS_AT_ONE_PLACE {
            *count += 1;
            self.wanted.borrow_mut().push(Wanted { low, high, context });
        }
        Err(StorageError::LogTemporarilyUnavailable.into())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        match self.term_at(index) {
            Some(term) => Ok(term),
            None if index < self.base.index => Err(StorageError::Compacted.into()),
            None => Err(StorageError::Unavailable.into()),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, _request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        // P14: any other error is fatal to raft-rs, and so is the index 0.
        let Some((at, conf_state)) = &self.state else {
            self.lacks_state.set(true);
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        };
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        (metadata.index, metadata.term) = (at.index, at.term);
        metadata.set_conf_state(conf_state.clone());
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry {
            index,
            term,
            data: vec![0u8; 10].into(),
            ..Entry::default()
        }
    }

    fn window() -> Window {
        let conf = ConfState {
            voters: vec![1],
            ..ConfState::default()
        };
        Window::new(
            EntryId { index: 1, term: 1 },
            HardState::default(),
            conf,
            vec![EntryId { index: 1, term: 1 }],
            1,
            Vec::new(),
        )
    }

    /// P15: without one the member that was to have it would wait for ever.
    #[test]
    fn a_state_that_was_asked_for_is_lacking_until_set() {
        let conf = ConfState::from((vec![1], vec![]));
        let before = EntryId { index: 5, term: 2 };
        let hard_state = HardState::default();
        let mut window = Window::new(before, hard_state, conf.clone(), Vec::new(), 5, Vec::new());
        assert!(!window.lacks_state(), "nobody has asked");
        assert!(window.snapshot(0, 2).is_err());
        assert!(window.lacks_state());
        window.set_state(before, conf);
        assert!(!window.lacks_state());
        assert!(window.snapshot(0, 2).is_ok());
    }

    #[test]
    fn an_overwritten_suffix_takes_its_terms_along() {
        let mut w = window();
        w.append(&[entry(2, 2), entry(3, 2), entry(4, 3)]);
        assert_eq!(
            [1, 2, 3, 4].map(|i| w.term_at(i)),
            [Some(1), Some(2), Some(2), Some(3)]
        );
        w.append(&[entry(3, 5)]);
        assert_eq!([2, 3, 4].map(|i| w.term_at(i)), [Some(2), Some(5), None]);
        assert_eq!(w.last(), 3);
    }

    #[test]
    fn what_is_applied_may_leave_memory_and_keeps_its_term() {
        let mut w = window();
        w.append(&[entry(2, 2), entry(3, 2), entry(4, 2)]);
        w.shrink(3, 0);
        assert_eq!(w.term_at(2), Some(2));
        assert_eq!(
            w.entries(4, 5, None, GetEntriesContext::empty(false))
                .expect("held")
                .len(),
            1
        );
        let gone = w.entries(2, 5, None, GetEntriesContext::empty(true));
        assert!(gone.is_err());
        assert_eq!(w.take_wanted().len(), 1);
        w.lend(vec![entry(2, 2), entry(3, 2)]);
        assert_eq!(
            w.entries(2, 5, None, GetEntriesContext::empty(true))
                .expect("lent")
                .len(),
            2
        );
    }

    #[test]
    fn a_compacted_window_knows_the_term_before_its_first_entry() {
        let mut w = window();
        w.append(&[entry(2, 2), entry(3, 2), entry(4, 3), entry(5, 3)]);
        w.shrink(3, 0);
        w.compact(EntryId { index: 3, term: 2 });
        assert_eq!(
            [2, 3, 4, 5].map(|i| w.term_at(i)),
            [None, Some(2), Some(3), Some(3)]
        );
        assert_eq!(w.first_index(), Ok(4));
        assert_eq!(w.term(2), Err(StorageError::Compacted.into()));
        w.compact(EntryId { index: 1, term: 1 });
        assert_eq!(w.first_index(), Ok(4));
        // In the midst of a term, and up to the end.
        w.shrink(5, 0);
        w.compact(EntryId { index: 4, term: 3 });
        assert_eq!([4, 5].map(|i| w.term_at(i)), [Some(3), Some(3)]);
        w.compact(EntryId { index: 5, term: 3 });
        assert_eq!((w.term_at(5), w.last()), (Some(3), 5));
        w.append(&[entry(6, 3)]);
        assert_eq!(w.term_at(6), Some(3));
    }

    #[test]
    #[cfg(feature = "mutations")]
    fn a_forgotten_term_before_the_first_entry_is_seen() {
        let mut w = window();
        w.append(&[entry(2, 2), entry(3, 2)]);
        mutation::set(Some(Mutation::ForgetTermBeforeFirst));
        w.compact(EntryId { index: 2, term: 2 });
        mutation::set(None);
        assert_ne!(w.term_at(2), Some(2));
    }

    #[test]
    fn what_is_being_read_is_not_wanted_again_and_again() {
        let mut w = window();
        w.append(&[entry(2, 2), entry(3, 2), entry(4, 2)]);
        w.shrink(4, 0);
        let ask = |w: &mut Window, low| {
            let asked = w.entries(low, 5, None, GetEntriesContext::empty(true));
            assert!(asked.is_err());
        };
        for _ in 0..100 {
            ask(&mut w, 2);
            ask(&mut w, 3);
        }
        let lows: Vec<u64> = w.take_wanted().iter().map(|wanted| wanted.low).collect();
        assert_eq!(lows, [2, 3, 2, 3]);
        ask(&mut w, 2);
        assert_eq!(w.take_wanted().len(), 0, "they are under way");
        w.end_read(2);
        ask(&mut w, 2);
        ask(&mut w, 2);
        assert_eq!(w.take_wanted().len(), 1);
    }
}
