//! A snapshot by replay (P1, P2): the state as of an entry is made a second time, from base and log, beside
//! the living one, and its file is written. It is made where no cut can be: of a tail that is open nobody
//! knows whether it happened. And a file of that entry, if the base names one, is the answer itself.
//!
//! Owns the job, which runs on a thread of its own for minutes. Works on a copy of what the shard knew when
//! the job was made, so the loop appends meanwhile. Never decides whether the file counts, and never changes
//! base or log; an error leaves no file (F23). Costs the memory of one more keyspace while it runs.

use super::apply::apply_entry;
use super::loading::keyspace_of;
use super::state_file::{damaged, unreadable, FileOrder};
use super::{Shard, ShardConfig, ShardError};
use base::ids::EntryId;
use effect::Stager;
use keyspace::Keyspace;
use raft::eraftpb::Entry;
use raft_group::Membership;
use state::load::{LoadError, Loader};
use state::save::save;
use state::{Pacer, StateMachine};
use std::sync::atomic::Ordering;
use storage::snapshot;
use storage::{
    Base, Disk, MemberIdentity, ReadJob, SnapshotError, SnapshotMeta, SnapshotResult, StorageError,
};

/// What the job needs.
pub(super) struct Replay<D: Disk> {
    pub file: FileOrder<D>,
    pub base: Base,
    /// The entries behind the base's state up to that one, if there are any.
    pub entries: Option<ReadJob<D>>,
    /// How an empty keyspace is laid out.
    pub empty: ShardConfig,
}

/// The state as of the entry.
pub(super) struct Made {
    pub meta: SnapshotMeta,
    pub data: StateMachine,
}

fn unusable(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SnapshotError {
    SnapshotError::State(why.into())
}

impl<D: Disk> Replay<D> {
    pub fn run(mut self) -> SnapshotResult {
        let is_there = self.base.snapshot.entry() == self.file.at;
        let there = self.base.snapshot.file.filter(|_| is_there);
        let (meta, keys) = match there {
            // F6: a second file of this entry would be another one under the same index.
            Some(file) => (self.base.snapshot.clone(), self.file.look_at(&file)?),
            None => self.make()?,
        };
        Ok(self.file.deliver(meta, keys, there.is_some()))
    }

    /// Makes the state and its file.
    fn make(&mut self) -> Result<(SnapshotMeta, u64), SnapshotError> {
        let made = self.replay()?;
        let written = self.write(made);
        if let Err(error) = &written {
            self.file.discard(error);
        }
        written
    }

    /// The base's state, and every entry behind it up to the one that was asked for.
    fn replay(&mut self) -> Result<Made, SnapshotError> {
        let (base, at) = (&self.base, self.file.at);
        let empty = Shard::<D>::empty_keyspace(&self.empty);
        let mut wanted = || self.file.progress.go_on().is_ok();
        let keyspace = load(&self.file.disk, &base.snapshot, empty, &mut wanted)?;
        let keyspace = keyspace.ok_or(SnapshotError::GivenUp)?;
        let mut data = StateMachine::new(keyspace, self.empty.sizes.part);
        data.begin_record(Shard::<D>::bootstrap_record(base));
        let mut members = Membership::new(
            base.snapshot.conf_state.clone(),
            base.snapshot.members.clone(),
            base.identity.raft_id,
            base.snapshot.index,
        );
        let mut stager = Stager::default();
        let mut reached = base.snapshot.entry();
        if let Some(entries) = self.entries.take() {
            entries.visit(|entry| {
                self.file.progress.go_on()?;
                reached = EntryId {
                    index: entry.index,
                    term: entry.term,
                };
                let id = &base.identity;
                replay_entry(id, &mut members, &mut data, &mut stager, &entry).map_err(unusable)?;
                while let Some(garbage) = data.keyspace_mut().take_garbage() {
                    drop(garbage);
                }
                Ok::<(), SnapshotError>(())
            })?;
        }
        if reached != at {
            return Err(unusable(format!(
                "the log has {reached:?} where {at:?} was to be the last entry"
            )));
        }
        if stager.is_open() {
            return Err(unusable(format!("entry {} is a part of a unit", at.index)));
        }
        data.commit_record();
        let meta = SnapshotMeta {
            index: at.index,
            term: at.term,
            conf_state: members.conf,
            members: members.list,
            record: data.committed_record().encode(),
            file: None,
        };
        Ok(Made { meta, data })
    }

    pub fn write(&self, made: Made) -> Result<(SnapshotMeta, u64), SnapshotError> {
        let Made { meta, data } = made;
        let (style, mut file) = (self.file.style(&meta), self.file.create(meta)?);
        let (keyspace, progress) = (data.keyspace(), &self.file.progress);
        let keys = (0..keyspace.databases()).map(|db| keyspace.len(db)).sum();
        progress.all_keys.store(keys, Ordering::Relaxed);
        let mut told = |keys| progress.keys.store(keys, Ordering::Relaxed);
        let mut sink = self.file.sink(&mut file.writer);
        let saved = save(keyspace, &style, &mut sink, &mut told)?;
        drop(sink);
        drop(data);
        Ok((self.file.name(file, &saved)?, saved.keys))
    }
}

/// The keyspace as of the base's snapshot: `empty`, where that is the one of a bootstrap. None: `go_on` is
/// asked now and then, and has given it up.
fn load<D: Disk>(
    disk: &D,
    snapshot: &SnapshotMeta,
    empty: Keyspace,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Option<Keyspace>, SnapshotError> {
    let (Some(file), Some(name)) = (&snapshot.file, snapshot.file_name()) else {
        return Ok(Some(empty));
    };
    let damaged = |why: String| damaged(&name, &why);
    let mut loader = Loader::new(empty);
    let read = snapshot::read(disk, &name, |slice| match go_on() {
        true => loader.feed(slice).map_err(Load::File),
        false => Err(Load::GivenUp),
    });
    match read {
        Ok(()) => keyspace_of(loader, file).map(Some).map_err(damaged),
        Err(Load::GivenUp) => Ok(None),
        Err(Load::Disk(error)) => Err(unreadable(&name, error)),
        Err(Load::File(error)) => Err(damaged(error.to_string())),
    }
}

/// What can stop the reading of a state.
enum Load {
    Disk(StorageError),
    File(LoadError),
    GivenUp,
}

impl From<StorageError> for Load {
    fn from(error: StorageError) -> Load {
        Load::Disk(error)
    }
}

/// One committed entry of the log.
fn replay_entry(
    identity: &MemberIdentity,
    members: &mut Membership,
    data: &mut StateMachine,
    stager: &mut Stager,
    entry: &Entry,
) -> Result<(), ShardError> {
    let replayed = members.replay(entry, identity.raft_id);
    replayed.map_err(|source| ShardError::Apply {
        index: entry.index,
        reason: source.to_string(),
    })?;
    apply_entry(data, stager, entry, &mut Pacer::default(), &mut || {})
}
