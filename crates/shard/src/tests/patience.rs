//! The end of a lend, for which nobody waits, and the sync that it may share (M1).

use super::*;
use base::ShardId;
use topology::moves::Lend;
use topology::MoveId;

/// Three keys, of which the first is lent, all of it on disk.
fn with_a_lend(folder: &std::path::Path, sync: SyncPolicy, clock: &Hand) -> Shard<RealDisk> {
    let mut shard = open(folder, sync, clock);
    settle(&mut shard, clock);
    shard.begin(clock.now()).expect("a turn begins");
    set(&mut shard, b"k", b"v");
    let data = shard.data_mut();
    let slot = data.key(b"k").slot;
    data.begin_command(0, Access::Lead);
    let lend = Lend {
        slot,
        to: ShardId([9; 20]),
        mark: None,
        keys: vec![b"k".as_slice().into()],
        db: 0,
        outside: None,
    };
    data.lend(MoveId::default(), lend);
    data.end_command();
    shard.finish(clock).expect("a turn ends");
    settle(&mut shard, clock);
    assert!(shard.is_all_durable());
    shard
}

/// A turn of its own in which the lend ends, and then `more`; whether a sync is ordered.
fn ends_with_a_sync(
    shard: &mut Shard<RealDisk>,
    clock: &Hand,
    more: impl FnOnce(&mut Shard<RealDisk>),
) -> bool {
    shard.begin(clock.now()).expect("a turn begins");
    let data = shard.data_mut();
    data.begin_command(0, Access::Lead);
    assert!(data.end_lend(MoveId::default(), &[]));
    data.end_command();
    more(shard);
    shard.finish(clock).expect("a turn ends");
    let jobs = shard.take_output().jobs;
    jobs.iter().any(|job| matches!(job, Job::Sync(_)))
}

fn shows_all(shard: &mut Shard<RealDisk>) {
    let data = shard.data_mut();
    data.begin_command(0, Access::Lead);
    data.depends_on_all();
    let footprint = data.end_command();
    outcome_gate(shard, footprint, GateKind::Read);
}

#[test]
fn end_of_lend_waits_for_company() {
    for sync in [SyncPolicy::Always, SyncPolicy::EverySecond] {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Hand(Cell::new(1));
        let mut shard = with_a_lend(folder.path(), sync, &clock);
        assert!(!ends_with_a_sync(&mut shard, &clock, |_| {}));
        let until = shard.deadline();
        assert!(until > clock.now().mono, "the loop would spin");
        clock.0.set(until.0);
        shard.begin(clock.now()).expect("a turn begins");
        shard.finish(&clock).expect("a turn ends");
        let jobs = shard.take_output().jobs;
        assert!(jobs.iter().any(|job| matches!(job, Job::Sync(_))));
    }
}

#[test]
fn write_or_reply_takes_end_of_lend_along() {
    let with: [fn(&mut Shard<RealDisk>); 2] = [
        |shard| {
            set(shard, b"other", b"v");
        },
        shows_all,
    ];
    for more in with {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Hand(Cell::new(1));
        let mut shard = with_a_lend(folder.path(), SyncPolicy::Always, &clock);
        assert!(ends_with_a_sync(&mut shard, &clock, more));
    }
}

#[test]
fn reply_a_turn_later_hurries_end_of_lend() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Hand(Cell::new(1));
    let mut shard = with_a_lend(folder.path(), SyncPolicy::Always, &clock);
    assert!(!ends_with_a_sync(&mut shard, &clock, |_| {}));
    shard.begin(clock.now()).expect("a turn begins");
    shows_all(&mut shard);
    shard.finish(&clock).expect("a turn ends");
    let jobs = shard.take_output().jobs;
    assert!(jobs.iter().any(|job| matches!(job, Job::Sync(_))));
}

#[test]
fn patience_that_ends_beside_sync_wakes_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Hand(Cell::new(1));
    let mut shard = with_a_lend(folder.path(), SyncPolicy::Always, &clock);
    shard.begin(clock.now()).expect("a turn begins");
    set(&mut shard, b"other", b"v");
    shard.finish(&clock).expect("a turn ends");
    let slow = shard.take_output().jobs;
    assert!(!ends_with_a_sync(&mut shard, &clock, |_| {}));
    clock.0.set(clock.0.get() + 2_000_000);
    shard.begin(clock.now()).expect("a turn begins");
    shard.finish(&clock).expect("a turn ends");
    assert!(shard.deadline() > clock.now().mono, "the loop would spin");
    for done in slow.into_iter().filter_map(Job::run) {
        let taken = shard.job_done(clock.now(), done);
        taken.expect("a job is taken in");
    }
    settle(&mut shard, &clock);
    assert!(shard.is_all_durable());
}
