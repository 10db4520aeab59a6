//! The keyspace as a whole.

use crate::error::Error;
use crate::scan;
use crate::testing::{single, Fixture};
use keyspace::Layout;
use std::collections::BTreeSet;

#[test]
fn databases_are_apart() {
    let mut f = Fixture::new(single());
    f.expect(&[
        ("SET a 1", "+OK\r\n"),
        ("SELECT 15", "+OK\r\n"),
        ("DBSIZE", ":0\r\n"),
        ("SET b 1", "+OK\r\n"),
        ("KEYS *", "*1\r\n$1\r\nb\r\n"),
        ("FLUSHDB ASYNC", "+OK\r\n"),
        ("DBSIZE", ":0\r\n"),
        ("SELECT 0", "+OK\r\n"),
        ("DBSIZE", ":1\r\n"),
        ("SELECT 16", "-ERR DB index is out of range\r\n"),
        ("SELECT -1", "-ERR DB index is out of range\r\n"),
        (
            "SELECT x",
            "-ERR value is not an integer or out of range\r\n",
        ),
        ("FLUSHALL maybe", "-ERR syntax error\r\n"),
        ("FLUSHALL sync now", "-ERR syntax error\r\n"),
        ("FLUSHALL SYNC", "+OK\r\n"),
        ("DBSIZE", ":0\r\n"),
        ("RANDOMKEY", "$-1\r\n"),
    ]);
    let mut f = Fixture::new(Layout::Cluster);
    f.expect(&[
        ("SELECT 1", "-ERR SELECT is not allowed in cluster mode\r\n"),
        ("SELECT 0", "+OK\r\n"),
    ]);
}

#[test]
fn keys_and_random_keys() {
    let mut f = Fixture::new(single());
    f.expect(&[
        ("MSET one 1 two 2 three 3", "+OK\r\n"),
        ("KEYS on?", "*1\r\n$3\r\none\r\n"),
        ("KEYS x*", "*0\r\n"),
    ]);
    assert_eq!(
        f.line("KEYS t*").len(),
        "*2\r\n$3\r\ntwo\r\n$5\r\nthree\r\n".len()
    );
    for _ in 0..20 {
        let drawn = f.line("RANDOMKEY");
        assert!(["$3\r\none\r\n", "$3\r\ntwo\r\n", "$5\r\nthree\r\n"].contains(&drawn.as_str()));
    }
}

/// The cursor and the keys of a SCAN reply.
fn parse_scan(reply: &str) -> (String, Vec<String>) {
    let words: Vec<&str> = reply.split("\r\n").collect();
    assert_eq!(words[0], "*2");
    let keys = words[4..]
        .chunks(2)
        .filter(|c| c.len() == 2)
        .map(|c| c[1].to_owned())
        .collect();
    (words[2].to_owned(), keys)
}

fn scan_all(f: &mut Fixture, options: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut cursor = "0".to_owned();
    loop {
        let (next, keys) = parse_scan(&f.line(&format!("SCAN {cursor}{options}")));
        seen.extend(keys);
        if next == "0" {
            return seen;
        }
        cursor = next;
    }
}

#[test]
fn scan_finds_every_key() {
    for layout in [single(), Layout::Cluster] {
        let mut f = Fixture::new(layout);
        for i in 0..500 {
            f.line(&format!("SET key:{i} {i}"));
        }
        assert_eq!(scan_all(&mut f, "").len(), 500);
        assert_eq!(scan_all(&mut f, " COUNT 100").len(), 500);
        assert_eq!(scan_all(&mut f, " MATCH key:1*").len(), 111);
        assert_eq!(scan_all(&mut f, " TYPE string").len(), 500);
        assert_eq!(scan_all(&mut f, " TYPE hash").len(), 0);
        f.expect(&[
            ("SCAN x", "-ERR invalid cursor\r\n"),
            ("SCAN -1", "-ERR invalid cursor\r\n"),
            ("SCAN 0 COUNT 0", "-ERR syntax error\r\n"),
            (
                "SCAN 0 COUNT x",
                "-ERR value is not an integer or out of range\r\n",
            ),
            ("SCAN 0 MATCH", "-ERR syntax error\r\n"),
            ("SCAN 0 FOO bar", "-ERR syntax error\r\n"),
            (
                "SCAN 0 NOVALUES",
                "-ERR NOVALUES option can only be used in HSCAN\r\n",
            ),
        ]);
    }
}

/// Redis 7.4 reads a cursor strictly first, and what that refuses as C's strtoull does.
#[test]
fn cursors_are_read_as_leniently_as_redis_does() {
    let mut f = Fixture::new(single());
    let end = "*2\r\n$1\r\n0\r\n*0\r\n";
    for cursor in [
        " 0",
        "0",
        "+0",
        "-0",
        "00",
        "\t\n\x0b\x0c\r 0",
        "0\0x",
        " -0",
    ] {
        assert_eq!(f.run(&["SCAN", cursor]), end, "{cursor:?}");
    }
    let wrong = "-ERR invalid cursor\r\n";
    let beyond = "18446744073709551616";
    for cursor in [
        "", " ", "-", "+", "0 ", "- 0", "+-0", "0x0", "-1", "1.0", beyond, "\0",
    ] {
        assert_eq!(f.run(&["SCAN", cursor]), wrong, "{cursor:?}");
    }
    for (text, want) in [
        ("18446744073709551615", Ok(u64::MAX)),
        (" 7", Ok(7)),
        ("007", Ok(7)),
        (" -1", Ok(u64::MAX)),
        ("-9223372036854775809", Ok((1 << 63) - 1)),
        ("-9223372036854775808", Err(Error::INVALID_CURSOR)),
    ] {
        assert_eq!(scan::parse_cursor(text.as_bytes()), want, "{text:?}");
    }
}

#[test]
fn walks_delete_the_expired_keys_they_meet() {
    let mut f = Fixture::new(single());
    f.expect(&[("SET a 1 PX 10", "+OK\r\n"), ("SET b 1", "+OK\r\n")]);
    f.advance(11);
    f.expect(&[
        ("DBSIZE", ":2\r\n"),
        ("KEYS *", "*1\r\n$1\r\nb\r\n"),
        ("DBSIZE", ":1\r\n"),
    ]);
    f.line("SET a 1 PX 10");
    f.advance(11);
    assert_eq!(scan_all(&mut f, " COUNT 100").len(), 1);
    f.expect(&[("DBSIZE", ":1\r\n")]);
    f.line("SET a 1 PX 10");
    f.advance(11);
    for _ in 0..10 {
        assert_eq!(f.line("RANDOMKEY"), "$1\r\nb\r\n");
    }
}
