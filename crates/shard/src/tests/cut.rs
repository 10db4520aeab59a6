//! Snapshots by cut: of which entry, against the replay (P1-P5), and what waits for the thread (F5).

use super::make::{is_snapshot_job, order_alone, One, SINGLE};
use super::trio::Trio;
use super::*;
use crate::make::CopyTo;
use crate::replay::Replay;
use crate::state_file::FileOrder;
use state::load::Loader;
use storage::{SnapshotError, SnapshotMeta};

const NAME: &str = "dump.rdb";

/// The digest of a copy's keys.
fn copied(folder: &std::path::Path, name: &str) -> [u8; 20] {
    let bytes = super::log_end::read(&RealDisk::new(folder), name);
    let mut loader = Loader::new(Keyspace::new(SINGLE, 99));
    loader.feed(&bytes).expect("a sound file");
    loader.finish().expect("a sound file").0.digest_all()
}

/// A member orders a snapshot with a copy in this folder.
fn order_copy(shard: &mut Shard<RealDisk>, folder: &std::path::Path) {
    let mut order = order_alone();
    order.copy = Some(CopyTo {
        folder: RealDisk::new(folder),
        name: NAME.to_owned(),
    });
    shard.order_snapshot(order).expect("none is under way");
}

/// The state as of this entry by the other way: base and log make it a second time.
fn replayed(one: &One, meta: &SnapshotMeta) -> [u8; 20] {
    let mut order = one.to_order(true);
    // Else it would be the same file under the same name, and go when it has been copied.
    order.origin.used_memory += 1;
    if let Some(copy) = &mut order.copy {
        copy.name = "replayed.rdb".to_owned();
    }
    let (shard, at) = (&one.shard, meta.entry());
    let from = shard.base.snapshot.index + 1;
    let job = Replay {
        file: FileOrder {
            disk: one.disk.clone(),
            identity: shard.base.identity,
            at,
            order,
            keep: false,
            progress: Arc::default(),
        },
        base: shard.base.clone(),
        entries: Some(
            shard
                .log
                .read_job(from, at.index, u64::MAX)
                .expect("it is there"),
        ),
        empty: shard.config.clone(),
    };
    let made = job.run().expect("a sound disk");
    let want = SnapshotMeta {
        file: None,
        ..meta.clone()
    };
    let found = SnapshotMeta {
        file: None,
        ..made.meta
    };
    assert_eq!(found, want);
    copied(one.beside.path(), "replayed.rdb")
}

/// One write; now and then a key goes, or all do.
fn change(one: &mut One, n: usize) -> Vec<Job<super::make::Sick>> {
    let key = format!("key {}", n * 7 % 40);
    let value = vec![n as u8; n * 131 % 6000];
    let ttl = match n % 3 {
        0 => Ttl::At(1 << 40),
        1 => Ttl::Keep,
        _ => Ttl::Clear,
    };
    one.execute(|data| {
        let key = data.key(key.as_bytes());
        match n % 50 {
            49 => data.flush(None),
            3 | 14 | 25 => data.delete(&key),
            _ => data.set(&key, &value, ttl),
        }
    })
}

/// P1-P5: a cut has the keys that base and log say, whatever is executed while it is made.
#[test]
fn a_cut_and_a_replay_agree() {
    let mut one = One::new(SyncPolicy::Always, SINGLE);
    let (mut n, mut cuts) = (0, 0);
    for _ in 0..25 {
        for _ in 0..23 {
            let jobs = change(&mut one, n);
            one.work(jobs);
            n += 1;
        }
        one.settle();
        // Its own tail may be open.
        let open = change(&mut one, n);
        n += 1;
        one.order(true).expect("none is under way");
        let mut jobs = Vec::new();
        for _ in 0..n % 90 {
            jobs.extend(change(&mut one, n));
            n += 1;
            // The thread and the disk come on now and then.
            if n % 7 == 0 {
                one.work(std::mem::take(&mut jobs));
            }
        }
        one.work(open);
        one.work(jobs);
        let held = one.settle_but();
        let (ends, parts) = (held.len().min(1), held.len().saturating_sub(1));
        cuts += ends;
        let mut held = held.into_iter();
        one.work(held.by_ref().take(parts).collect());
        one.work(held.collect());
        let made = one.shard.take_snapshot().expect("it is made");
        let made = made.expect("a sound disk");
        let digest = one.copied();
        assert_eq!(replayed(&one, &made.meta), digest);
        one.settle();
    }
    assert!(cuts > 20);
}

/// P1: a leader's tail is in it, and it counts when that is certain (P2).
#[test]
pub(super) fn a_leaders_cut_waits_for_its_open_tail() {
    let mut one = One::new(SyncPolicy::Always, SINGLE);
    one.fill(5);
    let open = one.write(b"open", b"v", Ttl::Clear);
    one.order(true).expect("none is under way");
    let (at, digest) = (one.shard.snapshot_at(), one.digest());
    assert_eq!(at.expect("it is cut").index, one.shard.group().last_index());
    assert!(one.shard.group().applied() < one.shard.group().last_index());
    let mut held = open;
    for _ in 0..5 {
        let (made, others): (Vec<_>, Vec<_>) = one.turn().into_iter().partition(is_snapshot_job);
        held.extend(others);
        one.work(made);
    }
    assert!(one.shard.take_snapshot().is_none(), "P2: it may be lost");
    one.work(held);
    let jobs = one.write(b"later", b"v", Ttl::Clear);
    one.work(jobs);
    one.settle();
    let made = one.shard.take_snapshot().expect("it is made");
    assert_eq!(Some(made.expect("a sound disk").meta.entry()), at);
    assert_eq!(one.copied(), digest);
}

/// P2: another entry commits where its last one stood. It is made again of what did happen.
#[test]
fn a_cut_of_a_lost_tail_is_made_again() {
    let beside = tempfile::tempdir().expect("a folder");
    let mut trio = Trio::led();
    trio.turn(0, Vec::new(), |shard| {
        set(shard, b"stays", b"v");
    });
    trio.until(|t| t.shards.iter().all(|s| s.data().keyspace().len(0) == 1));
    let folder = beside.path();
    trio.lose_all_but_open(|shard| {
        set(shard, b"lost", b"v");
        order_copy(shard, folder);
    });
    let mut made = None;
    trio.until(|t| {
        made = made.take().or(t.shards[0].take_snapshot());
        made.is_some() && !t.shards[0].is_loading()
    });
    let made = made.expect("it was seen").expect("a sound disk");
    assert_eq!(made.keys, 1, "what was lost is not in it");
    let digest = trio.shards[1].data().keyspace().digest_all();
    assert_eq!(copied(folder, NAME), digest);
}

/// P1: nobody knows yet what a former leader's keyspace is, so what has committed is made a second time.
#[test]
fn a_snapshot_beside_an_unknown_tail_is_replayed() {
    let beside = tempfile::tempdir().expect("a folder");
    let mut trio = Trio::led();
    trio.turn(0, Vec::new(), |shard| {
        set(shard, b"stays", b"v");
    });
    trio.until(|t| t.shards.iter().all(|s| s.data().keyspace().len(0) == 1));
    let digest = trio.shards[0].data().keyspace().digest_all();
    trio.wires.clear();
    trio.turn(0, Vec::new(), |shard| {
        set(shard, b"open", b"v");
    });
    let alone = |e: &Envelope| e.from != RaftId(1) && e.to != RaftId(1);
    trio.until_through(alone, |t| !t.shards[0].group().is_leader());
    assert_eq!(trio.shards[0].tail_len(), 1);
    order_copy(&mut trio.shards[0], beside.path());
    let mut made = None;
    trio.until_through(alone, |t| {
        made = made.take().or(t.shards[0].take_snapshot());
        made.is_some()
    });
    made.expect("it was seen").expect("a sound disk");
    assert_eq!(copied(beside.path(), NAME), digest);
    assert_eq!(trio.shards[0].tail_len(), 1, "it is open still");
}

/// So many values of 40 KiB: more than may wait.
const LARGE_KEYS: u8 = 40;
const LARGE: usize = 40 << 10;

fn large_trio() -> Trio {
    let mut config = crate::testing::config();
    config.layout = SINGLE;
    (config.sizes.walked, config.sizes.touched) = (128 << 10, 512 << 10);
    let mut trio = Trio::led_with(config);
    for n in 0..LARGE_KEYS {
        trio.turn(0, Vec::new(), |shard| {
            set(shard, &[n], &vec![n; LARGE]);
        });
        trio.until(|t| {
            t.shards
                .iter()
                .all(|s| s.data().keyspace().len(0) == u64::from(n) + 1)
        });
    }
    trio
}

/// F5: a leader's writes wait for the thread of snapshots, and nothing is given up.
#[test]
fn writes_wait_while_much_of_a_cut_does() {
    let mut trio = large_trio();
    trio.hold_snapshots = true;
    let digest = trio.shards[0].data().keyspace().digest_all();
    let beside = tempfile::tempdir().expect("a folder");
    order_copy(&mut trio.shards[0], beside.path());
    let mut written = 0;
    while trio.shards[0].admission() == (Admission::Lead { writable: true }) {
        trio.turn(0, Vec::new(), |shard| {
            set(shard, &[written], b"small");
        });
        trio.until(|t| t.shards[0].tail_len() == 0);
        written += 1;
    }
    assert!((12..LARGE_KEYS).contains(&written), "{written}");
    let lead = trio.shards[0].admission();
    assert_eq!(lead, Admission::Lead { writable: false });
    trio.hold_snapshots = false;
    trio.until(|t| t.shards[0].admission() == Admission::Lead { writable: true });
    let mut made = None;
    trio.until(|t| {
        made = made.take().or(t.shards[0].take_snapshot());
        made.is_some()
    });
    made.expect("it was seen").expect("a sound disk");
    assert_eq!(copied(beside.path(), NAME), digest);
}

/// T2: the thread of snapshots writes within a turn. What was not admitted as it began ended the process when it was executed.
#[test]
fn writes_wait_until_a_turn_begins_with_room() {
    let mut trio = large_trio();
    trio.hold_snapshots = true;
    let beside = tempfile::tempdir().expect("a folder");
    order_copy(&mut trio.shards[0], beside.path());
    for key in 0..LARGE_KEYS {
        if trio.shards[0].admission() == (Admission::Lead { writable: true }) {
            trio.turn(0, Vec::new(), |shard| {
                set(shard, &[key], b"small");
            });
        }
        trio.until(|t| t.shards[0].tail_len() == 0);
    }
    let held = Admission::Lead { writable: false };
    trio.shards[0]
        .begin(trio.clock.now())
        .expect("a turn begins");
    assert_eq!(trio.shards[0].admission(), held);
    trio.run_held(0);
    assert_eq!(trio.shards[0].admission(), held, "it began without room");
    trio.shards[0]
        .begin(trio.clock.now())
        .expect("a turn begins");
    let goes_on = Admission::Lead { writable: true };
    assert_eq!(trio.shards[0].admission(), goes_on);
}

/// F5: a follower stops applying.
#[test]
fn followers_wait_while_much_of_a_cut_does() {
    let mut trio = large_trio();
    trio.hold_snapshots = true;
    let digest = trio.shards[1].data().keyspace().digest_all();
    let beside = tempfile::tempdir().expect("a folder");
    order_copy(&mut trio.shards[1], beside.path());
    for n in 0..LARGE_KEYS {
        trio.turn(0, Vec::new(), |shard| {
            set(shard, &[n], b"small");
        });
        trio.until(|t| t.shards[0].tail_len() == 0);
    }
    let applied = |t: &Trio, of: usize| t.shards[of].group().applied();
    trio.until(|t| applied(t, 2) == applied(t, 0));
    let behind = applied(&trio, 0) - applied(&trio, 1);
    assert!((2..28).contains(&behind), "{behind} had to wait");
    assert!(!trio.shards[1].has_unapplied(), "nothing is due");
    trio.hold_snapshots = false;
    trio.until(|t| applied(t, 1) == applied(t, 0));
    let mut made = None;
    trio.until(|t| {
        made = made.take().or(t.shards[1].take_snapshot());
        made.is_some()
    });
    made.expect("it was seen").expect("a sound disk");
    assert_eq!(copied(beside.path(), NAME), digest);
}

/// One that is given up is swept before the next one, whatever is executed meanwhile.
#[test]
fn a_cut_follows_one_that_was_given_up() {
    let mut one = One::new(SyncPolicy::Always, SINGLE);
    one.fill(20);
    one.order(true).expect("none is under way");
    let jobs = one.write(b"key 3", b"meanwhile", Ttl::Clear);
    one.shard.give_up_snapshot();
    one.work(jobs);
    one.settle();
    let result = one.shard.take_snapshot().expect("it is told");
    assert!(matches!(result, Err(SnapshotError::GivenUp)));
    one.fill(5);
    one.order(true).expect("none is under way");
    let digest = one.digest();
    one.fill(5);
    one.settle();
    let made = one.shard.take_snapshot().expect("it is made");
    made.expect("a sound disk");
    assert_eq!(one.copied(), digest);
}
