//! Slots in motion: what an operator is refused, and what ends at once (M11, M13, M22).

use super::gains::{change, migrating as bound};
use super::{calls, fixture, id, master, view};
use crate::env::{Flow, Serving};
use crate::testing::Fixture;
use ::topology::moves::{Importing, Lend};
use ::topology::{MoveId, MoveNumber};
use base::ShardId;

/// The slot of the key "a".
const SLOT: u16 = 15495;

/// The first of two masters, which has the slot.
fn owner() -> Fixture {
    let mut f = fixture(view(vec![master(1, &[]), master(2, &[])]));
    f.expect(&[(&format!("CLUSTER ADDSLOTS {SLOT}"), "+OK\r\n")]);
    f.data.commit_record();
    f
}

fn imports(f: &mut Fixture) -> Importing {
    let importing = format!("CLUSTER SETSLOT {SLOT} IMPORTING {}", id(2));
    f.expect(&[(&importing, "+OK\r\n")]);
    let mark = f.data.record().moves.importing.get(&SLOT).cloned();
    mark.expect("it was just set")
}

#[test]
fn unclean_mark_ends_at_once() {
    let mut f = owner();
    f.expect(&[
        ("SET a 1", "+OK\r\n"),
        (&format!("CLUSTER DELSLOTS {SLOT}"), "+OK\r\n"),
    ]);
    calls(&mut f);
    assert!(!imports(&mut f).clean);
    assert!(calls(&mut f).is_empty(), "it is not announced");
    f.expect(&[(&format!("CLUSTER SETSLOT {SLOT} STABLE"), "+OK\r\n")]);
    assert_eq!(f.data.record().moves.importing.get(&SLOT), None);
    assert_eq!(f.data.keyspace().count_in_slot(SLOT), 1, "it stays");
}

#[test]
fn shard_that_owes_does_not_end() {
    let mut f = fixture(view(vec![master(1, &[]), master(2, &[(0, 16383)])]));
    assert!(imports(&mut f).clean);
    calls(&mut f);
    let (reset, replicate) = (
        ["CLUSTER", "RESET"],
        ["CLUSTER", "REPLICATE", &id(2).to_string()],
    );
    for words in [&reset[..], &replicate] {
        f.overdue = false;
        assert_eq!(
            f.outcome(words).1.flow,
            Flow::Hold,
            "its moves are turned back"
        );
        f.overdue = true;
        let said = String::from_utf8_lossy(&f.outcome(words).0).into_owned();
        assert!(said.starts_with("-ERR Slots are moving"), "{said}");
    }
    let asked = calls(&mut f);
    assert!(asked.iter().all(|call| call.contains("end")), "{asked:?}");
}

/// MOVED to the other shard would lead back here.
#[test]
fn asking_client_stays_while_loading() {
    let mut f = fixture(view(vec![master(1, &[]), master(2, &[(0, 16383)])]));
    assert!(imports(&mut f).clean);
    f.data.commit_record();
    let mut routing = ::topology::Routing::default();
    (routing.covered, routing.majority) = (true, true);
    routing.add("h:2".to_owned(), &[SLOT].into_iter().collect());
    f.routing = Some(routing);
    let refused = "-LOADING Redis is loading the dataset in memory\r\n";
    for (addr, asked) in [(None, refused), (Some("h:1"), "-ASK 15495 h:1\r\n")] {
        f.serving = Serving::Loading { addr };
        f.session.asking = true;
        f.expect(&[("GET a", asked), ("GET a", "-MOVED 15495 h:2\r\n")]);
    }
}

/// M13: what it has decided must be heard before no node can say it any more.
#[test]
fn shard_that_is_waited_for_ends_later() {
    let mut f = fixture(view(vec![master(1, &[]), master(2, &[(0, 16383)])]));
    change(&mut f, |data| {
        data.void_lend(MoveId::default(), MoveNumber::default())
    });
    let reset = ["CLUSTER", "RESET"];
    f.host.cluster.as_mut().expect("a cluster").silent = true;
    assert_eq!(f.outcome(&reset).1.flow, Flow::Hold);
    f.overdue = true;
    assert_eq!(f.line("CLUSTER RESET"), "+OK\r\n", "an operator's word");
    f.overdue = false;
    f.host.cluster.as_mut().expect("a cluster").silent = false;
    calls(&mut f);
    assert_eq!(f.line("CLUSTER RESET"), "+OK\r\n");
    assert_eq!(calls(&mut f)[0], "who waits");
}

/// M5: a read that finds a lent key expired waits for the end of its lend, and deletes nothing.
fn reads_an_expired_lent_key() {
    let mut f = owner();
    f.expect(&[("SET a 1 PX 100", "+OK\r\n")]);
    let lend = Lend {
        slot: SLOT,
        to: ShardId(id(2).0),
        mark: None,
        keys: vec![b"a".as_slice().into()],
        db: 0,
        outside: None,
    };
    change(&mut f, |data| data.lend(MoveId::default(), lend));
    assert_eq!(f.line("GET a"), "$1\r\n1\r\n", "its value can't change");
    f.advance(200);
    let (_, outcome) = f.outcome(&["GET", "a"]);
    assert_eq!(outcome.flow, Flow::Hold);
    assert_eq!(f.data.keyspace().count_in_slot(SLOT), 1, "it stays");
}

#[test]
fn read_of_an_expired_lent_key_waits() {
    reads_an_expired_lent_key();
}

#[cfg(feature = "mutations")]
#[test]
fn ends_and_expiries_that_do_not_wait_are_caught() {
    use base::mutation::{self, Mutation};
    let table: [(Mutation, fn(), &str); 1] = [(
        Mutation::ExpireLentKey,
        reads_an_expired_lent_key,
        "M5: a lent key is changed",
    )];
    for (mutation, scene, text) in table {
        mutation::set(Some(mutation));
        let outcome = std::panic::catch_unwind(scene);
        mutation::set(None);
        let panic = outcome.expect_err("the mutation changes nothing");
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        let said = said.unwrap_or_default();
        assert!(said.contains(text), "{mutation:?}: {said}");
    }
}

/// What is answered and can't be used is asked again as fast as it is answered: two leaders that do
/// nothing else, for as long as a disk hangs.
#[test]
fn without_room_no_mark_is_asked_for() {
    let node = format!("CLUSTER SETSLOT {SLOT} NODE {}", id(2));
    let table = [
        (Some("SET a 1"), "MIGRATE 127.0.0.1 7002 a 0 1000", "mark"),
        (None, node.as_str(), "want mark"),
    ];
    for (before, line, asks) in table {
        let mut f = owner();
        before.into_iter().for_each(|line| drop(f.line(line)));
        f.line(&format!("CLUSTER SETSLOT {SLOT} MIGRATING {}", id(2)));
        calls(&mut f);
        let words: Vec<&str> = line.split(' ').collect();
        f.grant = 0;
        let (_, outcome) = f.outcome(&words);
        assert_eq!(outcome.flow, Flow::Hold, "{line}");
        assert_eq!(calls(&mut f), Vec::<String>::new(), "{line}");
        f.grant = usize::MAX;
        f.outcome(&words);
        assert_eq!(calls(&mut f), [format!("{asks} {SLOT}")], "{line}");
    }
}

/// M8: STABLE would end the mark beside the lend.
#[test]
fn mark_that_binds_nothing_lends_nothing() {
    let mut f = owner();
    f.line("SET a 1");
    f.line(&format!("CLUSTER SETSLOT {SLOT} MIGRATING {}", id(2)));
    let third = MoveId {
        shard: ShardId([0xc; 20]),
        ..MoveId::default()
    };
    f.host.cluster.as_mut().expect("a cluster").mark = Some(Some(third));
    let reply = f.line("MIGRATE 127.0.0.1 7002 a 0 1000");
    assert!(reply.starts_with("-ERR"), "{reply}");
    let moves = &f.data.record().moves;
    assert!(moves.lends.is_empty() && moves.migrating[&SLOT].mark.is_none());
}

/// M18: a slot is given away without a mark at either end; with one that is bound none is asked for.
#[test]
fn unbound_slot_given_away_asks_for_mark() {
    let node = format!("CLUSTER SETSLOT {SLOT} NODE {}", id(2));
    for (mark, asks) in [(None, "want mark"), (Some(bound()), "mark")] {
        let mut f = owner();
        if let Some(mark) = mark {
            change(&mut f, |data| data.mark_migrating(SLOT, mark));
        }
        calls(&mut f);
        let words: Vec<&str> = node.split(' ').collect();
        let (_, outcome) = f.outcome(&words);
        assert_eq!(outcome.flow, Flow::Hold, "not answered yet");
        assert_eq!(calls(&mut f), [format!("{asks} {SLOT}")]);
        let known = MoveId::default();
        f.host.cluster.as_mut().expect("a cluster").mark = Some(Some(known));
        f.outcome(&words);
        let record = f.data.record();
        let departed = &record.moves.departed[&SLOT];
        assert_eq!(departed.mark, Some(known), "one entry with its mark");
        assert!(!record.slots.contains(SLOT) && record.moves.migrating.is_empty());
    }
}

#[test]
fn flushslots_ends_marks_that_are_unbound() {
    let mut f = owner();
    let migrating = format!("CLUSTER SETSLOT {SLOT} MIGRATING {}", id(2));
    f.expect(&[(&migrating, "+OK\r\n"), ("CLUSTER FLUSHSLOTS", "+OK\r\n")]);
    let record = f.data.record();
    assert!(record.moves.slots().is_empty() && record.slots.is_empty());
    let mut f = owner();
    change(&mut f, |data| data.mark_migrating(SLOT, bound()));
    let refused = format!("-ERR slot {SLOT} is migrating\r\n");
    f.expect(&[("CLUSTER FLUSHSLOTS", refused.as_str())]);
}

#[test]
fn debug_tells_the_bus_what_to_drop() {
    let mut f = owner();
    let (config, _) =
        config::Config::from_args(["--enable-debug-command", "yes"]).expect("a config");
    f.host.config = config;
    let table = [("8", "drop Some(8)"), ("-1", "drop None")];
    for (kind, call) in table {
        calls(&mut f);
        let line = format!("DEBUG DROP-CLUSTER-PACKET-FILTER {kind}");
        f.expect(&[(&line, "+OK\r\n")]);
        assert_eq!(calls(&mut f), [call]);
    }
}
