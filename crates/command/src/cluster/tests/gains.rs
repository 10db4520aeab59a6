//! Slots that a shard gains without another one's hand-over: what the other shards say first (M12).

use super::{fixture, id, master, set, view};
use crate::env::Flow;
use crate::testing::{FakeCluster, Fixture};
use cluster_bus::wire::Flags;
use cluster_bus::ShardId;
use topology::moves::{Departed, Importing, Migrating, Owners, Titles};
use topology::MoveId;

const ADD: &[&str] = &["CLUSTER", "ADDSLOTS", "300", "301"];

fn first_of_two() -> Fixture {
    fixture(view(vec![master(1, &[]), master(2, &[(100, 200)])]))
}

pub fn other() -> ShardId {
    ShardId(id(10).0)
}

fn cluster(f: &mut Fixture) -> &mut FakeCluster {
    f.host.cluster.as_mut().expect("a cluster")
}

fn titles(of: &[(u16, u32)]) -> Titles {
    let mut titles = Titles::default();
    of.iter()
        .for_each(|(slot, title)| titles.set(*slot, *title));
    titles
}

pub fn change(f: &mut Fixture, change: impl FnOnce(&mut state::StateMachine)) {
    let batch = f.next_batch;
    f.data.begin_turn(batch, 1, true, usize::MAX);
    f.data.begin_command(0, state::Access::Lead);
    change(&mut f.data);
    f.data.end_command();
    f.data.take_batch();
    f.next_batch = batch.next();
    f.data.commit_record();
}

pub fn importing(clean: bool, returning: bool) -> Importing {
    Importing {
        shard: other(),
        node: id(2),
        mark: MoveId::default(),
        clean,
        returning,
        redis: false,
    }
}

pub fn migrating() -> Migrating {
    Migrating {
        shard: other(),
        node: id(2),
        mark: Some(MoveId::default()),
        closing: false,
        redis: false,
    }
}

#[test]
fn a_slot_that_another_shard_has_is_busy() {
    for (owned, reserved) in [(&[(301, 301)][..], &[][..]), (&[], &[(301, 301)])] {
        let mut f = first_of_two();
        cluster(&mut f).owners = Some(Owners {
            owned: set(owned),
            reserved: set(reserved),
            answered: 1,
            ..Owners::default()
        });
        let (reply, _) = f.outcome(ADD);
        assert_eq!(reply, b"-ERR Slot 301 is already busy\r\n");
        assert!(f.data.record().slots.is_empty());
    }
}

#[test]
fn without_an_answer_nothing_is_gained() {
    let mut f = first_of_two();
    cluster(&mut f).silent = true;
    let (_, outcome) = f.outcome(ADD);
    assert_eq!(outcome.flow, Flow::Hold);
    f.overdue = true;
    let (reply, _) = f.outcome(ADD);
    let text = b"-ERR No answer from another shard about these slots\r\n";
    assert_eq!(reply, text);
    assert!(f.data.record().slots.is_empty() && f.session.question.is_none());
}

#[test]
fn a_gained_slot_gets_a_higher_title() {
    let table = [
        ((0, 0), 0, 0),
        ((1, 0), 2, 9),
        ((1, 1), 65_536, 65_543),
        ((0, 1), 65_536, 65_543),
    ];
    for ((answered, failed), fresh, known) in table {
        let mut f = first_of_two();
        let heard = if answered > 0 { 7 } else { 0 };
        change(&mut f, |data| data.set_titles(&[(301, 301, 7 - heard)]));
        cluster(&mut f).owners = Some(Owners {
            titles: titles(&[(301, heard)]),
            answered,
            failed,
            ..Owners::default()
        });
        let (reply, _) = f.outcome(ADD);
        assert_eq!(reply, b"+OK\r\n");
        let of = |slot| f.data.record().moves.titles.of(slot);
        let known = if (answered, failed) == (0, 0) {
            7
        } else {
            known
        };
        assert_eq!((of(300), of(301)), (fresh, known), "{answered} {failed}");
    }
}

#[test]
fn exec_asks_before_anything_of_it_runs() {
    let mut f = first_of_two();
    cluster(&mut f).silent = true;
    f.expect(&[
        ("MULTI", "+OK\r\n"),
        ("CLUSTER DELSLOTS 150", "+QUEUED\r\n"),
        ("CLUSTER ADDSLOTS 150", "+QUEUED\r\n"),
    ]);
    let (_, outcome) = f.outcome(&["EXEC"]);
    assert_eq!(outcome.flow, Flow::Hold);
    assert_eq!(super::calls(&mut f), Vec::<String>::new());
    cluster(&mut f).silent = false;
    cluster(&mut f).owners = Some(Owners {
        owned: set(&[(150, 150)]),
        answered: 1,
        ..Owners::default()
    });
    f.expect(&[("EXEC", "*2\r\n+OK\r\n-ERR Slot 150 is already busy\r\n")]);
    assert!(f.data.record().slots.is_empty() && f.session.gains.is_none());
}

#[test]
fn exec_without_an_answer_changes_nothing() {
    let mut f = first_of_two();
    cluster(&mut f).silent = true;
    f.overdue = true;
    f.expect(&[
        ("MULTI", "+OK\r\n"),
        ("CLUSTER BUMPEPOCH", "+QUEUED\r\n"),
        ("CLUSTER ADDSLOTS 300", "+QUEUED\r\n"),
        (
            "EXEC",
            "-ERR No answer from another shard about these slots\r\n",
        ),
        ("EXEC", "-ERR EXEC without MULTI\r\n"),
    ]);
    assert_eq!(f.data.record().epoch, 0);
}

#[test]
fn an_importing_slot_is_gained_with_its_mark() {
    let mut f = first_of_two();
    change(&mut f, |data| {
        data.mark_importing(300, importing(true, false))
    });
    f.expect(&[("CLUSTER ADDSLOTS 300", "+OK\r\n")]);
    assert!(f.data.record().moves.importing.is_empty());
    assert!(f.data.record().slots.contains(300));
    change(&mut f, |data| {
        data.mark_importing(301, importing(true, false));
        data.return_importing(301);
    });
    f.expect(&[("CLUSTER ADDSLOTS 301", "-ERR slot 301 is migrating\r\n")]);
}

#[test]
fn exec_keeps_the_mark_of_a_regained_slot() {
    let mut f = first_of_two();
    change(&mut f, |data| {
        data.add_slots(&set(&[(5, 5)]));
        data.mark_migrating(5, migrating());
    });
    f.expect(&[
        ("CLUSTER DELSLOTS 5", "-ERR slot 5 is migrating\r\n"),
        ("MULTI", "+OK\r\n"),
        ("CLUSTER DELSLOTS 5", "+QUEUED\r\n"),
        ("CLUSTER ADDSLOTS 5", "+QUEUED\r\n"),
        ("CLUSTER SETSLOT 5 STABLE", "+QUEUED\r\n"),
        ("EXEC", "*3\r\n+OK\r\n+OK\r\n+OK\r\n"),
    ]);
    let mark = f.data.record().moves.migrating.get(&5);
    assert!(mark.is_some_and(|mark| mark.closing));
    assert!(f.data.record().slots.contains(5));
}

#[test]
fn a_departed_slot_comes_back_by_force_only() {
    let mut f = first_of_two();
    change(&mut f, |data| {
        data.add_slots(&set(&[(5, 6)]));
        data.mark_migrating(5, migrating());
        data.hand_off(5, MoveId::default());
    });
    let departed: Option<Departed> = f.data.record().moves.departed.get(&5).cloned();
    assert!(departed.is_some());
    f.expect(&[
        ("CLUSTER ADDSLOTS 5", "-ERR slot 5 is migrating\r\n"),
        (
            "CLUSTER ADDSLOTS 6 FORCE",
            "-ERR Slot 6 is not on its way to another shard\r\n",
        ),
    ]);
    assert!(f
        .line("CLUSTER ADDSLOTS 5 FORCE")
        .starts_with("-ERR Nodes of the other shard"));
    cluster(&mut f).view.nodes[1].flags.0 |= Flags::FAIL.0;
    f.expect(&[("CLUSTER ADDSLOTS 5 FORCE", "+OK\r\n")]);
    let record = f.data.record();
    assert!(record.slots.contains(5) && record.moves.departed.is_empty());
    assert!(record.moves.migrating[&5].closing);
    assert_eq!(record.moves.titles.of(5), 2);
}

/// A slot that is on its way to another shard, and one at rest.
fn with_a_departed_slot() -> Fixture {
    let mut f = first_of_two();
    change(&mut f, |data| {
        data.add_slots(&set(&[(5, 6)]));
        data.mark_migrating(5, migrating());
        data.hand_off(5, MoveId::default());
    });
    f
}

/// M12: what the others say of it before it is taken must not count afterwards.
#[test]
fn exec_does_not_ask_for_departed_slot() {
    let mut f = with_a_departed_slot();
    cluster(&mut f).silent = true;
    let refused = "-ERR slot 5 is migrating\r\n";
    f.expect(&[
        ("MULTI", "+OK\r\n"),
        ("CLUSTER DELSLOTS 5", "+QUEUED\r\n"),
        ("CLUSTER ADDSLOTS 5", "+QUEUED\r\n"),
        ("EXEC", &format!("*2\r\n{refused}{refused}")),
    ]);
    assert!(!f.data.record().slots.contains(5));
}

/// M28: the shard that took the slot has given it to a third one, and has ended before it was heard here.
#[test]
fn a_hand_over_to_an_ended_shard_ends_by_force() {
    let mut f = with_a_departed_slot();
    let stable = "CLUSTER SETSLOT 5 STABLE FORCE";
    assert!(f.line(stable).starts_with("-ERR Nodes of the other shard"));
    cluster(&mut f).view.nodes[1].flags.0 |= Flags::FAIL.0;
    let mut third = master(3, &[(5, 5)]);
    third.said = Some(ShardId(id(3).0));
    cluster(&mut f).view.nodes.push(third);
    f.expect(&[
        (
            "CLUSTER ADDSLOTS 5 FORCE",
            "-ERR Slot 5 is already busy\r\n",
        ),
        (stable, "+OK\r\n"),
    ]);
    assert!(f.data.record().moves.departed.is_empty());
    assert!(!f.data.record().slots.contains(5));
}

#[test]
fn exec_that_has_written_waits_for_nothing() {
    let mut f = with_a_departed_slot();
    let node = id(2);
    f.expect(&[
        ("MULTI", "+OK\r\n"),
        (
            &format!("CLUSTER SETSLOT 6 MIGRATING {node}"),
            "+QUEUED\r\n",
        ),
        (
            &format!("CLUSTER SETSLOT 5 IMPORTING {node}"),
            "+QUEUED\r\n",
        ),
        ("CLUSTER BUMPEPOCH", "+QUEUED\r\n"),
    ]);
    let reply = f.line("EXEC");
    let refused = "*3\r\n+OK\r\n-ERR slot 5 is migrating\r\n+BUMPED ";
    assert!(reply.starts_with(refused), "{reply}");
}

#[test]
fn exec_that_waits_at_first_runs_whole() {
    let mut f = with_a_departed_slot();
    let node = id(2);
    f.expect(&[
        ("MULTI", "+OK\r\n"),
        (
            &format!("CLUSTER SETSLOT 5 IMPORTING {node}"),
            "+QUEUED\r\n",
        ),
        (
            &format!("CLUSTER SETSLOT 6 MIGRATING {node}"),
            "+QUEUED\r\n",
        ),
    ]);
    assert_eq!(f.outcome(&["EXEC"]).1.flow, Flow::Hold);
    change(&mut f, |data| {
        assert!(data.forget_hand_off(5, MoveId::default()));
    });
    f.expect(&[("EXEC", "*2\r\n+OK\r\n+OK\r\n")]);
    let moves = &f.data.record().moves;
    assert!(moves.importing.contains_key(&5) && moves.migrating.contains_key(&6));
}

#[test]
fn a_shard_opens_no_slot_to_itself() {
    let mut f = first_of_two();
    change(&mut f, |data| data.add_slots(&set(&[(5, 5)])));
    let me = id(1);
    let refused = |slot: u16| format!("-ERR slot {slot} can't move from a shard to itself\r\n");
    f.expect(&[
        (
            &format!("CLUSTER SETSLOT 150 IMPORTING {me}"),
            &refused(150),
        ),
        (&format!("CLUSTER SETSLOT 5 MIGRATING {me}"), &refused(5)),
    ]);
    assert!(f.data.record().moves.slots().is_empty());
}
