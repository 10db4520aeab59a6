//! What is said of members' folders, whatever stands in them.

use super::*;
use ::base::ids::{GroupId, Incarnation};
use proptest::prelude::*;
use raft::eraftpb::HardState;
use std::fs;
use std::path::PathBuf;
use storage::{Log, LogConfig, LogRecord, MemberIdentity, RealDisk, SnapshotMeta};

const SEGMENT: u64 = 16384;

fn config() -> LogConfig {
    LogConfig {
        segment_size: SEGMENT,
        reserve: 512,
        freeing: 0,
        ..LogConfig::default()
    }
}

/// An entry with one unit: SET of a key.
fn set(index: u64, key: &[u8], value: &[u8]) -> Entry {
    let mut batch = effect::Batch::new(PART_BYTES);
    batch.begin_unit();
    batch.push(0, state::op::SET, &[key, value]);
    batch.end_unit();
    Entry {
        index,
        term: 1,
        data: batch.take().remove(0).into(),
        ..Entry::default()
    }
}

/// A member with 40 entries in several segments, committed up to 35.
fn made(folder: &Path) {
    let base = Base {
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
            ..SnapshotMeta::default()
        },
        start: None,
    };
    let (mut log, _) = Log::create(RealDisk::new(folder), config(), &base).unwrap();
    for index in 2..=41 {
        let hard_state = HardState {
            term: 1,
            vote: 42,
            commit: 35.min(index - 1),
            ..HardState::default()
        };
        let record = LogRecord {
            hard_state: Some(&hard_state),
            entries: &[set(index, format!("k{index}").as_bytes(), &[b'v'; 1000])],
        };
        log.append(&record).unwrap();
        let synced = log.sync_job().unwrap().run().unwrap();
        log.synced(synced);
        while let Some(job) = log.alloc_job() {
            log.allocated(job.run()).unwrap();
        }
    }
}

fn said(folder: &Path, effects: bool) -> (String, Found) {
    let progress = Progress::new();
    let wanted = Wanted {
        folder,
        effects,
        progress: &progress,
    };
    let mut out = Vec::new();
    let found = check(&wanted, &mut out).unwrap();
    (String::from_utf8(out).unwrap(), found)
}

fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let there = fs::read_dir(folder).unwrap().flatten();
    let mut files: Vec<_> = there
        .map(|file| (file.path(), fs::read(file.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn sound_folder_is_told_with_its_entries() {
    let folder = tempfile::tempdir().unwrap();
    made(folder.path());
    fs::write(folder.path().join("9.tmp"), b"x").unwrap();
    fs::write(folder.path().join("notes.txt"), b"x").unwrap();
    let before = files(folder.path());
    let (text, found) = said(folder.path(), true);
    assert_eq!(found.verdict, Verdict::Whole, "{text}");
    assert!(found.is_alone && !found.refused);
    let parts = [
        "base: member 000000000000002a: data member, group 000000000000000b, incarnation 1, election \
         timeout 1000 ms\n  state: as of entry 1 of term 1, without keys: the group's bootstrap\n",
        "  00000000000000000001.seg: positions 0 to 12288, ",
        "  entries 2 to 41; terms: 1 from entry 2\n  term 1, vote in it for 000000000000002a; committed up \
         to entry 35\n",
        "as of the commit:\n  member 000000000000002a: voter\n",
        "  entry 2 of term 1: 1012 bytes\n    - SET \"k2\" \"vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv\"... (1000 bytes)\n",
        "  entry 36 of term 1, not known to be committed: ",
        "left over by a crash; a start removes: 9.tmp\nno file of a member; nothing reads: notes.txt\n",
        "Not known to be committed: entries 36 to 41; this member is the only voter",
        "\nVerdict: whole. A start takes it as it is.\n",
    ];
    for part in parts {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    assert!(files(folder.path()) == before, "nothing is changed");
}

#[test]
fn torn_end_is_told_apart_from_damage() {
    let folder = tempfile::tempdir().unwrap();
    made(folder.path());
    let segments = || {
        let all = files(folder.path()).into_iter();
        all.filter(|(path, _)| path.extension().is_some_and(|e| e == "seg"))
    };
    let (path, mut bytes) = segments()
        .rfind(|(_, bytes)| bytes[4096..].iter().any(|b| *b != 0))
        .unwrap();
    let end = bytes.iter().rposition(|b| *b != 0).unwrap();
    bytes[end - 10] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (text, found) = said(folder.path(), false);
    assert_eq!(found.verdict, Verdict::Whole, "{text}");
    assert!(text.contains("with a torn end"), "{text}");
    assert!(
        text.contains("A start cuts it off behind entry 40, in "),
        "{text}"
    );
    let (path, mut bytes) = segments().next().unwrap();
    bytes[4096 + 2000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (text, found) = said(folder.path(), false);
    assert_eq!(found.verdict, Verdict::Damaged, "{text}");
    assert!(found.refused);
    let parts = [
        "Verdict: a start refuses this folder: 00000000000000000001.seg is damaged at offset ",
        "  Readable up to entry 2, committed at least up to entry 35.\n",
        "  Behind the damage entries 4 to 40 can be read, ",
        "What helps: a copy of the whole folder. Without one: check-log --fix says what can be cut",
    ];
    for part in parts {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

/// What it says of its members may be what is damaged.
#[test]
fn damaged_member_of_a_cluster_is_set_aside() {
    let node = tempfile::tempdir().unwrap();
    let folder = node.path().join("shard-000000000000002a");
    fs::create_dir(&folder).unwrap();
    made(&folder);
    let path = folder.join("00000000000000000001.seg");
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096 + 2000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (text, found) = said(&folder, false);
    assert!(!found.is_alone && found.refused);
    let help = "if other members of the shard live: they have the data. Rename the folder to \
                lost-000000000000002a, remove the file identity beside it and start";
    assert!(text.contains(help), "{text}");
}

#[test]
fn entry_that_can_not_be_read_is_told() {
    let folder = tempfile::tempdir().unwrap();
    made(folder.path());
    let (mut log, recovered) = Log::open(RealDisk::new(folder.path()), config()).unwrap();
    let entry = Entry {
        data: vec![9, 9].into(),
        ..set(42, b"", b"")
    };
    let record = LogRecord {
        hard_state: Some(&recovered.hard_state),
        entries: &[entry],
    };
    log.append(&record).unwrap();
    let (text, found) = said(folder.path(), false);
    assert_eq!(found.verdict, Verdict::Damaged, "{text}");
    let why = "Verdict: a start ends at entry 42: the entry's kind 9 is not known to this version.";
    assert!(text.contains(why) && !found.refused, "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// The check never panics, changes nothing, and agrees with recovery.
    #[test]
    fn any_damage_is_a_text_that_recovery_agrees_with(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>(), 0u8..10), 1..4),
    ) {
        let folder = tempfile::tempdir().unwrap();
        made(folder.path());
        for (which, at, byte, how) in changes {
            let files = files(folder.path());
            let (path, mut bytes) = files[which.index(files.len())].clone();
            if bytes.is_empty() {
                continue;
            }
            // Heads and filled parts are hit more often than zeros.
            let at = if byte % 3 == 0 { at.index(bytes.len().min(80)) } else { at.index(bytes.len()) };
            match how {
                0 => bytes.truncate(at),
                1 => bytes.extend_from_slice(&[byte; 100]),
                _ => bytes[at] ^= byte | 1,
            }
            fs::write(path, bytes).unwrap();
        }
        let before = files(folder.path());
        let (text, found) = said(folder.path(), true);
        prop_assert!(text.contains("Verdict: "));
        prop_assert!(files(folder.path()) == before, "nothing is changed");
        let recovered = Log::open(RealDisk::new(folder.path()), config());
        prop_assert_eq!(recovered.is_err(), found.refused, "{}", text);
    }
}
