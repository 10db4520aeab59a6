//! A new state for the base, and the log's end (P8, P10): the process is killed, or loses its power, at
//! every step between the first byte of the snapshot's file and the last segment that goes. Chance hardly
//! ever meets most of these moments.

use ::base::clock::Clock;
use ::base::ids::RaftId;
use cluster_bus::slot::SLOT_COUNT;
use keyspace::Ttl;
use raft::eraftpb::ConfState;
use shard::testing::{made, write_snapshot, Hand};
use shard::{CopyTo, Shard, ShardConfig, ShardError, Sizes, SnapshotOrder, SyncPolicy};
use state::load::Loader;
use state::save::Origin;
use state::Access;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;
use storage::{snapshot, Base, Disk, Log, LogConfig, StorageError};

use super::{base, bed, quiet, T_MS};
use crate::disk::{Loss, SimDisk};
use crate::machine::{guarded, install_panic_hook, Ended};
use crate::rng::Rng;

/// What a crash leaves of the page cache: all of it, or what the power's loss leaves.
const FATES: [Option<Loss>; 6] = [
    None,
    Some(Loss::All),
    Some(Loss::Nothing),
    Some(Loss::Tail),
    Some(Loss::Sectors),
    Some(Loss::Sectors),
];
/// The copy's name.
const COPY: &str = "dump.rdb";
/// So much work lies between two crashes: less than any call costs.
const STEP: u64 = 20;

/// What was done when the process ended: a row of the crash table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Nothing,
    /// A part of the file is written, under its temporary name.
    Writing,
    /// The file has its name, the base does not name it.
    Named,
    /// A part of its copy is written, under a temporary name.
    Copying,
    /// The new base is being written.
    BaseTemp,
    /// The new base stands, and all that it does not name is there.
    Renamed,
    /// Some of that is gone.
    Removing,
    Done,
}

pub(super) fn config(sync: SyncPolicy) -> ShardConfig {
    ShardConfig {
        layout: keyspace::Layout::Cluster,
        limits: keyspace::Limits::default(),
        seed: 7,
        sync,
        outcome_timeout: Duration::from_secs(5),
        tail_limit: 1 << 20,
        keep_bytes: 0,
        sizes: Sizes::default(),
        log: LogConfig {
            segment_size: 32 << 10,
            spare_segments: 16,
            reserve: 8 << 10,
            freeing: 8 << 10,
            kept: Default::default(),
            floor: 0,
        },
        first: true,
    }
}

/// The only member of its group, in a folder of a disk that crashes. The copies lie beside the folder.
pub(super) struct Member {
    pub(super) root: SimDisk,
    disk: SimDisk,
    pub(super) shard: Shard<SimDisk>,
    pub(super) clock: Hand,
    config: ShardConfig,
}

impl Member {
    fn new(sync: SyncPolicy) -> Member {
        Member::with(config(sync))
    }

    pub(super) fn with(config: ShardConfig) -> Member {
        let root = SimDisk::new(1 << 30);
        let disk = folder(&root);
        let mut base = base();
        base.snapshot.conf_state = ConfState::from((vec![5], vec![]));
        base.snapshot.record = bed::record((0..SLOT_COUNT).collect(), 1).encode();
        base.snapshot.members = vec![storage::base::Member {
            raft_id: RaftId(5),
            node: bed::node(5),
            kind: storage::base::MemberKind::Data,
        }];
        Log::create(disk.clone(), config.log.clone(), &base).expect("an empty disk");
        Member::open(root, config).expect("a sound log")
    }

    fn open(root: SimDisk, config: ShardConfig) -> Result<Member, ShardError> {
        let disk = folder(&root);
        let clock = Hand(Cell::new(1));
        let shard = Shard::open(disk.clone(), config.clone(), clock.now(), &quiet())?;
        let mut member = Member {
            root,
            disk,
            shard,
            clock,
            config,
        };
        member.clock.0.set(T_MS * 1_000_000);
        member.settle()?;
        Ok(member)
    }

    /// Turns until nothing is left to do; its disk does what it is asked.
    pub(super) fn settle(&mut self) -> Result<(), ShardError> {
        loop {
            self.shard.begin(self.clock.now())?;
            self.shard.finish(&self.clock)?;
            self.shard.walk_snapshot(&self.clock);
            if !self.work()? {
                return Ok(());
            }
        }
    }

    /// Its disk does what the turn asks; false: nothing.
    pub(super) fn work(&mut self) -> Result<bool, ShardError> {
        let jobs = self.shard.take_output().jobs;
        let any = !jobs.is_empty();
        for done in jobs.into_iter().filter_map(|job| job.run()) {
            self.shard.job_done(self.clock.now(), done)?;
        }
        Ok(any)
    }

    /// Writes of 2 KiB, one a turn.
    fn write(&mut self, count: usize) {
        for n in 0..count {
            self.shard.begin(self.clock.now()).expect("a turn begins");
            let data = self.shard.data_mut();
            data.begin_command(0, Access::Lead);
            let name = format!("key {}", n % 5);
            let key = data.key(name.as_bytes());
            let value: Vec<u8> = (0..2048).map(|at| (at * n) as u8).collect();
            data.set(&key, &value, Ttl::Clear);
            data.end_command();
            self.shard.finish(&self.clock).expect("a turn ends");
            self.work().expect("a sound disk");
            self.settle().expect("a sound disk");
        }
    }

    /// A snapshot as a command orders it.
    fn snapshot(&mut self) -> Result<(), ShardError> {
        let copy = CopyTo {
            folder: self.root.clone(),
            name: COPY.to_owned(),
        };
        let order = SnapshotOrder {
            origin: Origin::default(),
            compress: true,
            copy: Some(copy),
            open: false,
        };
        let ordered = self.shard.order_snapshot(order);
        ordered.expect("none is under way");
        self.settle()?;
        let made = self.shard.take_snapshot().expect("it was ordered");
        let made = made.expect("a sound disk");
        assert!(matches!(made.copied, Some(Ok(()))), "{made:?}");
        Ok(())
    }

    /// One that is told, past all that looks at the disk first.
    fn tell(&mut self) -> Result<(), ShardError> {
        let mut snapshot = self.shard.state_now().expect("nothing is open");
        let keyspace = self.shard.data().keyspace();
        let file = write_snapshot(&self.disk, keyspace, snapshot.entry())?;
        snapshot.file = Some(file);
        self.shard.job_done(self.clock.now(), made(snapshot))?;
        self.settle()
    }

    fn digest(&self) -> [u8; 20] {
        self.shard.data().keyspace().digest_all()
    }
}

fn folder(root: &SimDisk) -> SimDisk {
    root.make_folder("shard-5").expect("a sound disk")
}

/// The digest of the copy's keys: a file under this name is whole, whatever happens.
fn copied(root: &SimDisk) -> Result<[u8; 20], String> {
    let empty = keyspace::Keyspace::new(keyspace::Layout::Cluster, 1);
    let (mut loader, mut bytes) = (Loader::new(empty), Vec::new());
    let read = snapshot::read(root, COPY, |slice| {
        bytes.extend_from_slice(slice);
        Ok::<(), StorageError>(())
    });
    read.map_err(|e| e.to_string())?;
    loader.feed(&bytes).map_err(|e| e.to_string())?;
    let (keyspace, _) = loader.finish().map_err(|e| e.to_string())?;
    Ok(keyspace.digest_all())
}

/// What lies in the folder of a process that has ended.
fn row(root: &SimDisk, old: &Base, segments: usize) -> Row {
    let disk = &folder(root);
    let beside = root.list().expect("a sound disk");
    let names = disk.list().expect("a sound disk");
    let count = |end: &str| {
        let of_states = names.iter().filter(|n| n.starts_with("snapshot-"));
        of_states.filter(|n| n.ends_with(end)).count()
    };
    let base = Base::load(disk).expect("a whole base").expect("a base");
    let left = names.iter().filter(|n| n.ends_with(".seg")).count();
    match base.snapshot == old.snapshot {
        true if names.iter().any(|n| n == "base.tmp") => Row::BaseTemp,
        true if beside.iter().any(|n| n.starts_with("temp-")) => Row::Copying,
        true if count(".rdb") == 2 => Row::Named,
        true if count(".tmp") == 1 => Row::Writing,
        true => Row::Nothing,
        false if left == segments => Row::Renamed,
        false if left > kept(disk, &base) || count(".rdb") == 2 => Row::Removing,
        false => Row::Done,
    }
}

/// Segments that the base's log has.
fn kept(disk: &SimDisk, base: &Base) -> usize {
    let start = base.start.map_or(0, |start| start.position.0);
    let names = disk.list().expect("a sound disk");
    let ends_behind = |name: &&String| {
        let file = disk.open(name).expect("it is there");
        let meta = storage::segment::SegmentMeta::read(&file, name, &base.identity);
        meta.expect("a sound header").end.0 > start
    };
    let segments = names.iter().filter(|n| n.ends_with(".seg"));
    segments.filter(ends_behind).count()
}

/// A snapshot is made, the base names it, the log is trimmed; the process ends after so much work of
/// that. What was done, or how the next start differs from what was.
fn ended_after(work: u64, fate: Option<Loss>) -> Result<Row, String> {
    let mut member = Member::new(SyncPolicy::Always);
    member.write(30);
    member.snapshot().map_err(|e| e.to_string())?;
    let before = member.digest();
    member.write(60);
    let (digest, applied) = (member.digest(), member.shard.group().applied());
    let (old, segments) = (
        member.shard.base().clone(),
        member.shard.log().segment_count(),
    );
    member.disk.light_fuse(work);
    let ended = guarded(|| member.snapshot());
    if let (Ended::Stopped(why), false) = (&ended, member.disk.has_crashed()) {
        return Err(format!("ended by itself: {why}"));
    }
    let root = member.root.process_crash();
    drop(member);
    let row = row(&root, &old, segments);
    let root = match fate {
        None => root,
        Some(loss) => root.power_loss(loss, &mut Rng::new(work)),
    };
    let copied = copied(&root).map_err(|why| format!("{row:?}: the copy: {why}"))?;
    if copied != digest && copied != before {
        return Err(format!("{row:?}: the copy is of neither state"));
    }
    let mut member = match guarded(|| Member::open(root.clone(), config(SyncPolicy::Always))) {
        Ended::Fine(member) => member,
        Ended::Stopped(why) | Ended::Panicked(why) => return Err(format!("{row:?}: {why}")),
        Ended::Crashed => return Err(format!("{row:?}: no fuse burns")),
    };
    let same = member.digest() == digest && member.shard.group().applied() == applied + 1;
    let names = member.disk.list().map_err(|e| e.to_string())?;
    let files = names.iter().filter(|name| *name != "reserve").count();
    let named = usize::from(member.shard.snapshot_meta().file.is_some());
    if !same || files != member.shard.log().segment_count() + 1 + named {
        return Err(format!("{row:?}: same {same}, {files} files"));
    }
    // It goes on, and to the end this time.
    member.write(50);
    let digest = member.digest();
    member.snapshot().map_err(|e| e.to_string())?;
    let first = member.shard.log().first_index();
    if first <= old.log_before().index + 1 {
        return Err(format!("{row:?}: nothing was trimmed in the end"));
    }
    let config = member.config.clone();
    drop(member);
    let member = Member::open(root.process_crash(), config).map_err(|e| e.to_string())?;
    match member.digest() == digest && member.shard.log().first_index() == first {
        true => Ok(row),
        false => Err(format!("{row:?}: another state after it went on")),
    }
}

/// Plays all of them; the rows that were met.
fn all_steps() -> Result<BTreeSet<Row>, String> {
    install_panic_hook();
    let mut rows = BTreeSet::new();
    for fate in FATES {
        let mut work = 0;
        loop {
            let row = ended_after(work, fate).map_err(|why| format!("{work} {fate:?}: {why}"))?;
            rows.insert(row);
            if row == Row::Done {
                break;
            }
            work += STEP;
        }
    }
    Ok(rows)
}

/// Whether the state is that of before, wherever the process ended, and the files are those that count.
#[cfg(feature = "mutations")]
pub fn every_step_of_a_trim_may_be_the_last() -> bool {
    all_steps().is_ok()
}

#[test]
fn a_trim_that_ends_anywhere_leaves_one_of_two_whole_logs() {
    let rows = all_steps().unwrap();
    let want = [
        Row::Nothing,
        Row::Writing,
        Row::Named,
        Row::Copying,
        Row::BaseTemp,
        Row::Renamed,
        Row::Removing,
        Row::Done,
    ];
    assert_eq!(rows, BTreeSet::from(want));
}

/// Whether a member whose log is not synced by itself comes back after a loss of power, when a snapshot
/// was made of what its disk did not have.
pub fn a_state_waits_for_its_entry() -> bool {
    install_panic_hook();
    let mut member = Member::new(SyncPolicy::No);
    member.write(20);
    if member.tell().is_err() {
        return false;
    }
    let index = member.shard.snapshot_meta().index;
    let root = member.root.power_loss(Loss::All, &mut Rng::new(1));
    drop(member);
    match guarded(|| Member::open(root, config(SyncPolicy::No))) {
        Ended::Fine(member) => index > 1 && member.shard.log().last_index() >= index,
        _ => false,
    }
}

#[test]
fn a_state_is_never_ahead_of_the_own_log() {
    assert!(a_state_waits_for_its_entry());
}
