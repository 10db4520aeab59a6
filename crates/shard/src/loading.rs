//! The keyspace made anew: from the base's state, then from the log behind it (D2, T6, P20).
//!
//! Owns: the state machine that the bytes of the file and the entries go into, and how far it is. Never:
//! reads a file itself (the storage thread does, a slice at a time), or shows anything of an unfinished
//! keyspace: until the end the shard's own is empty, beside the record as committed.
//!
//! Invariants:
//! - After a start Raft waits until the keyspace is that of the stored commit (D2). Beside a member that
//!   lives the log goes on; what it delivers meanwhile is read back from the disk in its turn.
//! - While it lasts this member says in every message that it is not loaded (P20).
//! - The base does not change between the first read and the last (P1).

use super::apply::apply_entry;
use super::members::is_change;
use super::persist::{READ_SLICE, RETRY};
use super::turn::Breath;
use super::{ReadFor, Shard, ShardError};
use base::clock::{Mono, Now};
use base::mutation::{self, Mutation};
use effect::Stager;
use keyspace::Keyspace;
use raft::eraftpb::Entry;
use raft_group::Group;
use state::load::{LoadError, Loader};
use state::{Pacer, StateMachine};
use std::sync::Arc;
use storage::base::{MemberKind, StateFile};
use storage::snapshot::{SliceRead, LOAD_SLICE};
use storage::{Disk, Job};
use topology::Record;

/// Why the keyspace is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The member has been opened: Raft waits.
    Start,
    /// T6: what it had executed did not happen.
    LostTail,
    /// An operator wants to see that what is on the disk is what is in memory.
    Reload,
}

impl Cause {
    /// T9: beside a Raft that lives a load breathes. D2: where Raft waits for it nothing is stepped.
    fn breathe(self, group: &mut Group, breath: &mut Breath<'_>) {
        if self != Cause::Start {
            breath(group);
        }
    }
}

/// A keyspace on its way.
pub(super) struct Loading {
    cause: Cause,
    source: Source,
    reading: Reading,
    since: Now,
    /// What the keyspace has to be on the way.
    check: Option<Check>,
}

/// The keyspace that is made anew was this one.
struct Check {
    /// As of this entry.
    at: u64,
    digest: [u8; 20],
    record: Arc<Record>,
}

/// Where the next bytes come from.
enum Source {
    /// A base is on its way into the place of the one that is known.
    Unknown,
    File {
        loader: Box<Loader>,
        offset: u64,
    },
    Log(Box<Replay>),
}

/// What the entries behind the state go into.
struct Replay {
    /// The entry that comes next.
    next: u64,
    data: StateMachine,
    stager: Stager,
}

/// Whether the next bytes are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    No,
    Ordered,
    /// No file could be opened.
    NotBefore(Mono),
}

/// How far a keyspace is that is being loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadProgress {
    pub cause: Cause,
    pub since: Now,
    /// Of the state's file and of the log behind it.
    pub total_bytes: u64,
    pub loaded_bytes: u64,
    /// Bytes of that which are the file's.
    pub file_bytes: u64,
}

impl<D: Disk> Shard<D> {
    /// Whether the keyspace is not that of the applied index (P20).
    pub fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// Whether the shard has keys, or may have some, since they are being loaded.
    pub fn may_have_keys(&self) -> bool {
        let keyspace = self.data.keyspace();
        let mut databases = 0..keyspace.databases();
        self.is_loading() || databases.any(|db| keyspace.len(db) > 0)
    }

    /// D2: whether Raft waits for the keyspace.
    pub fn is_starting(&self) -> bool {
        let loading = self.loading.as_ref();
        loading.is_some_and(|loading| loading.cause == Cause::Start)
    }

    /// How far the keyspace is that is being loaded.
    pub fn load_progress(&self) -> Option<LoadProgress> {
        let loading = self.loading.as_ref()?;
        let base = &self.base.snapshot;
        let file_bytes = base.file.as_ref().map_or(0, |file| file.bytes);
        let log_bytes = self.log.bytes_after(base.index);
        let loaded_bytes = match &loading.source {
            Source::Unknown => 0,
            Source::File { offset, .. } => (*offset).min(file_bytes),
            Source::Log(replay) => {
                file_bytes + log_bytes.saturating_sub(self.log.bytes_after(replay.next - 1))
            }
        };
        Some(LoadProgress {
            cause: loading.cause,
            since: loading.since,
            total_bytes: file_bytes + log_bytes,
            loaded_bytes,
            file_bytes,
        })
    }

    /// Begins to make the keyspace anew, to show that base and log hold it. False: there is something in it that
    /// is not committed yet, or the base is about to be replaced; nothing has happened. `breath`: the digest takes long (T9).
    pub fn reload(&mut self, now: Now, breath: &mut Breath<'_>) -> bool {
        let executed = self.data.batch_bytes() > 0 || !self.tail.is_empty();
        let busy = self.is_loading() || self.is_installing() || self.base_moves();
        if executed || busy || self.group.kind() == MemberKind::Witness {
            return false;
        }
        let group = &mut self.group;
        let check = Check {
            at: group.applied(),
            digest: self.data.keyspace().digest_with(&mut || {
                breath(group);
            }),
            record: Arc::clone(self.data.record()),
        };
        // They are read back in their turn.
        self.to_apply.clear();
        self.begin_loading(now, Cause::Reload, Some(check));
        true
    }

    /// T6: what was executed did not happen.
    pub(super) fn load_without_tail(&mut self, now: Now) {
        self.begin_loading(now, Cause::LostTail, None);
    }

    /// D2: after a start.
    pub(super) fn load_at_start(&mut self, now: Now) {
        self.begin_loading(now, Cause::Start, None);
    }

    /// Begins to make the keyspace anew. What it was is freed elsewhere (T9).
    fn begin_loading(&mut self, now: Now, cause: Cause, check: Option<Check>) {
        assert!(self.loading.is_none(), "one keyspace is made at a time");
        assert!(
            self.group.kind() == MemberKind::Data,
            "W1: a witness has no keys"
        );
        self.void_cut();
        let empty = || Shard::<D>::empty_keyspace(&self.config);
        let committed = self.data.committed_record().clone();
        let mut old = self.data.restart(empty(), committed);
        let mut source = Source::Unknown;
        if cause == Cause::LostTail && mutation::is(Mutation::SkipRebuild) {
            let mut data = StateMachine::new(old, self.config.sizes.part);
            data.begin_record(Record::clone(self.record()));
            source = Source::Log(Box::new(Replay {
                next: self.group.applied() + 1,
                data,
                stager: Stager::default(),
            }));
            old = empty();
        }
        old.give_up_cut();
        old.flush(None);
        while let Some(garbage) = old.take_garbage() {
            self.jobs.push(Job::Garbage(Box::new(garbage)));
        }
        self.stager = Stager::default();
        self.group.set_loaded(false);
        self.loading = Some(Loading {
            cause,
            source,
            reading: Reading::No,
            since: now,
            check,
        });
        self.find_source(now);
    }

    /// P8: of a switch that is under way nobody knows which base the disk has; what it names is read when that is known.
    fn find_source(&mut self, now: Now) {
        let switches = self.is_switch_ordered();
        let empty = || Shard::<D>::empty_keyspace(&self.config);
        let unknown = |loading: &Loading| matches!(loading.source, Source::Unknown);
        if switches || !self.loading.as_ref().is_some_and(unknown) {
            return;
        }
        let source = match &self.base.snapshot.file {
            Some(_) => Source::File {
                loader: Box::new(Loader::new(empty())),
                offset: 0,
            },
            None => self.replay_onto(empty()),
        };
        self.loading_mut().source = source;
        self.end_loading_if_whole(now);
    }

    /// The entries behind the base's state go into its keyspace.
    fn replay_onto(&self, keyspace: Keyspace) -> Source {
        let mut data = StateMachine::new(keyspace, self.config.sizes.part);
        data.begin_record(Shard::<D>::bootstrap_record(&self.base));
        Source::Log(Box::new(Replay {
            next: self.base.snapshot.index + 1,
            data,
            stager: Stager::default(),
        }))
    }

    /// Asks for the next bytes; one read at a time.
    pub(super) fn order_load(&mut self, now: Now) -> Result<(), ShardError> {
        self.find_source(now);
        let Some(loading) = &mut self.loading else {
            return Ok(());
        };
        let may_read = match loading.reading {
            Reading::No => true,
            Reading::Ordered => false,
            Reading::NotBefore(at) => now.mono >= at,
        };
        if !may_read {
            return Ok(());
        }
        let checked = loading.check.as_ref();
        let to = checked.map_or(self.delivered, |check| check.at);
        let job = match &mut loading.source {
            Source::File { offset, .. } => {
                let name = self.base.snapshot.file_name();
                let name = name.expect("a source is a file only if there is one");
                Job::Slice(SliceRead::new(self.log.disk().clone(), name, *offset))
            }
            Source::Log(replay) if replay.next <= to => {
                while let Some(garbage) = replay.data.keyspace_mut().take_garbage() {
                    self.jobs.push(Job::Garbage(Box::new(garbage)));
                }
                self.reads.push_back(ReadFor::Loading);
                Job::Read(self.log.read_job(replay.next, to, READ_SLICE)?)
            }
            Source::Log(_) | Source::Unknown => return Ok(()),
        };
        loading.reading = Reading::Ordered;
        self.jobs.push(job);
        Ok(())
    }

    /// When a read is to be tried again.
    pub(super) fn load_due(&self) -> Option<Mono> {
        match self.loading.as_ref()?.reading {
            Reading::NotBefore(at) => Some(at),
            Reading::No | Reading::Ordered => None,
        }
    }

    /// D5: no file could be opened for a read; it is made again.
    pub(super) fn load_not_read(&mut self, now: Now) {
        self.loading_mut().reading = Reading::NotBefore(now.mono + RETRY);
    }

    fn loading_mut(&mut self) -> &mut Loading {
        let loading = self.loading.as_mut();
        loading.expect("what is read for a keyspace comes while it is made")
    }

    /// The next bytes of the state's file; fewer than a slice: its end.
    pub(super) fn load_state(
        &mut self,
        now: Now,
        bytes: &[u8],
        breath: &mut Breath<'_>,
    ) -> Result<(), ShardError> {
        let mut loading = self.loading.take().expect("it asked for this read");
        let Source::File { mut loader, offset } = loading.source else {
            unreachable!("one read at a time, and it was one of the file");
        };
        let snapshot = &self.base.snapshot;
        let unusable = |why: String| ShardError::State {
            file: snapshot.file_name().unwrap_or_default(),
            why,
        };
        let (group, cause) = (&mut self.group, loading.cause);
        loader
            .feed_with(bytes, &mut || cause.breathe(group, breath))
            .map_err(|why| unusable(why.to_string()))?;
        loading.reading = Reading::No;
        loading.source = if bytes.len() < LOAD_SLICE {
            let file = snapshot.file.as_ref();
            let file = file.expect("a source is a file only if there is one");
            let keyspace = keyspace_of(*loader, file).map_err(unusable)?;
            self.loaded_keys = (0..keyspace.databases()).map(|db| keyspace.len(db)).sum();
            self.replay_onto(keyspace)
        } else {
            let offset = offset + bytes.len() as u64;
            Source::File { loader, offset }
        };
        self.loading = Some(loading);
        self.end_loading_if_whole(now);
        self.order_jobs(now)
    }

    /// The next entries.
    pub(super) fn load_entries(
        &mut self,
        now: Now,
        entries: &[Entry],
        breath: &mut Breath<'_>,
    ) -> Result<(), ShardError> {
        self.loading_mut().reading = Reading::No;
        let mut pacer = Pacer::default();
        for entry in entries {
            let new = entry.index > self.group.applied();
            if is_change(entry) && new && !self.apply_members(entry)? {
                break; // it is read again when the commit index is on disk (D1)
            }
            let loading = self.loading.as_mut().expect("it asked for this read");
            let Source::Log(replay) = &mut loading.source else {
                unreachable!("one read at a time, and it was one of the log");
            };
            assert_eq!(
                entry.index, replay.next,
                "a read job's entries are consecutive"
            );
            let (group, cause) = (&mut self.group, loading.cause);
            let Replay { data, stager, .. } = &mut **replay;
            apply_entry(data, stager, entry, &mut pacer, &mut || {
                cause.breathe(group, breath);
            })?;
            replay.next += 1;
            if new {
                let record = replay.data.record().clone();
                self.data.set_record(record);
                self.group.advance_applied(entry.index);
            }
        }
        self.end_loading_if_whole(now);
        self.order_jobs(now)
    }

    /// The keyspace is that of all that has been delivered: it becomes the shard's.
    fn end_loading_if_whole(&mut self, now: Now) {
        let delivered = self.delivered;
        let whole = |loading: &Loading| match &loading.source {
            Source::Log(replay) => replay.next > delivered && loading.check.is_none(),
            Source::File { .. } | Source::Unknown => false,
        };
        let Some(Loading {
            cause,
            source: Source::Log(replay),
            ..
        }) = self.loading.take_if(|loading| whole(loading))
        else {
            return;
        };
        let Replay { data, stager, .. } = *replay;
        let record = data.record().clone();
        assert!(
            cause != Cause::Start || record == *self.record(),
            "S2: what a start has shown of its record is what its log says"
        );
        self.stager = stager;
        self.data.restart(data.into_keyspace(), record);
        match cause {
            Cause::Start => self.group.wake(now),
            Cause::LostTail | Cause::Reload => self.group.set_loaded(true),
        }
    }

    /// What was reloaded up to the entry as of which it was dropped is what was dropped, or nothing of this
    /// member can be trusted.
    pub(super) fn check_reload(
        &mut self,
        now: Now,
        breath: &mut Breath<'_>,
    ) -> Result<(), ShardError> {
        let Some(loading) = &mut self.loading else {
            return Ok(());
        };
        let (Some(check), Source::Log(replay)) = (&loading.check, &loading.source) else {
            return Ok(());
        };
        if replay.next <= check.at {
            return Ok(());
        }
        let group = &mut self.group;
        let keyspace = replay.data.keyspace();
        let what = match keyspace.digest_with(&mut || {
            breath(group);
        }) {
            digest if digest != check.digest => "keys",
            _ if replay.data.record() != &check.record => "record",
            _ => {
                loading.check = None;
                self.end_loading_if_whole(now);
                return Ok(());
            }
        };
        let index = check.at;
        Err(ShardError::Reload { index, what })
    }
}

/// The keyspace of a file that has been read to its end, if it is the one that the base names.
pub(super) fn keyspace_of(loader: Loader, file: &StateFile) -> Result<Keyspace, String> {
    let (keyspace, end) = loader.finish().map_err(|why: LoadError| why.to_string())?;
    if (end.length, end.checksum) != (file.bytes, Some(file.crc64)) {
        return Err("it is another file than base names".to_owned());
    }
    Ok(keyspace)
}
