//! The format as it was released: these bytes must open for ever, and are written until the
//! version changes (docs/DATA_FORMATS.md).

use super::disk::TestDisk;
use crate::record::{Header, Item, Items, CONTINUED, FIRST, HEADER, LAST};
use crate::*;
use ::base::ids::{EntryId, GroupId, Incarnation, RaftId};
use proptest::prelude::*;
use raft::eraftpb::{ConfState, Entry, EntryType, HardState};

const BASE: &str = "
    4846424153450d0a0200000071000000c678d2f4444433332222111101000000
    000000008888777766665555e803000000000000000000000001010000000000
    0000010000000000000000000002000000030000000000000004000000000000
    0001000000050000000000000000000000000000000000000000000300000072
    6563000000
";
/// The same version, with a snapshot's file and a log that has lost its beginning.
const BASE_TRIMMED: &str = "
    4846424153450d0a020000009d00000046ba7f23444433332222111101000000
    000000008888777766665555e803000000000000000000000002341200000000
    0000887766554433221109000000000000000400000000000000000000020000
    0003000000000000000400000000000000010000000500000000000000000000
    00000000000000000000000300000072656300010030000000000000ddccbbaa
    0700000000000000030000000000000000
";
/// As version 1 had it, which nobody has data in.
const BASE_1: &str = "
    4846424153450d0a0100000065000000b7dbf0b1444433332222111101000000
    00000000888877776666555501000000000000000100000000000000e8030000
    0000000000000200000003000000000000000400000000000000010000000500
    00000000000000000000000000000000000003000000726563
";
const SEGMENT: &str = "
    48464c4f470d0a00010000000000000001000000000000000100000000000000
    0000000000000000001000000000000044443333222211110100000000000000
    8888777766665555c195c58b00000000
";
const RECORDS: &str = "
    7a380b7c48465201560000000300000001000000000000000000000000000000
    0000000000000000000000000000000001020000000000000003000000000000
    0001000000000000000200000000000400000002000000000000000200000000
    0000006461746102020300000002000000020000000000000003000000000000
    00637478636300009b1da2dc4846520119000000030000000100000000000000
    88000000000000000000000000000000000000007a380b7c0102000000000000
    000300000000000000030000000000000000000000000000
";

fn golden_base() -> Base {
    Base {
        identity: MemberIdentity {
            group: GroupId(0x1111_2222_3333_4444),
            incarnation: Incarnation(1),
            raft_id: RaftId(0x5555_6666_7777_8888),
            election_timeout_ms: 1000,
            ..MemberIdentity::default()
        },
        snapshot: SnapshotMeta {
            index: 1,
            term: 1,
            conf_state: ConfState {
                voters: vec![3, 4],
                learners: vec![5],
                ..ConfState::default()
            },
            members: Vec::new(),
            record: b"rec".to_vec(),
            file: None,
        },
        start: None,
    }
}

fn trimmed_base() -> Base {
    let mut base = golden_base();
    (base.snapshot.index, base.snapshot.term) = (9, 4);
    base.snapshot.file = Some(StateFile {
        bytes: 0x1234,
        crc64: 0x1122_3344_5566_7788,
    });
    base.start = Some(LogStart {
        position: Position(0x3000),
        chain: 0xaabb_ccdd,
        before: EntryId { index: 7, term: 3 },
    });
    base
}

fn golden_entries() -> Vec<Entry> {
    let mut change = Entry {
        index: 3,
        term: 2,
        ..Entry::default()
    };
    change.entry_type = EntryType::EntryConfChangeV2;
    change.context = b"ctx".to_vec().into();
    change.data = b"cc".to_vec().into();
    vec![
        Entry {
            index: 2,
            term: 2,
            data: b"data".to_vec().into(),
            ..Entry::default()
        },
        change,
    ]
}

fn config() -> LogConfig {
    LogConfig {
        segment_size: 8192,
        ..LogConfig::default()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap())
        .collect()
}

fn read(disk: &TestDisk, name: &str, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let n = disk
        .open(name)
        .unwrap()
        .read_at(&mut bytes, offset)
        .unwrap();
    bytes.truncate(n);
    bytes
}

#[test]
fn bytes_are_those_of_the_formats() {
    let disk = TestDisk::new(false);
    let (mut log, _) = Log::create(disk.clone(), config(), &golden_base()).unwrap();
    let hs = HardState {
        term: 2,
        vote: 3,
        commit: 1,
        ..HardState::default()
    };
    log.append(&LogRecord {
        hard_state: Some(&hs),
        entries: &golden_entries(),
    })
    .unwrap();
    let hs = HardState { commit: 3, ..hs };
    let end = log
        .append(&LogRecord {
            hard_state: Some(&hs),
            entries: &[],
        })
        .unwrap();
    let segment = "00000000000000000001.seg";
    assert_eq!(
        hex(&read(&disk, "base", 0, 1000)),
        BASE.replace([' ', '\n'], "")
    );
    assert_eq!(
        hex(&read(&disk, segment, 0, 80)),
        SEGMENT.replace([' ', '\n'], "")
    );
    assert_eq!(
        hex(&read(&disk, segment, 4096, end.0 as usize)),
        RECORDS.replace([' ', '\n'], "")
    );
}

#[test]
fn a_base_with_a_snapshot_has_these_bytes() {
    let golden = BASE_TRIMMED.replace([' ', '\n'], "");
    assert_eq!(hex(&trimmed_base().to_bytes()), golden);
    let read = Base::from_bytes(&unhex(BASE_TRIMMED)).unwrap();
    assert_eq!(read, trimmed_base());
    assert_eq!(
        read.snapshot.file_name().unwrap(),
        "snapshot-0000000000000009-0000000000000004-1122334455667788.rdb"
    );
}

#[test]
fn golden_folder_can_be_opened() {
    let disk = TestDisk::new(false);
    disk.create("base")
        .unwrap()
        .write_at(&unhex(BASE), 0)
        .unwrap();
    let file = disk.create("00000000000000000001.seg").unwrap();
    file.allocate(0, 8192).unwrap();
    file.write_at(&unhex(SEGMENT), 0).unwrap();
    file.write_at(&unhex(RECORDS), 4096).unwrap();
    let (log, recovered) = Log::open(disk, config()).unwrap();
    assert_eq!(recovered.base, golden_base());
    let hs = HardState {
        term: 2,
        vote: 3,
        commit: 3,
        ..HardState::default()
    };
    assert_eq!((recovered.hard_state, recovered.cut), (hs, None));
    let mut entries = Vec::new();
    log.replay(2, 3, |e| {
        entries.push(e);
        Ok::<(), StorageError>(())
    })
    .unwrap();
    assert_eq!(entries, golden_entries());
}

#[test]
fn base_of_version_1_is_refused_and_kept() {
    let disk = TestDisk::new(false);
    let old = unhex(BASE_1);
    disk.create("base").unwrap().write_at(&old, 0).unwrap();
    disk.create("00000000000000000001.seg.tmp").unwrap();
    let before = disk.list().unwrap();
    let error = Log::open(disk.clone(), config()).map(|_| ()).unwrap_err();
    let version = matches!(
        error,
        StorageError::Version {
            found: 1,
            known: 2,
            ..
        }
    );
    assert!(version, "{error}");
    let found = Log::create(disk.clone(), config(), &golden_base()).map(|_| ());
    assert!(matches!(found, Err(StorageError::Exists(_))));
    assert_eq!(read(&disk, "base", 0, 1000), old);
    assert_eq!(disk.list().unwrap(), before);
}

/// S4: only a bootstrap that a crash has cut short is begun again.
#[test]
fn a_log_without_its_base_is_kept() {
    let disk = TestDisk::new(false);
    let name = "00000000000000000001.seg";
    Log::create(disk.clone(), config(), &golden_base()).unwrap();
    disk.remove("base").unwrap();
    Log::create(disk.clone(), config(), &golden_base()).unwrap();
    disk.remove("base").unwrap();
    let record = unhex(RECORDS);
    let segment = disk.open(name).unwrap();
    segment.write_at(&record, 4096).unwrap();
    let before = disk.list().unwrap();
    let error = Log::create(disk.clone(), config(), &golden_base()).map(|_| ());
    assert!(matches!(error, Err(StorageError::BaseLost(_))), "{error:?}");
    assert_eq!(disk.list().unwrap(), before);
    assert_eq!(read(&disk, name, 4096, record.len()), record);
}

#[test]
fn a_newer_version_is_refused_by_name() {
    let disk = TestDisk::new(false);
    Log::create(disk.clone(), config(), &golden_base()).unwrap();
    disk.damage("00000000000000000001.seg", 8, |_| 2);
    let error = Log::open(disk, config()).map(|_| ()).unwrap_err();
    assert!(
        matches!(
            error,
            StorageError::Version {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let one = (
        0u64..9,
        prop::collection::vec(any::<u8>(), 0..3000),
        0usize..3,
        0usize..20,
    );
    prop::collection::vec(one, 0..30).prop_map(|list| {
        let entry = |(i, (term, data, kind, context)): (usize, (u64, Vec<u8>, usize, usize))| {
            let mut e = Entry {
                index: i as u64 + 2,
                term,
                data: data.into(),
                ..Entry::default()
            };
            e.entry_type = [
                EntryType::EntryNormal,
                EntryType::EntryConfChange,
                EntryType::EntryConfChangeV2,
            ][kind];
            e.context = vec![7; context].into();
            e
        };
        list.into_iter().enumerate().map(entry).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// What is encoded into places of any size is decoded again, piece by piece.
    #[test]
    fn records_survive_their_pieces(
        entries in entries(),
        sizes in prop::collection::vec(1u64..12, 1..40),
        commit in any::<u64>(),
    ) {
        let mut at = 0;
        let places: Vec<encode::Place> = sizes
            .iter()
            .chain([&64])
            .map(|n| {
                let start = Position(at);
                at += n * 512;
                encode::Place { start, end: Position(at), generation: *n }
            })
            .collect();
        let hs = HardState { term: 3, vote: 1, commit, ..HardState::default() };
        let mut buf = Vec::new();
        let encoder = encode::Encoder::new(&mut buf, &places, (Position(0), 7), Position(0), Position(0));
        let Some(encoded) = encoder.encode(Some(&hs), &entries, 2) else { return Ok(()) };
        let (mut items, mut found, mut state) = (Items::default(), Vec::new(), None);
        let (mut chain, mut end, mut first, mut last) = (7, Position(0), true, false);
        for run in &encoded.runs {
            let (mut bytes, mut here) = (&buf[run.bytes.clone()], run.position);
            while !bytes.is_empty() {
                let header = Header::parse(bytes).unwrap();
                prop_assert!(header.matches(&bytes[..header.piece_len()]) && !last);
                prop_assert_eq!((header.position, header.chain), (here, chain));
                prop_assert_eq!(end.0 + u64::from(header.pad), here.0);
                prop_assert!(header.end() <= places[run.place].end);
                prop_assert_eq!(header.is(FIRST), first);
                prop_assert_eq!(header.is(CONTINUED), !items.at_boundary());
                items.feed(&bytes[HEADER..header.piece_len()], |item| {
                    match item {
                        Item::HardState(hs) => state = Some(hs),
                        Item::Entry(e) => found.push(e.to_entry()),
                    }
                    Ok::<(), &'static str>(())
                }).unwrap();
                bytes = &bytes[(header.end().0 - here.0) as usize..];
                (here, end, chain) = (header.end(), header.end(), header.crc);
                (first, last) = (false, header.is(LAST));
            }
        }
        prop_assert!(last && items.at_boundary());
        prop_assert_eq!((encoded.end, encoded.crc), (end, chain));
        prop_assert_eq!((found, state), (entries, Some(hs)));
    }

    /// Any bytes are items or an error, never a panic.
    #[test]
    fn any_bytes_are_items_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut items = Items::default();
        let _ = items.feed(&bytes, |_| Ok::<(), &'static str>(()));
        let mut plausible = bytes.clone();
        if let Some(b) = plausible.first_mut() {
            *b = 2;
        }
        items.clear();
        let _ = items.feed(&plausible, |_| Ok::<(), &'static str>(()));
        let _ = Header::parse(&bytes);
    }
}
