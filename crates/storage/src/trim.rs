//! The log's end: what may be dropped, and the two jobs that do it (P8, P10).
//!
//! Owns the choice of where the log is to begin ([`choose`]), the replacement of the base, and the
//! removal of what it names no more. Never makes a snapshot, and never asks which member needs what:
//! its caller says what others need ([`Needed`]).
//!
//! The order is the safety: the new base is durable before memory forgets an entry, and memory has
//! forgotten before a file goes. A crash between any two steps leaves one of two whole logs.

use super::base::{Base, LogStart, SnapshotMeta};
use super::disk::Disk;
use super::error::{Result, StorageError};
use super::index::{is_replaced, LogIndex};
use super::log::Log;
use super::position::Position;
use ::base::ids::EntryId;
use ::base::mutation::{self, Mutation};

/// The first record that begins in a segment. What is kept of it never changes, for written records
/// don't; which entry stands before it follows from later truncations, so that is never kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstRecord {
    pub position: Position,
    /// The checksum of the piece before it.
    pub chain: u32,
    /// The index of its first entry; of the entry to come, if it has none.
    pub next: u64,
}

/// P11: what other members need of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needed {
    /// They have all entries up to here.
    pub behind: u64,
    /// A log that is longer is not kept for them: a state costs less. None: it is, however long.
    pub cap: Option<u64>,
    /// Not even the floor is kept: there is no other member, and the disk is full.
    pub lean: bool,
}

impl Needed {
    /// There is no other member.
    pub const NOTHING: Needed = Needed {
        behind: u64::MAX,
        cap: None,
        lean: false,
    };
}

/// What the choice of a start looks at.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Where the log begins now.
    pub start: Position,
    /// The index as of which the base is to have the state.
    pub state: u64,
    /// All records that begin below are on disk.
    pub durable: Position,
    /// A position at or before the newest applied entry.
    pub applied: Position,
    /// Bytes of log below it that are never dropped.
    pub floor: u64,
    /// Where the log ends.
    pub end: Position,
    pub needed: Needed,
}

/// P10: where the log may begin, as late as can be; `None`: where it does. `firsts`, in the log's
/// order, are the records with which segments begin.
pub fn choose(facts: &Facts, firsts: &[FirstRecord], index: &LogIndex) -> Option<LogStart> {
    let mut newest_first = firsts.iter().rev();
    newest_first.find_map(|first| start_at(facts, first, index))
}

fn start_at(facts: &Facts, first: &FirstRecord, index: &LogIndex) -> Option<LogStart> {
    let before = first.next.checked_sub(1)?;
    let keeps_floor = first.position.0 + facts.floor <= facts.applied.0;
    if !keeps_floor && !mutation::is(Mutation::TrimBelowFloor) {
        return None;
    }
    // The entry at the state's index stays: it bears witness that the log reaches there.
    let covered = before < facts.state || mutation::is(Mutation::TrimPastApplied);
    // A sync ends behind a whole record.
    let is_durable = first.position < facts.durable;
    if !covered || !is_durable || first.position <= facts.start {
        return None;
    }
    let needed = &facts.needed;
    let too_long = |cap: u64| first.position.0.saturating_add(cap) <= facts.end.0;
    let is_needed = before > needed.behind && !needed.cap.is_some_and(too_long);
    if is_needed && !mutation::is(Mutation::TrimPastNeeded) {
        return None;
    }
    // A truncation behind the record may reach below it: then entries that count lie on both sides
    // of what was before it when it was written.
    let cuts = index.cuts_after(first.position);
    let torn = is_replaced(cuts, first.position, before);
    if torn && !mutation::is(Mutation::StartIgnoresTruncation) {
        return None;
    }
    Some(LogStart {
        position: first.position,
        chain: first.chain,
        before: EntryId {
            index: before,
            term: index.term(before)?,
        },
    })
}

impl<D: Disk> Log<D> {
    /// Whether the entry, and so all before it, is on disk.
    pub fn has_on_disk(&self, index: u64) -> bool {
        match self.index.behind(index) {
            Some(behind) => behind <= self.durable(),
            None => self.durable() == self.end,
        }
    }

    /// P8, P10: the job that makes `snapshot` the state from which this member begins, and drops what
    /// of the log need not be kept; `None` while the entry at its index is not on disk. Its file is
    /// there, whole and durable; all up to its index is applied, and so is `applied`. The state may be the
    /// present one: then only the log loses what is needed no longer. One at a time.
    pub fn switch_job(
        &self,
        snapshot: &SnapshotMeta,
        applied: u64,
        needed: Needed,
    ) -> Option<SwitchJob<D>> {
        let at = snapshot.entry();
        let is_newer = at.index > self.base.snapshot.index || *snapshot == self.base.snapshot;
        assert!(
            is_newer && at.index <= applied,
            "P10: a newer state replaces an older one, of what is applied"
        );
        assert_eq!(
            self.term(at.index),
            Some(at.term),
            "P10: the state is that of the own log"
        );
        if !self.has_on_disk(at.index) && !mutation::is(Mutation::StateAheadOfLog) {
            return None;
        }
        let start = self.start_for(at.index, applied, needed);
        let base = Base {
            identity: self.base.identity,
            snapshot: snapshot.clone(),
            start: start.or(self.base.start).or(Some(LogStart {
                position: Position(0),
                chain: 0,
                before: self.base.log_before(),
            })),
        };
        let gone = base
            .start
            .map_or(0, |start| self.segments_below(start.position));
        let old = self.base.snapshot.file_name();
        let old = old.filter(|_| *snapshot != self.base.snapshot);
        let trim = TrimJob::new(
            self.disk.clone(),
            self.segments[..gone]
                .iter()
                .map(|s| s.meta.name())
                .collect(),
            old.into_iter().collect(),
        );
        Some(SwitchJob {
            base: Box::new(base),
            trim,
        })
    }

    /// P10: where the log could begin under a state as of an index; none: where it does.
    pub fn start_for(&self, state: u64, applied: u64, needed: Needed) -> Option<LogStart> {
        let firsts: Vec<FirstRecord> = self.segments.iter().filter_map(|s| s.first).collect();
        // No entry from `next` on lies before its record.
        let segment = firsts.iter().rfind(|first| first.next <= applied);
        let near = self.index.seek(applied).unwrap_or_default();
        let facts = Facts {
            start: self.base.start.map_or(Position(0), |start| start.position),
            state,
            durable: self.durable(),
            applied: segment.map_or(near, |first| near.max(first.position)),
            floor: match needed.lean {
                true => 0,
                false => self.config.floor(),
            },
            end: self.end,
            needed,
        };
        choose(&facts, &firsts, &self.index)
    }

    /// P11: the most of a log that is kept for members which lack some of it, with a state of so many bytes.
    pub fn cap(&self, state: u64) -> u64 {
        self.config.floor().max(state)
    }

    /// The job that removes a snapshot which no base names, nor ever will.
    pub fn drop_state(&self, snapshot: &SnapshotMeta) -> TrimJob<D> {
        let name = snapshot.file_name().into_iter().collect();
        TrimJob::new(self.disk.clone(), Vec::new(), name)
    }

    /// P8: the new base is durable, and memory follows it. What comes back removes the files that it
    /// names no more.
    pub fn switched(&mut self, base: Base, trim: TrimJob<D>) -> TrimJob<D> {
        let start = base
            .start
            .expect("a base that replaces another one has a start");
        let gone = self.segments_below(start.position);
        assert!(
            gone <= self.closed,
            "what is dropped is durable, so it is closed"
        );
        self.segments.drain(..gone);
        (self.active, self.closed) = (self.active - gone, self.closed - gone);
        if start.before.index >= self.index.first() {
            self.index.compact(start.position, start.before);
        }
        self.base = base;
        trim
    }

    fn segments_below(&self, position: Position) -> usize {
        self.segments.partition_point(|s| s.meta.end <= position)
    }
}

/// Replaces the base, on a thread that may block. Its last sync decides; a crash leaves the old base
/// or the new one.
pub struct SwitchJob<D: Disk> {
    base: Box<Base>,
    trim: TrimJob<D>,
}

/// What came of it.
pub enum Switched<D: Disk> {
    /// To be taken in by [`Log::switched`].
    Done(Box<Base>, TrimJob<D>),
    /// Nothing has changed: it may be tried again.
    NotYet(StorageError),
}

impl<D: Disk> SwitchJob<D> {
    /// The base that is to be.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// D5: an error before the rename changes nothing, not even on a full disk; after one behind it the
    /// process must end, since nobody knows which base stands.
    pub fn run(self) -> Result<Switched<D>> {
        let SwitchJob { base, trim } = self;
        if mutation::is(Mutation::TrimBeforeBase) {
            trim.clone().run()?;
        }
        if let Err(error) = base.write(&trim.disk) {
            return Ok(Switched::NotYet(error));
        }
        Base::replace(&trim.disk)?;
        Ok(Switched::Done(base, trim))
    }
}

/// Removes segments and snapshots that the durable base names no more.
#[derive(Clone)]
pub struct TrimJob<D: Disk> {
    disk: D,
    /// Oldest first.
    segments: Vec<String>,
    snapshots: Vec<String>,
}

impl<D: Disk> TrimJob<D> {
    pub(super) fn new(disk: D, segments: Vec<String>, snapshots: Vec<String>) -> TrimJob<D> {
        TrimJob {
            disk,
            segments,
            snapshots,
        }
    }

    /// The other job's files go with this one's, and before them.
    pub fn join(&mut self, mut other: TrimJob<D>) {
        other.segments.append(&mut self.segments);
        self.segments = other.segments;
        self.snapshots.append(&mut other.snapshots);
    }

    /// Nothing depends on it: what is left, or comes back by a crash, goes at the next start.
    pub fn run(self) -> Result<()> {
        self.attempt().map_or(Ok(()), |left| Err(left.error))
    }

    /// The same; what is left may be tried again. A file that can't be removed holds up no other one of its kind, but
    /// segments go oldest first.
    pub fn attempt(mut self) -> Option<NotRemoved<D>> {
        let disk = &self.disk;
        let mut failed = None;
        let remove = |name: &str| match disk.remove(name) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(StorageError::io("remove", name)),
        };
        let mut stays = |name: &String| match remove(name) {
            Err(error) => {
                failed.get_or_insert(error);
                true
            }
            Ok(()) => false,
        };
        let gone = self.segments.iter().take_while(|name| !stays(name)).count();
        self.segments.drain(..gone);
        self.snapshots.retain(|name| stays(name));
        let synced = disk.sync_dir();
        let synced = synced.map_err(StorageError::io("sync the folder of", super::base::FILE));
        let error = failed.or(synced.err())?;
        Some(NotRemoved { job: self, error })
    }
}

/// What of a job is left, and why.
pub struct NotRemoved<D: Disk> {
    pub job: TrimJob<D>,
    pub error: StorageError,
}
