//! A snapshot by cut (P1-P5): the keys of the living keyspace leave it as they were, while it goes on.
//!
//! Owns the walk's steps, what may wait for the thread of snapshots and what waits for that in turn (F5), and
//! the file that the thread writes. Never decides of which entry a snapshot is. Invariants: the last job of a
//! file, behind which it has its name, is given out when the entry at its index has committed with the cut's
//! term, is applied, and on the own disk (P2); of each file one job has a result.

use super::make::SnapshotOrder;
use super::state_file::{FileOrder, NewFile};
use super::Shard;
use base::clock::Clock;
use base::ids::EntryId;
use base::mutation::{self, Mutation};
use keyspace::{CutBudget, CutBytes, CutPart, CutReader};
use state::save::KeysWriter;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use storage::{Disk, Job, SnapshotError, SnapshotJob, SnapshotMeta, SnapshotResult};

/// Of a turn, for the walk.
const STEP_TIME: Duration = Duration::from_micros(100);
const STEP_PIECES: usize = 16;
/// Between two looks at the clock.
const PIECE: CutBudget = CutBudget {
    bytes: 16 << 10,
    chains: 64,
};

/// Bytes that were given to the thread, and are not written.
#[derive(Default)]
struct Waiting {
    walked: AtomicUsize,
    touched: AtomicUsize,
}

impl Waiting {
    fn add(&self, bytes: CutBytes) {
        self.walked.fetch_add(bytes.walked, Ordering::Relaxed);
        self.touched.fetch_add(bytes.touched, Ordering::Relaxed);
    }

    fn sub(&self, bytes: CutBytes) {
        self.walked.fetch_sub(bytes.walked, Ordering::Relaxed);
        self.touched.fetch_sub(bytes.touched, Ordering::Relaxed);
    }
}

/// A cut that has no whole file yet.
pub(super) struct Cut<D: Disk> {
    pub at: EntryId,
    file: Arc<Mutex<CutFile<D>>>,
    waiting: Arc<Waiting>,
    /// The last job has been given out.
    ended: bool,
    /// What it is made for, if it has to be made again.
    pub order: SnapshotOrder<D>,
    /// P2: what it holds may never happen.
    pub is_void: bool,
}

impl<D: Disk> Cut<D> {
    fn give(&self, parts: Vec<CutPart>) -> Job<D> {
        let mut bytes = CutBytes::default();
        for part in &parts {
            bytes.walked += part.bytes().walked;
            bytes.touched += part.bytes().touched;
        }
        self.waiting.add(bytes);
        let (file, waiting) = (Arc::clone(&self.file), Arc::clone(&self.waiting));
        Job::Snapshot(SnapshotJob::part(move || {
            let result = lock(&file).add(&parts);
            drop(parts);
            waiting.sub(bytes);
            result
        }))
    }

    fn end(&mut self) -> Job<D> {
        self.ended = true;
        let file = Arc::clone(&self.file);
        Job::Snapshot(SnapshotJob::part(move || lock(&file).end()))
    }
}

/// A job that has panicked has left the file over, as [`CutFile`] is in between.
fn lock<D: Disk>(file: &Mutex<CutFile<D>>) -> impl std::ops::DerefMut<Target = CutFile<D>> + '_ {
    file.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file of a cut, on the thread of snapshots.
struct CutFile<D: Disk> {
    of: FileOrder<D>,
    stage: Stage<D>,
}

enum Stage<D: Disk> {
    New(Box<(SnapshotMeta, CutReader)>),
    Open(Box<Open<D>>),
    /// It has its name, or there is none.
    Over,
}

struct Open<D: Disk> {
    file: NewFile<D>,
    keys: KeysWriter,
    reader: CutReader,
}

impl<D: Disk> CutFile<D> {
    fn add(&mut self, parts: &[CutPart]) -> Option<SnapshotResult> {
        let added = self.try_add(parts);
        added.err().map(|error| self.fail(error))
    }

    fn end(&mut self) -> Option<SnapshotResult> {
        if matches!(self.stage, Stage::Over) {
            return None;
        }
        Some(self.try_end().or_else(|error| self.fail(error)))
    }

    fn fail(&mut self, error: SnapshotError) -> SnapshotResult {
        self.of.discard(&error);
        Err(error)
    }

    /// Takes the file out: after an error it is over.
    fn open(&mut self) -> Result<Option<Box<Open<D>>>, SnapshotError> {
        let (meta, reader) = match mem::replace(&mut self.stage, Stage::Over) {
            Stage::Over => return Ok(None),
            stage => {
                self.of.progress.go_on()?;
                match stage {
                    Stage::New(new) => *new,
                    Stage::Open(open) => return Ok(Some(open)),
                    Stage::Over => return Ok(None),
                }
            }
        };
        let style = self.of.style(&meta);
        let mut file = self.of.create(meta)?;
        let mut sink = self.of.sink(&mut file.writer);
        let mut keys = KeysWriter::begin(&style, reader.fields_expire(), &mut sink)?;
        for size in reader.sizes() {
            keys.size(*size, &mut sink)?;
        }
        drop(sink);
        let open = Open { file, keys, reader };
        Ok(Some(Box::new(open)))
    }

    fn try_add(&mut self, parts: &[CutPart]) -> Result<(), SnapshotError> {
        let Some(mut open) = self.open()? else {
            return Ok(());
        };
        let Open { file, keys, reader } = &mut *open;
        let mut sink = self.of.sink(&mut file.writer);
        for part in parts {
            reader.read_part(part, &mut |entry| keys.key(entry, &mut sink))?;
            let progress = &self.of.progress;
            progress.keys.store(keys.keys(), Ordering::Relaxed);
        }
        drop(sink);
        self.stage = Stage::Open(open);
        Ok(())
    }

    fn try_end(&mut self) -> SnapshotResult {
        let open = self.open()?.expect("it is not over");
        let Open {
            mut file,
            keys,
            reader,
        } = *open;
        if let Err(wrong) = reader.finish() {
            let why = format!("the cut has other keys than there were: {wrong:?}");
            return Err(SnapshotError::State(why.into()));
        }
        let saved = keys.end(&mut self.of.sink(&mut file.writer))?;
        let meta = self.of.name(file, &saved)?;
        Ok(self.of.deliver(meta, saved.keys, false))
    }
}

impl<D: Disk> Shard<D> {
    /// P1: the state that the keyspace is now: as of the newest applied entry or, at a leader that has executed
    /// all that its log has behind that, of its last one. None within a unit, or where the outcome of what is
    /// executed is not this member's to make.
    pub(super) fn whole_state(&self) -> Option<SnapshotMeta> {
        let (group, membership) = (&self.group, self.group.membership());
        if self.data.batch_bytes() > 0 || self.stager.is_open() || self.is_loading() {
            return None;
        }
        let inside = mutation::is(Mutation::CutInsideUnit);
        let (index, record) = match self.tail.back() {
            Some(_) if !inside => (self.executed_to()?, self.data.record()),
            _ => (group.applied(), self.record()),
        };
        Some(SnapshotMeta {
            index,
            term: group
                .term_at(index)
                .expect("the log reaches back to what is applied"),
            conf_state: membership.conf.clone(),
            members: membership.list.clone(),
            record: record.encode(),
            file: None,
        })
    }

    /// The last index of a leader's log, where its tail is all that stands there behind what is applied: no change of
    /// members, no entry of an earlier term.
    fn executed_to(&self) -> Option<u64> {
        let group = &self.group;
        let (first, last) = (self.tail.front()?, self.tail.back()?);
        let entries: u64 = self.tail.iter().map(|b| b.last - b.first + 1).sum();
        let is_all = first.first <= group.applied() + 1
            && entries == last.last - first.first + 1
            && last.last == group.last_index();
        let leads = group.is_leader() && group.own_term_applied() && last.term == group.term();
        (is_all && leads).then_some(last.last)
    }

    /// The keyspace is cut now.
    pub(super) fn begin_cut(&mut self, meta: SnapshotMeta, of: FileOrder<D>) -> Cut<D> {
        let (at, order) = (of.at, of.order.clone());
        let reader = self.data.keyspace_mut().begin_cut();
        let (progress, keys) = (&of.progress, reader.keys());
        progress.all_keys.store(keys, Ordering::Relaxed);
        let stage = Stage::New(Box::new((meta, reader)));
        Cut {
            at,
            file: Arc::new(Mutex::new(CutFile { of, stage })),
            waiting: Arc::default(),
            ended: false,
            order,
            is_void: false,
        }
    }

    /// The walk of a turn: called when the turn's replies have left.
    #[inline]
    pub fn walk_snapshot(&mut self, clock: &dyn Clock) {
        if self.walk_is_due() {
            self.step_walk(clock);
        }
    }

    #[inline(never)]
    fn step_walk(&mut self, clock: &dyn Clock) {
        let until = clock.now().mono + STEP_TIME;
        for _ in 0..STEP_PIECES {
            self.data.keyspace_mut().walk(PIECE);
            self.give_parts();
            if !self.walk_is_due() || clock.now().mono >= until {
                break;
            }
        }
        self.go_on_with_cut();
    }

    /// Whether there is something to walk, and room for it.
    #[inline]
    pub(super) fn walk_is_due(&self) -> bool {
        self.data.keyspace().has_walk() && self.has_room_to_walk()
    }

    fn has_room_to_walk(&self) -> bool {
        let most = self.config.sizes.walked;
        let room = |cut: &Cut<D>| cut.waiting.walked.load(Ordering::Relaxed) < most;
        self.cut().is_none_or(room)
    }

    /// F5: whether what changes keys has to wait for the snapshot's thread.
    #[inline]
    pub(super) fn is_pressed(&self) -> bool {
        self.snapshots.is_busy() && self.is_full()
    }

    fn is_full(&self) -> bool {
        let most = self.config.sizes.touched;
        let full = |cut: &Cut<D>| cut.waiting.touched.load(Ordering::Relaxed) >= most;
        self.cut().is_some_and(full)
    }

    fn give_parts(&mut self) {
        let Some(cut) = self.snapshots.cut().filter(|cut| !cut.ended) else {
            return;
        };
        let keyspace = self.data.keyspace_mut();
        let parts: Vec<CutPart> = std::iter::from_fn(|| keyspace.take_cut_part()).collect();
        if !parts.is_empty() {
            let job = cut.give(parts);
            self.jobs.push(job);
            self.snapshots.jobs_wait = true;
        }
    }

    /// Gives out what has been saved and, when all of it has been and its entry is certain, the last job.
    pub(super) fn go_on_with_cut(&mut self) {
        let Some(cut) = self.cut().filter(|cut| !cut.ended) else {
            return;
        };
        let EntryId { index, term } = cut.at;
        self.give_parts();
        // With a base on its way there would be no room for a newer one.
        let early = mutation::is(Mutation::ValidBeforeCommit);
        let is_open = self.group.applied() < index && !early;
        if self.data.keyspace().has_walk() || is_open || self.base_moves() {
            return;
        }
        if self.group.term_at(index) != Some(term) {
            return self.void_cut();
        }
        let ahead = mutation::is(Mutation::SnapshotAheadOfDisk) || early;
        if !self.log.has_on_disk(index) && !ahead {
            self.sync_wanted = true; // P1: no policy may order the sync that it waits for
            return;
        }
        self.end_cut();
    }

    fn end_cut(&mut self) {
        if let Some(cut) = self.snapshots.cut_mut().filter(|cut| !cut.ended) {
            let job = cut.end();
            self.jobs.push(job);
            self.snapshots.jobs_wait = true;
        }
    }

    /// P2: a leader that steps down does not know what becomes of its tail.
    pub(super) fn void_cut_of_tail(&mut self) {
        let applied = self.group.applied();
        if self.cut().is_some_and(|cut| cut.at.index > applied) {
            self.void_cut();
        }
    }

    /// P2: what the cut holds may not have happened. It is made again.
    pub(super) fn void_cut(&mut self) {
        if let Some(cut) = self.snapshots.cut_mut().filter(|cut| !cut.ended) {
            cut.is_void = true;
            self.drop_cut();
        }
    }

    /// Nobody wants what the keyspace still has to save. The thread learns of it with its next job.
    pub(super) fn drop_cut(&mut self) {
        self.data.keyspace_mut().give_up_cut();
        self.snapshots.stop_thread();
        self.end_cut();
    }

    fn cut(&self) -> Option<&Cut<D>> {
        self.snapshots.cut()
    }
}
