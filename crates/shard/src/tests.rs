//! A shard of one member, driven by hand over a folder; in the files below one of three members.

mod room;
mod tail;
mod trio;

mod commits;
mod cut;
mod disks;
mod faulty;
mod import;
mod install;
mod lease;
mod leaving;
mod loading;
mod log_end;
mod make;
#[cfg(feature = "mutations")]
mod mutations;
mod needed;
mod patience;
mod policy;
mod reads;
mod stuck;

use super::*;
use crate::testing::Hand;
use base::clock::Clock;
use base::ids::{GroupId, Incarnation, RaftId};
use keyspace::Ttl;
use raft::eraftpb::ConfState;
use state::{Access, Footprint, GateKind};
use std::cell::Cell;
use storage::{Job, RealDisk};

fn config(sync: SyncPolicy) -> ShardConfig {
    ShardConfig {
        layout: Layout::Single { databases: 16 },
        limits: keyspace::Limits::default(),
        seed: 7,
        sync,
        outcome_timeout: Duration::from_secs(5),
        tail_limit: 1 << 20,
        keep_bytes: 0,
        sizes: Sizes::default(),
        log: LogConfig {
            segment_size: 1 << 20,
            freeing: 0,
            ..LogConfig::default()
        },
        first: true,
    }
}

fn base() -> Base {
    Base {
        identity: MemberIdentity {
            group: GroupId(1),
            incarnation: Incarnation(1),
            raft_id: RaftId(5),
            election_timeout_ms: 1000,
            ..MemberIdentity::default()
        },
        snapshot: SnapshotMeta {
            index: 1,
            term: 1,
            conf_state: ConfState {
                voters: vec![5],
                ..ConfState::default()
            },
            members: Vec::new(),
            ..SnapshotMeta::default()
        },
        start: None,
    }
}

fn open(folder: &std::path::Path, sync: SyncPolicy, clock: &Hand) -> Shard<RealDisk> {
    let disk = RealDisk::new(folder);
    bootstrap(disk.clone(), config(sync).log, &base()).expect("a group can be founded");
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    Shard::open(disk, config(sync), clock.now(), &logger).expect("a shard opens")
}

/// Runs jobs on the spot until there are none.
fn settle(shard: &mut Shard<RealDisk>, clock: &Hand) -> Gate {
    loop {
        shard.begin(clock.now()).expect("a turn begins");
        shard.finish(clock).expect("a turn ends");
        let output = shard.take_output();
        assert!(output.messages.is_empty(), "there is nobody to write to");
        if output.jobs.is_empty() && !shard.has_unapplied() {
            return output.released;
        }
        work(shard, clock, output.jobs);
    }
}

fn work(shard: &mut Shard<RealDisk>, clock: &Hand, jobs: Vec<Job<RealDisk>>) {
    for done in jobs.into_iter().filter_map(Job::run) {
        shard
            .job_done(clock.now(), done)
            .expect("a job is taken in");
    }
}

fn set(shard: &mut Shard<RealDisk>, key: &[u8], value: &[u8]) -> Gate {
    let data = shard.data_mut();
    data.begin_command(0, Access::Lead);
    let key = data.key(key);
    data.set(&key, value, Ttl::Clear);
    let footprint = data.end_command();
    outcome_gate(shard, footprint, GateKind::Write)
}

fn outcome_gate(shard: &mut Shard<RealDisk>, footprint: Footprint, gate: GateKind) -> Gate {
    shard.gate(gate, footprint.depends)
}

#[test]
fn a_write_is_released_only_after_its_sync() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Hand(Cell::new(1));
    let mut shard = open(folder.path(), SyncPolicy::Always, &clock);
    settle(&mut shard, &clock);
    assert_eq!(shard.admission(), Admission::Lead { writable: true });

    shard.begin(clock.now()).expect("a turn begins");
    let gate = set(&mut shard, b"k", b"v");
    shard.finish(&clock).expect("a turn ends");
    let output = shard.take_output();
    assert!(
        !gate.is_released_by(output.released),
        "nothing was synced yet"
    );
    assert!(output.jobs.iter().any(|job| matches!(job, Job::Sync(_))));
    for job in output.jobs {
        if let Some(done) = job.run() {
            shard
                .job_done(clock.now(), done)
                .expect("a job is taken in");
        }
    }
    let released = settle(&mut shard, &clock);
    assert!(gate.is_released_by(released));
    assert_eq!(shard.tail_len(), 0);
}

#[test]
fn a_read_of_a_dirty_key_waits_for_its_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Hand(Cell::new(1));
    let mut shard = open(folder.path(), SyncPolicy::Always, &clock);
    settle(&mut shard, &clock);
    shard.begin(clock.now()).expect("a turn begins");
    let write = set(&mut shard, b"k", b"v");
    let data = shard.data_mut();
    data.begin_command(0, Access::Lead);
    let key = data.key(b"k");
    assert!(data.exists(&key), "a client sees what was just written");
    let footprint = data.end_command();
    let read = outcome_gate(&mut shard, footprint, GateKind::Read);
    shard.finish(&clock).expect("a turn ends");
    let output = shard.take_output();
    assert!(!read.is_released_by(output.released));
    for job in output.jobs {
        if let Some(done) = job.run() {
            shard
                .job_done(clock.now(), done)
                .expect("a job is taken in");
        }
    }
    assert_eq!(read.batch, write.batch);
    assert!(read.is_released_by(settle(&mut shard, &clock)));
}

#[test]
fn everysec_answers_at_once_and_a_restart_finds_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Hand(Cell::new(1));
    let mut shard = open(folder.path(), SyncPolicy::EverySecond, &clock);
    settle(&mut shard, &clock);
    shard.begin(clock.now()).expect("a turn begins");
    let gate = set(&mut shard, b"k", b"v");
    shard.finish(&clock).expect("a turn ends");
    assert!(gate.is_released_by(shard.take_output().released));
    let digest = shard.data().keyspace().digest_all();
    drop(shard);

    let mut shard = open(folder.path(), SyncPolicy::EverySecond, &clock);
    settle(&mut shard, &clock);
    assert_eq!(shard.data().keyspace().digest_all(), digest);
    assert!(shard.group().own_term_applied());
}

#[test]
fn a_write_that_does_not_fit_the_log_asks_for_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Hand(Cell::new(1));
    let mut shard = open(folder.path(), SyncPolicy::EverySecond, &clock);
    settle(&mut shard, &clock);
    shard.begin(clock.now()).expect("a turn begins");
    set(&mut shard, b"large", &vec![b'x'; 6 << 20]);
    assert!(shard.data().footprint().hold, "segments have 1 MiB");
    settle(&mut shard, &clock);
    assert_eq!(shard.data().keyspace().len(0), 0, "nothing has happened");
    shard.begin(clock.now()).expect("a turn begins");
    let gate = set(&mut shard, b"large", &vec![b'x'; 6 << 20]);
    shard.finish(&clock).expect("a turn ends");
    let output = shard.take_output();
    assert!(
        !gate.is_released_by(output.released),
        "a large record is written by its sync job"
    );
    for job in output.jobs {
        if let Some(done) = job.run() {
            shard
                .job_done(clock.now(), done)
                .expect("a job is taken in");
        }
    }
    assert!(gate.is_released_by(settle(&mut shard, &clock)));
    let digest = shard.data().keyspace().digest_all();
    drop(shard);
    let mut shard = open(folder.path(), SyncPolicy::EverySecond, &clock);
    settle(&mut shard, &clock);
    assert_eq!(shard.data().keyspace().digest_all(), digest);
}

#[test]
fn a_log_that_nobody_wants_synced_wakes_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Hand(Cell::new(1));
    let mut shard = open(folder.path(), SyncPolicy::No, &clock);
    settle(&mut shard, &clock);
    shard.begin(clock.now()).expect("a turn begins");
    set(&mut shard, b"k", b"v");
    shard.finish(&clock).expect("a turn ends");
    // Let the commit index, which rides along after 100 ms, be written too.
    clock.0.set(clock.0.get() + 200_000_000);
    settle(&mut shard, &clock);
    let now = clock.now().mono;
    assert!(shard.deadline() > now, "the loop would spin");
}

#[test]
fn a_member_that_was_removed_knows_it_after_a_restart() {
    use protobuf::Message as _;
    use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, EntryType, HardState};
    use storage::base::Member;
    use storage::LogRecord;

    let folder = tempfile::tempdir().expect("a folder");
    let clock = Hand(Cell::new(1));
    let member = |raft_id| Member {
        raft_id,
        node: cluster_bus::NodeId([raft_id.0 as u8; 20]),
        kind: MemberKind::Data,
    };
    let mut base = base();
    base.snapshot.conf_state = ConfState::from((vec![1], vec![5]));
    base.snapshot.members = vec![member(RaftId(1)), member(RaftId(5))];
    let log_config = config(SyncPolicy::Always).log;
    let disk = RealDisk::new(folder.path());
    let (mut log, _) = Log::create(disk.clone(), log_config, &base).expect("a log");
    if let Some(job) = log.alloc_job() {
        match Job::Alloc(job).run() {
            Some(storage::Done::Allocated(result)) => log.allocated(result).expect("room"),
            _ => panic!("an allocation"),
        }
    }
    let mut gone = ConfChangeSingle {
        node_id: 5,
        ..ConfChangeSingle::default()
    };
    gone.set_change_type(ConfChangeType::RemoveNode);
    let mut change = ConfChangeV2::default();
    change.set_changes(vec![gone].into());
    let mut entry = Entry {
        index: 2,
        term: 2,
        data: change.write_to_bytes().expect("bytes").into(),
        ..Entry::default()
    };
    entry.set_entry_type(EntryType::EntryConfChangeV2);
    let hard_state = HardState {
        term: 2,
        commit: 2,
        ..HardState::default()
    };
    log.append(&LogRecord {
        hard_state: Some(&hard_state),
        entries: &[entry],
    })
    .expect("it is appended");
    let job = log.sync_job().expect("something to sync");
    log.synced(job.run().expect("it is synced"));
    drop(log);

    let logger = slog::Logger::root(slog::Discard, slog::o!());
    let shard = Shard::open(disk, config(SyncPolicy::Always), clock.now(), &logger);
    assert!(shard.expect("a shard opens").awaits_confirmation());
}
