//! D5: what a leader has logged, and the disks of the others have no room for.

use super::log_end::small;
use super::trio::Trio;
use super::*;

/// More than the room of a member whose disk takes no more segments.
const VALUE: usize = 900_000;

/// The first member leads, and has logged what the two others can't take; and what a reply of it depends on.
fn stuck() -> (Trio, Gate) {
    let mut trio = Trio::led_with(ShardConfig {
        tail_limit: 4 << 20,
        ..small(SyncPolicy::Always)
    });
    trio.full = [false, true, true];
    trio.shards[0].log.want_room(2 * VALUE as u64);
    trio.until(|t| t.shards[0].log.has_room(VALUE as u64 + 1000));
    let mut gate = Gate::OPEN;
    trio.turn(0, Vec::new(), |shard| {
        gate = set(shard, b"large", &[b'x'; VALUE]);
    });
    assert!(trio.shards[0].group().last_index() > trio.shards[0].group().commit());
    (trio, gate)
}

fn seconds(trio: &Trio) -> u64 {
    trio.clock.0.get() / 1_000_000_000
}

/// What is behind it waits as well, and deletions are the way out of a full disk.
#[test]
fn write_that_fits_nowhere_is_given_up() {
    let (mut trio, gate) = stuck();
    let began = seconds(&trio);
    trio.until(|t| !t.failed[0].is_empty());
    assert!(!trio.is_ok(gate));
    let took = seconds(&trio) - began;
    assert!((5..15).contains(&took), "{took} s");
    assert_eq!(trio.shards[0].take_abdication(), Some(1));
    let leader = |t: &Trio| t.shards.iter().position(|s| s.group().is_leader());
    // Nor do the others want its room any more: they have some for other writes.
    let leads = Admission::Lead { writable: true };
    trio.until(|t| leader(t).is_some_and(|i| t.shards[i].admission() == leads));
    let leader = leader(&trio).expect("just seen");
    let before = trio.shards[leader].group().commit();
    trio.turn(leader, Vec::new(), |shard| {
        let data = shard.data_mut();
        data.begin_command(0, Access::Lead);
        data.flush(None);
        data.end_command();
    });
    trio.until(|t| t.shards[leader].group().commit() > before);
}

/// Nobody else could be elected: the shard would only stand for a while.
#[test]
fn leader_that_nobody_answers_gives_nothing_up() {
    let (mut trio, _) = stuck();
    let until = seconds(&trio) + 4;
    trio.until(|t| seconds(t) >= until);
    trio.until_through(|_| false, |t| seconds(t) >= until + 20);
    assert_eq!(trio.shards[0].take_abdication(), None);
}

/// D5: a full disk without a way out.
#[cfg(feature = "mutations")]
#[test]
fn stuck_leader_that_stays_commits_nothing() {
    use base::mutation::{self, Mutation};
    let (mut trio, _) = stuck();
    let until = seconds(&trio) + 20;
    mutation::set(Some(Mutation::StuckLeaderStays));
    trio.until(|t| seconds(t) >= until);
    mutation::set(None);
    let group = trio.shards[0].group();
    assert!(group.is_leader() && group.commit() < group.last_index());
}
