//! What an append costs the loop while the storage thread syncs. Not part of the test run:
//! `cargo test --release --lib storage::tests::bench -- --ignored --nocapture`.

use crate::*;
use ::base::ids::{GroupId, RaftId};
use raft::eraftpb::{Entry, HardState};
use std::time::{Duration, Instant};

/// Appends inline and keeps one sync in flight, as the loop does, for some time.
fn measure(size: usize) {
    let folder = tempfile::tempdir_in(".").unwrap();
    let disk = RealDisk::new(folder.path());
    let mut base = Base {
        identity: MemberIdentity {
            group: GroupId(1),
            raft_id: RaftId(1),
            ..MemberIdentity::default()
        },
        snapshot: SnapshotMeta {
            index: 1,
            term: 1,
            ..SnapshotMeta::default()
        },
        start: None,
    };
    base.snapshot.conf_state = (vec![1], vec![]).into();
    let (mut log, _) = Log::create(disk, LogConfig::default(), &base).unwrap();
    let (thread, results) = StorageThread::start(|| {}).unwrap();
    let data = bytes::Bytes::from(vec![7u8; size]);
    let (mut took, mut syncs, mut syncing) = (Vec::new(), 0, false);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        if let Some(job) = log.alloc_job() {
            thread.submit(Job::Alloc(job));
        }
        while let Ok(done) = results.try_recv() {
            match done {
                Done::Synced(position) => {
                    log.synced(position.unwrap());
                    (syncs, syncing) = (syncs + 1, false);
                }
                Done::Allocated(segment) => log.allocated(segment).unwrap(),
                _ => {}
            }
        }
        if log.has_room(size as u64 + 100) {
            let index = log.last_index() + 1;
            let entries = [Entry {
                index,
                term: 1,
                data: data.clone(),
                ..Entry::default()
            }];
            let hs = HardState {
                term: 1,
                vote: 1,
                commit: index - 1,
                ..HardState::default()
            };
            let before = Instant::now();
            log.append(&LogRecord {
                hard_state: Some(&hs),
                entries: &entries,
            })
            .unwrap();
            took.push(before.elapsed());
        }
        if !syncing {
            if let Some(job) = log.sync_job() {
                thread.submit(Job::Sync(job));
                syncing = true;
            }
        }
        // About the pace of a busy loop: the disk is not the subject.
        let pause = Instant::now();
        while pause.elapsed() < Duration::from_micros(50) {
            std::hint::spin_loop();
        }
    }
    report(size, took, syncs);
}

fn report(size: usize, mut took: Vec<Duration>, syncs: u32) {
    took.sort();
    let at = |per_mille: usize| took[took.len() * per_mille / 1000];
    println!(
        "{size} bytes: {} appends, p50 {:?} p99 {:?} p99.9 {:?}; {syncs} syncs, {:?} each",
        took.len(),
        at(500),
        at(990),
        at(999),
        Duration::from_secs(3) / syncs.max(1)
    );
}

#[test]
#[ignore = "a measurement"]
fn append_while_syncing() {
    for size in [64, 1024, 4096, 65536] {
        measure(size);
    }
}
