//! Files that have changed, or are gone, since they were synced.

use super::*;

/// A log with several segments, all of it synced in small steps.
pub(super) fn synced_log(seed: u64) -> Run {
    let mut run = Run::new(seed);
    let (mut log, _) = Log::create(run.disk.clone(), config(), &base()).unwrap();
    while run.past.len() < 60 {
        run.append(&mut log).unwrap();
        run.jobs.extend(log.sync_job());
        run.sync(&mut log).unwrap();
        if let Some(job) = log.alloc_job() {
            log.allocated(job.run()).unwrap();
        }
    }
    run
}

#[test]
fn damage_below_the_durable_position_is_refused_by_name() {
    let mut refused = 0;
    for seed in 0..300 {
        let mut run = synced_log(seed);
        let names: Vec<String> = run
            .disk
            .names()
            .into_iter()
            .filter(|n| n.ends_with(".seg"))
            .collect();
        let name = &names[run.rng.gen_range(0..names.len())];
        let offset = run
            .rng
            .gen_range(segment::DATA as usize..run.disk.len_of(name));
        run.disk.damage(name, offset, |b| b ^ 0x10);
        match Log::open(run.disk.clone(), config()) {
            // Padding and unused space hold nothing; the very last record has no witness.
            Ok((log, recovered)) => {
                run.promised = run.past[run.past.len() - 2].end;
                run.compare(&log, &recovered).unwrap();
            }
            Err(StorageError::Damaged {
                file, offset: at, ..
            }) => {
                // A record that begins a segment may be missed at the end of the one before.
                let near_end = at as usize + 512 >= run.disk.len_of(&file);
                assert!(
                    near_end || (&file == name && at as usize <= offset),
                    "{file} {at} {offset}"
                );
                refused += 1;
            }
            Err(e) => panic!("{e}"),
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn a_missing_or_damaged_file_is_refused() {
    let mut counts = [0; 3];
    for seed in 0..100 {
        let mut run = synced_log(seed);
        let names = run.disk.names();
        let name = names[run.rng.gen_range(0..names.len())].clone();
        let newest = names.iter().rfind(|n| n.ends_with(".seg")) == Some(&name);
        let kind = run.rng.gen_range(0..3);
        match kind {
            0 if newest => continue,
            0 => run.disk.remove(&name).unwrap(),
            1 => run.disk.damage(&name, 20, |b| b ^ 1),
            _ => run.disk.rename(&name, "00000000000000000099.seg").unwrap(),
        }
        let error = Log::open(run.disk.clone(), config())
            .map(|_| ())
            .unwrap_err();
        assert!(!error.to_string().is_empty());
        counts[kind] += 1;
    }
    assert!(counts.iter().all(|c| *c > 10), "{counts:?}");
}

#[test]
fn any_bytes_in_a_segment_are_an_answer() {
    for seed in 0..200 {
        let mut run = synced_log(seed);
        for name in run.disk.names().into_iter().filter(|n| n.ends_with(".seg")) {
            let file = run.disk.open(&name).unwrap();
            let len = run.disk.len_of(&name);
            for _ in 0..run.rng.gen_range(0..4) {
                let offset = run.rng.gen_range(segment::DATA as usize..len);
                let mut noise = vec![0; run.rng.gen_range(1..200).min(len - offset)];
                run.rng.fill(&mut noise[..]);
                file.write_at(&noise, offset as u64).unwrap();
            }
        }
        if let Ok((log, _)) = Log::open(run.disk.clone(), config()) {
            assert!(run.past.iter().any(|p| p.end == log.end()));
        }
    }
}

/// D3: the record lies in more segments than a few, and the write-back of its first page failed.
#[test]
fn clean_pages_that_never_reached_the_disk_are_forgotten() {
    let disk = TestDisk::new(false);
    let (mut log, _) = Log::create(disk.clone(), config(), &base()).unwrap();
    let bytes = 40 * config().segment_size;
    log.want_room(bytes);
    while let Some(job) = log.alloc_job() {
        log.allocated(job.run()).unwrap();
    }
    let append = |log: &mut Log<TestDisk>, entry: Entry| {
        let record = LogRecord {
            hard_state: None,
            entries: &[entry],
        };
        log.append(&record).unwrap()
    };
    append(&mut log, entry(2, 1, vec![1; 100]));
    let before = log.sync_job().unwrap().run().unwrap();
    log.synced(before);
    let large = vec![7; (30 * config().segment_size) as usize];
    append(&mut log, entry(3, 1, large));
    // Of its many files the first one fails.
    disk.set_fail_sync(true);
    assert!(log.sync_job().unwrap().run().is_err());
    disk.set_fail_sync(false);
    drop(log); // D5: the process ends
    let (log, _) = Log::open(disk, config()).unwrap();
    assert_eq!(log.last_index(), 2, "its bytes are only in the page cache");
}
