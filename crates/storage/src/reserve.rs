//! A file of nothing, whose room is given up when nothing else helps (D5, F23).
//!
//! Owns: the file, and the little that goes by it. Never: decides that a disk is full (an error has said so). On a disk
//! that other programs have filled to the last byte not even the base could be replaced, which is what gives room back.
//! Nothing depends on the file: it may be missing, and a build that does not know it lets it lie.

use super::disk::{Disk, DiskFile};

pub(super) const FILE: &str = "reserve";
/// A base is a few kilobytes, and so is the state of a keyspace that was emptied.
const BYTES: u64 = 1 << 20;

/// Makes it, if it is not there: the disk has room for a segment of `segment` bytes.
pub(super) fn keep<D: Disk>(disk: &D, segment: u64) {
    let bytes = BYTES.min(segment);
    let is_there = |file: D::File| file.len().is_ok_and(|len| len >= bytes);
    if disk.open(FILE).is_ok_and(is_there) {
        return;
    }
    let made = disk.create(FILE).and_then(|file| file.allocate(0, bytes));
    if made.is_err() {
        give_up(disk);
    }
}

/// Gives its room to others. Whether there was any.
pub fn give_up<D: Disk>(disk: &D) -> bool {
    disk.remove(FILE).is_ok()
}
