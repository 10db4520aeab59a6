//! From a folder to a shard: founding, recovery.

use super::{Shard, ShardConfig, ShardError, SyncPolicy};
use base::clock::{Mono, Now};
use base::ids::{BatchSeq, ReadId};
use effect::Stager;
use raft_group::{Group, GroupConfig, Membership, Window};
use state::Gate;
use state::StateMachine;
use std::collections::VecDeque;
use std::time::Duration;
use storage::base::MemberKind;
use storage::{Base, Disk, Log, LogConfig, Recovered};

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

/// A member whose log has been recovered, and that has done nothing yet.
pub struct Opening<D: Disk> {
    pub(super) log: Log<D>,
    recovered: Recovered,
    pub(super) config: ShardConfig,
}

impl<D: Disk> Opening<D> {
    /// Recovers the log of what [`bootstrap`] made.
    pub fn open(disk: D, config: ShardConfig) -> Result<Opening<D>, ShardError> {
        let (log, recovered) = Log::open(disk, config.log.clone())?;
        Ok(Opening {
            log,
            recovered,
            config,
        })
    }

    pub fn base(&self) -> &Base {
        self.log.base()
    }
}

impl<D: Disk> Shard<D> {
    /// Opens what [`bootstrap`] made.
    pub fn open(
        disk: D,
        config: ShardConfig,
        now: Now,
        logger: &slog::Logger,
    ) -> Result<Shard<D>, ShardError> {
        Shard::of(Opening::open(disk, config)?, now, logger)
    }

    /// Learns from the log's committed entries who the members are and what the record says. The keyspace is made
    /// after that, while the node already answers; Raft waits for it (D2).
    pub fn of(
        opening: Opening<D>,
        now: Now,
        logger: &slog::Logger,
    ) -> Result<Shard<D>, ShardError> {
        let Opening {
            log,
            recovered,
            config,
        } = opening;
        let base = recovered.base;
        let mut members = Membership::new(
            base.snapshot.conf_state.clone(),
            base.snapshot.members.clone(),
            base.identity.raft_id,
            base.snapshot.index,
        );
        let part = config.sizes.part;
        let mut data = StateMachine::new(Shard::<D>::empty_keyspace(&config), part);
        data.begin_record(Shard::<D>::bootstrap_record(&base));
        let applied = recovered.hard_state.commit.max(base.snapshot.index);
        scan(&log, &base, applied, &mut members, &mut data)?;
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
        let mut shard = Shard::assemble(config, base, data, group, log, now);
        shard.offer_state();
        if shard.group.kind() == MemberKind::Data {
            shard.load_at_start(now);
        }
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
            lack: super::health::Lack::default(),
            retry_alloc_at: None,
            shed_at: None,
            is_nearly_full: false,
            memory: u64::MAX,
            sync_wanted: false,
            no_space: None,
            reads: VecDeque::new(),
            commit_pending: None,
            next_relaxed_sync: Mono(0),
            stager: Stager::default(),
            to_apply: VecDeque::new(),
            delivered,
            loading: None,
            loaded_keys: 0,
            members: super::members::Members::new(delivered),
            quorum,
            new_state: None,
            removal: super::removal::Removal::default(),
            needed: None,
            base_given: None,
            install: None,
            transfers: super::transfer::Transfers::default(),
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

/// What the committed entries say of the members and of the record (F16 of the review: an entry that
/// changes the record can stand anywhere in a unit, and a unit in several entries).
fn scan<D: Disk>(
    log: &Log<D>,
    base: &Base,
    applied: u64,
    members: &mut Membership,
    data: &mut StateMachine,
) -> Result<(), ShardError> {
    if applied <= base.snapshot.index {
        return Ok(());
    }
    let mut stager = Stager::default();
    log.replay(base.snapshot.index + 1, applied, |entry| {
        let index = entry.index;
        members
            .replay(&entry, base.identity.raft_id)
            .map_err(|source| ShardError::Apply {
                index,
                reason: source.to_string(),
            })?;
        if base.identity.kind == MemberKind::Witness {
            return Ok(()); // W1
        }
        super::apply::scan_entry(data, &mut stager, &entry)
    })
}
