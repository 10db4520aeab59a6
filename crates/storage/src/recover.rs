//! Opening a log: what was there, what of it counts, and what is cut off.
//!
//! Owns the bootstrap of a log (the first segment, then the base) and recovery (D2, D3):
//! 1. everything in the files is synced, so that what is read is what is durable, and pages that
//!    a failed write-back left clean are forgotten;
//! 2. all pieces are walked, from where the base says that the log begins (P10); a record counts when
//!    all its pieces are there;
//! 3. where no valid record follows: if a position behind that was ever known durable, the log is
//!    damaged and recovery refuses; else it is cut there, and the cut is made durable before
//!    anything can be appended;
//! 4. what the base names no more is removed: segments below the start, snapshots (P8).

use super::base::{self, Base};
use super::disk::{Disk, DiskFile};
use super::error::{Result, StorageError};
use super::index::LogIndex;
use super::log::Segment;
use super::position::Position;
use super::read::locate;
use super::record::{Header, Item, Items, CONTINUED, FIRST, LAST};
use super::scan::{claims, segment_of, Link, Scanner};
use super::segment::{is_segment, is_temporary, AllocJob, SegmentMeta, DATA};
use super::snapshot::is_snapshot;
use super::trim::{FirstRecord, TrimJob};
use ::base::ids::EntryId;
use ::base::mutation::{self, Mutation};
use raft::eraftpb::HardState;
use std::sync::Arc;

/// A recovered log.
pub(super) struct State<D: Disk> {
    pub base: Base,
    pub segments: Vec<Segment<D>>,
    pub index: LogIndex,
    pub hard_state: HardState,
    pub end: Position,
    pub crc: u32,
    pub cut: Option<Position>,
    pub next_generation: u64,
}

/// Bootstraps a log: its first segment, then the base that says that it is there.
pub(super) fn bootstrap<D: Disk>(disk: &D, capacity: u64, base: &Base) -> Result<()> {
    let names = list(disk)?;
    if names.iter().any(|n| n == base::FILE) {
        return Err(StorageError::Exists(base::FILE.into()));
    }
    let segments = || names.iter().filter(|n| is_segment(n));
    for name in segments() {
        if !is_unwritten(disk, name).map_err(StorageError::io("read", name))? {
            return Err(StorageError::BaseLost(name.clone()));
        }
    }
    for name in segments() {
        disk.remove(name)
            .map_err(StorageError::io("remove", name))?;
    }
    let meta = SegmentMeta {
        sequence: 1,
        generation: 1,
        start: Position(0),
        end: Position(capacity),
        only_frees: false,
    };
    AllocJob::new(disk.clone(), base.identity, meta).run()?;
    base.save(disk)
}

/// S4: a bootstrap that a crash has cut short leaves a segment without a record. A log with records and without
/// a base has lost its base, and may be the only copy of what is in it.
fn is_unwritten<D: Disk>(disk: &D, name: &str) -> std::io::Result<bool> {
    let file = disk.open(name)?;
    let mut bytes = vec![0; 1 << 20];
    let mut at = DATA;
    loop {
        let n = file.read_at(&mut bytes, at)?;
        if n == 0 {
            return Ok(true);
        }
        if bytes[..n].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += n as u64;
    }
}

pub(super) fn recover<D: Disk>(disk: &D) -> Result<State<D>> {
    let base = Base::load(disk)?.ok_or_else(|| StorageError::NoBase(base::FILE.into()))?;
    remove_temporary(disk)?;
    let found = find_files(disk, &base)?;
    let next_generation = found
        .segments
        .iter()
        .map(|s| s.meta.generation)
        .max()
        .unwrap_or(0)
        + 1;
    if !mutation::is(Mutation::SkipRecoverySync) {
        sync_segments(disk, &found.segments)?; // D2
        forget_unsure(disk, &found.segments)?;
    }
    let Examined {
        mut segments,
        walk,
        hard_state,
        behind,
        refused,
        ..
    } = examine(disk, &base, found.segments)?;
    if let Some(why) = refused {
        return Err(why);
    }
    // But for temporary files nothing is changed on the disk before all checks are done.
    let cut = behind.iter().any(|b| b.used.is_some()) && !mutation::is(Mutation::ReviveBehindCut);
    if cut {
        erase(disk, &mut segments, &behind, walk.end)?;
    }
    TrimJob::new(disk.clone(), found.below, found.unnamed).run()?;
    Ok(State {
        base,
        segments,
        index: walk.index,
        hard_state,
        end: walk.end,
        crc: walk.crc,
        cut: cut.then_some(walk.end),
        next_generation,
    })
}

/// What the files say, before anything is changed.
pub(super) struct Examined<D: Disk> {
    pub segments: Vec<Segment<D>>,
    pub metas: Vec<SegmentMeta>,
    pub walk: Walk,
    pub hard_state: HardState,
    pub behind: Vec<Behind>,
    /// Why recovery refuses, if it does.
    pub refused: Option<StorageError>,
}

/// Looks for what counts, and changes nothing. An error is one of reading: damage is what was to be found out.
pub(super) fn examine<D: Disk>(
    disk: &D,
    base: &Base,
    mut segments: Vec<Segment<D>>,
) -> Result<Examined<D>> {
    let metas: Vec<SegmentMeta> = segments.iter().map(|s| s.meta.clone()).collect();
    let (walk, contradicts) = walk(disk, &metas, base)?;
    // Only what may be written to stays open: a log can have more segments than descriptors.
    for segment in segments.iter_mut().filter(|s| s.meta.end > walk.end) {
        let name = segment.meta.name();
        let file = disk.open(&name).map_err(StorageError::io("open", &name))?;
        segment.file = Some(Arc::new(file));
    }
    let (behind, damaged) = look_behind(&segments, &metas, &walk)?;
    let hard_state = walk.hard_state(base);
    let other_history = || {
        let what = walk.check(&hard_state, base).err()?;
        let (file, offset) = locate(&metas, walk.end);
        Some(StorageError::Inconsistent { file, offset, what })
    };
    let refused = contradicts.or(damaged).or_else(other_history);
    for first in &walk.firsts {
        let at = segment_of(&metas, first.position).expect("the walk stays within the segments");
        segments[at].first = Some(*first);
    }
    Ok(Examined {
        segments,
        metas,
        walk,
        hard_state,
        behind,
        refused,
    })
}

fn list<D: Disk>(disk: &D) -> Result<Vec<String>> {
    disk.list()
        .map_err(StorageError::io("list the folder of", base::FILE))
}

/// The files of a member, as its base sees them.
pub(super) struct Found<D: Disk> {
    /// From the log's start on, in order.
    pub segments: Vec<Segment<D>>,
    /// Segments below the start, oldest first.
    pub below: Vec<String>,
    /// Snapshots that the base does not name.
    pub unnamed: Vec<String>,
}

/// Leftovers of allocations and replacements go.
fn remove_temporary<D: Disk>(disk: &D) -> Result<()> {
    for name in list(disk)?.iter().filter(|name| is_temporary(name)) {
        disk.remove(name)
            .map_err(StorageError::io("remove", name))?;
    }
    Ok(())
}

/// Reads the headers of all segments.
pub(super) fn find_files<D: Disk>(disk: &D, base: &Base) -> Result<Found<D>> {
    let start = base.start.map_or(Position(0), |start| start.position);
    let (mut segments, mut unnamed, mut state) =
        (Vec::new(), Vec::new(), base.snapshot.file_name());
    for name in list(disk)? {
        if is_temporary(&name) {
            continue;
        }
        if is_segment(&name) {
            let file = disk.open(&name).map_err(StorageError::io("open", &name))?;
            let meta = SegmentMeta::read(&file, &name, &base.identity)?;
            segments.push(meta);
        } else if is_snapshot(&name) && state.take_if(|state| *state == name).is_none() {
            unnamed.push(name);
        }
    }
    if let Some(missing) = state {
        return Err(StorageError::StateLost(missing));
    }
    segments.sort_by_key(|meta| meta.sequence);
    // Between the segments that are to go anyway some may be gone: nobody asks.
    let kept = segments.partition_point(|meta| meta.end <= start);
    let below = segments.drain(..kept).map(|meta| meta.name()).collect();
    let Some(first) = segments.first() else {
        return Err(StorageError::NoLog(base::FILE.into()));
    };
    if first.start > start || base.start.is_none() && first.start != start {
        return Err(missing_before(first));
    }
    for pair in segments.windows(2) {
        let (a, b) = (&pair[0], &pair[1]);
        if a.sequence + 1 != b.sequence || a.end != b.start {
            return Err(missing_before(b));
        }
    }
    let open = |meta| Segment {
        meta,
        first: None,
        file: None,
    };
    Ok(Found {
        segments: segments.into_iter().map(open).collect(),
        below,
        unnamed,
    })
}

/// What is wrong with a segment behind a gap.
pub(super) const MISSING: &str = "does not follow the segments before it: one is missing";

/// Segments get their names, and lose them, in order; so no crash leaves a gap.
fn missing_before(meta: &SegmentMeta) -> StorageError {
    StorageError::BadFile {
        file: meta.name(),
        what: MISSING,
    }
}

/// Makes durable what may so far only be in the page cache (D2).
fn sync_segments<D: Disk>(disk: &D, segments: &[Segment<D>]) -> Result<()> {
    disk.sync_dir()
        .map_err(StorageError::io("sync the folder of", base::FILE))?;
    for segment in segments {
        let name = segment.meta.name();
        let file = disk.open(&name).map_err(StorageError::io("open", &name))?;
        file.sync_data().map_err(StorageError::io("sync", &name))?;
    }
    Ok(())
}

/// D3: forgets cached pages that a failed write-back may have left clean though they never reached
/// the disk. Those are all above the highest position that was known durable, which newer records
/// tell: so from the newest segment back to that position, however large the last record was.
fn forget_unsure<D: Disk>(disk: &D, segments: &[Segment<D>]) -> Result<()> {
    let mut durable = Position(0);
    for segment in segments.iter().rev() {
        let meta = &segment.meta;
        if meta.end <= durable {
            break;
        }
        let name = meta.name();
        let file = disk.open(&name).map_err(StorageError::io("open", &name))?;
        file.drop_cache()
            .map_err(StorageError::io("re-read", &name))?;
        let mut bytes = vec![0; (meta.end.0 - meta.start.0) as usize];
        let n = file
            .read_at(&mut bytes, meta.offset(meta.start))
            .map_err(StorageError::io("read", &name))?;
        let claimed = claims(&bytes[..n], meta, meta.start);
        durable = durable.max(claimed.unwrap_or_default());
    }
    Ok(())
}

/// What the records that count add up to.
pub(super) struct Walk {
    pub index: LogIndex,
    hard_state: HardState,
    /// The end of the last whole record, and the checksum of its last piece.
    pub end: Position,
    crc: u32,
    /// The highest position that a valid piece so far said was durable.
    pub durable: Position,
    /// Where no valid piece followed; behind `end` if a record is incomplete.
    pub stopped: Position,
    /// The first record that begins in each segment, and the end of the last of those.
    firsts: Vec<FirstRecord>,
    looked_to: Position,
}

/// A record whose last piece has not been seen.
#[derive(Default)]
struct Pending {
    /// Where it begins, and the checksum of the piece before it.
    begin: (Position, u32),
    hard_state: Option<HardState>,
    /// (index, term) of the first entry and wherever the term changes.
    terms: Vec<EntryId>,
    last: u64,
    starts: Vec<(Position, Option<u64>)>,
    open: bool,
}

/// Also why it can't go on, where a record contradicts those before it.
fn walk<D: Disk>(
    disk: &D,
    metas: &[SegmentMeta],
    base: &Base,
) -> Result<(Walk, Option<StorageError>)> {
    let mut walk = Walk::new(base);
    let mut scanner = scanner(disk, metas, base, Position(u64::MAX));
    let mut items = Items::default();
    let mut pending = Pending::default();
    let mut last_crc = 0;
    while let Some((header, body)) = scanner.next_piece()? {
        if pending.open && header.is(FIRST) && mutation::is(Mutation::KeepPartOfRecord) {
            walk.commit(std::mem::take(&mut pending)).ok();
        }
        // FIRST opens a record that is not open, and nothing else does.
        if header.is(FIRST) == pending.open {
            break;
        }
        last_crc = header.crc;
        walk.stopped = header.end();
        walk.durable = walk.durable.max(header.durable);
        let outcome = walk.piece(&mut pending, &mut items, &header, body);
        let outcome = outcome.map(|first| walk.note_first(first, metas));
        if let Err(what) = outcome {
            let (file, offset) = locate(metas, header.position);
            return Ok((
                walk,
                Some(StorageError::Inconsistent { file, offset, what }),
            ));
        }
    }
    if pending.open && mutation::is(Mutation::KeepPartOfRecord) {
        walk.commit(std::mem::take(&mut pending)).ok();
        (walk.end, walk.crc) = (scanner.at(), last_crc);
    }
    Ok((walk, None))
}

/// The pieces of the log, from where the base says that it begins.
pub(super) fn scanner<'a, D: Disk>(
    disk: &'a D,
    metas: &'a [SegmentMeta],
    base: &Base,
    limit: Position,
) -> Scanner<'a, D> {
    let (at, link) = match base.start {
        Some(start) => (start.position, Link::Begins(start.chain)),
        None => (Position(0), Link::After(0)),
    };
    Scanner::new(disk, metas, at, link, limit)
}

impl Walk {
    fn new(base: &Base) -> Walk {
        let before = base.log_before();
        let (at, chain) = base
            .start
            .map_or((Position(0), 0), |start| (start.position, start.chain));
        Walk {
            index: LogIndex::new(before),
            // What the log has up to the state is committed, and is read all the same.
            hard_state: HardState {
                term: before.term,
                commit: before.index,
                ..HardState::default()
            },
            end: at,
            crc: chain,
            durable: Position(0),
            stopped: at,
            firsts: Vec::new(),
            looked_to: at,
        }
    }

    /// P9: of the log, or of the base where that knows more.
    fn hard_state(&self, base: &Base) -> HardState {
        let mut hard_state = self.hard_state.clone();
        hard_state.commit = hard_state.commit.max(base.snapshot.index);
        hard_state
    }

    /// Whether the log and the state that the base names are of one history.
    fn check(&self, hard_state: &HardState, base: &Base) -> Result<(), String> {
        let (at, first, last) = (base.snapshot.entry(), self.index.first(), self.index.last());
        if last < at.index {
            return Err(format!(
                "the log ends at {last}, and the state that base names is as of {}",
                at.index
            ));
        }
        if hard_state.commit > last {
            return Err(format!(
                "the commit index {} is outside the log {first}..={last}",
                hard_state.commit
            ));
        }
        match self.index.term(at.index) {
            Some(term) if term == at.term => Ok(()),
            term => Err(format!(
                "entry {} is of term {}, and the state that base names of term {}",
                at.index,
                term.unwrap_or_default(),
                at.term
            )),
        }
    }

    fn note_first(&mut self, first: Option<FirstRecord>, metas: &[SegmentMeta]) {
        let Some(first) = first.filter(|first| first.position >= self.looked_to) else {
            return;
        };
        if let Some(at) = segment_of(metas, first.position) {
            self.looked_to = metas[at].end;
            self.firsts.push(first);
        }
    }

    /// A record that is whole with this piece comes back.
    fn piece(
        &mut self,
        pending: &mut Pending,
        items: &mut Items,
        header: &Header,
        body: &[u8],
    ) -> Result<Option<FirstRecord>, String> {
        if header.is(FIRST) {
            *pending = Pending {
                begin: (header.position, header.chain),
                open: true,
                last: self.index.last(),
                ..Pending::default()
            };
            items.clear();
        }
        if header.is(CONTINUED) == items.at_boundary() {
            return Err("a piece that does not fit to the one before it".into());
        }
        if !header.is(CONTINUED) {
            pending.start(header.position);
        }
        items.feed(body, |item| pending.item(item))?;
        if header.is(LAST) {
            if !items.at_boundary() {
                return Err("a record that ends inside an item".into());
            }
            let first = self.commit(std::mem::take(pending))?;
            (self.end, self.crc) = (header.end(), header.crc);
            return Ok(Some(first));
        }
        Ok(None)
    }

    /// The record is whole: it counts.
    fn commit(&mut self, record: Pending) -> Result<FirstRecord, String> {
        let last = self.index.last();
        let first = record.terms.first().map_or(last + 1, |t| t.index);
        if !record.terms.is_empty() {
            // A hard state's commit may be behind what the log begins with.
            let committed = self.hard_state.commit.max(self.index.first() - 1);
            if first <= committed || first > last + 1 {
                return Err(format!(
                    "entry {first} can't follow a log that ends at {last} and is committed to {committed}",
                ));
            }
            if first <= last {
                self.index.truncate(self.end, first);
            }
        }
        for (position, index) in record.starts {
            self.index.mark(position, index.unwrap_or(first));
        }
        let ends = record
            .terms
            .iter()
            .skip(1)
            .map(|t| t.index)
            .chain([record.last + 1]);
        for (first, end) in record.terms.iter().zip(ends) {
            (first.index..end).for_each(|index| self.index.push(index, first.term));
        }
        if let Some(hard_state) = record.hard_state {
            self.hard_state = hard_state;
        }
        let (position, chain) = record.begin;
        Ok(FirstRecord {
            position,
            chain,
            next: first,
        })
    }
}

impl Pending {
    /// Notes where a piece begins that begins with an item.
    fn start(&mut self, position: Position) {
        // Before the first entry its index is unknown: `None` until then.
        self.starts
            .push((position, (!self.terms.is_empty()).then_some(self.last + 1)));
    }

    fn item(&mut self, item: Item<'_>) -> Result<(), String> {
        match item {
            Item::HardState(hard_state) => self.hard_state = Some(hard_state),
            Item::Entry(entry) => {
                let expected = if self.terms.is_empty() {
                    entry.index
                } else {
                    self.last + 1
                };
                if entry.index != expected || entry.index == 0 || entry.index == u64::MAX {
                    return Err(format!("entry {} where {expected} belongs", entry.index));
                }
                if self.terms.last().is_none_or(|t| t.term != entry.term) {
                    self.terms.push(EntryId {
                        index: entry.index,
                        term: entry.term,
                    });
                }
                self.last = entry.index;
            }
        }
        Ok(())
    }
}

/// What lies behind the last record in one segment.
pub(super) struct Behind {
    pub segment: usize,
    /// The first byte that is not zero, and the end of the last one.
    pub used: Option<(Position, Position)>,
}

/// What lies behind the last record; and whether something durable is missing there (D3).
fn look_behind<D: Disk>(
    segments: &[Segment<D>],
    metas: &[SegmentMeta],
    walk: &Walk,
) -> Result<(Vec<Behind>, Option<StorageError>)> {
    let mut durable = walk.durable;
    let mut behind = Vec::new();
    let first = metas.partition_point(|s| s.end <= walk.end);
    for (i, segment) in segments.iter().enumerate().skip(first) {
        let from = segment.meta.start.max(walk.end);
        let bytes = read_from(segment, from)?;
        durable = durable.max(claims(&bytes, &segment.meta, from).unwrap_or_default());
        let used = bytes.iter().position(|b| *b != 0).map(|a| {
            let b = bytes
                .iter()
                .rposition(|b| *b != 0)
                .expect("one was found from the front");
            (Position(from.0 + a as u64), Position(from.0 + b as u64 + 1))
        });
        behind.push(Behind { segment: i, used });
    }
    let damaged = (walk.end < durable).then(|| {
        let (file, offset) = locate(metas, walk.stopped);
        StorageError::Damaged {
            file,
            offset,
            position: walk.stopped.0,
            durable: durable.0,
            what: "no valid record where one was known durable",
        }
    });
    Ok((behind, damaged))
}

/// Makes the cut durable: zeros in the segment where the log ends, and no later segment that was
/// ever written to.
fn erase<D: Disk>(
    disk: &D,
    segments: &mut Vec<Segment<D>>,
    behind: &[Behind],
    end: Position,
) -> Result<()> {
    // The segment in which the log goes on is always kept.
    let home = behind.first().map_or(0, |b| b.segment);
    let keep = behind.iter().find(|b| b.segment > home && b.used.is_some());
    let keep = keep.map_or(segments.len(), |b| b.segment);
    // Newest first and one by one: whatever a crash leaves, there is no gap.
    while segments.len() > keep {
        let name = segments.pop().map(|s| s.meta.name()).unwrap_or_default();
        disk.remove(&name)
            .map_err(StorageError::io("remove", &name))?;
        disk.sync_dir()
            .map_err(StorageError::io("sync the folder of", base::FILE))?;
    }

    let Some((from, to)) = behind.first().and_then(|b| b.used) else {
        return Ok(());
    };
    assert!(from >= end, "what counts is not erased");
    let segment = &segments[home];
    let name = segment.meta.name();
    let file = segment
        .file
        .as_ref()
        .expect("the segments behind the end are open");
    let zeros = vec![0; (to.0 - from.0) as usize];
    file.write_at(&zeros, segment.meta.offset(from))
        .map_err(StorageError::io("write", &name))?;
    file.sync_data().map_err(StorageError::io("sync", &name))
}

fn read_from<D: Disk>(segment: &Segment<D>, from: Position) -> Result<Vec<u8>> {
    let name = segment.meta.name();
    let file = segment
        .file
        .as_ref()
        .expect("the segments behind the end are open");
    let mut bytes = vec![0; (segment.meta.end.0 - from.0) as usize];
    let offset = segment.meta.offset(from);
    debug_assert!(offset >= DATA);
    let n = file
        .read_at(&mut bytes, offset)
        .map_err(StorageError::io("read", &name))?;
    bytes.truncate(n);
    Ok(bytes)
}
