//! A full disk has a way out (D5): a member that is alone writes many times what its disk holds, and one that has
//! more keys than that is emptied. Chance gives the simulator's disks all the room in the world, or none.

use ::base::clock::Clock;
use keyspace::Ttl;
use shard::{SnapshotOrder, SyncPolicy};
use state::save::Origin;
use state::Access;
use std::ops::Range;
use std::time::Duration;

use super::log_end::{config, Member};

/// Turns that a command may wait for room: ten seconds.
const TURNS: usize = 100;
const TURN: Duration = Duration::from_millis(100);

impl Member {
    /// A command, tried turn after turn; false: it was never taken.
    fn try_command(&mut self, command: impl Fn(&mut state::StateMachine)) -> bool {
        (0..TURNS).any(|_| {
            self.shard.begin(self.clock.now()).expect("a turn begins");
            let data = self.shard.data_mut();
            let taken = data.writable() || data.only_frees();
            if taken {
                data.begin_command(0, Access::Lead);
                command(data);
            }
            let held = taken && data.end_command().hold;
            self.shard.finish(&self.clock).expect("a turn ends");
            self.work().expect("a full disk ends nothing");
            self.settle().expect("a full disk ends nothing");
            let done = taken && !held;
            if !done {
                self.wait_for_room();
            }
            done
        })
    }

    /// What a server does now and then.
    fn wait_for_room(&mut self) {
        self.clock
            .0
            .set(self.clock.0.get() + TURN.as_nanos() as u64);
        self.shard.note_memory(u64::MAX);
        if self.shard.shortage().is_some() {
            let order = SnapshotOrder {
                origin: Origin::default(),
                compress: false,
                copy: None,
                open: false,
            };
            self.shard.order_snapshot(order).expect("none is under way");
            self.settle().expect("a full disk ends nothing");
            let _may_fail = self.shard.take_snapshot();
        }
    }

    fn set(&mut self, key: usize, n: usize) -> bool {
        let name = format!("key {key}");
        let value: Vec<u8> = (0..2048).map(|at| (at * n) as u8).collect();
        self.try_command(|data| {
            if data.writable() {
                let key = data.key(name.as_bytes());
                data.set(&key, &value, Ttl::Clear);
            } else {
                data.hold();
            }
        })
    }

    /// Many small keys in one unit: their state takes as much as their log.
    fn set_some(&mut self, keys: Range<usize>) -> bool {
        self.try_command(|data| {
            if !data.writable() {
                return data.hold();
            }
            for key in keys.clone() {
                let name = format!("key {key}");
                let key = data.key(name.as_bytes());
                data.set(&key, &[b'v'; 30], Ttl::Clear);
            }
        })
    }

    fn delete(&mut self, key: usize) -> bool {
        let name = format!("key {key}");
        self.try_command(|data| {
            let key = data.key(name.as_bytes());
            data.delete(&key);
        })
    }

    fn flush(&mut self) -> bool {
        self.try_command(|data| data.flush(None))
    }
}

/// A disk of so many bytes beside what a new member takes.
fn member(more: u64) -> Member {
    let mut config = config(SyncPolicy::Always);
    config.log.segment_size = 256 << 10;
    config.log.spare_segments = 3;
    config.log.freeing = 64 << 10;
    let member = Member::with(config);
    member.root.set_capacity(member.root.used() + more);
    member
}

/// Keys that take more than the reserve are overwritten until the log has been twice as long as the disk.
pub fn a_small_disk_is_overwritten() -> bool {
    let mut member = member(4 << 20);
    (0..5_000).all(|n| member.set(n % 200, n))
}

/// More keys than the disk holds, and not a byte is free: the next one is refused, what frees memory is not, and gives room back.
pub fn a_disk_full_of_keys_is_emptied() -> bool {
    let mut member = member(3 << 20);
    let refused = (0..5_000).any(|n| !member.set(n, n));
    // Others take the rest, and all that is given back until then.
    member.root.set_capacity(member.root.used());
    refused && member.flush() && (0..1_000).all(|n| member.set(n % 10, n))
}

/// The same, emptied key by key: what that writes comes to more than the room that is kept for it.
pub fn a_disk_full_of_keys_is_deleted_key_by_key() -> bool {
    let mut member = member(3 << 20);
    let some = |n: usize| n * 100..(n + 1) * 100;
    let held = (0..5_000).take_while(|&n| member.set_some(some(n))).count() * 100;
    (0..held).all(|key| member.delete(key)) && (0..1_000).all(|n| member.set(n % 10, n))
}

#[test]
fn a_log_longer_than_the_disk_is_written() {
    assert!(a_small_disk_is_overwritten());
}

#[test]
fn a_flush_gives_a_full_disk_room() {
    assert!(a_disk_full_of_keys_is_emptied());
}

#[test]
fn deletions_give_a_full_disk_room() {
    assert!(a_disk_full_of_keys_is_deleted_key_by_key());
}
