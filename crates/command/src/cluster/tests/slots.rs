//! Changes of the record: what they do, what they wait for, and how they stand in MULTI.

use super::{calls, fixture, id, master, replica, set, view};
use crate::env::{Flow, Serving};
use crate::testing::Fixture;
use base::ids::BatchSeq;
use cluster_bus::slot::key_slot;
use state::GateKind;

/// The first of two masters; its own slots are in the record, not (yet) in the view.
fn first_of_two() -> Fixture {
    let mut f = fixture(view(vec![master(1, &[]), master(2, &[(100, 200)])]));
    f.expect(&[("CLUSTER ADDSLOTSRANGE 0 99", "+OK\r\n")]);
    f
}

#[test]
fn changes_are_effects_of_the_log() {
    let mut f = first_of_two();
    assert_eq!(f.data.record().slots, set(&[(0, 99)]));
    let (_, outcome) = f.outcome(&["CLUSTER", "DELSLOTS", "5"]);
    assert_eq!(outcome.gate, GateKind::Write);
    assert_eq!(f.log.len(), 2);
    assert_eq!(f.data.record().slots, set(&[(0, 4), (6, 99)]));
}

#[test]
fn a_refusal_that_shows_the_record_waits_like_a_read() {
    let mut f = first_of_two();
    let (reply, outcome) = f.outcome(&["CLUSTER", "ADDSLOTS", "5"]);
    assert_eq!(reply, b"-ERR Slot 5 is already busy\r\n");
    assert_eq!(outcome.gate, GateKind::Read);
    assert_eq!(outcome.footprint.depends, BatchSeq(1));
    let (_, outcome) = f.outcome(&["CLUSTER", "ADDSLOTS", "x"]);
    assert_eq!(outcome.gate, GateKind::Free);
}

#[test]
fn nothing_changes_unless_all_slots_pass() {
    let mut f = first_of_two();
    f.expect(&[
        (
            "CLUSTER ADDSLOTS 300 301 150",
            "-ERR Slot 150 is already busy\r\n",
        ),
        (
            "CLUSTER DELSLOTSRANGE 98 99 300 301",
            "-ERR Slot 300 is already unassigned\r\n",
        ),
    ]);
    assert_eq!(f.data.record().slots, set(&[(0, 99)]));
    assert_eq!(calls(&mut f), Vec::<String>::new());
}

#[test]
fn other_shards_slots_become_nobodys_for_this_node_only() {
    let mut f = first_of_two();
    f.expect(&[
        ("MULTI", "+OK\r\n"),
        ("CLUSTER DELSLOTS 150 99", "+QUEUED\r\n"),
        ("CLUSTER ADDSLOTS 150", "+QUEUED\r\n"),
        ("CLUSTER BUMPEPOCH", "+QUEUED\r\n"),
        ("EXEC", "*3\r\n+OK\r\n+OK\r\n+BUMPED 3\r\n"),
    ]);
    assert_eq!(calls(&mut f), ["unassign [(150, 150)]"]);
    assert_eq!(f.data.record().slots, set(&[(0, 98), (150, 150)]));
    assert_eq!((f.data.record().epoch, f.data.record().master), (3, id(1)));
    assert_eq!(f.log.len(), 2, "a transaction is one unit");
}

#[test]
fn the_own_shards_slots_are_the_records() {
    // A new leader whose epoch entry is not applied: the view still shows the old master.
    let mut f = fixture(view(vec![replica(3, 1), master(1, &[(0, 9)])]));
    f.expect(&[
        ("CLUSTER ADDSLOTS 5", "+OK\r\n"),
        ("CLUSTER DELSLOTS 5", "+OK\r\n"),
        (
            "CLUSTER DELSLOTS 5",
            "-ERR Slot 5 is already unassigned\r\n",
        ),
    ]);
}

#[test]
fn only_a_leader_with_room_changes_the_record() {
    let mut f = first_of_two();
    for serving in [Serving::Lead { writable: false }, Serving::Hold] {
        f.serving = serving;
        let (_, outcome) = f.outcome(&["CLUSTER", "ADDSLOTS", "500"]);
        assert_eq!(outcome.flow, Flow::Hold, "{serving:?}");
        assert!(f.line("CLUSTER NODES").starts_with('$'), "shown at once");
    }
    f.serving = Serving::Redirect {
        addr: None,
        own_copy: true,
    };
    f.expect(&[
        (
            "CLUSTER ADDSLOTS 500",
            "-READONLY You can't write against a read only replica.\r\n",
        ),
        ("CLUSTER COUNTKEYSINSLOT 5", ":0\r\n"),
    ]);
}

#[test]
fn flushslots_needs_an_empty_node() {
    let mut f = first_of_two();
    let key = f.data.key(b"{06S}").slot; // any key's slot will do
    f.line(&format!("CLUSTER ADDSLOTS {key}"));
    f.data.set_committed_record(f.data.record().clone());
    f.expect(&[
        ("SET {06S} 1", "+OK\r\n"),
        (
            "CLUSTER FLUSHSLOTS",
            "-ERR DB must be empty to perform CLUSTER FLUSHSLOTS.\r\n",
        ),
        (&format!("CLUSTER COUNTKEYSINSLOT {key}"), ":1\r\n"),
        (&format!("CLUSTER GETKEYSINSLOT {key} 0"), "*0\r\n"),
        (
            &format!("CLUSTER GETKEYSINSLOT {key} 10"),
            "*1\r\n$5\r\n{06S}\r\n",
        ),
        ("DEL {06S}", ":1\r\n"),
        ("CLUSTER FLUSHSLOTS", "+OK\r\n"),
    ]);
    assert!(f.data.record().slots.is_empty());
    let (_, outcome) = f.outcome(&["CLUSTER", "FLUSHSLOTS"]);
    assert_eq!(outcome.gate, GateKind::Free, "nothing to log");
}

#[test]
fn keys_in_slots_are_reads() {
    let mut f = first_of_two();
    // T3: a count shows what was lent and is gone, so it waits for all; a list does not.
    for (command, depends) in [
        (&["CLUSTER", "COUNTKEYSINSLOT", "5"][..], BatchSeq(1)),
        (&["CLUSTER", "GETKEYSINSLOT", "5", "10"], BatchSeq::NONE),
    ] {
        let (_, outcome) = f.outcome(command);
        assert_eq!(outcome.gate, GateKind::Read);
        assert_eq!(outcome.footprint.depends, depends);
    }
    let (_, outcome) = f.outcome(&["CLUSTER", "KEYSLOT", "a"]);
    assert_eq!(outcome.gate, GateKind::Free);
}

#[test]
fn keys_of_written_slot_wait_for_write() {
    let mut f = first_of_two();
    let (_, written) = f.outcome(&["SET", "{06S}", "v"]);
    let slot = key_slot(b"{06S}").to_string();
    let (_, listed) = f.outcome(&["CLUSTER", "GETKEYSINSLOT", &slot, "10"]);
    assert_eq!(listed.footprint.depends, written.footprint.depends);
}

#[test]
fn epochs() {
    let mut f = first_of_two();
    f.expect(&[
        (
            "CLUSTER SET-CONFIG-EPOCH 7",
            "-ERR The user can assign a config epoch only when the node does not know any other node.\r\n",
        ),
        ("CLUSTER BUMPEPOCH", "+BUMPED 3\r\n"),
        ("CLUSTER BUMPEPOCH", "+STILL 3\r\n"),
    ]);
    let mut alone = fixture(view(vec![master(1, &[])]));
    alone.expect(&[
        ("CLUSTER SET-CONFIG-EPOCH 0", "+OK\r\n"),
        ("CLUSTER SET-CONFIG-EPOCH 7", "+OK\r\n"),
    ]);
    assert_eq!(alone.log.len(), 1);
}

#[test]
fn setslot_is_for_masters() {
    let mut replica = fixture(view(vec![replica(3, 1), master(1, &[])]));
    replica.expect(&[(
        "CLUSTER SETSLOT 5 STABLE",
        "-ERR Please use SETSLOT only with masters.\r\n",
    )]);
}

/// The first of two masters; the second is a real Redis, which does not say which its shard is.
fn beside_a_redis() -> Fixture {
    let mut redis = master(2, &[(100, 200)]);
    redis.shard = None;
    let mut f = fixture(view(vec![master(1, &[]), redis]));
    f.host.cluster.as_mut().expect("a cluster").redis = Some(id(2));
    f.expect(&[("CLUSTER ADDSLOTSRANGE 0 99", "+OK\r\n")]);
    f
}

#[test]
fn a_slot_of_a_redis_is_taken_unasked() {
    let mut f = beside_a_redis();
    let (node, me) = (id(2), id(1));
    f.expect(&[
        (&format!("CLUSTER SETSLOT 150 IMPORTING {node}"), "+OK\r\n"),
        (&format!("CLUSTER SETSLOT 151 IMPORTING {node}"), "+OK\r\n"),
        ("CLUSTER SETSLOT 151 STABLE", "+OK\r\n"),
        (&format!("CLUSTER SETSLOT 150 NODE {me}"), "+OK\r\n"),
    ]);
    let record = f.data.record();
    assert_eq!(record.slots, set(&[(0, 99), (150, 150)]));
    assert!(record.moves.importing.is_empty());
    assert_eq!(record.epoch, 3, "above what the Redis has");
}

#[test]
fn a_slot_goes_to_a_redis_without_its_keys() {
    let mut f = beside_a_redis();
    let node = id(2);
    // It is the slot of "b".
    let slot = keyspace_slot(b"b");
    f.expect(&[
        (&format!("CLUSTER ADDSLOTS {slot}"), "+OK\r\n"),
        ("SET b 1", "+OK\r\n"),
        (&format!("CLUSTER SETSLOT {slot} MIGRATING {node}"), "+OK\r\n"),
        (
            &format!("CLUSTER SETSLOT {slot} NODE {node}"),
            &format!(
                "-ERR Can't assign hashslot {slot} to a different node while I still hold keys for this hash slot.\r\n"
            ),
        ),
        ("DEL b", ":1\r\n"),
        (&format!("CLUSTER SETSLOT {slot} NODE {node}"), "+OK\r\n"),
    ]);
    let record = f.data.record();
    assert!(!record.slots.contains(slot) && record.moves.migrating.is_empty());
}

/// M23, M27: what `redis-cli --cluster fix` asks, and what it tells a node that is not the owner.
#[test]
fn fix_finds_no_owner_beside_the_redis() {
    let mut f = beside_a_redis();
    let of_redis = |key: &String| (100..=200).contains(&keyspace_slot(key.as_bytes()));
    let mut keys = (0..).map(|n| format!("k{n}")).filter(of_redis);
    let key = keys.next().expect("some key has one of its slots");
    let slot = keyspace_slot(key.as_bytes());
    let importing = format!("CLUSTER SETSLOT {slot} IMPORTING {}", id(2));
    let count = format!("CLUSTER COUNTKEYSINSLOT {slot}");
    f.expect(&[
        (&importing, "+OK\r\n"),
        (&format!("SET {key} 1"), "+OK\r\n"),
        (&count, ":0\r\n"),
        (&format!("CLUSTER GETKEYSINSLOT {slot} 10"), "*0\r\n"),
        (&format!("CLUSTER SETSLOT {slot} STABLE"), "+OK\r\n"),
        (&count, ":1\r\n"),
        (&importing, "+OK\r\n"),
        (&count, ":1\r\n"),
        (&format!("CLUSTER DELSLOTS {slot}"), "+OK\r\n"),
        (&format!("CLUSTER SETSLOT {slot} NODE {}", id(2)), "+OK\r\n"),
        (&importing, "+OK\r\n"),
        (&count, ":1\r\n"),
    ]);
}

fn keyspace_slot(key: &[u8]) -> u16 {
    cluster_bus::slot::key_slot(key)
}

/// S1: DEBUG has no key specs, so no check of slots comes before it.
#[test]
fn debug_touches_no_slot_of_others() {
    let mut f = first_of_two();
    f.data.commit_record();
    f.host.config.enable_debug_command = config::ProtectedAction::Yes;
    f.expect(&[("DEBUG POPULATE 2000", "+OK\r\n")]);
    let mut found = 0;
    f.data.keyspace().for_each(0, &mut |entry| {
        let slot = cluster_bus::slot::key_slot(entry.key());
        assert!(slot < 100, "slot {slot}");
        found += 1;
        std::ops::ControlFlow::Continue(())
    });
    assert!(found > 0, "none of 2000 keys in 100 slots");
    // Slot 12182.
    f.expect(&[("DEBUG OBJECT foo", "-ERR no such key\r\n")]);
    let (_, outcome) = f.outcome(&["DEBUG", "OBJECT", "foo"]);
    assert_eq!(outcome.slot, None);
}
