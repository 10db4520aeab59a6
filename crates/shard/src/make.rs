//! When a snapshot is made, and of which index (P1).
//!
//! Owns the way from an order to a [`cut`](super::cut) or, where none can be, to a job of
//! [`replay`](super::replay), and what becomes of its result: the base names the file where it may (D7), and the
//! server that ordered it can ask. One at a time. Never: reads or writes a file, or knows why a snapshot is
//! wanted. Invariant: as long as a job reads base and log, the base is not replaced, so nothing that it reads
//! goes away.

use super::cut::Cut;
use super::replay::Replay;
use super::state_file::FileOrder;
use super::{Shard, ShardError};
use base::ids::EntryId;
use state::save::Origin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use storage::base::MemberKind;
use storage::{Base, Disk, Job, SnapshotError, SnapshotJob, SnapshotMeta, SnapshotResult};

/// What a snapshot is ordered with.
#[derive(Clone)]
pub struct SnapshotOrder<D: Disk> {
    pub origin: Origin,
    /// `rdbcompression`.
    pub compress: bool,
    pub copy: Option<CopyTo<D>>,
    /// Its file is held open for clients that read it later.
    pub open: bool,
}

/// A copy of the file, for people and other programs (F2).
#[derive(Clone)]
pub struct CopyTo<D: Disk> {
    pub folder: D,
    pub name: String,
}

/// Why none is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSnapshot {
    /// One is ordered or being made.
    UnderWay,
    /// A witness has no state (W1).
    Witness,
}

/// How far a snapshot is, to be read on any thread; and whether it is still wanted.
#[derive(Debug, Default)]
pub struct SnapshotProgress {
    pub(super) keys: AtomicU64,
    pub(super) all_keys: AtomicU64,
    pub(super) bytes: AtomicU64,
    given_up: AtomicBool,
}

impl SnapshotProgress {
    /// Keys in the file so far, and in all; that is none before its moment has come.
    pub fn keys(&self) -> (u64, u64) {
        let read = |n: &AtomicU64| n.load(Ordering::Relaxed);
        (read(&self.keys), read(&self.all_keys))
    }

    /// Bytes of the file so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The job asks often: an error when nobody wants the snapshot any more.
    pub(super) fn go_on(&self) -> Result<(), SnapshotError> {
        match self.given_up.load(Ordering::Relaxed) {
            false => Ok(()),
            true => Err(SnapshotError::GivenUp),
        }
    }
}

/// A snapshot that is ordered or being made. To drop this is to give it up.
struct Making<D: Disk> {
    stage: Stage<D>,
    /// The index as of which it will be, once that is known.
    at: Option<EntryId>,
    /// Bytes that its file may take.
    most: u64,
    progress: Arc<SnapshotProgress>,
    /// Nobody wants it any more.
    given_up: bool,
}

enum Stage<D: Disk> {
    Ordered(SnapshotOrder<D>),
    /// Keys leave the keyspace.
    Cut(Box<Cut<D>>),
    /// A job reads base and log.
    Replay,
}

impl<D: Disk> Drop for Making<D> {
    fn drop(&mut self) {
        self.progress.given_up.store(true, Ordering::Relaxed);
    }
}

/// What a shard keeps of snapshots.
pub(super) struct Snapshots<D: Disk> {
    making: Option<Making<D>>,
    /// What came of the last one, until it is taken.
    result: Option<SnapshotResult>,
    /// Jobs were made behind a turn: the next one is due.
    pub jobs_wait: bool,
}

impl<D: Disk> Default for Snapshots<D> {
    fn default() -> Snapshots<D> {
        Snapshots {
            making: None,
            result: None,
            jobs_wait: false,
        }
    }
}

impl<D: Disk> Snapshots<D> {
    /// Whether one is ordered or being made.
    #[inline]
    pub fn is_busy(&self) -> bool {
        self.making.is_some()
    }

    pub fn cut(&self) -> Option<&Cut<D>> {
        match &self.making.as_ref()?.stage {
            Stage::Cut(cut) => Some(cut),
            Stage::Ordered(_) | Stage::Replay => None,
        }
    }

    pub fn cut_mut(&mut self) -> Option<&mut Cut<D>> {
        match &mut self.making.as_mut()?.stage {
            Stage::Cut(cut) => Some(cut),
            Stage::Ordered(_) | Stage::Replay => None,
        }
    }

    /// The thread ends what it does for the one that is being made.
    pub fn stop_thread(&self) {
        if let Some(making) = &self.making {
            making.progress.given_up.store(true, Ordering::Relaxed);
        }
    }
}

impl<D: Disk> Shard<D> {
    /// A snapshot of what is executed now or, where that is no state as of an index, soon; how far it is.
    /// What comes of it is to be had from [`Shard::take_snapshot`], it may be at once.
    pub fn order_snapshot(
        &mut self,
        order: SnapshotOrder<D>,
    ) -> Result<Arc<SnapshotProgress>, NoSnapshot> {
        if self.group.kind() == MemberKind::Witness {
            return Err(NoSnapshot::Witness);
        }
        if self.snapshots.making.is_some() {
            return Err(NoSnapshot::UnderWay);
        }
        let progress = Arc::<SnapshotProgress>::default();
        self.snapshots.making = Some(Making {
            stage: Stage::Ordered(order),
            at: None,
            most: self.next_state_bytes(),
            progress: Arc::clone(&progress),
            given_up: false,
        });
        self.cut_if_whole();
        Ok(progress)
    }

    /// Whether a job reads base and log.
    pub(super) fn is_making_snapshot(&self) -> bool {
        let making = self.snapshots.making.as_ref();
        making.is_some_and(|making| matches!(making.stage, Stage::Replay))
    }

    /// Bytes that the file may take of the one that is being made.
    pub(super) fn making_at_most(&self) -> Option<u64> {
        self.snapshots.making.as_ref().map(|making| making.most)
    }

    /// How far the snapshot is that is ordered or being made.
    pub fn snapshot_progress(&self) -> Option<&Arc<SnapshotProgress>> {
        self.snapshots.making.as_ref().map(|m| &m.progress)
    }

    /// The entry as of which that one is, once it is known.
    pub fn snapshot_at(&self) -> Option<EntryId> {
        self.snapshots.making.as_ref().and_then(|m| m.at)
    }

    /// What came of an order; once.
    pub fn take_snapshot(&mut self) -> Option<SnapshotResult> {
        self.snapshots.result.take()
    }

    /// The process is about to end, or nobody wants it any more. Its thread learns of it soon.
    pub fn give_up_snapshot(&mut self) {
        let Some(making) = &mut self.snapshots.making else {
            return;
        };
        making.given_up = true;
        self.snapshots.stop_thread();
        if self.is_ordered() {
            self.snapshots.making = None;
            self.snapshots.result = Some(Err(SnapshotError::GivenUp));
        } else if self.snapshots.cut().is_some() {
            self.drop_cut();
        }
    }

    fn is_ordered(&self) -> bool {
        let making = self.snapshots.making.as_ref();
        making.is_some_and(|making| matches!(making.stage, Stage::Ordered(_)))
    }

    /// P1: the newest applied entry, for a replay: where the tail is open at a member that no longer leads, nobody
    /// knows what the keyspace is; none if the entry is a part of a unit, or Raft alone has applied it.
    fn replayed_index(&self) -> Option<EntryId> {
        let index = self.group.applied();
        let own_part = self.tail.front().is_some_and(|b| b.first <= index);
        let whole = !self.is_loading() && !own_part && !self.stager.is_open();
        let at = whole.then(|| EntryId {
            index,
            term: self
                .group
                .term_at(index)
                .expect("the log reaches back to what is applied"),
        })?;
        let is_unknown = !self.tail.is_empty() && !self.group.is_leader();
        // F6: of an entry whose file is there the answer is that.
        let is_there = at == self.newest_state().entry();
        (is_unknown || is_there && self.tail.is_empty()).then_some(at)
    }

    /// Whether what is ordered may begin as far as the base goes. With a new base on its way what the old one
    /// names may go when it is there.
    fn may_begin(&mut self) -> bool {
        if !self.is_ordered() || self.base_moves() {
            return false;
        }
        let stuck = self.switch_failure().map(str::to_owned);
        let Some(Making {
            stage: Stage::Ordered(order),
            ..
        }) = &self.snapshots.making
        else {
            return false;
        };
        let only_frees = order.copy.is_none() && !order.open;
        if let (Some(why), true) = (stuck, only_frees) {
            // A second one would free nothing either.
            self.snapshots.making = None;
            self.snapshots.result = Some(Err(SnapshotError::NotNamed(why)));
            return false;
        }
        true
    }

    /// Takes the order for a file as of `at`.
    fn take_order(&mut self, at: EntryId, stage: Stage<D>) -> Option<FileOrder<D>> {
        let keep = self.may_trim() && self.switch_failure().is_none();
        let making = self.snapshots.making.as_mut()?;
        making.at = Some(at);
        match std::mem::replace(&mut making.stage, stage) {
            Stage::Ordered(order) => Some(FileOrder {
                disk: self.log.disk().clone(),
                identity: self.base.identity,
                at,
                order,
                keep,
                progress: Arc::clone(&making.progress),
            }),
            Stage::Cut(_) | Stage::Replay => None,
        }
    }

    /// Begins what is ordered, if the keyspace is the state as of an index.
    fn cut_if_whole(&mut self) {
        if !self.may_begin() || !self.data.keyspace().may_cut() {
            return;
        }
        let is_new = |meta: &SnapshotMeta| meta.entry() != self.newest_state().entry();
        let Some(meta) = self.whole_state().filter(is_new) else {
            return;
        };
        if let Some(of) = self.take_order(meta.entry(), Stage::Replay) {
            let cut = Box::new(self.begin_cut(meta, of));
            if let Some(making) = &mut self.snapshots.making {
                making.stage = Stage::Cut(cut);
            }
        }
    }

    /// Begins what is ordered, as soon as it can be, and goes on with what is begun.
    pub(super) fn begin_snapshot(&mut self) -> Result<(), ShardError> {
        self.go_on_with_cut();
        self.cut_if_whole();
        if !self.may_begin() {
            return Ok(());
        }
        let Some(at) = self.replayed_index() else {
            return Ok(());
        };
        // P1: no policy may order the sync that it waits for.
        if !self.log.has_on_disk(at.index) {
            self.sync_wanted = true;
            return Ok(());
        }
        let base = Base {
            snapshot: self.newest_state().clone(),
            ..self.base.clone()
        };
        let from = base.snapshot.index + 1;
        let entries = match from <= at.index {
            true => Some(self.log.read_job(from, at.index, u64::MAX)?),
            false => None,
        };
        if let Some(file) = self.take_order(at, Stage::Replay) {
            let job = Replay {
                file,
                base,
                entries,
                empty: self.config.clone(),
            };
            let job = SnapshotJob::new(move || job.run());
            self.jobs.push(Job::Snapshot(job));
        }
        Ok(())
    }

    /// F23: one that came to nothing is told, and changes nothing.
    pub(super) fn snapshot_done(&mut self, result: SnapshotResult) {
        let making = self.snapshots.making.take();
        if let Some(mut making) = making {
            // Without effect where all keys have left.
            self.data.keyspace_mut().give_up_cut();
            let placeholder = Stage::Replay;
            if let Stage::Cut(cut) = std::mem::replace(&mut making.stage, placeholder) {
                if cut.is_void && result.is_err() && !making.given_up {
                    making.make_again(cut.order);
                    self.snapshots.making = Some(making);
                    return;
                }
            }
        }
        match &result {
            Ok(made) if made.kept => self.on_snapshot(made.meta.clone()),
            _ => {}
        }
        self.snapshots.result = Some(result);
    }
}

impl<D: Disk> Making<D> {
    /// P2: it was void, and is made under the same order.
    fn make_again(&mut self, order: SnapshotOrder<D>) {
        self.stage = Stage::Ordered(order);
        self.at = None;
        let progress = &self.progress;
        for count in [&progress.keys, &progress.all_keys, &progress.bytes] {
            count.store(0, Ordering::Relaxed);
        }
        progress.given_up.store(false, Ordering::Relaxed);
    }
}
