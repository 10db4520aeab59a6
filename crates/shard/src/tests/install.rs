//! A member that needs more than its leader's log has is given a state (P15, P17, P18).

use super::log_end::small;
use super::trio::Trio;
use super::*;
use base::ids::RaftId;

const LAST: usize = 2;

/// The first of three leads, and its log begins behind what the last one has, which is heard again.
fn behind() -> (Trio, SnapshotMeta) {
    let mut trio = Trio::led_with(small(SyncPolicy::Always));
    let without = |e: &Envelope| e.from != RaftId(3) && e.to != RaftId(3);
    for n in 0..150u8 {
        trio.turn(0, Vec::new(), |shard| {
            set(shard, &[b'a' + n % 7], &[n; 4096]);
        });
        trio.until_through(without, |t| t.shards[0].tail_len() == 0);
    }
    trio.base_of_first();
    let last = trio.shards[LAST].group().last_index();
    assert!(trio.shards[0].log().first_index() > last + 1);
    let snapshot = trio.shards[0].snapshot_meta().clone();
    trio.until(|t| !t.shards[0].group().behind_the_log().is_empty());
    let behind = trio.shards[0].group().behind_the_log();
    assert_eq!(behind, [(RaftId(3), snapshot.index)]);
    let name = snapshot.file_name().expect("it has one");
    trio.give(&name, LAST);
    (trio, snapshot)
}

fn digest(shard: &Shard<RealDisk>) -> [u8; 20] {
    shard.data().keyspace().digest_all()
}

#[test]
pub(super) fn a_member_behind_the_log_is_brought_up_by_a_state() {
    let (mut trio, snapshot) = behind();
    let (term, vote) = {
        let hard_state = trio.shards[LAST].group().hard_state();
        (hard_state.term, hard_state.vote)
    };
    let member = &mut trio.shards[LAST];
    assert!(member.lacks_state(snapshot.entry()));
    assert!(member.install(snapshot.clone()));
    assert!(!member.install(snapshot.clone()), "one at a time");
    trio.until(|t| t.shards[LAST].is_installed(t.clock.now()));
    trio.reopen(LAST);
    let member = &trio.shards[LAST];
    assert_eq!(member.snapshot_meta(), &snapshot);
    assert_eq!(member.log().first_index(), snapshot.index + 1);
    assert_eq!(member.group().commit(), snapshot.index);
    let hard_state = member.group().hard_state();
    assert_eq!((hard_state.term, hard_state.vote), (term, vote), "the vote");
    assert!(member.is_starting(), "its keys are loaded beside");

    trio.until(|t| !t.shards[LAST].is_loading());
    trio.shards[0].group.report_state(RaftId(3), true);
    trio.turn(0, Vec::new(), |shard| {
        set(shard, b"behind it", b"1");
    });
    trio.until(|t| {
        let ends = |i: usize| t.shards[i].group().applied();
        ends(LAST) == ends(0) && ends(0) > snapshot.index && t.shards[0].tail_len() == 0
    });
    assert!(trio.shards[0].group().behind_the_log().is_empty());
    assert_eq!(digest(&trio.shards[LAST]), digest(&trio.shards[0]));
    // It votes as before: without the first one the other two go on.
    let apart = |e: &Envelope| e.from != RaftId(1) && e.to != RaftId(1);
    trio.until_through(apart, |t| {
        t.shards[1..].iter().any(|shard| shard.group().is_leader())
    });
}

/// P17: by log matching nothing above the state's entry was committed elsewhere, so the log stays.
#[test]
pub(super) fn a_state_that_the_own_log_has_is_not_installed() {
    let (mut trio, snapshot) = behind();
    assert!(!trio.shards[0].install(snapshot.clone()), "it leads");
    // It has the entry, and does not know that it is committed.
    let mut played = crate::testing::Played::new(crate::testing::config());
    played.follows(40);
    let group = played.shard.group();
    let (index, term) = (group.last_index(), group.term());
    assert!(index > group.commit());
    let ours = SnapshotMeta {
        index,
        term,
        ..snapshot.clone()
    };
    assert!(
        !played.shard.install(ours.clone()),
        "its own log is dropped"
    );
    let other = SnapshotMeta {
        term: term + 1,
        ..ours
    };
    assert!(played.shard.lacks_state(other.entry()));
    assert!(!trio.shards[1].install(snapshot));
}

/// F8 of the review: a vote or a candidacy between the order and the end would be in the old log alone.
#[test]
pub(super) fn nothing_is_said_while_the_log_is_replaced() {
    let (mut trio, snapshot) = behind();
    trio.until(|t| t.shards[LAST].is_all_durable());
    let member = &mut trio.shards[LAST];
    assert!(member.install(snapshot));
    let mut install = None;
    let term = member.group().term();
    let turn = |member: &mut Shard<RealDisk>, clock: &Hand| {
        member.begin(clock.now()).expect("a turn begins");
        member.finish(clock).expect("a turn ends");
        member.take_output()
    };
    for _ in 0..50 {
        for job in turn(member, &trio.clock).jobs {
            match job {
                Job::Install(job) => install = Some(job),
                job => work(member, &trio.clock, vec![job]),
            }
        }
        if install.is_some() {
            break;
        }
    }
    let job = install.expect("it was ordered");
    for _ in 0..20 {
        trio.clock.0.set(trio.clock.0.get() + 500_000_000);
        let output = turn(member, &trio.clock);
        assert!(
            output.messages.is_empty(),
            "it speaks while its log is replaced"
        );
        assert!(output.jobs.is_empty());
    }
    assert_eq!(
        member.group().term(),
        term,
        "it speaks while its log is replaced"
    );
    let done = storage::Done::Installed(job.run());
    let taken = member.job_done(trio.clock.now(), done);
    taken.expect("it is taken in");
    assert!(member.is_installed(trio.clock.now()));
    // D5: no file could be opened.
    member.open_later(trio.clock.now());
    assert!(!member.is_installed(trio.clock.now()));
    assert!(
        turn(member, &trio.clock).messages.is_empty(),
        "nothing is said"
    );
    let again = trio.clock.0.get() + 1_000_000_000;
    assert!(member.deadline().0 <= again, "it is looked at then");
    trio.clock.0.set(again);
    assert!(member.is_installed(trio.clock.now()));
    trio.reopen(LAST);
    assert_eq!(trio.shards[LAST].group().term(), term);
}
