//! The storage thread: what would block the loop happens here.
//!
//! Owns one thread that syncs, allocates, reads and writes for the loop, another one that reads and writes the
//! files of states which travel (F11), between members and to clients, one that only frees memory (dropping a keyspace of
//! many keys takes seconds, and no sync may wait for that), and one that makes snapshots. All but the first step back behind the loop.
//! Decides nothing: jobs come from the log, results go back to it.
//!
//! Syncs go first, and all that have queued up become one; an allocation proceeds in steps between
//! them. Jobs of the other kinds keep their order, each behind the syncs that were handed over
//! before it. A failed sync is reported and is the last thing that this thread does (D5).

use super::courtesy;
use super::disk::Disk;
use super::download::{DownloadDone, DownloadJob};
use super::error::Result;
use super::install::{InstallJob, Installed};
use super::position::Position;
use super::read::{ReadDone, ReadJob};
use super::segment::{AllocJob, Allocated};
use super::snapshot::{SliceRead, SnapshotJob, SnapshotResult};
use super::sync::SyncJob;
use super::transfer::{TransferDone, TransferJob};
use super::trim::{NotRemoved, SwitchJob, Switched, TrimJob};
use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{channel, Receiver, Sender, TryRecvError};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// Work that may block.
pub enum Job<D: Disk> {
    Sync(SyncJob<D>),
    Alloc(AllocJob<D>),
    Read(ReadJob<D>),
    /// Reads a part of the state's file.
    Slice(SliceRead<D>),
    /// Replaces the base (P8).
    Switch(SwitchJob<D>),
    /// Replaces the base and the log (P17).
    Install(InstallJob<D>),
    /// Removes what the base names no more: behind the reads that were handed over before it.
    Trim(TrimJob<D>),
    /// Makes a snapshot, or a part of one.
    Snapshot(SnapshotJob),
    /// A piece of a state that travels, or what begins or ends with the last one; in order.
    Transfer(TransferJob<D>),
    /// A piece of a state for a client.
    Download(DownloadJob),
    /// Memory whose freeing takes long.
    Garbage(Box<dyn Send>),
    /// Anything else (nodes.conf); reports by its own means.
    Call(Box<dyn FnOnce() + Send>),
}

/// What came of a job, for the log.
pub enum Done<D: Disk> {
    /// An error means that the process must end (D5).
    Synced(Result<Position>),
    Allocated(Result<Allocated<D>>),
    Read(Result<ReadDone>),
    Slice(Result<Vec<u8>>),
    /// An error means that the process must end (P8).
    Switched(Result<Switched<D>>),
    /// The same.
    Installed(Result<Installed>),
    /// What could not be removed; it goes at the next start, if not before.
    Trimmed(Option<Box<NotRemoved<D>>>),
    /// A snapshot is whole and durable under its name; or there is none, and nothing else has happened.
    Snapshot(SnapshotResult),
    /// There is room for more of the snapshot that is being made.
    SnapshotPart,
    /// Nothing else has happened if it is an error.
    Transfer(TransferDone),
    /// For the server: the log has no part in it.
    Download(DownloadDone),
}

impl<D: Disk> Job<D> {
    /// Does the job on the spot; for drivers without threads.
    pub fn run(self) -> Option<Done<D>> {
        match self {
            Job::Sync(job) => Some(Done::Synced(job.run())),
            Job::Alloc(job) => Some(Done::Allocated(job.run())),
            Job::Read(job) => Some(Done::Read(job.run())),
            Job::Slice(job) => Some(Done::Slice(job.run())),
            Job::Switch(job) => Some(Done::Switched(job.run())),
            Job::Install(job) => Some(Done::Installed(job.run())),
            Job::Trim(job) => Some(Done::Trimmed(job.attempt().map(Box::new))),
            Job::Snapshot(job) => Some(job.run().map_or(Done::SnapshotPart, Done::Snapshot)),
            Job::Transfer(job) => Some(Done::Transfer(job.run())),
            Job::Download(job) => Some(Done::Download(job.run())),
            Job::Garbage(garbage) => {
                drop(garbage);
                None
            }
            Job::Call(call) => {
                call();
                None
            }
        }
    }
}

/// The handle: dropping it lets the threads finish what they have been given, and waits for that.
/// A snapshot that is being made is waited for too, unless it has been given up before.
pub struct StorageThread<D: Disk> {
    jobs: Option<Sender<Job<D>>>,
    garbage: Option<Sender<Box<dyn Send>>>,
    snapshots: Option<Sender<SnapshotJob>>,
    transfers: Option<Sender<Job<D>>>,
    threads: Vec<JoinHandle<()>>,
}

impl<D: Disk> StorageThread<D> {
    /// Starts the threads. `wake` is called after each result that was put into the channel.
    pub fn start(wake: impl Fn() + Send + Sync + 'static) -> io::Result<(Self, Receiver<Done<D>>)> {
        let (jobs, queue) = channel();
        let (done, results) = channel();
        let (garbage, heap) = channel();
        let (snapshots, parts) = channel();
        let (transfers, pieces) = channel();
        let wake = Arc::new(wake);
        let (done_too, wake_too) = (done.clone(), Arc::clone(&wake));
        let (done_pieces, wake_pieces) = (done.clone(), Arc::clone(&wake));
        let worker = Worker {
            queue,
            done,
            wake,
            sync: None,
            alloc: None,
            rest: VecDeque::new(),
        };
        // Memory that is not freed yet goes with the process: nobody waits for that thread.
        Builder::new()
            .name("hf-free".into())
            .spawn(move || free(heap))?;
        let threads = vec![
            Builder::new()
                .name("hf-storage".into())
                .spawn(move || worker.run())?,
            Builder::new()
                .name("hf-snapshot".into())
                .spawn(move || make_snapshots(parts, &done_too, &*wake_too))?,
            Builder::new()
                .name("hf-transfer".into())
                .spawn(move || transfer(pieces, &done_pieces, &*wake_pieces))?,
        ];
        Ok((
            StorageThread {
                jobs: Some(jobs),
                garbage: Some(garbage),
                snapshots: Some(snapshots),
                transfers: Some(transfers),
                threads,
            },
            results,
        ))
    }

    /// Hands a job over. After a failed sync jobs are dropped: the process is about to end.
    pub fn submit(&self, job: Job<D>) {
        // A thread that is gone has reported why; nothing can be added to that.
        match job {
            Job::Garbage(garbage) => {
                let _ = self.garbage.as_ref().map(|g| g.send(garbage));
            }
            Job::Snapshot(job) => {
                let _ = self.snapshots.as_ref().map(|s| s.send(job));
            }
            job @ (Job::Transfer(_) | Job::Download(_)) => {
                let _ = self.transfers.as_ref().map(|t| t.send(job));
            }
            job => {
                let _ = self.jobs.as_ref().map(|j| j.send(job));
            }
        }
    }
}

impl<D: Disk> Drop for StorageThread<D> {
    fn drop(&mut self) {
        (self.jobs, self.garbage) = (None, None);
        (self.snapshots, self.transfers) = (None, None);
        for thread in self.threads.drain(..) {
            // Only a panic makes this fail, and it has been printed.
            let _ = thread.join();
        }
    }
}

/// What is freed is one piece each time, so there are no rests.
fn free(heap: Receiver<Box<dyn Send>>) {
    courtesy::step_back();
    heap.into_iter().for_each(drop);
}

fn make_snapshots<D: Disk>(
    jobs: Receiver<SnapshotJob>,
    done: &Sender<Done<D>>,
    wake: &(impl Fn() + ?Sized),
) {
    courtesy::step_back();
    for job in jobs {
        // Without a receiver the loop is gone, and its results with it.
        let _ = done.send(job.run().map_or(Done::SnapshotPart, Done::Snapshot));
        wake();
        courtesy::rest();
    }
}

fn transfer<D: Disk>(jobs: Receiver<Job<D>>, done: &Sender<Done<D>>, wake: &(impl Fn() + ?Sized)) {
    courtesy::step_back();
    for result in jobs.into_iter().filter_map(Job::run) {
        // As above.
        let _ = done.send(result);
        wake();
    }
}

struct Worker<D: Disk, W> {
    queue: Receiver<Job<D>>,
    done: Sender<Done<D>>,
    wake: Arc<W>,
    sync: Option<SyncJob<D>>,
    alloc: Option<AllocJob<D>>,
    rest: VecDeque<Job<D>>,
}

impl<D: Disk, W: Fn()> Worker<D, W> {
    fn run(mut self) {
        while self.collect() {
            if let Some(job) = self.sync.take() {
                let result = job.run();
                let failed = result.is_err();
                self.report(Done::Synced(result));
                if failed {
                    return; // D5
                }
            }
            if let Some(done) = self.rest.pop_front().and_then(Job::run) {
                self.report(done);
            }
            if let Some(job) = &mut self.alloc {
                if let Some(result) = job.step().transpose() {
                    self.alloc = None;
                    self.report(Done::Allocated(result));
                }
            }
        }
    }

    /// Takes all jobs that are there, and waits for one if there is nothing to do; `false` when
    /// there never will be anything again.
    fn collect(&mut self) -> bool {
        loop {
            match self.queue.try_recv() {
                Ok(job) => self.take(job),
                Err(TryRecvError::Disconnected) => return self.has_work(),
                Err(TryRecvError::Empty) if self.has_work() => return true,
                Err(TryRecvError::Empty) => match self.queue.recv() {
                    Ok(job) => self.take(job),
                    Err(_) => return false,
                },
            }
        }
    }

    fn take(&mut self, job: Job<D>) {
        match job {
            Job::Sync(job) => match &mut self.sync {
                Some(waiting) => waiting.merge(job),
                None => self.sync = Some(job),
            },
            Job::Alloc(job) => self.alloc = Some(job),
            other => self.rest.push_back(other),
        }
    }

    fn has_work(&self) -> bool {
        self.sync.is_some() || self.alloc.is_some() || !self.rest.is_empty()
    }

    fn report(&self, done: Done<D>) {
        // Without a receiver the loop is gone, and its results with it.
        let _ = self.done.send(done);
        (self.wake)();
    }
}
