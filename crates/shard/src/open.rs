//! From a folder to a shard: founding, recovery.

use super::{Shard, ShardConfig, ShardError, SyncPolicy};
use base::clock::{Mono, Now};
use base::ids::{BatchSeq, ReadId};
use effect::Stager;
use keyspace::Keyspace;
use raft::eraftpb::Entry;
use raft_group::{Group, GroupConfig, Membership, Window};
use state::load::{LoadError, Loader};
use state::Gate;
use state::StateMachine;
use std::collections::VecDeque;
use std::time::Duration;
use storage::base::MemberKind;
use storage::{snapshot, Base, Disk, Log, LogConfig, MemberIdentity, SnapshotMeta, StorageError};

/// Founds a group in an empty folder (G1): its base is a synthetic snapshot of an empty keyspace at
/// index 1, term 1, and its first log index is 2. Nothing is done where a group is already.
pub fn bootstrap<D: Disk>(disk: D, config: LogConfig, base: &Base) -> Result<(), ShardError> {
    assert_eq!(
        (base.snapshot.index, base.snapshot.term),
        (1, 1),
        "G1: the bootstrap_base snapshot"
    );
    assert!(
        !base.snapshot.conf_state.voters.is_empty(),
        "G1: an empty ConfState is never used"
    );
    if Base::load(&disk)?.is_none() {
        Log::create(disk, config, base)?;
    }
    Ok(())
}

impl<D: Disk> Shard<D> {
    /// Opens what [`bootstrap`] made: recovers the log, loads the base's state, replays the log from there
    /// up to its stored commit, and only then makes the RawNode (D2).
    pub fn open(
        disk: D,
        config: ShardConfig,
        now: Now,
        logger: &slog::Logger,
    ) -> Result<Shard<D>, ShardError> {
        let (log, recovered) = Log::open(disk.clone(), config.log.clone())?;
        let base = recovered.base;
        let mut members = Membership::new(
            base.snapshot.conf_state.clone(),
            base.snapshot.members.clone(),
            base.identity.raft_id,
            base.snapshot.index,
        );
        let empty = Shard::<D>::empty_keyspace(&config);
        let keyspace = load(&disk, &base.snapshot, empty, &mut || true)?;
        let keyspace = keyspace.expect("nobody gives it up");
        let mut data = StateMachine::new(keyspace, config.sizes.part);
        data.begin_record(Shard::<D>::bootstrap_record(&base));
        let mut stager = Stager::default();
        let applied = recovered.hard_state.commit.max(base.snapshot.index);
        replay(&log, &base, applied, &mut members, &mut data, &mut stager)?;
        data.commit_record();

        let window = Window::new(
            base.log_before(),
            recovered.hard_state,
            members.conf.clone(),
            log.terms().to_vec(),
            applied,
            recovered.tail,
        );
        // E2: the record says which node was the master.
        let mine = members.member(base.identity.raft_id).map(|m| m.node);
        let master = data.committed_record().master;
        let first = config.first && mine.is_none_or(|node| node == master);
        let group_config = GroupConfig {
            group: base.identity.group,
            incarnation: base.identity.incarnation,
            id: base.identity.raft_id,
            kind: base.identity.kind,
            membership: members,
            election_timeout: Duration::from_millis(base.identity.election_timeout_ms),
            seed: config.seed ^ base.identity.raft_id.0,
            first,
            applied,
            keep_bytes: config.keep_bytes,
        };
        let group = Group::new(group_config, window, now, logger)?;
        let relaxed = config.sync != SyncPolicy::Always;
        if relaxed && !group.is_alone() {
            slog::warn!(
                logger,
                "appendfsync always: the group has more than one member"
            );
        }
        let mut shard = Shard::assemble(config, base, data, group, log, stager, now);
        shard.begin(now)?;
        Ok(shard)
    }

    /// A shard before its first turn.
    fn assemble(
        config: ShardConfig,
        base: Base,
        data: StateMachine,
        group: Group,
        log: Log<D>,
        stager: Stager,
        now: Now,
    ) -> Shard<D> {
        let delivered = group.applied();
        let quorum = super::quorum::Quorum::at_start(now.mono, group.election_timeout());
        Shard {
            base,
            data,
            group,
            log,
            turn_now: now,
            next_batch: BatchSeq::NONE.next(),
            next_read: ReadId::NONE.next(),
            read_index_used: false,
            turn_was_full: false,
            released: Gate::OPEN,
            read_indexes: VecDeque::new(),
            tail: VecDeque::new(),
            tail_bytes: 0,
            recent: VecDeque::new(),
            was_leader: false,
            stepped_down_at: None,
            unknown_told: BatchSeq::NONE,
            stepped: 0,
            readies: VecDeque::new(),
            sync_since: None,
            disk_is_quick: false,
            patient_until: None,
            awaited: BatchSeq::NONE,
            patient_entries: 0,
            full_since: None,
            retry_alloc_at: None,
            sync_wanted: false,
            no_space: None,
            reads: VecDeque::new(),
            commit_pending: None,
            next_relaxed_sync: Mono(0),
            stager,
            to_apply: VecDeque::new(),
            delivered,
            rebuild: None,
            members: super::members::Members::new(delivered),
            quorum,
            new_state: None,
            snapshots: super::make::Snapshots::default(),
            jobs: Vec::new(),
            failed: Vec::new(),
            failed_reads: None,
            unknown: None,
            stepped_down: false,
            unknown_outcomes: 0,
            config,
        }
    }
}

/// The keyspace as of the base's snapshot: `empty`, where that is the one of a bootstrap. None: `go_on` is
/// asked now and then, and has given it up.
pub(super) fn load<D: Disk>(
    disk: &D,
    snapshot: &SnapshotMeta,
    empty: Keyspace,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Option<Keyspace>, ShardError> {
    let (Some(file), Some(name)) = (&snapshot.file, snapshot.file_name()) else {
        return Ok(Some(empty));
    };
    let unusable = |why: String| ShardError::State {
        file: name.clone(),
        why,
    };
    let mut loader = Loader::new(empty);
    let read = snapshot::read(disk, &name, |slice| match go_on() {
        true => loader.feed(slice).map_err(Load::File),
        false => Err(Load::GivenUp),
    });
    match read {
        Ok(()) => {}
        Err(Load::GivenUp) => return Ok(None),
        Err(Load::Disk(error)) => return Err(error.into()),
        Err(Load::File(error)) => return Err(unusable(error.to_string())),
    }
    let (keyspace, end) = loader.finish().map_err(|e| unusable(e.to_string()))?;
    if (end.length, end.checksum) != (file.bytes, Some(file.crc64)) {
        return Err(unusable("it is another file than base names".to_owned()));
    }
    Ok(Some(keyspace))
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

/// D2: the keyspace as of the stored commit.
fn replay<D: Disk>(
    log: &Log<D>,
    base: &Base,
    applied: u64,
    members: &mut Membership,
    data: &mut StateMachine,
    stager: &mut Stager,
) -> Result<(), ShardError> {
    if applied <= base.snapshot.index {
        return Ok(());
    }
    log.replay(base.snapshot.index + 1, applied, |entry| {
        replay_entry(&base.identity, members, data, stager, &entry)
    })
}

/// One committed entry of the log, for a state that is made anew.
pub(super) fn replay_entry(
    identity: &MemberIdentity,
    members: &mut Membership,
    data: &mut StateMachine,
    stager: &mut Stager,
    entry: &Entry,
) -> Result<(), ShardError> {
    let index = entry.index;
    members
        .replay(entry, identity.raft_id)
        .map_err(|source| ShardError::Apply {
            index,
            reason: source.to_string(),
        })?;
    if identity.kind == MemberKind::Witness {
        return Ok(()); // W1
    }
    super::apply::apply_entry(data, stager, entry, &mut || {})
}
