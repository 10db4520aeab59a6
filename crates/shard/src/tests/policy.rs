//! What may be answered, and shown to others, before a sync (D4).

use super::*;
use state::Access;

const POLICIES: [SyncPolicy; 3] = [SyncPolicy::Always, SyncPolicy::EverySecond, SyncPolicy::No];

/// Whether the reply to what `run` does may leave before the disk has done anything.
fn leaves_unsynced(
    sync: SyncPolicy,
    run: impl FnOnce(&mut Shard<RealDisk>, &Hand) -> Gate,
) -> (bool, bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Hand(Cell::new(1));
    let mut shard = open(folder.path(), sync, &clock);
    settle(&mut shard, &clock);
    shard.begin(clock.now()).expect("a turn begins");
    let committed = Arc::clone(shard.record());
    let gate = run(&mut shard, &clock);
    shard.finish(&clock).expect("a turn ends");
    let mut jobs = Vec::new();
    let mut early = false;
    // A sync that is under way is no sync that has ended.
    for _ in 0..5 {
        let output = shard.take_output();
        early |= gate.is_released_by(output.released);
        early |= *shard.record() != committed;
        jobs.extend(output.jobs);
        shard.begin(clock.now()).expect("a turn begins");
        shard.finish(&clock).expect("a turn ends");
    }
    for job in jobs {
        if let Some(done) = job.run() {
            let taken = shard.job_done(clock.now(), done);
            taken.expect("a job is taken in");
        }
    }
    (early, gate.is_released_by(settle(&mut shard, &clock)))
}

/// D4: "written" means that the write has returned.
#[test]
pub(super) fn a_large_value_is_answered_only_when_written() {
    for sync in POLICIES {
        let (early, late) =
            leaves_unsynced(sync, |shard, _| set(shard, b"k", &vec![b'x'; 300 << 10]));
        assert!(!early, "{sync:?}: it is not written yet");
        assert!(late, "{sync:?}: it never leaves");
    }
}

/// D4: what other nodes hear of, or an operator was told, must not be taken back.
#[test]
pub(super) fn a_record_change_is_synced_under_every_policy() {
    for sync in POLICIES {
        let (early, late) = leaves_unsynced(sync, |shard, _| {
            let data = shard.data_mut();
            data.begin_command(0, Access::Lead);
            data.set_epoch(9, cluster_bus::NodeId([5; 20]));
            let footprint = data.end_command();
            outcome_gate(shard, footprint, GateKind::Write)
        });
        assert!(!early, "{sync:?}: it is not synced yet");
        assert!(late, "{sync:?}: it never leaves");
    }
}
