//! Files of states that clients read, piece by piece.

use super::*;
use crate::download::DOWNLOAD_PIECE;

const LENGTH: usize = 2 * DOWNLOAD_PIECE as usize + 700;

fn bytes() -> Vec<u8> {
    (0..LENGTH).map(|n| (n * 31 / 7) as u8).collect()
}

/// A snapshot, of which the file has that many bytes.
fn opened(disk: &TestDisk, there: usize) -> OpenState {
    let mut meta = base().snapshot;
    (meta.index, meta.term) = (5000, 99);
    meta.file = Some(StateFile {
        bytes: LENGTH as u64,
        crc64: 77,
    });
    let name = meta.file_name().expect("it has a file");
    let file = disk.create(&name).expect("a sound disk");
    file.write_at(&bytes()[..there], 0).expect("a sound disk");
    let opened = OpenState::open(disk, &meta).expect("it is there");
    // As where no base names it, or the base moves on.
    disk.remove(&name).expect("a sound disk");
    opened
}

fn piece(of: &OpenState, offset: usize) -> Result<Vec<u8>, SnapshotError> {
    let job = DownloadJob {
        ticket: 4,
        of: of.clone(),
        offset: offset as u64,
    };
    let done = job.run();
    assert_eq!(done.ticket, 4);
    done.piece
}

#[test]
fn a_file_without_its_name_is_read_to_its_end() {
    let of = opened(&TestDisk::default(), LENGTH);
    assert_eq!(of.bytes(), LENGTH as u64);
    let mut got = Vec::new();
    while got.len() < LENGTH {
        got.extend(piece(&of, got.len()).expect("a sound disk"));
    }
    assert_eq!(got, bytes());
    assert_eq!(piece(&of, LENGTH).expect("a sound disk"), []);
}

#[test]
fn a_file_that_ends_early_is_damaged() {
    let of = opened(&TestDisk::default(), LENGTH - 1);
    let first = piece(&of, 0).expect("it is there");
    assert_eq!(first.len() as u64, DOWNLOAD_PIECE);
    let error = piece(&of, 2 * first.len()).expect_err("a byte is missing");
    assert!(matches!(error, SnapshotError::Differs { .. }), "{error}");
}
