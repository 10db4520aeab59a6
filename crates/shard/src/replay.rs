//! A snapshot by replay (P1, P2): the state as of an entry is made a second time, from base and log, beside
//! the living one, and its file is written.
//!
//! Owns the job, which runs on a thread of its own for minutes. Works on a copy of what the shard knew when
//! the job was made, so the loop appends meanwhile. Never decides whether the file counts, and never changes
//! base or log; an error leaves no file (F23). Costs the memory of one more keyspace while it runs.

use super::apply::apply_entry;
use super::check::{self, Check};
use super::loading::keyspace_of;
use super::make::{CopyTo, SnapshotOrder, SnapshotProgress};
use super::{Shard, ShardConfig, ShardError};
use base::ids::{EntryId, RaftId};
use base::mutation::{self, Mutation};
use effect::Stager;
use keyspace::Keyspace;
use raft::eraftpb::Entry;
use raft_group::Membership;
use state::load::{LoadError, Loader};
use state::save::{hex, save, Saved, Style};
use state::StateMachine;
use std::fmt::Display;
use std::io::ErrorKind;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use storage::reserve;
use storage::snapshot::{self, SnapshotWriter};
use storage::{
    Base, Disk, MadeSnapshot, MemberIdentity, OpenState, ReadJob, SnapshotError, SnapshotMeta,
    SnapshotResult, StateFile, StorageError,
};

/// What the job needs.
pub(super) struct Replay<D: Disk> {
    pub disk: D,
    pub base: Base,
    pub at: EntryId,
    /// The entries behind the base's state up to that one, if there are any.
    pub entries: Option<ReadJob<D>>,
    /// How an empty keyspace is laid out.
    pub empty: ShardConfig,
    pub order: SnapshotOrder<D>,
    /// Else the file goes when it has been copied.
    pub keep: bool,
    pub progress: Arc<SnapshotProgress>,
}

/// The state as of the entry.
pub(super) struct Made {
    pub meta: SnapshotMeta,
    pub data: StateMachine,
}

fn unusable(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SnapshotError {
    SnapshotError::State(why.into())
}

/// What the base names is not what was written. Memory has all that it had: a start is what must not happen.
fn damaged(file: &str, why: &dyn Display) -> SnapshotError {
    unusable(format!(
        "{file}: {why}; a start would be refused: do not end this server before that is mended, or its keys \
         are elsewhere"
    ))
}

/// Whether it was the disk's business, or the file is not what was written.
fn unreadable(file: &str, error: StorageError) -> SnapshotError {
    match &error {
        StorageError::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
            damaged(file, &error)
        }
        _ => unusable(error),
    }
}

impl<D: Disk> Replay<D> {
    pub fn run(mut self) -> SnapshotResult {
        let is_there = self.base.snapshot.entry() == self.at;
        let there = self.base.snapshot.file.filter(|_| is_there);
        let (meta, keys) = match there {
            // F6: a second file of this entry would be another one under the same index.
            Some(file) => (self.base.snapshot.clone(), self.look_at(&file)?),
            None => self.make()?,
        };
        let copied = self.order.copy.take().map(|to| self.copy(&meta, &to));
        let opened = self.order.open.then(|| {
            let opened = OpenState::open(&self.disk, &meta);
            opened.map_err(SnapshotError::from)
        });
        let kept = self.keep || there.is_some();
        if !kept {
            snapshot::discard(&self.disk, self.at, meta.file.as_ref());
        }
        Ok(Box::new(MadeSnapshot {
            meta,
            keys,
            kept,
            copied,
            opened,
        }))
    }

    /// Makes the state and its file.
    fn make(&mut self) -> Result<(SnapshotMeta, u64), SnapshotError> {
        let made = self.replay()?;
        let written = self.write(made);
        if let Err(error) = &written {
            snapshot::discard(&self.disk, self.at, None);
            if matches!(error, SnapshotError::Disk(error) if error.is_full()) {
                // D5: the next one has it.
                reserve::give_up(&self.disk);
            }
        }
        written
    }

    /// The base's state, and every entry behind it up to the one that was asked for.
    fn replay(&mut self) -> Result<Made, SnapshotError> {
        let (base, at) = (&self.base, self.at);
        let empty = Shard::<D>::empty_keyspace(&self.empty);
        let mut wanted = || self.progress.go_on().is_ok();
        let keyspace = load(&self.disk, &base.snapshot, empty, &mut wanted)?;
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
                self.progress.go_on()?;
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

    /// P2: the file has its name when it is on disk and reads back as it was written.
    pub fn write(&self, made: Made) -> Result<(SnapshotMeta, u64), SnapshotError> {
        let Made { mut meta, data } = made;
        let mut writer = SnapshotWriter::create(self.disk.clone(), self.at)?;
        let style = Style {
            origin: self.order.origin.clone(),
            fields: self.fields(&meta),
            compress: self.order.compress,
        };
        let (keyspace, progress) = (data.keyspace(), &self.progress);
        let keys = (0..keyspace.databases()).map(|db| keyspace.len(db)).sum();
        progress.all_keys.store(keys, Ordering::Relaxed);
        let mut sink = |piece: &[u8]| {
            progress.go_on()?;
            writer.write(piece)?;
            let bytes = u64::try_from(piece.len()).expect("a usize fits");
            progress.bytes.fetch_add(bytes, Ordering::Relaxed);
            Ok::<(), SnapshotError>(())
        };
        let mut told = |keys| progress.keys.store(keys, Ordering::Relaxed);
        let saved = save(keyspace, &style, &mut sink, &mut told)?;
        drop(data);
        writer.sync()?;
        if !mutation::is(Mutation::ValidBeforeCheck) {
            self.check(&writer, &saved)?;
        }
        let sum = saved.end.checksum.unwrap_or_default();
        meta.file = Some(writer.finish(self.at, sum)?);
        Ok((meta, saved.keys))
    }

    fn check(&self, writer: &SnapshotWriter<D>, saved: &Saved) -> Result<(), SnapshotError> {
        let mut check = Check::new(writer.temporary());
        writer.read_back(|slice| {
            self.progress.go_on()?;
            check.feed(slice)
        })?;
        let (file, found) = (check.file.clone(), check.finish()?);
        let want = (saved.keys, saved.end);
        match found == want {
            true => Ok(()),
            false => Err(SnapshotError::Differs {
                file,
                what: format!("{found:?} where {want:?} was written"),
            }),
        }
    }

    /// The keys of the file that the base names, if that is sound.
    fn look_at(&self, file: &StateFile) -> Result<u64, SnapshotError> {
        let name = snapshot::name(self.at, file);
        let mut check = Check::new(&name);
        let looked = snapshot::read(&self.disk, &name, |slice| {
            self.progress.go_on()?;
            check.feed(slice)
        });
        match looked.and_then(|()| check.finish()) {
            Ok((keys, end)) if (end.length, end.checksum) == (file.bytes, Some(file.crc64)) => {
                Ok(keys)
            }
            Ok(_) => Err(damaged(&name, &"it is another file than base names")),
            Err(SnapshotError::Disk(error)) => Err(unreadable(&name, error)),
            Err(SnapshotError::Differs { what, .. }) => Err(damaged(&name, &what)),
            Err(error) => Err(error),
        }
    }

    fn copy(&self, meta: &SnapshotMeta, to: &CopyTo<D>) -> Result<(), SnapshotError> {
        let name = meta.file_name().expect("the file has just been made");
        // Nodes may share the folder, and what a crash has left goes with the next copy.
        let temp = format!("temp-{:016x}.rdb", self.base.identity.raft_id);
        let (from, to) = ((&self.disk, &name[..]), (&to.folder, &to.name[..]));
        snapshot::copy(from, to, &temp, |_| self.progress.go_on())
    }

    /// What the file says of itself. The base in it is without what differs from member to member.
    fn fields(&self, meta: &SnapshotMeta) -> Vec<(&'static str, String)> {
        let identity = &self.base.identity;
        let base = Base {
            identity: MemberIdentity {
                raft_id: RaftId::default(),
                ..*identity
            },
            snapshot: meta.clone(),
            start: None,
        };
        let mut fields = check::origin(meta.entry(), identity.group).to_vec();
        fields.extend([
            ("hf-incarnation", identity.incarnation.0.to_string()),
            ("hf-base", hex(&base.to_bytes())),
        ]);
        fields
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
    apply_entry(data, stager, entry, &mut || {})
}
