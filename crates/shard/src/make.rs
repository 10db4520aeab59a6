//! When a snapshot is made, and of which index (P1).
//!
//! Owns the way from an order to a job of [`replay`](super::replay), and what becomes of its result: the base
//! names the file where it may (D7), and the server that ordered it can ask. One at a time. Never: reads or writes a
//! file, or knows why a snapshot is wanted. Invariant: as long as a job reads base and log, the base is not
//! replaced, so nothing that it reads goes away.

use super::replay::Replay;
use super::{Shard, ShardError};
use base::ids::EntryId;
use base::mutation::{self, Mutation};
use state::save::Origin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use storage::base::MemberKind;
use storage::{Base, Disk, Job, SnapshotError, SnapshotJob, SnapshotResult};

/// What a snapshot is ordered with.
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
    /// Keys in the file so far, and in all; that is none before the state has been made anew.
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
    /// Until the job is made.
    order: Option<SnapshotOrder<D>>,
    /// The index as of which it will be, once that is known.
    at: Option<EntryId>,
    /// Bytes that its file may take.
    most: u64,
    progress: Arc<SnapshotProgress>,
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
}

impl<D: Disk> Default for Snapshots<D> {
    fn default() -> Snapshots<D> {
        Snapshots {
            making: None,
            result: None,
        }
    }
}

impl<D: Disk> Shard<D> {
    /// A snapshot of what is committed and applied now or, where no state is as of an index at this moment, soon.
    /// What comes of it is to be had from [`Shard::take_snapshot`].
    pub fn order_snapshot(&mut self, order: SnapshotOrder<D>) -> Result<(), NoSnapshot> {
        if self.group.kind() == MemberKind::Witness {
            return Err(NoSnapshot::Witness);
        }
        if self.snapshots.making.is_some() {
            return Err(NoSnapshot::UnderWay);
        }
        self.snapshots.making = Some(Making {
            order: Some(order),
            at: self.whole_index(),
            most: self.next_state_bytes(),
            progress: Arc::default(),
        });
        Ok(())
    }

    /// Whether a job reads base and log.
    pub(super) fn is_making_snapshot(&self) -> bool {
        let making = self.snapshots.making.as_ref();
        making.is_some_and(|making| making.order.is_none())
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
        making.progress.given_up.store(true, Ordering::Relaxed);
        if making.order.take().is_some() {
            self.snapshots.making = None;
            self.snapshots.result = Some(Err(SnapshotError::GivenUp));
        }
    }

    /// P1: the newest applied entry; none if it is a part of a unit, or Raft alone has applied it.
    fn whole_index(&self) -> Option<EntryId> {
        let index = self.group.applied();
        let own_part = self.tail.front().is_some_and(|b| b.first <= index);
        let part = own_part || self.stager.is_open();
        let whole = !self.is_loading() && (!part || mutation::is(Mutation::CutInsideUnit));
        whole.then(|| EntryId {
            index,
            term: self
                .group
                .term_at(index)
                .expect("the log reaches back to what is applied"),
        })
    }

    /// Begins what is ordered, as soon as it can be.
    pub(super) fn begin_snapshot(&mut self) -> Result<(), ShardError> {
        let is_ordered = |m: &Making<D>| m.order.is_some();
        // With a new base on its way what the old one names may go when it is there.
        if !self.snapshots.making.as_ref().is_some_and(is_ordered) || self.base_moves() {
            return Ok(());
        }
        let stuck = self.switch_failure().map(str::to_owned);
        let (whole, keep) = (self.whole_index(), self.may_trim() && stuck.is_none());
        let base = Base {
            snapshot: self.newest_state().clone(),
            ..self.base.clone()
        };
        let Some(making) = &mut self.snapshots.making else {
            return Ok(());
        };
        let only_frees = |order: &SnapshotOrder<D>| order.copy.is_none() && !order.open;
        let only_frees = making.order.as_ref().is_some_and(only_frees);
        if let (Some(why), true) = (stuck, only_frees) {
            // A second one would free nothing either.
            self.snapshots.making = None;
            self.snapshots.result = Some(Err(SnapshotError::NotNamed(why)));
            return Ok(());
        }
        making.at = making.at.or(whole);
        let Some(at) = making.at else {
            return Ok(());
        };
        // P1: no policy may order the sync that it waits for.
        let ahead = mutation::is(Mutation::SnapshotAheadOfDisk);
        if !self.log.has_on_disk(at.index) && !ahead {
            self.sync_wanted = true;
            return Ok(());
        }
        let from = base.snapshot.index + 1;
        let entries = match from <= at.index {
            true => Some(self.log.read_job(from, at.index, u64::MAX)?),
            false => None,
        };
        let job = Replay {
            disk: self.log.disk().clone(),
            base,
            at,
            entries,
            empty: self.config.clone(),
            order: making.order.take().expect("it was just seen"),
            keep,
            progress: Arc::clone(&making.progress),
        };
        let job = SnapshotJob::new(move || job.run());
        self.jobs.push(Job::Snapshot(job));
        Ok(())
    }

    /// F23: one that came to nothing is told, and changes nothing.
    pub(super) fn snapshot_done(&mut self, result: SnapshotResult) {
        self.snapshots.making = None;
        match &result {
            Ok(made) if made.kept => self.on_snapshot(made.meta.clone()),
            _ => {}
        }
        self.snapshots.result = Some(result);
    }
}
