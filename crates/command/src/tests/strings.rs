//! The string family.

use crate::testing::{single, Fixture, START_MS};
use base::ids::BatchSeq;
use resp::encode::Proto;
use state::GateKind;

const SYNTAX: &str = "-ERR syntax error\r\n";
const NOT_INT: &str = "-ERR value is not an integer or out of range\r\n";

#[test]
fn set_with_every_option() {
    let mut f = Fixture::new(single());
    let at = (START_MS + 100_000).to_string();
    f.expect(&[
        ("SET k v", "+OK\r\n"),
        ("get k", "$1\r\nv\r\n"),
        ("GET none", "$-1\r\n"),
        ("SET k w NX", "$-1\r\n"),
        ("SET k w XX", "+OK\r\n"),
        ("SET n w XX", "$-1\r\n"),
        ("SET n w NX", "+OK\r\n"),
        ("SET k x GET", "$1\r\nw\r\n"),
        ("SET fresh x GET", "$-1\r\n"),
        ("SET fresh y NX GET", "$1\r\nx\r\n"),
        ("SET fresher y NX GET", "$-1\r\n"),
        ("GET fresher", "$1\r\ny\r\n"),
        ("SET missing y XX GET", "$-1\r\n"),
        ("SET k v EX 100", "+OK\r\n"),
        ("PTTL k", ":100000\r\n"),
        ("SET k v KEEPTTL", "+OK\r\n"),
        ("TTL k", ":100\r\n"),
        ("SET k v", "+OK\r\n"),
        ("TTL k", ":-1\r\n"),
        ("SET k v px 1500", "+OK\r\n"),
        ("PTTL k", ":1500\r\n"),
        (&format!("SET k v PXAT {at}"), "+OK\r\n"),
        ("PTTL k", ":100000\r\n"),
        (&format!("SET k v EXAT {}", START_MS / 1000 + 7), "+OK\r\n"),
        ("PTTL k", ":7000\r\n"),
        ("SET k v EX 10 EX 20", "+OK\r\n"),
        ("TTL k", ":20\r\n"),
        ("SET k v EX 10 PX 20", SYNTAX),
        ("SET k v EX", SYNTAX),
        ("SET k v EX 10 KEEPTTL", SYNTAX),
        ("SET k v KEEPTTL EX 10", SYNTAX),
        ("SET k v NX XX", SYNTAX),
        ("SET k v PERSIST", SYNTAX),
        ("SET k v BOGUS", SYNTAX),
        (
            "SET k v EX 0",
            "-ERR invalid expire time in 'set' command\r\n",
        ),
        (
            "SET k v PX -5",
            "-ERR invalid expire time in 'set' command\r\n",
        ),
        (
            "SET k v EX 9223372036854775807",
            "-ERR invalid expire time in 'set' command\r\n",
        ),
        (
            "SET k v PX 9223372036854775807",
            "-ERR invalid expire time in 'set' command\r\n",
        ),
        ("SET k v EX abc", NOT_INT),
        (
            "SET k",
            "-ERR wrong number of arguments for 'set' command\r\n",
        ),
        ("SETEX k 10 w", "+OK\r\n"),
        ("TTL k", ":10\r\n"),
        (
            "SETEX k 0 w",
            "-ERR invalid expire time in 'setex' command\r\n",
        ),
        ("PSETEX k 10000 w", "+OK\r\n"),
        (
            "PSETEX k -1 w",
            "-ERR invalid expire time in 'psetex' command\r\n",
        ),
        ("TTL k", ":10\r\n"),
        ("SETNX k w", ":0\r\n"),
        ("SETNX k2 w", ":1\r\n"),
    ]);
    f.session.proto = Proto::Resp3;
    f.expect(&[
        ("GET none", "_\r\n"),
        ("SET k w NX", "_\r\n"),
        ("SET none2 a GET", "_\r\n"),
    ]);
}

#[test]
fn a_time_in_the_past_expires_at_the_next_look() {
    let mut f = Fixture::new(single());
    f.expect(&[("SET k v PXAT 1", "+OK\r\n"), ("GET k", "$-1\r\n")]);
    f.expect(&[("SET k v PX 10", "+OK\r\n"), ("PTTL k", ":10\r\n")]);
    f.advance(10);
    f.expect(&[("PTTL k", ":0\r\n"), ("GET k", "$1\r\nv\r\n")]);
    f.advance(1);
    f.expect(&[("PTTL k", ":-2\r\n")]);
}

#[test]
fn reading_and_changing() {
    let mut f = Fixture::new(single());
    f.expect(&[
        ("MSET a 1 b hello", "+OK\r\n"),
        (
            "MSET a 1 b",
            "-ERR wrong number of arguments for 'mset' command\r\n",
        ),
        (
            "MSETNX a 1 b",
            "-ERR wrong number of arguments for 'msetnx' command\r\n",
        ),
        ("MGET a none b", "*3\r\n$1\r\n1\r\n$-1\r\n$5\r\nhello\r\n"),
        ("MSETNX c 1 a 2", ":0\r\n"),
        ("EXISTS c", ":0\r\n"),
        ("MSETNX c 1 d 2", ":1\r\n"),
        ("GETSET a 2", "$1\r\n1\r\n"),
        ("GETSET new 2", "$-1\r\n"),
        ("GETDEL new", "$1\r\n2\r\n"),
        ("GETDEL new", "$-1\r\n"),
        ("STRLEN b", ":5\r\n"),
        ("STRLEN a", ":1\r\n"),
        ("STRLEN none", ":0\r\n"),
        ("APPEND b !", ":6\r\n"),
        ("APPEND fresh abc", ":3\r\n"),
        ("APPEND a 0", ":2\r\n"),
        ("GET a", "$2\r\n20\r\n"),
        ("INCR a", ":21\r\n"),
        ("GETRANGE b 0 -2", "$5\r\nhello\r\n"),
        ("SUBSTR b 1 2", "$2\r\nel\r\n"),
        ("GETRANGE a 0 0", "$1\r\n2\r\n"),
        ("GETRANGE none 0 -1", "$0\r\n\r\n"),
        ("GETRANGE b x 1", NOT_INT),
        ("SETRANGE b 1 E", ":6\r\n"),
        ("GET b", "$6\r\nhEllo!\r\n"),
        ("SETRANGE pad 3 x", ":4\r\n"),
        ("GET pad", "$4\r\n\0\0\0x\r\n"),
        ("SETRANGE b -1 x", "-ERR offset is out of range\r\n"),
        ("SETRANGE b x x", NOT_INT),
        (
            "SETRANGE b 536870912 x",
            "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n",
        ),
    ]);
    assert_eq!(f.run(&["SETRANGE", "nothing", "5", ""]), ":0\r\n");
    assert_eq!(f.run(&["SETRANGE", "b", "5", ""]), ":6\r\n");
    assert_eq!(f.run(&["EXISTS", "nothing"]), ":0\r\n");
    f.host.config.proto_max_bulk_len = 8;
    assert_eq!(f.line("APPEND b xx"), ":8\r\n");
    assert!(f.line("APPEND b x").starts_with("-ERR string exceeds"));
    assert!(f.line("SETRANGE b 8 x").starts_with("-ERR string exceeds"));
}

#[test]
fn counting() {
    let mut f = Fixture::new(single());
    let overflow = "-ERR increment or decrement would overflow\r\n";
    f.expect(&[
        ("INCR n", ":1\r\n"),
        ("INCRBY n 41", ":42\r\n"),
        ("DECR n", ":41\r\n"),
        ("DECRBY n 50", ":-9\r\n"),
        ("INCRBY n x", NOT_INT),
        ("INCRBY n 01", NOT_INT),
        ("INCRBY n +1", NOT_INT),
        ("SET s abc", "+OK\r\n"),
        ("INCR s", NOT_INT),
        ("SET n 9223372036854775807", "+OK\r\n"),
        ("INCR n", overflow),
        ("SET n -9223372036854775808", "+OK\r\n"),
        ("DECR n", overflow),
        (
            "DECRBY n -9223372036854775808",
            "-ERR decrement would overflow\r\n",
        ),
        ("SET f 10.50", "+OK\r\n"),
        ("INCRBYFLOAT f 0.1", "$4\r\n10.6\r\n"),
        ("INCRBYFLOAT f -5", "$3\r\n5.6\r\n"),
        ("INCRBYFLOAT f 5.0e3", "$22\r\n5005.60000000000000009\r\n"),
        ("INCRBYFLOAT none 3", "$1\r\n3\r\n"),
        ("INCR none", ":4\r\n"),
        ("INCRBYFLOAT s 1", "-ERR value is not a valid float\r\n"),
        ("INCRBYFLOAT f x", "-ERR value is not a valid float\r\n"),
        (
            "INCRBYFLOAT f inf",
            "-ERR increment would produce NaN or Infinity\r\n",
        ),
        ("SET ttl 1 EX 100", "+OK\r\n"),
        ("INCR ttl", ":2\r\n"),
        ("INCRBYFLOAT ttl 1", "$1\r\n3\r\n"),
        ("TTL ttl", ":100\r\n"),
    ]);
}

#[test]
fn getex() {
    let mut f = Fixture::new(single());
    f.expect(&[
        ("SET k v", "+OK\r\n"),
        ("GETEX k EX 10", "$1\r\nv\r\n"),
        ("TTL k", ":10\r\n"),
        ("GETEX k", "$1\r\nv\r\n"),
        ("TTL k", ":10\r\n"),
        ("GETEX k PERSIST", "$1\r\nv\r\n"),
        ("TTL k", ":-1\r\n"),
        ("GETEX k PERSIST EX 10", SYNTAX),
        ("GETEX k EX 10 PERSIST", SYNTAX),
        ("GETEX k NX", SYNTAX),
        ("GETEX k KEEPTTL", SYNTAX),
        (
            "GETEX k EX 0",
            "-ERR invalid expire time in 'getex' command\r\n",
        ),
        ("GETEX none EX 0", "$-1\r\n"),
        ("GETEX k PXAT 1", "$1\r\nv\r\n"),
        ("EXISTS k", ":0\r\n"),
    ]);
}

#[test]
fn lcs() {
    let mut f = Fixture::new(single());
    f.expect(&[
        ("MSET a ohmytext b mynewtext", "+OK\r\n"),
        ("LCS a b", "$6\r\nmytext\r\n"),
        ("LCS a b LEN", ":6\r\n"),
        ("LCS a none", "$0\r\n\r\n"),
        (
            "LCS a b IDX",
            "*4\r\n$7\r\nmatches\r\n*2\r\n*2\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n\
             *2\r\n*2\r\n:2\r\n:3\r\n*2\r\n:0\r\n:1\r\n$3\r\nlen\r\n:6\r\n",
        ),
        (
            "LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN",
            "*4\r\n$7\r\nmatches\r\n*1\r\n*3\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n:4\r\n\
             $3\r\nlen\r\n:6\r\n",
        ),
        (
            "LCS a b IDX LEN",
            "-ERR If you want both the length and indexes, please just use IDX.\r\n",
        ),
        ("LCS a b FOO", SYNTAX),
    ]);
}

#[test]
fn what_changes_nothing_is_a_read() {
    let mut f = Fixture::new(single());
    f.line("SET k v");
    for line in [
        "SETNX k w",
        "SET k w NX",
        "SET none w XX",
        "DEL none",
        "GETDEL none",
        "MSETNX none 1 k 2",
        "INCR k",
        "PERSIST k",
        "EXPIRE none 10",
        "EXPIRE k 10 XX",
        "RENAMENX k k",
        "RENAME none k",
        "GETEX k PERSIST",
        "EXISTS none",
        "TYPE k",
        "DBSIZE",
        "KEYS *",
        "SCAN 0",
        "FLUSHDB",
    ] {
        if line == "FLUSHDB" {
            f.line("DEL k");
        }
        let (_, outcome) = f.outcome(&line.split(' ').collect::<Vec<_>>());
        assert_eq!(outcome.gate, GateKind::Read, "{line}");
        let shows_a_write = !line.contains("none") || line.starts_with("MSETNX");
        assert_eq!(
            outcome.footprint.depends > BatchSeq::NONE,
            shows_a_write,
            "{line}"
        );
    }
    for line in [
        "SELECT 3",
        "MULTI",
        "DISCARD",
        "GET",
        "SET k v BOGUS",
        "NOPE",
    ] {
        let (_, outcome) = f.outcome(&line.split(' ').collect::<Vec<_>>());
        assert_eq!(outcome.gate, GateKind::Free, "{line}");
    }
}

/// Redis keeps a string that was written into apart from its object, until it is set again.
#[test]
fn written_strings_are_raw() {
    let mut f = Fixture::new(single());
    let (int, embedded, raw) = ("$3\r\nint\r\n", "$6\r\nembstr\r\n", "$3\r\nraw\r\n");
    for (makes, want) in [
        (&["SET k 1234", "SETRANGE k 5 2"][..], raw),
        (&["SET k 1234", "SETRANGE k 0 2"], raw),
        (&["SET k 1234", "SETRANGE k 0 "], int),
        (&["SETRANGE k 0 a"], raw),
        (&["APPEND k a"], embedded),
        (&["APPEND k 1"], int),
        (&["APPEND k a", "APPEND k b"], raw),
        (&["SET k ab", "SETBIT k 0 1"], raw),
        (&["SETBIT k 0 1"], raw),
        (&["SET k ab", "BITFIELD k SET u8 0 7"], raw),
        (&["SET a 12", "BITOP OR k a a"], raw),
        (&["PFADD k"], raw),
        (&["APPEND k a", "APPEND k b", "RENAME k a", "COPY a k"], raw),
        (&["APPEND k a", "APPEND k b", "SET k ab"], embedded),
        (
            &["APPEND k a", "APPEND k b", "GETEX k EX 9", "PERSIST k"],
            raw,
        ),
        (&["APPEND k 1", "APPEND k 2", "INCR k"], int),
        (&["SET k 1", "INCRBYFLOAT k 0.5"], embedded),
    ] {
        f.line("FLUSHALL");
        for line in makes {
            let words: Vec<&str> = line.split(' ').collect();
            f.outcome(&words);
        }
        assert_eq!(f.line("OBJECT ENCODING k"), want, "{makes:?}");
    }
}
