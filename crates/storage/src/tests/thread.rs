//! The threads that do a log's jobs: what goes first, what ends them, and what goes beside.

use super::*;

#[test]
fn the_storage_thread_does_jobs_and_stops_at_a_failed_sync() {
    let disk = TestDisk::new(false);
    let (mut log, _) = Log::create(disk.clone(), config(), &base()).unwrap();
    let (thread, results) = StorageThread::start(|| {}).unwrap();
    let wait = || {
        results
            .recv_timeout(std::time::Duration::from_secs(20))
            .unwrap()
    };
    thread.submit(Job::Alloc(log.alloc_job().unwrap()));
    thread.submit(Job::Garbage(Box::new(vec![1, 2, 3])));
    let Done::Allocated(allocated) = wait() else {
        panic!("an allocation was asked for")
    };
    log.allocated(allocated).unwrap();
    log.append(&LogRecord {
        hard_state: None,
        entries: &[entry(2, 1, vec![7; 50])],
    })
    .unwrap();
    thread.submit(Job::Sync(log.sync_job().unwrap()));
    thread.submit(Job::Read(log.read_job(2, 2, 1).unwrap()));
    let Done::Synced(Ok(position)) = wait() else {
        panic!("a sync was asked for")
    };
    assert_eq!(position, log.end());
    let Done::Read(Ok(read)) = wait() else {
        panic!("a read was asked for")
    };
    assert_eq!(read.entries.len(), 1);
    disk.set_fail_sync(true);
    log.append(&LogRecord {
        hard_state: None,
        entries: &[entry(3, 1, vec![7; 50])],
    })
    .unwrap();
    thread.submit(Job::Sync(log.sync_job().unwrap()));
    assert!(matches!(wait(), Done::Synced(Err(_))));
    thread.submit(Job::Read(log.read_job(2, 2, 1).unwrap()));
    drop(thread);
    assert!(results.recv().is_err(), "it has done nothing more");
}

/// A snapshot takes minutes: what comes behind it does not wait.
#[test]
fn a_snapshot_is_made_beside_other_jobs() {
    let (mut log, _) = Log::create(TestDisk::new(false), config(), &base()).unwrap();
    let (thread, results) = StorageThread::start(|| {}).unwrap();
    let wait = || results.recv_timeout(std::time::Duration::from_secs(20));
    let (go_on, waits) = std::sync::mpsc::channel::<()>();
    thread.submit(Job::Snapshot(SnapshotJob::new(move || {
        waits.recv().unwrap();
        Err(SnapshotError::GivenUp)
    })));
    thread.submit(Job::Alloc(log.alloc_job().unwrap()));
    assert!(matches!(wait(), Ok(Done::Allocated(Ok(_)))));
    go_on.send(()).unwrap();
    assert!(matches!(
        wait(),
        Ok(Done::Snapshot(Err(SnapshotError::GivenUp)))
    ));
    drop(thread);
}

#[test]
fn jobs_can_go_to_another_thread() {
    fn sendable<T: Send>() {}
    sendable::<Job<RealDisk>>();
    sendable::<Done<RealDisk>>();
}
