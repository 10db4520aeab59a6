//! A file that a new member begins with (P22): the process is killed, or loses its power, at every step between
//! the first byte of the state that is made of it and the start behind it. It is imported again, or not at all.

use ::base::clock::Clock;
use ::base::ids::RaftId;
use ::base::slot::key_slot;
use cluster_bus::slot::SLOT_COUNT;
use keyspace::{Keyspace, Ttl};
use raft::eraftpb::ConfState;
use shard::testing::Hand;
use shard::{ImportFile, Imported, NotImported, Opening, Shard, SyncPolicy};
use state::save::{save, Origin, Style};
use state::Access;
use std::cell::Cell;
use std::collections::BTreeSet;
use storage::{Base, Disk, DiskFile, Log};

use super::log_end::config;
use super::{base, bed, quiet, T_MS};
use crate::disk::{Loss, SimDisk};
use crate::machine::{guarded, install_panic_hook, Ended};
use crate::rng::Rng;

/// What a crash leaves of the page cache: all of it, or what the power's loss leaves.
const FATES: [Option<Loss>; 4] = [None, Some(Loss::All), Some(Loss::Tail), Some(Loss::Sectors)];
const FILE: &str = "dump.rdb";
/// So much work lies between two crashes: less than any call costs.
const STEP: u64 = 20;

/// What the next start found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Met {
    /// Nothing of it: it was imported then.
    Nothing,
    /// All of it.
    All,
    /// The first start came to its end.
    Done,
}

fn folder(root: &SimDisk) -> SimDisk {
    root.make_folder("shard-5").expect("a sound disk")
}

fn keyspace() -> Keyspace {
    let mut keyspace = Keyspace::new(keyspace::Layout::Cluster, 1);
    for n in 0..10u32 {
        let name = format!("key {n}");
        let value: Vec<u8> = (0..80).map(|at| (at * n) as u8).collect();
        let key = keyspace.key(name.as_bytes());
        keyspace.set_string(0, &key, &value, Ttl::Clear);
    }
    keyspace
}

/// A new node's disk, with the file beside its folder.
fn disk() -> SimDisk {
    let root = SimDisk::new(1 << 30);
    let mut base = base();
    base.snapshot.conf_state = ConfState::from((vec![5], vec![]));
    base.snapshot.record = bed::record(Default::default(), 1).encode();
    base.snapshot.members = vec![storage::base::Member {
        raft_id: RaftId(5),
        node: bed::node(5),
        kind: storage::base::MemberKind::Data,
    }];
    Log::create(folder(&root), config(SyncPolicy::Always).log, &base).expect("an empty disk");
    let (file, mut at) = (root.create(FILE).expect("a sound disk"), 0);
    let mut sink = |piece: &[u8]| {
        file.write_at(piece, at)?;
        at += piece.len() as u64;
        Ok::<(), std::io::Error>(())
    };
    let saved = save(&keyspace(), &Style::default(), &mut sink, &mut |_| ());
    saved.expect("a sound disk");
    file.sync_data().expect("a sound disk");
    root.sync_dir().expect("a sound disk");
    root
}

struct Started {
    shard: Shard<SimDisk>,
    clock: Hand,
    imported: Result<Imported, NotImported>,
}

/// A start, until it leads and nothing is left to do.
fn start(root: &SimDisk) -> Result<Started, shard::ShardError> {
    let file = ImportFile {
        folder: root.clone(),
        name: FILE.to_owned(),
        path: FILE.to_owned(),
        origin: Origin::default(),
        compress: true,
        features: topology::features::ALL,
        has_others: false,
    };
    let opening = Opening::open(folder(root), config(SyncPolicy::Always))?;
    let (opening, imported) = match opening.why_not_import(&file)? {
        Some(why) => (opening, Err(why)),
        None => opening.import(&file)?,
    };
    let clock = Hand(Cell::new(1));
    let shard = Shard::of(opening, clock.now(), &quiet())?;
    clock.0.set(T_MS * 1_000_000);
    let mut started = Started {
        shard,
        clock,
        imported,
    };
    started.settle()?;
    Ok(started)
}

impl Started {
    fn settle(&mut self) -> Result<(), shard::ShardError> {
        loop {
            self.shard.begin(self.clock.now())?;
            self.shard.finish(&self.clock)?;
            let jobs = self.shard.take_output().jobs;
            if jobs.is_empty() {
                return Ok(());
            }
            for done in jobs.into_iter().filter_map(|job| job.run()) {
                self.shard.job_done(self.clock.now(), done)?;
            }
        }
    }

    /// Whether it has all, and nothing else; the record too.
    fn has_all(&self) -> bool {
        let slots: BTreeSet<u16> = (0..10)
            .map(|n| key_slot(format!("key {n}").as_bytes()))
            .collect();
        let record = self.shard.record();
        let owned: BTreeSet<u16> = (0..SLOT_COUNT)
            .filter(|s| record.slots.contains(*s))
            .collect();
        let digest = self.shard.data().keyspace().digest_all();
        owned == slots && digest == keyspace().digest_all()
    }

    fn flush(&mut self) -> Result<(), shard::ShardError> {
        self.shard.begin(self.clock.now())?;
        let data = self.shard.data_mut();
        data.begin_command(0, Access::Lead);
        data.flush(None);
        data.end_command();
        self.shard.finish(&self.clock)?;
        for done in self
            .shard
            .take_output()
            .jobs
            .into_iter()
            .filter_map(|job| job.run())
        {
            self.shard.job_done(self.clock.now(), done)?;
        }
        self.settle()
    }
}

/// The first start ends after so much work; what the second one met, or how it differs from what it should be.
fn ended_after(work: u64, fate: Option<Loss>) -> Result<Met, String> {
    let root = disk();
    root.light_fuse(work);
    let ended = guarded(|| start(&root));
    let done = match &ended {
        Ended::Fine(started) => started.has_all(),
        Ended::Stopped(why) if !root.has_crashed() => {
            return Err(format!("ended by itself: {why}"))
        }
        _ => false,
    };
    drop(ended);
    let crashed = root.process_crash();
    let root = match fate {
        None => crashed,
        Some(loss) => crashed.power_loss(loss, &mut Rng::new(work)),
    };
    let there = Base::load(&folder(&root)).map_err(|e| e.to_string())?;
    let was_there = there.is_some_and(|base| base.snapshot.file.is_some());
    let mut started = match guarded(|| start(&root)) {
        Ended::Fine(started) => started,
        Ended::Stopped(why) | Ended::Panicked(why) => return Err(why),
        Ended::Crashed => return Err("no fuse burns".to_owned()),
    };
    if !started.has_all() || started.imported.is_ok() == was_there {
        return Err(format!(
            "{:?}, {was_there}: not all is there",
            started.imported
        ));
    }
    let names = started.shard.log().disk().list();
    let mut names = names.map_err(|e| e.to_string())?;
    names.retain(|name| name != "reserve");
    if names.len() != started.shard.log().segment_count() + 2 {
        return Err(format!("more than base, state and log: {names:?}"));
    }
    // F1: what is deleted now stays deleted.
    started.flush().map_err(|e| e.to_string())?;
    drop(started);
    let again = start(&root.process_crash()).map_err(|e| e.to_string())?;
    if again.imported != Err(NotImported::HadKeys) || again.shard.may_have_keys() {
        return Err(format!("{:?}: what was deleted is back", again.imported));
    }
    Ok(match (done, was_there) {
        (true, _) => Met::Done,
        (false, true) => Met::All,
        (false, false) => Met::Nothing,
    })
}

#[test]
fn an_import_that_ends_anywhere_is_whole_or_made_again() {
    install_panic_hook();
    let mut met = BTreeSet::new();
    for fate in FATES {
        let mut work = 0;
        loop {
            let found = ended_after(work, fate);
            let found = found.unwrap_or_else(|why| panic!("{work} {fate:?}: {why}"));
            met.insert(found);
            if found == Met::Done {
                break;
            }
            work += STEP;
        }
    }
    assert_eq!(met, BTreeSet::from([Met::Nothing, Met::All, Met::Done]));
}
