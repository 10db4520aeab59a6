//! What is in a member's folder, for people: what each file holds, and what recovery makes of it.
//!
//! Owns the counts; what counts of a log is found by recovery itself (`recover::examine`). Never changes anything, and
//! never knows what is in an entry. On a [`TrialDisk`](super::trial::TrialDisk) not even a file is opened for writing.

use super::base::{self, Base};
use super::disk::{Disk, DiskFile};
use super::error::{Result, StorageError};
use super::index::LogIndex;
use super::position::Position;
use super::read::ReadPlan;
use super::record::{EntryRef, Item, Items, CONTINUED, FIRST};
use super::recover::{examine, find_files, scanner, Examined};
use super::reserve;
use super::scan::{each_piece, is_here, segment_of};
use super::segment::{is_segment, is_temporary, SegmentMeta, DATA};
use super::snapshot::is_snapshot;
use ::base::ids::EntryId;
use raft::eraftpb::{Entry, EntryType, HardState};

/// What is kept of a log that was cut by hand: recovery passes over it.
pub const KEPT_SUFFIX: &str = ".cut";

/// What a name says of a file in a member's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    Base,
    Segment,
    Snapshot,
    /// Removed by the next start.
    Temporary,
    /// Nothing but room that is kept.
    Reserve,
    /// Bytes that were cut off by hand.
    Kept,
    /// No file of a member.
    Other,
}

impl FileKind {
    pub fn of(name: &str) -> FileKind {
        match name {
            base::FILE => FileKind::Base,
            reserve::FILE => FileKind::Reserve,
            _ if is_temporary(name) => FileKind::Temporary,
            _ if is_segment(name) => FileKind::Segment,
            _ if is_snapshot(name) => FileKind::Snapshot,
            _ if name.ends_with(KEPT_SUFFIX) => FileKind::Kept,
            _ => FileKind::Other,
        }
    }
}

/// What records say, however many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub pieces: u64,
    /// Records that begin there.
    pub records: u64,
    pub entries: u64,
    /// Entries that change the members.
    pub changes: u64,
    /// The lowest and the highest index of an entry, and term.
    pub indexes: Option<(u64, u64)>,
    pub terms: Option<(u64, u64)>,
    /// The highest commit index that a hard state names, and the newest vote.
    pub commit: u64,
    pub vote: Option<(u64, u64)>,
    /// The highest position that a piece says was durable.
    pub durable: Position,
}

/// One segment of the log.
#[derive(Clone, Debug)]
pub struct SegmentSurvey {
    pub meta: SegmentMeta,
    /// Of the records that count.
    pub tally: Tally,
    /// Offsets of the first byte that is not zero behind the log's end, and of the end of the last one.
    pub behind: Option<(u64, u64)>,
    /// Of what lies there: pieces that are valid for themselves.
    pub stray: Tally,
}

/// What a log is.
pub struct Survey<D: Disk> {
    disk: D,
    pub base: Base,
    pub segments: Vec<SegmentSurvey>,
    /// Segments below the start, oldest first, and snapshots that the base does not name: they go at the next start.
    pub below: Vec<String>,
    pub unnamed: Vec<String>,
    /// P9: of the log, or of the base where that knows more.
    pub hard_state: HardState,
    /// The end of the last record that counts.
    pub end: Position,
    /// The highest position that was known durable.
    pub durable: Position,
    /// Why recovery refuses, if it does.
    pub refused: Option<StorageError>,
    metas: Vec<SegmentMeta>,
    index: LogIndex,
}

impl<D: Disk> Survey<D> {
    /// The log of this base. An error is one of reading, or of a file that recovery can't use at all.
    pub fn new(disk: &D, base: &Base) -> Result<Survey<D>> {
        let found = find_files(disk, base)?;
        let Examined {
            metas,
            walk,
            hard_state,
            behind,
            refused,
            ..
        } = examine(disk, base, found.segments)?;
        let survey = |meta: &SegmentMeta| SegmentSurvey {
            meta: meta.clone(),
            tally: Tally::default(),
            behind: None,
            stray: Tally::default(),
        };
        let mut segments: Vec<SegmentSurvey> = metas.iter().map(survey).collect();
        count(disk, base, &metas, walk.end, &mut segments)?;
        let mut durable = walk.durable;
        for behind in behind {
            let segment = &mut segments[behind.segment];
            let Some((from, to)) = behind.used else {
                continue;
            };
            segment.behind = Some((segment.meta.offset(from), segment.meta.offset(to)));
            segment.stray = stray_in(disk, &segment.meta, from)?;
            durable = durable.max(segment.stray.durable);
        }
        Ok(Survey {
            disk: disk.clone(),
            base: base.clone(),
            segments,
            below: found.below,
            unnamed: found.unnamed,
            hard_state,
            end: walk.end,
            durable,
            refused,
            metas,
            index: walk.index,
        })
    }

    /// The index of the log's first entry.
    pub fn first(&self) -> u64 {
        self.index.first()
    }

    pub fn last(&self) -> u64 {
        self.index.last()
    }

    /// The first entry of each term.
    pub fn terms(&self) -> &[EntryId] {
        self.index.terms()
    }

    /// Whether the entry is one of the log.
    pub fn has(&self, index: u64) -> bool {
        (self.first()..=self.last()).contains(&index)
    }

    /// Visits entries of the log in order; what `from..=to` has beyond it is left out.
    pub fn entries<E: From<StorageError>>(
        &self,
        (from, to): (u64, u64),
        mut visit: impl FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let (from, to) = (from.max(self.first()), to.min(self.last()));
        if from > to {
            return Ok(());
        }
        let oldest = self.metas.first().map_or(Position(0), |meta| meta.start);
        let start = self.index.seek(from).unwrap_or(oldest);
        let plan = ReadPlan {
            segments: self.metas.clone(),
            start,
            limit: self.end,
            is_open: false,
            cuts: self.index.cuts_after(start).to_vec(),
            from,
            to,
        };
        plan.replay(&self.disk, |entry| visit(entry).map(|()| true))
    }
}

impl Tally {
    fn piece(&mut self, flags: u8, durable: Position) {
        self.pieces += 1;
        self.records += u64::from(flags & FIRST != 0);
        self.durable = self.durable.max(durable);
    }

    fn item(&mut self, item: &Item<'_>) {
        match item {
            Item::HardState(hard) => {
                self.commit = self.commit.max(hard.commit);
                if hard.vote != 0 {
                    self.vote = self.vote.max(Some((hard.term, hard.vote)));
                }
            }
            Item::Entry(entry) => self.entry(entry),
        }
    }

    fn entry(&mut self, entry: &EntryRef<'_>) {
        let widen = |range: Option<(u64, u64)>, n: u64| {
            let (low, high) = range.unwrap_or((n, n));
            Some((low.min(n), high.max(n)))
        };
        self.entries += 1;
        self.changes += u64::from(entry.entry_type != EntryType::EntryNormal);
        self.indexes = widen(self.indexes, entry.index);
        self.terms = widen(self.terms, entry.term);
    }

    /// Takes in what another one has counted.
    pub fn add(&mut self, other: &Tally) {
        let both = |a: Option<(u64, u64)>, b: Option<(u64, u64)>| match (a, b) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
        self.pieces += other.pieces;
        self.records += other.records;
        self.entries += other.entries;
        self.changes += other.changes;
        self.indexes = both(self.indexes, other.indexes);
        self.terms = both(self.terms, other.terms);
        self.commit = self.commit.max(other.commit);
        self.vote = self.vote.max(other.vote);
        self.durable = self.durable.max(other.durable);
    }

    /// What can be read of pieces that lie anywhere in `bytes`: of a file with a header that says nothing.
    pub(super) fn of_any(bytes: &[u8]) -> Tally {
        let mut tally = Tally::default();
        each_piece(
            bytes,
            Position(0),
            |_, _| true,
            |header, body| tally.stray(header.flags, header.durable, body),
        );
        tally
    }

    /// A piece by itself: an item that begins or ends in another one is left out.
    fn stray(&mut self, flags: u8, durable: Position, body: &[u8]) {
        self.piece(flags, durable);
        if flags & CONTINUED != 0 {
            return;
        }
        let mut items = Items::default();
        let _: Result<(), &str> = items.feed(body, |item| {
            self.item(&item);
            Ok(())
        });
    }
}

/// Counts the records that count.
fn count<D: Disk>(
    disk: &D,
    base: &Base,
    metas: &[SegmentMeta],
    end: Position,
    segments: &mut [SegmentSurvey],
) -> Result<()> {
    let mut scanner = scanner(disk, metas, base, end);
    let mut items = Items::default();
    while let Some((header, body)) = scanner.next_piece()? {
        let Some(at) = segment_of(metas, header.position) else {
            break;
        };
        let tally = &mut segments[at].tally;
        tally.piece(header.flags, header.durable);
        let counted = items.feed(body, |item| {
            tally.item(&item);
            Ok::<(), &str>(())
        });
        if counted.is_err() {
            break; // the walk has seen these bytes as well, and does not count them
        }
    }
    Ok(())
}

/// What can be read behind the log's end.
fn stray_in<D: Disk>(disk: &D, meta: &SegmentMeta, from: Position) -> Result<Tally> {
    let bytes = read_from(disk, &meta.name(), meta.offset(from))?;
    let mut tally = Tally::default();
    let is_its = |header: &super::record::Header, at| is_here(header, meta, at);
    each_piece(&bytes, from, is_its, |header, body| {
        tally.stray(header.flags, header.durable, body);
    });
    Ok(tally)
}

/// A file's bytes from an offset on; of a segment, so they fit into memory as they do in recovery.
pub(super) fn read_from<D: Disk>(disk: &D, name: &str, from: u64) -> Result<Vec<u8>> {
    let file = disk.open(name).map_err(StorageError::io("open", name))?;
    let len = file.len().map_err(StorageError::io("read", name))?;
    let mut bytes = vec![0; len.saturating_sub(from) as usize];
    let n = file
        .read_at(&mut bytes, from)
        .map_err(StorageError::io("read", name))?;
    bytes.truncate(n);
    Ok(bytes)
}

/// What can be read in a file that has a segment's name and is none, and whether anything but zeros is behind its header.
pub(super) fn look_at_any<D: Disk>(disk: &D, name: &str) -> Result<(Tally, bool)> {
    let bytes = read_from(disk, name, DATA)?;
    Ok((Tally::of_any(&bytes), bytes.iter().any(|byte| *byte != 0)))
}
