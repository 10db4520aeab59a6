//! When followers hear of a commit.

use crate::testing::{config, Played, OTHERS};
use raft::eraftpb::MessageType;
use raft_group::Envelope;
use std::collections::BTreeSet;

/// The members that were sent the newest commit index without an entry.
fn told(played: &Played) -> BTreeSet<u64> {
    let commit = played.shard.group().commit();
    let told = played.sent.iter().filter(|e| {
        let m = &e.message;
        m.get_msg_type() == MessageType::MsgAppend && m.entries.is_empty() && m.commit == commit
    });
    told.map(|e| e.to.0).collect()
}

/// Replicas would show old data for as long as the leader waits for entries that do not come.
#[test]
fn an_idle_leader_tells_a_commit_at_once() {
    let mut played = Played::leading(config());
    played.beats(&OTHERS, 200);
    played.sent.clear();
    played.set(b"a", b"1");
    played.work();
    let last = played.shard.group().last_index();
    played.answer(&OTHERS);
    // No time passes.
    played.turn(|_| ());
    assert_eq!(played.shard.group().commit(), last);
    played.turn(|_| ());
    assert_eq!(told(&played), BTreeSet::from(OTHERS));
    played.sent.clear();
    played.turn(|_| ());
    assert_eq!(told(&played), BTreeSet::new(), "once");
}

/// The next entries say it.
#[test]
fn a_commit_rides_with_entries_that_are_there() {
    let mut played = Played::leading(config());
    played.beats(&OTHERS, 200);
    played.sent.clear();
    played.set(b"a", b"1");
    played.work();
    let first = played.shard.group().last_index();
    played.answer(&OTHERS);
    played.set(b"b", b"2");
    let rides = |e: &&Envelope| e.message.commit == first && !e.message.entries.is_empty();
    assert_eq!(played.sent.iter().filter(rides).count(), OTHERS.len());
    played.turn(|_| ());
    assert_eq!(told(&played), BTreeSet::new());
}
