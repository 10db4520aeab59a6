//! An RDB file that a data node begins with (P22).
//!
//! Owns whether such a file is taken, and how it becomes a state of the member's own: an index and a term of its
//! own behind all that the log has, the log empty behind it, one new base (P17's job, which leaves the old log or
//! the new one). Works on a log that nobody else uses yet. Never: takes an identity from the file.
//!
//! Invariant: what was acknowledged stays true. A deletion is in the log or, when that has been trimmed, in the
//! base's state; so a log that ever held an effect on keys, or has lost its beginning, takes no file (F1).

use super::apply::scan_entry;
use super::make::SnapshotOrder;
use super::members::is_change;
use super::open::Opening;
use super::replay::{Made, Replay};
use super::state_file::FileOrder;
use super::{Shard, ShardError};
use base::ids::EntryId;
use base::mutation::{self, Mutation};
use base::slot::SLOT_COUNT;
use effect::Stager;
use keyspace::Keyspace;
use raft::eraftpb::HardState;
use state::load::{LoadError, Loader};
use state::save::Origin;
use state::StateMachine;
use std::sync::Arc;
use storage::base::MemberKind;
use storage::snapshot;
use storage::{
    Base, Disk, Installed, LogStart, Position, SnapshotError, SnapshotMeta, StorageError,
};

/// A file that is not the member's own.
pub struct ImportFile<D: Disk> {
    pub folder: D,
    pub name: String,
    /// Where it is, for people.
    pub path: String,
    /// What the state's file says of the program that has written it.
    pub origin: Origin,
    /// `rdbcompression`.
    pub compress: bool,
    /// M9: what this build can do; the log loses its beginning.
    pub features: u32,
    /// The node knows others, or is on its way to them.
    pub has_others: bool,
}

/// Why a file is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotImported {
    #[error("this node has, or has had, keys of its own; only a new node takes a file, for else what was deleted would come back")]
    HadKeys,
    #[error("this node has been of another shard before; only a new node takes a file")]
    HadShard,
    #[error("this node knows other nodes, or its shard has or has had other members; only a new node that is alone takes a file")]
    HasOthers,
    #[error("it is a snapshot of this node's own shard, whose log has all that is in it")]
    IsOwn,
    #[error("it has no keys")]
    HasNoKeys,
}

/// What was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    pub keys: u64,
    /// Slots that the shard has gained, since it has keys of them now.
    pub slots: usize,
}

/// A base that a group begins with although its node has had another shard: no file is imported there.
pub fn without_import(base: Base) -> Base {
    Base {
        start: Some(LogStart {
            position: Position(0),
            chain: 0,
            before: base.snapshot.entry(),
        }),
        ..base
    }
}

impl<D: Disk> Opening<D> {
    /// P22: why no file is taken, whatever is in it; none: it is to be imported.
    pub fn why_not_import(&self, file: &ImportFile<D>) -> Result<Option<NotImported>, ShardError> {
        if mutation::is(Mutation::ImportRevives) {
            return Ok(None);
        }
        match self.why_not_by_base(file) {
            None => self.why_not_by_log(),
            why => Ok(why),
        }
    }

    fn why_not_by_base(&self, file: &ImportFile<D>) -> Option<NotImported> {
        let Base {
            identity,
            snapshot,
            start,
        } = self.base();
        let conf = &snapshot.conf_state;
        let others = conf.voters != [identity.raft_id.0]
            || !conf.learners.is_empty()
            || !conf.voters_outgoing.is_empty()
            || !conf.learners_next.is_empty();
        if file.has_others || others || identity.kind == MemberKind::Witness {
            Some(NotImported::HasOthers)
        } else if (snapshot.index, snapshot.term) != (1, 1) || snapshot.file.is_some() {
            Some(NotImported::HadKeys)
        } else {
            start.is_some().then_some(NotImported::HadShard)
        }
    }

    /// F1: whatever the log has ever said of keys or members, committed or not.
    fn why_not_by_log(&self) -> Result<Option<NotImported>, ShardError> {
        let (from, to) = (self.log.first_index(), self.log.last_index());
        if from > to {
            return Ok(None);
        }
        let looked = self.log.replay(from, to, |entry| {
            if is_change(&entry) {
                return Err(Look::Found(NotImported::HasOthers));
            }
            match state::has_key_effects(&entry.data) {
                Ok(false) => Ok(()),
                Ok(true) => Err(Look::Found(NotImported::HadKeys)),
                Err(source) => Err(Look::Failed(ShardError::Effect {
                    index: entry.index,
                    source,
                })),
            }
        });
        match looked {
            Ok(()) => Ok(None),
            Err(Look::Found(why)) => Ok(Some(why)),
            Err(Look::Failed(error)) => Err(error),
        }
    }

    /// P22: makes the file this member's state, if it holds keys that are not the member's own. A crash leaves the
    /// member as it was, or with all of it; after an error nothing has changed, or the process must end (D5).
    pub fn import(
        self,
        file: &ImportFile<D>,
    ) -> Result<(Opening<D>, Result<Imported, NotImported>), ShardError> {
        let (keyspace, group) = self.load(file).map_err(|why| refused(file, why))?;
        let own = self.base().identity.group.to_string();
        let keys: u64 = (0..keyspace.databases()).map(|db| keyspace.len(db)).sum();
        if group.is_some_and(|group| group == own.as_bytes()) {
            return Ok((self, Err(NotImported::IsOwn)));
        }
        if keys == 0 {
            return Ok((self, Err(NotImported::HasNoKeys)));
        }
        let at = EntryId {
            index: self.log.last_index() + 1,
            term: self.log.hard_state().term + 1,
        };
        let (made, slots) = self.state_of(file, keyspace, at)?;
        let meta = self.write(file, made, at);
        let meta = meta.map_err(|why| refused(file, why.to_string()))?;
        let imported = Ok(Imported { keys, slots });
        Ok((self.replaced(file, &meta)?, imported))
    }

    /// P17: the state takes the place of the log. Nobody has voted in its term, and nobody else is there.
    fn replaced(self, file: &ImportFile<D>, meta: &SnapshotMeta) -> Result<Opening<D>, ShardError> {
        let Opening {
            mut log, config, ..
        } = self;
        let hard_state = HardState {
            term: meta.term,
            commit: meta.index,
            ..HardState::default()
        };
        let job = log.install_job(meta, &hard_state);
        let disk = log.disk().clone();
        drop(log);
        match job.run()? {
            Installed::Done => Opening::open(disk, config),
            Installed::NotYet(why) => Err(refused(file, why.to_string())),
        }
    }

    /// The keys of the file, and the group that it names. A key that has expired is kept, as in every load of ours:
    /// its deletion will be an entry.
    fn load(&self, file: &ImportFile<D>) -> Result<(Keyspace, Option<Vec<u8>>), String> {
        let mut loader = Loader::new(Shard::<D>::empty_keyspace(&self.config));
        let read = snapshot::read(&file.folder, &file.name, |slice| {
            loader.feed(slice).map_err(Read::File)
        });
        read.map_err(|why| why.to_string())?;
        let group = loader.group().map(<[u8]>::to_vec);
        let (keyspace, _) = loader.finish().map_err(|why| why.to_string())?;
        Ok((keyspace, group))
    }

    /// The keys, beside what the log has made of the record; in a cluster with their slots, and how many of them
    /// the shard did not have.
    fn state_of(
        &self,
        file: &ImportFile<D>,
        keyspace: Keyspace,
        at: EntryId,
    ) -> Result<(Made, usize), ShardError> {
        let (base, part) = (self.base(), self.config.sizes.part);
        let mut log = StateMachine::new(Shard::<D>::empty_keyspace(&self.config), part);
        log.begin_record(Shard::<D>::bootstrap_record(base));
        let (from, to) = (self.log.first_index(), self.log.last_index());
        if from <= to {
            let mut stager = Stager::default();
            self.log
                .replay(from, to, |entry| scan_entry(&mut log, &mut stager, &entry))?;
        }
        let mut record = log.record().as_ref().clone();
        let mut slots = 0;
        if keyspace.is_cluster() {
            record.moves.features |= file.features;
            let gained = (0..SLOT_COUNT).filter(|slot| keyspace.count_in_slot(*slot) > 0);
            slots = gained.filter(|slot| record.slots.insert(*slot)).count();
        }
        let mut data = StateMachine::new(keyspace, part);
        data.begin_record(record);
        let meta = SnapshotMeta {
            index: at.index,
            term: at.term,
            record: data.record().encode(),
            ..base.snapshot.clone()
        };
        Ok((Made { meta, data }, slots))
    }

    /// P2: the state's file has its name when it is whole on the disk. No base names it yet.
    fn write(
        &self,
        file: &ImportFile<D>,
        made: Made,
        at: EntryId,
    ) -> Result<SnapshotMeta, SnapshotError> {
        let writer = Replay {
            file: FileOrder {
                disk: self.log.disk().clone(),
                identity: self.base().identity,
                at,
                order: SnapshotOrder {
                    origin: file.origin.clone(),
                    compress: file.compress,
                    copy: None,
                    open: false,
                },
                keep: true,
                progress: Arc::default(),
            },
            base: self.base().clone(),
            entries: None,
            empty: self.config.clone(),
        };
        let written = writer.write(made);
        if let Err(error) = &written {
            writer.file.discard(error);
        }
        written.map(|(meta, _)| meta)
    }
}

/// A start that went on would serve an empty keyspace where somebody has put keys.
fn refused<D: Disk>(file: &ImportFile<D>, why: String) -> ShardError {
    ShardError::Import {
        file: file.path.clone(),
        why,
    }
}

/// What ends a look through the log.
enum Look {
    Found(NotImported),
    Failed(ShardError),
}

impl From<StorageError> for Look {
    fn from(error: StorageError) -> Look {
        Look::Failed(error.into())
    }
}

/// What ends the reading of a file.
#[derive(Debug, thiserror::Error)]
enum Read {
    #[error(transparent)]
    Disk(#[from] StorageError),
    #[error(transparent)]
    File(LoadError),
}
