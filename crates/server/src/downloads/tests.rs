//! One file on its way, step by step; which clients share one; how often a replica has one.

use super::*;
use crate::testing;
use storage::{Disk, DiskFile, RealDisk, SnapshotMeta, StateFile};

const BYTES: u64 = 600_000;

fn at(seconds: f64) -> Mono {
    Mono(0) + Duration::from_secs_f64(seconds)
}

fn download(number: Option<u64>) -> Download {
    let wanted = Wanted {
        number,
        history: Some("abc".to_owned()),
        replica: None,
    };
    Download::new(wanted, at(0.0))
}

/// All that the client gets now.
fn taken(output: &mut Output) -> Vec<u8> {
    let mut bytes = Vec::new();
    while output.wants_write() {
        output.write_to(&mut bytes).expect("memory takes all");
    }
    bytes
}

fn content() -> Vec<u8> {
    (0..BYTES).map(|n| (n * n / 7) as u8).collect()
}

/// A state's file of that length.
fn file() -> OpenState {
    let folder = tempfile::tempdir().expect("a folder");
    let meta = SnapshotMeta {
        index: 7,
        term: 1,
        conf_state: raft::eraftpb::ConfState::default(),
        members: Vec::new(),
        record: Vec::new(),
        file: Some(StateFile {
            bytes: BYTES,
            crc64: 9,
        }),
    };
    let (disk, name) = (RealDisk::new(folder.path()), meta.file_name());
    let file = disk.create(&name.expect("it has a file"));
    let written = file.expect("a sound disk").write_at(&content(), 0);
    written.expect("a sound disk");
    OpenState::open(&disk, &meta).expect("it is there")
}

#[test]
fn a_client_that_waits_hears_a_sign_each_second() {
    let (mut of, mut output) = (download(Some(3)), Output::new());
    for (seconds, sign) in [(0.9, ""), (1.0, "\n"), (1.9, ""), (2.5, "\n"), (90.0, "\n")] {
        of.proceed(at(seconds), 1, &mut output);
        assert_eq!(taken(&mut output), sign.as_bytes(), "after {seconds} s");
    }
    assert!(of.tell_history(12, &mut output));
    assert!(!of.tell_history(12, &mut output), "it is told once");
    of.fail(&mut output);
    let told = "+FULLRESYNC abc 12\r\n-ERR BGSAVE failed, replication can't continue\r\n";
    assert_eq!(taken(&mut output), told.as_bytes());
    assert!(output.is_finished());
}

#[test]
fn pieces_are_read_as_the_client_takes_them() {
    let (mut of, mut output) = (download(Some(3)), Output::new());
    of.begin(file(), at(0.0), &mut output);
    let (mut got, mut reads) = (Vec::new(), 0);
    loop {
        match of.proceed(at(1.0), 5, &mut output) {
            Next::Read(job) => {
                assert!(matches!(of.proceed(at(1.0), 5, &mut output), Next::Wait));
                let done = job.run();
                assert_eq!(done.ticket, 5);
                of.put(&done.piece.expect("a sound disk"), &mut output);
                reads += 1;
                assert!(output.pending_bytes() <= 2 * WINDOW + 100);
            }
            Next::Wait if matches!(of.stage, Stage::Taken(_)) => break,
            Next::Wait => got.extend(taken(&mut output)),
            Next::Flush | Next::Drop => panic!("it is taken"),
        }
    }
    assert_eq!(reads, 3);
    let head = format!("${BYTES}\r\n");
    assert_eq!(got, [head.as_bytes(), &content()].concat());
    assert!(matches!(of.proceed(at(1.9), 5, &mut output), Next::Wait));
    assert!(matches!(of.proceed(at(2.0), 5, &mut output), Next::Flush));
    assert!(output.is_finished(), "a second later the connection ends");
}

#[test]
fn a_client_that_takes_nothing_is_dropped() {
    let (mut of, mut output) = (download(Some(3)), Output::new());
    of.begin(file(), at(0.0), &mut output);
    while let Next::Read(job) = of.proceed(at(50.0), 5, &mut output) {
        of.put(&job.run().piece.expect("a sound disk"), &mut output);
    }
    assert!(matches!(of.proceed(at(59.0), 5, &mut output), Next::Wait));
    assert!(matches!(of.proceed(at(60.0), 5, &mut output), Next::Drop));
    // A little is enough.
    output
        .write_to(&mut [0u8; 10].as_mut_slice())
        .expect("some room");
    let Next::Read(job) = of.proceed(at(61.0), 5, &mut output) else {
        panic!("there is room for the next piece");
    };
    of.put(&job.run().piece.expect("a sound disk"), &mut output);
    assert!(matches!(of.proceed(at(120.0), 5, &mut output), Next::Wait));
    assert!(matches!(of.proceed(at(121.0), 5, &mut output), Next::Drop));
    let mut of = download(None);
    of.give(b"short", at(0.0), &mut output);
    assert!(matches!(of.proceed(at(59.0), 5, &mut output), Next::Wait));
    assert!(matches!(of.proceed(at(60.0), 5, &mut output), Next::Drop));
}

#[test]
fn a_replica_has_one_a_minute() {
    let mut downloads = Downloads::default();
    assert!(downloads.admit("a:1", at(0.0)));
    assert!(downloads.admit("a:2", at(1.0)));
    assert!(!downloads.admit("a:1", at(59.9)));
    assert!(downloads.admit("a:1", at(60.0)));
    assert!(!downloads.admit("a:1", at(100.0)));
    for n in 0..2 * REPLICAS {
        assert!(downloads.admit(&format!("b:{n}"), at(101.0)));
    }
    assert_eq!(downloads.replicas.len(), REPLICAS);
}

/// P26: a file that was cut before a client asked lacks what it was told of since.
fn only_the_next_snapshot_is_shared() {
    let mut state = testing::state();
    let first = state.order_download_snapshot();
    assert_eq!(
        state.order_download_snapshot(),
        first,
        "its moment is to come"
    );
    state.snapshots.order_now();
    let second = state.order_download_snapshot();
    assert_ne!(second, first, "its moment is over");
    assert_eq!(state.order_download_snapshot(), second);
    assert_eq!(state.stats.saves, 1, "the second one waits for the first");
}

#[test]
fn clients_share_a_file_that_is_not_cut() {
    only_the_next_snapshot_is_shared();
}

#[cfg(feature = "mutations")]
#[test]
fn a_breach_is_caught_by_its_text() {
    use base::mutation::{self, Mutation};
    mutation::set(Some(Mutation::DownloadOfEarlier));
    let outcome = std::panic::catch_unwind(only_the_next_snapshot_is_shared);
    mutation::set(None);
    let caught = outcome.expect_err("it is noticed");
    let text = caught.downcast_ref::<String>().expect("a text");
    assert!(text.contains("its moment is over"), "{text}");
}
