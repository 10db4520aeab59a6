//! Keys and expiry times.

use crate::env::{Flow, Serving};
use crate::testing::{single, Fixture, START_MS};
use base::ids::BatchSeq;
use state::GateKind;

#[test]
fn keys_come_go_and_change_their_names() {
    let mut f = Fixture::new(single());
    f.expect(&[
        ("MSET a 1 b 2 c 3", "+OK\r\n"),
        ("EXISTS a a none b", ":3\r\n"),
        ("TOUCH a none", ":1\r\n"),
        ("TYPE a", "+string\r\n"),
        ("TYPE none", "+none\r\n"),
        ("DEL a a none", ":1\r\n"),
        ("UNLINK b", ":1\r\n"),
        ("RENAME none x", "-ERR no such key\r\n"),
        ("RENAMENX none x", "-ERR no such key\r\n"),
        ("RENAME c c", "+OK\r\n"),
        ("RENAMENX c c", ":0\r\n"),
        ("EXPIRE c 100", ":1\r\n"),
        ("RENAME c d", "+OK\r\n"),
        ("TTL d", ":100\r\n"),
        ("SET e 1", "+OK\r\n"),
        ("RENAMENX d e", ":0\r\n"),
        ("RENAME e d", "+OK\r\n"),
        ("TTL d", ":-1\r\n"),
        ("RENAMENX d f", ":1\r\n"),
        ("GET f", "$1\r\n1\r\n"),
        (
            "DEL",
            "-ERR wrong number of arguments for 'del' command\r\n",
        ),
    ]);
}

#[test]
fn expiry_times_and_their_conditions() {
    let mut f = Fixture::new(single());
    let nx = "-ERR NX and XX, GT or LT options at the same time are not compatible\r\n";
    let base = START_MS / 1000;
    f.expect(&[
        ("SET k v", "+OK\r\n"),
        ("EXPIRE k 100 XX", ":0\r\n"),
        ("EXPIRE k 100 GT", ":0\r\n"),
        ("EXPIRE k 100 LT", ":1\r\n"),
        ("EXPIRE k 100 NX", ":0\r\n"),
        ("EXPIRE k 90 gt", ":0\r\n"),
        ("EXPIRE k 110 GT", ":1\r\n"),
        ("EXPIRE k 120 LT", ":0\r\n"),
        ("EXPIRE k 50 LT XX", ":1\r\n"),
        ("TTL k", ":50\r\n"),
        ("PEXPIRE k 1499", ":1\r\n"),
        ("TTL k", ":1\r\n"),
        ("PEXPIRE k 1500", ":1\r\n"),
        ("TTL k", ":2\r\n"),
        (&format!("EXPIREAT k {}", base + 10), ":1\r\n"),
        ("EXPIRETIME k", &format!(":{}\r\n", base + 10)),
        ("PEXPIRETIME k", &format!(":{}\r\n", (base + 10) * 1000)),
        (&format!("PEXPIREAT k {}", START_MS + 5), ":1\r\n"),
        ("PTTL k", ":5\r\n"),
        ("PERSIST k", ":1\r\n"),
        ("PERSIST k", ":0\r\n"),
        ("PERSIST none", ":0\r\n"),
        ("TTL k", ":-1\r\n"),
        ("EXPIRETIME k", ":-1\r\n"),
        ("PEXPIRETIME none", ":-2\r\n"),
        ("EXPIRE k 10 NX XX", nx),
        ("EXPIRE k 10 NX GT", nx),
        (
            "EXPIRE k 10 GT LT",
            "-ERR GT and LT options at the same time are not compatible\r\n",
        ),
        ("EXPIRE k 10 FOO", "-ERR Unsupported option FOO\r\n"),
        (
            "EXPIRE k x",
            "-ERR value is not an integer or out of range\r\n",
        ),
        (
            "EXPIRE k 9223372036854775807",
            "-ERR invalid expire time in 'expire' command\r\n",
        ),
        (
            "PEXPIRE k 9223372036854775807",
            "-ERR invalid expire time in 'pexpire' command\r\n",
        ),
        (
            "EXPIREAT k -9223372036854775808",
            "-ERR invalid expire time in 'expireat' command\r\n",
        ),
        ("EXPIRE none 10", ":0\r\n"),
        ("EXPIRE k -1", ":1\r\n"),
        ("EXISTS k", ":0\r\n"),
        ("SET k v", "+OK\r\n"),
        ("PEXPIREAT k 1", ":1\r\n"),
        ("EXISTS k", ":0\r\n"),
    ]);
}

#[test]
fn an_expired_key_that_is_met_is_deleted_in_the_log_or_the_command_waits() {
    let mut f = Fixture::new(single());
    f.line("SET k v PX 10");
    f.advance(11);
    f.serving = Serving::Lead { writable: false };
    for line in [
        "GET k",
        "EXISTS other k",
        "KEYS *",
        "SCAN 0",
        "RANDOMKEY",
        "WATCH k",
        "TTL k",
    ] {
        let (out, outcome) = f.outcome(&line.split(' ').collect::<Vec<_>>());
        assert_eq!((outcome.flow, out.len()), (Flow::Hold, 0), "{line}");
    }
    f.serving = Serving::Lead { writable: true };
    let (out, outcome) = f.outcome(&["GET", "k"]);
    assert_eq!(out, b"$-1\r\n");
    assert_eq!(outcome.gate, GateKind::Write, "T2: never an unlogged nil");
    assert_eq!(f.data.counters().expired, 1);
    let (_, outcome) = f.outcome(&["GET", "k"]);
    assert_eq!(outcome.gate, GateKind::Read);
}

#[test]
fn active_expiry_deletes_what_is_due_one_unit_each() {
    let mut f = Fixture::new(single());
    for i in 0..10 {
        f.line(&format!("SET k{i} v PX {}", 10 + i));
    }
    f.line("SELECT 2");
    f.line("SET other v PX 5");
    f.advance(16);
    let now = f.host.now.unix_ms;
    f.data.begin_turn(BatchSeq(100), now, false, 0);
    assert_eq!(f.data.expire_due(now, 100), 0, "T2: nothing may be written");
    f.data.begin_turn(BatchSeq(100), now, true, usize::MAX);
    assert_eq!(f.data.expire_due(now, 4), 4);
    assert_eq!(f.data.expire_due(now, 100), 3);
    let bodies = f.data.take_batch().expect("something was written");
    let effect::Body::Units(units) = effect::parse_entry(&bodies[0]).unwrap() else {
        panic!("a batch of units")
    };
    assert_eq!(units.count(), 7);
    f.next_batch = BatchSeq(101);
    f.expect(&[
        ("DBSIZE", ":0\r\n"),
        ("SELECT 0", "+OK\r\n"),
        ("DBSIZE", ":4\r\n"),
    ]);
}

/// INFO rdb_changes_since_last_save and the rules of `save`: elements, not keys. As measured at Redis 7.4.1.
#[test]
fn changes_are_counted_by_elements() {
    let mut f = Fixture::new(single());
    for (line, want) in [
        ("MSET a 1 b 2 c 3", 3),
        ("GETEX a EX 100", 1),
        ("APPEND a 1", 1),
        ("DEL a b none", 2),
        ("RENAME c d", 1),
        ("COPY d e", 1),
        ("MOVE e 3", 1),
        ("SET x 1 PX 10", 1),
        ("LPUSH l a b c", 3),
        ("RPUSH l d a", 2),
        ("LREM l 0 a", 2),
        ("LSET l 0 z", 1),
        ("LINSERT l BEFORE z y", 1),
        ("LPOP l 2", 2),
        ("LMOVE l l2 LEFT RIGHT", 1),
        ("RPOPLPUSH l l", 1),
        ("BLMOVE l l2 LEFT LEFT 0", 1),
        ("RPUSH l 1 2 3 4 5 6 7 8", 8),
        ("LTRIM l 1 -2", 2),
        ("LMPOP 1 l LEFT COUNT 2", 2),
        ("SORT l STORE d", 4),
        ("LTRIM l 5 1", 4),
        ("BLPOP l2 0", 1),
        ("SADD s a b c", 3),
        ("SADD s b c d", 1),
        ("SREM s a none", 1),
        ("SMOVE s t b", 2),
        ("SPOP s 100", 2),
        ("SADD s 1 2 3 4", 4),
        ("SPOP s 3", 3),
        ("SUNIONSTORE d s t", 1),
        ("HSET h a 1 b 2 c 3", 3),
        ("HSET h a 1 b 2", 2),
        ("HINCRBY h n 1", 1),
        ("HDEL h a none", 1),
        ("HEXPIRE h 100 FIELDS 2 b c", 2),
        ("HPERSIST h FIELDS 2 b c", 1),
        ("HPEXPIREAT h 1 FIELDS 2 b c", 2),
        ("HPEXPIRE h 10 FIELDS 1 n", 1),
        ("ZADD z 1 a 2 b 3 c 4 d 5 e 6 f 7 g", 7),
        ("ZADD z 1 a 3 b 8 h", 2),
        ("ZREMRANGEBYRANK z 0 1", 2),
        ("ZPOPMAX z 2", 2),
        ("ZREM z c none", 1),
        ("ZRANGESTORE d z 0 -1", 1),
        ("ZMPOP 1 z MIN COUNT 9", 3),
        ("GEOADD g 13.361389 38.115556 P 15.087269 37.502669 C", 2),
        ("GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km", 2),
    ] {
        let before = f.data.counters().changes;
        f.line(line);
        assert_eq!(f.data.counters().changes - before, want, "{line}");
    }
    f.advance(20);
    let before = f.data.counters().changes;
    f.expect(&[("GET x", "$-1\r\n"), ("HGET h n", "$-1\r\n")]);
    assert_eq!(f.data.counters().changes, before, "expiry changes nothing");
    f.expect(&[("DBSIZE", ":5\r\n"), ("FLUSHDB", "+OK\r\n")]);
    assert_eq!(f.data.counters().changes, before + 5);
    f.expect(&[("FLUSHDB", "+OK\r\n"), ("FLUSHALL", "+OK\r\n")]);
    assert_eq!(f.data.counters().changes, before + 6);
}
