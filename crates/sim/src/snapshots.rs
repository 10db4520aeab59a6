//! Snapshots of a member's state, and reloads of it: ordered here, as a command will order them, made by the code that ships.
//!
//! Owns when one is ordered, and what is looked at when it has been made: its copy holds the keys that members
//! were seen to have at that entry. Whether the snapshot is of use, when the base names it, and what of the log goes
//! is decided by the code that ships. A process may die anywhere between the first byte of the file and
//! the last segment that goes.

use ::base::clock::Clock;
use ::base::ids::{EntryId, GroupId};
use keyspace::{Keyspace, Layout};
use raft_group::Membership;
use shard::{CopyTo, SnapshotOrder};
use state::load::Loader;
use state::save::Origin;
use std::collections::BTreeMap;
use storage::{snapshot, MadeSnapshot, SnapshotError, SnapshotResult, StorageError};

use crate::checks::same_members;
use crate::disk::SimDisk;
use crate::goal::add_texts;
use crate::history::Logged;
use crate::plan::Topology;
use crate::world::World;

/// Entries behind the base's state without which there is none.
const ENTRIES: u64 = 100;
/// In one case of so many the member reads what it has instead.
const RELOADS: u64 = 4;
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

/// What a machine's member was last to make a snapshot of: in which run of the process, for which group, and
/// at which entry.
pub type Ordered = Option<(u64, GroupId, EntryId)>;

/// A machine's data member is to make a snapshot.
pub fn take(w: &mut World, m: usize) {
    look(w, m);
    let disk = w.machines[m].disk.clone();
    let boot = w.machines[m].boot;
    let Some(node) = &mut w.machines[m].node else {
        return;
    };
    let shard = node.server.shard_mut();
    let applied = shard.group().applied();
    if applied % RELOADS == 0 {
        return reload(w, m);
    }
    if applied < shard.snapshot_meta().index + ENTRIES {
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
        open: false,
    };
    if shard.order_snapshot(order).is_err() {
        return; // the last one is not ready
    }
    let Some(at) = shard.snapshot_at() else {
        return shard.give_up_snapshot();
    };
    let group = shard.identity().group;
    w.machines[m].ordered = Some((boot, group, at));
    w.trace.mix(at.index);
    let now = w.now;
    w.trace.say(now, || {
        format!("m{m} is to have a snapshot of {}", at.index)
    });
    w.want_turn(m, now);
}

/// A machine's log is about to lose its beginning, in favour of the state as of an entry.
pub fn before_switch(w: &mut World, m: usize, state: u64) {
    let Some(node) = &w.machines[m].node else {
        return;
    };
    let (shard, disk) = (node.shard(), &w.machines[m].disk);
    let group = shard.identity().group;
    let (from, mut texts) = w.dropped.of(group);
    if from <= state {
        disk.look(|| add_texts(shard, from, state, &mut texts));
        w.dropped.0.insert(group, (state + 1, texts));
    }
}

/// DEBUG RELOAD: a member's keyspace is made anew from its disk, and has to be the same. Whether it may be now is
/// decided by the code that ships.
fn reload(w: &mut World, m: usize) {
    let Some(node) = &mut w.machines[m].node else {
        return;
    };
    let now = node.clock.now();
    if node.server.shard_mut().reload(now, &mut |_| false) {
        let now = w.now;
        w.trace.say(now, || format!("m{m} reloads its keys"));
        w.want_turn(m, now);
    }
}

/// Its thread is about to make it: in one case of two the process ends on the way, or in what it does next.
pub fn begins(w: &mut World, m: usize) {
    let alone = w.plan.topology == Topology::Alone;
    if w.healed || !alone || !w.rng.chance(0.5) {
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
    let Some((_, group, at)) = machine.ordered.take().filter(|of| of.0 == boot) else {
        return;
    };
    // P2: one that was void is made again, of a later entry or of one that has come in its place.
    let at = result.as_ref().map_or(at, |made| made.meta.entry());
    let now = w.now;
    let seen = w.checks.seen_at(group, at.index);
    let compared = if seen.is_some() { "as seen" } else { "unseen" };
    match disk.look(|| differs(&disk, &result, seen)) {
        Some(why) if w.plan.liar.is_none() => {
            w.fail(format!("P1: the snapshot of m{m} at {at:?}: {why}"));
        }
        _ => w.trace.say(now, || match result {
            Ok(_) => format!("m{m} has a snapshot of {}, {compared}", at.index),
            Err(error) => format!("m{m} has no snapshot of {}: {error}", at.index),
        }),
    }
}

/// In what the snapshot and its copy are not what was seen at that entry.
fn differs(
    disk: &SimDisk,
    result: &SnapshotResult,
    seen: Option<([u8; 20], &Membership)>,
) -> Option<String> {
    let made: &MadeSnapshot = match result {
        Ok(made) => made,
        // Anything else can come of a disk that is full or fails.
        Err(SnapshotError::State(why)) => return Some(why.to_string()),
        Err(_) => return None,
    };
    let meta = &made.meta;
    made.copied.as_ref()?.as_ref().ok()?;
    let keyspace = match load(disk) {
        Ok(keyspace) => keyspace,
        Err(why) => return Some(why),
    };
    let (digest, members) = seen?;
    let own = Membership {
        conf: meta.conf_state.clone(),
        list: meta.members.clone(),
        ..members.clone()
    };
    if keyspace.digest_all() != digest {
        return Some("it has other keys".to_owned());
    }
    if !same_members(members, &own) {
        return Some("it has other members".to_owned());
    }
    None
}

fn load(disk: &SimDisk) -> Result<Keyspace, String> {
    let mut bytes = Vec::new();
    let read = snapshot::read(disk, COPY, |slice| {
        bytes.extend_from_slice(slice);
        Ok::<(), StorageError>(())
    });
    read.map_err(|error| error.to_string())?;
    let mut loader = Loader::new(Keyspace::new(Layout::Cluster, 1));
    loader.feed(&bytes).map_err(|error| error.to_string())?;
    let (keyspace, _) = loader.finish().map_err(|error| error.to_string())?;
    Ok(keyspace)
}
