//! Snapshots of a member's state, as the thread will make them that replays the log: until it is there
//! the simulator writes the file and tells the shard.
//!
//! Owns only that. Whether the snapshot is of use, when the base names it, and what of the log goes is
//! decided by the code that ships. A process may die anywhere between the first byte of the file and
//! the last segment that goes.

use ::base::ids::GroupId;
use cluster::identity;
use shard::testing::write_snapshot;
use std::collections::BTreeMap;
use storage::{Done, Folders};

use crate::goal::add_texts;
use crate::history::Logged;
use crate::machine::{guarded, Ended};
use crate::platform::SimFolders;
use crate::world::World;

/// Entries that are behind the base's state before there is a new one.
const ENTRIES: u64 = 100;

/// The clients' texts in the part of each group's log that may be gone, and the first index behind it.
#[derive(Default)]
pub struct Dropped(BTreeMap<GroupId, (u64, Logged)>);

impl Dropped {
    pub fn of(&self, group: GroupId) -> (u64, Logged) {
        self.0.get(&group).cloned().unwrap_or_default()
    }
}

/// A machine's data member makes a snapshot, if its keyspace is as of an index now.
pub fn take(w: &mut World, m: usize) {
    let Some(node) = &w.machines[m].node else {
        return;
    };
    let shard = node.shard();
    let Some(mut snapshot) = shard.state_now() else {
        return;
    };
    if snapshot.index < shard.snapshot_meta().index + ENTRIES {
        return;
    }
    let disk = w.machines[m].disk.clone();
    let group = shard.identity().group;
    let (from, mut texts) = w.dropped.of(group);
    disk.look(|| add_texts(shard, from, &mut texts));
    w.dropped.0.insert(group, (snapshot.index + 1, texts));

    let folder = identity::folder(shard.identity().raft_id);
    let bytes = 100 * shard.data().keyspace().len(0) + 2_000;
    if w.rng.chance(0.5) {
        // Anywhere on the way: some crashes come later, in what else the process writes.
        let (work, lasts) = (w.rng.below(bytes), w.rng.below(w.plan.t()));
        crate::faults::light(w, m, work, lasts);
        if w.plan.appendfsync.is_some() {
            w.machines[m].power_on_crash = false; // D4: more than this would be lost
        }
    }
    let node = w.machines[m].node.as_ref().expect("it was just seen");
    let keyspace = node.shard().data().keyspace();
    let written = guarded(|| {
        let folder = SimFolders(disk)
            .folder(&folder)
            .map_err(|e| e.to_string())?;
        write_snapshot(&folder, keyspace, snapshot.entry()).map_err(|e| e.to_string())
    });
    w.trace.mix(snapshot.index);
    match w.machines[m].as_crash(written) {
        Ended::Fine(file) => {
            let now = w.now;
            w.trace
                .say(now, || format!("m{m} has a snapshot of {}", snapshot.index));
            snapshot.file = Some(file);
            let done = Done::Snapshot(Box::new(snapshot));
            w.machines[m].kernel.borrow_mut().done.push_back(done);
            w.want_turn(m, now);
        }
        // The disk was full, or a sync has failed: the file is none.
        Ended::Stopped(_) => {}
        ended => w.ended(m, w.now, &ended, "a snapshot"),
    }
}
