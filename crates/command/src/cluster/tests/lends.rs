//! Commands beside keys that are lent (M5).

use super::gains::{change, migrating, other};
use super::{fixture, master, set, view};
use crate::env::Flow;
use crate::testing::Fixture;
use cluster_bus::slot::key_slot;
use topology::moves::Lend;
use topology::MoveId;

/// Two keys of a migrating slot, of which `{a}1` is lent.
fn with_a_lend() -> (Fixture, MoveId) {
    let mut f = fixture(view(vec![master(1, &[]), master(2, &[])]));
    let (slot, lend) = (key_slot(b"{a}1"), MoveId::default());
    change(&mut f, |data| data.add_slots(&set(&[(slot, slot)])));
    f.expect(&[("SET {a}1 x", "+OK\r\n"), ("SET {a}2 x", "+OK\r\n")]);
    change(&mut f, |data| {
        data.mark_migrating(slot, migrating());
        let entry = Lend {
            slot,
            to: other(),
            mark: migrating().mark,
            keys: vec![b"{a}1".as_slice().into()],
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
