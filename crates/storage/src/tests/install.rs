//! Another member's state in place of the log, at every moment at which it can stop.

use super::trim::long_log;
use super::*;
use crate::install::Installed;

const TERM: u64 = 100;

/// A state far behind the log's end, its file beside it; and the hard state that goes with it.
fn state(run: &Run, log: &Log<TestDisk>) -> Result<(SnapshotMeta, HardState), StorageError> {
    let at = EntryId {
        index: log.last_index() + 1000,
        term: TERM - 1,
    };
    let mut file = SnapshotWriter::create(run.disk.clone(), at)?;
    file.write(&content(at.index))?;
    let snapshot = SnapshotMeta {
        index: at.index,
        term: at.term,
        file: Some(file.finish(at, 5)?),
        ..base().snapshot
    };
    let hard_state = HardState {
        term: TERM,
        vote: 7,
        commit: at.index,
        ..HardState::default()
    };
    Ok((snapshot, hard_state))
}

/// An error is a crash of the disk.
fn install(run: &Run, log: &mut Log<TestDisk>) -> Result<SnapshotMeta, StorageError> {
    let (snapshot, hard_state) = state(run, log)?;
    match log.install_job(&snapshot, &hard_state).run()? {
        Installed::Done => Ok(snapshot),
        Installed::NotYet(error) => Err(error),
    }
}

/// The log begins with the state, has its hard state, and goes on.
fn assert_new(run: &Run, index: u64) {
    for round in 0..3 {
        let (mut log, recovered) = Log::open(run.disk.clone(), config()).unwrap();
        assert_eq!(recovered.hard_state.term, TERM);
        assert_eq!(recovered.hard_state.vote, 7);
        assert_eq!(recovered.hard_state.commit, index);
        assert_eq!(
            (log.first_index(), log.last_index()),
            (index + 1, index + round)
        );
        assert_eq!(log.term(index), Some(TERM - 1));
        assert_eq!(recovered.tail.len() as u64, round);
        let segments = run.disk.names();
        let segments = segments.iter().filter(|name| segment::is_segment(name));
        assert_eq!(segments.count(), 1, "the old ones are gone");
        let entries = [entry(index + round + 1, TERM, b"behind it".to_vec())];
        let record = LogRecord {
            hard_state: None,
            entries: &entries,
        };
        log.append(&record).unwrap();
        let synced = log.sync_job().unwrap().run().unwrap();
        log.synced(synced);
    }
}

#[test]
pub(super) fn an_installed_state_begins_the_log() {
    let (run, mut log) = long_log(9);
    let snapshot = install(&run, &mut log).unwrap();
    assert_new(&run, snapshot.index);
}

#[test]
fn every_crash_point_of_an_install() {
    let (whole, mut log) = long_log(9);
    let before = whole.disk.calls();
    install(&whole, &mut log).unwrap();
    let calls = whole.disk.calls() - before;
    assert!(calls > 12, "{calls} calls");
    let mut seen = [0; 2];
    for at in 0..=calls {
        for seed in 0..8 {
            let (mut run, mut log) = long_log(9);
            let index = log.last_index() + 1000;
            run.rng = StdRng::seed_from_u64(seed);
            run.disk.crash_after(Some(at));
            // An error is the crash seen by a later call.
            let _ = install(&run, &mut log);
            run.crash();
            run.jobs.clear();
            let (log, recovered) = Log::open(run.disk.clone(), config()).unwrap();
            let new = recovered.base.snapshot.index == index;
            seen[usize::from(new)] += 1;
            if new {
                drop(log);
                assert_new(&run, index);
                continue;
            }
            run.compare(&log, &recovered).unwrap();
            // A second start finds the same, and the install can be made again.
            let (mut log, recovered) = Log::open(run.disk.clone(), config()).unwrap();
            run.compare(&log, &recovered).unwrap();
            install(&run, &mut log).unwrap();
            assert_new(&run, index);
        }
    }
    assert!(seen.iter().all(|n| *n > 10), "{seen:?}");
}

/// D5: nothing has changed, and it may be tried again.
#[test]
fn an_install_on_a_full_disk_changes_nothing() {
    let (mut run, mut log) = long_log(10);
    let (snapshot, hard_state) = state(&run, &log).unwrap();
    let job = log.install_job(&snapshot, &hard_state);
    run.disk.set_full(true);
    let Ok(Installed::NotYet(error)) = job.run() else {
        panic!("the disk is full");
    };
    assert!(error.is_full(), "{error}");
    run.disk.set_full(false);
    let (reopened, recovered) = Log::open(run.disk.clone(), config()).unwrap();
    run.compare(&reopened, &recovered).unwrap();
    drop(reopened);
    // The file of the state went with that start: no base named it.
    let snapshot = install(&run, &mut log).unwrap();
    assert_new(&run, snapshot.index);
}
