//! What must not run ahead of the log: a floor, of what is committed (M2); a word, of the disk (M7).

use super::word::Word;
use super::{lowest_open, Gate, Migration, Said};
use crate::tests::{cluster, IDENTITY};
use base::ids::{BatchSeq, ReadId};
use base::{NodeId, ShardId};
use shard::testing::{config, Played, OTHERS};
use state::Access;
use storage::Position;
use topology::moves::{Departed, Lend, Migrating};
use topology::{MoveId, Record};

const B: ShardId = ShardId([2; 20]);

fn of_number(n: u64) -> MoveId {
    let mut id = MoveId::default();
    id.number.n = n;
    id
}

fn lend_to(to: ShardId) -> Lend {
    Lend {
        slot: 5,
        to,
        mark: None,
        keys: Vec::new(),
        db: 0,
        outside: None,
    }
}

/// A record in which these are lent to B, and one before them to another shard.
fn lending(open: &[u64]) -> Record {
    let mut record = Record::default();
    let other = lend_to(ShardId([3; 20]));
    record.moves.lends.insert(of_number(1), other);
    for n in open {
        record.moves.lends.insert(of_number(*n), lend_to(B));
    }
    record
}

/// What is open in the tail, what is in the committed record, and the lowest of both.
fn the_lowest_of_both() {
    let mut handed = lending(&[]);
    let departed = Departed {
        id: of_number(4),
        to: B,
        node: NodeId([2; 20]),
        mark: None,
        title: 0,
    };
    handed.moves.departed.insert(6, departed);
    let table = [
        (lending(&[]), lending(&[]), None),
        (lending(&[7, 9]), lending(&[]), Some(7)),
        (lending(&[9]), lending(&[7, 9]), Some(7)),
        (lending(&[]), lending(&[8]), Some(8)),
        (lending(&[9]), handed, Some(4)),
    ];
    for (tail, committed, lowest) in table {
        let found = lowest_open(&tail, &committed, B).map(|number| number.n);
        assert_eq!(found, lowest, "M2: the floor");
    }
}

/// A word behind a batch whose bytes end at 10, and one that rests on nothing.
fn said_when_on_disk() {
    let gate = |batch| Gate {
        batch: BatchSeq(batch),
        read: ReadId::NONE,
    };
    let mut migration = Migration::default();
    let said = || Said::Word(B, Word::AskMark { slot: 5 });
    migration.waiting.push_back((gate(3), said()));
    migration.waiting.push_back((Gate::OPEN, said()));
    migration.open_gates(gate(2), Position(10));
    assert_eq!(migration.take_sayable(Position(0)).len(), 1);
    migration.open_gates(gate(3), Position(10));
    let early = migration.take_sayable(Position(9));
    assert!(early.is_empty(), "M7: a word waits for the disk");
    assert_eq!(migration.take_sayable(Position(10)).len(), 1);
}

#[test]
fn a_floor_is_below_tail_and_commit() {
    the_lowest_of_both();
}

#[test]
fn a_word_waits_for_the_disk() {
    said_when_on_disk();
}

#[cfg(feature = "mutations")]
#[test]
fn floors_and_words_that_run_ahead_are_caught() {
    use base::mutation::{self, Mutation};
    let table: [(Mutation, fn(), &str); 3] = [
        (
            Mutation::AbsentFromTail,
            absent_when_committed,
            "M7: absent is said",
        ),
        (Mutation::FloorFromTail, the_lowest_of_both, "M2: the floor"),
        (
            Mutation::WordUnsynced,
            said_when_on_disk,
            "M7: a word waits",
        ),
    ];
    for (mutation, scene, text) in table {
        mutation::set(Some(mutation));
        let outcome = std::panic::catch_unwind(scene);
        mutation::set(None);
        let panic = outcome.expect_err("the mutation changes nothing");
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        assert!(said.is_some_and(|said| said.contains(text)), "{mutation:?}");
    }
}

/// A's leader is asked for a key that it has deleted in the turn: the deletion may still be lost.
fn absent_when_committed() {
    let mut played = Played::leading(config());
    played.set(b"a", b"value");
    played.beats(&OTHERS, 200);
    let mut core = cluster(IDENTITY);
    let mark = MoveId {
        shard: B,
        ..of_number(9)
    };
    let mut said = |played: &mut Played, delete: bool| {
        let now = played.now();
        played.turn(|shard| {
            if delete {
                let data = shard.data_mut();
                let slot = data.key(b"a").slot;
                data.begin_command(0, Access::Lead);
                let migrating = Migrating {
                    shard: B,
                    node: NodeId([2; 20]),
                    mark: Some(mark),
                    closing: false,
                    redis: false,
                };
                data.mark_migrating(slot, migrating);
                data.delete(&data.key(b"a"));
                data.end_command();
                let ask = Word::AskKey {
                    question: 1,
                    slot,
                    mark,
                    key: b"a".as_slice().into(),
                };
                let from = NodeId([2; 20]);
                core.migration.follow(shard);
                core.migration.inbox.push_back((from, B, ask));
            }
            core.migrate(now, true, shard);
        });
        let migration = &mut core.migration;
        migration.open_gates(played.released, Position(0));
        let sayable = migration.take_sayable(Position(0));
        let answers = sayable.into_iter().map(|(_, said)| said);
        let is_answer = |said: &Said| matches!(said, Said::Word(_, Word::KeyIs { .. }));
        answers.filter(is_answer).count()
    };
    let early = said(&mut played, true);
    assert_eq!(early, 0, "M7: absent is said when it is committed");
    played.beats(&OTHERS, 100);
    let mut late = said(&mut played, false);
    for _ in 0..20 {
        played.beats(&OTHERS, 20);
        late += said(&mut played, false);
    }
    assert_eq!(late, 1, "it is said once");
}

#[test]
fn a_deletion_is_told_when_committed() {
    absent_when_committed();
}
