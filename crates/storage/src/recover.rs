//! Opening a log: what was there, what of it counts, and what is cut off.
//!
//! Owns the bootstrap of a log (the first segment, then the base) and recovery (D2, D3):
//! 1. everything in the files is synced, so that what is read is what is durable, and pages that
//!    a failed write-back left clean are forgotten;
//! 2. all pieces are walked; a record counts when all its pieces are there;
//! 3. where no valid record follows: if a position behind that was ever known durable, the log is
//!    damaged and recovery refuses; else it is cut there, and the cut is made durable before
//!    anything can be appended.

use super::base::{self, Base};
use super::disk::{Disk, DiskFile};
use super::error::{Result, StorageError};
use super::index::LogIndex;
use super::log::Segment;
use super::position::Position;
use super::read::locate;
use super::record::{Header, Item, Items, CONTINUED, FIRST, LAST};
use super::scan::{claims, Link, Scanner};
use super::segment::{is_segment, is_temporary, AllocJob, SegmentMeta, DATA};
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
    let mut segments = find_segments(disk, &base)?;
    let next_generation = segments
        .iter()
        .map(|s| s.meta.generation)
        .max()
        .unwrap_or(0)
        + 1;
    if !mutation::is(Mutation::SkipRecoverySync) {
        sync_segments(disk, &segments)?; // D2
        forget_unsure(disk, &segments)?;
    }
    let metas: Vec<SegmentMeta> = segments.iter().map(|s| s.meta.clone()).collect();
    let walk = walk(disk, &metas, &base)?;
    // Only what may be written to stays open: a log can have more segments than descriptors.
    for segment in segments.iter_mut().filter(|s| s.meta.end > walk.end) {
        let name = segment.meta.name();
        let file = disk.open(&name).map_err(StorageError::io("open", &name))?;
        segment.file = Some(Arc::new(file));
    }
    let behind = look_behind(&segments, &metas, &walk)?;
    let (commit, last) = (walk.hard_state.commit, walk.index.last());
    if commit < base.snapshot.index || commit > last {
        let (file, offset) = locate(&metas, walk.end);
        let what = format!(
            "the commit index {commit} is outside the log {}..={last}",
            base.snapshot.index
        );
        return Err(StorageError::Inconsistent { file, offset, what });
    }
    // Nothing is changed on the disk before all checks are done.
    let cut = behind.iter().any(|b| b.used.is_some()) && !mutation::is(Mutation::ReviveBehindCut);
    if cut {
        erase(disk, &mut segments, &behind, walk.end)?;
    }
    Ok(State {
        base,
        segments,
        index: walk.index,
        hard_state: walk.hard_state,
        end: walk.end,
        crc: walk.crc,
        cut: cut.then_some(walk.end),
        next_generation,
    })
}

fn list<D: Disk>(disk: &D) -> Result<Vec<String>> {
    disk.list()
        .map_err(StorageError::io("list the folder of", base::FILE))
}

/// Reads the headers of all segments, in order; leftovers of allocations are removed.
fn find_segments<D: Disk>(disk: &D, base: &Base) -> Result<Vec<Segment<D>>> {
    let mut segments = Vec::new();
    for name in list(disk)? {
        if is_temporary(&name) {
            disk.remove(&name)
                .map_err(StorageError::io("remove", &name))?;
        } else if is_segment(&name) {
            let file = disk.open(&name).map_err(StorageError::io("open", &name))?;
            let meta = SegmentMeta::read(&file, &name, &base.identity)?;
            segments.push(Segment { meta, file: None });
        }
    }
    segments.sort_by_key(|s: &Segment<D>| s.meta.sequence);
    let Some(first) = segments.first() else {
        return Err(StorageError::NoLog(base::FILE.into()));
    };
    if first.meta.start != Position(0) {
        return Err(missing_before(&first.meta));
    }
    for pair in segments.windows(2) {
        let (a, b) = (&pair[0].meta, &pair[1].meta);
        if a.sequence + 1 != b.sequence || a.end != b.start {
            return Err(missing_before(b));
        }
    }
    Ok(segments)
}

/// Segments get their names, and lose them, in order; so no crash leaves a gap.
fn missing_before(meta: &SegmentMeta) -> StorageError {
    StorageError::BadFile {
        file: meta.name(),
        what: "does not follow the segments before it: one is missing",
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
struct Walk {
    index: LogIndex,
    hard_state: HardState,
    /// The end of the last whole record, and the checksum of its last piece.
    end: Position,
    crc: u32,
    /// The highest position that a valid piece so far said was durable.
    durable: Position,
    /// Where no valid piece followed; behind `end` if a record is incomplete.
    stopped: Position,
}

/// A record whose last piece has not been seen.
#[derive(Default)]
struct Pending {
    hard_state: Option<HardState>,
    /// (index, term) of the first entry and wherever the term changes.
    terms: Vec<EntryId>,
    last: u64,
    starts: Vec<(Position, Option<u64>)>,
    open: bool,
}

fn walk<D: Disk>(disk: &D, metas: &[SegmentMeta], base: &Base) -> Result<Walk> {
    let mut walk = Walk {
        index: LogIndex::new(base.snapshot.entry()),
        hard_state: HardState {
            term: base.snapshot.term,
            commit: base.snapshot.index,
            ..HardState::default()
        },
        end: Position(0),
        crc: 0,
        durable: Position(0),
        stopped: Position(0),
    };
    let mut scanner = Scanner::new(disk, metas, Position(0), Link::After(0), Position(u64::MAX));
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
        outcome.map_err(|what| {
            let (file, offset) = locate(metas, header.position);
            StorageError::Inconsistent { file, offset, what }
        })?;
    }
    if pending.open && mutation::is(Mutation::KeepPartOfRecord) {
        walk.commit(std::mem::take(&mut pending)).ok();
        (walk.end, walk.crc) = (scanner.at(), last_crc);
    }
    Ok(walk)
}

impl Walk {
    fn piece(
        &mut self,
        pending: &mut Pending,
        items: &mut Items,
        header: &Header,
        body: &[u8],
    ) -> Result<(), String> {
        if header.is(FIRST) {
            *pending = Pending {
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
            self.commit(std::mem::take(pending))?;
            (self.end, self.crc) = (header.end(), header.crc);
        }
        Ok(())
    }

    /// The record is whole: it counts.
    fn commit(&mut self, record: Pending) -> Result<(), String> {
        let last = self.index.last();
        let first = record.terms.first().map_or(last + 1, |t| t.index);
        if !record.terms.is_empty() {
            if first <= self.hard_state.commit || first > last + 1 {
                return Err(format!(
                    "entry {first} can't follow a log that ends at {last} and is committed to {}",
                    self.hard_state.commit
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
        Ok(())
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
struct Behind {
    segment: usize,
    /// The first byte that is not zero, and the end of the last one.
    used: Option<(Position, Position)>,
}

/// What lies behind the last record; refuses if something durable is missing there (D3).
fn look_behind<D: Disk>(
    segments: &[Segment<D>],
    metas: &[SegmentMeta],
    walk: &Walk,
) -> Result<Vec<Behind>> {
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
    if walk.end < durable {
        let (file, offset) = locate(metas, walk.stopped);
        let what = "no valid record where one was known durable";
        let (position, durable) = (walk.stopped.0, durable.0);
        return Err(StorageError::Damaged {
            file,
            offset,
            position,
            durable,
            what,
        });
    }
    Ok(behind)
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
