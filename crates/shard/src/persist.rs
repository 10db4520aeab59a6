//! What is written when, and what counts as written (D1, D4, D5).

use super::turn::Breath;
use super::{ReadFor, Shard, ShardError, SyncPolicy};
use base::clock::Now;
use base::mutation::{self, Mutation};
use raft::eraftpb::{Entry, HardState};
use raft_group::Persist;
use std::sync::Arc;
use std::time::Duration;
use storage::{Allocated, Disk, Done, Job, LogRecord, Position, StorageError};

/// How long a commit index may wait for a record to ride in (D1).
const COMMIT_RIDE: Duration = Duration::from_millis(100);
/// `appendfsync everysec`.
const RELAXED_SYNC: Duration = Duration::from_secs(1);
/// M1: how long an entry that nobody waits for may wait for one to share its sync.
const PATIENCE: Duration = Duration::from_millis(1);
/// A disk whose last sync took less is given the next write by the loop itself, which must not wait for one that
/// is slow or hangs.
const QUICK_SYNC: Duration = Duration::from_millis(2);
/// Room that a hard state alone may need.
pub(super) const SMALL_RECORD: u64 = 512;
/// Bytes of one read of old entries.
pub(super) const READ_SLICE: u64 = 1 << 20;
/// How long a disk is left alone that is full, or where no file can be opened (D5).
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// The same, where the disk is only asked how much is free: a snapshot may have given room back.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl<D: Disk> Shard<D> {
    /// Writes what a Ready asks for, in one record.
    pub(super) fn persist(&mut self, now: Now, ready: Persist) -> Result<(), ShardError> {
        let Persist {
            number,
            hard_state,
            commit_only,
            entries,
            committed,
        } = ready;
        self.note_truncation(&entries);
        if commit_only {
            self.commit_pending.get_or_insert(now.mono + COMMIT_RIDE);
        } else if hard_state.is_some() || !entries.is_empty() {
            let hard_state = (hard_state.is_some() || self.commit_pending.is_some())
                .then(|| self.group.hard_state().clone());
            let before = self.log.end();
            self.append(hard_state.as_ref(), &entries)?;
            self.note_patience(now, before, entries.len());
        }
        self.readies.push_back((number, self.log.end()));
        if let Some(last) = committed.last() {
            self.delivered = last.index;
            if self.loading.is_none() {
                self.to_apply.extend(committed);
            }
        }
        Ok(())
    }

    /// M1: whether all that no sync has been ordered for is what nobody waits for.
    fn note_patience(&mut self, now: Now, before: Position, entries: usize) {
        let patient = entries > 0 && std::mem::take(&mut self.patient_entries) == entries;
        let alone = before == self.log.taken();
        self.patient_until = match self.patient_until {
            _ if !patient => None,
            None if alone => Some(now.mono + PATIENCE),
            since => since,
        };
    }

    pub(super) fn append(
        &mut self,
        hard_state: Option<&HardState>,
        entries: &[Entry],
    ) -> Result<(), ShardError> {
        if hard_state.is_some() {
            self.commit_pending = None;
        }
        let end = self.log.append(&LogRecord {
            hard_state,
            entries,
        })?;
        if let Some(hard_state) = hard_state {
            self.members.note_written(hard_state.commit, end);
        }
        Ok(())
    }

    /// Tells the group which Readies are on disk, or as good as it under the sync policy.
    pub(super) fn mark_persisted(&mut self) {
        let safe = self.safe_position();
        let mut newest = None;
        while self.readies.front().is_some_and(|&(_, end)| end <= safe) {
            newest = self.readies.pop_front().map(|(number, _)| number);
        }
        if let Some(number) = newest {
            self.group.persisted(number);
        }
    }

    /// D4: up to where the log counts as persisted.
    fn safe_position(&self) -> Position {
        if !self.relaxed() || self.record_is_open() {
            self.log.durable()
        } else if mutation::is(Mutation::RelaxedSyncOfJobs) {
            self.log.end()
        } else {
            self.log.written()
        }
    }

    /// D4: a change of the record is executed and not committed. Other nodes hear of it and act by
    /// it, and an operator is answered: it is synced first, whatever the policy.
    fn record_is_open(&self) -> bool {
        !Arc::ptr_eq(self.data.record(), self.data.committed_record())
            && !mutation::is(Mutation::RelaxedSyncOfRecord)
    }

    /// Orders what another thread has to do: syncs, space, reads.
    pub(super) fn order_jobs(&mut self, now: Now) -> Result<(), ShardError> {
        if !self.order_install(now) {
            return Ok(());
        }
        self.flush_commit(now)?;
        self.order_switch(now);
        self.remove_again(now);
        if self.snapshots.is_busy() {
            self.begin_snapshot()?;
        }
        let behind = self.log.end() > self.log.durable();
        // Past that, the end of a sync that is under way wakes the loop, and no deadline does.
        self.patient_until = self.patient_until.filter(|until| now.mono < *until);
        let patient = self.patient_until.is_some();
        let wanted = match self.config.sync {
            _ if patient => false,
            _ if !self.relaxed() || self.must_sync() || self.record_is_open() => true,
            // P10: only what is on disk can be dropped.
            _ if self.sync_wanted || self.is_nearly_full => true,
            // A large record is not even written before its sync job has run (T8).
            _ if self.log.written() < self.log.end() => true,
            SyncPolicy::No => false,
            _ => now.mono >= self.next_relaxed_sync,
        };
        if behind && wanted && self.sync_since.is_none() {
            if self.disk_is_quick {
                self.log.begin_write();
            }
            if let Some(job) = self.log.sync_job() {
                self.sync_since = Some(now.mono);
                self.sync_wanted = false;
                self.patient_until = None;
                self.next_relaxed_sync = now.mono + RELAXED_SYNC;
                self.jobs.push(Job::Sync(job));
            }
        }
        let retries = self.retry_alloc_at.is_some_and(|at| now.mono >= at);
        if retries {
            self.retry_alloc_at = None;
            self.log.retry_alloc();
        }
        if self.log.wants_segment() {
            self.look_at_space();
        }
        match self.log.alloc_job() {
            Some(job) => self.jobs.push(Job::Alloc(job)),
            // It wants no more space than it has.
            None if retries => self.no_space = None,
            None => {}
        }
        for wanted in self.group.take_wanted() {
            // Since it was asked for, this member may have stepped down, and its log been cut at either end.
            let to = (wanted.high - 1).min(self.log.last_index());
            let gone = wanted.low < self.log.first_index();
            if !self.group.is_leader() || wanted.low > to || gone {
                self.group.not_fetched(&wanted);
                continue;
            }
            let job = self.log.read_job(wanted.low, to, READ_SLICE)?;
            self.jobs.push(Job::Read(job));
            self.reads.push_back(ReadFor::Follower(wanted));
        }
        self.order_load(now)?;
        while let Some(garbage) = self.data.keyspace_mut().take_garbage() {
            self.jobs.push(Job::Garbage(Box::new(garbage)));
        }
        Ok(())
    }

    /// A commit index for which no record came along is written by itself.
    fn flush_commit(&mut self, now: Now) -> Result<(), ShardError> {
        let due = self.commit_pending.is_some_and(|at| now.mono >= at);
        if due && self.log.has_room(SMALL_RECORD) {
            if mutation::is(Mutation::SkipCommitOnlyHardState) {
                self.commit_pending = None;
                return Ok(());
            }
            let hard_state = self.group.hard_state().clone();
            self.append(Some(&hard_state), &[])?;
        }
        Ok(())
    }

    /// At a clean end: the commit index is written, and the driver is to run the last sync.
    pub fn close(&mut self) -> Result<Option<Job<D>>, ShardError> {
        self.give_up_snapshot();
        if self.commit_pending.is_some() && self.log.has_room(SMALL_RECORD) {
            let hard_state = self.group.hard_state().clone();
            self.append(Some(&hard_state), &[])?;
        }
        Ok(self.log.sync_job().map(Job::Sync))
    }

    /// Takes in what a job brought. An error ends the process, but for a full disk (D5).
    pub fn job_done(&mut self, now: Now, done: Done<D>) -> Result<(), ShardError> {
        self.job_done_with(now, done, &mut |_| false)
    }

    /// The same; `breath` is drawn now and then while a keyspace is loaded (T9).
    pub fn job_done_with(
        &mut self,
        now: Now,
        done: Done<D>,
        breath: &mut Breath<'_>,
    ) -> Result<(), ShardError> {
        match done {
            Done::Synced(result) => {
                let took = self.sync_since.take().map(|since| now.mono.since(since));
                self.disk_is_quick = took.is_some_and(|took| took < QUICK_SYNC);
                self.log.synced(result?);
            }
            Done::Allocated(result) => {
                self.allocated(now, result)?;
                self.look_at_space();
            }
            Done::Read(result) => {
                let entries = match result {
                    // No file can be opened now (D5): it is read later.
                    Err(error) if error.is_full() => {
                        self.lack.read_failure = Some(error.to_string());
                        self.not_read(now);
                        return Ok(());
                    }
                    read => read?.entries,
                };
                self.lack.read_failure = None;
                match self.next_read() {
                    // D6: nothing of it is written yet; the follower asks again.
                    ReadFor::Follower(wanted) if entries.is_empty() => {
                        self.group.not_fetched(&wanted);
                    }
                    ReadFor::Follower(wanted) => self.group.fetched(wanted, entries),
                    ReadFor::Loading => self.load_entries(now, &entries, breath)?,
                }
            }
            Done::Slice(result) => match result {
                Err(error) if error.is_full() => {
                    self.lack.read_failure = Some(error.to_string());
                    self.load_not_read(now);
                }
                read => {
                    self.lack.read_failure = None;
                    self.load_state(now, &read?, breath)?;
                }
            },
            Done::Switched(result) => self.switched(now, result?),
            Done::Installed(result) => self.installed(now, result?),
            Done::Trimmed(not_removed) => self.removed(now, not_removed),
            Done::Snapshot(result) => self.snapshot_done(result),
            // The walk goes on.
            Done::SnapshotPart => {}
            Done::Transfer(done) => self.on_transferred(done),
            // The server's.
            Done::Download(_) => {}
        }
        Ok(())
    }

    fn allocated(
        &mut self,
        now: Now,
        made: Result<Allocated<D>, StorageError>,
    ) -> Result<(), ShardError> {
        let only_frees = made.as_ref().is_ok_and(|segment| segment.meta.only_frees);
        match self.log.allocated(made) {
            // The disk is as full as before.
            Ok(()) if only_frees => {}
            Ok(()) => self.no_space = None,
            Err(error) if error.is_full() => {
                // Until a try has gone well: what is under way promises nothing.
                self.no_space = Some(error.to_string());
                self.lack.files = error.lacks_files();
                let pause = match error {
                    StorageError::Kept { .. } => LOOK_AGAIN,
                    _ => RETRY,
                };
                self.retry_alloc_at = Some(now.mono + pause);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn next_read(&mut self) -> ReadFor {
        self.reads.pop_front().expect("a read was asked for")
    }

    /// Why the disk could not be read when that was last tried, though it is tried again; none as soon as it has been.
    pub fn read_failure(&self) -> Option<&str> {
        self.lack.read_failure.as_deref()
    }

    fn not_read(&mut self, now: Now) {
        match self.next_read() {
            ReadFor::Follower(wanted) => self.group.not_fetched(&wanted),
            ReadFor::Loading => self.load_not_read(now),
        }
    }

    /// M7: up to where the log must be on disk before another shard may hear of what has committed.
    pub fn sync_point(&self) -> Position {
        match self.relaxed() {
            true => self.log.end(),
            false => Position(0),
        }
    }

    /// M7: another shard waits for what has committed here: it is synced whatever the policy.
    pub fn want_sync(&mut self) {
        self.sync_wanted = true;
    }

    /// Whether everything that was appended is on disk.
    pub fn is_all_durable(&self) -> bool {
        self.log.durable() == self.log.end()
    }

    /// CONFIG SET appendfsync (D4: it matters only to a group without any second member).
    pub fn set_sync(&mut self, sync: SyncPolicy) {
        self.config.sync = sync;
    }

    /// CONFIG SET of the limit of the uncommitted tail (T2).
    pub fn set_tail_limit(&mut self, bytes: usize) {
        self.config.tail_limit = bytes;
    }

    /// CONFIG SET of how long a write's outcome may be open (T6).
    pub fn set_outcome_timeout(&mut self, timeout: Duration) {
        self.config.outcome_timeout = timeout;
    }

    /// Whether the log could not get more space: the disk is full, or no file can be opened.
    pub fn is_disk_full(&self) -> bool {
        self.no_space.is_some()
    }

    /// Whether that is for no file can be opened.
    pub fn lacks_files(&self) -> bool {
        self.no_space.is_some() && self.lack.files
    }

    /// What the system said when the log last got no space.
    pub fn no_space(&self) -> Option<&str> {
        self.no_space.as_deref()
    }
}
