//! Parts of states' files, at every moment at which the writing can stop.

use super::trim::long_log;
use super::*;
use crate::transfer::PIECE;

const STEP: usize = 700;

/// What is compared with: the bytes themselves.
struct Same {
    wanted: Vec<u8>,
    seen: Vec<u8>,
}

impl FileCheck for Same {
    fn feed(&mut self, slice: &[u8]) -> Result<(), SnapshotError> {
        self.seen.extend_from_slice(slice);
        Ok(())
    }

    fn end(self: Box<Self>) -> Result<(), SnapshotError> {
        match self.seen == self.wanted {
            true => Ok(()),
            false => Err(SnapshotError::Differs {
                file: "a part".to_owned(),
                what: "other bytes".to_owned(),
            }),
        }
    }
}

fn bytes() -> Vec<u8> {
    (0..3000_u32).map(|n| (n * n / 7) as u8).collect()
}

fn of(length: usize) -> TransferFile {
    TransferFile {
        at: EntryId {
            index: 5000,
            term: 99,
        },
        file: StateFile {
            bytes: length as u64,
            crc64: 77,
        },
    }
}

fn name() -> String {
    let TransferFile { at, file } = of(bytes().len());
    snapshot::name(at, &file)
}

fn run_on(disk: &TestDisk, work: TransferWork) -> Result<Transferred, SnapshotError> {
    let job = TransferJob {
        disk: disk.clone(),
        ticket: 3,
        of: of(bytes().len()),
        work,
    };
    let done = job.run();
    assert_eq!(done.ticket, 3);
    done.result
}

fn write(disk: &TestDisk, offset: usize, bytes: &[u8]) -> Result<Transferred, SnapshotError> {
    let (offset, bytes) = (offset as u64, bytes.to_vec());
    run_on(disk, TransferWork::Write { offset, bytes })
}

fn finish(disk: &TestDisk) -> Result<Transferred, SnapshotError> {
    let check = Box::new(Same {
        wanted: bytes(),
        seen: Vec::new(),
    });
    run_on(disk, TransferWork::Finish { check })
}

/// Pieces need not come in order.
fn write_all(disk: &TestDisk) -> Result<(), SnapshotError> {
    let all = bytes();
    let pieces: Vec<_> = all.chunks(STEP).enumerate().collect();
    for (n, piece) in pieces.into_iter().rev() {
        write(disk, n * STEP, piece)?;
    }
    Ok(())
}

fn pull(disk: &TestDisk) -> Result<(), SnapshotError> {
    write_all(disk)?;
    finish(disk).map(drop)
}

fn content_of(disk: &TestDisk, name: &str) -> Vec<u8> {
    let file = disk.open(name).unwrap();
    let mut bytes = vec![0; disk.len_of(name)];
    file.read_at(&mut bytes, 0).unwrap();
    bytes
}

fn is_part(name: &str) -> bool {
    name.ends_with(".part")
}

#[test]
fn a_whole_part_gets_its_name() {
    let disk = TestDisk::new(false);
    pull(&disk).unwrap();
    assert_eq!(disk.names(), [name()]);
    disk.restart(Crash::Machine, &mut StdRng::seed_from_u64(1));
    assert_eq!(content_of(&disk, &name()), bytes());
}

/// Otherwise a sync finds all pieces at once, and the log's syncs wait behind it.
#[test]
fn each_piece_sets_the_device_to_work() {
    let disk = TestDisk::new(false);
    write(&disk, 0, &bytes()[..STEP]).unwrap();
    assert_eq!(disk.take_begun(), 1);
}

#[test]
fn every_crash_point_of_a_part_leaves_none_or_the_whole() {
    let (run, log) = long_log(21);
    let before = run.disk.calls();
    pull(&run.disk).unwrap();
    let calls = run.disk.calls() - before;
    drop(log);
    assert!(calls >= 9, "{calls} calls");
    let mut seen = [0; 3];
    for at in 0..=calls {
        for seed in 0..12 {
            let (mut run, log) = long_log(21);
            drop(log);
            run.rng = StdRng::seed_from_u64(seed);
            run.disk.crash_after(Some(at));
            // An error is the crash seen by a later call.
            let _ = pull(&run.disk);
            run.crash();
            run.jobs.clear();
            let names = run.disk.names();
            let whole = names.contains(&name());
            if whole {
                assert_eq!(content_of(&run.disk, &name()), bytes(), "a named part");
            }
            seen[usize::from(whole)] += 1;
            seen[2] += usize::from(names.iter().any(|name| is_part(name)));
            let (log, recovered) = Log::open(run.disk.clone(), config()).unwrap();
            run.compare(&log, &recovered).unwrap();
            // No base names it: a start removes it, and a part in any case.
            let names = run.disk.names();
            assert!(!names.iter().any(|name| is_part(name)), "{names:?}");
            assert!(!names.contains(&name()), "{names:?}");
            pull(&run.disk).unwrap();
        }
    }
    assert!(seen.iter().all(|n| *n > 5), "{seen:?}");
}

#[test]
fn an_abandoned_part_is_gone() {
    let disk = TestDisk::new(false);
    write(&disk, 0, b"half").unwrap();
    assert!(disk.names().iter().any(|name| is_part(name)));
    run_on(&disk, TransferWork::Abandon).unwrap();
    assert_eq!(disk.names(), Vec::<String>::new());
    // It may come twice.
    run_on(&disk, TransferWork::Abandon).unwrap();
}

fn a_part_with_other_bytes_gets_no_name() {
    let disk = TestDisk::new(false);
    write_all(&disk).unwrap();
    write(&disk, 1000, b"other").unwrap();
    let error = finish(&disk).expect_err("a part with other bytes is named");
    assert!(matches!(error, SnapshotError::Differs { .. }), "{error}");
    assert!(disk.names().iter().all(|name| is_part(name)));
    // A piece that comes again mends it.
    write_all(&disk).unwrap();
    finish(&disk).unwrap();
}

#[test]
fn a_part_that_is_not_what_was_offered_gets_no_name() {
    a_part_with_other_bytes_gets_no_name();
    let disk = TestDisk::new(false);
    write(&disk, 0, &bytes()[..2000]).unwrap();
    let error = finish(&disk).unwrap_err();
    assert!(error.to_string().contains("2000 bytes"), "{error}");
}

#[test]
#[cfg(feature = "mutations")]
fn a_part_named_unchecked_is_seen() {
    ::base::mutation::set(Some(Mutation::NamedUnchecked));
    let panic = std::panic::catch_unwind(a_part_with_other_bytes_gets_no_name);
    ::base::mutation::set(None);
    let panic = panic.expect_err("nobody noticed");
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("a part with other bytes is named"), "{text}");
}

/// A failed sync leaves pages that look clean and are not on the disk.
#[test]
fn a_part_whose_sync_failed_gets_no_name() {
    let disk = TestDisk::new(false);
    write_all(&disk).unwrap();
    disk.set_fail_sync(true);
    assert!(finish(&disk).is_err());
    disk.set_fail_sync(false);
    assert!(finish(&disk).is_err(), "what was lost is found");
    assert!(disk.names().iter().all(|name| is_part(name)));
    pull(&disk).unwrap();
}

/// D5: it passes, and nothing ends.
#[test]
fn a_part_on_a_full_disk_goes_on_later() {
    let disk = TestDisk::new(false);
    write(&disk, 0, &bytes()[..STEP]).unwrap();
    disk.set_full(true);
    let error = write(&disk, STEP, &bytes()[STEP..2 * STEP]).unwrap_err();
    assert!(error.is_full(), "{error}");
    disk.set_full(false);
    pull(&disk).unwrap();
}

#[test]
fn a_long_part_is_synced_on_the_way() {
    let disk = TestDisk::new(false);
    let every = 32 << 20;
    let long = TransferFile {
        file: StateFile {
            bytes: 2 * every,
            crc64: 77,
        },
        ..of(0)
    };
    let calls = |offset| {
        let job = TransferJob {
            disk: disk.clone(),
            ticket: 0,
            of: long,
            work: TransferWork::Write {
                offset,
                bytes: vec![1; 1000],
            },
        };
        let before = disk.calls();
        job.run().result.unwrap();
        disk.calls() - before
    };
    assert_eq!(calls(0), 2, "a creation and a write");
    assert_eq!(calls(1000), 1);
    assert_eq!(calls(every - 1000), 2, "a write and a sync");
    assert_eq!(calls(every), 1);
}

#[test]
fn pieces_are_read_as_they_were_written() {
    let disk = TestDisk::new(false);
    let length = usize::try_from(2 * PIECE).unwrap() + 10;
    let wanted: Vec<u8> = (0..length).map(|n| (n / 3) as u8).collect();
    let file = of(length);
    let read = |offset| {
        let job = TransferJob {
            disk: disk.clone(),
            ticket: 0,
            of: file,
            work: TransferWork::Read { offset },
        };
        job.run().result
    };
    let error = read(0).unwrap_err();
    assert!(error.is_missing() && !error.is_full(), "{error}");
    let named = disk.create(&snapshot::name(file.at, &file.file)).unwrap();
    named.write_at(&wanted[..length - 1], 0).unwrap();
    let error = read(2 * PIECE).unwrap_err();
    assert!(matches!(error, SnapshotError::Differs { .. }), "{error}");
    named.write_at(&wanted, 0).unwrap();
    let mut all = Vec::new();
    for offset in [0, PIECE, 2 * PIECE] {
        let Ok(Transferred::Read(piece)) = read(offset) else {
            panic!("it is there");
        };
        assert_eq!(piece.crc32c, crc32c::crc32c(&piece.bytes));
        all.extend(piece.bytes);
    }
    assert_eq!(all, wanted);
    assert_eq!(file.piece_at(2 * PIECE), Some(10));
    assert_eq!(file.piece_at(3 * PIECE), None);
    assert_eq!(file.piece_at(1), None);
}

#[test]
fn transfers_have_a_thread_of_their_own() {
    let disk = TestDisk::new(false);
    let (thread, results) = StorageThread::start(|| {}).unwrap();
    let wait = || results.recv_timeout(std::time::Duration::from_secs(20));
    let (go_on, waits) = std::sync::mpsc::channel::<()>();
    // F11: neither of the other threads may be in its way.
    thread.submit(Job::Call(Box::new(move || {
        waits.recv().unwrap_or_default()
    })));
    let work = TransferWork::Write {
        offset: 0,
        bytes: bytes(),
    };
    thread.submit(Job::Transfer(TransferJob {
        disk: disk.clone(),
        ticket: 4,
        of: of(bytes().len()),
        work,
    }));
    let Ok(Done::Transfer(done)) = wait() else {
        panic!("a transfer was asked for");
    };
    assert_eq!(done.ticket, 4);
    done.result.unwrap();
    go_on.send(()).unwrap();
    drop(thread);
}
