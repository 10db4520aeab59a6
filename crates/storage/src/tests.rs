//! The log under crashes and damage, against a model that remembers every state it was in.

mod bench;
mod damage;
mod disk;
mod download;
mod golden;
mod install;
mod mend;
mod thread;
mod transfer;
mod trim;

use super::log::LogConfig;
use super::snapshot::SnapshotWriter;
use super::*;
use ::base::ids::{EntryId, GroupId, Incarnation, RaftId};
#[cfg(feature = "mutations")]
use ::base::mutation::Mutation;
use disk::{Crash, TestDisk};
use raft::eraftpb::{Entry, EntryType, HardState};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What a recovery must give back.
#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    hard_state: HardState,
    entries: Vec<Entry>,
}

/// A state after an append, and where the log ended then.
#[derive(Clone)]
struct Past {
    end: Position,
    state: State,
}

fn base() -> Base {
    Base {
        identity: MemberIdentity {
            group: GroupId(11),
            incarnation: Incarnation(1),
            raft_id: RaftId(42),
            election_timeout_ms: 1000,
            ..MemberIdentity::default()
        },
        snapshot: SnapshotMeta {
            index: 1,
            term: 1,
            conf_state: (vec![42], vec![]).into(),
            members: Vec::new(),
            record: b"the record".to_vec(),
            file: None,
        },
        start: None,
    }
}

fn config() -> LogConfig {
    // Segments of three pages of records: most runs use several.
    LogConfig {
        segment_size: 16384,
        spare_segments: 1,
        reserve: 512,
        freeing: 0,
        kept: Default::default(),
        floor: 0,
    }
}

fn entry(index: u64, term: u64, data: Vec<u8>) -> Entry {
    let mut e = Entry {
        index,
        term,
        data: data.into(),
        ..Entry::default()
    };
    if index % 5 == 0 {
        e.entry_type = EntryType::EntryConfChangeV2;
        e.context = b"node".to_vec().into();
    }
    e
}

/// What the file of a state holds here.
fn content(index: u64) -> Vec<u8> {
    (0..3000).map(|n| (n * index) as u8).collect()
}

fn read_all<D: Disk>(log: &Log<D>) -> Result<Vec<Entry>, StorageError> {
    let mut entries = Vec::new();
    if log.last_index() >= log.first_index() {
        log.replay(log.first_index(), log.last_index(), |e| {
            entries.push(e);
            Ok::<(), StorageError>(())
        })?;
    }
    Ok(entries)
}

/// A run: the log, its model, and what was promised.
struct Run {
    disk: TestDisk,
    rng: StdRng,
    past: Vec<Past>,
    /// The log has said that everything below is durable.
    promised: Position,
    jobs: Vec<SyncJob<TestDisk>>,
    counter: u64,
    trace: Vec<String>,
    /// Every base that may be the durable one: the last that is known to be, and those since.
    bases: Vec<Base>,
    /// How often the log has lost its beginning.
    trims: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let disk = TestDisk::new(rng.gen_bool(0.5));
        let state = State {
            hard_state: HardState {
                term: 1,
                commit: 1,
                ..HardState::default()
            },
            entries: vec![],
        };
        let past = vec![Past {
            end: Position(0),
            state,
        }];
        Run {
            disk,
            rng,
            past,
            promised: Position(0),
            jobs: vec![],
            counter: 0,
            trace: vec![],
            bases: vec![base()],
            trims: 0,
        }
    }

    fn now(&self) -> &State {
        &self.past.last().unwrap().state
    }

    /// Appends something random that Raft could: new entries, replaced ones, a new hard state.
    fn append(&mut self, log: &mut Log<TestDisk>) -> Result<(), StorageError> {
        let mut state = self.now().clone();
        let old_term = state.hard_state.term;
        let rng = &mut self.rng;
        let (commit, last) = (state.hard_state.commit, state.entries.len() as u64 + 1);
        let mut entries = Vec::new();
        if rng.gen_bool(0.8) {
            let first = match rng.gen_bool(0.15) {
                true => {
                    state.hard_state.term += 1;
                    rng.gen_range(commit + 1..=last + 1)
                }
                false => last + 1,
            };
            let term = state.hard_state.term;
            let n = if rng.gen_bool(0.1) {
                rng.gen_range(1..40)
            } else {
                rng.gen_range(1..4)
            };
            let size = if rng.gen_bool(0.05) { 9000 } else { 300 };
            // Often of one size: a record behind a cut then fits exactly to a new one.
            let even = rng.gen_bool(0.5);
            for index in first..first + n {
                self.counter += 1;
                let len = if even { 120 } else { rng.gen_range(0..size) };
                let mut data = vec![self.counter as u8; len];
                data.extend_from_slice(&self.counter.to_le_bytes());
                entries.push(entry(index, term, data));
            }
            state.entries.truncate(first as usize - 2);
            state.entries.extend(entries.iter().cloned());
        }
        let mut hard_state = None;
        if entries.is_empty() || state.hard_state.term != old_term || rng.gen_bool(0.4) {
            let hs = &mut state.hard_state;
            hs.vote = rng.gen_range(0..4);
            let last = state.entries.len() as u64 + 1;
            let most = if rng.gen_bool(0.3) { last } else { commit + 3 };
            hs.commit = rng.gen_range(commit..=last.min(most));
            hard_state = Some(hs.clone());
        }
        if !log.has_room(entries.iter().map(record::entry_len).sum::<u64>() + 1000) {
            self.trace.push("no room".into());
            return Ok(());
        }
        let end = log.append(&LogRecord {
            hard_state: hard_state.as_ref(),
            entries: &entries,
        })?;
        self.trace
            .push(format!("append {} entries, to {end}", entries.len()));
        self.past.push(Past { end, state });
        Ok(())
    }

    fn sync(&mut self, log: &mut Log<TestDisk>) -> Result<(), StorageError> {
        for job in std::mem::take(&mut self.jobs) {
            let end = job.run()?;
            log.synced(end);
            // What a crash made of the call that it hit is not for the caller to see.
            if self.disk.crashed() {
                return Ok(());
            }
            self.promised = self.promised.max(log.durable());
            self.trace.push(format!("durable to {end}"));
        }
        Ok(())
    }

    /// Makes a state the base's, and drops what of the log may go.
    fn trim(&mut self, log: &mut Log<TestDisk>) -> Result<(), StorageError> {
        let (old, applied) = (log.base().snapshot.index, self.now().hard_state.commit);
        if old >= applied {
            return Ok(());
        }
        let index = self.rng.gen_range(old + 1..=applied);
        let term = self.now().entries[index as usize - 2].term;
        let at = EntryId { index, term };
        let mut file = SnapshotWriter::create(self.disk.clone(), at)?;
        file.write(&content(index))?;
        let file = file.finish(at, index * 7)?;
        if self.disk.crashed() {
            return Ok(());
        }
        let snapshot = SnapshotMeta {
            index,
            term,
            file: Some(file),
            ..base().snapshot
        };
        let Some(job) = log.switch_job(&snapshot, applied, Needed::NOTHING) else {
            self.trace.push(format!("{index} is not durable"));
            return Ok(());
        };
        self.bases.push(job.base().clone());
        let done = job.run();
        if self.disk.crashed() {
            return Ok(());
        }
        match done? {
            Switched::Done(base, trim) => {
                self.trace.push(format!("trim to {:?}", base.start));
                self.trims += u64::from(base.log_before() != log.base().log_before());
                let trim = log.switched(*base, trim);
                self.bases.drain(..self.bases.len() - 1);
                trim.run()
            }
            Switched::NotYet(error) => Err(error),
        }
    }

    fn work(&mut self, log: &mut Log<TestDisk>, steps: usize) -> Result<(), StorageError> {
        for _ in 0..steps {
            match self.rng.gen_range(0..20) {
                0..=9 => self.append(log)?,
                10..=13 => self.jobs.extend(log.sync_job()),
                14..=16 => self.sync(log)?,
                17 => self.trim(log)?,
                _ => {
                    if let Some(job) = log.alloc_job() {
                        log.allocated(job.run())?;
                    }
                }
            }
            if self.disk.crashed() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Opens the log, interrupted by crashes, and compares it with the model.
    fn reopen(&mut self, crashes: bool) -> Result<Log<TestDisk>, String> {
        self.jobs.clear();
        loop {
            let at = self.rng.gen_range(0..12);
            self.disk
                .crash_after((crashes && self.rng.gen_bool(0.3)).then_some(at));
            let opened = Log::open(self.disk.clone(), config());
            if self.disk.crashed() {
                self.trace.push("crash while opening".into());
                self.crash();
                continue;
            }
            self.disk.crash_after(None);
            let (log, recovered) = opened.map_err(|e| e.to_string())?;
            self.compare(&log, &recovered)?;
            if self.rng.gen_bool(0.3) {
                // What was opened is durable (D2): it is found again, not less.
                self.disk.restart(Crash::Machine, &mut self.rng);
                self.trace.push("crash after opening".into());
                continue;
            }
            return Ok(log);
        }
    }

    fn crash(&mut self) {
        let crash = if self.rng.gen_bool(0.5) {
            Crash::Process
        } else {
            Crash::Machine
        };
        self.trace.push(format!("crash: {crash:?}"));
        self.disk.restart(crash, &mut self.rng);
    }

    fn compare(&mut self, log: &Log<TestDisk>, recovered: &Recovered) -> Result<(), String> {
        let entries = read_all(log).map_err(|e| e.to_string())?;
        let Some(n) = self.past.iter().rposition(|p| p.end == log.end()) else {
            return Err(format!("the log ends at {}, where it never did", log.end()));
        };
        self.trace.push(format!(
            "opened to {}, promised {}",
            log.end(),
            self.promised
        ));
        if log.end() < self.promised {
            return Err(format!("promised {}, found {}", self.promised, log.end()));
        }
        self.compare_base(log)?;
        let state = &mut self.past[n].state;
        let (at, before) = (log.base().snapshot.index, log.first_index() - 1);
        state.hard_state.commit = state.hard_state.commit.max(at);
        if state.hard_state != recovered.hard_state
            || state.entries[before as usize - 1..] != entries
        {
            return Err(format!("another state than the one at {}", log.end()));
        }
        let commit = state.hard_state.commit;
        if state.entries[commit as usize - 1..] != recovered.tail[..] {
            return Err("another tail".into());
        }
        for e in &state.entries {
            let term = (e.index >= before).then_some(e.term);
            if log.term(e.index) != term {
                return Err(format!("another term at {}", e.index));
            }
        }
        if log.last_index() != state.entries.len() as u64 + 1 {
            return Err("another last index".into());
        }
        self.past.truncate(n + 1);
        self.promised = log.end(); // D2
        Ok(())
    }

    /// The base is one that may be there, its state's file is whole, and no other is left.
    fn compare_base(&mut self, log: &Log<TestDisk>) -> Result<(), String> {
        let Some(n) = self.bases.iter().rposition(|base| base == log.base()) else {
            return Err("a base that was replaced durably".into());
        };
        self.bases = vec![self.bases.swap_remove(n)];
        let snapshot = &log.base().snapshot;
        if let Some(name) = snapshot.file_name() {
            let mut bytes = Vec::new();
            let read = snapshot::read(&self.disk, &name, |slice| {
                bytes.extend_from_slice(slice);
                Ok::<(), StorageError>(())
            });
            read.map_err(|e| e.to_string())?;
            if bytes != content(snapshot.index) {
                return Err(format!("{name} is not what was written"));
            }
        }
        let mut left = self.disk.names();
        left.retain(|name| *name != base::FILE && Some(name) != snapshot.file_name().as_ref());
        match left.len() == log.segment_count() {
            true => Ok(()),
            false => Err(format!("files are left: {left:?}")),
        }
    }

    fn lives(&mut self, lives: usize) -> Result<(), String> {
        Log::create(self.disk.clone(), config(), &base()).map_err(|e| e.to_string())?;
        for _ in 0..lives {
            let mut log = self.reopen(true)?;
            let long = self.rng.gen_bool(0.3);
            let steps = self.rng.gen_range(1..if long { 400 } else { 60 });
            let calls = self.rng.gen_range(0..if long { 1000 } else { 120 });
            self.disk
                .crash_after(self.rng.gen_bool(0.7).then_some(calls));
            let outcome = self.work(&mut log, steps);
            if !self.disk.crashed() {
                outcome.map_err(|e| e.to_string())?;
                self.read_somewhere(&log)?;
            } else if let Some(last) = self.past.last() {
                // The append at the crash may count or not; the model knows it if it returned.
                self.trace.push(format!("crashed at {}", last.end));
            }
            self.crash();
        }
        self.reopen(false).map(|_| ())
    }

    fn read_somewhere(&mut self, log: &Log<TestDisk>) -> Result<(), String> {
        if log.last_index() < log.first_index() || log.written() < log.end() {
            return Ok(());
        }
        let from = self.rng.gen_range(log.first_index()..=log.last_index());
        let bytes = self.rng.gen_range(0..3000);
        let job = log
            .read_job(from, log.last_index(), bytes)
            .map_err(|e| e.to_string())?;
        let done = job.run().map_err(|e| e.to_string())?;
        let from = from as usize - 2;
        match self.now().entries[from..].starts_with(&done.entries) && !done.entries.is_empty() {
            true => Ok(()),
            false => Err(format!("read other entries from {from} on")),
        }
    }
}

/// How often the log has lost its beginning.
fn run(seed: u64) -> Result<u64, String> {
    let mut run = Run::new(seed);
    let done = run.lives(6);
    done.map_err(|e| format!("seed {seed}: {e}\n{}", run.trace.join("\n")))?;
    Ok(run.trims)
}

#[test]
fn what_was_promised_is_recovered_after_any_crash() {
    let trims: u64 = (0..1500).map(|seed| run(seed).unwrap()).sum();
    assert!(trims > 300, "{trims}");
}

#[cfg(feature = "mutations")]
fn caught(mutation: Mutation) -> (u64, String) {
    ::base::mutation::set(Some(mutation));
    let caught = (0..3000).find_map(|seed| run(seed).err().map(|e| (seed, e)));
    ::base::mutation::set(None);
    caught.unwrap_or_else(|| panic!("{mutation:?} was not caught"))
}

#[test]
#[cfg(feature = "mutations")]
fn mutations_are_caught() {
    for m in [
        Mutation::SkipFsync,
        Mutation::SkipRecoverySync,
        Mutation::ReviveBehindCut,
        Mutation::KeepPartOfRecord,
        Mutation::NamedBeforeSync,
        Mutation::StateAheadOfLog,
        Mutation::TrimBeforeBase,
        Mutation::StartIgnoresTruncation,
    ] {
        let (seed, error) = caught(m);
        println!(
            "{m:?}: seed {seed}: {}",
            error.lines().next().unwrap_or_default()
        );
    }
}

#[test]
fn every_crash_point_of_a_short_script() {
    let script = |disk: &TestDisk, past: &mut Vec<Past>, promised: &mut Position| {
        let (mut log, _) = Log::create(disk.clone(), config(), &base())?;
        let mut state = past[0].state.clone();
        let rounds: [(u64, u64, usize); 6] = [
            (2, 2, 100),
            (4, 1, 6000),
            (5, 3, 50),
            (4, 2, 700),
            (6, 30, 300),
            (36, 1, 10),
        ];
        for (round, (first, n, size)) in rounds.into_iter().enumerate() {
            let term = round as u64 + 1;
            let entries: Vec<Entry> = (first..first + n)
                .map(|i| entry(i, term, vec![term as u8; size]))
                .collect();
            state.hard_state = HardState {
                term,
                vote: 1,
                commit: 2,
                ..HardState::default()
            };
            state.entries.truncate(first as usize - 2);
            state.entries.extend(entries.iter().cloned());
            let end = log.append(&LogRecord {
                hard_state: Some(&state.hard_state),
                entries: &entries,
            })?;
            past.push(Past {
                end,
                state: state.clone(),
            });
            if round % 2 == 1 {
                let end = log.sync_job().map(SyncJob::run).transpose()?;
                log.synced(end.unwrap_or_default());
                if !disk.crashed() {
                    *promised = log.durable();
                }
                if let Some(job) = log.alloc_job() {
                    log.allocated(job.run())?;
                }
            }
        }
        Ok::<(), StorageError>(())
    };
    let whole = Run::new(0);
    script(&whole.disk, &mut whole.past.clone(), &mut Position(0)).unwrap();
    let calls = whole.disk.calls();
    assert!(calls > 25, "{calls}");
    for at in 0..=calls {
        for seed in 0..12 {
            let mut run = Run::new(seed);
            run.disk.crash_after(Some(at));
            let mut past = run.past.clone();
            let mut promised = Position(0);
            // An error is the crash seen by a later call.
            let _ = script(&run.disk, &mut past, &mut promised);
            (run.past, run.promised) = (past, promised);
            run.crash();
            match Log::open(run.disk.clone(), config()) {
                Ok((log, recovered)) => run.compare(&log, &recovered).unwrap(),
                // Nothing was born yet; then bootstrap can be repeated.
                Err(StorageError::NoBase(_)) => {
                    assert_eq!(run.past.len(), 1);
                    Log::create(run.disk.clone(), config(), &base()).unwrap();
                }
                Err(e) => panic!("crash at {at}, seed {seed}: {e}"),
            }
        }
    }
}

#[test]
fn a_large_ready_is_whole_and_read_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::new(dir.path());
    let config = LogConfig {
        segment_size: 4 << 20,
        ..LogConfig::default()
    };
    let (mut log, _) = Log::create(disk.clone(), config.clone(), &base()).unwrap();
    let entries: Vec<Entry> = (2..40u64)
        .map(|i| entry(i, 2, vec![i as u8; if i == 20 { 9 << 20 } else { 300_000 }]))
        .collect();
    let bytes: u64 = entries.iter().map(record::entry_len).sum();
    assert!(!log.has_room(bytes));
    assert!(matches!(
        log.append(&LogRecord {
            hard_state: None,
            entries: &entries
        }),
        Err(StorageError::NoRoom { .. })
    ));
    log.want_room(bytes);
    while let Some(job) = log.alloc_job() {
        log.allocated(job.run()).unwrap();
    }
    assert!(log.has_room(bytes));
    let hs = HardState {
        term: 2,
        vote: 3,
        commit: 39,
        ..HardState::default()
    };
    let end = log
        .append(&LogRecord {
            hard_state: Some(&hs),
            entries: &entries,
        })
        .unwrap();
    assert!(log.written() < end);
    // D6: the record waits for the storage thread; until then nothing of it can be read.
    let early = log.read_job(2, 2, 1).unwrap();
    assert_eq!(early.run().unwrap().entries, []);
    assert_eq!(log.sync_job().unwrap().run().unwrap(), end);
    log.synced(end);
    let check = |log: &Log<RealDisk>| {
        assert_eq!(read_all(log).unwrap(), entries);
        let mut next = 2;
        while next <= 39 {
            let done = log.read_job(next, 39, 1 << 20).unwrap().run().unwrap();
            assert_eq!(
                done.entries[..],
                entries[next as usize - 2..][..done.entries.len()]
            );
            next += done.entries.len() as u64;
        }
    };
    check(&log);
    let (index, segments) = (log.index.clone(), log.segments.len());
    drop(log);
    let (log, recovered) = Log::open(disk, config).unwrap();
    check(&log);
    assert_eq!((recovered.hard_state, recovered.cut), (hs, None));
    assert_eq!((&log.index, log.segments.len()), (&index, segments));
}

#[test]
fn a_full_disk_stops_allocation_and_nothing_else() {
    let run = Run::new(1);
    let (mut log, _) = Log::create(run.disk.clone(), config(), &base()).unwrap();
    run.disk.set_full(true);
    let error = log.alloc_job().unwrap().run().map(|_| ()).unwrap_err();
    assert!(error.is_full());
    assert!(log.allocated(Err(error)).is_err());
    assert!(log.alloc_job().is_none() && log.alloc_failed());
    assert!(run.disk.names().iter().all(|n| !n.ends_with(".tmp")));
    let mut next = 2;
    while log.has_room(500) {
        log.append(&LogRecord {
            hard_state: None,
            entries: &[entry(next, 1, vec![1; 480])],
        })
        .unwrap();
        next += 1;
    }
    // The reserve is there for votes.
    let hs = HardState {
        term: 9,
        vote: 1,
        commit: 1,
        ..HardState::default()
    };
    log.append(&LogRecord {
        hard_state: Some(&hs),
        entries: &[],
    })
    .unwrap();
    run.disk.set_full(false);
    log.retry_alloc();
    let job = log.alloc_job().unwrap();
    log.allocated(job.run()).unwrap();
    assert!(log.has_room(500));
    assert_eq!(log.sync_job().unwrap().run().unwrap(), log.end());
}

#[test]
fn what_has_room_can_be_appended() {
    for seed in 0..100 {
        let mut rng = StdRng::seed_from_u64(seed);
        let config = LogConfig {
            reserve: 0,
            freeing: 0,
            spare_segments: rng.gen_range(1..3),
            ..config()
        };
        let (mut log, _) = Log::create(TestDisk::new(false), config, &base()).unwrap();
        for round in 0..300 {
            if rng.gen_bool(0.1) {
                if let Some(job) = log.alloc_job() {
                    log.allocated(job.run()).unwrap();
                }
            }
            let (first, max) = (
                log.last_index() + 1,
                if rng.gen_bool(0.2) { 9000 } else { 400 },
            );
            let entries: Vec<Entry> = (first..first + rng.gen_range(0..5))
                .map(|i| entry(i, 1, vec![1; rng.gen_range(0..max)]))
                .collect();
            if log.has_room(entries.iter().map(record::entry_len).sum()) {
                let hs = HardState {
                    term: 1,
                    vote: round,
                    commit: 1,
                    ..HardState::default()
                };
                log.append(&LogRecord {
                    hard_state: Some(&hs),
                    entries: &entries,
                })
                .unwrap();
            }
            if rng.gen_bool(0.5) {
                log.sync_job();
            }
        }
    }
}

#[test]
fn only_a_little_is_begun_before_its_sync() {
    let disk = TestDisk::new(false);
    let config = LogConfig {
        segment_size: 1 << 20,
        ..config()
    };
    let (mut log, _) = Log::create(disk.clone(), config, &base()).unwrap();
    for (bytes, begun) in [(100, 1), (8 << 10, 1), (17 << 10, 0)] {
        let entries = [entry(log.last_index() + 1, 1, vec![1; bytes])];
        let hard_state = HardState {
            term: 1,
            ..HardState::default()
        };
        log.append(&LogRecord {
            hard_state: Some(&hard_state),
            entries: &entries,
        })
        .unwrap();
        log.begin_write();
        assert_eq!(disk.take_begun(), begun, "{bytes} bytes");
        log.sync_job();
        log.begin_write();
        assert_eq!(disk.take_begun(), 0, "all of it has been handed to a sync");
    }
}

#[test]
fn what_was_handed_to_a_sync_is_never_written_again() {
    let mut run = Run::new(5);
    let (mut log, _) = Log::create(run.disk.clone(), config(), &base()).unwrap();
    while run.past.len() < 40 {
        let before = log.end();
        run.append(&mut log).unwrap();
        if log.end() != before && log.sync_job().is_some() {
            let next = log.end().aligned();
            assert!(
                log.append(&LogRecord {
                    hard_state: Some(&run.now().hard_state.clone()),
                    entries: &[]
                })
                .unwrap()
                    > next
            );
            run.past.last_mut().unwrap().end = log.end();
        }
        if let Some(job) = log.alloc_job() {
            log.allocated(job.run()).unwrap();
        }
    }
}

/// D5: a log that takes the whole disk could never be trimmed: the snapshot that must come first has no room.
#[test]
fn no_segment_takes_what_is_kept() {
    let run = Run::new(1);
    let (mut log, _) = Log::create(run.disk.clone(), config(), &base()).unwrap();
    for (free, kept, fits) in [
        (40_000, 0, true),
        (60_000, 20_000, true),
        (30_000, 20_000, false),
        (10_000, 20_000, false),
        // What is known to be free binds nobody who keeps nothing.
        (0, 0, true),
    ] {
        run.disk.set_free(free);
        log.keep(kept);
        log.want_room(1 << 20);
        let before = run.disk.free_space().unwrap();
        let result = log.alloc_job().unwrap().run();
        let what = format!("{free} bytes free, {kept} kept");
        assert_eq!(result.is_ok(), fits, "{what}");
        if let Err(error) = &result {
            assert!(error.is_full(), "{what}: {error}");
            assert_eq!(run.disk.free_space().unwrap(), before, "{what}");
        }
        assert_eq!(log.allocated(result).is_ok(), fits);
        log.retry_alloc();
        let seen = log.seen_free().unwrap();
        assert_eq!(seen, run.disk.free_space().unwrap(), "{what}");
    }
}

/// D5: effects that free memory may use what writes may not, and leave what votes need.
#[test]
fn freeing_has_room_that_writes_have_not() {
    let run = Run::new(1);
    let config = LogConfig {
        freeing: 2048,
        ..config()
    };
    let (mut log, _) = Log::create(run.disk.clone(), config, &base()).unwrap();
    let append = |log: &mut Log<_>| {
        let entry = entry(log.last_index() + 1, 1, vec![1; 280]);
        log.append(&LogRecord {
            hard_state: None,
            entries: &[entry],
        })
        .unwrap();
    };
    while log.has_room(300) {
        append(&mut log);
    }
    assert!(log.has_room_to_free(1024) && log.room() < log.room_to_free());
    while log.has_room_to_free(300) {
        append(&mut log);
    }
    assert!(log.has_reserve(0), "votes have their own");
}

/// D5: writes that a restart let into it would leave a full disk without a way out.
#[test]
fn segment_for_deletions_stays_so_after_restart() {
    let run = Run::new(1);
    let (mut log, _) = Log::create(run.disk.clone(), config(), &base()).unwrap();
    let (small, large) = (20_000, 60_000);
    for free in [large, small, small, large] {
        run.disk.set_free(free);
        log.keep(30_000);
        log.want_room(1 << 20);
        let job = log.alloc_job().unwrap().or_to_free(Some(0));
        log.allocated(job.run()).unwrap();
        let before = log.room();
        drop(log);
        log = Log::open(run.disk.clone(), config()).unwrap().0;
        assert_eq!(log.room(), before, "{free} bytes free");
    }
    assert!(log.room() > 0);
}
