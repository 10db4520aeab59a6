//! Commands beside keys that are lent (M5).

use super::gains::{change, importing, migrating, other};
use super::{fixture, master, set, view};
use crate::env::Flow;
use crate::testing::Fixture;
use cluster_bus::slot::key_slot;
use topology::moves::Lend;
use topology::outside::Outside;
use topology::MoveId;

/// Three keys of a migrating slot, of which `{a}1` is lent.
fn with_a_lend() -> (Fixture, MoveId) {
    let mut f = fixture(view(vec![master(1, &[]), master(2, &[])]));
    let (slot, lend) = (key_slot(b"{a}1"), MoveId::default());
    change(&mut f, |data| data.add_slots(&set(&[(slot, slot)])));
    for key in ["{a}1", "{a}2", "{a}3"] {
        f.expect(&[(&format!("SET {key} x"), "+OK\r\n")]);
    }
    change(&mut f, |data| {
        data.mark_migrating(slot, migrating());
        let entry = Lend {
            slot,
            to: other(),
            mark: migrating().mark,
            keys: vec![b"{a}1".as_slice().into()],
            db: 0,
            outside: None,
        };
        data.lend(lend, entry);
    });
    (f, lend)
}

const MIGRATE: &[&str] = &["MIGRATE", "127.0.0.1", "7002", "{a}2", "0", "1000"];

#[test]
fn flushall_waits_for_what_is_lent() {
    let (mut f, lend) = with_a_lend();
    assert_eq!(f.outcome(&["FLUSHALL"]).1.flow, Flow::Hold);
    change(&mut f, |data| {
        assert!(data.return_lend(lend));
    });
    f.expect(&[("FLUSHALL", "+OK\r\n"), ("DBSIZE", ":0\r\n")]);
}

#[test]
fn no_lend_goes_past_a_waiting_flushall() {
    let (mut f, _) = with_a_lend();
    assert_eq!(f.outcome(&["FLUSHALL"]).1.flow, Flow::Hold);
    assert_eq!(f.outcome(MIGRATE).1.flow, Flow::Hold, "the turn after it");
    let (reply, outcome) = f.outcome(MIGRATE);
    let lent = matches!(outcome.flow, Flow::Block(_));
    assert!(lent, "{}", String::from_utf8_lossy(&reply));
    assert_eq!(f.data.record().moves.lends.len(), 2);
}

#[test]
fn keys_go_ahead_only_where_it_is_wished() {
    let table = [
        (true, "", vec!["{a}2", "{a}3"]),
        (false, "", vec!["{a}2"]),
        (true, "REPLACE", vec!["{a}2"]),
    ];
    for (ahead, word, lent) in table {
        let (mut f, first) = with_a_lend();
        f.host.config.cluster_migrate_ahead = ahead;
        change(&mut f, |data| {
            assert!(data.end_lend(first, &[]));
        });
        let mut words = vec!["MIGRATE", "127.0.0.1", "7002", "", "0", "1000"];
        words.extend((!word.is_empty()).then_some(word));
        words.extend(["KEYS", "{a}2"]);
        let (_, outcome) = f.outcome(&words);
        assert!(matches!(outcome.flow, Flow::Block(_)));
        let lends = &f.data.record().moves.lends;
        let keys = lends.values().flat_map(|lend| &lend.keys);
        let keys: Vec<&[u8]> = keys.map(|key| &**key).collect();
        assert_eq!(keys, lent.iter().map(|k| k.as_bytes()).collect::<Vec<_>>());
    }
}

#[test]
fn leftovers_go_to_the_owner_without_its_mark() {
    let mut f = fixture(view(vec![master(1, &[]), master(2, &[])]));
    let slot = key_slot(b"{a}1");
    change(&mut f, |data| data.add_slots(&set(&[(slot, slot)])));
    f.expect(&[("SET {a}1 x", "+OK\r\n")]);
    change(&mut f, |data| {
        data.del_slots(&set(&[(slot, slot)]));
        data.mark_importing(slot, importing(false, false));
    });
    let (reply, outcome) = f.outcome(&["MIGRATE", "127.0.0.1", "7002", "{a}1", "0", "1000"]);
    let lent = matches!(outcome.flow, Flow::Block(_));
    assert!(lent, "{}", String::from_utf8_lossy(&reply));
    let lends = &f.data.record().moves.lends;
    assert!(lends.values().all(|lend| lend.mark.is_none()) && lends.len() == 1);
    let (_, outcome) = f.outcome(&["CLUSTER", "SETSLOT", &slot.to_string(), "STABLE"]);
    assert_eq!(outcome.flow, Flow::Hold, "they are on their way");
}

#[test]
fn migrate_of_the_lent_empty_key_waits() {
    let mut f = fixture(view(vec![master(1, &[]), master(2, &[])]));
    change(&mut f, |data| data.add_slots(&set(&[(0, 0)])));
    assert_eq!(f.run(&["SET", "", "x"]), "+OK\r\n");
    change(&mut f, |data| data.mark_migrating(0, migrating()));
    let migrate = ["MIGRATE", "127.0.0.1", "7002", "", "0", "1000"];
    assert!(matches!(f.outcome(&migrate).1.flow, Flow::Block(_)));
    assert_eq!(f.outcome(&migrate).1.flow, Flow::Hold);
}

/// T3: the target's commit has decided; what was said before this entry is as true after its loss.
#[test]
fn end_of_lend_leaves_slot_clean() {
    let (mut f, lend) = with_a_lend();
    let slot = key_slot(b"{a}1").to_string();
    let shows: [&[&str]; 2] = [&["GET", "{a}2"], &["CLUSTER", "GETKEYSINSLOT", &slot, "9"]];
    let before = shows.map(|line| f.outcome(line).1.footprint.depends);
    change(&mut f, |data| {
        assert!(data.end_lend(lend, &[]));
    });
    let after = shows.map(|line| f.outcome(line).1.footprint.depends);
    assert_eq!(after, before);
    let (_, counted) = f.outcome(&["DBSIZE"]);
    assert!(counted.footprint.depends > before[0], "a count shows it");
}

/// M26: such a server decides nothing: a later leader may give the keys back.
#[test]
fn end_of_lend_outside_makes_slot_dirty() {
    let (mut f, _) = with_a_lend();
    let slot = key_slot(b"{a}1");
    let id = MoveId {
        shard: other(),
        ..MoveId::default()
    };
    change(&mut f, |data| {
        let outside = Outside {
            host: b"127.0.0.1".as_slice().into(),
            port: 7009,
            db: 0,
            client: Some(1),
            run: Box::default(),
        };
        let entry = Lend {
            slot,
            to: other(),
            mark: None,
            keys: vec![b"{a}2".as_slice().into()],
            db: 0,
            outside: Some(outside),
        };
        data.lend(id, entry);
    });
    let before = f.outcome(&["GET", "{a}3"]).1.footprint.depends;
    change(&mut f, |data| {
        assert!(data.end_lend(id, &[]));
    });
    assert!(f.outcome(&["GET", "{a}3"]).1.footprint.depends > before);
}
