//! Where a log may begin, and what the replacement of a base leaves behind.

use super::*;
use crate::index::LogIndex;
use crate::trim::{choose, Facts, FirstRecord, Needed};

const BEFORE: EntryId = EntryId { index: 1, term: 1 };

/// Four segments of 1000 whose first records hold the entries 2, 12, 22 and 32, all of term 2, to 41.
fn four_segments() -> (Vec<FirstRecord>, LogIndex) {
    let mut index = LogIndex::new(BEFORE);
    (2..=41).for_each(|i| index.push(i, 2));
    let first = |n: u64| FirstRecord {
        position: Position(1000 * n),
        chain: n as u32,
        next: 10 * n + 2,
    };
    ((0..4).map(first).collect(), index)
}

fn facts() -> Facts {
    Facts {
        start: Position(0),
        state: 40,
        durable: Position(4000),
        applied: Position(4000),
        floor: 0,
        end: Position(4500),
        needed: Needed::NOTHING,
    }
}

fn chosen(facts: Facts) -> Option<u64> {
    let (firsts, index) = four_segments();
    choose(&facts, &firsts, &index).map(|start| start.before.index)
}

#[test]
fn log_begins_as_late_as_state_and_floor_allow() {
    let all = facts();
    for (facts, before) in [
        (all, Some(31)),
        // The entry as of which the state is stays.
        (Facts { state: 32, ..all }, Some(31)),
        (Facts { state: 31, ..all }, Some(21)),
        (Facts { state: 12, ..all }, Some(11)),
        (Facts { state: 11, ..all }, None),
        // What is not on disk is no beginning.
        (
            Facts {
                durable: Position(3000),
                ..all
            },
            Some(21),
        ),
        (
            Facts {
                durable: Position(3001),
                ..all
            },
            Some(31),
        ),
        (
            Facts {
                durable: Position(0),
                ..all
            },
            None,
        ),
        // P11
        (Facts { floor: 1000, ..all }, Some(31)),
        (Facts { floor: 1001, ..all }, Some(21)),
        (
            Facts {
                floor: 1500,
                applied: Position(3600),
                ..all
            },
            Some(21),
        ),
        (Facts { floor: 4000, ..all }, None),
        (
            Facts {
                applied: Position(0),
                ..all
            },
            Some(0),
        ),
        // Never back, and never where it begins already.
        (
            Facts {
                start: Position(2000),
                ..all
            },
            Some(31),
        ),
        (
            Facts {
                start: Position(3000),
                ..all
            },
            None,
        ),
    ] {
        let before = before.filter(|b| *b > 0);
        assert_eq!(chosen(facts), before, "{facts:?}");
    }
}

/// P11: what others lack is kept, as long as a state does not cost less.
#[test]
fn log_keeps_what_members_need_within_the_cap() {
    let needed = |behind, cap| Facts {
        needed: Needed {
            behind,
            cap,
            lean: false,
        },
        ..facts()
    };
    for (behind, cap, before) in [
        (31, None, Some(31)),
        (30, None, Some(21)),
        (5, None, None),
        (0, Some(4501), None),
        (0, Some(3500), Some(11)),
        (0, Some(3501), None),
        (0, Some(1500), Some(31)),
        (25, Some(1501), Some(21)),
        (31, Some(1), Some(31)),
    ] {
        // The record of entry 2 is where the log begins.
        assert_eq!(chosen(needed(behind, cap)), before, "{behind} {cap:?}");
    }
}

#[test]
fn start_names_the_chain_and_term_before_it() {
    let (firsts, mut index) = four_segments();
    index.truncate(Position(3500), 36);
    index.push(36, 3);
    let start = choose(&facts(), &firsts, &index).expect("nothing is in the way");
    let before = EntryId { index: 31, term: 2 };
    assert_eq!(
        start,
        LogStart {
            position: Position(3000),
            chain: 3,
            before
        }
    );
}

/// The newest record that may be a beginning, after a truncation at a position, from an index on.
fn after_cut(position: u64, from: u64) -> Option<u64> {
    let (firsts, mut index) = four_segments();
    index.truncate(Position(position), from);
    (from..=45).for_each(|i| index.push(i, 3));
    choose(&facts(), &firsts, &index).map(|start| start.before.index)
}

/// A record of which the first entry was overwritten, or one below it, has entries that count before it
/// and behind it: what stood before it when it was written says nothing.
#[test]
fn record_behind_which_a_cut_reaches_below_is_no_beginning() {
    assert_eq!(after_cut(3900, 40), Some(31));
    assert_eq!(after_cut(3900, 32), Some(31));
    assert_eq!(after_cut(3900, 31), Some(21));
    assert_eq!(after_cut(3900, 15), Some(11));
    assert_eq!(after_cut(3900, 2), None);
    // The truncation lies before the record: it was written after it.
    assert_eq!(after_cut(3000, 31), Some(31));
}

#[test]
fn compacted_index_is_that_of_the_shorter_log() {
    let (_, mut index) = four_segments();
    index.truncate(Position(1500), 15);
    (15..=30).for_each(|i| index.push(i, 3));
    index.truncate(Position(2500), 25);
    (25..=30).for_each(|i| index.push(i, 4));
    let before = EntryId { index: 19, term: 3 };
    index.compact(Position(1600), before);
    let mut made = LogIndex::new(before);
    made.mark(Position(1600), 20);
    (20..=24).for_each(|i| made.push(i, 3));
    (25..=30).for_each(|i| made.push(i, 3));
    made.truncate(Position(2500), 25);
    (25..=30).for_each(|i| made.push(i, 4));
    assert_eq!(index, made);
    assert_eq!(
        (index.first(), index.term(18), index.term(19)),
        (20, None, Some(3))
    );
    assert_eq!(index.seek(20), Some(Position(1600)));
}

/// A log of many small segments, all durable, and its model.
pub(super) fn long_log(seed: u64) -> (Run, Log<TestDisk>) {
    let mut run = Run::new(seed);
    let (mut log, _) = Log::create(run.disk.clone(), config(), &base()).unwrap();
    while log.end().0 < 150_000 {
        run.append(&mut log).unwrap();
        run.jobs.extend(log.sync_job());
        run.sync(&mut log).unwrap();
        while let Some(job) = log.alloc_job() {
            log.allocated(job.run()).unwrap();
        }
    }
    (run, log)
}

fn snapshot_at(run: &Run, index: u64) -> Result<SnapshotMeta, StorageError> {
    let term = run.now().entries[index as usize - 2].term;
    let at = EntryId { index, term };
    let mut file = SnapshotWriter::create(run.disk.clone(), at)?;
    file.write(&content(index))?;
    Ok(SnapshotMeta {
        index,
        term,
        file: Some(file.finish(at, 5)?),
        ..base().snapshot
    })
}

/// Makes the state as of the newest applied entry the base's; an error is a crash of the disk.
fn trim(run: &mut Run, log: &mut Log<TestDisk>) -> Result<(), StorageError> {
    let applied = run.now().hard_state.commit;
    let snapshot = snapshot_at(run, applied)?;
    let job = log
        .switch_job(&snapshot, applied, Needed::NOTHING)
        .expect("all is durable");
    run.bases.push(job.base().clone());
    match job.run()? {
        Switched::Done(base, trim) => log.switched(*base, trim).run(),
        Switched::NotYet(error) => Err(error),
    }
}

/// Every crash point of the way from a named file to removed segments, each with several fates of what
/// was not synced.
#[test]
fn every_crash_point_of_a_trim() {
    let (mut whole, mut log) = long_log(3);
    let before = whole.disk.calls();
    trim(&mut whole, &mut log).unwrap();
    let calls = whole.disk.calls() - before;
    assert!(log.first_index() > 2 && calls > 12, "{calls} calls");
    let mut seen = [0; 2];
    for at in 0..=calls {
        for seed in 0..12 {
            let (mut run, mut log) = long_log(3);
            run.rng = StdRng::seed_from_u64(seed);
            run.disk.crash_after(Some(at));
            // An error is the crash seen by a later call.
            let _ = trim(&mut run, &mut log);
            run.crash();
            run.jobs.clear();
            let (log, recovered) = Log::open(run.disk.clone(), config()).unwrap();
            run.compare(&log, &recovered).unwrap();
            seen[usize::from(log.first_index() > 2)] += 1;
            // A second start finds the same.
            let (log, recovered) = Log::open(run.disk.clone(), config()).unwrap();
            run.compare(&log, &recovered).unwrap();
        }
    }
    assert!(seen.iter().all(|n| *n > 20), "{seen:?}");
}

#[test]
fn a_full_disk_leaves_the_old_base_and_may_be_tried_again() {
    let (mut run, mut log) = long_log(4);
    let applied = run.now().hard_state.commit;
    let snapshot = snapshot_at(&run, applied).unwrap();
    let job = log.switch_job(&snapshot, applied, Needed::NOTHING).unwrap();
    run.disk.set_fail_sync(true);
    let Ok(Switched::NotYet(_)) = job.run() else {
        panic!("nothing was renamed yet");
    };
    run.disk.set_fail_sync(false);
    assert_eq!(log.base(), &base());
    let job = log.switch_job(&snapshot, applied, Needed::NOTHING).unwrap();
    run.bases.push(job.base().clone());
    let Ok(Switched::Done(base, trim)) = job.run() else {
        panic!("the disk is sound again");
    };
    log.switched(*base, trim).run().unwrap();
    assert!(log.first_index() > 2);
    run.jobs.clear();
    let (log, recovered) = Log::open(run.disk.clone(), config()).unwrap();
    run.compare(&log, &recovered).unwrap();
}

/// A log that was trimmed goes on: appends, reads, another trim.
#[test]
fn a_trimmed_log_goes_on() {
    let (mut run, mut log) = long_log(5);
    for _ in 0..3 {
        let before = log.first_index();
        trim(&mut run, &mut log).unwrap();
        assert!(log.first_index() > before);
        assert_eq!(log.bytes_after(before), log.end().0, "more than near");
        let end = log.end().0;
        while log.end().0 < end + 100_000 {
            run.append(&mut log).unwrap();
            run.jobs.extend(log.sync_job());
            run.sync(&mut log).unwrap();
            while let Some(job) = log.alloc_job() {
                log.allocated(job.run()).unwrap();
            }
        }
        for _ in 0..20 {
            run.read_somewhere(&log).unwrap();
        }
    }
    let (log, recovered) = Log::open(run.disk.clone(), config()).unwrap();
    run.compare(&log, &recovered).unwrap();
}

fn trimmed(seed: u64) -> (Run, Log<TestDisk>) {
    let (mut run, mut log) = long_log(seed);
    trim(&mut run, &mut log).unwrap();
    (run, log)
}

#[test]
fn what_the_base_names_and_is_not_there_is_refused() {
    let refused = |spoil: fn(&Run, &Log<TestDisk>)| {
        let (run, log) = trimmed(6);
        spoil(&run, &log);
        let before = run.disk.names();
        let error = Log::open(run.disk.clone(), config())
            .map(|_| ())
            .unwrap_err();
        assert_eq!(run.disk.names(), before);
        error
    };
    let error = refused(|run, log| {
        let name = log.base().snapshot.file_name().unwrap();
        run.disk.remove(&name).unwrap();
    });
    assert!(matches!(error, StorageError::StateLost(_)), "{error}");
    // The segment in which the log begins.
    let error = refused(|run, _| {
        let names = run.disk.names();
        let first = names.iter().find(|n| segment::is_segment(n)).unwrap();
        run.disk.remove(first).unwrap();
    });
    assert!(matches!(error, StorageError::BadFile { .. }), "{error}");
    // The record with which it begins.
    let error = refused(|run, log| {
        let start = log.base().start.unwrap().position.0 as usize;
        let names = run.disk.names();
        let first = names.iter().find(|n| segment::is_segment(n)).unwrap();
        let file = run.disk.open(first).unwrap();
        let meta = segment::SegmentMeta::read(&file, first, log.identity()).unwrap();
        let offset = meta.offset(Position(start as u64)) as usize;
        run.disk.damage(first, offset + 60, |b| b ^ 1);
    });
    assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
}

/// A base that another history's log lies beside: any index, term, position or chain.
#[test]
fn a_base_of_any_other_log_is_refused_or_opens() {
    let (mut run, log) = trimmed(7);
    let good = log.base().clone();
    for _ in 0..2000 {
        let mut base = good.clone();
        let start = base.start.as_mut().unwrap();
        match run.rng.gen_range(0..5) {
            0 => start.position.0 = run.rng.gen_range(0..20_000) * 8,
            1 => start.chain ^= 1 << run.rng.gen_range(0..32),
            2 => start.before.index = run.rng.gen_range(0..=base.snapshot.index),
            3 => base.snapshot.index += run.rng.gen_range(1..50),
            _ => base.snapshot.term += 1,
        }
        let file = run.disk.open(base::FILE).unwrap();
        file.write_at(&base.to_bytes(), 0).unwrap();
        if let (Ok((log, _)), true) = (Log::open(run.disk.clone(), config()), base != good) {
            // Whatever opens is a log without a gap.
            assert!(
                read_all(&log).unwrap().len() as u64 + 1 >= log.last_index() - log.first_index()
            );
        }
    }
}

/// Each rule of the choice, broken: the log begins where it may not.
#[test]
#[cfg(feature = "mutations")]
fn a_start_that_breaks_a_rule_is_seen() {
    let mutated = |mutation, facts| {
        ::base::mutation::set(Some(mutation));
        let start = chosen(facts);
        ::base::mutation::set(None);
        (start, chosen(facts))
    };
    let floor = Facts {
        floor: 2500,
        ..facts()
    };
    assert_eq!(
        mutated(Mutation::TrimBelowFloor, floor),
        (Some(31), Some(11))
    );
    let state = Facts {
        state: 12,
        ..facts()
    };
    assert_eq!(
        mutated(Mutation::TrimPastApplied, state),
        (Some(31), Some(11))
    );
    // Such a base is none: the log would begin behind its state.
    let mut base = base();
    base.start = Some(LogStart {
        position: Position(3000),
        chain: 3,
        before: EntryId { index: 31, term: 2 },
    });
    (base.snapshot.index, base.snapshot.term) = (12, 2);
    assert!(Base::from_bytes(&base.to_bytes()).is_err());
}
