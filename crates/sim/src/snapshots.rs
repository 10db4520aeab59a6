//! Snapshots of a member's state: ordered here, as a command will order them, made by the code that ships.
//!
//! Owns when one is ordered, and what is looked at when it has been made: its copy holds the keys that the
//! member had at that entry. Whether the snapshot is of use, when the base names it, and what of the log goes
//! is decided by the code that ships. A process may die anywhere between the first byte of the file and
//! the last segment that goes.

use ::base::ids::{EntryId, GroupId};
use keyspace::{Keyspace, Layout};
use shard::{CopyTo, SnapshotOrder};
use state::load::Loader;
use state::save::Origin;
use std::collections::BTreeMap;
use storage::{snapshot, MadeSnapshot, SnapshotResult, StorageError};

use crate::disk::SimDisk;
use crate::goal::add_texts;
use crate::history::Logged;
use crate::world::World;

/// Entries that are behind the base's state before there is a new one.
const ENTRIES: u64 = 100;
/// The copy, beside the folders of members.
const COPY: &str = "dump.rdb";

/// The clients' texts in the part of each group's log that may be gone, and the first index behind it.
#[derive(Default)]
pub struct Dropped(BTreeMap<GroupId, (u64, Logged)>);

impl Dropped {
    pub fn of(&self, group: GroupId) -> (u64, Logged) {
        self.0.get(&group).cloned().unwrap_or_default()
    }
}

/// What a machine's member had when it was last to make a snapshot: in which run of the process, at which
/// entry, and the digest of its keys.
pub type Had = Option<(u64, EntryId, [u8; 20])>;

/// A machine's data member is to make a snapshot, if its keyspace is as of an index now.
pub fn take(w: &mut World, m: usize) {
    look(w, m);
    let disk = w.machines[m].disk.clone();
    let boot = w.machines[m].boot;
    let Some(node) = &mut w.machines[m].node else {
        return;
    };
    let shard = node.server.shard_mut();
    let (is_whole, applied) = (shard.state_now().is_some(), shard.group().applied());
    if !is_whole || applied < shard.snapshot_meta().index + ENTRIES {
        return;
    }
    let copy = CopyTo {
        folder: disk.clone(),
        name: COPY.to_owned(),
    };
    let order = SnapshotOrder {
        origin: Origin::default(),
        compress: applied % 2 == 0,
        copy: Some(copy),
    };
    if shard.order_snapshot(order).is_err() {
        return; // the last one is not ready
    }
    let at = shard.snapshot_at().expect("the state is as of an index");
    let group = shard.identity().group;
    let digest = shard.data().keyspace().digest_all();
    let (from, mut texts) = w.dropped.of(group);
    disk.look(|| add_texts(shard, from, &mut texts));
    w.dropped.0.insert(group, (at.index + 1, texts));
    w.machines[m].had = Some((boot, at, digest));
    w.trace.mix(at.index);
    let now = w.now;
    w.trace.say(now, || {
        format!("m{m} is to have a snapshot of {}", at.index)
    });
    w.want_turn(m, now);
}

/// Its thread is about to make it: in one case of two the process ends on the way, or in what it does next.
pub fn begins(w: &mut World, m: usize) {
    if w.healed || !w.rng.chance(0.5) {
        return;
    }
    let Some(node) = &w.machines[m].node else {
        return;
    };
    let bytes = 200 * node.shard().data().keyspace().len(0) + 4_000;
    let (work, lasts) = (w.rng.below(bytes), w.rng.below(w.plan.t()));
    crate::faults::light(w, m, work, lasts);
    if w.plan.appendfsync.is_some() {
        w.machines[m].power_on_crash = false; // D4: more than this would be lost
    }
}

/// What has come of the last one.
fn look(w: &mut World, m: usize) {
    let machine = &mut w.machines[m];
    let Some(node) = &mut machine.node else {
        return;
    };
    let Some(result) = node.server.shard_mut().take_snapshot() else {
        return;
    };
    let (disk, boot) = (machine.disk.clone(), machine.boot);
    let Some((_, at, digest)) = machine.had.take().filter(|had| had.0 == boot) else {
        return;
    };
    let now = w.now;
    match disk.look(|| differs(&disk, &result, at, digest)) {
        Some(why) => w.fail(format!("P1: the snapshot of m{m} at {at:?}: {why}")),
        None => w.trace.say(now, || match result {
            Ok(_) => format!("m{m} has a snapshot of {}", at.index),
            Err(error) => format!("m{m} has no snapshot of {}: {error}", at.index),
        }),
    }
}

/// In what the snapshot and its copy are not what the member had.
fn differs(
    disk: &SimDisk,
    result: &SnapshotResult,
    at: EntryId,
    digest: [u8; 20],
) -> Option<String> {
    // The disk was full, or a sync has failed.
    let made: &MadeSnapshot = result.as_ref().ok()?;
    if made.meta.entry() != at {
        return Some(format!("it is of {:?}", made.meta.entry()));
    }
    made.copied.as_ref()?.as_ref().ok()?;
    let mut loader = Loader::new(Keyspace::new(Layout::Cluster, 1));
    let read = snapshot::read(disk, COPY, |slice| {
        let fed = loader.feed(slice);
        fed.map_err(|error| Unusable(error.to_string()))
    });
    if let Err(Unusable(why)) = read {
        return Some(why);
    }
    match loader.finish() {
        Ok((keyspace, _)) if keyspace.digest_all() == digest => None,
        Ok(_) => Some("it has other keys".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

struct Unusable(String);

impl From<StorageError> for Unusable {
    fn from(error: StorageError) -> Unusable {
        Unusable(error.to_string())
    }
}
