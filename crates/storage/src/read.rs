//! Getting entries back from the disk, in order and with bounded memory.
//!
//! Owns the walk from a mark to the entries that were asked for, past those that were replaced
//! later. Works on a copy of what the log knew when the job was made, so it can run on another
//! thread while the loop appends.

use super::disk::Disk;
use super::error::{Result, StorageError};
use super::index::is_replaced;
use super::position::Position;
use super::record::{Item, Items};
use super::scan::{segment_of, Link, Scanner};
use super::segment::SegmentMeta;
use ::base::mutation::{self, Mutation};
use raft::eraftpb::Entry;

/// Where the entries `from..=to` are to be found.
#[derive(Clone, Debug)]
pub(super) struct ReadPlan {
    pub segments: Vec<SegmentMeta>,
    /// A piece begins here, with an item, at or before `from`.
    pub start: Position,
    /// Where the log ended for this read.
    pub limit: Position,
    /// Behind the limit there is more that may not be written yet.
    pub is_open: bool,
    pub cuts: Vec<(Position, u64)>,
    pub from: u64,
    pub to: u64,
}

/// What stops a walk over items.
enum Stop<E> {
    /// All that was wanted has been seen.
    Done,
    Format(String),
    Visitor(E),
}

impl<E> From<&'static str> for Stop<E> {
    fn from(what: &'static str) -> Self {
        Stop::Format(what.to_owned())
    }
}

impl ReadPlan {
    /// Visits the entries until the visitor says `false`, or as far as they are written (D6).
    pub fn replay<D: Disk, E: From<StorageError>>(
        &self,
        disk: &D,
        mut visit: impl FnMut(Entry) -> Result<bool, E>,
    ) -> Result<(), E> {
        let mut scanner = Scanner::new(disk, &self.segments, self.start, Link::At, self.limit);
        let mut items = Items::default();
        let mut next = self.from;
        loop {
            let at = scanner.at();
            let Some((header, body)) = scanner.next_piece()? else {
                // D6: large bodies are written by the storage thread (T8); that is no damage.
                let all_read = self.is_open && at >= self.limit;
                if all_read && !mutation::is(Mutation::UnwrittenIsDamage) {
                    return Ok(());
                }
                return Err(self.unreadable(at).into());
            };
            let position = header.position;
            let outcome = items.feed(body, |item| {
                let Item::Entry(entry) = item else {
                    return Ok(());
                };
                let wanted = entry.index >= self.from && entry.index <= self.to;
                if !wanted || is_replaced(&self.cuts, position, entry.index) {
                    return Ok(());
                }
                if entry.index != next {
                    return Err(Stop::Format(format!(
                        "entry {} where {next} belongs",
                        entry.index
                    )));
                }
                next += 1;
                let more = visit(entry.to_entry()).map_err(Stop::Visitor)?;
                if more && next <= self.to {
                    Ok(())
                } else {
                    Err(Stop::Done)
                }
            });
            match outcome {
                Ok(()) => {}
                Err(Stop::Done) => return Ok(()),
                Err(Stop::Visitor(error)) => return Err(error),
                Err(Stop::Format(what)) => {
                    let (file, offset) = locate(&self.segments, position);
                    return Err(StorageError::Inconsistent { file, offset, what }.into());
                }
            }
        }
    }

    /// The log knows these entries, so what can't be read has been damaged since.
    fn unreadable(&self, position: Position) -> StorageError {
        let (file, offset) = locate(&self.segments, position);
        let what = "no valid record where entries must be";
        StorageError::Damaged {
            file,
            offset,
            position: position.0,
            durable: self.limit.0,
            what,
        }
    }
}

/// The file and the offset of a position, for messages.
pub(super) fn locate(segments: &[SegmentMeta], position: Position) -> (String, u64) {
    let inside = segment_of(segments, position).map(|i| &segments[i]);
    match inside.or(segments.last()) {
        Some(meta) => (meta.name(), meta.offset(position.max(meta.start))),
        None => (String::from("(no segment)"), position.0),
    }
}

/// Reads entries on the storage thread, for followers that lag and for rebuilds in slices.
pub struct ReadJob<D: Disk> {
    disk: D,
    plan: ReadPlan,
    max_bytes: u64,
}

/// Consecutive entries from `from` on; none if they were not written yet when they were asked for.
#[derive(Debug)]
pub struct ReadDone {
    pub from: u64,
    /// The last index that was asked for.
    pub to: u64,
    pub entries: Vec<Entry>,
}

impl<D: Disk> ReadJob<D> {
    pub(super) fn new(disk: D, plan: ReadPlan, max_bytes: u64) -> Self {
        ReadJob {
            disk,
            plan,
            max_bytes,
        }
    }

    /// Visits all the entries, however many bytes they have, until the visitor fails. D6: those that are
    /// not written yet are left out.
    pub fn visit<E: From<StorageError>>(
        self,
        mut visit: impl FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        self.plan
            .replay(&self.disk, |entry| visit(entry).map(|()| true))
    }

    pub fn run(self) -> Result<ReadDone> {
        let mut entries = Vec::new();
        let mut bytes = 0u64;
        self.plan.replay(&self.disk, |entry: Entry| {
            bytes += super::record::entry_len(&entry);
            entries.push(entry);
            Ok::<bool, StorageError>(bytes < self.max_bytes)
        })?;
        Ok(ReadDone {
            from: self.plan.from,
            to: self.plan.to,
            entries,
        })
    }
}
