//! A file that a new member begins with (P22); no other member takes one (F1).
#![allow(clippy::disallowed_methods)] // the file is somebody's, so it comes past the disk

use super::*;
use crate::import::{without_import, ImportFile, Imported, NotImported};
use crate::Opening;
use base::slot::key_slot;
use state::load::GROUP;
use state::save::{save, Origin, Style};
use std::path::Path;
use storage::base::{Member, MemberKind};

/// Two folders: a member's, and one with the file.
struct Place {
    member: tempfile::TempDir,
    dir: tempfile::TempDir,
    config: ShardConfig,
    clock: Hand,
}

const NAME: &str = "dump.rdb";
const GOLDEN: &str = "../rdb/tests/golden";

impl Place {
    fn new(layout: Layout, base: &Base) -> Place {
        let place = Place {
            member: tempfile::tempdir().expect("a folder"),
            dir: tempfile::tempdir().expect("a folder"),
            config: ShardConfig {
                layout,
                ..config(SyncPolicy::Always)
            },
            clock: Hand(Cell::new(1)),
        };
        let log = place.config.log.clone();
        Log::create(place.disk(), log, base).expect("an empty folder");
        place
    }

    fn disk(&self) -> RealDisk {
        RealDisk::new(self.member.path())
    }

    fn file(&self) -> ImportFile<RealDisk> {
        ImportFile {
            folder: RealDisk::new(self.dir.path()),
            name: NAME.to_owned(),
            path: self.dir.path().join(NAME).display().to_string(),
            origin: Origin::default(),
            compress: true,
            features: topology::features::ALL,
            has_others: false,
        }
    }

    /// Puts a file there that has these keys, each with its name as its value.
    fn put(&self, keys: &[&str], group: Option<GroupId>) -> [u8; 20] {
        let mut keyspace = Keyspace::new(self.config.layout, 3);
        for name in keys {
            let key = keyspace.key(name.as_bytes());
            keyspace.set_string(0, &key, name.as_bytes(), Ttl::Clear);
        }
        let style = Style {
            fields: group.map(|g| (GROUP, g.to_string())).into_iter().collect(),
            ..Style::default()
        };
        let mut bytes = Vec::new();
        let mut sink = |piece: &[u8]| {
            bytes.extend_from_slice(piece);
            Ok::<(), StorageError>(())
        };
        save(&keyspace, &style, &mut sink, &mut |_| ()).expect("no disk");
        std::fs::write(self.dir.path().join(NAME), bytes).expect("a file");
        keyspace.digest_all()
    }

    fn start_with(
        &self,
        file: &ImportFile<RealDisk>,
    ) -> Result<(Shard<RealDisk>, Result<Imported, NotImported>), ShardError> {
        let opening = Opening::open(self.disk(), self.config.clone())?;
        let (opening, imported) = match opening.why_not_import(file)? {
            Some(why) => (opening, Err(why)),
            None => opening.import(file)?,
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let mut shard = Shard::of(opening, self.clock.now(), &logger)?;
        while shard.is_loading() {
            shard.begin(self.clock.now())?;
            for done in shard.take_output().jobs.into_iter().filter_map(Job::run) {
                shard.job_done(self.clock.now(), done)?;
            }
        }
        Ok((shard, imported))
    }

    /// A start of a member that leads afterwards.
    fn start(&self) -> (Shard<RealDisk>, Result<Imported, NotImported>) {
        let (mut shard, imported) = self.start_with(&self.file()).expect("it starts");
        settle(&mut shard, &self.clock);
        assert!(shard.group().own_term_applied(), "it leads");
        (shard, imported)
    }

    /// The same where there is no file.
    fn start_without(&self) -> Shard<RealDisk> {
        let opening = Opening::open(self.disk(), self.config.clone()).expect("a sound log");
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let mut shard = Shard::of(opening, self.clock.now(), &logger).expect("it starts");
        settle(&mut shard, &self.clock);
        shard
    }

    fn in_turn(&self, shard: &mut Shard<RealDisk>, run: impl FnOnce(&mut StateMachine)) {
        shard.begin(self.clock.now()).expect("a turn begins");
        let data = shard.data_mut();
        data.begin_command(0, Access::Lead);
        run(data);
        data.end_command();
        shard.finish(&self.clock).expect("a turn ends");
        let jobs = shard.take_output().jobs;
        work(shard, &self.clock, jobs);
        settle(shard, &self.clock);
    }
}

fn single() -> Layout {
    Layout::Single { databases: 16 }
}

fn digest(shard: &Shard<RealDisk>) -> [u8; 20] {
    shard.data().keyspace().digest_all()
}

/// The base of a new node of a cluster.
fn base_in_cluster() -> Base {
    let mut base = base();
    base.snapshot.members = vec![Member {
        raft_id: RaftId(5),
        node: cluster_bus::NodeId([5; 20]),
        kind: MemberKind::Data,
    }];
    let record = Record::founded(cluster_bus::ShardId([9; 20]), cluster_bus::NodeId([5; 20]));
    base.snapshot.record = record.encode();
    base
}

#[test]
fn a_new_member_begins_with_the_keys_of_a_file() {
    let place = Place::new(single(), &base());
    let wanted = place.put(&["a", "b", "c"], Some(GroupId(77)));
    let (shard, imported) = place.start();
    assert_eq!(imported, Ok(Imported { keys: 3, slots: 0 }));
    assert_eq!(digest(&shard), wanted);
    let state = shard.snapshot_meta().clone();
    assert_eq!((state.index, state.term), (2, 2), "an entry of its own");
    assert_eq!(shard.log().first_index(), 3, "the log begins behind it");
    drop(shard);
    let (shard, imported) = place.start();
    assert_eq!(imported, Err(NotImported::HadKeys));
    assert_eq!(digest(&shard), wanted);
    assert_eq!(shard.snapshot_meta(), &state);
}

#[test]
fn in_a_cluster_the_record_gains_the_slots_of_keys() {
    let place = Place::new(Layout::Cluster, &base_in_cluster());
    // It was started before, and given slots; that is no effect on keys.
    let mut shard = place.start_without();
    let slots = [key_slot(b"a"), 1].into_iter().collect();
    place.in_turn(&mut shard, |data| data.add_slots(&slots));
    let last = shard.log().last_index();
    drop(shard);

    let wanted = place.put(&["a", "b", "{b}2"], None);
    let (shard, imported) = place.start();
    assert_eq!(imported, Ok(Imported { keys: 3, slots: 1 }));
    assert_eq!(digest(&shard), wanted);
    assert_eq!(shard.snapshot_meta().index, last + 1);
    let record = shard.record();
    let have: Vec<u16> = record.slots.iter().collect();
    let mut want = vec![1, key_slot(b"a"), key_slot(b"b")];
    want.sort_unstable();
    assert_eq!(have, want);
    assert_eq!(record.moves.features, topology::features::ALL, "D7");
}

/// F1: FLUSHALL and DEL were acknowledged.
#[test]
pub(super) fn deleted_keys_are_not_imported_again() {
    let place = Place::new(single(), &base());
    place.put(&["a", "b"], None);
    let (mut shard, _) = place.start();
    place.in_turn(&mut shard, |data| data.flush(None));
    drop(shard);
    let (shard, _) = place.start();
    assert!(!shard.may_have_keys(), "what was deleted is back");
}

#[test]
fn a_member_that_ever_had_keys_takes_no_file() {
    let place = Place::new(single(), &base());
    let mut shard = place.start_without();
    place.in_turn(&mut shard, |data| {
        let key = data.key(b"k");
        data.set(&key, b"v", Ttl::Clear);
        data.delete(&key);
    });
    assert!(!shard.may_have_keys());
    drop(shard);
    place.put(&["k"], None);
    let (shard, imported) = place.start();
    assert_eq!(imported, Err(NotImported::HadKeys));
    assert!(!shard.may_have_keys());
}

#[test]
fn who_is_not_new_and_alone_takes_no_file() {
    let mut shared = base();
    shared.snapshot.conf_state = ConfState::from((vec![5, 6], vec![]));
    let mut learned = base();
    learned.snapshot.conf_state = ConfState::from((vec![5], vec![6]));
    let table = [
        (shared, None, false, NotImported::HasOthers),
        (learned, None, false, NotImported::HasOthers),
        (base(), None, true, NotImported::HasOthers),
        (without_import(base()), None, false, NotImported::HadShard),
        (base(), Some(GroupId(1)), false, NotImported::IsOwn),
    ];
    for (base, group, has_others, want) in table {
        let place = Place::new(single(), &base);
        place.put(&["a"], group);
        let file = ImportFile {
            has_others,
            ..place.file()
        };
        let (shard, imported) = place.start_with(&file).expect("it starts");
        assert_eq!(imported, Err(want));
        assert!(!shard.may_have_keys(), "{want:?}");
    }
    let place = Place::new(single(), &base());
    place.put(&[], None);
    assert_eq!(place.start().1, Err(NotImported::HasNoKeys));
}

/// A base that says so of itself is a base like any other.
#[test]
fn a_member_without_import_lives_and_restarts() {
    let place = Place::new(single(), &without_import(base()));
    place.put(&["a"], None);
    for round in 0..3 {
        let (mut shard, imported) = place.start();
        imported.unwrap_err();
        assert_eq!(shard.data().keyspace().len(0), round);
        place.in_turn(&mut shard, |data| {
            let name = format!("k{round}");
            let key = data.key(name.as_bytes());
            data.set(&key, b"v", Ttl::Clear);
        });
    }
}

/// The start of an empty server would be taken for the loss of the keys.
/// A file that begins with a stream.
const STREAM: &[u8] = b"REDIS0010\xfe\x00\x13\x01k\x00";

#[test]
fn a_file_that_cannot_be_loaded_refuses_the_start() {
    let golden = |name: &str| std::fs::read(Path::new(GOLDEN).join(name)).expect("it is there");
    let sound = golden("plain.rdb");
    let mut damaged = sound.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let table: [(&[u8], Layout, &str); 6] = [
        (&damaged, single(), ""),
        (&sound[..sound.len() - 3], single(), "ends too early"),
        (b"not one of them", single(), "begin as an RDB file"),
        (STREAM, single(), "values of this type are not known here"),
        (&golden("library.rdb"), single(), "a library of functions"),
        (&golden("strings.rdb"), Layout::Cluster, "keys of database"),
    ];
    for (bytes, layout, want) in table {
        let place = Place::new(layout, &base());
        std::fs::write(place.dir.path().join(NAME), bytes).expect("a file");
        let error = place.start_with(&place.file()).map(|_| ()).unwrap_err();
        let text = error.to_string();
        let begins = format!("{} can't be imported: ", place.file().path);
        assert!(text.starts_with(&begins) && text.contains(want), "{text}");
        std::fs::remove_file(place.dir.path().join(NAME)).expect("it is there");
        let names = place.disk().list().expect("a folder");
        assert!(
            !names.iter().any(|n| n.starts_with("snapshot-")),
            "{names:?}"
        );
        place.put(&["a"], None);
        assert!(place.start().1.is_ok(), "nothing has changed");
    }
}

/// Files of Redis 7.0, one without a checksum; of 16 databases; a key that has expired is here until that is logged.
#[test]
fn files_of_redis_are_taken() {
    for name in [
        "strings.rdb",
        "plain.rdb",
        "no-checksum.rdb",
        "idle.rdb",
        "frequent.rdb",
    ] {
        let place = Place::new(single(), &base());
        let bytes = std::fs::read(Path::new(GOLDEN).join(name)).expect("it is there");
        std::fs::write(place.dir.path().join(NAME), bytes).expect("a file");
        let (shard, imported) = place.start();
        let keyspace = shard.data().keyspace();
        let keys: u64 = (0..16).map(|db| keyspace.len(db)).sum();
        assert_eq!(imported.map(|i| i.keys), Ok(keys), "{name}");
    }
}
