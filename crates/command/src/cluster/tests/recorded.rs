//! What redis-server 7.0.15 answers to a fresh node's commands, one after the other. Where 7.4 has
//! other words, they are 7.4's.

use super::{fixture, master, view};
use topology::NodeView;

const WRONG: &str = "unknown subcommand or wrong number of arguments for";

#[test]
fn a_fresh_node_answers_like_redis() {
    let fresh = NodeView {
        config_epoch: 0,
        ..master(1, &[])
    };
    let mut f = fixture(view(vec![fresh]));
    let many = |name: &str| format!("-ERR {WRONG} '{name}'. Try CLUSTER HELP.\r\n");
    let (meet, failover, reset) = (many("MEET"), many("FAILOVER"), many("RESET"));
    f.expect(&[
        (
            "CLUSTER",
            "-ERR wrong number of arguments for 'cluster' command\r\n",
        ),
        (
            "CLUSTER FOO",
            "-ERR unknown subcommand 'FOO'. Try CLUSTER HELP.\r\n",
        ),
        (
            "CLUSTER INFO x",
            "-ERR wrong number of arguments for 'cluster|info' command\r\n",
        ),
        (
            "CLUSTER MEET a b",
            "-ERR Invalid base port specified: b\r\n",
        ), // 7.4
        (
            "CLUSTER MEET 127.0.0.1 b",
            "-ERR Invalid base port specified: b\r\n",
        ),
        (
            "CLUSTER MEET 127.0.0.1 99999",
            "-ERR Invalid node address specified: 127.0.0.1:99999\r\n",
        ),
        (
            "CLUSTER MEET 127.0.0.1 0",
            "-ERR Invalid node address specified: 127.0.0.1:0\r\n",
        ),
        (
            "CLUSTER MEET x 7000",
            "-ERR Invalid node address specified: x:7000\r\n",
        ),
        (
            "CLUSTER MEET 127.0.0.1 60000",
            "-ERR Invalid node address specified: 127.0.0.1:60000\r\n",
        ),
        (
            "CLUSTER MEET 127.0.0.1 7000 x",
            "-ERR Invalid bus port specified: x\r\n",
        ),
        ("CLUSTER MEET 127.0.0.1 7000 1 2", &meet),
        (
            "CLUSTER FAILOVER",
            "-ERR You should send CLUSTER FAILOVER to a replica\r\n",
        ),
        ("CLUSTER FAILOVER x", "-ERR syntax error\r\n"),
        ("CLUSTER FAILOVER FORCE x", &failover),
        ("CLUSTER RESET x", "-ERR syntax error\r\n"),
        ("CLUSTER RESET HARD x", &reset),
        ("CLUSTER KEYSLOT foo", ":12182\r\n"),
        (
            "CLUSTER COUNTKEYSINSLOT x",
            "-ERR value is not an integer or out of range\r\n",
        ),
        ("CLUSTER COUNTKEYSINSLOT 16384", "-ERR Invalid slot\r\n"),
        ("CLUSTER COUNTKEYSINSLOT -1", "-ERR Invalid slot\r\n"),
        (
            "CLUSTER GETKEYSINSLOT 1 -1",
            "-ERR Invalid slot or number of keys\r\n",
        ),
        (
            "CLUSTER GETKEYSINSLOT x 1",
            "-ERR value is not an integer or out of range\r\n",
        ),
        (
            "CLUSTER GETKEYSINSLOT 1 x",
            "-ERR value is not an integer or out of range\r\n",
        ),
        (
            "CLUSTER GETKEYSINSLOT 99999 1",
            "-ERR Invalid slot or number of keys\r\n",
        ),
        ("CLUSTER GETKEYSINSLOT 1 1", "*0\r\n"),
        ("CLUSTER REPLICATE abc", "-ERR Unknown node abc\r\n"),
        ("CLUSTER REPLICAS abc", "-ERR Unknown node abc\r\n"),
        ("CLUSTER SLAVES abc", "-ERR Unknown node abc\r\n"),
        (
            "CLUSTER COUNT-FAILURE-REPORTS abc",
            "-ERR Unknown node abc\r\n",
        ),
        ("CLUSTER FORGET abc", "-ERR Unknown node abc\r\n"),
        (
            "CLUSTER SETSLOT x STABLE",
            "-ERR Invalid or out of range slot\r\n",
        ),
        (
            "CLUSTER SETSLOT 1 FOO",
            "-ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP\r\n",
        ),
        ("CLUSTER SAVECONFIG", "+OK\r\n"),
        ("READONLY", "+OK\r\n"),
        ("READWRITE", "+OK\r\n"),
        ("ASKING", "+OK\r\n"),
        (
            "READONLY x",
            "-ERR wrong number of arguments for 'readonly' command\r\n",
        ),
        ("CLUSTER SLOTS", "*0\r\n"),
        ("CLUSTER LINKS", "*0\r\n"),
    ]);
}

#[test]
fn changes_of_slots_and_epoch_answer_like_redis() {
    let fresh = NodeView {
        config_epoch: 0,
        ..master(1, &[])
    };
    let mut f = fixture(view(vec![fresh]));
    f.expect(&[
        (
            "CLUSTER ADDSLOTS x",
            "-ERR Invalid or out of range slot\r\n",
        ),
        (
            "CLUSTER ADDSLOTS 16384",
            "-ERR Invalid or out of range slot\r\n",
        ),
        (
            "CLUSTER ADDSLOTS 1 1",
            "-ERR Slot 1 specified multiple times\r\n",
        ),
        ("CLUSTER ADDSLOTS 1 2 5", "+OK\r\n"),
        ("CLUSTER ADDSLOTS 5", "-ERR Slot 5 is already busy\r\n"),
        (
            "CLUSTER ADDSLOTS 6 7 x",
            "-ERR Invalid or out of range slot\r\n",
        ),
        (
            "CLUSTER ADDSLOTSRANGE 6 7 8",
            "-ERR wrong number of arguments for 'cluster|addslotsrange' command\r\n",
        ),
        (
            "CLUSTER ADDSLOTSRANGE 8 7",
            "-ERR start slot number 8 is greater than end slot number 7\r\n",
        ),
        (
            "CLUSTER ADDSLOTSRANGE 4 7",
            "-ERR Slot 5 is already busy\r\n",
        ),
        (
            "CLUSTER ADDSLOTSRANGE 10 20 15 30",
            "-ERR Slot 15 specified multiple times\r\n",
        ),
        ("CLUSTER ADDSLOTSRANGE 10 20 30 30", "+OK\r\n"),
        (
            "CLUSTER DELSLOTS 100",
            "-ERR Slot 100 is already unassigned\r\n",
        ),
        (
            "CLUSTER DELSLOTS 1 1",
            "-ERR Slot 1 specified multiple times\r\n",
        ),
        ("CLUSTER DELSLOTS 1", "+OK\r\n"),
        ("CLUSTER DELSLOTSRANGE 10 12", "+OK\r\n"),
        (
            "CLUSTER DELSLOTSRANGE 10 14",
            "-ERR Slot 10 is already unassigned\r\n",
        ),
        (
            "CLUSTER SET-CONFIG-EPOCH x",
            "-ERR value is not an integer or out of range\r\n",
        ),
        (
            "CLUSTER SET-CONFIG-EPOCH -5",
            "-ERR Invalid config epoch specified: -5\r\n",
        ),
        ("CLUSTER SET-CONFIG-EPOCH 5", "+OK\r\n"),
        (
            "CLUSTER SET-CONFIG-EPOCH 6",
            "-ERR Node config epoch is already non-zero\r\n",
        ),
        ("CLUSTER BUMPEPOCH", "+STILL 5\r\n"),
        ("CLUSTER FLUSHSLOTS", "+OK\r\n"),
    ]);
    assert_eq!(f.data.record().epoch, 5);
    assert!(f.data.record().slots.is_empty());
}
